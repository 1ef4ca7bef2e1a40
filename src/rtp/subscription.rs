//! One student's place in one track: where it reads, and how packets are renamed for it.
//!
//! A student sees its own SSRC and payload type, sequence numbers without a gap whatever was left out, and
//! timestamps of the source, which all tiers of a track share. What was sent is remembered by tier and index, so that a
//! NACK finds its packet in the shared rings.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Frame, FrameRing, OutgoingPacket, Tier, payload_offset};

/// The oldest key frame that a student may start from without asking the encoder for a new one.
///
/// Thirty machines that boot together arrive within about two seconds; all of them share one key frame then.
pub const REPLAY_AGE: Duration = Duration::from_secs(2);

/// The most that is sent again for a start: 2 s at 4.6 Mbit/s, which 1920x1080 has.
pub const REPLAY_BYTES: usize = 1150 << 10;

/// The least time between two restarts of one student, so that one who begs all the time costs no more than this.
const RESTART_INTERVAL: Duration = Duration::from_millis(500);

/// The least time before the first restart: who missed the beginning need not wait.
const FIRST_RESTART: Duration = Duration::from_millis(50);

/// How far apart replayed pictures are put, in ticks of 90 kHz. Their time has passed: a receiver shall show them at
/// once and not seconds late, so they get distinct times behind the newest picture and before the next one
/// (2 s at 60 fps: 1,200 ticks of the 1,500 between two pictures).
const REPLAY_TICKS: u32 = 10;

/// How far behind the newest frame one may be that is still sent.
pub const MAX_LATENESS: Duration = Duration::from_secs(1);

/// How many sent frames are remembered for NACKs: as many as the ring keeps would be waste, 4 s are enough.
const SENT_FRAMES: usize = 256;

/// The largest first sequence number (RFC 3711, 3.3.1). A receiver that loses the packets before a roll-over, and there
/// are some that come before its keys do, would count one roll-over less than the sender and never open a packet.
pub const MAX_FIRST_SEQUENCE_NUMBER: u16 = 0x7fff;

/// What a (re)start needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A key frame young enough is in the ring, it is being sent.
    FromRing,
    /// A new key frame must be made.
    NeedsKey,
    /// It was restarted a moment ago, or is paused: nothing is done.
    TooSoon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is sent yet.
    Idle,
    /// Nothing is sent until the next key frame.
    AwaitingKey,
    /// Nothing is sent.
    Paused,
    /// `next` is sent next; the times of frames before `live_from` are put before `base`, see [`REPLAY_TICKS`].
    Live { next: u64, live_from: u64, base: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    tier: Tier,
    index: u64,
    timestamp: u32,
    first: u64,
    packets: u16,
}

/// One student's subscription to one track.
#[derive(Debug)]
pub struct Subscription {
    ssrc: u32,
    payload_type: u8,
    tier: Tier,
    state: State,
    next_packet: u64,
    sent: VecDeque<Sent>,
    started: Option<Instant>,
    starts: u32,
    last_timestamp: u32,
    packets: u32,
    octets: u32,
    dropped: u64,
}

impl Subscription {
    /// A subscription to a tier that sends nothing until [`start`](Self::start).
    pub fn new(ssrc: u32, payload_type: u8, first_sequence_number: u16, tier: Tier) -> Self {
        Self {
            ssrc,
            payload_type,
            tier,
            state: State::Idle,
            next_packet: first_sequence_number.into(),
            sent: VecDeque::new(),
            started: None,
            starts: 0,
            last_timestamp: 0,
            packets: 0,
            octets: 0,
            dropped: 0,
        }
    }

    /// Begins, or begins again after the student said that it can't decode (PLI, FIR).
    pub fn start(&mut self, ring: &FrameRing, now: Instant) -> Start {
        let interval = if self.starts <= 1 { FIRST_RESTART } else { RESTART_INTERVAL };
        let is_soon = self.started.is_some_and(|at| now.saturating_duration_since(at) < interval);
        if is_soon || self.state == State::Paused {
            return Start::TooSoon;
        }
        self.started = Some(now);
        self.starts += 1;
        match ring.fresh_key(now, REPLAY_AGE, REPLAY_BYTES) {
            Some(key) => {
                let live_from = match self.state {
                    // A newcomer gets the newest picture with its own time; who has seen that time needs later ones.
                    State::Idle | State::AwaitingKey => ring.next() - 1,
                    State::Paused | State::Live { .. } => ring.next(),
                };
                let base = ring.newest().map_or(0, |frame| frame.timestamp);
                self.state = State::Live { next: key, live_from, base };
                Start::FromRing
            }
            None => {
                if self.state == State::Idle {
                    self.state = State::AwaitingKey;
                }
                Start::NeedsKey
            }
        }
    }

