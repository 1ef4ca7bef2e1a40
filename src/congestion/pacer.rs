//! How fast one student is sent pictures, where its line is known to be narrow.
//!
//! A key frame of the low tier is half a second of a narrow line. Sent at once it fills the queue in front of that line,
//! loses its end there, and keeps sound waiting.

use std::time::{Duration, Instant};

/// What may be sent at once after a rest, in time of the line: less than sound would mind.
const MOST_SAVED: Duration = Duration::from_millis(15);

/// Of what the line carries, so much is used; less while packets wait in front of it, so that these get fewer.
const SHARE: f64 = 1.05;
const SHARE_WHEN_DELAYED: f64 = 0.9;

/// Packets that wait this long are too many.
const LONG_QUEUE: Duration = Duration::from_millis(80);

/// No line is served slower: a picture must come out of this.
const LEAST_BITS_PER_SECOND: u32 = 100_000;

/// What is known of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathCapacity {
    pub(crate) bits_per_second: u32,
    /// How long packets wait in front of it.
    pub(crate) queue: Duration,
}

impl PathCapacity {
    fn bytes_per_second(self) -> f64 {
        let share = if self.queue > LONG_QUEUE { SHARE_WHEN_DELAYED } else { SHARE };
        f64::from(self.bits_per_second.max(LEAST_BITS_PER_SECOND)) / 8.0 * share
    }
}

/// The rate for one student.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacer {
    bytes_per_second: f64,
    /// Bytes that may be sent; below zero when the last packet was larger.
    credit: f64,
    at: Instant,
}

impl Pacer {
    /// For a line of so many bits a second, that nothing was sent on lately.
    pub(crate) fn new(now: Instant, line: PathCapacity) -> Self {
        let bytes_per_second = line.bytes_per_second();
        Self { bytes_per_second, credit: bytes_per_second * MOST_SAVED.as_secs_f64(), at: now }
    }

    /// The line has become another one.
    pub(crate) fn set(&mut self, line: PathCapacity) {
        self.bytes_per_second = line.bytes_per_second();
    }

    /// Whether a packet may be sent now.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let time = now.saturating_duration_since(self.at).as_secs_f64();
        let most = self.bytes_per_second * MOST_SAVED.as_secs_f64();
        self.credit = (self.credit + self.bytes_per_second * time).min(most);
        self.at = now;
        self.credit > 0.0
    }

    /// So many bytes were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.credit -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_a_narrow_line_is_what_it_carries_and_a_little_more() {
        let start = Instant::now();
        let mut pace = Pacer::new(start, PathCapacity { bits_per_second: 600_000, queue: Duration::ZERO });
        let mut sent = 0;
        for turn in 0..200 {
            while pace.allows(start + Duration::from_millis(5) * turn) {
                pace.sent(1_200);
                sent += 1_200;
            }
        }
        assert!((78_000..81_000).contains(&sent), "{sent}");
        // What was not used is not saved up.
        let later = start + Duration::from_secs(60);
        let mut burst = 0;
        while pace.allows(later) {
            pace.sent(1_200);
            burst += 1_200;
        }
        assert!(burst <= 2_400, "{burst}");
    }
}
