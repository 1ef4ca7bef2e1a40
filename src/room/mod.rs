//! Who is in which room, and who may do what: every decision, and no waiting.
//!
//! [`Rooms::handle`] takes the time and one [`Input`], and returns the actions as [`Output`]s. It knows no socket and
//! no clock. Between inputs, [`Rooms::next_tick`] says when [`Input::Tick`] is due.
//!
//! The rules of a room:
//!
//! - A user id is unique in its room. The same client (same session secret) gets its user id back, also while its old
//!   connection is still open; a stranger with the same id is refused.
//! - There is one publisher. A second one is refused with a sentence that names the first.
//! - Students offer only to the publisher; the publisher answers or rejects.
//! - A lost connection keeps its user id for a while, and messages for it wait; a goodbye frees the id at once.
//! - The publisher hears of everybody at once, and everybody hears of the publisher at once. Students hear of each
//!   other in batches.
//! - Students may come first. A room exists from its first member to its last.
//! - A room may also be created, with a name and without members: it waits for its teacher for hours.
//! - The lecture is over when the teacher says goodbye, until a teacher returns. The room stays for some minutes, so
//!   that latecomers learn of it.
//! - If the server is full, an empty room is removed for a client that enters another.

mod members;
mod pending;
mod retention;
pub mod talk;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::id::{Nickname, RoomId, RoomName, UserId};
use crate::network::Network;
use crate::protocol::{self, ClientKind, ClientMessage, ErrorCode, RoomSettings, ServerMessage, SessionSecret, User};
use crate::token_bucket::TokenBucket;
use members::Room;
use retention::Eviction;

/// A connection to the server. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A client that asks to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// The room; it is opened if it does not exist.
    pub room: RoomId,
    /// The room's name, from a publisher; without one, the room keeps its name.
    pub room_name: Option<RoomName>,
    /// The user id that the client asks for.
    pub user: UserId,
    /// The name that others see.
    pub nickname: Nickname,
    /// Whether the client publishes.
    pub publishes: bool,
    /// Changes with the client's process.
    pub epoch: u32,
    /// The secret of this client.
    pub session: SessionSecret,
    /// The kind of client, by its own account.
    pub client: Option<ClientKind>,
    /// Where the client comes from.
    pub network: Network,
    /// Whether the client may give orders in the room.
    pub moderates: bool,
    /// The join code that the client gave.
    pub code: Option<String>,
    /// The settings that a publisher gives to the room.
    pub settings: Option<RoomSettings>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A new connection asks to join.
    Join {
        /// The connection.
        conn: ConnId,
        /// The client.
        newcomer: Newcomer,
    },
    /// A connection sent a message.
    Message {
        /// The connection.
        conn: ConnId,
        /// The message.
        message: ClientMessage,
    },
    /// A connection ended without a goodbye.
    Lost {
        /// The connection.
        conn: ConnId,
    },
    /// Time passed.
    Tick,
}

/// An action, to be taken in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send to one connection. If its queue is full, that connection is at fault.
    Send {
        /// The receiver.
        to: ConnId,
        /// The message.
        message: ServerMessage,
    },
    /// Relay a student's message to the publisher. If the publisher's queue is full, the sender gets
    /// [`ErrorCode::TargetBusy`] and the publisher stays connected.
    Relay {
        /// The student.
        from: ConnId,
        /// The publisher.
        to: ConnId,
        /// The message.
        message: ServerMessage,
    },
    /// Send the same message to many connections.
    Broadcast {
        /// The receivers.
        to: Vec<ConnId>,
        /// The message.
        message: ServerMessage,
    },
    /// Close a connection once everything sent to it is written. Nothing more is sent to it.
    Close {
        /// The connection.
        conn: ConnId,
        /// The reason; none after a goodbye.
        code: Option<ErrorCode>,
    },
}

