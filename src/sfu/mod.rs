//! The publisher: one UDP socket, a map of peers, one thread that reads and sends, and more that send where wanted.
//!
//! Pipelines hand over frames with [`FrameInput::push`], signalling hands over offers with [`Sfu::offer`]; the SFU
//! answers with [`SfuEvent`]s. Every queue is bounded: commands block nobody and are refused when the SFU does not
//! keep up, frames are dropped and the encoder is asked for a new key frame.

mod addresses;
mod channel;
mod checks;
mod demux;
mod encoders;
mod event_queue;
mod peer;
mod router;
mod sender;
mod senders;
mod stats;
mod stun;
mod threads;
mod transport;
mod udp;
pub(crate) mod watchdog;
mod worker;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rtc::crypto::{RTCCryptoProvider, SignatureScheme};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
pub use rtc::peer_connection::transport::RTCIceCandidateInit;
use tokio::sync::{mpsc, oneshot};

pub use peer::Departure;
pub use stats::{PeerStats, PeerTotals, SentPicture};

use crate::id::{PeerKey, UserId, count_of_students};
use crate::protocol::VideoTrack;
use crate::rtp::{Delays, Encoding, Frame, FrameRing, PerEncoding};
use crate::sdp::answer;
use crate::sdp::offer::OfferError;

/// Frames between the pipelines and the hub: three tracks at 50 a second, so more than a second of a stopped hub.
const FRAME_QUEUE: usize = 256;

/// Commands that may wait: an offer and ten candidates of a hundred students that arrive in the same instant.
const COMMAND_QUEUE: usize = 2048;

/// Events that may wait for the command that reads them. When it is more, see [`voice`].
const EVENT_QUEUE: usize = 4096;

/// Goodbyes to a thousand students take a fifth of this.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What an SFU needs to know.
#[derive(Debug, Clone)]
pub struct SfuConfig {
    /// The publisher.
    pub user: UserId,
    /// Where to bind; an unspecified address means all interfaces.
    pub udp: SocketAddr,
    /// Further addresses by which students reach the socket's port (NAT 1:1).
    pub advertise: Vec<IpAddr>,
    /// STUN servers that tell the public address.
    pub stun: Vec<SocketAddr>,
    /// Students at the most.
    pub max_students: usize,
    /// What pictures and sound can be had in, and for how many bits a second: each track best first, its codecs in the
    /// order of preference.
    pub encodings: Vec<(Encoding, u32)>,
    /// Threads that send, each to its share of the students.
    pub workers: NonZeroUsize,
    /// Whether students get what their lines carry; else always the best, which is for measuring.
    pub adapts: bool,
}

/// Why an SFU can't begin.
#[derive(Debug, thiserror::Error)]
pub enum SfuError {
    /// The UDP port can't be had.
    #[error("can't listen on UDP {address}: {cause}; is another teacher running? choose another port with --udp-port")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// Keys, certificates or threads can't be made.
    #[error("can't set up peer connections: {0}")]
    Setup(String),
}

/// Why an offer was not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// What it asks for can't be given.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// There is no place left.
    #[error("the room is full: the teacher takes {} (--max-students)", count_of_students(*.0))]
    Full(usize),
    /// It came right after the one before.
    #[error("{0} sends offers too fast, wait a second")]
    TooFast(UserId),
    /// The library could not make sense of it.
    #[error("the offer can't be answered: {0}")]
    Unanswerable(String),
}

/// What happens in an SFU.
#[derive(Debug, Clone)]
pub enum SfuEvent {
    /// The answer to an offer, with all candidates.
    Answer {
        /// Who offered.
        user: UserId,
        /// The SDP.
        sdp: String,
    },
    /// An offer was refused.
    Refused {
        /// Who offered.
        user: UserId,
        /// Why.
        why: Refusal,
    },
    /// A student's connection stands.
    Connected(UserId),
    /// A student's data channel stands: it can be told something.
    ChannelOpen(UserId),
    /// A student said something over its data channel: text, not parsed yet.
    Heard {
        /// Who.
        user: UserId,
        /// What, at most a byte more than
        /// [`MAX_CHANNEL_MESSAGE_BYTES`](crate::protocol::channel::MAX_CHANNEL_MESSAGE_BYTES).
        text: String,
    },
    /// A student's connection is gone.
    Gone {
        /// Who.
        user: UserId,
        /// Why.
        why: Departure,
    },
    /// An encoder should make a key frame. Said again until one comes.
    KeyFrameNeeded(Encoding),
    /// An encoding is watched from now on, or has not been for a while: its encoder should run, or stop. A slow reader
    /// hears it later, and only what is true then.
    Needed(Encoding, bool),
    /// Something the teacher should read.
    Notice(String),
}

