//! Detects that this process was suspended: stopped (Ctrl-Z), asleep with the computer (a laptop's lid), or deprived of
//! the CPU.
//!
//! Silence, delay and timeouts during a suspension say nothing about a network path.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The shortest pause that counts as a suspension. A shorter one is due to a busy computer.
pub const SHORTEST: Duration = Duration::from_millis(300);

/// The interval between the beats of a [`SuspensionMonitor`].
const EVERY: Duration = Duration::from_millis(50);

/// A period in which this process did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspension {
    /// The last beat before the suspension.
    pub from: Instant,
    /// The first beat after the suspension. This clock stops while a computer sleeps.
    pub to: Instant,
    /// The duration, sleep included.
    pub lasted: Duration,
}

/// Detects pauses between beats.
#[derive(Debug, Default)]
pub struct SuspensionDetector {
    last: Option<(Instant, Duration)>,
}

impl SuspensionDetector {
    /// Beats, and returns the suspension that this beat ends, if there was one. To be called far more often than every
    /// 300 ms, the shortest pause.
    pub fn beat(&mut self) -> Option<Suspension> {
        self.beat_at(Instant::now(), since_boot())
    }

    /// The same at a given time; `boot` is the time since the computer started, sleep included.
    fn beat_at(&mut self, now: Instant, boot: Duration) -> Option<Suspension> {
        let (from, boot_before) = self.last.replace((now, boot))?;
        let lasted = now.saturating_duration_since(from).max(boot.saturating_sub(boot_before));
        (lasted >= SHORTEST).then_some(Suspension { from, to: now, lasted })
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// A [`SuspensionDetector`] that beats on a task of its own.
#[derive(Debug)]
pub struct SuspensionMonitor {
    shared: Arc<Mutex<(SuspensionDetector, Option<Suspension>)>>,
    beating: tokio::task::JoinHandle<()>,
}

impl SuspensionMonitor {
    /// Starts the task. Must be called within a tokio runtime.
    pub fn start() -> Self {
        let shared = Arc::default();
        let of_task = Arc::clone(&shared);
        let beating = tokio::spawn(async move {
            loop {
                look(&of_task);
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { shared, beating }
    }

    /// The latest suspension, including one that has just ended.
    pub fn newest_pause(&self) -> Option<Suspension> {
        look(&self.shared)
    }
}

impl Drop for SuspensionMonitor {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

fn look(shared: &Mutex<(SuspensionDetector, Option<Suspension>)>) -> Option<Suspension> {
    let mut locked: MutexGuard<'_, _> = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let (pulse, newest) = &mut *locked;
    *newest = pulse.beat().or(*newest);
    *newest
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_stop_and_a_sleep_are_suspensions_and_a_busy_computer_is_not() {
        let (mut pulse, start, boot) = (SuspensionDetector::default(), Instant::now(), Duration::from_secs(1_000));
        assert_eq!(pulse.beat_at(start, boot), None, "the first");
        assert_eq!(pulse.beat_at(start + 250 * MS, boot + 250 * MS), None);
        let (from, to) = (start + 250 * MS, start + 3_250 * MS);
        let stopped = pulse.beat_at(to, boot + 3_250 * MS);
        assert_eq!(stopped, Some(Suspension { from, to, lasted: 3_000 * MS }));
        assert_eq!(pulse.beat_at(to + 5 * MS, boot + 3_255 * MS), None, "said once");
        let slept = pulse.beat_at(to + 10 * MS, boot + 63_255 * MS);
        assert_eq!(slept.map(|pause| pause.lasted), Some(60_000 * MS));
    }

    #[test]
    fn the_clocks_of_this_computer_agree() {
        let mut pulse = SuspensionDetector::default();
        assert_eq!((pulse.beat(), pulse.beat()), (None, None));
        assert!(since_boot() > Duration::ZERO);
    }
}
