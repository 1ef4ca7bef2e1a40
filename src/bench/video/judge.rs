//! The losses of a student: compares its decoded frames with the encoded frames. Does no I/O.

use crate::bench::codes::EncodedFrames;
use crate::bench::wire::{SeenFrame, Sight};
use crate::rtp::Tier;

/// After this long without a frame there is no video.
const NONE_AFTER_MS: u64 = 1000;

/// A freeze is relative to the mean of this many intervals (W3C webrtc-stats, `freezeCount`).
const MEAN_OF: usize = 30;

/// Capture times of the frames of each tier, sorted.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    tiers: [Vec<u64>; 2],
}

impl Encoded {
    /// Sorts the frames passed to the encoders.
    pub(super) fn new(encoders: &[EncodedFrames]) -> Self {
        let mut encoded = Self::default();
        for frames in encoders {
            encoded.tiers[frames.tier() as usize].extend(&frames.captured_ms);
        }
        for times in &mut encoded.tiers {
            times.sort_unstable();
            // Another codec of the same tier encodes the same frames.
            times.dedup();
        }
        encoded
    }

    fn has(&self, frame: &SeenFrame) -> bool {
        self.tiers[frame.tier() as usize].binary_search(&frame.captured_ms).is_ok()
    }

    /// The number of frames of a tier captured from `from` on and before `to`.
    fn count(&self, tier: Tier, from: u64, to: u64) -> u64 {
        let times = &self.tiers[tier as usize];
        let before = |time| times.partition_point(|captured| *captured < time) as u64;
        before(to).saturating_sub(before(from))
    }
}

/// The period that is judged, in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Periods of network faults, in order.
    pub(super) events: Vec<(u64, u64)>,
    /// When the rate limit ended.
    pub(super) restored: Option<u64>,
}

/// A freeze: an unusually long gap between frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Whether the SFU had announced a pause.
    pub(super) announced: bool,
}

/// The result for one student.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Verdict {
    /// Frames that should have arrived, and frames that did.
    pub(super) expected: u64,
    pub(super) decoded: u64,
    /// Decoded frames whose code could not be read.
    pub(super) unreadable: u64,
    /// The time with video of the full tier, with video of the low tier, and without video.
    pub(super) tier_ms: [u64; 3],
    /// Tier changes, with times relative to the start.
    pub(super) changes: Vec<(u64, Tier)>,
    pub(super) gaps: Vec<Gap>,
    /// From the end of an event to the end of the last gap after it; the maximum over all events. 0 without a gap.
    pub(super) recover_ms: Option<u64>,
    /// From the end of the rate limit to the first frame of the full tier.
    pub(super) full_again_ms: Option<u64>,
    /// For each frame: from capture to decoding, and to display by a sink that keeps time.
    pub(super) delays_ms: Vec<u32>,
    pub(super) shown_after_ms: Vec<u32>,
}

impl Verdict {
    pub(super) fn longest_freeze_ms(&self) -> u64 {
        self.gaps.iter().filter(|gap| !gap.announced).map(|gap| gap.end - gap.start).max().unwrap_or(0)
    }
}

/// Judges a student.
pub(super) fn judge(sight: &Sight, encoded: &Encoded, window: &Window) -> Verdict {
    let mut frames = sight.frames.clone();
    // One of 256 unreadable codes has a valid CRC, but its time matches no frame.
    frames.retain(|frame| encoded.has(frame));
    let unreadable = sight.unreadable + (sight.frames.len() - frames.len()) as u64;
    frames.sort_unstable_by_key(|frame| frame.captured_ms);
    frames.dedup_by_key(|frame| frame.captured_ms);
    let judge = Judge { frames: &frames, pauses: &pauses(&sight.paused, window.end), encoded, window };
    let (expected, decoded) = judge.frames();
    let gaps = judge.gaps();
    let inside = judge.inside();
    Verdict {
        expected,
        decoded,
        unreadable,
        tier_ms: judge.tiers(),
        changes: judge.changes(),
        recover_ms: judge.recovery(&gaps),
        full_again_ms: window.restored.and_then(|at| {
            let full = frames.iter().find(|frame| frame.decoded_ms >= at && frame.tier() == Tier::Full)?;
            Some(full.decoded_ms - at)
        }),
        delays_ms: inside.iter().map(|frame| frame.decoded_ms.saturating_sub(frame.captured_ms) as u32).collect(),
        shown_after_ms: inside.iter().filter_map(|p| Some(p.shown_ms?.saturating_sub(p.captured_ms) as u32)).collect(),
        gaps,
    }
}

