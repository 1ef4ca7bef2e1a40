//! The recent frames of one encoding, kept once for the whole class.
//!
//! Peers hold no packets, only an index into this ring ([`super::Subscription`]). This one copy serves live fan-out,
//! the start of a late joiner, and the answer to a NACK.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Frame;

/// The maximum number of frames kept: 17 s of video at 30 fps, 10 s of audio. A NACK arrives much sooner.
const MAX_FRAMES: usize = 512;

/// The maximum number of bytes kept: 15 s at 4 Mbit/s.
const MAX_BYTES: usize = 8 << 20;

/// The memory of a packet beside its bytes: what its datagram had before and behind it, and its allocation.
const PACKET_OVERHEAD: usize = 128;

/// The maximum age of a kept frame: a start takes frames of [`REPLAY_AGE`](super::REPLAY_AGE), and a NACK comes sooner
/// than twice that. So the media of a publisher at its limit of 20 Mbit/s has 13 MB.
const MAX_AGE: Duration = Duration::from_secs(5);

/// Recent frames of one encoding, numbered from 0 without gaps.
#[derive(Debug, Default)]
pub struct FrameRing {
    frames: VecDeque<Frame>,
    first: u64,
    bytes: usize,
    last_key: Option<u64>,
}

impl FrameRing {
    /// Adds the next frame, removes the oldest ones beyond the limits, and returns the new frame's index.
    pub fn push(&mut self, frame: Frame) -> u64 {
        let index = self.next();
        if frame.key {
            self.last_key = Some(index);
        }
        self.bytes += memory(&frame);
        let captured = frame.captured;
        self.frames.push_back(frame);
        while self.frames.len() > 1
            && let Some(oldest) = self.frames.front()
            && (self.frames.len() > MAX_FRAMES
                || self.bytes > MAX_BYTES
                || captured.saturating_duration_since(oldest.captured) > MAX_AGE)
        {
            self.bytes -= memory(oldest);
            self.frames.pop_front();
            self.first += 1;
        }
        index
    }

    /// The index of the next frame.
    pub fn next(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// The frame with this index, if it is still kept.
    pub fn get(&self, index: u64) -> Option<&Frame> {
        self.frames.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// The newest frame.
    pub fn newest(&self) -> Option<&Frame> {
        self.frames.back()
    }

    /// The newest key frame, if it is at most `age` old and the frames from it on have at most `bytes` bytes: then a
    /// decoder can catch up.
    pub fn fresh_key(&self, now: Instant, age: Duration, bytes: usize) -> Option<u64> {
        let index = self.last_key?;
        let key = self.get(index)?;
        if now.saturating_duration_since(key.captured) > age {
            return None;
        }
        let since: usize = self.frames.range(usize::try_from(index - self.first).ok()?..).map(Frame::bytes).sum();
        (since <= bytes).then_some(index)
    }

    /// After a gap in the source: decoding can no longer start at any kept frame.
    pub fn forget_key(&mut self) {
        self.last_key = None;
    }
}

fn memory(frame: &Frame) -> usize {
    frame.bytes() + frame.len() * PACKET_OVERHEAD
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Codec, Encoding, FrameAssembler, Track};
    use super::*;

    /// A VP8 frame of `packets` packets, 20 bytes of payload each.
    pub(in super::super) fn frame(timestamp: u32, key: bool, packets: usize, captured: Instant) -> Frame {
        let mut assembler = FrameAssembler::new(Encoding::full(Track::Screen, Codec::Vp8));
        for n in 0..packets {
            let mut packet = vec![0x80, 96 | if n + 1 == packets { 0x80 } else { 0 }, 0, n as u8];
            packet.extend_from_slice(&timestamp.to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0, 7]);
            packet.extend_from_slice(&[if n == 0 { 0x10 } else { 0 }, u8::from(!key)]);
            packet.extend_from_slice(&[n as u8; 18]);
            if let Some(frame) = assembler.push(&packet, captured) {
                return frame;
            }
        }
        unreachable!("the last packet has the marker")
    }

    #[test]
    fn old_frames_are_evicted_and_indices_are_stable() {
        let mut ring = FrameRing::default();
        let now = Instant::now();
        for n in 0..MAX_FRAMES as u64 + 10 {
            assert_eq!(ring.push(frame(n as u32, n == 0, 1, now)), n);
        }
        assert!(ring.get(9).is_none());
        assert_eq!(ring.get(10).unwrap().timestamp, 10);
        assert_eq!(ring.fresh_key(now, Duration::MAX, usize::MAX), None, "the key frame is forgotten");
    }

    #[test]
    fn frames_of_many_small_packets_fill_the_ring_sooner() {
        let mut ring = FrameRing::default();
        let now = Instant::now();
        let full = MAX_BYTES / memory(&frame(0, true, 1_000, now));
        for n in 0..=full as u32 {
            ring.push(frame(n, n == 0, 1_000, now));
        }
        assert!(full < 100 && ring.get(0).is_none() && ring.get(1).is_some());
    }

    #[test]
    fn frames_that_nobody_needs_are_evicted() {
        let mut ring = FrameRing::default();
        let begun = Instant::now();
        for second in 0..=7 {
            ring.push(frame(second, second == 0, 1, begun + Duration::from_secs(second.into())));
        }
        assert!(ring.get(1).is_none() && ring.get(2).is_some(), "a NACK may come for five seconds");
        ring.push(frame(8, false, 1, begun + Duration::from_secs(60)));
        assert_eq!((ring.newest().unwrap().timestamp, ring.next()), (8, 9));
        assert!(ring.get(7).is_none());
    }

    #[test]
    fn a_fresh_key_frame_is_recent_and_followed_by_few_bytes() {
        let mut ring = FrameRing::default();
        let now = Instant::now();
        ring.push(frame(0, true, 2, now));
        ring.push(frame(1, false, 1, now));
        assert_eq!(ring.fresh_key(now, Duration::from_secs(1), 1000), Some(0));
        assert_eq!(ring.fresh_key(now, Duration::from_secs(1), 90), None);
        assert_eq!(ring.fresh_key(now + Duration::from_secs(2), Duration::from_secs(1), 1000), None);
        ring.forget_key();
        assert_eq!(ring.fresh_key(now, Duration::from_secs(1), 1000), None);
    }
}
