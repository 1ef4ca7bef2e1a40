//! Which rooms run in this process, which at another node, and the members of the latter. Pure, but for queues that
//! never wait.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::frame::ToOwner;
use super::link::Link;
use crate::id::RoomId;
use crate::protocol::{ClientMessage, RoomKind, ServerMessage};
use crate::room::{ConnId, Newcomer};
use crate::store::Lease;

/// The places of rooms, as far as this node is concerned.
#[derive(Debug, Default)]
pub(in crate::signal::core) struct Placements {
    rooms: HashMap<RoomId, RoomPlace>,
    members: HashMap<ConnId, Away>,
    streams: HashMap<u64, ConnId>,
    last_stream: u64,
    /// The members of rooms here who are connected to another node.
    pub(in crate::signal::core) forwarded: HashSet<ConnId>,
}

#[derive(Debug)]
struct RoomPlace {
    place: Place,
    /// The members that are connected to this node while the room is not here.
    away: BTreeSet<ConnId>,
}

#[derive(Debug)]
enum Place {
    Here(Lease),
    There(Lease, Link),
    /// A task looks for the owner. `before`: the owner that the members knew.
    Sought {
        before: Option<Lease>,
    },
}

/// A member of a room that is not here.
#[derive(Debug)]
struct Away {
    newcomer: Newcomer,
    stream: Option<u64>,
    /// Whether an owner has let the member in.
    is_in: bool,
    /// Whether the owner has said that the room is a lecture.
    is_lecture: bool,
}

/// The next step for a client that wants to join.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "moved once for each join, and on one machine nothing is allocated")]
pub(in crate::signal::core) enum Entry {
    /// The room is here.
    Here(Newcomer),
    /// The owner answers.
    Away,
    /// Look for the owner of the room.
    Seek(RoomId),
}

/// What became of a message of a member.
#[derive(Debug)]
pub(in crate::signal::core) enum Told {
    /// The room of this member is here.
    Here(ClientMessage),
    /// The owner gets the message, or nobody.
    Passed,
    /// The answer to the member.
    Answer(ServerMessage),
    /// The member has said goodbye.
    Left,
}

/// The members of a room whose owner is found.
#[derive(Debug, Default)]
pub(in crate::signal::core) struct Found {
    /// The members that join here now.
    pub(in crate::signal::core) joining: Vec<(ConnId, Newcomer)>,
    /// Members that must connect again: they decide about the room, and only they know what they have decided since
    /// they joined. The new owner has to learn it.
    pub(in crate::signal::core) stale: Vec<ConnId>,
}

impl Placements {
    /// A client wants to join.
    pub(in crate::signal::core) fn enter(&mut self, conn: ConnId, newcomer: Newcomer) -> Entry {
        let room_id = newcomer.room.clone();
        let is_new = !self.rooms.contains_key(&room_id);
        let room = self.rooms.entry(room_id.clone()).or_insert_with(|| RoomPlace::sought(None));
        if matches!(room.place, Place::Here(_)) {
            return Entry::Here(newcomer);
        }
        room.away.insert(conn);
        self.members.insert(conn, Away { newcomer, stream: None, is_in: false, is_lecture: false });
        if let Place::There(_, link) = &room.place {
            let link = link.clone();
            self.join(conn, &link);
        }
        if is_new { Entry::Seek(room_id) } else { Entry::Away }
    }

    /// Starts a stream for a member.
    fn join(&mut self, conn: ConnId, link: &Link) {
        let Some(away) = self.members.get_mut(&conn) else { return };
        self.last_stream += 1;
        let stream = self.last_stream;
        if let Some(old) = away.stream.replace(stream) {
            self.streams.remove(&old);
        }
        self.streams.insert(stream, conn);
        link.send(ToOwner::Join { stream, newcomer: Box::new(away.newcomer.clone()) });
    }

    /// Passes on a message of a member. While nobody owns the room, nothing waits: offers are repeated by the clients.
    pub(in crate::signal::core) fn tell(&mut self, conn: ConnId, message: ClientMessage) -> Told {
        let Some(away) = self.members.get(&conn) else { return Told::Here(message) };
        let room = self.rooms.get(&away.newcomer.room);
        let link = match room.map(|room| &room.place) {
            Some(Place::There(_, link)) => Some(link),
            _ => None,
        };
        let is_goodbye = matches!(message, ClientMessage::Leave { .. });
        let told = match (message, link, away.stream) {
            // The connection to this node works, whatever else does.
            (ClientMessage::Ping, ..) => Told::Answer(ServerMessage::Pong),
            (message, Some(link), Some(stream)) => {
                link.send(ToOwner::Message { stream, text: message.to_json() });
                Told::Passed
            }
            (ClientMessage::Offer { .. }, ..) => Told::Answer(ServerMessage::target_busy()),
            _ => Told::Passed,
        };
        if is_goodbye {
            self.lost(conn);
            return Told::Left;
        }
        told
    }

