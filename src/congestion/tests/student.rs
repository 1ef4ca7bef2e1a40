//! The student's side: what came, and what is told of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::class::Sent;

/// The student's clock is ahead by so much that the time in its feedback rolls over after 20 s, and 100 ppm fast.
const AHEAD: u64 = (1 << 24) * 64_000 - 20_000_000;

/// What the kernel keeps for a process that does not read.
const KERNEL_BUFFER: u64 = 160_000;

/// What goes back to the hub.
pub(super) enum Back {
    Feedback { base: u16, reference: u32, deltas: Vec<Option<i32>>, missing: Vec<u64> },
    Remb(u64),
    Report(u8, Duration),
}

/// The student's side.
#[derive(Default)]
pub(super) struct Student {
    came: BTreeMap<u64, u64>,
    new: Vec<u64>,
    expected: u64,
    /// Of this second.
    bytes: u64,
    packets: u64,
    /// The number after the newest at the last report.
    reported: u64,
    /// One-way delay, the least ever and that of the newest packet.
    least_delay: Option<u64>,
    pub(super) delay: u64,
    remb: Option<u64>,
    /// When its process went on after a pause, and how much the kernel has kept for it.
    awake: u64,
    kept: u64,
}

impl Student {
    /// Its process goes on: what came meanwhile is read now, and what the kernel had no room for is lost.
    pub(super) fn wake_up(&mut self, now: u64) {
        (self.awake, self.kept) = (now, 0);
    }

    pub(super) fn receive(&mut self, now: u64, on_the_way: &mut BinaryHeap<Reverse<(u64, u64)>>, sent: &[Sent]) {
        while let Some(Reverse((arrival, number))) = on_the_way.peek().copied() {
            if arrival > now {
                break;
            }
            on_the_way.pop();
            let Sent { at, bytes, .. } = sent[number as usize];
            if arrival < self.awake {
                self.kept += bytes;
                if self.kept > KERNEL_BUFFER {
                    continue;
                }
            }
            let arrival = arrival.max(self.awake);
            self.came.insert(number, arrival);
            self.new.push(number);
            self.bytes += bytes;
            self.packets += 1;
            self.delay = arrival - at;
            self.least_delay = self.least_delay.min(Some(self.delay)).or(Some(self.delay));
        }
    }

    /// What came since the last feedback, with what is missing before it.
    pub(super) fn feedback(&mut self) -> Option<Back> {
        let new = std::mem::take(&mut self.new);
        let newest = *new.iter().max()?;
        let base = new.iter().copied().min()?.min(self.expected);
        let missing = (self.expected..newest).filter(|number| !self.came.contains_key(number)).collect();
        let clock = |arrival: u64| (arrival + arrival / 10_000 + AHEAD) / 250;
        let first = (base..=newest).find_map(|number| self.came.get(&number))?;
        let reference = clock(*first) / 256;
        let mut last = reference * 256;
        let deltas = (base..=newest.max(base)).map(|number| {
            let arrival = clock(*self.came.get(&number)?);
            let delta = (arrival as i64 - last as i64) * 250;
            last = arrival;
            Some(delta as i32)
        });
        let deltas = deltas.collect();
        self.expected = self.expected.max(newest + 1);
        Some(Back::Feedback { base: base as u16, reference: (reference & 0xff_ffff) as u32, deltas, missing })
    }

    /// As browsers do it: half more than what comes, slowly; less at once when the queue grows.
    pub(super) fn remb(&mut self, second: bool) -> Option<u64> {
        if !second {
            return None;
        }
        let queue = self.delay.saturating_sub(self.least_delay.unwrap_or(0));
        let came = self.bytes * 8;
        let remb = match self.remb {
            _ if queue > 60_000 => came * 85 / 100,
            None => came * 3 / 2,
            Some(remb) => (remb * 108 / 100).min(came * 3 / 2 + 10_000),
        };
        self.remb = Some(remb);
        Some(remb)
    }

    /// The share that is lost of the packets since the last report, in 256ths.
    pub(super) fn lost(&mut self) -> u8 {
        let newest = self.came.keys().next_back().map_or(0, |newest| newest + 1);
        let expected = newest.saturating_sub(self.reported);
        self.reported = newest;
        (expected.saturating_sub(self.packets) * 256).checked_div(expected).unwrap_or(0).min(255) as u8
    }

    pub(super) fn begin_second(&mut self) {
        self.bytes = 0;
        self.packets = 0;
    }
}
