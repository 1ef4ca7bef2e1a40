//! A thread of the DNS-SD library that a flood of datagrams does not harm.
//!
//! `mdns-sd` 0.21.7 reads its sockets until they are empty, looks at its commands only then, and keeps every record.
//! With a datagram always at hand it takes a whole core and more and more memory, and obeys no shutdown. So its thread
//! runs at the lowest priority, and a filter of the kernel (SO_ATTACH_FILTER) decides what the sockets receive.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mdns_sd::ServiceDaemon;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, nice, pidfd_getfd, pidfd_open};
use socket2::{SockFilter, SockRef};

/// The port of multicast DNS.
const PORT: u16 = 5_353;

/// The longest wait for the sockets.
const OPENS_WITHIN: Duration = Duration::from_millis(500);

/// The lowest priority.
const NICE: i32 = 19;

/// The offset of the flags of a DNS message in a UDP datagram, and the bit of a response (RFC 1035, 4.1.1).
const FLAGS_AT: u32 = 8 + 2;
const RESPONSE: u32 = 0x80;

/// One thread starts at a time: its sockets are those that are new.
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
        let before = sockets_of_process();
        // On Linux a thread has the priority of the thread that created it.
        let start = || {
            let _ = nice(NICE);
            ServiceDaemon::new()
        };
        let started = std::thread::scope(|scope| scope.spawn(start).join());
        let library = started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        // The thread opens its sockets before it looks at its commands.
        let _ = library.status()?.recv_timeout(OPENS_WITHIN);
        let new = sockets_of_process().into_iter().filter(|socket| !before.contains(socket));
        Ok(Self { library, sockets: new.filter_map(|(number, _)| copy_of(number).ok().flatten()).collect() })
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

/// The descriptors of this process that are sockets, each with the name of its socket.
fn sockets_of_process() -> BTreeSet<(i32, PathBuf)> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let name = std::fs::read_link(entry.path()).ok()?;
        name.to_str()?.starts_with("socket:").then_some((number, name))
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
    fn the_sockets_of_a_thread_are_found_and_take_a_filter() {
        let daemon = Daemon::start().unwrap();
        let ports =
            daemon.sockets.iter().map(|socket| SockRef::from(socket).local_addr().unwrap().as_socket().unwrap());
        assert!((1..=2).contains(&daemon.sockets.len()) && ports.clone().all(|address| address.port() == PORT));
        let other = Daemon::start().unwrap();
        assert_eq!(other.sockets.len(), daemon.sockets.len(), "those of the other thread alone");
    }
}
