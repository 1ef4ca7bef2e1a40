//! What a student and the publisher's SFU say to each other over their data channel: chat, hands and reactions, and
//! how much of each picture the student is sent.
//!
//! The student makes one ordered and reliable channel with the label [`CHANNEL_LABEL`] before its offer. Messages are
//! text, one JSON object each, tagged by `type`, fields in camel case. Fields and types that are not known are ignored.
//!
//! ```text
//! student -> SFU   {"type":"msg","text":"can you zoom in?"}
//! SFU -> all       {"type":"msg","id":1795228800000,"userId":"1001","nickname":"S-01","pub":"no","text":"can you zoom in?","at":1795228800000}
//! student -> SFU   {"type":"hand","raised":true}
//! SFU -> all       {"type":"hands","hands":[{"userId":"1001","nickname":"S-01","at":1795228801000}]}
//! SFU -> student   {"type":"tier","tiers":{"screen":"low","camera":"none"},"estimateKbps":600,"reason":"bandwidth"}
//! SFU -> all       {"type":"allows","comments":true,"reactions":false}
//! SFU -> all       {"type":"stopped","screen":false,"camera":true}
//! ```
//!
//! The SFU's first message is `welcome`; `allows` and `stopped` follow at once, and again whenever they change. The SFU
//! stamps names and times: nobody speaks for another.

use serde::{Deserialize, Serialize};

use super::{ErrorCode, publishes_text, to_json};
use crate::id::{Nickname, UserId, is_printable};

/// The label of a student's data channel.
pub const CHANNEL_LABEL: &str = "classroom";

/// The largest message that a student may send, in bytes: the longest text with every character escaped, and some.
pub const MAX_CHANNEL_MESSAGE_BYTES: usize = 8 * 1024;

/// The largest message that an SFU sends, in bytes: browsers and this crate take 64 kB.
pub const MAX_PUBLISHER_MESSAGE_BYTES: usize = 48 * 1024;

/// The most characters of a chat message: a paragraph.
pub const MAX_TEXT_CHARS: usize = 1_000;

/// Messages that a newcomer is shown, at most.
pub const MAX_HISTORY: usize = 50;

/// Raised hands that are listed, at most: more than any teacher calls.
pub const MAX_LISTED_HANDS: usize = 200;

/// What a student says to the SFU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum StudentMessage {
    /// Chat.
    Msg {
        /// The words.
        text: ChatText,
    },
    /// Raises one's own hand, or lowers it.
    Hand {
        /// Up or down.
        raised: bool,
    },
    /// A sign for everybody.
    Reaction {
        /// Which.
        reaction: Reaction,
    },
    /// A type of a newer version.
    #[serde(other)]
    Unknown,
}

/// What the SFU says to a student.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PublisherMessage {
    /// The first message.
    Welcome {
        /// What was said before, oldest first; at most [`MAX_HISTORY`].
        history: Vec<ChatMessage>,
        /// The hands that are up, in the order they went up.
        hands: Vec<RaisedHand>,
    },
    /// Somebody said something.
    Msg(ChatMessage),
    /// The hands that are up, in the order they went up; at most [`MAX_LISTED_HANDS`]. In place of the list before.
    Hands {
        /// The list.
        hands: Vec<RaisedHand>,
    },
    /// Somebody gave a sign.
    Reaction {
        /// Who.
        user_id: UserId,
        /// As shown to people.
        nickname: Nickname,
        /// Which.
        reaction: Reaction,
    },
    /// How much of each picture this student is sent from now on; said when it changes. Sound is always sent.
    Tier {
        /// By picture.
        tiers: SentTiers,
        /// What the student's line carries by the SFU's estimate, in thousands of bits per second.
        #[serde(default)]
        estimate_kbps: Option<u32>,
        /// Why it is less than everything; none where it is everything.
        #[serde(default)]
        reason: Option<TierReason>,
    },
    /// What the teacher allows the class. In place of what was said before.
    Allows(Allowed),
    /// Which pictures have no source any more. In place of what was said before.
    Stopped(Stopped),
    /// The last message was dropped.
    Error {
        /// Stable, for programs.
        code: ErrorCode,
        /// A sentence, for people.
        message: String,
    },
    /// A type of a newer version.
    #[serde(other)]
    Unknown,
}

/// What the teacher allows the class; everything, unless the teacher says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Lines of chat may fly over the picture at those students who want them to.
    #[serde(default = "yes")]
    pub comments: bool,
    /// Students may react. Where they may not, [`ErrorCode::ReactionsOff`] is the answer.
    #[serde(default = "yes")]
    pub reactions: bool,
}

impl Default for Allowed {
    fn default() -> Self {
        Self { comments: true, reactions: true }
    }
}

fn yes() -> bool {
    true
}

/// The pictures whose source gives none any more, such as a camera that was unplugged. It may come back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The screen has stopped.
    #[serde(default)]
    pub screen: bool,
    /// The camera has stopped.
    #[serde(default)]
    pub camera: bool,
}

