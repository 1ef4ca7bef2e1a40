//! Orders of the members that moderate a room.

use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// An order about the members of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RoomOrder {
    /// Puts a member out. The same client (session) is refused for the rest of the lecture.
    Kick {
        /// The member.
        target_uid: UserId,
    },
    /// Puts a member out, if present, and refuses its user id, session and token for the rest of the lecture, and its
    /// network too, unless another member shares the network.
    Ban {
        /// The member.
        target_uid: UserId,
    },
    /// Lifts a kick or a ban.
    Unban {
        /// The user id that was put out.
        target_uid: UserId,
    },
    /// Refuses newcomers, or admits them again.
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
    /// Refuses a client that waits.
    Deny {
        /// The client.
        target_uid: UserId,
    },
}
