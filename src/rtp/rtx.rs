//! What is sent again, and probes: packets of an SSRC of their own, each with a number of its own.

use crate::rtp::{MAX_FIRST_SEQUENCE_NUMBER, OutgoingPacket};

/// The retransmissions of a track: an SSRC of their own (RFC 4588). We seal it from its first packet on.
pub(crate) struct RepairStream {
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    pub(crate) next: u64,
}

impl RepairStream {
    pub(crate) fn new(ssrc: u32, payload_type: u8) -> Self {
        Self { ssrc, payload_type, next: (rand::random::<u16>() & MAX_FIRST_SEQUENCE_NUMBER).into() }
    }

    /// The packet as a retransmission.
    pub(crate) fn again<'a>(&mut self, packet: &OutgoingPacket<'a>) -> OutgoingPacket<'a> {
        let original = Some(packet.sequence_number());
        self.name(OutgoingPacket { original, ..*packet })
    }

    /// A packet of nothing but padding.
    pub(crate) fn padding(&mut self, bytes: u8, timestamp: u32) -> OutgoingPacket<'static> {
        self.name(OutgoingPacket {
            marker: false,
            payload_type: 0,
            index: 0,
            timestamp,
            ssrc: 0,
            transport: None,
            original: None,
            padding: bytes,
            payload: &[],
        })
    }

    fn name<'a>(&mut self, packet: OutgoingPacket<'a>) -> OutgoingPacket<'a> {
        let index = self.next;
        self.next += 1;
        OutgoingPacket { index, ssrc: self.ssrc, payload_type: self.payload_type, ..packet }
    }
}
