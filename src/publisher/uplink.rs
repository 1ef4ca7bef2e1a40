//! Everything that a publisher decides about its RTP: which frames it sends, when each packet leaves, retransmissions,
//! and the reaction to feedback. Does no I/O and reads no clock.
//!
//! The decisions about the path are those of the SFU about a student's path ([`Adaptation`]): here too the encoders
//! have a few fixed rates, and the question is which tiers the uplink carries. A probe of padding precedes the first
//! video, video is paced on a narrow path, and a path in trouble gets less at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::rtp::Packet;
use rtc::shared::marshal::MarshalSize;

use super::extensions::ExtensionIds;
use super::layers::LayerCosts;
use super::offer;
use super::orders::{EncoderOrder, Orders};
use super::stats::PublisherStats;
use super::stream::{PayloadTypes, Stream};
use crate::congestion::{Adaptation, ClassRetransmissions, CommonTrouble, Layers, Pacer, PathCapacity, Probe};
use crate::protocol::OfferedTracks;
use crate::rtcp::{self, Feedback};
use crate::rtp::{Codec, Encoding, Frame, MAX_LATENESS, Tier, Track, starts_key_frame};

/// The interval of decisions.
const ADAPT_EVERY: Duration = Duration::from_millis(100);

/// The interval at which the pacer is asked.
const PACE_EVERY: Duration = Duration::from_millis(5);

/// The least time between two requests for a key frame of a stream: the answerer may ask as often as it likes.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

/// Without a decision for this long, this process was suspended.
const SUSPENDED_AFTER: Duration = Duration::from_secs(1);

/// The packets of one frame leave within this time, and count as sent at the same time.
const FRAME_LEAVES_WITHIN: Duration = Duration::from_millis(5);

/// The size of a packet of padding, with its headers.
const PADDING_BYTES: u32 = 290;

/// The most packets that may wait for the pacer: [`MAX_LATENESS`] ends a wait on any usual path before that.
const MAX_PACED: usize = 4_096;

/// A video packet that waits for the pacer.
struct Paced {
    since: Instant,
    stream: usize,
    packet: Packet,
}

/// The requests for key frames of a stream.
#[derive(Debug, Default, Clone, Copy)]
struct KeyFrameRequest {
    at: Option<Instant>,
    is_wanted: bool,
}

/// The sending half of a publisher's connection.
pub(super) struct Uplink {
    streams: Vec<Stream>,
    requests: Vec<KeyFrameRequest>,
    ids: ExtensionIds,
    costs: LayerCosts,
    adaptation: Adaptation,
    class: ClassRetransmissions,
    layers: Layers,
    is_connected: bool,
    /// Whether video has started, after the first probe.
    has_started: bool,
    transport_number: u16,
    pacer: Option<Pacer>,
    paced: VecDeque<Paced>,
    /// The time at which the pacer was last asked.
    paced_at: Option<Instant>,
    out: VecDeque<Packet>,
    /// The frame whose packets are leaving: its SSRC, its timestamp, and the time of its first packet.
    leaving: Option<(u32, u32, Instant)>,
    adapted: Option<Instant>,
    active: Vec<Encoding>,
    orders: Orders,
    stats: PublisherStats,
}

impl Uplink {
    /// For the streams of an offer and the nominal rates of their encodings in bits per second.
    pub(super) fn new(now: Instant, streams: Vec<Stream>, encodings: Vec<(Encoding, u32)>) -> Self {
        let is_simulcast = streams.iter().any(|stream| stream.tier.is_some());
        let costs = LayerCosts::new(encodings, is_simulcast);
        let (offered, layers) = (costs.offered(), costs.best());
        Self {
            requests: vec![KeyFrameRequest::default(); streams.len()],
            streams,
            ids: ExtensionIds::default(),
            adaptation: Adaptation::new(now, offered, true),
            costs,
            class: ClassRetransmissions::default(),
            layers,
            is_connected: false,
            has_started: false,
            transport_number: 0,
            pacer: None,
            paced: VecDeque::new(),
            paced_at: None,
            out: VecDeque::new(),
            leaving: None,
            adapted: None,
            active: Vec::new(),
            orders: Orders::default(),
            stats: PublisherStats::default(),
        }
    }

