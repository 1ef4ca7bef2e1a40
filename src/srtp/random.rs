//! Ten thousand random steps of a class, with all invariants of the fan-out checked after each. No clock, no socket.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rtc::crypto::default_provider;
use rtc::srtp::context::Context;
use rtc::srtp::option::srtp_no_replay_protection;
use rtc::srtp::protection_profile::ProtectionProfile;

use super::seal::Sealer;
use super::session::SessionKey;
use crate::rtp::{
    Codec, Encoding, FrameAssembler, FrameRing, MAX_FIRST_SEQUENCE_NUMBER, OutgoingPacket, REPLAY_AGE, Start,
    Subscription, Tier, Track,
};

/// The seed of the class, which is the same in every run; a failure prints it.
const SEED: u64 = 0x5eed_c1a5_5000_0003;

const STEPS: usize = 10_000;

const PAYLOAD_TYPE: u8 = 96;

/// Random numbers that are the same in every run.
pub(crate) struct Random(StdRng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0.random_range(0..most)
    }
}

/// A student, and what it has received: encrypted packets by index, and its last timestamp.
struct Student {
    subscription: Subscription,
    sealer: Sealer,
    receiver: Context,
    got: HashMap<u64, Vec<u8>>,
    next: u64,
    timestamp: Option<u32>,
    awaits_key: bool,
    last_source: Option<u32>,
}

/// A student whose session key the library derives from a master key and the SFU captures (see [`super::provider`]).
fn student(ssrc: u32, first: u16) -> Student {
    let (provider, keys) = crate::srtp::capturing(default_provider().unwrap());
    let context = |crypto| {
        let profile = ProtectionProfile::AeadAes128Gcm;
        Context::new(&[3; 16], &[5; 12], profile, Some(srtp_no_replay_protection()), None, crypto).unwrap()
    };
    let mut sender = context(provider.crypto());
    sender.encrypt_rtp(&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1]).unwrap();
    let session: &SessionKey = keys.rtp().unwrap();
    Student {
        subscription: Subscription::new(ssrc, PAYLOAD_TYPE, first, Tier::Full),
        sealer: Sealer::new(session).unwrap(),
        receiver: context(default_provider().unwrap().crypto()),
        got: HashMap::new(),
        next: first.into(),
        timestamp: None,
        awaits_key: true,
        last_source: None,
    }
}

impl Student {
    /// Sends everything that is due, and checks each packet as the student would.
    fn drain(&mut self, ring: &FrameRing) {
        while self.subscription.due(ring).is_some() {
            let packets: Vec<OutgoingPacket<'_>> = self.subscription.take(ring).unwrap().collect();
            let (first, last) = (packets[0], packets[packets.len() - 1]);
            let source = u32::from_be_bytes(first.payload[2..6].try_into().unwrap());
            let is_key = first.payload[1] & 1 == 0;
            assert!(is_key || (!self.awaits_key && self.last_source == Some(source - 1)), "a picture without its base");
            self.awaits_key = false;
            self.last_source = Some(source);
            assert!(last.marker && packets.iter().rev().skip(1).all(|packet| !packet.marker), "a picture ends once");
            let is_later = |before: u32| first.timestamp != before && first.timestamp.wrapping_sub(before) < 1 << 31;
            assert!(self.timestamp.is_none_or(is_later), "time went back");
            self.timestamp = Some(first.timestamp);
            for packet in &packets {
                assert_eq!(packet.index, self.next, "numbers have no gap");
                assert_eq!(packet.timestamp, first.timestamp, "a picture has one time");
                self.next += 1;
                let sealed = self.seal(packet);
                assert!(self.got.insert(packet.index, sealed).is_none(), "an index is sealed for one packet");
            }
        }
    }

    /// Encrypts a packet, and decrypts it as the library does.
    fn seal(&mut self, packet: &OutgoingPacket<'_>) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.sealer.seal(packet, &mut sealed);
        let opened = self.receiver.decrypt_rtp(&sealed).expect("the student opens it");
        assert_eq!(opened, packet.plain());
        sealed
    }

