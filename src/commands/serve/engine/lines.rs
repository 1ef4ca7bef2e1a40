//! The tier that each student of a lecture gets at the nodes of an engine. An engine tells this server nothing of the
//! lines of its viewers, so each student says how often its picture has stood still.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::id::UserId;
use crate::protocol::channel::Viewing;
use crate::rtp::Tier;

/// The most students whose lines are known.
const MAX_STUDENTS: usize = 10_000;

/// The interval of questions to the students.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(10);

/// A picture that has stood still so often between two answers does not fit the line.
const FREEZES: u32 = 2;

/// Answers that are further apart say nothing about now. A question waits on a line that is full of media.
const MAX_BETWEEN: Duration = Duration::from_secs(60);

/// Answers that are closer say too little: the publisher asks, too, and a student counts in seconds.
const MIN_BETWEEN: Duration = Duration::from_secs(5);

/// How long a student has the low tier without any freeze before it gets the full one again: at first, and at most. The
/// time doubles with each full tier that does not last as long.
const FIRST_LOW: Duration = Duration::from_secs(60);
const LONGEST_LOW: Duration = Duration::from_secs(960);

/// The lines of the students of a lecture, at all nodes. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(in crate::commands::serve) struct Lines(Arc<Mutex<HashMap<UserId, Line>>>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tier for a student.
    pub(super) fn tier(&self, user: &UserId) -> Tier {
        self.lock().get(user).map_or(Tier::Full, |line| line.tier)
    }

    /// A student is connected anew, with this tier. Returns whether it has to be told the tier.
    pub(super) fn connected(&self, now: Instant, user: &UserId, tier: Tier) -> bool {
        let mut lines = self.lock();
        if lines.len() >= MAX_STUDENTS && !lines.contains_key(user) {
            return false;
        }
        lines.entry(user.clone()).or_insert_with(|| Line::new(now)).connected(now, tier)
    }

    /// A student says what it has seen of a lecture that has had pictures without a pause since then. Returns whether
    /// it needs a connection for another tier.
    pub(super) fn sees(&self, now: Instant, user: &UserId, viewing: Viewing, pictures_since: Option<Instant>) -> bool {
        self.lock().get_mut(user).is_some_and(|line| line.sees(now, viewing, pictures_since))
    }
}

/// The line of a student.
#[derive(Debug)]
struct Line {
    tier: Tier,
    /// The tier of the connection before.
    before: Tier,
    /// The last answer since the connection.
    heard: Option<(Instant, Viewing)>,
    /// When the tier began, or the picture last stood still.
    quiet_since: Instant,
    /// How long the next low tier lasts without a freeze.
    low_lasts: Duration,
}

impl Line {
    fn new(now: Instant) -> Self {
        Self { tier: Tier::Full, before: Tier::Full, heard: None, quiet_since: now, low_lasts: FIRST_LOW }
    }

    fn connected(&mut self, now: Instant, tier: Tier) -> bool {
        (self.tier, self.heard, self.quiet_since) = (tier, None, now);
        let before = std::mem::replace(&mut self.before, tier);
        (before, tier) != (Tier::Full, Tier::Full)
    }

