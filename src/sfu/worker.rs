//! A worker: serves some of the peers and sends to them. An SFU has one worker per thread.
//!
//! A worker is driven by [`WorkerCommand`]s and by time. It sends through its own [`UdpSender`], and reports to the
//! router by [`WorkerReport`]s what concerns the whole SFU. A peer that panics is removed; the others are not affected.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::mpsc;

use super::encoders::EncoderRequests;
use super::event_queue::EventQueue;
use super::limits::VideoLimits;
use super::peer::{Departure, End, Path, Peer, Received};
use super::senders::RetransmissionRequest;
use super::stats::{PeerTotals, WorkerStats};
use super::transport::SendContext;
use super::udp::UdpSender;
use super::watchdog::{CpuBudget, Watchdog, caught};
use super::{PeerId, PublisherSession, RTCIceCandidateInit, Rings, SessionEvent, SfuEvent};
use crate::congestion::{ClassRetransmissions, CommonTrouble, RateMeter, Rates};
use crate::rtp::{Encoding, Frame, FrameRing, PerCodec, PerEncoding, Track};
use crate::suspension::{Suspension, SuspensionDetector};
use crate::token_bucket::TokenBucket;

mod counters;
mod departures;
mod newcomers;
mod publishers;
pub(super) use self::publishers::RestartedIce;
mod schedule;

/// The teacher is told of a suspension of this process that lasted at least this long.
const NOTABLE_PAUSE: Duration = Duration::from_secs(1);

/// Limits the notices about expelled students, so that many attackers do not flood the teacher's terminal.
const NOTICES_PER_SECOND: u32 = 1;
const NOTICE_BURST: u32 = 5;

/// A command to a worker.
pub(super) enum WorkerCommand {
    /// Send a frame to all peers; `keys` is the number of key frames of its encoding up to this frame.
    Frame { frame: Frame, keys: u64 },
    /// The source of a track lost a frame: the track can continue only with a key frame.
    Gap(Track),
    /// Add a peer.
    Add(PeerId, Box<Peer>),
    /// Handle a peer's datagram: `at` is our address to which it was sent, `from` its source.
    Datagram { id: PeerId, at: SocketAddr, from: SocketAddr, bytes: BytesMut },
    /// Update the available encodings, with their bit rates in bits per second.
    Encodings(Arc<[(Encoding, u32)]>),
    /// Ask a publisher for a key frame.
    KeyFrame { id: PeerId, encoding: Encoding },
    /// Add a remote candidate to a peer.
    Candidate { id: PeerId, candidate: RTCIceCandidateInit },
    /// Signalling has lost a peer's student, or has it back.
    Signalling { id: PeerId, is_lost: bool },
    /// Close a peer's connection. The router has already removed the peer.
    Remove { id: PeerId },
    /// Close a peer's connection unless it is established, because too many are not.
    Evict { id: PeerId },
    /// Send a message to one student.
    Tell { id: PeerId, text: Arc<str> },
    /// Give a peer at most this of each video.
    Limit { id: PeerId, limits: VideoLimits },
    /// An edge passes the media on to so many students.
    Serves(PeerId, u32),
    /// Send a message to all students.
    TellAll { text: Arc<str> },
    /// The socket was reopened: send through this sender.
    MoveTo(Box<UdpSender>),
    /// Call this function with the counters.
    Stats(Box<dyn FnOnce(WorkerStats) + Send>),
    /// Close all connections.
    Close,
    /// Make a peer's next poll panic.
    #[cfg(test)]
    Panic { id: PeerId },
}

/// A report to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerReport {
    /// A peer has departed without a command of the router, which has to announce the reason.
    Departed { id: PeerId, why: Departure },
    /// A peer has connected one too many, and its connection was closed.
    NoPlace { id: PeerId },
    /// A peer's connection is established.
    Connected { id: PeerId },
    /// A peer's connection has decrypted a packet from this address, to which its media is sent.
    Confirmed { id: PeerId, from: SocketAddr },
    /// A peer needs a key frame to continue. `seen` is the number of key frames of the encoding that this worker has
    /// been told of so far.
    KeyFrameNeeded { encoding: Encoding, seen: u64 },
    /// The number of this worker's peers that need an encoding.
    Active { worker: usize, encoding: Encoding, students: usize },
}

