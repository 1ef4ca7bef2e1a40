//! One peer connection: the transport, a sender for each track, the data channel, and the adaptation to the path. A
//! publisher has no senders, but an ingest.
//!
//! A worker calls a peer with a [`SendContext`]: [`Peer::receive`] for a datagram, then [`Peer::poll`] for the core's
//! reaction, then [`Peer::send_all`]. A new frame needs only [`Peer::send`], which is the hot path.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::sansio::Protocol;

use super::channel::{Channel, Opened};
use super::limits::VideoLimits;
use super::pending_offers::MAX_CANDIDATES;
use super::places::PeerPlace;
use super::senders::{RetransmissionRequest, Senders};
use super::stats::{PeerStats, SentPicture};
use super::transport::{SendContext, Transport};
use super::udp::UdpSender;
use super::user_budgets::UserBudgets;
use crate::congestion::{Adaptation, Probe};
use crate::dtls::sctp::Violation;
use crate::id::UserId;
use crate::rtcp;
use crate::rtp::{Encoding, Tier, Track};
use crate::trace::MediaJoin;

mod answer;
mod departure;
mod feedback;
mod publisher;

#[cfg(test)]
pub(super) use self::answer::media_track;
use self::answer::offered;
pub use self::departure::Departure;
pub(super) use self::feedback::{ClassNow, FeedbackOutcome};
use self::publisher::Publisher;

/// A peer that is not connected after this time is removed. ICE gives up much sooner.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// The delay from the end of the DTLS handshake to the start of media. A receiver that reads packets together with our
/// last handshake message has no keys for them yet: it would lose the key frame, and need half a second to request
/// another one.
const START_DELAY: Duration = Duration::from_millis(15);

/// No timer runs for this long after a suspension of this process, so that the packets that the student has sent in the
/// meantime, which wait in the socket, are read first.
const READ_FIRST: Duration = Duration::from_millis(500);

/// The interval of timers of a peer from which nothing has arrived: the core wants to check each candidate pair every
/// 50 ms, but hardly any of these checks would be sent ([`super::amplification`]).
const UNHEARD_INTERVAL: Duration = Duration::from_millis(200);

/// The most datagrams that wait for a peer that has not connected, and the most bytes of each. A browser sends its last
/// DTLS flight in a few datagrams, and one check for each candidate pair. It retransmits what is dropped.
const MAX_WAITING: usize = 16;
const MAX_WAITING_BYTES: usize = 2_048;

/// The local address to which a datagram was sent, and its source.
pub(super) type Path = (SocketAddr, SocketAddr);

/// How a peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Departed(Departure),
    /// The peer connected when as many students were connected as the teacher takes.
    NoPlace,
    /// The peer violated the rules of SCTP.
    Violated(Violation),
}

/// The outcome of a datagram.
pub(super) enum Received {
    /// It was RTCP and was handled by the SFU. The outcome is empty if the packet was forged or replayed.
    Feedback(FeedbackOutcome),
    /// The datagram was media of a publisher.
    Media,
    /// The core has read the datagram and must be polled.
    ByCore,
    /// The datagram was refused.
    Nothing,
}

/// The result of polling the core.
#[derive(Debug, Default)]
pub(super) struct Polled {
    /// The connection has just been established.
    pub(super) connected: bool,
    /// The data channel has just been opened.
    pub(super) channel_opened: bool,
    /// Messages from the data channel, oldest first.
    pub(super) messages: Vec<String>,
    /// The outcome of RTCP that the core has decrypted.
    pub(super) feedback: FeedbackOutcome,
    /// How the peer ended, if it did.
    pub(super) end: Option<End>,
}

/// The progress of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerState {
    /// ICE and DTLS are not done.
    Connecting { since: Instant },
    /// Connected; media starts at this time.
    Starting { at: Instant },
    /// Media has started.
    Live,
}

/// The worker's video queue that holds the peer; a peer is never in both queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VideoQueue {
    /// No queue: nothing is due.
    None,
    /// The queue for the newest frame.
    Newest,
    /// The queue of peers that are behind: they are served every 5 ms until they have caught up.
    Behind,
}

