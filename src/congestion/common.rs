//! Trouble that many students have in the same instant: the sender's, or a line that all of them have in common.
//!
//! A class of hundreds does not get hundreds of bad lines within half a second. So nobody gets less at once for such
//! trouble. What lasts is another matter: the teacher's own line may be too narrow, and then all get less.

use std::time::{Duration, Instant};

/// In smaller classes many bad lines in one instant are no surprise: some students share one.
const LEAST_STUDENTS: usize = 8;

/// Students that came into trouble within this did so in the same instant: their feedback comes every 50 to 250 ms.
const INSTANT: Duration = Duration::from_millis(600);

/// How long one student's trouble is watched before it counts, to see whether others have the same.
const LOOKED_AT: Duration = Duration::from_millis(250);

/// How long common trouble counts for nothing.
const EXCUSED_FOR: Duration = Duration::from_secs(2);

/// How long after that common trouble is not excused again: trouble that comes again and again is a line that is too
/// narrow.
const BETWEEN: Duration = Duration::from_secs(10);

/// What is known of a class's trouble.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CommonTrouble {
    students: usize,
    /// Since when the newest trouble in common is there.
    since: Option<Instant>,
}

impl CommonTrouble {
    /// Looks at a class: for each student that gets pictures, since when it is in trouble. To be called ten times a
    /// second or so.
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

    /// Whether a student that is in trouble since then should not get less for it now.
    pub(super) fn excuses(&self, now: Instant, troubled_since: Instant) -> bool {
        let is_looked_at = self.students >= LEAST_STUDENTS && now.saturating_duration_since(troubled_since) < LOOKED_AT;
        is_looked_at || self.since.is_some_and(|since| now.saturating_duration_since(since) < EXCUSED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A class of so many, of whom some came into trouble at `since`.
    fn class(students: usize, troubled: usize, since: Instant) -> impl Iterator<Item = Option<Instant>> {
        (0..students).map(move |n| (n < troubled).then_some(since))
    }

    #[test]
    fn trouble_of_most_in_one_instant_is_excused_for_a_while() {
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
    fn one_bad_line_is_not_excused_nor_are_some_of_a_small_class() {
        let (mut common, start) = (CommonTrouble::default(), Instant::now());
        common.look(start, class(100, 50, start));
        assert!(common.excuses(start + 240 * MS, start) && !common.excuses(start + 250 * MS, start));
        common.look(start, class(7, 7, start));
        assert!(!common.excuses(start, start));
        common.look(start + 700 * MS, class(100, 100, start));
        assert!(!common.excuses(start + 700 * MS, start), "they came into it one by one, long ago");
    }
}
