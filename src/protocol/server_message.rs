//! The messages of the server.

use serde::{Deserialize, Serialize};

use super::channel::{ChatText, PublisherMessage, StudentMessage};
use super::{
    BUSY_RETRY_MS, Breakouts, ErrorCode, FileId, IceCandidate, IceServer, LeaveReason, OfferedTracks, RoomOrder,
    SharedFile, TrackName, User,
};
use super::{DeclineReason, Participants, RoomInfo, RoomKind, VideoCodec, VideoTrack, to_json};
use crate::id::{Nickname, RoomId, RoomName, UserId};
use crate::network::NetworkTag;

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
        /// The kind of the room.
        #[serde(default)]
        kind: RoomKind,
        /// The receiver.
        user_id: UserId,
        /// Members, the receiver included: a publisher gets all, a student the publisher and at most
        /// [`MAX_LISTED_USERS`](super::MAX_LISTED_USERS).
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
        /// The kind of the room. Not on the wire for a lecture.
        #[serde(default, skip_serializing_if = "RoomKind::is_lecture")]
        kind: RoomKind,
    },
    /// To members that moderate: the clients that wait for admission.
    Lobby {
        /// Those who have waited longest, at most [`MAX_LOBBY_LIST`](super::MAX_LOBBY_LIST).
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
    /// The number of members of a room that had more than [`MAX_LISTED_USERS`](super::MAX_LISTED_USERS), when students
    /// did not hear of joins.
    MemberCount {
        /// The number of all members.
        count: usize,
    },
    /// To the holder of a lecture's media: the user ids of the edges. To an edge: those of the edges that get the
    /// lecture from it. Replaces the previous message.
    Edges {
        /// The edges, by user id.
        edges: Vec<UserId>,
    },
    /// The answer to [`ClientMessage::RoomUserList`](super::ClientMessage::RoomUserList).
    RoomUserList {
        /// Members, as in [`ServerMessage::Joined`].
        users: Vec<User>,
        /// The number of all members; 0 from an older server.
        #[serde(default)]
        count: usize,
    },
    /// The answer to [`ClientMessage::Ping`](super::ClientMessage::Ping).
    Pong,
    /// A student's offer, to the publisher or the media host. The media host also gets the publisher's offers. A
    /// student whose offer went to an engine that offers itself gets that offer in place of an answer, from the
    /// publisher, and answers it in a new connection.
    Offer {
        /// The student, the publisher, or another participant.
        user_id: UserId,
        /// The session description.
        sdp: String,
        /// The entry of the sender, a participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u32>,
        /// The video track that the student wants.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video: Option<VideoTrack>,
        /// The tracks that the sender of an offer to itself, or the engine, sends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tracks: Option<OfferedTracks>,
        /// The sender's network. The number differs between servers and does not reveal the address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<NetworkTag>,
        /// The speaker whose media the message is about; absent for the publisher's own media.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The publisher, a speaker, or another participant answers.
    Answer {
        /// The publisher, the speaker, or the participant.
        user_id: UserId,
        /// The session description.
        sdp: String,
        /// The entry of the sender, a participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u32>,
    },
    /// A candidate of the other side.
    Candidate {
        /// The other side.
        user_id: UserId,
        /// The candidate.
        candidate: IceCandidate,
        /// The entry of the sender, a participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u32>,
        /// The speaker whose media the message is about; absent for the publisher's own media.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The receiver's media of the publisher or of a speaker has ended; or a call has.
    Hangup {
        /// The publisher, the speaker, or the other one of a call.
        user_id: UserId,
    },
    /// Somebody calls the receiver, or the owner of a meeting calls everybody.
    Call {
        /// The caller.
        user_id: UserId,
        /// The caller's name, possibly empty.
        nickname: Nickname,
        /// The tracks that the caller will send.
        #[serde(default)]
        sends: Vec<TrackName>,
    },
    /// The callee has taken the receiver's call.
    Accept {
        /// The callee.
        user_id: UserId,
    },
    /// The callee does not take the receiver's call.
    Decline {
        /// The callee.
        user_id: UserId,
        /// The reason.
        reason: DeclineReason,
    },
    /// The participants of the receiver's call, or of the meeting.
    Participants(Participants),
    /// What the members of a meeting or call room know of the room.
    Room(RoomInfo),
    /// The breakout rooms of the meeting or the lecture, and the receiver's place.
    Breakouts(Breakouts),
    /// A sentence to everybody, in breakout rooms and outside of them.
    Announcement {
        /// The member that sent it.
        user_id: UserId,
        /// The name that others see, possibly empty.
        nickname: Nickname,
        /// The sentence.
        text: ChatText,
    },
    /// In a breakout room of a lecture: an `answer`, `candidate`, `hangup` or `error` about the media of a participant
    /// at the server.
    Conference {
        /// The message, as in a meeting.
        message: Box<Self>,
    },
    /// A message of the data channel of a lecture, in a meeting.
    Channel {
        /// The message.
        message: PublisherMessage,
    },
    /// To a student whose media has no data channel: a message of the channel of the lecture.
    Talk {
        /// The publisher.
        user_id: UserId,
        /// The message.
        message: PublisherMessage,
    },
    /// To an edge without data channels: a student there has sent a message of the channel of the lecture.
    Heard {
        /// The student.
        user_id: UserId,
        /// The message.
        message: StudentMessage,
    },
    /// The receiver may bring its file to the server, by HTTP.
    FilePlace {
        /// The number of the file.
        file: FileId,
    },
    /// A file lies whole at the server: to its sender, and to those who may fetch it.
    File(SharedFile),
    /// The server does not have this file any more, or will not get it.
    FileGone {
        /// The number of the file.
        file: FileId,
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
        /// The kind of the room that the receiver is not let into any more. Not on the wire for a lecture.
        #[serde(default, skip_serializing_if = "RoomKind::is_lecture")]
        kind: RoomKind,
    },
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
        let message = message.into();
        Self::Error { code, message, user_id: None, retry_after_ms: None, codec: None, kind: RoomKind::Lecture }
    }

    /// The publisher `user_id` refuses an offer. A code that is not final tells when to try again.
    pub(crate) fn rejected(user_id: UserId, code: ErrorCode, message: String, codec: Option<VideoCodec>) -> Self {
        let retry_after_ms = (!code.is_final()).then_some(BUSY_RETRY_MS);
        Self::Error { code, message, user_id: Some(user_id), retry_after_ms, codec, kind: RoomKind::Lecture }
    }

    /// The error for a sender whose target has a full queue.
    pub fn target_busy() -> Self {
        Self::Error {
            code: ErrorCode::TargetBusy,
            message: "too many messages wait for the target, try again".into(),
            user_id: None,
            retry_after_ms: Some(BUSY_RETRY_MS),
            codec: None,
            kind: RoomKind::Lecture,
        }
    }
}
