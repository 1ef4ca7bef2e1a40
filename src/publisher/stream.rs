//! One RTP stream of a publisher: its sequence numbers, its header extensions, and its retransmissions (RTX, RFC 4588).

use std::collections::VecDeque;

use bytes::Bytes;
use rtc::rtp::Packet;
use rtc::rtp::header::{Extension, Header};

use super::extensions::ExtensionIds;
use super::tier_switch::TierSwitch;
use crate::rtp::{Codec, Encoding, MAX_FIRST_SEQUENCE_NUMBER, Tier, Track};
use crate::sdp::engine;

/// The packets that can be sent again: some seconds of video.
const HISTORY: usize = 1_024;

/// The largest one-byte header extension element, and the number of such elements in a packet of padding: 272 bytes.
const ELEMENT_BYTES: usize = 16;
const PADDING_ELEMENTS: usize = 16;

/// An id that no offer of ours uses: receivers ignore its elements (RFC 8285, 4.2).
const PADDING_ID: u8 = 14;

/// The profile of one-byte header extensions (RFC 8285, 4.2).
const ONE_BYTE_PROFILE: u16 = 0xbede;

/// The payload type of a codec, and that of its retransmissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PayloadTypes {
    pub(crate) media: u8,
    /// `None`: packets are retransmitted unchanged.
    pub(crate) rtx: Option<u8>,
}

impl PayloadTypes {
    /// Those of our own offers.
    pub(super) fn offered(codec: Codec) -> Self {
        Self { media: engine::payload_type(codec), rtx: Some(engine::rtx_payload_type(codec)) }
    }
}

/// A stream of the offer.
pub(super) struct Stream {
    pub(super) track: Track,
    pub(super) codec: Codec,
    /// The tier that the restriction identifier stands for. None: the only stream of its track, which may send any
    /// tier.
    pub(super) tier: Option<Tier>,
    pub(super) mid: String,
    pub(super) ssrc: u32,
    /// None if the receiver does not take the codec.
    pub(super) payload_types: Option<PayloadTypes>,
    pub(super) switch: TierSwitch,
    /// Whether all packets are dropped up to the next key frame.
    pub(super) awaits_key_frame: bool,
    next: u16,
    next_rtx: u16,
    /// The last packets as they were sent, without gaps.
    sent: VecDeque<Packet>,
}

impl Stream {
    pub(super) fn new(track: Track, codec: Codec, tier: Option<Tier>, ssrc: u32) -> Self {
        let first = || rand::random::<u16>() & MAX_FIRST_SEQUENCE_NUMBER;
        Self {
            track,
            codec,
            tier,
            mid: String::new(),
            ssrc,
            payload_types: Some(PayloadTypes::offered(codec)),
            switch: TierSwitch::default(),
            awaits_key_frame: track.is_video(),
            next: first(),
            next_rtx: first(),
            sent: VecDeque::new(),
        }
    }

    /// The SSRC of retransmissions: an even number. The SSRCs of media are odd.
    pub(super) fn rtx_ssrc(&self) -> u32 {
        rtx_ssrc(self.ssrc)
    }

    /// The encoding of a tier of this stream.
    pub(super) fn encoding(&self, tier: Tier) -> Encoding {
        Encoding { track: self.track, tier, codec: self.codec }
    }

    /// Gives a packet its sequence number and its extensions.
    pub(super) fn number(&mut self, mut packet: Packet, ids: ExtensionIds, transport: u16) -> Packet {
        packet.header.sequence_number = self.next;
        self.next = self.next.wrapping_add(1);
        self.label(&mut packet.header, ids, ids.rid);
        set_transport_number(&mut packet.header, ids.transport_of(self.track), transport);
        if self.track.is_video() {
            if self.sent.len() == HISTORY {
                self.sent.pop_front();
            }
            self.sent.push_back(packet.clone());
        }
        packet
    }

    /// The packet with this sequence number, if it is still known.
    pub(super) fn find(&self, sequence_number: u16) -> Option<Packet> {
        let first = self.sent.front()?.header.sequence_number;
        self.sent.get(usize::from(sequence_number.wrapping_sub(first))).cloned()
    }

    /// Whether lost packets are retransmitted by RTX, as those of video are if the receiver takes it.
    pub(super) fn has_rtx(&self) -> bool {
        self.track.is_video() && self.payload_types.is_some_and(|types| types.rtx.is_some())
    }

    /// The retransmission of a packet: its payload starts with the original sequence number.
    pub(super) fn retransmission(&mut self, packet: &Packet, ids: ExtensionIds, transport: u16) -> Packet {
        let original = packet.header.sequence_number.to_be_bytes();
        let mut header = self.rtx_header(ids, transport);
        (header.timestamp, header.marker) = (packet.header.timestamp, packet.header.marker);
        Packet { header, payload: Bytes::from([&original[..], &packet.payload].concat()) }
    }

