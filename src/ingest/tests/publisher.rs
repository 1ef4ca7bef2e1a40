//! A publisher as browsers are: simulcast by rid, RTX, transport-wide numbers, sender reports.

use std::collections::HashMap;

use super::super::{ExtensionIds, IngestSection};
use crate::rtcp::{Feedback, read};
use crate::rtp::{Codec, Encoding, Frame, HEADER_BYTES, Tier};

/// The publisher's wall clock at the start, in seconds since 1900.
const NTP_START: u64 = 3_950_000_000;

/// One RTP stream of a publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct SenderSettings {
    pub(super) mid: &'static str,
    pub(super) rid: Option<&'static str>,
    pub(super) encoding: Encoding,
    pub(super) ssrc: u32,
    pub(super) rtx: Option<u32>,
    /// Milliseconds between two frames, packets of each, and milliseconds from capture to sending.
    pub(super) interval: u64,
    pub(super) packets: usize,
    pub(super) delay: u64,
    pub(super) first_number: u16,
    pub(super) first_timestamp: u32,
    /// Whether the SSRCs are in the offer. Otherwise packets carry mid and rid.
    pub(super) is_declared: bool,
}

/// A frame that was sent.
struct SentFrame {
    payloads: Vec<Vec<u8>>,
    is_key: bool,
    sent: u64,
    captured: u64,
}

pub(super) struct Sender {
    pub(super) settings: SenderSettings,
    /// Whether it sends, and whether its next frame is a key frame.
    pub(super) is_active: bool,
    pub(super) next_is_key: bool,
    /// Added to its timestamps.
    pub(super) jump: u32,
    number: u16,
    rtx_number: u16,
    frames: Vec<SentFrame>,
    /// Packets by sequence number, without transport-wide number.
    sent: HashMap<u16, Packet>,
    by_first_payload: HashMap<Vec<u8>, usize>,
}

#[derive(Clone)]
struct Packet {
    marker: bool,
    payload_type: u8,
    timestamp: u32,
    payload: Vec<u8>,
}

pub(super) struct Publisher {
    pub(super) senders: Vec<Sender>,
    ids: ExtensionIds,
    twcc: u16,
}

pub(super) fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 111,
        Codec::Vp8 => 96,
        Codec::H264 => 102,
    }
}

impl Publisher {
    pub(super) fn new(senders: Vec<SenderSettings>, ids: ExtensionIds) -> Self {
        let sender = |settings: SenderSettings| Sender {
            settings,
            is_active: true,
            next_is_key: true,
            jump: 0,
            number: settings.first_number,
            rtx_number: 7,
            frames: Vec::new(),
            sent: HashMap::new(),
            by_first_payload: HashMap::new(),
        };
        Self { senders: senders.into_iter().map(sender).collect(), ids, twcc: 65_000 }
    }

    /// The sections of its offer.
    pub(super) fn sections(&self) -> Vec<IngestSection> {
        let mut sections: Vec<IngestSection> = Vec::new();
        for Sender { settings, .. } in &self.senders {
            let track = settings.encoding.track;
            if !sections.iter().any(|section| section.track == track) {
                let codecs = if track.is_video() { &[Codec::Vp8, Codec::H264][..] } else { &[Codec::Opus] };
                sections.push(IngestSection {
                    mid: settings.mid.to_owned(),
                    track,
                    codecs: codecs.iter().map(|codec| (payload_type(*codec), *codec)).collect(),
                    rtx: if settings.rtx.is_some() { vec![(97, 96), (103, 102)] } else { Vec::new() },
                    rids: Vec::new(),
                    ssrcs: Vec::new(),
                });
            }
            if let Some(section) = sections.iter_mut().find(|section| section.track == track) {
                section.rids.extend(settings.rid.map(ToOwned::to_owned));
                section.ssrcs.extend(settings.is_declared.then_some((settings.ssrc, settings.rtx)));
            }
        }
        sections
    }

    pub(super) fn sender(&mut self, encoding: Encoding) -> &mut Sender {
        let is_of = |sender: &&mut Sender| {
            (sender.settings.encoding.track, sender.settings.encoding.tier) == (encoding.track, encoding.tier)
        };
        self.senders.iter_mut().find(is_of).expect("a sender of this encoding")
    }

