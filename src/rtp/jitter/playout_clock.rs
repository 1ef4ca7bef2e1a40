//! Maps a track's RTP timestamps to the receiver's time.
//!
//! All times are in nanoseconds since the receiver's start. A packet that met an empty network marks the earliest time
//! at which its track can be played. So the playout time of a timestamp is media time plus the minimum difference
//! between arrival and media time over the last seconds; packets that arrive later are late. This offset follows the
//! sender's clock and the path, and a stall does not move it.

use std::collections::VecDeque;
use std::time::Duration;

use super::target_delay::MAX_DELAY;

/// How long the earliest arrival counts. Two clocks drift apart by a millisecond in this time.
const REMEMBERED_SECONDS: u64 = 10;

/// An arrival that deviates by more than this resets the clock, in nanoseconds: timestamps have jumped, or this machine
/// was suspended.
const RESTART: i64 = 5_000_000_000;

/// A track younger than this may jump, in nanoseconds: its start arrives in a burst that is older than live, together
/// with the sender report that synchronizes audio and video.
const YOUNG: i64 = 2_000_000_000;

/// A larger fall of the offset is made at once, in nanoseconds: frames that wait without need only add delay.
const JUMP: i64 = 100_000_000;

/// Smaller steps down take twenty times as long: playback is then 5 % faster, which is inaudible.
const FALL: i64 = 20;

/// Steps up take a hundred times as long: as slowly as the target delay falls, so that the sum of both stays the same.
const RISE: i64 = 100;

/// Maps the RTP timestamps of one stream to playout times.
#[derive(Debug)]
pub(super) struct PlayoutClock {
    rate: i128,
    /// The newest timestamp, and its ticks since the first one without wrapping.
    newest: (u32, i64),
    /// The minimum difference between arrival and media time, by second.
    least: VecDeque<(u64, i64)>,
    /// The playout time minus the media time, before the target delay.
    offset: i64,
    begun: i64,
    followed: i64,
    transit: i64,
    jitter: f64,
}

impl PlayoutClock {
    /// A clock that starts with the first packet.
    pub(super) fn new(clock_rate: u32, timestamp: u32, at: Duration) -> Self {
        let at = nanos(at);
        let mut clock = Self {
            rate: clock_rate.max(1).into(),
            newest: (timestamp, 0),
            least: VecDeque::new(),
            offset: at,
            begun: at,
            followed: at,
            transit: at,
            jitter: 0.0,
        };
        clock.remember(at, at);
        clock
    }

    /// A packet arrived.
    pub(super) fn arrived(&mut self, timestamp: u32, at: Duration) {
        let at = nanos(at);
        let ticks = self.ticks(timestamp);
        if ticks > self.newest.1 {
            self.newest = (timestamp, ticks);
        }
        let offset = at - self.media(timestamp);
        if (offset - self.offset).abs() > RESTART {
            self.least.clear();
            (self.offset, self.begun, self.transit) = (offset, at, offset);
        }
        // RFC 3550, 6.4.1.
        self.jitter += ((offset - self.transit).abs() as f64 - self.jitter) / 16.0;
        self.transit = offset;
        self.remember(at, offset);
    }

    fn remember(&mut self, at: i64, offset: i64) {
        let second = at.unsigned_abs() / 1_000_000_000;
        match self.least.back_mut() {
            Some((newest, least)) if *newest == second => *least = offset.min(*least),
            _ => self.least.push_back((second, offset)),
        }
        while self.least.front().is_some_and(|(oldest, _)| oldest + REMEMBERED_SECONDS < second) {
            self.least.pop_front();
        }
    }

    /// The offset that fits the last seconds.
    pub(super) fn wanted(&self) -> i64 {
        let all = self.least.iter().map(|(_, least)| *least).min().unwrap_or(self.offset);
        let mut recent = self.least.iter().rev().map(|(_, least)| *least);
        match (recent.next(), recent.next()) {
            // Nothing arrives within the maximum delay any more: the path has become longer.
            (Some(now), Some(before)) if now.min(before) - all > nanos(MAX_DELAY) => now.min(before),
            _ => all,
        }
    }

    /// Moves the offset towards the wanted one.
    pub(super) fn follow(&mut self, wanted: i64, at: Duration) {
        let at = nanos(at);
        let passed = (at - self.followed).max(0);
        self.followed = at;
        let step = wanted - self.offset;
        self.offset += if at - self.begun < YOUNG || step < -JUMP || step > nanos(MAX_DELAY) {
            step
        } else if step < 0 {
            step.max(-passed / FALL)
        } else {
            step.min(passed / RISE)
        };
    }

    /// Media time since the first packet.
    pub(super) fn media(&self, timestamp: u32) -> i64 {
        (i128::from(self.ticks(timestamp)) * 1_000_000_000 / self.rate) as i64
    }

    /// The playout time of a timestamp, before the target delay.
    pub(super) fn due(&self, timestamp: u32) -> Duration {
        duration(self.media(timestamp) + self.offset)
    }

