//! One peer's subscription to one track: its read position in the ring, and the headers of its packets.
//!
//! A peer has its own SSRC and payload type, sequence numbers without gaps even if frames are skipped, and the
//! timestamps of the source, which all tiers of a track share. Sent frames are remembered by tier and index, so that a
//! NACK finds its packet in the shared rings.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Frame, FrameRing, OutgoingPacket, Tier, payload_offset};

/// The maximum age of a key frame in the ring that serves as a start. Thirty machines that boot together join within
/// about two seconds and share one key frame.
pub const REPLAY_AGE: Duration = Duration::from_secs(2);

/// The maximum number of bytes replayed for a start: 2 s at 4.6 Mbit/s, the rate of 1920x1080.
pub const REPLAY_BYTES: usize = 1150 << 10;

/// The minimum time between two restarts of one peer: it limits a peer that sends PLIs all the time.
const RESTART_INTERVAL: Duration = Duration::from_millis(500);

/// The minimum time before the first restart: a peer that missed the start need not wait.
const FIRST_RESTART: Duration = Duration::from_millis(50);

/// The timestamp distance of replayed frames, in ticks of 90 kHz. Their time has passed, and a receiver must show them
/// at once instead of seconds late. So they get distinct timestamps between the newest frame and the next one (2 s at
/// 60 fps: 1,200 of the 1,500 ticks between two frames).
const REPLAY_TICKS: u32 = 10;

/// A frame further behind the newest one is not sent any more.
pub const MAX_LATENESS: Duration = Duration::from_secs(1);

/// The number of sent frames remembered for NACKs: 4 s at 60 fps, 2 s at 120 fps.
const SENT_FRAMES: usize = 256;

/// The largest first sequence number (RFC 3711, 3.3.1). A receiver that loses all packets before a wrap, for example
/// because they arrive before its keys, would count one rollover less than the sender and never decrypt a packet.
pub const MAX_FIRST_SEQUENCE_NUMBER: u16 = 0x7fff;

/// The result of a start or restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The ring has a recent key frame, which is sent.
    FromRing,
    /// A new key frame must be encoded.
    NeedsKey,
    /// Nothing is done: the last restart was too recent, or the subscription is paused.
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
    /// `next` is sent next. Frames before `live_from` get timestamps before `base`, see [`REPLAY_TICKS`].
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

