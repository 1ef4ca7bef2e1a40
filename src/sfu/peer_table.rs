//! The router's view of the peers: the worker of each peer, and the peers to which a datagram may belong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCrypto;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::Message;

use super::PeerId;
use super::addresses::{AddressTable, Claimants, MAX_OF_A_PEER};
use super::demux::Datagram;
use super::event::OfferRefusal;
use super::places::{PeerPlace, Places};
use super::port::Announcer;
use super::unconnected::{Origin, UnconnectedPeers};
use super::user_budgets::{BudgetTable, Role, StunKind, UserBudgets};
use crate::id::UserId;
use crate::network::NetworkTag;

/// The least time between two offers of one user: an answer takes milliseconds, and nobody needs two.
const OFFER_INTERVAL: Duration = Duration::from_millis(300);

/// Sending to one peer takes as much CPU as receiving and routing the datagrams of this many peers: with 120 students
/// on two workers the router's thread used 45 jiffies while the other one used 40.
const RECEIVES_PER_SEND: usize = 16;

/// The router's record of a peer.
pub(super) struct Known {
    user: UserId,
    ufrag: String,
    password: String,
    /// Whether the user name fragment does not begin with the tag of the SFU.
    is_named: bool,
    created: Instant,
    /// The number of its worker.
    pub(super) worker: usize,
    /// Where its offer came from.
    origin: Origin,
    is_connected: bool,
    place: PeerPlace,
    role: Role,
    pub(super) budgets: UserBudgets,
}

/// The older peer of a user, which a new one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Older {
    pub(super) id: PeerId,
    /// The number of its worker.
    pub(super) worker: usize,
    /// Whether it has a place.
    pub(super) is_connected: bool,
}

/// A peer that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) id: PeerId,
    /// The number of its worker.
    pub(super) worker: usize,
    /// The peer that must be dropped for it, because too many have not connected.
    pub(super) evicted: Option<PeerId>,
}

pub(super) struct PeerTable {
    peers: HashMap<PeerId, Known>,
    next_id: PeerId,
    by_user: HashMap<UserId, PeerId>,
    by_ufrag: HashMap<String, PeerId>,
    addresses: AddressTable<PeerId>,
    /// Tells a shared port of the addresses.
    announcer: Option<Announcer>,
    unconnected: UnconnectedPeers,
    budgets: BudgetTable,
    /// The number of peers of each worker.
    of_worker: Vec<usize>,
    /// STUN messages of peers that exceeded the limit and were dropped.
    pub(super) stun_dropped: u64,
}