/// The resources that a worker lends to its peers.
struct Media {
    rings: Rings,
    udp: UdpSender,
    requests: EncoderRequests,
    shared_rtx: ClassRetransmissions,
}

impl Media {
    fn at(&mut self, now: Instant) -> SendContext<'_> {
        let Self { rings, udp, requests, shared_rtx } = self;
        SendContext { now, rings, udp, requests, shared_rtx }
    }
}

/// Some of the peers of an SFU, all served by one thread.
pub(super) struct Worker {
    /// The number of its thread.
    number: usize,
    media: Media,
    events: EventQueue,
    reports: mpsc::UnboundedSender<WorkerReport>,
    /// Departures that wait until the pending events have been sent.
    departures: Vec<WorkerReport>,
    watchdog: Watchdog,
    /// Limits the notices about expelled students.
    notices: TokenBucket,
    /// The number of key frames so far, including those that did not fit into the queue to this worker.
    keys: PerEncoding<u64>,
    /// Measures the bit rate of each encoding.
    traffic: RateMeter,
    rates: PerCodec<Rates>,
    /// Trouble that many peers have at the same time.
    common: CommonTrouble,
    /// Notices suspensions of this process.
    pulse: SuspensionDetector,
    /// The last time that all peers were adapted.
    adapted: Instant,
    /// The number of peers that need an encoding, as last reported.
    active: PerEncoding<usize>,
    /// Peers by index, contiguous in memory because each frame is sent to all of them. A free index is reused.
    peers: Vec<Option<Peer>>,
    /// The deadlines of the peers' timers, by index.
    deadlines: Vec<Option<Instant>>,
    by_id: HashMap<PeerId, usize>,
    /// Ids by index.
    ids: Vec<PeerId>,
    /// Peers that are due the newest video frame, in this order.
    newest: VecDeque<usize>,
    /// Peers that are behind, in the order of their turns.
    behind: VecDeque<usize>,
    /// Publishers whose media has arrived. There are at most two.
    heard: Vec<usize>,
    /// Frames of publishers, which the router takes.
    ingested: Vec<(PeerId, Frame)>,
    /// Peers with messages to send.
    with_messages: VecDeque<usize>,
    /// Peers that have not connected and whose datagrams wait, in the order of their turns.
    newcomers: VecDeque<usize>,
    /// Limits the CPU time for peers that have not connected.
    newcomer_time: CpuBudget,
    /// The peer whose timer is looked at first among those that have not connected.
    next_newcomer: usize,
    /// The peer that gets a video frame first; it changes with each frame.
    first_served: usize,
    dropped_by_departed: u64,
    totals_of_departed: PeerTotals,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        traffic: RateMeter,
        udp: UdpSender,
        events: mpsc::Sender<SfuEvent>,
        reports: mpsc::UnboundedSender<WorkerReport>,
    ) -> Self {
        let (rings, requests, shared_rtx) =
            (Rings::default(), EncoderRequests::default(), ClassRetransmissions::default());
        Self {
            number,
            media: Media { rings, udp, requests, shared_rtx },
            events: EventQueue::new(events),
            reports,
            departures: Vec::new(),
            watchdog: Watchdog::default(),
            notices: TokenBucket::new(NOTICES_PER_SECOND, NOTICE_BURST),
            keys: PerEncoding::default(),
            traffic,
            rates: PerCodec::default(),
            common: CommonTrouble::default(),
            pulse: SuspensionDetector::default(),
            adapted: Instant::now(),
            active: PerEncoding::default(),
            peers: Vec::new(),
            deadlines: Vec::new(),
            by_id: HashMap::new(),
            ids: Vec::new(),
            newest: VecDeque::new(),
            behind: VecDeque::new(),
            heard: Vec::new(),
            ingested: Vec::new(),
            with_messages: VecDeque::new(),
            newcomers: VecDeque::new(),
            newcomer_time: CpuBudget::default(),
            next_newcomer: 0,
            first_served: 0,
            dropped_by_departed: 0,
            totals_of_departed: PeerTotals::default(),
        }
    }

    pub(super) fn handle(&mut self, command: WorkerCommand) {
        let now = Instant::now();
        match command {
            WorkerCommand::Frame { frame, keys } => self.on_frame(now, frame, keys),
            WorkerCommand::Gap(track) => self.on_gap(track),
            WorkerCommand::Add(id, peer) => {
                let index = self.add(id, *peer);
                self.poll(now, index);
            }
            WorkerCommand::Datagram { id, at, from, bytes } => self.on_datagram(now, id, (at, from), bytes),
            WorkerCommand::Candidate { id, candidate } => self.change(now, id, |peer| peer.add_candidate(candidate)),
            WorkerCommand::Signalling { id, is_lost } => self.change(now, id, |peer| peer.set_signalling(is_lost)),
            WorkerCommand::Encodings(nominal) => {
                self.traffic.offer(&nominal);
                let encodings: Vec<Encoding> = nominal.iter().map(|(encoding, _)| *encoding).collect();
                self.peers.iter_mut().flatten().for_each(|peer| peer.offer(&encodings));
                self.end_with_other_codec(&encodings);
            }
            WorkerCommand::KeyFrame { id, encoding } => self.ask_publisher(now, id, encoding),
            WorkerCommand::Remove { id } => {
                if let Some(index) = self.by_id.get(&id) {
                    self.close(*index);
                }
            }
            WorkerCommand::Evict { id } => {
                if let Some(index) = self.by_id.get(&id).copied().filter(|index| !self.is_connected(*index)) {
                    self.depart(index, Departure::NeverConnected);
                    self.close(index);
                }
            }
            WorkerCommand::Tell { id, text } => {
                if let Some(index) = self.by_id.get(&id) {
                    self.tell(*index, text);
                }
            }
            WorkerCommand::Limit { id, limits } => self.limit(id, limits),
            WorkerCommand::Serves(id, students) => self.change(now, id, |peer| peer.serves(students)),
            WorkerCommand::TellAll { text } => {
                (0..self.peers.len()).for_each(|index| self.tell(index, Arc::clone(&text)));
            }
            WorkerCommand::MoveTo(sender) => self.media.udp.move_to(*sender),
            WorkerCommand::Stats(reply) => reply(self.stats()),
            WorkerCommand::Close => (0..self.peers.len()).for_each(|index| self.close(index)),
            #[cfg(test)]
            WorkerCommand::Panic { id } => self.change(now, id, |peer| peer.panics = true),
        }
        self.pass_on_requests();
    }

    /// Runs the due timers of connected peers, and sends the events that found no room before.
    pub(super) fn tick(&mut self) {
        self.events.flush();
        self.report_departures();
        // This must precede all timers.
        self.notice_suspension();
        // Each peer gets its own time: packets that are sent with a time before that look delayed by the path.
        let mut now = Instant::now();
        for index in 0..self.deadlines.len() {
            if self.deadlines[index].is_some_and(|at| at <= now) && self.has_priority(index) {
                self.tick_peer(now, index);
                now = Instant::now();
            }
        }
        self.pass_on_requests();
    }

    fn tick_peer(&mut self, now: Instant, index: usize) {
        if self.with_peer(now, index, |peer, cx| peer.tick(cx.now)).is_some() {
            self.poll(now, index);
            self.ingest(now, index);
        }
    }

    fn is_connected(&self, index: usize) -> bool {
        self.peers[index].as_ref().is_some_and(Peer::is_connected)
    }

    /// Notices a suspension of this process since the last call.
    pub(super) fn notice_suspension(&mut self) {
        if let Some(pause) = self.pulse.beat() {
            self.on_suspension(pause);
        }
    }

    fn add(&mut self, id: PeerId, peer: Peer) -> usize {
        let index = self.peers.iter().position(Option::is_none).unwrap_or(self.peers.len());
        if index == self.peers.len() {
            self.peers.push(None);
            self.deadlines.push(None);
            self.ids.push(id);
        }
        self.deadlines[index] = Some(peer.deadline);
        self.peers[index] = Some(peer);
        self.ids[index] = id;
        self.by_id.insert(id, index);
        // An encoder that must start does so while the peer connects.
        self.report_active_encodings();
        index
    }

    /// Handles a datagram of a connected peer. That of another peer waits for
    /// [`serve_newcomers`](Self::serve_newcomers).
    fn on_datagram(&mut self, now: Instant, id: PeerId, path: Path, bytes: BytesMut) {
        let Some(index) = self.by_id.get(&id).copied() else { return };
        let Some(peer) = self.peers[index].as_mut() else { return };
        if peer.is_connected() || peer.is_publisher() {
            self.receive(now, index, path, bytes);
        } else if peer.keep_waiting(path, bytes) {
            self.newcomers.push_back(index);
        }
    }

    fn receive(&mut self, now: Instant, index: usize, path: Path, bytes: BytesMut) {
        let id = self.ids[index];
        let receive = |peer: &mut Peer, cx: &mut SendContext<'_>| {
            let received = peer.receive(cx, path, bytes);
            (received, peer.transport.confirmed_address(now))
        };
        let Some((received, confirmed)) = self.with_peer(now, index, receive) else { return };
        if let Some(from) = confirmed {
            self.report(WorkerReport::Confirmed { id, from });
        }
        match received {
            // The core is not polled, because it has not seen the feedback that the SFU has decrypted.
            Received::Feedback(outcome) => {
                if outcome.restarts || !outcome.retransmissions.is_empty() {
                    self.send_all(now, index, &outcome.retransmissions);
                }
                if outcome.reported {
                    self.adapt_peer(now, index);
                }
            }
            Received::ByCore => {
                self.poll(now, index);
                self.ingest(now, index);
            }
            Received::Media => self.media_arrived(index),
            Received::Nothing => {}
        }
    }

    /// Changes a peer, and polls it.
    fn change(&mut self, now: Instant, id: PeerId, change: impl FnOnce(&mut Peer)) {
        let Some(index) = self.by_id.get(&id).copied() else { return };
        if self.with_peer(now, index, |peer, _| change(peer)).is_some() {
            self.poll(now, index);
        }
    }

    /// Polls a peer after its core was given input, and handles the result.
    fn poll(&mut self, now: Instant, index: usize) {
        self.media.shared_rtx.have_left(self.media.udp.sent.packets);
        let poll = |peer: &mut Peer, cx: &mut SendContext<'_>| (peer.poll(cx), peer.user.clone(), peer.session());
        let Some((polled, user, session)) = self.with_peer(now, index, poll) else { return };
        self.send_all(now, index, &polled.feedback.retransmissions);
        if self.peers[index].is_none() {
            // Its departure has been reported; nothing may follow that.
            return;
        }
        if polled.connected {
            self.report(WorkerReport::Connected { id: self.ids[index] });
            self.events.push(match session {
                Some(PublisherSession { number, .. }) => SfuEvent::Session { number, event: SessionEvent::Connected },
                None => SfuEvent::Connected(user.clone()),
            });
        }
        if polled.channel_opened {
            self.events.push(SfuEvent::ChannelOpen(user.clone()));
        }
        for text in polled.messages {
            self.events.push(SfuEvent::Heard { user: user.clone(), text });
        }
        match polled.end {
            Some(End::Departed(why)) => {
                self.depart(index, why);
                self.close(index);
            }
            Some(End::NoPlace) => {
                self.departures.push(WorkerReport::NoPlace { id: self.ids[index] });
                self.report_departures();
                self.close(index);
            }
            Some(End::Violated(violation)) => {
                let why = format!("it sent {violation} over its data channel, which no browser does");
                self.expel(index, &why);
                self.close(index);
            }
            None if polled.feedback.reported => self.adapt_peer(now, index),
            None => {}
        }
    }

    /// Sends everything that is due to a peer.
    fn send_all(&mut self, now: Instant, index: usize, retransmissions: &[RetransmissionRequest]) {
        let send = |peer: &mut Peer, cx: &mut SendContext<'_>| {
            peer.send_all(cx, retransmissions);
            peer.deadline
        };
        if let Some(deadline) = self.with_peer(now, index, send) {
            self.deadlines[index] = Some(deadline);
            self.queue_if_behind(index);
        }
    }

    /// Runs some work with a peer. None if there is no such peer, or if it was removed because it panicked or took too
    /// long.
    fn with_peer<T>(
        &mut self,
        now: Instant,
        index: usize,
        work: impl FnOnce(&mut Peer, &mut SendContext<'_>) -> T,
    ) -> Option<T> {
        let peer = self.peers.get_mut(index)?.as_mut()?;
        let mut cx = self.media.at(now);
        let (done, too_long) = self.watchdog.watch(|| caught(|| work(peer, &mut cx)));
        if done.is_none() {
            self.end_failed(index);
            return None;
        }
        if let Some(cpu_time) = too_long {
            self.end_slow(index, cpu_time);
            return None;
        }
        done
    }

    /// Handles a suspension of this process: nothing was sent or read, which says nothing about any peer.
    fn on_suspension(&mut self, Suspension { to, lasted, .. }: Suspension) {
        self.traffic.on_suspension();
        for (peer, deadline) in self.peers.iter_mut().zip(&mut self.deadlines) {
            if let Some(peer) = peer {
                peer.on_suspension(to);
                *deadline = Some(peer.deadline);
            }
        }
        // Each worker notices the suspension; only one reports it.
        if self.number == 0 && lasted >= NOTABLE_PAUSE {
            let seconds = lasted.as_secs_f32();
            let notice = format!("this computer was suspended for {seconds:.1} s; the lecture continues");
            self.events.push(SfuEvent::Notice(notice));
        }
    }

    fn on_gap(&mut self, track: Track) {
        self.media.rings.of(track).for_each(FrameRing::forget_key);
        self.peers.iter_mut().flatten().for_each(|peer| peer.on_gap(track));
    }

    /// Enqueues a message to a student; [`serve_behind`](Self::serve_behind) sends it.
    fn tell(&mut self, index: usize, text: Arc<str>) {
        if let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) {
            peer.channel.push(text);
            self.queue_messages(index);
        }
    }

    /// Passes the peers' requests to the encoders on to the router.
    fn pass_on_requests(&mut self) {
        if std::mem::take(&mut self.media.requests.encodings_changed) {
            self.report_active_encodings();
        }
        for encoding in self.media.requests.key_frames.drain(..) {
            let report = WorkerReport::KeyFrameNeeded { encoding, seen: self.keys[encoding] };
            // The channel is unbounded, but a peer makes few requests: when it joins, changes its tier or loses frames.
            let _ = self.reports.send(report);
        }
    }

    /// Reports the number of peers that need each encoding, where it has changed.
    fn report_active_encodings(&mut self) {
        let mut active = PerEncoding::<usize>::default();
        for encoding in self.peers.iter().flatten().flat_map(|peer| peer.senders.active()) {
            active[encoding] += 1;
        }
        for encoding in Encoding::all() {
            let students = active[encoding];
            if students != std::mem::replace(&mut self.active[encoding], students) {
                self.report(WorkerReport::Active { worker: self.number, encoding, students });
            }
        }
    }

    fn report(&self, report: WorkerReport) {
        let _ = self.reports.send(report);
    }
}
