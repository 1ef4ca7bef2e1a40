//! Which student a datagram belongs to, by its source address.
//!
//! A source address is easy to forge, so a STUN check proves who wrote the check and not where that student is. A
//! check with a student's credentials therefore only *claims* its source address, for a short time. What is sealed
//! goes to all who claim the address: only the right connection can open it, so a forged claim takes nothing from
//! anybody. When a connection opens a packet that comes from where its media goes (ICE has proved with a check of ours
//! and its answer that the student is there, RFC 8445, 7.2.5), the claim is *confirmed*: the address belongs to that
//! student alone, until it leaves or was not heard for the time of consent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::PeerId;

/// A claim lasts so long; the next check claims anew. The handshake of a student that connects takes far less.
const CLAIMED_FOR: Duration = Duration::from_secs(10);

/// A confirmed address from which nothing was opened for so long is anybody's again: consent has expired (RFC 7675,
/// 5.1).
const CONFIRMED_FOR: Duration = Duration::from_secs(30);

/// How often a connection confirms its address while packets come from there.
pub(super) const CONFIRM_EVERY: Duration = Duration::from_secs(10);

/// Addresses that one student claims at a time: its interfaces, behind as many NAT bindings. This also bounds what a
/// student that forges its source address makes the core remember: 96 addresses a minute.
const MOST_OF_A_STUDENT: usize = 16;

/// Students that claim one address at a time. A forger must not make one datagram cost the SFU as much as a class.
const MOST_CLAIMS: usize = 4;

/// The students that an address may belong to.
pub(super) type Holders = [Option<PeerId>; MOST_CLAIMS];

/// Who holds which address.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    by_address: HashMap<SocketAddr, Holding>,
    /// The addresses of each student, those that have expired included.
    by_student: HashMap<PeerId, Vec<SocketAddr>>,
}

#[derive(Debug)]
enum Holding {
    /// By STUN checks, the oldest claim first.
    Claimed(Vec<Claim>),
    Confirmed(Claim),
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    student: PeerId,
    until: Instant,
}

impl Holding {
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

impl Addresses {
    /// To whom a sealed datagram from this address may belong.
    pub(super) fn holders(&self, now: Instant, from: SocketAddr) -> Holders {
        let mut holders = Holders::default();
        let live = self.by_address.get(&from).into_iter().flat_map(|holding| holding.live(now));
        for (place, claim) in holders.iter_mut().zip(live) {
            *place = Some(claim.student);
        }
        holders
    }

    /// Whether this student holds the address.
    pub(super) fn holds(&self, now: Instant, from: SocketAddr, student: PeerId) -> bool {
        self.holders(now, from).contains(&Some(student))
    }

    /// Whether a check of this student could claim the address. To be asked before the check is authenticated, which
    /// costs more.
    pub(super) fn is_free_for(&self, now: Instant, from: SocketAddr, student: PeerId) -> bool {
        match self.by_address.get(&from) {
            Some(Holding::Confirmed(owner)) if owner.until > now && owner.student != student => false,
            Some(_) | None => self.count(now, student) < MOST_OF_A_STUDENT,
        }
    }

    /// An authentic check of this student came from the address; gives whether it holds the address now.
    pub(super) fn claim(&mut self, now: Instant, from: SocketAddr, student: PeerId) -> bool {
        if self.holds(now, from, student) {
            return true;
        }
        if !self.is_free_for(now, from, student) {
            return false;
        }
        self.drop_expired(now, student);
        let mut claims = match self.by_address.remove(&from) {
            Some(Holding::Claimed(claims)) => claims,
            // It has expired.
            Some(Holding::Confirmed(_)) | None => Vec::new(),
        };
        claims.retain(|claim| claim.until > now && claim.student != student);
        if claims.len() == MOST_CLAIMS {
            // The oldest. Its student claims anew with its next check.
            claims.remove(0);
        }
        claims.push(Claim { student, until: now + CLAIMED_FOR });
        self.by_address.insert(from, Holding::Claimed(claims));
        self.note(from, student);
        true
    }

    /// This student's connection has opened a packet from the address, and its media goes there.
    pub(super) fn confirm(&mut self, now: Instant, from: SocketAddr, student: PeerId) {
        let is_taken = matches!(
            self.by_address.get(&from),
            Some(Holding::Confirmed(owner)) if owner.until > now && owner.student != student
        );
        if !is_taken {
            let owner = Claim { student, until: now + CONFIRMED_FOR };
            self.by_address.insert(from, Holding::Confirmed(owner));
            self.note(from, student);
        }
    }

    /// A student has left: its addresses are anybody's.
    pub(super) fn forget(&mut self, student: PeerId) {
        for address in self.by_student.remove(&student).unwrap_or_default() {
            self.give_up(address, student);
        }
    }

    /// How many addresses the student holds.
    fn count(&self, now: Instant, student: PeerId) -> usize {
        let addresses = self.by_student.get(&student).map(Vec::as_slice).unwrap_or_default();
        addresses.iter().filter(|address| self.holds(now, **address, student)).count()
    }

    fn note(&mut self, from: SocketAddr, student: PeerId) {
        let addresses = self.by_student.entry(student).or_default();
        if !addresses.contains(&from) {
            addresses.push(from);
        }
    }

