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
//! # Edges
//!
//! A server may send the media of a lecture to students for another server, or for a `teach`: it is an edge. An edge
//! joins the room as nodes do for their members, and nobody but the holder of the media hears of it: `edges` tells the
//! holder their user ids. Each offers to the publisher as a student does, and its data channel speaks [`edge`]. The
//! server passes the offer of a student to an edge or to the holder, and the student can't tell the difference.
//!
//! ```text
//! server  -> holder   {"type":"edges","edges":["edge-5c2f81d0a7e3b946"]}
//! student -> server   {"type":"offer","targetUid":"9999","sdp":"v=0..."}
//! server  -> edge     {"type":"offer","userId":"1001","sdp":"v=0..."}
//! edge    -> server   {"type":"answer","targetUid":"1001","sdp":"v=0..."}
//! server  -> student  {"type":"answer","userId":"9999","sdp":"v=0..."}
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
//! # Calls and meetings
//!
//! A room may also be a place for calls, or a meeting: see [`conference`]. `kind` in the query names the kind of a room
//! that does not exist yet; `joined` tells the kind of the room. The students of a lecture meet in its breakout rooms.
//!
//! # Errors
//!
//! An `error` has a stable [`ErrorCode`] and a sentence. If [`ErrorCode::closes`], the server then closes the
//! WebSocket; if [`ErrorCode::is_final`], repeating the request is pointless. With `retryAfterMs` the client may try
//! again after that time, whatever the code. With `userId`, that user sent the error by `reject`. With `noCommonCodec`
//! comes the `codec` of the lecture. A meeting or call room that does not let the client in names its `kind`.
//!
//! Chat, raised hands and reactions use the data channel between student and publisher: see [`channel`].

use serde::{Deserialize, Serialize};

use crate::id::{Nickname, UserId};

pub use breakout::{Breakouts, MAX_BREAKOUT_S, MAX_BREAKOUTS, MAX_LISTED_HERE, MIN_BREAKOUTS, RECALL_S};
pub use client_message::ClientMessage;
pub use conference::{
    DeclineReason, MAX_MESH, MAX_PARTICIPANTS, MediaMove, Participant, Participants, RING_S, RoomInfo, RoomKind,
};
pub use credentials::{Credentials, MAX_BANNED, MAX_TOKEN_BYTES, RoomSettings};
pub use error::ErrorCode;
pub use file::{
    FILE_CHANNEL_LABEL, FILE_CHUNK_BYTES, FILE_PART_BYTES, FileChannelMessage, FileDecline, FileId, FileName,
    MAX_FILE_NAME_CHARS, MAX_PAIR_FILE_BYTES, MAX_SERVER_FILE_BYTES, MimeType, PairFileId, PairFileMessage, ShareFile,
    SharedFile,
};
pub(crate) use join::known_client;
pub use join::{ClientKind, JoinError, JoinRequest, MediaHost, SessionSecret, SessionSecretError};
pub use limits::*;
pub use media::{IceCandidate, IceServer, OfferedTracks, TrackName, VideoCodec, VideoTrack};
pub use order::RoomOrder;
pub use server_message::ServerMessage;

mod breakout;
pub mod channel;
mod client_message;
pub mod conference;
mod credentials;
pub mod edge;
mod error;
mod file;
mod join;
mod limits;
mod media;
mod order;
mod server_message;

/// How long a sender waits before it tries a busy target again, in milliseconds: a queue empties within that time.
pub(crate) const BUSY_RETRY_MS: u64 = 1_000;

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
