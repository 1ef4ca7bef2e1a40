//! Screens, cameras and microphones of this machine: list them, or find the requested one.

use std::path::{Path, PathBuf};

use crate::media::error::{MediaError, can_open, has_pipewire, has_pulse, require, variable};
use crate::media::options::{Size, VideoOptions};
use gstreamer as gst;
use gstreamer::prelude::*;
use x11rb::connection::Connection;

/// A source that a flag can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The value for `--screen`, `--camera` or `--mic`. Empty for sources that the user selects in a dialogue.
    pub name: String,
    /// The name for users.
    pub label: String,
}

/// A screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Display {
    /// A display, named as in `$DISPLAY`.
    X11(String),
    /// The user selects it in the dialogue of a Wayland desktop.
    Portal,
}

/// A camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Camera {
    /// The device file, such as `/dev/video0`.
    pub device: String,
    /// The name for users.
    pub label: String,
    /// The caps to request.
    pub format: String,
}

/// A microphone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::media) struct Microphone {
    pub element: &'static str,
    /// The name within the audio system. Default: its default source.
    pub device: Option<String>,
    pub label: String,
}

fn absent(device: impl Into<String>, cause: impl Into<String>) -> MediaError {
    MediaError::Device { device: device.into(), cause: cause.into() }
}

/// The screen of this name, or that of the session.
pub(super) fn display(name: Option<&str>) -> Result<Display, MediaError> {
    if name.is_none() && variable("WAYLAND_DISPLAY").is_some() {
        require("pipewiresrc")?;
        return Ok(Display::Portal);
    }
    let Some(name) = name.map(String::from).or_else(|| variable("DISPLAY")) else {
        return Err(absent("a screen", "neither $WAYLAND_DISPLAY nor $DISPLAY is set"));
    };
    require("ximagesrc")?;
    let source = gst::ElementFactory::make("ximagesrc").property("display-name", &name).build();
    let opened = source.is_ok_and(|source| {
        // ximagesrc connects to the display when it goes to Paused.
        let opened = source.set_state(gst::State::Paused).is_ok();
        // A change to Null always succeeds.
        let _ = source.set_state(gst::State::Null);
        opened
    });
    if !opened {
        return Err(absent(format!("screen {name}"), "the X server does not answer or refuses access"));
    }
    Ok(Display::X11(name))
}

/// The current size of an X11 display.
pub(super) fn size_of_display(name: &str) -> Option<Size> {
    let (display, screen) = x11rb::connect(Some(name)).ok()?;
    let screen = display.setup().roots.get(screen)?;
    Some(Size { width: screen.width_in_pixels.into(), height: screen.height_in_pixels.into() })
}

/// All screens.
pub(in crate::media) fn list_screens() -> Vec<Source> {
    match display(None) {
        Ok(Display::Portal) => {
            vec![Source { name: String::new(), label: "Wayland, selected in a dialogue of the desktop".into() }]
        }
        Ok(Display::X11(name)) => vec![Source { name, label: "X11 display".into() }],
        Err(_) => Vec::new(),
    }
}

/// All cameras.
pub(in crate::media) fn list_cameras() -> Vec<Source> {
    cameras().into_iter().map(|(name, label, _)| Source { name, label }).collect()
}

/// All microphones of the first audio system that answers.
pub(in crate::media) fn list_microphones() -> Vec<Source> {
    let Some((element, _, _)) =
        sound_systems().into_iter().find(|(element, _, plausible)| *plausible && can_open(element))
    else {
        return Vec::new();
    };
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Audio/Source"), None);
    if monitor.start().is_err() {
        return Vec::new();
    }
    let devices = monitor.devices();
    monitor.stop();
    let name_of = |device: &gst::Device| {
        let source = device.create_element(None).ok()?;
        let is_same = source.factory().is_some_and(|factory| factory.name() == element);
        let property = if element == "pipewiresrc" { "target-object" } else { "device" };
        is_same.then(|| source.property::<Option<String>>(property)).flatten()
    };
    // Leave out monitors of loudspeakers: nobody means them by "microphone".
    let is_loudspeaker = |device: &gst::Device| {
        device.properties().is_some_and(|p| p.get::<String>("device.class").is_ok_and(|class| class == "monitor"))
    };
    devices
        .iter()
        .filter(|device| !is_loudspeaker(device))
        .filter_map(|device| Some(Source { name: name_of(device)?, label: device.display_name().into() }))
        .collect()
}

/// The camera of this device file, or the first one.
pub(super) fn camera(device: Option<&str>, video: &VideoOptions) -> Result<Camera, MediaError> {
    let found = cameras();
    if let Some(device) = device {
        if !Path::new(device).exists() {
            return Err(absent(format!("camera {device}"), "there is no such device file"));
        }
        require("v4l2src")?;
        return found
            .into_iter()
            .find(|(file, ..)| same_file(file, device))
            .map(|(_, label, caps)| Camera { device: device.into(), label, format: camera_format(&caps, video) })
            .ok_or_else(|| absent(format!("camera {device}"), "it can't be opened, or is not a camera"));
    }
    let first = found.into_iter().next();
    first
        .map(|(device, label, caps)| Camera { device, label, format: camera_format(&caps, video) })
        .ok_or_else(|| absent("a camera", "no /dev/video* is a camera"))
}

