//! When a packet should arrive: a track's RTP timestamps in the receiver's time.
//!
//! All times are nanoseconds, those of the receiver since its start. A packet that found the network empty marks the
//! earliest that its track can be played; the least difference of arrival and timestamp within the last seconds is
//! therefore the line on which pictures and sound are put, and what comes above that line is late. The line follows the
//! sender's clock and the route, and a stall leaves it where it is: what was late is late, and what comes after is not.

use std::collections::VecDeque;
use std::time::Duration;

use super::target_delay::MAX_DELAY;

/// How long the earliest arrival counts. Clocks of computers drift apart by a millisecond in this time.
const REMEMBERED_SECONDS: u64 = 10;

/// An arrival that is off the line by more than this begins a new line: the sender's timestamps have jumped, or this
/// machine slept.
const RESTART: i64 = 5_000_000_000;

/// A track that is younger may jump to where it belongs: its start comes in a burst, older than live, and the report that
/// puts sound and picture together comes with it.
const YOUNG: i64 = 2_000_000_000;

/// The line falls by more than this at once, because pictures that wait for no reason are seen as delay.
const JUMP: i64 = 100_000_000;

/// Smaller steps down take twenty times as long, five percent faster than live, which is not heard.
const FALL: i64 = 20;

/// Steps up take a hundred times as long: as slowly as the delay falls, so that the sum of both stays.
const RISE: i64 = 100;

/// The timestamps of one RTP stream.
#[derive(Debug)]
pub(super) struct PlayoutClock {
    rate: i128,
    /// The newest timestamp, and the ticks since the first one, which don't wrap.
    newest: (u32, i64),
    /// By second: the least difference of arrival and media time.
    least: VecDeque<(u64, i64)>,
    /// What is added to media time for the time to play, before the delay.
    offset: i64,
    begun: i64,
    followed: i64,
    transit: i64,
    jitter: f64,
}

impl PlayoutClock {
    /// A line through the first packet.
    pub(super) fn new(clock_rate: u32, timestamp: u32, at: Duration) -> Self {
        let at = nanos(at);
        let mut line = Self {
            rate: clock_rate.max(1).into(),
            newest: (timestamp, 0),
            least: VecDeque::new(),
            offset: at,
            begun: at,
            followed: at,
            transit: at,
            jitter: 0.0,
        };
        line.remember(at, at);
        line
    }

    /// Takes note of an arrival.
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

    /// The offset of the line that fits the last seconds.
    pub(super) fn wanted(&self) -> i64 {
        let all = self.least.iter().map(|(_, least)| *least).min().unwrap_or(self.offset);
        let mut recent = self.least.iter().rev().map(|(_, least)| *least);
        match (recent.next(), recent.next()) {
            // Nothing comes in time any more, however long it is waited for: the route has become that long.
            (Some(now), Some(before)) if now.min(before) - all > nanos(MAX_DELAY) => now.min(before),
            _ => all,
        }
    }

    /// Moves towards an offset that is wanted.
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

    /// When this is to be played, before the delay.
    pub(super) fn due(&self, timestamp: u32) -> Duration {
        duration(self.media(timestamp) + self.offset)
    }

    /// Jitter of arrival in nanoseconds (RFC 3550, 6.4.1).
    pub(super) fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The arrival of the last packet, by the second.
    pub(super) fn last_second(&self) -> u64 {
        self.least.back().map_or(0, |(second, _)| *second)
    }

    fn ticks(&self, timestamp: u32) -> i64 {
        // Half of all differences are steps back: RFC 3550 lets timestamps wrap.
        self.newest.1 + i64::from(timestamp.wrapping_sub(self.newest.0).cast_signed())
    }
}

