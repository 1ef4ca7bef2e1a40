//! A packet for one peer, before SRTP protection.

use super::HEADER_BYTES;

/// Size of the header of the extensions: profile and length (RFC 8285, 4.2).
const EXTENSIONS_HEADER_BYTES: usize = 4;

/// Sizes of the two extensions, each with its id: the transport-wide sequence number, and the playout delay. Together
/// they are padded to words of four bytes.
const TWCC_BYTES: usize = 3;
const PLAYOUT_BYTES: usize = 4;

/// Size of the original sequence number before the payload of a retransmission (RFC 4588, 4).
const ORIGINAL_BYTES: usize = 2;

/// The longest header of an [`OutgoingPacket`].
pub const MAX_HEADER_BYTES: usize =
    HEADER_BYTES + EXTENSIONS_HEADER_BYTES + (TWCC_BYTES + PLAYOUT_BYTES).next_multiple_of(4);

/// A transport-wide sequence number and the id of its header extension
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwccSequenceNumber {
    /// The id that the peer has offered, 1 to 14.
    pub id: u8,
    /// The sequence number.
    pub number: u16,
}

/// How long a receiver may delay video, with the id of the header extension
/// (`http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`). A receiver keeps the last one that it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// The id that the peer has offered, 1 to 14.
    pub id: u8,
    /// The limits.
    pub limits: PlayoutLimits,
}

/// The limits of a playout delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayoutLimits {
    /// 0 to 100 ms: each frame is shown at once. A maximum of 0 would let the receiver drop all frames but the newest.
    Short,
    /// 0 to the largest number, 40.95 s: the receiver decides.
    Free,
}

impl PlayoutLimits {
    /// The minimum and the maximum, 12 bits each, in units of 10 ms.
    fn bytes(self) -> [u8; 3] {
        match self {
            Self::Short => [0, 0, 10],
            Self::Free => [0, 0x0f, 0xff],
        }
    }
}

/// A packet for one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutgoingPacket<'a> {
    /// The marker bit.
    pub marker: bool,
    /// The peer's payload type.
    pub payload_type: u8,
    /// The peer's sequence number with all rollovers counted: the packet index of RFC 3711, 3.3.1.
    pub index: u64,
    /// The timestamp, in ticks of the codec's clock.
    pub timestamp: u32,
    /// The peer's SSRC.
    pub ssrc: u32,
    /// The transport-wide sequence number, if negotiated.
    pub twcc: Option<TwccSequenceNumber>,
    /// The playout delay, in the first packet of a frame.
    pub playout: Option<PlayoutDelay>,
    /// In a retransmission: the original sequence number (RFC 4588, 4).
    pub original: Option<u16>,
    /// Bytes of padding after the payload (RFC 3550, 5.1).
    pub padding: u8,
    /// The payload, shared with all other peers.
    pub payload: &'a [u8],
}

impl OutgoingPacket<'_> {
    /// The sequence number in the packet's header.
    pub fn sequence_number(&self) -> u16 {
        self.index as u16
    }

    /// The size of the packet before SRTP protection.
    pub fn bytes(&self) -> usize {
        self.header_len() + self.body_len()
    }

    /// The size of the header, which is authenticated but not encrypted.
    pub fn header_len(&self) -> usize {
        match self.extension_words() {
            0 => HEADER_BYTES,
            words => HEADER_BYTES + EXTENSIONS_HEADER_BYTES + words * 4,
        }
    }

    /// The size of the header extensions in words of four bytes, without their header.
    fn extension_words(&self) -> usize {
        match (self.twcc, self.playout) {
            (None, None) => 0,
            (Some(_), None) => TWCC_BYTES.div_ceil(4),
            (None, Some(_)) => PLAYOUT_BYTES.div_ceil(4),
            (Some(_), Some(_)) => (TWCC_BYTES + PLAYOUT_BYTES).div_ceil(4),
        }
    }

    fn body_len(&self) -> usize {
        let original = if self.original.is_some() { ORIGINAL_BYTES } else { 0 };
        original + self.payload.len() + usize::from(self.padding)
    }

    /// Appends the header (RFC 3550, 5.1) with its extension and without CSRCs.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        let words = self.extension_words();
        let extended = if words > 0 { 0x10 } else { 0 };
        let padded = if self.padding > 0 { 0x20 } else { 0 };
        let mut header = [0; HEADER_BYTES];
        header[0] = 0x80 | extended | padded;
        header[1] = self.payload_type | if self.marker { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&self.sequence_number().to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&header);
        if words == 0 {
            return;
        }
        out.extend_from_slice(&[0xbe, 0xde, 0, words as u8]);
        if let Some(PlayoutDelay { id, limits }) = self.playout {
            let [high, middle, low] = limits.bytes();
            out.extend_from_slice(&[id << 4 | 2, high, middle, low]);
        }
        if let Some(TwccSequenceNumber { id, number }) = self.twcc {
            let [high, low] = number.to_be_bytes();
            out.extend_from_slice(&[id << 4 | 1, high, low, 0]);
        }
    }

    /// Appends the encrypted part: the payload with its original sequence number and padding.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        if let Some(original) = self.original {
            out.extend_from_slice(&original.to_be_bytes());
        }
        out.extend_from_slice(self.payload);
        if self.padding > 0 {
            out.resize(out.len() + usize::from(self.padding) - 1, 0);
            out.push(self.padding);
        }
    }

    /// The whole packet without SRTP.
    pub fn plain(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        self.write_header(&mut out);
        self.write_body(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload_offset;
    use super::*;

    #[test]
    fn packets_are_written_as_rtp() {
        let packet = OutgoingPacket {
            marker: true,
            payload_type: 97,
            index: 0x1_0203,
            timestamp: 0x0405_0607,
            ssrc: 0x0809_0a0b,
            twcc: None,
            playout: None,
            original: None,
            padding: 0,
            payload: b"picture",
        };
        let plain = packet.plain();
        assert_eq!(plain, [&[0x80, 0xe1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][..], b"picture"].concat());
        let numbered = OutgoingPacket { twcc: Some(TwccSequenceNumber { id: 3, number: 0xfffe }), ..packet };
        let plain = numbered.plain();
        assert_eq!((plain.len(), payload_offset(&plain)), (numbered.bytes(), Some(20)));
        assert_eq!(&plain[12..20], [0xbe, 0xde, 0, 1, 0x31, 0xff, 0xfe, 0]);
        let playout = |limits| Some(PlayoutDelay { id: 5, limits });
        let short = OutgoingPacket { playout: playout(PlayoutLimits::Short), ..numbered };
        let plain = short.plain();
        assert_eq!((plain.len(), payload_offset(&plain)), (short.bytes(), Some(MAX_HEADER_BYTES)));
        assert_eq!(&plain[12..24], [0xbe, 0xde, 0, 2, 0x52, 0, 0, 10, 0x31, 0xff, 0xfe, 0]);
        let free = OutgoingPacket { playout: playout(PlayoutLimits::Free), ..packet };
        assert_eq!(&free.plain()[12..20], [0xbe, 0xde, 0, 1, 0x52, 0, 0x0f, 0xff]);
        let again = OutgoingPacket { original: Some(0x0102), ..numbered };
        assert_eq!(&again.plain()[20..24], [1, 2, b'p', b'i']);
        let padding = OutgoingPacket { padding: 255, payload: &[], ..numbered };
        let plain = padding.plain();
        assert_eq!((plain[0], plain.len(), plain.last()), (0xb0, 20 + 255, Some(&255)));
        assert!([numbered, again, padding, short, free].iter().all(|packet| packet.plain().len() == packet.bytes()));
    }
}
