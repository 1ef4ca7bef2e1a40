//! A line: a rate with a queue in front of it, a way, and what goes wrong on it.

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64 <= share && share > 0.0
    }
}

/// What a line is like. Times are microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// Bits a second.
    pub(super) rate: u64,
    /// Bytes that wait at most.
    pub(super) queue: u64,
    /// One way.
    pub(super) delay: u64,
    /// Added to each packet on its own: they overtake one another.
    pub(super) jitter: u64,
    pub(super) loss: f64,
    /// Whether somebody else loads a file over it: the queue is half full at least.
    pub(super) busy: bool,
}

impl Line {
    /// A gigabit, and no way to speak of.
    pub(super) fn lan() -> Self {
        Self { rate: 1_000_000_000, queue: 1 << 20, delay: 200, jitter: 100, loss: 0.0, busy: false }
    }

    /// So many bits a second, with 20 ms round trip and a queue of 250 ms.
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

/// A line with what is on it.
pub(super) struct Link {
    pub(super) line: Line,
    free: u64,
}

impl Link {
    pub(super) fn new(line: Line) -> Self {
        Self { line, free: 0 }
    }

    /// The line becomes another; what waits, waits on.
    pub(super) fn change(&mut self, now: u64, line: Line) {
        self.free = now + self.waits(now) * self.line.rate / line.rate;
        self.line = line;
    }

    /// Others send what they have.
    pub(super) fn go_on(&mut self, now: u64) {
        let half = self.line.queue * 4_000_000 / self.line.rate;
        if self.line.busy && self.waits(now) < half {
            self.free = now + half;
        }
    }

    /// How long a packet would wait.
    pub(super) fn waits(&self, now: u64) -> u64 {
        self.free.saturating_sub(now)
    }

    /// When a packet comes, if it does.
    pub(super) fn send(&mut self, now: u64, bytes: u64, dice: &mut Dice) -> Option<u64> {
        let line = self.line;
        if self.waits(now) * line.rate / 8_000_000 + bytes > line.queue {
            return None;
        }
        self.free = self.free.max(now) + bytes * 8_000_000 / line.rate;
        (!dice.chance(line.loss)).then(|| self.free + line.delay + dice.below(line.jitter + 1))
    }
}