/// Numbers of an SFU.
#[derive(Debug, Clone, Default)]
pub struct SfuStats {
    /// Students whose connection stands.
    pub students: usize,
    /// Students that are about to connect.
    pub connecting: usize,
    /// Students that have not been heard of lately.
    pub disturbed: usize,
    /// Packets that were sent, in total.
    pub packets: u64,
    /// Bytes that were sent, in total, without UDP and IP headers.
    pub bytes: u64,
    /// System calls that it took.
    pub calls: u64,
    /// Packets that the kernel refused.
    pub refused: u64,
    /// Frames that were left out, summed over students that are here and that are gone.
    pub dropped: u64,
    /// Frames that came, by encoding.
    pub frames: HashMap<Encoding, u64>,
    /// Key frames among them, by encoding.
    pub key_frames: HashMap<Encoding, u64>,
    /// Key frames that were asked for, by encoding.
    pub key_requests: HashMap<Encoding, u64>,
    /// Bytes of frames that came, by encoding.
    pub frame_bytes: HashMap<Encoding, u64>,
    /// From the capture of a frame to its hand-over to the socket, for each packet that went to a student; what
    /// newcomers get is older.
    pub send_delay: Delays,
    /// The same of sound alone, which goes before pictures.
    pub sound_delay: Delays,
    /// How many students get which encoding, those that nobody gets left out.
    pub watched: Vec<(Encoding, usize)>,
    /// Students whose packets the library seals, at five times the cost, as their key did not become known.
    pub sealed_by_core: usize,
    /// STUN messages of students that were not read, because there were far more than ICE needs.
    pub checks_left_out: u64,
    /// Each student whose connection stands.
    pub peers: Vec<(UserId, PeerStats)>,
    /// Counts of all students, those included that are gone.
    pub totals: PeerTotals,
}

/// How full a bounded queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// What waits in it: `commands`, `frames`.
    pub name: &'static str,
    /// How many wait.
    pub length: usize,
    /// How many may wait.
    pub capacity: usize,
}

impl Queue {
    fn of<T>(name: &'static str, sender: &mpsc::Sender<T>) -> Self {
        let capacity = sender.max_capacity();
        Self { name, length: capacity - sender.capacity(), capacity }
    }
}

type Rings = PerEncoding<FrameRing>;

/// The number of a peer; never used twice in an SFU.
type PeerId = u64;

/// What all peers of an SFU share, made once: a certificate takes longer than all the rest of a join.
struct Shared {
    crypto: Arc<dyn RTCCryptoProvider>,
    certificate: RTCCertificate,
    adapts: bool,
    /// The highest level of the H.264 that was sent, once some was.
    h264_level: Option<u8>,
}

impl Shared {
    fn new(adapts: bool) -> Result<Self, SfuError> {
        let setup = |e: &dyn std::fmt::Display| SfuError::Setup(e.to_string());
        let crypto = rtc::crypto::default_provider().map_err(|e| setup(&e))?;
        let parameters =
            CertificateParams::new(vec![format!("classroom-{:08x}", rand::random::<u32>())]).map_err(|e| setup(&e))?;
        let certificate = RTCCertificate::generate(crypto.crypto(), SignatureScheme::EcdsaP256Sha256, parameters)
            .map_err(|e| setup(&e))?;
        Ok(Self { crypto, certificate, adapts, h264_level: None })
    }
}

