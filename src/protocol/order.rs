//! Orders of the members that moderate a room.

use serde::{Deserialize, Serialize};

use crate::id::{RoomName, UserId};

/// An order about the members of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RoomOrder {
    /// Puts a member out. The same client (session or token) is refused for the rest of the lecture. Members that
    /// publish or moderate can't be put out.
    Kick {
        /// The member.
        target_uid: UserId,
    },
    /// Puts a member out, if present, and refuses its user id, session and token for the rest of the lecture, and its
    /// network too, unless another member shares the network. A token that names the same user id is not concerned.
    Ban {
        /// The member.
        target_uid: UserId,
    },
    /// Lifts a kick or a ban.
    Unban {
        /// The user id that was put out.
        target_uid: UserId,
    },
    /// Refuses newcomers, or admits them again. Clients that were members in this lecture may return.
    Lock {
        /// Whether newcomers are refused.
        locked: bool,
    },
    /// Makes newcomers wait for admission, or no longer. In the latter case, those who wait are admitted.
    Lobby {
        /// Whether newcomers wait.
        lobby: bool,
    },
    /// Sets the join code, or removes it. Members stay.
    Code {
        /// The code; none to admit clients without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// Admits one client that waits, or all of them.
    Admit {
        /// The client; none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_uid: Option<UserId>,
    },
    /// Refuses a client that waits, as a kick does.
    Deny {
        /// The client.
        target_uid: UserId,
    },
    /// Names a meeting or call room.
    Rename {
        /// The name.
        name: RoomName,
    },
    /// Makes another member the owner of a meeting or call room.
    HandOver {
        /// The new owner.
        target_uid: UserId,
    },
    /// Shows a participant of the meeting large for everybody.
    Spotlight {
        /// The participant.
        target_uid: UserId,
    },
    /// A participant is not large for everybody any more, or its request is refused.
    SpotlightOff {
        /// The participant.
        target_uid: UserId,
    },
    /// Participants need the owner's permission to be large for everybody, or no longer.
    RestrictSpotlight {
        /// Whether they need it.
        restricted: bool,
    },
    /// Ends a meeting, or all calls of a call room. The members stay.
    End,
}
