//! How long something took, many times: a histogram of fixed size.

use std::time::Duration;

/// Steps in which a doubling is divided: a percentile is at most an eighth too high.
const STEPS: usize = 8;

/// Doublings of a microsecond that are told apart: up to 33 s, all above counts as that.
const DOUBLINGS: usize = 25;

const BUCKETS: usize = STEPS * DOUBLINGS;

/// Delays, counted in buckets that grow with the delay; recording is an addition, merging is two hundred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delays {
    counts: Box<[u64; BUCKETS]>,
}

impl Default for Delays {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]) }
    }
}

impl Delays {
    /// Counts `times` things that all took `delay`.
    pub fn record(&mut self, delay: Duration, times: u64) {
        self.counts[bucket(delay.as_micros().try_into().unwrap_or(u64::MAX))] += times;
    }

    /// Adds all that `other` has counted.
    pub fn merge(&mut self, other: &Delays) {
        self.counts.iter_mut().zip(other.counts.iter()).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// What was counted since `before`, an earlier copy of the same histogram.
    #[must_use]
    pub fn since(&self, before: &Delays) -> Delays {
        let mut since = self.clone();
        since.counts.iter_mut().zip(before.counts.iter()).for_each(|(now, then)| *now = now.saturating_sub(*then));
        since
    }

    /// How many things were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The delay that `share` (0 to 1) of all things did not exceed, rounded up to its bucket; none where nothing was
    /// counted.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(upper_end(found)))
    }
}

/// The bucket of a delay: below [`STEPS`] one for each microsecond, above it one for each eighth of a doubling.
fn bucket(micros: u64) -> usize {
    let steps = STEPS as u64;
    if micros < steps {
        return micros as usize;
    }
    let doublings = (micros / steps).ilog2();
    let step = (micros >> doublings) - steps;
    ((u64::from(doublings) + 1) * steps + step).min(BUCKETS as u64 - 1) as usize
}

/// The first microsecond that is in a later bucket.
fn upper_end(bucket: usize) -> u64 {
    let (doublings, step) = ((bucket / STEPS).saturating_sub(1), bucket % STEPS);
    let first = if bucket < STEPS { 0 } else { STEPS as u64 };
    (first + step as u64 + 1) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap_and_hold_what_belongs_there() {
        for n in 1..BUCKETS {
            assert_eq!(bucket(upper_end(n - 1)), n, "the end of one is the begin of the next");
            assert_eq!(bucket(upper_end(n) - 1), n);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!(upper_end(BUCKETS - 1) > 30_000_000);
    }

    #[test]
    fn percentiles_are_an_eighth_too_high_at_most() {
        let mut delays = Delays::default();
        assert_eq!(delays.percentile(0.5), None);
        for n in 1..=1000u64 {
            delays.record(Duration::from_micros(n * 100), 1);
        }
        for (share, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0), (0.0, 100.0)] {
            let micros = delays.percentile(share).unwrap().as_micros() as f64;
            assert!(micros >= exact && micros <= exact * 1.13 + 1.0, "{share}: {micros} for {exact}");
        }
    }

    #[test]
    fn what_was_counted_before_is_left_out() {
        let mut delays = Delays::default();
        delays.record(Duration::from_secs(20), 1000);
        let before = delays.clone();
        let mut other = Delays::default();
        other.record(Duration::from_millis(2), 9);
        delays.merge(&other);
        let since = delays.since(&before);
        assert_eq!((since.count(), &since), (9, &other));
        assert!(since.percentile(0.99).unwrap() < Duration::from_millis(3));
    }
}
