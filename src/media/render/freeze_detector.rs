//! Freezes of a video track, by the definition of `freezeCount` and `totalFreezesDuration` in W3C's webrtc-stats.
//! Counts pauses by the publisher separately.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The number of intervals in the mean.
const WINDOW: usize = 30;

/// A freeze exceeds the mean interval by at least this.
const MIN_EXCESS: Duration = Duration::from_millis(150);

/// The mean interval before the second frame: the low tier of text has one picture a second at least. A picture that
/// stands still from the first frame on is a freeze too, which W3C's definition omits.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// The freezes and pauses of a video track.
#[derive(Debug, Default)]
pub(super) struct FreezeDetector {
    intervals: VecDeque<Duration>,
    sum: Duration,
    last: Option<Instant>,
    /// The start and end of the last freeze.
    newest: Option<(Instant, Instant)>,
    /// Completed freezes.
    pub(super) count: u64,
    /// The time in completed freezes.
    pub(super) total: Duration,
    /// Completed pauses by the publisher.
    withholdings: u64,
    /// The time in completed pauses, each up to the next frame.
    withheld: Duration,
    withholding: Option<Withholding>,
}

/// A pause by the publisher, after at least one frame.
#[derive(Debug, Clone, Copy)]
struct Withholding {
    since: Instant,
    /// The pause follows a freeze, which counts already. The pause does not count as another interruption.
    follows_a_freeze: bool,
}

/// The number and total time of pauses by the publisher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Withheld {
    pub(super) count: u64,
    pub(super) total: Duration,
}

impl FreezeDetector {
    /// Notes that a frame was shown.
    pub(super) fn frame_shown(&mut self, now: Instant) {
        Withheld { count: self.withholdings, total: self.withheld } = self.withheld(now);
        self.withholding = None;
        self.end(now);
        if let Some(last) = self.last.replace(now) {
            let interval = now.saturating_duration_since(last);
            self.sum += interval;
            self.intervals.push_back(interval);
            if self.intervals.len() > WINDOW {
                self.sum -= self.intervals.pop_front().unwrap_or_default();
            }
        }
    }

    /// Notes that the publisher sends frames with this longer interval from now on: the first of them are no freezes.
    pub(super) fn expect_interval(&mut self, interval: Duration) {
        self.intervals = VecDeque::from([interval]);
        self.sum = interval;
    }

    /// The duration of the current freeze.
    pub(super) fn frozen(&self, now: Instant) -> Option<Duration> {
        let interval = now.saturating_duration_since(self.last?);
        (interval >= self.threshold().unwrap_or_else(|| threshold(FIRST_INTERVAL))).then_some(interval)
    }

    /// Notes that the publisher pauses the video. The time up to the next frame is not a freeze.
    pub(super) fn pause(&mut self, now: Instant) {
        let frozen = self.frozen(now);
        // A freeze before the pause counts.
        self.end(now);
        if let Some(last) = self.last.take() {
            let since = if frozen.is_some() { now } else { last };
            self.withholding = Some(Withholding { since, follows_a_freeze: frozen.is_some() });
        }
    }

    /// Notes that the lecture is over for now: neither a freeze nor a pause.
    pub(super) fn expect_nothing(&mut self, now: Instant) {
        Withheld { count: self.withholdings, total: self.withheld } = self.withheld(now);
        (self.withholding, self.last) = (None, None);
    }

    /// Notes that this process was suspended. A freeze of that time does not count, whether the next frame has come
    /// already or not.
    pub(super) fn note_suspension(&mut self, from: Instant, to: Instant) {
        if let Some((began, ended)) = self.newest.filter(|(began, ended)| *began < to && *ended > from) {
            self.count -= 1;
            self.total -= ended - began;
            self.newest = None;
        }
        self.last = self.last.filter(|last| *last > to);
    }

    /// Ends the current freeze, if there is one.
    fn end(&mut self, now: Instant) {
        if let Some((frozen, last)) = self.frozen(now).zip(self.last) {
            self.count += 1;
            self.total += frozen;
            self.newest = Some((last, now));
        }
    }

    /// Whether the publisher pauses the video now, after at least one frame.
    pub(super) fn is_withheld(&self) -> bool {
        self.withholding.is_some()
    }

    /// The pauses so far, including the current one.
    pub(super) fn withheld(&self, now: Instant) -> Withheld {
        let mut sum = Withheld { count: self.withholdings, total: self.withheld };
        if let Some(Withholding { since, follows_a_freeze }) = self.withholding {
            let time = now.saturating_duration_since(since);
            if follows_a_freeze || time >= self.threshold().unwrap_or(MIN_EXCESS) {
                sum.count += u64::from(!follows_a_freeze);
                sum.total += time;
            }
        }
        sum
    }

    /// The shortest interval that is a freeze, once an interval is known.
    fn threshold(&self) -> Option<Duration> {
        self.sum.checked_div(self.intervals.len().try_into().ok()?).map(threshold)
    }
}

