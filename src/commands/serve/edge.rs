//! The edges of this server: each receives the media of one lecture once, from the process that has it, and sends the
//! media to students in the publisher's name: by an SFU of its own, or over a node of an engine.

mod below;
mod fanout;
mod feed;
mod lecture_sfu;
mod low;
mod nodes;
mod pull;
mod students;
mod timers;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use self::fanout::{Fanout, FanoutEvent};
use self::feed::Feed;
use self::nodes::{Busy, Nodes};
use self::pull::{Pull, PullEvent, RETRY};
use self::students::Students;
use crate::cli::EngineNode;
use crate::commands::client_network::{self, usable};
use crate::commands::edge_meter::{EdgeMeter, LectureMeter};
use crate::commands::edges::Edges;
use crate::commands::hosted_source::SourceSettings;
use crate::commands::media_meter::{MediaMeter, SourceMeter};
use crate::commands::or_never;
use crate::commands::serve::engine::{Lines, Node};
use crate::commands::waiting_offers::WaitingOffers;
use crate::id::UserId;
use crate::protocol::channel::StudentMessage;
use crate::protocol::edge::FromEdge;
use crate::protocol::{ClientMessage, ErrorCode, ServerMessage, User};
use crate::report::Reporter;
use crate::rtp::{Encoding, Tier};
use crate::sfu::SfuEvent;
use crate::signal::{LocalEdge, LocalMember};
use crate::viewer::IceServers;

/// The interval of timers: lost packets are given up, and key frames requested.
const TICK: Duration = Duration::from_millis(20);

/// The longest wait for the edges at the end of the server.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The settings that all edges of a server share.
#[derive(Clone)]
pub(super) struct EdgeSettings {
    pub(super) source: SourceSettings,
    /// The addresses to receive at.
    pub(super) bind: Vec<String>,
    pub(super) meter: EdgeMeter,
    /// Counts what the SFUs send.
    pub(super) media: MediaMeter,
    pub(super) reporter: Reporter,
    /// Whether an SFU of this process serves students.
    pub(super) has_sfu: bool,
    /// The nodes of engines.
    pub(super) engines: Vec<EngineNode>,
}

impl EdgeSettings {
    /// The settings of a server that listens at `ip` and has `engines`; `media` counts what its SFUs send.
    pub(super) fn new(
        ip: IpAddr,
        source: SourceSettings,
        media: MediaMeter,
        engines: Vec<EngineNode>,
        reporter: Reporter,
    ) -> Self {
        // Without a network there is only the loopback interface.
        let loopback = ip.is_loopback().then(|| SocketAddr::new(ip, 0).to_string());
        let bind = loopback.into_iter().chain(client_network::bind_addresses(None)).collect();
        Self { source, bind, meter: EdgeMeter::default(), media, reporter, has_sfu: false, engines }
    }
}

/// The edges of a running server.
pub(super) struct RunningEdges {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningEdges {
    /// Runs the edges that come from the server.
    pub(super) fn start(settings: EdgeSettings, mut edges: mpsc::UnboundedReceiver<LocalEdge>) -> Self {
        let (end, mut ended) = oneshot::channel();
        let nodes = Nodes::new(settings.engines.clone());
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            loop {
                tokio::select! {
                    Some(edge) = edges.recv() => drop(running.spawn(nodes::run(edge, settings.clone(), nodes.clone()))),
                    // Ended edges are forgotten.
                    Some(_) = running.join_next() => {}
                    _ = &mut ended => break,
                }
            }
            while running.join_next().await.is_some() {}
        });
        Self { end, task }
    }

    /// Waits until the edges have said goodbye. The server has closed the rooms before.
    pub(super) async fn shutdown(self) {
        let _ = self.end.send(());
        let _ = tokio::time::timeout(END_WITHIN, self.task).await;
    }
}

/// The end of an edge.
enum Ended {
    /// Nobody needs the edge, or the server ends.
    Idle,
    /// The sender has failed; the reason.
    Lost(String),
}

