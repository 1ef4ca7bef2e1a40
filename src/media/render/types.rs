//! What a render is asked for, the events that it reports, and its statistics.

use std::path::PathBuf;
use std::time::Duration;

use crate::id::UserId;
use crate::media::error::MediaError;
use crate::rtp::{Codec, Latency, Track};

/// Where a lecture goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// To a window, with audio if there is a sound card; audio alone has no window.
    Window {
        /// Full screen from the start.
        fullscreen: bool,
    },
    /// Nowhere: decode and count.
    Null,
    /// To a Matroska file, as encoded.
    File(PathBuf),
}

/// The format of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackFormat {
    /// The track.
    pub track: Track,
    /// Its codec.
    pub codec: Codec,
    /// The negotiated payload type. Packets with another one are taken for the same codec.
    pub payload_type: u8,
}

/// The tracks to render, and the sink.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    /// The destination.
    pub sink: Sink,
    /// The delay of the jitter buffer.
    pub latency: Latency,
    /// The tracks that may come. A track that never comes costs nothing.
    pub tracks: Vec<TrackFormat>,
    /// Whether a window plays audio, if there is a sound card.
    pub audio: bool,
    /// The title of the window.
    pub title: String,
}

/// The sink of a meeting.
#[derive(Debug, Clone)]
pub struct GridOptions {
    /// The destination.
    pub sink: Sink,
    /// The delay of the jitter buffer.
    pub latency: Latency,
    /// The title of the window.
    pub title: String,
}

/// A speaker to render beside a lecture.
#[derive(Debug, Clone)]
pub struct SpeakerOptions {
    /// The speaker, by which a recording names the tracks.
    pub user: UserId,
    /// The name in the picture.
    pub name: String,
    /// The delay of the jitter buffer.
    pub latency: Latency,
    /// The tracks that may come.
    pub tracks: Vec<TrackFormat>,
}

/// Events of a running render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenderEvent {
    /// The first frame of a track was decoded, or for a file, received.
    FirstFrame {
        /// The track.
        track: Track,
    },
    /// The decoder needs a key frame. Repeated twice a second until one comes.
    KeyFrameNeeded(Track),
    /// The user closed the window: the render is over.
    WindowClosed,
    /// The render is over.
    Error(MediaError),
    /// The render goes on, but the user should know.
    Warning(String),
}

/// Statistics of a track since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TrackStats {
    /// Decoded video frames or audio blocks.
    pub frames_decoded: u64,
    /// Width in pixels, 0 before the first frame.
    pub width: u32,
    /// Height in pixels, 0 before the first frame.
    pub height: u32,
    /// Interarrival jitter in milliseconds (RFC 3550, 6.4.1).
    pub jitter_ms: f32,
    /// Completed freezes (W3C webrtc-stats, `freezeCount`).
    pub freezes: u64,
    /// The time in completed freezes (`totalFreezesDuration`).
    pub freeze_total: Duration,
    /// The duration of the current freeze.
    pub frozen: Option<Duration>,
    /// Pauses by the publisher after the first frame, including the current one.
    pub withholdings: u64,
    /// The time in these pauses, each up to the next frame.
    pub withheld: Duration,
    /// Whether the publisher pauses the video now, after the first frame.
    pub is_withheld: bool,
    /// Packets that never came, or came too late.
    pub lost: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Lost audio packets that were restored from the redundant copy in the next packet (Opus in-band FEC).
    pub restored: u64,
    /// Lost audio that the decoder concealed.
    pub concealed: Duration,
    /// Encoded frames that were dropped before a slow decoder.
    pub skipped: u64,
    /// Key frames that were requested.
    pub key_frames_asked: u64,
}
