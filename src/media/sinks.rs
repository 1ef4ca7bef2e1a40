//! Where pictures and sound can be shown on this machine.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::{MediaError, package_of};

/// Elements that show a window, best first. Xv scales on the graphics card, and ximagesink works everywhere. (glimagesink
/// is not among them: it also opens, and shows nothing, where there is no display.)
const WINDOWS: [&str; 3] = ["waylandsink", "xvimagesink", "ximagesink"];

/// Elements that play sound, best first.
const SOUNDS: [&str; 3] = ["pulsesink", "pipewiresink", "alsasink"];

/// Whether a window can be opened here.
pub fn has_display() -> bool {
    super::init().is_ok() && window().is_ok()
}

/// The element that can open a window here.
pub(super) fn window() -> Result<&'static str, MediaError> {
    let names = ["WAYLAND_DISPLAY", "DISPLAY"];
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !names.into_iter().any(is_set) {
        let cause = "neither $WAYLAND_DISPLAY nor $DISPLAY is set, give --sink null or --sink FILE.mkv".into();
        return Err(MediaError::Device { device: "a window".into(), cause });
    }
    let fits = |element: &&&str| is_set(if **element == "waylandsink" { names[0] } else { names[1] });
    let candidates: Vec<&str> = WINDOWS.iter().filter(fits).copied().collect();
    if let Some(works) = candidates.iter().find(|element| opens(element)) {
        return Ok(works);
    }
    let missing = |element: &&str| gst::ElementFactory::find(element).is_none();
    if candidates.iter().all(missing) {
        let element = "ximagesink";
        return Err(MediaError::MissingElement { element: element.into(), package: package_of(element).into() });
    }
    let cause = "the display does not answer, give --sink null or --sink FILE.mkv".into();
    Err(MediaError::Device { device: "a window".into(), cause })
}

/// The element that reaches a sound card here.
pub(super) fn sound() -> Option<&'static str> {
    SOUNDS.into_iter().find(|element| is_plausible(element) && opens(element))
}

/// Whether it is worth trying: asking ALSA or PipeWire where there is none prints to the terminal.
fn is_plausible(element: &str) -> bool {
    match element {
        "pulsesink" => super::sources::devices::has_pulse(),
        "alsasink" => super::sources::devices::has_alsa_card(),
        "pipewiresink" => super::sources::devices::has_pipewire(),
        _ => true,
    }
}

/// Whether an element exists and gets hold of its device.
pub(super) fn opens(element: &str) -> bool {
    let Ok(element) = gst::ElementFactory::make(element).build() else { return false };
    let opened = element.set_state(gst::State::Ready).is_ok();
    // Null always succeeds.
    let _ = element.set_state(gst::State::Null);
    opened
}
