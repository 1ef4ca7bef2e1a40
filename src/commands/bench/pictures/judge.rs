//! What a student missed, pure: the pictures that it decoded, held against those that were encoded.

use super::wire::{Picture, Sight};
use crate::media::Drawn;
use crate::rtp::Tier;

/// After so long without a picture there is none.
const NONE_AFTER_MS: u64 = 1000;

/// Pictures over whose intervals the mean is taken by which a freeze stands out (W3C webrtc-stats, `freezeCount`).
const MEAN_OF: usize = 30;

/// Capture times of the pictures of each tier, sorted.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    tiers: [Vec<u64>; 2],
}

impl Encoded {
    /// Sorts what the encoders were given.
    pub(super) fn new(drawn: &[Drawn]) -> Self {
        let mut encoded = Self::default();
        for drawn in drawn {
            encoded.tiers[drawn.tier() as usize].extend(&drawn.captured_ms);
        }
        for times in &mut encoded.tiers {
            times.sort_unstable();
            // The same picture by another codec.
            times.dedup();
        }
        encoded
    }

    fn has(&self, picture: &Picture) -> bool {
        self.tiers[picture.tier() as usize].binary_search(&picture.captured_ms).is_ok()
    }

    /// How many pictures of a tier were captured from one time on and before another.
    fn count(&self, tier: Tier, from: u64, to: u64) -> u64 {
        let times = &self.tiers[tier as usize];
        let before = |time| times.partition_point(|captured| *captured < time) as u64;
        before(to).saturating_sub(before(from))
    }
}

/// The time that is judged, in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) end: u64,
    /// From when to when something was wrong with the network, in order.
    pub(super) events: Vec<(u64, u64)>,
    /// When the line was fast again.
    pub(super) restored: Option<u64>,
}

/// A time without a picture that stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) start: u64,
    pub(super) end: u64,
    /// The SFU had said that the picture pauses.
    pub(super) told: bool,
}

/// How it was for a student.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Verdict {
    /// Pictures that were to come, and that came.
    pub(super) expected: u64,
    pub(super) decoded: u64,
    /// Decoded pictures whose code could not be read.
    pub(super) smeared: u64,
    /// Full, low, none.
    pub(super) tier_ms: [u64; 3],
    /// When which tier came; times from the start on.
    pub(super) changes: Vec<(u64, Tier)>,
    pub(super) gaps: Vec<Gap>,
    /// From the last end of something wrong to the end of the last gap after it, the longest. No gap is 0.
    pub(super) recover_ms: Option<u64>,
    /// From the restored line to the first full picture.
    pub(super) full_again_ms: Option<u64>,
    /// From capture to decoded, of every picture; and until a sink that keeps time would show it.
    pub(super) delays_ms: Vec<u32>,
    pub(super) shown_after_ms: Vec<u32>,
}

impl Verdict {
    pub(super) fn longest_freeze_ms(&self) -> u64 {
        self.gaps.iter().filter(|gap| !gap.told).map(|gap| gap.end - gap.start).max().unwrap_or(0)
    }
}

/// Judges a student.
pub(super) fn judge(sight: &Sight, encoded: &Encoded, window: &Window) -> Verdict {
    let mut pictures = sight.pictures.clone();
    // One of 256 smeared codes has a check sum that fits; no picture was captured at its time.
    pictures.retain(|picture| encoded.has(picture));
    let smeared = sight.unreadable + (sight.pictures.len() - pictures.len()) as u64;
    pictures.sort_unstable_by_key(|picture| picture.captured_ms);
    pictures.dedup_by_key(|picture| picture.captured_ms);
    let judge = Judge { pictures: &pictures, pauses: &pauses(&sight.paused, window.end), encoded, window };
    let (expected, decoded) = judge.pictures();
    let gaps = judge.gaps();
    let inside = judge.inside();
    Verdict {
        expected,
        decoded,
        smeared,
        tier_ms: judge.tiers(),
        changes: judge.changes(),
        recover_ms: judge.recovery(&gaps),
        full_again_ms: window.restored.and_then(|at| {
            let full = pictures.iter().find(|p| p.at_ms >= at && p.tier() == Tier::Full)?;
            Some(full.at_ms - at)
        }),
        delays_ms: inside.iter().map(|picture| picture.at_ms.saturating_sub(picture.captured_ms) as u32).collect(),
        shown_after_ms: inside.iter().filter_map(|p| Some(p.shown_ms?.saturating_sub(p.captured_ms) as u32)).collect(),
        gaps,
    }
}

