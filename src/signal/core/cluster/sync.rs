//! What a node tells the store and learns from it, again and again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::{Cluster, Ownership, Placements};
use crate::id::{RoomId, UserId};
use crate::protocol::User;
use crate::room::RoomSummary;
use crate::signal::core::Core;
use crate::store::{Lease, MemberChange, NodeView, Renewal, StoreError};

/// The members of a room that the store knows, under this lease.
type Written = HashMap<RoomId, (Lease, BTreeMap<UserId, User>)>;

/// What this node has at one moment.
struct Snapshot {
    /// The rooms that run here.
    here: Vec<(RoomId, Lease)>,
    /// The rooms that are over, and that this node still owns.
    over: Vec<(RoomId, Lease)>,
    /// The rooms of members here that other nodes own.
    there: Vec<(RoomId, Lease)>,
    members: Vec<Vec<User>>,
    summaries: Vec<RoomSummary>,
}

/// Runs until the server is dropped. Each second turn renews.
pub(in crate::signal::core) async fn run(core: Weak<Core>) {
    let mut written = Written::new();
    let mut turn = 0_u64;
    let Some(interval) = core.upgrade().and_then(|core| Some(core.cluster.as_ref()?.times.renew / 2)) else { return };
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(core) = core.upgrade() else { return };
        let Some(cluster) = &core.cluster else { return };
        if core.lock().shutting_down {
            return;
        }
        let snapshot = core.snapshot();
        let result = once(&core, cluster, snapshot, &mut written, (turn, interval)).await;
        cluster.note(result);
        turn += 1;
    }
}

async fn once(
    core: &Core,
    cluster: &Cluster,
    snapshot: Snapshot,
    written: &mut Written,
    (turn, interval): (u64, Duration),
) -> Result<(), StoreError> {
    let Snapshot { here, over, there, members, summaries } = snapshot;
    // What is written room by room must not hold up the renewal of leases by a slow store.
    let until = Instant::now() + interval;
    let mut released = Ok(());
    for (room, lease) in over {
        written.remove(&room);
        if Instant::now() < until {
            released = released.and(cluster.store.release(&room, &lease).await);
        }
        // Somebody may have joined meanwhile. A lease that was not released ends by itself.
        core.seek(room, Duration::ZERO);
    }
    released?;
    if !turn.is_multiple_of(2) {
        // So that a silent Redis is noticed within a turn, also while nothing changes.
        cluster.store.owners(&[]).await?;
    } else {
        // The leases first: nothing else is as urgent.
        renew(core, cluster, &here).await?;
        let announced = cluster.store.announce(&cluster.node, &summaries);
        let ((), (), others) = tokio::try_join!(announced, follow(core, cluster, &there), cluster.store.nodes())?;
        cluster.learn(others.into_iter().filter(|other| other.node.id != cluster.node.id).collect());
    }
    let now_here: HashMap<RoomId, Lease> = core.here().into_iter().collect();
    written.retain(|room, _| now_here.contains_key(room));
    let mut lists: Vec<(RoomId, Vec<User>)> = here.into_iter().map(|(room, _)| room).zip(members).collect();
    // Those that are not written in this turn come first in a later one.
    let first = turn as usize % lists.len().max(1);
    lists.rotate_left(first);
    for (room, users) in lists {
        let Some(lease) = now_here.get(&room) else { continue };
        if Instant::now() >= until {
            break;
        }
        write_members(cluster, &room, lease, users, written).await?;
    }
    Ok(())
}

/// Extends the leases of the rooms here.
async fn renew(core: &Core, cluster: &Cluster, here: &[(RoomId, Lease)]) -> Result<(), StoreError> {
    let renewals = cluster.store.renew(here).await?;
    for ((room, old), renewal) in here.iter().zip(renewals) {
        let owner = match renewal {
            Renewal::Kept => continue,
            Renewal::Free => cluster.store.acquire(room, &cluster.node.id).await?,
            Renewal::Taken(owner) => owner,
        };
        if owner.node == cluster.node.id {
            core.renewed(room, owner);
        } else if core.here().contains(&(room.clone(), old.clone())) {
            cluster.notice(format!("node {} has taken room {room}: its members here join it there", owner.node));
            core.give_up(room);
        }
    }
    Ok(())
}

