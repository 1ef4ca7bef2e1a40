//! Makes [`Frame`]s from a publisher's RTP, and writes the RTCP for the publisher. Nothing is decoded.
//!
//! Every call takes the current time. The caller decrypts RTP and RTCP, and encrypts the RTCP of
//! [`Ingest::next_rtcp`].
//!
//! 1. `packet` parses a packet, `sources` finds its encoding, and `limit` drops video above the limit.
//! 2. `stream` is the receiving side of one encoding: `order` restores the order and finds the packets to NACK,
//!    `cutter` makes frames, and `key_frame_demand` finds the time of the next PLI. A frame holds the datagrams of its
//!    packets, in which `media_packet` rewrites the headers.
//! 3. `clock` finds the capture time of a frame, and `timeline` gives all encodings of a track one RTP clock.
//! 4. `floor` chooses the loudest of the publishers of a meeting.
//! 5. `arrivals` writes transport-wide feedback, `reception` the blocks of receiver reports.

mod arrivals;
mod clock;
mod cutter;
mod floor;
mod key_frame_demand;
mod limit;
mod media_packet;
mod order;
mod packet;
mod reception;
mod round_trip;
mod sources;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use arrivals::Arrivals;
use clock::WallClock;
use limit::{ByteLimit, PerSecond};
use media_packet::MediaPacket;
use packet::{RtpHeader, RtpPacket};
use round_trip::RoundTrip;
use sources::{Source, Sources};
use stream::{Content, Context, Stream};
use timeline::Timeline;

use crate::rtcp::{SenderPacket, SenderReport, push_cname, push_nack, push_pli, push_receiver_report, read_sender};
use crate::rtp::{Codec, Encoding, Frame, Tier, Track};

use floor::Voice;
pub use floor::{AudioFloor, FloorCounts};
pub(crate) use stats::{EncodingStats, IngestStats};

/// The SSRC of our RTCP. A publisher's connection has no other stream of ours.
pub(crate) const FEEDBACK_SSRC: u32 = 0x636c_6173;

/// One media section of the publisher's offer, as answered.
#[derive(Debug, Clone)]
pub(crate) struct IngestSection {
    /// The `a=mid`.
    pub(crate) mid: String,
    /// The track that the section carries.
    pub(crate) track: Track,
    /// Payload types of media, preferred ones first.
    pub(crate) codecs: Vec<(u8, Codec)>,
    /// RTX payload types, each with the payload type that it repeats (`apt`; RFC 4588, 8.1).
    pub(crate) rtx: Vec<(u8, u8)>,
    /// The `a=rid`s of simulcast, best first; empty if there is one encoding.
    pub(crate) rids: Vec<String>,
    /// The `a=ssrc`s, each with the SSRC of its RTX stream (`a=ssrc-group:FID`); may be empty.
    pub(crate) ssrcs: Vec<(u32, Option<u32>)>,
}

