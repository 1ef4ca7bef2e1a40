//! Maps the source address of a datagram to the peers that may have sent it.
//!
//! A source address is easy to forge: a STUN check authenticates its author, not the author's location. A check with a
//! peer's credentials therefore only *claims* its source address, for a short time. An encrypted datagram is delivered
//! to every peer that claims its source address; only the right connection can decrypt it, so a forged claim harms
//! nobody. A claim is *confirmed* when a connection decrypts a packet from the address to which its media is sent: ICE
//! has verified that address by a check from the SFU and its response (RFC 8445, 7.2.5). A confirmed address belongs to
//! that peer alone until the peer leaves or consent expires.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::PeerId;

/// The lifetime of a claim; each check renews it. A peer's handshake takes far less.
const CLAIMED_FOR: Duration = Duration::from_secs(10);

/// The lifetime of a confirmation after the last decrypted packet; ICE consent expires after the same time (RFC 7675,
/// 5.1).
const CONFIRMED_FOR: Duration = Duration::from_secs(30);

/// The interval at which a connection confirms its address while packets arrive from there.
pub(super) const CONFIRM_EVERY: Duration = Duration::from_secs(10);

/// The most addresses that one peer claims at a time: its interfaces, each behind a few NAT bindings. This also bounds
/// the state that a peer can create by forging source addresses, to 96 addresses a minute.
const MAX_OF_A_PEER: usize = 16;

/// The most peers that claim one address at a time, so that a forger can't make the SFU try one datagram on the
/// connections of a whole class.
const MAX_CLAIMS: usize = 4;

/// The peers to which an address may belong.
pub(super) type Claimants = [Option<PeerId>; MAX_CLAIMS];

/// The addresses that peers claim or own.
#[derive(Debug, Default)]
pub(super) struct AddressTable {
    by_address: HashMap<SocketAddr, Ownership>,
    /// The addresses of each peer, expired ones included.
    by_peer: HashMap<PeerId, Vec<SocketAddr>>,
}

#[derive(Debug)]
enum Ownership {
    /// STUN checks arrived from this address; the oldest claim comes first.
    Claimed(Vec<Claim>),
    /// A connection confirmed this address.
    Confirmed(Claim),
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    peer: PeerId,
    until: Instant,
}

impl Ownership {
    fn claims(&self) -> &[Claim] {
        match self {
            Self::Claimed(claims) => claims,
            Self::Confirmed(claim) => std::slice::from_ref(claim),
        }
    }

    fn live(&self, now: Instant) -> impl Iterator<Item = &Claim> {
        self.claims().iter().filter(move |claim| claim.until > now)
    }
}

impl AddressTable {
    /// The peers that may have sent an encrypted datagram from this address.
    pub(super) fn claimants(&self, now: Instant, from: SocketAddr) -> Claimants {
        let mut claimants = Claimants::default();
        let live = self.by_address.get(&from).into_iter().flat_map(|ownership| ownership.live(now));
        for (place, claim) in claimants.iter_mut().zip(live) {
            *place = Some(claim.peer);
        }
        claimants
    }

    /// Whether the address may be this peer's.
    pub(super) fn is_claimed_by(&self, now: Instant, from: SocketAddr, peer: PeerId) -> bool {
        self.claimants(now, from).contains(&Some(peer))
    }

    /// Whether a check of this peer could claim the address. To be called before the check is authenticated, which
    /// costs more.
    pub(super) fn is_free_for(&self, now: Instant, from: SocketAddr, peer: PeerId) -> bool {
        match self.by_address.get(&from) {
            Some(Ownership::Confirmed(owner)) if owner.until > now && owner.peer != peer => false,
            Some(_) | None => self.count(now, peer) < MAX_OF_A_PEER,
        }
    }

    /// Records an authenticated check of this peer from the address. Returns whether the peer now has a claim on the
    /// address.
    pub(super) fn claim(&mut self, now: Instant, from: SocketAddr, peer: PeerId) -> bool {
        if self.is_claimed_by(now, from, peer) {
            return true;
        }
        if !self.is_free_for(now, from, peer) {
            return false;
        }
        self.drop_expired(now, peer);
        let mut claims = match self.by_address.remove(&from) {
            Some(Ownership::Claimed(claims)) => claims,
            // Free or expired.
            Some(Ownership::Confirmed(_)) | None => Vec::new(),
        };
        claims.retain(|claim| claim.until > now && claim.peer != peer);
        if claims.len() == MAX_CLAIMS {
            // Drop the oldest claim; that peer's next check renews it.
            claims.remove(0);
        }
        claims.push(Claim { peer, until: now + CLAIMED_FOR });
        self.by_address.insert(from, Ownership::Claimed(claims));
        self.note(from, peer);
        true
    }

    /// Records that this peer's connection has decrypted a packet from the address to which its media is sent.
    pub(super) fn confirm(&mut self, now: Instant, from: SocketAddr, peer: PeerId) {
        let is_taken = matches!(
            self.by_address.get(&from),
            Some(Ownership::Confirmed(owner)) if owner.until > now && owner.peer != peer
        );
        if !is_taken {
            let owner = Claim { peer, until: now + CONFIRMED_FOR };
            self.by_address.insert(from, Ownership::Confirmed(owner));
            self.note(from, peer);
        }
    }

