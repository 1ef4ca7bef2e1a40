//! A media packet in the datagram that carried it, which becomes the packet of a frame without a copy.

use bytes::{Buf, BytesMut};

use super::packet::RtpHeader;
use crate::rtp::{Codec, HEADER_BYTES, has_parameter_sets, starts_key_frame};

/// A packet of less than half of its datagram is copied if it leaves more bytes than this unused. Otherwise a publisher
/// of long datagrams with short packets would take far more memory than its frames have bytes.
const MAX_UNUSED: usize = 64;

/// The fields of a media packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct MediaHeader {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    /// The source's timestamp.
    pub(super) timestamp: u32,
}

/// A media packet.
#[derive(Debug)]
pub(super) struct MediaPacket<'a> {
    pub(super) header: MediaHeader,
    /// Room for an RTP header, and the payload.
    packet: &'a mut BytesMut,
}

impl<'a> MediaPacket<'a> {
    /// A decrypted packet. The first `skipped` bytes of its payload do not count.
    ///
    /// Picture ids and temporal layers of VP8 go: they belong to the source's stream, and each student gets all frames
    /// of a tier.
    #[inline]
    pub(super) fn new(header: &RtpHeader, codec: Codec, packet: &'a mut BytesMut, skipped: usize) -> Self {
        let RtpHeader { payload_type, marker, timestamp, .. } = *header;
        let room = packet.capacity();
        packet.truncate(header.end);
        let mut payload_at = header.payload_at + skipped;
        let payload = packet.get_mut(payload_at..).unwrap_or_default();
        if codec == Codec::Vp8
            && let Some((octet, length)) = vp8_descriptor(payload)
        {
            payload[length - 1] = octet;
            payload_at += length - 1;
        }
        // A payload is always behind a header.
        packet.advance(payload_at.saturating_sub(HEADER_BYTES).min(packet.len()));
        if room > 2 * packet.len() + MAX_UNUSED {
            *packet = packet[..].into();
        }
        Self { header: MediaHeader { codec, payload_type, marker, timestamp }, packet }
    }

    /// Moves the packet out, to wait.
    pub(super) fn into_parts(self) -> (MediaHeader, BytesMut) {
        (self.header, std::mem::take(self.packet))
    }

    /// A packet that has waited.
    pub(super) fn from_parts(header: MediaHeader, packet: &'a mut BytesMut) -> Self {
        Self { header, packet }
    }

