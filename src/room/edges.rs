//! The edges of a lecture, and which of them serves which student. Pure.
//!
//! Edges form a tree of depth two: the first ones get the lecture from the holder of the media, and each further one
//! from one of these, where it is placed as a student is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{ConnId, Newcomer};
use crate::id::{NodeId, UserId};
use crate::protocol::LeaveReason;

/// How long the students of an edge whose connection was lost stay there: another owner of the room, or a moment
/// without a network, is no reason to interrupt their media.
pub(super) const RETURNS_WITHIN: Duration = Duration::from_secs(3);

/// The most connections of edges in a room: two of each of 128 servers.
pub(super) const MAX_EDGES: usize = 256;

/// The default number of edges that get a lecture from the holder of its media. The others get it from one of these.
pub(crate) const DIRECT_EDGES: usize = 50;

/// The most students that edges have, in all, and that the room does not know.
const MAX_UNKNOWN: usize = 10_000;

/// How a client is connected to the node that owns its room. Only nodes can say that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Route {
    /// The node that the client is connected to; none for the node of the room.
    pub node: Option<NodeId>,
    /// The work of an edge; none for a client.
    pub edge: Option<EdgeRole>,
}

/// The work of a connection of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EdgeRole {
    /// Serves students.
    Serves,
    /// Serves students over an engine, and no other edges.
    ServesByEngine,
    /// Only receives further encodings for a connection that serves.
    Receives,
}

/// A connection of an edge.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) newcomer: Newcomer,
    pub(super) conn: Option<ConnId>,
    /// The end of the wait for a connection that was lost.
    pub(super) until: Option<Instant>,
    /// Whether the edge has come back to a room that knew it, and so knows who is in the room.
    pub(super) is_back: bool,
    /// The number of students that the edge serves, or is about to.
    pub(super) students: usize,
}

/// Where a student gets the lecture.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// The edge; none for the holder of the media.
    pub(super) edge: Option<UserId>,
    pub(super) is_connected: bool,
    /// The edges that could not serve the student since it was last connected.
    pub(super) failed: Vec<UserId>,
}

/// The edges of a room, and the students that they serve.
#[derive(Debug, Default)]
pub(super) struct Edges {
    pub(super) known: BTreeMap<UserId, Edge>,
    placed: BTreeMap<UserId, Placed>,
}

impl Edge {
    pub(super) fn serves(&self) -> Option<ConnId> {
        self.conn.filter(|_| self.newcomer.route.edge != Some(EdgeRole::Receives))
    }
}

impl Edges {
    /// Whether the lecture has no edge.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The user ids of the edges.
    pub(super) fn ids(&self) -> Vec<UserId> {
        self.known.keys().cloned().collect()
    }

    /// Whether an edge has this user id.
    pub(super) fn contains(&self, id: &UserId) -> bool {
        self.known.contains_key(id)
    }

    /// Whether an edge has come back to this room.
    pub(super) fn is_back(&self, edge: &UserId) -> bool {
        self.known.get(edge).is_some_and(|edge| edge.is_back)
    }

    /// The connection of an edge.
    pub(super) fn conn(&self, edge: &UserId) -> Option<ConnId> {
        self.known.get(edge)?.conn
    }

    /// The open connections of all edges.
    pub(super) fn conns(&self) -> impl Iterator<Item = ConnId> {
        self.known.values().filter_map(|edge| edge.conn)
    }

    /// The edges with a connection, as they came.
    pub(super) fn newcomers(&self) -> impl Iterator<Item = (ConnId, Newcomer)> {
        self.known.values().filter_map(|edge| Some((edge.conn?, edge.newcomer.clone())))
    }

    /// The connection of the edge where a student is placed.
    pub(super) fn of_student(&self, student: &UserId) -> Option<ConnId> {
        self.conn(self.edge_of(student)?)
    }

    /// Whether this student is placed at an edge.
    pub(super) fn serve(&self, student: &UserId) -> bool {
        self.placed.get(student).is_some_and(|placed| placed.edge.is_some())
    }