    /// Requests a packet again: the answer is the identical packet or none.
    fn ask_again(&mut self, ring: &FrameRing, index: u64) {
        let Some(packet) = self.subscription.resend(|_| ring, index as u16) else { return };
        let mut sealed = Vec::new();
        self.sealer.seal(&packet, &mut sealed);
        assert_eq!(self.got.get(&packet.index), Some(&sealed), "another packet under the same nonce");
    }
}

#[test]
fn ten_thousand_random_steps_of_a_class_break_no_invariant() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    let (mut now, mut frames, mut ring) = (Instant::now(), 0_u32, FrameRing::default());
    let mut assembler = FrameAssembler::new(Encoding::full(Track::Screen, Codec::Vp8));
    let (mut students, mut ssrc, mut wants_key) = (Vec::<Student>::new(), 1, false);
    let mut seen = [0_u32; 8];
    for _ in 0..STEPS {
        let step = random.below(20);
        let somebody = (!students.is_empty()).then(|| random.below(students.len() as u64) as usize);
        match (step, somebody) {
            // A student joins: it starts from the ring, or waits for a key frame.
            (0, _) if students.len() < 12 => {
                ssrc += 1;
                // The first student stays to the end, and its sequence numbers roll over.
                let first = random.below(u64::from(MAX_FIRST_SEQUENCE_NUMBER) + 1) as u16;
                let first = if students.is_empty() { MAX_FIRST_SEQUENCE_NUMBER } else { first };
                let mut newcomer = student(ssrc, first);
                wants_key |= newcomer.subscription.start(&ring, now) == Start::NeedsKey;
                students.push(newcomer);
                seen[0] += 1;
            }
            (1, Some(n)) if n > 0 && random.below(4) == 0 => {
                students.swap_remove(n);
                seen[1] += 1;
            }
            // A student can't decode, or the kernel refused a packet, or the source has a gap.
            (2, Some(n)) => {
                match students[n].subscription.start(&ring, now) {
                    Start::NeedsKey => wants_key = true,
                    Start::FromRing => students[n].awaits_key = true,
                    Start::TooSoon => {}
                }
                seen[2] += 1;
            }
            (3, Some(n)) => {
                students[n].subscription.drop_to_next_key();
                students[n].awaits_key = true;
                wants_key = true;
                seen[3] += 1;
            }
            (4, _) if random.below(10) == 0 => {
                ring.forget_key();
                for student in &mut students {
                    student.subscription.drop_to_next_key();
                    student.awaits_key = true;
                }
                wants_key = true;
                seen[4] += 1;
            }
            // A NACK for a packet that is old, recent, or was never sent.
            (5..=8, Some(n)) => {
                let student = &mut students[n];
                let index = (student.next + 40).saturating_sub(random.below(2_000));
                student.ask_again(&ring, index);
                seen[5] += 1;
            }
            // No frame arrives for a while, so that the contents of the ring become old.
            (9, _) if random.below(20) == 0 => {
                now += REPLAY_AGE;
                seen[6] += 1;
            }
            _ => {
                now += Duration::from_millis(33);
                frames += 1;
                let key = std::mem::take(&mut wants_key) || frames == 1 || random.below(200) == 0;
                let packets = 1 + random.below(if key { 60 } else { 12 });
                let mut pushed = None;
                for n in 0..packets {
                    let marker = if n + 1 == packets { 0x80 } else { 0 };
                    let mut packet = vec![0x80, PAYLOAD_TYPE | marker, 0, n as u8];
                    packet.extend_from_slice(&(frames.wrapping_mul(3_000)).to_be_bytes());
                    packet.extend_from_slice(&[0, 0, 0, 7, if n == 0 { 0x10 } else { 0 }, u8::from(!key)]);
                    packet.extend_from_slice(&frames.to_be_bytes());
                    packet.extend_from_slice(&vec![n as u8; random.below(40) as usize]);
                    pushed = assembler.push(&packet, now).or(pushed);
                }
                let index = ring.push(pushed.unwrap());
                for student in &mut students {
                    student.subscription.on_frame(index, key);
                    // Now and then a student misses its turn, and catches up later.
                    if random.below(10) > 0 {
                        student.drain(&ring);
                    }
                }
                seen[7] += 1;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 10), "every kind of step was taken: {seen:?}");
    assert!(students[0].next > 1 << 16, "the numbers of the first rolled over, they are at {}", students[0].next);
}
