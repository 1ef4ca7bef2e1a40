//! The state behind the lock of a server: applies inputs to the rooms, and carries out what they decide.

use std::time::{Instant, SystemTime};

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::cluster::{Entry, Told};
use super::{MAX_LISTS, Outbox, Outgoing, State, outbox};
use crate::id::{RoomId, UserId};
use crate::network::SharedClientState;
use crate::protocol::{ClientMessage, RoomOrder, ServerMessage};
use crate::room::{ConnId, Input, Newcomer, Output};

impl State {
    /// A client wants to join: here, or at the node that has the room.
    pub(super) fn place(&mut self, conn: ConnId, newcomer: Newcomer) -> Entry {
        match &mut self.placements {
            None => Entry::Here(newcomer),
            Some(placements) => placements.enter(conn, newcomer),
        }
    }

    /// Passes on a message of a member whose room is at another node. Returns a message for the rooms here.
    pub(super) fn tell_away(&mut self, conn: ConnId, message: ClientMessage) -> Option<ClientMessage> {
        let Some(placements) = &mut self.placements else { return Some(message) };
        match placements.tell(conn, message) {
            Told::Here(message) => return Some(message),
            Told::Passed => {}
            Told::Answer(answer) => {
                if !self.push(conn, answer.to_json().into()) {
                    self.close(vec![conn]);
                }
            }
            Told::Left => {
                if let Some(outbox) = self.outboxes.remove(&conn) {
                    outbox.close(None);
                }
            }
        }
        None
    }

    /// A connection has ended. False if the rooms here have to know.
    pub(super) fn lost_away(&mut self, conn: ConnId) -> bool {
        self.placements.as_mut().is_some_and(|placements| placements.lost(conn))
    }

    pub(super) fn apply(&mut self, input: Input) {
        if let Input::Message { conn, message: ClientMessage::RoomUserList } = &input
            && let Some(text) = self.room_of_student(*conn).and_then(|room| self.lists.get(room))
        {
            let slow = if self.push(*conn, text.clone()) { vec![] } else { vec![*conn] };
            return self.close(slow);
        }
        if let Input::Message { conn, message: ClientMessage::Connected { target_uid } } = &input
            && let Some(target) = self.rooms.student_of(*conn, target_uid)
            && let Some(outbox) = self.outboxes.get(&target)
        {
            outbox.connected();
        }
        if let Input::Message { message, .. } = &input
            && matches!(message, ClientMessage::Channel { .. } | ClientMessage::Order(RoomOrder::Announce { .. }))
        {
            self.rooms.set_time(unix_ms());
        }
        let outputs = self.rooms.handle(Instant::now(), input);
        self.carry_out(outputs);
    }

    /// Of those who get a list of participants, the participants count as connected.
    fn mark_participants(&self, message: &ServerMessage, to: &[ConnId]) {
        if !matches!(message, ServerMessage::Participants(_)) {
            return;
        }
        for conn in to {
            let Some(outbox) = self.outboxes.get(conn).filter(|outbox| outbox.is_of_student()) else { continue };
            if self.rooms.takes_part(*conn) {
                outbox.connected();
            } else {
                outbox.joined();
            }
        }
    }

