//! The congestion control of an emulated publisher: the delay-based half of the library, and the loss-based half as
//! browsers have it.
//!
//! The library judges the loss of each feedback packet, some ten packets: of these, one that is lost is 10 %, and the
//! rate never rises again on a line that loses 5 %. Browsers judge at least 20 packets and a longer time, and hold the
//! rate between 2 and 10 % (draft-ietf-rmcat-gcc-02, 6).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtc::interceptor::{BandwidthEstimator, Gcc, PacketReport};

/// The lowest target: Chromium's for video.
const LEAST_BITRATE: f64 = 30_000.0;

/// The pacer's rate as a multiple of the target. Browsers have 2.5 for cameras and 1 for screens, and an encoder that
/// follows the target. The encoders here may exceed the target a little, and their frames must not queue up.
const PACING: f64 = 1.5;

/// The share of the line's rate that probes find free: the rest is for IP, UDP and SRTP.
const OF_THE_LINE: f64 = 0.9;

/// The loss below which the rate grows, and above which it falls.
const LOW_LOSS: f64 = 0.02;
const HIGH_LOSS: f64 = 0.10;

/// The least packets, and the least time, of one judgement.
const LEAST_PACKETS: usize = 20;
const LEAST_TIME: Duration = Duration::from_secs(1);

/// The loss-based half.
#[derive(Debug)]
struct LossControl {
    target: f64,
    most: f64,
    lost: usize,
    packets: usize,
    judged: Option<Instant>,
}

impl LossControl {
    fn update(&mut self, now: Instant, lost: usize, packets: usize) {
        self.lost += lost;
        self.packets += packets;
        let judged = *self.judged.get_or_insert(now);
        if self.packets < LEAST_PACKETS || now.saturating_duration_since(judged) < LEAST_TIME {
            return;
        }
        let loss = self.lost as f64 / self.packets as f64;
        if loss < LOW_LOSS {
            self.target *= 1.08;
        } else if loss > HIGH_LOSS {
            self.target *= 1.0 - 0.5 * loss;
        }
        self.target = self.target.clamp(LEAST_BITRATE, self.most);
        (self.lost, self.packets, self.judged) = (0, 0, Some(now));
    }
}

/// The target bitrate in bits per second, and the rate that the line is known to carry, as the bits of `f64`s. Both are
/// shared with the library's chain.
#[derive(Debug, Clone)]
pub(super) struct Target {
    target: Arc<AtomicU64>,
    line: Arc<AtomicU64>,
}

impl Target {
    fn new(bits_per_second: f64) -> Self {
        let shared = |value: f64| Arc::new(AtomicU64::new(value.to_bits()));
        Self { target: shared(bits_per_second), line: shared(f64::INFINITY) }
    }

    /// The target.
    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.target.load(Ordering::Relaxed))
    }

    /// The line has this rate from now on; `None` for unlimited. A browser probes what a line carries. This estimator
    /// has no probes: its target does not grow beyond the rate of the line. It learns by the queue of the line that
    /// the line has become narrower.
    pub(super) fn set_line(&self, bits_per_second: Option<u32>) {
        let carried = bits_per_second.map_or(f64::INFINITY, |rate| f64::from(rate) * OF_THE_LINE);
        self.line.store(carried.to_bits(), Ordering::Relaxed);
    }

    fn set(&self, bits_per_second: f64) {
        let line = f64::from_bits(self.line.load(Ordering::Relaxed));
        let target = bits_per_second.min(line.max(self.get()));
        self.target.store(target.to_bits(), Ordering::Relaxed);
    }
}

/// Both halves.
pub(super) struct Estimator {
    delay: Gcc,
    loss: LossControl,
    target: Target,
}

impl Estimator {
    /// A target of `most` bits per second, or of what the line carries.
    pub(super) fn new(most: f64, line: Option<u32>) -> Self {
        let first = line.map_or(most, |rate| most.min(f64::from(rate) * OF_THE_LINE));
        let target = Target::new(first);
        target.set_line(line);
        Self {
            delay: Gcc::new(first, LEAST_BITRATE, most),
            loss: LossControl { target: most, most, lost: 0, packets: 0, judged: None },
            target,
        }
    }

    /// The target, for the choice of layers.
    pub(super) fn target(&self) -> Target {
        self.target.clone()
    }
}

impl BandwidthEstimator for Estimator {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        self.delay.on_reports(now, reports);
        let lost = reports.iter().filter(|report| !report.arrived).count();
        self.loss.update(now, lost, reports.len());
        self.target.set(self.delay.delay_based_bitrate().min(self.loss.target));
    }

    /// The rate of the pacer.
    fn target_bitrate(&self) -> f64 {
        self.target.get() * PACING
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.delay.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.delay.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The target after 20 s, as a share of the most, with feedback on some ten packets every 50 ms.
    fn after_20_s(is_lost: impl Fn(usize) -> bool) -> f64 {
        let mut loss = LossControl { target: 1e6, most: 1e6, lost: 0, packets: 0, judged: None };
        let begin = Instant::now();
        for n in 0..400 {
            let lost = (n * 13..n * 13 + 13).filter(|packet| is_lost(*packet)).count();
            loss.update(begin + Duration::from_millis(50) * n as u32, lost, 13);
        }
        loss.target / loss.most
    }

    #[test]
    fn the_rate_is_held_up_to_ten_percent_of_loss() {
        assert_eq!(after_20_s(|_| false), 1.0);
        // Two of the same ten packets: 5 % in all, 15 % of one report.
        assert_eq!(after_20_s(|packet| packet % 40 < 2), 1.0);
        assert!(after_20_s(|packet| packet % 5 == 0) < 0.2);
    }

    #[test]
    fn the_target_does_not_grow_beyond_the_line() {
        let target = Estimator::new(3e6, Some(1_000_000)).target();
        target.set(2e6);
        assert_eq!(target.get(), 9e5);
        target.set_line(None);
        target.set(2e6);
        target.set_line(Some(500_000));
        assert_eq!(target.get(), 2e6, "nobody has told");
        target.set(4e5);
        target.set(1e6);
        assert_eq!(target.get(), 4.5e5);
    }
}
