//! Measures the encodings of a publisher: their rates, and which of them have stopped.
//!
//! A browser whose uplink is too narrow stops the best encoding of a track and goes on with the smaller one. Students
//! of the best encoding must get the smaller one then, and not an old picture.

use std::time::{Duration, Instant};

use crate::rtp::{Encoding, PerEncoding, Tier, Track};

/// A needed encoding has stopped after this time without a frame.
pub(super) const STOPPED_AFTER: Duration = Duration::from_secs(2);

/// A needed encoding has also stopped if this many frames of the other tier have come since its last frame, and if no
/// packet of it has come for some of its usual intervals, within these bounds. A source that rests rests in both tiers,
/// an encoder of screens that drops frames for a moment goes on before, and a frame with a lost packet is followed by
/// the packets of others.
const OVERTAKEN_BY: u32 = 5;
const OVERTAKEN_INTERVALS: u32 = 12;
const OVERTAKEN_AFTER: [Duration; 2] = [Duration::from_millis(400), Duration::from_secs(1)];

/// An encoding that has stopped is offered again after this time, then after twice as long, up to the longest.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);

/// Rates are measured in windows of this length, and the highest of the last windows counts.
const WINDOW: Duration = Duration::from_secs(2);
const WINDOWS: usize = 5;

/// The least bit rates that are assumed, in bits per second: a still slide costs little, but a film may follow.
const LEAST_FULL: u32 = 1_000_000;
const LEAST_LOW: u32 = 150_000;
const LEAST_AUDIO: u32 = 40_000;

/// The measurements of one encoding.
#[derive(Debug, Default, Clone)]
struct Monitored {
    /// The arrival of the last frame.
    last: Option<Instant>,
    /// The smoothed interval between frames.
    interval: Option<Duration>,
    /// The frames of the track's other tier since then, and the arrival of the first of them.
    overtaken: u32,
    overtaken_since: Option<Instant>,
    /// The start of the need; `None` if nobody needs the encoding.
    needed: Option<Instant>,
    /// The end of the time for which the encoding is not offered, and the length of that time.
    withheld: Option<(Instant, Duration)>,
    window: Option<Instant>,
    bytes: usize,
    rates: [u32; WINDOWS],
}

/// Monitors the encodings of the current publisher.
#[derive(Debug, Default)]
pub(super) struct EncodingMonitor {
    encodings: PerEncoding<Monitored>,
}

impl EncodingMonitor {
    /// These tracks come from another publisher, or from another session, from now on.
    pub(super) fn restart(&mut self, tracks: &[Track]) {
        for encoding in Encoding::all().filter(|encoding| tracks.contains(&encoding.track)) {
            self.encodings[encoding] = Monitored::default();
        }
    }

    /// A frame of this size has arrived.
    pub(super) fn on_frame(&mut self, now: Instant, encoding: Encoding, bytes: usize) {
        let monitored = &mut self.encodings[encoding];
        monitored.measure_interval(now);
        monitored.last = Some(now);
        (monitored.overtaken, monitored.overtaken_since) = (0, None);
        monitored.withheld = None;
        monitored.turn(now);
        monitored.bytes += bytes;
        for tier in Tier::ALL.into_iter().filter(|tier| *tier != encoding.tier) {
            let other = &mut self.encodings[encoding.with(tier)];
            other.overtaken = other.overtaken.saturating_add(1);
            other.overtaken_since.get_or_insert(now);
        }
    }

    /// Whether nothing has arrived for [`STOPPED_AFTER`], or ever.
    pub(super) fn is_silent(&self, now: Instant, encoding: Encoding) -> bool {
        let last = self.encodings[encoding].last;
        last.is_none_or(|at| now.saturating_duration_since(at) >= STOPPED_AFTER)
    }

    /// The encodings among `promised` that students may get, with their bit rates in bits per second. `heard` is the
    /// arrival of the last packet of an encoding.
    pub(super) fn available(
        &mut self,
        now: Instant,
        promised: &[Encoding],
        is_needed: impl Fn(Encoding) -> bool,
        heard: impl Fn(Encoding) -> Option<Instant>,
    ) -> Vec<(Encoding, u32)> {
        for encoding in promised.iter().copied().filter(|encoding| encoding.track.is_video()) {
            let others = promised.iter().filter(|other| other.track == encoding.track && **other != encoding);
            let other_goes_on = others.into_iter().any(|other| !self.is_silent(now, *other));
            let is_silent = self.is_silent(now, encoding);
            let monitored = &mut self.encodings[encoding];
            let has_stopped = is_silent && other_goes_on || monitored.is_overtaken(now, heard(encoding));
            monitored.needed = is_needed(encoding).then(|| monitored.needed.unwrap_or(now));
            let is_awaited = monitored.needed.is_some_and(|at| now.saturating_duration_since(at) >= STOPPED_AFTER);
            if is_awaited && has_stopped && monitored.withheld.is_none_or(|(until, _)| until <= now) {
                let time = monitored.withheld.map_or(AGAIN_AFTER, |(_, time)| (time * 2).min(LONGEST));
                monitored.withheld = Some((now + time, time));
            }
        }
        let is_withheld = |encoding: Encoding| self.encodings[encoding].withheld.is_some_and(|(until, _)| until > now);
        let available = promised.iter().copied().filter(|encoding| !is_withheld(*encoding));
        available.map(|encoding| (encoding, self.encodings[encoding].rate(encoding))).collect()
    }
}

