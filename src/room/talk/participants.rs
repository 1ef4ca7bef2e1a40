//! The members of a room as the conversation knows them: names and rights from signalling, and what each has used.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::shares::RecentUse;
use super::{Refusal, STUDENT_BURST, STUDENT_PER_SECOND};
use crate::id::{Named, Nickname, UserId, named};
use crate::protocol::{ErrorCode, User};
use crate::token_bucket::TokenBucket;

/// How long the pace of a student who left is remembered, so that nobody gets a new one by coming back: as long as slow
/// mode lets a student wait at most.
const REMEMBERED_FOR: Duration = super::MAX_SLOW;

/// The most students who left and are remembered.
const MAX_REMEMBERED: usize = 1_000;

/// The most ids in a sentence about students with the same name.
const MAX_NAMESAKES: usize = 5;

/// The facts about one member.
#[derive(Debug)]
pub(super) struct Participant {
    pub(super) nickname: Nickname,
    /// Whether signalling says that this member may keep order.
    pub(super) moderates: bool,
    /// Limits the messages of this member, of whatever type.
    pub(super) pace: TokenBucket,
    /// When this member was last told of an error.
    pub(super) complained: Option<Instant>,
    /// When this member's last chat message was accepted.
    pub(super) said: Option<Instant>,
    pub(super) chat: RecentUse,
    pub(super) reactions: RecentUse,
    pub(super) hands: RecentUse,
    has_spoken: bool,
    left: Option<Instant>,
}

/// All members, and those who left a short time ago.
#[derive(Debug, Default)]
pub(super) struct Participants {
    known: HashMap<UserId, Participant>,
    /// Students who left after they had spoken, the first one first.
    departures: VecDeque<(Instant, UserId)>,
}

impl Default for Participant {
    fn default() -> Self {
        Self {
            nickname: "".into(),
            moderates: false,
            pace: TokenBucket::new(STUDENT_PER_SECOND, STUDENT_BURST),
            complained: None,
            said: None,
            chat: RecentUse::default(),
            reactions: RecentUse::default(),
            hands: RecentUse::default(),
            has_spoken: false,
            left: None,
        }
    }
}

impl Participants {
    pub(super) fn joined(&mut self, user: &User) {
        let participant = self.known.entry(user.user_id.clone()).or_default();
        participant.nickname = user.nickname.clone();
        participant.moderates = user.moderates;
        participant.left = None;
    }

    /// Forgets a member who left, at once or after [`REMEMBERED_FOR`].
    pub(super) fn left(&mut self, now: Instant, user: &UserId) {
        match self.known.get_mut(user) {
            Some(participant) if participant.has_spoken => participant.left = Some(now),
            _ => {
                self.known.remove(user);
                return;
            }
        }
        self.departures.push_back((now, user.clone()));
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= REMEMBERED_FOR;
        while self.departures.len() > MAX_REMEMBERED || self.departures.front().is_some_and(|(at, _)| is_over(at)) {
            let Some((at, user)) = self.departures.pop_front() else { break };
            // Otherwise the student has come back, and perhaps left again.
            if self.known.get(&user).is_some_and(|participant| participant.left == Some(at)) {
                self.known.remove(&user);
            }
        }
    }

    /// The sender of a message. A sender has a connection, so there are at most as many as students.
    pub(super) fn sender(&mut self, user: &UserId) -> &mut Participant {
        let participant = self.known.entry(user.clone()).or_default();
        participant.has_spoken = true;
        participant.left = None;
        participant
    }

    /// A member who is in the room.
    pub(super) fn get(&self, user: &UserId) -> Option<&Participant> {
        self.known.get(user).filter(|participant| participant.left.is_none())
    }

    /// The members who are in the room.
    pub(super) fn present(&self) -> impl Iterator<Item = (&UserId, &Participant)> {
        self.known.iter().filter(|(_, participant)| participant.left.is_none())
    }

    pub(super) fn nickname(&self, user: &UserId) -> Nickname {
        self.known.get(user).map_or_else(|| "".into(), |participant| participant.nickname.clone())
    }

    pub(super) fn named<'a>(&'a self, user: &'a UserId) -> Named<'a> {
        named(user, self.known.get(user).map_or("", |participant| participant.nickname.as_str()))
    }

    /// How many members are known, also of those who left.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.known.len()
    }

    /// The member with this id, or the only one with this nickname.
    pub(super) fn find(&self, text: &str) -> Result<UserId, Refusal> {
        if let Ok(user) = text.parse()
            && self.get(&user).is_some()
        {
            return Ok(user);
        }
        let wanted = text.to_lowercase();
        let mut users: Vec<&UserId> = self
            .present()
            .filter(|(_, participant)| participant.nickname.as_str().to_lowercase() == wanted)
            .map(|(user, _)| user)
            .collect();
        users.sort_unstable();
        match users.as_slice() {
            [] => Err((ErrorCode::UnknownTarget, format!("nobody in the room has the id or the name {text}"))),
            [user] => Ok((*user).clone()),
            several => {
                let ids: Vec<&str> = several.iter().take(MAX_NAMESAKES).map(|user| user.as_str()).collect();
                let count = several.len();
                let sentence = format!("{count} students are called {text}, give an id: {}", ids.join(", "));
                Err((ErrorCode::UnknownTarget, sentence))
            }
        }
    }
}
