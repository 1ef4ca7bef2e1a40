//! Maps the source address of a datagram to those that may have sent it: to the peers of an SFU, and on a port that
//! SFUs share, to the SFUs of the peers. Peers, or SFUs, are the *owners* of addresses here.
//!
//! A source address is easy to forge: a STUN check authenticates its author, not the author's location. A check with a
//! peer's credentials therefore only *claims* its source address, for a short time. An encrypted datagram is delivered
//! to every peer that claims its source address; only the right connection can decrypt it, so a forged claim harms
//! nobody. A claim is *confirmed* when a connection decrypts a packet from the address to which its media is sent: ICE
//! has verified that address by a check from the SFU and its response (RFC 8445, 7.2.5). A confirmed address belongs to
//! that peer alone until the peer leaves or consent expires.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The lifetime of a claim; each claim by the same owner renews it. A peer's handshake takes far less.
const CLAIMED_FOR: Duration = Duration::from_secs(10);

/// The lifetime of a confirmation after the last decrypted packet; ICE consent expires after the same time (RFC 7675,
/// 5.1).
const CONFIRMED_FOR: Duration = Duration::from_secs(30);

/// The interval at which a connection confirms its address while packets arrive from there.
pub(super) const CONFIRM_EVERY: Duration = Duration::from_secs(10);

/// The most addresses that one peer claims at a time: its interfaces, each behind a few NAT bindings. This also bounds
/// the state that a peer can create by forging source addresses, to 96 addresses a minute.
pub(super) const MAX_OF_A_PEER: usize = 16;

/// The most owners that claim one address at a time, so that a forger can't make the SFU try one datagram on the
/// connections of a whole class.
const MAX_CLAIMS: usize = 4;

/// The owners to which an address may belong.
pub(super) type Claimants<K> = [Option<K>; MAX_CLAIMS];

/// The addresses that owners claim or have confirmed.
#[derive(Debug)]
pub(super) struct AddressTable<K> {
    by_address: HashMap<SocketAddr, Ownership<K>>,
    /// The addresses of each owner.
    by_owner: HashMap<K, HashSet<SocketAddr>>,
    /// The expiry times of claims, and of confirmations. Each queue is in the order of time, because all claims live
    /// equally long, and so do all confirmations.
    claims: VecDeque<(Instant, SocketAddr)>,
    confirmations: VecDeque<(Instant, SocketAddr)>,
    /// The most addresses of one owner.
    most: usize,
}

#[derive(Debug)]
enum Ownership<K> {
    /// STUN checks arrived from this address; the oldest claim comes first.
    Claimed(Vec<Claim<K>>),
    /// A connection confirmed this address.
    Confirmed(Claim<K>),
}

#[derive(Debug, Clone, Copy)]
struct Claim<K> {
    owner: K,
    until: Instant,
}

impl<K: Copy + Eq + Hash> Ownership<K> {
    fn live(&self, now: Instant) -> impl Iterator<Item = &Claim<K>> {
        let claims = match self {
            Self::Claimed(claims) => claims.as_slice(),
            Self::Confirmed(claim) => std::slice::from_ref(claim),
        };
        claims.iter().filter(move |claim| claim.until > now)
    }

    /// Whether another owner has confirmed the address.
    fn is_closed_to(&self, now: Instant, owner: K) -> bool {
        matches!(self, Self::Confirmed(claim) if claim.until > now && claim.owner != owner)
    }
}

impl<K: Copy + Eq + Hash> AddressTable<K> {
    /// An empty table, in which each owner may have this many addresses.
    pub(super) fn new(most: usize) -> Self {
        Self {
            by_address: HashMap::new(),
            by_owner: HashMap::new(),
            claims: VecDeque::new(),
            confirmations: VecDeque::new(),
            most,
        }
    }

    /// The owners that may have sent an encrypted datagram from this address.
    pub(super) fn claimants(&self, now: Instant, from: SocketAddr) -> Claimants<K> {
        let mut claimants = Claimants::default();
        let live = self.by_address.get(&from).into_iter().flat_map(|ownership| ownership.live(now));
        for (place, claim) in claimants.iter_mut().zip(live) {
            *place = Some(claim.owner);
        }
        claimants
    }

    /// Whether the address may be this owner's.
    pub(super) fn is_claimed_by(&self, now: Instant, from: SocketAddr, owner: K) -> bool {
        self.claimants(now, from).contains(&Some(owner))
    }

    /// Whether a check of this owner could claim the address. To be called before the check is authenticated, which
    /// costs more.
    pub(super) fn is_free_for(&mut self, now: Instant, from: SocketAddr, owner: K) -> bool {
        self.drop_expired(now);
        let is_closed = self.by_address.get(&from).is_some_and(|ownership| ownership.is_closed_to(now, owner));
        !is_closed && self.by_owner.get(&owner).is_none_or(|addresses| addresses.len() < self.most)
    }

