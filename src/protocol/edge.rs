//! The messages on the data channel between an edge and the SFU that it gets a lecture from.
//!
//! An edge is a server that receives the media of a lecture once, as a student does, and answers other students in the
//! publisher's name. The server tells the holder of the media which users are edges
//! ([`ServerMessage::Edges`](super::ServerMessage::Edges)), so nobody else is taken for one.
//!
//! The SFU sends its messages for all students to an edge too, which passes them on. A message for one student of the
//! edge has a word and the user id in front; the messages themselves are those of [`channel`](super::channel).
//!
//! ```text
//! SFU  -> edge  encodings [{"track":"screen","tier":"full","codec":"h264"}]
//! edge -> SFU   connected 1001
//! edge -> SFU   opened 1001
//! SFU  -> edge  to 1001 {"type":"welcome","history":[],"hands":[]}
//! edge -> SFU   heard 1001 {"type":"msg","text":"can you zoom in?"}
//! SFU  -> edge  {"type":"msg","id":1795228800000,"userId":"1001",...}
//! edge -> SFU   gone 1001 left
//! edge -> SFU   {"type":"receive","screen":"low","camera":"none"}
//! ```
//!
//! Between two edges the messages are the same: the edge above passes on what the students of the one below say, and to
//! the edge below what is for them.
//!
//! After `encodings`, the first message and again when they change, the edge names all of its students anew. `gone`
//! ends in `left` if the student has left the room.

use super::channel::{MAX_CHANNEL_MESSAGE_BYTES, SentTiers, StudentMessage};
use crate::id::{MAX_ID_CHARS, UserId};

/// The longest message of an edge: that of a student, the one byte by which it may be too long, a word and a user id.
pub const MAX_EDGE_MESSAGE_BYTES: usize = MAX_CHANNEL_MESSAGE_BYTES + 1 + MAX_ID_CHARS + 16;

/// A message from an edge to the SFU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromEdge {
    /// The student receives media.
    Connected(UserId),
    /// The student's data channel is open.
    Opened(UserId),
    /// The student has sent this message, which is not parsed yet.
    Heard(UserId, String),
    /// The student's connection is gone.
    Gone {
        /// The student.
        user: UserId,
        /// Whether it has left the room.
        has_left: bool,
    },
    /// The edge wants at most this of each video.
    Receive(SentTiers),
}

impl FromEdge {
    /// The text on the wire.
    pub fn to_text(&self) -> String {
        match self {
            Self::Connected(user) => format!("connected {user}"),
            Self::Opened(user) => format!("opened {user}"),
            Self::Heard(user, text) => format!("heard {user} {text}"),
            Self::Gone { user, has_left: true } => format!("gone {user} left"),
            Self::Gone { user, has_left: false } => format!("gone {user}"),
            Self::Receive(tiers) => StudentMessage::Receive(*tiers).to_json(),
        }
    }

    /// Parses a message; none for nonsense.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('{') {
            return match StudentMessage::parse(text).ok()? {
                StudentMessage::Receive(tiers) => Some(Self::Receive(tiers)),
                _ => None,
            };
        }
        let (word, user, rest) = split(text)?;
        Some(match word {
            "connected" => Self::Connected(user),
            "opened" => Self::Opened(user),
            "heard" => Self::Heard(user, rest.to_owned()),
            "gone" => Self::Gone { user, has_left: rest == "left" },
            _ => return None,
        })
    }
}

/// A message from the SFU to an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToEdge {
    /// The encodings of the lecture, as a JSON list: each track best first.
    Encodings(String),
    /// A message for one student.
    To(UserId, String),
    /// A message for all students.
    All(String),
}

impl ToEdge {
    /// The text on the wire.
    pub fn to_text(&self) -> String {
        match self {
            Self::Encodings(json) => format!("encodings {json}"),
            Self::To(user, text) => format!("to {user} {text}"),
            Self::All(text) => text.clone(),
        }
    }

    /// Parses a message; none for nonsense.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('{') {
            return Some(Self::All(text.to_owned()));
        }
        if let Some(json) = text.strip_prefix("encodings ") {
            return Some(Self::Encodings(json.to_owned()));
        }
        let (word, user, rest) = split(text)?;
        (word == "to").then(|| Self::To(user, rest.to_owned()))
    }
}

/// The word, the user and the rest.
fn split(text: &str) -> Option<(&str, UserId, &str)> {
    let (word, rest) = text.split_once(' ')?;
    let (user, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((word, user.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::channel::SentTier;

    #[test]
    fn messages_survive_and_nonsense_does_not() {
        let user: UserId = "1001".parse().unwrap();
        let text = r#"{"type":"msg","text":"a b"}"#;
        for message in [
            FromEdge::Connected(user.clone()),
            FromEdge::Opened(user.clone()),
            FromEdge::Heard(user.clone(), text.into()),
            FromEdge::Gone { user: user.clone(), has_left: true },
            FromEdge::Gone { user: user.clone(), has_left: false },
            FromEdge::Receive(SentTiers { screen: Some(SentTier::Low), camera: Some(SentTier::None) }),
        ] {
            assert_eq!(FromEdge::parse(&message.to_text()), Some(message));
        }
        for message in [ToEdge::Encodings("[]".into()), ToEdge::To(user, text.into()), ToEdge::All(text.into())] {
            assert_eq!(ToEdge::parse(&message.to_text()), Some(message));
        }
        for nonsense in ["", "to", "to ", "to a/b x", "heard", "x 1001", "opened a/b", text] {
            assert_eq!(FromEdge::parse(nonsense), None, "{nonsense}");
        }
        assert_eq!(ToEdge::parse("from 1001 x"), None);
    }
}
