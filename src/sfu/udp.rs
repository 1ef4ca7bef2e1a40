//! The one UDP socket of a class: batched receives, one GSO send per student and frame.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::rtp::Delays;

/// What the kernel may queue in each direction: a key frame of 100 kB for some forty students. The kernel gives less
/// where `net.core.wmem_max` is less.
const KERNEL_BUFFER: usize = 4 << 20;

/// Segments of one GSO send: the kernel takes 64, and no more than 64 kB.
const MAX_SEGMENTS: usize = 40;

/// The largest datagram that GSO may build.
const MAX_BATCH_BYTES: usize = 60_000;

/// The receiving side of a bound UDP socket.
pub(super) struct UdpReceiver {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    receive: Box<[u8]>,
}

/// A sending side of a UDP socket. There may be several, on threads of their own: sends don't wait for one another.
pub(super) struct UdpSender {
    io: std::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    batch: Batch,
    /// Packets and system calls that went out, and packets that the kernel refused.
    pub(super) sent: SentCounts,
    /// From the capture of a frame to here, for each of its packets.
    pub(super) delays: Delays,
    /// The same of sound alone.
    pub(super) sound_delays: Delays,
}

/// What went through a socket.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct SentCounts {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) calls: u64,
    pub(super) refused: u64,
}

/// Datagrams of one size for one destination, the last of which may be shorter.
#[derive(Default)]
struct Batch {
    to: Option<(SocketAddr, SocketAddr)>,
    segment: usize,
    count: usize,
    closed: bool,
    bytes: Vec<u8>,
}

/// What the kernel did with a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Yes,
    /// Its queues are full, or the network refused; some packets are lost.
    Refused,
}

impl Sent {
    /// Both went.
    pub(super) fn and(self, other: Self) -> Self {
        if self == Sent::Refused { self } else { other }
    }
}

impl UdpReceiver {
    /// Binds `address`. Must be called inside of a tokio runtime.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Best effort: what the kernel grants is what there is.
        let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        let io = UdpSocket::from_std(socket.into())?;
        let local = io.local_addr()?;
        let receive = vec![0; BATCH_SIZE * state.gro_segments().max(1) * 1500].into_boxed_slice();
        Ok(Self { io, state, local, receive })
    }

    /// A sending side of the same socket.
    pub(super) fn outlet(&self) -> io::Result<UdpSender> {
        let io: std::net::UdpSocket = socket2::SockRef::from(&self.io).try_clone()?.into();
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        let batch = Batch { bytes: Vec::with_capacity(MAX_BATCH_BYTES + 1500), ..Batch::default() };
        let (sent, delays) = (SentCounts::default(), Delays::default());
        Ok(UdpSender { io, state, local: self.local, batch, sent, delays, sound_delays: Delays::default() })
    }

    /// The bound address; its IP may be unspecified.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits until there is something to receive.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Receives what is there, up to one batch, and hands each datagram over as (local address, source, bytes).
    /// Gives false when nothing was there.
    pub(super) fn receive(&mut self, mut each: impl FnMut(SocketAddr, SocketAddr, &[u8])) -> io::Result<bool> {
        let Self { io, state, local, receive } = self;
        let size = receive.len() / BATCH_SIZE;
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut slices: Vec<IoSliceMut<'_>> = receive.chunks_exact_mut(size).map(IoSliceMut::new).collect();
        let count = match io.try_io(Interest::READABLE, || state.recv(UdpSockRef::from(&*io), &mut slices, &mut metas))
        {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // An ICMP answer to an earlier send: that student is gone, its ICE will say so.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => return Ok(true),
            Err(e) => return Err(e),
        };
        for (meta, bytes) in metas.iter().zip(&slices).take(count) {
            let at = match meta.dst_ip {
                Some(ip) if local.ip().is_unspecified() => SocketAddr::new(ip, local.port()),
                _ => *local,
            };
            for datagram in bytes[..meta.len].chunks(meta.stride.max(1)) {
                each(at, meta.addr, datagram);
            }
        }
        Ok(true)
    }
}

