//! The media host's reports to the publisher about its media.

use serde::{Deserialize, Serialize};

use super::SentTier;
use crate::protocol::TrackName;

/// An encoding of a video track that somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededEncoding {
    /// The track.
    pub track: TrackName,
    /// The tier.
    pub tier: SentTier,
}

/// The media that the server received from a publisher in the last second, and the students who get it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestReport {
    /// Bits per second of all RTP that arrived, retransmissions and padding included.
    pub bitrate: u64,
    /// The time from a NACK to its retransmission, in milliseconds, if anything was retransmitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u32>,
    /// The faults of the media, apart from losses.
    #[serde(default)]
    pub trouble: Vec<IngestTrouble>,
    /// The tracks that the publisher sends.
    pub tracks: Vec<IngestTrack>,
    /// The number of students that get each video encoding; encodings that nobody gets are absent.
    pub watched: Vec<WatchedEncoding>,
    /// The number of students that are connected.
    pub students: usize,
}

/// The media of one track in the last second, all encodings together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngestTrack {
    /// The track.
    pub track: TrackName,
    /// Bits per second of media that arrived.
    pub bitrate: u64,
    /// The percentage of packets that were lost before any retransmission, rounded.
    pub loss_percent: u8,
    /// Frames per second of the encoding with the most, rounded.
    pub fps: u32,
    /// The loudest audio level of the last second in -dBov, if the publisher tells: 0 is the loudest, 127 is silence
    /// (RFC 6464).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_level: Option<u8>,
}

/// A fault of a publisher's media. Faulty media is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IngestTrouble {
    /// A needed video sends no key frame although the server asks for one, so students see nothing of it.
    NoKeyFrame,
    /// The publisher sends more than its limit.
    OverLimit,
    /// A stream is not in the offer.
    UnknownStream,
    /// The codec of some packets was not negotiated.
    WrongCodec,
    /// Some packets are not RTP.
    Malformed,
    /// A fault that a newer version names.
    #[serde(other)]
    Unknown,
}

/// The number of students that get an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedEncoding {
    /// The track.
    pub track: TrackName,
    /// The tier.
    pub tier: SentTier,
    /// The number of students.
    pub students: usize,
}