/// The addresses that answers name.
struct Advertised {
    local: Vec<SocketAddr>,
    reflexive: Vec<(SocketAddr, SocketAddr)>,
}

impl Advertised {
    fn candidates(&self) -> impl Iterator<Item = RTCIceCandidateInit> + '_ {
        let hosts = self.local.iter().map(|at| answer::host_candidate(*at));
        let reflexive = self.reflexive.iter().map(|(public, local)| answer::reflexive_candidate(*public, *local));
        hosts.chain(reflexive).filter_map(Result::ok)
    }
}

enum Command {
    Offer {
        user: UserId,
        sdp: String,
        video: Option<VideoTrack>,
    },
    Candidate {
        user: UserId,
        candidate: RTCIceCandidateInit,
    },
    Remove {
        user: UserId,
    },
    Tell {
        user: UserId,
        text: Arc<str>,
    },
    TellAll {
        text: Arc<str>,
    },
    Encodings(Vec<Encoding>),
    Stats(oneshot::Sender<SfuStats>),
    Close(oneshot::Sender<()>),
    /// Makes a student's next turn panic.
    #[cfg(test)]
    Panic {
        user: UserId,
    },
    /// Keeps the thread busy until the other end is gone.
    #[cfg(test)]
    Stall(std::sync::mpsc::Receiver<()>),
}

/// A frame on its way to the hub.
struct Pushed {
    frame: Frame,
    /// Whether the one before it, of the same encoding, found no room.
    after_gap: bool,
}

/// Which encodings have lost a picture that the SFU does not know of yet.
type Gaps = PerEncoding<AtomicBool>;

/// The way into the SFU for frames; cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct FrameInput {
    frames: mpsc::Sender<Pushed>,
    gaps: Arc<Gaps>,
}

impl FrameInput {
    /// Hands over the next frame of its encoding; one thread does so at a time. If the SFU does not keep up the frame is
    /// dropped and the students of that track wait for a key frame.
    pub fn push(&self, frame: Frame) {
        let gap = &self.gaps[frame.encoding()];
        let pushed = Pushed { after_gap: gap.swap(false, Ordering::Relaxed), frame };
        if self.frames.try_send(pushed).is_err() {
            gap.store(true, Ordering::Relaxed);
        }
    }
}

