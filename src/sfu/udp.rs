//! The single UDP socket of an SFU: batched receives, and one GSO send per peer and frame.
//!
//! # Fragmentation
//!
//! An RTP packet has up to 1,200 bytes before SRTP, so a path with a smaller MTU (a tunnel, a VPN) drops it if DF is
//! set in the IPv4 header. No ICE agent reports an MTU, and ICMP is often filtered. Media may therefore be fragmented:
//! on an IPv4 path by any router, because DF is clear; on an IPv6 path by our kernel, after a router has sent Packet
//! Too Big (RFC 8201).

use std::collections::HashSet;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ice_tcp::TcpPeers;
use crate::rtp::Delays;

#[cfg(test)]
mod tests;

/// The bytes that the kernel may queue in each direction: a key frame of 100 kB for some forty students. The kernel
/// grants less if `net.core.wmem_max` is lower.
pub(crate) const KERNEL_BUFFER: usize = 4 << 20;

/// The most segments of one GSO send: the kernel accepts 64, and at most 64 kB.
const MAX_SEGMENTS: usize = 40;

/// The most bytes of one GSO send.
const MAX_BATCH_BYTES: usize = 60_000;

/// A socket on which every receive fails for this long is gone.
const GONE_AFTER: Duration = Duration::from_secs(3);

/// The most destinations without GSO that are remembered. A forgotten one costs a failed system call.
const MAX_WITHOUT_GSO: usize = 4096;

/// The receiving end of a bound UDP socket.
pub(super) struct UdpReceiver {
    io: AsyncFd<std::net::UdpSocket>,
    state: Arc<UdpSocketState>,
    local: SocketAddr,
    receive: Box<[u8]>,
    /// The peers that a port reaches by TCP.
    tcp: TcpPeers,
    /// The `errno` with which every receive fails until the socket is reopened.
    #[cfg(test)]
    pub(super) fails_with: Option<i32>,
}

/// A sending end of a UDP socket. Each thread has its own, so that sends do not wait for one another.
pub(super) struct UdpSender {
    io: std::net::UdpSocket,
    state: Arc<UdpSocketState>,
    local: SocketAddr,
    tcp: TcpPeers,
    /// 1 if the kernel does not support GSO.
    max_segments: usize,
    /// Destinations to which a GSO send failed: the interface has a smaller MTU than a segment, or no checksum offload.
    without_gso: HashSet<SocketAddr>,
    batch: Batch,
    /// The counts of packets, bytes, system calls and refused packets.
    pub(super) sent: SentCounts,
    /// The delay from the capture or the arrival of a frame to the socket, for each of its packets.
    pub(super) delays: Delays,
    /// The same delay for audio alone.
    pub(super) sound_delays: Delays,
}

/// Counts of the packets and system calls of a socket.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct SentCounts {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) calls: u64,
    pub(super) refused: u64,
}

/// Datagrams of one size for one destination; only the last one may be shorter.
#[derive(Default)]
struct Batch {
    /// The source and the destination.
    path: Option<(SocketAddr, SocketAddr)>,
    segment: usize,
    count: usize,
    /// The most datagrams of one send.
    most: usize,
    closed: bool,
    bytes: Vec<u8>,
}

/// The outcome of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel accepted the packets.
    Yes,
    /// The kernel's queues are full, or the kernel refused the packets; some of them are lost.
    Refused,
}

impl Sent {
    /// The worse of two results.
    pub(super) fn and(self, other: Self) -> Self {
        if self == Sent::Refused { self } else { other }
    }
}