impl UdpSender {
    /// Adds a datagram to the batch, sending what can't be batched with it.
    pub(super) fn queue(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> Sent {
        self.queue_with(from, to, datagram.len(), |batch| batch.extend_from_slice(datagram))
    }

    /// The same for a datagram of `len` bytes that `write` adds to the end of the batch.
    pub(super) fn queue_with(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Sent {
        let b = &self.batch;
        let fits = b.count > 0
            && b.to == Some((from, to))
            && !b.closed
            && len <= b.segment
            && b.count < MAX_SEGMENTS.min(self.state.max_gso_segments())
            && b.bytes.len() + len <= MAX_BATCH_BYTES;
        let sent = if fits { Sent::Yes } else { self.flush() };
        let b = &mut self.batch;
        if b.count == 0 {
            b.to = Some((from, to));
            b.segment = len;
        }
        // Only the last segment may be shorter.
        b.closed = len < b.segment;
        let begin = b.bytes.len();
        write(&mut b.bytes);
        debug_assert_eq!(b.bytes.len(), begin + len);
        b.count += 1;
        sent
    }

    /// Forgets the batch, which may be half written.
    pub(super) fn discard(&mut self) {
        self.batch = Batch { bytes: std::mem::take(&mut self.batch.bytes), ..Batch::default() };
        self.batch.bytes.clear();
    }

    /// Sends the batch.
    pub(super) fn flush(&mut self) -> Sent {
        let b = &mut self.batch;
        let (count, to) = (std::mem::take(&mut b.count), b.to.take());
        b.closed = false;
        let Some((from, to)) = to.filter(|_| count > 0) else { return Sent::Yes };
        let src_ip = Some(from.ip()).filter(|ip| !ip.is_unspecified() && self.local.ip().is_unspecified());
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: &b.bytes,
            segment_size: (count > 1).then_some(b.segment),
            src_ip,
        };
        // Nobody waits for the socket to become writable, so tokio's idea of that is not asked.
        let result = self.state.try_send(UdpSockRef::from(&self.io), &transmit);
        self.sent.calls += 1;
        let sent = match result {
            Ok(()) => {
                self.sent.packets += count as u64;
                self.sent.bytes += self.batch.bytes.len() as u64;
                Sent::Yes
            }
            Err(_) => {
                self.sent.refused += count as u64;
                Sent::Refused
            }
        };
        self.batch.bytes.clear();
        sent
    }
}

/// The addresses of this machine that a student might reach `bound` by, real ones before loopback.
///
/// At most eight: ICE tries every pair, and a machine full of container bridges would make students wait.
pub(super) fn local_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    const MOST: usize = 8;
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let mut ips: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| matches!(ip, IpAddr::V4(v4) if !v4.is_link_local() && !v4.is_unspecified()))
        .collect();
    ips.push(Ipv4Addr::LOCALHOST.into());
    ips.sort_by_key(IpAddr::is_loopback);
    ips.dedup();
    let loopback = ips.pop();
    ips.truncate(MOST - 1);
    ips.into_iter().chain(loopback).map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn receive_all(socket: &mut UdpReceiver, want: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        while got.len() < want {
            tokio::time::timeout(std::time::Duration::from_secs(5), socket.readable()).await.unwrap().unwrap();
            socket.receive(|_, _, bytes| got.push(bytes.to_vec())).unwrap();
        }
        got
    }

    #[tokio::test]
    async fn batches_keep_order_and_sizes() {
        let from = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut a = from.outlet().unwrap();
        let mut b = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let sizes = [100usize, 100, 100, 40, 100, 7, 200, 200, 1];
        for (n, size) in sizes.iter().enumerate() {
            assert_eq!(a.queue(from.local(), b.local(), &vec![n as u8; *size]), Sent::Yes);
        }
        assert_eq!(a.flush(), Sent::Yes);
        let got = receive_all(&mut b, sizes.len()).await;
        for (n, size) in sizes.iter().enumerate() {
            assert_eq!(got[n], vec![n as u8; *size]);
        }
        assert!(a.sent.calls < sizes.len() as u64, "sent in {} calls", a.sent.calls);
    }

    #[tokio::test]
    async fn a_wildcard_socket_knows_which_address_was_called() {
        let mut sfu = UdpReceiver::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), sfu.local().port());
        let student = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut outlet = student.outlet().unwrap();
        outlet.queue(student.local(), to, b"hello");
        outlet.flush();
        tokio::time::timeout(std::time::Duration::from_secs(5), sfu.readable()).await.unwrap().unwrap();
        let mut seen = None;
        sfu.receive(|at, from, _| seen = Some((at, from))).unwrap();
        assert_eq!(seen, Some((to, student.local())));
        assert!(local_addresses(sfu.local()).contains(&to));
    }
}
