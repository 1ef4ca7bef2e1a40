//! A member of a room as a browser is one, without pictures: a WebSocket, a connection to the teacher and to each
//! speaker, and a connection that sends while the member teaches or speaks. Packets name their sender and their frame.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use classroom::id::UserId;
use classroom::protocol::channel::{OffStage, PublisherMessage, Stage, StudentMessage};
use classroom::protocol::{
    ClientMessage, ErrorCode, IceCandidate, OfferedTracks, Participants, ServerMessage, TrackName,
};
use classroom::rtp::{Codec, Track};
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::numbered::{Frames, Pace, read, send};
use super::sending::Sending;
use super::{Site, until};

/// The user id of the teacher.
const TEACHER: &str = "9999";

/// The pause before an offer is repeated if the answer names none.
const RETRY: Duration = Duration::from_millis(500);

/// What a member has seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    pub stage: Stage,
    /// The participants of the meeting.
    pub meeting: Participants,
    /// Messages over the data channel of the main connection.
    pub heard: Vec<PublisherMessage>,
    /// Messages over the data channel of the connection that sends, of a speaker.
    pub heard_as_speaker: Vec<PublisherMessage>,
    /// Messages over the data channels of connections to speakers.
    pub heard_of_speakers: Vec<String>,
    /// Errors, with the user who rejected the offer.
    pub errors: Vec<(ErrorCode, Option<UserId>)>,
    /// Users whose media has ended, as signalling says.
    pub hangups: Vec<UserId>,
    /// How often a connection that sends was established.
    pub sends: usize,
    /// How often a connection to this user was established.
    pub connects: BTreeMap<UserId, usize>,
    /// The received frames, by the user whose connection brought them.
    pub frames: BTreeMap<(UserId, Track), Frames>,
}

impl Seen {
    /// The number of frames that came from a user.
    pub fn frames_of(&self, user: u32, track: Track) -> usize {
        self.frames.get(&(id(user), track)).map_or(0, |frames| frames.numbers.len())
    }

    pub fn speakers(&self) -> Vec<String> {
        self.stage.speakers.iter().map(|speaker| speaker.user_id.to_string()).collect()
    }

    pub fn off_stage(&self) -> Option<OffStage> {
        self.heard.iter().rev().find_map(|message| match message {
            PublisherMessage::OffStage { reason } => Some(*reason),
            _ => None,
        })
    }

    pub fn invitations(&self) -> usize {
        self.heard.iter().filter(|message| matches!(message, PublisherMessage::Invited { .. })).count()
    }
}

/// A member of the room.
pub struct Member {
    pub user: u32,
    orders: mpsc::UnboundedSender<Order>,
    seen: Arc<Mutex<Seen>>,
    pace: Arc<AtomicU8>,
    task: JoinHandle<()>,
}

enum Order {
    Say(StudentMessage),
    Signal(ClientMessage),
    Publish(Vec<TrackName>),
    StopSending,
    Offer(UserId),
}

pub fn id(user: u32) -> UserId {
    user.to_string().parse().unwrap()
}

impl Member {
    /// A teacher, who publishes by the server. Returns when connected.
    pub async fn teacher(at: impl Into<Site>) -> Self {
        let teacher = Self::join(at, 9999, "pub=pub&media=server").await;
        teacher.publish(&[TrackName::Audio, TrackName::Screen]);
        until("a teacher", || teacher.seen().heard.iter().any(|m| matches!(m, PublisherMessage::Welcome { .. }))).await;
        teacher
    }

    /// A student. Returns when the lecture arrives.
    pub async fn student(at: impl Into<Site>, user: u32) -> Self {
        let student = Self::join(at, user, "pub=no").await;
        student.offer(9999);
        until("a lecture", || student.seen().frames_of(9999, Track::Screen) > 0).await;
        student
    }

