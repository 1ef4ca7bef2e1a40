//! How a student begins: sound at once, and pictures as soon as it is known that its line carries them.
//!
//! Who is near, as on a LAN, gets everything at once. On a longer way there may be a narrow line, where the first key frame
//! would fill a queue that sound waits in, and be lost itself. So a train of padding goes first, and pictures wait for what
//! comes back of it: a tenth of a second or two, of which a student sees the beginning of a lecture a little later, and
//! whose line is narrow begins with what it can have.

use std::time::{Duration, Instant};

/// Nobody waits longer for the first picture. Feedback comes every 50 to 250 ms, and a round trip later.
const AT_MOST: Duration = Duration::from_millis(400);

/// A train that tells of a narrow line may have met a student who was busy; two in a row seldom do.
const CLUSTERS: usize = 2;

/// What is to be done for a student that waits for its first picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartupStep {
    /// Nothing yet.
    Wait,
    /// Send a train.
    Probe,
    /// Pictures begin, with the best that this line carries; none: with the best.
    Begin(Option<u32>),
}

/// A student that has sound and no picture yet.
#[derive(Debug)]
pub(crate) struct StartupProbe {
    since: Instant,
    sent: usize,
}

impl StartupProbe {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, sent: 0 }
    }

    /// Whether the first train is still to be sent. It is counted as sent.
    pub(crate) fn wants_first_probe(&mut self) -> bool {
        let is_first = self.sent == 0;
        self.sent = self.sent.max(1);
        is_first
    }

    /// What to do now. Some trains have told, the best of them of a `capacity` of so many bits a second; `needed` are those of
    /// the best pictures.
    pub(crate) fn step(&mut self, now: Instant, clusters: usize, capacity: Option<u32>, needed: u64) -> StartupStep {
        let is_over = now.saturating_duration_since(self.since) >= AT_MOST;
        match capacity {
            Some(capacity) if u64::from(capacity) >= needed => StartupStep::Begin(None),
            Some(capacity) if clusters >= CLUSTERS || is_over => StartupStep::Begin(Some(capacity)),
            None if is_over => StartupStep::Begin(None),
            Some(_) if self.sent < CLUSTERS => {
                self.sent += 1;
                StartupStep::Probe
            }
            Some(_) | None => StartupStep::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_wide_line_begins_with_the_first_train() {
        let (start, needed) = (Instant::now(), 1_000_000);
        let mut startup = StartupProbe::new(start);
        assert!(startup.wants_first_probe() && !startup.wants_first_probe());
        assert_eq!(startup.step(start + 50 * MS, 0, None, needed), StartupStep::Wait);
        assert_eq!(startup.step(start + 90 * MS, 1, Some(30_000_000), needed), StartupStep::Begin(None));
    }

    #[test]
    fn a_narrow_line_is_believed_when_two_trains_say_so() {
        let (start, needed) = (Instant::now(), 1_000_000);
        let mut startup = StartupProbe::new(start);
        assert!(startup.wants_first_probe());
        assert_eq!(startup.step(start + 90 * MS, 1, Some(600_000), needed), StartupStep::Probe);
        assert_eq!(startup.step(start + 100 * MS, 1, Some(600_000), needed), StartupStep::Wait);
        assert_eq!(startup.step(start + 190 * MS, 2, Some(610_000), needed), StartupStep::Begin(Some(610_000)));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (start, needed) = (Instant::now(), 1_000_000);
        assert_eq!(StartupProbe::new(start).step(start + AT_MOST, 0, None, needed), StartupStep::Begin(None));
        assert_eq!(StartupProbe::new(start).step(start + AT_MOST, 1, Some(9), needed), StartupStep::Begin(Some(9)));
    }
}
