//! How often and how long a picture stood still, as W3C's webrtc-stats defines `freezeCount` and
//! `totalFreezesDuration`; and, apart from that, how long there was none because the publisher withheld it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Intervals that the average is of.
const WINDOW: usize = 30;

/// The threshold by which a freeze is longer than the average interval.
const MIN_EXCESS: Duration = Duration::from_millis(150);

/// The freezes of a picture.
#[derive(Debug, Default)]
pub(in crate::media) struct FreezeDetector {
    intervals: VecDeque<Duration>,
    sum: Duration,
    last: Option<Instant>,
    /// The newest that is over: its beginning and its end.
    newest: Option<(Instant, Instant)>,
    /// Those that are over.
    pub(in crate::media) count: u64,
    /// The time in those that are over.
    pub(in crate::media) total: Duration,
    /// Times that the publisher withheld the picture, those that are over.
    withholdings: u64,
    /// The time in those that are over, each up to the next picture.
    withheld: Duration,
    withholding: Option<Withholding>,
}

/// The publisher withholds the picture, after there was one.
#[derive(Debug, Clone, Copy)]
struct Withholding {
    since: Instant,
    /// The picture stood still before: that freeze was counted, and goes on.
    follows_a_freeze: bool,
}

/// How often and how long the publisher withheld the picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::media) struct Withheld {
    pub(in crate::media) count: u64,
    pub(in crate::media) total: Duration,
}

impl FreezeDetector {
    /// A picture was frame_shown.
    pub(in crate::media) fn frame_shown(&mut self, now: Instant) {
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

    /// Pictures come with longer intervals from now on, such as this one, because the publisher has plan so: the
    /// first of them are no freezes.
    pub(in crate::media) fn expect_interval(&mut self, interval: Duration) {
        self.intervals = VecDeque::from([interval]);
        self.sum = interval;
    }

    /// How long the picture stands still by now, if it is a freeze.
    pub(in crate::media) fn frozen(&self, now: Instant) -> Option<Duration> {
        let interval = now.saturating_duration_since(self.last?);
        (interval >= self.threshold()?).then_some(interval)
    }

    /// The publisher sends no picture from now on. The time to the next one is withheld, and no freeze of the network.
    pub(in crate::media) fn pause(&mut self, now: Instant) {
        let frozen = self.frozen(now);
        // What stood still before is one.
        self.end(now);
        if let Some(last) = self.last.take() {
            let since = if frozen.is_some() { now } else { last };
            self.withholding = Some(Withholding { since, follows_a_freeze: frozen.is_some() });
        }
    }

    /// The lecture is over for now: the picture that still stands is no freeze, and nobody withholds it.
    pub(in crate::media) fn expect_nothing(&mut self, now: Instant) {
        Withheld { count: self.withholdings, total: self.withheld } = self.withheld(now);
        (self.withholding, self.last) = (None, None);
    }

    /// This process stood still from one time to another: the picture's standing still was its own, whether the next
    /// picture has been seen already or not.
    pub(in crate::media) fn note_suspension(&mut self, from: Instant, to: Instant) {
        if let Some((began, ended)) = self.newest.filter(|(began, ended)| *began < to && *ended > from) {
            self.count -= 1;
            self.total -= ended - began;
            self.newest = None;
        }
        self.last = self.last.filter(|last| *last > to);
    }

    /// If the picture stands still, that is over now.
    fn end(&mut self, now: Instant) {
        if let Some((frozen, last)) = self.frozen(now).zip(self.last) {
            self.count += 1;
            self.total += frozen;
            self.newest = Some((last, now));
        }
    }

    /// Whether the publisher withholds the picture now, after there was one.
    pub(in crate::media) fn is_withheld(&self) -> bool {
        self.withholding.is_some()
    }

    /// What was withheld until now, from the first picture on.
    pub(in crate::media) fn withheld(&self, now: Instant) -> Withheld {
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

    /// The shortest interval that stands out of those before.
    fn threshold(&self) -> Option<Duration> {
        let average = self.sum.checked_div(self.intervals.len().try_into().ok()?)?;
        Some((average * 3).max(average + MIN_EXCESS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows pictures with these intervals in milliseconds.
    fn show(freezes: &mut FreezeDetector, now: &mut Instant, intervals: impl IntoIterator<Item = u64>) {
        for interval in intervals {
            *now += Duration::from_millis(interval);
            freezes.frame_shown(*now);
        }
    }

    #[test]
    fn a_freeze_is_an_interval_that_stands_out() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        show(&mut freezes, &mut now, [33; 60].into_iter().chain([182]));
        assert_eq!(freezes.count, 0);
        show(&mut freezes, &mut now, [33; 30].into_iter().chain([183]));
        assert_eq!((freezes.count, freezes.total), (1, Duration::from_millis(183)));
        // Of slow pictures the threefold counts.
        show(&mut freezes, &mut now, [200; 40]);
        assert_eq!(freezes.count, 4, "until the average has grown");
        show(&mut freezes, &mut now, [599, 200]);
        assert_eq!(freezes.count, 4);
        show(&mut freezes, &mut now, [700]);
        assert_eq!(freezes.count, 5);
    }

    #[test]
    fn the_time_between_two_lectures_is_no_freeze() {
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
    fn standing_still_with_the_whole_process_is_no_freeze() {
        let (mut freezes, mut now) = (FreezeDetector::default(), Instant::now());
        show(&mut freezes, &mut now, [33; 60]);
        let (from, to) = (now + Duration::from_millis(10), now + Duration::from_millis(3_010));
        // Noticed before the next picture.
        freezes.note_suspension(from, to);
        assert_eq!(freezes.frozen(to), None);
        now = to;
        show(&mut freezes, &mut now, [400, 33]);
        assert_eq!(freezes.count, 0, "the picture begins anew");
        // Noticed after it.
        show(&mut freezes, &mut now, [33, 3_000, 33]);
        assert_eq!((freezes.count, freezes.total), (1, Duration::from_secs(3)));
        let ended = now - Duration::from_millis(33);
        freezes.note_suspension(ended - Duration::from_millis(2_990), ended - Duration::from_millis(1));
        assert_eq!((freezes.count, freezes.total), (0, Duration::ZERO));
        // Another one stays.
        show(&mut freezes, &mut now, [[33; 60].as_slice(), &[900, 33, 33]].concat());
        freezes.note_suspension(now + Duration::from_secs(1), now + Duration::from_secs(2));
        assert_eq!(freezes.count, 1);
    }

    #[test]
    fn fewer_pictures_that_were_announced_are_no_freezes() {
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
    fn one_that_goes_on_is_known_and_a_pause_is_none() {
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
    fn a_picture_that_is_withheld_is_known_from_the_last_one_to_the_next() {
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
        // One time without a picture, first because of the network: counted once.
        freezes.pause(now + Duration::from_secs(1));
        show(&mut freezes, &mut now, [3_000]);
        assert_eq!((freezes.withheld(now), freezes.count), (withheld(1, 10_000), 1));
        assert_eq!(freezes.total, Duration::from_secs(1));
    }
}
