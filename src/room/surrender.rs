//! A room that another node of the server has taken: its clients join it there.

use super::{ConnId, Newcomer, Output, Rooms};
use crate::id::RoomId;
use crate::protocol::{RoomKind, User};

impl Rooms {
    /// The members of a room, those with a lost connection included; `None` without such a room.
    pub fn users(&self, room_id: &RoomId) -> Option<impl Iterator<Item = &User>> {
        Some(self.rooms.get(room_id)?.members.values().map(|member| &member.user))
    }

    /// Removes a room. Returns the clients in it and in its lobby that are connected, as they came, and its edges. The
    /// output ends its media hosts.
    pub fn surrender(&mut self, room_id: &RoomId) -> (Vec<(ConnId, Newcomer)>, Vec<Output>) {
        let Some(mut room) = self.rooms.remove(room_id) else { return (Vec::new(), Vec::new()) };
        let mut out = Vec::new();
        room.end_hosts(&mut out);
        let edges: Vec<(ConnId, Newcomer)> = room.edges.newcomers().collect();
        for (conn, _) in &edges {
            self.edges.remove(conn);
        }
        for output in &out {
            if let Output::Close { conn, .. } = output {
                self.hosts.remove(conn);
            }
        }
        let kind = room.kind();
        let members = room.members.values().filter_map(|member| Some((member.conn()?, member.newcomer.clone())));
        let waiting = room.lobby.applicants().map(|applicant| (applicant.conn, applicant.newcomer.clone()));
        let mut clients: Vec<(ConnId, Newcomer)> = members.chain(waiting).collect();
        for (conn, newcomer) in &mut clients {
            self.conns.remove(conn);
            self.set_kind(newcomer, kind);
        }
        clients.extend(edges);
        (clients, out)
    }

    /// Prepares a client of a room of this kind to join the room at another node, where the room does not exist yet:
    /// it opens a meeting there only if it may.
    pub fn set_kind(&self, newcomer: &mut Newcomer, kind: RoomKind) {
        newcomer.kind = Some(kind).filter(|kind| *kind != RoomKind::Lecture && self.limits.meetings.may_open(newcomer));
    }
}
