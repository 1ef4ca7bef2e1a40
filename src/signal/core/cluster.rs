//! Rooms on several nodes: each runs at its owner, and the other nodes pass on the messages of their members.
//!
//! - `placement` has the place of each room. A room that a client wants to join is `Here`, `There` or `Sought`.
//! - [`Core::seek`] finds the owner of a room in the [`Store`], or makes this node the owner. Members then join here by
//!   [`Input::Join`], or over the link to the owner.
//! - `link` connects to owners, `accept` serves the nodes that connect. To the rooms, a member of another node is a
//!   connection with an outbox, like all others.
//! - `sync` renews the leases, says what this node has, learns of the others, and writes the lists of members for other
//!   programs.
//!
//! A link that breaks, or an owner that says it is none, starts the search again: the members stay connected, and join
//! the next owner with what they sent when they joined the first one. Those who decide about the room connect again, so
//! that the next owner learns what they have decided since.
//!
//! Without the store nothing changes its place: rooms here go on, also for the members of other nodes, and new rooms
//! are refused. So no two nodes that reach the store have one room for longer than an interval of renewal. A node that
//! does not reach the store, while others do, keeps a room that they may take after [`Times::lease`]; it gives the room
//! up as soon as it reaches the store again.

mod accept;
mod frame;
mod link;
mod placement;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use self::accept::Accepted;
pub(in crate::signal) use self::accept::run as serve_node;
pub(in crate::signal) use self::frame::NODE_PATH;
pub(crate) use self::frame::{FromOwner, ToOwner};
use self::link::{Link, Links};
pub(super) use self::placement::{Entry, Placements, Told};
pub(super) use self::sync::run as sync;
use super::{Core, Outgoing, State, outbox};
use crate::id::{NodeId, RoomId};
use crate::network::SharedClientState;
use crate::protocol::{ErrorCode, RoomKind, ServerMessage};
use crate::room::{ConnId, Input, Newcomer, RoomSummary};
use crate::store::{Lease, Node, NodeView, Store, StoreError, Times};

/// The pause before the owner of a room is looked for again. Each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest of these pauses. With the life of a lease, it bounds the time in which a room has no owner.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long a client waits for the owner of its room, before it is told to try again.
const REFUSE_AFTER: Duration = Duration::from_secs(2);

/// When a client tries again whose room has no owner that can be reached.
const RETRY: Duration = Duration::from_secs(1);

/// The settings of a node of a server on several machines.
#[derive(Debug)]
pub struct ClusterConfig {
    /// Where the nodes meet.
    pub store: Arc<dyn Store>,
    /// This node.
    pub node: Node,
    /// When nodes renew, and when they count as dead. The same at all nodes.
    pub times: Times,
    /// The rooms that this node may own.
    pub ownership: Ownership,
    /// Takes sentences for the operator. While it is full, they are dropped.
    pub notices: mpsc::Sender<String>,
}

/// The rooms that a node may own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Those that the store leases to the node.
    Leased,
    /// All: the others are edges.
    All,
    /// None: the node is an edge of an origin.
    Nothing,
}

/// The state of this node and of its nodes, for monitoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterStatus {
    /// How long the store has not answered; none while it answers.
    pub degraded_for: Option<Duration>,
    /// The nodes that are alive, this one included.
    pub nodes: usize,
    /// The rooms that this node owns.
    pub rooms: usize,
    /// The members of these rooms who are connected to other nodes.
    pub members_of_others: usize,
    /// The members here whose rooms other nodes own.
    pub members_elsewhere: usize,
}

/// The part of a node that needs no lock of the rooms.
#[derive(Debug)]
pub(in crate::signal) struct Cluster {
    pub(in crate::signal) store: Arc<dyn Store>,
    pub(in crate::signal) node: Node,
    times: Times,
    pub(in crate::signal) ownership: Ownership,
    notices: mpsc::Sender<String>,
    links: Links,
    accepted: Accepted,
    /// Whether the connections of other nodes end.
    ending: watch::Sender<bool>,
    /// Since when the store does not answer.
    degraded: Mutex<Option<Instant>>,
    /// The other nodes, when last seen.
    others: Mutex<Vec<NodeView>>,
    /// The nodes whose settings differ, which the operator knows.
    strange: Mutex<HashSet<NodeId>>,
}

