//! The stage: students who are seen and heard by the whole class, the speakers.

use serde::{Deserialize, Serialize};

use crate::id::{Nickname, UserId};
use crate::protocol::TrackName;

/// The most speakers that a lecture can have beside the teacher.
pub const MAX_SPEAKERS: usize = 4;

/// The stage of a lecture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The speakers, in the order in which they came.
    pub speakers: Vec<Speaker>,
    /// The user who is shown large: a speaker. Absent: the teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spotlight: Option<UserId>,
    /// The most speakers; 0 if the lecture has no stage.
    #[serde(default)]
    pub most: usize,
    /// Whether the floor is open: a student that raises its hand is invited without an order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
    /// To the teacher and those who moderate: users who were invited and do not speak yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invited: Vec<UserId>,
}

/// A student on the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Speaker {
    /// The student.
    pub user_id: UserId,
    /// The name that others see.
    pub nickname: Nickname,
    /// Changes each time a student comes to the stage: connections to an earlier one are of no use.
    pub id: u64,
    /// The tracks that the speaker sends.
    pub tracks: Vec<TrackName>,
    /// The tracks among them that deliver nothing at present: a muted microphone, a camera that is off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<TrackName>,
    /// Whether nothing arrives from the speaker at present: its connection is lost, and it may come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// Why a student declines an invitation, if it is not just what the student wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decline {
    /// Nobody has answered.
    NoAnswer,
    /// Neither camera nor microphone work.
    NoDevice,
    /// The program was not started to speak.
    NotAllowed,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

impl From<Option<Decline>> for OffStage {
    fn from(why: Option<Decline>) -> Self {
        match why {
            Some(Decline::NoAnswer) => Self::NoAnswer,
            Some(Decline::NoDevice) => Self::NoDevice,
            Some(Decline::NotAllowed) => Self::NotAllowed,
            Some(Decline::Unknown) | None => Self::Declined,
        }
    }
}

/// Why a student is not on the stage any more, or never came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OffStage {
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
    /// The student did not answer the invitation in time.
    NoAnswer,
    /// The student's media did not arrive in time, or was lost and did not come back.
    NoMedia,
    /// The server or the teacher's computer can't carry another speaker.
    NoCapacity,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}
