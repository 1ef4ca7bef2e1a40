//! Limits the packets to addresses that have not proved themselves.
//!
//! An offer may name any address as a candidate, and a source address is easy to forge; ICE sends checks to both.
//! Without a limit, students could direct the SFU's checks at a third party. An address has *proved* itself once it has
//! answered a check, whose transaction id nobody else knows. Until then it gets at most three times the bytes that came
//! from it, as in QUIC (RFC 9000, 8.1), and a few checks beside that: they open the NAT or the firewall in front of
//! this computer for a student whose own checks can't get in (hole punching, RFC 5128, 3.3). A check that is not sent
//! looks like a lost one to the core.
//!
//! An ICE lite agent would send no checks at all (RFC 8445, 2.5). But then it would not know whether an address
//! consents to what it gets (RFC 7675): a connected student could direct its media, 2.5 Mbit/s, at a victim.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::token_bucket::SharedTokenBucket;

/// An address that has not proved itself gets at most this many bytes for each byte that came from it.
const FACTOR: usize = 3;

/// The most bytes that an address may have left: those of some twenty checks.
const MAX_CREDIT: usize = 4_096;

/// The addresses of one peer that are remembered: more than the claims of a peer ([`super::addresses`]).
const MAX_PROVED: usize = 16;
const MAX_CREDITED: usize = 32;

/// The checks of one peer whose answers are awaited, and its pairs that get checks without credit.
const MAX_AWAITED: usize = 128;
const MAX_PAIRS: usize = 512;

/// The checks without credit of one user: the highest pairs are checked at once. A second check of the same pair comes
/// after [`REPEAT`], the next ones after twice as long each: a NAT keeps its binding for 30 s.
const CHECKS_PER_SECOND: u32 = 4;
const CHECK_BURST: u32 = 16;
const REPEAT: Duration = Duration::from_millis(250);

/// The checks without credit of all peers together.
const ALL_PER_SECOND: u32 = 64;
const ALL_BURST: u32 = 640;

/// A budget for checks without credit. The default one is that of all peers.
#[derive(Debug, Clone)]
pub(super) struct CheckBudget(SharedTokenBucket);

impl Default for CheckBudget {
    fn default() -> Self {
        Self(SharedTokenBucket::new(ALL_PER_SECOND, ALL_BURST))
    }
}

impl CheckBudget {
    /// That of one user.
    pub(super) fn of_a_user() -> Self {
        Self(SharedTokenBucket::new(CHECKS_PER_SECOND, CHECK_BURST))
    }

    /// Uses up the budget.
    pub(super) fn empty(&self, now: Instant) {
        self.0.empty(now);
    }

    fn take(&self, now: Instant) -> bool {
        self.0.take(now).is_ok()
    }
}

/// The addresses of one peer, and what may be sent there.
#[derive(Debug)]
pub(super) struct AmplificationLimit {
    /// Addresses that have proved themselves; the last one to do so is at the end.
    proved: Vec<SocketAddr>,
    /// Addresses that have not, and the bytes that each may still get.
    credits: VecDeque<(SocketAddr, usize)>,
    /// The transaction ids of checks to such addresses.
    awaited: VecDeque<(SocketAddr, [u8; 12])>,
    /// For each pair that was checked without credit: the time of the next such check, and the number of past ones.
    pairs: HashMap<(SocketAddr, SocketAddr), (Instant, u32)>,
    of_user: CheckBudget,
    all: CheckBudget,
}

impl AmplificationLimit {
    /// The limit of a peer that has no proved address.
    pub(super) fn new(all: CheckBudget) -> Self {
        Self {
            proved: Vec::new(),
            credits: VecDeque::new(),
            awaited: VecDeque::new(),
            pairs: HashMap::new(),
            of_user: CheckBudget::of_a_user(),
            all,
        }
    }

    /// From now on the checks without credit count for this budget of a user.
    pub(super) fn share(&mut self, of_user: &CheckBudget) {
        self.of_user = of_user.clone();
    }