impl Cluster {
    pub(super) fn new(config: ClusterConfig) -> Self {
        let ClusterConfig { store, node, times, ownership, notices } = config;
        Self {
            store,
            node,
            times,
            ownership,
            notices,
            links: Links::default(),
            accepted: Accepted::default(),
            ending: watch::Sender::new(false),
            degraded: Mutex::default(),
            others: Mutex::default(),
            strange: Mutex::default(),
        }
    }

    /// The rooms of the other nodes.
    pub(in crate::signal) fn rooms_elsewhere(&self) -> Vec<RoomSummary> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.iter().flat_map(|other| other.rooms.iter().cloned()).collect()
    }

    fn notice(&self, sentence: String) {
        // An operator who does not read misses some sentences.
        _ = self.notices.try_send(sentence);
    }

    /// Notes whether the store answers, and says so when that changes.
    fn note(&self, result: Result<(), StoreError>) {
        {
            let mut degraded = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
            if degraded.is_some() == result.is_err() {
                return;
            }
            *degraded = result.is_err().then(Instant::now);
        }
        self.notice(match result {
            Ok(()) => "Redis answers again".into(),
            Err(error) => format!(
                "degraded: {error}; lectures go on, and members stay in their rooms, but nobody can open a room, or \
                 enter one that another node has and nobody here is in"
            ),
        });
    }
}