    /// Forgets what the student does not hold any more.
    fn drop_expired(&mut self, now: Instant, student: PeerId) {
        let Some(mut addresses) = self.by_student.remove(&student) else { return };
        addresses.retain(|address| {
            let holds = self.holds(now, *address, student);
            if !holds {
                self.give_up(*address, student);
            }
            holds
        });
        self.by_student.insert(student, addresses);
    }

    /// The student does not hold the address any more; others may.
    fn give_up(&mut self, address: SocketAddr, student: PeerId) {
        let is_empty = match self.by_address.get_mut(&address) {
            Some(Holding::Claimed(claims)) => {
                claims.retain(|claim| claim.student != student);
                claims.is_empty()
            }
            Some(Holding::Confirmed(owner)) => owner.student == student,
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

    fn held_by(addresses: &Addresses, now: Instant, from: SocketAddr) -> Vec<PeerId> {
        addresses.holders(now, from).into_iter().flatten().collect()
    }

    #[test]
    fn a_confirmed_address_is_taken_by_nobody_until_its_student_leaves() {
        let (mut addresses, mut now, home) = (Addresses::default(), Instant::now(), address(1));
        assert!(addresses.claim(now, home, VICTIM));
        addresses.confirm(now, home, VICTIM);
        for _ in 0..1_000 {
            assert!(!addresses.is_free_for(now, home, INSIDER) && !addresses.claim(now, home, INSIDER));
            addresses.confirm(now, home, INSIDER);
            assert_eq!(held_by(&addresses, now, home), [VICTIM]);
            now += CONFIRM_EVERY;
            addresses.confirm(now, home, VICTIM);
        }
        addresses.forget(VICTIM);
        assert!(addresses.claim(now, home, INSIDER));
        assert_eq!(held_by(&addresses, now, home), [INSIDER]);
    }

    #[test]
    fn a_claim_in_advance_locks_nobody_out() {
        let (mut addresses, now, home) = (Addresses::default(), Instant::now(), address(1));
        assert!(addresses.claim(now, home, INSIDER) && addresses.claim(now, home, VICTIM));
        assert_eq!(held_by(&addresses, now, home), [INSIDER, VICTIM], "only the right one opens what comes");
        addresses.confirm(now, home, VICTIM);
        assert_eq!(held_by(&addresses, now, home), [VICTIM]);
        assert!(!addresses.claim(now, home, INSIDER));
        addresses.forget(INSIDER);
        assert_eq!(held_by(&addresses, now, home), [VICTIM], "what was lost is not given up a second time");
    }

    #[test]
    fn many_who_claim_one_address_cost_little_and_the_newest_is_among_them() {
        let (mut addresses, now, home) = (Addresses::default(), Instant::now(), address(1));
        for forger in 100..200 {
            assert!(addresses.claim(now, home, forger));
        }
        assert!(addresses.claim(now, home, VICTIM));
        let held = held_by(&addresses, now, home);
        assert!(held.len() == MOST_CLAIMS && held.contains(&VICTIM), "{held:?}");
    }

    #[test]
    fn a_student_that_roams_through_any_number_of_bindings_stays_reachable() {
        let (mut addresses, mut now) = (Addresses::default(), Instant::now());
        for port in 1..500 {
            assert!(addresses.claim(now, address(port), VICTIM), "{port}");
            addresses.confirm(now, address(port), VICTIM);
            assert_eq!(held_by(&addresses, now, address(port)), [VICTIM]);
            assert!(addresses.by_student[&VICTIM].len() <= MOST_OF_A_STUDENT, "{port}");
            now += Duration::from_secs(3);
        }
        assert!(addresses.by_address.len() <= MOST_OF_A_STUDENT);
    }

    #[test]
    fn claims_of_a_forger_are_bounded_and_expire() {
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let claimed = |addresses: &mut Addresses, now| {
            (1..=1_000).filter(|port| addresses.claim(now, address(*port), INSIDER)).count()
        };
        assert_eq!(claimed(&mut addresses, now), MOST_OF_A_STUDENT);
        assert_eq!(addresses.by_address.len(), MOST_OF_A_STUDENT);
        assert!(addresses.claim(now, address(1), INSIDER), "it holds this one");
        assert!(addresses.claim(now, address(2_000), VICTIM), "another student has claims of its own");
        let later = now + CLAIMED_FOR;
        assert!(held_by(&addresses, later, address(1)).is_empty());
        assert!(addresses.claim(later, address(3_000), INSIDER));
        assert_eq!(addresses.by_student[&INSIDER], [address(3_000)]);
        addresses.forget(INSIDER);
        addresses.forget(VICTIM);
        assert!(addresses.by_address.is_empty() && addresses.by_student.is_empty());
    }

    #[test]
    fn an_address_that_was_not_heard_for_the_time_of_consent_is_free() {
        let (mut addresses, now, home) = (Addresses::default(), Instant::now(), address(1));
        addresses.claim(now, home, VICTIM);
        addresses.confirm(now, home, VICTIM);
        let (before, after) = (now + CONFIRMED_FOR - Duration::from_millis(1), now + CONFIRMED_FOR);
        assert!(!addresses.claim(before, home, INSIDER) && addresses.claim(after, home, INSIDER));
        assert_eq!(held_by(&addresses, after, home), [INSIDER]);
        assert!(addresses.claim(after, home, VICTIM), "it may come back");
        assert_eq!(held_by(&addresses, after, home), [INSIDER, VICTIM]);
    }
}
