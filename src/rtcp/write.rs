//! Writes the RTCP of a receiver: receiver reports, NACK, PLI and transport-wide feedback.

use super::{COMMON, DELTA_MICROS, NACK, PAYLOAD_FEEDBACK, PLI, RECEIVER_REPORT, TRANSPORT_FEEDBACK, TRANSPORT_WIDE};

const SOURCE_DESCRIPTION: u8 = 202;

/// The most report blocks of a receiver report: the count has five bits (RFC 3550, 6.4.2).
pub(crate) const MAX_REPORT_BLOCKS: usize = 31;

/// The longest transport-wide feedback packet, in bytes: it fits into one datagram of any path.
pub(crate) const MAX_TRANSPORT_FEEDBACK_BYTES: usize = 1_200;

/// A report block as its receiver writes it (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceptionReport {
    /// The reported SSRC.
    pub(crate) ssrc: u32,
    /// The fraction lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// The cumulative number of packets lost; saturates at 24 bits.
    pub(crate) total_lost: i32,
    /// The extended highest sequence number received.
    pub(crate) highest: u32,
    /// The interarrival jitter in timestamp units.
    pub(crate) jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report, or 0 (LSR).
    pub(crate) last_sender_report: u32,
    /// The delay since that report, in units of 1/65,536 s (DLSR).
    pub(crate) delay: u32,
}

/// Appends a receiver report with at most [`MAX_REPORT_BLOCKS`] of these blocks. Each compound begins with one
/// (RFC 3550, 6.1).
pub(crate) fn push_receiver_report(out: &mut Vec<u8>, own_ssrc: u32, blocks: &[ReceptionReport]) {
    let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
    let begin = begin(out, blocks.len() as u8, RECEIVER_REPORT);
    push32(out, own_ssrc);
    for block in blocks {
        let lost = block.total_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        push32(out, block.ssrc);
        push32(out, u32::from(block.fraction_lost) << 24 | lost);
        push32(out, block.highest);
        push32(out, block.jitter);
        push32(out, block.last_sender_report);
        push32(out, block.delay);
    }
    end(out, begin);
}

/// Appends a source description with a canonical name of at most 255 bytes (RFC 3550, 6.5.1).
pub(crate) fn push_cname(out: &mut Vec<u8>, own_ssrc: u32, name: &str) {
    const CNAME: u8 = 1;
    let name = &name.as_bytes()[..name.len().min(255)];
    let begin = begin(out, 1, SOURCE_DESCRIPTION);
    push32(out, own_ssrc);
    out.extend_from_slice(&[CNAME, name.len() as u8]);
    out.extend_from_slice(name);
    // A null octet ends the list of items; the chunk is padded with more.
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    end(out, begin);
}

/// Appends a NACK of these sequence numbers, which must ascend modulo 2^16 (RFC 4585, 6.2.1).
pub(crate) fn push_nack(out: &mut Vec<u8>, own_ssrc: u32, media_ssrc: u32, numbers: &[u16]) {
    let begin = begin(out, NACK, TRANSPORT_FEEDBACK);
    push32(out, own_ssrc);
    push32(out, media_ssrc);
    let mut numbers = numbers.iter().copied().peekable();
    while let Some(first) = numbers.next() {
        let mut mask = 0;
        while let Some(bit) = numbers.peek().map(|next| next.wrapping_sub(first)).filter(|bit| (1..=16).contains(bit)) {
            mask |= 1 << (bit - 1);
            numbers.next();
        }
        push32(out, u32::from(first) << 16 | mask);
    }
    end(out, begin);
}

/// Appends a PLI (RFC 4585, 6.3.1).
pub(crate) fn push_pli(out: &mut Vec<u8>, own_ssrc: u32, media_ssrc: u32) {
    let begin = begin(out, PLI, PAYLOAD_FEEDBACK);
    push32(out, own_ssrc);
    push32(out, media_ssrc);
    end(out, begin);
}

/// The fixed fields of a transport-wide feedback packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransportFeedbackHeader {
    /// The SSRC of the packet sender.
    pub(crate) own_ssrc: u32,
    /// The SSRC of one of the media sources.
    pub(crate) media_ssrc: u32,
    /// The sequence number of the first packet.
    pub(crate) base: u16,
    /// The feedback packet count.
    pub(crate) count: u8,
}