/// One peer's subscription to one track.
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

    /// Starts, or restarts after a PLI or FIR.
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
                    // The newest frame keeps its timestamp, unless the peer has already seen that timestamp.
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

    /// The tier that is read or awaited. Calls that take a ring take the ring of this tier.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Switches to another tier, starting with a recent key frame in its ring with at most `bytes` since. Without one
    /// nothing changes, and a new key frame must be encoded for [`switch_at`](Self::switch_at).
    pub fn switch(&mut self, tier: Tier, ring: &FrameRing, now: Instant, bytes: usize) -> Start {
        let Some(key) = ring.fresh_key(now, REPLAY_AGE, bytes) else { return Start::NeedsKey };
        let base = ring.newest().map_or(0, |frame| frame.timestamp);
        self.tier = tier;
        self.state = State::Live { next: key, live_from: ring.next(), base };
        Start::FromRing
    }

    /// Switches to another tier, starting with its key frame just added to its ring as `index`.
    pub fn switch_at(&mut self, tier: Tier, index: u64) {
        self.tier = tier;
        self.state = State::Live { next: index, live_from: 0, base: 0 };
    }

    /// Stops this tier at once and waits for a key frame of `tier`. Sent frames are forgotten: a path without room for
    /// the old tier has no room for its retransmissions.
    pub fn give_up_for(&mut self, tier: Tier) {
        self.sent.clear();
        self.tier = tier;
        self.state = State::AwaitingKey;
    }

    /// Stops sending until the next switch to a tier.
    pub fn pause(&mut self) {
        self.sent.clear();
        self.state = State::Paused;
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.state == State::Paused
    }

    /// Starts with the next frame, as audio needs no key frame.
    pub fn start_live(&mut self, ring: &FrameRing) {
        self.state = State::Live { next: ring.next(), live_from: 0, base: 0 };
    }

    /// Skips to the next key frame, because the network or the peer did not keep up.
    pub fn drop_to_next_key(&mut self) {
        if matches!(self.state, State::Live { .. }) {
            self.dropped += 1;
            self.state = State::AwaitingKey;
        }
    }

    /// Whether it has not started.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether it waits for a key frame.
    pub fn awaits_key(&self) -> bool {
        self.state == State::AwaitingKey
    }

    /// A frame was added to the ring as `index`.
    pub fn on_frame(&mut self, index: u64, key: bool) {
        match self.state {
            State::AwaitingKey if key => self.state = State::Live { next: index, live_from: 0, base: 0 },
            // A peer that has not started misses nothing.
            State::AwaitingKey if !self.sent.is_empty() => self.dropped += 1,
            State::AwaitingKey | State::Paused | State::Idle | State::Live { .. } => {}
        }
    }

    /// The index of the next frame to send, if there is one.
    ///
    /// If that frame has already left the ring, the peer waits for the next key frame.
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

    /// Whether the next frame is too far behind the newest one, because the sender or the path does not keep up. Frames
    /// replayed for a start are old but not late.
    pub fn is_late(&self, ring: &FrameRing) -> bool {
        let State::Live { next, live_from, .. } = self.state else { return false };
        let captured = |frame: &Frame| frame.captured;
        match (ring.get(next).map(captured), ring.newest().map(captured)) {
            (Some(due), Some(newest)) => next >= live_from && newest.saturating_duration_since(due) > MAX_LATENESS,
            _ => false,
        }
    }

    /// Returns the packets of the next frame with this peer's headers, and advances.
    pub fn take<'a>(&mut self, ring: &'a FrameRing) -> Option<impl Iterator<Item = OutgoingPacket<'a>> + use<'a>> {
        let index = self.due(ring)?;
        let frame = ring.get(index)?;
        let State::Live { next, live_from, base } = self.state else { return None };
        let wanted = match live_from.checked_sub(next) {
            Some(behind @ 1..) => base.wrapping_sub(REPLAY_TICKS.wrapping_mul(behind as u32)),
            _ => frame.timestamp,
        };
        // Timestamps never go back, even after a restart.
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
        Some(
            frame
                .packets()
                .enumerate()
                .filter_map(move |(n, packet)| rewrite_header(packet, ssrc, payload_type, sent, n)),
        )
    }

    /// The packet with this peer's `sequence_number`, if it was sent and is still in the ring of its tier.
    pub fn resend<'a>(
        &self,
        ring: impl FnOnce(Tier) -> &'a FrameRing,
        sequence_number: u16,
    ) -> Option<OutgoingPacket<'a>> {
        // The newest packet with this sequence number.
        let last = self.next_packet.checked_sub(1)?;
        let wanted = last.checked_sub((last as u16).wrapping_sub(sequence_number).into())?;
        let sent = self.sent.get(self.sent.partition_point(|sent| sent.first <= wanted).checked_sub(1)?)?;
        let n = usize::try_from(wanted - sent.first).ok().filter(|n| *n < usize::from(sent.packets))?;
        let packet = ring(sent.tier).get(sent.index)?.packets().nth(n)?;
        rewrite_header(packet, self.ssrc, self.payload_type, *sent, n)
    }

    /// The peer's SSRC of this track.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets and payload bytes sent so far, modulo 2^32, for a sender report (RFC 3550, 6.4.1).
    pub fn counts(&self) -> (u32, u32) {
        (self.packets, self.octets)
    }

    /// The number of skips to a key frame, plus the frames skipped while waiting for one.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Whether timestamp `a` is later than `b`, modulo 2^32.
fn ahead(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

fn rewrite_header(packet: &[u8], ssrc: u32, payload_type: u8, sent: Sent, n: usize) -> Option<OutgoingPacket<'_>> {
    let offset = payload_offset(packet)?;
    Some(OutgoingPacket {
        marker: packet[1] & 0x80 != 0,
        payload_type,
        index: sent.first + n as u64,
        timestamp: sent.timestamp,
        ssrc,
        twcc: None,
        playout: None,
        original: None,
        padding: 0,
        payload: &packet[offset..],
    })
}

/// The RTP timestamp of a source at `now`, computed from one of its frames. A sender report pairs it with the NTP time
/// of `now`, so that audio and video captured together are played together (RFC 3550, 6.4.1).
pub fn timestamp_at(frame: &Frame, now: Instant) -> u32 {
    let rate = u128::from(frame.codec.clock_rate());
    let ticks = now.saturating_duration_since(frame.captured).as_nanos() * rate / 1_000_000_000;
    frame.timestamp.wrapping_add(ticks as u32)
}

#[cfg(test)]
mod tests;
