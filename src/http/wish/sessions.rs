//! Current sessions: found by room and secret id, and removed with their client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::IceRestart;
use super::problem::Problem;
use crate::id::RoomId;
use crate::network::{ClientState, Network, SharedClientState};
use crate::protocol::IceCandidate;

/// The most sessions, pending ones included: as many as the server takes connections.
const MAX_SESSIONS: usize = 10_000;

/// Offers that may wait for an answer at a time, and those of one network. Each holds an offer of 64 kB at most and a
/// member of a room.
const MAX_PENDING: usize = 512;
const MAX_PENDING_OF_NETWORK: usize = 384;

/// Sessions without media, and those of one network: a class behind one address.
const MAX_UNCONNECTED: usize = 1_000;
const MAX_UNCONNECTED_OF_NETWORK: usize = 600;

/// The publisher hangs up on a client that does not connect before this time, so an older session has media.
const CONNECTS_WITHIN: Duration = Duration::from_secs(30);

/// The most candidates over the life of a session: two fragments of a machine with many interfaces.
pub const MAX_CANDIDATES: usize = 128;

/// All sessions of a server.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<String, Session>,
    /// The sessions, and the offers that wait for an answer.
    places: usize,
    pending: usize,
    pending_by_network: HashMap<Network, usize>,
}

/// The place of a session, and before that of an offer that waits for an answer.
#[derive(Debug)]
pub(super) struct Place {
    sessions: Arc<Sessions>,
    network: Network,
    is_pending: bool,
}

/// The parts of a new session.
pub(super) struct NewSession {
    pub(super) room: RoomId,
    pub(super) ufrag: Option<String>,
    pub(super) candidates: mpsc::Sender<IceCandidate>,
    pub(super) restarts: Option<mpsc::Sender<IceRestart>>,
    pub(super) over: watch::Receiver<()>,
    pub(super) client_state: SharedClientState,
}

/// One client's session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    room: RoomId,
    /// The entity tag of the ICE session, in quotes.
    pub(super) etag: String,
    /// The client's `ice-ufrag`.
    pub(super) ufrag: Option<String>,
    candidates: mpsc::Sender<IceCandidate>,
    /// Takes restarts of ICE, where they are possible.
    pub(super) restarts: Option<mpsc::Sender<IceRestart>>,
    added: Arc<AtomicUsize>,
    over: watch::Receiver<()>,
    network: Network,
    begun: Instant,
    client_state: SharedClientState,
}

impl Sessions {
    /// Reserves a place for one more session, unless the server is full. If too many sessions have no media, this ends
    /// the oldest of them in the network that has most.
    pub(super) fn reserve(self: &Arc<Self>, network: Network) -> Option<Place> {
        let mut table = self.lock();
        let of_network = table.pending_by_network.get(&network).copied().unwrap_or_default();
        if table.places >= MAX_SESSIONS || table.pending >= MAX_PENDING || of_network >= MAX_PENDING_OF_NETWORK {
            return None;
        }
        table.limit_unconnected(Instant::now(), network);
        table.places += 1;
        table.pending += 1;
        *table.pending_by_network.entry(network).or_default() += 1;
        Some(Place { sessions: self.clone(), network, is_pending: true })
    }

    /// Begins a session; returns its id and its entity tag. The place is held until `over` is closed.
    pub(super) fn begin(self: &Arc<Self>, mut place: Place, new: NewSession) -> (String, String) {
        let NewSession { room, ufrag, candidates, restarts, mut over, client_state } = new;
        // Whoever knows the id can end the session, so it has 128 bits from a cryptographic generator.
        let id = format!("{:032x}", rand::random::<u128>());
        let etag = new_etag();
        let session = Session {
            room,
            etag: etag.clone(),
            ufrag,
            candidates,
            restarts,
            added: Arc::default(),
            over: over.clone(),
            network: place.network,
            begun: Instant::now(),
            client_state,
        };
        let mut table = self.lock();
        table.by_id.insert(id.clone(), session);
        table.answered(&mut place);
        drop(table);
        let (sessions, known_as) = (self.clone(), id.clone());
        tokio::spawn(async move {
            _ = over.changed().await;
            sessions.lock().by_id.remove(&known_as);
            drop(place);
        });
        (id, etag)
    }