/// The shortest interval that is a freeze at this mean interval.
fn threshold(average: Duration) -> Duration {
    (average * 3).max(average + MIN_EXCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows frames with these intervals in milliseconds.
    fn show(freezes: &mut FreezeDetector, now: &mut Instant, intervals: impl IntoIterator<Item = u64>) {
        for interval in intervals {
            *now += Duration::from_millis(interval);
            freezes.frame_shown(*now);
        }
    }

    #[test]
    fn a_freeze_is_an_interval_far_above_the_mean() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        show(&mut freezes, &mut now, [33; 60].into_iter().chain([182]));
        assert_eq!(freezes.count, 0);
        show(&mut freezes, &mut now, [33; 30].into_iter().chain([183]));
        assert_eq!((freezes.count, freezes.total), (1, Duration::from_millis(183)));
        // For slow video, three times the mean counts.
        show(&mut freezes, &mut now, [200; 40]);
        assert_eq!(freezes.count, 4, "until the average has grown");
        show(&mut freezes, &mut now, [599, 200]);
        assert_eq!(freezes.count, 4);
        show(&mut freezes, &mut now, [700]);
        assert_eq!(freezes.count, 5);
    }

    #[test]
    fn a_picture_that_stands_still_from_the_first_frame_on_is_a_freeze() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        show(&mut freezes, &mut now, [0]);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(freezes.frozen(after(2)), None, "a tier with a picture a second");
        assert_eq!(freezes.frozen(after(30)), Some(Duration::from_secs(30)));
        show(&mut freezes, &mut now, [30_000]);
        assert_eq!((freezes.count, freezes.total), (1, Duration::from_secs(30)));
    }

    #[test]
    fn the_time_between_lectures_is_no_freeze() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        show(&mut freezes, &mut now, [33; 60]);
        freezes.expect_nothing(now);
        freezes.pause(now);
        now += Duration::from_secs(60);
        assert_eq!((freezes.frozen(now), freezes.withheld(now)), (None, Withheld::default()));
        show(&mut freezes, &mut now, [33; 60]);
        assert_eq!((freezes.count, freezes.withheld(now)), (0, Withheld::default()));
    }

    #[test]
    fn a_suspended_process_has_no_freeze() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        show(&mut freezes, &mut now, [33; 60]);
        let (from, to) = (now + Duration::from_millis(10), now + Duration::from_millis(3_010));
        // Noted before the next frame.
        freezes.note_suspension(from, to);
        assert_eq!(freezes.frozen(to), None);
        now = to;
        show(&mut freezes, &mut now, [400, 33]);
        assert_eq!(freezes.count, 0, "the picture begins anew");
        // Noted after the next frame.
        show(&mut freezes, &mut now, [33, 3_000, 33]);
        assert_eq!((freezes.count, freezes.total), (1, Duration::from_secs(3)));
        let ended = now - Duration::from_millis(33);
        freezes.note_suspension(ended - Duration::from_millis(2_990), ended - Duration::from_millis(1));
        assert_eq!((freezes.count, freezes.total), (0, Duration::ZERO));
        // Other freezes stay.
        show(&mut freezes, &mut now, [[33; 60].as_slice(), &[900, 33, 33]].concat());
        freezes.note_suspension(now + Duration::from_secs(1), now + Duration::from_secs(2));
        assert_eq!(freezes.count, 1);
    }

    #[test]
    fn an_announced_lower_frame_rate_is_no_freeze() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        show(&mut freezes, &mut now, [33; 60]);
        freezes.expect_interval(Duration::from_millis(200));
        show(&mut freezes, &mut now, [200; 40]);
        assert_eq!(freezes.count, 0);
        freezes.expect_interval(Duration::from_millis(200));
        show(&mut freezes, &mut now, [700]);
        assert_eq!(freezes.count, 1, "the key frame of the other tier was late");
    }

    #[test]
    fn a_current_freeze_is_known_and_a_pause_is_no_freeze() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        assert_eq!(freezes.frozen(now), None);
        show(&mut freezes, &mut now, [33; 60]);
        let later = now + Duration::from_secs(3);
        assert_eq!(freezes.frozen(now + Duration::from_millis(40)), None);
        assert_eq!(freezes.frozen(later), Some(Duration::from_secs(3)));
        freezes.pause(now + Duration::from_millis(40));
        assert_eq!((freezes.frozen(later), freezes.count), (None, 0));
        now = later;
        show(&mut freezes, &mut now, [33; 5]);
        assert_eq!(freezes.count, 0);
        freezes.pause(now + Duration::from_secs(1));
        freezes.pause(now + Duration::from_secs(2));
        assert_eq!((freezes.count, freezes.total), (1, Duration::from_secs(1)));
    }

    #[test]
    fn a_pause_lasts_from_the_last_frame_to_the_next() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        let withheld = |count, ms| Withheld { count, total: Duration::from_millis(ms) };
        freezes.pause(now);
        assert_eq!(freezes.withheld(now + Duration::from_secs(9)), withheld(0, 0), "before the first picture");
        show(&mut freezes, &mut now, [33; 60]);
        freezes.pause(now + Duration::from_millis(20));
        assert_eq!(freezes.withheld(now + Duration::from_millis(100)), withheld(0, 0), "nobody sees so little");
        assert_eq!(freezes.withheld(now + Duration::from_secs(8)), withheld(1, 8_000), "it goes on");
        show(&mut freezes, &mut now, [8_000, 33]);
        assert_eq!((freezes.withheld(now), freezes.count), (withheld(1, 8_000), 0));
        // A freeze that becomes a pause counts once.
        freezes.pause(now + Duration::from_secs(1));
        show(&mut freezes, &mut now, [3_000]);
        assert_eq!((freezes.withheld(now), freezes.count), (withheld(1, 10_000), 1));
        assert_eq!(freezes.total, Duration::from_secs(1));
    }
}