    /// Opens the WebSocket alone.
    pub async fn join(at: impl Into<Site>, user: u32, query: &str) -> Self {
        let Site { address, room } = at.into();
        let stream = TcpStream::connect(&address).await.unwrap();
        let epoch = rand::random::<u32>() >> 1;
        let url =
            format!("ws://{address}/ws?roomId={room}&userId={user}&nickname=S-{user}&auth=1&epoch={epoch}&{query}");
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        let session = format!("sessionsession{user}");
        socket.send(Message::text(format!(r#"{{"type":"auth","session":"{session}"}}"#))).await.unwrap();
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (seen, pace) = (Arc::<Mutex<Seen>>::default(), Arc::new(AtomicU8::new(0)));
        let run = Run {
            user: id(user),
            number: user,
            socket,
            orders: orders.clone(),
            seen: Arc::clone(&seen),
            pace: Arc::clone(&pace),
            links: HashMap::new(),
            sending: None,
            links_opened: 0,
        };
        Self { user, orders, seen, pace, task: tokio::spawn(run.run(order_queue)) }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something over the data channel of the main connection.
    pub fn say(&self, message: StudentMessage) {
        let _ = self.orders.send(Order::Say(message));
    }

    /// Sends a message to signalling.
    pub fn signal(&self, message: ClientMessage) {
        let _ = self.orders.send(Order::Signal(message));
    }

    /// Opens a connection to a user.
    pub fn offer(&self, to: u32) {
        let _ = self.orders.send(Order::Offer(id(to)));
    }

    /// Opens a connection that sends, and closes an earlier one.
    pub fn publish(&self, tracks: &[TrackName]) {
        let _ = self.orders.send(Order::Publish(tracks.to_vec()));
    }

    /// Closes the connection that sends.
    pub fn stop_sending(&self) {
        let _ = self.orders.send(Order::StopSending);
    }

    /// Changes what the member sends.
    pub fn set_pace(&self, pace: Pace) {
        self.pace.store(pace as u8, Ordering::Relaxed);
    }

    /// Accepts the invitation and publishes.
    pub fn accept(&self, tracks: &[TrackName]) {
        self.say(StudentMessage::StageAnswer { accepted: true, why: None });
        self.publish(tracks);
    }

    /// Is gone without a word: the WebSocket is dropped, and so are all connections.
    pub async fn vanish(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A connection that receives.
struct Link {
    viewer: Viewer,
    /// The id of the speaker; 0 for the teacher.
    speaker: u64,
    number: usize,
}

/// The task of a member.
struct Run {
    user: UserId,
    number: u32,
    socket: WebSocketStream<TcpStream>,
    orders: mpsc::UnboundedSender<Order>,
    seen: Arc<Mutex<Seen>>,
    pace: Arc<AtomicU8>,
    links: HashMap<UserId, Link>,
    sending: Option<(Sending, JoinHandle<()>)>,
    links_opened: usize,
}

impl Drop for Run {
    fn drop(&mut self) {
        let connections = self.links.drain().map(|(_, link)| link.viewer);
        connections.for_each(|viewer| drop(tokio::spawn(viewer.close())));
        self.stop_sending();
    }
}

impl Run {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let (events, mut event_queue) = mpsc::unbounded_channel();
        loop {
            let of_sending = async {
                match &mut self.sending {
                    Some((sending, _)) => tokio::select! {
                        text = sending.heard.recv() => text,
                        Some(()) = sending.connected.recv() => Some(String::new()),
                    },
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        if let Ok(message) = ServerMessage::parse(&text) {
                            self.on_message(message).await;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
                Some((user, number, event)) = event_queue.recv() => self.on_event(user, number, event, &events).await,
                Some(text) = of_sending => self.on_heard_while_sending(&text, &events).await,
                order = orders.recv() => match order {
                    Some(order) => self.obey(order, &events).await,
                    None => return,
                },
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn teaches(&self) -> bool {
        self.user.as_str() == TEACHER
    }

    async fn send(&mut self, message: ClientMessage) {
        let _ = self.socket.send(Message::text(message.to_json())).await;
    }

    async fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Answer { user_id, sdp, .. } if user_id == self.user => {
                if let Some((sending, _)) = &self.sending {
                    sending.answer(sdp).await;
                }
            }
            ServerMessage::Answer { user_id, sdp, .. } => {
                if let Some(link) = self.links.get(&user_id) {
                    link.viewer.answer(sdp).await.unwrap();
                }
            }
            ServerMessage::Error { code, user_id, retry_after_ms, .. } => {
                self.seen().errors.push((code, user_id.clone()));
                // Offers of a network are limited.
                if retry_after_ms.is_some() {
                    let again: Vec<UserId> = user_id.map_or_else(|| self.unanswered(), |user| vec![user]);
                    again.into_iter().for_each(|user| self.offer_later(user));
                }
            }
            ServerMessage::Participants(meeting) => self.seen().meeting = meeting,
            ServerMessage::Hangup { user_id } => {
                self.seen().hangups.push(user_id.clone());
                self.offer_later(user_id);
            }
            _ => {}
        }
    }

    /// The users whose connection was not established yet.
    fn unanswered(&self) -> Vec<UserId> {
        let seen = self.seen();
        self.links.keys().filter(|user| !seen.connects.contains_key(user)).cloned().collect()
    }

    fn offer_later(&mut self, user: UserId) {
        if self.links.contains_key(&user) {
            let orders = self.orders.clone();
            tokio::spawn(async move {
                tokio::time::sleep(RETRY).await;
                let _ = orders.send(Order::Offer(user));
            });
        }
    }

    async fn on_event(&mut self, user: UserId, number: usize, event: ViewerEvent, events: &Events) {
        let Some(link) = self.links.get(&user).filter(|link| link.number == number) else { return };
        match event {
            ViewerEvent::Candidate(candidate) => {
                let candidate = IceCandidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    ..IceCandidate::default()
                };
                self.send(ClientMessage::Candidate { entry: None, target_uid: user, candidate, source: None }).await;
            }
            ViewerEvent::Connected => *self.seen().connects.entry(user).or_default() += 1,
            ViewerEvent::BeginningMissed(track) => link.viewer.request_key_frame(track).await,
            ViewerEvent::Heard(text) if user.as_str() == TEACHER => self.on_heard(&text, events).await,
            ViewerEvent::Heard(text) => self.seen().heard_of_speakers.push(text),
            ViewerEvent::Gone => self.offer_later(user),
            ViewerEvent::ChannelOpen | ViewerEvent::Disturbed => {}
        }
    }

    /// The text is empty when the connection is established.
    async fn on_heard_while_sending(&mut self, text: &str, events: &Events) {
        if text.is_empty() {
            self.seen().sends += 1;
        } else if self.teaches() {
            self.on_heard(text, events).await;
        } else {
            self.seen().heard_as_speaker.push(PublisherMessage::parse(text).unwrap());
        }
    }

    async fn on_heard(&mut self, text: &str, events: &Events) {
        let message = PublisherMessage::parse(text).unwrap();
        self.seen().heard.push(message.clone());
        match message {
            PublisherMessage::Stage(stage) => {
                self.seen().stage = stage.clone();
                let is_listed = |user: &UserId, link: &Link| {
                    link.speaker == 0 || stage.speakers.iter().any(|s| s.user_id == *user && s.id == link.speaker)
                };
                let gone: Vec<UserId> = self
                    .links
                    .iter()
                    .filter(|(user, link)| !is_listed(user, link))
                    .map(|(user, _)| user.clone())
                    .collect();
                for user in gone {
                    self.close(&user);
                }
                for speaker in stage.speakers {
                    if speaker.user_id != self.user && !self.links.contains_key(&speaker.user_id) {
                        self.offer(speaker.user_id, speaker.id, events).await;
                    }
                }
            }
            PublisherMessage::OffStage { .. } => self.stop_sending(),
            _ => {}
        }
    }

    fn close(&mut self, user: &UserId) {
        if let Some(link) = self.links.remove(user) {
            tokio::spawn(link.viewer.close());
        }
    }

    async fn offer(&mut self, user: UserId, speaker: u64, events: &Events) {
        self.close(&user);
        let (of_link, seen, target) = (user.clone(), Arc::clone(&self.seen), user.clone());
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(track, packet) = incoming
                && let Some(packet) = read(track, packet)
            {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.frames.entry((of_link.clone(), track)).or_default().note(&packet);
            }
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, sdp, mut of_viewer) = Viewer::offer(config, sink).await.unwrap();
        self.links_opened += 1;
        let number = self.links_opened;
        self.links.insert(user.clone(), Link { viewer, speaker, number });
        let events = events.clone();
        tokio::spawn(async move {
            while let Some(event) = of_viewer.recv().await {
                let _ = events.send((user.clone(), number, event));
            }
        });
        self.send(ClientMessage::Offer { entry: None, target_uid: target, sdp, video: None, tracks: None }).await;
    }

    async fn obey(&mut self, order: Order, events: &Events) {
        match order {
            Order::Say(message) => self.say(message).await,
            Order::Signal(message) => self.send(message).await,
            Order::Publish(tracks) => self.publish(tracks).await,
            Order::StopSending => self.stop_sending(),
            Order::Offer(user) => {
                let speaker = self.links.get(&user).map_or(0, |link| link.speaker);
                self.offer(user, speaker, events).await;
            }
        }
    }

    /// The channel opens a little later than the connection.
    async fn say(&mut self, message: StudentMessage) {
        let text = message.to_json();
        let said = match &self.sending {
            Some((sending, _)) if self.teaches() => sending.channel.try_send_text(&text).await.is_ok(),
            _ => match self.links.get(&TEACHER.parse().unwrap()) {
                Some(link) => link.viewer.say(&text).await,
                None => false,
            },
        };
        if !said {
            let orders = self.orders.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = orders.send(Order::Say(message));
            });
        }
    }

    async fn publish(&mut self, tracks: Vec<TrackName>) {
        let earlier = self.sending.take();
        let media: Vec<(Track, Codec)> = tracks
            .iter()
            .map(|track| match track {
                TrackName::Audio => (Track::Audio, Codec::Opus),
                TrackName::Screen => (Track::Screen, Codec::Vp8),
                TrackName::Camera => (Track::Camera, Codec::Vp8),
            })
            .collect();
        let (sending, senders, sdp) = Sending::offer(&media).await;
        let mids = sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(str::to_owned);
        let tracks: OfferedTracks = mids.zip(tracks).collect();
        let task = tokio::spawn(send(self.number, senders, Arc::clone(&self.pace)));
        self.sending = Some((sending, task));
        let target_uid = self.user.clone();
        self.send(ClientMessage::Offer { entry: None, target_uid, sdp, video: None, tracks: Some(tracks) }).await;
        // A page that is loaded again is gone before it offers; here the new connection takes over from the old one.
        if let Some((sending, task)) = earlier {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                task.abort();
                let _ = sending.connection.close().await;
            });
        }
    }

    fn stop_sending(&mut self) {
        if let Some((sending, task)) = self.sending.take() {
            task.abort();
            tokio::spawn(async move { sending.connection.close().await });
        }
    }
}

/// Events of connections, with the user and the number of the link.
type Events = mpsc::UnboundedSender<(UserId, usize, ViewerEvent)>;
