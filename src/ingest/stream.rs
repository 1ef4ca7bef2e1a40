//! The receiving side of one encoding: order, frames, retransmissions and key frames.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::clock::{StreamClock, WallClock};
use super::cutter::{FrameCutter, FrameHeader};
use super::key_frame_demand::KeyFrameDemand;
use super::limit::PerSecond;
use super::media_packet::{MediaHeader, MediaPacket};
use super::order::{NackPolicy, Order, Place, Recovered};
use super::reception::Reception;
use super::round_trip::RoundTrip;
use super::stats::EncodingStats;
use super::timeline::Timeline;
use crate::rtp::{Encoding, Frame};

/// The least and the most time from a gap to the first NACK, which follows the measured reordering.
const REORDERING: Duration = Duration::from_millis(3);
const MAX_REORDERING: Duration = Duration::from_millis(20);

/// A missing packet of video is given up after this: a student's jitter buffer waits no longer.
const VIDEO_LIMIT: Duration = Duration::from_millis(450);

/// The most NACKs for one packet of video.
const VIDEO_NACKS: u8 = 10;

/// A missing packet of audio is given up after this if the publisher answers NACKs for audio. Browsers do not.
const AUDIO_LIMIT: Duration = Duration::from_millis(200);

/// A missing packet of audio is given up after this if the publisher has not answered any NACK for audio.
const AUDIO_REORDERING: Duration = Duration::from_millis(25);

/// The least time from a NACK to a packet that had been given up, if the packet is the answer.
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(5);

/// The most sequence numbers in a NACK: at worst four bytes each.
const MAX_NACKS: usize = 250;

/// The state that the streams of a publisher share.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    /// The start of the ingest, and the time from there to `now`.
    pub(super) began: Instant,
    pub(super) at: Duration,
    pub(super) wall_clock: &'a mut WallClock,
    pub(super) timeline: &'a mut Timeline,
    pub(super) round_trip: &'a mut RoundTrip,
    pub(super) frames: &'a mut VecDeque<Frame>,
}

/// The content of a packet.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Media(MediaPacket<'a>),
    /// Only padding, by which a sender probes the path.
    Padding,
    /// The packet was not taken: over the limit, or of a payload type that was not negotiated.
    Refused,
}

/// A packet that waits for those before it.
#[derive(Debug)]
struct Waiting {
    arrived: Instant,
    kind: Kind,
    packet: BytesMut,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Media(MediaHeader),
    Padding,
    Refused,
}

impl Waiting {
    fn new(arrived: Instant, content: Content<'_>) -> Self {
        let (kind, packet) = match content {
            Content::Media(packet) => {
                let (header, packet) = packet.into_parts();
                (Kind::Media(header), packet)
            }
            Content::Padding => (Kind::Padding, BytesMut::new()),
            Content::Refused => (Kind::Refused, BytesMut::new()),
        };
        Self { arrived, kind, packet }
    }

    fn content(&mut self) -> Content<'_> {
        match self.kind {
            Kind::Media(header) => Content::Media(MediaPacket::from_parts(header, &mut self.packet)),
            Kind::Padding => Content::Padding,
            Kind::Refused => Content::Refused,
        }
    }
}

/// One encoding.
#[derive(Debug)]
pub(super) struct Stream {
    ssrc: u32,
    order: Order<Waiting>,
    cutter: FrameCutter,
    clock: StreamClock,
    reception: Reception,
    demand: KeyFrameDemand,
    stats: EncodingStats,
    bits: PerSecond,
    fps: PerSecond,
    /// The loudest audio level of the current second and of the last one, in -dBov.
    levels: [Option<u8>; 2],
    /// By how much packets overtake each other.
    reordering: Duration,
    /// Whether the publisher has answered a NACK, and whether by RTX.
    answers: bool,
    answers_by_rtx: bool,
    heard: Option<Instant>,
}

impl Stream {
    /// A stream before its first packet.
    pub(super) fn new(encoding: Encoding, now: Instant) -> Self {
        let clock_rate = encoding.codec.clock_rate();
        Self {
            ssrc: 0,
            order: Order::default(),
            cutter: FrameCutter::new(encoding, now),
            clock: StreamClock::new(clock_rate),
            reception: Reception::new(clock_rate),
            demand: KeyFrameDemand::default(),
            stats: EncodingStats::new(encoding),
            bits: PerSecond::default(),
            fps: PerSecond::default(),
            levels: [None; 2],
            reordering: REORDERING,
            answers: false,
            answers_by_rtx: false,
            heard: None,
        }
    }

    /// The encoding, with the codec of the newest packet.
    pub(super) fn encoding(&self) -> Encoding {
        self.cutter.encoding()
    }