impl PeerTable {
    /// A table for this number of workers; the first worker shares its thread with the router.
    pub(super) fn new(workers: usize, announcer: Option<Announcer>) -> Self {
        Self {
            peers: HashMap::new(),
            next_id: 0,
            by_user: HashMap::new(),
            by_ufrag: HashMap::new(),
            addresses: AddressTable::new(MAX_OF_A_PEER),
            announcer,
            unconnected: UnconnectedPeers::default(),
            budgets: BudgetTable::default(),
            of_worker: vec![0; workers],
            stun_dropped: 0,
        }
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Known> {
        self.peers.get(&id)
    }

    /// The newest peer of a user.
    pub(super) fn of_user(&self, user: &UserId) -> Option<(PeerId, &Known)> {
        let id = *self.by_user.get(user)?;
        Some((id, self.peers.get(&id)?))
    }

    /// Checks whether a user may have a new peer. Returns the older peer that the new one replaces.
    pub(super) fn admit(&self, now: Instant, user: &UserId, places: &Places) -> Result<Option<Older>, OfferRefusal> {
        let older = self.of_user(user);
        if older.is_some_and(|(_, known)| now.saturating_duration_since(known.created) < OFFER_INTERVAL) {
            return Err(OfferRefusal::TooFast(user.clone()));
        }
        let older = older.map(|(id, known)| Older { id, worker: known.worker, is_connected: known.is_connected });
        if places.are_taken() && !older.is_some_and(|older| older.is_connected) {
            return Err(OfferRefusal::Full(places.most()));
        }
        Ok(older)
    }

    /// Adds a peer with these local ICE credentials, and chooses its worker.
    pub(super) fn add(
        &mut self,
        now: Instant,
        user: UserId,
        (ufrag, password): (String, String),
        origin: Origin,
        place: PeerPlace,
    ) -> Added {
        let (id, worker) = (self.next_id, self.least_busy());
        let evicted = self.unconnected.add(origin.clone(), id);
        self.next_id += 1;
        self.of_worker[worker] += 1;
        self.by_ufrag.insert(ufrag.clone(), id);
        self.by_user.insert(user.clone(), id);
        let role = Role::Student;
        let budgets = self.budgets.begin(now, &user, role, &origin);
        self.peers.insert(
            id,
            Known {
                user,
                ufrag,
                password,
                is_named: false,
                created: now,
                worker,
                origin,
                is_connected: false,
                place,
                role,
                budgets,
            },
        );
        Added { id, worker, evicted }
    }

    /// Adds a publisher with these local ICE credentials, on the router's own worker. The peer is not in the
    /// table of users, and does not count among the unconnected peers, because there are few: at most two that
    /// send, and two that will.
    pub(super) fn add_publisher(
        &mut self,
        now: Instant,
        user: UserId,
        network: Option<NetworkTag>,
        (ufrag, password): (String, String),
        place: PeerPlace,
    ) -> PeerId {
        let (id, worker) = (self.next_id, 0);
        self.next_id += 1;
        self.of_worker[worker] += 1;
        self.name(id, &ufrag);
        let (origin, role) = (Origin::of(&user, network), Role::Publisher);
        let budgets = self.budgets.begin(now, &user, role, &origin);
        self.peers.insert(
            id,
            Known {
                user,
                ufrag,
                password,
                is_named: true,
                created: now,
                worker,
                origin,
                is_connected: false,
                place,
                role,
                budgets,
            },
        );
        id
    }

    /// The ICE session of a publisher has been restarted with these local credentials.
    pub(super) fn restarted(&mut self, id: PeerId, (ufrag, password): (String, String)) {
        let Some(known) = self.peers.get_mut(&id) else { return };
        let before = std::mem::replace(&mut known.ufrag, ufrag.clone());
        known.password = password;
        self.unname(before);
        self.name(id, &ufrag);
    }

    /// The port must know before the publisher gets its answer.
    fn name(&mut self, id: PeerId, ufrag: &str) {
        self.by_ufrag.insert(ufrag.to_owned(), id);
        if let Some(announcer) = &self.announcer {
            announcer.named(ufrag.to_owned());
        }
    }

    fn unname(&mut self, ufrag: String) {
        self.by_ufrag.remove(&ufrag);
        if let Some(announcer) = &self.announcer {
            announcer.unnamed(ufrag);
        }
    }

    /// Records that a peer's connection is established.
    pub(super) fn connected(&mut self, id: PeerId) {
        if let Some(known) = self.peers.get_mut(&id) {
            known.is_connected = true;
            self.unconnected.remove(&known.origin, id);
        }
    }

    pub(super) fn remove(&mut self, id: PeerId) -> Option<UserId> {
        let known = self.peers.remove(&id)?;
        self.of_worker[known.worker] -= 1;
        known.place.give_up();
        self.budgets.end(Instant::now(), &known.user, known.role);
        self.unconnected.remove(&known.origin, id);
        let free = self.addresses.forget(id);
        if let Some(announcer) = &self.announcer {
            free.into_iter().for_each(|address| announcer.released(address));
        }
        if known.is_named {
            self.unname(known.ufrag);
        } else {
            self.by_ufrag.remove(&known.ufrag);
        }
        if self.by_user.get(&known.user) == Some(&id) {
            self.by_user.remove(&known.user);
        }
        Some(known.user)
    }

    /// Records that a connection has decrypted a packet from this address, to which its media is sent.
    pub(super) fn confirm(&mut self, now: Instant, from: SocketAddr, id: PeerId) {
        if self.peers.contains_key(&id)
            && self.addresses.confirm(now, from, id)
            && let Some(announcer) = &self.announcer
        {
            announcer.confirmed(from);
        }
    }

    /// The peers to which a datagram may belong. Addresses are learnt from STUN requests that are authenticated by the
    /// password of our answer, see [`AddressTable`].
    pub(super) fn route(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: Datagram<'_>,
        bytes: &[u8],
        crypto: &dyn RTCCrypto,
    ) -> Claimants<PeerId> {
        match datagram {
            Datagram::DtlsOrSrtp => self.addresses.claimants(now, from),
            Datagram::Unknown | Datagram::UnencryptedRtcp => Claimants::default(),
            Datagram::Stun { .. } => {
                let claimants = self.addresses.claimants(now, from);
                claimants.map(|id| id.filter(|id| self.takes_stun(now, *id, StunKind::Response)))
            }
            Datagram::StunRequest { ufrag } => {
                let Some(id) = self.by_ufrag.get(ufrag).copied() else { return Claimants::default() };
                let passes = if self.addresses.is_claimed_by(now, from, id) {
                    self.takes_stun(now, id, StunKind::FromPath)
                } else {
                    // The cheapest checks come first.
                    self.addresses.is_free_for(now, from, id)
                        && self.takes_stun(now, id, StunKind::FromElsewhere)
                        && self.peers.get(&id).is_some_and(|known| is_authentic(bytes, &known.password, crypto))
                        && self.claim(now, from, id)
                };
                let mut claimants = Claimants::default();
                claimants[0] = Some(id).filter(|_| passes);
                claimants
            }
        }
    }

    fn claim(&mut self, now: Instant, from: SocketAddr, id: PeerId) -> bool {
        let has = self.addresses.claim(now, from, id);
        // The port must know before the peer gets a response.
        if let Some(announcer) = self.announcer.as_ref().filter(|_| has) {
            announcer.claimed(from);
        }
        has
    }

    /// Whether one more STUN message of this kind is accepted; counts those that are not.
    fn takes_stun(&mut self, now: Instant, id: PeerId, kind: StunKind) -> bool {
        let takes = self.peers.get(&id).is_some_and(|known| known.budgets.stun.take(now, kind));
        self.stun_dropped += u64::from(!takes);
        takes
    }

    /// The worker whose thread has the lowest load. The thread of the first one also receives for all peers.
    fn least_busy(&self) -> usize {
        let receives = self.peers.len();
        let load =
            |(worker, peers): (usize, &usize)| peers * RECEIVES_PER_SEND + if worker == 0 { receives } else { 0 };
        self.of_worker.iter().enumerate().min_by_key(|worker| load(*worker)).map_or(0, |(worker, _)| worker)
    }
}

/// Whether the author of a STUN request knows the password, which only the answer contains (RFC 8445, 7.3).
fn is_authentic(bytes: &[u8], password: &str, crypto: &dyn RTCCrypto) -> bool {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).is_ok()
        && MessageIntegrity::check(&mut message, password.as_bytes(), crypto).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfu::demux::classify;

