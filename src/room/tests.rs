//! The rules of a lecture, with time as an argument.

mod admission;
mod breakouts;
mod calls;
mod crowds;
mod edge_tree;
mod edges;
mod engines;
mod gate;
mod hall;
mod host;
mod keeping;
mod lecture;
mod lecture_breakouts;
mod lobby;
mod media_places;
mod meeting_chat;
mod meeting_files;
mod meeting_host;
mod meetings;
mod order;
mod ownership;
mod places;
mod spotlight;
mod stage;
mod unsteady;

use std::time::{Duration, Instant};

use super::*;
use crate::protocol::{IceCandidate, LeaveReason, RoomOrder, VideoCodec};

const TEACHER: &str = "9999";

/// A server's rooms with a clock that the test advances.
struct TestServer {
    rooms: Rooms,
    now: Instant,
    next_conn: u64,
}

/// The messages, in order, with their receivers.
type Told = Vec<(ConnId, ServerMessage)>;

impl TestServer {
    fn new() -> Self {
        Self::with(RoomLimits::default())
    }

    fn with(limits: RoomLimits) -> Self {
        Self { rooms: Rooms::new(limits), now: Instant::now(), next_conn: 0 }
    }

    /// Takes the next connection and joins.
    fn enter(&mut self, newcomer: Newcomer) -> (ConnId, Vec<Output>) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        (conn, self.rooms.handle(self.now, Input::Join { conn, newcomer }))
    }

    fn join_as(&mut self, user: &str, session: char, epoch: u32) -> (ConnId, Vec<Output>) {
        self.enter(Newcomer { epoch, session: secret(session), ..newcomer(user) })
    }

    /// Joins, and asserts that the client is let in.
    fn let_in(&mut self, newcomer: Newcomer) -> ConnId {
        let (conn, out) = self.enter(newcomer);
        assert!(is_in(&out, conn), "{out:?}");
        conn
    }

    /// Joins, and returns the code of the refusal.
    fn refused(&mut self, newcomer: Newcomer) -> ErrorCode {
        let (conn, out) = self.enter(newcomer);
        let code = error_code(&out, conn).unwrap_or_else(|| panic!("{out:?}"));
        assert_eq!(closed(&out), [(conn, Some(code))], "the refused one, and nobody else");
        code
    }

    fn order(&mut self, conn: ConnId, order: RoomOrder) -> Vec<Output> {
        self.say(conn, ClientMessage::Order(order))
    }

    fn summary(&self, room: &str) -> Option<RoomSummary> {
        self.rooms.summaries(self.now).into_iter().find(|summary| summary.room_id.as_str() == room)
    }

    fn has_room(&self, room: &str) -> bool {
        self.summary(room).is_some()
    }

    /// Joins, and asserts that the client is let in.
    fn join(&mut self, user: &str) -> ConnId {
        let (conn, out) = self.join_as(user, 'a', 1);
        assert!(is_in(&out, conn), "{out:?}");
        conn
    }

    fn say(&mut self, conn: ConnId, message: ClientMessage) -> Vec<Output> {
        self.rooms.handle(self.now, Input::Message { conn, message })
    }

    fn lose(&mut self, conn: ConnId) {
        assert_eq!(self.rooms.handle(self.now, Input::Lost { conn }), []);
    }

    /// Advances the clock and ticks whenever a tick is due.
    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut out = Vec::new();
        while let Some(due) = self.rooms.next_tick().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            out.extend(self.rooms.handle(self.now, Input::Tick));
            assert!(self.rooms.next_tick().is_none_or(|next| next > self.now), "a tick leaves nothing due");
        }
        self.now = end;
        out
    }
}

fn id(user: &str) -> UserId {
    user.parse().unwrap()
}

fn flat(out: &[Output]) -> Told {
    out.iter()
        .flat_map(|output| match output {
            Output::Send { to, message } | Output::Relay { to, message, .. } => vec![(*to, message.clone())],
            Output::Broadcast { to, message } => to.iter().map(|to| (*to, message.clone())).collect(),
            Output::Close { .. } | Output::StartHost { .. } => vec![],
        })
        .collect()
}

