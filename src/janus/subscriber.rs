//! A subscriber of a VideoRoom: finds the publisher, asks for its streams, and comes back when Janus is lost.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::error::JanusError;
use super::feeds::{Change, Feeds, Streams};
use super::member::{JanusRoom, Member};
use super::session::SessionEvent;
use super::subscribe::{JanusOffer, Subscribing, subscribe};
use super::transactions::Unasked;
use super::video_room::{self, Feed, JanusId, RoomEvent, RoomRequest};
use super::wire::{Candidate, HandleId, Jsep, MAX_CANDIDATES};
use crate::protocol::IceCandidate;
use crate::signal::Backoff;

/// The longest pause between attempts to reach Janus.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The time limit of a goodbye.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The queues between the task and the application.
const QUEUE: usize = 64;

/// The publisher that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JanusPublisher {
    /// Its id in the room.
    pub id: JanusId,
    /// The name that it shows.
    pub display: String,
    /// Changes when its streams change, and with the session.
    pub generation: u32,
    /// The codecs of its streams that this program does not decode.
    pub unknown: Vec<String>,
    /// How many other publishers there are.
    pub others: usize,
}

/// An event of a subscriber.
#[derive(Debug)]
pub enum JanusEvent {
    /// Janus or the room can't be used yet; the subscriber tries again. Only before the first [`JanusEvent::Joined`].
    Waiting(JanusError),
    /// In the room, for the first time or again.
    Joined(Option<JanusPublisher>),
    /// Another publisher is to be watched, or the same one with other streams.
    Publisher(JanusPublisher),
    /// The publisher has left, and there is no other one.
    PublisherLeft,
    /// A publisher sends nothing that this program decodes; its codecs.
    Undecodable(Vec<String>),
    /// The reply to [`Subscriber::subscribe`].
    Offer(JanusOffer),
    /// A candidate of Janus.
    Candidate(IceCandidate),
    /// The subscription has failed or has ended: subscribe again.
    Unsubscribed(String),
    /// Janus or the room is lost; the subscriber comes back by itself.
    Lost(JanusError),
    /// The last event: Janus refuses this client for good.
    Ended(JanusError),
}

#[derive(Debug)]
enum Command {
    Subscribe { is_again: bool },
    Answer(String),
    Candidate(IceCandidate),
    Probe,
    Leave,
}

/// A subscriber. Dropping it without [`Subscriber::leave`] is a lost connection to Janus.
#[derive(Debug)]
pub struct Subscriber {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<JanusEvent>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Starts to connect. `feed` is the only publisher to watch; `None` takes the newest one.
    pub fn start(room: JanusRoom, feed: Option<JanusId>) -> Self {
        let (commands, received) = mpsc::channel(QUEUE);
        let (events, event_queue) = mpsc::channel(QUEUE);
        let feeds = Feeds::new(feed);
        let task = Task { room, feeds, commands: received, events, generation: 0, has_joined: false };
        Self { commands, events: event_queue, task: tokio::spawn(task.run()) }
    }

    /// The next event; `None` after [`JanusEvent::Ended`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<JanusEvent> {
        self.events.recv().await
    }

    /// Asks for the streams of the publisher, in a new connection. `is_again`: nothing came of the last one.
    pub fn subscribe(&self, is_again: bool) {
        self.send(Command::Subscribe { is_again });
    }

    /// Sends the answer to [`JanusEvent::Offer`].
    pub fn answer(&self, sdp: String) {
        self.send(Command::Answer(sdp));
    }

    /// Sends a candidate of this side.
    pub fn candidate(&self, candidate: IceCandidate) {
        self.send(Command::Candidate(candidate));
    }

    /// Checks whether Janus still answers.
    pub fn probe(&self) {
        self.send(Command::Probe);
    }

    /// Leaves the room; takes one second at the most.
    pub async fn leave(mut self) {
        self.send(Command::Leave);
        // The queue may be full of events that nobody takes any more.
        self.events.close();
        let _ = timeout(LEAVE_WITHIN, &mut self.task).await;
    }

    /// A message that does not fit is lost, as with a lost connection; the deadline of the connection mends that.
    fn send(&self, command: Command) {
        let _ = self.commands.try_send(command);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    room: JanusRoom,
    feeds: Feeds,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<JanusEvent>,
    generation: u32,
    has_joined: bool,
}

