//! Who is in which room, and who may do what: everything that decides, and nothing that waits.
//!
//! [`Rooms::handle`] takes the time and one [`Input`] and says what is to be done as [`Output`]s. It knows no socket
//! and no clock. Between inputs, [`Rooms::next_tick`] says when [`Input::Tick`] is due.
//!
//! The rules of a lecture:
//!
//! - A user id is unique in its room. The same client (same session secret) takes its own place back, also from a
//!   connection that is still open; a stranger with the same id is refused.
//! - One publishes. A second one is refused with a sentence that says who teaches.
//! - Students offer to the publisher and to nobody else; the publisher answers or rejects.
//! - A lost connection keeps its place for a while, with the messages that arrive for it; a goodbye frees it at once.
//! - The publisher hears of everybody at once, and everybody of the publisher. Students hear of students in batches.
//! - Students may come first. A room is there from its first user to its last.
//! - A room may also be created, with a name and without a user: it waits for its teacher for hours.
//! - When the teacher says goodbye the lecture is over, until one comes back. The room stays for some minutes more, so
//!   that who comes late can be told.
//! - A room that nobody is in makes place when somebody wants to enter another, and the server is full.

mod lecture;
mod pending;
mod retention;
pub mod talk;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::id::{Nickname, RoomId, RoomName, UserId};
use crate::protocol::{self, ClientKind, ClientMessage, ErrorCode, ServerMessage, Session, User};
use crate::token_bucket::TokenBucket;
use lecture::Lecture;
use retention::Eviction;

/// One connection to the server; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Who wants to come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// The room, opened if need be.
    pub room: RoomId,
    /// What a publisher calls the room; none leaves it as it is called.
    pub room_name: Option<RoomName>,
    /// The user id wanted.
    pub user: UserId,
    /// As shown to others.
    pub nickname: Nickname,
    /// Whether to teach.
    pub publishes: bool,
    /// Changes with the client's process.
    pub epoch: u32,
    /// What the same client has and nobody else.
    pub session: Session,
    /// What the client is, by its own word.
    pub client: Option<ClientKind>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A new connection wants in.
    Join {
        /// The connection.
        conn: ConnId,
        /// Who it is.
        newcomer: Newcomer,
    },
    /// A connection said something.
    Message {
        /// The connection.
        conn: ConnId,
        /// What it said.
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

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Tell one connection. If it does not keep up, it is at fault.
    Send {
        /// The receiver.
        to: ConnId,
        /// The message.
        message: ServerMessage,
    },
    /// Pass a student's message on to the publisher. If the publisher's queue is full, the sender is told
    /// [`ErrorCode::TargetBusy`] and the publisher is left alone.
    Relay {
        /// The student.
        from: ConnId,
        /// The publisher.
        to: ConnId,
        /// The message.
        message: ServerMessage,
    },
    /// Tell many the same.
    Broadcast {
        /// The receivers.
        to: Vec<ConnId>,
        /// The message.
        message: ServerMessage,
    },
    /// Close a connection once what was sent to it is written. Nothing more will be said to it.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why; nothing after a goodbye.
        code: Option<ErrorCode>,
    },
}

/// How much is allowed.
#[derive(Debug, Clone)]
pub struct RoomLimits {
    /// Students in one room.
    pub max_room_users: usize,
    /// Rooms.
    pub max_rooms: usize,
    /// How long a lost connection keeps its place.
    pub resume_grace: Duration,
    /// How long presence is collected.
    pub presence_interval: Duration,
    /// How long a created room stays that nobody is in.
    pub created_stays: Duration,
    /// How long a room stays that nobody is in, after its teacher said goodbye.
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

/// Whether somebody teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RoomState {
    /// Nobody does, or the publisher's connection is lost just now.
    Waiting,
    /// Somebody does.
    Live,
    /// Who did has said goodbye, and nobody has come back.
    Ended,
}

/// One room as shown in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomSummary {
    /// The room.
    pub room_id: RoomId,
    /// What people call it.
    #[serde(default)]
    pub name: Option<RoomName>,
    /// Who teaches.
    pub publisher: Option<User>,
    /// How many students are in.
    pub watching: usize,
    /// Whether somebody teaches.
    pub state: RoomState,
    /// Seconds since the first user came in, or since it was created.
    pub open_s: u64,
    /// Seconds since the publisher came in.
    pub live_s: Option<u64>,
    /// Seconds since the publisher said goodbye; only where it is [`RoomState::Ended`].
    #[serde(default)]
    pub ended_s: Option<u64>,
}

/// A refusal to come in, or to create a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for a program.
    pub code: ErrorCode,
    /// Why, for a person.
    pub message: String,
    /// Worth another try after this time.
    pub retry_after: Option<Duration>,
}

/// All rooms of a server.
#[derive(Debug)]
pub struct Rooms {
    limits: RoomLimits,
    rooms: BTreeMap<RoomId, Lecture>,
    creations: TokenBucket,
    /// Connections that are in a room. One that was refused or closed is not here, and what it still says is ignored.
    conns: HashMap<ConnId, (RoomId, UserId)>,
    /// Not later than the earliest deadline of any room.
    next_tick: Option<Instant>,
}