    /// Takes the `a=mid` of each track's section. Returns the names of the tracks by mid.
    pub(super) fn set_mids(&mut self, mids: &[String]) -> OfferedTracks {
        let mut tracks: Vec<Track> = self.streams.iter().map(|stream| stream.track).collect();
        tracks.dedup();
        for (track, mid) in tracks.into_iter().zip(mids) {
            let of_track = self.streams.iter_mut().filter(|stream| stream.track == track);
            of_track.for_each(|stream| stream.mid.clone_from(mid));
        }
        offer::names(&self.streams)
    }

    pub(super) fn stats(&self) -> PublisherStats {
        self.stats
    }

    /// The tier of each video that the uplink carries, as far as somebody needs it.
    pub(super) fn layers(&self) -> Layers {
        self.layers
    }

    /// Whether the uplink carries less than the best tier of each video that is sent.
    pub(super) fn is_narrow(&self) -> bool {
        let best = self.costs.best();
        let sends = |stream: &&Stream| stream.track.is_video() && stream.payload_types.is_some();
        let mut videos = self.streams.iter().filter(sends).map(|stream| stream.track);
        self.has_started && videos.any(|track| self.layers.of(track) != best.of(track))
    }

    /// The capacity of the uplink in kbit/s, if it is known.
    pub(super) fn estimate_kbps(&mut self, now: Instant) -> Option<u32> {
        self.adaptation.estimate().told_kbps(now)
    }

    /// The tracks in the order of their sections, with their codecs.
    pub(super) fn tracks(&self) -> Vec<(Track, Codec)> {
        let mut tracks: Vec<(Track, Codec)> = self.streams.iter().map(|stream| (stream.track, stream.codec)).collect();
        tracks.dedup();
        tracks
    }

    /// Whether the receiver takes a track.
    pub(super) fn sends(&self, track: Track) -> bool {
        self.streams.iter().any(|stream| stream.track == track && stream.payload_types.is_some())
    }

    /// The answer has come.
    pub(super) fn answered(&mut self, ids: ExtensionIds) {
        self.ids = ids;
    }

    /// The payload types of each codec that the receiver takes. A stream whose codec it does not take is not sent.
    pub(super) fn set_payload_types(
        &mut self,
        now: Instant,
        payload_types: impl Fn(Track, Codec) -> Option<PayloadTypes>,
    ) {
        for stream in &mut self.streams {
            stream.payload_types = payload_types(stream.track, stream.codec);
        }
        let sent: Vec<Track> =
            self.streams.iter().filter(|stream| stream.payload_types.is_some()).map(|stream| stream.track).collect();
        self.costs.need_only(&sent);
        self.choose(now, false);
    }

    /// Media may flow: audio at once, and video after a probe if audio and feedback allow one.
    pub(super) fn connected(&mut self, now: Instant) {
        let has_audio = self.streams.iter().any(|stream| !stream.track.is_video());
        // A probe is padding on an RTX stream.
        let can_probe = self.ids.transport.is_some() && self.streams.iter().any(Stream::has_rtx);
        (self.is_connected, self.adapted) = (true, Some(now));
        self.has_started = self.adaptation.start(now, has_audio && can_probe);
        self.choose(now, false);
    }

    /// Somebody needs exactly these encodings of videos.
    pub(super) fn need(&mut self, now: Instant, needed: Vec<(Track, Tier)>) {
        self.costs.need(needed);
        self.choose(now, false);
    }

