//! PathTrouble that many peers have in the same instant: it is the sender's, or that of a link they share.
//!
//! Hundreds of links do not fail within half a second. So nobody gets less at once for such trouble. If it lasts, the
//! sender's own link may be too narrow, and then all get less.

use std::time::{Duration, Instant};

/// In smaller classes many peers in trouble are no surprise: some share a link.
const LEAST_STUDENTS: usize = 8;

/// Peers that came into trouble within this time did so in the same instant: feedback comes every 50 to 250 ms.
const INSTANT: Duration = Duration::from_millis(600);

/// How long one peer's trouble is watched before it counts, to see whether others have the same.
const LOOKED_AT: Duration = Duration::from_millis(250);

/// How long common trouble is excused.
const EXCUSED_FOR: Duration = Duration::from_secs(2);

/// How long after that common trouble is not excused again: trouble that repeats means a link that is too narrow.
const BETWEEN: Duration = Duration::from_secs(10);

/// What is known of the trouble of a class.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CommonTrouble {
    students: usize,
    /// When the newest common trouble began.
    since: Option<Instant>,
}

impl CommonTrouble {
    /// Looks at a class: for each peer that gets video, since when it is in trouble. Call it ten times a second.
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

    /// Whether a peer that is in trouble since then keeps its layers for now.
    pub(super) fn excuses(&self, now: Instant, troubled_since: Instant) -> bool {
        let is_looked_at = self.students >= LEAST_STUDENTS && now.saturating_duration_since(troubled_since) < LOOKED_AT;
        is_looked_at || self.since.is_some_and(|since| now.saturating_duration_since(since) < EXCUSED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A class, of which `troubled` peers came into trouble at `since`.
    fn class(students: usize, troubled: usize, since: Instant) -> impl Iterator<Item = Option<Instant>> {
        (0..students).map(move |n| (n < troubled).then_some(since))
    }

    #[test]
    fn trouble_of_most_peers_in_one_instant_is_excused_for_a_while() {
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
    fn one_peer_in_trouble_is_not_excused_nor_are_some_of_a_small_class() {
        let (mut common, start) = (CommonTrouble::default(), Instant::now());
        common.look(start, class(100, 50, start));
        assert!(common.excuses(start + 240 * MS, start) && !common.excuses(start + 250 * MS, start));
        common.look(start, class(7, 7, start));
        assert!(!common.excuses(start, start));
        common.look(start + 700 * MS, class(100, 100, start));
        assert!(!common.excuses(start + 700 * MS, start), "they came into it one by one, long ago");
    }
}