    /// Records a datagram of the peer.
    pub(super) fn on_receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        if let Some(Stun { is_request: false, transaction }) = Stun::of(datagram)
            && let Some(at) = self.awaited.iter().position(|check| *check == (from, transaction))
        {
            self.awaited.remove(at);
            self.on_proof(from);
        }
        if self.proved.contains(&from) {
            return;
        }
        let gained = datagram.len() * FACTOR;
        match self.credits.iter_mut().find(|(address, _)| *address == from) {
            Some((_, left)) => *left = (*left + gained).min(MAX_CREDIT),
            None => {
                if self.credits.len() == MAX_CREDITED {
                    self.credits.pop_front();
                }
                self.credits.push_back((from, gained.min(MAX_CREDIT)));
            }
        }
    }

    /// Whether a datagram may be sent; counts it if so.
    pub(super) fn allows(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> bool {
        if self.proved.contains(&to) {
            return true;
        }
        if !is_unicast(to) {
            return false;
        }
        let request = Stun::of(datagram).filter(|stun| stun.is_request);
        let allows = self.has_credit(to, datagram.len()) || (request.is_some() && self.may_check(now, (from, to)));
        if let Some(Stun { transaction, .. }) = request.filter(|_| allows) {
            if self.awaited.len() == MAX_AWAITED {
                self.awaited.pop_front();
            }
            self.awaited.push_back((to, transaction));
        }
        allows
    }

    fn on_proof(&mut self, address: SocketAddr) {
        self.proved.retain(|other| *other != address);
        if self.proved.len() == MAX_PROVED {
            self.proved.remove(0);
        }
        self.proved.push(address);
        self.credits.retain(|(other, _)| *other != address);
    }

    fn has_credit(&mut self, to: SocketAddr, bytes: usize) -> bool {
        let Some((_, left)) = self.credits.iter_mut().find(|(address, _)| *address == to) else { return false };
        let has = *left >= bytes;
        *left -= if has { bytes } else { 0 };
        has
    }

    fn may_check(&mut self, now: Instant, pair: (SocketAddr, SocketAddr)) -> bool {
        let (due, count) = self.pairs.get(&pair).copied().unwrap_or((now, 0));
        let may = due <= now && self.of_user.take(now) && self.all.take(now);
        if may {
            if self.pairs.len() == MAX_PAIRS {
                self.pairs.clear();
            }
            self.pairs.insert(pair, (now + REPEAT * 2u32.pow(count.min(6)), count + 1));
        }
        may
    }
}

/// Whether an address belongs to one host: a candidate could name a whole network.
fn is_unicast(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    address.port() != 0 && !ip.is_multicast() && !ip.is_unspecified() && ip != IpAddr::from(Ipv4Addr::BROADCAST)
}

/// A STUN binding request, or a success response to one (RFC 8489, 5).
struct Stun {
    is_request: bool,
    transaction: [u8; 12],
}

