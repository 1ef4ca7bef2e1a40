//! The orders in events.

use serde::Serialize;

/// An order of the teacher, or of a member who moderates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One student may neither write nor react.
    Mute,
    /// Nobody may write or react.
    MuteAll,
    /// One student may write again.
    Unmute,
    /// Everybody may write again.
    UnmuteAll,
    /// The chat messages are removed.
    Clear,
    /// Slow mode begins, changes or ends; an `allowed` follows.
    Slow,
    /// One hand is lowered.
    Lower,
    /// All hands are lowered.
    LowerAll,
    /// One student is invited to the stage.
    Stage,
    /// One speaker leaves the stage.
    OffStage,
    /// All speakers leave the stage.
    ClearStage,
    /// One speaker is shown large.
    Spotlight,
    /// The teacher is shown large.
    SpotlightOff,
    /// Students may come to the stage by themselves.
    OpenFloor,
    /// Students need an invitation again.
    CloseFloor,
    /// One student is put out for this lecture.
    Kick,
    /// One user is put out, and kept out with its network.
    Ban,
    /// A kick or a ban is lifted.
    Unban,
    /// Nobody else may join.
    Lock,
    /// Students may join again.
    Unlock,
    /// Newcomers wait for admission.
    LobbyOn,
    /// Newcomers do not wait.
    LobbyOff,
    /// One client that waits is admitted.
    Admit,
    /// All clients that wait are admitted.
    AdmitAll,
    /// One client that waits is refused.
    Deny,
    /// The room has this join code.
    Code,
    /// The room has no join code.
    CodeOff,
    /// The microphone of one participant is switched off.
    MuteMicrophone,
    /// The microphones of all that do not moderate are switched off.
    MuteMicrophones,
    /// The meeting has another name.
    Rename,
    /// The meeting has another owner.
    HandOver,
    /// Participants need the owner's permission to be large for everybody.
    RestrictSpotlight,
    /// Participants need no permission any more.
    FreeSpotlight,
    /// The meeting is over.
    End,
    /// The meeting is split into breakout rooms.
    Split,
    /// One member is moved to another breakout room.
    Assign,
    /// Everybody is called back to the meeting.
    Recall,
}
