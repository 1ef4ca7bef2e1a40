//! Perfect negotiation (W3C webrtc-pc, 10.7): when both sides offer at the same time, the impolite one's offer counts.
//! Does no I/O.
//!
//! Each operation of the connection is finished before the next event, so two states suffice.

/// What to do with an offer of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnOffer {
    /// Answer it.
    Answer,
    /// Give up the own offer, and answer this one.
    RollBackAndAnswer,
    /// Ignore it: the own offer counts.
    Ignore,
}

/// The negotiation of one connection.
#[derive(Debug)]
pub(super) struct Negotiation {
    is_polite: bool,
    /// Whether an own offer waits for its answer.
    has_offered: bool,
    /// Whether another offer is wanted after the answer.
    wants_offer: bool,
    /// Whether the last offer of the other side was ignored, and so its candidates are.
    ignores: bool,
}

impl Negotiation {
    /// A new connection.
    pub(super) fn new(is_polite: bool) -> Self {
        Self { is_polite, has_offered: false, wants_offer: false, ignores: false }
    }

    /// Something needs an offer. Returns whether to make it now; otherwise it follows the answer to the current one.
    pub(super) fn offers(&mut self) -> bool {
        let is_free = !std::mem::replace(&mut self.has_offered, true);
        self.wants_offer |= !is_free;
        is_free
    }

    /// The other side offers.
    pub(super) fn on_offer(&mut self) -> OnOffer {
        self.ignores = self.has_offered && !self.is_polite;
        match (self.ignores, self.has_offered) {
            (true, _) => OnOffer::Ignore,
            (false, true) => {
                // The other side's offer has the same purpose: a path for the media. If it fails, the loss of the
                // connection asks for another offer.
                (self.has_offered, self.wants_offer) = (false, false);
                OnOffer::RollBackAndAnswer
            }
            (false, false) => OnOffer::Answer,
        }
    }

    /// The other side answers. Returns whether an own offer waits for that.
    pub(super) fn on_answer(&mut self) -> bool {
        std::mem::replace(&mut self.has_offered, false)
    }

    /// Whether another offer is wanted now that the last one has been answered. Asks for it once.
    pub(super) fn wants_another(&mut self) -> bool {
        !self.has_offered && std::mem::replace(&mut self.wants_offer, false)
    }

    /// Whether candidates of the other side belong to a description that counts.
    pub(super) fn takes_candidates(&self) -> bool {
        !self.ignores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_offers_that_cross_the_impolite_one_counts() {
        let (mut polite, mut impolite) = (Negotiation::new(true), Negotiation::new(false));
        assert!(polite.offers() && impolite.offers());
        assert_eq!(impolite.on_offer(), OnOffer::Ignore);
        assert!(!impolite.takes_candidates(), "they belong to the ignored offer");
        assert_eq!(polite.on_offer(), OnOffer::RollBackAndAnswer);
        assert!(polite.takes_candidates());
        assert!(impolite.on_answer() && !impolite.on_answer(), "one answer to one offer");
        assert!(!polite.on_answer(), "an answer to the offer that was given up");
        assert_eq!((polite.on_offer(), impolite.on_offer()), (OnOffer::Answer, OnOffer::Answer));
        assert!(impolite.takes_candidates() && !polite.wants_another() && !impolite.wants_another());
    }

    #[test]
    fn an_offer_that_is_wanted_during_another_one_follows_its_answer() {
        let mut negotiation = Negotiation::new(false);
        assert!(negotiation.offers() && !negotiation.offers());
        assert!(!negotiation.wants_another());
        assert!(negotiation.on_answer());
        assert!(negotiation.wants_another() && !negotiation.wants_another());
    }
}
