//! How long an empty room stays.

use std::time::{Duration, Instant};

use super::RoomLimits;

/// The facts that decide whether an empty room stays.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Whether [`super::Rooms::create`] made the room, and not its first member.
    created: bool,
    /// Whether the room stays until the server ends.
    reserved: bool,
    /// When the teacher ended the lecture.
    ended: Option<Instant>,
    /// Whether the teacher said goodbye without ending the lecture.
    left: bool,
    /// Set while the room is empty.
    unused: Option<Unused>,
}

#[derive(Debug)]
struct Unused {
    since: Instant,
    until: Instant,
}

impl Retention {
    /// For a room that a client is about to enter.
    pub(super) fn opened(now: Instant) -> Self {
        Self { unused: Some(Unused { since: now, until: now }), ..Self::default() }
    }

    /// For a room that stays until the server ends.
    pub(super) fn reserved() -> Self {
        Self { reserved: true, ..Self::default() }
    }

    /// For a room that was created for later.
    pub(super) fn created(now: Instant, limits: &RoomLimits) -> Self {
        let mut retention = Self { created: true, ..Self::default() };
        retention.emptied(now, false, limits);
        retention
    }

    /// For a room that somebody created who may not teach.
    pub(super) fn awaited(now: Instant, limits: &RoomLimits) -> Self {
        Self { unused: Some(Unused { since: now, until: now + limits.ended_stays }), ..Self::default() }
    }

    /// A member joined; a teacher starts a new lecture.
    pub(super) fn entered(&mut self, publishes: bool) {
        self.unused = None;
        if publishes {
            (self.ended, self.left) = (None, false);
        }
    }

    /// The teacher said goodbye and may come back.
    pub(super) fn left(&mut self) {
        self.left = true;
    }

    /// The teacher ended the lecture.
    pub(super) fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// The room is empty. `is_owned`: a teacher may come back to it.
    pub(super) fn emptied(&mut self, now: Instant, is_owned: bool, limits: &RoomLimits) {
        if self.reserved {
            return;
        }
        let stays = match self.ended {
            Some(_) => limits.ended_stays,
            None if self.created => limits.created_stays,
            None if self.left => limits.ended_stays,
            None if is_owned => limits.owned_stays,
            None => Duration::ZERO,
        };
        self.unused.get_or_insert(Unused { since: now, until: now + stays });
    }

    /// Whether the room was created for later, or reserved.
    pub(super) fn is_created(&self) -> bool {
        self.created || self.reserved
    }

    /// When the lecture ended.
    pub(super) fn ended_at(&self) -> Option<Instant> {
        self.ended
    }

    /// When the room is removed, if nobody joins.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unused.as_ref().map(|unused| unused.until)
    }

    /// Whether the room is due for removal.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// The rank of an empty room when the server is full; lower goes first, and of equal ranks the room that is empty
    /// for longest.
    pub(super) fn rank(&self) -> Option<(Eviction, Instant)> {
        let eviction = if self.ended.is_some() || (self.left && !self.created) {
            Eviction::LectureOver
        } else {
            Eviction::LecturePending
        };
        self.unused.as_ref().map(|unused| (eviction, unused.since))
    }
}

/// Which empty rooms are removed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Eviction {
    /// The lecture is over, or its teacher left a room that nobody created.
    LectureOver,
    /// The lecture has not started.
    LecturePending,
}
