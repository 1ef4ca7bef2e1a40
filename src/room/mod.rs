//! Who is in which room, and who may do what: every decision, and no waiting.
//!
//! [`Rooms::handle`] takes the time and one [`Input`], and returns the actions as [`Output`]s. It knows no socket and
//! no clock. Between inputs, [`Rooms::next_tick`] says when [`Input::Tick`] is due.
//!
//! The rules of a room:
//!
//! - A user id is unique in its room. The same client (same session secret) gets its user id back, also while its old
//!   connection is still open; a stranger with the same id is refused. A token that names the id takes it from a guest.
//! - There is one publisher. A second one is refused with a sentence that names the first.
//! - A room belongs to its first publisher until that one ends the lecture. Nobody else may publish there, also while
//!   the owner is away. A reserved room belongs to one client for ever.
//! - Students offer to the publisher, who answers or rejects. An offer to another member, a speaker on the stage, goes
//!   to the holder of the room's media too: the publisher or the media host.
//! - If the server carries the publisher's media, the room has a media host, which answers in the publisher's name. The
//!   publisher offers to itself, and the host answers. The host outlives the publisher's connection for a while.
//! - Edges receive the media as students do, and answer other students in the publisher's name (`edge_relay`).
//! - A lost connection keeps its user id for a while, and messages for it wait; a goodbye frees the id at once.
//! - The publisher hears of everybody at once, and everybody hears of the publisher at once. Students hear of each
//!   other in batches.
//! - Students may come first. A room exists from its first member to its last. A network opens few rooms in that way.
//! - A room may ask for a join code, make clients wait in a lobby, and be locked. Students who came before the
//!   publisher's settings are judged by them when the publisher comes.
//! - Members that moderate put others out; somebody who was put out stays out until the lecture ends.
//! - A place in a full room belongs to a member that is connected, and safely so only to a member with media. The same
//!   holds for the places of rooms whose media the server carries, and their publishers.
//! - A room may also be created, with a name and without members: it waits for its teacher for hours.
//! - The lecture is over when the teacher says goodbye, until a teacher returns. The room stays for some minutes, so
//!   that latecomers learn of it, and so that nobody else takes it.
//! - A meeting or call room has an owner instead of a publisher: its first member that may open such rooms, and later
//!   the member that is there for longest. Whoever takes part in the meeting or in a call has an entry (`conference`);
//!   the media goes from each to each, or, in a meeting of more than six, over a media host (`conference_host`).
//! - The owner may split a meeting into breakout rooms, which are further conferences of the same room (`breakouts`).
//!   The publisher of a lecture may do so with its students (`lecture_breakouts`).
//! - If the server is full, an empty room is removed for a client that enters another; the rooms of the network that
//!   has most go first.

mod breakouts;
mod calls;
mod conference;
mod conference_host;
mod division;
mod edge_relay;
mod edges;
mod eviction;
mod files;
mod gate;
mod host;
mod joining;
mod lecture_breakouts;
mod lobby;
mod meeting;
mod meeting_chat;
mod meeting_files;
mod member;
mod members;
mod news;
mod order;
mod owner;
mod pairs;
mod pending;
mod places;
mod refusals;
mod relay;
mod retention;
mod rings;
mod rooms;
mod spotlight;
mod surrender;
pub mod talk;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::Identity;
use crate::id::{Nickname, RoomId, RoomName, UserId};
use crate::network::{Network, Rate};
use crate::protocol::{
    self, ClientKind, ClientMessage, ErrorCode, MediaHost, RoomKind, RoomSettings, ServerMessage, SessionSecret, User,
    known_client,
};

pub(crate) use edges::DIRECT_EDGES;
pub use edges::{EdgeRole, Route};
pub use files::{FileClaim, FileDenied, FileState};
pub use refusals::Refusals;
pub(crate) use rooms::NO_MEETINGS;
pub use rooms::{Creation, Rooms};

