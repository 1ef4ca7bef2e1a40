//! When a video showed which frames: freezes and missing frames. Pure.

use serde_json::Value;

/// How many frame intervals are averaged to detect a freeze (W3C webrtc-stats, `freezeCount`).
const MEAN_OF: usize = 30;

/// RTP timestamp units per second.
const CLOCK_RATE: f64 = 90_000.0;

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Picture {
    /// When the frame was shown, by the page's clock in milliseconds.
    at: f64,
    width: u32,
    timestamp: u32,
}

/// A time span to judge, by the page's clock in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub from: f64,
    pub to: f64,
}

impl Span {
    pub fn millis(self) -> f64 {
        self.to - self.from
    }
}

/// All frames that were shown, in order.
#[derive(Debug)]
pub struct Shown {
    pictures: Vec<Picture>,
    /// When the observation ended, in milliseconds.
    until: f64,
}

impl Shown {
    /// Parses the result of `witness.shown`.
    pub fn of(told: &Value) -> Option<Self> {
        let picture = |told: &Value| {
            Some(Picture {
                at: told[0].as_f64()?,
                width: told[1].as_u64()?.try_into().ok()?,
                timestamp: told[2].as_u64()?.try_into().ok()?,
            })
        };
        let pictures = told["pictures"].as_array()?.iter().map(picture).collect::<Option<_>>()?;
        Some(Self { pictures, until: told["at"].as_f64()? })
    }

    /// Freezes as the W3C defines them: no new frame for longer than three mean intervals, and than one mean interval
    /// plus 150 ms. A freeze at the end counts with its length so far.
    fn freezes(&self) -> Vec<Span> {
        let (mut freezes, mut intervals) = (Vec::new(), Vec::new());
        let times: Vec<f64> = self.pictures.iter().map(|picture| picture.at).chain([self.until]).collect();
        for two in times.windows(2) {
            let interval = two[1] - two[0];
            let recent: &[f64] = &intervals[intervals.len().saturating_sub(MEAN_OF)..];
            let mean = recent.iter().sum::<f64>() / recent.len().max(1) as f64;
            if recent.is_empty() || interval <= (3.0 * mean).max(mean + 150.0) {
                intervals.push(interval);
            } else {
                freezes.push(Span { from: two[0], to: two[1] });
                // A freeze must not count as usual afterwards.
                intervals.push(3.0 * mean);
            }
        }
        freezes
    }

    /// The freezes that overlap this time span.
    fn freezes_in(&self, span: Span) -> impl Iterator<Item = Span> {
        self.freezes().into_iter().filter(move |freeze| freeze.to > span.from && freeze.from < span.to)
    }

    /// The longest freeze in this time span, in milliseconds.
    pub fn longest_freeze(&self, span: Span) -> f64 {
        self.freezes_in(span).map(Span::millis).fold(0.0, f64::max)
    }

    /// The share of this time span that was frozen, in percent.
    pub fn frozen_percent(&self, span: Span) -> f64 {
        let inside = |freeze: Span| freeze.to.min(span.to) - freeze.from.max(span.from);
        self.freezes_in(span).map(inside).fold(0.0, |sum, millis| sum + millis) * 100.0 / span.millis()
    }

    /// The time from the end of a disturbance to the end of the last freeze that began in this time span; 0 without a
    /// freeze.
    pub fn whole_after(&self, wrong: Span, judged_to: f64) -> f64 {
        let judged = Span { from: wrong.to, to: judged_to };
        self.freezes_in(judged).map(|freeze| freeze.to - wrong.to).fold(0.0, f64::max)
    }

    /// How long after a time the first frame of this width was shown, in milliseconds.
    pub fn first_of(&self, width: u32, from: f64) -> Option<f64> {
        let first = self.pictures.iter().find(|picture| picture.at >= from && picture.width == width)?;
        Some(first.at - from)
    }

    /// How many frames were shown in this time span, and how many there were from the first to the last of them: `fps`
    /// of this width, half as many of smaller ones.
    pub fn of_all(&self, span: Span, wide: u32, fps: u32) -> (f64, f64) {
        let inside = |picture: &&Picture| (span.from..span.to).contains(&picture.at);
        let pictures: Vec<&Picture> = self.pictures.iter().filter(inside).collect();
        let between = |two: &[&Picture]| {
            let is_full = two.iter().all(|picture| picture.width >= wide);
            let fps = f64::from(fps) / if is_full { 1.0 } else { 2.0 };
            let seconds = f64::from(two[1].timestamp.wrapping_sub(two[0].timestamp)) / CLOCK_RATE;
            (seconds * fps).round().max(1.0)
        };
        let all: f64 = pictures.windows(2).map(between).sum();
        (pictures.len() as f64, all + f64::from(u8::from(!pictures.is_empty())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 25 frames per second for four seconds, without those of some numbers; every other frame of 50 to 75 is missing,
    /// and these are small.
    fn shown(missed: impl Fn(u32) -> bool) -> Shown {
        let is_low = |n| (50..75).contains(&n);
        let pictures = (0..100u32).filter(|n| !missed(*n) && (!is_low(*n) || n % 2 == 0));
        let pictures: Vec<Value> =
            pictures.map(|n| json!([n * 40, if is_low(n) { 320 } else { 640 }, (n * 3600).wrapping_sub(99)])).collect();
        Shown::of(&json!({ "at": 4000, "pictures": pictures })).unwrap()
    }

    const ALL: Span = Span { from: 0.0, to: 4000.0 };

    #[test]
    fn a_complete_observation_misses_no_frame() {
        let shown = shown(|_| false);
        assert_eq!(shown.of_all(ALL, 640, 25), (88.0, 88.0));
        assert_eq!((shown.longest_freeze(ALL), shown.frozen_percent(ALL)), (0.0, 0.0), "half the rate is no freeze");
        assert_eq!((shown.first_of(320, 1000.0), shown.first_of(320, 3000.0)), (Some(1000.0), None));
    }

    #[test]
    fn a_freeze_is_detected_with_its_end() {
        let shown = shown(|n| (20..30).contains(&n));
        let (of, all) = shown.of_all(ALL, 640, 25);
        assert_eq!(all - of, 10.0);
        assert_eq!((shown.longest_freeze(ALL), shown.frozen_percent(ALL)), (440.0, 11.0));
        let outage = Span { from: 800.0, to: 1100.0 };
        assert_eq!(shown.whole_after(outage, 4000.0), 100.0);
        assert_eq!(shown.whole_after(Span { from: 1500.0, to: 1600.0 }, 4000.0), 0.0);
        assert_eq!(shown.longest_freeze(Span { from: 1200.0, to: 4000.0 }), 0.0);
    }

    #[test]
    fn a_freeze_without_an_end_lasts_until_now() {
        let ended = shown(|n| n >= 90);
        assert_eq!(ended.whole_after(Span { from: 3600.0, to: 3700.0 }, 4000.0), 300.0);
        assert_eq!(shown(|_| true).longest_freeze(ALL), 0.0, "a picture that never came is no freeze");
    }
}
