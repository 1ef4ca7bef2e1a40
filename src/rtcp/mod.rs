//! RTCP in both directions: reads the feedback of a receiver in place, without a copy, and writes that of our own
//! receiving side.
//!
//! The `rtcp` library allocates a box per packet and lists of its contents: for transport-wide feedback one entry per
//! media packet, which is too much for a thousand peers ten times a second.

mod sender;
mod write;

pub(crate) use sender::{SenderPacket, SenderReport, read_sender};
pub(crate) use write::{
    ReceptionReport, TransportFeedbackHeader, push_cname, push_nack, push_pli, push_receiver_report,
    push_transport_feedback,
};

use crate::rtp::Track;

/// RTCP packet types and feedback message types (RFC 3550, 12.1; RFC 4585, 6; RFC 5104, 4.3.1; the two drafts).
const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const NACK: u8 = 1;
const TRANSPORT_WIDE: u8 = 15;
const PLI: u8 = 1;
const FIR: u8 = 4;
const APPLICATION_LAYER: u8 = 15;

/// Size of the common header of every RTCP packet.
const COMMON: usize = 4;

/// Size of the common header and the SSRCs of the packet sender and the media source (RFC 4585, 6.1).
const FEEDBACK: usize = 12;

/// The unit of a receive delta, in microseconds.
const DELTA_MICROS: i32 = 250;

/// One feedback message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feedback<'a> {
    /// NACK: the receiver misses packets of this SSRC.
    Nack(u32, NackedNumbers<'a>),
    /// PLI or FIR: the receiver cannot decode the video of this SSRC.
    Pli(u32),
    /// A receiver report: the reception statistics of each SSRC.
    ReceiverReport(ReportBlocks<'a>),
    /// Transport-wide feedback: the arrival time of each packet.
    Transport(TransportFeedback<'a>),
    /// REMB: the maximum bitrate that the receiver reports, in bits per second.
    Remb(u64),
}

/// Reads a compound packet to its end, or up to the first malformed packet. Other packet types are ignored.
pub(crate) fn read(compound: &[u8]) -> impl Iterator<Item = Feedback<'_>> {
    Packets(compound).flat_map(|packet| {
        let format = packet[0] & 0x1f;
        // A FIR has one entry per SSRC. At most as many are read as there can be tracks.
        let (one, lost) = match packet[1] {
            PAYLOAD_FEEDBACK if format == FIR => (None, fir_entries(packet)),
            _ => (single(packet, format), &[][..]),
        };
        let lost = lost.as_chunks::<8>().0.iter().take(Track::ALL.len());
        one.into_iter().chain(lost.filter_map(|entry| Some(Feedback::Pli(be32(entry, 0)?))))
    })
}

fn fir_entries(packet: &[u8]) -> &[u8] {
    packet.get(FEEDBACK..).unwrap_or_default()
}

fn single(packet: &[u8], format: u8) -> Option<Feedback<'_>> {
    match (packet[1], format) {
        (RECEIVER_REPORT, count) => {
            let blocks = packet.get(COMMON + 4..)?.as_chunks().0;
            Some(Feedback::ReceiverReport(ReportBlocks(blocks.get(..usize::from(count)).unwrap_or(blocks))))
        }
        (TRANSPORT_FEEDBACK, NACK) => {
            let pairs = packet.get(FEEDBACK..)?.as_chunks().0;
            Some(Feedback::Nack(be32(packet, 8)?, NackedNumbers { pairs, rest: None }))
        }
        (TRANSPORT_FEEDBACK, TRANSPORT_WIDE) => TransportFeedback::read(packet).map(Feedback::Transport),
        (PAYLOAD_FEEDBACK, PLI) => be32(packet, 8).map(Feedback::Pli),
        (PAYLOAD_FEEDBACK, APPLICATION_LAYER) if packet.get(FEEDBACK..FEEDBACK + 4)? == b"REMB" => {
            // The number of SSRCs, an exponent of 6 bits, a mantissa of 18 bits (draft-alvestrand-rmcat-remb-03, 2.2).
            let word = be32(packet, FEEDBACK + 4)? & 0xff_ffff;
            let most = u128::from(word & 0x3_ffff) << (word >> 18);
            Some(Feedback::Remb(u64::try_from(most).unwrap_or(u64::MAX)))
        }
        _ => None,
    }
}

/// The packets of a compound packet, each with its header and without its padding.
struct Packets<'a>(&'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let words = usize::from(be16(self.0, 2)?);
        let (packet, rest) = self.0.split_at_checked(4 * (words + 1)).filter(|_| self.0[0] >> 6 == 2)?;
        self.0 = rest;
        let is_padded = packet[0] & 0x20 != 0;
        // A padding longer than the packet is ignored.
        let padding = packet.last().copied().filter(|_| is_padded).map_or(0, usize::from);
        Some(packet.get(..packet.len() - padding.min(packet.len())).filter(|p| p.len() >= COMMON).unwrap_or(packet))
    }
}

