//! The statistics of a publisher's media, for the teacher's page, the host and the metrics.

use std::time::{Duration, Instant};

use crate::rtp::Encoding;

/// The statistics of one publisher.
#[derive(Debug, Clone, Default)]
pub(crate) struct IngestStats {
    /// One entry per negotiated encoding, best first.
    pub(crate) encodings: Vec<EncodingStats>,
    /// Packets whose SSRC belongs to no negotiated encoding.
    pub(crate) unknown_ssrc: u64,
    /// Datagrams that are not RTP (RFC 3550, 5.1), or whose header extension ends beyond the packet.
    pub(crate) malformed: u64,
    /// Video packets dropped because the publisher sends more than its limit.
    pub(crate) over_limit: u64,
    /// Bits per second of RTP over the last whole second, retransmissions and padding included.
    pub(crate) bits_per_second: u64,
    /// The time from a NACK to its retransmission, smoothed; `None` before the first one.
    pub(crate) round_trip: Option<Duration>,
}

impl IngestStats {
    /// Adds those of another connection of the same publisher.
    pub(crate) fn add(&mut self, other: Self) {
        let Self { encodings, unknown_ssrc, malformed, over_limit, bits_per_second, round_trip } = other;
        self.encodings.extend(encodings);
        self.unknown_ssrc += unknown_ssrc;
        self.malformed += malformed;
        self.over_limit += over_limit;
        self.bits_per_second += bits_per_second;
        self.round_trip = self.round_trip.max(round_trip);
    }

    /// Whether no encoding has had a frame for this time, or ever.
    pub(crate) fn is_silent(&self, now: Instant, time: Duration) -> bool {
        let has_stopped = |last: Option<Instant>| last.is_none_or(|at| now.saturating_duration_since(at) >= time);
        self.encodings.iter().all(|encoding| has_stopped(encoding.last_frame))
    }
}

/// The statistics of one encoding. Counters never go back, also if the SSRC of the encoding changes.
#[derive(Debug, Clone)]
pub(crate) struct EncodingStats {
    /// The encoding; its codec is that of the newest packet.
    pub(crate) encoding: Encoding,
    /// Received packets: media, padding and retransmissions.
    pub(crate) packets: u64,
    /// Bytes of these packets, with RTP headers.
    pub(crate) bytes: u64,
    /// Packets that did not come at first. Each of them is later `recovered` or `given_up`, or still missing.
    pub(crate) lost: u64,
    /// Lost packets that came after a NACK.
    pub(crate) recovered: u64,
    /// Lost packets that did not come in time.
    pub(crate) given_up: u64,
    /// The fraction of packets lost over the last second, before retransmissions, 0 to 1.
    pub(crate) loss: f32,
    /// Frames given to the SFU.
    pub(crate) frames: u64,
    /// Key frames among them.
    pub(crate) key_frames: u64,
    /// Frames dropped because they were incomplete, or depended on a frame that was.
    pub(crate) dropped_frames: u64,
    /// The time at which the last frame was complete.
    pub(crate) last_frame: Option<Instant>,
    /// The start of the wait for a key frame, during which there are no frames; `None` if there is no wait.
    pub(crate) awaits_key_frame: Option<Instant>,
    /// PLIs sent.
    pub(crate) key_frame_requests: u64,
    /// Frames of the last whole second.
    pub(crate) fps: u32,
    /// Bits per second of RTP over the last whole second.
    pub(crate) bits_per_second: u64,
    /// Packets whose payload type was not negotiated.
    pub(crate) wrong_payload_type: u64,
    /// Packets dropped because the publisher sends more than its limit.
    pub(crate) over_limit: u64,
    /// The loudest audio level of the last one to two seconds in -dBov: 0 is the loudest, 127 is silence (RFC 6464).
    pub(crate) audio_level: Option<u8>,
}

impl EncodingStats {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            packets: 0,
            bytes: 0,
            lost: 0,
            recovered: 0,
            given_up: 0,
            loss: 0.0,
            frames: 0,
            key_frames: 0,
            dropped_frames: 0,
            last_frame: None,
            awaits_key_frame: None,
            key_frame_requests: 0,
            fps: 0,
            bits_per_second: 0,
            wrong_payload_type: 0,
            over_limit: 0,
            audio_level: None,
        }
    }
}