    /// The tier that it reads, or that it waits for. Each call with a ring wants that of this tier.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Goes on with the pictures of another tier: from a key frame in its ring that is at most `bytes` behind, else
    /// nothing has changed and a new one must be made, which [`switch_at`](Self::switch_at) takes.
    pub fn switch(&mut self, tier: Tier, ring: &FrameRing, now: Instant, bytes: usize) -> Start {
        let Some(key) = ring.fresh_key(now, REPLAY_AGE, bytes) else { return Start::NeedsKey };
        let base = ring.newest().map_or(0, |frame| frame.timestamp);
        self.tier = tier;
        self.state = State::Live { next: key, live_from: ring.next(), base };
        Start::FromRing
    }

    /// Goes on with the key frame of another tier that was just put into its ring as `index`.
    pub fn switch_at(&mut self, tier: Tier, index: u64) {
        self.tier = tier;
        self.state = State::Live { next: index, live_from: 0, base: 0 };
    }

    /// Sends nothing more of this tier, and forgets what was sent of it: who has no room for it has none for repairs.
    /// Goes on with a key frame of `tier`.
    pub fn give_up_for(&mut self, tier: Tier) {
        self.sent.clear();
        self.tier = tier;
        self.state = State::AwaitingKey;
    }

    /// Sends nothing more until it is switched to a tier.
    pub fn pause(&mut self) {
        self.sent.clear();
        self.state = State::Paused;
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.state == State::Paused
    }

    /// Sound needs no key frame: it begins with the next packet.
    pub fn start_live(&mut self, ring: &FrameRing) {
        self.state = State::Live { next: ring.next(), live_from: 0, base: 0 };
    }

    /// Leaves out everything up to the next key frame, because the network or the student did not keep up.
    pub fn drop_to_next_key(&mut self) {
        if matches!(self.state, State::Live { .. }) {
            self.dropped += 1;
            self.state = State::AwaitingKey;
        }
    }

    /// Whether it has not begun.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether it waits for a key frame.
    pub fn awaits_key(&self) -> bool {
        self.state == State::AwaitingKey
    }

    /// Takes notice of a frame that was just put into the ring as `index`.
    pub fn on_frame(&mut self, index: u64, key: bool) {
        match self.state {
            State::AwaitingKey if key => self.state = State::Live { next: index, live_from: 0, base: 0 },
            // Who has not begun yet misses nothing.
            State::AwaitingKey if !self.sent.is_empty() => self.dropped += 1,
            State::AwaitingKey | State::Paused | State::Idle | State::Live { .. } => {}
        }
    }

    /// The index of the frame to be sent next, if there is one.
    ///
    /// A student so far behind that its frame left the ring waits for the next key frame.
    pub fn due(&mut self, ring: &FrameRing) -> Option<u64> {
        let State::Live { next, .. } = self.state else { return None };
        if next >= ring.next() {
            return None;
        }
        if ring.get(next).is_none() {
            self.drop_to_next_key();
            return None;
        }
        Some(next)
    }

    /// Whether the frame that is due is so far behind the newest that it is of no use any more: the sender, or the way to
    /// this student, does not keep up. What is sent again for a start is old and not late.
    pub fn is_late(&self, ring: &FrameRing) -> bool {
        let State::Live { next, live_from, .. } = self.state else { return false };
        let captured = |frame: &Frame| frame.captured;
        match (ring.get(next).map(captured), ring.newest().map(captured)) {
            (Some(due), Some(newest)) => next >= live_from && newest.saturating_duration_since(due) > MAX_LATENESS,
            _ => false,
        }
    }

    /// Gives the packets of the frame that is due, renamed for this student, and moves on.
    pub fn take<'a>(&mut self, ring: &'a FrameRing) -> Option<impl Iterator<Item = OutgoingPacket<'a>> + use<'a>> {
        let index = self.due(ring)?;
        let frame = ring.get(index)?;
        let State::Live { next, live_from, base } = self.state else { return None };
        let wanted = match live_from.checked_sub(next) {
            Some(behind @ 1..) => base.wrapping_sub(REPLAY_TICKS.wrapping_mul(behind as u32)),
            _ => frame.timestamp,
        };
        // Time never goes back for a decoder: what was shown before a restart is followed by later times.
        let timestamp = if !self.sent.is_empty() && !ahead(wanted, self.last_timestamp) {
            self.last_timestamp.wrapping_add(REPLAY_TICKS)
        } else {
            wanted
        };
        self.last_timestamp = timestamp;
        self.state = State::Live { next: next + 1, live_from, base };
        let sent = Sent {
            tier: self.tier,
            index,
            timestamp,
            first: self.next_packet,
            packets: frame.len().min(usize::from(u16::MAX)) as u16,
        };
        if self.sent.len() == SENT_FRAMES {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
        self.next_packet += u64::from(sent.packets);
        self.packets = self.packets.wrapping_add(u32::from(sent.packets));
        self.octets = self.octets.wrapping_add((frame.bytes() - super::HEADER_BYTES * frame.len()) as u32);
        let (ssrc, payload_type) = (self.ssrc, self.payload_type);
        Some(frame.packets().enumerate().filter_map(move |(n, packet)| rename(packet, ssrc, payload_type, sent, n)))
    }

    /// The packet that this student knows by `sequence_number`, if it was sent and is still in the ring of its tier.
    pub fn resend<'a>(
        &self,
        ring: impl FnOnce(Tier) -> &'a FrameRing,
        sequence_number: u16,
    ) -> Option<OutgoingPacket<'a>> {
        // Of all packets with this number the newest.
        let last = self.next_packet.checked_sub(1)?;
        let wanted = last.checked_sub((last as u16).wrapping_sub(sequence_number).into())?;
        let sent = self.sent.get(self.sent.partition_point(|sent| sent.first <= wanted).checked_sub(1)?)?;
        let n = usize::try_from(wanted - sent.first).ok().filter(|n| *n < usize::from(sent.packets))?;
        let packet = ring(sent.tier).get(sent.index)?.packets().nth(n)?;
        rename(packet, self.ssrc, self.payload_type, *sent, n)
    }

    /// The SSRC that the student knows this track by.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets and payload bytes sent so far, modulo 2^32, as a sender report counts them (RFC 3550, 6.4.1).
    pub fn counts(&self) -> (u32, u32) {
        (self.packets, self.octets)
    }

    /// Frames that were left out for this student.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Whether timestamp `a` is later than `b`, modulo 2^32.
