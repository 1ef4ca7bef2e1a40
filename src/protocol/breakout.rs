//! Breakout rooms: the parts into which the owner splits a meeting, or the teacher the students of a lecture.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{RoomName, UserId};

/// The fewest and the most breakout rooms of a room.
pub const MIN_BREAKOUTS: u32 = 2;
/// See [`MIN_BREAKOUTS`].
pub const MAX_BREAKOUTS: u32 = 20;

/// How long members still have in their breakout rooms when the owner calls them back or has left, in seconds: a
/// sentence to its end.
pub const RECALL_S: u32 = 30;

/// The longest limit of breakout rooms, in seconds: a day.
pub const MAX_BREAKOUT_S: u32 = 86_400;

/// The most members that [`Breakouts::here`] names: more than a breakout room takes.
pub const MAX_LISTED_HERE: usize = 50;

/// The breakout rooms of a meeting or a lecture, as one member sees them. Replaces the last message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breakouts {
    /// The number of breakout rooms, which are numbered from 1; 0 once they are over.
    pub rooms: u32,
    /// The place of the receiver: a breakout room, or 0 for the meeting or the lecture.
    pub at: u32,
    /// The breakout room to which the receiver is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<u32>,
    /// The time until everybody is moved back, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_ms: Option<u64>,
    /// Whether everybody is called back, and the time is not just a limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_recalled: bool,
    /// The names of the breakout rooms in the order of their numbers; absent if none has a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Option<RoomName>>,
    /// The members that are where the receiver is, the receiver included. Absent if these are more than
    /// [`MAX_LISTED_HERE`], and for those who stay in a lecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub here: Vec<UserId>,
    /// To members that moderate: the place of each member, of at most
    /// [`MAX_LISTED_USERS`](super::MAX_LISTED_USERS).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<UserId, u32>,
}

impl Breakouts {
    /// The name of a breakout room, if it has one.
    pub fn name(&self, breakout: u32) -> Option<&RoomName> {
        self.names.get((breakout as usize).checked_sub(1)?)?.as_ref()
    }
}
