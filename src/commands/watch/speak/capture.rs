//! The capture of a speaker: with everything that was wanted, or with the part that works.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::media::{Capture, CaptureEvent, CaptureOptions, MainSource, Size, Sources, VideoOptions, Wanted};
use crate::publisher::FrameInput;
use crate::rtp::{Encoding, Frame};

/// The largest screen or file of a speaker, and its bits per second: a speaker's uplink is usually narrower than a
/// teacher's.
const LARGEST: Size = Size { width: 1280, height: 720 };

/// The connection that gets the frames of a capture. The connection may be replaced while the capture runs.
#[derive(Debug, Clone, Default)]
pub(super) struct FrameSwitch(Arc<Mutex<Option<FrameInput>>>);

impl FrameSwitch {
    /// Frames go here from now on; `None`: nowhere.
    pub(super) fn set(&self, input: Option<FrameInput>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = input;
    }

    fn push(&self, frame: Frame) {
        if let Some(input) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            input.push(frame);
        }
    }
}

/// A capture that runs.
pub(in crate::commands::watch) struct SpeakerCapture {
    pub(super) capture: Capture,
    pub(super) events: mpsc::Receiver<CaptureEvent>,
    pub(super) switch: FrameSwitch,
    /// The encodings with their bits per second, each track best first.
    pub(super) encodings: Vec<(Encoding, u32)>,
    /// Sentences for the speaker: what was chosen, and what does not work.
    pub(super) notices: Vec<String>,
}

/// Starts a capture. Without what fails it is tried again: first without the camera, then without the microphone.
/// Blocks, as [`Capture::prepare`] does.
///
/// # Errors
/// Sentences, if nothing works.
pub(super) fn start(sources: &Sources) -> Result<SpeakerCapture, Vec<String>> {
    let mut failures = Vec::new();
    for sources in attempts(sources) {
        match start_with(&sources) {
            Ok(started) => {
                let notices = failures.into_iter().chain(started.notices).collect();
                return Ok(SpeakerCapture { notices, ..started });
            }
            Err(error) if failures.contains(&error) => {}
            Err(error) => failures.push(error),
        }
    }
    Err(failures)
}

fn start_with(sources: &Sources) -> Result<SpeakerCapture, String> {
    let defaults = CaptureOptions::default();
    let screen = VideoOptions { size: Some(LARGEST), ..defaults.screen };
    let inspector: Option<PathBuf> = std::env::current_exe().ok();
    let options = CaptureOptions { sources: sources.clone(), screen, inspector, ..defaults };
    let prepared = Capture::prepare(options).map_err(|error| error.to_string())?;
    let (encodings, notices) = (prepared.rates(), prepared.notices().to_vec());
    let switch = FrameSwitch::default();
    let of_capture = switch.clone();
    let (capture, events) =
        Capture::start(prepared, move |frame| of_capture.push(frame)).map_err(|error| error.to_string())?;
    Ok(SpeakerCapture { capture, events, switch, encodings, notices })
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
        let started = start(&sources).unwrap_or_else(|failures| panic!("{failures:?}"));
        assert_eq!(started.encodings.len(), 1, "{:?}", started.encodings);
        assert!(started.notices[0].contains("/dev/no-such-camera"), "{:?}", started.notices);
        let nothing = Sources { microphone: Wanted::No, ..sources };
        assert!(start(&nothing).is_err_and(|failures| failures.len() == 1));
    }
}
