//! Selects the students that open their packets if the machine cannot open all packets.

use std::ops::Range;
use std::time::{Duration, Instant};

/// How long the same students open their packets, and the interval of load measurements.
const TURN: Duration = Duration::from_millis(500);

/// A busier thread opens less, to keep time for packet bursts.
const TOO_BUSY: f64 = 0.80;

/// A less busy thread opens more.
const IDLE: f64 = 0.55;

/// At least every twentieth student: its turn returns within 10 s, long before its sequence numbers have advanced by
/// 2^15, after which its packets could no longer be opened.
const MIN_SHARE: f64 = 0.05;

/// The students of one thread whose turn it is.
#[derive(Debug)]
pub(super) struct Sample {
    students: usize,
    share: f64,
    first: usize,
    began: Instant,
    idle: Duration,
}

impl Sample {
    /// All students, until [`Self::turn`] finds them too many.
    pub(super) fn new(students: usize, now: Instant) -> Self {
        Self { students, share: 1.0, first: 0, began: now, idle: Duration::ZERO }
    }

    /// Records that the thread was idle for this long.
    pub(super) fn rested(&mut self, time: Duration) {
        self.idle += time;
    }

    /// Whether it is this student's turn.
    pub(super) fn has(&self, student: usize) -> bool {
        let Range { start, end } = self.range();
        (start..end).contains(&student) || (start..end).contains(&(student + self.students))
    }

    /// Advances the turn when it is due. The load of joining students says nothing about the lecture and is ignored.
    pub(super) fn turn(&mut self, now: Instant, all_joined: bool) {
        let time = now - self.began;
        if time < TURN {
            return;
        }
        let busy = 1.0 - self.idle.as_secs_f64() / time.as_secs_f64();
        (self.began, self.idle) = (now, Duration::ZERO);
        if !all_joined {
            return;
        }
        self.first = self.range().end % self.students.max(1);
        self.share = match busy {
            b if b > TOO_BUSY => (self.share * 0.75).max(MIN_SHARE),
            b if b < IDLE => (self.share * 1.2).min(1.0),
            _ => self.share,
        };
    }

    fn range(&self) -> Range<usize> {
        let count = (self.students as f64 * self.share).ceil() as usize;
        self.first..self.first + count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sample: &Sample, students: usize) -> Vec<usize> {
        (0..students).filter(|n| sample.has(*n)).collect()
    }

    #[test]
    fn an_overloaded_thread_lets_students_open_packets_in_turn() {
        let mut now = Instant::now();
        let mut sample = Sample::new(10, now);
        now += TURN;
        sample.turn(now, false);
        assert_eq!(open(&sample, 10).len(), 10, "nobody is left out while the others join");
        let mut opened = [0; 10];
        for _ in 0..40 {
            now += TURN;
            sample.turn(now, true);
            open(&sample, 10).iter().for_each(|n| opened[*n] += 1);
        }
        assert_eq!(open(&sample, 10).len(), 1, "never nobody");
        assert!(opened.iter().all(|times| *times >= 3), "{opened:?}");
        for _ in 0..40 {
            now += TURN;
            sample.rested(TURN);
            sample.turn(now, true);
        }
        assert_eq!(open(&sample, 10).len(), 10);
    }

    #[test]
    fn a_medium_load_keeps_the_sample_size() {
        let now = Instant::now();
        let mut sample = Sample::new(100, now);
        sample.turn(now + TURN, true);
        sample.rested(TURN * 3 / 10);
        sample.turn(now + TURN * 2, true);
        assert_eq!(open(&sample, 100).len(), 75);
    }
}
