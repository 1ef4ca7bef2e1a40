//! Arrival times by transport-wide sequence number, and the feedback that reports them
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01), as `watch` and browsers send it.
//!
//! The arrival time is the time of reading, as in `watch`. On a machine with too little CPU for its students, an
//! adaptive SFU would therefore see a growing queue and send less.

use std::collections::VecDeque;

use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TYPE_TCC_DELTA_SCALE_FACTOR as DELTA_MICROS, TransportLayerCc,
};

use crate::rtp::HEADER_BYTES;

/// The number of packets remembered: a key frame and more. With two bytes each, feedback on all of them fits a
/// datagram.
const KEPT: usize = 512;

/// The unit of the reference time of feedback, in microseconds.
const REFERENCE_MICROS: i64 = 64_000;

/// The number of symbols of a status vector chunk. A shorter run of equal symbols is smaller as a vector.
const VECTOR: usize = 7;

/// The arrival times of the packets of one connection.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// The arrival time in microseconds, by number from `oldest` on.
    arrived: VecDeque<Option<i64>>,
    /// Extended by the rollovers so far plus one, so that there are numbers before the first.
    oldest: u64,
    /// The first number not reported yet.
    unreported: u64,
    feedbacks: u8,
}

impl Arrivals {
    /// Records the arrival of a packet, `at` microseconds of any clock.
    pub(super) fn take(&mut self, number: u16, at: i64) {
        let next = self.oldest + self.arrived.len() as u64;
        // The number with these low bits nearest to the next one (RFC 3711, 3.3.1).
        let ahead = number.wrapping_sub(next as u16).cast_signed();
        if self.arrived.is_empty() || usize::from(ahead.unsigned_abs()) >= KEPT {
            // The first packet, or the gap exceeds the memory.
            self.arrived.clear();
            self.oldest = 1 << 16 | u64::from(number);
            self.unreported = self.oldest;
            self.arrived.push_back(Some(at));
            return;
        }
        // Packets before the oldest were reported as missing.
        let number = next.wrapping_add_signed(ahead.into());
        let Some(place) = number.checked_sub(self.oldest).map(|place| place as usize) else { return };
        if place >= self.arrived.len() {
            self.arrived.resize(place + 1, None);
        }
        if self.arrived[place].is_none() {
            self.arrived[place] = Some(at);
            self.unreported = self.unreported.min(number);
        }
        let too_many = self.arrived.len().saturating_sub(KEPT);
        self.arrived.drain(..too_many);
        self.oldest += too_many as u64;
        self.unreported = self.unreported.max(self.oldest);
    }

    /// Feedback on all numbers since the last feedback up to the newest; `None` if nothing arrived.
    pub(super) fn feedback(&mut self, media_ssrc: u32) -> Option<TransportLayerCc> {
        let first = (self.unreported - self.oldest) as usize;
        let reference = self.arrived.iter().skip(first).flatten().next()?.div_euclid(REFERENCE_MICROS);
        let (mut symbols, mut recv_deltas) = (Vec::new(), Vec::new());
        let mut before = reference * REFERENCE_MICROS;
        for arrival in self.arrived.iter().skip(first) {
            let symbol = match arrival.map(|at| (at - before + DELTA_MICROS / 2).div_euclid(DELTA_MICROS)) {
                None => SymbolTypeTcc::PacketNotReceived,
                // After a pause of seconds the next feedback packet has its own reference time.
                Some(units) if i16::try_from(units).is_err() => break,
                Some(units) => {
                    let is_small = u8::try_from(units).is_ok();
                    let large = SymbolTypeTcc::PacketReceivedLargeDelta;
                    let type_tcc_packet = if is_small { SymbolTypeTcc::PacketReceivedSmallDelta } else { large };
                    let delta = units * DELTA_MICROS;
                    // The rounding error is carried into the next delta, so that errors do not accumulate.
                    before += delta;
                    recv_deltas.push(RecvDelta { type_tcc_packet, delta });
                    type_tcc_packet
                }
            };
            symbols.push(symbol);
        }
        let feedback = TransportLayerCc {
            sender_ssrc: 0,
            media_ssrc,
            base_sequence_number: self.unreported as u16,
            packet_status_count: symbols.len() as u16,
            reference_time: reference as u32 & 0xff_ffff,
            fb_pkt_count: self.feedbacks,
            packet_chunks: chunks(&symbols),
            recv_deltas,
        };
        self.unreported += symbols.len() as u64;
        self.feedbacks = self.feedbacks.wrapping_add(1);
        Some(feedback)
    }
}

fn chunks(mut symbols: &[SymbolTypeTcc]) -> Vec<PacketStatusChunk> {
    let mut chunks = Vec::new();
    while let Some(first) = symbols.first().copied() {
        let run = symbols.iter().take_while(|symbol| **symbol == first).count();
        let covered = if run >= VECTOR.min(symbols.len()) { run } else { VECTOR.min(symbols.len()) };
        chunks.push(if covered == run {
            PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: first,
                run_length: run as u16,
            })
        } else {
            PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: SymbolSizeTypeTcc::TwoBit,
                symbol_list: symbols[..covered].to_vec(),
            })
        });
        symbols = &symbols[covered..];
    }
    chunks
}

