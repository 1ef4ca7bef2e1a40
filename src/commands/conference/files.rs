//! The files that this participant sends and receives: whom they go to, by which way, and how far they are. A file
//! travels from participant to participant, or over the server if the meeting's media does.

mod cancel;
mod inbox;
mod item;
mod over_server;
mod pace;
mod transfer;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use self::inbox::Inbox;
use self::item::{Item, State, Task, Way};
use self::pace::FilePace;
use self::transfer::{Broken, Teller, Told};
use super::pair::PairInput;
use crate::exit::Failure;
use crate::id::UserId;
use crate::pair::FileChannel;
use crate::protocol::{
    ClientMessage, FileDecline, FileId, FileName, MAX_PAIR_FILE_BYTES, MAX_SERVER_FILE_BYTES, MimeType, PairFileId,
    PairFileMessage, Participant,
};
use crate::report::{FileDirection, FileState, Reporter};
use crate::token_bucket::TokenBucket;

/// How long the sender's channel, and a place at the server, may take.
const OPENS_WITHIN: Duration = Duration::from_secs(15);

/// The last word about a file has this time to arrive.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The most files that this member has on their way.
const MAX_ITEMS: usize = 64;

/// The most files of one other participant at the same time, so that nobody takes the places of the others.
const MAX_OF_ONE: usize = 4;

/// The offers that are looked at, per second and in one burst: as many as a page shows.
const OFFER_RATE: u32 = 1;
const OFFER_BURST: u32 = 20;

/// The most news of tasks that wait.
const NEWS: usize = 64;

/// The files.
pub(super) struct Files {
    /// None: this member takes no files.
    inbox: Option<Inbox>,
    items: Vec<Item>,
    pace: FilePace,
    news: mpsc::Sender<(u64, Told)>,
    news_queue: mpsc::Receiver<(u64, Told)>,
    numbers: u64,
    offers: TokenBucket,
    /// The files at the server that were told of: after a reconnection the server tells again.
    known: BTreeSet<FileId>,
}

/// A step that a file needs.
pub(super) enum FileStep {
    /// An input for the pair with this participant.
    Pair(UserId, PairInput),
    /// A message for the server.
    Server(ClientMessage),
}

impl Files {
    /// Without a directory, files of others are declined.
    ///
    /// # Errors
    /// The directory can't be used.
    pub(super) fn new(directory: Option<&Path>) -> Result<Self, Failure> {
        let (news, news_queue) = mpsc::channel(NEWS);
        Ok(Self {
            inbox: directory.map(Inbox::open).transpose()?,
            items: Vec::new(),
            pace: FilePace::default(),
            news,
            news_queue,
            numbers: 0,
            offers: TokenBucket::new(OFFER_RATE, OFFER_BURST),
            known: BTreeSet::new(),
        })
    }

