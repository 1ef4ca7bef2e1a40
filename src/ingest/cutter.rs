//! Cuts the packets of one encoding, which come in order, into whole frames that can be decoded one after the other.

use std::time::Instant;

use super::media_packet::MediaPacket;
use crate::rtp::{Encoding, Frame, FrameAssembler, HEADER_BYTES, MAX_FRAME_PACKETS, starts_key_frame};

/// The fields that all packets of a frame share.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHeader {
    pub(super) ssrc: u32,
    /// The timestamp on the track's timeline.
    pub(super) timestamp: u32,
    pub(super) captured: Instant,
}

/// The effect of a packet, beside its frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Whether the key frame that the cutter waited for has begun.
    pub(super) began_key_frame: bool,
    /// Whether a frame was dropped: it is incomplete or too long, or depends on a dropped frame.
    pub(super) dropped: bool,
}

/// Collects the packets of one encoding.
#[derive(Debug)]
pub(super) struct FrameCutter {
    encoding: Encoding,
    assembler: FrameAssembler,
    /// The start of the wait for a key frame.
    awaits_key: Option<Instant>,
    /// The source's timestamp of the current frame, and the fields of its outgoing packets.
    current: Option<(u32, FrameHeader)>,
    /// Whether all packets of the current frame have come, so far.
    is_complete: bool,
    /// Whether the last packet had the marker bit.
    at_end: bool,
}

impl FrameCutter {
    /// A cutter that waits for the first key frame. Audio waits for nothing.
    pub(super) fn new(encoding: Encoding, now: Instant) -> Self {
        Self {
            encoding,
            assembler: FrameAssembler::new(encoding),
            awaits_key: encoding.track.is_video().then_some(now),
            current: None,
            is_complete: false,
            at_end: false,
        }
    }

    /// The encoding of its frames.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The start of the wait for a key frame; `None` without a wait.
    pub(super) fn awaits_key(&self) -> Option<Instant> {
        self.awaits_key
    }

    /// Packets before the next one are lost. Returns whether a frame was dropped.
    pub(super) fn on_gap(&mut self, now: Instant) -> bool {
        let had = self.assembler.len() > 0;
        self.assembler.clear();
        self.current = None;
        (self.is_complete, self.at_end) = (false, false);
        if self.encoding.track.is_video() {
            self.awaits_key.get_or_insert(now);
        }
        had
    }

