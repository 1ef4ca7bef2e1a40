//! Current sessions: found by room and secret id, and removed with their player.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::problem::Problem;
use crate::id::RoomId;
use crate::protocol::IceCandidate;

/// The most sessions, pending ones included: as many as the server takes connections.
const MAX_SESSIONS: usize = 10_000;

/// The most candidates over the life of a session: two fragments of a machine with many interfaces.
pub const MAX_CANDIDATES: usize = 128;

/// All sessions of a server.
#[derive(Debug)]
pub(super) struct Sessions {
    by_id: Mutex<HashMap<String, Session>>,
    /// One permit for each session that may still begin.
    free: Arc<Semaphore>,
}

/// The parts of a new session.
pub(super) struct NewSession {
    pub(super) room: RoomId,
    pub(super) ufrag: Option<String>,
    pub(super) candidates: mpsc::Sender<IceCandidate>,
    pub(super) over: watch::Receiver<()>,
}

/// One player's session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    room: RoomId,
    /// The entity tag of the ICE session, in quotes.
    pub(super) etag: String,
    /// The player's `ice-ufrag`.
    pub(super) ufrag: Option<String>,
    candidates: mpsc::Sender<IceCandidate>,
    added: Arc<AtomicUsize>,
    over: watch::Receiver<()>,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self { by_id: Mutex::default(), free: Arc::new(Semaphore::new(MAX_SESSIONS)) }
    }

    /// Reserves one more session, unless the server is full.
    pub(super) fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Begins a session; returns its id and its entity tag. The permit is held until `over` is closed.
    pub(super) fn begin(self: &Arc<Self>, permit: OwnedSemaphorePermit, new: NewSession) -> (String, String) {
        let NewSession { room, ufrag, candidates, mut over } = new;
        // Whoever knows the id can end the session, so it has 128 bits from a cryptographic generator.
        let id = format!("{:032x}", rand::random::<u128>());
        let etag = format!("\"{:016x}\"", rand::random::<u64>());
        let session =
            Session { room, etag: etag.clone(), ufrag, candidates, added: Arc::default(), over: over.clone() };
        self.lock().insert(id.clone(), session);
        let (sessions, known_as) = (self.clone(), id.clone());
        tokio::spawn(async move {
            _ = over.changed().await;
            sessions.lock().remove(&known_as);
            drop(permit);
        });
        (id, etag)
    }

    pub(super) fn find(&self, room: &str, id: &str) -> Option<Session> {
        self.lock().get(id).filter(|session| session.room.as_str() == room).cloned()
    }

    /// Ends a session. The returned channel closes once the player has left.
    pub(super) fn take(&self, room: &str, id: &str) -> Option<watch::Receiver<()>> {
        let mut sessions = self.lock();
        sessions.get(id).filter(|session| session.room.as_str() == room)?;
        sessions.remove(id).map(|session| session.over)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Passes candidates to the teacher.
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

    #[tokio::test]
    async fn a_session_is_found_in_its_room_until_it_is_over() {
        let sessions = Arc::new(Sessions::new());
        let (candidates, mut queue) = mpsc::channel(MAX_CANDIDATES);
        let (alive, over) = watch::channel(());
        let room: RoomId = "1".parse().unwrap();
        let new = NewSession { room, ufrag: None, candidates, over };
        let (id, etag) = sessions.begin(sessions.reserve().unwrap(), new);
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
        while sessions.free.available_permits() < MAX_SESSIONS {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn sessions_are_bounded() {
        let sessions = Arc::new(Sessions::new());
        let permits: Vec<_> = (0..MAX_SESSIONS).filter_map(|_| sessions.reserve()).collect();
        assert!(permits.len() == MAX_SESSIONS && sessions.reserve().is_none());
        drop(permits);
        assert!(sessions.reserve().is_some());
    }
}
