//! The resource limits of this process, and its resource use according to the kernel.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::report::ProcessMetrics;

/// Raises the soft limit on open files to the hard limit. A server opens one file per student, and the usual soft limit
/// of 1,024 would stop a class at a thousand.
pub(crate) fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If this fails, the server reports an error when it runs out of files.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The number of files that this process may open.
pub(crate) fn max_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The resource use of this process according to the kernel; `begun` is its start.
pub(crate) fn metrics(begun: SystemTime) -> ProcessMetrics {
    ProcessMetrics {
        start_time_seconds: begun.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        cpu_seconds: Some(cpu().as_secs_f64()),
        resident_bytes: memory_kb().ok().map(|kb| kb * 1024),
        open_fds: open_fds(),
        max_fds: getrlimit(Resource::Nofile).current,
    }
}

/// The CPU time of all threads.
fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.try_into().unwrap_or(0), used.tv_nsec.try_into().unwrap_or(0))
}

fn open_fds() -> Option<u64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the directory being read.
    Some(open.saturating_sub(1) as u64)
}

/// The resident memory of this process in kB.
///
/// # Errors
/// If `/proc` cannot be read.
pub(crate) fn memory_kb() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok());
    number.ok_or_else(|| io::Error::other("/proc/self/status has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reports_resource_use() {
        let before = metrics(UNIX_EPOCH + Duration::from_secs(9));
        let file = std::fs::File::open("/dev/null").unwrap();
        let more: Vec<std::fs::File> = (0..40).map(|_| file.try_clone().unwrap()).collect();
        let after = metrics(UNIX_EPOCH);
        assert_eq!(before.start_time_seconds, 9.0);
        assert!(before.resident_bytes.unwrap() > 1_000_000);
        assert!(before.cpu_seconds.unwrap() > 0.0 && after.cpu_seconds >= before.cpu_seconds);
        // Other tests open and close files at the same time.
        assert!(after.open_fds.unwrap() > more.len() as u64 && after.max_fds > after.open_fds);
    }
}
