//! The protocol between a classroom's server and its clients. This page is the specification.
//!
//! # Connecting
//!
//! JSON text over WebSocket, one object per message:
//!
//! ```text
//! ws://HOST:18080/ws?roomId=10013&userId=1001&nickname=S-01&pub=no&epoch=<number>&auth=1
//! ```
//!
//! The query is a [`JoinRequest`]; opening the WebSocket joins the room. With `auth=1` the server first waits for the
//! client's [`Credentials`], for [`AUTH_WITHIN`]; a client without `auth` has none. Secrets never stand in the URL,
//! because URLs are written to logs and histories.
//!
//! ```text
//! client -> server    {"type":"auth","session":"<secret>","code":"472913"}
//! ```
//!
//! The first message from the server is `joined`; or `waiting`, until the teacher admits the client; or an `error`,
//! after which the server closes the WebSocket. A request without an upgrade gets an HTTP status instead.
//!
//! - `session` is a secret that the client draws and keeps. It proves that a new connection comes from the same client.
//!   The new connection replaces the old one at once, and the old one is closed with [`ErrorCode::Replaced`]. Without a
//!   session, a client can't resume.
//! - `code` is the join code of the room, `token` a signed token, `key` the teaching key of the server. `room` holds
//!   what a publisher sets for its room: [`RoomSettings`].
//! - `epoch` is a random number, drawn once per process. It tells others whether they negotiated media with this
//!   process. Same epoch: only the WebSocket was reconnected, keep the media. New epoch: offer again.
//! - `roomName` names the room for people; only the publisher's counts.
//! - `client` is the kind of client for the teacher's list: `browser`, `watch`, `whep`, `whip`. The client names it
//!   itself, and no decision depends on it.
//! - `media` is the host of a publisher's media: [`MediaHost`]. With `media=server` the server receives it and
//!   sends it to the students. Only a publisher may ask for that. A server that carries no media refuses it with
//!   [`ErrorCode::MediaNotServed`], and one that carries as many rooms as it can with [`ErrorCode::ServerFull`].
//!
//! # Messages
//!
//! A client sends [`ClientMessage`]s and receives [`ServerMessage`]s. Both are tagged by `type`, with fields in camel
//! case. Unknown fields are ignored. The server refuses unknown types; a client ignores them. The server stamps the
//! sender, so nobody can speak for another.
//!
//! ```text
//! student -> server   {"type":"offer","targetUid":"9999","sdp":"v=0..."}
//! server -> teacher   {"type":"offer","userId":"1001","sdp":"v=0..."}
//! teacher -> server   {"type":"answer","targetUid":"1001","sdp":"v=0..."}
//! ```
//!
//! Students send offers, to the publisher or to a speaker on the stage. The publisher sends answers, rejections and
//! hangups. Candidates go both ways. An offer with one video section gets the screen, or the camera if no screen is
//! shown, unless its `video` names the track. A `hangup` tells a student that the publisher has ended the student's
//! media; a new offer gets new media.
//!
//! # Media on the server
//!
//! If the publisher joined with `media=server`, the server answers the students in the publisher's name, so that a
//! student can't tell the difference. The publisher sends its media to the server: its offer has its own user id as
//! target, and the sections that send. `tracks` maps the `a=mid` of these sections to tracks. Without `tracks`, the
//! audio section is the audio, the first video section the screen, and the second one the camera.
//!
//! ```text
//! publisher -> server {"type":"offer","targetUid":"9999","sdp":"v=0...","tracks":{"0":"audio","1":"screen"}}
//! server -> publisher {"type":"answer","userId":"9999","sdp":"v=0..."}
//! ```
//!
//! Answers, candidates, errors and hangups for the publisher's media come from its own user id. Such a publisher sends
//! nothing to students. A student's offer waits until the publisher's media has arrived, and after some seconds it is
//! rejected with [`ErrorCode::TargetBusy`].
//!
//! The server's media outlives the connections of the publisher: a publisher that joins again with the same user id,
//! also in a new process, finds its students connected and offers again. That is why the `epoch` that others see of
//! such a publisher is the server's. The media ends when the publisher leaves, ends the lecture, joins without
//! `media=server`, or stays away for [`MEDIA_STAYS`].
//!
//! # The stage
//!
//! Students whom the teacher invites may speak to the class, see [`channel`]. Their media is at the holder of the
//! room's media: the media host of the server, or the publisher's process. A speaker publishes by an offer with its own
//! user id as target, and `tracks` as above. Everybody else receives the speaker's media by an offer with the speaker
//! as target, also a publisher whose media lives on the server.
//!
//! The server relays an offer to any member but the publisher to the holder, with the target as `source`, and the
//! candidates as well. The holder repeats the `source` in its answers, rejections, candidates and hangups, and the
//! receiver sees them as messages of that user. The holder rejects offers for a user who is not on the stage with
//! [`ErrorCode::NotOnStage`]. Only the holder sets `source`; from others it is ignored.
//!
//! ```text
//! student -> server   {"type":"offer","targetUid":"1001","sdp":"v=0..."}
//! server -> holder    {"type":"offer","userId":"1002","source":"1001","sdp":"v=0..."}
//! holder -> server    {"type":"answer","targetUid":"1002","source":"1001","sdp":"v=0..."}
//! server -> student   {"type":"answer","userId":"1001","sdp":"v=0..."}
//! ```
//!
//! # Who gets in
//!
//! A room belongs to its first publisher until that one ends the lecture; nobody else may publish in it meanwhile. A
//! publisher's [`RoomSettings`] also judge students who came before: without the right code they get `codeRequired`,
//! and with a lobby they get `waiting` again. A client in the lobby may only `ping` and `leave`. A client that was
//! admitted may return with the same `session` until the lecture ends. A server that has restarted knows of no room;
//! its [`RoomSettings`] name the user ids that were put out.
//!
//! A member whose [`User::moderates`] is set sends [`RoomOrder`]s, such as
//! `{"type":"order","order":"kick","targetUid":"1001"}`. The server answers each with
//! an `order` that repeats it, to all who moderate, or with an `error`. By `lobby` it tells them of clients that wait.
//!
//! In a full room, a newcomer gets the place of a member without media, if that one had [`MEDIA_WITHIN`] for it or
//! comes from a network with more such members. That one gets `roomFull` with `retryAfterMs`. The publisher's
//! `connected` and `hangup` tell the server whose media runs; a `hangup` with a `source` does not. The holder's
//! `speakers` tells how many students are on the stage, for the list of rooms. [`JOINS`],
//! [`OFFERS`] and [`STAGE_OFFERS`] limit each network and all together; of candidates, [`MAX_CANDIDATES_PER_OFFER`] are
//! relayed.
//!
//! # Presence
//!
//! The publisher hears of students at once, and everybody hears of the publisher at once. Students hear of each other
//! in batches ([`PRESENCE_INTERVAL`]). In a room with more than [`MAX_LISTED_USERS`] members they do not hear of joins:
//! each second with changes brings the leaves and a `memberCount`. A `join` is an upsert: for a member who is
//! listed already, it replaces the entry. A `leave` may name a user who was never listed.
//!
//! `leave`, or closing the WebSocket with code 1000, is a goodbye. After any other end of the connection the server
//! reserves the user id for [`RESUME_GRACE`] and keeps messages for it. A publisher that leaves with `"over":true` ends
//! the lecture: the others get the reason `ended`, and need not wait for a publisher as after `left`. `joined` tells a
//! student who comes later how the last publisher left.
//!
//! # Dead paths
//!
//! The server sends WebSocket pings ([`PING_INTERVAL`]), and either end gives up the connection after
//! [`SILENCE_TIMEOUT`]. A page's script never sees a WebSocket ping, so a page sends `ping` and gets `pong`; that way
//! it notices a dead path within seconds. A `ping` counts against [`STUDENT_RATE`] like every message.
//!
//! # Errors
//!
//! An `error` has a stable [`ErrorCode`] and a sentence. If [`ErrorCode::closes`], the server then closes the
//! WebSocket; if [`ErrorCode::is_final`], repeating the request is pointless. With `retryAfterMs` the client may try
//! again after that time, whatever the code. With `userId`, that user sent the error by `reject`. With `noCommonCodec`
//! comes the `codec` of the lecture.
//!
//! Chat, raised hands and reactions use the data channel between student and publisher: see [`channel`].

