//! The unit of media everywhere: a [`Frame`] is the RTP packets of one video frame or one audio packet.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use super::{Encoding, Tier};
use crate::protocol::TrackName;

/// A track of a lecture. Its names are those of the pipeline elements and of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    /// The microphone, or the audio of a file.
    Audio,
    /// The screen, or the video of a file.
    Screen,
    /// The camera.
    Camera,
}

impl Track {
    /// All tracks, in the order in which they are added to a connection.
    pub const ALL: [Track; 3] = [Track::Audio, Track::Screen, Track::Camera];

    /// The name of the pipeline element and of the `msid` track id.
    pub fn name(self) -> &'static str {
        match self {
            Track::Audio => "audio",
            Track::Screen => "screen",
            Track::Camera => "camera",
        }
    }

    /// The track with this name.
    pub fn from_name(name: &str) -> Option<Track> {
        Track::ALL.into_iter().find(|track| track.name() == name)
    }

    /// Whether this is a video track.
    pub fn is_video(self) -> bool {
        self != Track::Audio
    }
}

impl From<TrackName> for Track {
    fn from(name: TrackName) -> Self {
        match name {
            TrackName::Audio => Track::Audio,
            TrackName::Screen => Track::Screen,
            TrackName::Camera => Track::Camera,
        }
    }
}

impl From<Track> for TrackName {
    fn from(track: Track) -> Self {
        match track {
            Track::Audio => TrackName::Audio,
            Track::Screen => TrackName::Screen,
            Track::Camera => TrackName::Camera,
        }
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a track is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Constrained baseline H.264, packetization mode 1 (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
    /// Opus (RFC 7587).
    Opus,
}

impl Codec {
    /// Ticks of an RTP timestamp per second.
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::H264 | Codec::Vp8 => 90_000,
            Codec::Opus => 48_000,
        }
    }

    /// The `encoding-name` of RTP caps and of SDP.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Codec::H264 => "H264",
            Codec::Vp8 => "VP8",
            Codec::Opus => "OPUS",
        }
    }

    /// The codec with this `encoding-name`, in any case.
    pub fn from_encoding_name(name: &str) -> Option<Codec> {
        [Codec::H264, Codec::Vp8, Codec::Opus].into_iter().find(|c| c.encoding_name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Codec::H264 => "H.264",
            Codec::Vp8 => "VP8",
            Codec::Opus => "Opus",
        })
    }
}

/// Bytes of the fixed RTP header (RFC 3550, 5.1).
pub const HEADER_BYTES: usize = 12;

/// The maximum number of packets of a frame: 1,024 of 1,200 bytes are 1.2 MB, twenty times a usual key frame.
pub(crate) const MAX_FRAME_PACKETS: usize = 1024;

/// The RTP packets of one video frame, or one audio packet, in order.
///
/// A clone shares the packets and allocates nothing.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The track.
    pub track: Track,
    /// The codec.
    pub codec: Codec,
    /// The tier.
    pub tier: Tier,
    /// Whether a decoder can start here. Always true for audio.
    pub key: bool,
    /// The RTP timestamp that all packets share, in ticks of the codec's clock.
    pub timestamp: u32,
    /// When the content was captured, on this machine's clock.
    pub captured: Instant,
    /// When the last packet of a publisher's frame arrived, or earlier; `None` for the frame of a capture.
    pub arrived: Option<Instant>,
    packets: Arc<[BytesMut]>,
    bytes: usize,
}

impl Frame {
    /// The encoding of the frame.
    pub fn encoding(&self) -> Encoding {
        Encoding { track: self.track, tier: self.tier, codec: self.codec }
    }

    /// The packets, header first, as created by the payloader.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.packets.iter().map(|packet| &packet[..])
    }

    /// The H.264 level (`level_idc`) of a key frame; `None` for other frames.
    pub fn h264_level(&self) -> Option<u8> {
        let of_packet = |packet: &[u8]| super::payload::h264_level(packet.get(payload_offset(packet)?..)?);
        if self.key && self.codec == Codec::H264 { self.packets().find_map(of_packet) } else { None }
    }

    /// The number of packets.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether the frame has no packets. An assembler never creates such a frame.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The size of all packets including their RTP headers, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Collects the packets of a payloader into [`Frame`]s.
///
/// A video frame ends with the marker bit (RFC 6184, 5.1 and RFC 7741, 4.1); each audio packet is a frame of its own.
#[derive(Debug)]
pub struct FrameAssembler {
    encoding: Encoding,
    /// The packets of the unfinished frame, and their bytes.
    packets: Vec<BytesMut>,
    bytes: usize,
    /// Room for packets that are copied.
    room: BytesMut,
    /// The bytes of the last frame, for which room is made at once.
    usual: usize,
    timestamp: u32,
    key: bool,
    captured: Option<Instant>,
}

/// The least room that is made: audio packets share it.
const LEAST_ROOM: usize = 4_096;

