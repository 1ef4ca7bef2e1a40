//! Counts delays.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer delays are counted as this one.
const MOST: Duration = Duration::from_secs(33);

/// Significant decimal digits of a percentile: it is at most a sixteenth too high.
const DIGITS: u8 = 1;

/// A histogram of delays in microseconds, 3 kB in size.
#[derive(Debug, Clone, PartialEq)]
pub struct Delays(Histogram<u64>);

impl Default for Delays {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MOST.as_micros() as u64, DIGITS);
        Self(histogram.expect("these bounds are valid"))
    }
}

impl Delays {
    /// Counts `times` things that all took `delay`.
    pub fn record(&mut self, delay: Duration, times: u64) {
        self.0.saturating_record_n(delay.as_micros().try_into().unwrap_or(u64::MAX), times);
    }

    /// Adds everything `other` has counted.
    pub fn merge(&mut self, other: &Delays) {
        // Fails for other bounds only.
        let _ = self.0.add(&other.0);
    }

    /// The delays counted since `before`, an earlier copy of the same histogram; all delays if `before` is not one.
    #[must_use]
    pub fn since(&self, before: &Delays) -> Delays {
        let mut since = self.clone();
        if since.0.subtract(&before.0).is_err() {
            return self.clone();
        }
        since
    }

    /// The number of delays counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The delay that `share` (0 to 1) of all delays did not exceed, rounded up; `None` if nothing was counted.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(share)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_beyond_the_bound_counts_as_the_bound() {
        let mut delays = Delays::default();
        delays.record(Duration::from_secs(3_600), 1);
        assert!((MOST..MOST * 17 / 16).contains(&delays.percentile(0.5).unwrap()));
        assert!(size_of_val(&delays) + 8 * delays.0.distinct_values() < 3_500);
    }

    #[test]
    fn percentiles_are_at_most_a_sixteenth_too_high() {
        let mut delays = Delays::default();
        assert_eq!(delays.percentile(0.5), None);
        for n in 1..=1000u64 {
            delays.record(Duration::from_micros(n * 100), 1);
        }
        for (share, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0), (0.0, 100.0)] {
            let micros = delays.percentile(share).unwrap().as_micros() as f64;
            assert!(micros >= exact && micros <= exact * 17.0 / 16.0 + 1.0, "{share}: {micros} for {exact}");
        }
    }

    #[test]
    fn since_excludes_earlier_counts() {
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