    /// Whether an edge sends media to this student.
    pub(super) fn has_media(&self, student: &UserId) -> bool {
        self.placed.get(student).is_some_and(|placed| placed.edge.is_some() && placed.is_connected)
    }

    /// Places a student that offers: at the edge of its own node, or else at the edge with the fewest students. An edge
    /// that did not connect the student since its last connection is left out; without any other, the holder of the
    /// media serves. Returns the connection of the edge, and that of the edge that the student leaves.
    pub(super) fn place(&mut self, student: &UserId, node: Option<&NodeId>) -> (Option<ConnId>, Option<ConnId>) {
        let (placed, before) = self.offers(student);
        let open = self.known.iter().filter(|(id, edge)| edge.serves().is_some() && !placed.failed.contains(id));
        let rank = |(_, edge): &(&UserId, &Edge)| (edge.newcomer.route.node.as_ref() != node, edge.students);
        let chosen = open.min_by_key(rank).map(|(id, _)| id.clone());
        self.put_at(student, placed, (before, chosen))
    }

    /// Places an edge that offers: at the holder of the media, while the holder serves fewer than `most` edges; or else
    /// at the edge there that serves the fewest edges. Returns the same as [`place`](Self::place).
    pub(super) fn place_edge(&mut self, edge: &UserId, most: usize) -> (Option<ConnId>, Option<ConnId>) {
        let (placed, before) = self.offers(edge);
        let chosen = self.above((edge, before.as_ref()), &placed.failed, most);
        self.put_at(edge, placed, (before, chosen))
    }

    /// The edge from which another one gets the lecture; none for the holder of the media.
    fn above(&self, (edge, before): (&UserId, Option<&UserId>), failed: &[UserId], most: usize) -> Option<UserId> {
        let own = &self.known.get(edge)?.newcomer;
        let role = |edge: &Edge| edge.newcomer.route.edge;
        let role_of_low = Some(EdgeRole::Receives);
        if own.route.edge == role_of_low {
            // The low tier comes from where the full one does.
            let is_main = |other: &Edge| role(other) != role_of_low && other.newcomer.session == own.session;
            let (main, _) = self.known.iter().find(|(_, other)| is_main(other))?;
            return self.placed.get(main)?.edge.clone();
        }
        let serving = || self.known.iter().filter(|(id, other)| *id != edge && role(other) != role_of_low);
        let above = |id: &UserId| self.placed.get(id).and_then(|placed| placed.edge.as_ref());
        let mut below: BTreeMap<&UserId, usize> = BTreeMap::new();
        serving().filter_map(|(id, _)| above(id)).for_each(|above| *below.entry(above).or_default() += 1);
        let at_holder = || serving().filter(|(id, _)| self.placed.get(*id).is_some_and(|placed| placed.edge.is_none()));
        if below.contains_key(edge) || at_holder().count() < most {
            return None;
        }
        let has_sfu = |other: &Edge| other.conn.is_some() && role(other) == Some(EdgeRole::Serves);
        let open = at_holder().filter(|(id, other)| has_sfu(other) && !failed.contains(id));
        let rank = |(id, _): &(&UserId, &Edge)| (before != Some(*id), below.get(*id).copied().unwrap_or_default());
        open.min_by_key(rank).map(|(id, _)| id.clone())
    }

    /// Somebody offers, perhaps again: its place without an edge, and the edge until now, which has failed if it did
    /// not connect.
    fn offers(&mut self, who: &UserId) -> (Placed, Option<UserId>) {
        let mut placed = self.take(who);
        let before = placed.edge.take();
        match &before {
            Some(edge) if !placed.is_connected && !placed.failed.contains(edge) => placed.failed.push(edge.clone()),
            _ if placed.is_connected => placed.failed.clear(),
            _ => {}
        }
        placed.is_connected = false;
        (placed, before)
    }

