//! How often and how long a picture stood still, as W3C's webrtc-stats defines `freezeCount` and
//! `totalFreezesDuration`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Intervals that the average is of.
const INTERVALS: usize = 30;

/// The least by which a freeze is longer than the average interval.
const LONGER: Duration = Duration::from_millis(150);

/// The freezes of a picture.
#[derive(Debug, Default)]
pub(super) struct Freezes {
    intervals: VecDeque<Duration>,
    sum: Duration,
    last: Option<Instant>,
    /// Those that are over.
    pub(super) count: u64,
    /// The time in those that are over.
    pub(super) total: Duration,
}

impl Freezes {
    /// A picture was shown.
    pub(super) fn shown(&mut self, now: Instant) {
        if let Some(frozen) = self.frozen(now) {
            self.count += 1;
            self.total += frozen;
        }
        if let Some(last) = self.last.replace(now) {
            let interval = now.saturating_duration_since(last);
            self.sum += interval;
            self.intervals.push_back(interval);
            if self.intervals.len() > INTERVALS {
                self.sum -= self.intervals.pop_front().unwrap_or_default();
            }
        }
    }

    /// Pictures come with longer intervals from now on, such as this one, because the publisher has chosen so: the first
    /// of them are no freezes.
    pub(super) fn slow_down(&mut self, interval: Duration) {
        self.intervals = VecDeque::from([interval]);
        self.sum = interval;
    }

    /// How long the picture stands still by now, if it is a freeze.
    pub(super) fn frozen(&self, now: Instant) -> Option<Duration> {
        let interval = now.saturating_duration_since(self.last?);
        let average = self.sum.checked_div(self.intervals.len().try_into().ok()?)?;
        (interval >= (average * 3).max(average + LONGER)).then_some(interval)
    }

    /// No picture is expected before the next one comes: that is no freeze.
    pub(super) fn pause(&mut self, now: Instant) {
        // What stood still before is one.
        if let Some(frozen) = self.frozen(now) {
            self.count += 1;
            self.total += frozen;
        }
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows pictures with these intervals in milliseconds.
    fn show(freezes: &mut Freezes, now: &mut Instant, intervals: impl IntoIterator<Item = u64>) {
        for interval in intervals {
            *now += Duration::from_millis(interval);
            freezes.shown(*now);
        }
    }

    #[test]
    fn a_freeze_is_an_interval_that_stands_out() {
        let (mut freezes, mut now) = (Freezes::default(), Instant::now());
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
    fn fewer_pictures_that_were_announced_are_no_freezes() {
        let (mut freezes, mut now) = (Freezes::default(), Instant::now());
        show(&mut freezes, &mut now, [33; 60]);
        freezes.slow_down(Duration::from_millis(200));
        show(&mut freezes, &mut now, [200; 40]);
        assert_eq!(freezes.count, 0);
        freezes.slow_down(Duration::from_millis(200));
        show(&mut freezes, &mut now, [700]);
        assert_eq!(freezes.count, 1, "the key frame of the other tier was late");
    }

    #[test]
    fn one_that_goes_on_is_known_and_a_pause_is_none() {
        let (mut freezes, mut now) = (Freezes::default(), Instant::now());
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
}
