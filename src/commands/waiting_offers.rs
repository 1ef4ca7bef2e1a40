//! Students' offers that wait until the publisher's media is there. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::id::UserId;
use crate::network::NetworkTag;
use crate::protocol::{IceCandidate, VideoTrack};

/// The longest wait of an offer. A WHEP player waits 5 s for its answer, and `watch` 8 s.
const WAITS: Duration = Duration::from_secs(4);

/// The most bytes of offers that wait in one room: a class of 1,000 that came before its teacher, with 5 kB each.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A student's offer. The room limits the number of its candidates.
#[derive(Debug)]
pub(super) struct WaitingOffer {
    pub(super) sdp: String,
    pub(super) video: Option<VideoTrack>,
    pub(super) network: Option<NetworkTag>,
    pub(super) candidates: Vec<IceCandidate>,
    until: Instant,
}

/// The offers of a room, one for each student at most.
#[derive(Debug, Default)]
pub(super) struct WaitingOffers {
    offers: BTreeMap<UserId, WaitingOffer>,
    bytes: usize,
}

impl WaitingOffers {
    pub(super) fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    /// Keeps an offer, which replaces an earlier one of the same student; returns false if there is no space.
    pub(super) fn push(
        &mut self,
        now: Instant,
        user: UserId,
        sdp: String,
        video: Option<VideoTrack>,
        network: Option<NetworkTag>,
    ) -> bool {
        self.remove(&user);
        if self.bytes + sdp.len() > MAX_BYTES {
            return false;
        }
        self.bytes += sdp.len();
        let offer = WaitingOffer { sdp, video, network, candidates: Vec::new(), until: now + WAITS };
        self.offers.insert(user, offer);
        true
    }

    /// Keeps a candidate for an offer that waits; returns it if none does.
    pub(super) fn add_candidate(&mut self, user: &UserId, candidate: IceCandidate) -> Option<IceCandidate> {
        let Some(offer) = self.offers.get_mut(user) else { return Some(candidate) };
        let bytes = candidate.candidate.len();
        // A candidate that is left out does no harm: the SFU learns the student's address from its checks.
        if self.bytes + bytes <= MAX_BYTES {
            self.bytes += bytes;
            offer.candidates.push(candidate);
        }
        None
    }

    /// The student has left, or offers again.
    pub(super) fn remove(&mut self, user: &UserId) {
        if let Some(offer) = self.offers.remove(user) {
            self.bytes -= offer.bytes();
        }
    }

    /// Takes the students out whose offers have waited too long.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<UserId> {
        let expired: Vec<UserId> =
            self.offers.iter().filter(|(_, offer)| offer.until <= now).map(|(user, _)| user.clone()).collect();
        expired.iter().for_each(|user| self.remove(user));
        expired
    }

    /// Takes all offers out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (UserId, WaitingOffer)> {
        self.bytes = 0;
        std::mem::take(&mut self.offers).into_iter()
    }
}

impl WaitingOffer {
    fn bytes(&self) -> usize {
        self.sdp.len() + self.candidates.iter().map(|candidate| candidate.candidate.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> UserId {
        n.to_string().parse().unwrap()
    }

    fn candidate() -> IceCandidate {
        IceCandidate { candidate: "candidate:1".into(), ..IceCandidate::default() }
    }

    #[test]
    fn an_offer_waits_with_its_candidates_and_not_for_ever() {
        let (mut waiting, now) = (WaitingOffers::default(), Instant::now());
        assert_eq!(waiting.add_candidate(&id(1), candidate()), Some(candidate()), "for an offer that was answered");
        assert!(waiting.push(now, id(1), "old".into(), None, None));
        assert_eq!(waiting.add_candidate(&id(1), candidate()), None);
        let later = now + Duration::from_secs(1);
        assert!(waiting.push(later, id(1), "new".into(), Some(VideoTrack::Camera), None));
        assert!(waiting.push(later, id(2), "x".into(), None, None));
        assert_eq!(waiting.add_candidate(&id(1), candidate()), None);
        assert_eq!(waiting.expired(now + WAITS), [], "the second offer has its own time");
        waiting.remove(&id(2));
        let offers: Vec<_> = waiting.take().collect();
        assert_eq!(offers.len(), 1);
        assert_eq!((offers[0].1.sdp.as_str(), offers[0].1.candidates.len()), ("new", 1));
        assert!(waiting.push(later, id(3), "x".into(), None, None));
        assert_eq!(waiting.expired(later + WAITS), [id(3)]);
        assert!(waiting.is_empty() && waiting.bytes == 0);
    }

    #[test]
    fn a_class_that_waits_takes_bounded_memory() {
        let (mut waiting, now) = (WaitingOffers::default(), Instant::now());
        let sdp = "v".repeat(60_000);
        let kept = (0..1_000).filter(|n| waiting.push(now, id(*n), sdp.clone(), None, None)).count();
        assert_eq!(kept, MAX_BYTES / sdp.len());
        for _ in 0..1_000_000 {
            waiting.add_candidate(&id(0), candidate());
        }
        assert!(waiting.bytes <= MAX_BYTES, "{}", waiting.bytes);
        waiting.remove(&id(0));
        assert!(waiting.push(now, id(5_000), sdp, None, None), "space for another");
    }
}