    /// The arrival of the last packet.
    pub(super) fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// This SSRC carries the encoding from now on.
    pub(super) fn restart(&mut self, now: Instant, ssrc: u32) {
        self.ssrc = ssrc;
        let clock_rate = self.encoding().codec.clock_rate();
        self.keep_loss_counts();
        self.order = Order::default();
        self.clock = StreamClock::new(clock_rate);
        self.reception = Reception::new(clock_rate);
        self.stats.dropped_frames += u64::from(self.cutter.on_gap(now));
    }

    /// A packet of the encoding has come, on any SSRC.
    pub(super) fn count(&mut self, now: Instant, bytes: usize) {
        self.stats.packets += 1;
        self.stats.bytes += bytes as u64;
        self.bits.add(8 * bytes);
        self.heard = Some(now);
        self.demand.heard();
    }

    /// A packet was dropped because the publisher sends too much.
    pub(super) fn count_over_limit(&mut self) {
        self.stats.over_limit += 1;
    }

    /// A packet has a payload type that was not negotiated.
    pub(super) fn count_wrong_payload_type(&mut self) {
        self.stats.wrong_payload_type += 1;
    }

    /// The audio level of a packet, in -dBov.
    pub(super) fn on_audio_level(&mut self, level: u8) {
        self.levels[0] = Some(self.levels[0].map_or(level, |loudest| loudest.min(level)));
    }

    /// A packet on the SSRC of the media.
    #[inline]
    pub(super) fn on_media(&mut self, cx: &mut Context<'_>, number: u16, timestamp: u32, content: Content<'_>) {
        if let Some(index) = self.order.advance(number) {
            self.reception.arrived(index, timestamp, cx.at.as_nanos() as u64);
            return self.deliver(cx, index, content, cx.now, false);
        }
        let (place, recovered) = self.order.arrive(cx.now, number);
        if let Place::Next { index } | Place::AfterGap { index } | Place::Waits { index } = place {
            self.reception.arrived(index, timestamp, cx.at.as_nanos() as u64);
        }
        let is_late = recovered.is_some_and(|recovered| recovered.late <= MAX_REORDERING);
        if let Some(recovered) = recovered.filter(|_| is_late) {
            self.reordering = self.reordering.max(recovered.late);
        }
        // A packet that was only late may follow its NACK at once.
        self.on_recovered(cx, recovered.filter(|_| !is_late && !self.answers_by_rtx));
        self.on_placed(cx, place, content);
    }

    /// A retransmission on the RTX stream, with its original sequence number.
    pub(super) fn on_retransmission(&mut self, cx: &mut Context<'_>, number: u16, content: Content<'_>) {
        let (place, recovered) = self.order.arrive_by_rtx(cx.now, number);
        self.answers_by_rtx = true;
        self.on_recovered(cx, recovered);
        self.on_placed(cx, place, content);
    }

    fn on_recovered(&mut self, cx: &mut Context<'_>, recovered: Option<Recovered>) {
        if let Some((first, last)) = recovered.and_then(|recovered| recovered.asked) {
            self.answers = true;
            cx.round_trip.answered(first, last);
        }
    }

    fn on_placed(&mut self, cx: &mut Context<'_>, place: Place, content: Content<'_>) {
        match place {
            Place::Next { index } => self.deliver(cx, index, content, cx.now, false),
            Place::AfterGap { index } => self.deliver(cx, index, content, cx.now, true),
            Place::Waits { index } => {
                self.order.wait(index, Waiting::new(cx.now, content));
            }
            Place::Late { answered } => {
                if let Some(time) = answered.filter(|time| *time >= LEAST_ROUND_TRIP) {
                    self.answers = true;
                    cx.round_trip.add(time);
                }
            }
        }
        self.deliver_waiting(cx);
    }

    /// Gives up the packets that are missing for too long.
    pub(super) fn on_timeout(&mut self, cx: &mut Context<'_>) {
        let policy = self.policy(cx.round_trip);
        while self.order.give_up_late(cx.now, policy) {
            self.deliver_waiting(cx);
        }
    }

    fn deliver_waiting(&mut self, cx: &mut Context<'_>) {
        loop {
            while let Some((index, mut waiting, gap)) = self.order.take() {
                let arrived = waiting.arrived;
                self.deliver(cx, index, waiting.content(), arrived, gap);
            }
            if self.cutter.awaits_key().is_none() {
                return;
            }
            // Packets before the key frame are of no use any more.
            self.order
                .skip_to(|waiting| matches!(waiting.content(), Content::Media(packet) if packet.begins_key_frame()));
            if !self.order.has_turn() {
                return;
            }
        }
    }

    #[inline]
    fn deliver(&mut self, cx: &mut Context<'_>, index: u64, content: Content<'_>, arrived: Instant, gap: bool) {
        if gap {
            self.stats.dropped_frames += u64::from(self.cutter.on_gap(cx.now));
        }
        match content {
            Content::Media(packet) => self.cut(cx, index, packet, arrived),
            Content::Padding => {}
            Content::Refused => self.stats.dropped_frames += u64::from(self.cutter.on_gap(cx.now)),
        }
        if self.cutter.awaits_key().is_some() {
            self.demand.want();
        }
    }

