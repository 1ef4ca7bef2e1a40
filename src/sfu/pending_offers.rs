//! Offers that wait for their answers.
//!
//! Answering an offer is the most work that a stranger can cause with one message, so it waits until the lecture has
//! been served. The networks get their answers in turn, and a flood displaces its own oldest offers.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use super::RTCIceCandidateInit;
use super::unconnected::Origin;
use crate::id::UserId;
use crate::network::NetworkTag;
use crate::protocol::VideoTrack;

/// The most offers that wait, and the most bytes of their SDP: a class of 1,000 that joins at the same time.
const MOST: usize = 1_024;
const MOST_BYTES: usize = 8 << 20;

/// The most candidates that wait with an offer; a peer takes no more than that either.
pub(super) const MAX_CANDIDATES: usize = 32;

/// A student's offer.
#[derive(Debug)]
pub(super) struct PendingOffer {
    pub(super) user: UserId,
    pub(super) sdp: String,
    pub(super) video: Option<VideoTrack>,
    pub(super) network: Option<NetworkTag>,
    /// Whether the user is an edge.
    pub(super) is_edge: bool,
    /// Candidates that arrived after the offer.
    pub(super) candidates: Vec<RTCIceCandidateInit>,
    pub(super) received: SystemTime,
    /// The number of offers before it.
    number: u64,
}

impl PendingOffer {
    /// An offer that has just arrived.
    pub(super) fn new(user: UserId, sdp: String, video: Option<VideoTrack>, network: Option<NetworkTag>) -> Self {
        let received = SystemTime::now();
        Self { user, sdp, video, network, is_edge: false, candidates: Vec::new(), received, number: 0 }
    }

    /// Where the offer comes from.
    pub(super) fn origin(&self) -> Origin {
        Origin::of(&self.user, self.network)
    }
}

/// The offers that wait, by origin, each the oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingOffers {
    by_origin: HashMap<Origin, VecDeque<PendingOffer>>,
    /// The origins in the order of their turns.
    turns: VecDeque<Origin>,
    count: usize,
    bytes: usize,
    /// The number of offers so far.
    offers: u64,
}

impl PendingOffers {
    /// Adds an offer; an older one of the same user is replaced. Returns the offers that found no room: the oldest of
    /// the origin that has most.
    pub(super) fn push(&mut self, mut offer: PendingOffer) -> Vec<PendingOffer> {
        self.remove(&offer.user);
        offer.number = self.offers;
        self.offers += 1;
        let origin = offer.origin();
        self.count += 1;
        self.bytes += offer.sdp.len();
        let of_origin = self.by_origin.entry(origin.clone()).or_default();
        if of_origin.is_empty() {
            self.turns.push_back(origin);
        }
        of_origin.push_back(offer);
        let mut dropped = Vec::new();
        while self.count > MOST || self.bytes > MOST_BYTES {
            let most = |(_, offers): &(&Origin, &VecDeque<PendingOffer>)| {
                (offers.len(), Reverse(offers.front().map(|offer| offer.number)))
            };
            let largest = self.by_origin.iter().max_by_key(most).map(|(origin, _)| origin.clone());
            let Some(oldest) = largest.and_then(|origin| self.take(&origin, 0)) else { break };
            dropped.push(oldest);
        }
        dropped
    }

    /// The next offer to answer.
    pub(super) fn pop(&mut self) -> Option<PendingOffer> {
        let origin = self.turns.front().cloned()?;
        let offer = self.take(&origin, 0);
        if self.by_origin.contains_key(&origin) {
            self.turns.rotate_left(1);
        }
        offer
    }

    /// Adds a candidate to the offer of this user. Returns the candidate if no offer of the user waits.
    pub(super) fn add_candidate(
        &mut self,
        user: &UserId,
        candidate: RTCIceCandidateInit,
    ) -> Option<RTCIceCandidateInit> {
        let Some((origin, at)) = self.find(user) else { return Some(candidate) };
        if let Some(offer) = self.by_origin.get_mut(&origin).and_then(|offers| offers.get_mut(at))
            && offer.candidates.len() < MAX_CANDIDATES
        {
            offer.candidates.push(candidate);
        }
        None
    }