/// A running hub. Dropping it ends it without farewell, [`close`](Self::close) says goodbye.
#[derive(Debug)]
pub struct Sfu {
    commands: mpsc::Sender<Command>,
    input: FrameInput,
    udp: SocketAddr,
    user: UserId,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sfu {
    /// Binds the socket and starts the thread.
    ///
    /// # Errors
    /// [`SfuError`], when the port is taken or no thread can be had.
    pub fn start(config: SfuConfig) -> Result<(Self, mpsc::Receiver<SfuEvent>), SfuError> {
        let shared = Shared::new(config.adapts)?;
        let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
        let (frames, frame_queue) = mpsc::channel(FRAME_QUEUE);
        let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
        let (bound, when_bound) = std::sync::mpsc::sync_channel(1);
        let gaps = Arc::new(Gaps::default());
        let input = FrameInput { frames, gaps: Arc::clone(&gaps) };
        let user = config.user.clone();
        let queues = router::Queues { commands: command_queue, frames: frame_queue, gaps, events };
        let thread = std::thread::Builder::new()
            .name("sfu".to_owned())
            .spawn(move || router::run(config, shared, queues, &bound))
            .map_err(|e| SfuError::Setup(e.to_string()))?;
        let udp = when_bound.recv().map_err(|_| SfuError::Setup("the SFU's thread ended".to_owned()))??;
        Ok((Self { commands, input, udp, user, thread: Some(thread) }, event_queue))
    }

    /// The bound UDP address.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// Where frames go in.
    pub fn input(&self) -> FrameInput {
        self.input.clone()
    }

    /// The name of a student's connection in messages.
    pub fn key(&self, remote: &UserId) -> PeerKey {
        PeerKey { local: self.user.clone(), remote: remote.clone() }
    }

    /// A student's offer, and the picture that it wants if it wants only one; answered or refused by a [`SfuEvent`]. A
    /// second offer of a user replaces the first peer.
    pub fn offer(&self, user: UserId, sdp: String, video: Option<VideoTrack>) {
        self.send(Command::Offer { user, sdp, video });
    }

    /// A student's candidate.
    pub fn candidate(&self, user: UserId, candidate: RTCIceCandidateInit) {
        self.send(Command::Candidate { user, candidate });
    }

    /// A student left politely.
    pub fn remove(&self, user: UserId) {
        self.send(Command::Remove { user });
    }

    /// Tells one student something over its data channel; nothing happens where there is none.
    pub fn tell(&self, user: UserId, text: &str) {
        self.send(Command::Tell { user, text: text.into() });
    }

    /// Tells every student something over its data channel. Who does not read loses the oldest messages.
    pub fn tell_all(&self, text: &str) {
        self.send(Command::TellAll { text: text.into() });
    }

    /// From now on pictures can be had in these encodings, of those that it began with.
    pub fn encodings(&self, encodings: Vec<Encoding>) {
        self.send(Command::Encodings(encodings));
    }

    /// Numbers of now, or nothing if the SFU has ended.
    pub async fn stats(&self) -> Option<SfuStats> {
        let (reply, numbers) = oneshot::channel();
        self.commands.send(Command::Stats(reply)).await.ok()?;
        numbers.await.ok()
    }

    /// How full the queues to the SFU are now.
    pub fn queues(&self) -> [Queue; 2] {
        [Queue::of("commands", &self.commands), Queue::of("frames", &self.input.frames)]
    }

    /// Says goodbye to every student and ends the thread. A thread that does not answer within a second is left alone:
    /// whoever ends the lecture does not wait for it.
    pub async fn close(mut self) {
        let (done, wait) = oneshot::channel();
        let goodbye = async {
            self.commands.send(Command::Close(done)).await.ok()?;
            wait.await.ok()
        };
        let said = tokio::time::timeout(CLOSE_WITHIN, goodbye).await;
        if let (Ok(_), Some(thread)) = (said, self.thread.take()) {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn send(&self, command: Command) {
        // A full queue means a flood; the student that is not answered asks again.
        let _ = self.commands.try_send(command);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;
    use crate::rtp::{Codec, Track};
    use crate::rtp::{FrameAssembler, Tier};
    use crate::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent};

    async fn student(
        sfu: &Sfu,
        events: &mut mpsc::Receiver<SfuEvent>,
        id: &str,
    ) -> (Viewer, mpsc::Receiver<ViewerEvent>) {
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: vec![] };
        let (link, offer, link_events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
        sfu.offer(id.parse().unwrap(), offer, None);
        let answer =
            next(events, |event| if let SfuEvent::Answer { sdp, .. } = event { Some(sdp) } else { None }).await;
        link.answer(answer).await.unwrap();
        next(events, |event| matches!(event, SfuEvent::ChannelOpen(_)).then_some(())).await;
        (link, link_events)
    }

    async fn next<E, T>(events: &mut mpsc::Receiver<E>, wanted: impl Fn(E) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = wanted(events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        timeout(Duration::from_secs(20), wait).await.unwrap()
    }

    fn sfu_of(encodings: Vec<(Encoding, u32)>) -> (Sfu, mpsc::Receiver<SfuEvent>) {
        let config = SfuConfig {
            user: "9999".parse().unwrap(),
            udp: "127.0.0.1:0".parse().unwrap(),
            advertise: vec![],
            stun: vec![],
            max_students: 10,
            encodings,
            workers: NonZeroUsize::MIN,
            adapts: true,
        };
        Sfu::start(config).unwrap()
    }

    #[tokio::test]
    async fn a_panic_in_one_students_turn_ends_that_student_and_not_the_class() {
        let (sfu, mut events) = sfu_of(vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)]);
        let (one, _) = student(&sfu, &mut events, "1001").await;
        let (two, mut heard) = student(&sfu, &mut events, "1002").await;
        sfu.send(Command::Panic { user: "1001".parse().unwrap() });
        let gone = next(&mut events, |event| match event {
            SfuEvent::Gone { user, why } => Some((user, why)),
            _ => None,
        });
        assert_eq!(gone.await, ("1001".parse().unwrap(), Departure::Failed));
        sfu.tell_all("the class goes on");
        next(&mut heard, |event| {
            matches!(event, ViewerEvent::Heard(text) if text == "the class goes on").then_some(())
        })
        .await;
        let (again, _) = student(&sfu, &mut events, "1001").await;
        for link in [one, two, again] {
            link.close().await;
        }
        sfu.close().await;
    }

    /// The end of a lecture does not wait for a thread that is busy for good.
    #[tokio::test]
    async fn closing_does_not_wait_for_a_thread_that_does_not_answer() {
        let (sfu, _events) = sfu_of(vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)]);
        let (release, stall) = std::sync::mpsc::channel::<()>();
        sfu.send(Command::Stall(stall));
        timeout(Duration::from_secs(20), sfu.close()).await.unwrap();
        drop(release);
    }

