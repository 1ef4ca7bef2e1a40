//! The part of a room for its edges: servers that receive the media of a lecture once, and send it to students in the
//! publisher's name.
//!
//! An edge is a connection like a member's, but no member: only the holder of the media hears of it, by
//! [`ServerMessage::Edges`]. The room places the offer of each student at an edge or at the holder, and passes on what
//! the edge answers. An edge whose connection is lost may come back within [`RETURNS_WITHIN`], as its media may flow;
//! after that its students are told to offer again, and are placed elsewhere.

use std::time::Instant;

use super::edges::{Edge, MAX_EDGES, Placed, RETURNS_WITHIN};
use super::member::{Connection, Media, Member};
use super::members::Room;
use super::relay::of_holder;
use super::{ConnId, Newcomer, Output, RoomLimits, RoomRefusal, Rooms};
use crate::id::{RoomId, UserId};
use crate::protocol::channel::{PublisherMessage, StudentMessage};
use crate::protocol::{ClientMessage, ErrorCode, LeaveReason, RoomKind, ServerMessage};

/// The refusal for a student that was about to connect to an edge.
const EDGE_GONE: &str = "the server that was about to send the lecture is gone, try again";

impl Room {
    /// An edge joins. It has no place among the members, and keeps no room open.
    pub(super) fn edge_joins(
        &mut self,
        conn: ConnId,
        newcomer: Newcomer,
        out: &mut Vec<Output>,
    ) -> Result<(), RoomRefusal> {
        let id = newcomer.user.clone();
        let known = self.edges.known.get(&id);
        let is_taken = known.map_or_else(
            || self.members.contains_key(&id) || self.edges.known.len() >= MAX_EDGES,
            |known| !known.newcomer.is_same_client(&newcomer),
        );
        if is_taken || self.meeting_or_call().is_some() {
            let message = format!("room {} takes no edge with the id {id}", newcomer.room);
            return Err(RoomRefusal::new(ErrorCode::NotAllowed, message));
        }
        let room_id = newcomer.room.clone();
        let students = known.map_or(0, |known| known.students);
        let edge = Edge { newcomer, conn: Some(conn), until: None, is_back: known.is_some(), students };
        let above = self.edges.edge_of(&id).cloned();
        if let Some(Edge { conn: Some(older), .. }) = self.edges.known.insert(id.clone(), edge) {
            out.push(Output::Close { conn: older, code: None });
        }
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get(id));
        out.push(Output::Send {
            to: conn,
            message: ServerMessage::Joined {
                kind: RoomKind::Lecture,
                room_id,
                room_name: self.name.clone(),
                user_id: id.clone(),
                users: publisher.map(|member| member.user.clone()).into_iter().collect(),
                count: self.members.len(),
                publisher: self.publisher.clone(),
                publisher_went: self.publisher_went,
                ice_servers: Vec::new(),
            },
        });
        self.tell_edges(out);
        // One of them may have come back, or may be the first that this owner of the room hears of.
        let tells = [above, (!self.edges.below(&id).is_empty()).then_some(id)];
        tells.into_iter().flatten().for_each(|above| self.tell_below(&above, out));
        Ok(())
    }

    /// Tells the holder of the media which users are edges.
    pub(super) fn tell_edges(&mut self, out: &mut Vec<Output>) {
        let message = ServerMessage::Edges { edges: self.edges.ids() };
        if let Some(to) = self.host.as_ref().and_then(|host| host.conn) {
            return out.push(Output::Send { to, message });
        }
        let publisher = self.publisher.as_ref().and_then(|id| self.members.get_mut(id));
        match publisher.map(|member| &mut member.connection) {
            Some(Connection::Open(to)) => out.push(Output::Send { to: *to, message }),
            // The publisher gets the list when it comes back.
            Some(Connection::Lost { .. }) | None => {}
        }
    }

    /// Places the offer of a student. False if the holder of the media answers it.
    pub(super) fn offer_to_edge(
        &mut self,
        (student, conn): (&UserId, ConnId),
        offer: &ServerMessage,
        out: &mut Vec<Output>,
    ) -> bool {
        if self.edges.known.is_empty() || self.publisher.is_none() {
            return false;
        }
        let node = self.members.get(student).and_then(|member| member.newcomer.route.node.as_ref());
        let (to, leaves) = self.edges.place(student, node);
        if let Some(to) = leaves {
            let message = ServerMessage::Leave { users: vec![student.clone()], reason: LeaveReason::Left };
            out.push(Output::Send { to, message });
        }
        out.extend(to.map(|to| Output::Relay { from: conn, to, message: offer.clone() }));
        to.is_some()
    }

    /// Passes a message of a student without a data channel on to the edge that serves the student.
    pub(super) fn student_talks(
        &self,
        (student, conn): (&UserId, ConnId),
        message: StudentMessage,
        out: &mut Vec<Output>,
    ) {
        let Some(user_id) = self.publisher.clone() else { return };
        out.push(match self.edges.of_student(student) {
            Some(to) => {
                Output::Relay { from: conn, to, message: ServerMessage::Heard { user_id: student.clone(), message } }
            }
            None => {
                let (code, message) = (ErrorCode::TargetBusy, "there is no connection to the teacher at the moment");
                let message = PublisherMessage::Error { code, message: message.to_owned(), retry_after_ms: None };
                Output::Send { to: conn, message: ServerMessage::Talk { user_id, message } }
            }
        });
    }

    /// Places an edge that offers. Returns the connection of the edge from which it gets the lecture; none for the
    /// holder of the media.
    fn place_below(&mut self, edge: &UserId, limits: &RoomLimits, out: &mut Vec<Output>) -> Option<ConnId> {
        let (to, leaves) = self.edges.place_edge(edge, limits.direct_edges);
        if let Some(to) = leaves {
            let message = ServerMessage::Leave { users: vec![edge.clone()], reason: LeaveReason::Left };
            out.push(Output::Send { to, message });
        }
        let above = self.edges.edge_of(edge).cloned();
        above.into_iter().for_each(|above| self.tell_below(&above, out));
        to
    }

    /// Tells an edge which edges get the lecture from it.
    fn tell_below(&self, edge: &UserId, out: &mut Vec<Output>) {
        let message = ServerMessage::Edges { edges: self.edges.below(edge) };
        out.extend(self.edges.conn(edge).map(|to| Output::Send { to, message }));
    }

    /// A message of an edge.
    pub(super) fn edge_message(
        &mut self,
        now: Instant,
        (edge, conn): (&UserId, ConnId),
        message: ClientMessage,
        limits: &RoomLimits,
        out: &mut Vec<Output>,
    ) {
        if self.edges.conn(edge) != Some(conn) {
            return;
        }
        let Some(publisher) = self.publisher.clone() else { return };
        let (user_id, source) = (edge.clone(), None);
        let message = match message {
            ClientMessage::Offer { target_uid, sdp, video, .. } if target_uid == publisher => {
                let (tracks, network, entry) = (None, None, None);
                let offer = ServerMessage::Offer { entry, user_id, sdp, video, tracks, network, source };
                return match self.place_below(edge, limits, out) {
                    Some(to) => out.push(Output::Relay { from: conn, to, message: offer }),
                    None => self.relay_to_holder(conn, &target_uid, offer, out),
                };
            }
            // An engine that does not answer offers makes its own.
            ClientMessage::Offer { target_uid: student, sdp, tracks, .. } => {
                if self.edges.student(edge, &student).is_some() {
                    let (user_id, video, network, entry) = (publisher, None, None, None);
                    let offer = ServerMessage::Offer { entry, user_id, sdp, video, tracks, network, source };
                    self.send_to_student(&student, offer, out);
                }
                return;
            }
            ClientMessage::Tell { target_uid: Some(student), message } => {
                // A student whose signalling is lost is welcomed again, with what it has missed.
                let placed = self.edges.student(edge, &student).is_some();
                let to = self.members.get(&student).filter(|_| placed).and_then(Member::conn);
                return out.extend(
                    to.map(|to| Output::Send { to, message: ServerMessage::Talk { user_id: publisher, message } }),
                );
            }
            ClientMessage::Tell { target_uid: None, message } => {
                let students = self.edges.students(edge).filter_map(|id| self.members.get(id)?.conn());
                let (to, message) = (students.collect(), ServerMessage::Talk { user_id: publisher, message });
                return out.push(Output::Broadcast { to, message });
            }
            ClientMessage::Candidate { target_uid, candidate, .. } if target_uid == publisher => {
                let candidate = ServerMessage::Candidate { entry: None, user_id, candidate, source };
                return match self.edges.of_student(edge) {
                    Some(to) => out.push(Output::Relay { from: conn, to, message: candidate }),
                    None => self.relay_to_holder(conn, &target_uid, candidate, out),
                };
            }
            // The student was put out, or left, while the edge was away.
            ClientMessage::Connected { target_uid }
                if !self.members.contains_key(&target_uid)
                    && !self.edges.contains(&target_uid)
                    && self.edges.is_back(edge) =>
            {
                let (users, reason) = (vec![target_uid], LeaveReason::Left);
                return out.push(Output::Send { to: conn, message: ServerMessage::Leave { users, reason } });
            }
            ClientMessage::Connected { target_uid } => {
                self.edges.connected(edge, &target_uid);
                return self.set_student_media(&target_uid, Media::Connected);
            }
            message => message,
        };
        let full = |placed: &mut Placed| placed.failed.push(edge.clone());
        let message = match message {
            ClientMessage::Reject { target_uid, code: ErrorCode::RoomFull, message, codec, source } => {
                self.edges.student(edge, &target_uid).into_iter().for_each(full);
                // The next offer goes elsewhere.
                ClientMessage::Reject { target_uid, code: ErrorCode::TargetBusy, message, codec, source }
            }
            message => message,
        };
        let ends = matches!(message, ClientMessage::Reject { .. } | ClientMessage::Hangup { .. });
        let Some((student, told)) = of_holder(message, &publisher) else { return };
        if self.edges.student(edge, &student).is_none() {
            return;
        }
        if ends {
            // An edge that refuses has not failed: its media has not arrived, or the offer can't be answered.
            self.edges.ends(&student);
            self.set_student_media(&student, Media::Missing { since: now });
        }
        self.send_to_student(&student, told, out);
    }

    /// The connection of an edge was lost: the edge may come back. After a goodbye it does not.
    pub(super) fn edge_lost(
        &mut self,
        now: Instant,
        (edge, conn): (&UserId, ConnId),
        is_goodbye: bool,
        out: &mut Vec<Output>,
    ) {
        let Some(known) = self.edges.known.get_mut(edge).filter(|known| known.conn == Some(conn)) else { return };
        if !is_goodbye && known.serves().is_some() {
            (known.conn, known.until) = (None, Some(now + RETURNS_WITHIN));
            return;
        }
        self.give_up_edge(now, &edge.clone(), out);
    }

    /// Gives up the edges that did not come back.
    pub(super) fn tick_edges(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.edges.due().is_none_or(|due| due > now) {
            return;
        }
        let is_due = |edge: &Edge| edge.until.is_some_and(|until| until <= now);
        let gone = self.edges.known.iter().filter(|(_, edge)| is_due(edge)).map(|(id, _)| id.clone());
        for edge in gone.collect::<Vec<_>>() {
            self.give_up_edge(now, &edge, out);
        }
    }

    fn give_up_edge(&mut self, now: Instant, edge: &UserId, out: &mut Vec<Output>) {
        let above = self.edges.edge_of(edge).cloned();
        let students = self.edges.remove(edge);
        above.into_iter().for_each(|above| self.tell_below(&above, out));
        if let Some(publisher) = self.publisher.clone() {
            for (student, is_connected) in students {
                self.set_student_media(&student, Media::Missing { since: now });
                let user_id = publisher.clone();
                let message = match is_connected {
                    true => ServerMessage::Hangup { user_id },
                    // Who still connects takes a hangup for one of an earlier connection.
                    false => ServerMessage::rejected(user_id, ErrorCode::TargetBusy, EDGE_GONE.into(), None),
                };
                self.send_to_student(&student, message, out);
            }
        }
        self.tell_edges(out);
    }

    /// Closes the connections of all edges, because the room ends.
    pub(super) fn end_edges(&mut self, out: &mut Vec<Output>) {
        let edges = std::mem::take(&mut self.edges);
        out.extend(edges.conns().map(|conn| Output::Close { conn, code: None }));
    }

    fn set_student_media(&mut self, student: &UserId, media: Media) {
        if let Some(member) = self.members.get_mut(student).filter(|member| !member.user.publishes) {
            member.media = media;
        }
    }

    /// Sends a message to whom an edge serves: a student, or another edge.
    fn send_to_student(&mut self, student: &UserId, message: ServerMessage, out: &mut Vec<Output>) {
        if let Some(to) = self.edges.conn(student) {
            return out.push(Output::Send { to, message });
        }
        match self.members.get_mut(student).map(|member| &mut member.connection) {
            Some(Connection::Open(to)) => out.push(Output::Send { to: *to, message }),
            // A student whose mailbox is full offers again.
            Some(Connection::Lost { mailbox, .. }) => _ = mailbox.push(message, false),
            None => {}
        }
    }
}

