//! The messages between two nodes: WebSocket text, `<word> <stream> <rest>`.
//!
//! A node connects to the node that owns the room of some of its members, at the path [`NODE_PATH`], and answers its
//! [`Challenge`] with [`Hello`]. A stream is one member's time at one owner: its number is new whenever the member
//! joins, so that nothing of an earlier owner passes for a message of the present one.
//!
//! ```text
//! owner -> node    challenge 4yTq...
//! node  -> owner   hello {"version":3,"node":"a.5c2f81d0","proof":"..."}
//! owner -> node    welcome
//! node  -> owner   join 7 {"room":"10013","user":"1001",...}
//! owner -> node    message 7 {"type":"joined",...}
//! node  -> owner   message 7 {"type":"offer",...}
//! owner -> node    media 7 1
//! node  -> owner   lost 7
//! owner -> node    close 8 roomFull
//! owner -> node    moved 9
//! ```

use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::access::{is_proven, prove};
use crate::id::NodeId;
use crate::protocol::{self, ErrorCode, SessionSecret};
use crate::room::Newcomer;

/// The path of the WebSocket between nodes.
pub(in crate::signal) const NODE_PATH: &str = "/node";

/// The version of these messages. Nodes of different versions do not talk to each other.
pub(super) const VERSION: u32 = 3;

/// The longest message to an owner, in bytes: that of a client with the stream in front, or a client that joins.
pub(super) const MAX_TO_OWNER: usize = protocol::MAX_MESSAGE_BYTES + 256;

/// The longest message from an owner, in bytes.
pub(super) const MAX_FROM_OWNER: usize = protocol::MAX_SERVER_MESSAGE_BYTES + 256;

/// What the owner says once it knows the node.
pub(super) const WELCOME: &str = "welcome";

/// Characters of a challenge: 190 bits.
const CHALLENGE_CHARS: usize = 32;

/// What an owner asks for: another one for each connection, so that nobody can repeat an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge(String);

impl Challenge {
    pub(super) fn new() -> Self {
        Self(Alphanumeric.sample_string(&mut rand::rng(), CHALLENGE_CHARS))
    }

    pub(super) fn to_text(&self) -> String {
        format!("challenge {}", self.0)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("challenge ")?;
        (text.len() == CHALLENGE_CHARS).then(|| Self(text.to_owned()))
    }

    /// What the node with this id and the secret of the owner signs.
    fn signed(&self, node: &NodeId) -> String {
        format!("{} {node}", self.0)
    }
}

/// The first message of a node.
#[derive(Serialize, Deserialize)]
pub(super) struct Hello {
    version: u32,
    node: NodeId,
    /// Of the challenge and the id, by the owner's secret, which stands in the store.
    proof: String,
}

impl Hello {
    pub(super) fn new(node: &NodeId, secret: &SessionSecret, challenge: &Challenge) -> Self {
        let proof = prove(secret.as_str(), &challenge.signed(node));
        Self { version: VERSION, node: node.clone(), proof }
    }

    pub(super) fn to_text(&self) -> String {
        // Names and numbers always have a JSON form.
        format!("hello {}", serde_json::to_string(self).unwrap_or_default())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text.strip_prefix("hello ")?).ok()
    }

    /// The node, if it speaks this version and knows the secret.
    pub(super) fn checked(self, secret: &SessionSecret, challenge: &Challenge) -> Option<NodeId> {
        let is_proven = is_proven(secret.as_str(), &challenge.signed(&self.node), &self.proof);
        (is_proven && self.version == VERSION).then_some(self.node)
    }
}

/// A message to an owner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToOwner {
    /// A member joins.
    Join { stream: u64, newcomer: Box<Newcomer> },
    /// A member says something.
    Message { stream: u64, text: String },
    /// A member's connection ended.
    Lost { stream: u64 },
}

/// The memory that a join, or any message beside its text, takes at most.
const FRAME_BYTES: usize = 1_024;

impl ToOwner {
    /// The memory that the message takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Message { text, .. } => FRAME_BYTES / 8 + text.len(),
            Self::Join { .. } => FRAME_BYTES,
            Self::Lost { .. } => FRAME_BYTES / 8,
        }
    }

    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Join { stream, newcomer } => {
                format!("join {stream} {}", serde_json::to_string(newcomer).unwrap_or_default())
            }
            Self::Message { stream, text } => format!("message {stream} {text}"),
            Self::Lost { stream } => format!("lost {stream}"),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, stream, rest) = split(text)?;
        match word {
            "join" => Some(Self::Join { stream, newcomer: serde_json::from_str(rest).ok()? }),
            "message" => Some(Self::Message { stream, text: rest.to_owned() }),
            "lost" => Some(Self::Lost { stream }),
            _ => None,
        }
    }
}

