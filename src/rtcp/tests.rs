//! Reads packets written by the library, and arbitrary bytes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rtc::rtcp::Packet;
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::packet::marshal;
use rtc::rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

use super::*;

fn compound(packets: Vec<Box<dyn Packet>>) -> Vec<u8> {
    marshal(&packets).unwrap().to_vec()
}

#[test]
fn a_compound_packet_is_read_to_its_end() {
    let block = |ssrc, fraction_lost| ReceptionReport {
        ssrc,
        fraction_lost,
        total_lost: 300,
        last_sender_report: 5,
        delay: 6,
        ..ReceptionReport::default()
    };
    let entries = (0..9).map(|ssrc| FirEntry { ssrc, sequence_number: 1 }).collect();
    let bytes = compound(vec![
        Box::new(ReceiverReport { ssrc: 1, reports: vec![block(7, 10), block(8, 20)], ..ReceiverReport::default() }),
        Box::new(Goodbye { sources: vec![1], ..Goodbye::default() }),
        Box::new(TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc: 7,
            nacks: vec![NackPair { packet_id: 65_534, lost_packets: 0b1000_0000_0000_0101 }, NackPair::new(9)],
        }),
        Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc: 7 }),
        Box::new(ReceiverEstimatedMaximumBitrate { sender_ssrc: 1, bitrate: 1_500_000.0, ssrcs: vec![7] }),
        Box::new(FullIntraRequest { sender_ssrc: 1, media_ssrc: 7, fir: entries }),
    ]);
    let said: Vec<Feedback<'_>> = read(&bytes).collect();
    let Feedback::ReceiverReport(blocks) = said[0] else { panic!("{said:?}") };
    let lost =
        |ssrc, fraction_lost| ReportBlock { ssrc, fraction_lost, total_lost: 300, last_sender_report: 5, delay: 6 };
    assert_eq!(blocks.iter().collect::<Vec<_>>(), [lost(7, 10), lost(8, 20)]);
    let Feedback::Nack(7, numbers) = said[1] else { panic!("{said:?}") };
    assert_eq!(numbers.collect::<Vec<_>>(), [65_534, 65_535, 1, 14, 9]);
    assert_eq!(said[2..4], [Feedback::Pli(7), Feedback::Remb(1_500_000)]);
    assert_eq!(said[4..], [0, 1, 2].map(Feedback::Pli), "no more than there are pictures");
}

fn feedback(packet_chunks: Vec<PacketStatusChunk>, count: u16, recv_deltas: Vec<RecvDelta>) -> Vec<u8> {
    compound(vec![Box::new(TransportLayerCc {
        sender_ssrc: 1,
        media_ssrc: 7,
        base_sequence_number: 65_530,
        packet_status_count: count,
        reference_time: 0xab_cdef,
        fb_pkt_count: 3,
        packet_chunks,
        recv_deltas,
    })])
}

fn run(packet_status_symbol: SymbolTypeTcc, run_length: u16) -> PacketStatusChunk {
    let type_tcc = StatusChunkTypeTcc::RunLengthChunk;
    PacketStatusChunk::RunLengthChunk(RunLengthChunk { type_tcc, packet_status_symbol, run_length })
}

fn vector(symbol_size: SymbolSizeTypeTcc, symbol_list: Vec<SymbolTypeTcc>) -> PacketStatusChunk {
    let type_tcc = StatusChunkTypeTcc::StatusVectorChunk;
    PacketStatusChunk::StatusVectorChunk(StatusVectorChunk { type_tcc, symbol_size, symbol_list })
}

fn delta(type_tcc_packet: SymbolTypeTcc, delta: i64) -> RecvDelta {
    RecvDelta { type_tcc_packet, delta }
}

#[test]
fn transport_feedback_is_read_with_all_kinds_of_chunks() {
    use SymbolTypeTcc::{
        PacketNotReceived as No, PacketReceivedLargeDelta as Large, PacketReceivedSmallDelta as Small,
    };
    let one = vec![Small, No, No, Small, No, No, No, No, No, No, No, No, No, Small];
    let bytes = feedback(
        vec![
            run(Small, 2),
            vector(SymbolSizeTypeTcc::OneBit, one),
            vector(SymbolSizeTypeTcc::TwoBit, vec![Large, No, Small, Large, No, No, Small]),
            run(No, 3),
        ],
        25,
        vec![
            delta(Small, 0),
            delta(Small, 63_750),
            delta(Small, 250),
            delta(Small, 500),
            delta(Small, 750),
            delta(Large, -8_192_000),
            delta(Small, 1_000),
            delta(Large, 8_191_750),
            delta(Small, 1_250),
        ],
    );
    let Some(Feedback::Transport(arrivals)) = read(&bytes).next() else { panic!("it tells of arrivals") };
    assert_eq!((arrivals.base, arrivals.reference, arrivals.count), (65_530, 0xab_cdef, 25));
    let mut expected = vec![Some(0), Some(63_750), Some(250), None, None, Some(500)];
    expected.extend([None; 9]);
    expected.extend([Some(750), Some(-8_192_000), None, Some(1_000), Some(8_191_750), None, None, Some(1_250)]);
    expected.extend([None; 2]);
    assert_eq!(arrivals.statuses().collect::<Vec<_>>(), expected, "as many as were said");
}

