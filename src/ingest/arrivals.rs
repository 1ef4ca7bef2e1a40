//! The arrival times of packets by transport-wide sequence number, and the feedback on them
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::FEEDBACK_SSRC;
use crate::rtcp::{TransportFeedbackHeader, push_transport_feedback};

/// The interval of feedback while packets come.
const INTERVAL: Duration = Duration::from_millis(100);

/// The interval at higher rates than [`HIGH_RATE`].
const SHORT_INTERVAL: Duration = Duration::from_millis(50);

/// In bits per second.
const HIGH_RATE: u64 = 1_000_000;

/// Feedback is due at once after this many packets.
const MANY: u64 = 64;

/// The number of reported packets that are remembered: a late packet is reported again, with the packets after it.
const REPORTED: u64 = 128;

/// The most packets remembered, arrived or not.
const MAX_PACKETS: u64 = 2_048;

/// A larger jump of numbers is a new start.
const MAX_JUMP: u64 = 8_192;

/// Records arrivals.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// The arrival times in microseconds, from the packet number `first` on.
    times: VecDeque<Option<u64>>,
    first: u64,
    /// The first packet without feedback.
    next: u64,
    /// Packets that arrived since the last feedback, and their bytes.
    packets: u64,
    bytes: u64,
    /// The time of the next feedback; `None` if there is nothing to report.
    due: Option<Instant>,
    sent: Instant,
    interval: Duration,
    count: u8,
}

