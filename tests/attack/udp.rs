//! Floods of datagrams, from our own address or from a forged one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// Datagrams between two looks at the clock.
const BURST: u64 = 50;

/// The rate and the length of a flood.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Datagrams per second.
    pub per_second: u32,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Flood {
    /// Calls `send` at this rate, on a thread of its own, and returns the number of calls.
    pub async fn run(self, mut send: impl FnMut(u64) + Send + 'static) -> u64 {
        let flood = move || {
            let (begun, mut sent) = (Instant::now(), 0u64);
            while begun.elapsed() < self.lasts {
                let due = (begun.elapsed().as_secs_f64() * f64::from(self.per_second)) as u64;
                if sent >= due {
                    std::thread::sleep(Duration::from_micros(500));
                    continue;
                }
                for _ in 0..BURST.min(due - sent) {
                    send(sent);
                    sent += 1;
                }
            }
            sent
        };
        tokio::task::spawn_blocking(flood).await.unwrap_or_default()
    }
}

/// A UDP socket of this address.
///
/// # Errors
/// If no port is free.
pub fn socket(from: Ipv4Addr) -> io::Result<UdpSocket> {
    UdpSocket::bind((from, 0))
}

/// An IPv4 packet with a UDP datagram and any source address. The kernel writes the header checksum.
pub fn forged(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let length = 20 + 8 + payload.len() as u16;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    for field in [from.port(), to.port(), length - 20, 0] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    packet
}

/// A socket that sends whole IPv4 packets. Needs root or CAP_NET_RAW.
///
/// # Errors
/// If the kernel does not allow it.
pub fn raw_socket() -> io::Result<socket2::Socket> {
    let (raw, with_header) = (socket2::Type::from(libc::SOCK_RAW), socket2::Protocol::from(libc::IPPROTO_RAW));
    socket2::Socket::new(socket2::Domain::IPV4, raw, Some(with_header))
}

/// The IPv4 address of a socket address.
pub fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}

/// The UDP sockets of a process on loopback, from `/proc`.
pub fn sockets_of(pid: u32) -> Vec<SocketAddrV4> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    let inodes: Vec<String> = targets
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/udp")).unwrap_or_default();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(9).is_some_and(|inode| inodes.iter().any(|own| own == inode)))
        .filter_map(|row| {
            let (ip, port) = row[1].split_once(':')?;
            // The kernel prints the address as a number in its own byte order.
            let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?))
        })
        .filter(|address| address.ip().is_loopback())
        .collect()
}