/// A message from an owner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FromOwner {
    /// A message for the member.
    Message { stream: u64, text: Utf8Bytes },
    /// Whether the member's media is connected.
    Media { stream: u64, is_connected: bool },
    /// The member is out, for this reason.
    Close { stream: u64, code: Option<ErrorCode> },
    /// The sender does not own the room.
    Moved { stream: u64 },
}

impl FromOwner {
    /// The memory that the message takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        let text = if let Self::Message { text, .. } = self { text.len() } else { 0 };
        FRAME_BYTES / 8 + text
    }

    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Message { stream, text } => format!("message {stream} {text}"),
            Self::Media { stream, is_connected } => format!("media {stream} {}", u8::from(*is_connected)),
            Self::Close { stream, code } => format!("close {stream} {}", code.map_or("", ErrorCode::as_str)),
            Self::Moved { stream } => format!("moved {stream}"),
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (word, stream, rest) = split(text)?;
        match word {
            "message" => Some(Self::Message { stream, text: rest.into() }),
            "media" => Some(Self::Media { stream, is_connected: rest == "1" }),
            "close" => {
                let code = (!rest.is_empty()).then(|| ErrorCode::from(rest.to_owned()));
                Some(Self::Close { stream, code })
            }
            "moved" => Some(Self::Moved { stream }),
            _ => None,
        }
    }
}

/// The word, the stream and the rest.
fn split(text: &str) -> Option<(&str, u64, &str)> {
    let (word, rest) = text.split_once(' ')?;
    let (stream, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((word, stream.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_and_nonsense_does_not() {
        let text = r#"{"type":"leave","over":false}"#;
        for frame in [ToOwner::Message { stream: 7, text: text.into() }, ToOwner::Lost { stream: u64::MAX }] {
            assert_eq!(ToOwner::parse(&frame.to_text()), Some(frame));
        }
        let frames = [
            FromOwner::Message { stream: 7, text: text.into() },
            FromOwner::Media { stream: 7, is_connected: true },
            FromOwner::Close { stream: 7, code: None },
            FromOwner::Close { stream: 7, code: Some(ErrorCode::RoomFull) },
            FromOwner::Moved { stream: 0 },
        ];
        for frame in frames {
            assert_eq!(FromOwner::parse(&frame.to_text()), Some(frame));
        }
        for nonsense in
            ["", "join", "join 1", "join 1 {}", "join x {}", "lost -1", "lost 18446744073709551616", "x 1 y"]
        {
            assert_eq!(ToOwner::parse(nonsense), None, "{nonsense}");
            assert_eq!(FromOwner::parse(nonsense), None, "{nonsense}");
        }
        assert!(Hello::parse(r#"hello {"version":3,"node":"../x","proof":""}"#).is_none());
    }

    #[test]
    fn only_the_secret_answers_a_challenge_and_each_challenge_once() {
        let [own, other] = ["0123456789abcdef", "0123456789abcdeg"].map(|text| text.parse::<SessionSecret>().unwrap());
        let (challenge, node) = (Challenge::new(), "a.1".parse::<NodeId>().unwrap());
        let check = |hello: &Hello, challenge: &Challenge| {
            Hello::parse(&hello.to_text()).and_then(|hello| hello.checked(&own, challenge))
        };
        let hello = Hello::new(&node, &own, &Challenge::parse(&challenge.to_text()).unwrap());
        assert_eq!(check(&hello, &challenge), Some(node.clone()));
        assert_eq!(check(&hello, &Challenge::new()), None, "repeated");
        assert_eq!(check(&Hello::new(&node, &other, &challenge), &challenge), None, "another secret");
        assert_eq!(check(&Hello { node: "b.1".parse().unwrap(), ..hello }, &challenge), None, "another node");
        let hello = Hello { version: VERSION - 1, ..Hello::new(&node, &own, &challenge) };
        assert_eq!(check(&hello, &challenge), None, "another version");
        assert_eq!(Challenge::parse("challenge short"), None);
    }
}
