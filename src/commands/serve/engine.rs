//! A lecture at one node of an engine, an SFU of somebody else: published there once, and students are placed there.
//!
//! An engine has three verbs: it gets a lecture (a `Host`, as for `teach --whip` and `teach --janus`), it connects
//! students ([`students`]), and it is dropped once it fails. Students speak to this server alone: it passes on their
//! offers, answers and candidates, so they need neither the engine's protocol nor its secrets. They have no data
//! channel; their messages travel by signalling (`talk`).

mod janus;
mod lecture;
mod lines;
mod livekit;
mod mediamtx;
mod pulse;
mod sessions;
mod students;
mod task;

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::janus::LeftRooms;
pub(super) use self::lines::Lines;
use self::pulse::Pulse;
use self::task::Task;
use crate::cli::{EngineNode, Engines, SecretSource};
use crate::commands::access::read_secrets;
use crate::commands::whip_out::FrameOutputs;
use crate::exit::Failure;
use crate::id::UserId;
use crate::livekit::LiveKitKey;
use crate::protocol::channel::{PublisherMessage, Viewing};
use crate::protocol::{ClientMessage, ErrorCode, IceCandidate, VideoTrack};
use crate::report::Reporter;
use crate::rtp::{Encoding, Frame, Track};

/// Orders and events that wait. A class that comes at once sends some candidates each.
const QUEUE: usize = 4_096;

/// The time limit of a check.
const CHECK_WITHIN: Duration = Duration::from_secs(3);

/// The longest wait for the goodbyes to a node.
const END_WITHIN: Duration = Duration::from_millis(1_500);

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
    /// The student says what it has seen.
    Sees(UserId, Viewing),
}

/// An event of a lecture at an engine.
#[derive(Debug)]
pub(super) enum EngineEvent {
    /// The lecture has arrived at the node: students can be placed.
    Ready,
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
    /// A sentence for the operator.
    Notice(String),
    /// The node can't be used: the last event.
    Lost(String),
}

/// A lecture at a node. Dropping it ends the lecture there.
pub(super) struct EngineLecture {
    outputs: FrameOutputs,
    orders: mpsc::Sender<EngineOrder>,
    told: mpsc::Sender<EngineEvent>,
    events: mpsc::Receiver<EngineEvent>,
    is_ready: bool,
    task: JoinHandle<()>,
}

/// A node that lectures use, one after another or at the same time. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Node {
    node: EngineNode,
    /// Rooms at a Janus that could not be destroyed.
    left: LeftRooms,
}

impl Node {
    pub(super) fn new(node: EngineNode) -> Self {
        Self { node, left: LeftRooms::default() }
    }

    /// Checks that the node can be used.
    ///
    /// # Errors
    /// A sentence, if it can't be.
    pub(super) async fn check(&self) -> Result<(), String> {
        let check = async {
            match &self.node {
                EngineNode::Janus(url) => janus::check(url, &self.left).await,
                EngineNode::LiveKit { url, .. } => pulse::check(url.server().host(), url.server().port()).await,
                EngineNode::MediaMtx(url) => pulse::check(url.host(), url.port()).await,
            }
        };
        // The first student of a lecture waits for this.
        timeout(CHECK_WITHIN, check).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
    }

    /// Notices that the node is gone; none where the students notice it sooner.
    fn pulse(&self) -> Option<Pulse> {
        match &self.node {
            EngineNode::Janus(_) => None,
            EngineNode::LiveKit { url, .. } => Some(Pulse::of(url.server().host(), url.server().port())),
            EngineNode::MediaMtx(url) => Some(Pulse::of(url.host(), url.port())),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// The nodes with the API key of the LiveKit servers among them.
///
/// # Errors
/// If there is no key, or its file can't be read.
pub(in crate::commands) fn engine_nodes(engines: Engines, reporter: &Reporter) -> Result<Vec<EngineNode>, Failure> {
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
    /// Starts to publish. `encodings` are those of the lecture with their bits per second, `max_students` the most
    /// students of the lecture here, and `lines` those of all its students.
    ///
    /// # Errors
    /// If the engine's client can't be started.
    pub(super) fn start(
        node: &Node,
        encodings: Vec<(Encoding, u32)>,
        max_students: usize,
        lines: Lines,
    ) -> Result<Self, String> {
        let (orders, order_queue) = mpsc::channel(QUEUE);
        let (told, events) = mpsc::channel(QUEUE);
        let outputs = FrameOutputs::default();
        let queues = (order_queue, told.clone());
        let task = Task::start(node, (encodings, outputs.clone()), (max_students, lines), queues)?;
        let task = tokio::spawn(task.run());
        Ok(Self { outputs, orders, told, events, is_ready: false, task })
    }

    /// Whether students can be placed.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Ends the lecture there, and waits a short time for the goodbyes.
    pub(super) async fn close(self) {
        let Self { orders, events, task, .. } = self;
        drop((orders, events));
        _ = timeout(END_WITHIN, task).await;
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
        self.is_ready |= matches!(event, Some(EngineEvent::Ready));
        // The queue is open as long as `told`.
        event.unwrap_or_else(|| EngineEvent::Lost("the lecture has ended there".to_owned()))
    }
}