    /// Drops the offer of a user that has left.
    pub(super) fn remove(&mut self, user: &UserId) {
        if let Some((origin, at)) = self.find(user) {
            self.take(&origin, at);
        }
    }

    /// Whether no offer waits.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn find(&self, user: &UserId) -> Option<(Origin, usize)> {
        self.by_origin.iter().find_map(|(origin, offers)| {
            let at = offers.iter().position(|offer| offer.user == *user)?;
            Some((origin.clone(), at))
        })
    }

    fn take(&mut self, origin: &Origin, at: usize) -> Option<PendingOffer> {
        let offers = self.by_origin.get_mut(origin)?;
        let offer = offers.remove(at)?;
        if offers.is_empty() {
            self.by_origin.remove(origin);
            self.turns.retain(|other| other != origin);
        }
        self.count -= 1;
        self.bytes -= offer.sdp.len();
        Some(offer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(user: u32, network: Option<u32>) -> PendingOffer {
        PendingOffer::new(user.to_string().parse().unwrap(), "v=0".to_owned(), None, network.map(NetworkTag))
    }

    fn users(pending: &mut PendingOffers) -> Vec<String> {
        std::iter::from_fn(|| pending.pop()).map(|offer| offer.user.to_string()).collect()
    }

    #[test]
    fn networks_get_their_answers_in_turn() {
        let mut pending = PendingOffers::default();
        let offers = [(1, 7), (2, 7), (3, 7), (4, 8), (5, 9)];
        assert!(offers.iter().all(|(user, network)| pending.push(offer(*user, Some(*network))).is_empty()));
        assert!(pending.push(offer(6, None)).is_empty());
        assert_eq!(users(&mut pending), ["1", "4", "5", "6", "2", "3"]);
        assert!(pending.is_empty() && pending.turns.is_empty() && pending.bytes == 0);
    }

    #[test]
    fn a_flood_of_one_network_displaces_its_own_oldest_offers() {
        let mut pending = PendingOffers::default();
        assert!(pending.push(offer(1, Some(1))).is_empty());
        let dropped: Vec<String> = (1_000..1_000 + 2 * MOST as u32)
            .flat_map(|user| pending.push(offer(user, Some(2))))
            .map(|offer| offer.user.to_string())
            .collect();
        assert_eq!((dropped.len(), dropped[0].as_str(), pending.count), (MOST + 1, "1000", MOST));
        assert_eq!(users(&mut pending)[..2], ["1".to_owned(), (1_000 + MOST + 1).to_string()]);
    }

    #[test]
    fn large_offers_are_bounded_by_their_bytes() {
        let mut pending = PendingOffers::default();
        let large = |user| PendingOffer { sdp: "x".repeat(64 << 10), ..offer(user, None) };
        let dropped: Vec<String> =
            (1..=1_000).flat_map(|user| pending.push(large(user))).map(|offer| offer.user.to_string()).collect();
        let fit = MOST_BYTES / (64 << 10);
        assert_eq!((pending.count, dropped.len()), (fit, 1_000 - fit));
        assert_eq!((dropped[0].as_str(), dropped[1].as_str()), ("1", "2"), "the oldest");
    }

    #[test]
    fn candidates_wait_with_their_offer_and_a_newer_offer_replaces_it() {
        let (mut pending, user) = (PendingOffers::default(), "1".parse().unwrap());
        let candidate = RTCIceCandidateInit::default;
        assert!(pending.add_candidate(&user, candidate()).is_some(), "no offer waits");
        pending.push(offer(1, Some(1)));
        assert!((0..100).all(|_| pending.add_candidate(&user, candidate()).is_none()));
        assert_eq!(pending.pop().unwrap().candidates.len(), MAX_CANDIDATES);
        pending.push(offer(1, Some(1)));
        pending.add_candidate(&user, candidate());
        pending.push(offer(1, Some(2)));
        assert!(pending.count == 1 && pending.pop().unwrap().candidates.is_empty());
        pending.push(offer(1, Some(1)));
        pending.remove(&user);
        assert!(pending.pop().is_none() && pending.is_empty());
    }
}