    /// The index of the stream that sends a frame, and its payload type, if one does.
    pub(super) fn takes(&mut self, now: Instant, frame: &Frame) -> Option<(usize, u8)> {
        let encoding = frame.encoding();
        let of_frame = |stream: &Stream| {
            stream.encoding(frame.tier) == encoding && stream.tier.is_none_or(|tier| tier == frame.tier)
        };
        let n = self.streams.iter().position(of_frame).filter(|_| self.is_connected)?;
        let stream = &mut self.streams[n];
        let payload_type = stream.payload_types?.media;
        let was_awaited = stream.switch.awaited().is_some();
        if stream.track.is_video() && !stream.switch.takes(frame.tier, frame.key) {
            return None;
        }
        if frame.key {
            // Earlier requests were about earlier frames.
            self.requests[n].is_wanted = false;
        }
        self.costs.count(now, encoding, frame.bytes());
        if was_awaited && self.streams[n].switch.awaited().is_none() {
            // The new tier has begun, so the old one ends.
            self.choose(now, false);
        }
        Some((n, payload_type))
    }

    /// Frames were lost on the way to the streams: each video goes on with a key frame.
    pub(super) fn lost_frames(&mut self, now: Instant) {
        self.drop_video(now);
    }

    /// A packet of a frame of this stream, without its sequence number.
    pub(super) fn on_packet(&mut self, now: Instant, packet: Packet) {
        let Some(n) = self.streams.iter().position(|stream| stream.ssrc == packet.header.ssrc) else { return };
        let stream = &mut self.streams[n];
        if stream.awaits_key_frame {
            if !starts_key_frame(stream.codec, &packet.payload) {
                return;
            }
            stream.awaits_key_frame = false;
        }
        let is_paced = stream.track.is_video() && (self.pacer.is_some() || !self.paced.is_empty());
        if is_paced {
            self.paced.push_back(Paced { since: now, stream: n, packet });
            self.pace(now);
        } else {
            self.send_media(now, n, packet);
        }
        if let Some(probe) = self.adaptation.first_probe() {
            self.probe(now, probe);
        }
    }

    /// A compound RTCP packet of the answerer.
    pub(super) fn on_rtcp(&mut self, now: Instant, compound: &[u8]) {
        let mut reported = false;
        for feedback in rtcp::read(compound) {
            match feedback {
                Feedback::Nack(ssrc, numbers) => numbers.for_each(|number| self.on_nack(now, ssrc, number)),
                Feedback::Pli(ssrc) => {
                    self.stats.key_frame_requests += 1;
                    if let Some(n) = self.streams.iter().position(|stream| stream.ssrc == ssrc) {
                        self.requests[n].is_wanted = self.streams[n].track.is_video();
                    }
                }
                Feedback::ReceiverReport(blocks) => {
                    if let Some(worst) = blocks.iter().map(|block| block.fraction_lost).max() {
                        self.adaptation.on_report(now, worst, None);
                        reported = true;
                    }
                }
                Feedback::Transport(arrivals) => {
                    let (base, reference) = (arrivals.base, arrivals.reference);
                    self.adaptation.estimate().on_feedback(now, base, reference, arrivals.statuses());
                    reported = true;
                }
                Feedback::Remb(bits_per_second) => {
                    self.adaptation.estimate().on_remb(now, bits_per_second);
                    reported = true;
                }
            }
        }
        if reported {
            self.adapt(now);
        }
        self.request_key_frames(now);
    }