    /// A connection has ended. False if its room is here.
    pub(in crate::signal::core) fn lost(&mut self, conn: ConnId) -> bool {
        self.forwarded.remove(&conn);
        let Some(away) = self.members.remove(&conn) else { return false };
        if let Some(stream) = away.stream {
            self.streams.remove(&stream);
        }
        let room_id = away.newcomer.room;
        if let Some(room) = self.rooms.get_mut(&room_id) {
            room.away.remove(&conn);
            if let (Place::There(_, link), Some(stream)) = (&room.place, away.stream) {
                link.send(ToOwner::Lost { stream });
            }
            // The task that looks for an owner forgets its room by itself.
            if room.away.is_empty() && matches!(room.place, Place::There(..)) {
                self.rooms.remove(&room_id);
            }
        }
        true
    }

    /// The member of a stream to the owner at the end of this link. Another owner has no say in it.
    pub(in crate::signal::core) fn member_of(&self, stream: u64, link: u64) -> Option<ConnId> {
        let conn = *self.streams.get(&stream)?;
        let room = self.rooms.get(&self.members.get(&conn)?.newcomer.room)?;
        room.is_by(link).then_some(conn)
    }

    /// The newcomer behind a connection, once an owner has let it in.
    pub(in crate::signal::core) fn let_in(&mut self, conn: ConnId, kind: RoomKind) -> Option<&mut Newcomer> {
        let away = self.members.get_mut(&conn)?;
        (away.is_in, away.is_lecture) = (true, kind == RoomKind::Lecture);
        Some(&mut away.newcomer)
    }

    /// Whether this is the connection of an edge here to a room at another node.
    pub(in crate::signal::core) fn is_edge(&self, conn: ConnId) -> bool {
        self.members.get(&conn).is_some_and(|away| away.newcomer.route.edge.is_some())
    }

    /// The lecture that a student is in, at another node.
    pub(in crate::signal::core) fn lecture_of(&self, conn: ConnId) -> Option<&RoomId> {
        let Away { newcomer, is_in, is_lecture, .. } = self.members.get(&conn)?;
        let is_student = !newcomer.publishes && newcomer.route.edge.is_none();
        (*is_in && *is_lecture && is_student).then_some(&newcomer.room)
    }

    /// Whether the room runs in this process.
    pub(in crate::signal::core) fn is_here(&self, room: &RoomId) -> bool {
        self.rooms.get(room).is_some_and(|room| matches!(room.place, Place::Here(_)))
    }

    /// Whether this node has to do with the room.
    pub(in crate::signal::core) fn knows(&self, room: &RoomId) -> bool {
        self.rooms.contains_key(room)
    }

    /// Whether somebody still waits for the owner of the room. If not, the room is forgotten.
    pub(in crate::signal::core) fn is_sought(&mut self, room_id: &RoomId) -> bool {
        let Some(room) = self.rooms.get(room_id) else { return false };
        let is_sought = matches!(room.place, Place::Sought { .. });
        if is_sought && room.away.is_empty() {
            self.rooms.remove(room_id);
            return false;
        }
        is_sought
    }

    /// The members that no owner has let in yet.
    pub(in crate::signal::core) fn newcomers(&self, room: &RoomId) -> Vec<ConnId> {
        let away = self.rooms.get(room).map(|room| &room.away);
        let is_new = |conn: &&ConnId| self.members.get(conn).is_some_and(|away| !away.is_in);
        away.into_iter().flatten().filter(is_new).copied().collect()
    }

    /// This node owns the room.
    pub(in crate::signal::core) fn found_here(&mut self, room_id: &RoomId, lease: Lease) -> Found {
        let before = self.rooms.insert(room_id.clone(), RoomPlace::here(lease.clone()));
        let Some(RoomPlace { place, away }) = before else { return Found::default() };
        let is_other = is_other(&place, &lease);
        let mut found = Found::default();
        for conn in away {
            let Some(Away { newcomer, stream, is_in, .. }) = self.members.remove(&conn) else { continue };
            if let Some(stream) = stream {
                self.streams.remove(&stream);
            }
            if is_other && is_in && decides(&newcomer) {
                found.stale.push(conn);
            } else {
                found.joining.push((conn, newcomer));
            }
        }
        // Those who open a room come before those who wait for it.
        found.joining.sort_by_key(|(_, newcomer)| (!newcomer.publishes, newcomer.kind.is_none()));
        found
    }

