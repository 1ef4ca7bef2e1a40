//! The rate limit of a publisher, and counters of its rate.

use std::time::Instant;

/// A publisher may save up this part of a second of its limit: a key frame comes in one burst.
const BURST_SECONDS: f64 = 0.5;

/// The part of a burst that is left to audio, which is small and must not suffer from video.
const AUDIO_SHARE: f64 = 0.1;

/// Limits the bytes of one publisher.
#[derive(Debug)]
pub(super) struct ByteLimit {
    bytes_per_second: f64,
    left: f64,
    counted: Instant,
}

impl ByteLimit {
    /// A full limit.
    pub(super) fn new(now: Instant, bits_per_second: u32) -> Self {
        let bytes_per_second = f64::from(bits_per_second) / 8.0;
        Self { bytes_per_second, left: bytes_per_second * BURST_SECONDS, counted: now }
    }

    /// Takes the bytes of a packet. Returns false if there are not enough.
    pub(super) fn take(&mut self, now: Instant, bytes: usize, is_audio: bool) -> bool {
        let passed = now.saturating_duration_since(self.counted);
        let burst = self.bytes_per_second * BURST_SECONDS;
        self.left = (self.left + passed.as_secs_f64() * self.bytes_per_second).min(burst);
        self.counted = self.counted.max(now);
        let reserve = if is_audio { 0.0 } else { burst * AUDIO_SHARE };
        let passes = self.left >= bytes as f64 + reserve;
        if passes {
            self.left -= bytes as f64;
        }
        passes
    }
}

/// A count that starts again each second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PerSecond {
    current: u64,
    last: u64,
}

impl PerSecond {
    /// Adds to the current second.
    pub(super) fn add(&mut self, count: usize) {
        self.current += count as u64;
    }

    /// The count of the last whole second.
    pub(super) fn last(self) -> u64 {
        self.last
    }

    /// Ends the current second.
    pub(super) fn turn(&mut self) {
        self.last = std::mem::take(&mut self.current);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_applies() {
        let begin = Instant::now();
        let mut limit = ByteLimit::new(begin, 8_000_000);
        let taken = (0..1000).filter(|_| limit.take(begin, 1000, false)).count();
        assert_eq!(taken, 450, "half a second, less the share of audio");
        assert!((0..50).all(|_| limit.take(begin, 1000, true)) && !limit.take(begin, 1000, true));
        let mut passed = 0;
        for ms in 1..=10_000 {
            passed += (0..3).filter(|_| limit.take(begin + Duration::from_millis(ms), 1000, false)).count();
        }
        assert!((9_900..=10_000).contains(&passed), "{passed} kB in ten seconds");
    }

    #[test]
    fn the_last_whole_second_counts() {
        let mut count = PerSecond::default();
        count.add(3);
        count.add(4);
        assert_eq!(count.last(), 0);
        count.turn();
        assert_eq!(count.last(), 7);
        count.turn();
        assert_eq!(count.last(), 0);
    }
}
