//! What a student reports to have seen. A report is a claim: no more than the time that has passed is believed. Pure.

use std::time::{Duration, Instant};

use crate::protocol::channel::Viewing;

/// The most freezes in a second: one is longer than 150 ms (`freezeCount` of W3C webrtc-stats).
const FREEZES_PER_SECOND: u32 = 7;

/// How long after its first picture a student is asked, which leaves the start of a page in peace, and how often. A
/// student that is lost takes with it what was not reported.
const FIRST_AFTER: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(15);

/// A report covers times in whole milliseconds, and its journey takes time that changes.
const TOLERANCE: Duration = Duration::from_secs(1);

/// The sum of a student's reports.
#[derive(Debug, Default)]
pub(super) struct Viewed {
    /// The start of the media, or the time of the last report.
    since: Option<Instant>,
    /// When to ask next.
    due: Option<Instant>,
    /// The last report.
    last: Option<Viewing>,
    seen: Duration,
    away: Duration,
    freezes: u32,
}

impl Viewed {
    /// The student starts to receive media.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.last.is_none() {
            self.since = Some(now);
        }
        self.due.get_or_insert(now + FIRST_AFTER);
    }

    /// Whether to ask the student now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = Some(now + EVERY);
        }
        is_due
    }

    /// The student reports.
    pub(super) fn report(&mut self, now: Instant, viewing: Viewing) {
        let passed = now.saturating_duration_since(self.since.replace(now).unwrap_or(now));
        let before = self.last.replace(viewing);
        // Another page or program of the same student counts from 0.
        let grown = |of: fn(Viewing) -> u64| match before.map(of) {
            Some(before) if of(viewing) >= before => of(viewing) - before,
            _ => of(viewing),
        };
        let time = |of: fn(Viewing) -> u64| Duration::from_millis(grown(of)).min(passed + TOLERANCE);
        self.seen += time(|viewing| viewing.seen_ms);
        self.away += time(|viewing| viewing.away_ms);
        let seconds = u32::try_from(passed.as_secs()).unwrap_or(u32::MAX);
        let most = seconds.saturating_add(1).saturating_mul(FREEZES_PER_SECOND);
        let new = u32::try_from(grown(|viewing| viewing.freezes.into())).unwrap_or(u32::MAX);
        self.freezes = self.freezes.saturating_add(new.min(most));
    }

    /// The time in which pictures were decoded; `None` without a report.
    pub(super) fn seen(&self) -> Option<Duration> {
        self.last.map(|_| self.seen)
    }

    /// The time in which the page was hidden; `None` without a report.
    pub(super) fn away(&self) -> Option<Duration> {
        self.last.map(|_| self.away)
    }

    /// How often the picture stood still; `None` without a report.
    pub(super) fn freezes(&self) -> Option<u32> {
        self.last.map(|_| self.freezes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewing(seen_ms: u64, away_ms: u64, freezes: u32) -> Viewing {
        Viewing { seen_ms, away_ms, freezes }
    }

    #[test]
    fn reports_add_up_across_pages_and_connections() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut viewed = Viewed::default();
        viewed.begin(at(0));
        assert_eq!((viewed.seen(), viewed.away(), viewed.freezes()), (None, None, None));
        viewed.report(at(20), viewing(18_000, 0, 1));
        viewed.report(at(40), viewing(30_000, 5_000, 1));
        assert_eq!(viewed.seen(), Some(Duration::from_secs(30)));
        // A reload, with a count of its own.
        viewed.begin(at(45));
        viewed.report(at(60), viewing(15_000, 1_000, 2));
        assert_eq!((viewed.seen(), viewed.away()), (Some(Duration::from_secs(45)), Some(Duration::from_secs(6))));
        assert_eq!(viewed.freezes(), Some(2), "one, and the two of the new page are one more than before");
    }

    #[test]
    fn a_student_is_asked_several_times_a_minute() {
        let start = Instant::now();
        let mut viewed = Viewed::default();
        viewed.begin(start);
        let asked: Vec<u64> = (0..60).filter(|second| viewed.is_due(start + Duration::from_secs(*second))).collect();
        assert_eq!(asked, [10, 25, 40, 55]);
    }

    #[test]
    fn nobody_has_seen_more_than_the_time_that_has_passed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut viewed = Viewed::default();
        viewed.begin(at(0));
        for second in 1..=5 {
            viewed.report(at(second), viewing(u64::MAX / 2 * (second % 2), 3_600_000 * second, u32::MAX));
        }
        assert!(viewed.seen() <= Some(Duration::from_secs(10)), "{viewed:?}");
        assert!(viewed.away() <= Some(Duration::from_secs(10)), "{viewed:?}");
        assert!(viewed.freezes() <= Some(14 * 5), "{viewed:?}");
    }
}
