//! A network link in virtual time: a rate with a queue in front of it, a delay, jitter and loss.

use rand::RngExt;
use rand::rngs::StdRng;

/// The properties of a link. Times are in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// Bits per second.
    pub(super) rate: u64,
    /// The longest queue, in bytes.
    pub(super) queue: u64,
    /// The one-way delay.
    pub(super) delay: u64,
    /// The maximum jitter, added to each packet independently, so that packets overtake one another.
    pub(super) jitter: u64,
    /// The fraction of packets lost in addition to queue drops.
    pub(super) loss: f64,
    /// Whether cross traffic keeps the queue half full.
    pub(super) busy: bool,
}

impl Link {
    /// A gigabit link with almost no delay.
    pub(super) fn lan() -> Self {
        Self { rate: 1_000_000_000, queue: 1 << 20, delay: 200, jitter: 100, loss: 0.0, busy: false }
    }

    /// A link of this rate in bits per second, with a round trip of 20 ms and a queue of 250 ms.
    pub(super) fn of(rate: u64) -> Self {
        Self { rate, queue: rate / 8 / 4, delay: 10_000, jitter: 0, loss: 0.0, busy: false }
    }

    pub(super) fn round_trip(self, millis: u64) -> Self {
        Self { delay: millis * 500, ..self }
    }

    pub(super) fn queue(self, millis: u64) -> Self {
        Self { queue: self.rate * millis / 8000, ..self }
    }

    pub(super) fn jitter(self, millis: u64) -> Self {
        Self { jitter: millis * 1000, ..self }
    }

    pub(super) fn loss(self, share: f64) -> Self {
        Self { loss: share, ..self }
    }

    pub(super) fn busy(self) -> Self {
        Self { busy: true, ..self }
    }
}

/// A link and the packets on it.
pub(super) struct Path {
    pub(super) link: Link,
    /// When the queue is empty.
    free: u64,
}

impl Path {
    pub(super) fn new(link: Link) -> Self {
        Self { link, free: 0 }
    }

    /// Changes the link; queued bytes stay queued.
    pub(super) fn change(&mut self, now: u64, link: Link) {
        self.free = now + self.waits(now) * self.link.rate / link.rate;
        self.link = link;
    }

    /// Adds the cross traffic.
    pub(super) fn tick(&mut self, now: u64) {
        let half = self.link.queue * 4_000_000 / self.link.rate;
        if self.link.busy && self.waits(now) < half {
            self.free = now + half;
        }
    }

    /// How long a packet would wait in the queue.
    pub(super) fn waits(&self, now: u64) -> u64 {
        self.free.saturating_sub(now)
    }

    /// The arrival time of a packet; `None` if it is lost.
    pub(super) fn send(&mut self, now: u64, bytes: u64, rng: &mut StdRng) -> Option<u64> {
        let link = self.link;
        if self.waits(now) * link.rate / 8_000_000 + bytes > link.queue {
            return None;
        }
        self.free = self.free.max(now) + bytes * 8_000_000 / link.rate;
        (!rng.random_bool(link.loss)).then(|| self.free + link.delay + rng.random_range(0..=link.jitter))
    }
}
