//! Chooses the tiers that an emulated publisher sends. Does no I/O.
//!
//! A browser lowers the bitrate of its encoder first. Here the encoders have fixed bitrates, so the publisher chooses
//! between the two encodings of the capture.

use std::time::{Duration, Instant};

use crate::cli::IngestOffer;
use crate::rtp::Tier;

/// Less is sent once the target is below this share of the cost, because an estimate that is a little too low is
/// no reason to change.
const DOWN_BELOW: f64 = 0.85;

/// More is sent once the target has been above the cost for this long.
const UP_AFTER: Duration = Duration::from_secs(2);

/// The tiers of the video streams of an offer, best first.
pub(super) fn streams(offer: IngestOffer) -> &'static [Tier] {
    match offer {
        IngestOffer::Simulcast => &[Tier::Full, Tier::Low],
        IngestOffer::Single => &[Tier::Full],
    }
}

/// Decides whether the bandwidth suffices for the full tier.
#[derive(Debug)]
pub(super) struct Layers {
    /// Bits per second of all that is sent with the full tier.
    cost: f64,
    has_full: bool,
    /// The time at which the target rose above the cost; `None` while the target is lower.
    enough_since: Option<Instant>,
}

impl Layers {
    pub(super) fn new(cost: u32) -> Self {
        Self { cost: cost.into(), has_full: true, enough_since: None }
    }

    /// Takes the target bitrate of the congestion control. Returns whether the full tier is sent.
    pub(super) fn decide(&mut self, now: Instant, target: f64) -> bool {
        if target < self.cost {
            self.enough_since = None;
            self.has_full &= target >= self.cost * DOWN_BELOW;
        } else {
            let since = *self.enough_since.get_or_insert(now);
            self.has_full |= now.saturating_duration_since(since) >= UP_AFTER;
        }
        self.has_full
    }
}

/// The tier that a stream sends, which changes at a key frame.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Switch {
    now: Option<Tier>,
    next: Option<Tier>,
}

impl Switch {
    /// Another tier is wanted, or none. Returns the tier that must make a key frame.
    pub(super) fn set(&mut self, next: Option<Tier>) -> Option<Tier> {
        if self.next == next {
            return None;
        }
        self.next = next;
        if next.is_none() {
            self.now = None;
        }
        self.awaited()
    }

    /// The tier whose key frame is awaited.
    pub(super) fn awaited(&self) -> Option<Tier> {
        self.next.filter(|_| self.now != self.next)
    }

    /// The tier that is sent.
    pub(super) fn sent(&self) -> Option<Tier> {
        self.now
    }

    /// Whether a frame is sent.
    pub(super) fn takes(&mut self, tier: Tier, is_key: bool) -> bool {
        if is_key && self.next == Some(tier) {
            self.now = self.next;
        }
        self.now == Some(tier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_tier_goes_at_once_and_comes_back_after_a_while() {
        let (mut layers, start) = (Layers::new(1_000_000), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(layers.decide(at(0), 900_000.0), "a little too low");
        assert!(!layers.decide(at(100), 840_000.0));
        assert!(!layers.decide(at(200), 990_000.0));
        assert!(!layers.decide(at(300), 1_100_000.0) && !layers.decide(at(2_200), 1_100_000.0));
        assert!(!layers.decide(at(2_250), 990_000.0) && !layers.decide(at(2_400), 1_100_000.0));
        assert!(!layers.decide(at(4_300), 1_100_000.0) && layers.decide(at(4_400), 1_100_000.0));
    }

    #[test]
    fn a_stream_changes_its_tier_at_a_key_frame_and_ends_at_once() {
        let mut switch = Switch::default();
        assert!(!switch.takes(Tier::Full, true));
        assert_eq!(switch.set(Some(Tier::Full)), Some(Tier::Full));
        assert_eq!(switch.set(Some(Tier::Full)), None, "it has been asked for");
        assert!(!switch.takes(Tier::Full, false) && switch.takes(Tier::Full, true) && switch.takes(Tier::Full, false));
        assert_eq!(switch.set(Some(Tier::Low)), Some(Tier::Low));
        assert!(switch.takes(Tier::Full, false) && !switch.takes(Tier::Low, false), "the old one until the key frame");
        assert!(switch.takes(Tier::Low, true) && !switch.takes(Tier::Full, true));
        assert_eq!((switch.set(None), switch.sent(), switch.awaited()), (None, None, None));
        assert!(!switch.takes(Tier::Low, true));
    }
}