    /// Records an authenticated check of this owner from the address. Returns whether the owner now has a claim on the
    /// address.
    pub(super) fn claim(&mut self, now: Instant, from: SocketAddr, owner: K) -> bool {
        if !self.is_claimed_by(now, from, owner) && !self.is_free_for(now, from, owner) {
            return false;
        }
        let mut claims = match self.by_address.remove(&from) {
            Some(Ownership::Claimed(claims)) => claims,
            Some(confirmed @ Ownership::Confirmed(Claim { owner: of, until })) if of == owner && until > now => {
                self.by_address.insert(from, confirmed);
                return true;
            }
            // Free or expired.
            Some(Ownership::Confirmed(_)) | None => Vec::new(),
        };
        claims.retain(|claim| claim.owner != owner);
        if claims.len() == MAX_CLAIMS {
            // Drop the oldest claim; the next check of its owner renews it.
            self.note_end(from, claims.remove(0).owner);
        }
        claims.push(Claim { owner, until: now + CLAIMED_FOR });
        self.claims.push_back((now + CLAIMED_FOR, from));
        self.by_address.insert(from, Ownership::Claimed(claims));
        self.by_owner.entry(owner).or_default().insert(from);
        true
    }

    /// Records that a connection of this owner has decrypted a packet from the address to which its media is sent.
    /// Returns false if the address is another owner's.
    pub(super) fn confirm(&mut self, now: Instant, from: SocketAddr, owner: K) -> bool {
        self.drop_expired(now);
        if self.by_address.get(&from).is_some_and(|ownership| ownership.is_closed_to(now, owner)) {
            return false;
        }
        if let Some(Ownership::Claimed(claims)) = self.by_address.remove(&from) {
            claims.into_iter().for_each(|claim| self.note_end(from, claim.owner));
        }
        self.by_address.insert(from, Ownership::Confirmed(Claim { owner, until: now + CONFIRMED_FOR }));
        self.confirmations.push_back((now + CONFIRMED_FOR, from));
        self.by_owner.entry(owner).or_default().insert(from);
        true
    }

    /// Frees the addresses of an owner that has left. Returns those that nobody else claims.
    pub(super) fn forget(&mut self, owner: K) -> Vec<SocketAddr> {
        let addresses = self.by_owner.remove(&owner).unwrap_or_default();
        addresses.into_iter().filter(|address| self.give_up(*address, owner)).collect()
    }

    /// Frees one address of an owner.
    pub(super) fn release(&mut self, from: SocketAddr, owner: K) {
        self.note_end(from, owner);
        self.give_up(from, owner);
    }

    /// Removes all expired claims and confirmations.
    fn drop_expired(&mut self, now: Instant) {
        while let Some((_, from)) = self.claims.pop_front_if(|(at, _)| *at <= now) {
            self.drop_expired_at(now, from);
        }
        while let Some((_, from)) = self.confirmations.pop_front_if(|(at, _)| *at <= now) {
            self.drop_expired_at(now, from);
        }
    }

    fn drop_expired_at(&mut self, now: Instant, from: SocketAddr) {
        let expired: Vec<K> = match self.by_address.get(&from) {
            Some(Ownership::Claimed(claims)) => {
                claims.iter().filter(|claim| claim.until <= now).map(|claim| claim.owner).collect()
            }
            Some(Ownership::Confirmed(claim)) if claim.until <= now => vec![claim.owner],
            Some(Ownership::Confirmed(_)) | None => return,
        };
        expired.into_iter().for_each(|owner| self.release(from, owner));
    }

    /// Removes the address from those of the owner.
    fn note_end(&mut self, from: SocketAddr, owner: K) {
        if let Some(addresses) = self.by_owner.get_mut(&owner) {
            addresses.remove(&from);
        }
    }