/// How a stay in the room ends.
enum End {
    Left,
    Lost(JanusError),
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        let mut address = None;
        loop {
            let begun = Instant::now();
            let error = match self.stay(&mut address).await {
                End::Left => return,
                End::Lost(error) => error,
            };
            if error.is_final(!self.has_joined) {
                let _ = self.events.send(JanusEvent::Ended(error)).await;
                return;
            }
            if !self.has_joined {
                let _ = self.events.send(JanusEvent::Waiting(error)).await;
            }
            if self.is_left_within(backoff.after(begun)).await {
                return;
            }
        }
    }

    /// Waits, and ignores what is about a connection that is gone. Returns whether the application leaves.
    async fn is_left_within(&mut self, pause: Duration) -> bool {
        let mut pause = std::pin::pin!(sleep(pause));
        loop {
            tokio::select! {
                () = &mut pause => return false,
                command = self.commands.recv() => match command {
                    Some(Command::Leave) | None => return true,
                    // The next join brings the publisher again.
                    Some(_) => {}
                },
            }
        }
    }

    /// One stay in the room, from the connection to its loss.
    async fn stay(&mut self, address: &mut Option<SocketAddr>) -> End {
        let member = match Member::join(&self.room, *address, None).await {
            Ok(member) => member,
            Err(error) => return End::Lost(error),
        };
        *address = member.address.or(*address);
        let mut stay = Stay { member, subscribed: None, more_candidates: 0 };
        self.report_undecodable(&stay.member.feeds).await;
        let feeds = std::mem::take(&mut stay.member.feeds);
        self.generation = self.generation.wrapping_add(1);
        self.feeds.joined(feeds);
        self.has_joined = true;
        self.tell(JanusEvent::Joined(self.publisher())).await;
        let end = loop {
            tokio::select! {
                event = stay.member.events.recv() => {
                    if let Some(lost) = self.on_event(&mut stay, event).await {
                        break End::Lost(lost);
                    }
                }
                command = self.commands.recv() => match command {
                    Some(Command::Subscribe { is_again }) => self.subscribe(&mut stay, is_again).await,
                    Some(Command::Answer(sdp)) => self.answer(&stay, sdp).await,
                    Some(Command::Candidate(candidate)) => {
                        if let Some(handle) = stay.subscribed {
                            stay.member.session.trickle(handle, Candidate::One(candidate));
                        }
                    }
                    Some(Command::Probe) => stay.member.session.probe(),
                    Some(Command::Leave) | None => break End::Left,
                },
            }
        };
        if let End::Lost(error) = &end
            && !error.is_final(false)
        {
            self.tell(JanusEvent::Lost(error.clone())).await;
        }
        // Janus keeps the handles of a session that nobody ends for a minute.
        stay.member.session.end().await;
        end
    }

    /// Handles an event. Returns why Janus or the room is lost.
    async fn on_event(&mut self, stay: &mut Stay, event: Option<SessionEvent>) -> Option<JanusError> {
        let url = self.room.server.url.clone();
        let event = match event {
            Some(SessionEvent::Unasked(event)) => event,
            Some(SessionEvent::Lost(error)) => return Some(error),
            None => return Some(JanusError::broken(&url, "has closed the connection")),
        };
        match event {
            Unasked::Plugin(handle, data, jsep) => {
                // An event that this program does not know is not about it.
                let event = video_room::parse(data).unwrap_or(RoomEvent::Other);
                if Some(handle) == stay.subscribed && jsep.is_some() {
                    let why = "the publisher has changed its streams".to_owned();
                    self.unsubscribed(stay, why).await;
                    return None;
                }
                match event {
                    RoomEvent::Feeds(feeds) => {
                        self.report_undecodable(&feeds).await;
                        let change = self.feeds.came(feeds);
                        self.on_change(change).await;
                    }
                    RoomEvent::Gone(id) => {
                        let change = self.feeds.left(&id);
                        self.on_change(change).await;
                    }
                    RoomEvent::Kicked => return Some(JanusError::Removed { url }),
                    RoomEvent::Destroyed => return Some(JanusError::broken(&url, "has destroyed the room")),
                    RoomEvent::Joined { .. } | RoomEvent::Attached(_) | RoomEvent::Created | RoomEvent::Other => {}
                }
            }
            Unasked::Candidate(handle, Candidate::One(candidate))
                if Some(handle) == stay.subscribed && stay.more_candidates > 0 =>
            {
                stay.more_candidates -= 1;
                self.tell(JanusEvent::Candidate(candidate)).await;
            }
            Unasked::Hangup(handle, reason) if Some(handle) == stay.subscribed => {
                self.unsubscribed(stay, format!("Janus has closed the connection ({reason})")).await;
            }
            Unasked::Detached(handle) if Some(handle) == stay.subscribed => {
                self.unsubscribed(stay, "Janus has ended the subscription".to_owned()).await;
            }
            Unasked::Detached(handle) if handle == stay.member.handle => {
                return Some(JanusError::broken(&url, "has removed this program from the room"));
            }
            // Hangups, ends and candidates of handles that are gone.
            Unasked::Candidate(..) | Unasked::Up(_) | Unasked::Hangup(..) | Unasked::Detached(_) | Unasked::Over => {}
        }
        None
    }

    async fn on_change(&mut self, change: Change) {
        match (change, self.publisher()) {
            (Change::Watch, Some(publisher)) => {
                self.generation = self.generation.wrapping_add(1);
                self.tell(JanusEvent::Publisher(JanusPublisher { generation: self.generation, ..publisher })).await;
            }
            (Change::Nobody, _) => self.tell(JanusEvent::PublisherLeft).await,
            _ => {}
        }
    }

    async fn report_undecodable(&self, feeds: &[Feed]) {
        for codecs in feeds.iter().filter_map(Feeds::undecodable) {
            self.tell(JanusEvent::Undecodable(codecs)).await;
        }
    }

    /// Subscribes in a handle of its own: another connection needs another handle.
    async fn subscribe(&mut self, stay: &mut Stay, is_again: bool) {
        if let Some(handle) = stay.subscribed.take() {
            stay.member.session.detach(handle);
        }
        if is_again {
            let change = self.feeds.failed();
            if change != Change::Nothing {
                return self.on_change(change).await;
            }
        }
        let Some((feed, streams)) = self.feeds.current() else { return };
        let (feed, streams) = (feed.id.clone(), streams.clone());
        match stay.subscribe(&feed, &streams).await {
            Ok(offer) => self.tell(JanusEvent::Offer(offer)).await,
            Err(error) => self.unsubscribed(stay, error.to_string()).await,
        }
    }

    async fn answer(&self, stay: &Stay, sdp: String) {
        let Some(handle) = stay.subscribed else { return };
        let started = stay.member.session.room(handle, RoomRequest::Start, Some(Jsep::answer(sdp))).await;
        if let Err(error) = started {
            self.tell(JanusEvent::Unsubscribed(error.to_string())).await;
        }
    }

    async fn unsubscribed(&self, stay: &mut Stay, why: String) {
        if let Some(handle) = stay.subscribed.take() {
            stay.member.session.detach(handle);
        }
        self.tell(JanusEvent::Unsubscribed(why)).await;
    }

    fn publisher(&self) -> Option<JanusPublisher> {
        let (feed, streams) = self.feeds.current()?;
        Some(JanusPublisher {
            id: feed.id.clone(),
            display: feed.display.to_string(),
            generation: self.generation,
            unknown: streams.unknown.clone(),
            others: self.feeds.others(),
        })
    }

    /// The application takes events all the time; one that has gone needs none.
    async fn tell(&self, event: JanusEvent) {
        let _ = self.events.send(event).await;
    }
}

/// A stay in the room.
struct Stay {
    member: Member,
    /// The handle of the subscription.
    subscribed: Option<HandleId>,
    /// Candidates of Janus that may still follow its offer.
    more_candidates: usize,
}

impl Stay {
    async fn subscribe(&mut self, feed: &JanusId, streams: &Streams) -> Result<JanusOffer, JanusError> {
        let Member { session, room, private_id, .. } = &self.member;
        let (url, access, private_id) = (&room.server.url, self.member.access(), *private_id);
        let (handle, offer) = subscribe(Subscribing { session, url, access, private_id }, feed, streams).await;
        self.subscribed = handle;
        self.more_candidates = MAX_CANDIDATES;
        offer
    }
}