/// Runs an edge to its end. `engine` sends the media, or else an SFU of this process. Returns the end, and the edge.
async fn run(
    mut edge: LocalEdge,
    engine: Option<(Node, Lines)>,
    settings: EdgeSettings,
    busy: Busy,
) -> (Ended, LocalEdge, bool) {
    let Some(member) = edge.join() else { return (Ended::Idle, edge, false) };
    settings.reporter.detail(format!("the server is an edge of room {}", edge.room()));
    let mut host = EdgeHost {
        member: Some(member),
        meter: settings.meter.lecture(engine.as_ref().map(|(node, _)| node.to_string())),
        source_meter: settings.media.room(),
        settings,
        engine,
        publisher: None,
        ice_servers: IceServers::default(),
        sfu: None,
        feed: Feed::new(),
        full: None,
        low: None,
        retry: Instant::now(),
        low_retry: Instant::now(),
        low_needed: [false; 2],
        waiting: WaitingOffers::default(),
        students: Students::default(),
        has_served: false,
        busy,
        below: Edges::default(),
        counted: Instant::now(),
        edge,
    };
    let ended = host.run().await;
    host.settings.reporter.detail(format!("the server is no longer an edge of room {}", host.edge.room()));
    let has_served = host.has_served;
    (ended, host.close().await, has_served)
}

/// The second connection, for the low tier, with the member in whose name it offers.
struct LowPull {
    member: LocalMember,
    pull: Option<Pull>,
}

/// An edge that runs.
struct EdgeHost {
    edge: LocalEdge,
    /// The connection to the room; none while the room has no owner that can be reached.
    member: Option<LocalMember>,
    settings: EdgeSettings,
    meter: LectureMeter,
    source_meter: SourceMeter,
    publisher: Option<User>,
    ice_servers: IceServers,
    /// The node of an engine that sends the media, and the lines of the students; none for an SFU of this process.
    engine: Option<(Node, Lines)>,
    sfu: Option<Fanout>,
    feed: Feed,
    full: Option<Pull>,
    low: Option<LowPull>,
    /// The earliest time of the next connection to the room or to the publisher.
    retry: Instant,
    /// The earliest time of the next connection for the low tier.
    low_retry: Instant,
    /// Whether a student needs the low tier of the screen, and of the camera.
    low_needed: [bool; 2],
    /// Offers of students that came before the media.
    waiting: WaitingOffers,
    students: Students,
    /// Whether a student was connected.
    has_served: bool,
    busy: Busy,
    /// The edges that get the lecture from this one.
    below: Edges,
    /// The time of the last counts.
    counted: Instant,
}

/// An input of an edge.
enum Input {
    Room(Option<ServerMessage>),
    LowRoom(Option<ServerMessage>),
    Full(PullEvent),
    Low(PullEvent),
    Sfu(FanoutEvent),
    Tick,
}

