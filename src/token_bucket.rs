//! A token bucket: a rate per second, and a burst.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Allows a burst, and then a number of tokens per second.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: f64,
    burst: f64,
    /// The remaining tokens, and when they were counted. The bucket is full before its first use.
    left: Option<(f64, Instant)>,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.into(), burst: burst.into(), left: None }
    }

    /// Takes a token. If none is left, returns the time until the next one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.take_above(now, 0.0)
    }

    /// Takes a token if this many others remain. Otherwise returns the time until they do.
    pub(crate) fn take_above(&mut self, now: Instant, reserve: f64) -> Result<(), Duration> {
        let left = self.left.map_or(self.burst, |(left, counted)| {
            let new = now.saturating_duration_since(counted).as_secs_f64() * self.per_second;
            (left + new).min(self.burst)
        });
        let needed = 1.0 + reserve;
        let passes = left >= needed;
        self.left = Some((if passes { left - 1.0 } else { left }, now));
        if passes { Ok(()) } else { Err(Duration::from_secs_f64((needed - left) / self.per_second)) }
    }
}

/// A token bucket that several owners share.
#[derive(Debug, Clone)]
pub(crate) struct SharedTokenBucket(Arc<Mutex<TokenBucket>>);

impl SharedTokenBucket {
    /// A full bucket.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self(Arc::new(Mutex::new(TokenBucket::new(per_second, burst))))
    }

    /// Takes a token; see [`TokenBucket::take`].
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    /// Takes all tokens.
    pub(crate) fn empty(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).left = Some((0.0, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_applies() {
        let (mut bucket, now) = (TokenBucket::new(2, 3), Instant::now());
        assert!((0..3).all(|_| bucket.take(now).is_ok()));
        assert_eq!(bucket.take(now), Err(Duration::from_millis(500)));
        assert!(bucket.take(now + Duration::from_millis(500)).is_ok());
        assert!(bucket.take(now + Duration::from_millis(750)).is_err(), "half a token is not enough");
        let later = now + Duration::from_secs(60);
        assert_eq!((0..10).filter(|_| bucket.take(later).is_ok()).count(), 3, "more than a burst is not saved up");
    }

    #[test]
    fn a_reserve_stays_for_others() {
        let (mut bucket, now) = (TokenBucket::new(2, 3), Instant::now());
        assert!(bucket.take_above(now, 2.0).is_ok());
        assert_eq!(bucket.take_above(now, 2.0), Err(Duration::from_millis(500)));
        assert_eq!((0..10).filter(|_| bucket.take(now).is_ok()).count(), 2, "the reserve is there for who needs none");
    }
}