impl Stun {
    fn of(datagram: &[u8]) -> Option<Self> {
        let is_request = match datagram.get(..2)? {
            [0, 1] => true,
            [1, 1] => false,
            _ => return None,
        };
        Some(Self { is_request, transaction: datagram.get(8..20)?.try_into().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 100;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn local() -> SocketAddr {
        address("192.0.2.1:5000")
    }

    /// A STUN message of 100 bytes.
    fn stun(kind: u8, transaction: u8) -> Vec<u8> {
        let mut message = vec![kind, 1, 0, 80, 0x21, 0x12, 0xa4, 0x42];
        message.resize(20, transaction);
        message.resize(BYTES, 0);
        message
    }

    fn request(transaction: u8) -> Vec<u8> {
        stun(0, transaction)
    }

    /// The checks that get through when the core repeats them every 50 ms for this long to each address.
    fn checks(limit: &mut AmplificationLimit, start: Instant, to: &[SocketAddr], seconds: u32) -> usize {
        let times = (0..seconds * 20).map(|n| start + Duration::from_millis(50) * n);
        times.map(|now| to.iter().filter(|to| limit.allows(now, local(), **to, &request(1))).count()).sum()
    }

    #[test]
    fn an_address_that_answers_a_check_gets_everything_and_others_do_not() {
        let (mut limit, now) = (AmplificationLimit::new(CheckBudget::default()), Instant::now());
        let (student, third) = (address("198.51.100.7:9"), address("203.0.113.7:9"));
        assert!(limit.allows(now, local(), student, &request(1)) && limit.allows(now, local(), third, &request(2)));
        assert!(!limit.allows(now, local(), student, &[22; 1_000]), "no DTLS before the answer");
        limit.on_receive(third, &stun(1, 1));
        limit.on_receive(student, &stun(1, 9));
        assert!(!limit.allows(now, local(), student, &[22; 1_000]), "answers to checks that it did not get");
        limit.on_receive(student, &stun(1, 1));
        assert!((0..100).all(|_| limit.allows(now, local(), student, &[22; 1_000])));
        assert!(!limit.allows(now, local(), third, &[22; 1_000]));
    }

    #[test]
    fn an_address_gets_at_most_three_times_what_came_from_it() {
        let (mut limit, now) = (AmplificationLimit::new(CheckBudget::default()), Instant::now());
        let from = address("198.51.100.7:9");
        for _ in 0..5 {
            limit.on_receive(from, &request(1));
            let sent = (0..10).filter(|_| limit.allows(now, local(), from, &stun(1, 1))).count();
            assert_eq!(sent, FACTOR);
        }
    }

    #[test]
    fn a_peer_with_many_candidates_causes_few_checks() {
        let mut limit = AmplificationLimit::new(CheckBudget::default());
        let many: Vec<SocketAddr> = (1..=100).map(|port| SocketAddr::from(([203, 0, 113, 7], port))).collect();
        let most = (CHECK_BURST + CHECKS_PER_SECOND * 8) as usize;
        assert!((1..=most).contains(&checks(&mut limit, Instant::now(), &many, 8)));
    }

    #[test]
    fn all_peers_together_cause_few_checks() {
        let (all, start) = (CheckBudget::default(), Instant::now());
        let many: Vec<SocketAddr> = (1..=32).map(|port| SocketAddr::from(([203, 0, 113, 7], port))).collect();
        let mut limits: Vec<_> = (0..200).map(|_| AmplificationLimit::new(all.clone())).collect();
        let mut sent = 0;
        for n in 0..160 {
            let now = start + Duration::from_millis(50) * n;
            for limit in &mut limits {
                sent += many.iter().filter(|to| limit.allows(now, local(), **to, &request(1))).count();
            }
        }
        let most = (ALL_BURST + ALL_PER_SECOND * 8) as usize;
        assert!((most * 9 / 10..=most).contains(&sent), "{sent} checks in 8 s, at most {most}");
    }

    /// A NAT in front of this computer lets a student in once a check has left: to each of its candidates one leaves at
    /// once, and more follow in case that one is lost.
    #[test]
    fn each_candidate_of_a_student_is_checked_at_once_and_again() {
        let (mut limit, start) = (AmplificationLimit::new(CheckBudget::default()), Instant::now());
        let few: Vec<SocketAddr> = (1..=6).map(|n| SocketAddr::from(([198, 51, 100, n], 9))).collect();
        assert!(few.iter().all(|to| limit.allows(start, local(), *to, &request(1))));
        for to in few {
            let again = checks(&mut limit, start, &[to], 8);
            assert!((2..=6).contains(&again), "{to}: {again} more");
        }
    }

    #[test]
    fn a_candidate_that_is_not_one_host_gets_nothing() {
        let (mut limit, now) = (AmplificationLimit::new(CheckBudget::default()), Instant::now());
        for to in ["255.255.255.255:9", "224.0.0.1:9", "[ff02::1]:9", "0.0.0.0:9", "[::]:9", "198.51.100.7:0"] {
            assert!(!limit.allows(now, local(), address(to), &request(1)), "{to}");
        }
    }

    #[test]
    fn the_state_of_a_peer_is_bounded() {
        let (mut limit, mut now) = (AmplificationLimit::new(CheckBudget::default()), Instant::now());
        for n in 0..5_000u32 {
            now += Duration::from_secs(1);
            let from = SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + n), 9));
            limit.on_receive(from, &request(1));
            limit.allows(now, local(), from, &request(n as u8));
            let other = SocketAddr::from((Ipv4Addr::from_bits(0x0b00_0000 + n), 9));
            limit.allows(now, local(), other, &request(1));
            limit.on_receive(from, &stun(1, n as u8));
        }
        let sizes = [limit.proved.len(), limit.credits.len(), limit.awaited.len(), limit.pairs.len()];
        let most = [MAX_PROVED, MAX_CREDITED, MAX_AWAITED, MAX_PAIRS];
        assert!(sizes.iter().zip(most).all(|(size, most)| *size <= most), "{sizes:?}");
        assert!(limit.proved.contains(&SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + 4_999), 9))), "the newest");
    }
}
