//! A lecture at one node of an engine, an SFU of somebody else: published there once, and students are placed there.
//!
//! An engine has three verbs: it gets a lecture (a [`Host`], as for `teach --whip` and `teach --janus`), it connects
//! students ([`Students`]), and it is dropped once it fails. Students speak to this server alone: it passes on their
//! offers, answers and candidates, so they need neither the engine's protocol nor its secrets. They have no data
//! channel; their messages travel by signalling (`talk`).

mod janus;
mod lecture;
mod livekit;
mod mediamtx;
mod pulse;

use std::collections::HashSet;
use std::fmt;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use self::janus::JanusStudents;
use self::lecture::Lecture;
use self::livekit::LiveKitStudents;
use self::mediamtx::MediaMtxStudents;
use self::pulse::Pulse;
use crate::cli::{EngineNode, Engines, SecretSource};
use crate::commands::access::read_secrets;
use crate::commands::client_network::bind_addresses_for;
use crate::commands::or_never;
use crate::commands::whip_out::{FrameOutputs, Host, KeyFrameBudget, Target, TargetEvent, TargetMedia};
use crate::exit::Failure;
use crate::id::UserId;
use crate::livekit::LiveKitKey;
use crate::protocol::channel::PublisherMessage;
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, VideoTrack};
use crate::publisher::Layering;
use crate::report::{HostKind, HostState, Reporter};
use crate::rtp::{Encoding, Frame, Tier, Track};
use crate::sdp::ice::IceServers;

/// Orders and events that wait. A class that comes at once sends some candidates each.
const QUEUE: usize = 4_096;

/// Events of the publishing connection that wait.
const TARGET_QUEUE: usize = 64;

/// An order about a student.
#[derive(Debug)]
pub(super) enum EngineOrder {
    /// The student offers a connection, in place of any before; for this video alone, if one is named.
    Offer(UserId, String, Option<VideoTrack>),
    /// The student answers the engine's offer.
    Answer(UserId, String),
    /// A candidate of the student.
    Candidate(UserId, IceCandidate),
    /// The student has left, or is connected elsewhere.
    Remove(UserId),
}

/// An event of a lecture at an engine.
#[derive(Debug)]
pub(super) enum EngineEvent {
    /// A message for a student, in the publisher's name: an answer, an offer, a candidate, a refusal, or `tell`.
    Send(ClientMessage),
    /// The student receives media.
    Connected(UserId),
    /// The student's connection is gone.
    Gone(UserId),
    /// The engine needs a key frame.
    KeyFrameNeeded(Encoding),
    /// The low tier of a video is needed, or not needed any more.
    NeedsLow(Track, bool),
    /// The node can't be used: the last event.
    Lost(String),
}

/// A lecture at a node. Dropping it ends the lecture there.
pub(super) struct EngineLecture {
    outputs: FrameOutputs,
    orders: mpsc::Sender<EngineOrder>,
    told: mpsc::Sender<EngineEvent>,
    events: mpsc::Receiver<EngineEvent>,
}

/// Checks that a node can be used.
///
/// # Errors
/// A sentence, if it can't be.
pub(super) async fn check(node: &EngineNode) -> Result<(), String> {
    match node {
        EngineNode::Janus(url) => janus::check(url).await,
        EngineNode::LiveKit { url, .. } => pulse::check(url.server().host(), url.server().port()).await,
        EngineNode::MediaMtx(url) => pulse::check(url.host(), url.port()).await,
    }
}

/// The nodes with the API key of the LiveKit servers among them.
///
/// # Errors
/// If there is no key, or its file can't be read.
pub(super) fn with_key(engines: Engines, reporter: &Reporter) -> Result<Vec<EngineNode>, Failure> {
    let Engines { mut nodes, livekit_key } = engines;
    let usage = |sentence: String| Failure::usage(anyhow::anyhow!(sentence));
    for node in &mut nodes {
        let EngineNode::LiveKit { key, .. } = node else { continue };
        let (text, origin) = match &livekit_key {
            None => {
                let advice = "set CLASSROOM_LIVEKIT_KEY to KEY: SECRET, or use --livekit-key-file";
                return Err(usage(format!("--via livekit=... needs the API key: {advice}")));
            }
            Some(SecretSource::Given(secret)) => (secret.as_str().to_owned(), "CLASSROOM_LIVEKIT_KEY".to_owned()),
            Some(SecretSource::File(path)) => {
                let text = read_secrets(path, "--livekit-key-file", reporter)?;
                (text.lines().next().unwrap_or_default().to_owned(), path.display().to_string())
            }
        };
        *key = Some(text.parse::<LiveKitKey>().map_err(|error| usage(format!("{origin} {error}")))?);
    }
    Ok(nodes)
}

