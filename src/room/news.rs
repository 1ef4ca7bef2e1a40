//! When changes are told.

use std::time::{Duration, Instant};

/// Changes that have to be told, all in one message, and not too often.
#[derive(Debug, Default)]
pub(super) struct News {
    due: Option<Instant>,
    /// The earliest time of the next message.
    rests_until: Option<Instant>,
}

impl News {
    /// Something has changed, and may be told after `wait`.
    pub(super) fn changed(&mut self, now: Instant, wait: Duration) {
        let due = self.rests_until.map_or(now, |rest| rest.max(now)).max(now + wait);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Whether it is time to tell the changes; the next message follows after `interval`.
    pub(super) fn take(&mut self, now: Instant, interval: Duration) -> bool {
        let is_due = self.due.take_if(|due| *due <= now).is_some();
        if is_due {
            self.rests_until = Some(now + interval);
        }
        is_due
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}
