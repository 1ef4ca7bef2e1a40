//! The send rate of video to one peer.
//!
//! A key frame of the low tier occupies a narrow link for half a second, and that of a new page of text in the full
//! tier occupies a link of 5 Mbit/s for 0.4 s. Sent at once it fills the queue in front of the link, its last packets
//! are dropped there, and audio is delayed.

use std::time::{Duration, Instant};

use super::estimate::Estimate;

/// The burst allowed after an idle period, in link time: a delay that audio tolerates.
const MAX_SAVED: Duration = Duration::from_millis(15);

/// The share of the capacity that is used; less while packets queue, so that the queue drains.
const SHARE: f64 = 1.05;
const SHARE_WHEN_DELAYED: f64 = 0.9;
const SHARE_WHEN_FULL: f64 = 0.5;

/// A longer queue must drain.
const LONG_QUEUE: Duration = Duration::from_millis(80);

/// A longer queue must drain soon: audio waits in it, too.
const FULL_QUEUE: Duration = Duration::from_millis(150);

/// The minimum rate unless the queue is full: a frame must get through.
const LEAST_BITS_PER_SECOND: u32 = 100_000;

/// A wider path is paced to this, in bits per second: it carries the key frame of a page within 100 ms. Sent at once,
/// such a key frame is larger than the receive buffer of a socket, and the rest is lost there.
const WIDE: u32 = 50_000_000;

/// The clusters of this time make a capacity reliable.
const CLUSTERS_TELL_FOR: Duration = Duration::from_secs(2);

/// The pace for a peer that gets the best layers.
///
/// The last capacity is remembered: while a page is still, frames are too small to measure the path, and the next one
/// is the large key frame of another page.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct BestPace {
    bits_per_second: Option<u32>,
    is_sure: bool,
}

impl BestPace {
    /// The pace; `None` if the path is unknown. The encoders are set to `nominal` bits per second. Video is
    /// never paced below that: a path that carries less must show it by a queue, or the peer would keep layers that it
    /// can't get.
    pub(super) fn update(&mut self, now: Instant, estimate: &Estimate, nominal: u32) -> Option<PathCapacity> {
        if !estimate.knows_every_packet() {
            return None;
        }
        let is_sure = estimate.is_sure(now, CLUSTERS_TELL_FOR) || estimate.full_link().is_some();
        // One cluster is better than none: a paced frame is several clusters, which correct the pace.
        if is_sure || !self.is_sure {
            self.bits_per_second = estimate.bits_per_second(now).or(self.bits_per_second);
            self.is_sure |= is_sure;
        }
        let bits = self.bits_per_second?.min(WIDE);
        Some(PathCapacity { bits_per_second: bits.max(nominal), queue: estimate.queue() })
    }
}

/// The capacity and the queue of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathCapacity {
    pub(crate) bits_per_second: u32,
    /// How long packets wait in front of its narrowest link.
    pub(crate) queue: Duration,
}

impl PathCapacity {
    fn bytes_per_second(self) -> f64 {
        let share = match self.queue {
            queue if queue > FULL_QUEUE => SHARE_WHEN_FULL,
            queue if queue > LONG_QUEUE => SHARE_WHEN_DELAYED,
            _ => SHARE,
        };
        let least = if self.queue > FULL_QUEUE { 0 } else { LEAST_BITS_PER_SECOND };
        f64::from(self.bits_per_second.max(least)) / 8.0 * share
    }
}

/// The pacer of one peer's video: a token bucket in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacer {
    bytes_per_second: f64,
    /// Bytes that may be sent; negative after a packet larger than the credit.
    credit: f64,
    at: Instant,
}

impl Pacer {
    /// For a path on which nothing was sent recently.
    pub(crate) fn new(now: Instant, line: PathCapacity) -> Self {
        let bytes_per_second = line.bytes_per_second();
        Self { bytes_per_second, credit: bytes_per_second * MAX_SAVED.as_secs_f64(), at: now }
    }

    /// The capacity has changed.
    pub(crate) fn set(&mut self, line: PathCapacity) {
        self.bytes_per_second = line.bytes_per_second();
    }

    /// Whether a packet may be sent now.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        self.credit_at(now) > 0.0
    }

    /// Whether so many bytes may be sent now.
    pub(crate) fn allows_at_once(&mut self, now: Instant, bytes: usize) -> bool {
        self.credit_at(now) >= bytes as f64
    }

    fn credit_at(&mut self, now: Instant) -> f64 {
        let time = now.saturating_duration_since(self.at).as_secs_f64();
        let most = self.bytes_per_second * MAX_SAVED.as_secs_f64();
        self.credit = (self.credit + self.bytes_per_second * time).min(most);
        self.at = now;
        self.credit
    }

    /// Bytes were sent; audio and retransmissions count too.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.credit -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pacer_sends_slightly_more_than_the_capacity() {
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
        // Unused time is not saved up.
        let later = start + Duration::from_secs(60);
        let mut burst = 0;
        while pace.allows(later) {
            pace.sent(1_200);
            burst += 1_200;
        }
        assert!(burst <= 2_400, "{burst}");
    }

    #[test]
    fn a_frame_leaves_at_once_if_it_fits_and_a_page_on_a_wide_path_takes_some_time() {
        let start = Instant::now();
        let mut pace = Pacer::new(start, PathCapacity { bits_per_second: WIDE, queue: Duration::ZERO });
        assert!(pace.allows_at_once(start, 90_000) && !pace.allows_at_once(start, 300_000));
        let mut left = 600_000_usize;
        let mut at = start;
        while left > 0 {
            while left > 0 && pace.allows(at) {
                pace.sent(1_200);
                left = left.saturating_sub(1_200);
            }
            at += Duration::from_millis(5);
        }
        assert!(((start + Duration::from_millis(70))..(start + Duration::from_millis(110))).contains(&at));
        assert!(!pace.allows_at_once(at, 90_000) && pace.allows_at_once(at + MAX_SAVED, 90_000));
    }
}