    /// Interarrival jitter in nanoseconds (RFC 3550, 6.4.1).
    pub(super) fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The second in which the last packet arrived.
    pub(super) fn last_second(&self) -> u64 {
        self.least.back().map_or(0, |(second, _)| *second)
    }

    fn ticks(&self, timestamp: u32) -> i64 {
        // Timestamps wrap, so a difference above 2^31 is a step back.
        self.newest.1 + i64::from(timestamp.wrapping_sub(self.newest.0).cast_signed())
    }
}

/// Saturates after 292 years.
pub(super) fn nanos(time: Duration) -> i64 {
    time.as_nanos().try_into().unwrap_or(i64::MAX)
}

pub(super) fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Receives 30 frames per second, each delayed by `delay(n)` milliseconds.
    fn play(clock: &mut PlayoutClock, frames: std::ops::Range<u64>, delay: impl Fn(u64) -> u64) {
        for n in frames {
            let arrival = at(1000 + n * 1000 / 30 + delay(n));
            clock.arrived((n * 3000) as u32, arrival);
            clock.follow(clock.wanted(), arrival);
        }
    }

    /// How many milliseconds after its arrival an undelayed frame would be played.
    fn behind(clock: &PlayoutClock, n: u64) -> i64 {
        (nanos(clock.due((n * 3000) as u32)) - nanos(at(1000 + n * 1000 / 30))) / MS
    }

    #[test]
    fn playout_times_follow_the_earliest_arrivals() {
        let mut clock = PlayoutClock::new(90_000, 0, at(1040));
        play(&mut clock, 0..300, |n| n * 27 % 40);
        assert!((0..=2).contains(&behind(&clock, 300)), "{}", behind(&clock, 300));
        assert!((5.0..20.0).contains(&(clock.jitter() / 1e6)), "{}", clock.jitter());
    }

    #[test]
    fn the_clock_catches_up_at_once_after_a_start_with_old_packets() {
        // The last 1.5 s arrive in one moment, oldest first.
        let mut clock = PlayoutClock::new(90_000, 0, at(2500));
        play(&mut clock, 0..46, |n| 1500 - n * 1000 / 30);
        assert!((0..=40).contains(&behind(&clock, 46)), "{}", behind(&clock, 46));
    }

    #[test]
    fn a_stall_does_not_move_the_clock() {
        let mut clock = PlayoutClock::new(90_000, 0, at(1000));
        play(&mut clock, 0..300, |_| 0);
        // A second without packets, then all of them at once.
        play(&mut clock, 300..330, |n| 1000 - (n - 300) * 1000 / 30);
        play(&mut clock, 330..360, |_| 0);
        assert!((-1..=1).contains(&behind(&clock, 360)), "{}", behind(&clock, 360));
    }

    #[test]
    fn clock_drift_is_followed_in_both_directions() {
        for skew in [-200i64, 200] {
            // Parts in a million: 60 ms in 5 minutes.
            let mut clock = PlayoutClock::new(90_000, 0, at(1000));
            let drift = |n: u64| 100 + (n as i64 * 1000 / 30) * skew / 1_000_000;
            play(&mut clock, 0..9000, |n| drift(n).unsigned_abs());
            let off = behind(&clock, 9000) - drift(9000);
            assert!((-4..=4).contains(&off), "{skew} ppm: {off} ms");
        }
    }

    #[test]
    fn a_longer_path_is_followed_slowly_and_a_much_longer_one_quickly() {
        let mut clock = PlayoutClock::new(90_000, 0, at(1000));
        play(&mut clock, 0..300, |_| 0);
        play(&mut clock, 300..540, |_| 300);
        assert_eq!(behind(&clock, 540), 0, "it may be a queue that empties again");
        play(&mut clock, 540..1800, |_| 300);
        assert!((290..=301).contains(&behind(&clock, 1800)), "{}", behind(&clock, 1800));
        play(&mut clock, 1800..1900, |_| 1200);
        assert!((1190..=1201).contains(&behind(&clock, 1900)), "{}", behind(&clock, 1900));
        play(&mut clock, 1900..1902, |_| 20);
        assert!((19..=21).contains(&behind(&clock, 1902)), "and back at once: {}", behind(&clock, 1902));
    }

    #[test]
    fn the_clock_follows_wrapping_and_jumping_timestamps() {
        let mut clock = PlayoutClock::new(90_000, u32::MAX - 1000, at(1000));
        clock.arrived(2000, at(1034));
        clock.follow(clock.wanted(), at(1034));
        assert!((1033..=1034).contains(&clock.due(2000).as_millis()));
        clock.arrived(0x7000_0000, at(1067));
        clock.follow(clock.wanted(), at(1067));
        assert_eq!(clock.due(0x7000_0000), at(1067));
        clock.arrived(0, at(1100));
        clock.follow(clock.wanted(), at(1100));
        assert_eq!(clock.due(0), at(1100));
    }
}