impl Rooms {
    /// No rooms.
    pub fn new(limits: RoomLimits) -> Self {
        let creations = TokenBucket::new(protocol::CREATE_RATE, protocol::CREATE_BURST);
        Self { limits, rooms: BTreeMap::new(), creations, conns: HashMap::new(), next_tick: None }
    }

    /// Applies what happened at `now`. `now` must not go back.
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Join { conn, newcomer } => self.join(now, conn, newcomer, &mut out),
            Input::Message { conn, message } => self.message(now, conn, message, &mut out),
            Input::Lost { conn } => {
                if let Some((room, user)) = self.conns.remove(&conn)
                    && let Some(lecture) = self.rooms.get_mut(&room)
                {
                    lecture.lost(&user, conn, now + self.limits.resume_grace);
                    self.wake_for(&room);
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

    /// When [`Input::Tick`] is due; nothing while no room waits for anything.
    pub fn next_tick(&self) -> Option<Instant> {
        self.next_tick
    }

    /// Every room, by its id.
    pub fn summaries(&self, now: Instant) -> Vec<RoomSummary> {
        self.rooms.iter().map(|(id, lecture)| lecture.summary(id, now)).collect()
    }

    /// The room of this id.
    pub fn summary(&self, room: &RoomId, now: Instant) -> Option<RoomSummary> {
        Some(self.rooms.get(room)?.summary(room, now))
    }

    /// Whether there is a room of this id.
    pub fn contains(&self, room: &RoomId) -> bool {
        self.rooms.contains_key(room)
    }

    /// Creates a room for a teacher who comes later; one that is there already only gets the name.
    pub fn create(&mut self, now: Instant, room: RoomId, name: RoomName) -> Result<(), Refusal> {
        self.creations.take(now).map_err(|wait| Refusal {
            code: ErrorCode::FloodedMessages,
            message: "too many rooms were created just now, try again in a moment".into(),
            retry_after: Some(wait),
        })?;
        // Not in the place of another that waits for its teacher: then nobody could rely on one.
        self.make_room_for(&room, Eviction::LectureOver)?;
        let lecture = self.rooms.entry(room.clone()).or_insert_with(|| Lecture::created(now, &self.limits));
        lecture.call(name);
        self.wake_for(&room);
        Ok(())
    }

    /// Makes sure that `room` can be opened: where the server is full, by the end of a room that nobody is in and that
    /// waits for no more than `allowed`.
    fn make_room_for(&mut self, room: &RoomId, allowed: Eviction) -> Result<(), Refusal> {
        if self.rooms.contains_key(room) || self.rooms.len() < self.limits.max_rooms {
            return Ok(());
        }
        let ranks = self.rooms.iter().filter_map(|(id, lecture)| Some((lecture.rank()?, id)));
        match ranks.min().filter(|((eviction, _), _)| *eviction <= allowed) {
            Some((_, unused)) => {
                let unused = unused.clone();
                self.rooms.remove(&unused);
                Ok(())
            }
            None => Err(Refusal {
                code: ErrorCode::ServerFull,
                message: format!("the server has {} rooms and takes no more", self.limits.max_rooms),
                retry_after: None,
            }),
        }
    }

    fn join(&mut self, now: Instant, conn: ConnId, newcomer: Newcomer, out: &mut Vec<Output>) {
        let (room, user) = (newcomer.room.clone(), newcomer.user.clone());
        let result = self.make_room_for(&room, Eviction::LecturePending).and_then(|()| {
            let lecture = self.rooms.entry(room.clone()).or_insert_with(|| Lecture::opened(now));
            lecture.join(now, conn, newcomer, &self.limits, out)
        });
        self.wake_for(&room);
        match result {
            Ok(()) => {
                self.conns.insert(conn, (room, user));
            }
            Err(Refusal { code, message, retry_after }) => {
                // Rounded up, so that who comes back after this time is not early.
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
        let Some((room, user)) = self.conns.get(&conn) else { return };
        let Some(lecture) = self.rooms.get_mut(room) else { return };
        if let ClientMessage::Leave { over } = message {
            lecture.leave(now, (user, conn), over, &self.limits, out);
            let room = room.clone();
            if lecture.is_over(now) {
                self.rooms.remove(&room);
            } else {
                self.wake_for(&room);
            }
        } else {
            lecture.message(user, conn, message, out);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.next_tick.is_none_or(|due| now < due) {
            return;
        }
        self.rooms.retain(|_, lecture| {
            lecture.tick(now, &self.limits, out);
            !lecture.is_over(now)
        });
        self.next_tick = self.rooms.values().filter_map(Lecture::next_tick).min();
    }

    fn wake_for(&mut self, room: &RoomId) {
        let due = self.rooms.get(room).and_then(Lecture::next_tick);
        self.next_tick = [self.next_tick, due].into_iter().flatten().min();
    }
}
