//! Trouble that many peers have at the same time: its cause is the sender or a link they share.
//!
//! Hundreds of links do not fail within half a second, so no peer loses layers at once for such trouble. If it lasts,
//! the sender's own link may be too narrow, and all peers get less.

use std::time::{Duration, Instant};

/// In smaller classes, several peers in trouble are no surprise: some share a link.
const LEAST_STUDENTS: usize = 8;

/// Peers whose trouble began within this time count as simultaneous: feedback arrives every 50 to 250 ms.
const INSTANT: Duration = Duration::from_millis(600);

/// How long one peer's trouble is observed before it counts, to see whether others have it too.
const LOOKED_AT: Duration = Duration::from_millis(250);

/// How long common trouble is excused.
const EXCUSED_FOR: Duration = Duration::from_secs(2);

/// After common trouble begins, new common trouble is not excused for this long: repeated trouble means a link that is
/// too narrow.
const BETWEEN: Duration = Duration::from_secs(10);

/// The state of a class's common trouble.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CommonTrouble {
    students: usize,
    /// When the latest common trouble began.
    since: Option<Instant>,
}

impl CommonTrouble {
    /// Examines a class: for each peer that gets video, since when it is in trouble. Call this ten times a second.
    pub(crate) fn look(&mut self, now: Instant, troubled_since: impl Iterator<Item = Option<Instant>>) {
        self.students = 0;
        let mut troubled = 0;
        for since in troubled_since {
            self.students += 1;
            troubled += usize::from(since.is_some_and(|since| now.saturating_duration_since(since) <= INSTANT));
        }
        let is_common = self.students >= LEAST_STUDENTS && troubled * 2 > self.students;
        if is_common && self.since.is_none_or(|since| now.saturating_duration_since(since) >= BETWEEN) {
            self.since = Some(now);
        }
    }

    /// Whether a peer in trouble since `troubled_since` keeps its layers for now.
    pub(super) fn excuses(&self, now: Instant, troubled_since: Instant) -> bool {
        let is_looked_at = self.students >= LEAST_STUDENTS && now.saturating_duration_since(troubled_since) < LOOKED_AT;
        is_looked_at || self.since.is_some_and(|since| now.saturating_duration_since(since) < EXCUSED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A class in which the trouble of `troubled` peers began at `since`.
    fn class(students: usize, troubled: usize, since: Instant) -> impl Iterator<Item = Option<Instant>> {
        (0..students).map(move |n| (n < troubled).then_some(since))
    }

    #[test]
    fn common_trouble_is_excused_for_two_seconds() {
        let (mut common, start) = (CommonTrouble::default(), Instant::now());
        common.look(start, class(100, 0, start));
        assert!(common.excuses(start, start), "the first of them is looked at");
        common.look(start + 100 * MS, class(100, 51, start));
        assert!(common.excuses(start + 300 * MS, start) && common.excuses(start + 2_000 * MS, start));
        assert!(!common.excuses(start + 2_100 * MS, start), "it lasts");
        for tenth in 2..100 {
            let now = start + 100 * MS * tenth;
            common.look(now, class(100, 100, now));
        }
        assert!(!common.excuses(start + 9_900 * MS, start + 9_000 * MS), "it comes again and again");
    }

    #[test]
    fn trouble_of_one_peer_or_of_a_small_class_is_not_excused() {
        let (mut common, start) = (CommonTrouble::default(), Instant::now());
        common.look(start, class(100, 50, start));
        assert!(common.excuses(start + 240 * MS, start) && !common.excuses(start + 250 * MS, start));
        common.look(start, class(7, 7, start));
        assert!(!common.excuses(start, start));
        common.look(start + 700 * MS, class(100, 100, start));
        assert!(!common.excuses(start + 700 * MS, start), "they came into it one by one, long ago");
    }
}
