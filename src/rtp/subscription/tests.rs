//! Starts, switches, NACKs and lateness of one subscription.

use super::super::frame_ring::tests::frame;
use super::*;

fn drain<'a>(subscription: &mut Subscription, ring: &'a FrameRing) -> Vec<OutgoingPacket<'a>> {
    let mut out = Vec::new();
    while let Some(packets) = subscription.take(ring) {
        out.extend(packets);
    }
    out
}

#[test]
fn a_late_joiner_starts_from_the_ring_and_is_live_at_once() {
    let mut ring = FrameRing::default();
    let now = Instant::now();
    for n in 0..30u32 {
        ring.push(frame(n * 3000, n == 0, 2, now));
    }
    let mut student = Subscription::new(7, 102, 65_530, Tier::Full);
    assert_eq!(student.start(&ring, now), Start::FromRing);
    let packets = drain(&mut student, &ring);
    assert_eq!(packets.len(), 60);
    assert_eq!(packets.last().unwrap().timestamp, 29 * 3000, "the newest picture keeps its time");
    assert!(packets.iter().all(|p| p.timestamp > 28 * 3000 + 2000), "older ones are squeezed before it");
    assert!(packets.chunks(2).collect::<Vec<_>>().windows(2).all(|w| w[0][0].timestamp < w[1][0].timestamp));
    for (n, packet) in packets.iter().enumerate() {
        assert_eq!(packet.sequence_number(), 65_530u16.wrapping_add(n as u16));
        assert_eq!((packet.ssrc, packet.payload_type), (7, 102));
    }
    ring.push(frame(90_000, false, 1, now));
    assert_eq!(drain(&mut student, &ring)[0].timestamp, 90_000);
}

#[test]
fn a_peer_without_a_recent_key_frame_waits_for_the_next_one() {
    let mut ring = FrameRing::default();
    let now = Instant::now();
    ring.push(frame(0, true, 1, now));
    let later = now + REPLAY_AGE + Duration::from_secs(1);
    let mut student = Subscription::new(1, 96, 0, Tier::Full);
    assert_eq!(student.start(&ring, later), Start::NeedsKey);
    assert_eq!(student.start(&ring, later), Start::TooSoon);
    let index = ring.push(frame(3000, false, 1, later));
    student.on_frame(index, false);
    assert!(student.awaits_key() && drain(&mut student, &ring).is_empty());
    let index = ring.push(frame(6000, true, 1, later));
    student.on_frame(index, true);
    assert_eq!(drain(&mut student, &ring)[0].timestamp, 6000);
}

#[test]
fn a_pli_restarts_from_the_ring_without_going_back_in_time() {
    let mut ring = FrameRing::default();
    let now = Instant::now();
    let mut student = Subscription::new(1, 96, 0, Tier::Full);
    ring.push(frame(u32::MAX - 2999, true, 1, now));
    student.start(&ring, now);
    let named = |packets: Vec<OutgoingPacket<'_>>| -> Vec<(u64, u32)> {
        packets.into_iter().map(|packet| (packet.index, packet.timestamp)).collect()
    };
    let mut all = named(drain(&mut student, &ring));
    for n in 0..5u32 {
        ring.push(frame((n * 3000).wrapping_add(0), false, 1, now));
        all.extend(named(drain(&mut student, &ring)));
    }
    assert_eq!(student.start(&ring, now + RESTART_INTERVAL), Start::FromRing);
    all.extend(named(drain(&mut student, &ring)));
    assert_eq!(all.len(), 12);
    ring.push(frame(15_000, false, 1, now));
    all.extend(named(drain(&mut student, &ring)));
    assert!(all.windows(2).all(|w| ahead(w[1].1, w[0].1)), "{all:?}");
    assert!(all.windows(2).all(|w| w[1].0 == w[0].0 + 1));
    assert_eq!(all.last().unwrap().1, 15_000);
}

#[test]
fn a_slow_peer_skips_frames_without_gaps_in_sequence_numbers() {
    let mut ring = FrameRing::default();
    let now = Instant::now();
    let mut student = Subscription::new(1, 96, 10, Tier::Full);
    ring.push(frame(0, true, 3, now));
    student.start(&ring, now);
    drain(&mut student, &ring);
    student.drop_to_next_key();
    let index = ring.push(frame(3000, false, 3, now));
    student.on_frame(index, false);
    let index = ring.push(frame(6000, true, 1, now));
    student.on_frame(index, true);
    let packets = drain(&mut student, &ring);
    assert_eq!((packets.len(), packets[0].index, student.dropped()), (1, 13, 2));
}