impl FrameAssembler {
    /// An assembler for the packets of one encoding, which must all come from one payloader.
    pub fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            packets: Vec::new(),
            bytes: 0,
            room: BytesMut::new(),
            usual: 0,
            timestamp: 0,
            key: false,
            captured: None,
        }
    }

    /// Copies the next packet, and returns the frame that it completes.
    ///
    /// `captured` is the capture time; that of a frame's first packet counts. Malformed packets and unfinished frames
    /// are dropped.
    pub fn push(&mut self, packet: &[u8], captured: Instant) -> Option<Frame> {
        let offset = payload_offset(packet)?;
        if self.room.capacity() < packet.len() {
            self.room.reserve(self.usual.saturating_sub(self.bytes).max(LEAST_ROOM).max(packet.len()));
        }
        self.room.extend_from_slice(packet);
        let packet = self.room.split();
        self.push_owned(packet, offset, captured)
    }

    /// Takes the next packet, whose payload starts at `offset`. Otherwise the same as [`push`](Self::push), without a
    /// copy.
    #[inline]
    pub(crate) fn push_owned(&mut self, packet: BytesMut, offset: usize, captured: Instant) -> Option<Frame> {
        let &[_, second, _, _, t0, t1, t2, t3, ..] = &packet[..] else { return None };
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        if timestamp != self.timestamp || self.packets.len() >= MAX_FRAME_PACKETS {
            self.clear();
        }
        self.timestamp = timestamp;
        self.captured.get_or_insert(captured);
        self.key |= super::payload::starts_key_frame(self.encoding.codec, packet.get(offset..).unwrap_or_default());
        self.bytes += packet.len();
        self.packets.push(packet);
        if self.encoding.track.is_video() && second & 0x80 == 0 { None } else { self.take() }
    }

    /// The number of packets of the unfinished frame.
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Ends the unfinished frame, whose last packet should have had the marker bit, and returns it.
    pub(crate) fn end(&mut self) -> Option<Frame> {
        *self.packets.last_mut()?.get_mut(1)? |= 0x80;
        self.take()
    }

    /// Drops the unfinished frame.
    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.bytes = 0;
        self.key = false;
        self.captured = None;
    }

    fn take(&mut self) -> Option<Frame> {
        self.usual = self.bytes;
        let frame = Frame {
            track: self.encoding.track,
            codec: self.encoding.codec,
            tier: self.encoding.tier,
            key: self.key,
            timestamp: self.timestamp,
            captured: self.captured?,
            arrived: None,
            packets: self.packets.drain(..).collect(),
            bytes: self.bytes,
        };
        self.clear();
        Some(frame)
    }
}

/// The offset of the payload in an RTP packet, after CSRCs and header extension; `None` if the packet is malformed.
pub fn payload_offset(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if packet.len() < HEADER_BYTES || first >> 6 != 2 {
        return None;
    }
    let mut offset = HEADER_BYTES + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = packet.get(offset + 2..offset + 4)?;
        offset += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (offset <= packet.len()).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(marker: bool, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut p = vec![0x80, 96 | if marker { 0x80 } else { 0 }, 0, 1];
        p.extend_from_slice(&timestamp.to_be_bytes());
        p.extend_from_slice(&[0, 0, 0, 7]);
        p.extend_from_slice(payload);
        p
    }

    #[test]
    fn a_video_frame_ends_with_the_marker() {
        let mut assembler = FrameAssembler::new(Encoding::full(Track::Screen, Codec::H264));
        let now = Instant::now();
        assert!(assembler.push(&packet(false, 90, &[0x67, 1]), now).is_none());
        let frame = assembler.push(&packet(true, 90, &[0x65, 1]), now).unwrap();
        assert!(frame.key);
        assert_eq!((frame.len(), frame.timestamp, frame.bytes()), (2, 90, 28));
        let frame = assembler.push(&packet(true, 180, &[0x41, 1]), now).unwrap();
        assert!(!frame.key);
        assert_eq!(frame.packets().next().unwrap(), packet(true, 180, &[0x41, 1]));
    }

    #[test]
    fn a_clone_shares_the_packets() {
        let mut assembler = FrameAssembler::new(Encoding::full(Track::Audio, Codec::Opus));
        let frame = assembler.push(&packet(false, 960, &[1, 2, 3]), Instant::now()).unwrap();
        let clone = frame.clone();
        assert!(Arc::ptr_eq(&frame.packets, &clone.packets));
        assert_eq!(frame.packets().next().unwrap().as_ptr(), clone.packets().next().unwrap().as_ptr());
    }

    #[test]
    fn every_audio_packet_is_a_frame() {
        let mut assembler = FrameAssembler::new(Encoding::full(Track::Audio, Codec::Opus));
        assert!(assembler.push(&packet(false, 960, &[1, 2, 3]), Instant::now()).unwrap().key);
    }

    #[test]
    fn an_unfinished_frame_is_dropped_when_the_next_one_starts() {
        let mut assembler = FrameAssembler::new(Encoding::full(Track::Screen, Codec::Vp8));
        assert!(assembler.push(&packet(false, 1, &[0x10, 0]), Instant::now()).is_none());
        let frame = assembler.push(&packet(true, 2, &[0x10, 1]), Instant::now()).unwrap();
        assert_eq!((frame.len(), frame.key), (1, false));
    }

    #[test]
    fn a_frame_can_end_without_the_marker() {
        let mut assembler = FrameAssembler::new(Encoding::full(Track::Screen, Codec::Vp8));
        let now = Instant::now();
        assert!(assembler.end().is_none(), "nothing has come");
        for byte in [0x10, 0] {
            assert!(assembler.push(&packet(false, 1, &[byte, 0]), now).is_none());
        }
        assert_eq!(assembler.len(), 2);
        let frame = assembler.end().unwrap();
        let packets: Vec<&[u8]> = frame.packets().collect();
        assert_eq!(packets, [packet(false, 1, &[0x10, 0]), packet(true, 1, &[0, 0])]);
        assert!(frame.key && assembler.end().is_none());
    }

    #[test]
    fn malformed_packets_are_dropped() {
        let mut assembler = FrameAssembler::new(Encoding::full(Track::Audio, Codec::Opus));
        for bad in
            [&[][..], &[0x80; 11], &[0x00; 20], &[0x9f; 40], &[0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]]
        {
            assert!(assembler.push(bad, Instant::now()).is_none(), "{bad:?}");
        }
    }
}
