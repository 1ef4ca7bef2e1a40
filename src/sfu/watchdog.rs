//! Protects peers from one another: catches panics, detects work that keeps the thread busy for too long, and limits
//! the work for newcomers.
//!
//! Only the thread's CPU time counts, because a busy or suspended machine is no student's fault. Reading it costs a
//! system call, so it is read at most once in [`FRESH`], and again only after work that took long by the wall clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The most CPU time that one call of a peer may take. A usual call takes 20 us, an offer 2 ms.
pub(super) const MAX_CPU_TIME: Duration = Duration::from_millis(50);

/// The time for which a reading of the CPU time is reused. The time since the reading is subtracted from the CPU time
/// of the work, so that the work is never taken to be longer than it was.
const FRESH: Duration = Duration::from_millis(2);

/// The share of a thread's CPU time for one kind of work for newcomers, after a burst: answering an offer takes half a
/// millisecond and the handshake some more, so a class of 500 is served at once.
const SHARE: f64 = 0.5;
const BURST: Duration = Duration::from_secs(2);

/// Returns the result of `work`, or None if it panics. State that the panic left half modified must not be used any
/// more.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Measures the CPU time of work on one thread.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// The last reading of the CPU time, and when it was taken.
    reading: Option<(Instant, Duration)>,
}

impl Watchdog {
    /// Runs some work. Also returns its CPU time if that exceeds [`MAX_CPU_TIME`].
    pub(super) fn watch<T>(&mut self, work: impl FnOnce() -> T) -> (T, Option<Duration>) {
        let began = Instant::now();
        let fresh = self.reading.filter(|(at, _)| began.saturating_duration_since(*at) <= FRESH);
        let (at, before) = *self.reading.insert(fresh.unwrap_or_else(|| (began, cpu_time())));
        let done = work();
        if began.elapsed() <= MAX_CPU_TIME {
            return (done, None);
        }
        let used = cpu_time().saturating_sub(before);
        (done, too_long(used, began.saturating_duration_since(at)))
    }
}

/// The lower bound of the work's CPU time, if it is too long. The thread has `used` this much CPU time since a reading
/// that preceded the work by `earlier`.
fn too_long(used: Duration, earlier: Duration) -> Option<Duration> {
    Some(used.saturating_sub(earlier)).filter(|least| *least > MAX_CPU_TIME)
}

/// Limits the CPU time of one kind of work for newcomers, so that a flood of them leaves the computer to its encoders
/// and its students.
#[derive(Debug)]
pub(super) struct CpuBudget {
    left: Duration,
    counted: Option<Instant>,
}

impl Default for CpuBudget {
    fn default() -> Self {
        Self { left: BURST, counted: None }
    }
}

impl CpuBudget {
    /// Whether the work may be done now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let since = self.counted.replace(now).map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        self.left = (self.left + since.mul_f64(SHARE)).min(BURST);
        self.has_left()
    }

    /// Whether something was left at the last call of [`allows`](Self::allows).
    pub(super) fn has_left(&self) -> bool {
        !self.left.is_zero()
    }

    /// Records the CPU time of some work.
    pub(super) fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}

/// The CPU time of this thread.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn cpu_time_before_the_work_does_not_count() {
        assert_eq!(too_long(51 * MS, Duration::ZERO), Some(51 * MS));
        assert_eq!(too_long(51 * MS, 2 * MS), None);
        assert_eq!(too_long(Duration::ZERO, 2 * MS), None);
    }

    #[test]
    fn work_that_keeps_the_cpu_busy_is_detected() {
        let mut watchdog = Watchdog::default();
        let (worked, long) = watchdog.watch(|| {
            let start = cpu_time();
            while cpu_time() - start <= MAX_CPU_TIME + FRESH {}
            7
        });
        assert_eq!(worked, 7);
        assert!(long.is_some_and(|long| long > MAX_CPU_TIME));
    }

    /// Simulates that the process was suspended, or that another one had the CPU.
    #[test]
    fn work_that_only_waits_is_not_detected() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let mut watchdog = Watchdog::default();
        let began = Instant::now();
        let ((), long) = watchdog.watch(|| {
            while began.elapsed() <= 2 * MAX_CPU_TIME {
                let _ = wait.recv_timeout(MAX_CPU_TIME);
            }
        });
        drop(release);
        assert_eq!(long, None);
    }

    #[test]
    fn newcomers_get_a_burst_and_then_a_share_of_the_cpu() {
        let (mut budget, start) = (CpuBudget::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert!(budget.allows(start));
        budget.spend(3 * second);
        assert!(!budget.allows(start) && budget.allows(start + second));
        budget.spend(second.mul_f64(SHARE));
        assert!(!budget.allows(start + second));
        assert!(budget.allows(start + 100 * second));
        assert_eq!(budget.left, BURST, "no more than a burst is saved up");
    }
}
