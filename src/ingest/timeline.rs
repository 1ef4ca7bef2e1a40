//! One timeline of RTP timestamps for all encodings of a track.
//!
//! Each layer of simulcast starts with a random timestamp of its own (RFC 3550, 5.1), and a source may jump. Students
//! see one stream: when the tier changes, its timestamps must go on. So each encoding gets an offset, such that equal
//! capture times have equal timestamps. The first encoding keeps its timestamps.

use super::clock::{Captured, WallTime};
use crate::rtp::Tier;

/// An encoding that already has an offset is moved only if it is off by more, in nanoseconds.
const TOLERANCE: i64 = 5_000_000;

/// An encoding whose last frame is older is no reference for the timeline, in nanoseconds.
const RECENT: i64 = 10_000_000_000;

/// The newest frame of an encoding: its timestamp on the timeline, and its capture time.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    timestamp: u32,
    at: i64,
    wall: Option<WallTime>,
}

/// The place of one encoding on the timeline.
#[derive(Debug, Default)]
struct Placed {
    /// Added to the source's timestamps; `None` before the first frame, and when the source has changed.
    offset: Option<u32>,
    /// Whether the offset follows from sender reports.
    is_exact: bool,
    newest: Option<Anchor>,
}

/// The timeline of a track.
#[derive(Debug)]
pub(super) struct Timeline {
    rate: i64,
    tiers: [Placed; Tier::ALL.len()],
}

impl Timeline {
    /// A timeline without any encoding.
    pub(super) fn new(clock_rate: u32) -> Self {
        Self { rate: clock_rate.into(), tiers: Default::default() }
    }

    /// The source of a tier has changed: its next timestamp is not related to earlier ones.
    pub(super) fn restart(&mut self, tier: Tier) {
        self.tiers[tier as usize].offset = None;
    }

    /// The timestamp of a frame on the timeline.
    pub(super) fn place(&mut self, tier: Tier, timestamp: u32, captured: Captured) -> u32 {
        let rate = self.rate;
        let at = |anchor: Anchor| {
            let by_reports = captured.wall.zip(anchor.wall).and_then(|(wall, before)| wall.since(before));
            let since = by_reports.unwrap_or(captured.at - anchor.at);
            let ticks = i128::from(since) * i128::from(rate) / 1_000_000_000;
            anchor.timestamp.wrapping_add(ticks as u32)
        };
        let is_exact = |anchor: Anchor| captured.wall.zip(anchor.wall).is_some_and(|(a, b)| a.since(b).is_some());
        let is_recent = |anchor: &Anchor| captured.at - anchor.at < RECENT;
        let other = self.tiers[1 - tier as usize].newest.filter(is_recent);
        let own = &mut self.tiers[tier as usize];
        if captured.jumped {
            own.offset = None;
        }
        let offset = match (own.offset, other) {
            (None, other) => {
                let placed = other.or(own.newest).map_or(timestamp, at);
                // The timestamps of a tier never go back.
                let least = own.newest.map(|anchor| anchor.timestamp.wrapping_add(1));
                let placed = least.filter(|least| placed.wrapping_sub(*least).cast_signed() < 0).unwrap_or(placed);
                own.is_exact = other.is_some_and(is_exact);
                placed.wrapping_sub(timestamp)
            }
            // The full tier stays; the low tier follows it once both have reports.
            (Some(offset), Some(full)) if tier == Tier::Low && is_exact(full) => {
                let exact = at(full).wrapping_sub(timestamp);
                let error = i64::from(exact.wrapping_sub(offset).cast_signed()) * 1_000_000_000 / rate;
                let moves = !own.is_exact || error.abs() > TOLERANCE;
                own.is_exact = true;
                if moves { exact } else { offset }
            }
            (Some(offset), _) => offset,
        };
        own.offset = Some(offset);
        let placed = timestamp.wrapping_add(offset);
        own.newest = Some(Anchor { timestamp: placed, at: captured.at, wall: captured.wall });
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn frame(at: i64, wall: Option<i64>) -> Captured {
        Captured { at, wall: wall.map(WallTime::test), jumped: false }
    }

    #[test]
    fn the_first_encoding_keeps_its_timestamps() {
        let mut timeline = Timeline::new(90_000);
        for n in 0..100 {
            let timestamp = (u32::MAX - 30_000).wrapping_add(n * 3_000);
            assert_eq!(timeline.place(Tier::Full, timestamp, frame(i64::from(n) * 33 * MS, None)), timestamp);
        }
    }

    #[test]
    fn layers_with_random_timestamps_are_aligned_by_arrival_and_exactly_by_reports() {
        let mut timeline = Timeline::new(90_000);
        for n in 0..100i64 {
            let wall = (n >= 50).then_some(n * 20 * MS + 7);
            let full = timeline.place(Tier::Full, 1_000 + n as u32 * 1_800, frame(n * 20 * MS, wall));
            // By arrival the low layer seems to be captured 10 ms later.
            let late = if wall.is_some() { 0 } else { 10 * MS };
            let low = timeline.place(Tier::Low, 0x8000_0000 + n as u32 * 1_800, frame(n * 20 * MS + late, wall));
            assert_eq!(low.wrapping_sub(full), if n < 50 { 900 } else { 0 }, "{n}");
        }
    }

    #[test]
    fn a_jump_of_the_source_does_not_show() {
        let mut timeline = Timeline::new(90_000);
        let mut last = None;
        for n in 0..100i64 {
            let jump = if n >= 50 { 0x9000_0000 } else { 0 };
            let timestamp = (n as u32 * 1_800).wrapping_add(jump);
            let captured = Captured { jumped: n == 50, ..frame(n * 20 * MS, None) };
            let placed = timeline.place(Tier::Full, timestamp, captured);
            assert!(last.is_none_or(|last| placed == last + 1_800), "{n}");
            last = Some(placed);
        }
        timeline.restart(Tier::Full);
        let placed = timeline.place(Tier::Full, 5, frame(99 * 20 * MS, None));
        assert_eq!(placed, last.unwrap() + 1, "timestamps never go back");
    }
}
