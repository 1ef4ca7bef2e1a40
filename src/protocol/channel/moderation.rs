//! The orders of the teacher and of those who moderate, as far as they concern the conversation and the stage.

use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// An order that concerns the conversation or the stage. One student and all students have different orders, so that an
/// omitted field never means everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Moderation {
    /// One student may neither write nor react.
    Mute {
        /// The student.
        user_id: UserId,
    },
    /// One student may write again, even if all others are muted.
    Unmute {
        /// The student.
        user_id: UserId,
    },
    /// No student may write or react.
    MuteAll,
    /// All students may write again, those too who were muted alone.
    UnmuteAll,
    /// Removes all chat messages.
    Clear,
    /// Slow mode: the shortest time between two chat messages of a student.
    Slow {
        /// The time in milliseconds; 0 ends slow mode.
        ms: u32,
    },
    /// Lowers one hand.
    Lower {
        /// The student.
        user_id: UserId,
    },
    /// Lowers all hands.
    LowerAll,
    /// Invites a student to the stage.
    Stage {
        /// The student.
        user_id: UserId,
    },
    /// Takes a speaker off the stage, or withdraws the invitation.
    OffStage {
        /// The student.
        user_id: UserId,
    },
    /// Takes all speakers off the stage, and withdraws all invitations.
    ClearStage,
    /// Shows a speaker large.
    Spotlight {
        /// The speaker.
        user_id: UserId,
    },
    /// Shows the teacher large.
    SpotlightOff,
    /// Opens the floor: whoever raises a hand is invited to the stage at once, while the stage has a place.
    OpenFloor,
    /// Closes the floor. Students on the stage stay there.
    CloseFloor,
}

impl Moderation {
    /// The student whom the order concerns, if it concerns one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Mute { user_id } | Self::Unmute { user_id } | Self::Lower { user_id } => Some(user_id),
            Self::Stage { user_id } | Self::OffStage { user_id } | Self::Spotlight { user_id } => Some(user_id),
            Self::MuteAll | Self::UnmuteAll | Self::Clear | Self::Slow { .. } | Self::LowerAll => None,
            Self::ClearStage | Self::SpotlightOff | Self::OpenFloor | Self::CloseFloor => None,
        }
    }
}