    /// Frees the addresses of a peer that has left.
    pub(super) fn forget(&mut self, peer: PeerId) {
        for address in self.by_peer.remove(&peer).unwrap_or_default() {
            self.give_up(address, peer);
        }
    }

    /// The number of addresses that the peer claims or owns.
    fn count(&self, now: Instant, peer: PeerId) -> usize {
        let addresses = self.by_peer.get(&peer).map(Vec::as_slice).unwrap_or_default();
        addresses.iter().filter(|address| self.is_claimed_by(now, **address, peer)).count()
    }

    fn note(&mut self, from: SocketAddr, peer: PeerId) {
        let addresses = self.by_peer.entry(peer).or_default();
        if !addresses.contains(&from) {
            addresses.push(from);
        }
    }

    /// Removes the peer's expired claims.
    fn drop_expired(&mut self, now: Instant, peer: PeerId) {
        let Some(mut addresses) = self.by_peer.remove(&peer) else { return };
        addresses.retain(|address| {
            let is_claimed = self.is_claimed_by(now, *address, peer);
            if !is_claimed {
                self.give_up(*address, peer);
            }
            is_claimed
        });
        self.by_peer.insert(peer, addresses);
    }

    /// Removes the peer's claim on the address, and keeps the claims of other peers.
    fn give_up(&mut self, address: SocketAddr, peer: PeerId) {
        let is_empty = match self.by_address.get_mut(&address) {
            Some(Ownership::Claimed(claims)) => {
                claims.retain(|claim| claim.peer != peer);
                claims.is_empty()
            }
            Some(Ownership::Confirmed(owner)) => owner.peer == peer,
            None => false,
        };
        if is_empty {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VICTIM: PeerId = 1;
    const INSIDER: PeerId = 2;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 7], port))
    }

    fn claimed_by(addresses: &AddressTable, now: Instant, from: SocketAddr) -> Vec<PeerId> {
        addresses.claimants(now, from).into_iter().flatten().collect()
    }

    #[test]
    fn nobody_takes_a_confirmed_address_until_its_peer_leaves() {
        let (mut addresses, mut now, home) = (AddressTable::default(), Instant::now(), address(1));
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
        let (mut addresses, now, home) = (AddressTable::default(), Instant::now(), address(1));
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
        let (mut addresses, now, home) = (AddressTable::default(), Instant::now(), address(1));
        for forger in 100..200 {
            assert!(addresses.claim(now, home, forger));
        }
        assert!(addresses.claim(now, home, VICTIM));
        let held = claimed_by(&addresses, now, home);
        assert!(held.len() == MAX_CLAIMS && held.contains(&VICTIM), "{held:?}");
    }

    #[test]
    fn a_peer_that_roams_through_any_number_of_bindings_stays_reachable() {
        let (mut addresses, mut now) = (AddressTable::default(), Instant::now());
        for port in 1..500 {
            assert!(addresses.claim(now, address(port), VICTIM), "{port}");
            addresses.confirm(now, address(port), VICTIM);
            assert_eq!(claimed_by(&addresses, now, address(port)), [VICTIM]);
            assert!(addresses.by_peer[&VICTIM].len() <= MAX_OF_A_PEER, "{port}");
            now += Duration::from_secs(3);
        }
        assert!(addresses.by_address.len() <= MAX_OF_A_PEER);
    }

    #[test]
    fn claims_of_a_forger_are_bounded_and_expire() {
        let (mut addresses, now) = (AddressTable::default(), Instant::now());
        let claimed = |addresses: &mut AddressTable, now| {
            (1..=1_000).filter(|port| addresses.claim(now, address(*port), INSIDER)).count()
        };
        assert_eq!(claimed(&mut addresses, now), MAX_OF_A_PEER);
        assert_eq!(addresses.by_address.len(), MAX_OF_A_PEER);
        assert!(addresses.claim(now, address(1), INSIDER), "it has this one");
        assert!(addresses.claim(now, address(2_000), VICTIM), "another peer has claims of its own");
        let later = now + CLAIMED_FOR;
        assert!(claimed_by(&addresses, later, address(1)).is_empty());
        assert!(addresses.claim(later, address(3_000), INSIDER));
        assert_eq!(addresses.by_peer[&INSIDER], [address(3_000)]);
        addresses.forget(INSIDER);
        addresses.forget(VICTIM);
        assert!(addresses.by_address.is_empty() && addresses.by_peer.is_empty());
    }

    #[test]
    fn a_confirmed_address_is_free_after_consent_expires() {
        let (mut addresses, now, home) = (AddressTable::default(), Instant::now(), address(1));
        addresses.claim(now, home, VICTIM);
        addresses.confirm(now, home, VICTIM);
        let (before, after) = (now + CONFIRMED_FOR - Duration::from_millis(1), now + CONFIRMED_FOR);
        assert!(!addresses.claim(before, home, INSIDER) && addresses.claim(after, home, INSIDER));
        assert_eq!(claimed_by(&addresses, after, home), [INSIDER]);
        assert!(addresses.claim(after, home, VICTIM), "it may come back");
        assert_eq!(claimed_by(&addresses, after, home), [INSIDER, VICTIM]);
    }
}