/// How much of each picture a student is sent. A picture that the lecture does not have is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTiers {
    /// Of the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<SentTier>,
    /// Of the camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<SentTier>,
}

/// How much of a picture a student is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SentTier {
    /// All of it.
    Full,
    /// Fewer pictures a second, and of a film smaller ones.
    Low,
    /// Nothing: the picture waits for a better line.
    None,
    /// A tier of a newer version.
    #[serde(other)]
    Unknown,
}

/// Why a student is sent less than everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TierReason {
    /// The student's line carries less.
    Bandwidth,
    /// Too much is lost on the way.
    Loss,
    /// Nothing was heard of the student for a moment: its connection was cut, or its machine stood still.
    Silence,
    /// The teacher's machine or line has no more for this class.
    Class,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

/// One line of chat, as the SFU stamped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessage {
    /// Grows from message to message, also over a restart of the teacher.
    pub id: u64,
    /// Who said it.
    pub user_id: UserId,
    /// As shown to people.
    pub nickname: Nickname,
    /// Whether it was the teacher; `"pub"` or `"no"`.
    #[serde(rename = "pub", with = "publishes_text")]
    pub publishes: bool,
    /// The words.
    pub text: ChatText,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// A hand that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RaisedHand {
    /// Whose.
    pub user_id: UserId,
    /// As shown to people.
    pub nickname: Nickname,
    /// Since when, in milliseconds since 1970.
    pub at: u64,
}

/// A sign without words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reaction {
    /// Thumbs up.
    Like,
    /// Applause.
    Clap,
    /// A heart.
    Heart,
    /// Laughter.
    Laugh,
    /// Surprise.
    Wow,
    /// Somebody is lost.
    Confused,
}

impl Reaction {
    /// All of them, in the order of a menu.
    pub const ALL: [Self; 6] = [Self::Like, Self::Clap, Self::Heart, Self::Laugh, Self::Wow, Self::Confused];

    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Like => "like",
            Self::Clap => "clap",
            Self::Heart => "heart",
            Self::Laugh => "laugh",
            Self::Wow => "wow",
            Self::Confused => "confused",
        }
    }

    /// The reaction of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reaction| reaction.name() == name)
    }
}

/// Words that one person sends to others: one line, printable, at most [`MAX_TEXT_CHARS`] characters.
///
/// Like nicknames, cleaned and not refused: line breaks and tabs become spaces; other control characters and
/// bidirectional overrides, which could rewrite the line they are printed in, are dropped; longer texts are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ChatText(Box<str>);

impl ChatText {
    /// The cleaned words, possibly none.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing is left after cleaning.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for ChatText {
    fn from(text: &str) -> Self {
        let spaced =
            text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c });
        let cleaned: String = spaced.filter(|c| is_printable(*c)).take(MAX_TEXT_CHARS).collect();
        Self(cleaned.trim().into())
    }
}

impl From<String> for ChatText {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<ChatText> for String {
    fn from(text: ChatText) -> String {
        text.0.into()
    }
}

impl std::fmt::Display for ChatText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl StudentMessage {
    /// Reads one message; the error is a code and a sentence for [`PublisherMessage::Error`].
    pub fn parse(text: &str) -> Result<Self, (ErrorCode, String)> {
        if text.len() > MAX_CHANNEL_MESSAGE_BYTES {
            let sentence =
                format!("a message has at most {MAX_CHANNEL_MESSAGE_BYTES} bytes, this one has {}", text.len());
            return Err((ErrorCode::MessageTooLarge, sentence));
        }
        serde_json::from_str(text).map_err(|e| (ErrorCode::MalformedMessage, format!("malformed message: {e}")))
    }

    /// The text to send.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl PublisherMessage {
    /// Reads one message; an error means one that no SFU of this kind sends.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| format!("message from the teacher not understood: {e}"))
    }

