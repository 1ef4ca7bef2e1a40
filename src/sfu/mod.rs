//! The publisher: one UDP socket, a table of peers, one thread that receives and sends, and optional further threads
//! that only send. The SFUs of one process may share a socket, see [`MediaPort`], and threads, see [`SharedThreads`].
//!
//! Pipelines pass frames to [`FrameInput::push`] and signalling passes offers to [`Sfu::offer`]; the SFU responds with
//! [`SfuEvent`]s. Neither waits for the SFU. When the SFU falls behind, it refuses offers and candidates, drops the
//! oldest messages and new frames, and asks the encoder for a key frame; control commands are never lost.

mod addresses;
mod amplification;
mod candidates;
mod channel;
mod command;
mod config;
mod control_queue;
pub(crate) mod demux;
mod encoders;
mod encoding_monitor;
mod event;
mod event_loop;
mod event_queue;
pub(crate) mod fuzz;
mod ice_tcp;
mod input;
mod limits;
mod local_media;
mod nomination;
mod peer;
mod peer_table;
mod pending_offers;
mod places;
mod port;
mod publishing;
mod router;
mod sender;
mod senders;
mod session;
mod shared_threads;
mod socket;
mod stats;
pub(crate) mod stun_client;
#[cfg(test)]
mod tests;
mod threads;
mod timeline;
mod transport;
mod udp;
mod unconnected;
mod user_budgets;
mod watchdog;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use rtc::peer_connection::transport::RTCIceCandidateInit;
use tokio::sync::{mpsc, oneshot};

pub use crate::ingest::{AudioFloor, FloorCounts};
pub use config::{SfuConfig, SfuError, UdpBinding};
pub(crate) use event::PublisherStats;
pub use event::{OfferRefusal, Queue, SessionEvent, SfuEvent, SfuStats};
pub use input::FrameInput;
pub use limits::{VideoLimit, VideoLimits};
pub use local_media::LocalMedia;
pub use peer::Departure;
pub use port::{MediaPort, MediaPortStats};
pub use session::{IceRestart, PublisherSession, SessionId, SessionOffer};
pub use shared_threads::SharedThreads;
pub use stats::{PeerStats, PeerTotals, SentPicture};
pub(crate) use udp::KERNEL_BUFFER;

use self::command::Command;
use self::config::AnswerContext;
use self::control_queue::{ControlSender, MAX_REQUESTS, control_queue};
use self::input::{FRAME_QUEUE, Gaps};
use crate::id::{PeerKey, UserId};
use crate::network::NetworkTag;
use crate::protocol::VideoTrack;
use crate::rtp::{Encoding, FrameRing, PerEncoding, Track};
use crate::trace::Tracer;

/// The most events that may wait for the command that reads them. For further events see [`event_queue`].
const EVENT_QUEUE: usize = 4096;

/// The time limit of [`Sfu::close`]. Goodbyes to a thousand students take a fifth of this.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// The number of a peer, never reused within an SFU.
type PeerId = u64;

type Rings = PerEncoding<FrameRing>;

/// The thread of an SFU, or those that it shares.
type Threads = (Option<std::thread::JoinHandle<()>>, Option<SharedThreads>);

/// A running SFU. Dropping it ends it without a goodbye; [`close`](Self::close) says goodbye.
#[derive(Debug)]
pub struct Sfu {
    commands: ControlSender<Command>,
    input: FrameInput,
    udp: SocketAddr,
    user: UserId,
    /// Its own thread, if it has one.
    thread: Option<std::thread::JoinHandle<()>>,
    /// The threads that it shares; they end with their last SFU.
    _shared: Option<SharedThreads>,
}

impl Sfu {
    /// Binds the socket and starts the thread.
    ///
    /// # Errors
    /// [`SfuError`] if the port is in use, or if the certificate or a thread can't be created.
    pub fn start(config: SfuConfig) -> Result<(Self, mpsc::Receiver<SfuEvent>), SfuError> {
        Self::start_with(config, |start| {
            let thread = std::thread::Builder::new().name("sfu".to_owned());
            let thread = thread.spawn(move || start.run_here()).map_err(|e| SfuError::Setup(e.to_string()))?;
            Ok((Some(thread), None))
        })
    }

