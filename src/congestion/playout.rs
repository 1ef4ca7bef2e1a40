//! Whether a peer's path is so clean that its jitter buffer may be short: a LAN without losses.
//!
//! Chromium keeps some 60 ms of video in its jitter buffer. The header extension `playout-delay` tells it to show each
//! frame at once. On a path with jitter or losses that would cost freezes, so such a peer keeps its own buffer.

use std::time::{Duration, Instant};

/// The round trip time below which a path is that of a LAN, and the one above which it no longer is.
const NEAR: Duration = Duration::from_millis(10);
const FAR: Duration = Duration::from_millis(25);

/// A path is clean after this time without a NACK.
const WITHOUT_NACK: Duration = Duration::from_secs(10);

/// The measurements that show whether one peer's path is clean.
#[derive(Debug, Clone, Copy)]
pub(super) struct CleanPath {
    /// The start of the peer, or its last NACK.
    disturbed: Instant,
    round_trip: Option<Duration>,
    is_near: bool,
}

impl CleanPath {
    pub(super) fn new(now: Instant) -> Self {
        Self { disturbed: now, round_trip: None, is_near: false }
    }

    /// The peer has reported a missing packet.
    pub(super) fn on_nack(&mut self, now: Instant) {
        self.disturbed = now;
    }

    /// A round trip time was measured; the mean of the last ones counts, because a busy student answers late now and
    /// then.
    pub(super) fn on_round_trip(&mut self, time: Duration) {
        let mean = self.round_trip.map_or(time, |mean| (mean * 3 + time) / 4);
        self.round_trip = Some(mean);
        self.is_near = mean < if self.is_near { FAR } else { NEAR };
    }

    /// Whether the path is clean.
    pub(super) fn is_clean(&self, now: Instant) -> bool {
        self.is_near && now.saturating_duration_since(self.disturbed) >= WITHOUT_NACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_path_is_clean_if_it_is_short_and_has_lost_nothing_for_a_while() {
        let start = Instant::now();
        let mut path = CleanPath::new(start);
        assert!(!path.is_clean(start + WITHOUT_NACK), "nothing is known");
        path.on_round_trip(2 * MS);
        assert!(!path.is_clean(start + WITHOUT_NACK - MS) && path.is_clean(start + WITHOUT_NACK));
        let lost = start + WITHOUT_NACK * 2;
        path.on_nack(lost);
        assert!(!path.is_clean(lost + WITHOUT_NACK - MS) && path.is_clean(lost + WITHOUT_NACK));
    }

    #[test]
    fn one_late_answer_does_not_make_a_path_long() {
        let mut path = CleanPath::new(Instant::now());
        let later = Instant::now() + WITHOUT_NACK * 2;
        path.on_round_trip(12 * MS);
        assert!(!path.is_clean(later));
        (0..9).for_each(|_| path.on_round_trip(2 * MS));
        path.on_round_trip(60 * MS);
        assert!(path.is_clean(later));
        (0..9).for_each(|_| path.on_round_trip(60 * MS));
        assert!(!path.is_clean(later));
    }
}
