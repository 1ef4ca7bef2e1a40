//! Messages that wait: for a member whose connection was lost, and for the next batch of presence.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::RoomLimits;
use crate::id::UserId;
use crate::protocol::{LeaveReason, MAX_LISTED_USERS, PUBLISHER_QUEUE_BYTES, STUDENT_QUEUE_BYTES, ServerMessage, User};

/// The most messages that wait for a student: one negotiation.
const STUDENT_MESSAGES: usize = 64;

/// The most messages that wait for a publisher: a class of 2,000 that joined meanwhile, candidates included.
const PUBLISHER_MESSAGES: usize = 16_384;

/// The most text that waits for a student whose connection is lost, in bytes. It must fit into the queue of the next
/// connection, beside the list of users.
const STUDENT_BYTES: usize = STUDENT_QUEUE_BYTES / 4;

/// The most text that waits for a publisher whose connection is lost, in bytes.
const PUBLISHER_BYTES: usize = PUBLISHER_QUEUE_BYTES;

/// Joins in one batch: 30 kB with the longest names, so that a crowd does not fill the queues of those who are there.
const JOINS_PER_BATCH: usize = 100;

/// Leaves in one batch: 70 kB with the longest ids.
const LEAVES_PER_BATCH: usize = 1_000;

/// The messages for a member whose connection is lost.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    messages: Vec<ServerMessage>,
    bytes: usize,
}

impl Mailbox {
    /// Keeps a message; false if the mailbox is full, and then the sender gets an error.
    pub(super) fn push(&mut self, message: ServerMessage, to_publisher: bool) -> bool {
        let (most, most_bytes) =
            if to_publisher { (PUBLISHER_MESSAGES, PUBLISHER_BYTES) } else { (STUDENT_MESSAGES, STUDENT_BYTES) };
        let bytes = self.bytes + text_bytes(&message);
        if self.messages.len() >= most || bytes > most_bytes {
            return false;
        }
        self.bytes = bytes;
        self.messages.push(message);
        true
    }

    pub(super) fn into_messages(self) -> Vec<ServerMessage> {
        self.messages
    }
}

/// The bytes of the long field; the rest is small and bounded.
fn text_bytes(message: &ServerMessage) -> usize {
    match message {
        ServerMessage::Offer { sdp, .. } | ServerMessage::Answer { sdp, .. } => sdp.len(),
        ServerMessage::Candidate { candidate, .. } => candidate.candidate.len(),
        ServerMessage::Error { message, .. } => message.len(),
        _ => 0,
    }
}

/// The interval between batches in a crowd, as a multiple of that in a smaller room: each batch goes to everybody.
const CROWD_INTERVALS: u32 = 10;

/// The joins and leaves of students that other students have not heard of yet. A batch becomes at most four messages.
///
/// In a crowd, a room with more than [`MAX_LISTED_USERS`] members, students hear of no further joins: names for
/// everybody would grow with the square of the members. They hear of leaves and of the number of members.
#[derive(Debug, Default)]
pub(super) struct Presence {
    joins: BTreeMap<UserId, User>,
    leaves: BTreeMap<UserId, LeaveReason>,
    due: Option<Instant>,
}

impl Presence {
    /// The interval between batches in a room with this number of members.
    pub(super) fn interval(members: usize, limits: &RoomLimits) -> Duration {
        let intervals = if members > MAX_LISTED_USERS { CROWD_INTERVALS } else { 1 };
        limits.presence_interval * intervals
    }

    pub(super) fn joined(&mut self, now: Instant, user: &User, interval: Duration) {
        self.joins.insert(user.user_id.clone(), user.clone());
        self.due.get_or_insert(now + interval);
    }

    /// Keeps the leave also if the join is in the same batch: a member who joined later has seen this user in `joined`.
    pub(super) fn left(&mut self, now: Instant, user: &UserId, reason: LeaveReason, interval: Duration) {
        self.joins.remove(user);
        self.leaves.insert(user.clone(), reason);
        self.due.get_or_insert(now + interval);
    }

    /// Removes a user whom everybody hears of in another way.
    pub(super) fn forget(&mut self, user: &UserId) {
        self.joins.remove(user);
        self.leaves.remove(user);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The next batch for a room with this number of members: leaves by reason, then joins, so that a user who did both
    /// is in the room. If this is not all, another batch is due at `next`.
    pub(super) fn take(&mut self, next: Instant, members: usize) -> Vec<ServerMessage> {
        if members > MAX_LISTED_USERS {
            self.joins.clear();
        }
        let mut by_reason: BTreeMap<LeaveReason, Vec<UserId>> = BTreeMap::new();
        for (user, reason) in std::iter::from_fn(|| self.leaves.pop_first()).take(LEAVES_PER_BATCH) {
            by_reason.entry(reason).or_default().push(user);
        }
        let mut messages: Vec<_> =
            by_reason.into_iter().map(|(reason, users)| ServerMessage::Leave { users, reason }).collect();
        // A join must not overtake the leave of the same user.
        let joins = if self.leaves.is_empty() { JOINS_PER_BATCH } else { 0 };
        let joins = std::iter::from_fn(|| self.joins.pop_first()).take(joins);
        let users: Vec<User> = joins.map(|(_, user)| user).collect();
        self.due = (!self.joins.is_empty() || !self.leaves.is_empty()).then_some(next);
        if !users.is_empty() {
            messages.push(ServerMessage::Join { users });
        }
        messages
    }
}