    /// The payload.
    pub(super) fn payload(&self) -> &[u8] {
        self.packet.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Whether decoding can start at this packet, even if the packets before it are lost: a key frame certainly begins
    /// with it.
    pub(super) fn begins_key_frame(&self) -> bool {
        match self.header.codec {
            Codec::H264 => has_parameter_sets(self.payload()),
            codec @ (Codec::Vp8 | Codec::Opus) => starts_key_frame(codec, self.payload()),
        }
    }

    /// Moves the packet out, with a canonical header: no CSRCs, no extension, no padding.
    #[inline]
    pub(super) fn into_canonical(self, sequence_number: u16, timestamp: u32, ssrc: u32) -> BytesMut {
        if let Some(header) = self.packet.first_chunk_mut::<HEADER_BYTES>() {
            header[0] = 0x80;
            header[1] = self.header.payload_type | u8::from(self.header.marker) << 7;
            header[2..4].copy_from_slice(&sequence_number.to_be_bytes());
            header[4..8].copy_from_slice(&timestamp.to_be_bytes());
            header[8..].copy_from_slice(&ssrc.to_be_bytes());
        }
        std::mem::take(self.packet)
    }
}

/// The descriptor of a VP8 payload (RFC 7741, 4.2): its mandatory octet, of which N, S and PID are kept, and its length.
fn vp8_descriptor(payload: &[u8]) -> Option<(u8, usize)> {
    const EXTENDED: u8 = 0x80;
    const KEPT: u8 = 0x20 | 0x10 | 0x07;
    let (&first, mut rest) = payload.split_first()?;
    if first & EXTENDED != 0 {
        let extension = *rest.split_off_first()?;
        if extension & 0x80 != 0 {
            // The picture id has seven bits or fifteen.
            let octets = if rest.first()? & 0x80 != 0 { 2 } else { 1 };
            rest = rest.get(octets..)?;
        }
        let octets = usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
        rest = rest.get(octets..)?;
    }
    Some((first & KEPT, payload.len() - rest.len()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::packet::RtpPacket;
    use super::*;

    /// A packet of payload type 96 with this payload, in a datagram with a header extension and padding.
    pub(in super::super) fn datagram(timestamp: u32, marker: bool, payload: &[u8]) -> BytesMut {
        let mut datagram = vec![0xb0, 96 | u8::from(marker) << 7, 0, 1];
        datagram.extend(timestamp.to_be_bytes());
        datagram.extend([0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x31, 7, 8, 0]);
        datagram.extend(payload);
        datagram.extend([0, 0, 3]);
        datagram[..].into()
    }

    pub(in super::super) fn media_packet(codec: Codec, datagram: &mut BytesMut) -> MediaPacket<'_> {
        let header = RtpPacket::parse(datagram).unwrap().header;
        MediaPacket::new(&header, codec, datagram, 0)
    }

    fn canonical(codec: Codec, mut datagram: BytesMut) -> BytesMut {
        media_packet(codec, &mut datagram).into_canonical(0x102, 0x0304_0506, 7)
    }

    #[test]
    fn only_the_mandatory_octet_of_a_vp8_descriptor_is_kept() {
        for (payload, kept) in [
            (&[0x10, 1, 2][..], &[0x10, 1, 2][..]),
            (&[0xb3, 0x80, 0x05, 1], &[0x33, 1]),
            (&[0x90, 0x80, 0x85, 6, 1], &[0x10, 1]),
            (&[0x90, 0x40, 7, 1], &[0x10, 1]),
            (&[0x90, 0x20, 7, 1], &[0x10, 1]),
            (&[0x90, 0x30, 7, 1], &[0x10, 1]),
            (&[0xd8, 0x00, 1], &[0x10, 1]),
            // A descriptor that ends too early stays as it is.
            (&[0x90, 0xf0, 0x85, 6, 7], &[0x90, 0xf0, 0x85, 6, 7]),
            (&[0x90], &[0x90]),
            (&[], &[]),
        ] {
            let packet = canonical(Codec::Vp8, datagram(5, true, payload));
            let header = [0x80, 0x80 | 96, 1, 2, 3, 4, 5, 6, 0, 0, 0, 7];
            assert_eq!(packet, [&header[..], kept].concat(), "{payload:02x?}");
        }
        let opus = canonical(Codec::Opus, datagram(5, false, &[0x90, 0x80, 5, 1]));
        assert_eq!(opus[12..], [0x90, 0x80, 5, 1]);
    }

    #[test]
    fn a_short_packet_leaves_its_long_datagram_and_another_one_stays() {
        // The bytes of padding and payload, and the words of the header extension.
        for (padding, payload, extension, stays) in [(255, 5, 0, false), (3, 257, 300, false), (3, 1_000, 3, true)] {
            let mut datagram = vec![0xb0, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0xbe, 0xde];
            datagram.extend(u16::to_be_bytes(extension));
            datagram.resize(datagram.len() + 4 * usize::from(extension), 0);
            datagram.extend([0x90, 0x40, 7, 1]);
            datagram.resize(datagram.len() + payload - 4 + usize::from(padding) - 1, 2);
            datagram.push(padding);
            let datagram = BytesMut::from(&datagram[..]);
            let place = datagram.as_ptr_range();
            let packet = canonical(Codec::Vp8, datagram);
            assert_eq!((&packet[12..15], packet.len()), (&[0x10, 1, 2][..], 12 + payload - 2));
            assert_eq!(place.contains(&packet.as_ptr()), stays, "{payload}");
        }
    }
}
