//! The clock of one RTP stream: maps timestamps to capture times on our clock.
//!
//! All times are in nanoseconds since the start of the ingest. The media time of a timestamp is its distance to the
//! first one. A sender report maps media time to the publisher's wall clock, which all its streams share; the minimum
//! difference between arrival and that wall clock maps it to ours. Without a report, the minimum difference between
//! arrival and media time serves.

/// The limits of a timestamp that has not jumped: ahead of the earliest arrivals, behind them, and behind the previous
/// timestamp.
const MAX_AHEAD: i64 = 500_000_000;
const MAX_BEHIND: i64 = 5_000_000_000;
const MAX_BACK: i64 = 1_000_000_000;

/// A report whose RTP time differs by more from the packets' is ignored: it is from before a jump.
const MAX_REPORT_ERROR: i64 = 5_000_000_000;

/// A minimum counts for one to two windows. Two clocks drift apart by half a millisecond in a window.
const WINDOW: i64 = 5_000_000_000;

/// A rise of the minimum is spread over this many times its length, too slow to be noticed in playback.
const RISE: i64 = 100;

/// A larger rise of the minimum counts at once: the source paused its timestamps, or the path has become longer.
const MAX_RISE: i64 = 300_000_000;

/// The minimum of a difference of two clocks over the last seconds. A fall counts at once, a rise slowly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Least {
    value: i64,
    /// The minimum of the previous window, the minimum of the current one, and the start of the current one.
    windows: (i64, i64, i64),
    updated: i64,
}

impl Least {
    pub(super) fn new(at: i64, value: i64) -> Self {
        Self { value, windows: (value, value, at), updated: at }
    }

    pub(super) fn value(&self) -> i64 {
        self.value
    }

    pub(super) fn add(&mut self, at: i64, value: i64) {
        let (before, current, began) = self.windows;
        self.windows = if at - began > WINDOW { (current, value, at) } else { (before, current.min(value), began) };
        let passed = (at - self.updated).max(0);
        self.updated = self.updated.max(at);
        let wanted = self.windows.0.min(self.windows.1);
        let rise = wanted - self.value;
        self.value += if (0..=MAX_RISE).contains(&rise) { rise.min(passed / RISE) } else { rise };
    }
}

/// The publisher's wall clock against ours.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    /// Our time minus the publisher's, at the minimum delay.
    offset: Option<Least>,
    /// The number of times that the publisher's clock was set. Times of different epochs can't be compared.
    epoch: u32,
    /// The time of the last report that agreed with the offset.
    confirmed: i64,
}

impl WallClock {
    /// A report agrees with those of the other streams if its delay differs by less.
    const MAX_DIFFERENCE: i64 = 2_000_000_000;

    /// After this time without a report that agrees, any report sets a new offset.
    const TRUST: i64 = 15_000_000_000;

    /// Takes a report that arrived at `at`. `delay` is the arrival of a frame on our clock minus its capture on the
    /// publisher's clock. Returns the epoch of the report; `None` if the report contradicts earlier ones.
    fn accept(&mut self, at: i64, delay: i64) -> Option<u32> {
        match self.offset {
            Some(offset) if (offset.value() - delay).abs() <= Self::MAX_DIFFERENCE => {}
            Some(_) if at - self.confirmed <= Self::TRUST => return None,
            _ => {
                self.offset = Some(Least::new(at, delay));
                self.epoch += 1;
            }
        }
        self.confirmed = at;
        Some(self.epoch)
    }
}

/// A time on the publisher's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WallTime {
    epoch: u32,
    nanos: i64,
}

impl WallTime {
    /// The nanoseconds since another time; `None` if the clock was set in between.
    pub(super) fn since(self, other: WallTime) -> Option<i64> {
        (self.epoch == other.epoch).then_some(self.nanos - other.nanos)
    }

    #[cfg(test)]
    pub(super) fn test(nanos: i64) -> Self {
        Self { epoch: 1, nanos }
    }
}

/// The capture time of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Captured {
    /// On our clock; never after the arrival.
    pub(super) at: i64,
    /// On the publisher's wall clock, if a report has told.
    pub(super) wall: Option<WallTime>,
    /// Whether the timestamps have jumped with this frame.
    pub(super) jumped: bool,
}