/// The limits of the rooms.
#[derive(Debug, Clone)]
pub struct RoomLimits {
    /// The most students in one room.
    pub max_room_users: usize,
    /// The most rooms.
    pub max_rooms: usize,
    /// How long the user id of a lost connection stays reserved.
    pub resume_grace: Duration,
    /// How long presence is collected for a batch.
    pub presence_interval: Duration,
    /// How long an empty created room stays.
    pub created_stays: Duration,
    /// How long an empty room stays after its teacher said goodbye.
    pub ended_stays: Duration,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            max_room_users: protocol::MAX_ROOM_USERS,
            max_rooms: protocol::MAX_ROOMS,
            resume_grace: protocol::RESUME_GRACE,
            presence_interval: protocol::PRESENCE_INTERVAL,
            created_stays: protocol::CREATED_ROOM_STAYS,
            ended_stays: protocol::ENDED_ROOM_STAYS,
        }
    }
}

/// The state of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RoomState {
    /// There is no publisher, or its connection is lost at the moment.
    Waiting,
    /// There is a publisher.
    Live,
    /// The publisher said goodbye, and there is no other.
    Ended,
}

/// A room in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomSummary {
    /// The room.
    pub room_id: RoomId,
    /// The room's name.
    #[serde(default)]
    pub name: Option<RoomName>,
    /// The publisher.
    pub publisher: Option<User>,
    /// The number of students.
    pub watching: usize,
    /// The state.
    pub state: RoomState,
    /// Seconds since the first member joined, or since the room was created.
    pub open_s: u64,
    /// Seconds since the publisher joined.
    pub live_s: Option<u64>,
    /// Seconds since the publisher said goodbye; only in the state [`RoomState::Ended`].
    #[serde(default)]
    pub ended_s: Option<u64>,
}

/// Why a client may not join, or a room can't be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRefusal {
    /// The stable code.
    pub code: ErrorCode,
    /// The sentence.
    pub message: String,
    /// Try again after this time.
    pub retry_after: Option<Duration>,
}

/// All rooms of a server.
#[derive(Debug)]
pub struct Rooms {
    limits: RoomLimits,
    rooms: BTreeMap<RoomId, Room>,
    creations: TokenBucket,
    /// Connections that are in a room. Messages from a refused or closed connection are ignored.
    conns: HashMap<ConnId, (RoomId, UserId)>,
    /// Not later than the earliest deadline of any room.
    next_tick: Option<Instant>,
}

impl Rooms {
    /// A server without rooms.
    pub fn new(limits: RoomLimits) -> Self {
        let creations = TokenBucket::new(protocol::CREATE_RATE, protocol::CREATE_BURST);
        Self { limits, rooms: BTreeMap::new(), creations, conns: HashMap::new(), next_tick: None }
    }

