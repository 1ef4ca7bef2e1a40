//! Reads the written packets again, by the readers of `rtcp` and of the library.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rtc::rtcp::packet::unmarshal;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::source_description::SourceDescription;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::super::{Feedback, read};
use super::*;
use crate::congestion::Estimate;

fn header(base: u16) -> TransportFeedbackHeader {
    TransportFeedbackHeader { own_ssrc: 1, media_ssrc: 7, base, count: 3 }
}

/// Writes feedback on all arrivals in as many packets as it takes, and reads the arrival times from them.
fn round_trip(base: u16, arrivals: &[Option<u64>]) -> Vec<Option<u64>> {
    let mut covered = 0;
    let mut all = Vec::new();
    while covered < arrivals.len() {
        let mut out = Vec::new();
        let base = base.wrapping_add(covered as u16);
        let count = push_transport_feedback(&mut out, header(base), arrivals[covered..].iter().copied());
        if count == 0 {
            assert!(out.is_empty());
            all.extend(arrivals[covered..].iter().map(|_| None));
            break;
        }
        assert!(out.len() <= MAX_TRANSPORT_FEEDBACK_BYTES && out.len().is_multiple_of(4), "{} bytes", out.len());
        let Some(Feedback::Transport(feedback)) = read(&out).next() else { panic!("{out:02x?}") };
        let mut time = i64::from(feedback.reference) * 64_000;
        let statuses: Vec<_> = feedback
            .statuses()
            .map(|delta| {
                time += i64::from(delta.unwrap_or(0));
                delta.map(|_| time as u64)
            })
            .collect();
        assert_eq!((feedback.base, statuses.len()), (base, count));
        let library = unmarshal(&mut out.as_slice()).unwrap();
        let library = library[0].as_any().downcast_ref::<TransportLayerCc>().unwrap();
        assert_eq!((library.fb_pkt_count, usize::from(library.packet_status_count)), (3, count));
        assert_eq!(library.recv_deltas.len(), statuses.iter().flatten().count());
        all.extend(statuses);
        covered += count;
    }
    all
}

fn rounded(arrivals: &[Option<u64>]) -> Vec<Option<u64>> {
    arrivals.iter().map(|arrival| arrival.map(|micros| micros / 250 * 250)).collect()
}

#[test]
fn transport_feedback_survives_a_round_trip() {
    let mut rng = StdRng::seed_from_u64(14);
    for case in 0..400u64 {
        let (loss, spread) = (rng.random_range(0..=10), [300, 3_000, 90_000, 3_000_000][case as usize % 4]);
        let mut time = rng.random_range(0..60_000_000u64);
        let arrivals: Vec<Option<u64>> = (0..rng.random_range(1..1500))
            .map(|_| {
                time += rng.random_range(0..spread);
                let early = if rng.random_range(0..9) == 0 { rng.random_range(0..40_000) } else { 0 };
                (rng.random_range(0..10) >= loss).then_some(time.saturating_sub(early))
            })
            .collect();
        assert_eq!(round_trip(rng.random(), &arrivals), rounded(&arrivals), "case {case}");
    }
}

#[test]
fn every_kind_of_chunk_is_written() {
    let at = |n: u64| Some(1_000_000 + n);
    let run = vec![at(0); 40];
    let mut one_bit = vec![at(0), None, at(500), None, at(750)];
    one_bit.extend(vec![None; 9]);
    let two_bit = vec![at(0), at(100_000), None, at(90_000), at(90_000), at(200_000), None];
    for (arrivals, chunks, kind) in [(run, 1, 0b00), (one_bit, 1, 0b10), (two_bit, 1, 0b11)] {
        let mut out = Vec::new();
        let count = push_transport_feedback(&mut out, header(65_530), arrivals.iter().copied());
        assert_eq!((count, out[20] >> 6), (arrivals.len(), kind));
        let deltas: usize = out.len() - 20 - 2 * chunks;
        assert!(deltas < 2 * arrivals.len() + 4, "one chunk");
        assert_eq!(round_trip(65_530, &arrivals), rounded(&arrivals));
    }
    let mut lost = vec![at(0)];
    lost.extend(vec![None; 9_000]);
    lost.push(at(8_000_000));
    assert_eq!(round_trip(0, &lost), rounded(&lost), "runs of losses");
    assert!(round_trip(0, &[None; 10]).iter().all(Option::is_none), "nothing arrived");
}