    pub(super) fn find(&self, room: &str, id: &str) -> Option<Session> {
        self.lock().by_id.get(id).filter(|session| session.room.as_str() == room).cloned()
    }

    /// The client of a session has restarted ICE. Returns the new entity tag; none if the session is over, or if
    /// another request has changed its tag.
    pub(super) fn restarted(&self, room: &str, id: &str, before: &str, ufrag: String) -> Option<String> {
        let mut table = self.lock();
        let is_it = |session: &&mut Session| session.room.as_str() == room && session.etag == before;
        let session = table.by_id.get_mut(id).filter(is_it)?;
        session.etag = new_etag();
        session.ufrag = Some(ufrag);
        session.added = Arc::default();
        Some(session.etag.clone())
    }

    /// Ends a session. The returned channel closes once the client has left.
    pub(super) fn take(&self, room: &str, id: &str) -> Option<watch::Receiver<()>> {
        let mut table = self.lock();
        table.by_id.get(id).filter(|session| session.room.as_str() == room)?;
        table.by_id.remove(id).map(|session| session.over)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_etag() -> String {
    format!("\"{:016x}\"", rand::random::<u64>())
}

impl Table {
    /// Makes place for one more session without media.
    fn limit_unconnected(&mut self, now: Instant, network: Network) {
        let mut sizes: HashMap<Network, usize> = HashMap::new();
        let unconnected = self.by_id.values().filter(|session| !session.is_connected(now));
        unconnected.for_each(|session| *sizes.entry(session.network).or_default() += 1);
        let all: usize = sizes.values().sum();
        let largest = if sizes.get(&network).is_some_and(|own| *own >= MAX_UNCONNECTED_OF_NETWORK) {
            Some(network)
        } else if all >= MAX_UNCONNECTED {
            sizes.into_iter().max_by_key(|(_, size)| *size).map(|(largest, _)| largest)
        } else {
            None
        };
        let Some(largest) = largest else { return };
        let of_it = |session: &Session| session.network == largest && !session.is_connected(now);
        let oldest = self.by_id.iter().filter(|(_, session)| of_it(session)).min_by_key(|(_, session)| session.begun);
        // The client leaves the room with the last sender of candidates.
        if let Some(id) = oldest.map(|(id, _)| id.clone()) {
            self.by_id.remove(&id);
        }
    }

    fn answered(&mut self, place: &mut Place) {
        if std::mem::take(&mut place.is_pending) {
            self.pending -= 1;
            if let Some(of_network) = self.pending_by_network.get_mut(&place.network) {
                *of_network -= 1;
                if *of_network == 0 {
                    self.pending_by_network.remove(&place.network);
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let sessions = self.sessions.clone();
        let mut table = sessions.lock();
        table.answered(self);
        table.places -= 1;
    }
}

impl Session {
    fn is_connected(&self, now: Instant) -> bool {
        self.client_state.get() == ClientState::Connected || now.saturating_duration_since(self.begun) > CONNECTS_WITHIN
    }

    /// Passes candidates to the side that answered.
    pub(super) fn add(&self, candidates: Vec<IceCandidate>) -> Result<(), Problem> {
        let before = self.added.fetch_add(candidates.len(), Ordering::Relaxed);
        if before + candidates.len() > MAX_CANDIDATES {
            return Err(Problem::too_many_candidates(MAX_CANDIDATES));
        }
        // The queue has space for all candidates of a session, so it fails only if it is closed.
        candidates.into_iter().try_for_each(|c| self.candidates.try_send(c)).map_err(|_| Problem::no_session())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(n).into())
    }

    /// A player that stays until its session ends.
    fn new_session(client_state: SharedClientState) -> NewSession {
        let (candidates, mut queue) = mpsc::channel(MAX_CANDIDATES);
        let (alive, over) = watch::channel(());
        tokio::spawn(async move {
            while queue.recv().await.is_some() {}
            drop(alive);
        });
        NewSession { room: "1".parse().unwrap(), ufrag: None, candidates, restarts: None, over, client_state }
    }

    fn begin(sessions: &Arc<Sessions>, network: Network, client_state: ClientState) -> Option<String> {
        let shared = SharedClientState::default();
        shared.set(client_state);
        Some(sessions.begin(sessions.reserve(network)?, new_session(shared)).0)
    }

    #[tokio::test]
    async fn a_session_is_found_in_its_room_until_it_is_over() {
        let sessions = Arc::new(Sessions::default());
        let (candidates, mut queue) = mpsc::channel(MAX_CANDIDATES);
        let (alive, over) = watch::channel(());
        let new = NewSession { candidates, over, ..new_session(SharedClientState::default()) };
        let (id, etag) = sessions.begin(sessions.reserve(network(1)).unwrap(), new);
        assert!(id.len() == 32 && etag.starts_with('"'));
        assert!(sessions.find("2", &id).is_none() && sessions.find("1", "x").is_none());
        assert!(sessions.take("2", &id).is_none());
        let session = sessions.find("1", &id).unwrap();
        assert!(session.add(vec![IceCandidate::default(); MAX_CANDIDATES]).is_ok());
        assert!(session.add(vec![IceCandidate::default()]).is_err());
        drop(session);
        let mut over = sessions.take("1", &id).unwrap();
        while queue.recv().await.is_some() {}
        drop(alive);
        assert!(over.changed().await.is_err());
        while sessions.lock().places > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn sessions_are_bounded() {
        let sessions = Arc::new(Sessions::default());
        let all = (0..MAX_SESSIONS as u32 + 10).filter_map(|n| begin(&sessions, network(n), ClientState::Connected));
        assert_eq!(all.count(), MAX_SESSIONS);
        let (id, _) =
            sessions.lock().by_id.iter().next().map(|(id, session)| (id.clone(), session.etag.clone())).unwrap();
        _ = sessions.take("1", &id).unwrap().changed().await;
        while sessions.lock().places == MAX_SESSIONS {
            tokio::task::yield_now().await;
        }
        assert!(begin(&sessions, network(1), ClientState::Connected).is_some());
    }

    #[test]
    fn offers_of_one_network_leave_places_for_others() {
        let sessions = Arc::new(Sessions::default());
        let flood: Vec<_> = (0..2_000).filter_map(|_| sessions.reserve(network(1))).collect();
        let others: Vec<_> = (2..200).filter_map(|n| sessions.reserve(network(n))).collect();
        assert_eq!((flood.len(), others.len()), (MAX_PENDING_OF_NETWORK, MAX_PENDING - MAX_PENDING_OF_NETWORK));
        drop((flood, others));
        let table = sessions.lock();
        assert!(table.pending == 0 && table.places == 0 && table.pending_by_network.is_empty());
    }

    #[tokio::test]
    async fn sessions_without_media_make_place_for_others_and_those_with_media_never_do() {
        let sessions = Arc::new(Sessions::default());
        let watching = begin(&sessions, network(1), ClientState::Connected).unwrap();
        let first = begin(&sessions, network(1), ClientState::Joined).unwrap();
        let flood: Vec<_> = (0..2_000).filter_map(|_| begin(&sessions, network(1), ClientState::Joined)).collect();
        let alive = |id: &String| sessions.find("1", id).is_some();
        assert_eq!(flood.len(), 2_000, "no offer is refused");
        assert!(alive(&watching) && !alive(&first));
        assert_eq!(flood.iter().filter(|id| alive(id)).count(), MAX_UNCONNECTED_OF_NETWORK);
        // A class in another network is served, and the flood makes place.
        let class: Vec<_> = (0..500).filter_map(|_| begin(&sessions, network(2), ClientState::Joined)).collect();
        assert!(class.len() == 500 && class.iter().all(alive) && alive(&watching));
        assert_eq!(flood.iter().filter(|id| alive(id)).count(), MAX_UNCONNECTED - 500);
    }
}