    /// The same on one of these threads.
    ///
    /// # Errors
    /// As [`Sfu::start`].
    pub fn start_on(threads: &SharedThreads, config: SfuConfig) -> Result<(Self, mpsc::Receiver<SfuEvent>), SfuError> {
        Self::start_with(config, |start| {
            threads.run(move || Box::pin(start.run())).map_err(|e| SfuError::Setup(e.to_string()))?;
            Ok((None, Some(threads.clone())))
        })
    }

    fn start_with(
        config: SfuConfig,
        run: impl FnOnce(router::Start) -> Result<Threads, SfuError>,
    ) -> Result<(Self, mpsc::Receiver<SfuEvent>), SfuError> {
        let context = AnswerContext::new(config.adapts, config.max_students)?;
        let (commands, command_queue) = control_queue();
        let (frames, frame_queue) = mpsc::channel(FRAME_QUEUE);
        let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
        let (bound, when_bound) = std::sync::mpsc::sync_channel(1);
        let gaps = Arc::new(Gaps::default());
        let input = FrameInput::new(frames, Arc::clone(&gaps));
        let user = config.user.clone();
        let queues = router::Queues { commands: command_queue, frames: frame_queue, gaps, events };
        let (thread, _shared) = run(router::Start { config, context, queues, bound })?;
        let udp = when_bound.recv().map_err(|_| SfuError::Setup("the SFU's thread ended".to_owned()))??;
        Ok((Self { commands, input, udp, user, thread, _shared }, event_queue))
    }

    /// The bound UDP address.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// The input for frames.
    pub fn input(&self) -> FrameInput {
        self.input.clone()
    }

    /// The name of a student's connection in logs.
    pub fn key(&self, remote: &UserId) -> PeerKey {
        PeerKey { local: self.user.clone(), remote: remote.clone() }
    }

    /// Submits a student's offer, with the video track that the student wants if it wants only one, and the student's
    /// network, if known. The SFU answers or refuses the offer by a [`SfuEvent`]; it drops the offer when too many
    /// requests wait. A second offer of a user replaces the first peer.
    pub fn offer(&self, user: UserId, sdp: String, video: Option<VideoTrack>, network: Option<NetworkTag>) {
        self.send(Command::Offer { user, sdp, video, network, is_edge: false });
    }

    /// Submits the offer of an edge. Its data channel carries the messages of many students.
    pub fn offer_edge(&self, user: UserId, sdp: String) {
        self.send(Command::Offer { user, sdp, video: None, network: None, is_edge: true });
    }

    /// An edge passes the media on to so many students, and may request the key frames that they may together.
    pub fn serves(&self, edge: UserId, students: usize) {
        self.send(Command::Serves { edge, students: u32::try_from(students).unwrap_or(u32::MAX) });
    }

    /// Submits a publisher's offer, with the tracks of its sections by mid. Without `tracks` the first audio section is
    /// the audio, the first video section the screen, the second one the camera; with `tracks` other sections are not
    /// taken. The SFU answers or refuses the offer by a [`SfuEvent`]. A second offer of the user replaces the first
    /// connection once the second one has sent a key frame; an offer of another user is refused while the first one is
    /// connected.
    pub fn publish(
        &self,
        user: UserId,
        sdp: String,
        tracks: Option<BTreeMap<String, Track>>,
        network: Option<NetworkTag>,
    ) {
        self.send(Command::Publish { user, sdp, tracks, network });
    }

    /// Submits the offer of a session. The SFU answers or refuses the offer by a [`SfuEvent::Session`]. A second
    /// session for the same video replaces the first one as [`publish`](Self::publish) does. One for the other video
    /// goes beside the first one, and the sound comes from the older one.
    pub fn open_session(&self, offer: SessionOffer) {
        self.send(Command::OpenSession(Box::new(offer)));
    }

