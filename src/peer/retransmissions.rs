//! Retransmissions become what they repair, before anybody counts packets (RFC 4588).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use bytes::Buf;
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// By the SSRC of retransmissions: SSRC and payload type of what they repair.
pub(super) type RepairedBy = HashMap<u32, (u32, u8)>;

/// An interceptor that gives retransmissions the name that they had first.
pub(super) struct Retransmissions {
    repairs: Arc<RwLock<RepairedBy>>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Retransmissions {
    /// Of these SSRCs, which are known with the answer.
    pub(super) fn new(repairs: Arc<RwLock<RepairedBy>>) -> Self {
        Self { repairs, inbound: VecDeque::new(), outbound: VecDeque::new() }
    }

    /// One that is nothing but padding stays as it is: it only tells when it came.
    fn rename(&self, packet: &mut rtc::rtp::Packet) {
        let repaired = self.repairs.read().ok().and_then(|repairs| repairs.get(&packet.header.ssrc).copied());
        let Some((ssrc, payload_type)) = repaired.filter(|_| packet.payload.len() >= 2) else { return };
        packet.header.sequence_number = packet.payload.get_u16();
        (packet.header.ssrc, packet.header.payload_type) = (ssrc, payload_type);
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Retransmissions {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &mut packet.message.packet {
            self.rename(rtp);
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

impl Interceptor for Retransmissions {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_retransmission_becomes_what_it_repairs() {
        let repairs = Arc::new(RwLock::new(RepairedBy::from([(8, (7, 102))])));
        let renames = Retransmissions::new(repairs);
        let packet = |ssrc: u32, payload: &'static [u8]| rtc::rtp::Packet {
            header: rtc::rtp::Header { ssrc, sequence_number: 1, payload_type: 103, ..Default::default() },
            payload: Bytes::from_static(payload),
        };
        let mut repaired = packet(8, b"\x12\x34picture");
        renames.rename(&mut repaired);
        let header = &repaired.header;
        assert_eq!((header.ssrc, header.sequence_number, header.payload_type), (7, 0x1234, 102));
        assert_eq!(&repaired.payload[..], b"picture");
        for (ssrc, payload) in [(8, &b""[..]), (8, b"x"), (9, b"\x12\x34picture")] {
            let mut other = packet(ssrc, payload);
            renames.rename(&mut other);
            assert_eq!(
                (other.header.ssrc, other.header.sequence_number, other.payload.len()),
                (ssrc, 1, payload.len())
            );
        }
    }
}
