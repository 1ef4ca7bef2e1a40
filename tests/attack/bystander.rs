//! A host that takes no part in the lecture and counts what it receives.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the thread looks whether it should end.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// The size of the kernel's receive buffer, if it allows that.
const SOCKET_BYTES: usize = 4_000_000;

/// A UDP socket on all addresses of 127.0.0.0/8. Dropping ends its thread.
#[derive(Debug)]
pub struct Bystander {
    port: u16,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    packets: AtomicU64,
    bytes: AtomicU64,
    ends: AtomicBool,
}

impl Bystander {
    /// Binds the socket and starts to count.
    ///
    /// # Errors
    /// If no port is free.
    pub fn start() -> io::Result<Arc<Self>> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        // With a smaller buffer the count is too low on a busy machine.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BYTES);
        let port = socket.local_addr()?.port();
        let counts = Arc::new(Counts::default());
        let of_thread = Arc::clone(&counts);
        let thread = std::thread::spawn(move || {
            let mut datagram = [0; 2_048];
            while !of_thread.ends.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut datagram) {
                    of_thread.packets.fetch_add(1, Ordering::Relaxed);
                    of_thread.bytes.fetch_add(length as u64, Ordering::Relaxed);
                }
            }
        });
        Ok(Arc::new(Self { port, counts, thread: Some(thread) }))
    }

    /// The address number `n` of this host. Each is another candidate for an ICE agent.
    pub fn address(&self, n: usize) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + n as u32), self.port)
    }

    /// Datagrams received so far.
    pub fn packets(&self) -> u64 {
        self.counts.packets.load(Ordering::Relaxed)
    }

    /// Bytes received so far, without the headers of UDP and IP.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.counts.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // An error means that the thread panicked, so it has ended.
            let _ = thread.join();
        }
    }
}