impl Arrivals {
    /// Nothing has arrived.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            times: VecDeque::new(),
            first: 0,
            next: 0,
            packets: 0,
            bytes: 0,
            due: None,
            sent: now,
            interval: INTERVAL,
            count: 0,
        }
    }

    /// A packet arrived; `at` is the time on any one clock, which feedback reports.
    #[inline]
    pub(super) fn arrived(&mut self, now: Instant, at: Duration, number: u16, bytes: usize) {
        let end = self.first + self.times.len() as u64;
        let index = if self.times.is_empty() {
            // One rollover, so that packets before the first one have an index, too.
            (1 << 16) + u64::from(number)
        } else {
            let newest = end - 1;
            newest.saturating_add_signed(number.wrapping_sub(newest as u16).cast_signed().into())
        };
        if self.times.is_empty() || index.abs_diff(end) > MAX_JUMP {
            self.times.clear();
            (self.first, self.next) = (index, index);
        }
        let Some(place) = index.checked_sub(self.first) else { return };
        while self.times.len() as u64 <= place {
            self.times.push_back(None);
        }
        let time = &mut self.times[place as usize];
        if time.is_some() {
            return;
        }
        *time = Some(at.as_micros() as u64);
        self.next = self.next.min(index);
        self.forget(MAX_PACKETS);
        self.packets += 1;
        self.bytes += bytes as u64;
        let due = self.due.get_or_insert_with(|| now.max(self.sent + self.interval));
        if self.packets >= MANY {
            *due = now;
        }
    }

    /// The time of the next feedback.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Appends feedback to a compound, if it is due. Returns whether it did; call again, as there may be more.
    pub(super) fn push_feedback(&mut self, now: Instant, media_ssrc: u32, out: &mut Vec<u8>) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        let at = self.next.saturating_sub(self.first) as usize;
        let times = self.times.iter().skip(at).copied();
        let header =
            TransportFeedbackHeader { own_ssrc: FEEDBACK_SSRC, media_ssrc, base: self.next as u16, count: self.count };
        let covered = push_transport_feedback(out, header, times);
        self.next += covered as u64;
        if covered > 0 {
            self.count = self.count.wrapping_add(1);
        }
        if covered == 0 || self.next >= self.first + self.times.len() as u64 {
            self.end_interval(now);
        }
        covered > 0
    }

    fn end_interval(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.sent).max(Duration::from_millis(1));
        let rate = self.bytes * 8_000 / passed.as_millis() as u64;
        self.interval = if rate > HIGH_RATE { SHORT_INTERVAL } else { INTERVAL };
        (self.sent, self.due, self.packets, self.bytes) = (now, None, 0, 0);
        let unreported = (self.first + self.times.len() as u64).saturating_sub(self.next);
        self.forget(unreported + REPORTED);
    }

    /// Remembers only the newest `most` packets.
    fn forget(&mut self, most: u64) {
        while self.times.len() as u64 > most {
            self.times.pop_front();
            self.first += 1;
        }
        self.next = self.next.max(self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Feedback, read};

    const MS: Duration = Duration::from_millis(1);

    /// The base of each feedback packet that is due, and which packets it reports as received.
    fn feedback(arrivals: &mut Arrivals, now: Instant) -> Vec<(u16, Vec<bool>)> {
        let mut all = Vec::new();
        loop {
            let mut out = Vec::new();
            if !arrivals.push_feedback(now, 7, &mut out) {
                return all;
            }
            let Some(Feedback::Transport(feedback)) = read(&out).next() else { panic!("{out:02x?}") };
            all.push((feedback.base, feedback.statuses().map(|status| status.is_some()).collect()));
        }
    }

    #[test]
    fn feedback_comes_every_100_ms_and_at_higher_rates_every_50() {
        for (bytes, interval) in [(100, 100), (1_200, 50)] {
            let begin = Instant::now();
            let mut arrivals = Arrivals::new(begin);
            let mut sent = Vec::new();
            for n in 0..400 {
                let now = begin + n * 5 * MS;
                if !feedback(&mut arrivals, now).is_empty() {
                    sent.push(n * 5);
                }
                arrivals.arrived(now, now - begin, n as u16, bytes);
            }
            let longest = sent.windows(2).skip(2).map(|pair| pair[1] - pair[0]).max();
            assert_eq!(longest, Some(interval), "{sent:?}");
        }
    }

    #[test]
    fn many_packets_get_feedback_at_once() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(begin);
        (0..64).for_each(|n| arrivals.arrived(begin, Duration::ZERO, n, 1_200));
        assert_eq!(feedback(&mut arrivals, begin), [(0, vec![true; 64])]);
        assert_eq!(arrivals.deadline(), None, "nothing is left to report");
    }

    #[test]
    fn lost_and_late_packets_are_reported_across_the_wrap() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(begin);
        for number in [65_534, 65_535, 2] {
            arrivals.arrived(begin + MS, MS, number, 500);
        }
        assert!(feedback(&mut arrivals, begin + 99 * MS).is_empty());
        assert_eq!(feedback(&mut arrivals, begin + 100 * MS), [(65_534, vec![true, true, false, false, true])]);
        // A late packet is reported again with those behind it, a duplicate is not.
        arrivals.arrived(begin + 110 * MS, 110 * MS, 1, 500);
        arrivals.arrived(begin + 110 * MS, 110 * MS, 2, 500);
        assert_eq!(feedback(&mut arrivals, begin + 200 * MS), [(1, vec![true, true])]);
        assert!(feedback(&mut arrivals, begin + 500 * MS).is_empty());
    }

    #[test]
    fn a_jump_is_a_new_start_and_memory_is_bounded() {
        let begin = Instant::now();
        let mut arrivals = Arrivals::new(begin);
        arrivals.arrived(begin, Duration::ZERO, 5, 100);
        arrivals.arrived(begin, Duration::ZERO, 30_000, 100);
        assert_eq!(feedback(&mut arrivals, begin + 100 * MS), [(30_000, vec![true])]);
        let mut number = 30_000u16;
        for n in 0..10_000 {
            number = number.wrapping_add(4_000);
            arrivals.arrived(begin + n * MS, n * MS, number, 100);
            assert!(arrivals.times.len() as u64 <= MAX_PACKETS);
        }
    }
}
