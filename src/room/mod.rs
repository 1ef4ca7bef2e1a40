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

mod lecture;
mod mail;
mod presence;
pub mod talk;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::id::{Nickname, RoomId, UserId};
use crate::protocol::{self, ClientMessage, ErrorCode, ServerMessage, Session, User};
use lecture::Lecture;

/// One connection to the server; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Who wants to come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// The room, opened if need be.
    pub room: RoomId,
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
pub struct Limits {
    /// Students in one room.
    pub max_room_users: usize,
    /// Rooms.
    pub max_rooms: usize,
    /// How long a lost connection keeps its place.
    pub resume_grace: Duration,
    /// How long presence is collected.
    pub presence_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_room_users: protocol::MAX_ROOM_USERS,
            max_rooms: protocol::MAX_ROOMS,
            resume_grace: protocol::RESUME_GRACE,
            presence_interval: protocol::PRESENCE_INTERVAL,
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
}

/// One room as shown in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomSummary {
    /// The room.
    pub room_id: RoomId,
    /// Who teaches.
    pub publisher: Option<User>,
    /// How many students are in.
    pub watching: usize,
    /// Whether somebody teaches.
    pub state: RoomState,
    /// Seconds since the first user came in.
    pub open_s: u64,
    /// Seconds since the publisher came in.
    pub live_s: Option<u64>,
}

/// A refusal to come in.
struct Refusal {
    code: ErrorCode,
    message: String,
    retry_after: Option<Duration>,
}

/// All rooms of a server.
#[derive(Debug)]
pub struct Rooms {
    limits: Limits,
    rooms: BTreeMap<RoomId, Lecture>,
    /// Connections that are in a room. One that was refused or closed is not here, and what it still says is ignored.
    conns: HashMap<ConnId, (RoomId, UserId)>,
    /// Not later than the earliest deadline of any room.
    next_tick: Option<Instant>,
}

impl Rooms {
    /// No rooms.
    pub fn new(limits: Limits) -> Self {
        Self { limits, rooms: BTreeMap::new(), conns: HashMap::new(), next_tick: None }
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

    fn join(&mut self, now: Instant, conn: ConnId, newcomer: Newcomer, out: &mut Vec<Output>) {
        let (room, user) = (newcomer.room.clone(), newcomer.user.clone());
        let result = if self.rooms.contains_key(&room) || self.rooms.len() < self.limits.max_rooms {
            let lecture = self.rooms.entry(room.clone()).or_insert_with(|| Lecture::new(now));
            lecture.join(now, conn, newcomer, &self.limits, out)
        } else {
            Err(Refusal {
                code: ErrorCode::ServerFull,
                message: format!("the server has {} rooms and takes no more", self.limits.max_rooms),
                retry_after: None,
            })
        };
        match result {
            Ok(()) => {
                self.conns.insert(conn, (room.clone(), user));
                self.wake_for(&room);
            }
            Err(Refusal { code, message, retry_after }) => {
                // Rounded up, so that who comes back after this time is not early.
                let retry_after_ms = retry_after.map(|d| d.as_millis() as u64 + 1);
                out.push(Output::Send {
                    to: conn,
                    message: ServerMessage::Error { code, message, user_id: None, retry_after_ms },
                });
                out.push(Output::Close { conn, code: Some(code) });
            }
        }
    }

    fn message(&mut self, now: Instant, conn: ConnId, message: ClientMessage, out: &mut Vec<Output>) {
        let Some((room, user)) = self.conns.get(&conn) else { return };
        let Some(lecture) = self.rooms.get_mut(room) else { return };
        if message == ClientMessage::Leave {
            lecture.leave(now, user, conn, &self.limits, out);
            let room = room.clone();
            if lecture.is_empty() {
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
            !lecture.is_empty()
        });
        self.next_tick = self.rooms.values().filter_map(Lecture::next_tick).min();
    }

    fn wake_for(&mut self, room: &RoomId) {
        let due = self.rooms.get(room).and_then(Lecture::next_tick);
        self.next_tick = [self.next_tick, due].into_iter().flatten().min();
    }
}
