//! What the kernel says this process has used.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

/// CPU of the calling thread.
pub(super) fn cpu_of_this_thread() -> io::Result<Duration> {
    cpu("/proc/thread-self/schedstat")
}

/// CPU of all threads of the SFU, which are those whose name begins with `hub`.
pub(super) fn cpu_of_sfu() -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        // A thread may end while we look.
        if std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("sfu")) {
            sum += cpu(&task.join("schedstat").to_string_lossy())?;
        }
    }
    Ok(sum)
}

/// CPU that the threads of this process have used, those included that ended between two looks.
#[derive(Debug, Clone, Default)]
pub(super) struct CpuByThread(HashMap<u32, (String, Duration)>);

impl CpuByThread {
    /// Looks at all threads that there are.
    pub(super) fn look(&mut self) {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        for task in tasks.map(|task| task.path()) {
            // A thread may end while we look.
            let Ok(name) = std::fs::read_to_string(task.join("comm")) else { continue };
            let Ok(used) = cpu(&task.join("schedstat").to_string_lossy()) else { continue };
            if let Some(id) = task.file_name().and_then(|id| id.to_str()?.parse().ok()) {
                self.0.insert(id, (name.trim_end().to_owned(), used));
            }
        }
    }

    /// All threads of a name.
    pub(super) fn of(&self, name: &str) -> Duration {
        self.0.values().filter(|(of, _)| of == name).map(|(_, used)| *used).sum()
    }
}

/// Cores of this machine that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn cpu(path: &str) -> io::Result<Duration> {
    nanoseconds(&std::fs::read_to_string(path)?)
        .ok_or_else(|| io::Error::other(format!("{path} does not begin with a number: the kernel counts no CPU time")))
}

/// The first field of a `schedstat`: nanoseconds on a CPU. (`stat` counts in hundredths of a second.)
fn nanoseconds(text: &str) -> Option<Duration> {
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        assert_eq!(nanoseconds("222264498 210598993 311\n"), Some(Duration::from_nanos(222_264_498)));
        assert_eq!(nanoseconds(""), None);
        assert!(cpu_of_this_thread().is_ok());
    }

    #[test]
    fn a_thread_that_has_ended_still_counts() {
        let (begun, go_on) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        let mut cpu = CpuByThread::default();
        std::thread::scope(|scope| {
            let worker = std::thread::Builder::new().name("counted".to_owned()).spawn_scoped(scope, || {
                begun.wait();
                go_on.wait();
            });
            begun.wait();
            cpu.look();
            go_on.wait();
            worker.unwrap().join().unwrap();
        });
        let used = cpu.of("counted");
        cpu.look();
        assert!(!used.is_zero() && cpu.of("counted") == used && cpu.of("nobody").is_zero());
    }

    #[test]
    fn only_the_hub_counts() {
        assert_eq!(cpu_of_sfu().unwrap(), Duration::ZERO, "no thread of the tests is named so");
    }
}