    /// Submits a candidate of a session's client.
    pub fn session_candidate(&self, number: SessionId, candidate: RTCIceCandidateInit) {
        self.send(Command::SessionCandidate { number, candidate });
    }

    /// Restarts the ICE session of a session; DTLS and SRTP go on. Answered by [`SessionEvent::Restarted`].
    pub fn restart_ice(&self, restart: IceRestart) {
        self.send(Command::RestartIce(Box::new(restart)));
    }

    /// Ends a session, because its client has ended the session.
    pub fn end_session(&self, number: SessionId) {
        self.send(Command::EndSession { number });
    }

    /// Submits a candidate of a student or of the publisher.
    pub fn candidate(&self, user: UserId, candidate: RTCIceCandidateInit) {
        self.send(Command::Candidate { user, candidate });
    }

    /// Signalling has lost a student, which may never come back. Its media flows on. But if ICE is `disconnected`
    /// meanwhile, the connection ends at once, and not only when ICE consent expires.
    pub fn signalling_lost(&self, user: UserId) {
        self.send(Command::Signalling { user, is_lost: true });
    }

    /// Signalling has a student back.
    pub fn signalling_back(&self, user: UserId) {
        self.send(Command::Signalling { user, is_lost: false });
    }

    /// Ends a student's connection, because the student left.
    pub fn remove(&self, user: UserId) {
        self.send(Command::Remove { user });
    }

    /// Sends a message to one student over its data channel; does nothing if the student has no open channel.
    pub fn tell(&self, user: UserId, text: &str) {
        self.send(Command::Tell { user, text: text.into() });
    }

    /// Gives a student at most this of each video, until it connects again.
    pub fn limit(&self, user: UserId, limits: VideoLimits) {
        self.send(Command::Limit { user, limits });
    }

    /// Passes the audio of publishers whose offers follow on only while they have the floor.
    pub fn join_floor(&self, floor: AudioFloor) {
        self.send(Command::Floor(floor));
    }

    /// Gives the steps of the students' joins to a tracer.
    pub(crate) fn trace(&self, tracer: Tracer) {
        if tracer.is_on() {
            self.send(Command::Trace(tracer));
        }
    }

    /// Sends a message to every student over its data channel. A student that does not read loses the oldest messages.
    pub fn tell_all(&self, text: &str) {
        self.send(Command::TellAll { text: text.into() });
    }

    /// Restricts the available encodings to these of the configured ones.
    pub fn encodings(&self, encodings: Vec<Encoding>) {
        self.send(Command::Encodings(encodings));
    }

    /// The current counters, or None if the SFU has ended.
    pub async fn stats(&self) -> Option<SfuStats> {
        self.request_stats().await.ok()
    }

    /// Asks for the current counters. The receiver fails if the SFU has ended.
    pub fn request_stats(&self) -> oneshot::Receiver<SfuStats> {
        let (reply, numbers) = oneshot::channel();
        self.send(Command::Stats(reply));
        numbers
    }

    /// The fill levels of the queues to the SFU.
    pub fn queues(&self) -> [Queue; 2] {
        let (frames, frame_capacity) = self.input.length();
        [
            Queue { name: "commands", length: self.commands.requests(), capacity: MAX_REQUESTS },
            Queue { name: "frames", length: frames, capacity: frame_capacity },
        ]
    }

    /// Says goodbye to every student and ends the thread. A thread that does not respond within a second is abandoned,
    /// so that the end of a lecture never hangs.
    pub async fn close(mut self) {
        let (done, wait) = oneshot::channel();
        let goodbye = async {
            self.send(Command::Close(done)).then_some(())?;
            wait.await.ok()
        };
        let said = tokio::time::timeout(CLOSE_WITHIN, goodbye).await;
        if let (Ok(_), Some(thread)) = (said, self.thread.take()) {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Returns false if the SFU has ended, or if an offer or a candidate is refused because too many requests wait.
    fn send(&self, command: Command) -> bool {
        self.commands.push(command)
    }
}