    /// Applies an event at the time `now`, which must not go back.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Join { conn, newcomer } => self.join(now, conn, newcomer, &mut out),
            Input::Message { conn, message } => self.message(now, conn, message, &mut out),
            Input::Lost { conn } => {
                if let Some((room_id, user)) = self.conns.remove(&conn)
                    && let Some(room) = self.rooms.get_mut(&room_id)
                {
                    room.lost(&user, conn, now + self.limits.resume_grace);
                    self.wake_for(&room_id);
                }
            }
            Input::Tick => self.tick(now, &mut out),
        }
        for output in &out {
            if let Output::Close { conn, .. } = output {
                self.conns.remove(conn);
            }
        }
        out
    }

    /// When [`Input::Tick`] is due; none while no room waits for anything.
    pub fn next_tick(&self) -> Option<Instant> {
        self.next_tick
    }

    /// All rooms, ordered by id.
    pub fn summaries(&self, now: Instant) -> Vec<RoomSummary> {
        self.rooms.iter().map(|(id, room)| room.summary(id, now)).collect()
    }

    /// The room with this id.
    pub fn summary(&self, room_id: &RoomId, now: Instant) -> Option<RoomSummary> {
        Some(self.rooms.get(room_id)?.summary(room_id, now))
    }

    /// The room of a connection.
    pub fn room_of(&self, conn: ConnId) -> Option<&RoomId> {
        self.conns.get(&conn).map(|(room, _)| room)
    }

    /// The connection of a student, if `conn` is that of the room's publisher.
    pub fn student_of(&self, conn: ConnId, student: &UserId) -> Option<ConnId> {
        let (room, user) = self.conns.get(&conn)?;
        self.rooms.get(room)?.student_of(user, student)
    }

    /// Whether a room with this id exists.
    pub fn contains(&self, room_id: &RoomId) -> bool {
        self.rooms.contains_key(room_id)
    }

    /// Creates a room for a teacher who comes later. An existing room only gets the name.
    pub fn create(&mut self, now: Instant, room_id: RoomId, name: RoomName) -> Result<(), RoomRefusal> {
        self.creations.take(now).map_err(|wait| RoomRefusal {
            code: ErrorCode::FloodedMessages,
            message: "too many rooms were created just now, try again in a moment".into(),
            retry_after: Some(wait),
        })?;
        // A created room does not evict another one that waits for its teacher, or no created room would be reliable.
        self.make_room_for(&room_id, Eviction::LectureOver)?;
        let room = self.rooms.entry(room_id.clone()).or_insert_with(|| Room::created(now, &self.limits));
        room.rename(name);
        self.wake_for(&room_id);
        Ok(())
    }

    /// Makes sure that `room_id` can be opened. If the server is full, this removes an empty room whose rank is at most
    /// `allowed`.
    fn make_room_for(&mut self, room_id: &RoomId, allowed: Eviction) -> Result<(), RoomRefusal> {
        if self.rooms.contains_key(room_id) || self.rooms.len() < self.limits.max_rooms {
            return Ok(());
        }
        let ranks = self.rooms.iter().filter_map(|(id, room)| Some((room.rank()?, id)));
        match ranks.min().filter(|((eviction, _), _)| *eviction <= allowed) {
            Some((_, unused)) => {
                let unused = unused.clone();
                self.rooms.remove(&unused);
                Ok(())
            }
            None => Err(RoomRefusal {
                code: ErrorCode::ServerFull,
                message: format!("the server has {} rooms and takes no more", self.limits.max_rooms),
                retry_after: None,
            }),
        }
    }

    fn join(&mut self, now: Instant, conn: ConnId, newcomer: Newcomer, out: &mut Vec<Output>) {
        let (room_id, user) = (newcomer.room.clone(), newcomer.user.clone());
        let result = self.make_room_for(&room_id, Eviction::LecturePending).and_then(|()| {
            let room = self.rooms.entry(room_id.clone()).or_insert_with(|| Room::opened(now));
            room.join(now, conn, newcomer, &self.limits, out)
        });
        self.wake_for(&room_id);
        match result {
            Ok(()) => {
                self.conns.insert(conn, (room_id, user));
            }
            Err(RoomRefusal { code, message, retry_after }) => {
                // Rounded up, so that a client that returns after this time is not early.
                let retry_after_ms = retry_after.map(|d| d.as_millis() as u64 + 1);
                out.push(Output::Send {
                    to: conn,
                    message: ServerMessage::Error { code, message, user_id: None, retry_after_ms, codec: None },
                });
                out.push(Output::Close { conn, code: Some(code) });
            }
        }
    }

    fn message(&mut self, now: Instant, conn: ConnId, message: ClientMessage, out: &mut Vec<Output>) {
        let Some((room_id, user)) = self.conns.get(&conn) else { return };
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        if let ClientMessage::Leave { over } = message {
            room.leave(now, (user, conn), over, &self.limits, out);
            let room_id = room_id.clone();
            if room.is_over(now) {
                self.rooms.remove(&room_id);
            } else {
                self.wake_for(&room_id);
            }
        } else {
            room.message(user, conn, message, out);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.next_tick.is_none_or(|due| now < due) {
            return;
        }
        self.rooms.retain(|_, room| {
            room.tick(now, &self.limits, out);
            !room.is_over(now)
        });
        self.next_tick = self.rooms.values().filter_map(Room::next_tick).min();
    }

    fn wake_for(&mut self, room_id: &RoomId) {
        let due = self.rooms.get(room_id).and_then(Room::next_tick);
        self.next_tick = [self.next_tick, due].into_iter().flatten().min();
    }
}