    /// A packet without payload, for a probe. `rtc` 0.21.1 writes at most four bytes of padding, so this packet has
    /// elements of the header extension that mean nothing.
    pub(super) fn padding(&mut self, ids: ExtensionIds, transport: u16) -> Packet {
        let mut header = self.rtx_header(ids, transport);
        (header.extension, header.extension_profile) = (true, ONE_BYTE_PROFILE);
        // Janus 1.1.2 reads no header extension of a packet that ends with it, and would report all probes as lost.
        header.padding = true;
        let element = Extension { id: PADDING_ID, payload: Bytes::from_static(&[0; ELEMENT_BYTES]) };
        header.extensions.extend(std::iter::repeat_n(element, PADDING_ELEMENTS));
        Packet { header, payload: Bytes::new() }
    }

    fn rtx_header(&mut self, ids: ExtensionIds, transport: u16) -> Header {
        let mut header = Header {
            version: 2,
            payload_type: self.payload_types.and_then(|types| types.rtx).unwrap_or_default(),
            sequence_number: self.next_rtx,
            ssrc: self.rtx_ssrc(),
            ..Default::default()
        };
        self.next_rtx = self.next_rtx.wrapping_add(1);
        self.label(&mut header, ids, ids.repaired_rid);
        set_transport_number(&mut header, ids.transport_of(self.track), transport);
        header
    }

    /// Adds the mid, and the restriction identifier by `rid`, by which a receiver of simulcast knows the stream (RFC
    /// 8852, 3).
    fn label(&self, header: &mut Header, ids: ExtensionIds, rid: Option<u8>) {
        let rid = rid.zip(self.tier.map(rid_of));
        let mid = ids.mid.filter(|_| self.track.is_video()).zip(Some(self.mid.as_str()));
        for (id, value) in mid.into_iter().chain(rid).filter(|(_, value)| !value.is_empty()) {
            // This fails only for an id outside 1 to 14; no such id is negotiated.
            let _ = header.set_extension(id, Bytes::copy_from_slice(value.as_bytes()));
        }
    }
}

fn set_transport_number(header: &mut Header, id: Option<u8>, number: u16) {
    if let Some(id) = id {
        let _ = header.set_extension(id, Bytes::copy_from_slice(&number.to_be_bytes()));
    }
}

/// The restriction identifier of a tier.
pub(super) fn rid_of(tier: Tier) -> &'static str {
    match tier {
        Tier::Full => "f",
        Tier::Low => "l",
    }
}

pub(super) fn rtx_ssrc(ssrc: u32) -> u32 {
    ssrc.wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use rtc::shared::marshal::{Marshal, MarshalSize};

    use super::*;

    const IDS: ExtensionIds = ExtensionIds {
        mid: Some(4),
        rid: Some(10),
        repaired_rid: Some(11),
        transport: Some(3),
        audio_transport: Some(3),
    };

    fn media() -> Packet {
        let header = Header { version: 2, ssrc: 7, payload_type: 96, timestamp: 9, marker: true, ..Default::default() };
        Packet { header, payload: Bytes::from_static(b"picture") }
    }

    fn extension(packet: &Packet, id: u8) -> Option<Vec<u8>> {
        packet.header.get_extension(id).map(|value| value.to_vec())
    }

    #[test]
    fn a_retransmission_names_its_stream_and_the_original_packet() {
        let mut stream = Stream { mid: "1".to_owned(), ..Stream::new(Track::Screen, Codec::Vp8, Some(Tier::Low), 7) };
        let numbers: Vec<u16> = (0..3).map(|n| stream.number(media(), IDS, n).header.sequence_number).collect();
        let original = stream.find(numbers[1]).unwrap();
        assert_eq!((extension(&original, 10), extension(&original, 4)), (Some(b"l".to_vec()), Some(b"1".to_vec())));
        let again = stream.retransmission(&original, IDS, 500);
        assert_eq!((again.header.ssrc, again.header.payload_type, again.header.timestamp), (8, 97, 9));
        assert_eq!(again.payload[..2], numbers[1].to_be_bytes());
        assert_eq!((&again.payload[2..], again.header.marker), (&b"picture"[..], true));
        let extensions = [3, 4, 10, 11].map(|id| extension(&again, id));
        let number = 500_u16.to_be_bytes().to_vec();
        assert_eq!(extensions, [Some(number), Some(b"1".to_vec()), None, Some(b"l".to_vec())]);
        assert!(stream.find(numbers[2].wrapping_add(1)).is_none() && stream.find(numbers[0].wrapping_sub(1)).is_none());
    }

    #[test]
    fn padding_has_a_size_and_no_payload() {
        let mut stream = Stream::new(Track::Camera, Codec::H264, None, 7);
        let padding = stream.padding(IDS, 1);
        assert!(padding.payload.is_empty() && padding.marshal_size() > 280, "{}", padding.marshal_size());
        let bytes = padding.marshal().unwrap();
        assert_eq!(bytes.len(), padding.marshal_size());
        assert_eq!(bytes.last(), Some(&4), "Janus reads no header extension at the end of a packet");
        assert_eq!(extension(&padding, 3), Some(vec![0, 1]));
        let next = stream.padding(IDS, 2).header.sequence_number;
        assert_eq!(next, padding.header.sequence_number.wrapping_add(1));
    }
}
