//! The wire between a classroom's server and its clients. This page is the specification.
//!
//! # Connecting
//!
//! JSON text over WebSocket, one object a message:
//!
//! ```text
//! ws://HOST:18080/ws?roomId=10013&userId=1001&nickname=S-01&pub=no&session=<secret>&epoch=<number>
//! ```
//!
//! The query is a [`JoinRequest`]; opening the socket is joining. The first message from the server is `joined`, or an
//! `error` after which the socket is closed. A request that is no WebSocket gets an HTTP status instead.
//!
//! - `session` is a secret that the client makes up and keeps: it proves "the same client" when a connection was lost.
//!   The newer connection with the same secret takes the older one's place at once, and the older one is closed with
//!   [`ErrorCode::Replaced`]. A client without one can't resume.
//! - `epoch` is a number drawn at random once per process. It tells others whether this is still the process that they
//!   negotiated media with: same epoch, only the socket was reconnected, keep the media; new epoch, offer again.
//! - `roomName` names the room for people; only a publisher's counts.
//! - `client` says what the client is, for the teacher's list: `browser`, `watch`, `whep`. It is a word of the client's
//!   own, and nothing depends on it.
//!
//! # Messages
//!
//! A client sends [`ClientMessage`]s and receives [`ServerMessage`]s, both tagged by `type`, fields in camel case.
//! Fields that are not known are ignored, types that are not known are refused (a client ignores them instead). The
//! server stamps the sender: nobody speaks for another.
//!
//! ```text
//! student -> server   {"type":"offer","targetUid":"9999","sdp":"v=0..."}
//! server -> teacher   {"type":"offer","userId":"1001","sdp":"v=0..."}
//! teacher -> server   {"type":"answer","targetUid":"1001","sdp":"v=0..."}
//! ```
//!
//! Offers go from a student to the publisher only, answers, rejections and hangups the other way, candidates both ways.
//! An offer with one video section gets the screen, or the camera where no screen is shown, unless its `video` says
//! which picture it wants. A `hangup` tells a student that the publisher has given its media up; who offers again
//! gets new.
//!
//! # Presence
//!
//! The publisher hears of students at once, and so do all of the publisher coming and going. Students hear of each
//! other in batches ([`PRESENCE_INTERVAL`]). A `join` is an upsert: it may name somebody who is already listed, then
//! what was known of them is out of date; a `leave` may name somebody who never was listed.
//!
//! `leave`, or closing the WebSocket with code 1000, is a goodbye. Who loses the connection otherwise keeps the
//! place for [`RESUME_GRACE`]; messages for them wait there meanwhile. A publisher that leaves with `"over":true` ends
//! the lecture: the others read the reason `ended`, and need not wait for another publisher as after `left`.
//! `joined` says how the last publisher went, for a student who comes after the lecture.
//!
//! # A line that is dead
//!
//! The server sends WebSocket pings ([`PING_INTERVAL`]), and either end takes a connection for lost after
//! [`SILENCE_TIMEOUT`]. The script of a page never sees a WebSocket ping, so a page sends `ping` and is answered by
//! `pong`: a page notices a dead line within seconds. A `ping` counts against [`STUDENT_RATE`] as all messages do.
//!
//! # Errors
//!
//! An `error` carries a stable [`ErrorCode`] and a sentence. If [`ErrorCode::closes`], the server closes the socket
//! after it; if [`ErrorCode::is_final`], coming back with the same request is pointless. With `retryAfterMs` it is
//! worth another try after that time, whatever the code. With `userId`, another user sent it by `reject`.
//!
//! Chat, raised hands and reactions go over the data channel between student and publisher: see [`channel`].

use serde::{Deserialize, Serialize};

use crate::id::{Nickname, RoomId, RoomName, UserId, is_printable};

pub use error::ErrorCode;
pub use join::{ClientKind, JoinError, JoinRequest, Session, is_same_origin};
pub use limits::*;

pub mod channel;
mod error;
mod join;
mod limits;

/// How long a sender should wait when its target is busy, in milliseconds: a queue is written out within that.
const BUSY_RETRY_MS: u64 = 1_000;

/// The longest `candidate` line, in bytes; browsers write about 200.
const MAX_CANDIDATE_BYTES: usize = 1_024;