    /// The packets that leave in this millisecond.
    pub(super) fn send(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        for sender in &mut self.senders {
            let Some(captured) = ms.checked_sub(sender.settings.delay) else { continue };
            if sender.is_active && captured.is_multiple_of(sender.settings.interval) {
                for number in sender.encode(ms, captured) {
                    packets.push(sender.write(self.ids, &mut self.twcc, number));
                }
            }
            if ms % 1_000 == 300 {
                packets.push(sender.report(ms));
            }
        }
        packets
    }

    /// Answers NACKs and PLIs.
    pub(super) fn on_rtcp(&mut self, compound: &[u8]) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        for feedback in read(compound) {
            match feedback {
                Feedback::Nack(ssrc, numbers) => {
                    let Some(sender) = self.senders.iter_mut().find(|sender| sender.settings.ssrc == ssrc) else {
                        panic!("a NACK of {ssrc}")
                    };
                    for number in numbers {
                        packets.extend(sender.retransmit(self.ids, &mut self.twcc, number));
                    }
                }
                Feedback::Pli(ssrc) => {
                    let sender = self.senders.iter_mut().find(|sender| sender.settings.ssrc == ssrc);
                    sender.expect("a PLI of a known SSRC").next_is_key = true;
                }
                Feedback::ReceiverReport(_) | Feedback::Transport(_) | Feedback::Remb(_) => {}
            }
        }
        packets
    }

    fn of(&self, encoding: Encoding) -> &Sender {
        let is_of = |sender: &&Sender| {
            (sender.settings.encoding.track, sender.settings.encoding.tier) == (encoding.track, encoding.tier)
        };
        self.senders.iter().find(is_of).expect("a sender of this encoding")
    }

    /// Checks that a frame is one that was sent, whole and byte-identical, and returns its number and when it was sent.
    pub(super) fn check(&self, encoding: Encoding, frame: &Frame) -> (u32, u64) {
        let sender = self.of(encoding);
        let payloads: Vec<&[u8]> = frame.packets().map(|packet| &packet[HEADER_BYTES..]).collect();
        let number = sender.by_first_payload.get(payloads[0]).copied().expect("a frame that was sent");
        let sent = &sender.frames[number];
        assert_eq!(payloads, sent.payloads, "frame {number}");
        assert_eq!(frame.key, sent.is_key || encoding.codec == Codec::Opus, "frame {number}");
        for packet in frame.packets() {
            assert_eq!((packet[0], &packet[4..8]), (0x80, &frame.timestamp.to_be_bytes()[..]));
        }
        (number as u32, sent.sent)
    }

    /// The capture time of a frame, in milliseconds.
    pub(super) fn captured(&self, encoding: Encoding, number: u32) -> u64 {
        self.of(encoding).frames[number as usize].captured
    }

    pub(super) fn is_key(&self, encoding: Encoding, number: u32) -> bool {
        encoding.codec == Codec::Opus || self.of(encoding).frames[number as usize].is_key
    }
}

impl Sender {
    /// Encodes a frame and returns the numbers of its packets.
    fn encode(&mut self, ms: u64, captured: u64) -> Vec<u16> {
        let codec = self.settings.encoding.codec;
        let is_key = std::mem::take(&mut self.next_is_key);
        let number = self.frames.len();
        let count = self.settings.packets * if is_key && codec != Codec::Opus { 4 } else { 1 };
        let mut payloads = Vec::new();
        let mut numbers = Vec::new();
        for n in 0..count {
            let mut body = (number as u32).to_be_bytes().to_vec();
            body.extend((n as u32 ^ self.settings.ssrc << 8).to_be_bytes());
            body.resize(300 + n % 700, (number + n) as u8);
            // The payload header on the wire, and the payload header that students get.
            let (wire, canonical) = match codec {
                Codec::Opus => (vec![], vec![]),
                Codec::Vp8 => {
                    let start = if n == 0 { 0x10 } else { 0 };
                    let tag = if n == 0 { vec![u8::from(!is_key)] } else { vec![] };
                    let picture = [0x80 | start, 0x80, 0x80 | (number >> 8) as u8 & 0x7f, number as u8];
                    ([&picture[..], &tag].concat(), [&[start][..], &tag].concat())
                }
                Codec::H264 => {
                    let header = match (is_key, n) {
                        (true, 0) => vec![0x67, 0x42, 0xc0, 0x28],
                        (true, _) => vec![0x7c, if n == 1 { 0x85 } else { 0x05 }],
                        (false, _) => vec![0x41],
                    };
                    (header.clone(), header)
                }
            };
            payloads.push([&canonical[..], &body].concat());
            let packet = Packet {
                marker: n + 1 == count && codec != Codec::Opus,
                payload_type: payload_type(codec),
                timestamp: self.timestamp(captured),
                payload: [&wire[..], &body].concat(),
            };
            self.sent.insert(self.number, packet);
            numbers.push(self.number);
            self.number = self.number.wrapping_add(1);
        }
        self.by_first_payload.insert(payloads[0].clone(), number);
        self.frames.push(SentFrame { payloads, is_key, sent: ms, captured });
        numbers
    }