/// The newest timestamp.
#[derive(Debug, Clone, Copy)]
struct Newest {
    timestamp: u32,
    /// Its media time in ticks and in nanoseconds, and when it arrived.
    ticks: i64,
    media: i64,
    at: i64,
}

/// The clock of one stream.
#[derive(Debug)]
pub(super) struct StreamClock {
    rate: i64,
    newest: Option<Newest>,
    /// Our time minus the media time, at the minimum delay.
    offset: Option<Least>,
    /// The publisher's wall clock at media time 0.
    wall: Option<WallTime>,
    last: i64,
}

impl StreamClock {
    /// A clock without any packet.
    pub(super) fn new(clock_rate: u32) -> Self {
        Self { rate: clock_rate.max(1).into(), newest: None, offset: None, wall: None, last: i64::MIN }
    }

    /// A frame with this timestamp arrived.
    pub(super) fn frame(&mut self, wall_clock: &mut WallClock, timestamp: u32, at: i64) -> Captured {
        let (mut ticks, mut media) = self.media(timestamp);
        let has_jumped = self.newest.zip(self.offset).is_some_and(|(newest, offset)| {
            let behind = at - media - offset.value();
            !(-MAX_AHEAD..=MAX_BEHIND).contains(&behind) || media < newest.media - MAX_BACK
        });
        if has_jumped {
            *self = Self { last: self.last, ..Self::new(self.rate as u32) };
            (ticks, media) = self.media(timestamp);
        }
        if self.newest.is_none_or(|newest| ticks >= newest.ticks) {
            self.newest = Some(Newest { timestamp, ticks, media, at });
        }
        let offset = self.offset.get_or_insert(Least::new(at, at - media));
        offset.add(at, at - media);
        let by_arrival = media + offset.value();
        let wall = self.wall.filter(|wall| wall.epoch == wall_clock.epoch);
        let wall = wall.map(|wall| WallTime { nanos: wall.nanos + media, ..wall });
        let by_report = wall.zip(wall_clock.offset.as_mut()).map(|(wall, offset)| {
            offset.add(at, at - wall.nanos);
            wall.nanos + offset.value()
        });
        // A step of the mapping must not turn the order of frames.
        self.last = by_report.unwrap_or(by_arrival).max(self.last).min(at);
        Captured { at: self.last, wall, jumped: has_jumped }
    }

    /// A sender report arrived: an RTP time and the same moment on the publisher's wall clock.
    pub(super) fn report(&mut self, wall_clock: &mut WallClock, rtp_time: u32, wall: i64, at: i64) {
        let Some(newest) = self.newest else { return };
        let (_, media) = self.media(rtp_time);
        let expected = newest.media + (at - newest.at);
        if (media - expected).abs() > MAX_REPORT_ERROR {
            return;
        }
        // The delay of the newest frame by this report.
        let nanos = wall - media;
        let delay = newest.at - (newest.media + nanos);
        if let Some(epoch) = wall_clock.accept(at, delay) {
            self.wall = Some(WallTime { epoch, nanos });
        }
    }

