//! The envelope of Janus's API: the requests of a client, and the messages of Janus. Pure.
//!
//! Source: Janus 1.1.2, `src/janus.c` and `src/apierror.h`. What Janus sends is parsed into these types, or refused;
//! texts for people lose their control characters and their length.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::printable;
use crate::protocol::IceCandidate;

/// The subprotocol of the WebSocket.
pub(super) const SUBPROTOCOL: &str = "janus-protocol";

/// The largest message of Janus: a room with a hundred publishers stays far below.
pub(super) const MAX_MESSAGE_BYTES: usize = 512 * 1024;

/// The largest session description that is used: it goes on to students.
const MAX_DESCRIPTION_BYTES: usize = 64 * 1024;

/// The most candidates of a session description, and those that follow it: this computer sends packets to each of them.
pub(super) const MAX_CANDIDATES: usize = 64;

/// The most characters of a text for people.
const MAX_TEXT_CHARS: usize = 200;

/// Janus's number of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SessionId(u64);

/// Janus's number of a handle: one attachment of a session to a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct HandleId(u64);

/// A text of Janus for people: one line without control characters, at most [`MAX_TEXT_CHARS`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "String")]
pub struct Text(String);

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(printable(text.chars()).take(MAX_TEXT_CHARS).collect::<String>().trim().to_owned())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A session description with its type, `offer` or `answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Jsep {
    #[serde(rename = "type")]
    pub(super) kind: JsepKind,
    pub(super) sdp: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum JsepKind {
    Offer,
    Answer,
}

impl Jsep {
    pub(super) fn offer(sdp: String) -> Self {
        Self { kind: JsepKind::Offer, sdp }
    }

    pub(super) fn answer(sdp: String) -> Self {
        Self { kind: JsepKind::Answer, sdp }
    }

    /// The session description, if it is of this kind, and has no more than [`MAX_DESCRIPTION_BYTES`] and
    /// [`MAX_CANDIDATES`].
    pub(super) fn of_kind(self, kind: JsepKind) -> Option<String> {
        let candidates = self.sdp.lines().filter(|line| line.starts_with("a=candidate:")).count();
        let is_small = self.sdp.len() <= MAX_DESCRIPTION_BYTES && candidates <= MAX_CANDIDATES;
        (self.kind == kind && is_small).then_some(self.sdp)
    }
}

/// An ICE candidate, or the end of the candidates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Candidate {
    // This form comes first, because an `IceCandidate` may lack everything.
    Completed { completed: bool },
    One(IceCandidate),
}

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "janus", rename_all = "lowercase")]
pub(super) enum Request {
    /// Opens a session.
    Create,
    /// Attaches the session to a plugin.
    Attach {
        plugin: &'static str,
    },
    /// A request to the plugin of a handle.
    Message {
        handle_id: HandleId,
        body: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        jsep: Option<Jsep>,
    },
    Trickle {
        handle_id: HandleId,
        candidate: Candidate,
    },
    /// Ends a handle with its peer connection.
    Detach {
        handle_id: HandleId,
    },
    /// Ends the session with all its handles.
    Destroy,
    /// Janus ends a session that is silent for 60 s.
    Keepalive,
}

impl Request {
    /// Whether an `ack` is the whole reply. The plugin's reply to a message follows in an event.
    pub(super) fn ends_with_ack(&self) -> bool {
        matches!(self, Self::Trickle { .. } | Self::Keepalive)
    }

    /// The request as JSON. `token` is for a Janus with token authentication.
    pub(super) fn to_json(&self, session: Option<SessionId>, transaction: &str, token: Option<&str>) -> String {
        #[derive(Serialize)]
        struct Envelope<'a> {
            transaction: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            session_id: Option<SessionId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            token: Option<&'a str>,
            #[serde(flatten)]
            request: &'a Request,
        }
        let envelope = Envelope { transaction, session_id: session, token, request: self };
        // Maps with keys of text alone always serialize.
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

/// An error of Janus itself (`apierror.h`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    pub(super) code: i64,
    #[serde(default)]
    pub(super) reason: Text,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct PluginData {
    pub(super) plugin: String,
    pub(super) data: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct NewId<T> {
    pub(super) id: T,
}

/// A message of Janus.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "janus", rename_all = "lowercase")]
pub(super) enum Message {
    /// The reply to `create` and `attach` with `data`, that of a plugin with `plugindata`, or an empty one.
    Success {
        transaction: Option<String>,
        data: Option<NewId<u64>>,
        plugindata: Option<PluginData>,
        jsep: Option<Jsep>,
    },
    /// The request has arrived.
    Ack {
        transaction: Option<String>,
    },
    Error {
        transaction: Option<String>,
        error: ApiError,
    },
    /// An event of a plugin; with a transaction, the reply to a message.
    Event {
        transaction: Option<String>,
        sender: HandleId,
        plugindata: PluginData,
        jsep: Option<Jsep>,
    },
    /// The peer connection of a handle is there.
    WebrtcUp {
        sender: HandleId,
    },
    /// The peer connection of a handle is gone.
    Hangup {
        sender: HandleId,
        reason: Option<Text>,
    },
    /// The handle is gone.
    Detached {
        sender: HandleId,
    },
    Trickle {
        sender: HandleId,
        candidate: Candidate,
    },
    /// The session is gone.
    Timeout {},
    /// `media`, `slowlink` and what later versions add.
    #[serde(other)]
    Other,
}

impl Message {
    /// Parses a text message.
    ///
    /// # Errors
    /// A sentence, if this is no message of Janus.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text)
            .map_err(|error| format!("it sent no message of Janus ({})", Text::from(error.to_string())))
    }
}

impl SessionId {
    pub(super) fn new(id: u64) -> Self {
        Self(id)
    }
}

impl HandleId {
    pub(super) fn new(id: u64) -> Self {
        Self(id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(request: &Request) -> Value {
        serde_json::from_str(&request.to_json(Some(SessionId(7)), "t1", None)).unwrap()
    }

    #[test]
    fn requests_are_those_of_the_documentation() {
        let created: Value = serde_json::from_str(&Request::Create.to_json(None, "t0", Some("key"))).unwrap();
        assert_eq!(created, json!({"janus": "create", "transaction": "t0", "token": "key"}));
        let attach = Request::Attach { plugin: "janus.plugin.videoroom" };
        assert_eq!(
            sent(&attach),
            json!({"janus": "attach", "plugin": "janus.plugin.videoroom", "session_id": 7, "transaction": "t1"})
        );
        let message = Request::Message {
            handle_id: HandleId(9),
            body: json!({"request": "start"}),
            jsep: Some(Jsep::answer("v=0".to_owned())),
        };
        let expected = json!({
            "janus": "message", "session_id": 7, "handle_id": 9, "transaction": "t1", "body": {"request": "start"},
            "jsep": {"type": "answer", "sdp": "v=0"},
        });
        assert_eq!(sent(&message), expected);
        let (candidate, sdp_mid) = ("candidate:1".to_owned(), Some("0".to_owned()));
        let candidate = Candidate::One(IceCandidate { candidate, sdp_mid, ..IceCandidate::default() });
        let trickle = sent(&Request::Trickle { handle_id: HandleId(9), candidate });
        assert_eq!(trickle["candidate"], json!({"candidate": "candidate:1", "sdpMid": "0"}));
        let end = Candidate::Completed { completed: true };
        let trickle = sent(&Request::Trickle { handle_id: HandleId(9), candidate: end });
        assert_eq!(trickle["candidate"], json!({"completed": true}));
        assert_eq!(sent(&Request::Keepalive), json!({"janus": "keepalive", "session_id": 7, "transaction": "t1"}));
    }

    #[test]
    fn messages_of_janus_are_parsed_and_others_refused() {
        let parsed = |value: Value| Message::parse(&value.to_string()).unwrap();
        let success =
            parsed(json!({"janus": "success", "transaction": "t1", "data": {"id": 18_446_744_073_709_551_615_u64}}));
        let Message::Success { transaction, data, plugindata: None, jsep: None } = success else { panic!() };
        assert_eq!((transaction.as_deref(), data), (Some("t1"), Some(NewId { id: u64::MAX })));
        let error =
            parsed(json!({"janus": "error", "transaction": "t1", "error": {"code": 460, "reason": "No\u{1b}[2J"}}));
        let error_of = |message| match message {
            Message::Error { error, .. } => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error_of(error), ApiError { code: 460, reason: Text::from("No[2J") });
        let plugindata = json!({"plugin": "p", "data": {"videoroom": "event"}});
        let jsep = json!({"type": "offer", "sdp": "v=0"});
        let event = parsed(json!({
            "janus": "event", "sender": 9, "session_id": 7, "plugindata": plugindata, "jsep": jsep,
        }));
        assert!(matches!(event, Message::Event { transaction: None, sender: HandleId(9), jsep: Some(_), .. }));
        assert_eq!(parsed(json!({"janus": "webrtcup", "sender": 9})), Message::WebrtcUp { sender: HandleId(9) });
        assert_eq!(parsed(json!({"janus": "timeout", "session_id": 7})), Message::Timeout {});
        for other in ["media", "slowlink", "server_info", "new in version 2"] {
            assert_eq!(parsed(json!({"janus": other, "sender": 9, "receiving": true})), Message::Other);
        }
        for bad in ["", "[]", "{}", r#"{"janus":7}"#, r#"{"janus":"webrtcup"}"#, r#"{"janus":"webrtcup","sender":-1}"#]
        {
            assert!(Message::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_description_that_is_long_or_has_too_many_candidates_is_refused() {
        let offer = |count| Jsep::offer("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(count));
        assert!(offer(MAX_CANDIDATES).of_kind(JsepKind::Offer).is_some());
        assert!(offer(MAX_CANDIDATES + 1).of_kind(JsepKind::Offer).is_none());
        assert!(offer(1).of_kind(JsepKind::Answer).is_none());
        assert!(Jsep::offer("a".repeat(MAX_DESCRIPTION_BYTES + 1)).of_kind(JsepKind::Offer).is_none());
    }

    #[test]
    fn a_text_is_one_short_line() {
        let long = Text::from("a\nb ".repeat(1_000));
        assert!(long.as_str().chars().count() <= MAX_TEXT_CHARS && !long.as_str().contains('\n'));
    }
}