    fn timestamp(&self, captured: u64) -> u32 {
        let ticks = captured * u64::from(self.settings.encoding.codec.clock_rate()) / 1_000;
        self.settings.first_timestamp.wrapping_add(ticks as u32).wrapping_add(self.jump)
    }

    fn write(&self, ids: ExtensionIds, twcc: &mut u16, number: u16) -> Vec<u8> {
        let packet = &self.sent[&number];
        self.packet(ids, twcc, self.settings.ssrc, number, packet)
    }

    fn retransmit(&mut self, ids: ExtensionIds, twcc: &mut u16, number: u16) -> Option<Vec<u8>> {
        // Browsers do not retransmit audio.
        let rtx = self.settings.rtx?;
        let sent = self.sent.get(&number).unwrap_or_else(|| panic!("{number} was never sent"));
        let packet = Packet {
            payload_type: sent.payload_type + 1,
            payload: [&number.to_be_bytes()[..], &sent.payload].concat(),
            ..*sent
        };
        self.rtx_number = self.rtx_number.wrapping_add(1);
        Some(self.packet(ids, twcc, rtx, self.rtx_number, &packet))
    }

    /// A packet on the wire: mid, rid, transport-wide number and audio level in one-byte headers, and some padding.
    fn packet(&self, ids: ExtensionIds, twcc: &mut u16, ssrc: u32, number: u16, packet: &Packet) -> Vec<u8> {
        let mut extension = Vec::new();
        let mut push = |id: Option<u8>, value: &[u8]| {
            if let Some(id) = id {
                extension.push(id << 4 | (value.len() - 1) as u8);
                extension.extend_from_slice(value);
            }
        };
        if !self.settings.is_declared {
            push(ids.mid, self.settings.mid.as_bytes());
            let id = if Some(ssrc) == self.settings.rtx { ids.repaired_rid } else { ids.rid };
            if let Some(rid) = self.settings.rid {
                push(id, rid.as_bytes());
            }
        }
        push(ids.twcc, &twcc.to_be_bytes());
        *twcc = twcc.wrapping_add(1);
        if self.settings.encoding.codec == Codec::Opus {
            push(ids.audio_level, &[0x80 | 30]);
        }
        extension.resize(extension.len().next_multiple_of(4), 0);
        let padding = if number.is_multiple_of(5) { 4u8 } else { 0 };
        let mut out = vec![0x90 | if padding > 0 { 0x20 } else { 0 }];
        out.push(packet.payload_type | u8::from(packet.marker) << 7);
        out.extend(number.to_be_bytes());
        out.extend(packet.timestamp.to_be_bytes());
        out.extend(ssrc.to_be_bytes());
        out.extend([0xbe, 0xde, 0, (extension.len() / 4) as u8]);
        out.extend(extension);
        out.extend(&packet.payload);
        out.extend([0, 0, 0, 4].iter().take(padding.into()));
        out
    }

    /// A padding-only packet on the SSRC of the media.
    pub(super) fn probe(&mut self, captured: u64) -> Vec<u8> {
        let mut out = vec![0xa0, payload_type(self.settings.encoding.codec)];
        out.extend(self.number.to_be_bytes());
        out.extend(self.timestamp(captured).to_be_bytes());
        out.extend(self.settings.ssrc.to_be_bytes());
        out.resize(HEADER_BYTES + 254, 0);
        out.push(255);
        self.number = self.number.wrapping_add(1);
        out
    }

    fn report(&self, ms: u64) -> Vec<u8> {
        let mut out = vec![0x80, 200, 0, 6];
        out.extend(self.settings.ssrc.to_be_bytes());
        out.extend(((NTP_START + ms / 1_000) as u32).to_be_bytes());
        out.extend((((ms % 1_000) << 32) / 1_000).to_be_bytes()[4..].iter());
        out.extend(self.timestamp(ms).to_be_bytes());
        out.extend([0; 8]);
        out
    }
}

/// The other tier of the same track and codec.
pub(super) fn low(encoding: Encoding) -> Encoding {
    encoding.with(Tier::Low)
}
