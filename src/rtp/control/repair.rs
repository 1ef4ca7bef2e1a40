//! How much one student may ask for again: what it asks beyond that is its own loss, and nobody else's.

use std::time::{Duration, Instant};

/// Repairs per packet that is sent: at 20 % of lost packets all of them, with some to spare.
const SHARE: f32 = 0.25;

/// The same while a queue grows in front of the student, which repairs would make longer.
const SHARE_WHEN_DELAYED: f32 = 0.05;

/// Repairs that are saved up: a key frame that was lost.
const BURST: f32 = 100.0;

/// Whether a packet may be sent again.
#[derive(Debug)]
pub struct RepairBudget {
    left: f32,
}

impl Default for RepairBudget {
    /// A full one.
    fn default() -> Self {
        Self { left: BURST }
    }
}

impl RepairBudget {
    /// So many packets are sent for the first time. `delayed` is [`Trouble::Delay`](super::Trouble::Delay).
    pub fn sent(&mut self, packets: usize, delayed: bool) {
        let share = if delayed { SHARE_WHEN_DELAYED } else { SHARE };
        self.left = (self.left + packets as f32 * share).min(BURST);
    }

    /// Whether one may be asked for again.
    pub fn has(&self) -> bool {
        self.left >= 1.0
    }

    /// One is asked for again.
    pub fn take(&mut self) -> bool {
        let passes = self.has();
        if passes {
            self.left -= 1.0;
        }
        passes
    }
}

/// A student gets so many recovery key frames at once: that of its start, and one more.
const KEYS_AT_ONCE: u32 = 2;

/// And then one in this time. A key frame is some ten pictures for all who watch the same, so one student that begs all
/// the time costs them 8 %.
const KEY_INTERVAL: Duration = Duration::from_secs(4);

/// Whether a student's wish for a key frame is passed on to [`KeyRequests`](crate::rtp::KeyRequests), which join those of
/// the class.
#[derive(Debug, Default)]
pub struct KeyBudget {
    /// When all that was taken is earned again.
    earned: Option<Instant>,
}

impl KeyBudget {
    /// Whether one may be asked for.
    pub fn has(&self, now: Instant) -> bool {
        self.earned.is_none_or(|at| at.saturating_duration_since(now) <= KEY_INTERVAL * (KEYS_AT_ONCE - 1))
    }

    /// One is asked for.
    pub fn take(&mut self, now: Instant) -> bool {
        let passes = self.has(now);
        if passes {
            self.earned = Some(self.earned.map_or(now, |at| at.max(now)) + KEY_INTERVAL);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a minute's packets are sent again to a student that wants all of them, all the time.
    fn repaired(delayed: bool) -> usize {
        let mut budget = RepairBudget::default();
        let mut repaired = 0;
        for _ in 0..60 * 30 {
            budget.sent(9, delayed);
            repaired += (0..100).filter(|_| budget.has() && budget.take()).count();
            assert!(!budget.has());
        }
        repaired
    }

    #[test]
    fn who_wants_everything_again_gets_a_quarter() {
        let sent = 60 * 30 * 9;
        assert!((sent / 4..=sent / 4 + 100).contains(&repaired(false)), "{}", repaired(false));
        assert!(repaired(true) <= sent / 20 + 100, "{}", repaired(true));
    }

    #[test]
    fn an_honest_student_gets_all() {
        let mut budget = RepairBudget::default();
        for n in 0..10_000 {
            budget.sent(1, false);
            assert!(n % 5 != 0 || budget.take());
        }
        assert!((0..90).all(|_| budget.take()), "a key frame, too");
    }

    #[test]
    fn who_begs_fifty_times_a_second_gets_a_key_frame_in_four() {
        let (mut budget, now) = (KeyBudget::default(), Instant::now());
        let given = (0..60 * 50).filter(|n| budget.take(now + Duration::from_millis(20 * n))).count();
        assert_eq!(given, 2 + 14, "{given}");
        let later = now + Duration::from_secs(600);
        assert_eq!((0..50).filter(|_| budget.take(later)).count(), 2);
    }
}