    /// Offers a file to these participants, each for itself; or, over the server, to `to` alone or else to all.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub(super) fn send(
        &mut self,
        path: &Path,
        (others, to): (&[Participant], Option<&Participant>),
        is_over_server: bool,
        reporter: &Reporter,
    ) -> Result<Vec<FileStep>, String> {
        let shown = path.display();
        let unreadable = |error| format!("can't read {shown}: {error}");
        // Before it is opened: to open a FIFO takes as long as nobody writes there.
        let known = path.metadata().map_err(unreadable)?;
        let name = path.file_name().map(|name| FileName::from(&*name.to_string_lossy()));
        let Some(name) = name.filter(|_| known.is_file()) else { return Err(format!("{shown} is no file")) };
        let file = File::open(path).map_err(unreadable)?;
        let most = if is_over_server { MAX_SERVER_FILE_BYTES } else { MAX_PAIR_FILE_BYTES };
        match known.len() {
            0 => return Err(format!("{shown} is empty")),
            size if size > most => {
                let why = if is_over_server { " while the server passes picture and sound on" } else { "" };
                return Err(format!("{shown} is too large: a file may have {} MB{why}", most / 1_000_000));
            }
            _ => {}
        }
        let receivers: Vec<&Participant> = to.map_or_else(|| others.iter().collect(), |to| vec![to]);
        if receivers.is_empty() {
            return Err("nobody else is here to take a file".to_owned());
        }
        if self.items.len() + receivers.len() > MAX_ITEMS {
            return Err("too many files wait: send this one later".to_owned());
        }
        let (file, size) = (Arc::new(file), known.len());
        let mut add = |user: Option<&Participant>, way| {
            self.numbers += 1;
            let item = Item {
                number: self.numbers,
                direction: FileDirection::Out,
                user: user.map(|user| user.user_id.clone()),
                nickname: user.map_or_else(String::new, |user| user.nickname.as_str().to_owned()),
                name: name.clone(),
                size,
                way,
                state: State::Waiting { file: Arc::clone(&file), asked: None },
            };
            reporter.event(&item.report(FileState::Offered));
            self.items.push(item);
        };
        if is_over_server {
            add(to, Way::Server(None));
            return Ok(self.ask_next());
        }
        let mut steps = Vec::new();
        for receiver in receivers {
            let id = PairFileId::new(rand::random());
            add(Some(receiver), Way::Pair(id.clone()));
            let (name, mime, only) = (name.clone(), MimeType::default(), to.is_some());
            let offer = PairFileMessage::File { id, name, size, mime, only };
            steps.push(FileStep::Pair(receiver.user_id.clone(), PairInput::File(offer)));
        }
        Ok(steps)
    }

    /// A message of another participant, over the data channel of the pair.
    pub(super) fn heard(
        &mut self,
        from: &Participant,
        message: PairFileMessage,
        reporter: &Reporter,
    ) -> Option<FileStep> {
        match message {
            PairFileMessage::File { id, name, size, .. } => {
                let answered = self.offered(from, (id.clone(), name, size), reporter)?;
                let (accepted, reason) = (answered.is_ok(), answered.err());
                let answer = PairFileMessage::FileAnswer { id, accepted, reason };
                Some(FileStep::Pair(from.user_id.clone(), PairInput::File(answer)))
            }
            PairFileMessage::FileAnswer { id, accepted, reason } => {
                let item = self.of_pair(&from.user_id, &id)?;
                let State::Waiting { asked, .. } = &mut item.state else { return None };
                if accepted {
                    // The answer counts once.
                    let is_first = asked.replace(Instant::now()).is_none();
                    return is_first.then(|| FileStep::Pair(from.user_id.clone(), PairInput::OpenFile(id)));
                }
                let number = item.number;
                let reason = reason.unwrap_or(FileDecline::Declined);
                self.end(number, FileState::Declined { reason }, reporter);
                None
            }
            PairFileMessage::FileCancel { id } => {
                let number = self.of_pair(&from.user_id, &id).filter(|item| !item.is_over())?.number;
                self.end(number, FileState::Cancelled, reporter);
                None
            }
        }
    }

    /// Somebody offers a file. Returns the answer; none if the offer is known.
    fn offered(
        &mut self,
        from: &Participant,
        (id, name, size): (PairFileId, FileName, u64),
        reporter: &Reporter,
    ) -> Option<Result<(), FileDecline>> {
        if self.of_pair(&from.user_id, &id).is_some() {
            return None;
        }
        let arriving = |item: &&Item| item.is_of(&from.user_id) && matches!(item.direction, FileDirection::In);
        let is_full = self.items.len() >= MAX_ITEMS || self.items.iter().filter(arriving).count() >= MAX_OF_ONE;
        if is_full || self.offers.take(std::time::Instant::now()).is_err() {
            return Some(Err(FileDecline::Busy));
        }
        self.numbers += 1;
        let mut item = Item {
            number: self.numbers,
            direction: FileDirection::In,
            user: Some(from.user_id.clone()),
            nickname: from.nickname.as_str().to_owned(),
            name: name.clone(),
            size,
            way: Way::Pair(id),
            state: State::Over(Instant::now()),
        };
        let begun = match &mut self.inbox {
            None => Err(FileDecline::NoFiles),
            Some(_) if size > MAX_PAIR_FILE_BYTES => Err(FileDecline::TooLarge),
            Some(inbox) => inbox.begin(name, size),
        };
        let answer = begun.map(|file| item.state = State::Accepted { file, since: Instant::now() });
        reporter.event(&item.report(match answer {
            Ok(()) => FileState::Offered,
            Err(reason) => FileState::Declined { reason },
        }));
        // Also one that is declined: the answer has time to arrive before the pair ends.
        self.items.push(item);
        Some(answer)
    }

    /// The channel of a file is there, made by either side.
    pub(super) fn channel(&mut self, other: &UserId, channel: FileChannel) {
        let (pace, news) = (self.pace.clone(), self.news.clone());
        let item = self.of_pair(other, channel.id());
        let is_wanted = |item: &&mut Item| match item.state {
            State::Waiting { asked, .. } => asked.is_some(),
            State::Accepted { .. } => true,
            State::Running(_) | State::Over(_) => false,
        };
        let Some(item) = item.filter(is_wanted) else {
            tokio::spawn(async move { channel.close().await });
            return;
        };
        let (mut teller, size, of_task) = (Teller::new(item.number, news), item.size, channel.clone());
        let work = match std::mem::replace(&mut item.state, State::Over(Instant::now())) {
            State::Waiting { file, .. } => tokio::spawn(async move {
                let sent = transfer::send(&channel, (file, size), &pace, &mut teller).await;
                // The sender closes the channel: until then, the receiver's last word may be on its way.
                channel.close().await;
                teller.ended(sent).await;
            }),
            State::Accepted { file, .. } => tokio::spawn(async move {
                let received = transfer::receive(&channel, (file, size), &mut teller).await;
                teller.ended(received).await;
                // Until the sender has closed the channel.
                while channel.next().await.is_some() {}
            }),
            State::Running(_) | State::Over(_) => return,
        };
        item.state = State::Running(Task { work, channel: Some(of_task) });
    }

    /// Files to or from this participant have lost their connection.
    pub(super) fn lost(&mut self, other: &UserId, reporter: &Reporter) {
        let lost = self.items.iter().filter(|item| item.is_of(other) && !item.is_over());
        for number in lost.map(|item| item.number).collect::<Vec<_>>() {
            self.end(number, FileState::Lost, reporter);
        }
    }

    /// A word about this file did not reach the other one.
    pub(super) fn not_said(&mut self, other: &UserId, id: &PairFileId, reporter: &Reporter) {
        if let Some(number) = self.of_pair(other, id).filter(|item| !item.is_over()).map(|item| item.number) {
            self.end(number, FileState::Lost, reporter);
        }
    }

    /// Whether files need the pair with this participant, also without pictures and sound.
    pub(super) fn need(&self, other: &UserId) -> bool {
        let is_needed = |item: &Item| match item.state {
            State::Over(at) => at.elapsed() < LAST_WORD,
            _ => true,
        };
        self.items.iter().any(|item| item.is_of(other) && is_needed(item))
    }

    /// Those who get files over their pairs now.
    pub(super) fn receivers(&self) -> impl Iterator<Item = &UserId> {
        let is_sent = |item: &&Item| {
            item.direction == FileDirection::Out
                && matches!((&item.way, &item.state), (Way::Pair(_), State::Running(_)))
        };
        self.items.iter().filter(is_sent).filter_map(|item| item.user.as_ref())
    }

    /// A second has passed. `is_bad`: pictures and sound suffer.
    pub(super) fn second(&mut self, is_bad: bool, reporter: &Reporter) -> Vec<FileStep> {
        let is_running = |item: &&Item| matches!(item.state, State::Running(_));
        if self.items.iter().any(|item| is_running(&item)) {
            let to_server = |item: &Item| matches!(item.way, Way::Server(_));
            self.pace.second(is_bad, self.items.iter().filter(is_running).any(to_server));
        }
        let is_late = |item: &&Item| match item.state {
            State::Waiting { asked: Some(since), .. } | State::Accepted { since, .. } => since.elapsed() > OPENS_WITHIN,
            _ => false,
        };
        for number in self.items.iter().filter(is_late).map(|item| item.number).collect::<Vec<_>>() {
            self.end(number, FileState::Lost, reporter);
        }
        self.items.retain(|item| !matches!(item.state, State::Over(at) if at.elapsed() >= LAST_WORD));
        self.ask_next()
    }

    /// The next news of a file on its way. Cancel-safe.
    pub(super) async fn next(&mut self) -> FileNews {
        // This set has a sender, too, so the channel stays open.
        match self.news_queue.recv().await {
            Some((number, told)) => FileNews { number, told },
            None => std::future::pending().await,
        }
    }

    /// Applies the news.
    pub(super) fn apply(&mut self, FileNews { number, told }: FileNews, reporter: &Reporter) -> Vec<FileStep> {
        let item = self.items.iter().find(|item| item.number == number && !item.is_over());
        let Some(item) = item else { return Vec::new() };
        let ended = match told {
            Told::Progress(bytes) => {
                reporter.event(&item.report(FileState::Running { bytes }));
                return Vec::new();
            }
            Told::Ended(ended) => ended,
        };
        let mut steps = Vec::new();
        if let (Way::Pair(id), Some(user), Err(Broken::Failed(_))) = (&item.way, &item.user, &ended) {
            let cancel = PairFileMessage::FileCancel { id: id.clone() };
            steps.push(FileStep::Pair(user.clone(), PairInput::File(cancel)));
        }
        self.end(number, item::state_of(ended), reporter);
        steps.extend(self.ask_next());
        steps
    }

    /// Ends a file in this state, and tells.
    fn end(&mut self, number: u64, state: FileState, reporter: &Reporter) {
        let Some(item) = self.items.iter_mut().find(|item| item.number == number) else { return };
        let is_whole = matches!(state, FileState::Done { .. });
        if item.direction == FileDirection::In
            && let Some(inbox) = &mut self.inbox
        {
            inbox.over(item.size, is_whole);
        }
        reporter.event(&item.report(state));
        let State::Running(task) = std::mem::replace(&mut item.state, State::Over(Instant::now())) else { return };
        if is_whole {
            // The receiver waits for the end of the channel.
            tokio::spawn(async move {
                sleep(LAST_WORD).await;
                drop(task);
            });
        } else if let Some(channel) = task.channel.clone() {
            // No more bytes go. The other side hears first why: a channel that closes has lost its file.
            tokio::spawn(async move {
                sleep(LAST_WORD).await;
                channel.close().await;
            });
        }
    }

    fn of_pair(&mut self, other: &UserId, id: &PairFileId) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.is_of(other) && matches!(&item.way, Way::Pair(known) if known == id))
    }
}

/// News of a file on its way.
pub(super) struct FileNews {
    number: u64,
    told: Told,
}
