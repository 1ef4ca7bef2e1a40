//! Which peer a datagram belongs to, by its source address.
//!
//! A source address is easy to forge, so a STUN check proves who wrote the check and not where that peer is. A check
//! with a peer's credentials therefore only *claims* its source address, for a short time. An encrypted datagram goes
//! to all peers that claim its address: only the right connection can open it, so a forged claim takes nothing from
//! anybody. When a connection opens a packet from the address to which its media goes (ICE has proved with a check of
//! ours and its answer that the peer is there, RFC 8445, 7.2.5), the claim is *confirmed*: the address is that peer's
//! alone, until it leaves or nothing came for the time of consent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::PeerId;

/// How long a claim lasts; the next check renews it. The handshake of a peer takes far less.
const CLAIMED_FOR: Duration = Duration::from_secs(10);

/// How long a confirmed address stays with its peer after the last packet that was opened: consent expires then (RFC
/// 7675, 5.1).
const CONFIRMED_FOR: Duration = Duration::from_secs(30);

/// How often a connection confirms its address while packets come from there.
pub(super) const CONFIRM_EVERY: Duration = Duration::from_secs(10);

/// Addresses that one peer claims at a time: its interfaces, each behind a few NAT bindings. This also bounds what a
/// peer that forges source addresses makes the core remember: 96 addresses a minute.
const MAX_OF_A_PEER: usize = 16;

/// Peers that claim one address at a time. A forger must not make one datagram cost the SFU as much as a class.
const MAX_CLAIMS: usize = 4;

/// The peers that an address may belong to.
pub(super) type Claimants = [Option<PeerId>; MAX_CLAIMS];

/// Which peer claims or owns which address.
#[derive(Debug, Default)]
pub(super) struct AddressTable {
    by_address: HashMap<SocketAddr, Ownership>,
    /// The addresses of each peer, expired ones included.
    by_peer: HashMap<PeerId, Vec<SocketAddr>>,
}

#[derive(Debug)]
enum Ownership {
    /// STUN checks came from there; the oldest claim first.
    Claimed(Vec<Claim>),
    /// A connection confirmed it.
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

    /// Whether a check of this peer could claim the address. Ask this before authenticating the check, which costs
    /// more.
    pub(super) fn is_free_for(&self, now: Instant, from: SocketAddr, peer: PeerId) -> bool {
        match self.by_address.get(&from) {
            Some(Ownership::Confirmed(owner)) if owner.until > now && owner.peer != peer => false,
            Some(_) | None => self.count(now, peer) < MAX_OF_A_PEER,
        }
    }

    /// An authentic check of this peer came from the address. Returns whether the peer has a claim on it now.
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
            // Free, or expired.
            Some(Ownership::Confirmed(_)) | None => Vec::new(),
        };
        claims.retain(|claim| claim.until > now && claim.peer != peer);
        if claims.len() == MAX_CLAIMS {
            // The oldest goes. Its peer claims the address again with its next check.
            claims.remove(0);
        }
        claims.push(Claim { peer, until: now + CLAIMED_FOR });
        self.by_address.insert(from, Ownership::Claimed(claims));
        self.note(from, peer);
        true
    }

    /// This peer's connection has opened a packet from the address, and its media goes there.
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

    /// A peer has left: its addresses are free.
    pub(super) fn forget(&mut self, peer: PeerId) {
        for address in self.by_peer.remove(&peer).unwrap_or_default() {
            self.give_up(address, peer);
        }
    }

    /// How many addresses the peer claims or owns.
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

    /// Forgets the peer's expired claims.
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

    /// Removes the peer's claim on the address; others may have one.
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
    fn a_claim_in_advance_locks_nobody_out() {
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
    fn many_claims_on_one_address_cost_little_and_the_newest_counts() {
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
    fn an_address_is_free_after_the_time_of_consent() {
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