/// The pauses that the SFU had announced, with start and end.
fn pauses(announced: &[(u64, bool)], end: u64) -> Vec<(u64, u64)> {
    let mut pauses: Vec<(u64, u64)> = Vec::new();
    let mut since = None;
    for (at, paused) in announced {
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
    /// In order of capture.
    frames: &'a [SeenFrame],
    pauses: &'a [(u64, u64)],
    encoded: &'a Encoded,
    window: &'a Window,
}

impl Judge<'_> {
    /// The frames captured in the window.
    fn inside(&self) -> &[SeenFrame] {
        let at = |time| self.frames.partition_point(|frame| frame.captured_ms < time);
        &self.frames[at(self.window.start)..at(self.window.end)]
    }

    /// Frames that should have arrived, and frames that did. A student that joins in the window is judged from its
    /// first frame on.
    fn frames(&self) -> (u64, u64) {
        let (Window { start, end, .. }, inside) = (self.window, self.inside());
        let tier = SeenFrame::tier;
        let before = self.frames.iter().rfind(|frame| frame.captured_ms < *start);
        let mut expected = 0;
        let mut last = before.map(|frame| (*start, tier(frame)));
        for frame in inside {
            if let Some((from, of)) = last {
                expected += self.missing(from, frame.captured_ms, of, tier(frame));
            }
            expected += 1;
            last = Some((frame.captured_ms + 1, tier(frame)));
        }
        let (from, of) = last.unwrap_or((*start, Tier::Full));
        (expected + self.missing(from, *end, of, of), inside.len() as u64)
    }

    /// Frames that a student should have received between two others. At a tier change, the tier with fewer frames
    /// counts.
    fn missing(&self, from: u64, to: u64, before: Tier, after: Tier) -> u64 {
        let count = |tier| {
            let paused: u64 =
                self.pauses.iter().map(|(begin, end)| self.encoded.count(tier, from.max(*begin), to.min(*end))).sum();
            self.encoded.count(tier, from, to) - paused
        };
        count(before).min(count(after))
    }

    /// Gaps between shown frames that are freezes by the W3C's definition: longer than three mean intervals, and longer
    /// than one mean interval plus 150 ms.
    fn gaps(&self) -> Vec<Gap> {
        let Window { start, end, .. } = *self.window;
        let mut gaps = Vec::new();
        let mut intervals: Vec<u64> = Vec::new();
        let times = self.frames.iter().map(|frame| frame.shown_ms.unwrap_or(frame.decoded_ms));
        // A gap that lasts until the end also counts.
        let times: Vec<u64> = times.filter(|at| *at < end).chain([end]).collect();
        for two in times.windows(2) {
            let interval = two[1].saturating_sub(two[0]);
            let recent = &intervals[intervals.len().saturating_sub(MEAN_OF)..];
            let mean = recent.iter().sum::<u64>() / (recent.len() as u64).max(1);
            if interval > (3 * mean).max(mean + 150) {
                if two[1] > start {
                    let announced = self.pauses.iter().any(|(begin, end)| *begin < two[1] && *end > two[0]);
                    gaps.push(Gap { start: two[0], end: two[1], announced });
                }
                // A freeze must not hide the next one, and the very first interval gives no information.
                intervals.extend((!recent.is_empty()).then_some(interval.min(3 * mean)));
            } else {
                intervals.push(interval);
            }
        }
        gaps
    }

    /// Milliseconds of full, low and no video.
    fn tiers(&self) -> [u64; 3] {
        let Window { start, end, .. } = *self.window;
        let mut sums = [0; 3];
        let mut add = |from: u64, to: u64, tier: Option<Tier>| {
            let (begin, time) = (from.max(start), to.min(end));
            let tier = tier.filter(|_| to.saturating_sub(from) <= NONE_AFTER_MS);
            sums[tier.map_or(2, |tier| tier as usize)] += time.saturating_sub(begin);
        };
        let (mut since, mut tier) = (start.min(self.frames.first().map_or(start, |first| first.decoded_ms)), None);
        for frame in self.frames {
            add(since, frame.decoded_ms, tier);
            (since, tier) = (frame.decoded_ms.max(since), Some(frame.tier()));
        }
        add(since, end, tier);
        sums
    }

    fn changes(&self) -> Vec<(u64, Tier)> {
        let tiers = self.frames.iter().map(|frame| (frame.decoded_ms, frame.tier()));
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

    /// 30 frames per second of the full tier and 15 of the low tier, for ten seconds from 1000 on.
    fn encoded() -> Encoded {
        let frames = |encoder: &str, captured_ms| EncodedFrames {
            encoder: encoder.into(),
            captured_ms,
            ..EncodedFrames::default()
        };
        let full = frames("screen-encoder", (0..300).map(time).collect());
        let low = frames("screen-low-encoder", (0..150).map(|n| time(2 * n)).collect());
        let again = EncodedFrames { encoder: "screen-low-vp8-encoder".into(), ..low.clone() };
        Encoded::new(&[full, low, again])
    }

    fn time(n: u64) -> u64 {
        1000 + n * 1000 / 30
    }

    /// Frames decoded 50 ms after their capture.
    fn sight(numbers: impl Iterator<Item = u64>, width: impl Fn(u64) -> u32) -> Sight {
        let frame = |n| {
            let (captured_ms, decoded_ms, shown_ms) = (time(n), time(n) + 50, Some(time(n) + 90));
            let low_tier = if width(n) == 640 { 1 << 15 } else { 0 };
            SeenFrame { number: n as u16 | low_tier, captured_ms, decoded_ms, shown_ms, width: width(n) }
        };
        Sight { frames: numbers.map(frame).collect(), ..Sight::default() }
    }

    fn window() -> Window {
        Window { start: 2000, end: 10_000, ..Window::default() }
    }

    fn percent(verdict: &Verdict) -> f64 {
        verdict.decoded as f64 * 100.0 / verdict.expected as f64
    }

    #[test]
    fn a_student_that_decoded_everything_missed_nothing() {
        let verdict = judge(&sight(0..300, |_| 1280), &encoded(), &window());
        assert_eq!((verdict.expected, verdict.decoded), (240, 240));
        assert_eq!((verdict.tier_ms, verdict.gaps.len(), verdict.longest_freeze_ms()), ([8000, 0, 0], 0, 0));
        assert!(verdict.delays_ms.iter().all(|ms| *ms == 50) && verdict.delays_ms.len() == 240);
        assert!(verdict.shown_after_ms.iter().all(|ms| *ms == 90) && verdict.shown_after_ms.len() == 240);
        assert_eq!((verdict.recover_ms, verdict.full_again_ms), (None, None));
        assert_eq!(verdict.changes, [(0, Tier::Full)]);
    }

    #[test]
    fn a_missing_frame_is_detected_at_every_position() {
        for missed in [30, 31, 150, 268, 269] {
            let verdict = judge(&sight((0..300).filter(|n| *n != missed), |_| 1280), &encoded(), &window());
            assert_eq!((verdict.expected, verdict.decoded), (240, 239), "{missed}");
        }
        let first_late = judge(&sight(60..300, |_| 1280), &encoded(), &window());
        assert_eq!((first_late.expected, first_late.decoded), (210, 210), "judged from the first frame on");
        let none = judge(&sight(0..0, |_| 1280), &encoded(), &window());
        assert_eq!((none.expected, none.decoded, none.tier_ms), (240, 0, [0, 0, 8000]));
        let ended = judge(&sight(0..150, |_| 1280), &encoded(), &window());
        assert_eq!((ended.expected, ended.decoded), (240, 120));
    }

    #[test]
    fn an_unreadable_code_with_a_valid_crc_is_not_a_frame() {
        let mut sight = sight((0..300).filter(|n| *n != 100), |_| 1280);
        sight.unreadable = 2;
        let (captured_ms, decoded_ms) = (time(100) + 1, time(100) + 50);
        sight.frames.push(SeenFrame { captured_ms, decoded_ms, ..sight.frames[0] });
        let verdict = judge(&sight, &encoded(), &window());
        assert_eq!((verdict.expected, verdict.decoded, verdict.unreadable), (240, 239, 3));
    }

    #[test]
    fn the_low_tier_is_judged_by_its_own_rate() {
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
        assert!(verdict.gaps.is_empty(), "half the frame rate is no freeze");
    }

    #[test]
    fn an_outage_is_a_freeze_with_a_known_end() {
        let outage = sight((0..300).filter(|n| !(150..165).contains(n)), |_| 1280);
        let window = Window { events: vec![(6000, 6500)], restored: Some(6500), ..window() };
        let verdict = judge(&outage, &encoded(), &window);
        let gap = Gap { start: time(149) + 90, end: time(165) + 90, announced: false };
        assert_eq!(verdict.gaps, [gap]);
        assert_eq!(verdict.longest_freeze_ms(), gap.end - gap.start);
        assert_eq!((verdict.recover_ms, verdict.full_again_ms), (Some(gap.end - 6500), Some(gap.end - 40 - 6500)));
        assert_eq!((verdict.expected, verdict.decoded), (240, 225));
        let whole = judge(&sight(0..300, |_| 1280), &encoded(), &window);
        assert_eq!(whole.recover_ms, Some(0), "nothing was missing");
        let ended = judge(&sight(0..150, |_| 1280), &encoded(), &window);
        assert_eq!((ended.recover_ms, ended.full_again_ms), (Some(3500), None), "not until the end");
        assert_eq!(ended.tier_ms[2], 10_000 - time(149) - 50);
        let one_frame = judge(&sight(150..151, |_| 1280), &encoded(), &window);
        assert_eq!(one_frame.longest_freeze_ms(), 10_000 - time(150) - 90);
    }

    #[test]
    fn an_announced_pause_is_neither_a_freeze_nor_a_loss() {
        let mut paused = sight((0..300).filter(|n| !(120..240).contains(n)), |_| 1280);
        paused.paused = vec![(time(120), true), (time(240) - 10, false)];
        let verdict = judge(&paused, &encoded(), &window());
        assert_eq!((verdict.expected, verdict.decoded), (120, 120));
        assert_eq!((verdict.gaps.len(), verdict.longest_freeze_ms()), (1, 0));
        assert!(verdict.tier_ms[2] > 3900, "{verdict:?}");
    }
}