/// One student's peer connection.
pub(super) struct Peer {
    pub(super) user: UserId,
    pub(super) ufrag: String,
    pub(super) password: String,
    state: PeerState,
    /// The place that the peer takes when it connects.
    pub(super) place: PeerPlace,
    /// The number of remote candidates.
    candidates: usize,
    /// Whether a datagram has arrived before the peer was connected.
    has_heard: bool,
    /// Whether the peer's candidates have been checked and nothing has arrived from it.
    is_unheard: bool,
    /// The datagrams that wait while the peer is not connected, oldest first.
    waiting: VecDeque<(Path, BytesMut)>,
    /// When the peer's timers are due.
    pub(super) deadline: Instant,
    /// The earliest time of a deadline, after a suspension.
    earliest_deadline: Option<Instant>,
    pub(super) transport: Transport,
    pub(super) senders: Senders,
    pub(super) channel: Channel,
    pub(super) video_queue: VideoQueue,
    /// Whether the peer is in the worker's queue of peers with messages to send.
    pub(super) is_in_message_queue: bool,
    /// Whether ICE is `disconnected`: nothing has arrived from the peer recently.
    is_disturbed: bool,
    /// Whether signalling has lost the student.
    has_lost_signalling: bool,
    pub(super) stats: PeerStats,
    /// Decides which tiers the peer gets, the rate at which they are sent, and which retransmissions and key frames it
    /// may request.
    adaptation: Adaptation,
    /// The most that the peer wants of each video.
    limits: VideoLimits,
    /// The received media of a publisher; `None` for a student.
    publisher: Option<Box<Publisher>>,
    /// The join of a traced student, until its first key frame.
    pub(super) join: Option<Box<MediaJoin>>,
    #[cfg(test)]
    pub(super) panics: bool,
}

impl Peer {
    /// A peer with a local description, whose media has not started.
    fn new(
        now: Instant,
        user: UserId,
        (ufrag, password): (String, String),
        transport: Transport,
        senders: Senders,
        adaptation: Adaptation,
        place: PeerPlace,
    ) -> Self {
        Self {
            user,
            ufrag,
            password,
            state: PeerState::Connecting { since: now },
            place,
            candidates: 0,
            is_unheard: false,
            has_heard: false,
            waiting: VecDeque::new(),
            deadline: now,
            earliest_deadline: None,
            transport,
            senders,
            channel: Channel::default(),
            video_queue: VideoQueue::None,
            is_in_message_queue: false,
            is_disturbed: false,
            has_lost_signalling: false,
            stats: PeerStats::default(),
            adaptation,
            limits: VideoLimits::default(),
            publisher: None,
            join: None,
            #[cfg(test)]
            panics: false,
        }
    }

    /// From now on the budgets of its user apply to the peer, instead of budgets of its own.
    pub(super) fn share(&mut self, budgets: &UserBudgets) {
        self.transport.share(&budgets.checks, &budgets.records);
        self.adaptation.share(&budgets.requests);
        self.channel.share(&budgets.messages);
    }

    /// Whether ICE and DTLS are done.
    pub(super) fn is_connected(&self) -> bool {
        !matches!(self.state, PeerState::Connecting { .. })
    }

    /// Whether the connection is established but ICE is `disconnected`.
    pub(super) fn is_disturbed(&self) -> bool {
        self.is_disturbed
    }

    /// Signalling has lost the student, or has it back. A student that is lost to both signalling and ICE is taken as
    /// gone: it has to join again anyway, and then offers. Meanwhile its peer would only cost memory.
    pub(super) fn set_signalling(&mut self, is_lost: bool) {
        self.has_lost_signalling = is_lost;
    }

    /// Whether the core encrypts RTP, at five times the cost, because the session key is not known.
    pub(super) fn is_sealed_by_core(&self) -> bool {
        !self.transport.seals_rtp() && self.senders.have_sent()
    }

    /// Adds a remote candidate. A candidate that can't be parsed or resolved is ignored: there are others. So is one
    /// beyond [`MAX_CANDIDATES`].
    pub(super) fn add_candidate(&mut self, candidate: RTCIceCandidateInit) {
        if self.candidates < MAX_CANDIDATES {
            self.candidates += 1;
            // The new one is checked at once.
            self.is_unheard = false;
            let _ = self.transport.connection.add_remote_candidate(candidate);
        }
    }

    /// Keeps a datagram of a peer that has not connected, or drops it if too many wait. Returns whether it is now the
    /// only one that waits.
    pub(super) fn keep_waiting(&mut self, path: Path, datagram: BytesMut) -> bool {
        if self.waiting.len() < MAX_WAITING && datagram.len() <= MAX_WAITING_BYTES {
            (self.has_heard, self.is_unheard) = (true, false);
            self.waiting.push_back((path, datagram));
            return self.waiting.len() == 1;
        }
        false
    }

    /// The oldest datagram that waits.
    pub(super) fn next_waiting(&mut self) -> Option<(Path, BytesMut)> {
        self.waiting.pop_front()
    }