    /// Takes the next packet. `header` gives the shared fields of a frame, and is called once for each frame. `frames`
    /// gets the frames that are whole now: the one that the packet completes, and before it one without a marker bit.
    pub(super) fn push(
        &mut self,
        now: Instant,
        sequence_number: u16,
        packet: MediaPacket<'_>,
        header: impl FnOnce() -> FrameHeader,
        mut frames: impl FnMut(Frame),
    ) -> Cut {
        let mut cut = Cut::default();
        if packet.header.codec != self.encoding.codec {
            cut.dropped = self.on_gap(now);
            self.encoding.codec = packet.header.codec;
            self.assembler = FrameAssembler::new(self.encoding);
            // The frames of another payload type begin with this packet.
            self.at_end = true;
        }
        let fields = match self.current {
            Some((timestamp, fields)) if timestamp == packet.header.timestamp && !self.at_end => fields,
            before => {
                if self.assembler.len() > 0 {
                    self.assembler.end().into_iter().for_each(&mut frames);
                }
                // The first packet of all, or after a gap, need not be the first of its frame.
                self.is_complete = before.is_some() || self.at_end;
                let fields = header();
                self.current = Some((packet.header.timestamp, fields));
                fields
            }
        };
        self.at_end = packet.header.marker;
        if self.awaits_key.is_some() {
            let begins = packet.begins_key_frame()
                || self.is_complete && starts_key_frame(packet.header.codec, packet.payload());
            if !begins {
                cut.dropped |= packet.header.marker;
                return cut;
            }
            self.awaits_key = None;
            cut.began_key_frame = true;
        }
        if self.assembler.len() >= MAX_FRAME_PACKETS {
            self.on_gap(now);
            cut.dropped = true;
            return cut;
        }
        let packet = packet.into_canonical(sequence_number, fields.timestamp, fields.ssrc);
        if let Some(frame) = self.assembler.push_owned(packet, HEADER_BYTES, fields.captured) {
            frames(frame);
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::super::media_packet::tests::{datagram, media_packet};
    use super::*;
    use crate::rtp::{Codec, Track};

    struct Source {
        cutter: FrameCutter,
        now: Instant,
        next: u16,
    }

    impl Source {
        fn new(codec: Codec) -> Self {
            let now = Instant::now();
            let track = if codec == Codec::Opus { Track::Audio } else { Track::Screen };
            Self { cutter: FrameCutter::new(Encoding::full(track, codec), now), now, next: 65_534 }
        }

        fn push(&mut self, codec: Codec, timestamp: u32, marker: bool, payload: &[u8]) -> (Cut, Vec<Frame>) {
            let mut datagram = datagram(timestamp, marker, payload);
            let packet = media_packet(codec, &mut datagram);
            let mut frames = Vec::new();
            let fields = FrameHeader { ssrc: 7, timestamp: timestamp.wrapping_add(1000), captured: self.now };
            self.next = self.next.wrapping_add(1);
            let cut = self.cutter.push(self.now, self.next, packet, || fields, |frame| frames.push(frame));
            (cut, frames)
        }
    }

    fn whole((_, frames): &(Cut, Vec<Frame>)) -> Vec<(u32, usize, bool)> {
        frames.iter().map(|frame| (frame.timestamp, frame.len(), frame.key)).collect()
    }

    const VP8_KEY: &[u8] = &[0x90, 0xf0, 0x85, 0x01, 0x33, 0x20, 0x00, 1];
    const VP8_REST: &[u8] = &[0x80, 0x80, 0x05, 9];
    const VP8_DELTA: &[u8] = &[0x10, 0x01, 2];

    #[test]
    fn headers_are_canonical_and_vp8_descriptors_are_reduced() {
        let mut source = Source::new(Codec::Vp8);
        assert!(source.push(Codec::Vp8, 90, false, VP8_KEY).0.began_key_frame);
        let (_, frames) = source.push(Codec::Vp8, 90, true, VP8_REST);
        let frame = &frames[0];
        let packets: Vec<Vec<u8>> = frame.packets().map(<[u8]>::to_vec).collect();
        let first = [0x80, 96, 255, 255, 0, 0, 4, 66, 0, 0, 0, 7, 0x10, 0x00, 1];
        let second = [0x80, 96 | 0x80, 0, 0, 0, 0, 4, 66, 0, 0, 0, 7, 0x00, 9];
        assert_eq!(packets, [first.to_vec(), second.to_vec()]);
        assert!(frame.key);
    }

    #[test]
    fn nothing_is_given_after_a_gap_up_to_the_next_key_frame() {
        let mut source = Source::new(Codec::Vp8);
        assert!(source.push(Codec::Vp8, 1, true, VP8_DELTA).0.dropped, "it starts with a key frame");
        assert_eq!(whole(&source.push(Codec::Vp8, 2, true, VP8_KEY)), [(1002, 1, true)]);
        assert_eq!(whole(&source.push(Codec::Vp8, 3, true, VP8_DELTA)), [(1003, 1, false)]);
        source.push(Codec::Vp8, 4, false, VP8_DELTA);
        assert!(source.cutter.on_gap(source.now));
        assert!(source.push(Codec::Vp8, 4, true, VP8_REST).0.dropped);
        assert!(source.push(Codec::Vp8, 5, true, VP8_DELTA).0.dropped);
        assert!(source.cutter.awaits_key().is_some());
        assert_eq!(whole(&source.push(Codec::Vp8, 6, true, VP8_KEY)), [(1006, 1, true)]);
    }

    #[test]
    fn an_h264_key_frame_begins_with_parameter_sets_or_at_a_known_end() {
        let (sps, idr, slice) = ([0x67, 0x42, 0xc0, 0x28], [0x65, 1], [0x41, 1]);
        let mut source = Source::new(Codec::H264);
        assert!(whole(&source.push(Codec::H264, 1, true, &idr)).is_empty(), "its parameter sets may be lost");
        source.push(Codec::H264, 2, false, &sps);
        assert_eq!(whole(&source.push(Codec::H264, 2, true, &idr)), [(1002, 2, true)]);
        source.cutter.on_gap(source.now);
        source.push(Codec::H264, 3, true, &slice);
        source.push(Codec::H264, 4, false, &[0x06, 1]);
        assert_eq!(whole(&source.push(Codec::H264, 4, true, &idr)), [(1004, 1, true)], "nothing of it is lost");
    }

    #[test]
    fn a_new_timestamp_ends_a_frame_without_marker() {
        let mut source = Source::new(Codec::Vp8);
        source.push(Codec::Vp8, 1, false, VP8_KEY);
        let cut = source.push(Codec::Vp8, 2, true, VP8_DELTA);
        assert_eq!(whole(&cut), [(1001, 1, true), (1002, 1, false)]);
        assert_eq!(cut.1[0].packets().next().unwrap()[1], 96 | 0x80);
    }

    #[test]
    fn a_frame_of_too_many_packets_is_dropped() {
        let mut source = Source::new(Codec::Vp8);
        source.push(Codec::Vp8, 1, false, VP8_KEY);
        let cuts: Vec<_> = (0..1024).map(|_| source.push(Codec::Vp8, 1, false, VP8_REST)).collect();
        assert!(cuts[1023].0.dropped && !cuts[1022].0.dropped && source.cutter.awaits_key().is_some());
        assert!(whole(&source.push(Codec::Vp8, 1, true, VP8_REST)).is_empty());
        assert_eq!(whole(&source.push(Codec::Vp8, 2, true, VP8_KEY)).len(), 1);
    }

    #[test]
    fn another_codec_starts_with_its_key_frame() {
        let mut source = Source::new(Codec::Vp8);
        source.push(Codec::Vp8, 1, true, VP8_KEY);
        source.push(Codec::Vp8, 2, false, VP8_DELTA);
        let cut = source.push(Codec::H264, 3, true, &[0x41, 1]);
        assert!(cut.0.dropped && whole(&cut).is_empty() && source.cutter.encoding().codec == Codec::H264);
        assert_eq!(whole(&source.push(Codec::H264, 4, true, &[0x65, 1])), [(1004, 1, true)]);
    }

    #[test]
    fn audio_goes_on_after_a_gap() {
        let mut source = Source::new(Codec::Opus);
        assert_eq!(whole(&source.push(Codec::Opus, 960, false, &[1, 2])), [(1960, 1, true)]);
        assert!(!source.cutter.on_gap(source.now));
        assert_eq!(whole(&source.push(Codec::Opus, 2880, true, &[1, 2])), [(3880, 1, true)]);
    }
}