    /// Carries out what the rooms decided.
    pub(in crate::signal) fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut slow = Vec::new();
        for output in outputs {
            match output {
                Output::Send { to, mut message } => {
                    if let ServerMessage::Joined { room_id, users, ice_servers, user_id, .. } = &mut message {
                        let called = self.outboxes.get(&to).and_then(Outbox::called);
                        *ice_servers = self.ice_servers.of(room_id, user_id, called);
                        if users.len() == 1 {
                            // The room is new, and there may be a list of an earlier room of this id.
                            self.lists.remove(room_id);
                        }
                        self.outboxes.get(&to).into_iter().for_each(Outbox::joined);
                    }
                    self.mark_participants(&message, &[to]);
                    let text = Utf8Bytes::from(message.to_json());
                    if matches!(message, ServerMessage::RoomUserList { .. })
                        && let Some(room) = self.room_of_student(to).cloned()
                    {
                        if self.lists.len() >= MAX_LISTS {
                            self.lists.clear();
                        }
                        self.lists.insert(room, text.clone());
                    }
                    if !self.push(to, text) {
                        slow.push(to);
                    }
                }
                Output::Broadcast { to, message } => {
                    // From now on, an older list would contradict what the receivers know.
                    if let Some(room) = to.first().and_then(|conn| self.rooms.room_of(*conn)) {
                        self.lists.remove(room);
                    }
                    self.mark_participants(&message, &to);
                    let text = Utf8Bytes::from(message.to_json());
                    slow.extend(to.into_iter().filter(|to| !self.push(*to, text.clone())));
                }
                Output::Relay { from, to, message } => {
                    let text = message.to_json().into();
                    let is_full = self.outboxes.get(&to).is_some_and(|outbox| outbox.relay(text).is_err());
                    if is_full && !self.push(from, ServerMessage::target_busy().to_json().into()) {
                        slow.push(from);
                    }
                }
                Output::StartHost { room, publisher } => self.attach_host(room, publisher),
                Output::Close { conn, code } => {
                    if let Some(placements) = &mut self.placements {
                        placements.forwarded.remove(&conn);
                    }
                    if let Some(outbox) = self.outboxes.remove(&conn) {
                        outbox.close(code);
                    }
                }
            }
        }
        self.close(slow);
    }

    /// Closes connections that do not read, and more of them if too much waits for all students: those for whom most
    /// waits.
    pub(super) fn close(&mut self, mut slow: Vec<ConnId>) {
        loop {
            for conn in slow.drain(..) {
                if let Some(outbox) = self.outboxes.remove(&conn) {
                    outbox.overflowed();
                    if self.lost_away(conn) {
                        continue;
                    }
                    // The room reserves the user id, or the lobby forgets the client. The loss of a media
                    // host has outputs, and they end no other host.
                    let outputs = self.rooms.handle(Instant::now(), Input::Lost { conn });
                    if !outputs.is_empty() {
                        self.carry_out(outputs);
                    }
                }
            }
            if !self.student_bytes.is_too_much() {
                return;
            }
            let students = self.outboxes.iter().filter(|(_, outbox)| outbox.is_of_student());
            let Some((slowest, _)) = students.max_by_key(|(_, outbox)| outbox.waiting().1) else { return };
            slow.push(*slowest);
        }
    }

    /// Makes the connection of a media host, which starts once the lock is released.
    fn attach_host(&mut self, room: RoomId, publisher: Option<UserId>) {
        let client_state = SharedClientState::default();
        let (outbox, outgoing) = outbox(true, client_state.clone(), &self.student_bytes);
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.outboxes.insert(conn, outbox);
        let of = (room.clone(), publisher.clone());
        self.starting.push(StartingHost { room: of.0, publisher: of.1, conn, outgoing, client_state });
        let outputs = self.rooms.handle(Instant::now(), Input::HostStarted { conn, room, publisher });
        self.carry_out(outputs);
    }

    /// The room of a connection that does not publish.
    fn room_of_student(&self, conn: ConnId) -> Option<&RoomId> {
        self.outboxes.get(&conn).filter(|outbox| outbox.is_of_student())?;
        self.rooms.room_of(conn)
    }

    /// Queues a message. False if the outbox is full; true also if the connection is gone.
    pub(super) fn push(&self, to: ConnId, text: Utf8Bytes) -> bool {
        self.outboxes.get(&to).is_none_or(|outbox| outbox.push(text).is_ok())
    }
}

/// A media host that has a connection and no process yet.
#[derive(Debug)]
pub(super) struct StartingHost {
    pub(super) room: RoomId,
    pub(super) publisher: Option<UserId>,
    pub(super) conn: ConnId,
    pub(super) outgoing: Outgoing,
    pub(super) client_state: SharedClientState,
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}