    /// The text to send.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_look_as_specified() {
        let said = StudentMessage::Msg { text: "hello".into() };
        assert_eq!(said.to_json(), r#"{"type":"msg","text":"hello"}"#);
        assert_eq!(StudentMessage::parse(r#"{"type":"msg","text":"hello","userId":"9999"}"#).unwrap(), said);
        let hand = StudentMessage::parse(r#"{"type":"hand","raised":true}"#).unwrap();
        assert_eq!(hand, StudentMessage::Hand { raised: true });
        for reaction in Reaction::ALL {
            let text = format!(r#"{{"type":"reaction","reaction":"{}"}}"#, reaction.name());
            assert_eq!(StudentMessage::parse(&text).unwrap(), StudentMessage::Reaction { reaction });
            assert_eq!(Reaction::from_name(reaction.name()), Some(reaction));
        }
        assert_eq!(StudentMessage::parse(r#"{"type":"poll","n":1}"#).unwrap(), StudentMessage::Unknown);
        let message = ChatMessage {
            id: 17,
            user_id: "1001".parse().unwrap(),
            nickname: "S-01".into(),
            publishes: false,
            text: "hello".into(),
            at: 5,
        };
        let text = r#"{"type":"msg","id":17,"userId":"1001","nickname":"S-01","pub":"no","text":"hello","at":5}"#;
        assert_eq!(PublisherMessage::Msg(message.clone()).to_json(), text);
        assert_eq!(PublisherMessage::parse(text).unwrap(), PublisherMessage::Msg(message));
        assert_eq!(PublisherMessage::parse(r#"{"type":"poll"}"#).unwrap(), PublisherMessage::Unknown);
    }

    #[test]
    fn a_student_is_told_what_it_is_sent_and_why() {
        let less = PublisherMessage::Tier {
            tiers: SentTiers { screen: Some(SentTier::Low), camera: Some(SentTier::None) },
            estimate_kbps: Some(600),
            reason: Some(TierReason::Bandwidth),
        };
        let text =
            r#"{"type":"tier","tiers":{"screen":"low","camera":"none"},"estimateKbps":600,"reason":"bandwidth"}"#;
        assert_eq!(less.to_json(), text);
        assert_eq!(PublisherMessage::parse(text).unwrap(), less);
        let all = PublisherMessage::Tier {
            tiers: SentTiers { screen: Some(SentTier::Full), camera: None },
            estimate_kbps: None,
            reason: None,
        };
        let text = r#"{"type":"tier","tiers":{"screen":"full"},"estimateKbps":null,"reason":null}"#;
        assert_eq!(all.to_json(), text);
        assert_eq!(PublisherMessage::parse(r#"{"type":"tier","tiers":{"screen":"full"}}"#).unwrap(), all);
        let newer = r#"{"type":"tier","tiers":{"screen":"half","film":"low"},"estimateKbps":1,"reason":"weather"}"#;
        assert_eq!(
            PublisherMessage::parse(newer).unwrap(),
            PublisherMessage::Tier {
                tiers: SentTiers { screen: Some(SentTier::Unknown), camera: None },
                estimate_kbps: Some(1),
                reason: Some(TierReason::Unknown),
            }
        );
        for text in [r#"{"type":"tier"}"#, r#"{"type":"tier","tiers":{},"estimateKbps":-1}"#] {
            assert!(PublisherMessage::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_allowed_and_what_has_stopped_is_said_in_a_few_words() {
        let allows = PublisherMessage::Allows(Allowed { comments: true, reactions: false });
        assert_eq!(allows.to_json(), r#"{"type":"allows","comments":true,"reactions":false}"#);
        assert_eq!(PublisherMessage::parse(&allows.to_json()).unwrap(), allows);
        let default = PublisherMessage::Allows(Allowed::default());
        assert_eq!(PublisherMessage::parse(r#"{"type":"allows","polls":false}"#).unwrap(), default);
        let stopped = Stopped { screen: false, camera: true };
        assert_eq!(PublisherMessage::Stopped(stopped).to_json(), r#"{"type":"stopped","screen":false,"camera":true}"#);
        assert_eq!(
            PublisherMessage::parse(r#"{"type":"stopped","camera":true}"#).unwrap(),
            PublisherMessage::Stopped(stopped)
        );
    }

    #[test]
    fn what_is_malformed_is_refused_with_a_code() {
        for text in ["", "{", "[]", "1", r#"{"type":"msg"}"#, r#"{"type":"hand","raised":"yes"}"#, r#"{"text":"x"}"#] {
            assert_eq!(StudentMessage::parse(text).unwrap_err().0, ErrorCode::MalformedMessage, "{text}");
        }
        let long = format!(r#"{{"type":"msg","text":"{}"}}"#, "x".repeat(MAX_CHANNEL_MESSAGE_BYTES));
        assert_eq!(StudentMessage::parse(&long).unwrap_err().0, ErrorCode::MessageTooLarge);
    }

    #[test]
    fn words_are_cleaned() {
        assert_eq!(ChatText::from(" a\r\nb\tc\u{202e}d\u{7}\u{1b}[2J ").as_str(), "a  b cd[2J");
        assert_eq!(ChatText::from("<script>").as_str(), "<script>", "text stays text; who shows it escapes it");
        assert_eq!(ChatText::from("学".repeat(2_000).as_str()).as_str().chars().count(), MAX_TEXT_CHARS);
        assert!(ChatText::from("\u{200f}\n").is_empty());
    }

    #[test]
    fn the_longest_text_fits_into_a_message() {
        let text: ChatText = "\u{10000}\"".repeat(MAX_TEXT_CHARS / 2).as_str().into();
        assert!(StudentMessage::Msg { text }.to_json().len() < MAX_CHANNEL_MESSAGE_BYTES);
    }
}