#[test]
fn packets_too_far_apart_for_a_delta_need_another_feedback_packet() {
    let arrivals = [Some(0), Some(8_191_750), Some(30_000_000), Some(1_000_000)];
    let mut out = Vec::new();
    assert_eq!(push_transport_feedback(&mut out, header(0), arrivals.into_iter()), 2);
    assert_eq!(round_trip(0, &arrivals), rounded(&arrivals));
}

#[test]
fn the_estimate_reads_what_is_written() {
    let begin = Instant::now();
    let mut estimate = Estimate::new(begin);
    let mut arrivals = Vec::new();
    // 1 ms between packets, each tenth is lost. Feedback every 50 ms.
    for n in 0..3_000u64 {
        let now = begin + Duration::from_millis(n);
        estimate.sent(now, Some(n as u16), 1_200);
        arrivals.push((n % 10 != 9).then_some(n * 1_000 + 20_000));
        if n % 50 == 49 {
            let mut out = Vec::new();
            let base = (n + 1 - arrivals.len() as u64) as u16;
            push_transport_feedback(&mut out, header(base), arrivals.iter().copied());
            arrivals.clear();
            let Some(Feedback::Transport(feedback)) = read(&out).next() else { panic!("{out:02x?}") };
            estimate.on_feedback(now, feedback.base, feedback.reference, feedback.statuses());
        }
    }
    assert!((0.08..0.12).contains(&estimate.lost()), "{}", estimate.lost());
    assert_eq!(estimate.queue(), Duration::ZERO);
}

#[test]
fn reports_nacks_and_plis_are_read_by_the_library() {
    let block = ReceptionReport {
        ssrc: 7,
        fraction_lost: 12,
        total_lost: 300,
        highest: 0x1_fffe,
        jitter: 44,
        last_sender_report: 5,
        delay: 6,
    };
    let mut out = Vec::new();
    push_receiver_report(&mut out, 1, &[block; 40]);
    push_cname(&mut out, 1, "classroom");
    push_nack(&mut out, 1, 7, &[65_534, 65_535, 1, 14, 15, 9_000]);
    push_pli(&mut out, 1, 7);
    let packets = unmarshal(&mut out.as_slice()).unwrap();
    let report = packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap();
    assert_eq!((report.ssrc, report.reports.len()), (1, MAX_REPORT_BLOCKS));
    let read_block = &report.reports[0];
    assert_eq!((read_block.ssrc, read_block.fraction_lost, read_block.total_lost), (7, 12, 300));
    assert_eq!((read_block.last_sequence_number, read_block.jitter), (0x1_fffe, 44));
    assert_eq!((read_block.last_sender_report, read_block.delay), (5, 6));
    let description = packets[1].as_any().downcast_ref::<SourceDescription>().unwrap();
    assert_eq!(description.chunks[0].items[0].text, "classroom");
    let nack = packets[2].as_any().downcast_ref::<TransportLayerNack>().unwrap();
    assert_eq!(nack.nacks.len(), 3);
    let read: Vec<Feedback<'_>> = read(&out).collect();
    let Feedback::Nack(7, numbers) = read[1] else { panic!("{read:?}") };
    assert_eq!(numbers.collect::<Vec<_>>(), [65_534, 65_535, 1, 14, 15, 9_000]);
    assert_eq!(read[2], Feedback::Pli(7));
    let mut negative = Vec::new();
    push_receiver_report(&mut negative, 1, &[ReceptionReport { total_lost: -3, ..block }]);
    let Some(Feedback::ReceiverReport(blocks)) = super::super::read(&negative).next() else { panic!() };
    assert_eq!(blocks.iter().next().map(|block| block.total_lost), Some(-3), "duplicates");
}
