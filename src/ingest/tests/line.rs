//! A line with loss, delay and reordering.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The impairments of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineSettings {
    /// The fraction of packets lost.
    pub(super) loss: f64,
    /// The delay, and the most that is added to it at random, in milliseconds.
    pub(super) delay: u64,
    pub(super) jitter: u64,
}

impl LineSettings {
    pub(super) const GOOD: Self = Self { loss: 0.0, delay: 2, jitter: 0 };
}

/// One direction.
pub(super) struct Line {
    pub(super) settings: LineSettings,
    /// Nothing passes before this time, in milliseconds.
    pub(super) dead_until: u64,
    rng: StdRng,
    in_flight: BTreeMap<(u64, u64), Vec<u8>>,
    sent: u64,
    pub(super) lost: usize,
}

impl Line {
    pub(super) fn new(settings: LineSettings, seed: u64) -> Self {
        Self { settings, dead_until: 0, rng: StdRng::seed_from_u64(seed), in_flight: BTreeMap::new(), sent: 0, lost: 0 }
    }

    pub(super) fn send(&mut self, ms: u64, packet: Vec<u8>) {
        self.sent += 1;
        let is_lost = self.rng.random_bool(self.settings.loss);
        let delay = self.settings.delay + self.rng.random_range(0..=self.settings.jitter);
        if is_lost || ms < self.dead_until {
            self.lost += 1;
        } else {
            self.in_flight.insert((ms + delay, self.sent), packet);
        }
    }

    pub(super) fn arrived(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let later = self.in_flight.split_off(&(ms + 1, 0));
        std::mem::replace(&mut self.in_flight, later).into_values().collect()
    }
}
