//! The flags of `watch` about speaking on the stage.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::conflict::Conflict;
use super::meaning::Speaking;
use crate::media::{FileList, MainSource, Sources, Wanted};

/// The synthetic devices of a capture.
const TEST_DEVICE: &str = "test";

/// The word for no device.
const NO_DEVICE: &str = "none";

#[derive(Debug, Args)]
#[command(next_help_heading = "Speaking")]
pub(super) struct TypedSpeaking {
    /// Let the teacher invite you to the stage, where the class sees and hears you; watch asks you first. yes accepts
    /// without asking. While the floor is open, /speak brings you there
    #[arg(
        long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "ask",
        hide_short_help = true
    )]
    may_speak: Option<Consent>,

    /// Speak with this camera, for example /dev/video2, or none [default: the first camera]
    #[arg(long, value_name = "DEVICE", require_equals = true, hide_short_help = true)]
    camera: Option<String>,

    /// Speak with this microphone, for example hw:1, or none [default: the first microphone]
    #[arg(long, value_name = "DEVICE", require_equals = true, hide_short_help = true)]
    mic: Option<String>,

    /// Also show the class your screen, for example --screen or --screen=:1
    #[arg(long, value_name = "DISPLAY", num_args = 0..=1, require_equals = true, hide_short_help = true)]
    screen: Option<Option<String>>,

    /// Speak with this video, picture or sound file in place of camera and microphone
    #[arg(long, value_name = "PATH", hide_short_help = true)]
    speak_file: Option<PathBuf>,

    /// Speak with a moving ball and a tone in place of camera and microphone
    #[arg(long, hide_short_help = true)]
    speak_test: bool,
}

/// How an invitation to the stage is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Consent {
    /// The person at the terminal is asked.
    Ask,
    /// Without a question.
    Yes,
}

impl TypedSpeaking {
    pub(super) fn convert(self) -> Result<Option<Speaking>, Conflict> {
        let Some(consent) = self.may_speak else {
            return self.first_flag().map_or(Ok(None), |flag| Err(Conflict::SpeakingFlagWithoutConsent(flag)));
        };
        let synthetic = [("--speak-file", self.speak_file.is_some()), ("--speak-test", self.speak_test)];
        let devices =
            [("--camera", self.camera.is_some()), ("--mic", self.mic.is_some()), ("--screen", self.screen.is_some())];
        let mut typed = synthetic.into_iter().chain(devices).filter(|(_, is_typed)| *is_typed).map(|(flag, _)| flag);
        if let Some(flag) = typed.next().filter(|flag| flag.starts_with("--speak"))
            && let Some(other) = typed.next()
        {
            return Err(Conflict::TwoSources(flag, other));
        }
        let device = |typed: Option<String>| match typed {
            None => Wanted::IfPresent,
            Some(name) if name == NO_DEVICE => Wanted::No,
            Some(name) => Wanted::Yes(Some(name)),
        };
        let test = || Wanted::Yes(Some(TEST_DEVICE.to_owned()));
        let no_screen = MainSource::Screen(Wanted::No);
        let sources = match self.speak_file {
            Some(path) => Sources::only(MainSource::Files(FileList::looped(path))),
            None if self.speak_test => Sources { main: no_screen, camera: test(), microphone: test(), audio: true },
            None => Sources {
                main: self.screen.map_or(no_screen, |display| MainSource::Screen(Wanted::Yes(display))),
                camera: device(self.camera),
                microphone: device(self.mic),
                audio: true,
            },
        };
        let has_nothing = sources.main == MainSource::Screen(Wanted::No)
            && (&sources.camera, &sources.microphone) == (&Wanted::No, &Wanted::No);
        if has_nothing {
            return Err(Conflict::NothingToSpeakWith);
        }
        Ok(Some(Speaking { asks: consent == Consent::Ask, sources }))
    }

    /// The first flag that was typed and needs `--may-speak`.
    fn first_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--camera", self.camera.is_some()),
            ("--mic", self.mic.is_some()),
            ("--screen", self.screen.is_some()),
            ("--speak-file", self.speak_file.is_some()),
            ("--speak-test", self.speak_test),
        ];
        flags.into_iter().find(|(_, is_typed)| *is_typed).map(|(flag, _)| flag)
    }
}