#[test]
fn inconsistent_transport_feedback_is_truncated() {
    let read_all = |bytes: &[u8]| -> Vec<Option<i32>> {
        let arrivals = read(bytes).find_map(|said| match said {
            Feedback::Transport(arrivals) => Some(arrivals),
            _ => None,
        });
        arrivals.map(|arrivals| arrivals.statuses().collect()).unwrap_or_default()
    };
    let small = SymbolTypeTcc::PacketReceivedSmallDelta;
    // Receive deltas are missing.
    let bytes = feedback(vec![run(small, 8_000)], 8_000, vec![delta(small, 250)]);
    assert!((1..=4).contains(&read_all(&bytes).len()), "those that are there, and padding");
    // More packets than the chunks cover.
    let bytes = feedback(vec![run(SymbolTypeTcc::PacketNotReceived, 5)], 60_000, vec![]);
    assert_eq!(read_all(&bytes), []);
    // Runs of length 0.
    let bytes = feedback(vec![run(small, 0), run(small, 0), run(small, 1)], 1, vec![delta(small, 250)]);
    assert_eq!(read_all(&bytes), [Some(250)]);
    // Nine run-length chunks cover the largest count of 16 bits.
    let bytes = feedback(vec![run(SymbolTypeTcc::PacketNotReceived, 8_191); 9], 65_535, vec![]);
    assert_eq!(read_all(&bytes).len(), 65_535);
}

#[test]
fn the_largest_remb_saturates() {
    let mut bytes = vec![0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0, 0xff, 0xff, 0xff];
    assert_eq!(read(&bytes).collect::<Vec<_>>(), [Feedback::Remb(u64::MAX)]);
    bytes[17..].copy_from_slice(&[0b0000_0110, 0, 3]);
    assert_eq!(read(&bytes).collect::<Vec<_>>(), [Feedback::Remb((1 << 17 | 3) << 1)]);
}

#[test]
fn padding_is_not_taken_for_sequence_numbers() {
    let nack = TransportLayerNack { sender_ssrc: 1, media_ssrc: 7, nacks: vec![NackPair::new(9)] };
    let mut bytes = compound(vec![Box::new(nack)]);
    bytes.extend_from_slice(&[0, 0, 0, 4]);
    (bytes[0], bytes[3]) = (bytes[0] | 0x20, bytes[3] + 1);
    let asked = |bytes: &[u8]| match read(bytes).next() {
        Some(Feedback::Nack(7, numbers)) => numbers.count(),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(&bytes), 1);
    // Padding longer than the packet is ignored.
    *bytes.last_mut().unwrap() = 255;
    assert!(asked(&bytes) >= 1);
}

#[test]
fn no_bytes_panic_and_their_feedback_is_bounded() {
    let mut dice = StdRng::seed_from_u64(7);
    for _ in 0..20_000 {
        let mut bytes = vec![0; dice.random_range(0..120)];
        dice.fill(&mut bytes[..]);
        // Most of them start like a packet that is read.
        if bytes.len() > 4 && dice.random_range(0..8) > 0 {
            bytes[0] = 0x80 | dice.random_range(0..0x40);
            bytes[1] = dice.random_range(200..208);
            (bytes[2], bytes[3]) = (0, dice.random_range(0..30));
        }
        for said in read(&bytes) {
            let most = match said {
                Feedback::Nack(_, numbers) => (numbers.count(), 17 * bytes.len() / 4),
                Feedback::ReceiverReport(blocks) => (blocks.iter().count(), bytes.len() / 24),
                Feedback::Transport(arrivals) => (arrivals.statuses().count(), arrivals.count.into()),
                Feedback::Pli(_) | Feedback::Remb(_) => (0, 0),
            };
            assert!(most.0 <= most.1, "{said:?}");
        }
        assert!(read(&bytes).count() <= bytes.len());
    }
}

#[test]
fn the_cumulative_loss_is_signed() {
    let total = |bytes: [u8; 3]| {
        let mut block = [0; 24];
        block[5..8].copy_from_slice(&bytes);
        ReportBlocks(&[block]).iter().map(|block| block.total_lost).next()
    };
    let found = [[0, 0, 9], [0x7f, 0xff, 0xff], [0xff, 0xff, 0xff], [0x80, 0, 0]].map(total);
    assert_eq!(found, [9, 8_388_607, -1, -8_388_608].map(Some));
}