/// The longest `sdpMid` and `usernameFragment`, in bytes (RFC 8839 allows 256 for the latter).
const MAX_CANDIDATE_FIELD_BYTES: usize = 256;

/// The longest sentence of a `reject`, in characters; it is shown to a person.
const MAX_REASON_CHARS: usize = 400;

/// Someone in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Unique within the room.
    pub user_id: UserId,
    /// As shown to people, possibly empty.
    pub nickname: Nickname,
    /// Whether this is who teaches; `"pub"` or `"no"` on the wire.
    #[serde(rename = "pub", with = "publishes_text")]
    pub publishes: bool,
    /// Changes when the process behind the user changed.
    #[serde(default)]
    pub epoch: u32,
    /// What it watches with, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "join::known_client")]
    pub client: Option<ClientKind>,
}

/// One ICE candidate, the W3C's `RTCIceCandidateInit`; an empty `candidate` ends the list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IceCandidate {
    /// The candidate's attribute line, without `a=`.
    pub candidate: String,
    /// The media section's `a=mid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdp_mid: Option<String>,
    /// The media section's position.
    #[serde(rename = "sdpMLineIndex", skip_serializing_if = "Option::is_none")]
    pub sdp_m_line_index: Option<u16>,
    /// The ICE generation that the candidate belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_fragment: Option<String>,
}

/// Which picture of a lecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VideoTrack {
    /// The screen, or what is shown in the large in its place.
    Screen,
    /// The camera.
    Camera,
}

/// A video codec that a lecture is sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264 (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
    /// A codec of a newer version.
    #[serde(other)]
    Unknown,
}

/// A STUN or TURN server that media may need, the W3C's `RTCIceServer`. Everybody in a room can read it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port?transport=udp`.
    pub urls: Vec<String>,
    /// TURN: the name to log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN: the password to log in with; `Debug` hides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// A student asks the publisher for media.
    Offer {
        /// The publisher.
        target_uid: UserId,
        /// A session description that only receives.
        sdp: String,
        /// The picture that is wanted; absent: as many as there are video sections, the screen first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video: Option<VideoTrack>,
    },
    /// The publisher agrees.
    Answer {
        /// The student.
        target_uid: UserId,
        /// The session description.
        sdp: String,
    },
    /// An address to try, from either side.
    Candidate {
        /// The other side.
        target_uid: UserId,
        /// The address.
        candidate: IceCandidate,
    },
    /// The publisher refuses a student's offer; delivered as [`ServerMessage::Error`].
    Reject {
        /// The student.
        target_uid: UserId,
        /// Why; only codes with [`ErrorCode::may_reject`].
        code: ErrorCode,
        /// The same for a person.
        message: String,
        /// With [`ErrorCode::NoCommonCodec`]: the codec that the lecture is sent in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codec: Option<VideoCodec>,
    },
    /// The publisher has given a student's media up: lost, ended, or never connected.
    Hangup {
        /// The student.
        target_uid: UserId,
    },
    /// Goodbye: the place is free at once.
    Leave {
        /// A publisher says that the lecture is over. Of a student it means nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over: bool,
    },
    /// Asks for [`ServerMessage::RoomUserList`].
    RoomUserList,
    /// Asks for [`ServerMessage::Pong`]: whether the line still works.
    Ping,
}

