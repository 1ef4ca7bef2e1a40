//! Orders of the members that moderate a room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::channel::ChatText;
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
    /// Switches the microphone of a participant of a meeting off, or those of all that do not moderate. Each of them is
    /// told by an order that names it, switches its microphone off, and on again when it wants: nobody opens the
    /// microphone of somebody else.
    MuteMicrophone {
        /// The participant; none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_uid: Option<UserId>,
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
    /// Splits a meeting, or the students of a lecture, into breakout rooms, perhaps anew, and moves all members there
    /// that do not moderate; of a lecture, only those with a page.
    Split {
        /// The number of breakout rooms, from [`MIN_BREAKOUTS`](super::MIN_BREAKOUTS) to
        /// [`MAX_BREAKOUTS`](super::MAX_BREAKOUTS), and not more than members.
        rooms: u32,
        /// The breakout rooms of some members; 0 leaves a member where it is. The others are distributed evenly and
        /// at random.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        assign: BTreeMap<UserId, u32>,
        /// The time after which everybody is moved back, in seconds, at most
        /// [`MAX_BREAKOUT_S`](super::MAX_BREAKOUT_S).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit_s: Option<u32>,
    },
    /// Assigns a member to another breakout room, and moves it there.
    Assign {
        /// The member.
        target_uid: UserId,
        /// The breakout room; 0 for the meeting or the lecture.
        breakout: u32,
    },
    /// Names a breakout room.
    NameBreakout {
        /// The breakout room.
        breakout: u32,
        /// The name; none for the number alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<RoomName>,
    },
    /// Sends a sentence to everybody, in breakout rooms and outside of them.
    Announce {
        /// The sentence.
        text: ChatText,
    },
    /// Moves everybody back.
    Recall {
        /// In this time, in seconds; 0 for at once.
        #[serde(default)]
        within_s: u32,
    },
}