use serde::{Deserialize, Serialize};

use crate::id::{Nickname, RoomId, RoomName, UserId, is_printable};
use crate::network::NetworkTag;

pub use credentials::{Credentials, MAX_BANNED, MAX_TOKEN_BYTES, RoomSettings};
pub use error::ErrorCode;
pub use join::{ClientKind, JoinError, JoinRequest, MediaHost, SessionSecret, SessionSecretError};
pub use limits::*;
pub use media::{IceCandidate, IceServer, OfferedTracks, TrackName, VideoCodec, VideoTrack};
pub use order::RoomOrder;

pub mod channel;
mod credentials;
mod error;
mod join;
mod limits;
mod media;
mod order;

/// How long a sender waits before it tries a busy target again, in milliseconds: a queue empties within that time.
pub(crate) const BUSY_RETRY_MS: u64 = 1_000;

/// The longest sentence of a `reject`, in characters; it is shown to a person.
const MAX_REASON_CHARS: usize = 400;

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Unique within the room.
    pub user_id: UserId,
    /// The name that others see, possibly empty.
    pub nickname: Nickname,
    /// Whether this member is the publisher; `"pub"` or `"no"` on the wire.
    #[serde(rename = "pub", with = "publishes_text")]
    pub publishes: bool,
    /// Changes with the process behind the user.
    #[serde(default)]
    pub epoch: u32,
    /// The kind of client, if known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "join::known_client")]
    pub client: Option<ClientKind>,
    /// Whether this member may give orders in the room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moderates: bool,
}