    fn add(table: &mut PeerTable, users: std::ops::Range<u32>) -> Vec<PeerId> {
        let add = |n: u32| {
            let user: UserId = n.to_string().parse().unwrap();
            let origin = Origin::of(&user, None);
            let place = PeerPlace::new(Places::new(1));
            table.add(Instant::now(), user, (n.to_string(), String::new()), origin, place).id
        };
        users.map(add).collect()
    }

    #[test]
    fn the_router_thread_gets_fewer_peers_because_it_receives_for_all() {
        for (workers, expected) in [(1, vec![120]), (2, vec![56, 64]), (4, vec![24, 32, 32, 32])] {
            let mut table = PeerTable::new(workers, None);
            add(&mut table, 1..121);
            assert_eq!(table.of_worker, expected);
        }
    }

    #[test]
    fn a_worker_that_lost_peers_gets_the_next_ones() {
        let mut table = PeerTable::new(2, None);
        let ids = add(&mut table, 1..121);
        let of_first: Vec<PeerId> = ids.into_iter().filter(|id| table.get(*id).unwrap().worker == 0).collect();
        of_first[..20].iter().for_each(|id| assert!(table.remove(*id).is_some()));
        assert_eq!((table.peers.len(), &table.of_worker[..]), (100, &[36, 64][..]));
        add(&mut table, 200..215);
        assert_eq!(table.of_worker, [51, 64]);
        assert!(table.of_user(&"1".parse().unwrap()).is_none() && table.of_user(&"214".parse().unwrap()).is_some());
    }

    #[test]
    fn only_connected_peers_fill_the_room_and_each_may_be_replaced_by_its_user() {
        let (mut table, places, start) = (PeerTable::new(1, None), Places::new(1), Instant::now());
        let ids = add(&mut table, 1..100);
        let now = start + Duration::from_secs(1);
        let user = |n: u32| n.to_string().parse::<UserId>().unwrap();
        assert!(table.admit(now, &user(200), &places).unwrap().is_none());
        table.connected(ids[0]);
        let place = PeerPlace::new(places.clone());
        assert!(place.take());
        assert!(matches!(table.admit(now, &user(200), &places), Err(OfferRefusal::Full(1))));
        assert!(matches!(table.admit(now, &user(2), &places), Err(OfferRefusal::Full(1))), "it has not connected");
        let older = Older { id: ids[0], worker: 0, is_connected: true };
        assert_eq!(table.admit(now, &user(1), &places).unwrap(), Some(older));
        let soon = Instant::now();
        assert!(matches!(table.admit(soon, &user(1), &places), Err(OfferRefusal::TooFast(_))));
    }

    #[test]
    fn a_user_that_offers_again_has_the_budget_that_is_left() {
        let (mut table, now) = (PeerTable::new(1, None), Instant::now());
        let mut first = None;
        for _ in 0..3 {
            let id = add(&mut table, 1..2)[0];
            let budgets = table.get(id).unwrap().budgets.clone();
            let taken = (0..1_000).filter(|_| budgets.stun.take(now, StunKind::FromPath)).count();
            assert_eq!(taken > 0, first.is_none(), "{taken}");
            first.get_or_insert(taken);
            table.remove(id);
        }
    }

    #[test]
    fn unencrypted_rtcp_reaches_no_peer() {
        let (mut table, now) = (PeerTable::new(1, None), Instant::now());
        let (id, from) = (add(&mut table, 1..2)[0], "192.0.2.7:9".parse().unwrap());
        table.confirm(now, from, id);
        let crypto = rtc::crypto::default_provider().unwrap();
        let mut routes = |datagram: &[u8]| {
            let claimants = table.route(now, from, classify(datagram), datagram, crypto.crypto());
            claimants.into_iter().flatten().collect::<Vec<_>>()
        };
        // A receiver report without blocks, with the E flag and the index of SRTCP (RFC 3711, 3.4), and a tag.
        let mut report = [&[0x80, 201, 0, 1, 0, 0, 0, 7][..], &[9; 16], &[0x80, 0, 0, 1]].concat();
        assert_eq!(routes(&report), [id]);
        report[24] = 0;
        assert_eq!(routes(&report), [0; 0]);
    }
}