/// The sequence numbers of a NACK (RFC 4585, 6.2.1): each entry is one number and a bitmask of the following 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NackedNumbers<'a> {
    pairs: &'a [[u8; 4]],
    rest: Option<(u16, u16)>,
}

impl Iterator for NackedNumbers<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if let Some((first, mask)) = self.rest.filter(|(_, mask)| *mask != 0) {
            self.rest = Some((first, mask & (mask - 1)));
            return Some(first.wrapping_add(mask.trailing_zeros() as u16 + 1));
        }
        let ([a, b, c, d], pairs) = self.pairs.split_first()?;
        self.pairs = pairs;
        let first = u16::from_be_bytes([*a, *b]);
        self.rest = Some((first, u16::from_be_bytes([*c, *d])));
        Some(first)
    }
}

/// The report blocks of a receiver report (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportBlocks<'a>(&'a [[u8; 24]]);

/// One report block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    /// The reported SSRC.
    pub(crate) ssrc: u32,
    /// The fraction lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// The cumulative number of packets lost; negative if duplicates arrived.
    pub(crate) total_lost: i32,
    /// The middle 32 bits of the NTP time of our last sender report, or 0 (LSR).
    pub(crate) last_sender_report: u32,
    /// The delay since that report, in units of 1/65,536 s (DLSR).
    pub(crate) delay: u32,
}

impl<'a> ReportBlocks<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = ReportBlock> + 'a {
        let block = |b: &[u8; 24]| {
            let word = |at| be32(b, at).unwrap_or(0);
            // 24 bits, signed.
            let total_lost = (word(4) << 8) as i32 >> 8;
            ReportBlock {
                ssrc: word(0),
                fraction_lost: b[4],
                total_lost,
                last_sender_report: word(16),
                delay: word(20),
            }
        };
        self.0.iter().map(block)
    }
}

/// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransportFeedback<'a> {
    /// The base sequence number.
    pub(crate) base: u16,
    /// The reference time, in units of 64 ms.
    pub(crate) reference: u32,
    count: u16,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

/// A packet status chunk: a run length of one symbol, or a vector of symbols, the first in the highest bits.
#[derive(Debug, Clone, Copy)]
enum Chunk {
    Run { symbol: u16, length: u16 },
    Vector { bits: u16, each: u16, length: u16 },
}

impl Chunk {
    fn read(chunk: [u8; 2]) -> Self {
        let word = u16::from_be_bytes(chunk);
        match word >> 14 {
            0 | 1 => Chunk::Run { symbol: word >> 13 & 3, length: word & 0x1fff },
            2 => Chunk::Vector { bits: word << 2, each: 1, length: 14 },
            _ => Chunk::Vector { bits: word << 2, each: 2, length: 7 },
        }
    }

    fn length(self) -> u16 {
        match self {
            Chunk::Run { length, .. } | Chunk::Vector { length, .. } => length,
        }
    }

    /// The first symbol, and the rest.
    fn split(self) -> Option<(u16, Self)> {
        match self {
            Chunk::Run { length: 0, .. } | Chunk::Vector { length: 0, .. } => None,
            Chunk::Run { symbol, length } => Some((symbol, Chunk::Run { symbol, length: length - 1 })),
            Chunk::Vector { bits, each, length } => {
                Some((bits >> (16 - each), Chunk::Vector { bits: bits << each, each, length: length - 1 }))
            }
        }
    }
}

impl<'a> TransportFeedback<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let (base, count) = (be16(packet, 12)?, be16(packet, 14)?);
        let reference = be32(packet, 16)? >> 8;
        let all = packet.get(20..)?;
        let (mut told, mut chunks) = (0, 0);
        while told < usize::from(count) {
            told += usize::from(Chunk::read(all.get(2 * chunks..)?.first_chunk().copied()?).length());
            chunks += 1;
        }
        let (chunks, deltas) = all.split_at_checked(2 * chunks)?;
        Some(Self { base, reference, count, chunks: chunks.as_chunks().0, deltas })
    }

    /// For each packet the receive delta in microseconds (the first is relative to the reference time), or `None` if it
    /// was not received. Ends at a missing delta, or after the packet status count, which has 16 bits.
    pub(crate) fn statuses(self) -> impl Iterator<Item = Option<i32>> + 'a {
        let (mut chunks, mut chunk, mut deltas) =
            (self.chunks.iter(), Chunk::Run { symbol: 0, length: 0 }, self.deltas);
        let next = move || {
            let (symbol, rest) = loop {
                match chunk.split() {
                    Some(found) => break found,
                    None => chunk = Chunk::read(*chunks.next()?),
                }
            };
            chunk = rest;
            let units = match symbol {
                1 => i32::from(*deltas.split_off_first()?),
                2 => {
                    let (units, rest) = deltas.split_first_chunk()?;
                    deltas = rest;
                    i16::from_be_bytes(*units).into()
                }
                // Not received, or the reserved symbol.
                _ => return Some(None),
            };
            Some(Some(units * DELTA_MICROS))
        };
        std::iter::from_fn(next).take(self.count.into())
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