/// The refusal of a student's offer.
fn refusal(target_uid: UserId, code: ErrorCode, why: &dyn fmt::Display) -> ClientMessage {
    ClientMessage::Reject { target_uid, code, message: format!("the media server: {why}"), codec: None, source: None }
}

impl EngineLecture {
    /// Starts to publish. `encodings` are those of the lecture with their bits per second, and `max_students` the most
    /// students of the lecture here.
    ///
    /// # Errors
    /// If the engine's client can't be started.
    pub(super) fn start(
        node: &EngineNode,
        encodings: Vec<(Encoding, u32)>,
        max_students: usize,
    ) -> Result<Self, String> {
        let (orders, order_queue) = mpsc::channel(QUEUE);
        let (told, events) = mpsc::channel(QUEUE);
        let outputs = FrameOutputs::default();
        let lecture = Lecture::of(&encodings);
        let (host, students, pulse) = match node {
            EngineNode::Janus(url) => {
                let (host, students) = JanusStudents::start(url)?;
                (host, Students::Janus(students), None)
            }
            EngineNode::LiveKit { url, key } => {
                let key = key.as_ref().ok_or("there is no API key")?;
                let (host, students) = LiveKitStudents::start(url, key, lecture)?;
                (host, Students::LiveKit(students), Some(Pulse::of(url.server().host(), url.server().port())))
            }
            EngineNode::MediaMtx(url) => {
                let (host, students) = MediaMtxStudents::start(url, lecture)?;
                (host, Students::MediaMtx(students), Some(Pulse::of(url.host(), url.port())))
            }
        };
        let task = Task {
            outputs: outputs.clone(),
            orders: order_queue,
            events: told.clone(),
            students,
            pulse,
            ids: HashSet::new(),
            max_students,
            key_frames: KeyFrameBudget::default(),
            low: [false; 2],
        };
        tokio::spawn(task.run(host, encodings));
        Ok(Self { outputs, orders, told, events })
    }

    /// A function for the frames of the lecture. It does not block.
    pub(super) fn input(&self) -> impl Fn(Frame) + Send + 'static {
        let outputs = self.outputs.clone();
        move |frame| outputs.push(&frame)
    }

    /// An order that does not fit means that the engine does not keep up: the student offers again, and goes elsewhere.
    pub(super) fn order(&self, order: EngineOrder) {
        _ = self.orders.try_send(order);
    }

    /// Sends a message of the channel of the lecture to one student, or to all of them. One that does not fit is lost.
    pub(super) fn tell(&self, target_uid: Option<UserId>, text: &str) {
        if let Ok(message) = PublisherMessage::parse(text) {
            _ = self.told.try_send(EngineEvent::Send(ClientMessage::Tell { target_uid, message }));
        }
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> EngineEvent {
        let event = self.events.recv().await;
        // The queue is open as long as `told`.
        event.unwrap_or_else(|| EngineEvent::Lost("the lecture has ended there".to_owned()))
    }
}

/// The students of a lecture at a node.
enum Students {
    Janus(JanusStudents),
    LiveKit(LiveKitStudents),
    MediaMtx(MediaMtxStudents),
}

impl Students {
    fn order(&mut self, order: EngineOrder) {
        match (self, order) {
            (Self::Janus(students), order) => students.order(order),
            (Self::LiveKit(students), EngineOrder::Offer(user, sdp, video)) => students.offer(user, &sdp, video),
            (Self::LiveKit(students), EngineOrder::Candidate(user, candidate)) => students.candidate(&user, candidate),
            (Self::LiveKit(students), EngineOrder::Remove(user)) => students.remove(&user),
            (Self::MediaMtx(students), EngineOrder::Offer(user, sdp, _)) => students.offer(user, &sdp),
            (Self::MediaMtx(students), EngineOrder::Candidate(user, candidate)) => students.candidate(&user, candidate),
            (Self::MediaMtx(students), EngineOrder::Remove(user)) => students.remove(&user),
            // These engines answer, and make no offers.
            (Self::LiveKit(_) | Self::MediaMtx(_), EngineOrder::Answer(..)) => {}
        }
    }

    /// The budget of key frames. LiveKit asks for each student that comes and for nobody else, as Janus does.
    fn budget(&self) -> HostKind {
        match self {
            Self::Janus(_) | Self::LiveKit(_) => HostKind::Janus,
            Self::MediaMtx(_) => HostKind::Whip,
        }
    }

    /// The next event. Cancel-safe.
    async fn next(&mut self) -> EngineEvent {
        match self {
            Self::Janus(students) => students.next().await,
            Self::LiveKit(students) => students.next().await,
            Self::MediaMtx(students) => students.next().await,
        }
    }
}