    /// Another node owns the room.
    pub(in crate::signal::core) fn found_there(&mut self, room_id: &RoomId, lease: Lease, link: Link) -> Vec<ConnId> {
        let Some(room) = self.rooms.get_mut(room_id) else { return Vec::new() };
        let is_other = is_other(&room.place, &lease);
        room.place = Place::There(lease, link.clone());
        let mut away: Vec<ConnId> = room.away.iter().copied().collect();
        let newcomer = |conn: &ConnId| self.members.get(conn).map(|away| (&away.newcomer, away.is_in));
        let is_stale = |conn: &ConnId| newcomer(conn).is_some_and(|(known, is_in)| is_in && decides(known));
        let stale: Vec<ConnId> = away.iter().copied().filter(|conn| is_other && is_stale(conn)).collect();
        away.retain(|conn| !stale.contains(conn));
        away.sort_by_key(|conn| newcomer(conn).map(|(known, _)| (!known.publishes, known.kind.is_none())));
        away.into_iter().for_each(|conn| self.join(conn, &link));
        stale
    }

    /// The room has to be placed anew. False if this node has nothing to do with it.
    pub(in crate::signal::core) fn seek_again(&mut self, room_id: &RoomId) -> bool {
        let Some(room) = self.rooms.get_mut(room_id) else { return false };
        let before = match &room.place {
            Place::Here(lease) | Place::There(lease, _) => Some(lease.clone()),
            Place::Sought { .. } => return false,
        };
        room.place = Place::Sought { before };
        for conn in &room.away {
            if let Some(stream) = self.members.get_mut(conn).and_then(|away| away.stream.take()) {
                self.streams.remove(&stream);
            }
        }
        true
    }

    /// The room of a stream, whose owner, at the end of this link, says that it is not the owner.
    pub(in crate::signal::core) fn room_of(&self, stream: u64, link: u64) -> Option<RoomId> {
        Some(self.members.get(&self.member_of(stream, link)?)?.newcomer.room.clone())
    }

    /// The rooms whose owner was reached by this link.
    pub(in crate::signal::core) fn rooms_by(&self, link: u64) -> Vec<RoomId> {
        self.rooms.iter().filter(|(_, room)| room.is_by(link)).map(|(id, _)| id.clone()).collect()
    }

    /// The room is not here any more: these members of it, who are connected to this node, are away now.
    pub(in crate::signal::core) fn gone(&mut self, room_id: &RoomId, members: Vec<(ConnId, Newcomer)>) {
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        for (conn, newcomer) in members {
            room.away.insert(conn);
            self.members.insert(conn, Away { newcomer, stream: None, is_in: true, is_lecture: false });
        }
    }

    /// The rooms that are here, with their leases.
    pub(in crate::signal::core) fn here(&self) -> Vec<(RoomId, Lease)> {
        let lease = |place: &Place| if let Place::Here(lease) = place { Some(lease.clone()) } else { None };
        self.rooms.iter().filter_map(|(id, room)| Some((id.clone(), lease(&room.place)?))).collect()
    }

    /// The rooms that another node owns, with the leases that this node knows.
    pub(in crate::signal::core) fn there(&self) -> Vec<(RoomId, Lease)> {
        let lease = |place: &Place| if let Place::There(lease, _) = place { Some(lease.clone()) } else { None };
        self.rooms.iter().filter_map(|(id, room)| Some((id.clone(), lease(&room.place)?))).collect()
    }

    /// The room here has a new lease.
    pub(in crate::signal::core) fn renewed(&mut self, room: &RoomId, lease: Lease) {
        if let Some(RoomPlace { place: Place::Here(known), .. }) = self.rooms.get_mut(room) {
            *known = lease;
        }
    }

    /// The number of members whose room is at another node.
    pub(in crate::signal::core) fn members_away(&self) -> usize {
        self.members.len()
    }
}

impl RoomPlace {
    fn sought(before: Option<Lease>) -> Self {
        Self { place: Place::Sought { before }, away: BTreeSet::new() }
    }

    fn here(lease: Lease) -> Self {
        Self { place: Place::Here(lease), away: BTreeSet::new() }
    }

    /// Whether the owner is at the end of this link.
    fn is_by(&self, link: u64) -> bool {
        matches!(&self.place, Place::There(_, known) if known.number == link)
    }
}

/// Whether the members knew another owner before.
fn is_other(before: &Place, now: &Lease) -> bool {
    let before = match before {
        Place::Here(lease) | Place::There(lease, _) => Some(lease),
        Place::Sought { before } => before.as_ref(),
    };
    before.is_some_and(|before| before != now)
}

/// Whether the client brings the settings of the room.
fn decides(newcomer: &Newcomer) -> bool {
    newcomer.publishes || newcomer.settings.is_some()
}