fn told(out: &[Output], conn: ConnId) -> Vec<ServerMessage> {
    flat(out).into_iter().filter(|(to, _)| *to == conn).map(|(_, message)| message).collect()
}

fn error_code(out: &[Output], conn: ConnId) -> Option<ErrorCode> {
    told(out, conn).iter().find_map(|message| match message {
        ServerMessage::Error { code, .. } => Some(*code),
        _ => None,
    })
}

fn closed(out: &[Output]) -> Vec<(ConnId, Option<ErrorCode>)> {
    let close = |output: &Output| match output {
        Output::Close { conn, code } => Some((*conn, *code)),
        _ => None,
    };
    out.iter().filter_map(close).collect()
}

fn network() -> Network {
    network_of("192.0.2.1")
}

fn network_of(ip: &str) -> Network {
    Network::of(ip.parse().unwrap())
}

fn secret(letter: char) -> SessionSecret {
    letter.to_string().repeat(16).parse().unwrap()
}

/// A client in room 10013 with the session `a`. Ids that start with 9 publish.
fn newcomer(user: &str) -> Newcomer {
    Newcomer {
        room: "10013".parse().unwrap(),
        room_name: None,
        user: user.parse().unwrap(),
        nickname: format!("N-{user}").as_str().into(),
        publishes: user.starts_with('9'),
        media: MediaHost::Publisher,
        epoch: 1,
        session: secret('a'),
        client: None,
        network: network(),
        kind: None,
        may_teach: false,
        moderates: false,
        code: None,
        settings: None,
        identity: None,
        reserved: false,
        route: Route::default(),
    }
}

/// A student with a session of its own.
fn student(user: &str) -> Newcomer {
    let session = format!("{user:s>16}").parse().unwrap();
    Newcomer { session, ..newcomer(user) }
}

/// A student with a token that names it.
fn pupil(user: &str) -> Newcomer {
    let identity = Identity::Token { key: "school".parse().unwrap(), subject: id(user) };
    Newcomer { identity: Some(identity), reserved: true, ..student(user) }
}

/// A teacher that may give orders.
fn teacher() -> Newcomer {
    Newcomer { session: secret('t'), moderates: true, ..newcomer(TEACHER) }
}

/// A teacher that gives these settings to its room.
fn teacher_with(settings: RoomSettings) -> Newcomer {
    Newcomer { settings: Some(settings), ..teacher() }
}

fn is_in(out: &[Output], conn: ConnId) -> bool {
    told(out, conn).iter().any(|message| matches!(message, ServerMessage::Joined { .. }))
}

fn waits(out: &[Output], conn: ConnId) -> bool {
    told(out, conn).iter().any(|message| matches!(message, ServerMessage::Waiting { .. }))
}

fn connected(user: &str) -> ClientMessage {
    ClientMessage::Connected { target_uid: id(user) }
}

fn removed(user: &str) -> ServerMessage {
    ServerMessage::Leave { users: vec![id(user)], reason: LeaveReason::Removed }
}

fn user(name: &str, epoch: u32) -> User {
    User {
        user_id: id(name),
        nickname: format!("N-{name}").as_str().into(),
        publishes: name == TEACHER,
        epoch,
        client: None,
        moderates: false,
    }
}

fn offer_to(target: &str) -> ClientMessage {
    ClientMessage::Offer { entry: None, target_uid: id(target), sdp: "v=0".into(), video: None, tracks: None }
}

fn answer_to(target: &str) -> ClientMessage {
    ClientMessage::Answer { entry: None, target_uid: id(target), sdp: "v=0".into(), source: None }
}

fn candidate_to(target: &str) -> ClientMessage {
    ClientMessage::Candidate { entry: None, target_uid: id(target), candidate: IceCandidate::default(), source: None }
}
