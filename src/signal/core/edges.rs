//! The edges of this node: a connection to each lecture that a student here wants to see, by which the node receives
//! the media once and serves its students.
//!
//! The connection is made before the offer of the first student is passed on. Both take the same way to the room, so
//! the room knows the edge when it places the student.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::cluster::Entry;
use super::local::LocalMember;
use super::{Core, State, outbox};
use crate::id::{RoomId, UserId};
use crate::network::{ClientAddress, SharedClientState};
use crate::protocol::{MediaHost, SessionSecret};
use crate::room::{ConnId, EdgeRole, Input, Newcomer, Route};
use crate::signal::session::random_session;

/// The edges of a node.
#[derive(Debug)]
pub(super) struct EdgeHosts {
    /// What the first edge of each lecture does.
    role: EdgeRole,
    /// The queue to the task that runs them.
    hosts: mpsc::UnboundedSender<LocalEdge>,
    /// The lectures that have one.
    rooms: HashSet<RoomId>,
    most: usize,
}

/// An edge of a lecture at this node. [`Server::edges`](crate::signal::Server::edges) hands it to the task that runs
/// it. Dropping it ends the edge.
#[derive(Debug)]
pub struct LocalEdge {
    core: Arc<Core>,
    room: RoomId,
    user: UserId,
    session: SessionSecret,
    role: EdgeRole,
    /// The connection to the room, until it is taken.
    first: Option<LocalMember>,
    /// Whether this is a further edge of a lecture that has one.
    is_further: bool,
}

impl LocalEdge {
    /// The lecture.
    pub fn room(&self) -> &RoomId {
        &self.room
    }

    /// Joins the room as an edge that serves students; joins again if that connection has ended. None once the server
    /// ends.
    pub fn join(&mut self) -> Option<LocalMember> {
        self.first.take().or_else(|| self.core.join_edge(&self.newcomer(&self.user, self.role)))
    }

    /// A further edge of the lecture, which serves students over an engine.
    pub fn another(&self) -> Option<Self> {
        let (core, room) = (Arc::clone(&self.core), self.room.clone());
        let (user, session, role) = (random_user()?, random_session(), EdgeRole::ServesByEngine);
        Some(Self { core, room, user, session, role, first: None, is_further: true })
    }

    /// Whether the server has ended.
    pub fn has_ended(&self) -> bool {
        self.core.lock().shutting_down
    }

    /// Leaves the room until [`join`](Self::join).
    pub fn wait(&mut self) {
        self.first = None;
    }

    /// Joins the room to receive further encodings.
    pub fn join_to_receive(&self) -> Option<LocalMember> {
        let user = format!("{}-low", self.user).parse().ok()?;
        self.core.join_edge(&self.newcomer(&user, EdgeRole::Receives))
    }

    fn newcomer(&self, user: &UserId, role: EdgeRole) -> Newcomer {
        Newcomer {
            room: self.room.clone(),
            room_name: None,
            user: user.clone(),
            nickname: "".into(),
            publishes: false,
            media: MediaHost::Publisher,
            epoch: 1,
            session: self.session.clone(),
            client: None,
            network: ClientAddress::this_process().network,
            moderates: false,
            code: None,
            kind: None,
            may_teach: false,
            settings: None,
            identity: None,
            reserved: false,
            route: Route { node: None, edge: Some(role) },
        }
    }
}

/// Digits and letters always form an id.
fn random_user() -> Option<UserId> {
    format!("edge-{:016x}", rand::random::<u64>()).parse().ok()
}

impl Drop for LocalEdge {
    fn drop(&mut self) {
        if self.is_further {
            return;
        }
        if let Some(edges) = &mut self.core.lock().edges {
            edges.rooms.remove(&self.room);
        }
    }
}

impl Core {
    /// From now on this node is an edge for at most so many lectures.
    pub(in crate::signal) fn start_edges(&self, role: EdgeRole, most: usize) -> mpsc::UnboundedReceiver<LocalEdge> {
        let (hosts, receiver) = mpsc::unbounded_channel();
        self.lock().edges = Some(EdgeHosts { role, hosts, rooms: HashSet::new(), most });
        receiver
    }

    /// A student here is about to offer: makes sure that its lecture has an edge here, if this node is one.
    pub(super) fn bring_edge(&self, conn: ConnId) {
        let Some(core) = self.this.upgrade() else { return };
        let mut state = self.lock();
        if state.edges.is_none() || state.shutting_down || state.draining {
            return;
        }
        let Some(room) = state.lecture_of_student(conn) else { return };
        let Some(edges) = &mut state.edges else { return };
        if edges.rooms.contains(&room) || edges.rooms.len() >= edges.most {
            return;
        }
        edges.rooms.insert(room.clone());
        let (hosts, role) = (edges.hosts.clone(), edges.role);
        drop(state);
        let Some(user) = random_user() else { return };
        let mut edge = LocalEdge { core, room, user, session: random_session(), role, first: None, is_further: false };
        edge.first = edge.join();
        // If the receiver is gone, the error has the edge, which is dropped.
        _ = hosts.send(edge);
    }

    /// None once the server ends.
    fn join_edge(&self, newcomer: &Newcomer) -> Option<LocalMember> {
        let core = self.this.upgrade()?;
        let client_state = SharedClientState::default();
        let mut state = self.lock();
        if state.shutting_down {
            return None;
        }
        let (outbox, outgoing) = outbox(true, client_state.clone(), &state.student_bytes);
        state.next_conn += 1;
        let conn = ConnId(state.next_conn);
        state.outboxes.insert(conn, outbox);
        match state.place(conn, newcomer.clone()) {
            Entry::Here(newcomer) => self.apply(state, Input::Join { conn, newcomer }),
            Entry::Away => drop(state),
            Entry::Seek(room) => {
                drop(state);
                self.seek(room, std::time::Duration::ZERO);
            }
        }
        Some(LocalMember::attached(core, conn, outgoing, client_state))
    }
}

impl State {
    /// The lecture of a student that is connected to this node.
    fn lecture_of_student(&self, conn: ConnId) -> Option<RoomId> {
        match &self.placements {
            Some(placements) if placements.forwarded.contains(&conn) => None,
            Some(placements) => placements.lecture_of(conn).or_else(|| self.rooms.lecture_of_student(conn)).cloned(),
            None => self.rooms.lecture_of_student(conn).cloned(),
        }
    }
}