/// 292 years and more don't happen.
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

    /// 30 pictures a second, from the given picture on, each delayed by some milliseconds.
    fn play(line: &mut PlayoutClock, pictures: std::ops::Range<u64>, delay: impl Fn(u64) -> u64) {
        for n in pictures {
            let arrival = at(1000 + n * 1000 / 30 + delay(n));
            line.arrived((n * 3000) as u32, arrival);
            line.follow(line.wanted(), arrival);
        }
    }

    /// By how many milliseconds a picture that the network does not delay would be put later than it came.
    fn behind(line: &PlayoutClock, n: u64) -> i64 {
        (nanos(line.due((n * 3000) as u32)) - nanos(at(1000 + n * 1000 / 30))) / MS
    }

    #[test]
    fn the_line_lies_on_the_earliest_arrivals() {
        let mut line = PlayoutClock::new(90_000, 0, at(1040));
        play(&mut line, 0..300, |n| n * 27 % 40);
        assert!((0..=2).contains(&behind(&line, 300)), "{}", behind(&line, 300));
        assert!((5.0..20.0).contains(&(line.jitter() / 1e6)), "{}", line.jitter());
    }

    #[test]
    fn a_start_older_than_live_is_caught_up_at_once() {
        // The last 1.5 s come in one moment, the oldest first.
        let mut line = PlayoutClock::new(90_000, 0, at(2500));
        play(&mut line, 0..46, |n| 1500 - n * 1000 / 30);
        assert!((0..=40).contains(&behind(&line, 46)), "{}", behind(&line, 46));
    }

    #[test]
    fn a_stall_leaves_the_line_where_it_is() {
        let mut line = PlayoutClock::new(90_000, 0, at(1000));
        play(&mut line, 0..300, |_| 0);
        // A second of nothing, and then everything at once.
        play(&mut line, 300..330, |n| 1000 - (n - 300) * 1000 / 30);
        play(&mut line, 330..360, |_| 0);
        assert!((-1..=1).contains(&behind(&line, 360)), "{}", behind(&line, 360));
    }

    #[test]
    fn clocks_that_drift_are_followed_in_both_directions() {
        for skew in [-200i64, 200] {
            // Parts in a million: 60 ms in 5 minutes.
            let mut line = PlayoutClock::new(90_000, 0, at(1000));
            let drift = |n: u64| 100 + (n as i64 * 1000 / 30) * skew / 1_000_000;
            play(&mut line, 0..9000, |n| drift(n).unsigned_abs());
            let off = behind(&line, 9000) - drift(9000);
            assert!((-4..=4).contains(&off), "{skew} ppm: {off} ms");
        }
    }

    #[test]
    fn a_longer_route_is_followed_slowly_and_a_much_longer_one_soon() {
        let mut line = PlayoutClock::new(90_000, 0, at(1000));
        play(&mut line, 0..300, |_| 0);
        play(&mut line, 300..540, |_| 300);
        assert_eq!(behind(&line, 540), 0, "it may be a queue that empties again");
        play(&mut line, 540..1800, |_| 300);
        assert!((290..=301).contains(&behind(&line, 1800)), "{}", behind(&line, 1800));
        play(&mut line, 1800..1900, |_| 1200);
        assert!((1190..=1201).contains(&behind(&line, 1900)), "{}", behind(&line, 1900));
        play(&mut line, 1900..1902, |_| 20);
        assert!((19..=21).contains(&behind(&line, 1902)), "and back at once: {}", behind(&line, 1902));
    }

    #[test]
    fn timestamps_wrap_and_jump() {
        let mut line = PlayoutClock::new(90_000, u32::MAX - 1000, at(1000));
        line.arrived(2000, at(1034));
        line.follow(line.wanted(), at(1034));
        assert!((1033..=1034).contains(&line.due(2000).as_millis()));
        line.arrived(0x7000_0000, at(1067));
        line.follow(line.wanted(), at(1067));
        assert_eq!(line.due(0x7000_0000), at(1067));
        line.arrived(0, at(1100));
        line.follow(line.wanted(), at(1100));
        assert_eq!(line.due(0), at(1100));
    }
}