fn ahead(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

fn rename(packet: &[u8], ssrc: u32, payload_type: u8, sent: Sent, n: usize) -> Option<OutgoingPacket<'_>> {
    let offset = payload_offset(packet)?;
    Some(OutgoingPacket {
        marker: packet[1] & 0x80 != 0,
        payload_type,
        index: sent.first + n as u64,
        timestamp: sent.timestamp,
        ssrc,
        transport: None,
        original: None,
        padding: 0,
        payload: &packet[offset..],
    })
}

/// The timestamp that a source has at `now`, given a frame of it: what belongs into a sender report beside the wall
/// clock's `now`, so that sound and picture captured together are played together (RFC 3550, 6.4.1).
pub fn timestamp_at(frame: &Frame, now: Instant) -> u32 {
    let rate = u128::from(frame.codec.clock_rate());
    let ticks = now.saturating_duration_since(frame.captured).as_nanos() * rate / 1_000_000_000;
    frame.timestamp.wrapping_add(ticks as u32)
}

#[cfg(test)]
mod tests {
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
    fn without_a_young_key_frame_it_waits_for_the_next() {
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
    fn a_picture_loss_restarts_from_the_ring_without_going_back_in_time() {
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
    fn a_slow_student_loses_frames_and_not_its_place() {
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
    fn what_is_late_is_left_out_and_what_is_replayed_is_not_late() {
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
    fn sound_begins_now() {
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
    fn a_report_carries_the_time_of_capture() {
        let now = Instant::now();
        let frame = frame(u32::MAX - 89, true, 1, now);
        assert_eq!(timestamp_at(&frame, now + Duration::from_millis(2)), 90);
    }

    #[test]
    fn another_tier_goes_on_with_number_and_time() {
        let (mut full, mut low) = (FrameRing::default(), FrameRing::default());
        let now = Instant::now();
        let mut student = Subscription::new(1, 96, 0, Tier::Full);
        for n in 0..40u32 {
            full.push(frame(n * 3000, n == 0, 4, now));
        }
        student.start(&full, now);
        let before = drain(&mut student, &full);
        let (last, index) = (before.last().unwrap().timestamp, before.last().unwrap().index);
        // Nothing of it is there yet: it stays where it is until the key frame comes.
        assert_eq!(student.switch(Tier::Low, &low, now, REPLAY_BYTES), Start::NeedsKey);
        assert_eq!(student.tier(), Tier::Full);
        full.push(frame(40 * 3000, false, 4, now));
        assert_eq!(drain(&mut student, &full).len(), 4);
        let key = low.push(frame(42 * 3000, true, 2, now));
        student.switch_at(Tier::Low, key);
        let first = drain(&mut student, &low);
        assert_eq!((first[0].index, first[0].timestamp), (index + 5, 42 * 3000));
        assert!(ahead(first[0].timestamp, last));
        // Both tiers are repaired, each from its own ring.
        let number = first[0].sequence_number();
        let rings = |tier| if tier == Tier::Full { &full } else { &low };
        assert_eq!(student.resend(rings, number), Some(first[0]));
        assert_eq!(student.resend(rings, number - 1).unwrap().timestamp, 40 * 3000);
        // Back, from the ring: with times after what was seen.
        full.push(frame(44 * 3000, true, 4, now));
        full.push(frame(45 * 3000, false, 4, now));
        assert_eq!(student.switch(Tier::Full, &full, now, REPLAY_BYTES), Start::FromRing);
        let back = drain(&mut student, &full);
        assert_eq!(back.len(), 8);
        assert!(ahead(back[0].timestamp, first[1].timestamp) && back[0].index == first[1].index + 1);
    }

    #[test]
    fn who_gives_up_a_tier_is_sent_nothing_of_it_again() {
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
}
