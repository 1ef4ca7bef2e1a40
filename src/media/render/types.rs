//! What a render is asked for, what it reports, and what it measures.

use std::path::PathBuf;
use std::time::Duration;

use crate::media::error::MediaError;
use crate::rtp::{Codec, Latency, Track};

/// Where a lecture is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// In a window, with sound where there is a sound card.
    Window {
        /// Over the whole screen.
        fullscreen: bool,
    },
    /// Nowhere: decoded and counted.
    Null,
    /// In a Matroska file, as it was encoded.
    File(PathBuf),
}

/// How a track will arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackFormat {
    /// Which track.
    pub track: Track,
    /// How it is encoded.
    pub codec: Codec,
    /// The payload type that was agreed on; packets of another are taken for the same codec.
    pub payload_type: u8,
}

/// What to show, and where.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    /// Where to.
    pub sink: Sink,
    /// How much later than possible sound and picture are shown, so that what the network delays comes in time.
    pub latency: Latency,
    /// The tracks that may come. One that never does costs nothing.
    pub tracks: Vec<TrackFormat>,
    /// Whether a window plays sound, where there is a sound card.
    pub sound: bool,
    /// The title of the window.
    pub title: String,
}

/// What a running render has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenderEvent {
    /// The first picture or block of sound of a track was decoded, or for a file, monitor.
    FirstFrame {
        /// Which track.
        track: Track,
    },
    /// The decoder can't go on without a key frame. Repeated twice a second until one comes.
    KeyFrameNeeded(Track),
    /// The user closed the window: the render is over.
    WindowClosed,
    /// The render is over.
    Error(MediaError),
    /// The render goes on, but somebody should know.
    Warning(String),
}

/// Numbers of a track since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TrackStats {
    /// Pictures or blocks of sound that came out of the decoder.
    pub frames_decoded: u64,
    /// Width of the picture in pixels, 0 before the first.
    pub width: u32,
    /// Height of the picture in pixels, 0 before the first.
    pub height: u32,
    /// Jitter of arrival (RFC 3550, 6.4.1), in milliseconds.
    pub jitter_ms: f32,
    /// How often the picture stood still, by W3C's `freezeCount`; none that goes on.
    pub freezes: u64,
    /// The time in all freezes that are over.
    pub freeze_total: Duration,
    /// How long the picture stands still by now, if it does.
    pub frozen: Option<Duration>,
    /// How often the publisher withheld the picture after the first one, one that goes on too.
    pub withholdings: u64,
    /// How long the publisher withheld the picture after the first one, each time up to the next picture.
    pub withheld: Duration,
    /// Whether the publisher withholds the picture now, after the first one.
    pub is_withheld: bool,
    /// Packets that never came, or too late.
    pub lost: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Packets of sound that never came, and whose copy in the next one was played.
    pub restored: u64,
    /// Sound that never came, and in whose place the decoder made something up.
    pub concealed: Duration,
    /// Encoded pictures or blocks of sound that were thrown away, because the decoder had no time for them.
    pub skipped: u64,
    /// Key frames that were asked for.
    pub key_frames_asked: u64,
}