struct Task {
    outputs: FrameOutputs,
    orders: mpsc::Receiver<EngineOrder>,
    events: mpsc::Sender<EngineEvent>,
    students: Students,
    /// Notices a node that is gone; none if the students do.
    pulse: Option<Pulse>,
    /// Those who are connected here, or about to be.
    ids: HashSet<UserId>,
    max_students: usize,
    key_frames: KeyFrameBudget,
    /// Whether the engine gets the low tier of the screen, and of the camera.
    low: [bool; 2],
}

impl Task {
    async fn run(mut self, host: Host, mut encodings: Vec<(Encoding, u32)>) {
        let (sender, mut published) = mpsc::channel(TARGET_QUEUE);
        let (stop, stopped) = oneshot::channel();
        let (kind, bind) = (self.students.budget(), bind_addresses_for(host.host()));
        // The WHIP of LiveKit 1.13.5 takes every layer for the same one, and drops the second.
        let (ice_servers, layering) = (IceServers::default(), Layering::Single);
        if let Students::MediaMtx(students) = &self.students {
            encodings.retain(|(encoding, _)| students.takes(encoding.track));
        }
        let media = TargetMedia { bind, ice_servers, encodings, layering };
        let target = tokio::spawn(Target::new(0, host, media, self.outputs.clone(), sender).run(stopped));
        let lost = self.serve(kind, &mut published).await;
        _ = stop.send(());
        drop(published);
        if let Some(why) = lost {
            _ = self.events.send(EngineEvent::Lost(why)).await;
        }
        _ = target.await;
    }

    /// Serves until the lecture ends here; returns why the node can't be used, if that is the reason.
    async fn serve(&mut self, kind: HostKind, published: &mut mpsc::Receiver<(usize, TargetEvent)>) -> Option<String> {
        loop {
            let deadline = self.key_frames.deadline(Instant::now(), &self.outputs.key_frames());
            let told = tokio::select! {
                order = self.orders.recv() => {
                    self.on_order(order?);
                    continue;
                }
                event = self.students.next() => match event {
                    EngineEvent::Lost(why) => return Some(why),
                    EngineEvent::Gone(user) => {
                        self.ids.remove(&user);
                        vec![EngineEvent::Gone(user)]
                    }
                    event => vec![event],
                },
                event = published.recv() => match event?.1 {
                    TargetEvent::State(HostState::Live | HostState::Disturbed) => continue,
                    TargetEvent::State(HostState::Waiting { reason, .. } | HostState::Refused { reason }) => {
                        return Some(format!("does not get the lecture: {reason}"));
                    }
                    TargetEvent::Sends(encodings) => self.on_sends(&encodings),
                    TargetEvent::KeyFrameNeeded(encoding) => {
                        let made = self.outputs.key_frame(encoding);
                        let asks = self.key_frames.want(Instant::now(), (0, kind), encoding, made);
                        asks.then_some(EngineEvent::KeyFrameNeeded(encoding)).into_iter().collect()
                    }
                },
                why = or_never(self.pulse.as_mut().map(Pulse::stopped)) => return Some(why),
                () = or_never(deadline.map(|at| tokio::time::sleep_until(at.into()))) => {
                    let due = self.key_frames.due(Instant::now(), &self.outputs.key_frames());
                    due.into_iter().map(EngineEvent::KeyFrameNeeded).collect()
                }
            };
            for event in told {
                if self.events.send(event).await.is_err() {
                    return None;
                }
            }
        }
    }

    fn on_order(&mut self, order: EngineOrder) {
        match &order {
            EngineOrder::Offer(user, ..) if self.ids.len() >= self.max_students && !self.ids.contains(user) => {
                let refusal = refusal(user.clone(), ErrorCode::RoomFull, &"it has as many students as it may have");
                _ = self.events.try_send(EngineEvent::Send(refusal));
                return;
            }
            EngineOrder::Offer(user, ..) => _ = self.ids.insert(user.clone()),
            EngineOrder::Remove(user) => _ = self.ids.remove(user),
            EngineOrder::Answer(..) | EngineOrder::Candidate(..) => {}
        }
        self.students.order(order);
    }

    /// The publishing connection sends exactly these encodings of videos.
    fn on_sends(&mut self, encodings: &[Encoding]) -> Vec<EngineEvent> {
        let sends = |track| encodings.iter().any(|encoding| (encoding.track, encoding.tier) == (track, Tier::Low));
        let now = [Track::Screen, Track::Camera].map(|track| (track, sends(track)));
        let before = std::mem::replace(&mut self.low, now.map(|(_, low)| low));
        let changed = now.into_iter().zip(before).filter(|((_, now), before)| now != before);
        changed.map(|((track, low), _)| EngineEvent::NeedsLow(track, low)).collect()
    }
}
