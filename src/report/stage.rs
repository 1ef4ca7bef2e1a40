//! The stage in events.

use serde::Serialize;

use crate::protocol::TrackName;
use crate::protocol::channel::OffStage;
use crate::room::talk::ANSWER_WITHIN;

/// The state of a student who comes to the stage or leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum StageState {
    /// The student is invited.
    Invited,
    /// The student has accepted; the class does not see it yet.
    Accepted,
    /// The class sees and hears the student.
    Live {
        /// The tracks that the student sends.
        tracks: Vec<TrackName>,
    },
    /// Nothing arrives from the student, who may come back within 10 s.
    Lost,
    /// The student is not on the stage any more, or does not come.
    Ended {
        /// The reason.
        reason: StageEnd,
    },
}

/// Why a student is not on the stage any more, or does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageEnd {
    /// The teacher or a member who moderates ended it, or withdrew the invitation.
    Ended,
    /// The student stepped down, or left the room.
    SteppedDown,
    /// The student declined.
    Declined,
    /// The student has neither camera nor microphone that work.
    NoDevice,
    /// The student's program was not started to speak.
    NotAllowed,
    /// The student did not answer in time.
    NoAnswer,
    /// The student's media did not arrive in time, or was lost and did not come back.
    NoMedia,
    /// The server or the teacher's computer can't carry another speaker.
    NoCapacity,
    /// A reason of a newer version.
    Unknown,
}

impl From<OffStage> for StageEnd {
    fn from(reason: OffStage) -> Self {
        match reason {
            OffStage::Ended => Self::Ended,
            OffStage::SteppedDown => Self::SteppedDown,
            OffStage::Declined => Self::Declined,
            OffStage::NoDevice => Self::NoDevice,
            OffStage::NotAllowed => Self::NotAllowed,
            OffStage::NoAnswer => Self::NoAnswer,
            OffStage::NoMedia => Self::NoMedia,
            OffStage::NoCapacity => Self::NoCapacity,
            OffStage::Unknown => Self::Unknown,
        }
    }
}

impl StageState {
    /// The sentence about a student; `None` if the order to which the state belongs says so.
    pub(super) fn sentence(&self, whom: &str) -> Option<String> {
        Some(match self {
            Self::Invited | Self::Ended { reason: StageEnd::Ended } => return None,
            Self::Accepted => format!("{whom} comes to the stage"),
            Self::Live { tracks } => format!("{whom} is on the stage, with {}", words(tracks)),
            Self::Lost => format!("the connection of {whom} is lost; the stage waits some seconds for it"),
            Self::Ended { reason } => match reason {
                StageEnd::Declined => format!("{whom} does not want to come to the stage"),
                StageEnd::NoDevice => format!("{whom} has neither camera nor microphone that work"),
                StageEnd::NotAllowed => {
                    format!(
                        "{whom} can't come to the stage: watch runs there without --may-speak, or without a terminal"
                    )
                }
                StageEnd::NoAnswer => {
                    format!("{whom} did not answer the invitation to the stage within {} s", ANSWER_WITHIN.as_secs())
                }
                StageEnd::NoMedia => format!("{whom} is off the stage: no picture and no sound arrives from there"),
                StageEnd::NoCapacity => format!("{whom} is off the stage: this computer can't carry another speaker"),
                StageEnd::SteppedDown | StageEnd::Ended | StageEnd::Unknown => format!("{whom} has left the stage"),
            },
        })
    }
}

/// Tracks in words: `sound and camera`.
pub(super) fn words(tracks: &[TrackName]) -> String {
    let word = |track: &TrackName| match track {
        TrackName::Audio => "sound",
        TrackName::Screen => "screen",
        TrackName::Camera => "camera",
    };
    let words: Vec<&str> = tracks.iter().map(word).collect();
    match words.as_slice() {
        [] => "neither sound nor picture".to_owned(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