    /// Removes the owner's claim on the address, and keeps the claims of others. Returns whether there are none.
    fn give_up(&mut self, from: SocketAddr, owner: K) -> bool {
        let is_empty = match self.by_address.get_mut(&from) {
            Some(Ownership::Claimed(claims)) => {
                claims.retain(|claim| claim.owner != owner);
                claims.is_empty()
            }
            Some(Ownership::Confirmed(claim)) => claim.owner == owner,
            None => false,
        };
        if is_empty {
            self.by_address.remove(&from);
        }
        is_empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfu::PeerId;

    const VICTIM: PeerId = 1;
    const INSIDER: PeerId = 2;

    fn table() -> AddressTable<PeerId> {
        AddressTable::new(MAX_OF_A_PEER)
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 7], port))
    }

    fn claimed_by(addresses: &AddressTable<PeerId>, now: Instant, from: SocketAddr) -> Vec<PeerId> {
        addresses.claimants(now, from).into_iter().flatten().collect()
    }

    #[test]
    fn nobody_takes_a_confirmed_address_until_its_peer_leaves() {
        let (mut addresses, mut now, home) = (table(), Instant::now(), address(1));
        assert!(addresses.claim(now, home, VICTIM));
        addresses.confirm(now, home, VICTIM);
        for _ in 0..1_000 {
            assert!(!addresses.is_free_for(now, home, INSIDER) && !addresses.claim(now, home, INSIDER));
            addresses.confirm(now, home, INSIDER);
            assert_eq!(claimed_by(&addresses, now, home), [VICTIM]);
            now += CONFIRM_EVERY;
            addresses.confirm(now, home, VICTIM);
        }
        addresses.forget(VICTIM);
        assert!(addresses.claim(now, home, INSIDER));
        assert_eq!(claimed_by(&addresses, now, home), [INSIDER]);
    }

    #[test]
    fn a_claim_in_advance_does_not_lock_out_the_owner() {
        let (mut addresses, now, home) = (table(), Instant::now(), address(1));
        assert!(addresses.claim(now, home, INSIDER) && addresses.claim(now, home, VICTIM));
        assert_eq!(claimed_by(&addresses, now, home), [INSIDER, VICTIM], "only the right one opens what comes");
        addresses.confirm(now, home, VICTIM);
        assert_eq!(claimed_by(&addresses, now, home), [VICTIM]);
        assert!(!addresses.claim(now, home, INSIDER));
        addresses.forget(INSIDER);
        assert_eq!(claimed_by(&addresses, now, home), [VICTIM], "a claim that was lost is not removed again");
    }

    #[test]
    fn claims_on_one_address_are_bounded_and_the_newest_is_kept() {
        let (mut addresses, now, home) = (table(), Instant::now(), address(1));
        for forger in 100..200 {
            assert!(addresses.claim(now, home, forger));
        }
        assert!(addresses.claim(now, home, VICTIM));
        let held = claimed_by(&addresses, now, home);
        assert!(held.len() == MAX_CLAIMS && held.contains(&VICTIM), "{held:?}");
    }

    #[test]
    fn a_peer_that_roams_through_any_number_of_bindings_stays_reachable() {
        let (mut addresses, mut now) = (table(), Instant::now());
        for port in 1..500 {
            assert!(addresses.claim(now, address(port), VICTIM), "{port}");
            addresses.confirm(now, address(port), VICTIM);
            assert_eq!(claimed_by(&addresses, now, address(port)), [VICTIM]);
            assert!(addresses.by_owner[&VICTIM].len() <= MAX_OF_A_PEER, "{port}");
            now += Duration::from_secs(3);
        }
        assert!(addresses.by_address.len() <= MAX_OF_A_PEER);
    }

    #[test]
    fn claims_of_a_forger_are_bounded_and_expire() {
        let (mut addresses, now) = (table(), Instant::now());
        let claimed = |addresses: &mut AddressTable<PeerId>, now| {
            (1..=1_000).filter(|port| addresses.claim(now, address(*port), INSIDER)).count()
        };
        assert_eq!(claimed(&mut addresses, now), MAX_OF_A_PEER);
        assert_eq!(addresses.by_address.len(), MAX_OF_A_PEER);
        assert!(addresses.claim(now, address(1), INSIDER), "it has this one");
        assert!(addresses.claim(now, address(2_000), VICTIM), "another peer has claims of its own");
        let later = now + CLAIMED_FOR;
        assert!(claimed_by(&addresses, later, address(1)).is_empty());
        assert!(addresses.claim(later, address(3_000), INSIDER));
        assert_eq!(addresses.by_owner[&INSIDER], HashSet::from([address(3_000)]));
        addresses.forget(INSIDER);
        addresses.forget(VICTIM);
        assert!(addresses.by_address.is_empty() && addresses.by_owner.is_empty());
    }

    #[test]
    fn a_confirmed_address_is_free_after_consent_expires() {
        let (mut addresses, now, home) = (table(), Instant::now(), address(1));
        addresses.claim(now, home, VICTIM);
        addresses.confirm(now, home, VICTIM);
        let (before, after) = (now + CONFIRMED_FOR - Duration::from_millis(1), now + CONFIRMED_FOR);
        assert!(!addresses.claim(before, home, INSIDER) && addresses.claim(after, home, INSIDER));
        assert_eq!(claimed_by(&addresses, after, home), [INSIDER]);
        assert!(addresses.claim(after, home, VICTIM), "it may come back");
        assert_eq!(claimed_by(&addresses, after, home), [INSIDER, VICTIM]);
    }
}
