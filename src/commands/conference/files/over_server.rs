//! Files over the server, while it carries the media of the meeting.

use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use super::item::{Item, State, Task, Way};
use super::transfer::{self, Teller};
use super::{FileStep, Files};
use crate::http::file_client::FileClient;
use crate::id::UserId;
use crate::protocol::{
    ClientMessage, ErrorCode, FileDecline, MAX_SERVER_FILE_BYTES, MimeType, ServerMessage, ShareFile, SharedFile,
};
use crate::report::{FileDirection, FileState, Reporter};

/// The most numbers of files at the server that are remembered: more than a server keeps for a room.
const MAX_KNOWN: usize = 256;

impl Files {
    /// A message of the server, perhaps about files. `server` makes requests there.
    pub(in crate::commands::conference) fn told(
        &mut self,
        message: &ServerMessage,
        (me, server): (&UserId, Option<FileClient>),
        reporter: &Reporter,
    ) -> Vec<FileStep> {
        let asking = |item: &&mut Item| {
            item.way == Way::Server(None) && matches!(item.state, State::Waiting { asked: Some(_), .. })
        };
        match message {
            ServerMessage::FilePlace { file: id } => {
                let (id, pace, news) = (*id, self.pace.clone(), self.news.clone());
                if let Some((item, server)) = self.items.iter_mut().find(asking).zip(server)
                    && let State::Waiting { file, .. } = &item.state
                {
                    let (mut teller, source) = (Teller::new(item.number, news), (Arc::clone(file), item.size));
                    item.way = Way::Server(Some(id));
                    item.state = running(async move {
                        let sent = transfer::upload(&server, id, source, &pace, &mut teller).await;
                        teller.ended(sent).await;
                    });
                }
            }
            ServerMessage::Error { code: ErrorCode::FileRefused, message, .. } => {
                if let Some(number) = self.items.iter_mut().find(asking).map(|item| item.number) {
                    self.end(number, FileState::Failed { cause: message.clone() }, reporter);
                }
            }
            ServerMessage::File(shared) if shared.user_id != *me => self.shared(shared, server, reporter),
            ServerMessage::FileGone { file } => {
                let gone = |item: &&Item| item.way == Way::Server(Some(*file)) && !item.is_over();
                if let Some(number) = self.items.iter().find(gone).map(|item| item.number) {
                    let cause = "the server does not have the file any more".to_owned();
                    self.end(number, FileState::Failed { cause }, reporter);
                }
            }
            _ => {}
        }
        self.ask_next()
    }

    /// A file lies at the server.
    fn shared(&mut self, shared: &SharedFile, server: Option<FileClient>, reporter: &Reporter) {
        let SharedFile { file: id, user_id, nickname, share } = shared;
        if !(1..=MAX_SERVER_FILE_BYTES).contains(&share.size) || !self.known.insert(*id) {
            return;
        }
        if self.known.len() > MAX_KNOWN {
            self.known.pop_first();
        }
        self.numbers += 1;
        let mut item = Item {
            number: self.numbers,
            direction: FileDirection::In,
            user: Some(user_id.clone()),
            nickname: nickname.as_str().to_owned(),
            name: share.name.clone(),
            size: share.size,
            way: Way::Server(Some(*id)),
            state: State::Over(Instant::now()),
        };
        let begun = match (&mut self.inbox, server) {
            (None, _) => Err(FileDecline::NoFiles),
            (Some(inbox), Some(server)) => inbox.begin(share.name.clone(), share.size).map(|file| (file, server)),
            (Some(_), None) => Err(FileDecline::Busy),
        };
        reporter.event(&item.report(match begun {
            Ok(_) => FileState::Offered,
            Err(reason) => FileState::Declined { reason },
        }));
        let Ok((file, server)) = begun else { return };
        let (mut teller, id, target) = (Teller::new(item.number, self.news.clone()), *id, (file, item.size));
        item.state = running(async move {
            let received = transfer::download(&server, id, target, &mut teller).await;
            teller.ended(received).await;
        });
        self.items.push(item);
    }

    /// Asks the server for a place for the next file: a sender has one unfinished file there.
    pub(super) fn ask_next(&mut self) -> Vec<FileStep> {
        let is_to_server =
            |item: &&mut Item| item.direction == FileDirection::Out && matches!(item.way, Way::Server(_));
        let mut waiting = None;
        for item in self.items.iter_mut().filter(is_to_server) {
            match &mut item.state {
                State::Waiting { asked: Some(_), .. } | State::Running(_) => return Vec::new(),
                State::Waiting { asked, .. } if waiting.is_none() => {
                    let (name, size) = (item.name.clone(), item.size);
                    let share = ShareFile { name, size, mime: MimeType::default(), to: item.user.clone() };
                    waiting = Some((asked, share));
                }
                _ => {}
            }
        }
        let Some((asked, share)) = waiting else { return Vec::new() };
        *asked = Some(Instant::now());
        vec![FileStep::Server(ClientMessage::ShareFile(share))]
    }
}

fn running(work: impl Future<Output = ()> + Send + 'static) -> State {
    State::Running(Task { work: tokio::spawn(work), channel: None })
}