/// The transport-wide sequence number of an RTP packet: a one-byte header extension with this id (RFC 8285, 4.2).
/// Headers are not encrypted.
pub(super) fn transport_number(packet: &[u8], id: u8) -> Option<u16> {
    if packet.first()? & 0x10 == 0 {
        return None;
    }
    let extension = HEADER_BYTES + 4 * usize::from(packet[0] & 0x0f);
    let head = packet.get(extension..extension + 4)?;
    if head[..2] != [0xbe, 0xde] {
        return None;
    }
    let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let mut elements = packet.get(extension + 4..)?.get(..4 * words)?;
    while let Some((&head, rest)) = elements.split_first() {
        if head == 0 {
            elements = rest;
            continue;
        }
        let (value, rest) = rest.split_at_checked(usize::from(head & 0x0f) + 1)?;
        if head >> 4 == id {
            return Some(u16::from_be_bytes(value.try_into().ok()?));
        }
        elements = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use rtc::shared::marshal::{Marshal, Unmarshal};

    use super::*;
    use crate::rtp::{OutgoingPacket, TwccSequenceNumber};

    /// The numbers and arrival times in a feedback packet, parsed by the library.
    fn reported(feedback: &TransportLayerCc) -> Vec<(u16, Option<i64>)> {
        let read = TransportLayerCc::unmarshal(&mut feedback.marshal().unwrap()).unwrap();
        assert_eq!(&read.recv_deltas, &feedback.recv_deltas);
        let symbols = read.packet_chunks.iter().flat_map(|chunk| match chunk {
            PacketStatusChunk::RunLengthChunk(run) => vec![run.packet_status_symbol; run.run_length.into()],
            PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
        });
        let (mut at, mut deltas) = (i64::from(read.reference_time) * REFERENCE_MICROS, read.recv_deltas.iter());
        let tell = |(n, symbol)| {
            let came = (symbol != SymbolTypeTcc::PacketNotReceived).then(|| {
                at += deltas.next().unwrap().delta;
                at
            });
            (read.base_sequence_number.wrapping_add(n as u16), came)
        };
        symbols.take(read.packet_status_count.into()).enumerate().map(tell).collect()
    }

    #[test]
    fn feedback_reports_each_packet_once_whether_or_not_it_arrived() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.feedback(7), None);
        for (number, at) in [(65_534, 1_000_000), (65_535, 1_000_250), (1, 1_100_000), (2, 1_099_000)] {
            arrivals.take(number, at);
        }
        let first = arrivals.feedback(7).unwrap();
        assert_eq!((first.media_ssrc, first.fb_pkt_count), (7, 0));
        let some = [(65_534, Some(1_000_000)), (65_535, Some(1_000_250)), (0, None), (1, Some(1_100_000))];
        assert_eq!(reported(&first), [&some[..], &[(2, Some(1_099_000))]].concat());
        assert_eq!(arrivals.feedback(7), None);
        arrivals.take(3, 1_200_000);
        let second = arrivals.feedback(7).unwrap();
        assert_eq!((reported(&second), second.fb_pkt_count), (vec![(3, Some(1_200_000))], 1));
    }

    #[test]
    fn a_late_packet_is_reported_in_later_feedback() {
        let mut arrivals = Arrivals::default();
        [(10, 0), (12, 500)].iter().for_each(|(number, at)| arrivals.take(*number, *at));
        assert_eq!(reported(&arrivals.feedback(7).unwrap())[1], (11, None));
        arrivals.take(11, 90_000);
        assert_eq!(reported(&arrivals.feedback(7).unwrap()), [(11, Some(90_000)), (12, Some(500))]);
        arrivals.take(11, 95_000);
        arrivals.take(9, 95_000);
        assert_eq!(arrivals.feedback(7), None, "no duplicates, and nothing from before the first");
    }

    #[test]
    fn a_long_pause_splits_the_feedback_and_rounding_errors_do_not_accumulate() {
        let mut arrivals = Arrivals::default();
        (0..300).for_each(|n| arrivals.take(n, i64::from(n) * 333));
        arrivals.take(300, 20_000_000);
        let first = reported(&arrivals.feedback(7).unwrap());
        assert_eq!(first.len(), 300);
        assert!(first.iter().all(|(n, came)| (came.unwrap() - i64::from(*n) * 333).abs() <= 125), "{first:?}");
        assert_eq!(reported(&arrivals.feedback(7).unwrap()), [(300, Some(20_000_000))]);
    }

    #[test]
    fn memory_is_bounded_and_feedback_fits_a_datagram() {
        let mut arrivals = Arrivals::default();
        for n in 0..2_000u16 {
            arrivals.take(n, i64::from(n % 5) * 100_000);
        }
        let feedback = arrivals.feedback(7).unwrap();
        assert_eq!(reported(&feedback).len(), KEPT);
        assert!(feedback.marshal().unwrap().len() < 1200);
        arrivals.take(40_000, 600_000);
        assert_eq!(
            reported(&arrivals.feedback(7).unwrap()),
            [(40_000, Some(600_000))],
            "the gap is too large to report"
        );
    }

    #[test]
    fn the_transport_wide_sequence_number_is_read_without_decryption() {
        let twcc = Some(TwccSequenceNumber { id: 3, number: 0xfedc });
        let packet = OutgoingPacket {
            marker: false,
            payload_type: 96,
            index: 1,
            timestamp: 2,
            ssrc: 3,
            twcc,
            playout: None,
            original: None,
            padding: 0,
            payload: b"sealed",
        };
        let numbered = packet.plain();
        assert_eq!(transport_number(&numbered, 3), Some(0xfedc));
        assert_eq!(transport_number(&numbered, 4), None);
        assert_eq!(transport_number(&OutgoingPacket { twcc: None, ..packet }.plain(), 3), None);
        // After another extension element, and after padding.
        let others = [&[0x90, 96][..], &[0; 10], &[0xbe, 0xde, 0, 2, 0x10, 9, 0, 0x31, 1, 2, 0, 0]].concat();
        assert_eq!(transport_number(&others, 3), Some(0x0102));
        for cut in 0..numbered.len() {
            assert_eq!(transport_number(&numbered[..cut], 3), (cut >= 20).then_some(0xfedc), "{cut}");
        }
    }
}