    #[inline]
    fn cut(&mut self, cx: &mut Context<'_>, index: u64, packet: MediaPacket<'_>, arrived: Instant) {
        let (clock, tier, ssrc) = (&mut self.clock, self.stats.encoding.tier, self.ssrc);
        let source_timestamp = packet.header.timestamp;
        self.stats.encoding.codec = packet.header.codec;
        let header = || {
            let at = arrived.saturating_duration_since(cx.began).as_nanos() as i64;
            let captured = clock.frame(cx.wall_clock, source_timestamp, at);
            let timestamp = cx.timeline.place(tier, source_timestamp, captured);
            let captured = cx.began + Duration::from_nanos(captured.at.max(0).unsigned_abs());
            FrameHeader { ssrc, timestamp, captured }
        };
        let (stats, fps, demand) = (&mut self.stats, &mut self.fps, &mut self.demand);
        let cut = self.cutter.push(cx.now, index as u16, packet, header, |frame| {
            stats.frames += 1;
            stats.last_frame = Some(cx.now);
            fps.add(1);
            if frame.key {
                stats.key_frames += 1;
                demand.fulfilled();
            }
            cx.frames.push_back(frame);
        });
        self.stats.dropped_frames += u64::from(cut.dropped);
        if cut.began_key_frame {
            self.demand.fulfilled();
        }
    }

    fn policy(&self, round_trip: &RoundTrip) -> NackPolicy {
        let (again, round_trip) = (round_trip.timeout(), round_trip.or_first());
        let policy = NackPolicy { first: self.reordering, again, most: VIDEO_NACKS, limit: VIDEO_LIMIT };
        match (self.stats.encoding.track.is_video(), self.answers) {
            (true, _) => policy,
            (false, true) => {
                NackPolicy { most: 3, limit: AUDIO_LIMIT.min(round_trip * 2 + AUDIO_REORDERING), ..policy }
            }
            (false, false) => NackPolicy { most: 1, limit: AUDIO_REORDERING, ..policy },
        }
    }
}

/// Feedback and statistics.
impl Stream {
    /// The sequence numbers to be NACKed now.
    pub(super) fn nacks(&mut self, now: Instant, round_trip: &RoundTrip) -> Vec<u16> {
        self.order.nacks(now, self.policy(round_trip), MAX_NACKS)
    }

    /// A student needs a key frame.
    pub(super) fn want_key_frame(&mut self) {
        if self.stats.encoding.track.is_video() {
            self.demand.want();
        }
    }

    /// Whether a PLI is due. The caller sends it.
    pub(super) fn take_pli(&mut self, now: Instant) -> bool {
        let is_due = self.demand.due(now).is_some_and(|due| due <= now);
        if is_due {
            self.demand.asked(now);
            self.stats.key_frame_requests += 1;
        }
        is_due
    }

    /// The time at which packets are to be NACKed or given up.
    pub(super) fn nack_deadline(&self, round_trip: &RoundTrip) -> Option<Instant> {
        if self.order.is_missing() { self.order.deadline(self.policy(round_trip)) } else { None }
    }

    /// The time of the next PLI.
    pub(super) fn pli_deadline(&self, now: Instant) -> Option<Instant> {
        self.demand.due(now)
    }

    /// The clock and the reception statistics, for a sender report.
    pub(super) fn clocks(&mut self) -> (&mut StreamClock, &mut Reception) {
        (&mut self.clock, &mut self.reception)
    }

    /// The statistics for a receiver report.
    pub(super) fn reception(&mut self) -> &mut Reception {
        &mut self.reception
    }

    /// Ends the current second of the rates.
    pub(super) fn turn(&mut self) {
        self.bits.turn();
        self.fps.turn();
        self.levels = [None, self.levels[0]];
        self.reordering = REORDERING.max(self.reordering * 15 / 16);
    }

    /// The statistics so far.
    pub(super) fn stats(&self) -> EncodingStats {
        let counts = self.order.counts();
        EncodingStats {
            encoding: self.encoding(),
            lost: self.stats.lost + counts.lost,
            recovered: self.stats.recovered + counts.recovered,
            given_up: self.stats.given_up + counts.given_up,
            loss: self.reception.loss(),
            awaits_key_frame: self.cutter.awaits_key(),
            fps: self.fps.last().min(u32::MAX.into()) as u32,
            bits_per_second: self.bits.last(),
            audio_level: self.levels.into_iter().flatten().min(),
            ..self.stats.clone()
        }
    }

    /// The counts of an order that ends.
    fn keep_loss_counts(&mut self) {
        let counts = self.order.counts();
        self.stats.lost += counts.lost;
        self.stats.recovered += counts.recovered;
        self.stats.given_up += counts.given_up;
    }
}
