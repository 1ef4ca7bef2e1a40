//! How the teacher sees and hears the speakers: by what was typed, and by what this computer has.

use crate::cli::StageSink;
use crate::media;

/// The parts of a speaker that are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Output {
    /// A window has the pictures.
    pub(super) picture: bool,
    /// A sound card plays the sound.
    pub(super) sound: bool,
}

impl Output {
    /// Whether nothing is shown.
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Chooses for this computer; with a sentence for the teacher. May take a moment, because it opens devices.
pub(super) fn choose(sink: StageSink) -> (Output, String) {
    let has_display = sink != StageSink::Audio && sink != StageSink::None && media::has_display();
    let has_sound = sink != StageSink::None && media::has_sound_card();
    choose_from(sink, has_display, has_sound)
}

fn choose_from(sink: StageSink, has_display: bool, has_sound: bool) -> (Output, String) {
    const ECHO: &str = "use headphones, or your microphone sends the sound to the class once more";
    let wants_picture = matches!(sink, StageSink::Auto | StageSink::Window);
    let output = Output { picture: wants_picture && has_display, sound: sink != StageSink::None && has_sound };
    let sentence = match (output.picture, output.sound) {
        (true, true) => format!("you see and hear students on the stage in a window: {ECHO}"),
        (true, false) => {
            "you see students on the stage in a window, and do not hear them: there is no sound card".to_owned()
        }
        (false, true) if wants_picture => {
            format!("you hear students on the stage, and do not see them, because there is no display: {ECHO}")
        }
        (false, true) => format!("you hear students on the stage: {ECHO}"),
        (false, false) if wants_picture => {
            "you neither see nor hear students on the stage: this computer has no display and no sound card".to_owned()
        }
        (false, false) => "you do not hear students on the stage: there is no sound card".to_owned(),
    };
    (output, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_teacher_gets_what_the_computer_has() {
        let output = |sink, has_display, has_sound| {
            let (Output { picture, sound }, sentence) = choose_from(sink, has_display, has_sound);
            assert_eq!(sentence.contains("headphones"), sound, "{sentence}");
            (picture, sound)
        };
        for sink in [StageSink::Auto, StageSink::Window] {
            for has in [(true, true), (true, false), (false, true), (false, false)] {
                assert_eq!(output(sink, has.0, has.1), has, "{sink:?}");
            }
        }
        assert_eq!(output(StageSink::Audio, true, true), (false, true));
        assert_eq!(output(StageSink::Audio, true, false), (false, false));
    }
}
