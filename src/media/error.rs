//! Errors of capture and render, and checks for missing elements and devices.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

/// Why media can't be captured or shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// No source was named, and none was found.
    #[error("there is nothing to capture (looked for {}); give --file PATH or --test", looked_for.join(", "))]
    NothingToCapture {
        /// The sources that were tried, each with the reason why it is not available, for the user.
        looked_for: Vec<String>,
    },
    /// A GStreamer element isn't installed.
    #[error("the GStreamer element {element} is missing; install the package {package}")]
    MissingElement {
        /// The element, or the media type that needs one.
        element: String,
        /// The Debian package to install.
        package: String,
    },
    /// A file needs a decoder that isn't installed.
    #[error("file {}: no decoder for {what} is installed; install the package {package}", path.display())]
    NoDecoder {
        /// The media file.
        path: PathBuf,
        /// The media type in GStreamer's terms.
        what: String,
        /// The Debian package to install.
        package: String,
    },
    /// No encoder for the codec works.
    #[error("no {codec} encoder works: {}; try another --codec or run `classroom devices`", tried.join(", "))]
    NoEncoder {
        /// The requested codec.
        codec: String,
        /// Each element that was tried, and why it can't be used.
        tried: Vec<String>,
    },
    /// A pipeline file lacks an element that must be in it.
    #[error("pipeline {pipeline}: {problem}")]
    Contract {
        /// The pipeline file.
        pipeline: String,
        /// The defect.
        problem: String,
    },
    /// A device is absent, in use or not permitted.
    #[error("can't use {device}: {cause}; `classroom devices` lists what this machine has")]
    Device {
        /// The device, as given to a flag.
        device: String,
        /// The system's error.
        cause: String,
    },
    /// A pipeline can't be parsed or started, or failed later.
    #[error("pipeline {pipeline}: {cause}")]
    Pipeline {
        /// The pipeline or its failed element.
        pipeline: String,
        /// GStreamer's error.
        cause: String,
    },
    /// A scene of a lecture can't be shown.
    #[error("scene {}: {cause}", index + 1)]
    Scene {
        /// The index of the scene.
        index: usize,
        /// Why.
        cause: Box<MediaError>,
    },
    /// A media or pipeline file can't be read or written.
    #[error("file {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The defect.
        cause: String,
    },
}

/// The Debian package of an element.
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

/// Fails with the package to install if an element is missing.
pub(super) fn require(element: &str) -> Result<(), MediaError> {
    if gst::ElementFactory::find(element).is_some() {
        return Ok(());
    }
    Err(MediaError::MissingElement { element: element.into(), package: package_of(element).into() })
}

/// Calls `tell` with the text of a fatal GLib assertion, on the thread that failed. Afterwards that thread parks until
/// the process ends. Only the first call of this function has an effect.
///
/// An assertion in GStreamer or a plug-in prints a message and calls `abort`: a shell sees exit code 134, a script
/// nothing. This handler runs before, so the process can exit with a message and an exit code of its own. A signal
/// handler would need `unsafe` and could do less. A crash or an `abort` without a message still ends the process;
/// therefore another process opens files first.
pub fn on_fatal(tell: impl Fn(&str) + Send + Sync + 'static) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::sync::Arc::new(tell);
        let told = tell.clone();
        // `g_assert` and the like print to stderr.
        glib::set_printerr_handler(move |text| match assertion(text) {
            Some(cause) => stay(cause, &*told),
            None => {
                // There is nobody to tell if this fails.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
        });
        // `g_error`, which also reports failed allocations.
        glib::log_set_writer_func(move |level, fields| {
            if level == glib::LogLevel::Error {
                let message = fields.iter().find(|field| field.key() == "MESSAGE");
                stay(message.and_then(|field| field.value_str()).unwrap_or("no cause"), &*tell);
            }
            glib::log_writer_default(level, fields)
        });
    });
}

/// Reports a failure and never returns, because the caller would abort.
fn stay(cause: &str, tell: &dyn Fn(&str)) -> ! {
    tell(cause);
    loop {
        std::thread::park();
    }
}

/// The text of an assertion in GLib's output: `**`, then a line with place and condition.
fn assertion(text: &str) -> Option<&str> {
    let text = text.strip_prefix("**\n")?.trim();
    text.contains("ERROR:").then_some(text)
}

/// Whether an element exists and can open its device.
pub(super) fn can_open(element: &str) -> bool {
    let Ok(element) = gst::ElementFactory::make(element).build() else { return false };
    let opened = element.set_state(gst::State::Ready).is_ok();
    // A change to Null always succeeds.
    let _ = element.set_state(gst::State::Null);
    opened
}

/// Whether a PulseAudio server is configured or runs for this user. PipeWire may take its place.
pub(super) fn has_pulse() -> bool {
    let socket = || variable("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("pulse/native").exists());
    variable("PULSE_SERVER").is_some() || socket()
}

/// Whether a PipeWire server runs for this user.
pub(super) fn has_pipewire() -> bool {
    let runtime = variable("PIPEWIRE_RUNTIME_DIR").or_else(|| variable("XDG_RUNTIME_DIR"));
    runtime.is_some_and(|folder| Path::new(&folder).join("pipewire-0").exists())
}

/// Whether ALSA has a sound card.
pub(super) fn has_alsa_card() -> bool {
    std::fs::read_to_string("/proc/asound/cards").is_ok_and(|cards| cards.lines().any(|line| line.contains('[')))
}

/// An environment variable, unless it is empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertions_are_recognised_in_stderr_text() {
        let text = "**\nERROR:../gst/videorate/gstvideorate.c:740:push: assertion failed: (valid)\n";
        assert_eq!(assertion(text), Some(text[3..].trim()));
        assert_eq!(assertion("** Message: hello\n"), None);
        assert_eq!(assertion("**\nno such thing\n"), None);
    }
}
