//! Peers that reach a media port by TCP (RFC 6544): the SFU is the passive side, and each packet is a frame of RFC
//! 4571.
//!
//! # Where TCP meets the rest
//!
//! To the code above the socket such a peer is a UDP peer. Its connection has a stand-in for the address of the peer,
//! which no network has and no other connection gets, so a UDP peer behind the same NAT never has the address of a TCP
//! peer. [`connection`] reads frames and gives them to the thread of the port as datagrams from that address. The other
//! way, a `UdpSender` looks at the destination of each batch, once for all of its packets, and a batch for such an
//! address goes to the queue of the connection instead of the socket. What does not fit there is refused, as a full
//! socket would refuse it, so the student's video is dropped up to the next key frame.

mod connection;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Instant;

pub(super) use self::connection::{Opening, TcpPacket};
use self::queue::Queue;
use crate::network::Network;

/// The stand-ins: part of 240.0.0.0/4, which is reserved (RFC 1112, 4), and 100::/64, which is discarded (RFC 6666).
const V4_PREFIX: u32 = 0xf000_0000;
const V4_NUMBERS: u32 = 0x07ff_ffff;
const V6_PREFIX: [u16; 4] = [0x100, 0, 0, 0];

/// The port of each stand-in: that of the discard service (RFC 863).
const PORT: u16 = 9;

/// The TCP connections of a port. A clone has the same connections.
#[derive(Clone, Default)]
pub(super) struct TcpPeers(Arc<Shared>);

struct Shared {
    /// The number of the next connection.
    next: AtomicU32,
    queues: RwLock<HashMap<SocketAddr, Arc<Queue>>>,
    /// The bytes that wait for all connections, and for those of each network that has some.
    waiting: Arc<AtomicUsize>,
    of_networks: Mutex<HashMap<Network, Weak<AtomicUsize>>>,
}

impl Default for Shared {
    fn default() -> Self {
        let (queues, waiting, of_networks) = Default::default();
        Self { next: AtomicU32::new(rand::random()), queues, waiting, of_networks }
    }
}

/// A registered connection. Dropping it ends the registration.
struct Registered {
    peers: TcpPeers,
    from: SocketAddr,
    queue: Arc<Queue>,
}

impl TcpPeers {
    /// Whether this is the stand-in for the address of some TCP peer. No datagram of a network comes from there.
    pub(super) fn is_stand_in(address: SocketAddr) -> bool {
        match address.ip() {
            IpAddr::V4(ip) => ip.to_bits() & !V4_NUMBERS == V4_PREFIX,
            IpAddr::V6(ip) => ip.segments()[..4] == V6_PREFIX,
        }
    }

    /// Gives a batch of packets of `segment` bytes to a connection. The last packet may be shorter.
    ///
    /// # Errors
    /// If the connection is gone or has no room for all of them.
    pub(super) fn send(&self, to: SocketAddr, packets: &[u8], segment: usize) -> io::Result<()> {
        let queue = self.queue(to).ok_or(io::ErrorKind::NotConnected)?;
        queue.push(packets, segment)
    }

    /// Something came from a peer that has proved that it knows the answer.
    pub(super) fn heard(&self, now: Instant, from: SocketAddr) {
        if let Some(queue) = self.queue(from) {
            queue.heard(now);
        }
    }

    /// The peer is gone: ends its connection.
    pub(super) fn close(&self, from: SocketAddr) {
        if let Some(queue) = self.queue(from) {
            queue.close();
        }
    }

    /// The connections.
    pub(super) fn count(&self) -> usize {
        self.0.queues.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn queue(&self, of: SocketAddr) -> Option<Arc<Queue>> {
        self.0.queues.read().unwrap_or_else(PoisonError::into_inner).get(&of).cloned()
    }

    /// The bytes that wait for the connections of a network.
    fn of_network(&self, network: Network) -> Arc<AtomicUsize> {
        let mut networks = self.0.of_networks.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() > self.count() {
            networks.retain(|_, bytes| bytes.strong_count() > 0);
        }
        let known = networks.get(&network).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let bytes = Arc::default();
            networks.insert(network, Arc::downgrade(&bytes));
            bytes
        })
    }

    /// Registers a connection of a peer in this network to a port that is bound to `local`.
    fn register(&self, local: SocketAddr, network: Network) -> Registered {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let ip: IpAddr = match at(local).ip() {
            IpAddr::V4(_) => Ipv4Addr::from_bits(V4_PREFIX | (number & V4_NUMBERS)).into(),
            IpAddr::V6(_) => {
                let ([a, b, c, d], [high, low]) = (V6_PREFIX, [(number >> 16) as u16, number as u16]);
                Ipv6Addr::new(a, b, c, d, 0, 0, high, low).into()
            }
        };
        let queue = Arc::new(Queue::new(Arc::clone(&self.0.waiting), self.of_network(network)));
        let from = SocketAddr::new(ip, PORT);
        let mut queues = self.0.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.insert(from, Arc::clone(&queue));
        Registered { peers: self.clone(), from, queue }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.queue.close();
        self.peers.0.queues.write().unwrap_or_else(PoisonError::into_inner).remove(&self.from);
    }
}

/// The local address of the packets of TCP peers: one that each SFU of a port bound to `local` has as a candidate.
fn at(local: SocketAddr) -> SocketAddr {
    if local.ip().is_unspecified() { SocketAddr::new(Ipv4Addr::LOCALHOST.into(), local.port()) } else { local }
}