/// How someone went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LeaveReason {
    /// Said goodbye.
    Left,
    /// A publisher said goodbye, and that the lecture is over.
    Ended,
    /// Another process took over the place (same session, new epoch); a `join` follows.
    Replaced,
    /// The connection was lost and did not come back in time. A reason of a newer server is read as this one.
    #[serde(other)]
    Lost,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The first message: you are in.
    Joined {
        /// The room.
        room_id: RoomId,
        /// The room's name, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room_name: Option<RoomName>,
        /// You.
        user_id: UserId,
        /// Everybody in the room, you among them.
        users: Vec<User>,
        /// Who teaches, if anybody does.
        publisher: Option<UserId>,
        /// How the last publisher went; absent while somebody teaches, and where nobody has taught yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        publisher_went: Option<LeaveReason>,
        /// What may help media through NAT.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ice_servers: Vec<IceServer>,
    },
    /// These are in the room now.
    Join {
        /// Who came, or changed; may name the receiver.
        users: Vec<User>,
    },
    /// These are not in the room any more.
    Leave {
        /// Who went.
        users: Vec<UserId>,
        /// How.
        reason: LeaveReason,
    },
    /// The answer to [`ClientMessage::RoomUserList`].
    RoomUserList {
        /// Everybody in the room.
        users: Vec<User>,
    },
    /// The answer to [`ClientMessage::Ping`].
    Pong,
    /// A student asks the publisher for media.
    Offer {
        /// The student.
        user_id: UserId,
        /// The session description.
        sdp: String,
        /// The picture that is wanted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video: Option<VideoTrack>,
    },
    /// The publisher agrees.
    Answer {
        /// The publisher.
        user_id: UserId,
        /// The session description.
        sdp: String,
    },
    /// An address to try.
    Candidate {
        /// Whose address.
        user_id: UserId,
        /// The address.
        candidate: IceCandidate,
    },
    /// The publisher has given your media up.
    Hangup {
        /// The publisher.
        user_id: UserId,
    },
    /// Something went wrong.
    Error {
        /// Stable, for programs.
        code: ErrorCode,
        /// A sentence, for people.
        message: String,
        /// Who sent it by `reject`; absent when the server speaks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<UserId>,
        /// Worth another try after so many milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// With [`ErrorCode::NoCommonCodec`]: the codec that the lecture is sent in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codec: Option<VideoCodec>,
    },
}

impl ClientMessage {
    /// Reads one text message; the error is a sentence for [`ErrorCode::MalformedMessage`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut message: Self = serde_json::from_str(text).map_err(|e| format!("malformed message: {e}"))?;
        match &mut message {
            Self::Candidate { candidate, .. } => candidate.check()?,
            Self::Reject { message, .. } => {
                *message = message.chars().filter(|c| is_printable(*c)).take(MAX_REASON_CHARS).collect();
            }
            _ => {}
        }
        Ok(message)
    }

    /// The text to send.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl ServerMessage {
    /// Reads one text message; an error means a type that this version does not know, to be ignored.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| format!("message from the server not understood: {e}"))
    }

    /// The text to send.
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// An error that the server itself reports.
    pub fn error(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Error { code, message: message.into(), user_id: None, retry_after_ms: None, codec: None }
    }

    /// The error for a sender whose message found the queue of its target full.
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

/// Strings, numbers and lists with string keys always have a JSON form, so the fallback is never seen.
fn to_json(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceServer({} as {})", self.urls.join(" "), self.username.as_deref().unwrap_or("anybody"))
    }
}

impl IceCandidate {
    /// Whether its parts are as short as they must be; if not, a sentence.
    pub fn check(&self) -> Result<(), String> {
        let too_long = |field: &Option<String>| field.as_ref().is_some_and(|f| f.len() > MAX_CANDIDATE_FIELD_BYTES);
        if self.candidate.len() > MAX_CANDIDATE_BYTES || too_long(&self.sdp_mid) || too_long(&self.username_fragment) {
            return Err(format!(
                "malformed message: a candidate has at most {MAX_CANDIDATE_BYTES} bytes, its mid and fragment \
                 {MAX_CANDIDATE_FIELD_BYTES}"
            ));
        }
        Ok(())
    }
}

/// `"pub"` and `"no"`, the words of the URL, in messages too.
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
mod tests {
    use super::*;

    fn id(text: &str) -> UserId {
        text.parse().unwrap()
    }

