//! Retransmission: the RTX stream of a track (RFC 4588), and the substitute for audio, which has no RTX.

use std::collections::VecDeque;

use super::OutgoingPacket;

/// The number of audio packets that can be retransmitted: 1.3 s of them, longer than any receiver waits.
const REMEMBERED: usize = 64;

/// The RTX stream of one track to one peer, with its own SSRC and sequence numbers. It also carries probe padding.
pub(crate) struct RtxStream {
    ssrc: u32,
    payload_type: u8,
    /// The index of the next packet: its sequence number with all rollovers counted.
    next: u64,
}

impl RtxStream {
    /// A stream on which nothing was sent. The first sequence number is at most
    /// [`MAX_FIRST_SEQUENCE_NUMBER`](super::MAX_FIRST_SEQUENCE_NUMBER).
    pub(crate) fn new(ssrc: u32, payload_type: u8, first_sequence_number: u16) -> Self {
        Self { ssrc, payload_type, next: first_sequence_number.into() }
    }

    /// Wraps a packet as a retransmission: its payload starts with the original sequence number.
    pub(crate) fn retransmission<'a>(&mut self, packet: &OutgoingPacket<'a>) -> OutgoingPacket<'a> {
        let original = Some(packet.sequence_number());
        self.rewrite(OutgoingPacket { original, ..*packet })
    }

    /// A padding-only packet, for a probe.
    pub(crate) fn padding(&mut self, bytes: u8, timestamp: u32) -> OutgoingPacket<'static> {
        self.rewrite(OutgoingPacket {
            marker: false,
            payload_type: 0,
            index: 0,
            timestamp,
            ssrc: 0,
            twcc: None,
            playout: None,
            original: None,
            padding: bytes,
            payload: &[],
        })
    }

    /// Sets the SSRC, payload type and next sequence number of this stream in a packet's header.
    fn rewrite<'a>(&mut self, packet: OutgoingPacket<'a>) -> OutgoingPacket<'a> {
        let index = self.next;
        self.next += 1;
        OutgoingPacket { index, ssrc: self.ssrc, payload_type: self.payload_type, ..packet }
    }
}

/// The transport-wide sequence numbers of the last packets of an audio track, by packet index.
///
/// Neither browsers nor the library negotiate RTX for audio. So an audio packet is retransmitted with its own sequence
/// number and therefore with its own nonce, and must be bit-identical ([`crate::srtp`]), including the header extension
/// with this number.
#[derive(Debug, Default)]
pub(crate) struct SentTwccNumbers(VecDeque<(u64, u16)>);

impl SentTwccNumbers {
    /// Stores the number of a packet that is sent for the first time; indices must ascend.
    pub(crate) fn push(&mut self, index: u64, number: u16) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((index, number));
    }

    /// The number of the packet with this index, if it is one of the last [`REMEMBERED`].
    pub(crate) fn get(&self, index: u64) -> Option<u16> {
        let at = self.0.binary_search_by_key(&index, |(known, _)| *known).ok()?;
        self.0.get(at).map(|(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_last_packets_are_remembered() {
        let mut numbers = SentTwccNumbers::default();
        assert_eq!(numbers.get(1), None);
        for index in 65_500..65_700u64 {
            numbers.push(index, (3 * index) as u16);
        }
        for index in 65_636..65_700 {
            assert_eq!(numbers.get(index), Some((3 * index) as u16));
        }
        assert_eq!((numbers.get(65_635), numbers.get(65_700)), (None, None));
    }
}
