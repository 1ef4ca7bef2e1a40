//! The capture of a speaker or a participant: with everything that was wanted, or with the part that works.

use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::media::{Capture, CaptureEvent, CaptureOptions, MainSource, Size, Sources, VideoOptions, Wanted};
use crate::rtp::{Encoding, Frame};

/// The largest screen or file: the uplink is usually narrower than that of a teacher.
const LARGEST: Size = Size { width: 1280, height: 720 };

/// A capture that runs.
pub(super) struct OwnCapture {
    pub(super) capture: Capture,
    pub(super) events: mpsc::Receiver<CaptureEvent>,
    /// The encodings with their bits per second, each track best first.
    pub(super) encodings: Vec<(Encoding, u32)>,
    /// Sentences for the user: what was chosen, and what does not work.
    pub(super) notices: Vec<String>,
}

/// Starts a capture. Without what fails it is tried again: first without the camera, then without the microphone.
/// Blocks, as [`Capture::prepare`] does.
///
/// # Errors
/// Sentences, if nothing works.
pub(super) fn start(
    sources: &Sources,
    on_frame: impl Fn(Frame) + Clone + Send + Sync + 'static,
) -> Result<OwnCapture, Vec<String>> {
    let mut failures = Vec::new();
    for sources in attempts(sources) {
        match start_with(&sources, on_frame.clone()) {
            Ok(started) => {
                let notices = failures.into_iter().chain(started.notices).collect();
                return Ok(OwnCapture { notices, ..started });
            }
            Err(error) if failures.contains(&error) => {}
            Err(error) => failures.push(error),
        }
    }
    Err(failures)
}

fn start_with(sources: &Sources, on_frame: impl Fn(Frame) + Send + Sync + 'static) -> Result<OwnCapture, String> {
    let defaults = CaptureOptions::default();
    let screen = VideoOptions { size: Some(LARGEST), ..defaults.screen };
    let inspector: Option<PathBuf> = std::env::current_exe().ok();
    let options = CaptureOptions { sources: sources.clone(), screen, inspector, ..defaults };
    let prepared = Capture::prepare(options).map_err(|error| error.to_string())?;
    let (encodings, notices) = (prepared.rates(), prepared.notices().to_vec());
    let (capture, events) = Capture::start(prepared, on_frame).map_err(|error| error.to_string())?;
    Ok(OwnCapture { capture, events, encodings, notices })
}

/// The sources to try, one after another.
fn attempts(wanted: &Sources) -> Vec<Sources> {
    let without_camera = Sources { camera: Wanted::No, ..wanted.clone() };
    let without_microphone = Sources { microphone: Wanted::No, ..wanted.clone() };
    let mut attempts = vec![wanted.clone()];
    for sources in [without_camera, without_microphone] {
        let has_some = sources.main != MainSource::Screen(Wanted::No)
            || sources.camera != Wanted::No
            || sources.microphone != Wanted::No;
        if has_some && !attempts.contains(&sources) {
            attempts.push(sources);
        }
    }
    attempts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_left_out() {
        let sources = |camera: &Wanted, microphone: &Wanted| Sources {
            main: MainSource::Screen(Wanted::No),
            camera: camera.clone(),
            microphone: microphone.clone(),
            audio: true,
        };
        let (no, yes) = (Wanted::No, Wanted::IfPresent);
        assert_eq!(attempts(&sources(&yes, &yes)), [sources(&yes, &yes), sources(&no, &yes), sources(&yes, &no)]);
        assert_eq!(attempts(&sources(&no, &yes)), [sources(&no, &yes)]);
        let screen = Sources { main: MainSource::Screen(Wanted::Yes(None)), ..sources(&no, &no) };
        assert_eq!(attempts(&screen), [screen]);
    }

    #[test]
    fn a_camera_that_is_missing_leaves_the_microphone() {
        let sources = Sources {
            main: MainSource::Screen(Wanted::No),
            camera: Wanted::Yes(Some("/dev/no-such-camera".to_owned())),
            microphone: Wanted::Yes(Some("test".to_owned())),
            audio: true,
        };
        let started = start(&sources, |_| ()).unwrap_or_else(|failures| panic!("{failures:?}"));
        assert_eq!(started.encodings.len(), 1, "{:?}", started.encodings);
        assert!(started.notices[0].contains("/dev/no-such-camera"), "{:?}", started.notices);
        let nothing = Sources { microphone: Wanted::No, ..sources };
        assert!(start(&nothing, |_| ()).is_err_and(|failures| failures.len() == 1));
    }
}
