//! So often and no more: a token bucket.

use std::time::{Duration, Instant};

/// Lets a burst pass, and then so many a second.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: f64,
    burst: f64,
    /// How many may pass, and when that was counted; full before the first.
    left: Option<(f64, Instant)>,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.into(), burst: burst.into(), left: None }
    }

    /// One wants to pass; if it may not, how long until one may.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let left = self.left.map_or(self.burst, |(left, counted)| {
            let new = now.saturating_duration_since(counted).as_secs_f64() * self.per_second;
            (left + new).min(self.burst)
        });
        let passes = left >= 1.0;
        self.left = Some((if passes { left - 1.0 } else { left }, now));
        if passes { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - left) / self.per_second)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (mut bucket, now) = (TokenBucket::new(2, 3), Instant::now());
        assert!((0..3).all(|_| bucket.take(now).is_ok()));
        assert_eq!(bucket.take(now), Err(Duration::from_millis(500)));
        assert!(bucket.take(now + Duration::from_millis(500)).is_ok());
        assert!(bucket.take(now + Duration::from_millis(750)).is_err(), "half of one is none");
        let later = now + Duration::from_secs(60);
        assert_eq!((0..10).filter(|_| bucket.take(later).is_ok()).count(), 3, "more than a burst is not saved up");
    }
}