fn same_file(one: &str, other: &str) -> bool {
    one == other || std::fs::canonicalize(one).ok().is_some_and(|path| std::fs::canonicalize(other).ok() == Some(path))
}

/// Device file, label and caps of each camera. Each file is opened, because a camera has several and captures with one.
pub(in crate::media) fn cameras() -> Vec<(String, String, gst::Caps)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir("/dev")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.retain(|path| {
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("video"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    files.iter().filter_map(|path| probe_camera(path)).collect()
}

fn probe_camera(path: &Path) -> Option<(String, String, gst::Caps)> {
    let device = path.to_str()?;
    let source = gst::ElementFactory::make("v4l2src").property("device", device).build().ok()?;
    let opened = source.set_state(gst::State::Ready).is_ok();
    let caps = opened.then(|| source.static_pad("src").map(|pad| pad.query_caps(None))).flatten();
    let label = source.property::<Option<String>>("device-name");
    // A change to Null always succeeds.
    let _ = source.set_state(gst::State::Null);
    let caps = caps.filter(|caps| !caps.is_empty() && !caps.is_any())?;
    Some((device.into(), label.unwrap_or_else(|| "camera".into()), caps))
}

/// The caps to request from a camera: raw video up to the wanted size if the rate is high enough, else MJPEG, which USB
/// 2 cameras need for large frames.
fn camera_format(caps: &gst::Caps, video: &VideoOptions) -> String {
    let size = video.size.unwrap_or(Size { width: 640, height: 360 });
    let fps = video.fps.min(i32::MAX as u32) as i32;
    let can = |kind: &str| {
        let wish = gst::Caps::builder(kind)
            .field("width", gst::IntRange::new(1, size.width as i32))
            .field("height", gst::IntRange::new(1, size.height as i32))
            .field(
                "framerate",
                gst::FractionRange::new(gst::Fraction::new(fps.min(24), 1), gst::Fraction::new(1000, 1)),
            )
            .build();
        caps.can_intersect(&wish)
    };
    let kind = ["video/x-raw", "image/jpeg"].into_iter().find(|kind| can(kind));
    match kind {
        Some(kind) => format!("{kind},width=[1,{}],height=[1,{}]", size.width, size.height),
        // The camera has nothing so small or so fast. It chooses, and its video is scaled.
        None if caps.iter().any(|structure| structure.name() == "video/x-raw") => "video/x-raw".into(),
        None => "image/jpeg".into(),
    }
}

/// The microphone of this name, or the default one.
pub(in crate::media) fn microphone(name: Option<&str>) -> Result<Microphone, MediaError> {
    let label = |system: &str| match name {
        Some(name) => format!("microphone {name} ({system})"),
        None => format!("the default microphone ({system})"),
    };
    for (element, system, plausible) in sound_systems() {
        if plausible && can_open(element) {
            return Ok(Microphone { element, device: name.map(String::from), label: label(system) });
        }
    }
    let device = name.map_or("a microphone".into(), |name| format!("microphone {name}"));
    Err(absent(device, "no PulseAudio, PipeWire or ALSA device answers"))
}

/// The elements that capture audio, best first, and whether to try them. ALSA and PipeWire print to the terminal if
/// they are absent.
pub(super) fn sound_systems() -> [(&'static str, &'static str, bool); 3] {
    [
        ("pulsesrc", "PulseAudio", has_pulse()),
        ("pipewiresrc", "PipeWire", has_pipewire()),
        ("alsasrc", "ALSA", has_alsa_capture()),
    ]
}

/// Whether ALSA has a card that captures.
fn has_alsa_capture() -> bool {
    std::fs::read_to_string("/proc/asound/pcm").is_ok_and(|devices| devices.contains("capture"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_asked_for_raw_video_or_else_for_jpeg() {
        crate::media::init().unwrap();
        let video = VideoOptions { size: Some(Size { width: 640, height: 360 }), fps: 30, bitrate: None };
        let format = |caps: &str| camera_format(&caps.parse().unwrap(), &video);
        let jpeg = "image/jpeg,width=640,height=360,framerate={30/1,15/1}";
        assert_eq!(
            format(&format!("video/x-raw,width=640,height=360,framerate=30/1; {jpeg}")),
            "video/x-raw,width=[1,640],height=[1,360]"
        );
        assert_eq!(
            format(&format!("video/x-raw,width=640,height=360,framerate=5/1; {jpeg}")),
            "image/jpeg,width=[1,640],height=[1,360]"
        );
        assert_eq!(format("video/x-raw,width=1920,height=1080,framerate=30/1"), "video/x-raw");
        assert_eq!(format("image/jpeg,width=1920,height=1080,framerate=30/1"), "image/jpeg");
    }

    #[test]
    fn errors_name_the_absent_device() {
        crate::media::init().unwrap();
        let video = VideoOptions { size: None, fps: 30, bitrate: None };
        let error = camera(Some("/dev/video-none"), &video).unwrap_err().to_string();
        assert!(error.contains("/dev/video-none"), "{error}");
        let error = display(Some(":987")).unwrap_err().to_string();
        assert!(error.contains(":987"), "{error}");
    }
}
