//! Media and its feedback: RTP as it is written and received, compound RTCP.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::input::{MAX_DATAGRAM_BYTES, be, datagrams};
use crate::rtcp::{self, Feedback};
use crate::rtp::{
    Codec, Encoding, FrameAssembler, JitterBuffer, Latency, MAX_DELAY, OutgoingPacket, PlayoutDelay, PlayoutEvent,
    PlayoutLimits, Track, TwccSequenceNumber, payload_offset, starts_key_frame,
};

/// A jump of sequence numbers that is no restart of the stream; so many packets can be missing before one that arrives.
const MAX_JUMP: usize = 4_096;

/// The longest audio packet (RFC 7587, 4.2).
const LONGEST_PACKET: Duration = Duration::from_millis(120);

/// A student's compound RTCP packet: its feedback is bounded by its size, and NACKs, PLIs and receiver reports survive
/// a round trip.
pub(super) fn rtcp(compound: &[u8]) -> bool {
    let compound = &compound[..compound.len().min(MAX_DATAGRAM_BYTES)];
    let mut count = 0;
    for feedback in rtcp::read(compound) {
        count += 1;
        match feedback {
            Feedback::Nack(ssrc, numbers) => {
                let numbers: Vec<u16> = numbers.collect();
                assert!(numbers.len() <= 17 * compound.len() / 4);
                let fields = numbers.iter().map(|number| u32::from(*number) << 16);
                let again = rtcp_packet(0x80 | 1, 205, [0, ssrc].into_iter().chain(fields));
                let read = rtcp::read(&again).next();
                let Some(Feedback::Nack(same, again)) = read else { panic!("{read:?}") };
                assert!(same == ssrc && again.eq(numbers));
            }
            Feedback::Pli(ssrc) => {
                let again = rtcp_packet(0x80 | 1, 206, [0, ssrc]);
                assert!(rtcp::read(&again).eq([Feedback::Pli(ssrc)]));
            }
            Feedback::ReceiverReport(blocks) => {
                let blocks: Vec<_> = blocks.iter().collect();
                assert!(blocks.len() <= 31 && blocks.len() <= compound.len() / 24);
                let fields = blocks.iter().flat_map(|block| {
                    let lost = u32::from(block.fraction_lost) << 24 | block.total_lost as u32 & 0xff_ffff;
                    [block.ssrc, lost, 0, 0, block.last_sender_report, block.delay]
                });
                let again = rtcp_packet(0x80 | blocks.len() as u8, 201, [0].into_iter().chain(fields));
                let read = rtcp::read(&again).next();
                let Some(Feedback::ReceiverReport(again)) = read else { panic!("{read:?}") };
                assert!(again.iter().eq(blocks));
            }
            Feedback::Transport(arrivals) => {
                let (mut statuses, mut times) = (0, 0);
                for status in arrivals.statuses() {
                    statuses += 1;
                    times += usize::from(status.is_some());
                    assert!(status.is_none_or(|micros| micros.abs() <= 250 << 15));
                }
                assert!(statuses <= u16::MAX.into() && times <= compound.len());
            }
            Feedback::Remb(_) => {}
        }
    }
    assert!(count <= Track::ALL.len() * compound.len() / 4, "{count} from {} bytes", compound.len());
    count > 0
}

/// An RTCP packet of 32-bit fields (RFC 3550, 6.4.1).
fn rtcp_packet(first: u8, kind: u8, fields: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut packet = vec![first, kind, 0, 0];
    packet.extend(fields.into_iter().flat_map(u32::to_be_bytes));
    let words = (packet.len() / 4 - 1) as u16;
    packet[2..4].copy_from_slice(&words.to_be_bytes());
    packet
}

/// The packets of a publisher as a student gets them, and as a sender writes them. Each datagram has a byte in front:
/// the track, whether it is RTCP, and how much later it arrives.
pub(super) fn rtp(bytes: &[u8]) -> bool {
    let codecs = [(Track::Audio, Codec::Opus), (Track::Screen, Codec::H264), (Track::Camera, Codec::Vp8)];
    let mut player = Player::new(codecs);
    let mut assemblers = codecs.map(|(track, codec)| FrameAssembler::new(Encoding::full(track, codec)));
    let captured = Instant::now();
    let (mut time, mut frames) = (Duration::ZERO, 0);
    for datagram in datagrams(bytes).take(MAX_JUMP) {
        let Some((first, packet)) = datagram.split_first() else { continue };
        time += Duration::from_millis(8) * u32::from(first >> 3);
        let at = usize::from(first & 3).min(2);
        let (track, codec) = codecs[at];
        if first & 4 != 0 {
            player.buffer.report(track, packet);
            continue;
        }
        player.take(track, packet, time);
        if let Some(frame) = assemblers[at].push(packet, captured) {
            frames += 1;
            assert!(!frame.is_empty() && frame.len() <= 1_024 && frame.packets().last() == Some(packet));
            assert_eq!(frame.bytes(), frame.packets().map(<[u8]>::len).sum::<usize>());
            assert_eq!(u64::from(frame.timestamp), be(&packet[4..8]));
            assert!(frame.h264_level().is_none() || codec == Codec::H264);
            assert!(!frame.key || codec == Codec::Opus || frame.packets().any(|packet| starts(codec, packet)));
        }
        written_as_read(packet);
    }
    player.finish(time);
    frames > 0
}