    /// Time has passed.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        let Some(adapted) = self.adapted else { return };
        let since = now.saturating_duration_since(adapted);
        if since >= ADAPT_EVERY {
            if since >= SUSPENDED_AFTER {
                self.adaptation.on_suspension(now);
            }
            self.adapted = Some(now);
            self.adapt(now);
            self.request_key_frames(now);
        }
        self.pace(now);
    }

    /// The time of the next [`on_timeout`](Self::on_timeout); `None` before the connection.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let adapt = self.adapted.map(|at| at + ADAPT_EVERY);
        let pace = self.paced_at.filter(|_| !self.paced.is_empty()).map(|at| at + PACE_EVERY);
        adapt.into_iter().chain(pace).min()
    }

    /// The next packet to send.
    pub(super) fn next_packet(&mut self) -> Option<Packet> {
        self.out.pop_front()
    }

    /// The next order to the encoders.
    pub(super) fn next_order(&mut self) -> Option<EncoderOrder> {
        self.orders.next()
    }

    fn adapt(&mut self, now: Instant) {
        if !self.is_connected {
            return;
        }
        let rates = self.costs.rates(now);
        let actions = self.adaptation.adapt(now, &rates, &CommonTrouble::default());
        if let Some(change) = actions.change {
            self.layers = change.layers;
        }
        self.has_started |= actions.starts_video;
        if actions.change.is_some() || actions.starts_video {
            self.choose(now, actions.change.is_some_and(|change| change.is_urgent));
        }
        self.set_pace(now, actions.pace);
        if let Some(probe) = actions.probe {
            self.probe(now, probe);
        }
    }

    /// Chooses the tier of each stream. An urgent change ends the old tier at once, so that the queue of the path can
    /// drain.
    fn choose(&mut self, now: Instant, is_urgent: bool) {
        if !self.has_started {
            return;
        }
        for n in 0..self.streams.len() {
            let stream = &self.streams[n];
            if !stream.track.is_video() {
                continue;
            }
            let mut next = self.costs.tier_of(stream, self.layers);
            // The low tier goes on until the full one, which replaces it, has a key frame.
            let is_replaced = |other: &Stream| other.track == stream.track && other.switch.awaited().is_some();
            if next.is_none() && !is_urgent && self.streams[..n].iter().any(is_replaced) {
                next = stream.switch.wanted();
            }
            let stream = &mut self.streams[n];
            if stream.switch.set(next, is_urgent) && is_urgent {
                self.drop_paced(n);
            }
            self.requests[n].is_wanted |= self.streams[n].switch.awaited().is_some();
        }
        self.request_key_frames(now);
        self.tell_active();
    }

    /// Orders the encodings of all streams, if they have changed.
    fn tell_active(&mut self) {
        let mut active: Vec<Encoding> = Vec::new();
        for stream in &self.streams {
            active.extend(stream.switch.active().map(|tier| stream.encoding(tier)));
        }
        active.dedup();
        if self.active != active {
            self.active.clone_from(&active);
            self.orders.give(EncoderOrder::Active(active));
        }
    }

    /// Orders the key frames that are wanted, each after [`KEY_FRAME_INTERVAL`] again until it comes.
    fn request_key_frames(&mut self, now: Instant) {
        for (n, request) in self.requests.iter_mut().enumerate() {
            let switch = self.streams[n].switch;
            request.is_wanted |= switch.awaited().is_some();
            let is_due = request.at.is_none_or(|at| now.saturating_duration_since(at) >= KEY_FRAME_INTERVAL);
            if let Some(tier) = switch.wanted().filter(|_| request.is_wanted && is_due) {
                (request.at, request.is_wanted) = (Some(now), false);
                self.orders.give(EncoderOrder::KeyFrame(self.streams[n].encoding(tier)));
            }
        }
    }

    fn on_nack(&mut self, now: Instant, ssrc: u32, number: u16) {
        let Some(n) = self.streams.iter().position(|stream| stream.ssrc == ssrc) else { return };
        let find = || self.streams[n].find(number);
        let Some((packet, copies)) = self.adaptation.on_nack(now, (ssrc, number), &mut self.class, find) else {
            return;
        };
        if !self.streams[n].has_rtx() {
            self.stats.retransmitted += 1;
            return self.repeat(now, packet);
        }
        for _ in 0..copies {
            let transport = self.transport_number;
            let again = self.streams[n].retransmission(&packet, self.ids, transport);
            self.stats.retransmitted += 1;
            self.write(now, n, again);
        }
    }

    /// Sends a probe of padding, on the RTX stream of a video.
    fn probe(&mut self, now: Instant, probe: Probe) {
        let Some(n) = self.streams.iter().position(Stream::has_rtx) else { return };
        for _ in 0..(probe.packets * probe.bytes_each).div_ceil(PADDING_BYTES) {
            let padding = self.streams[n].padding(self.ids, self.transport_number);
            self.write(now, n, padding);
        }
    }

    fn set_pace(&mut self, now: Instant, pace: Option<PathCapacity>) {
        match (&mut self.pacer, pace) {
            (Some(pacer), Some(line)) => pacer.set(line),
            (pacer, line) => *pacer = line.map(|line| Pacer::new(now, line)),
        }
    }

    /// Sends the packets that the pacer allows. Video that has waited too long is given up.
    fn pace(&mut self, now: Instant) {
        self.paced_at = Some(now);
        let is_late = |paced: &Paced| now.saturating_duration_since(paced.since) > MAX_LATENESS;
        if self.paced.front().is_some_and(is_late) || self.paced.len() > MAX_PACED {
            return self.drop_video(now);
        }
        while !self.paced.is_empty() && self.pacer.as_mut().is_none_or(|pacer| pacer.allows(now)) {
            if let Some(Paced { stream, packet, .. }) = self.paced.pop_front() {
                self.send_media(now, stream, packet);
            }
        }
    }

    /// Gives up all video that waits. Each stream goes on with a key frame.
    fn drop_video(&mut self, now: Instant) {
        self.stats.dropped += self.paced.len() as u64;
        self.paced.clear();
        for (stream, request) in self.streams.iter_mut().zip(&mut self.requests) {
            if stream.track.is_video() {
                (stream.awaits_key_frame, request.is_wanted) = (true, stream.switch.wanted().is_some());
                stream.switch.restart();
            }
        }
        self.request_key_frames(now);
    }

    /// Gives up the video of one stream that waits.
    fn drop_paced(&mut self, n: usize) {
        let before = self.paced.len();
        self.paced.retain(|paced| paced.stream != n);
        self.stats.dropped += (before - self.paced.len()) as u64;
        self.streams[n].awaits_key_frame = true;
    }

    fn send_media(&mut self, now: Instant, n: usize, packet: Packet) {
        let (ssrc, timestamp) = (packet.header.ssrc, packet.header.timestamp);
        let packet = self.streams[n].number(packet, self.ids, self.transport_number);
        // The burst of a frame measures the path, so its packets count as sent at the same time.
        let at = match self.leaving {
            Some((of, frame, at))
                if self.pacer.is_none()
                    && (of, frame) == (ssrc, timestamp)
                    && now.saturating_duration_since(at) < FRAME_LEAVES_WITHIN =>
            {
                at
            }
            _ => now,
        };
        self.leaving = Some((ssrc, timestamp, at));
        self.adaptation.on_media_sent(1);
        self.write(at, n, packet);
    }

    /// Sends a packet again, unchanged: its nonce is the same, so all its bytes must be.
    fn repeat(&mut self, now: Instant, packet: Packet) {
        self.adaptation.estimate().sent(now, None, packet.marshal_size());
        self.enqueue(packet);
    }

    /// Sends a packet of a stream with the current transport-wide sequence number, if packets of its track have one.
    fn write(&mut self, now: Instant, n: usize, packet: Packet) {
        let number = self.ids.transport_of(self.streams[n].track).map(|_| self.transport_number);
        self.transport_number = self.transport_number.wrapping_add(u16::from(number.is_some()));
        self.adaptation.estimate().sent(now, number, packet.marshal_size());
        self.enqueue(packet);
    }

    fn enqueue(&mut self, packet: Packet) {
        let bytes = packet.marshal_size();
        if let Some(pacer) = &mut self.pacer {
            pacer.sent(bytes);
        }
        self.stats.packets += 1;
        self.stats.bytes += bytes as u64;
        self.class.have_left(self.stats.packets);
        self.out.push_back(packet);
    }
}