/// From when to when the SFU had said that there is no picture.
fn pauses(told: &[(u64, bool)], end: u64) -> Vec<(u64, u64)> {
    let mut pauses: Vec<(u64, u64)> = Vec::new();
    let mut since = None;
    for (at, paused) in told {
        match (since, paused) {
            (None, true) => since = Some(*at),
            (Some(begin), false) => {
                pauses.push((begin, *at));
                since = None;
            }
            _ => {}
        }
    }
    pauses.extend(since.filter(|begin| *begin < end).map(|begin| (begin, end)));
    pauses
}

struct Judge<'a> {
    /// In order of their capture.
    pictures: &'a [Picture],
    pauses: &'a [(u64, u64)],
    encoded: &'a Encoded,
    window: &'a Window,
}

impl Judge<'_> {
    /// Pictures that were captured in the window.
    fn inside(&self) -> &[Picture] {
        let at = |time| self.pictures.partition_point(|picture| picture.captured_ms < time);
        &self.pictures[at(self.window.start)..at(self.window.end)]
    }

    /// Pictures that were to come, and that came. Who joins within the window is judged from its first picture on.
    fn pictures(&self) -> (u64, u64) {
        let (Window { start, end, .. }, inside) = (self.window, self.inside());
        let tier = Picture::tier;
        let before = self.pictures.iter().rfind(|picture| picture.captured_ms < *start);
        let mut expected = 0;
        let mut last = before.map(|picture| (*start, tier(picture)));
        for picture in inside {
            if let Some((from, of)) = last {
                expected += self.missing(from, picture.captured_ms, of, tier(picture));
            }
            expected += 1;
            last = Some((picture.captured_ms + 1, tier(picture)));
        }
        let (from, of) = last.unwrap_or((*start, Tier::Full));
        (expected + self.missing(from, *end, of, of), inside.len() as u64)
    }

    /// Pictures that a student should have had between two others. Between tiers it is what the poorer one had.
    fn missing(&self, from: u64, to: u64, before: Tier, after: Tier) -> u64 {
        let count = |tier| {
            let paused: u64 =
                self.pauses.iter().map(|(begin, end)| self.encoded.count(tier, from.max(*begin), to.min(*end))).sum();
            self.encoded.count(tier, from, to) - paused
        };
        count(before).min(count(after))
    }

    /// Gaps between shown pictures that stand out, as the W3C defines a freeze: longer than three mean intervals, and
    /// by 150 ms than one.
    fn gaps(&self) -> Vec<Gap> {
        let Window { start, end, .. } = *self.window;
        let mut gaps = Vec::new();
        let mut intervals: Vec<u64> = Vec::new();
        let times = self.pictures.iter().map(|picture| picture.shown_ms.unwrap_or(picture.at_ms));
        // A gap that goes on at the end counts as long as it has lasted.
        let times: Vec<u64> = times.filter(|at| *at < end).chain([end]).collect();
        for two in times.windows(2) {
            let interval = two[1].saturating_sub(two[0]);
            let recent = &intervals[intervals.len().saturating_sub(MEAN_OF)..];
            let mean = recent.iter().sum::<u64>() / (recent.len() as u64).max(1);
            if interval > (3 * mean).max(mean + 150) {
                if two[1] > start {
                    let told = self.pauses.iter().any(|(begin, end)| *begin < two[1] && *end > two[0]);
                    gaps.push(Gap { start: two[0], end: two[1], told });
                }
                // A freeze must not make the next one look usual; the first interval of all tells nothing yet.
                intervals.extend((!recent.is_empty()).then_some(interval.min(3 * mean)));
            } else {
                intervals.push(interval);
            }
        }
        gaps
    }

    /// Milliseconds of full, low and no picture.
    fn tiers(&self) -> [u64; 3] {
        let Window { start, end, .. } = *self.window;
        let mut sums = [0; 3];
        let mut add = |from: u64, to: u64, tier: Option<Tier>| {
            let (begin, time) = (from.max(start), to.min(end));
            let tier = tier.filter(|_| to.saturating_sub(from) <= NONE_AFTER_MS);
            sums[tier.map_or(2, |tier| tier as usize)] += time.saturating_sub(begin);
        };
        let (mut since, mut tier) = (start.min(self.pictures.first().map_or(start, |first| first.at_ms)), None);
        for picture in self.pictures {
            add(since, picture.at_ms, tier);
            (since, tier) = (picture.at_ms.max(since), Some(picture.tier()));
        }
        add(since, end, tier);
        sums
    }

    fn changes(&self) -> Vec<(u64, Tier)> {
        let tiers = self.pictures.iter().map(|picture| (picture.at_ms, picture.tier()));
        let mut changes: Vec<(u64, Tier)> = Vec::new();
        for (at, tier) in tiers.filter(|(at, _)| *at < self.window.end) {
            if changes.last().is_none_or(|(_, before)| *before != tier) {
                changes.push((at.saturating_sub(self.window.start), tier));
            }
        }
        changes
    }

    fn recovery(&self, gaps: &[Gap]) -> Option<u64> {
        let ends = self.window.events.iter().filter(|(_, end)| *end < self.window.end);
        let recoveries = ends.enumerate().map(|(n, (_, end))| {
            let next = self.window.events.get(n + 1).map_or(self.window.end, |(begin, _)| *begin);
            let after = gaps.iter().filter(|gap| gap.end > *end && gap.start < next);
            after.map(|gap| gap.end.min(next).saturating_sub(*end)).max().unwrap_or(0)
        });
        recoveries.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 pictures a second of full and 15 of low for ten seconds from 1000 on.
    fn encoded() -> Encoded {
        let drawn = |encoder: &str, captured_ms| Drawn { encoder: encoder.into(), captured_ms, ..Drawn::default() };
        let full = drawn("screen-encoder", (0..300).map(time).collect());
        let low = drawn("screen-low-encoder", (0..150).map(|n| time(2 * n)).collect());
        let again = Drawn { encoder: "screen-low-vp8-encoder".into(), ..low.clone() };
        Encoded::new(&[full, low, again])
    }

    fn time(n: u64) -> u64 {
        1000 + n * 1000 / 30
    }

    /// Decoded 50 ms after their capture.
    fn sight(numbers: impl Iterator<Item = u64>, width: impl Fn(u64) -> u32) -> Sight {
        let picture = |n| {
            let (captured_ms, at_ms, shown_ms) = (time(n), time(n) + 50, Some(time(n) + 90));
            let of_low = if width(n) == 640 { 1 << 15 } else { 0 };
            Picture { number: n as u16 | of_low, captured_ms, at_ms, shown_ms, width: width(n) }
        };
        Sight { pictures: numbers.map(picture).collect(), ..Sight::default() }
    }

    fn window() -> Window {
        Window { start: 2000, end: 10_000, ..Window::default() }
    }

    fn percent(verdict: &Verdict) -> f64 {
        verdict.decoded as f64 * 100.0 / verdict.expected as f64
    }

    #[test]
    fn who_saw_all_missed_nothing() {
        let verdict = judge(&sight(0..300, |_| 1280), &encoded(), &window());
        assert_eq!((verdict.expected, verdict.decoded), (240, 240));
        assert_eq!((verdict.tier_ms, verdict.gaps.len(), verdict.longest_freeze_ms()), ([8000, 0, 0], 0, 0));
        assert!(verdict.delays_ms.iter().all(|ms| *ms == 50) && verdict.delays_ms.len() == 240);
        assert!(verdict.shown_after_ms.iter().all(|ms| *ms == 90) && verdict.shown_after_ms.len() == 240);
        assert_eq!((verdict.recover_ms, verdict.full_again_ms), (None, None));
        assert_eq!(verdict.changes, [(0, Tier::Full)]);
    }

    #[test]
    fn a_missed_picture_is_missed_wherever_it_is() {
        for missed in [30, 31, 150, 268, 269] {
            let verdict = judge(&sight((0..300).filter(|n| *n != missed), |_| 1280), &encoded(), &window());
            assert_eq!((verdict.expected, verdict.decoded), (240, 239), "{missed}");
        }
        let first_late = judge(&sight(60..300, |_| 1280), &encoded(), &window());
        assert_eq!((first_late.expected, first_late.decoded), (210, 210), "judged from the first picture on");
        let none = judge(&sight(0..0, |_| 1280), &encoded(), &window());
        assert_eq!((none.expected, none.decoded, none.tier_ms), (240, 0, [0, 0, 8000]));
        let ended = judge(&sight(0..150, |_| 1280), &encoded(), &window());
        assert_eq!((ended.expected, ended.decoded), (240, 120));
    }

    #[test]
    fn a_smeared_code_that_looks_well_is_no_picture() {
        let mut sight = sight((0..300).filter(|n| *n != 100), |_| 1280);
        sight.unreadable = 2;
        sight.pictures.push(Picture {
            captured_ms: time(100) + 1,
            at_ms: time(100) + 50,
            width: 1280,
            ..sight.pictures[0]
        });
        let verdict = judge(&sight, &encoded(), &window());
        assert_eq!((verdict.expected, verdict.decoded, verdict.smeared), (240, 239, 3));
    }

    #[test]
    fn a_lower_tier_is_judged_by_its_own_rate() {
        let low = judge(&sight((0..300).filter(|n| n % 2 == 0), |_| 640), &encoded(), &window());
        assert_eq!((low.expected, low.decoded, low.tier_ms), (120, 120, [0, 8000, 0]));
        let switches = sight((0..300).filter(|n| *n < 100 || n % 2 == 0 || *n > 200), |n| match n {
            100..=200 => 640,
            _ => 1280,
        });
        let verdict = judge(&switches, &encoded(), &window());
        assert!((percent(&verdict) - 100.0).abs() < f64::EPSILON, "{verdict:?}");
        let tiers: Vec<Tier> = verdict.changes.iter().map(|(_, tier)| *tier).collect();
        assert_eq!(tiers, [Tier::Full, Tier::Low, Tier::Full]);
        assert_eq!(verdict.tier_ms.iter().sum::<u64>(), 8000);
        assert!(verdict.gaps.is_empty(), "half the rate is no freeze");
    }

    #[test]
    fn an_outage_is_a_freeze_and_its_end_is_found() {
        let outage = sight((0..300).filter(|n| !(150..165).contains(n)), |_| 1280);
        let window = Window { events: vec![(6000, 6500)], restored: Some(6500), ..window() };
        let verdict = judge(&outage, &encoded(), &window);
        let gap = Gap { start: time(149) + 90, end: time(165) + 90, told: false };
        assert_eq!(verdict.gaps, [gap]);
        assert_eq!(verdict.longest_freeze_ms(), gap.end - gap.start);
        assert_eq!((verdict.recover_ms, verdict.full_again_ms), (Some(gap.end - 6500), Some(gap.end - 40 - 6500)));
        assert_eq!((verdict.expected, verdict.decoded), (240, 225));
        let whole = judge(&sight(0..300, |_| 1280), &encoded(), &window);
        assert_eq!(whole.recover_ms, Some(0), "who noticed nothing was whole at once");
        let ended = judge(&sight(0..150, |_| 1280), &encoded(), &window);
        assert_eq!((ended.recover_ms, ended.full_again_ms), (Some(3500), None), "not until the end");
        assert_eq!(ended.tier_ms[2], 10_000 - time(149) - 50);
        let one_picture = judge(&sight(150..151, |_| 1280), &encoded(), &window);
        assert_eq!(one_picture.longest_freeze_ms(), 10_000 - time(150) - 90);
    }

    #[test]
    fn what_the_hub_has_said_is_no_freeze_and_nothing_missed() {
        let mut paused = sight((0..300).filter(|n| !(120..240).contains(n)), |_| 1280);
        paused.paused = vec![(time(120), true), (time(240) - 10, false)];
        let verdict = judge(&paused, &encoded(), &window());
        assert_eq!((verdict.expected, verdict.decoded), (120, 120));
        assert_eq!((verdict.gaps.len(), verdict.longest_freeze_ms()), (1, 0));
        assert!(verdict.tier_ms[2] > 3900, "{verdict:?}");
    }
}