/// A connection to the server. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A client that asks to join. Its JSON goes from the node of a server that the client is connected to, to the node
/// that has the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Newcomer {
    /// The room; it is opened if it does not exist.
    pub room: RoomId,
    /// The room's name, from a publisher; without one, the room keeps its name.
    pub room_name: Option<RoomName>,
    /// The user id that the client asks for.
    pub user: UserId,
    /// The name that others see.
    pub nickname: Nickname,
    /// Whether the client publishes. Only a client that may teach on this server asks for it here.
    pub publishes: bool,
    /// The host of a publisher's media.
    pub media: MediaHost,
    /// Changes with the client's process.
    pub epoch: u32,
    /// The secret of this client.
    pub session: SessionSecret,
    /// The kind of client, by its own account.
    #[serde(default, deserialize_with = "known_client")]
    pub client: Option<ClientKind>,
    /// Where the client comes from.
    pub network: Network,
    /// Whether the client may give orders in the room.
    pub moderates: bool,
    /// The join code that the client gave.
    pub code: Option<String>,
    /// The kind of a room that does not exist yet; none for a lecture.
    pub kind: Option<RoomKind>,
    /// Whether the client may teach on this server, though it does not publish.
    pub may_teach: bool,
    /// The settings that a publisher gives to the room, or the client that opens a meeting; without them, the room
    /// keeps its settings.
    pub settings: Option<RoomSettings>,
    /// The client's proved identity; `None` for a guest.
    pub identity: Option<Identity>,
    /// Whether the user id comes from a token. A guest does not keep it from this client.
    pub reserved: bool,
    /// How the client is connected to the room.
    #[serde(default)]
    pub route: Route,
}

/// The client that a room is reserved for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The room.
    pub room: RoomId,
    /// The user id, which nobody else gets in this room.
    pub user: UserId,
    /// The secret of the client, the only one that may publish in this room.
    pub session: SessionSecret,
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
    /// The server has started the media host of a room.
    HostStarted {
        /// The host's connection.
        conn: ConnId,
        /// The room.
        room: RoomId,
        /// The publisher of [`Output::StartHost`].
        publisher: Option<UserId>,
    },
    /// A connection ended without a goodbye. Then a media host has failed.
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
    /// Relay a message to the publisher or to the media host. If the receiver's queue is full, the sender gets
    /// [`ErrorCode::TargetBusy`] and the receiver stays connected.
    Relay {
        /// The sender.
        from: ConnId,
        /// The publisher or the media host.
        to: ConnId,
        /// The message.
        message: ServerMessage,
    },
    /// Start the media host of a room, and report it by [`Input::HostStarted`] at once.
    StartHost {
        /// The room.
        room: RoomId,
        /// The publisher for whom the host speaks; none for the host of conferences.
        publisher: Option<UserId>,
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
    /// The most rooms whose media the server carries, those of meetings included; 0 if it carries none. A lecture with
    /// breakout rooms at the server counts twice.
    pub max_media_rooms: usize,
    /// The most edges that get a lecture from the holder of its media.
    pub direct_edges: usize,
    /// The clients that may open meeting and call rooms.
    pub meetings: Meetings,
    /// What this server adds to the epoch of a publisher whose media it carries.
    pub host_epochs: u32,
    /// How long the user id of a lost connection stays reserved.
    pub resume_grace: Duration,
    /// How long a participant of a call or meeting keeps its place without a connection.
    pub conference_grace: Duration,
    /// The longest wait of a media host for a publisher whose connection was lost.
    pub media_stays: Duration,
    /// How long presence is collected for a batch.
    pub presence_interval: Duration,
    /// How long an empty created room stays.
    pub created_stays: Duration,
    /// How long an empty room stays after its teacher said goodbye.
    pub ended_stays: Duration,
    /// How long an empty room stays after the connection of its teacher was lost.
    pub owned_stays: Duration,
    /// How long changes of a lobby are collected for one list.
    pub lobby_interval: Duration,
    /// How long a member of a full room, or a publisher on a server that carries as many rooms as it can, may be
    /// without media before another one gets its place.
    pub media_within: Duration,
    /// Joins of clients that were not in the room before.
    pub joins: Rate,
    /// Offers to publishers.
    pub offers: Rate,
    /// Offers about speakers on the stage.
    pub stage_offers: Rate,
    /// Offers of participants of calls and meetings.
    pub conference_offers: Rate,
    /// Rooms that are created, or that teachers open by joining.
    pub openings: Rate,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            max_room_users: protocol::MAX_ROOM_USERS,
            direct_edges: DIRECT_EDGES,
            max_rooms: protocol::MAX_ROOMS,
            max_media_rooms: 0,
            meetings: Meetings::Teachers,
            host_epochs: 0,
            resume_grace: protocol::RESUME_GRACE,
            conference_grace: protocol::CONFERENCE_GRACE,
            media_stays: protocol::MEDIA_STAYS,
            presence_interval: protocol::PRESENCE_INTERVAL,
            created_stays: protocol::CREATED_ROOM_STAYS,
            ended_stays: protocol::ENDED_ROOM_STAYS,
            owned_stays: protocol::OWNED_ROOM_STAYS,
            lobby_interval: protocol::LOBBY_INTERVAL,
            media_within: protocol::MEDIA_WITHIN,
            joins: protocol::JOINS,
            offers: protocol::OFFERS,
            stage_offers: protocol::STAGE_OFFERS,
            conference_offers: protocol::CONFERENCE_OFFERS,
            openings: protocol::OPENINGS,
        }
    }
}

