//! The tier that a stream sends. Does no I/O.

use crate::rtp::Tier;

/// The tier that a stream sends, which changes at a key frame.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct TierSwitch {
    sent: Option<Tier>,
    next: Option<Tier>,
}

impl TierSwitch {
    /// Another tier is wanted, or none. Returns whether that is a change. The old tier goes on until the new one has a
    /// key frame; with `at_once` it ends now.
    pub(super) fn set(&mut self, next: Option<Tier>, at_once: bool) -> bool {
        let changes = self.next != next;
        self.next = next;
        if next.is_none() || at_once && self.sent != next {
            self.sent = None;
        }
        changes
    }

    /// Frames were lost before they were sent: the stream goes on with a key frame.
    pub(super) fn restart(&mut self) {
        self.sent = None;
    }

    /// The tier whose key frame is awaited.
    pub(super) fn awaited(self) -> Option<Tier> {
        self.next.filter(|_| self.sent != self.next)
    }

    /// The tier that is wanted.
    pub(super) fn wanted(self) -> Option<Tier> {
        self.next
    }

    /// The tiers that an encoder must produce: the one that is sent, and the one that is awaited.
    pub(super) fn active(self) -> impl Iterator<Item = Tier> {
        self.sent.into_iter().chain(self.awaited())
    }

    /// Whether a frame is sent.
    pub(super) fn takes(&mut self, tier: Tier, is_key: bool) -> bool {
        if is_key && self.next == Some(tier) {
            self.sent = self.next;
        }
        self.sent == Some(tier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_changes_its_tier_at_a_key_frame_and_ends_at_once() {
        let mut switch = TierSwitch::default();
        assert!(!switch.takes(Tier::Full, true));
        assert!(switch.set(Some(Tier::Full), false) && !switch.set(Some(Tier::Full), false));
        assert_eq!(switch.awaited(), Some(Tier::Full));
        assert!(!switch.takes(Tier::Full, false) && switch.takes(Tier::Full, true) && switch.takes(Tier::Full, false));
        assert!(switch.set(Some(Tier::Low), false));
        assert_eq!(switch.active().collect::<Vec<_>>(), [Tier::Full, Tier::Low]);
        assert!(switch.takes(Tier::Full, false) && !switch.takes(Tier::Low, false), "the old one until the key frame");
        assert!(switch.takes(Tier::Low, true) && !switch.takes(Tier::Full, true));
        assert!(switch.set(Some(Tier::Full), true) && !switch.takes(Tier::Low, false), "the old one ends at once");
        assert!(switch.takes(Tier::Full, true));
        switch.restart();
        assert_eq!((switch.awaited(), switch.wanted()), (Some(Tier::Full), Some(Tier::Full)));
        assert!(switch.set(None, false) && !switch.takes(Tier::Full, true));
        assert_eq!((switch.awaited(), switch.active().count()), (None, 0));
    }
}
