//! Retransmissions become what they repair, before anybody counts packets (RFC 4588).

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use bytes::Buf;
use rtc::interceptor::Packet;

use crate::sdp::engine::Change;

/// By the SSRC of retransmissions: SSRC and payload type of what they repair.
pub(super) type RepairedBy = HashMap<u32, (u32, u8)>;

/// Gives retransmissions the name that they had first. Their SSRCs are known with the answer.
pub(super) fn renaming(repairs: Arc<RwLock<RepairedBy>>) -> Change {
    Box::new(move |packet| {
        if let Packet::Rtp(rtp) = packet
            && let Some(name) = repairs.read().ok().and_then(|repairs| repairs.get(&rtp.header.ssrc).copied())
        {
            rename(rtp, name);
        }
    })
}

/// One that is nothing but padding stays as it is: it only tells when it came.
fn rename(packet: &mut rtc::rtp::Packet, (ssrc, payload_type): (u32, u8)) {
    if packet.payload.len() >= 2 {
        packet.header.sequence_number = packet.payload.get_u16();
        (packet.header.ssrc, packet.header.payload_type) = (ssrc, payload_type);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_retransmission_becomes_what_it_repairs() {
        let repairs = Arc::new(RwLock::new(RepairedBy::from([(8, (7, 102))])));
        let renames = renaming(repairs);
        let packet = |ssrc: u32, payload: &'static [u8]| rtc::rtp::Packet {
            header: rtc::rtp::Header { ssrc, sequence_number: 1, payload_type: 103, ..Default::default() },
            payload: Bytes::from_static(payload),
        };
        let renamed = |packet: rtc::rtp::Packet| {
            let mut packet = Packet::Rtp(packet);
            renames(&mut packet);
            let Packet::Rtp(packet) = packet else { unreachable!("it stays RTP") };
            packet
        };
        let repaired = renamed(packet(8, b"\x12\x34picture"));
        let header = &repaired.header;
        assert_eq!((header.ssrc, header.sequence_number, header.payload_type), (7, 0x1234, 102));
        assert_eq!(&repaired.payload[..], b"picture");
        for (ssrc, payload) in [(8, &b""[..]), (8, b"x"), (9, b"\x12\x34picture")] {
            let other = renamed(packet(ssrc, payload));
            assert_eq!(
                (other.header.ssrc, other.header.sequence_number, other.payload.len()),
                (ssrc, 1, payload.len())
            );
        }
    }
}