    fn sees(&mut self, now: Instant, viewing: Viewing, pictures_since: Option<Instant>) -> bool {
        if self.heard.is_some_and(|(at, _)| now.saturating_duration_since(at) < MIN_BETWEEN) {
            return false;
        }
        // The first answer may be about an earlier connection.
        let Some((at, before)) = self.heard.replace((now, viewing)) else { return false };
        let between = now.saturating_duration_since(at);
        // A hidden tab shows no pictures, whatever the line does.
        let says_something = between <= MAX_BETWEEN && viewing.away_ms == before.away_ms;
        // A page that was loaded again counts from 0.
        let new = viewing.freezes.checked_sub(before.freezes).filter(|_| says_something).unwrap_or_default();
        // A freeze that does not end counts once at most, however long the picture stands still.
        let had_pictures = says_something && pictures_since.is_some_and(|since| since <= at);
        let seen = viewing.seen_ms.checked_sub(before.seen_ms).filter(|_| had_pictures).map(Duration::from_millis);
        let stands_still = seen.is_some_and(|seen| seen < between / 2);
        let quiet = now.saturating_duration_since(self.quiet_since);
        if new > 0 || stands_still {
            self.quiet_since = now;
        }
        match self.tier {
            Tier::Full if new >= FREEZES || stands_still => {
                self.low_lasts = if quiet < self.low_lasts { self.low_lasts * 2 } else { FIRST_LOW }.min(LONGEST_LOW);
                self.tier = Tier::Low;
                true
            }
            Tier::Low if new == 0 && !stands_still && quiet >= self.low_lasts => {
                self.tier = Tier::Full;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which a student changes its tier, if its picture stands still `per_answer` times between two
    /// answers with the full tier, in the seconds of `bad`.
    fn changes(line: &mut Line, start: Instant, per_answer: u32, bad: std::ops::Range<u64>) -> Vec<(u64, Tier)> {
        let (mut freezes, mut changes) = (0, Vec::new());
        for second in (0..3_000).step_by(10) {
            let now = start + Duration::from_secs(second);
            if bad.contains(&second) && line.tier == Tier::Full {
                freezes += per_answer;
            }
            if line.sees(now, Viewing { freezes, ..Viewing::default() }, None) {
                changes.push((second, line.tier));
                line.connected(now, line.tier);
            }
        }
        changes
    }

    #[test]
    fn a_line_that_is_bad_for_a_while_has_the_low_tier_and_tries_the_full_one_more_and_more_rarely() {
        let start = Instant::now();
        let full = |seconds: &[(u64, Tier)]| seconds.iter().filter(|(_, tier)| *tier == Tier::Full).count();
        let mut line = Line::new(start);
        let short = changes(&mut line, start, 2, 100..120);
        assert_eq!(short, [(100, Tier::Low), (160, Tier::Full)]);
        let mut line = Line::new(start);
        let long = changes(&mut line, start, 5, 100..3_000);
        assert_eq!(long[0], (100, Tier::Low));
        assert!((2..=6).contains(&full(&long)), "{long:?}");
        let pauses: Vec<u64> =
            long.chunks(2).filter(|pair| pair.len() == 2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1] || pair[1] >= 960), "{pauses:?}");
    }

    #[test]
    fn one_freeze_now_and_then_and_a_page_that_was_loaded_again_change_nothing() {
        let start = Instant::now();
        assert_eq!(changes(&mut Line::new(start), start, 1, 0..3_000), []);
        let mut line = Line::new(start);
        let at = |second, freezes: u32, line: &mut Line| {
            line.sees(start + Duration::from_secs(second), Viewing { freezes, ..Viewing::default() }, None)
        };
        assert!(!at(0, 40, &mut line) && !at(10, 0, &mut line) && !at(20, 1, &mut line));
        assert!(!at(100, 50, &mut line), "the answers are too far apart");
        let hidden = Viewing { freezes: 70, away_ms: 5_000, ..Viewing::default() };
        assert!(!line.sees(start + Duration::from_secs(110), hidden, None));
        assert!(!line.sees(start + Duration::from_secs(120), Viewing { freezes: 71, ..hidden }, None));
        assert!(!line.sees(start + Duration::from_secs(122), Viewing { freezes: 75, ..hidden }, None), "too soon");
        assert!(line.sees(start + Duration::from_secs(130), Viewing { freezes: 75, ..hidden }, None));
    }

    #[test]
    fn a_picture_that_stands_still_all_the_time_is_one_freeze_and_a_bad_line() {
        let start = Instant::now();
        let sees = |line: &mut Line, second, seen_ms, pictures_since: Option<u64>| {
            let viewing = Viewing { seen_ms, freezes: 1, ..Viewing::default() };
            let since = pictures_since.map(|second| start + Duration::from_secs(second));
            line.sees(start + Duration::from_secs(second), viewing, since)
        };
        let mut line = Line::new(start);
        assert!(!sees(&mut line, 10, 9_000, Some(0)) && !sees(&mut line, 20, 16_000, Some(0)), "some of them came");
        assert!(!sees(&mut line, 30, 16_000, None) && !sees(&mut line, 40, 16_000, Some(35)), "there was none to see");
        assert!(sees(&mut line, 75, 18_000, Some(35)), "the question waited in the queue of the line");
        line.connected(start + Duration::from_secs(76), Tier::Low);
        let still_bad = (80..200).step_by(10).any(|second| sees(&mut line, second, 18_000, Some(35)));
        assert!(!still_bad && line.tier == Tier::Low, "the full tier would be worse");
    }

    #[test]
    fn the_tier_is_known_at_every_node_of_the_lecture() {
        let (lines, now, user): (_, _, UserId) = (Lines::default(), Instant::now(), "1001".parse().unwrap());
        let other = lines.clone();
        assert!(!lines.sees(now, &user, Viewing::default(), None), "not connected");
        assert!(!lines.connected(now, &user, Tier::Full), "that is what it expects");
        assert!(!lines.sees(now, &user, Viewing::default(), None));
        assert!(lines.sees(now + ASK_EVERY, &user, Viewing { freezes: FREEZES, ..Viewing::default() }, None));
        assert_eq!(other.tier(&user), Tier::Low);
        assert!(other.connected(now, &user, Tier::Low) && lines.connected(now, &user, Tier::Full), "it is told");
        assert_eq!(other.tier(&"1002".parse().unwrap()), Tier::Full);
    }
}
