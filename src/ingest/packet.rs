//! Parses a received RTP packet with its header extensions.

use crate::rtp::HEADER_BYTES;

/// The first 12 bits of the profile of two-byte header extensions (RFC 8285, 4.3).
const TWO_BYTE_PROFILE: u16 = 0x100;

/// The profile of one-byte header extensions (RFC 8285, 4.2).
const ONE_BYTE_PROFILE: u16 = 0xbede;

/// The fields of an RTP header, and the place of the payload, without padding.
#[derive(Debug, Clone, Copy)]
pub(super) struct RtpHeader {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence_number: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// The offset of the payload in the packet, and that of its end.
    pub(super) payload_at: usize,
    pub(super) end: usize,
}

/// A received RTP packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct RtpPacket<'a> {
    pub(super) header: RtpHeader,
    pub(super) extensions: Extensions<'a>,
}

impl<'a> RtpPacket<'a> {
    /// Parses a packet (RFC 3550, 5.1). `None` if the CSRCs, the header extension or the padding exceed the packet.
    #[inline]
    pub(super) fn parse(packet: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = packet.split_first_chunk::<HEADER_BYTES>()?;
        if header[0] >> 6 != 2 {
            return None;
        }
        rest = rest.get(4 * usize::from(header[0] & 0x0f)..)?;
        let mut extensions = Extensions { has_two_byte_headers: false, elements: &[] };
        if header[0] & 0x10 != 0 {
            let (&[p, q, high, low], after) = rest.split_first_chunk()?;
            let (elements, after) = after.split_at_checked(4 * usize::from(u16::from_be_bytes([high, low])))?;
            let profile = u16::from_be_bytes([p, q]);
            rest = after;
            if profile == ONE_BYTE_PROFILE || profile >> 4 == TWO_BYTE_PROFILE {
                extensions = Extensions { has_two_byte_headers: profile != ONE_BYTE_PROFILE, elements };
            }
        }
        let mut padding = 0;
        if header[0] & 0x20 != 0 {
            padding = usize::from(*rest.last()?);
            if padding == 0 || padding > rest.len() {
                return None;
            }
        }
        let [_, second, n0, n1, t0, t1, t2, t3, s0, s1, s2, s3] = *header;
        let header = RtpHeader {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence_number: u16::from_be_bytes([n0, n1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            payload_at: packet.len() - rest.len(),
            end: packet.len() - padding,
        };
        Some(Self { header, extensions })
    }
}

/// The header extension elements of a packet (RFC 8285), each with its id. Iteration ends at a malformed element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extensions<'a> {
    has_two_byte_headers: bool,
    elements: &'a [u8],
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        /// An element with this id ends the elements of one-byte headers (RFC 8285, 4.2).
        const STOP: u8 = 15;
        loop {
            let first = *self.elements.split_off_first()?;
            if first == 0 {
                // Padding between elements.
                continue;
            }
            let (id, length) = if self.has_two_byte_headers {
                (first, usize::from(*self.elements.split_off_first()?))
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1)
            };
            if !self.has_two_byte_headers && id == STOP {
                self.elements = &[];
                return None;
            }
            return Some((id, self.elements.split_off(..length)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 0x80 | 96, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        packet.extend_from_slice(rest);
        packet
    }

    fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
        RtpPacket::parse(packet).unwrap().extensions.map(|(id, data)| (id, data.to_vec())).collect()
    }

    #[test]
    fn csrcs_extension_and_padding_are_removed() {
        let bytes = packet(0xb1, &[9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0x31, 7, 8, 0, b'm', b'e', 0, 2]);
        let header = RtpPacket::parse(&bytes).unwrap().header;
        assert_eq!((header.marker, header.payload_type, header.sequence_number), (true, 96, 0x102));
        assert_eq!((header.timestamp, header.ssrc), (0x0304_0506, 0x0708_090a));
        assert_eq!(&bytes[header.payload_at..header.end], b"me");
        assert_eq!(elements(&bytes), [(3, vec![7, 8])]);
    }

    #[test]
    fn elements_with_one_byte_headers() {
        // Padding before, between and behind; id 15 ends the list.
        let all = [0xbe, 0xde, 0, 3, 0, 0x10, b'a', 0, 0x21, b'h', b'i', 0, 0xf0, 0x30, b'x', 0];
        assert_eq!(elements(&packet(0x90, &all)), [(1, b"a".to_vec()), (2, b"hi".to_vec())]);
        let beyond = [0xbe, 0xde, 0, 1, 0x10, b'a', 0x2f, b'h'];
        assert_eq!(elements(&packet(0x90, &beyond)), [(1, b"a".to_vec())]);
    }

    #[test]
    fn elements_with_two_byte_headers() {
        let all = [0x10, 0x05, 0, 3, 17, 3, b'm', b'i', b'd', 0, 2, 0, 255, 1, 9, 0];
        assert_eq!(elements(&packet(0x90, &all)), [(17, b"mid".to_vec()), (2, vec![]), (255, vec![9])]);
        let unknown = [0x12, 0x34, 0, 1, 0x10, b'a', 0, 0];
        assert!(elements(&packet(0x90, &unknown)).is_empty(), "another profile");
    }

    #[test]
    fn malformed_packets_are_refused() {
        for bad in [
            packet(0x40, &[1]),
            packet(0x8f, &[0; 59]),
            packet(0x90, &[0xbe, 0xde]),
            packet(0x90, &[0xbe, 0xde, 0, 2, 0, 0, 0, 0]),
            packet(0xa0, &[]),
            packet(0xa0, &[1, 3]),
            packet(0xa0, &[1, 0]),
            packet(0x80, &[])[..11].to_vec(),
        ] {
            assert!(RtpPacket::parse(&bad).is_none(), "{bad:02x?}");
        }
        let header = RtpPacket::parse(&packet(0xa0, &[0, 2])).unwrap().header;
        assert_eq!((header.payload_at, header.end), (12, 12), "only padding");
    }
}
