//! How long one student's turn took: one student must not keep a thread that the class shares.
//!
//! What counts is CPU time of the thread, as a machine that is busy or stopped is no student's fault. To ask for it
//! costs a system call, so it is asked for twice in [`FRESH`] at the most, and after a turn only if that took long by
//! the wall clock.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A turn takes 20 us, and 2 ms where a connection is negotiated.
pub(super) const LONGEST_TURN: Duration = Duration::from_millis(50);

/// CPU time that is known of this instant counts as that of now, less what has passed since: a turn is never taken for
/// longer than it was.
const FRESH: Duration = Duration::from_millis(2);

/// Measures turns of one thread.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// When the thread had used so much.
    known: Option<(Instant, Duration)>,
}

impl Watchdog {
    /// Does a student's work; gives how long it kept the CPU if that was too long.
    pub(super) fn watch<T>(&mut self, work: impl FnOnce() -> T) -> (T, Option<Duration>) {
        let began = Instant::now();
        let fresh = self.known.filter(|(at, _)| began.saturating_duration_since(*at) <= FRESH);
        let (at, before) = *self.known.insert(fresh.unwrap_or_else(|| (began, cpu_time())));
        let done = work();
        if began.elapsed() <= LONGEST_TURN {
            return (done, None);
        }
        let used = cpu_time().saturating_sub(before);
        (done, too_long(used, began.saturating_duration_since(at)))
    }
}

/// How long a turn took at least, if that was too long: the thread used so much CPU time since an instant that was
/// `other` before the turn.
fn too_long(used: Duration, other: Duration) -> Option<Duration> {
    Some(used.saturating_sub(other)).filter(|least| *least > LONGEST_TURN)
}

/// Of this thread.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_was_used_before_a_turn_is_not_its_own() {
        assert_eq!(too_long(51 * MS, Duration::ZERO), Some(51 * MS));
        assert_eq!(too_long(51 * MS, 2 * MS), None);
        assert_eq!(too_long(Duration::ZERO, 2 * MS), None);
    }

    #[test]
    fn who_keeps_the_cpu_is_found() {
        let mut dog = Watchdog::default();
        let (worked, long) = dog.watch(|| {
            let start = cpu_time();
            while cpu_time() - start <= LONGEST_TURN + FRESH {}
            7
        });
        assert_eq!(worked, 7);
        assert!(long.is_some_and(|long| long > LONGEST_TURN));
    }

    /// As when the process is stopped, or another has the CPU.
    #[test]
    fn who_only_waits_is_not() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let mut dog = Watchdog::default();
        let began = Instant::now();
        let ((), long) = dog.watch(|| {
            while began.elapsed() <= 2 * LONGEST_TURN {
                let _ = wait.recv_timeout(LONGEST_TURN);
            }
        });
        drop(release);
        assert_eq!(long, None);
    }
}