/// The negotiated ids of RTP header extensions (RFC 8285).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    pub(crate) mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    pub(crate) rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    pub(crate) repaired_rid: Option<u8>,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`
    pub(crate) twcc: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level`
    pub(crate) audio_level: Option<u8>,
}

/// The rate limit of one publisher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IngestLimit {
    /// The bits per second of all its encodings. More video is dropped.
    pub(crate) bits_per_second: u32,
}

impl Default for IngestLimit {
    /// 20 Mbit/s: two tracks in 1080p and their low tiers.
    fn default() -> Self {
        Self { bits_per_second: 20_000_000 }
    }
}

/// The interval of receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Another SSRC may carry an encoding after this time without a packet on the old one.
const SILENCE: Duration = Duration::from_millis(250);

/// A compound with more bytes gets no further feedback on single streams; the rest goes into the next compound.
const FULL_COMPOUND: usize = 200;

/// The receiving side of one publisher.
#[derive(Debug)]
pub(crate) struct Ingest {
    ids: ExtensionIds,
    sources: Sources,
    /// One per slot of `sources`.
    streams: Vec<Stream>,
    /// One per section of `sources`.
    timelines: Vec<Timeline>,
    wall_clock: WallClock,
    round_trip: RoundTrip,
    /// Absent if transport-wide feedback was not negotiated.
    arrivals: Option<Arrivals>,
    limit: ByteLimit,
    frames: VecDeque<Frame>,
    /// The publisher's place on the audio floor of a meeting.
    voice: Option<Voice>,
    began: Instant,
    /// The time of the last call, and the time from the start to there.
    now: Instant,
    at: Duration,
    report_due: Instant,
    bits: PerSecond,
    unknown_ssrc: u64,
    malformed: u64,
    over_limit: u64,
}

impl Ingest {
    /// A publisher before its first packet. Codecs that do not fit a section's track are ignored.
    pub(crate) fn new(now: Instant, mut sections: Vec<IngestSection>, ids: ExtensionIds, limit: IngestLimit) -> Self {
        for section in &mut sections {
            let is_video = section.track.is_video();
            section.codecs.retain(|(_, codec)| (*codec != Codec::Opus) == is_video);
        }
        sections.retain(|section| !section.codecs.is_empty());
        let sources = Sources::new(sections, ids);
        let encoding = |(slot, place): (usize, &sources::Slot)| {
            let section = sources.section(slot);
            // Sections without codecs are gone.
            let codec = section.codecs.first().map_or(Codec::Opus, |(_, codec)| *codec);
            Encoding { track: section.track, tier: place.tier, codec }
        };
        let encodings: Vec<Encoding> = sources.slots().iter().enumerate().map(encoding).collect();
        let full = encodings.iter().filter(|encoding| encoding.tier == Tier::Full);
        let mut ingest = Self {
            ids,
            streams: encodings.iter().map(|encoding| Stream::new(*encoding, now)).collect(),
            timelines: full.map(|encoding| Timeline::new(encoding.codec.clock_rate())).collect(),
            sources,
            wall_clock: WallClock::default(),
            round_trip: RoundTrip::default(),
            arrivals: ids.twcc.map(|_| Arrivals::new(now)),
            limit: ByteLimit::new(limit.bits_per_second),
            frames: VecDeque::new(),
            voice: None,
            began: now,
            now,
            at: Duration::ZERO,
            report_due: now + REPORT_INTERVAL,
            bits: PerSecond::default(),
            unknown_ssrc: 0,
            malformed: 0,
            over_limit: 0,
        };
        for slot in 0..ingest.streams.len() {
            if let Some(ssrc) = ingest.sources.media_ssrc(slot) {
                ingest.streams[slot].restart(now, ssrc);
            }
        }
        ingest
    }

    /// A decrypted RTP packet arrived. Take the frames afterwards: they hold the packet, whose header is rewritten in
    /// place.
    pub(crate) fn on_rtp(&mut self, now: Instant, mut bytes: BytesMut) {
        self.set_now(now);
        let Some(packet) = RtpPacket::parse(&bytes) else {
            self.malformed += 1;
            return;
        };
        self.bits.add(8 * bytes.len());
        let header = packet.header;
        let source = self.sources.find(header.ssrc).or_else(|| self.learn(now, &packet));
        let (slot, by_rtx) = match source {
            Some(Source::Media(slot)) => (Some(slot), false),
            Some(Source::Rtx(slot)) => (Some(slot), true),
            Some(Source::Unused) | None => (None, false),
        };
        let is_audio = slot.is_some_and(|slot| !self.streams[slot].encoding().track.is_video());
        let passes = slot.is_none() || self.limit.take(self.at, bytes.len(), is_audio);
        let mut level = None;
        for (id, value) in packet.extensions {
            if Some(id) == self.ids.twcc {
                // A packet over the limit is reported as lost, so that the publisher sends less.
                if let (Some(arrivals), [high, low], true) = (&mut self.arrivals, value, passes) {
                    arrivals.arrived(now, self.at, u16::from_be_bytes([*high, *low]), bytes.len());
                }
            } else if Some(id) == self.ids.audio_level {
                level = value.first().map(|value| value & 0x7f);
            }
        }
        let Some(slot) = slot else {
            self.unknown_ssrc += u64::from(source.is_none());
            return;
        };
        let stream = &mut self.streams[slot];
        stream.count(now, bytes.len());
        if is_audio {
            level.into_iter().for_each(|level| stream.on_audio_level(level));
            self.voice.iter_mut().for_each(|voice| voice.speaks(now, level));
        }
        if !passes {
            self.over_limit += 1;
            stream.count_over_limit();
        }
        let bytes = &mut bytes;
        if by_rtx { self.on_rtx(slot, &header, bytes, passes) } else { self.on_media(slot, &header, bytes, passes) }
    }

    fn on_media(&mut self, slot: usize, header: &RtpHeader, bytes: &mut BytesMut, passes: bool) {
        let content = match self.sources.codec(slot, header.payload_type) {
            _ if header.payload_at >= header.end => Content::Padding,
            Some(codec) if passes => Content::Media(MediaPacket::new(header, codec, bytes, 0)),
            Some(_) => Content::Refused,
            None => {
                self.streams[slot].count_wrong_payload_type();
                Content::Refused
            }
        };
        let (mut cx, stream) = self.context(slot);
        stream.on_media(&mut cx, header.sequence_number, header.timestamp, content);
    }

    /// A retransmission starts with its original sequence number (RFC 4588, 4). Without payload it is a probe.
    fn on_rtx(&mut self, slot: usize, header: &RtpHeader, bytes: &mut BytesMut, passes: bool) {
        let repeated = self.sources.repeated(slot, header.payload_type);
        let Some((payload_type, codec)) = repeated.and_then(|apt| Some((apt, self.sources.codec(slot, apt)?))) else {
            self.streams[slot].count_wrong_payload_type();
            return;
        };
        let payload = bytes.get(header.payload_at..header.end).filter(|_| passes);
        let Some((number, payload)) = payload.and_then(<[u8]>::split_first_chunk) else { return };
        let number = u16::from_be_bytes(*number);
        let content = if payload.is_empty() {
            Content::Padding
        } else {
            let header = RtpHeader { payload_type, ..*header };
            Content::Media(MediaPacket::new(&header, codec, bytes, size_of_val(&number)))
        };
        let (mut cx, stream) = self.context(slot);
        stream.on_retransmission(&mut cx, number, content);
    }

    fn learn(&mut self, now: Instant, packet: &RtpPacket<'_>) -> Option<Source> {
        let streams = &self.streams;
        let is_silent =
            |slot: usize| streams[slot].heard().is_none_or(|at| now.saturating_duration_since(at) >= SILENCE);
        let source = self.sources.learn(packet, is_silent)?;
        if let Source::Media(slot) = source {
            self.streams[slot].restart(now, packet.header.ssrc);
            let place = self.sources.slots()[slot];
            self.timelines[place.section].restart(place.tier);
        }
        Some(source)
    }

    /// This SSRC carries the encoding of a track from now on: an edge knows that from the answer, and gets each tier
    /// over a connection of its own. The codec is that of the packets.
    pub(crate) fn assign(&mut self, now: Instant, (track, tier): (Track, Tier), ssrc: u32) {
        let is_it = |stream: &Stream| (stream.encoding().track, stream.encoding().tier) == (track, tier);
        let Some(slot) = self.streams.iter().position(is_it) else { return };
        self.sources.assign(slot, ssrc);
        self.streams[slot].restart(now, ssrc);
        self.timelines[self.sources.slots()[slot].section].restart(tier);
    }

    fn set_now(&mut self, now: Instant) {
        // Packets that are read together have one time.
        if now != self.now {
            (self.now, self.at) = (now, now.saturating_duration_since(self.began));
        }
    }

    fn context(&mut self, slot: usize) -> (Context<'_>, &mut Stream) {
        let cx = Context {
            now: self.now,
            began: self.began,
            at: self.at,
            wall_clock: &mut self.wall_clock,
            timeline: &mut self.timelines[self.sources.slots()[slot].section],
            round_trip: &mut self.round_trip,
            frames: &mut self.frames,
        };
        (cx, &mut self.streams[slot])
    }

    /// A decrypted RTCP compound arrived: sender reports and BYE count.
    pub(crate) fn on_rtcp(&mut self, now: Instant, compound: &[u8]) {
        self.set_now(now);
        for packet in read_sender(compound) {
            match packet {
                SenderPacket::Report(report) => self.on_sender_report(now, report),
                SenderPacket::Bye(ssrc) => self.sources.forget(ssrc),
            }
        }
    }

    fn on_sender_report(&mut self, now: Instant, report: SenderReport) {
        let Some(Source::Media(slot)) = self.sources.find(report.ssrc) else { return };
        let fraction = ((report.ntp_time & 0xffff_ffff) * 1_000_000_000) >> 32;
        let wall = (report.ntp_time >> 32) as i64 * 1_000_000_000 + fraction.cast_signed();
        let at = self.at.as_nanos() as i64;
        let (clock, reception) = self.streams[slot].clocks();
        clock.report(&mut self.wall_clock, report.rtp_time, wall, at);
        reception.on_sender_report(now, report);
    }

    /// Asks the publisher for a key frame by PLI, at most twice a second for each encoding, until the key frame comes.
    /// An encoding that is not negotiated is ignored.
    pub(crate) fn request_key_frame(&mut self, now: Instant, encoding: Encoding) {
        self.set_now(now);
        self.streams.iter_mut().filter(|stream| stream.encoding() == encoding).for_each(Stream::want_key_frame);
    }

    /// The next complete frame. The frames of an encoding come in order. After a lost frame there are none up to the
    /// next key frame, so each frame can be decoded after the previous one, and the SFU sees no gap.
    ///
    /// Of a publisher on an audio floor, audio comes only while it has the floor.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        let is_heard = self.voice.as_ref().is_none_or(Voice::has_floor);
        loop {
            let frame = self.frames.pop_front()?;
            if is_heard || frame.track.is_video() {
                return Some(frame);
            }
        }
    }

    /// From now on the publisher's audio is passed on only while it has the floor.
    pub(crate) fn join_floor(&mut self, floor: &AudioFloor) {
        self.voice = Some(floor.join());
    }

    /// The next RTCP compound that is due, not encrypted. Call this until it returns None, after each batch of packets
    /// ([`on_rtp`](Self::on_rtp)) and after [`on_timeout`](Self::on_timeout).
    pub(crate) fn next_rtcp(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.set_now(now);
        if self.deadline().is_some_and(|due| due > now) {
            return None;
        }
        let is_report_due = self.report_due <= now;
        let mut out = Vec::new();
        if is_report_due {
            self.report_due = now + REPORT_INTERVAL;
            let blocks = (0..self.streams.len()).filter_map(|slot| {
                let ssrc = self.sources.media_ssrc(slot)?;
                self.streams[slot].reception().report(now, ssrc)
            });
            let blocks: Vec<_> = blocks.collect();
            push_receiver_report(&mut out, FEEDBACK_SSRC, &blocks);
            push_cname(&mut out, FEEDBACK_SSRC, "classroom");
            self.bits.turn();
            self.streams.iter_mut().for_each(Stream::turn);
        } else {
            push_receiver_report(&mut out, FEEDBACK_SSRC, &[]);
        }
        let head = out.len();
        for slot in 0..self.streams.len() {
            let Some(ssrc) = self.sources.media_ssrc(slot).filter(|_| out.len() <= FULL_COMPOUND) else { continue };
            if self.streams[slot].take_pli(now) {
                push_pli(&mut out, FEEDBACK_SSRC, ssrc);
            }
            let numbers = self.streams[slot].nacks(now, &self.round_trip);
            if !numbers.is_empty() {
                push_nack(&mut out, FEEDBACK_SSRC, ssrc, &numbers);
            }
        }
        if out.len() == head
            && !is_report_due
            && let Some(arrivals) = &mut self.arrivals
        {
            let ssrc = (0..self.streams.len()).find_map(|slot| self.sources.media_ssrc(slot)).unwrap_or(0);
            arrivals.push_feedback(now, ssrc, &mut out);
        }
        (is_report_due || out.len() > head).then_some(out)
    }

    /// The time of the next call of [`on_timeout`](Self::on_timeout) and [`next_rtcp`](Self::next_rtcp) if nothing
    /// arrives.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let arrivals = self.arrivals.as_ref().and_then(Arrivals::deadline);
        let streams = self.streams.iter().enumerate().filter_map(|(slot, stream)| {
            let nack = stream.nack_deadline(&self.round_trip);
            let due = nack.into_iter().chain(stream.pli_deadline(self.now)).min()?;
            self.sources.media_ssrc(slot).map(|_| due)
        });
        streams.chain(arrivals).chain([self.report_due]).min()
    }

    /// Time has passed: gives up lost packets. Take the frames afterwards.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        self.set_now(now);
        for slot in 0..self.streams.len() {
            let (mut cx, stream) = self.context(slot);
            stream.on_timeout(&mut cx);
        }
    }

    /// The negotiated encodings, best first within a track. The codec is that of the newest packet, or the preferred
    /// one before the first packet.
    pub(crate) fn encodings(&self) -> Vec<Encoding> {
        self.streams.iter().map(Stream::encoding).collect()
    }

    /// The arrival of the last packet of an encoding: media, padding or a retransmission.
    pub(crate) fn last_packet(&self, encoding: Encoding) -> Option<Instant> {
        self.streams.iter().find(|stream| stream.encoding() == encoding)?.heard()
    }

    /// The statistics so far. Rates are those of the last whole second.
    pub(crate) fn stats(&self) -> IngestStats {
        IngestStats {
            encodings: self.streams.iter().map(Stream::stats).collect(),
            unknown_ssrc: self.unknown_ssrc,
            malformed: self.malformed,
            over_limit: self.over_limit,
            bits_per_second: self.bits.last(),
            round_trip: self.round_trip.smoothed(),
        }
    }
}
