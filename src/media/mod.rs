//! Audio and video: from devices and files to RTP packets, and from RTP packets to a window or a file.
//!
//! Only this folder names GStreamer. A [`Capture`] produces [`Frame`](crate::rtp::Frame)s, a [`Render`] consumes RTP
//! packets. The GStreamer pipelines between them and the devices are the text files of `pipelines/`.
//!
//! ```text
//! capture           | a running lecture: encodings on demand, errors, end of stream
//! source            | what to capture, with the devices and files of this machine
//! file     slides   | media files and slides as sources
//! scenes            | the scenes of a lecture as a source: files, slides and slates one after another
//! encode            | encoders, their settings per tier, the branch of the pipeline that is one encoding
//! contract          | the element names that a teaching pipeline must have
//! samples           | what devices give in two seconds, and how fast the encoder is: for `classroom doctor`
//! render            | a student's pipeline: jitter buffer, decoder, window or recording, statistics
//! pipelines         | the pipeline files as text, with placeholders
//! options           | what a capture is asked for
//! raw      typeset  | raw pictures as bytes, for whoever measures; pages of text
//! error             | what can fail, and which package to install
//! ```

mod capture;
mod contract;
mod devices;
mod encode;
mod error;
mod file;
mod options;
mod pipelines;
mod raw;
pub(crate) mod render;
mod samples;
mod scenes;
mod slides;
mod source;
mod typeset;

pub use crate::lecture::Turn;
pub use capture::{Capture, Prepared};
pub use devices::{Devices, EncoderState, devices};
pub use encode::trial::Verdict;
pub use error::{MediaError, on_fatal};
pub use file::inspect_files;
pub use options::{
    CaptureEvent, CaptureOptions, Content, FileList, LowRate, MainSource, SceneEvent, Size, SlidePosition, Sources,
    Tiers, VideoOptions, Wanted,
};
pub use raw::{DecoderOutput, EncoderInput, PlaneMut, RawFrame};
pub use render::pipeline::{has_display, has_sound_card};
pub use render::{
    GridOptions, Render, RenderEvent, RenderOptions, RenderStage, Sink, SpeakerOptions, TrackFormat, TrackStats, Window,
};
pub use samples::{CameraSample, DeviceSamples, device_samples};
pub use scenes::check_scenes;
pub use slides::draw_slides;
pub use source::devices::Source;
pub use typeset::{TextBlock, typeset};

/// Starts GStreamer once per process. Every function of this module that needs GStreamer calls this one.
fn init() -> Result<(), MediaError> {
    gstreamer::init()
        .map_err(|error| MediaError::Pipeline { pipeline: "GStreamer".into(), cause: error.message().to_string() })?;
    file::prefer_decoders();
    Ok(())
}
