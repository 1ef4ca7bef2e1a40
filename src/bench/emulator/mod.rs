//! A bad network for one student: a UDP forwarder that stands between it and the SFU, and loses, delays, reorders and
//! slows down what passes.
//!
//! The student is given the emulator's [`address`](Emulator::address) in place of the SFU's candidates, by
//! [`through`], and the SFU none of the student's, by [`without_candidates`]: so neither finds a direct way. Each
//! direction is a [`Path`], which is pure; here are the sockets, the clock and the thread.

mod candidates;
mod path;
mod under_way;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};

pub use self::candidates::{through, without_candidates};
pub use self::path::{Burst, OVERHEAD_BYTES, Path, PathConfig, PathCounts, QUEUE};
use self::under_way::UnderWay;

/// The largest datagram that there is.
const MOST_BYTES: usize = 65_535;

/// Datagrams that are read at once from a side, before those that are due get their turn.
const TURN: usize = 64;

/// What the kernel may hold for us while this thread waits for its turn: a second of 16 Mbit/s. It gives what it is
/// allowed to give.
const SOCKET_BYTES: usize = 2_000_000;

/// What became of the packets of both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// From the SFU to the student.
    pub down: PathCounts,
    /// From the student to the hub.
    pub up: PathCounts,
}

/// A running emulator. Dropping it ends it, and loses what is under way.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    paths: Mutex<Paths>,
    ended: AtomicBool,
    /// Wakes the thread, so that it sees that it has ended.
    wake: OwnedFd,
}

#[derive(Debug)]
struct Paths {
    down: Path,
    up: Path,
}

impl Shared {
    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Emulator {
    /// Stands in front of the SFU at this address, from now on. The same seed has the same fate for the same packets.
    ///
    /// # Errors
    /// When no socket or thread can be had.
    pub fn start(sfu: SocketAddr, down: PathConfig, up: PathConfig, seed: u64) -> io::Result<Self> {
        let front = bind(Ipv4Addr::LOCALHOST.into())?;
        let back = bind(match sfu.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        })?;
        // What comes from others is dropped by the kernel.
        back.connect(sfu)?;
        let address = front.local_addr()?;
        let now = Instant::now();
        // Two directions, two fates.
        let paths = Paths { down: Path::new(down, seed, now), up: Path::new(up, !seed, now) };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared { paths: Mutex::new(paths), ended: AtomicBool::new(false), wake });
        let forwarder = Forwarder {
            shared: Arc::clone(&shared),
            front,
            back,
            student: None,
            down: UnderWay::default(),
            up: UnderWay::default(),
            buffer: vec![0; MOST_BYTES],
        };
        let thread = std::thread::Builder::new().name("emulator".to_owned()).spawn(move || forwarder.run())?;
        Ok(Self { shared, address, thread: Some(thread) })
    }

    /// Where the student sends to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another network from now on; see [`Path::set`].
    pub fn set(&self, down: PathConfig, up: PathConfig) {
        let mut paths = self.shared.paths();
        paths.down.set(down);
        paths.up.set(up);
    }

    /// The bursts are counted from now on.
    pub fn begin(&self) {
        let (mut paths, now) = (self.shared.paths(), Instant::now());
        paths.down.begin(now);
        paths.up.begin(now);
    }

    /// The packets until now.
    pub fn counts(&self) -> Counts {
        let paths = self.shared.paths();
        Counts { down: paths.down.counts(), up: paths.up.counts() }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // It fails only when the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then there is nothing left to end.
            let _ = thread.join();
        }
    }
}

fn bind(ip: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
    socket.set_nonblocking(true)?;
    let options = socket2::SockRef::from(&socket);
    // Less than wanted is no reason to fail: it only loses more than was asked for when this machine is busy.
    let _ = options.set_recv_buffer_size(SOCKET_BYTES);
    let _ = options.set_send_buffer_size(SOCKET_BYTES);
    Ok(socket)
}

/// The thread's own.
struct Forwarder {
    shared: Arc<Shared>,
    /// The student's side.
    front: UdpSocket,
    /// The SFU's side.
    back: UdpSocket,
    /// Where the student was last heard from.
    student: Option<SocketAddr>,
    down: UnderWay,
    up: UnderWay,
    buffer: Vec<u8>,
}

impl Forwarder {
    fn run(mut self) {
        while !self.shared.ended.load(Ordering::Relaxed) {
            self.deliver(Instant::now());
            let due = self.down.due().into_iter().chain(self.up.due()).min();
            let patience = due.map(|due| timespec(due.saturating_duration_since(Instant::now())));
            let mut ready = [
                PollFd::new(&self.front, PollFlags::IN),
                PollFd::new(&self.back, PollFlags::IN),
                PollFd::new(&self.shared.wake, PollFlags::IN),
            ];
            // Interrupted by a signal: the next round asks again.
            let _ = poll(&mut ready, patience.as_ref());
            let [front, back, _] = ready.map(|side| !side.revents().is_empty());
            if front {
                self.read_front();
            }
            if back {
                self.read_back();
            }
        }
    }

    fn read_front(&mut self) {
        for _ in 0..TURN {
            match self.front.recv_from(&mut self.buffer) {
                Ok((size, from)) => {
                    self.student = Some(from);
                    self.up.take(&mut self.shared.paths().up, Instant::now(), &self.buffer[..size]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP message about a datagram of before, that was reported now.
                Err(_) => {}
            }
        }
    }

    fn read_back(&mut self) {
        for _ in 0..TURN {
            match self.back.recv(&mut self.buffer) {
                Ok(size) => self.down.take(&mut self.shared.paths().down, Instant::now(), &self.buffer[..size]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    /// Hands over what has arrived by now. What the kernel refuses is lost, as it may be on any way.
    fn deliver(&mut self, now: Instant) {
        while let Some(packet) = self.up.arrived(now) {
            let _ = self.back.send(&packet);
        }
        while let Some(packet) = self.down.arrived(now) {
            if let Some(student) = self.student {
                let _ = self.front.send_to(&packet, student);
            }
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

#[cfg(test)]
mod tests;