    /// The media time of a timestamp, in ticks and in nanoseconds. Timestamps wrap, so a difference of 2^31 or more is a
    /// step back.
    fn media(&self, timestamp: u32) -> (i64, i64) {
        let since = |newest: Newest| newest.ticks + i64::from(timestamp.wrapping_sub(newest.timestamp).cast_signed());
        let ticks = self.newest.map_or(0, since);
        // The product of all ticks would not fit into 64 bits after a day.
        let (seconds, rest) = (ticks / self.rate, ticks % self.rate);
        (ticks, seconds * 1_000_000_000 + rest * 1_000_000_000 / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const SECOND: i64 = 1_000 * MS;

    #[test]
    fn capture_times_follow_the_earliest_arrivals_without_reports() {
        let (mut clock, mut wall) = (StreamClock::new(90_000), WallClock::default());
        let mut last = i64::MIN;
        for n in 0..3_000i64 {
            // 30 a second, each delayed by up to 40 ms; the timestamps wrap on the way.
            let (sent, delay) = (n * SECOND / 30, n * 27 % 40 * MS);
            let at = sent + 20 * MS + delay;
            let captured = clock.frame(&mut wall, (u32::MAX - 100_000).wrapping_add(n as u32 * 3_000), at);
            assert!(captured.at <= at && captured.at >= last && !captured.jumped && captured.wall.is_none());
            assert!(n < 60 || (captured.at - sent - 20 * MS).abs() < 2 * MS, "{n}: {}", captured.at - sent);
            last = captured.at;
        }
    }

    #[test]
    fn reports_bring_two_streams_onto_one_clock() {
        let mut wall = WallClock::default();
        let (mut audio, mut video) = (StreamClock::new(48_000), StreamClock::new(90_000));
        let ntp = 3_900_000_000 * SECOND;
        for n in 0..600i64 {
            let sent = n * 20 * MS;
            // Video needs 60 ms more than audio.
            let (a, v) = (sent + 15 * MS, sent + 75 * MS);
            let audio_at = audio.frame(&mut wall, (n * 960 + 77) as u32, a).at;
            let video_at = video.frame(&mut wall, (n * 1_800 + 123_456) as u32, v).at;
            if n % 50 == 20 {
                let ahead = 500 * MS;
                audio.report(&mut wall, (n * 960 + 77 + 24_000) as u32, ntp + sent + ahead, a + ahead);
                video.report(&mut wall, (n * 1_800 + 123_456 + 45_000) as u32, ntp + sent + ahead, v + ahead);
            }
            match n {
                0..=20 => assert_eq!(video_at - audio_at, 60 * MS, "nothing is known about their delays"),
                // Capture times never go back, so video waits for audio.
                21..=23 => assert!((0..60 * MS).contains(&(video_at - audio_at))),
                _ => assert!((video_at - audio_at).abs() <= MS / 10, "{n}: {}", video_at - audio_at),
            }
            assert!(n <= 21 || (audio_at - a).abs() <= MS / 10);
        }
    }

    #[test]
    fn a_step_of_the_publishers_wall_clock_moves_nothing() {
        let (mut clock, mut wall) = (StreamClock::new(90_000), WallClock::default());
        for n in 0..3_000i64 {
            let at = n * 20 * MS;
            let captured = clock.frame(&mut wall, (n * 1_800) as u32, at).at;
            assert!((at - captured).abs() < 2 * MS, "{n}: {}", at - captured);
            if n % 50 == 0 {
                // An hour forward after 20 s.
                let hour = if n >= 1_000 { 3_600 * SECOND } else { 0 };
                clock.report(&mut wall, (n * 1_800) as u32, 1_000 * SECOND + at + hour, at);
            }
        }
    }

    #[test]
    fn a_jump_of_timestamps_is_noticed_and_capture_times_go_on() {
        for jump in [0x7000_0000u32, 0x9000_0000, 60 * 90_000, 0u32.wrapping_sub(2 * 90_000)] {
            let (mut clock, mut wall) = (StreamClock::new(90_000), WallClock::default());
            for n in 0..100i64 {
                let at = n * 20 * MS;
                let timestamp = (n as u32 * 1_800).wrapping_add(if n >= 50 { jump } else { 0 });
                let captured = clock.frame(&mut wall, timestamp, at);
                assert_eq!(captured.jumped, n == 50, "{n}");
                assert_eq!(captured.at, at);
                clock.report(&mut wall, timestamp, at, at);
            }
        }
    }

    #[test]
    fn the_minimum_rises_slowly_and_falls_at_once() {
        let mut least = Least::new(0, 10 * MS);
        (0..100).for_each(|n| least.add(n * 100 * MS, 10 * MS));
        (100..300).for_each(|n| least.add(n * 100 * MS, 60 * MS));
        assert!((11 * MS..=60 * MS).contains(&least.value()), "{}", least.value());
        (300..1_000).for_each(|n| least.add(n * 100 * MS, 60 * MS));
        assert_eq!(least.value(), 60 * MS);
        least.add(100_000 * MS, 5 * MS);
        assert_eq!(least.value(), 5 * MS);
        (1_000..1_110).for_each(|n| least.add(n * 100 * MS, 900 * MS));
        assert_eq!(least.value(), 900 * MS, "a large rise that lasts");
    }
}