impl UdpReceiver {
    /// Binds `address`; an unspecified one means all interfaces, IPv6 and IPv4. Must be called within a tokio runtime.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_unspecified() {
            return Self::new(open(address, PortUse::Alone)?);
        }
        let port = address.port();
        match open((Ipv6Addr::UNSPECIFIED, port).into(), PortUse::Alone) {
            Ok(socket) => Self::new(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            // The kernel has no IPv6.
            Err(_) => Self::new(open((Ipv4Addr::UNSPECIFIED, port).into(), PortUse::Alone)?),
        }
    }

    fn new(socket: Socket) -> io::Result<Self> {
        let state = Arc::new(UdpSocketState::new(UdpSockRef::from(&socket))?);
        allow_fragmentation(&socket)?;
        // A tokio `UdpSocket` also waits for the socket to become writable: every send that completes, also of another
        // thread, would wake this one.
        #[expect(deprecated, reason = "its successor is unsafe, for types whose descriptor may change; std's does not")]
        let io = AsyncFd::with_interest(std::net::UdpSocket::from(socket), Interest::READABLE)?;
        let local = io.get_ref().local_addr()?;
        let receive = vec![0; BATCH_SIZE * state.gro_segments().max(1) * 1500].into_boxed_slice();
        Ok(Self {
            io,
            state,
            local,
            receive,
            tcp: TcpPeers::default(),
            #[cfg(test)]
            fails_with: None,
        })
    }

    /// Binds a new socket to the same address in place of this one. `sender` is a sending end of this socket. All
    /// sending ends must be replaced by new ones from [`UdpReceiver::sender`].
    pub(super) fn rebind(&mut self, sender: &UdpSender) -> io::Result<()> {
        // The port is free only after the last sending end has been dropped, so both sockets share it until then.
        // Either of these calls may fail, because the socket is broken; one success is enough.
        let _ = SockRef::from(&self.io).set_reuse_address(true);
        let _ = SockRef::from(&sender.io).set_reuse_address(true);
        let tcp = self.tcp.clone();
        *self = Self { tcp, ..Self::new(open(self.local, PortUse::Shared)?)? };
        Ok(())
    }

    /// A sending end of the same socket.
    pub(super) fn sender(&self) -> io::Result<UdpSender> {
        let io = SockRef::from(&self.io).try_clone()?.into();
        Ok(UdpSender::new(io, Arc::clone(&self.state), self.local, self.tcp.clone()))
    }

    /// The TCP connections of the port.
    pub(super) fn tcp(&self) -> &TcpPeers {
        &self.tcp
    }

    /// The bound address; its IP may be unspecified.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits until there is something to receive.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await.map(drop)
    }

    /// Receives the available datagrams, up to one batch, and passes each one to `each` as (local address, source,
    /// bytes). Returns false if no datagram was available. IPv4-mapped addresses are converted to IPv4.
    pub(super) fn receive(&mut self, mut each: impl FnMut(SocketAddr, SocketAddr, &[u8])) -> io::Result<bool> {
        #[cfg(test)]
        if let Some(errno) = self.fails_with.filter(|errno| *errno != 0) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let Self { io, state, local, receive, .. } = self;
        let size = receive.len() / BATCH_SIZE;
        // The buffers are prepared only if a datagram is available.
        let received = io.try_io(Interest::READABLE, |io| {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut slices: Vec<IoSliceMut<'_>> = receive.chunks_exact_mut(size).map(IoSliceMut::new).collect();
            let count = state.recv(UdpSockRef::from(io), &mut slices, &mut metas)?;
            Ok((count, metas, slices))
        });
        let (count, metas, slices) = match received {
            Ok(received) => received,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        };
        for (meta, bytes) in metas.iter().zip(&slices).take(count) {
            let at = match meta.dst_ip {
                Some(ip) if local.ip().is_unspecified() => SocketAddr::new(ip.to_canonical(), local.port()),
                _ => *local,
            };
            let from = canonical(meta.addr);
            for datagram in bytes[..meta.len].chunks(meta.stride.max(1)) {
                each(at, from, datagram);
            }
        }
        Ok(true)
    }
}

/// The receive errors since the last success.
#[derive(Debug, Default)]
pub(super) struct ReceiveErrors {
    since: Option<Instant>,
}

impl ReceiveErrors {
    /// Records a successful receive, including one that found no datagram.
    pub(super) fn on_success(&mut self) {
        self.since = None;
    }

    /// Whether the socket is gone after this error. Most errors do not mean that: ICMP messages in response to earlier
    /// sends, which the kernel reports here (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EPERM, ...), an interface that is
    /// down, or a temporary lack of memory.
    pub(super) fn is_gone(&mut self, now: Instant, error: &io::Error) -> bool {
        let since = *self.since.get_or_insert(now);
        matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK))
            || now.saturating_duration_since(since) >= GONE_AFTER
    }
}

/// Whether another socket may bind the same port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortUse {
    Alone,
    /// The port may be shared with another socket that allows it (`SO_REUSEADDR`).
    Shared,
}

fn open(address: SocketAddr, port_use: PortUse) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // The unspecified address includes IPv4.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(port_use == PortUse::Shared)?;
    socket.bind(&address.into())?;
    // Sharing is allowed only while binding: a second teacher must not get the port.
    socket.set_reuse_address(false)?;
    // Best effort: the kernel may grant smaller buffers.
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    Ok(socket)
}

/// Undoes the settings that `quinn-udp` makes for QUIC, whose datagrams must not be fragmented.
fn allow_fragmentation(socket: &Socket) -> io::Result<()> {
    // OMIT clears DF and uses the MTU of the interface; ICMP messages, which anybody can forge, have no effect, so GSO
    // works.
    set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::OMIT)?;
    if socket.local_addr()?.is_ipv6() {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT)?;
        setsockopt(socket, sockopt::Ipv6DontFrag, &false)?;
    }
    Ok(())
}

/// Converts an IPv4-mapped IPv6 address to IPv4 (RFC 4291, 2.5.5.2).
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // Keep the scope, without which nothing can be sent to a link-local address.
        IpAddr::V6(_) => address,
    }
}

