//! What can go wrong between a device and an RTP packet, and what to do about it.

use std::path::PathBuf;

/// Why media can't be captured or shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// No source was named, and none was found.
    #[error("nothing to capture here, looked for {}; give --file PATH or --test", looked_for.join(", "))]
    NothingToCapture {
        /// What was looked for, with what was found in its place, for people.
        looked_for: Vec<String>,
    },
    /// A GStreamer element isn't installed.
    #[error("the GStreamer element {element} is missing, install the package {package}")]
    MissingElement {
        /// The element, or what a demuxer or decoder is missing for.
        element: String,
        /// The Debian package that has it.
        package: String,
    },
    /// A file needs a decoder that isn't installed.
    #[error("file {}: there is no decoder for {what} here, install the package {package}", path.display())]
    NoDecoder {
        /// The file.
        path: PathBuf,
        /// The media type, as GStreamer calls it.
        what: String,
        /// The Debian package that has one.
        package: String,
    },
    /// No encoder for the codec works.
    #[error("no {codec} encoder works here: {}; try another --codec or run `classroom devices`", tried.join(", "))]
    NoEncoder {
        /// The codec that was asked for.
        codec: String,
        /// Each element that was tried, with the cause why it can't be used.
        tried: Vec<String>,
    },
    /// A pipeline file doesn't keep the contract by element name.
    #[error("pipeline {pipeline}: {problem}")]
    Contract {
        /// The file.
        pipeline: String,
        /// What is missing or wrong in it.
        problem: String,
    },
    /// A device is absent, in use or not permitted.
    #[error("can't use {device}: {cause}; `classroom devices` lists what can be captured here")]
    Device {
        /// The device, as it would be given to a flag.
        device: String,
        /// What the system said.
        cause: String,
    },
    /// A graph can't be parsed or started, or failed later.
    #[error("pipeline {pipeline}: {cause}")]
    Pipeline {
        /// Which graph, or which of its elements.
        pipeline: String,
        /// What GStreamer said.
        cause: String,
    },
    /// A media or pipeline file can't be read or written.
    #[error("file {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

/// The Debian package that has an element, for those that this crate names.
pub(super) fn package_of(element: &str) -> &'static str {
    match element {
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "avdec_h264" => "gstreamer1.0-libav",
        "pulsesrc" | "pulsesink" => "gstreamer1.0-pulseaudio",
        "alsasrc" | "alsasink" => "gstreamer1.0-alsa",
        "pipewiresrc" => "gstreamer1.0-pipewire",
        "vaapih264enc" => "gstreamer1.0-vaapi",
        "openh264enc" | "openh264dec" | "nvh264enc" | "vah264enc" | "h264parse" | "opusparse" | "waylandsink" => {
            "gstreamer1.0-plugins-bad"
        }
        "textoverlay" | "clockoverlay" | "timeoverlay" | "ximagesink" | "xvimagesink" => "gstreamer1.0-x",
        "opusenc" | "opusdec" | "compositor" | "videoconvert" | "videoconvertscale" | "videorate" | "audioconvert"
        | "audioresample" | "uridecodebin" | "videotestsrc" | "audiotestsrc" | "appsink" | "appsrc" => {
            "gstreamer1.0-plugins-base"
        }
        "queue" | "identity" | "clocksync" | "capsfilter" | "fakesink" => "libgstreamer1.0-0",
        _ => "gstreamer1.0-plugins-good",
    }
}

/// Fails with the package to install when an element isn't there.
pub(super) fn require(element: &str) -> Result<(), MediaError> {
    if gstreamer::ElementFactory::find(element).is_some() {
        return Ok(());
    }
    Err(MediaError::MissingElement { element: element.into(), package: package_of(element).into() })
}
