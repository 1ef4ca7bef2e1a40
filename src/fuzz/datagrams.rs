//! Datagrams at the SFU's socket: STUN, DTLS and SCTP in it, encrypted RTCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::input::{be, datagrams};
use crate::dtls::records::{Records, Sealed, is_finished};
use crate::dtls::sctp::{Association, Rejected};
use crate::sfu::demux::{self, Datagram};
use crate::sfu::stun_client::{StunClient, StunStep};
use crate::srtp::{Opener, RtpOpener};

/// STUN demultiplexing: the first bytes determine the protocol (RFC 7983), and nothing beyond the STUN length is read.
pub(super) fn demultiplex(datagram: &[u8]) -> bool {
    let kind = demux::classify(datagram);
    match kind {
        Datagram::StunRequest { ufrag } => {
            assert!(datagram[0] == 0 && !ufrag.contains(':'));
            assert_eq!(demux::classify(&binding_request(ufrag)), Datagram::StunRequest { ufrag });
            let end = stun_end(datagram);
            assert_eq!(demux::classify(&datagram[..end]), Datagram::StunRequest { ufrag });
            assert_eq!(demux::classify(&datagram[..end - 1]), Datagram::Unknown);
        }
        Datagram::Stun { transaction } => {
            assert!(datagram[0] < 4 && datagram[8..20] == transaction);
            assert_eq!(demux::classify(&datagram[..stun_end(datagram) - 1]), Datagram::Unknown);
        }
        Datagram::DtlsOrSrtp => assert!(matches!(datagram[0], 20..=63 | 128..=191)),
        Datagram::UnencryptedRtcp => assert!(matches!(datagram[..2], [128..=191, 192..=223])),
        Datagram::Unknown => {}
    }
    kind != Datagram::Unknown
}

/// The end of a STUN message according to its length field (RFC 8489, 5).
fn stun_end(message: &[u8]) -> usize {
    20 + be(&message[2..4]) as usize
}

/// A binding request to the peer with this ufrag: the header and USERNAME (RFC 8489, 14.3).
fn binding_request(ufrag: &str) -> Vec<u8> {
    let (size, padded) = (ufrag.len() as u16, ufrag.len().next_multiple_of(4));
    let mut message = stun_header(1, padded + 4, &[0; 12]);
    message.extend_from_slice(&[0, 6]);
    message.extend_from_slice(&size.to_be_bytes());
    message.extend_from_slice(ufrag.as_bytes());
    message.resize(24 + padded, 0);
    message
}

fn stun_header(kind: u16, length: usize, transaction: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &(length as u16).to_be_bytes(), &0x2112_a442_u32.to_be_bytes()[..], transaction].concat()
}

/// The response of a STUN server: the address in it survives a round trip.
pub(super) fn stun_response(bytes: &[u8]) -> bool {
    let now = Instant::now();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, 3_478));
    let Datagram::Stun { transaction } = demux::classify(bytes) else { return false };
    let Some(public) = StunClient::new(server, now).on_response(bytes, now) else { return false };
    let again = binding_response(public, &transaction);
    let mut client = StunClient::new(server, now);
    assert!(matches!(client.step(now), StunStep::Send(_)));
    assert_eq!(client.on_response(&again, now), Some(public));
    assert_eq!(client.on_response(&again, now), None, "an address that is known is not new");
    true
}

/// A binding response with an XOR-MAPPED-ADDRESS (RFC 8489, 14.2).
fn binding_response(public: SocketAddr, transaction: &[u8]) -> Vec<u8> {
    let cookie = 0x2112_a442_u32.to_be_bytes();
    let port = (public.port() ^ 0x2112).to_be_bytes();
    let mask = [&cookie[..], transaction].concat();
    let masked = |address: &[u8]| address.iter().zip(&mask).map(|(byte, mask)| byte ^ mask).collect::<Vec<u8>>();
    let (family, address) = match public.ip() {
        IpAddr::V4(v4) => (1, masked(&Ipv4Addr::octets(&v4))),
        IpAddr::V6(v6) => (2, masked(&Ipv6Addr::octets(&v6))),
    };
    let value = [&[0, family], &port[..], &address].concat();
    let attribute = [&0x0020_u16.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), &value].concat();
    [stun_header(0x0101, attribute.len(), transaction), attribute].concat()
}

/// A peer's DTLS datagrams: records tile an admitted datagram, and the core gets few and large fragments.
pub(super) fn dtls_records(bytes: &[u8]) -> bool {
    let now = Instant::now();
    let (mut records, mut fragments, mut admitted) = (Records::default(), 0, 0);
    let is_connected = bytes.len().is_multiple_of(2);
    for datagram in datagrams(bytes) {
        if let Some(message) = datagram.get(13..) {
            assert!(!is_finished(message) || message.len() <= 76);
        }
        if let Some(sealed) = datagram.first_chunk::<13>().and_then(|header| Sealed::of(header)) {
            assert_eq!(datagram[8], if sealed == Sealed::Data { 23 } else { 22 });
        }
        if !records.admit(now, is_connected, datagram) {
            continue;
        }
        admitted += 1;
        assert!(!Records::default().admit(now, is_connected, &datagram[..datagram.len() - 1]), "a record is cut");
        let (mut rest, mut count) = (datagram, 0);
        while let Some((header, body)) = rest.split_first_chunk::<13>() {
            let (body, after) = body.split_at(be(&header[11..]) as usize);
            let epoch = be(&header[3..5]);
            assert!(matches!((header[0], epoch), (20..=22, 0) | (21..=23, 1)), "{header:?}");
            if (header[0], epoch) == (22, 0) {
                fragments += fragments_of(body);
            }
            (rest, count) = (after, count + 1);
        }
        assert!(rest.is_empty() && (1..=16).contains(&count));
    }
    assert!(fragments <= 256, "{fragments} fragments");
    admitted > 0
}