impl UdpSender {
    fn new(io: std::net::UdpSocket, state: Arc<UdpSocketState>, local: SocketAddr, tcp: TcpPeers) -> Self {
        Self {
            io,
            max_segments: MAX_SEGMENTS.min(state.max_gso_segments()),
            state,
            local,
            tcp,
            without_gso: HashSet::new(),
            batch: Batch { bytes: Vec::with_capacity(MAX_BATCH_BYTES + 1500), ..Batch::default() },
            sent: SentCounts::default(),
            delays: Delays::default(),
            sound_delays: Delays::default(),
        }
    }

    /// Another sending end of the same socket, with counts of its own.
    pub(super) fn another(&self) -> io::Result<Self> {
        Ok(Self::new(self.io.try_clone()?, Arc::clone(&self.state), self.local, self.tcp.clone()))
    }

    /// Adds a datagram to the batch. Sends the batch first if the datagram does not fit.
    pub(super) fn queue(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> Sent {
        self.queue_with(from, to, datagram.len(), |batch| batch.extend_from_slice(datagram))
    }

    /// The same for a datagram of `len` bytes that `write` appends to the batch.
    pub(super) fn queue_with(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Sent {
        let b = &self.batch;
        let fits = b.count > 0
            && b.path == Some((from, to))
            && !b.closed
            && len <= b.segment
            && b.count < b.most
            && b.bytes.len() + len <= MAX_BATCH_BYTES;
        let sent = if fits { Sent::Yes } else { self.flush() };
        if self.batch.count == 0 {
            let has_gso = self.without_gso.is_empty() || !self.without_gso.contains(&to);
            self.batch.path = Some((from, to));
            self.batch.segment = len;
            self.batch.most = if has_gso { self.max_segments } else { 1 };
        }
        let b = &mut self.batch;
        // Only the last segment may be shorter.
        b.closed = len < b.segment;
        let begin = b.bytes.len();
        write(&mut b.bytes);
        debug_assert_eq!(b.bytes.len(), begin + len);
        b.count += 1;
        sent
    }

    /// Discards the batch, which may be half written.
    pub(super) fn discard(&mut self) {
        self.batch = Batch { bytes: std::mem::take(&mut self.batch.bytes), ..Batch::default() };
        self.batch.bytes.clear();
    }

    /// Replaces the socket by that of `other`. The counts are kept.
    pub(super) fn move_to(&mut self, other: Self) {
        self.discard();
        (self.io, self.state, self.local, self.tcp) = (other.io, other.state, other.local, other.tcp);
    }

    /// Sends the batch.
    pub(super) fn flush(&mut self) -> Sent {
        let (count, path) = (std::mem::take(&mut self.batch.count), self.batch.path.take());
        self.batch.closed = false;
        let Some(path) = path.filter(|_| count > 0) else { return Sent::Yes };
        let segment = self.batch.segment;
        let bytes = std::mem::take(&mut self.batch.bytes);
        let sent = match self.send(path, &bytes, (count > 1).then_some(segment), count) {
            Err(error) if count > 1 && is_about_gso(&error) => self.send_one_by_one(path, &bytes, segment),
            Ok(()) => Sent::Yes,
            Err(_) => {
                self.sent.refused += count as u64;
                Sent::Refused
            }
        };
        self.batch.bytes = bytes;
        self.batch.bytes.clear();
        sent
    }

    /// Sends the datagrams of a batch one by one, after the kernel has refused them as one GSO send.
    fn send_one_by_one(&mut self, path: (SocketAddr, SocketAddr), bytes: &[u8], segment: usize) -> Sent {
        if self.without_gso.len() == MAX_WITHOUT_GSO {
            self.without_gso.clear();
        }
        self.without_gso.insert(path.1);
        let mut sent = Sent::Yes;
        for datagram in bytes.chunks(segment) {
            if self.send(path, datagram, None, 1).is_err() {
                self.sent.refused += 1;
                sent = Sent::Refused;
            }
        }
        sent
    }

    fn send(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        contents: &[u8],
        segment_size: Option<usize>,
        count: usize,
    ) -> io::Result<()> {
        let src_ip = Some(from.ip()).filter(|ip| !ip.is_unspecified() && self.local.ip().is_unspecified());
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip };
        if TcpPeers::is_stand_in(to) {
            self.tcp.send(to, contents, segment_size.unwrap_or(contents.len()))?;
        } else {
            self.sent.calls += 1;
            // Nobody waits for the socket to become writable, so tokio's readiness is not consulted.
            self.state.try_send(UdpSockRef::from(&self.io), &transmit)?;
        }
        self.sent.packets += count as u64;
        self.sent.bytes += contents.len() as u64;
        Ok(())
    }
}

/// Whether the same datagrams may be sent without GSO: a segment is larger than the MTU of the interface (EINVAL, since
/// Linux 6.14 EMSGSIZE), or the interface has no checksum offload (EIO).
fn is_about_gso(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO))
}
