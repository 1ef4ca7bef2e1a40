//! How a peer starts: audio at once, video as soon as a probe has measured the path.
//!
//! A nearby peer, as on a LAN, gets everything at once. A longer path may have a narrow link, where the first key frame
//! would fill the queue, delay audio and be lost itself. So a padding probe is sent first and video waits for the
//! feedback on it, 0.1 to 0.2 s. Behind a narrow link video then starts with layers that fit.

use std::time::{Duration, Instant};

/// Video waits no longer than this. Feedback is sent every 50 to 250 ms and takes a round trip to arrive.
const AT_MOST: Duration = Duration::from_millis(400);

/// One probe may indicate a narrow link because the receiver was busy; two in a row seldom do.
const CLUSTERS: usize = 2;

/// The next step for a peer whose video has not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartupStep {
    /// Nothing yet.
    Wait,
    /// Send a probe.
    Probe,
    /// Video starts with the best layers that this capacity carries, or with the best if it is `None`.
    Begin(Option<u32>),
}

/// A peer that gets audio and no video yet.
#[derive(Debug)]
pub(crate) struct StartupProbe {
    since: Instant,
    sent: usize,
}

impl StartupProbe {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, sent: 0 }
    }

    /// Whether the first probe is still to be sent. The call marks it as sent.
    pub(crate) fn wants_first_probe(&mut self) -> bool {
        let is_first = self.sent == 0;
        self.sent = self.sent.max(1);
        is_first
    }

    /// The next step. `clusters` clusters have arrived, and the fastest measured this `capacity` in bits per second;
    /// `needed` is the capacity that the best layers need.
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
    fn a_wide_path_begins_after_the_first_probe() {
        let (start, needed) = (Instant::now(), 1_000_000);
        let mut startup = StartupProbe::new(start);
        assert!(startup.wants_first_probe() && !startup.wants_first_probe());
        assert_eq!(startup.step(start + 50 * MS, 0, None, needed), StartupStep::Wait);
        assert_eq!(startup.step(start + 90 * MS, 1, Some(30_000_000), needed), StartupStep::Begin(None));
    }

    #[test]
    fn a_narrow_path_is_believed_after_two_probes() {
        let (start, needed) = (Instant::now(), 1_000_000);
        let mut startup = StartupProbe::new(start);
        assert!(startup.wants_first_probe());
        assert_eq!(startup.step(start + 90 * MS, 1, Some(600_000), needed), StartupStep::Probe);
        assert_eq!(startup.step(start + 100 * MS, 1, Some(600_000), needed), StartupStep::Wait);
        assert_eq!(startup.step(start + 190 * MS, 2, Some(610_000), needed), StartupStep::Begin(Some(610_000)));
    }

    #[test]
    fn no_peer_waits_forever() {
        let (start, needed) = (Instant::now(), 1_000_000);
        assert_eq!(StartupProbe::new(start).step(start + AT_MOST, 0, None, needed), StartupStep::Begin(None));
        assert_eq!(StartupProbe::new(start).step(start + AT_MOST, 1, Some(9), needed), StartupStep::Begin(Some(9)));
    }
}
