//! The budgets of one user for what its peers may request. They outlive a connection: a student that offers again and
//! again must not get fresh ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::key_frames::KeyFrameBudget;
use super::retransmission::RetransmissionBudget;

/// Connections that may start with a key frame of their own at once, and the interval in which another one may. Most
/// start with one that is in the ring, which costs nobody anything. Six are enough for a page that is loaded again and
/// again by somebody who looks for a fault.
const STARTS_AT_ONCE: u32 = 6;
const START_INTERVAL: Duration = Duration::from_secs(4);

/// Changes of layers that each make one key frame free, and the interval in which another one does. One connection
/// changes its layers less often.
const CHANGES_AT_ONCE: u32 = 4;
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);

/// The budgets of one user, shared by its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestBudgets(Arc<Mutex<Budgets>>);

#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) key_frames: KeyFrameBudget,
    pub(super) retransmissions: RetransmissionBudget,
    starts: Allowance,
    changes: Allowance,
}

impl Default for Budgets {
    /// Full budgets.
    fn default() -> Self {
        Self {
            key_frames: KeyFrameBudget::default(),
            retransmissions: RetransmissionBudget::default(),
            starts: Allowance::new(STARTS_AT_ONCE, START_INTERVAL),
            changes: Allowance::new(CHANGES_AT_ONCE, CHANGE_INTERVAL),
        }
    }
}

impl RequestBudgets {
    pub(super) fn lock(&self) -> MutexGuard<'_, Budgets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses up all budgets.
    pub(crate) fn empty(&self, now: Instant) {
        let mut budgets = self.lock();
        budgets.key_frames.empty(now);
        budgets.retransmissions = RetransmissionBudget::empty();
        budgets.starts.empty(now);
        budgets.changes.empty(now);
    }
}

impl Budgets {
    /// Whether a connection may start with a new key frame that does not count as a request.
    pub(super) fn may_start(&mut self, now: Instant) -> bool {
        self.starts.take(now)
    }

    /// The peer gets other layers and may lose the key frame that they start with.
    pub(super) fn on_layer_change(&mut self, now: Instant) {
        if self.changes.take(now) {
            self.key_frames.on_layer_change();
        }
    }
}

/// So many at once, and then one in each interval.
#[derive(Debug)]
struct Allowance {
    most: u32,
    interval: Duration,
    /// When all of them are there again.
    full: Option<Instant>,
}

impl Allowance {
    fn new(most: u32, interval: Duration) -> Self {
        Self { most, interval, full: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let full = self.full.map_or(now, |full| full.max(now)) + self.interval;
        let passes = full.saturating_duration_since(now) <= self.interval * self.most;
        if passes {
            self.full = Some(full);
        }
        passes
    }

    fn empty(&mut self, now: Instant) {
        self.full = Some(now + self.interval * self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back_one_by_one() {
        let (mut allowance, now) = (Allowance::new(3, Duration::from_secs(4)), Instant::now());
        let taken = |allowance: &mut Allowance, at: u64| {
            (0..10).filter(|_| allowance.take(now + Duration::from_secs(at))).count()
        };
        assert_eq!([0, 3, 4, 9, 100].map(|at| taken(&mut allowance, at)), [3, 0, 1, 1, 3]);
        allowance.empty(now + Duration::from_secs(200));
        assert_eq!([200, 203, 204].map(|at| taken(&mut allowance, at)), [0, 0, 1]);
    }
}
