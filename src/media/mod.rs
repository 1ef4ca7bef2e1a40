//! Pictures and sound: from devices and files to RTP packets, and from RTP packets to a window or a file.
//!
//! This is the only place that names GStreamer. A [`Capture`] gives [`Frame`](crate::rtp::Frame)s, a [`Render`] takes
//! RTP packets; the graphs between them and the world are the text files of `pipelines/`.

mod branch;
mod branches;
mod capture;
mod coding;
mod contract;
mod demo;
mod devices;
mod encoder;
mod ends;
mod error;
mod even;
mod fatal;
mod file;
mod freezes;
mod fullscreen;
mod graph;
mod layout;
#[cfg(test)]
mod legible;
mod matroska;
mod messages;
mod options;
mod outlet;
mod playing;
mod pulse;
mod raw;
mod receive;
mod recording;
mod render;
mod revival;
mod sinks;
mod sources;
mod speed;
mod thinning;
mod timing;
mod watching;
mod window;

pub use capture::{Capture, CaptureEvent, Prepared};
pub use devices::{Devices, EncoderState, devices};
pub use encoder::Verdict;
pub use error::MediaError;
pub use fatal::on_fatal;
pub use file::{FileList, inspect_files};
pub use options::{CaptureOptions, Content, LowRate, MainSource, Size, Sources, Tiers, VideoOptions, Wanted};
pub use raw::{DecoderOutput, EncoderInput, PlaneMut};
pub use receive::TrackStats;
pub use render::{Render, RenderEvent, RenderOptions, Sink, TrackFormat};
pub use sinks::has_display;
pub use sources::devices::Source;
pub use window::Window;

/// Starts GStreamer, once for the process; every function of this module that needs it calls it.
fn init() -> Result<(), MediaError> {
    gstreamer::init()
        .map_err(|error| MediaError::Pipeline { pipeline: "GStreamer".into(), cause: error.message().to_string() })?;
    file::prefer_decoders();
    Ok(())
}