    /// Places somebody. Returns the connections of the edge now, and of the edge before if that is another one.
    fn put_at(
        &mut self,
        who: &UserId,
        placed: Placed,
        (before, now): (Option<UserId>, Option<UserId>),
    ) -> (Option<ConnId>, Option<ConnId>) {
        self.put(who, Placed { edge: now.clone(), ..placed });
        let left = before.filter(|before| now.as_ref() != Some(before));
        (now.and_then(|edge| self.conn(&edge)), left.and_then(|edge| self.conn(&edge)))
    }

    /// The edges that get the lecture from this one.
    pub(super) fn below(&self, edge: &UserId) -> Vec<UserId> {
        let is_below = |id: &&UserId| self.placed.get(*id).is_some_and(|placed| placed.edge.as_ref() == Some(edge));
        self.known.keys().filter(is_below).cloned().collect()
    }

    /// The edge from which another one, or a student, gets the lecture.
    pub(super) fn edge_of(&self, who: &UserId) -> Option<&UserId> {
        self.placed.get(who)?.edge.as_ref()
    }

    /// An edge sends media to a student. Students whom the room does not know yet count as well: those of an edge that
    /// comes from another owner of the room.
    pub(super) fn connected(&mut self, edge: &UserId, student: &UserId) {
        // It has the lecture, and thus a place.
        self.placed.entry(edge.clone()).or_default();
        if self.placed.len() < MAX_UNKNOWN || self.placed.contains_key(student) {
            let placed = Placed { edge: Some(edge.clone()), is_connected: true, failed: Vec::new() };
            self.take(student);
            self.put(student, placed);
        }
    }

    /// The edge does not serve the student any more, and has not failed.
    pub(super) fn ends(&mut self, student: &UserId) {
        let placed = Placed { edge: None, is_connected: false, ..self.take(student) };
        self.put(student, placed);
    }

    fn take(&mut self, student: &UserId) -> Placed {
        let placed = self.placed.remove(student).unwrap_or_default();
        if let Some(edge) = placed.edge.as_ref().and_then(|edge| self.known.get_mut(edge)) {
            edge.students -= 1;
        }
        placed
    }

    fn put(&mut self, student: &UserId, placed: Placed) {
        if let Some(edge) = placed.edge.as_ref().and_then(|edge| self.known.get_mut(edge)) {
            edge.students += 1;
        }
        self.placed.insert(student.clone(), placed);
    }

    /// The student of an edge; none if it is placed elsewhere.
    pub(super) fn student(&mut self, edge: &UserId, student: &UserId) -> Option<&mut Placed> {
        self.placed.get_mut(student).filter(|placed| placed.edge.as_ref() == Some(edge))
    }

    /// The students that an edge sends media to.
    pub(super) fn students(&self, edge: &UserId) -> impl Iterator<Item = &UserId> {
        let is_there = move |placed: &Placed| placed.is_connected && placed.edge.as_ref() == Some(edge);
        self.placed.iter().filter(move |(_, placed)| is_there(placed)).map(|(student, _)| student)
    }

    /// A student is not in the room any more. Its media may flow on if signalling alone was lost.
    pub(super) fn left(&mut self, student: &UserId, reason: LeaveReason) {
        let flows_on = matches!(reason, LeaveReason::Lost | LeaveReason::Replaced) && self.has_media(student);
        if !flows_on {
            self.take(student);
        }
    }

    /// Removes an edge. Returns its students, and whether each was connected.
    pub(super) fn remove(&mut self, edge: &UserId) -> Vec<(UserId, bool)> {
        self.take(edge);
        self.known.remove(edge);
        let of_edge = self.placed.extract_if(.., |_, placed| placed.edge.as_ref() == Some(edge));
        of_edge.map(|(student, placed)| (student, placed.is_connected)).collect()
    }

    /// When the next edge that was lost is given up.
    pub(super) fn due(&self) -> Option<Instant> {
        self.known.values().filter_map(|edge| edge.until).min()
    }
}