/// Moves the members of rooms that have another owner now. A room without an owner stays where it is as long as that
/// node can be reached: perhaps only Redis can't reach it.
async fn follow(core: &Core, cluster: &Cluster, there: &[(RoomId, Lease)]) -> Result<(), StoreError> {
    if there.is_empty() {
        return Ok(());
    }
    let rooms: Vec<RoomId> = there.iter().map(|(room, _)| room.clone()).collect();
    let owners = cluster.store.owners(&rooms).await?;
    for ((room, known), owner) in there.iter().zip(owners) {
        if owner.is_some_and(|owner| owner.node != known.node) {
            core.seek_again(room.clone());
        }
    }
    Ok(())
}

/// Writes what has changed among the members of a room since the last time.
async fn write_members(
    cluster: &Cluster,
    room: &RoomId,
    lease: &Lease,
    users: Vec<User>,
    written: &mut Written,
) -> Result<(), StoreError> {
    let now: BTreeMap<UserId, User> = users.into_iter().map(|user| (user.user_id.clone(), user)).collect();
    let before = written.get(room).filter(|(known, _)| known == lease).map(|(_, users)| users);
    let change = MemberChange {
        is_whole: before.is_none(),
        joined: now
            .iter()
            .filter(|(id, user)| before.and_then(|known| known.get(*id)) != Some(*user))
            .map(|(_, user)| user.clone())
            .collect(),
        left: before.into_iter().flat_map(BTreeMap::keys).filter(|id| !now.contains_key(*id)).cloned().collect(),
    };
    if change.is_empty() {
        return Ok(());
    }
    // Not known to be written until it is.
    written.remove(room);
    if cluster.store.write_members(room, lease, &change).await? {
        written.insert(room.clone(), (lease.clone(), now));
    }
    Ok(())
}

impl Cluster {
    /// Takes note of the other nodes.
    fn learn(&self, others: Vec<NodeView>) {
        let mut strange = self.strange.lock().unwrap_or_else(PoisonError::into_inner);
        strange.retain(|id| others.iter().any(|other| other.node.id == *id));
        for NodeView { node, .. } in &others {
            let is_known = self.ownership == Ownership::Leased;
            if is_known && node.settings != self.node.settings && strange.insert(node.id.clone()) {
                self.notice(format!(
                    "node {} has other settings: start all nodes with the same teaching key, --auth file, \
                     --turn-secret and --meetings, or clients are let in at one node and refused at another",
                    node.id
                ));
            }
        }
        drop(strange);
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = others;
    }
}

impl Core {
    fn here(&self) -> Vec<(RoomId, Lease)> {
        self.lock().placements.as_ref().map(Placements::here).unwrap_or_default()
    }

    fn renewed(&self, room: &RoomId, lease: Lease) {
        if let Some(placements) = &mut self.lock().placements {
            placements.renewed(room, lease);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut state = self.lock();
        let summaries = state.rooms.summaries(std::time::Instant::now());
        let state = &mut *state;
        let all = state.placements.as_ref().map(Placements::here).unwrap_or_default();
        let (here, over): (Vec<_>, Vec<_>) = all.into_iter().partition(|(room, _)| state.rooms.contains(room));
        let mut there = Vec::new();
        if let Some(placements) = &mut state.placements {
            // Who joins from now on waits until the lease is released.
            over.iter().for_each(|(room, _)| _ = placements.seek_again(room));
            there = placements.there();
        }
        let users = |room: &RoomId| state.rooms.users(room).map(|users| users.cloned().collect()).unwrap_or_default();
        let members = here.iter().map(|(room, _)| users(room)).collect();
        Snapshot { here, over, there, members, summaries }
    }
}