    #[test]
    fn messages_look_as_specified() {
        let offer = ClientMessage::Offer { target_uid: id("9999"), sdp: "v=0".into(), video: None };
        assert_eq!(offer.to_json(), r#"{"type":"offer","targetUid":"9999","sdp":"v=0"}"#);
        let text = r#"{"type":"offer","targetUid":"9999","sdp":"v=0","video":"camera"}"#;
        let offer = ClientMessage::Offer { target_uid: id("9999"), sdp: "v=0".into(), video: Some(VideoTrack::Camera) };
        assert_eq!(ClientMessage::parse(text).unwrap(), offer);
        let hangup = ServerMessage::Hangup { user_id: id("9999") };
        assert_eq!(hangup.to_json(), r#"{"type":"hangup","userId":"9999"}"#);
        assert_eq!(ClientMessage::Leave { over: false }.to_json(), r#"{"type":"leave"}"#);
        assert_eq!(ClientMessage::Leave { over: true }.to_json(), r#"{"type":"leave","over":true}"#);
        for (word, reason) in
            [("left", LeaveReason::Left), ("ended", LeaveReason::Ended), ("evicted", LeaveReason::Lost)]
        {
            let text = format!(r#"{{"type":"leave","users":["9999"],"reason":"{word}"}}"#);
            let leave = ServerMessage::Leave { users: vec![id("9999")], reason };
            assert_eq!(ServerMessage::parse(&text).unwrap(), leave);
        }
        assert_eq!(ClientMessage::parse(r#"{"type":"roomUserList","extra":1}"#).unwrap(), ClientMessage::RoomUserList);
        assert_eq!(ClientMessage::parse(r#"{"type":"ping"}"#).unwrap(), ClientMessage::Ping);
        assert_eq!(ServerMessage::Pong.to_json(), r#"{"type":"pong"}"#);
        let user = User { user_id: id("1001"), nickname: "S-01".into(), publishes: false, epoch: 7, client: None };
        let join = ServerMessage::Join { users: vec![user] };
        let text = r#"{"type":"join","users":[{"userId":"1001","nickname":"S-01","pub":"no","epoch":7}]}"#;
        assert_eq!(join.to_json(), text);
        assert_eq!(ServerMessage::parse(text).unwrap(), join);
        let client = |word: &str| {
            let text = format!(r#"{{"userId":"1001","nickname":"","pub":"no","client":{word}}}"#);
            serde_json::from_str::<User>(&text).map(|user| (user.client, serde_json::to_string(&user).unwrap()))
        };
        let (whep, written) = client(r#""whep""#).unwrap();
        assert!(whep == Some(ClientKind::Whep) && written.contains(r#""client":"whep""#), "{written}");
        assert_eq!(client(r#""hologram""#).unwrap().0, None, "a newer server may know more");
        let error = ServerMessage::error(ErrorCode::UserIdTaken, "1001 is here");
        assert_eq!(error.to_json(), r#"{"type":"error","code":"userIdTaken","message":"1001 is here"}"#);
        let text = r#"{"type":"reject","targetUid":"1001","code":"noCommonCodec","message":"no","codec":"vp8"}"#;
        let (code, message, codec) = (ErrorCode::NoCommonCodec, "no".into(), Some(VideoCodec::Vp8));
        let reject = ClientMessage::Reject { target_uid: id("1001"), code, message, codec };
        assert_eq!(ClientMessage::parse(text).unwrap(), reject);
        assert_eq!(reject.to_json(), text);
        let older = text.replace(r#","codec":"vp8""#, "");
        assert!(matches!(ClientMessage::parse(&older).unwrap(), ClientMessage::Reject { codec: None, .. }));
        let newer = text.replace("vp8", "h267");
        let codec = Some(VideoCodec::Unknown);
        assert!(matches!(ClientMessage::parse(&newer).unwrap(), ClientMessage::Reject { codec: c, .. } if c == codec));
    }

    #[test]
    fn a_candidate_is_what_a_browser_writes() {
        let text = r#"{"type":"candidate","targetUid":"9999","candidate":{"candidate":"candidate:1 1 udp 1 10.0.0.1 5 typ host",
            "sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"abcd"}}"#;
        let ClientMessage::Candidate { candidate, .. } = ClientMessage::parse(text).unwrap() else { panic!() };
        assert_eq!(candidate.sdp_m_line_index, Some(0));
        assert!(serde_json::to_string(&candidate).unwrap().contains("sdpMLineIndex"));
        let nulls =
            r#"{"type":"candidate","targetUid":"9","candidate":{"candidate":"","sdpMid":null,"sdpMLineIndex":null}}"#;
        assert!(ClientMessage::parse(nulls).is_ok());
    }

    #[test]
    fn what_is_malformed_is_refused_with_a_sentence() {
        let long = "x".repeat(MAX_CANDIDATE_BYTES + 1);
        let long = format!(r#"{{"type":"candidate","targetUid":"9","candidate":{{"candidate":"{long}"}}}}"#);
        for text in [
            "",
            "{",
            "[]",
            r#"{"type":"call"}"#,
            r#"{"type":"offer"}"#,
            r#"{"type":"offer","targetUid":"a b","sdp":""}"#,
            &long,
        ] {
            assert!(ClientMessage::parse(text).unwrap_err().starts_with("malformed message: "), "{text}");
        }
    }
}
