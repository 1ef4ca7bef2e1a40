//! The calls that ring: each rings at one member, from one caller, until a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::id::UserId;
use crate::protocol::TrackName;

/// A call that rings.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    pub(super) caller: UserId,
    /// The tracks that the caller will send.
    pub(super) sends: Vec<TrackName>,
    pub(super) until: Instant,
}

/// All calls of a room that ring, by the member at whom they ring.
#[derive(Debug, Default)]
pub(super) struct Rings {
    at: BTreeMap<UserId, Ring>,
    /// Not later than the end of the first one.
    due: Option<Instant>,
}

impl Rings {
    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// The call that rings at this member.
    pub(super) fn at(&self, callee: &UserId) -> Option<&Ring> {
        self.at.get(callee)
    }

    /// One of the calls.
    pub(super) fn any(&self) -> Option<&Ring> {
        self.at.values().next()
    }

    /// The members at whom a call of this one rings.
    pub(super) fn callees(&self, caller: &UserId) -> Vec<UserId> {
        self.at.iter().filter(|(_, ring)| ring.caller == *caller).map(|(callee, _)| callee.clone()).collect()
    }

    /// Those whose calls ring, each once.
    pub(super) fn callers(&self) -> Vec<UserId> {
        let callers: BTreeSet<&UserId> = self.at.values().map(|ring| &ring.caller).collect();
        callers.into_iter().cloned().collect()
    }

    /// Whether a call of this member rings.
    pub(super) fn is_calling(&self, caller: &UserId) -> bool {
        self.at.values().any(|ring| ring.caller == *caller)
    }

    pub(super) fn start(&mut self, callee: UserId, ring: Ring) {
        self.due = Some(self.due.map_or(ring.until, |due| due.min(ring.until)));
        self.at.insert(callee, ring);
    }

    pub(super) fn stop(&mut self, callee: &UserId) -> Option<Ring> {
        self.at.remove(callee)
    }

    /// When [`Rings::over`] has to be asked.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes out the calls that nobody has answered in time.
    pub(super) fn over(&mut self, now: Instant) -> Vec<(UserId, Ring)> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let over = self.at.extract_if(.., |_, ring| ring.until <= now).collect();
        self.due = self.at.values().map(|ring| ring.until).min();
        over
    }
}