#[test]
fn late_frames_are_skipped_and_replayed_frames_are_not_late() {
    let mut ring = FrameRing::default();
    let start = Instant::now();
    ring.push(frame(0, true, 1, start));
    ring.push(frame(3000, false, 1, start + MAX_LATENESS * 3 / 2));
    let mut student = Subscription::new(1, 96, 0, Tier::Full);
    assert_eq!(student.start(&ring, start + MAX_LATENESS * 3 / 2), Start::FromRing);
    assert!(!student.is_late(&ring), "old, but sent on purpose");
    drain(&mut student, &ring);
    ring.push(frame(6000, false, 1, start + MAX_LATENESS * 2));
    assert!(!student.is_late(&ring));
    ring.push(frame(9000, false, 1, start + MAX_LATENESS * 7 / 2));
    assert!(student.is_late(&ring), "the one before last is due");
}

#[test]
fn a_nack_is_answered_with_the_same_packet() {
    let mut ring = FrameRing::default();
    let now = Instant::now();
    let mut student = Subscription::new(9, 100, u16::MAX - 1, Tier::Full);
    for n in 0..20u32 {
        ring.push(frame(n * 3000, n == 0, 3, now));
    }
    student.start(&ring, now);
    let packets = drain(&mut student, &ring);
    for packet in &packets {
        assert_eq!(student.resend(|_| &ring, packet.sequence_number()), Some(*packet));
    }
    assert_eq!(student.resend(|_| &ring, packets.last().unwrap().sequence_number() + 1), None, "never sent");
    assert_eq!(student.resend(|_| &ring, u16::MAX - 2), None, "before the first");
}

#[test]
fn audio_starts_with_the_next_frame() {
    let mut ring = FrameRing::default();
    ring.push(frame(0, true, 1, Instant::now()));
    let mut student = Subscription::new(1, 111, 0, Tier::Full);
    student.start_live(&ring);
    assert_eq!(student.due(&ring), None);
    ring.push(frame(960, true, 1, Instant::now()));
    assert_eq!(drain(&mut student, &ring).len(), 1);
    assert_eq!(student.counts(), (1, 20));
}

#[test]
fn the_rtp_timestamp_of_a_report_follows_the_capture_time() {
    let now = Instant::now();
    let frame = frame(u32::MAX - 89, true, 1, now);
    assert_eq!(timestamp_at(&frame, now + Duration::from_millis(2)), 90);
}

#[test]
fn another_tier_continues_sequence_numbers_and_timestamps() {
    let (mut full, mut low) = (FrameRing::default(), FrameRing::default());
    let now = Instant::now();
    let mut student = Subscription::new(1, 96, 0, Tier::Full);
    for n in 0..40u32 {
        full.push(frame(n * 3000, n == 0, 4, now));
    }
    student.start(&full, now);
    let before = drain(&mut student, &full);
    let (last, index) = (before.last().unwrap().timestamp, before.last().unwrap().index);
    // The other tier has no key frame yet, so the present tier continues.
    assert_eq!(student.switch(Tier::Low, &low, now, REPLAY_BYTES), Start::NeedsKey);
    assert_eq!(student.tier(), Tier::Full);
    full.push(frame(40 * 3000, false, 4, now));
    assert_eq!(drain(&mut student, &full).len(), 4);
    let key = low.push(frame(42 * 3000, true, 2, now));
    student.switch_at(Tier::Low, key);
    let first = drain(&mut student, &low);
    assert_eq!((first[0].index, first[0].timestamp), (index + 5, 42 * 3000));
    assert!(ahead(first[0].timestamp, last));
    // Packets of both tiers are retransmitted, each from its own ring.
    let number = first[0].sequence_number();
    let rings = |tier| if tier == Tier::Full { &full } else { &low };
    assert_eq!(student.resend(rings, number), Some(first[0]));
    assert_eq!(student.resend(rings, number - 1).unwrap().timestamp, 40 * 3000);
    // Back to the full tier from the ring, with later timestamps.
    full.push(frame(44 * 3000, true, 4, now));
    full.push(frame(45 * 3000, false, 4, now));
    assert_eq!(student.switch(Tier::Full, &full, now, REPLAY_BYTES), Start::FromRing);
    let back = drain(&mut student, &full);
    assert_eq!(back.len(), 8);
    assert!(ahead(back[0].timestamp, first[1].timestamp) && back[0].index == first[1].index + 1);
}

#[test]
fn a_tier_that_was_given_up_is_not_retransmitted() {
    let mut ring = FrameRing::default();
    let now = Instant::now();
    let mut student = Subscription::new(1, 96, 0, Tier::Full);
    ring.push(frame(0, true, 3, now));
    student.start(&ring, now);
    let sent = drain(&mut student, &ring);
    student.give_up_for(Tier::Low);
    assert_eq!(student.resend(|_| &ring, sent[0].sequence_number()), None);
    assert!(student.awaits_key() && student.tier() == Tier::Low);
    student.pause();
    ring.push(frame(3000, true, 3, now));
    student.on_frame(1, true);
    assert!(student.is_paused() && student.due(&ring).is_none());
    assert_eq!(student.start(&ring, now + RESTART_INTERVAL), Start::TooSoon, "it begs, and has no room");
    student.switch_at(Tier::Low, 1);
    assert_eq!(drain(&mut student, &ring)[0].index, 3);
}