impl Rooms {
    /// Whether the connection is that of a media host or of an edge.
    pub fn is_host_or_edge(&self, conn: ConnId) -> bool {
        self.hosts.contains_key(&conn) || self.edges.contains_key(&conn)
    }

    /// The room of a student of a lecture; none for everybody else.
    pub fn lecture_of_student(&self, conn: ConnId) -> Option<&RoomId> {
        let room_id = self.room_of(conn)?;
        let (_, user) = self.conns.get(&conn)?;
        let room = self.rooms.get(room_id)?;
        (room.kind() == RoomKind::Lecture && room.publisher.as_ref() != Some(user)).then_some(room_id)
    }

    pub(super) fn edge_joins(&mut self, now: Instant, conn: ConnId, newcomer: Newcomer, out: &mut Vec<Output>) {
        let (room_id, user) = (newcomer.room.clone(), newcomer.user.clone());
        let joined = match self.rooms.get_mut(&room_id) {
            Some(room) => room.edge_joins(conn, newcomer, out),
            None => Err(RoomRefusal::new(ErrorCode::UnknownTarget, format!("nobody is in room {room_id}"))),
        };
        match joined {
            Ok(()) => _ = self.edges.insert(conn, (room_id.clone(), user)),
            Err(refusal) => refusal.close(conn, out),
        }
        self.settle(now, &room_id, out);
    }

    pub(super) fn edge_message(&mut self, now: Instant, conn: ConnId, message: ClientMessage, out: &mut Vec<Output>) {
        if let ClientMessage::Leave { .. } = message {
            return self.edge_lost(now, conn, true, out);
        }
        let Some((room_id, edge)) = self.edges.get(&conn) else { return };
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.edge_message(now, (edge, conn), message, &self.limits, out);
        }
    }

    pub(super) fn edge_lost(&mut self, now: Instant, conn: ConnId, is_goodbye: bool, out: &mut Vec<Output>) {
        let Some((room_id, edge)) = self.edges.remove(&conn) else { return };
        if is_goodbye {
            out.push(Output::Close { conn, code: None });
        }
        if let Some(room) = self.rooms.get_mut(&room_id) {
            room.edge_lost(now, (&edge, conn), is_goodbye, out);
        }
        self.settle(now, &room_id, out);
    }
}
