//! A store for several servers in one process.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Lease, MAX_NODES, MemberChange, Node, NodeView, Renewal, Store, StoreError, Times};
use crate::id::{NodeId, RoomId, UserId};
use crate::protocol::User;
use crate::room::RoomSummary;

/// A store in the memory of this process. Clones are the same store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
    life: Life,
    /// Whether calls by this store and its clones fail.
    is_away: Arc<AtomicBool>,
    /// The time that each call takes, in milliseconds.
    answers_after: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy)]
struct Life(Duration);

impl Default for Life {
    fn default() -> Self {
        Self(Times::default().lease)
    }
}

#[derive(Debug, Default)]
struct Shared {
    generation: u64,
    leases: HashMap<RoomId, (Lease, Instant)>,
    nodes: BTreeMap<NodeId, (NodeView, Instant)>,
    members: HashMap<RoomId, (BTreeMap<UserId, User>, Instant)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(times: Times) -> Self {
        Self { life: Life(times.lease), ..Self::default() }
    }

    /// The same store on a line of its own, which may be away.
    #[must_use]
    pub fn on_another_line(&self) -> Self {
        Self { is_away: Arc::default(), answers_after: Arc::default(), ..self.clone() }
    }

    /// From now on every call on this line takes so long.
    #[cfg(test)]
    pub(crate) fn answer_after(&self, pause: Duration) {
        self.answers_after.store(pause.as_millis() as u64, Ordering::Relaxed);
    }

    /// From now on every call on this line fails, or none.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    /// The members of a room, as other programs would see them.
    #[cfg(test)]
    pub(crate) fn members(&self, room: &RoomId) -> Vec<User> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.forget(Instant::now());
        shared.members.get(room).map(|(users, _)| users.values().cloned().collect()).unwrap_or_default()
    }

    /// The state without what has ended.
    async fn open(&self) -> Result<(MutexGuard<'_, Shared>, Instant), StoreError> {
        let pause = self.answers_after.load(Ordering::Relaxed);
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        self.opened(shared)
    }

    fn opened<'a>(&self, mut shared: MutexGuard<'a, Shared>) -> Result<(MutexGuard<'a, Shared>, Instant), StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            let (server, cause) = ("memory".into(), "it is away".into());
            return Err(StoreError::Unreachable { server, cause });
        }
        let now = Instant::now();
        shared.forget(now);
        Ok((shared, now + self.life.0))
    }
}

impl Shared {
    fn forget(&mut self, now: Instant) {
        self.leases.retain(|_, (_, until)| *until > now);
        self.nodes.retain(|_, (_, until)| *until > now);
        self.members.retain(|_, (_, until)| *until > now);
    }

    fn has(&self, room: &RoomId, lease: &Lease) -> bool {
        self.leases.get(room).is_some_and(|(held, _)| held == lease)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn acquire(&self, room: &RoomId, node: &NodeId) -> Result<Lease, StoreError> {
        let (mut shared, until) = self.open().await?;
        if let Some((lease, _)) = shared.leases.get(room) {
            return Ok(lease.clone());
        }
        shared.generation += 1;
        let lease = Lease { node: node.clone(), generation: shared.generation };
        shared.leases.insert(room.clone(), (lease.clone(), until));
        shared.members.remove(room);
        Ok(lease)
    }

    async fn renew(&self, leases: &[(RoomId, Lease)]) -> Result<Vec<Renewal>, StoreError> {
        let (mut shared, until) = self.open().await?;
        let renewed = leases.iter().map(|(room, lease)| match shared.leases.get_mut(room) {
            None => Renewal::Free,
            Some((held, ends)) if held == lease => {
                *ends = until;
                if let Some((_, ends)) = shared.members.get_mut(room) {
                    *ends = until;
                }
                Renewal::Kept
            }
            Some((held, _)) => Renewal::Taken(held.clone()),
        });
        Ok(renewed.collect())
    }

    async fn release(&self, room: &RoomId, lease: &Lease) -> Result<(), StoreError> {
        let (mut shared, _) = self.open().await?;
        if shared.has(room, lease) {
            shared.leases.remove(room);
            shared.members.remove(room);
        }
        Ok(())
    }

    async fn owners(&self, rooms: &[RoomId]) -> Result<Vec<Option<Lease>>, StoreError> {
        let (shared, _) = self.open().await?;
        Ok(rooms.iter().map(|room| shared.leases.get(room).map(|(lease, _)| lease.clone())).collect())
    }

    async fn announce(&self, node: &Node, rooms: &[RoomSummary]) -> Result<(), StoreError> {
        let (mut shared, until) = self.open().await?;
        let view = NodeView { node: node.clone(), rooms: rooms.to_vec() };
        shared.nodes.insert(node.id.clone(), (view, until));
        Ok(())
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), StoreError> {
        let (mut shared, _) = self.open().await?;
        shared.nodes.remove(node);
        Ok(())
    }

    async fn node(&self, id: &NodeId) -> Result<Option<Node>, StoreError> {
        let (shared, _) = self.open().await?;
        Ok(shared.nodes.get(id).map(|(view, _)| view.node.clone()))
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, StoreError> {
        let (shared, _) = self.open().await?;
        Ok(shared.nodes.values().take(MAX_NODES).map(|(view, _)| view.clone()).collect())
    }

    async fn write_members(&self, room: &RoomId, lease: &Lease, change: &MemberChange) -> Result<bool, StoreError> {
        let (mut shared, until) = self.open().await?;
        if !shared.has(room, lease) {
            return Ok(false);
        }
        let (users, ends) = shared.members.entry(room.clone()).or_insert_with(|| (BTreeMap::new(), until));
        *ends = until;
        if change.is_whole {
            users.clear();
        }
        change.left.iter().for_each(|user| _ = users.remove(user));
        users.extend(change.joined.iter().map(|user| (user.user_id.clone(), user.clone())));
        Ok(true)
    }
}