fn starts(codec: Codec, packet: &[u8]) -> bool {
    payload_offset(packet).is_some_and(|at| starts_key_frame(codec, &packet[at..]))
}

/// A jitter buffer, and what is expected of it.
struct Player {
    buffer: JitterBuffer,
    taken: HashMap<(Track, Vec<u8>), usize>,
    packets: usize,
    events: usize,
}

impl Player {
    fn new(codecs: [(Track, Codec); 3]) -> Self {
        let buffer = JitterBuffer::new(codecs, Latency::AUTO, false);
        Self { buffer, taken: HashMap::new(), packets: 0, events: 0 }
    }

    fn take(&mut self, track: Track, packet: &[u8], now: Duration) {
        *self.taken.entry((track, packet.to_vec())).or_default() += 1;
        self.packets += 1;
        let (taken, events) = (&mut self.taken, &mut self.events);
        self.buffer.take(track, packet, now, |track, event| {
            *events += 1;
            played(taken, track, &event);
        });
        self.check();
    }

    /// Nothing waits for ever: a last packet that is followed by nothing, a gap that is never filled.
    fn finish(mut self, mut now: Duration) {
        let mut steps = 0;
        while let Some(wakes) = self.buffer.wakes() {
            now = now.max(wakes);
            let (taken, events) = (&mut self.taken, &mut self.events);
            self.buffer.pass(now, |track, event| {
                *events += 1;
                played(taken, track, &event);
            });
            self.check();
            steps += 1;
            assert!(steps <= (self.packets + 1) * (MAX_JUMP + 4), "the buffer wakes for ever");
        }
    }

    fn check(&self) {
        assert!(self.buffer.delay() <= MAX_DELAY);
        assert!(self.events <= self.packets * (MAX_JUMP + 2), "{} events of {} packets", self.events, self.packets);
        let lost: u64 = Track::ALL.into_iter().map(|track| self.buffer.losses(track).lost).sum();
        assert!(lost <= (self.packets * (MAX_JUMP + 1)) as u64, "{lost} lost of {}", self.packets);
    }
}

/// A packet is played on its track, once, and as it came.
fn played(taken: &mut HashMap<(Track, Vec<u8>), usize>, track: Track, event: &PlayoutEvent) {
    match event {
        PlayoutEvent::Packet { bytes, .. } => {
            let left = taken.get_mut(&(track, bytes.clone())).filter(|left| **left > 0);
            let Some(left) = left else { panic!("{track} plays a packet that did not come: {bytes:02x?}") };
            *left -= 1;
        }
        PlayoutEvent::Concealment { lasts, .. } => assert!(*lasts <= LONGEST_PACKET, "{lasts:?}"),
        PlayoutEvent::KeyFrameNeeded => {}
    }
}

/// A packet with numbers from these bytes is written as RFC 3550, 5.1 says, with its payload where it is looked for.
fn written_as_read(bytes: &[u8]) {
    let Some((numbers, payload)) = bytes.split_first_chunk::<16>() else { return };
    let twcc = TwccSequenceNumber { id: 1 + numbers[0] % 14, number: be(&numbers[14..]) as u16 };
    let playout = PlayoutDelay { id: 1 + numbers[2] % 14, limits: PlayoutLimits::Short };
    let packet = OutgoingPacket {
        marker: numbers[0] & 0x80 != 0,
        payload_type: numbers[1] & 0x7f,
        index: be(&numbers[2..8]),
        timestamp: be(&numbers[4..8]) as u32,
        ssrc: be(&numbers[8..12]) as u32,
        twcc: (numbers[0] & 0x10 != 0).then_some(twcc),
        playout: (numbers[1] & 0x80 != 0).then_some(playout),
        original: (numbers[0] & 0x20 != 0).then_some(be(&numbers[12..14]) as u16),
        padding: numbers[13],
        payload,
    };
    let plain = packet.plain();
    let offset = payload_offset(&plain);
    assert_eq!((plain.len(), offset), (packet.bytes(), Some(packet.header_len())));
    assert!(plain[0] >> 6 == 2 && plain[1] == packet.payload_type | u8::from(packet.marker) << 7);
    assert_eq!(be(&plain[2..4]), packet.index & 0xffff);
    assert_eq!((be(&plain[4..8]), be(&plain[8..12])), (packet.timestamp.into(), packet.ssrc.into()));
    let mut extensions = Vec::new();
    if packet.playout.is_some() {
        extensions.extend([playout.id << 4 | 2, 0, 0, 10]);
    }
    if packet.twcc.is_some() {
        extensions.extend([twcc.id << 4 | 1, numbers[14], numbers[15], 0]);
    }
    if !extensions.is_empty() {
        let header = [0xbe, 0xde, 0, (extensions.len() / 4) as u8];
        assert_eq!(plain[12..packet.header_len()], [&header[..], &extensions].concat());
    }
    let padding = if plain[0] & 0x20 != 0 { usize::from(plain[plain.len() - 1]) } else { 0 };
    let original = if packet.original.is_some() { 2 } else { 0 };
    assert_eq!(&plain[packet.header_len() + original..plain.len() - padding], payload);
}