impl Core {
    /// Looks for the owner of a room after `pause`, until there is one or nobody wants to join the room any more.
    pub(in crate::signal) fn seek(&self, room: RoomId, mut pause: Duration) {
        let weak = self.this.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            loop {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                let Some(core) = weak.upgrade() else { return };
                let Some(cluster) = &core.cluster else { return };
                if !core.lock().is_sought(&room) {
                    return;
                }
                let cause = match cluster.store.acquire(&room, &cluster.node.id).await {
                    Ok(lease) if lease.node == cluster.node.id => return core.found_here(&room, lease),
                    Ok(lease) => {
                        let own = (&cluster.node.id, &*cluster.store);
                        match cluster.links.to(&core, own, &lease.node).await {
                            Ok(link) => return core.found_there(&room, lease, link),
                            Err(cause) => cause,
                        }
                    }
                    Err(error) => error.to_string(),
                };
                if begun.elapsed() >= REFUSE_AFTER {
                    core.refuse_newcomers(&room, &cause);
                }
            }
        });
    }

    fn found_here(&self, room: &RoomId, lease: Lease) {
        let state = self.lock();
        self.change(state, |state| {
            let Some(found) = state.placements.as_mut().map(|known| known.found_here(room, lease)) else { return };
            state.close_stale(found.stale);
            for (conn, newcomer) in found.joining {
                state.apply(Input::Join { conn, newcomer });
            }
        });
    }

    fn found_there(&self, room: &RoomId, lease: Lease, link: Link) {
        let mut state = self.lock();
        if let Some(placements) = state.placements.as_mut() {
            let stale = placements.found_there(room, lease, link.clone());
            state.close_stale(stale);
        }
        drop(state);
        // The end of the link may have come first, when the room was not there yet.
        if link.is_closed() {
            self.seek_again(room.clone());
        }
    }

    /// Tells the clients that no owner has let in yet to try again.
    fn refuse_newcomers(&self, room: &RoomId, cause: &str) {
        let mut state = self.lock();
        let Some(waiting) = state.placements.as_ref().map(|known| known.newcomers(room)) else { return };
        for conn in waiting {
            let retry_after_ms = Some(RETRY.as_millis() as u64);
            let message = format!("the server can't open room {room} at the moment: {cause}");
            let (code, user_id, codec, kind) = (ErrorCode::ServerFull, None, None, RoomKind::Lecture);
            let message = ServerMessage::Error { code, message, user_id, retry_after_ms, codec, kind };
            state.push(conn, message.to_json().into());
            state.close_away(conn, Some(code));
        }
    }

    /// A link has ended: the members of its rooms look for their owners.
    fn link_down(&self, number: u64) {
        let rooms = self.lock().placements.as_ref().map(|known| known.rooms_by(number)).unwrap_or_default();
        rooms.into_iter().for_each(|room| self.seek_again(room));
    }

    /// The owner of a room has changed, or can't be reached.
    fn seek_again(&self, room: RoomId) {
        let is_known = self.lock().placements.as_mut().is_some_and(|known| known.seek_again(&room));
        if is_known {
            self.seek(room, FIRST_PAUSE);
        }
    }

    /// Another node owns a room that runs here: its members join there.
    fn give_up(&self, room: &RoomId) {
        let state = self.lock();
        let is_known = self.change(state, |state| state.give_up(room));
        if is_known {
            self.seek(room.clone(), FIRST_PAUSE);
        }
    }

    /// A message from the owner of rooms at the end of a link.
    fn heard(&self, link: u64, frame: FromOwner) {
        let mut state = self.lock();
        match frame {
            FromOwner::Message { stream, text } => {
                // Parsed by every node, as another node is a stranger too.
                let (Some(conn), Ok(message)) = (state.member_of(stream, link), ServerMessage::parse(&text)) else {
                    return;
                };
                state.let_in(conn, &message);
                if !state.push(conn, text) {
                    state.close(vec![conn]);
                }
            }
            FromOwner::Media { stream, is_connected } => {
                let outbox = state.member_of(stream, link).and_then(|conn| state.outboxes.get(&conn));
                if let Some(outbox) = outbox.filter(|outbox| outbox.is_of_student()) {
                    if is_connected { outbox.connected() } else { outbox.joined() }
                }
            }
            FromOwner::Close { stream, code } => {
                if let Some(conn) = state.member_of(stream, link) {
                    state.close_away(conn, code);
                }
            }
            FromOwner::Moved { stream } => {
                let room = state.placements.as_ref().and_then(|known| known.room_of(stream, link));
                drop(state);
                if let Some(room) = room {
                    self.seek_again(room);
                }
            }
        }
    }

    /// Lets a member of another node join a room here. None if the room is not here.
    fn join_forwarded(&self, newcomer: Newcomer) -> Option<(ConnId, Outgoing, SharedClientState)> {
        let mut state = self.lock();
        if state.shutting_down || !state.placements.as_ref()?.is_here(&newcomer.room) {
            return None;
        }
        let client_state = SharedClientState::default();
        let (outbox, outgoing) = outbox(newcomer.is_busy(), client_state.clone(), &state.student_bytes);
        state.next_conn += 1;
        let conn = ConnId(state.next_conn);
        state.outboxes.insert(conn, outbox);
        state.placements.as_mut()?.forwarded.insert(conn);
        self.change(state, |state| state.apply(Input::Join { conn, newcomer }));
        Some((conn, outgoing, client_state))
    }

    /// Ends the stay of a member of another node.
    fn expel(&self, conn: ConnId, code: ErrorCode) {
        if let Some(outbox) = self.lock().outboxes.remove(&conn) {
            outbox.close(Some(code));
        }
        self.lost(conn);
    }

    /// Takes a room with an unused id for this node. False if another node has it.
    ///
    /// # Errors
    /// If the store does not answer.
    pub(in crate::signal) async fn take(&self, room: &RoomId) -> Result<bool, StoreError> {
        let Some(cluster) = &self.cluster else { return Ok(true) };
        let is_known = || self.lock().placements.as_ref().is_some_and(|known| known.knows(room));
        if is_known() {
            return Ok(false);
        }
        let lease = cluster.store.acquire(room, &cluster.node.id).await?;
        if lease.node != cluster.node.id {
            return Ok(false);
        }
        self.found_here(room, lease);
        Ok(true)
    }

    /// The URL of the node that owns the room, if that is another one. A room without an owner gets this node.
    pub(in crate::signal) async fn owner_elsewhere(&self, room: &RoomId) -> Result<Option<String>, StoreError> {
        let Some(cluster) = &self.cluster else { return Ok(None) };
        let is_here = || self.lock().placements.as_ref().is_some_and(|known| known.is_here(room));
        if is_here() {
            return Ok(None);
        }
        let lease = cluster.store.acquire(room, &cluster.node.id).await?;
        if lease.node != cluster.node.id {
            return Ok(cluster.store.node(&lease.node).await?.map(|node| node.url));
        }
        self.found_here(room, lease);
        Ok(None)
    }

    /// Gives up all rooms and ends the links of other nodes, so that these take the rooms at once.
    pub(in crate::signal) async fn withdraw(&self) {
        let Some(cluster) = &self.cluster else { return };
        let here = self.lock().placements.as_ref().map(Placements::here).unwrap_or_default();
        let all = async {
            for (room, lease) in here {
                cluster.store.release(&room, &lease).await?;
            }
            cluster.store.withdraw(&cluster.node.id).await
        };
        // Leases that stay end by themselves.
        _ = tokio::time::timeout(Duration::from_secs(1), all).await;
        cluster.ending.send_replace(true);
    }

    /// The state of this node among the others.
    pub(in crate::signal) fn cluster_status(&self) -> Option<ClusterStatus> {
        let cluster = self.cluster.as_ref()?;
        let nodes = 1 + cluster.others.lock().unwrap_or_else(PoisonError::into_inner).len();
        let degraded = *cluster.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.lock();
        let placements = state.placements.as_ref()?;
        Some(ClusterStatus {
            degraded_for: degraded.map(|since| since.elapsed()),
            nodes,
            rooms: placements.here().len(),
            members_of_others: placements.forwarded.len(),
            members_elsewhere: placements.members_away(),
        })
    }
}