/// The number of handshake fragments in a record (RFC 6347, 4.2.2). All but the last one of a message are long.
fn fragments_of(mut record: &[u8]) -> usize {
    let mut count = 0;
    while let Some((header, body)) = record.split_first_chunk::<12>() {
        let (length, offset, size) = (be(&header[1..4]), be(&header[6..9]), be(&header[9..]));
        assert!(length <= 16 * 1024 && (size >= 64 || offset + size == length), "{header:?}");
        (record, count) = (&body[size as usize..], count + 1);
    }
    assert!(record.is_empty());
    count
}

/// A peer's SCTP packets, as they come out of DTLS: what is read is bounded, and a violation is counted once.
pub(super) fn sctp(bytes: &[u8]) -> bool {
    let mut now = Instant::now();
    let (mut association, mut refused) = (Association::default(), 0);
    // The core's answer to an INIT; a seed has its tag and cookie.
    association.seal(&init_ack());
    for packet in datagrams(bytes) {
        now += Duration::from_millis(1);
        // A wrong checksum is refused before anything else is read.
        let packet = signed(packet);
        match association.open(now, &packet) {
            Ok(()) => assert!((13..=2_048).contains(&packet.len())),
            Err(Rejected::Unwanted | Rejected::Violation(_)) => refused += 1,
        }
        // The core acknowledges what it has read.
        if let Some(tsn) = packet.get(16..20).filter(|_| packet.get(12) == Some(&0)) {
            association.seal(&[&[0; 12][..], &[3, 0, 0, 16], tsn, &[0, 2, 0, 0, 0, 0, 0, 0]].concat());
        }
    }
    assert_eq!(association.refused(), refused);
    assert!(association.violation().is_none() || refused >= 3, "{refused} refused");
    refused == 0
}

/// A packet with a right checksum (RFC 9260, appendix A).
fn signed(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet.len() >= 12 {
        packet[8..12].fill(0);
        let sum = crc32c::crc32c(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&sum);
    }
    packet
}

/// The tag and the cookie of the INIT ACK that the seeds echo.
const TAG: [u8; 4] = [0xab; 4];
const COOKIE: [u8; 32] = [0xc0; 32];

/// An INIT ACK with its State Cookie (RFC 9260, 3.3.3).
fn init_ack() -> Vec<u8> {
    let cookie = [&[0, 7, 0, 36][..], &COOKIE].concat();
    let fixed = [&TAG[..], &[0, 2, 0, 0, 0, 8, 0, 8], &[0, 0, 0, 1]].concat();
    [&[0; 12][..], &[2, 0, 0, 56], &fixed, &cookie].concat()
}

/// SRTCP and SRTP with the key of RFC 7714, 16 and 17: decrypted packets are authentic, and count once.
pub(super) fn srtcp(bytes: &[u8]) -> bool {
    srtp(bytes) | only_srtcp(bytes)
}

fn srtp(bytes: &[u8]) -> bool {
    let key = *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
    let opener = || RtpOpener::with_key(key, *b"Quid pro quo");
    let Some(mut all) = opener() else { panic!("the key is valid") };
    let mut opened = 0;
    for datagram in datagrams(bytes) {
        let mut copy = datagram.to_vec();
        let Some(packet) = all.open(&mut copy) else { continue };
        opened += 1;
        assert_eq!(packet.len() + 16, datagram.len(), "the tag goes");
        assert_eq!(packet[..12], datagram[..12], "the header is not encrypted");
        assert!(all.open(&mut datagram.to_vec()).is_none(), "a replay");
        let Some(mut other) = opener() else { panic!("the key is valid") };
        for at in 0..datagram.len() {
            let mut changed = datagram.to_vec();
            changed[at] ^= 1 << (at % 8);
            assert!(other.open(&mut changed).is_none(), "byte {at} is not authenticated");
        }
    }
    opened > 0
}

fn only_srtcp(bytes: &[u8]) -> bool {
    let key = *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
    let Some(mut opener) = Opener::with_key(key, *b"Quid pro quo") else { panic!("the key is valid") };
    let mut opened = 0;
    for datagram in datagrams(bytes) {
        let mut copy = datagram.to_vec();
        let Some(compound) = opener.open(&mut copy) else { continue };
        opened += 1;
        // The index and the E bit go, and the tag.
        assert_eq!(compound.len() + 20, datagram.len());
        assert_eq!(compound[..8], datagram[..8], "the header is not encrypted");
        assert!(opener.open(&mut datagram.to_vec()).is_none(), "a replay");
        let Some(mut other) = Opener::with_key(key, *b"Quid pro quo") else { panic!("the key is valid") };
        for at in 0..datagram.len() {
            let mut changed = datagram.to_vec();
            changed[at] ^= 1 << (at % 8);
            assert!(other.open(&mut changed).is_none(), "byte {at} is not authenticated");
        }
    }
    opened > 0
}
