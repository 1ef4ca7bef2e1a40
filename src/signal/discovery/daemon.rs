//! A thread of the DNS-SD library that a flood of datagrams does not harm.
//!
//! `mdns-sd` 0.21.7 reads its sockets until they are empty, looks at its commands only then, and keeps every record.
//! With a datagram always at hand it takes a whole core and more and more memory, and obeys no shutdown. So its thread
//! may run at a low priority, and a filter of the kernel (SO_ATTACH_FILTER) decides what the sockets receive.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mdns_sd::ServiceDaemon;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open, setpriority_process};
use socket2::{SockFilter, SockRef};

/// The port of multicast DNS.
const PORT: u16 = 5_353;

/// The longest wait for the sockets. They are open within milliseconds, unless the machine is very busy.
const OPENS_WITHIN: Duration = Duration::from_secs(2);

/// The name of the library's threads.
const THREAD: &str = "mDNS_daemon";

/// A low priority: a tenth of the time of a core that others want too.
const NICE: i32 = 10;

/// The offset of the flags of a DNS message in a UDP datagram, and the bit of a response (RFC 1035, 4.1.1).
const FLAGS_AT: u32 = 8 + 2;
const RESPONSE: u32 = 0x80;

/// One thread starts at a time: the thread and its sockets are those that are new.
static STARTING: Mutex<()> = Mutex::new(());

/// What the sockets of a thread receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receives {
    /// The questions of others, which leave nothing behind.
    Queries,
    /// Nothing, so that the thread gets to its commands.
    Nothing,
}

/// A thread of the library with its sockets.
pub(super) struct Daemon {
    pub(super) library: ServiceDaemon,
    thread: Option<Pid>,
    /// Copies of the descriptors. Empty where the system does not let us find the sockets: then they receive all.
    sockets: Vec<OwnedFd>,
}

impl Daemon {
    /// Starts a thread. Returns when its sockets are open.
    ///
    /// # Errors
    /// If the thread can't be created.
    pub(super) fn start() -> Result<Self, mdns_sd::Error> {
        let _turn = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, threads_before) = (sockets_of_process(), threads());
        let library = ServiceDaemon::new()?;
        // The thread opens its sockets before it looks at its commands.
        let _ = library.status()?.recv_timeout(OPENS_WITHIN);
        let new = sockets_of_process().into_iter().filter(|(name, _)| !before.contains_key(name));
        let sockets = new.filter_map(|(_, number)| copy_of(number).ok().flatten()).collect();
        let thread = threads().into_iter().find(|thread| !threads_before.contains(thread)).and_then(Pid::from_raw);
        Ok(Self { library, thread, sockets })
    }

    /// Lowers the priority of the thread.
    pub(super) fn yield_to_others(&self) {
        if let Some(thread) = self.thread {
            // On Linux each thread has a priority of its own.
            let _ = setpriority_process(Some(thread), NICE);
        }
    }

    /// Sets what the sockets receive from now on.
    pub(super) fn set_receives(&self, receives: Receives) {
        let (load_byte, jump_if_set, end) = (
            (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16,
            (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16,
            (libc::BPF_RET | libc::BPF_K) as u16,
        );
        let (all, nothing) = (SockFilter::new(end, 0, 0, u32::MAX), SockFilter::new(end, 0, 0, 0));
        let flags = SockFilter::new(load_byte, 0, 0, FLAGS_AT);
        let is_response = SockFilter::new(jump_if_set, 1, 0, RESPONSE);
        let filter: &[SockFilter] = match receives {
            Receives::Queries => &[flags, is_response, all, nothing],
            Receives::Nothing => &[nothing],
        };
        for socket in &self.sockets {
            // A kernel that takes no filter leaves the limits of the callers.
            let _ = SockRef::from(socket).attach_filter(filter);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Otherwise a flood would keep the thread from its end.
        self.set_receives(Receives::Nothing);
        _ = self.library.shutdown();
    }
}

/// The threads of the library in this process.
fn threads() -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let is_ours = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == THREAD);
    let ours = entries.filter(|entry| is_ours(&entry.path()));
    ours.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The names of this process's sockets, each with one of its descriptors: the library has two of each.
fn sockets_of_process() -> BTreeMap<PathBuf, i32> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let name = std::fs::read_link(entry.path()).ok()?;
        name.to_str()?.starts_with("socket:").then_some((name, number))
    });
    named.collect()
}

/// A copy of a descriptor, if it is a socket of multicast DNS.
fn copy_of(number: i32) -> io::Result<Option<OwnedFd>> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let copy = pidfd_getfd(own, number, PidfdGetfdFlags::empty())?;
    let address = SockRef::from(&copy).local_addr()?.as_socket();
    Ok(address.is_some_and(|address| address.port() == PORT).then_some(copy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_and_its_sockets_are_found_beside_those_of_another() {
        let [one, other] = [(); 2].map(|()| Daemon::start().unwrap());
        assert!(one.thread.is_some() && other.thread.is_some() && one.thread != other.thread);
        for daemon in [&one, &other] {
            assert!((1..=2).contains(&daemon.sockets.len()), "of IPv4 and IPv6");
        }
    }
}