    /// Whether a datagram waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Handles a datagram of this peer.
    pub(super) fn receive(&mut self, cx: &mut SendContext<'_>, path: Path, mut datagram: BytesMut) -> Received {
        if self.is_publisher() {
            return self.receive_media(cx, path, datagram);
        }
        if let Some(compound) = self.transport.open_rtcp(path.1, &mut datagram) {
            let mut outcome = FeedbackOutcome::default();
            rtcp::read(compound).for_each(|feedback| self.on_rtcp(cx, feedback, &mut outcome));
            return Received::Feedback(outcome);
        }
        match self.transport.receive(cx.now, path, self.is_connected(), datagram) {
            true => Received::ByCore,
            false => Received::Nothing,
        }
    }

    /// Runs the core's timers if they are due.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.deadline <= now {
            let _ = self.transport.connection.handle_timeout(now);
            self.is_unheard = !self.has_heard;
        }
    }

    /// Reads the core's events and messages after a datagram, a timer or a candidate, and starts media when the time
    /// has come.
    pub(super) fn poll(&mut self, cx: &mut SendContext<'_>) -> Polled {
        #[cfg(test)]
        assert!(!self.panics, "on purpose");
        let mut polled = Polled::default();
        while let Some(event) = self.transport.connection.poll_event() {
            match event {
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => {
                    self.on_connection_state(cx.now, state, &mut polled);
                }
                RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(RTCIceConnectionState::Connected) => {
                    self.join.iter_mut().for_each(|join| join.step("ice"));
                }
                RTCPeerConnectionEvent::OnDataChannel(event) => {
                    match self.channel.on_event(&mut self.transport.connection, event) {
                        Opened::No => {}
                        Opened::Yes => polled.channel_opened = true,
                        Opened::TooMany => polled.end = Some(End::Departed(Departure::Misbehaved)),
                    }
                }
                _ => {}
            }
        }
        match self.state {
            PeerState::Starting { at } if at <= cx.now => self.start(cx),
            PeerState::Connecting { since } if cx.now.saturating_duration_since(since) > CONNECT_WITHIN => {
                polled.end = Some(End::Departed(Departure::NeverConnected));
            }
            PeerState::Connecting { .. } | PeerState::Starting { .. } | PeerState::Live => {}
        }
        if self.has_lost_signalling && self.is_disturbed {
            polled.end = Some(End::Departed(Departure::Lost));
        }
        self.stats.refused = self.transport.refused();
        if let Some(violation) = self.transport.violation() {
            polled.end = Some(End::Violated(violation));
        }
        while let Some(message) = self.transport.connection.poll_read() {
            match message.message {
                // The first compound packet, or every one if the SRTCP key is not known.
                RTCMessage::RtcpPacket(_, packets) if self.publisher.is_none() => {
                    let compound = rtc::rtcp::packet::marshal(&packets).unwrap_or_default();
                    rtcp::read(&compound).for_each(|feedback| self.on_rtcp(cx, feedback, &mut polled.feedback));
                }
                RTCMessage::DataChannelMessage(id, message) => {
                    polled.messages.extend(self.channel.read(cx.now, id, &message));
                }
                _ => {}
            }
        }
        self.read_decrypted(cx.now);
        self.flush_messages(cx.now);
        polled
    }

    fn on_connection_state(&mut self, now: Instant, state: RTCPeerConnectionState, polled: &mut Polled) {
        match state {
            RTCPeerConnectionState::Connected if !self.is_connected() => {
                if !self.is_publisher() && !self.place.take() {
                    polled.end = Some(End::NoPlace);
                    return;
                }
                self.state = PeerState::Starting { at: now + START_DELAY };
                polled.connected = true;
                self.join.iter_mut().for_each(|join| join.step("dtls"));
            }
            RTCPeerConnectionState::Connected => self.is_disturbed = false,
            RTCPeerConnectionState::Disconnected => self.is_disturbed = true,
            RTCPeerConnectionState::Failed => polled.end = Some(End::Departed(Departure::Lost)),
            RTCPeerConnectionState::Closed => polled.end = Some(End::Departed(Departure::Left)),
            _ => {}
        }
    }

    /// Starts audio, and also video unless the bandwidth of a distant peer must be probed first.
    fn start(&mut self, cx: &mut SendContext<'_>) {
        self.state = PeerState::Live;
        if self.is_publisher() {
            return;
        }
        self.senders.start_audio(cx.rings);
        let can_probe = self.transport.has_twcc() && self.senders.can_probe_first();
        if self.adaptation.start(cx.now, can_probe && !self.transport.is_near()) {
            self.start_video(cx);
        }
    }

    /// Passes waiting messages of the data channel to the core. [`send_all`](Self::send_all) sends them.
    pub(super) fn flush_messages(&mut self, now: Instant) {
        self.channel.flush(now, &mut self.transport.connection);
        self.stats.unread = self.channel.dropped;
    }

    /// Handles the loss of a frame at the source of a track. The router requests a key frame for all peers.
    pub(super) fn on_gap(&mut self, track: Track) {
        self.senders.on_gap(track);
        let awaiting = self.senders.awaiting_key_frame().filter(|encoding| encoding.track == track);
        self.adaptation.key_frames_requested(awaiting);
    }

    /// The hot path: sends the frames that are due, of one track or of all tracks.
    pub(super) fn send(&mut self, cx: &mut SendContext<'_>, only: Option<Track>) {
        if !self.is_connected() {
            return;
        }
        let sent = self.senders.send(cx, &mut self.transport, self.adaptation.estimate(), only);
        if self.join.is_some() && self.senders.have_sent_video() {
            self.join.take().into_iter().for_each(|join| join.done("first key frame"));
        }
        let awaiting = self.senders.awaiting_key_frame();
        self.adaptation.request_key_frames(cx.now, awaiting, &mut cx.requests.key_frames);
        self.adaptation.on_media_sent(sent);
        if self.transport.seals_rtp()
            && let Some(probe) = self.adaptation.first_probe()
        {
            self.probe(cx, probe);
        }
        if self.senders.report(cx, &mut self.transport) {
            self.transport.drain(cx.udp);
            self.stats.dropped = self.senders.dropped();
            self.set_deadline(cx.now);
        }
    }

    /// Sends all that is due after the core was given input: retransmissions, frames, and the core's own datagrams.
    pub(super) fn send_all(&mut self, cx: &mut SendContext<'_>, retransmissions: &[RetransmissionRequest]) {
        if self.is_connected() {
            if !retransmissions.is_empty() {
                self.senders.retransmit(cx, &mut self.transport, self.adaptation.estimate(), retransmissions);
            }
            self.send(cx, None);
        }
        self.transport.retransmit_handshake(cx.now, cx.udp);
        self.transport.drain(cx.udp);
        self.set_deadline(cx.now);
    }

    fn probe(&mut self, cx: &mut SendContext<'_>, probe: Probe) {
        self.senders.probe(cx, &mut self.transport, self.adaptation.estimate(), probe);
    }

    fn set_deadline(&mut self, now: Instant) {
        let mut deadline = self.transport.deadline(now);
        if self.is_unheard {
            deadline = deadline.max(now + UNHEARD_INTERVAL);
        }
        if let Some(at) = self.publisher.as_ref().and_then(|publisher| publisher.ingest.deadline()) {
            deadline = deadline.min(at);
        }
        if let PeerState::Starting { at } = self.state {
            deadline = deadline.min(at);
        }
        self.deadline = self.earliest_deadline.map_or(deadline, |earliest_deadline| deadline.max(earliest_deadline));
    }

    /// Handles a suspension of this process that has just ended; it says nothing about the peer's path.
    pub(super) fn on_suspension(&mut self, now: Instant) {
        self.adaptation.on_suspension(now);
        self.earliest_deadline = Some(now + READ_FIRST);
        self.deadline = self.deadline.max(now + READ_FIRST);
    }

    /// The time since which the peer's path has been in trouble, if it is. None for a peer whose media has not started
    /// or that has no video, because such a peer does not count.
    pub(super) fn troubled_since(&self) -> Option<Option<Instant>> {
        let counts = self.state == PeerState::Live && !self.is_publisher();
        if counts { self.adaptation.troubled_since() } else { None }
    }

    /// The peer's current counters.
    pub(super) fn numbers(&self) -> PeerStats {
        let (packets, bytes) = self.transport.sent();
        PeerStats { packets, bytes, lost: self.senders.lost(), picture: self.sent_picture(), ..self.stats }
    }

    fn sent_picture(&self) -> SentPicture {
        let has = |track| self.senders.tracks().any(|(known, _)| known == track);
        let Some(main) = [Track::Screen, Track::Camera].into_iter().find(|track| has(*track)) else {
            return SentPicture::Full;
        };
        let mut watched = self.senders.watched();
        match watched.find(|Encoding { track, .. }| *track == main).map(|encoding| encoding.tier) {
            Some(Tier::Full) => SentPicture::Full,
            Some(Tier::Low) => SentPicture::Low,
            None => SentPicture::Withheld,
        }
    }

    /// Closes the connection, so that the student notices at once.
    pub(super) fn close(self, udp: &mut UdpSender) {
        self.transport.close(udp);
    }
}