impl State {
    fn is_sought(&mut self, room: &RoomId) -> bool {
        self.placements.as_mut().is_some_and(|known| known.is_sought(room))
    }

    fn member_of(&self, stream: u64, link: u64) -> Option<ConnId> {
        self.placements.as_ref()?.member_of(stream, link)
    }

    /// Notes what the owner's answer to a join says about the room.
    fn let_in(&mut self, conn: ConnId, message: &ServerMessage) {
        let ServerMessage::Joined { kind, .. } = message else { return };
        if let Some(newcomer) = self.placements.as_mut().and_then(|known| known.let_in(conn, *kind)) {
            self.rooms.set_kind(newcomer, *kind);
        }
        self.outboxes.get(&conn).into_iter().for_each(super::Outbox::joined);
    }

    /// Ends the connection of a member whose room is not here.
    fn close_away(&mut self, conn: ConnId, code: Option<ErrorCode>) {
        if let Some(placements) = &mut self.placements {
            placements.lost(conn);
        }
        if let Some(outbox) = self.outboxes.remove(&conn) {
            outbox.close(code);
        }
    }

    /// Before the server ends: the members of other nodes look for another owner of their rooms.
    pub(in crate::signal) fn let_others_go(&mut self) {
        let of_others = self.placements.as_mut().map(|known| std::mem::take(&mut known.forwarded));
        of_others.into_iter().flatten().for_each(|conn| _ = self.outboxes.remove(&conn));
    }

    fn close_stale(&mut self, stale: Vec<ConnId>) {
        stale.into_iter().for_each(|conn| self.close_away(conn, None));
    }

    /// Removes a room that another node owns. False if it was not here.
    fn give_up(&mut self, room: &RoomId) -> bool {
        let Some(placements) = self.placements.as_mut().filter(|known| known.is_here(room)) else { return false };
        let (members, outputs) = self.rooms.surrender(room);
        placements.seek_again(room);
        let (of_others, own): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|(conn, _)| placements.forwarded.remove(conn));
        placements.gone(room, own);
        // An outbox that ends without a close tells the node that the room has moved.
        of_others.into_iter().for_each(|(conn, _)| _ = self.outboxes.remove(&conn));
        self.carry_out(outputs);
        true
    }
}