/// A message from a client to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// A student offers to the publisher or to a speaker; or somebody offers to itself, to publish: a publisher whose
    /// media lives on the server, or a speaker.
    Offer {
        /// The publisher, or the speaker.
        target_uid: UserId,
        /// The session description: no media section of an offer to oneself is recvonly, and all of other offers are.
        sdp: String,
        /// The video track that the student wants. Absent: one for each video section, the screen first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video: Option<VideoTrack>,
        /// The tracks of an offer to oneself. Has no meaning in another offer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tracks: Option<OfferedTracks>,
    },
    /// The publisher answers a student's offer.
    Answer {
        /// The student.
        target_uid: UserId,
        /// The session description.
        sdp: String,
        /// The speaker whose media the message is about; absent for the publisher's own media. Only the holder of the
        /// media says this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// A candidate, from either side.
    Candidate {
        /// The other side.
        target_uid: UserId,
        /// The candidate.
        candidate: IceCandidate,
        /// The speaker whose media the message is about; absent for the publisher's own media. Only the holder of the
        /// media says this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The publisher refuses a student's offer; delivered as [`ServerMessage::Error`].
    Reject {
        /// The student.
        target_uid: UserId,
        /// The reason, a code with [`ErrorCode::may_reject`].
        code: ErrorCode,
        /// The reason as a sentence.
        message: String,
        /// With [`ErrorCode::NoCommonCodec`]: the codec of the lecture.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codec: Option<VideoCodec>,
        /// The speaker whose media the message is about; absent for the publisher's own media. Only the holder of the
        /// media says this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The publisher has ended a student's media: lost, finished, or never connected.
    Hangup {
        /// The student.
        target_uid: UserId,
        /// The speaker whose media the message is about; absent for the publisher's own media. Only the holder of the
        /// media says this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The publisher has connected a student's media.
    Connected {
        /// The student.
        target_uid: UserId,
    },
    /// The holder of the media tells the server, for the list of rooms, how many students speak.
    Speakers {
        /// The number, at most [`channel::MAX_SPEAKERS`].
        count: usize,
    },
    /// A member that moderates gives an order.
    Order(RoomOrder),
    /// Goodbye: the user id is free at once.
    Leave {
        /// The lecture is over. Has no meaning from a student.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over: bool,
    },
    /// Asks for [`ServerMessage::RoomUserList`]. Requests within [`USER_LIST_INTERVAL`] get one answer, at its end.
    RoomUserList,
    /// Asks for [`ServerMessage::Pong`], to check the path.
    Ping,
}

/// How a member left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LeaveReason {
    /// The member said goodbye.
    Left,
    /// The publisher said goodbye and ended the lecture.
    Ended,
    /// Another process took over (same session, new epoch); a `join` follows.
    Replaced,
    /// The teacher put the member out, or somebody else has its place or user id now.
    Removed,
    /// The connection was lost and did not return in time. An unknown reason is read as this one.
    #[serde(other)]
    Lost,
}

/// A message from the server to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The first message: the client is in the room.
    Joined {
        /// The room.
        room_id: RoomId,
        /// The room's name, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room_name: Option<RoomName>,
        /// The receiver.
        user_id: UserId,
        /// Members, the receiver included: a publisher gets all, a student the publisher and at most
        /// [`MAX_LISTED_USERS`].
        users: Vec<User>,
        /// The number of all members; 0 from an older server.
        #[serde(default)]
        count: usize,
        /// The publisher, if there is one.
        publisher: Option<UserId>,
        /// How the last publisher left; absent while there is a publisher, and before the first one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        publisher_went: Option<LeaveReason>,
        /// STUN and TURN servers for this lecture.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ice_servers: Vec<IceServer>,
    },
    /// The first message of a room with a lobby: the client waits for admission, and `joined` follows.
    Waiting {
        /// The room.
        room_id: RoomId,
        /// The room's name, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room_name: Option<RoomName>,
    },
    /// To members that moderate: the clients that wait for admission.
    Lobby {
        /// Those who have waited longest, at most [`MAX_LOBBY_LIST`].
        users: Vec<User>,
        /// The number of all that wait.
        count: usize,
    },
    /// To members that moderate: an order was carried out.
    Order {
        /// The member that gave the order.
        user_id: UserId,
        /// The order.
        #[serde(flatten)]
        order: RoomOrder,
    },
    /// These members joined or changed.
    Join {
        /// The members, perhaps the receiver among them.
        users: Vec<User>,
    },
    /// These members left.
    Leave {
        /// The members.
        users: Vec<UserId>,
        /// How they left.
        reason: LeaveReason,
    },
    /// The number of members of a room that had more than [`MAX_LISTED_USERS`], when students did not hear of joins.
    MemberCount {
        /// The number of all members.
        count: usize,
    },
    /// The answer to [`ClientMessage::RoomUserList`].
    RoomUserList {
        /// Members, as in [`ServerMessage::Joined`].
        users: Vec<User>,
        /// The number of all members; 0 from an older server.
        #[serde(default)]
        count: usize,
    },
    /// The answer to [`ClientMessage::Ping`].
    Pong,
    /// A student's offer, to the publisher or the media host. The media host also gets the publisher's offers.
    Offer {
        /// The student, or the publisher.
        user_id: UserId,
        /// The session description.
        sdp: String,
        /// The video track that the student wants.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video: Option<VideoTrack>,
        /// The tracks that the sender of an offer to itself sends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tracks: Option<OfferedTracks>,
        /// The sender's network. The number differs between servers and does not reveal the address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<NetworkTag>,
        /// The speaker whose media the message is about; absent for the publisher's own media.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The publisher or a speaker answers.
    Answer {
        /// The publisher, or the speaker.
        user_id: UserId,
        /// The session description.
        sdp: String,
    },
    /// A candidate of the other side.
    Candidate {
        /// The other side.
        user_id: UserId,
        /// The candidate.
        candidate: IceCandidate,
        /// The speaker whose media the message is about; absent for the publisher's own media.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The receiver's media of the publisher or of a speaker has ended.
    Hangup {
        /// The publisher, or the speaker.
        user_id: UserId,
    },
    /// An error.
    Error {
        /// The stable code, for programs.
        code: ErrorCode,
        /// The sentence, for people.
        message: String,
        /// The user whose `reject` this is; absent for an error of the server itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<UserId>,
        /// Try again after this many milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// With [`ErrorCode::NoCommonCodec`]: the codec of the lecture.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codec: Option<VideoCodec>,
    },
}

impl ClientMessage {
    /// Parses one text message. The error is a sentence for [`ErrorCode::MalformedMessage`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut message: Self = serde_json::from_str(text).map_err(|e| format!("malformed message: {e}"))?;
        match &mut message {
            Self::Candidate { candidate, .. } => candidate.check()?,
            Self::Offer { tracks: Some(tracks), .. } => media::check_tracks(tracks)?,
            Self::Reject { message, .. } => {
                *message = message.chars().filter(|c| is_printable(*c)).take(MAX_REASON_CHARS).collect();
            }
            _ => {}
        }
        Ok(message)
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl ServerMessage {
    /// Parses one text message. An error means a type that this version does not know; ignore such a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| format!("message from the server not understood: {e}"))
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// An error of the server itself.
    pub fn error(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Error { code, message: message.into(), user_id: None, retry_after_ms: None, codec: None }
    }

    /// The publisher `user_id` refuses an offer. A code that is not final tells when to try again.
    pub(crate) fn rejected(user_id: UserId, code: ErrorCode, message: String, codec: Option<VideoCodec>) -> Self {
        let retry_after_ms = (!code.is_final()).then_some(BUSY_RETRY_MS);
        Self::Error { code, message, user_id: Some(user_id), retry_after_ms, codec }
    }

    /// The error for a sender whose target has a full queue.
    pub fn target_busy() -> Self {
        Self::Error {
            code: ErrorCode::TargetBusy,
            message: "too many messages wait for the target, try again".into(),
            user_id: None,
            retry_after_ms: Some(BUSY_RETRY_MS),
            codec: None,
        }
    }
}

/// Strings, numbers and lists always have a JSON form, so the fallback is never used.
fn to_json(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

/// Writes `"pub"` and `"no"` in messages, as in the URL.
mod publishes_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(publishes: &bool, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(super::join::publishes_word(*publishes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        super::join::parse_publishes(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