impl EdgeHost {
    async fn run(&mut self) -> Ended {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (member, low) = (&mut self.member, &mut self.low);
            let (low_member, low_pull) = match low {
                Some(low) => (Some(&mut low.member), low.pull.as_mut()),
                None => (None, None),
            };
            let input = {
                let pulls = async {
                    match (&mut self.full, low_pull) {
                        (None, None) => std::future::pending().await,
                        (Some(full), None) => Input::Full(full.next().await),
                        (None, Some(low)) => Input::Low(low.next().await),
                        (Some(full), Some(low)) => tokio::select! {
                            event = full.next() => Input::Full(event),
                            event = low.next() => Input::Low(event),
                        },
                    }
                };
                tokio::select! {
                    message = or_never(member.as_mut().map(LocalMember::receive)) => Input::Room(message),
                    message = or_never(low_member.map(LocalMember::receive)) => Input::LowRoom(message),
                    input = pulls => input,
                    event = or_never(self.sfu.as_mut().map(Fanout::next)) => Input::Sfu(event),
                    _ = tick.tick() => Input::Tick,
                }
            };
            match input {
                Input::Room(Some(message)) => self.on_message(message).await,
                Input::Room(None) => self.member = None,
                Input::LowRoom(Some(message)) => self.on_low_message(message).await,
                Input::LowRoom(None) => self.end_low(),
                Input::Full(event) => self.on_full(event).await,
                Input::Low(event) => self.on_low(event).await,
                Input::Sfu(FanoutEvent::Sfu(event)) => self.on_sfu(event).await,
                Input::Sfu(FanoutEvent::Ready) => self.answer_waiting(),
                Input::Sfu(FanoutEvent::Send(message)) => self.send(message),
                Input::Sfu(FanoutEvent::Connected(user)) => {
                    // Without a data channel the talk begins with the media.
                    self.has_served = true;
                    self.on_sfu(SfuEvent::Connected(user.clone())).await;
                    self.on_sfu(SfuEvent::ChannelOpen(user)).await;
                }
                Input::Sfu(FanoutEvent::Ended(None)) => {
                    self.sfu = None;
                    self.end_full();
                }
                Input::Sfu(FanoutEvent::Ended(Some(why))) => return Ended::Lost(why),
                Input::Tick => {
                    if !self.on_tick().await {
                        return Ended::Idle;
                    }
                }
            }
        }
    }

    /// Says goodbye to everybody.
    async fn close(mut self) -> LocalEdge {
        // The students of an engine that has failed connect elsewhere at once.
        self.member = None;
        self.end_full();
        self.end_low();
        if let Some(sfu) = self.sfu.take() {
            sfu.close().await;
        }
        self.edge
    }

    async fn on_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Joined { users, ice_servers, .. } => {
                self.ice_servers = usable(ice_servers);
                self.publisher_is(users.into_iter().find(|user| user.publishes));
                // Another owner of the room does not know whose media runs.
                for target_uid in self.students.all() {
                    self.send(ClientMessage::Connected { target_uid });
                }
            }
            ServerMessage::Join { users } => {
                for user in users {
                    if user.publishes {
                        self.publisher_is(Some(user));
                    } else {
                        self.student_is_back(user.user_id).await;
                    }
                }
            }
            ServerMessage::Leave { users, reason } => {
                for user in users {
                    if self.publisher.as_ref().is_some_and(|publisher| publisher.user_id == user) {
                        // Its media may flow on. Otherwise the connection ends by itself.
                        self.publisher = None;
                    } else {
                        self.waiting.remove(&user);
                        self.sfu.iter().for_each(|sfu| Students::leaves(user.clone(), reason, sfu));
                    }
                }
            }
            ServerMessage::Edges { edges } => self.below.set(edges),
            ServerMessage::Offer { user_id, sdp, .. } if self.below.contains(&user_id) => {
                self.offer_below(user_id, sdp);
            }
            ServerMessage::Offer { user_id, sdp, video, network, .. } => match &self.sfu {
                Some(sfu) if self.full.is_some() && sfu.is_ready() => sfu.offer(user_id, sdp, video, network),
                _ => {
                    let now = std::time::Instant::now();
                    if !self.waiting.push(now, user_id.clone(), sdp, video, network) {
                        self.send(not_live(user_id, ErrorCode::TargetBusy));
                    }
                }
            },
            ServerMessage::Candidate { user_id, candidate, .. } if !self.is_publisher(&user_id) => {
                if let (Some(candidate), Some(sfu)) = (self.waiting.add_candidate(&user_id, candidate), &self.sfu) {
                    sfu.candidate(user_id, candidate);
                }
            }
            ServerMessage::Answer { user_id, sdp, .. } if self.engine.is_some() && !self.is_publisher(&user_id) => {
                self.sfu.iter().for_each(|sfu| sfu.answer(user_id.clone(), sdp.clone()));
            }
            ServerMessage::Heard { user_id, message } => self.on_student_talk(user_id, message).await,
            message => {
                let is_hangup = matches!(message, ServerMessage::Hangup { .. });
                if let Some(full) = &mut self.full
                    && !full.on_message(message).await
                {
                    let was_connected = full.is_connected();
                    self.end_full();
                    if is_hangup && was_connected {
                        // The edge above is gone, and the room knows another place.
                        self.retry = Instant::now();
                    }
                }
            }
        }
    }

    /// Signalling of a student is back. One without a data channel has missed messages, and is welcomed again.
    async fn student_is_back(&self, user: UserId) {
        match &self.sfu {
            Some(sfu) if !sfu.is_engine() => sfu.signalling_back(user),
            Some(_) if self.students.contains(&user) => self.tell_holder(&FromEdge::Opened(user)).await,
            _ => {}
        }
    }

    /// A student without a data channel says something.
    async fn on_student_talk(&self, user: UserId, message: StudentMessage) {
        if self.sfu.as_ref().is_some_and(Fanout::is_engine) && self.students.contains(&user) {
            match message {
                StudentMessage::Receive(tiers) => self.sfu.iter().for_each(|sfu| sfu.limit(user.clone(), tiers)),
                StudentMessage::Viewing(viewing) => {
                    self.sfu.iter().for_each(|sfu| sfu.sees(user.clone(), viewing));
                    // The holder may have asked, too.
                    self.tell_holder(&FromEdge::Heard(user, StudentMessage::Viewing(viewing).to_json())).await;
                }
                message => self.tell_holder(&FromEdge::Heard(user, message.to_json())).await,
            }
        }
    }

    fn is_publisher(&self, user: &UserId) -> bool {
        self.publisher.as_ref().is_some_and(|publisher| publisher.user_id == *user)
    }

    /// The publisher is in the room. Another process of it has other media.
    fn publisher_is(&mut self, now: Option<User>) {
        let same = |before: &User, now: &User| before.user_id == now.user_id && before.epoch == now.epoch;
        let is_same = self.full.as_ref().zip(now.as_ref()).is_some_and(|(full, now)| same(full.publisher(), now));
        if now.is_some() && !is_same {
            self.end_full();
            self.end_low();
            self.retry = Instant::now();
        }
        self.publisher = now;
    }

    async fn on_full(&mut self, event: PullEvent) {
        match event {
            PullEvent::Nothing | PullEvent::ChannelOpen => {}
            PullEvent::Connected => self.meter.pulled(),
            PullEvent::Send(message) => self.send(message),
            PullEvent::Heard(text) => self.on_heard(&text).await,
            PullEvent::Gone => self.end_full(),
        }
    }

    /// The holder of the media says something, for students of this edge or for the edge itself.
    async fn on_heard(&mut self, text: &str) {
        let Some(encodings) = self.students.told(text, &self.below, self.sfu.as_ref()) else { return };
        if !encodings.is_empty() && self.sfu.as_ref().is_none_or(|sfu| !sfu.carries(&encodings)) {
            self.restart_sfu(encodings.clone()).await;
        }
        if let Some(Fanout::Sfu(sfu)) = &mut self.sfu {
            sfu.set_encodings(encodings.clone());
            self.below.tell_encodings(encodings, sfu.sfu());
        }
        if self.full.as_mut().is_some_and(Pull::announces) {
            // The holder has forgotten the students with the connection before.
            for message in self.students.announcements() {
                self.tell_holder(&message).await;
            }
        }
        self.answer_waiting();
    }

    /// The lecture has other tracks or codecs than before: everybody connects again.
    async fn restart_sfu(&mut self, encodings: Vec<Encoding>) {
        if let Some(before) = self.sfu.take() {
            for target_uid in self.students.take() {
                self.send(ClientMessage::Hangup { target_uid, source: None });
            }
            tokio::spawn(before.close());
            // The edges below connect again, too.
            self.below = Edges::default();
            self.low_needed = [false; 2];
        }
        let Some(publisher) = self.publisher.as_ref().map(|publisher| publisher.user_id.clone()) else { return };
        let mut source = self.settings.source.clone();
        source.tracer = source.tracer.in_room(self.edge.room());
        let engine = self.engine.as_ref().map(|(node, lines)| (node, lines.clone()));
        match Fanout::start(publisher, encodings, source, engine).await {
            Ok(sfu) => {
                self.feed.start(sfu.input());
                self.sfu = Some(sfu);
            }
            Err(error) => {
                self.settings.reporter.warn(format!("can't be an edge of room {}: {error}", self.edge.room()));
                self.end_full();
            }
        }
    }

    fn answer_waiting(&mut self) {
        let Some(sfu) = self.sfu.as_ref().filter(|sfu| sfu.is_ready()) else { return };
        for (user, offer) in self.waiting.take() {
            sfu.offer(user.clone(), offer.sdp, offer.video, offer.network);
            offer.candidates.into_iter().for_each(|candidate| sfu.candidate(user.clone(), candidate));
        }
    }

    async fn on_sfu(&mut self, event: SfuEvent) {
        match event {
            SfuEvent::KeyFrameNeeded(encoding) => self.feed.request_key_frame(encoding),
            SfuEvent::Needed(encoding, is_needed) if encoding.tier == Tier::Low => {
                self.need_low(encoding.track, is_needed).await;
            }
            SfuEvent::Notice(sentence) => {
                self.settings.reporter.detail(format!("room {}: {sentence}", self.edge.room()));
            }
            event => {
                let Some(event) = self.on_below(event).await else { return };
                let (message, told) = self.students.on_event(event, self.sfu.as_ref());
                message.into_iter().for_each(|message| self.send(message));
                if let Some(told) = told {
                    self.tell_holder(&told).await;
                }
            }
        }
    }

    async fn tell_holder(&self, message: &FromEdge) {
        if let Some(full) = &self.full {
            full.say(&message.to_text()).await;
        }
    }

    fn send(&self, message: ClientMessage) {
        if let Some(member) = &self.member {
            member.send(message);
        }
    }

    fn end_full(&mut self) {
        if let Some(full) = self.full.take() {
            full.close();
            self.retry = Instant::now() + RETRY;
        }
    }
}

/// Tells a student to try again in a moment: here, or with [`ErrorCode::RoomFull`] elsewhere.
fn not_live(target_uid: UserId, code: ErrorCode) -> ClientMessage {
    let message = "the teacher's picture and sound have not arrived at this server yet, try again in a moment".into();
    ClientMessage::Reject { target_uid, code, message, codec: None, source: None }
}
