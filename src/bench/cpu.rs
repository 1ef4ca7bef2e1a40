//! CPU time of the threads of this process, by name.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The difference between the usual priority and the lowest one.
const LEAST_URGENT: i32 = 19;

/// CPU time of the calling thread up to now. (`schedstat` lags behind by up to one tick of the scheduler.)
pub(super) fn of_this_thread() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Makes the calling thread give way to the threads of the SFU. In a class, students and networks are other computers;
/// on this one they must not delay the SFU. Threads that this one starts inherit that.
pub(super) fn give_way() {
    // Without this, delays are longer, but true of this machine.
    let _ = rustix::process::nice(LEAST_URGENT);
}

/// CPU time of all running threads of the SFU: their names start with `sfu`.
pub(super) fn of_sfu() -> io::Result<Duration> {
    of_threads("sfu")
}

/// CPU time of all running threads whose name starts with `prefix`.
fn of_threads(prefix: &str) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // A thread may end in the meantime.
        if std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(prefix)) {
            sum += schedstat(&task.join("schedstat"))?;
        }
    }
    Ok(sum)
}

/// CPU time of the threads of this process, including threads that have ended since they were sampled.
#[derive(Debug, Clone, Default)]
pub(super) struct CpuByThread(HashMap<u32, (String, Duration)>);

impl CpuByThread {
    /// Samples all threads.
    pub(super) fn sample(&mut self) {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        for task in tasks.map(|task| task.path()) {
            // A thread may end in the meantime.
            let Ok(name) = std::fs::read_to_string(task.join("comm")) else { continue };
            let Ok(used) = schedstat(&task.join("schedstat")) else { continue };
            if let Some(id) = task.file_name().and_then(|id| id.to_str()?.parse().ok()) {
                self.0.insert(id, (name.trim_end().to_owned(), used));
            }
        }
    }

    /// The total of all threads whose name begins with `prefix`.
    pub(super) fn of_prefix(&self, prefix: &str) -> Duration {
        self.0.values().filter(|(of, _)| of.starts_with(prefix)).map(|(_, used)| *used).sum()
    }

    /// The total of all threads with this name.
    pub(super) fn of(&self, name: &str) -> Duration {
        self.0.values().filter(|(of, _)| of == name).map(|(_, used)| *used).sum()
    }
}

fn schedstat(path: &Path) -> io::Result<Duration> {
    nanoseconds(&std::fs::read_to_string(path)?).ok_or_else(|| {
        let path = path.display();
        io::Error::other(format!("{path} does not begin with a number: the kernel counts no CPU time"))
    })
}

/// The first field of a `schedstat` file: nanoseconds on a CPU. (`stat` counts in hundredths of a second.)
fn nanoseconds(text: &str) -> Option<Duration> {
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn the_first_field_of_schedstat_is_read() {
        assert_eq!(nanoseconds("222264498 210598993 311\n"), Some(Duration::from_nanos(222_264_498)));
        assert_eq!(nanoseconds(""), None);
    }

    #[test]
    fn the_clock_of_a_thread_counts_each_moment() {
        let before = of_this_thread();
        assert!((0..1_000_000).any(|_| of_this_thread() > before));
    }

    #[test]
    fn sampled_threads_count_by_name_even_after_their_end() {
        let (started, sampled) = (Barrier::new(2), Barrier::new(2));
        let mut cpu = CpuByThread::default();
        std::thread::scope(|scope| {
            // No other test has threads of this name.
            let thread = std::thread::Builder::new().name("counted-1".to_owned()).spawn_scoped(scope, || {
                started.wait();
                sampled.wait();
            });
            started.wait();
            cpu.sample();
            assert!(!of_threads("counted").unwrap().is_zero());
            sampled.wait();
            thread.unwrap().join().unwrap();
        });
        assert!(of_threads("counted").unwrap().is_zero(), "it has ended");
        let used = cpu.of("counted-1");
        cpu.sample();
        assert!(!used.is_zero() && cpu.of("counted-1") == used);
        assert!(cpu.of("counted").is_zero(), "another name");
        assert_eq!(cpu.of_prefix("counted"), used);
    }
}
