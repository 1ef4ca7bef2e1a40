//! A publisher's RTP becomes [`Frame`]s, and the RTCP that the publisher gets back. Nothing is decoded.
//!
//! Every call is told the time. The caller opens SRTP and seals what [`Ingest::next_rtcp`] returns.

#![allow(dead_code, unused_imports)]

mod stats;

use std::time::Instant;

use crate::rtp::{Codec, Encoding, Frame, Tier, Track};

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

/// What one publisher may send.
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

/// The receiving side of one publisher.
#[derive(Debug)]
pub(crate) struct Ingest {
    sections: Vec<IngestSection>,
    ids: ExtensionIds,
    limit: IngestLimit,
    now: Instant,
}

impl Ingest {
    /// A publisher of which nothing has arrived.
    pub(crate) fn new(now: Instant, sections: Vec<IngestSection>, ids: ExtensionIds, limit: IngestLimit) -> Self {
        Self { sections, ids, limit, now }
    }

    /// A decrypted RTP packet arrived.
    pub(crate) fn on_rtp(&mut self, now: Instant, packet: &[u8]) {
        let _ = packet;
        self.now = now;
    }

    /// A decrypted RTCP compound arrived: sender reports and BYE count.
    pub(crate) fn on_rtcp(&mut self, now: Instant, compound: &[u8]) {
        let _ = compound;
        self.now = now;
    }

    /// A student needs a key frame. The publisher gets a PLI, at most two a second per encoding, until one comes.
    pub(crate) fn request_key_frame(&mut self, now: Instant, encoding: Encoding) {
        let _ = encoding;
        self.now = now;
    }

    /// The next whole frame. The frames of an encoding come in order. After a lost frame, none comes up to the next key
    /// frame, so each frame can be decoded after the one before and the SFU need not be told of a gap.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        None
    }

    /// The next RTCP compound for the publisher that is due, in plain. Call again until there is none: after
    /// [`on_rtp`](Self::on_rtp) (once per batch of packets) and after [`on_timeout`](Self::on_timeout).
    pub(crate) fn next_rtcp(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.now = now;
        None
    }

    /// When [`on_timeout`](Self::on_timeout) is to be called, even if nothing arrives.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Time has passed: gives up lost packets. Frames and RTCP may be due afterwards.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        self.now = now;
    }

    /// The negotiated encodings, best first within a track. The codec is that of the newest packet, or the preferred
    /// one before the first packet.
    pub(crate) fn encodings(&self) -> Vec<Encoding> {
        Vec::new()
    }

    /// What has arrived so far. Rates are those of the last whole second before the last call that told the time.
    pub(crate) fn stats(&self) -> IngestStats {
        IngestStats::default()
    }
}