    /// A picture of two packets.
    fn picture(encoding: Encoding, timestamp: u32, key: bool) -> Frame {
        let mut assembler = FrameAssembler::new(encoding);
        let mut push = |n: u8| {
            let start = [[0x80, 96 | n << 7, 0, n].as_slice(), &timestamp.to_be_bytes(), &[0, 0, 0, 7]].concat();
            let body = [if n == 0 { 0x10 } else { 0 }, u8::from(!key), n, n];
            assembler.push(&[start.as_slice(), &body].concat(), Instant::now())
        };
        push(0).or_else(|| push(1)).unwrap()
    }

    #[test]
    fn the_picture_after_one_that_had_no_room_says_so() {
        let (frames, mut queue) = mpsc::channel(2);
        let input = FrameInput { frames, gaps: Arc::default() };
        let full = Encoding::full(Track::Screen, Codec::Vp8);
        let push = |encoding, number: u32| input.push(picture(encoding, number * 3000, number == 0));
        (0..4).for_each(|number| push(full, number));
        let mut come = || {
            let come = std::iter::from_fn(|| queue.try_recv().ok());
            come.map(|pushed| (pushed.frame.timestamp / 3000, pushed.after_gap)).collect::<Vec<_>>()
        };
        assert_eq!(come(), [(0, false), (1, false)]);
        push(full.with(Tier::Low), 4);
        push(full, 5);
        assert_eq!(come(), [(4, false), (5, true)], "the other encoding has no gap");
        push(full, 6);
        assert_eq!(come(), [(6, false)], "said once");
    }

    #[tokio::test]
    async fn who_watches_an_encoding_that_fails_gets_another_and_what_nobody_needs_then_is_stopped() {
        let full = Encoding::full(Track::Screen, Codec::Vp8);
        let low = full.with(Tier::Low);
        let (sfu, mut events) = sfu_of(vec![(full, 1_000_000), (low, 250_000)]);
        let (link, mut heard) = student(&sfu, &mut events, "1001").await;
        next(&mut events, |event| matches!(event, SfuEvent::KeyFrameNeeded(e) if e == full).then_some(())).await;
        sfu.encodings(vec![low]);
        next(&mut events, |event| matches!(event, SfuEvent::Needed(e, true) if e == low).then_some(())).await;
        next(&mut events, |event| matches!(event, SfuEvent::KeyFrameNeeded(e) if e == low).then_some(())).await;
        let told = |event| if let ViewerEvent::Heard(text) = event { Some(text) } else { None };
        assert!(next(&mut heard, told).await.contains("low"));
        sfu.input().push(picture(low, 3000, true));
        let stats = sfu.stats().await.unwrap();
        assert_eq!(stats.watched, [(low, 1)]);
        next(&mut events, |event| matches!(event, SfuEvent::Needed(e, false) if e == full).then_some(())).await;
        // Its key frame, which never came, is not asked for any more.
        let asked = |stats: SfuStats| stats.key_requests[&full];
        let before = asked(sfu.stats().await.unwrap());
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(asked(sfu.stats().await.unwrap()), before);
        link.close().await;
        sfu.close().await;
    }
}
