//! The rate limit of a publisher, and counters of its rate.

use std::time::Duration;

/// A publisher may save up this part of a second of its limit: a key frame comes in one burst.
const BURST: Duration = Duration::from_millis(500);

/// One of this many parts of a burst is left to audio, which is small and must not suffer from video.
const AUDIO_PARTS: u64 = 10;

const SECOND: u64 = 1_000_000_000;

/// Limits the bytes of one publisher.
#[derive(Debug)]
pub(super) struct ByteLimit {
    bytes_per_second: u64,
    /// In billionths of a byte, as are the constants of a burst.
    left: u64,
    burst: u64,
    /// The time up to which the limit has grown.
    counted: Duration,
}

impl ByteLimit {
    /// A full limit.
    pub(super) fn new(bits_per_second: u32) -> Self {
        let bytes_per_second = u64::from(bits_per_second) / 8;
        let burst = bytes_per_second * BURST.as_nanos() as u64;
        Self { bytes_per_second, left: burst, burst, counted: Duration::ZERO }
    }

    /// Takes the bytes of a packet at a time since the start. Returns false if there are not enough.
    #[inline]
    pub(super) fn take(&mut self, at: Duration, bytes: usize, is_audio: bool) -> bool {
        if at > self.counted {
            let passed = (at - self.counted).min(BURST).as_nanos() as u64;
            self.left = (self.left + passed * self.bytes_per_second).min(self.burst);
            self.counted = at;
        }
        let reserve = if is_audio { 0 } else { self.burst / AUDIO_PARTS };
        let bytes = bytes as u64 * SECOND;
        let passes = self.left >= bytes + reserve;
        if passes {
            self.left -= bytes;
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
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_applies() {
        let mut limit = ByteLimit::new(8_000_000);
        let taken = (0..1000).filter(|_| limit.take(Duration::ZERO, 1000, false)).count();
        assert_eq!(taken, 450, "half a second, less the share of audio");
        assert!((0..50).all(|_| limit.take(Duration::ZERO, 1000, true)) && !limit.take(Duration::ZERO, 1000, true));
        let mut passed = 0;
        for ms in 1..=10_000 {
            passed += (0..3).filter(|_| limit.take(Duration::from_millis(ms), 1000, false)).count();
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
