//! A budget that all students share. When they want more than it has, the students who used it most are refused first.

use std::time::{Duration, Instant};

use crate::token_bucket::TokenBucket;

/// The time constant with which earlier use is forgotten.
pub(super) const MEMORY: Duration = Duration::from_secs(10);

/// A rate and a burst for all students together.
///
/// A student needs more tokens in the bucket, the more of it this student used lately. So the bucket stays at the level
/// at which all who want more than their share get the same rate, and a student who uses less than that is not refused:
/// max-min fairness without a queue.
#[derive(Debug)]
pub(super) struct SharedBudget {
    tokens: TokenBucket,
    /// The tokens that must stay for the others, for each token that a student used lately.
    reserve: f64,
}

/// A student's recent use of a budget, in tokens.
#[derive(Debug, Default)]
pub(super) struct RecentUse {
    tokens: f64,
    counted: Option<Instant>,
}

impl SharedBudget {
    /// A full budget. A student who used `heaviest` tokens lately is refused even if nobody else wants any.
    pub(super) fn new(per_second: u32, burst: u32, heaviest: u32) -> Self {
        Self { tokens: TokenBucket::new(per_second, burst), reserve: f64::from(burst) / f64::from(heaviest) }
    }

    /// Takes a token for a student. If this student must leave what is left to others, returns how long at most.
    pub(super) fn take(&mut self, now: Instant, used: &mut RecentUse) -> Result<(), Duration> {
        let recent = used.at(now);
        self.tokens.take_above(now, recent * self.reserve)?;
        *used = RecentUse { tokens: recent + 1.0, counted: Some(now) };
        Ok(())
    }
}

impl RecentUse {
    fn at(&self, now: Instant) -> f64 {
        let Some(counted) = self.counted else { return 0.0 };
        self.tokens * (-now.saturating_duration_since(counted).as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tokens each student gets in `seconds`, if the nth asks `rates[n]` times a second.
    fn shares(budget: &mut SharedBudget, rates: &[u32], seconds: u32) -> Vec<u32> {
        let (start, mut used) = (Instant::now(), Vec::new());
        used.resize_with(rates.len(), RecentUse::default);
        let mut got = vec![0; rates.len()];
        for ms in 0..seconds * 1_000 {
            for (n, rate) in rates.iter().enumerate() {
                let is_due = (ms + n as u32).is_multiple_of(1_000 / rate);
                let now = start + Duration::from_millis(ms.into());
                if is_due && budget.take(now, &mut used[n]).is_ok() {
                    got[n] += 1;
                }
            }
        }
        got
    }

    #[test]
    fn who_wants_less_than_a_share_gets_it_and_the_others_get_the_same() {
        let mut budget = SharedBudget::new(20, 100, 40);
        let got = shares(&mut budget, &[1, 2, 20, 50, 50, 100], 60);
        assert_eq!(got[..2], [60, 120], "they want less than a share: {got:?}");
        // 20 a second for 60 s and the burst, without what the first two got.
        let share = (20 * 60 + 100 - 180) / 4;
        assert!(got[2..].iter().all(|got| got.abs_diff(share) < share / 5), "{got:?}, a share is {share}");
    }

    #[test]
    fn a_student_alone_gets_the_whole_rate_of_a_student() {
        let got = shares(&mut SharedBudget::new(20, 100, 40), &[2], 60);
        assert_eq!(got, [120]);
    }

    #[test]
    fn the_heaviest_use_is_refused_even_alone() {
        let (mut budget, now, mut used) = (SharedBudget::new(20, 600, 5), Instant::now(), RecentUse::default());
        assert_eq!((0..10).filter(|_| budget.take(now, &mut used).is_ok()).count(), 5);
        assert!(budget.take(now + MEMORY, &mut used).is_ok());
    }
}