/// Appends transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1) on packets from the base
/// sequence number on: for each the arrival time in microseconds of any one clock, or `None` if it did not arrive.
///
/// Returns how many packets it covers, at least one: a packet that arrived 8 s before or after the previous one, or
/// does not fit into [`MAX_TRANSPORT_FEEDBACK_BYTES`], needs another feedback packet. Without any arrival nothing is
/// written, and the result is 0.
pub(crate) fn push_transport_feedback(
    out: &mut Vec<u8>,
    header: TransportFeedbackHeader,
    arrivals: impl Iterator<Item = Option<u64>> + Clone,
) -> usize {
    /// Receive deltas per unit of the reference time: 64 ms.
    const REFERENCE: u64 = 64_000 / DELTA_MICROS as u64;
    /// The symbols.
    const NOT_RECEIVED: u8 = 0;
    const SMALL_DELTA: u8 = 1;
    const LARGE_DELTA: u8 = 2;

    let units = |micros: u64| micros / DELTA_MICROS as u64;
    let Some(first) = arrivals.clone().find_map(|arrival| arrival) else { return 0 };
    let reference = units(first) / REFERENCE;
    let mut last = reference * REFERENCE;
    let likely = arrivals.size_hint().0.min(MAX_TRANSPORT_FEEDBACK_BYTES);
    let (mut symbols, mut deltas) = (Vec::with_capacity(likely), Vec::with_capacity(likely));
    for arrival in arrivals {
        // At worst, each chunk has seven symbols. The last two bytes are padding.
        let bytes = 20 + 2 * (symbols.len() + 1).div_ceil(7) + deltas.len() + 2 + 2;
        if bytes > MAX_TRANSPORT_FEEDBACK_BYTES {
            break;
        }
        let Some(arrival) = arrival.map(units) else {
            symbols.push(NOT_RECEIVED);
            continue;
        };
        let delta = arrival.wrapping_sub(last).cast_signed();
        if let Ok(delta) = u8::try_from(delta) {
            symbols.push(SMALL_DELTA);
            deltas.push(delta);
        } else if let Ok(delta) = i16::try_from(delta) {
            symbols.push(LARGE_DELTA);
            deltas.extend_from_slice(&delta.to_be_bytes());
        } else {
            break;
        }
        last = arrival;
    }
    let begin = begin(out, TRANSPORT_WIDE, TRANSPORT_FEEDBACK);
    push32(out, header.own_ssrc);
    push32(out, header.media_ssrc);
    push32(out, u32::from(header.base) << 16 | symbols.len() as u32);
    push32(out, (reference as u32) << 8 | u32::from(header.count));
    push_chunks(out, &symbols);
    out.extend_from_slice(&deltas);
    let padding = (4 - (out.len() - begin) % 4) % 4;
    if padding > 0 {
        out.resize(out.len() + padding - 1, 0);
        out.push(padding as u8);
        out[begin] |= 0x20;
    }
    end(out, begin);
    symbols.len()
}

/// Packet status chunks: a run where it replaces more than a vector holds, otherwise the longest vector that can
/// express the symbols.
fn push_chunks(out: &mut Vec<u8>, mut symbols: &[u8]) {
    const RUN: usize = 0x1fff;
    /// Symbols of a status vector of one bit each, and of two bits each.
    const ONE_BIT: usize = 14;
    const TWO_BIT: usize = 7;
    while let Some(&symbol) = symbols.first() {
        let run = symbols.iter().take(RUN).take_while(|next| **next == symbol).count();
        let vector = if symbols.iter().take(ONE_BIT).all(|symbol| *symbol <= 1) { ONE_BIT } else { TWO_BIT };
        let (chunk, length) = if run >= vector || run == symbols.len() {
            (u16::from(symbol) << 13 | run as u16, run)
        } else {
            let (kind, bits) = if vector == ONE_BIT { (0b10, 1) } else { (0b11, 2) };
            let vector = symbols.iter().copied().chain(std::iter::repeat(0)).take(vector);
            let chunk = vector.fold(kind, |chunk, symbol| chunk << bits | u16::from(symbol));
            (chunk, if bits == 1 { ONE_BIT } else { TWO_BIT })
        };
        out.extend_from_slice(&chunk.to_be_bytes());
        symbols = symbols.get(length..).unwrap_or_default();
    }
}

/// Appends a header (RFC 3550, 6.4.1); [`end`] writes its length. Returns where it is.
fn begin(out: &mut Vec<u8>, count_or_format: u8, packet_type: u8) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0x80 | count_or_format, packet_type, 0, 0]);
    at
}

fn end(out: &mut [u8], begin: usize) {
    let words = ((out.len() - begin) / COMMON - 1) as u16;
    out[begin + 2..begin + 4].copy_from_slice(&words.to_be_bytes());
}

fn push32(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
mod tests;