impl Monitored {
    fn measure_interval(&mut self, now: Instant) {
        let Some(last) = self.last else { return };
        let [_, longest] = OVERTAKEN_AFTER;
        let interval = now.saturating_duration_since(last).min(longest);
        self.interval = Some(self.interval.map_or(interval, |smoothed| (smoothed * 7 + interval) / 8));
    }

    fn is_overtaken(&self, now: Instant, heard: Option<Instant>) -> bool {
        let [shortest, longest] = OVERTAKEN_AFTER;
        let after = self.interval.map_or(longest, |interval| interval * OVERTAKEN_INTERVALS).clamp(shortest, longest);
        let has_passed = |since: Instant| now.saturating_duration_since(since) >= after;
        self.overtaken >= OVERTAKEN_BY && self.overtaken_since.is_some_and(has_passed) && heard.is_none_or(has_passed)
    }

    fn turn(&mut self, now: Instant) {
        let began = *self.window.get_or_insert(now);
        let length = now.saturating_duration_since(began);
        if length >= WINDOW {
            self.rates.rotate_right(1);
            self.rates[0] = (self.bytes as f64 * 8.0 / length.as_secs_f64()) as u32;
            (self.window, self.bytes) = (Some(now), 0);
        }
    }

    fn rate(&self, encoding: Encoding) -> u32 {
        let least = match (encoding.track, encoding.tier) {
            (Track::Audio, _) => LEAST_AUDIO,
            (_, Tier::Full) => LEAST_FULL,
            (_, Tier::Low) => LEAST_LOW,
        };
        // Rounded up, so that students are not told of each small change.
        let highest = self.rates.iter().copied().max().unwrap_or(0);
        if highest <= least { least } else { highest.div_ceil(least / 2) * (least / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;

    const MS: Duration = Duration::from_millis(1);

    fn promised() -> [Encoding; 3] {
        let full = Encoding::full(Track::Screen, Codec::Vp8);
        [Encoding::full(Track::Audio, Codec::Opus), full, full.with(Tier::Low)]
    }

    fn names(available: &[(Encoding, u32)]) -> Vec<Encoding> {
        available.iter().map(|(encoding, _)| *encoding).collect()
    }

    #[test]
    fn an_encoding_that_stops_while_another_goes_on_is_withheld_for_a_while() {
        let ([audio, full, low], start) = (promised(), Instant::now());
        let mut monitor = EncodingMonitor::default();
        let available = |monitor: &mut EncodingMonitor, now, needs: bool| {
            names(&monitor.available(now, &promised(), |encoding| encoding == full && needs, |_| None))
        };
        let mut now = start;
        let sends = |monitor: &mut EncodingMonitor, now: &mut Instant, encodings: &[Encoding], seconds: u32| {
            for _ in 0..seconds * 10 {
                *now += 100 * MS;
                encodings.iter().for_each(|encoding| monitor.on_frame(*now, *encoding, 1_000));
            }
        };
        assert_eq!(available(&mut monitor, now, true), promised());
        sends(&mut monitor, &mut now, &[audio, full, low], 3);
        assert_eq!(available(&mut monitor, now, true), promised());
        sends(&mut monitor, &mut now, &[audio, low], 3);
        assert!(monitor.is_silent(now, full) && !monitor.is_silent(now, low));
        assert_eq!(available(&mut monitor, now, true), [audio, low]);
        sends(&mut monitor, &mut now, &[low], 10);
        assert_eq!(available(&mut monitor, now, false), promised(), "it is tried again");
        sends(&mut monitor, &mut now, &[low], 1);
        assert_eq!(available(&mut monitor, now, true), promised(), "it may start now");
        sends(&mut monitor, &mut now, &[low], 2);
        assert_eq!(available(&mut monitor, now, true), [audio, low], "it has not");
        sends(&mut monitor, &mut now, &[low], 11);
        assert_eq!(available(&mut monitor, now, false), [audio, low], "withheld for longer");
        sends(&mut monitor, &mut now, &[full, low], 1);
        assert_eq!(available(&mut monitor, now, true), promised(), "it goes on");
    }

    #[test]
    fn an_encoding_is_withheld_once_the_other_tier_has_clearly_overtaken_it() {
        let ([audio, full, low], start) = (promised(), Instant::now());
        let mut monitor = EncodingMonitor::default();
        let mut available = |now: Instant, frames: &[Encoding]| {
            frames.iter().for_each(|encoding| monitor.on_frame(now, *encoding, 1_000));
            names(&monitor.available(now, &promised(), |encoding| encoding == full, |_| None))
        };
        for n in 0..30 {
            assert_eq!(available(start + n * 100 * MS, &[full, low]), promised());
        }
        let stopped = start + 2_900 * MS;
        for n in 1..=9 {
            assert_eq!(available(stopped + n * 100 * MS, &[low]), promised(), "{n}");
        }
        assert_eq!(available(stopped + 1_000 * MS, &[low]), [audio, low]);
        assert_eq!(available(stopped + 1_200 * MS, &[full]), promised());
        for n in 1..=4 {
            // A slide that hardly changes.
            assert_eq!(available(stopped + 1_200 * MS + n * 450 * MS, &[low]), promised(), "{n}");
        }
    }

    #[test]
    fn a_fast_encoding_that_stops_is_withheld_sooner_and_a_frame_that_waits_is_none() {
        let ([audio, full, low], start) = (promised(), Instant::now());
        let mut monitor = EncodingMonitor::default();
        let available = |monitor: &mut EncodingMonitor, now, heard| {
            names(&monitor.available(now, &promised(), |encoding| encoding == full, |_| Some(heard)))
        };
        let mut now = start;
        for n in 0..90 {
            now = start + n * 33 * MS;
            [full, low].into_iter().for_each(|encoding| monitor.on_frame(now, encoding, 1_000));
            assert_eq!(available(&mut monitor, now, now), promised());
        }
        let stopped = now;
        while now + 33 * MS < stopped + OVERTAKEN_AFTER[0] {
            now += 33 * MS;
            monitor.on_frame(now, low, 1_000);
            assert_eq!(available(&mut monitor, now, stopped), promised());
        }
        now += 66 * MS;
        assert_eq!(available(&mut monitor, now, now - 66 * MS), promised(), "its frames wait for a lost packet");
        assert_eq!(available(&mut monitor, now, stopped), [audio, low]);
    }

    #[test]
    fn an_encoding_that_nobody_needs_and_a_track_that_stops_stay_available() {
        let ([audio, _, low], now) = (promised(), Instant::now());
        let mut monitor = EncodingMonitor::default();
        monitor.available(now, &promised(), |_| false, |_| None);
        monitor.on_frame(now + 9 * STOPPED_AFTER, low, 1_000);
        let later = now + 9 * STOPPED_AFTER;
        assert_eq!(
            names(&monitor.available(later, &promised(), |_| false, |_| None)),
            promised(),
            "the publisher need not send"
        );
        let muted = later + 9 * STOPPED_AFTER;
        monitor.available(muted, &promised(), |_| true, |_| None);
        monitor.on_frame(muted, audio, 100);
        let later = muted + STOPPED_AFTER;
        assert_eq!(
            names(&monitor.available(later, &promised(), |_| true, |_| None)),
            promised(),
            "the whole track stopped"
        );
    }

    #[test]
    fn the_rate_of_an_encoding_is_the_highest_of_the_last_seconds() {
        let ([_, full, low], start) = (promised(), Instant::now());
        let mut monitor = EncodingMonitor::default();
        let rate = |monitor: &mut EncodingMonitor, now, encoding| {
            monitor
                .available(now, &promised(), |_| false, |_| None)
                .into_iter()
                .find(|(e, _)| *e == encoding)
                .unwrap()
                .1
        };
        assert_eq!((rate(&mut monitor, start, full), rate(&mut monitor, start, low)), (LEAST_FULL, LEAST_LOW));
        // 4 Mbit/s for 4 s, then next to nothing.
        for n in 0..=40 {
            monitor.on_frame(start + n * 100 * MS, full, 50_000);
        }
        let now = start + 4_000 * MS;
        let high = rate(&mut monitor, now, full);
        assert!((4_000_000..=4_500_000).contains(&high), "{high}");
        for n in 1..=4 {
            monitor.on_frame(now + n * WINDOW, full, 100);
        }
        assert!(rate(&mut monitor, now + 4 * WINDOW, full) >= 4_000_000);
        for n in 5..=8 {
            monitor.on_frame(now + n * WINDOW, full, 100);
        }
        assert_eq!(rate(&mut monitor, now + 8 * WINDOW, full), LEAST_FULL);
    }
}
