//! How long a room is there while nobody is in it.

use std::time::{Duration, Instant};

use super::RoomLimits;

/// What decides whether an empty room stays.
#[derive(Debug)]
pub(super) struct Retention {
    /// Made by [`super::Rooms::create`], and not by its first user.
    created: bool,
    /// Since when the teacher has said that the lecture is over.
    ended: Option<Instant>,
    /// The teacher said goodbye, and may come back.
    left: bool,
    /// Nobody is in.
    unused: Option<Unused>,
}

#[derive(Debug)]
struct Unused {
    since: Instant,
    until: Instant,
}

impl Retention {
    /// Of a room that somebody is about to enter.
    pub(super) fn opened(now: Instant) -> Self {
        Self { created: false, ended: None, left: false, unused: Some(Unused { since: now, until: now }) }
    }

    /// Of a room that somebody may enter later.
    pub(super) fn created(now: Instant, limits: &RoomLimits) -> Self {
        let mut retention = Self { created: true, ended: None, left: false, unused: None };
        retention.emptied(now, limits);
        retention
    }

    /// Somebody came in; a teacher begins anew.
    pub(super) fn entered(&mut self, publishes: bool) {
        self.unused = None;
        if publishes {
            (self.ended, self.left) = (None, false);
        }
    }

    /// The teacher said goodbye, and may come back.
    pub(super) fn left(&mut self) {
        self.left = true;
    }

    /// The teacher said that the lecture is over.
    pub(super) fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// The last one went, or has gone before.
    pub(super) fn emptied(&mut self, now: Instant, limits: &RoomLimits) {
        let stays = match self.ended {
            Some(_) => limits.ended_stays,
            None if self.created => limits.created_stays,
            None if self.left => limits.ended_stays,
            None => Duration::ZERO,
        };
        self.unused.get_or_insert(Unused { since: now, until: now + stays });
    }

    /// Since when the lecture is over.
    pub(super) fn ended_at(&self) -> Option<Instant> {
        self.ended
    }

    /// When the room goes, if nobody comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unused.as_ref().map(|unused| unused.until)
    }

    /// Whether the room goes now.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// Which unused room makes place first: of those where the lecture is over, then of the others, the oldest.
    pub(super) fn rank(&self) -> Option<(Eviction, Instant)> {
        let eviction = if self.ended.is_some() || (self.left && !self.created) {
            Eviction::LectureOver
        } else {
            Eviction::LecturePending
        };
        self.unused.as_ref().map(|unused| (eviction, unused.since))
    }
}

/// What an unused room is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Eviction {
    /// The lecture is over; or its teacher left, and nobody waits in a room that nobody created.
    LectureOver,
    /// The lecture has not been yet.
    LecturePending,
}
