//! A bad network for one student: a UDP forwarder between the student and the SFU that drops, delays, reorders and
//! rate-limits packets.
//!
//! The student gets the emulator's [`address`](Emulator::address) in place of the SFU's candidates ([`through`]), and
//! the SFU gets none of the student's candidates ([`without_candidates`]), so there is no direct path. Each direction
//! is a [`Path`], which does no I/O; this file contains the sockets, the clock and the thread.

mod candidates;
mod in_flight;
mod path;

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
use self::in_flight::InFlight;
pub use self::path::{Burst, OVERHEAD_BYTES, Path, PathConfig, PathCounts, QUEUE};

/// The largest datagram.
const MAX_DATAGRAM: usize = 65_535;

/// The number of datagrams read from one side before due datagrams are delivered.
const READ_AT_ONCE: usize = 64;

/// The size of the kernel's buffers, if it allows that: a second at 16 Mbit/s, for when this thread is delayed.
const SOCKET_BYTES: usize = 2_000_000;

/// The packet counts of both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// From the SFU to the student.
    pub down: PathCounts,
    /// From the student to the SFU.
    pub up: PathCounts,
}

/// A running emulator. Dropping it ends it and loses the packets in flight.
#[derive(Debug)]
pub struct Emulator {
    control: Arc<Control>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Control {
    paths: Mutex<Paths>,
    ended: AtomicBool,
    /// Wakes the thread so that it sees `ended`.
    wake: OwnedFd,
}

#[derive(Debug)]
struct Paths {
    down: Path,
    up: Path,
}

impl Control {
    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Emulator {
    /// Starts an emulator in front of the SFU at this address. The same seed has the same effect on the same packets.
    ///
    /// # Errors
    /// If a socket or the thread cannot be created.
    pub fn start(sfu: SocketAddr, down: PathConfig, up: PathConfig, seed: u64) -> io::Result<Self> {
        let front = bind(Ipv4Addr::LOCALHOST.into())?;
        let back = bind(match sfu.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        })?;
        // The kernel drops datagrams from other addresses.
        back.connect(sfu)?;
        let address = front.local_addr()?;
        let now = Instant::now();
        // The directions have different seeds.
        let paths = Paths { down: Path::new(down, seed, now), up: Path::new(up, !seed, now) };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = Arc::new(Control { paths: Mutex::new(paths), ended: AtomicBool::new(false), wake });
        let forwarder = Forwarder {
            control: Arc::clone(&control),
            front,
            back,
            student: None,
            down: InFlight::default(),
            up: InFlight::default(),
            buffer: vec![0; MAX_DATAGRAM],
        };
        let thread = std::thread::Builder::new().name("emulator".to_owned()).spawn(move || forwarder.run())?;
        Ok(Self { control, address, thread: Some(thread) })
    }

    /// The address to which the student sends.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the network from now on; see [`Path::set`].
    pub fn set(&self, down: PathConfig, up: PathConfig) {
        let mut paths = self.control.paths();
        paths.down.set(down);
        paths.up.set(up);
    }

    /// Starts the clock of the bursts.
    pub fn begin(&self) {
        let (mut paths, now) = (self.control.paths(), Instant::now());
        paths.down.begin(now);
        paths.up.begin(now);
    }

    /// The packet counts so far.
    pub fn counts(&self) -> Counts {
        let paths = self.control.paths();
        Counts { down: paths.down.counts(), up: paths.up.counts() }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.control.ended.store(true, Ordering::Relaxed);
        // Fails only if the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.control.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, so it has ended.
            let _ = thread.join();
        }
    }
}

fn bind(ip: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
    socket.set_nonblocking(true)?;
    let options = socket2::SockRef::from(&socket);
    // With smaller buffers the emulator only loses more packets on a busy machine.
    let _ = options.set_recv_buffer_size(SOCKET_BYTES);
    let _ = options.set_send_buffer_size(SOCKET_BYTES);
    Ok(socket)
}

/// The state of the thread.
struct Forwarder {
    control: Arc<Control>,
    /// The socket to the student.
    front: UdpSocket,
    /// The socket to the SFU.
    back: UdpSocket,
    /// The student's last address.
    student: Option<SocketAddr>,
    down: InFlight,
    up: InFlight,
    buffer: Vec<u8>,
}

impl Forwarder {
    fn run(mut self) {
        while !self.control.ended.load(Ordering::Relaxed) {
            self.deliver(Instant::now());
            let due = self.down.due().into_iter().chain(self.up.due()).min();
            let timeout = due.map(|due| timespec(due.saturating_duration_since(Instant::now())));
            let mut ready = [
                PollFd::new(&self.front, PollFlags::IN),
                PollFd::new(&self.back, PollFlags::IN),
                PollFd::new(&self.control.wake, PollFlags::IN),
            ];
            // If a signal interrupts this, the next turn polls again.
            let _ = poll(&mut ready, timeout.as_ref());
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
        for _ in 0..READ_AT_ONCE {
            match self.front.recv_from(&mut self.buffer) {
                Ok((size, from)) => {
                    self.student = Some(from);
                    self.up.send(&mut self.control.paths().up, Instant::now(), &self.buffer[..size]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error for an earlier datagram.
                Err(_) => {}
            }
        }
    }

    fn read_back(&mut self) {
        for _ in 0..READ_AT_ONCE {
            match self.back.recv(&mut self.buffer) {
                Ok(size) => self.down.send(&mut self.control.paths().down, Instant::now(), &self.buffer[..size]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    /// Delivers the packets that have arrived. A packet rejected by the kernel is lost.
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