/// Who may open meeting and call rooms on a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Meetings {
    /// Everybody who may join.
    Anyone,
    /// Those who may teach.
    #[default]
    Teachers,
    /// Nobody.
    Off,
}

/// The state of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RoomState {
    /// There is no publisher, or its connection is lost at the moment; or nobody takes part in the meeting or a call.
    Waiting,
    /// There is a publisher, or a participant.
    Live,
    /// The publisher said goodbye, and there is no other; or the owner ended the meeting.
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
    /// The kind.
    #[serde(default)]
    pub kind: RoomKind,
    /// The owner of a meeting or call room.
    #[serde(default)]
    pub owner: Option<User>,
    /// The number of those who take part in the meeting, its breakout rooms, or calls.
    #[serde(default)]
    pub participants: usize,
    /// The participants of each breakout room of the meeting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakouts: Vec<usize>,
    /// The publisher.
    pub publisher: Option<User>,
    /// The host of the media; absent without a publisher, and while nobody takes part in the meeting or a call.
    #[serde(default)]
    pub media: Option<MediaHost>,
    /// The number of students; of members of a meeting or call room.
    pub watching: usize,
    /// The number of students among them who are on the stage.
    #[serde(default)]
    pub speakers: usize,
    /// The state.
    pub state: RoomState,
    /// Seconds since the first member joined, or since the room was created.
    pub open_s: u64,
    /// Seconds since the publisher joined, or since the meeting or the longest call began.
    pub live_s: Option<u64>,
    /// Seconds since the publisher said goodbye; only in the state [`RoomState::Ended`].
    #[serde(default)]
    pub ended_s: Option<u64>,
    /// Whether the room asks for a join code.
    #[serde(default)]
    pub has_code: bool,
    /// Whether newcomers wait until the teacher admits them.
    #[serde(default)]
    pub has_lobby: bool,
    /// Whether newcomers are refused.
    #[serde(default)]
    pub is_locked: bool,
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
    /// The kind of the room that the client may not join.
    pub kind: RoomKind,
}

impl RoomRefusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, kind: RoomKind::Lecture }
    }

    /// The refusal of a room of this kind.
    fn of(self, kind: RoomKind) -> Self {
        Self { kind, ..self }
    }

    fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The message for the client.
    fn into_message(self) -> ServerMessage {
        let Self { code, message, retry_after, kind } = self;
        // Rounded up, so that a client that returns after this time is not early.
        let retry_after_ms = retry_after.map(|wait| wait.as_millis() as u64 + 1);
        ServerMessage::Error { code, message, user_id: None, retry_after_ms, codec: None, kind }
    }

    /// Tells the client, and closes its connection.
    fn close(self, conn: ConnId, out: &mut Vec<Output>) {
        let code = self.code;
        out.push(Output::Send { to: conn, message: self.into_message() });
        out.push(Output::Close { conn, code: Some(code) });
    }

    /// Tells the client about one message of its own. The connection stays.
    fn answer(self, conn: ConnId, out: &mut Vec<Output>) {
        out.push(Output::Send { to: conn, message: self.into_message() });
    }
}
