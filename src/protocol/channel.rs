//! The messages on the data channel between a student and the publisher's SFU: chat, raised hands, reactions, orders of
//! those who moderate, and the tier of each video that the student gets.
//!
//! The student makes one ordered and reliable channel with the label [`CHANNEL_LABEL`] before its offer. A message is
//! text, one JSON object, tagged by `type`, with fields in camel case. Unknown fields and types are ignored.
//!
//! ```text
//! student -> SFU   {"type":"msg","text":"can you zoom in?"}
//! SFU -> all       {"type":"msg","id":1795228800000,"userId":"1001","nickname":"S-01","pub":"no",
//!                   "text":"can you zoom in?","at":1795228800000}
//! student -> SFU   {"type":"hand","raised":true}
//! SFU -> all       {"type":"hands","hands":[{"userId":"1001","nickname":"S-01","at":1795228801000}]}
//! SFU -> student   {"type":"tier","tiers":{"screen":"low","camera":"none"},"estimateKbps":600,"reason":"bandwidth"}
//! SFU -> all       {"type":"allows","comments":true,"reactions":false}
//! SFU -> all       {"type":"stopped","screen":false,"camera":true}
//! SFU -> all       {"type":"stopped","screen":true,"camera":false,"unsent":{"screen":true,"camera":false}}
//! moderator -> SFU {"type":"moderate","order":"mute","userId":"1001"}
//! SFU -> student   {"type":"allows","comments":true,"reactions":false,"chat":false}
//! moderator -> SFU {"type":"moderate","order":"slow","ms":10000}
//! SFU -> all       {"type":"allows","comments":true,"reactions":true,"slowMs":10000}
//! SFU -> student   {"type":"error","code":"slowMode","message":"...","retryAfterMs":7000}
//! moderator -> SFU {"type":"moderate","order":"clear"}
//! SFU -> all       {"type":"cleared","upTo":1795228801000}
//! moderator -> SFU {"type":"moderate","order":"stage","userId":"1001"}
//! SFU -> student   {"type":"invited","withinMs":60000}
//! student -> SFU   {"type":"stageAnswer","accepted":true}
//! SFU -> all       {"type":"stage","spotlight":"1001","most":2,
//!                   "speakers":[{"userId":"1001","nickname":"S-01","id":1,"tracks":["audio","camera"]}]}
//! student -> SFU   {"type":"stepDown"}
//! SFU -> student   {"type":"offStage","reason":"steppedDown"}
//! SFU -> moderator {"type":"stageEnded","userId":"1001","nickname":"S-01","reason":"steppedDown"}
//! SFU -> student   {"type":"reportViewing"}
//! student -> SFU   {"type":"viewing","seenMs":14000,"awayMs":3000,"freezes":1}
//! ```
//!
//! A student comes to the stage in two phases. It accepts the invitation and publishes by an offer whose target is its
//! own user id, as a publisher does whose media lives on the server; its data channel on that connection gets
//! `encodings` and `ingest`. Once its first key frame has arrived, `stage` names it as a speaker, and everybody else
//! opens a receiving connection by an offer whose target is the speaker.
//!
//! The order `openFloor` opens the floor, as `isOpen` in `stage` tells everybody: students then come to the stage by
//! themselves. A raised hand is the floor request (RFC 8855): the student is `invited` at once if the stage has a
//! place, and otherwise when one is free, in the order of the hands. A turn or an invitation that ends lowers the hand.
//!
//! A publisher whose media lives on the server has such a channel too. Its messages count as the teacher's: it may give
//! every order, and it alone may send `allow`. Beside the messages to students it gets:
//!
//! ```text
//! publisher -> SFU {"type":"allow","comments":false}
//! SFU -> publisher {"type":"encodings","needed":[{"track":"screen","tier":"full"},{"track":"camera","tier":"low"}]}
//! SFU -> publisher {"type":"ingest","bitrate":1290000,"roundTripMs":20,"trouble":[],
//!                   "tracks":[{"track":"screen","bitrate":1200000,"lossPercent":1,"fps":30}],
//!                   "watched":[{"track":"screen","tier":"full","students":12}],"students":14}
//! ```
//!
//! `encodings` lists the encodings that somebody needs, whenever that changes: the publisher stops sending the others.
//! `ingest` reports the received media once a second.
//!
//! The SFU's first message is `welcome`; `allows` and `stopped` follow at once, and again whenever they change. The SFU
//! stamps names and times, so nobody can speak for another. Signalling says who moderates; the order of anybody else is
//! answered with [`ErrorCode::NotAllowed`].

use serde::{Deserialize, Serialize};

pub use self::ingest::{IngestReport, IngestTrack, IngestTrouble, NeededEncoding, WatchedEncoding};
pub use self::moderation::Moderation;
pub use self::stage::{Decline, MAX_SPEAKERS, OffStage, Speaker, Stage};
pub use self::stopped::{Stopped, Unsent};
pub use self::text::{ChatText, MAX_TEXT_CHARS};
pub use self::viewing::Viewing;
use super::{ErrorCode, publishes_text, to_json};
use crate::id::{Nickname, UserId};

mod ingest;
mod moderation;
mod stage;
mod stopped;
mod text;
mod viewing;

/// The label of a student's data channel.
pub const CHANNEL_LABEL: &str = "classroom";

/// The largest message that a student may send, in bytes: the longest text with every character escaped, plus a margin.
pub const MAX_CHANNEL_MESSAGE_BYTES: usize = 8 * 1024;

/// The largest message that an SFU sends, in bytes: browsers and this crate take 64 kB.
pub const MAX_PUBLISHER_MESSAGE_BYTES: usize = 48 * 1024;

/// The most messages of the history that a newcomer gets.
pub const MAX_HISTORY: usize = 50;

/// The most raised hands in a list: more than any teacher calls.
pub const MAX_LISTED_HANDS: usize = 200;

/// A message from a student to the SFU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum StudentMessage {
    /// A chat message.
    Msg {
        /// The text.
        text: ChatText,
        /// The only receiver, in a meeting; none for everybody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<UserId>,
    },
    /// The student raises or lowers the hand.
    Hand {
        /// Whether the hand is up.
        raised: bool,
    },
    /// A reaction, shown to everybody.
    Reaction {
        /// The reaction.
        reaction: Reaction,
    },
    /// An order of a member who moderates: `{"type":"moderate","order":"mute","userId":"1001"}`.
    Moderate(Moderation),
    /// The publisher allows or forbids something to the class; an absent field stays as it is. From anybody else the
    /// message is answered with [`ErrorCode::NotAllowed`].
    Allow {
        /// Whether students may let chat messages fly over the video.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comments: Option<bool>,
        /// Whether students may react.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reactions: Option<bool>,
    },
    /// The answer to [`PublisherMessage::Invited`].
    StageAnswer {
        /// Whether the student comes to the stage.
        accepted: bool,
        /// Why it does not, if it can't.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<Decline>,
    },
    /// The student leaves the stage.
    StepDown,
    /// The receiver wants at most this tier of each video from now on; an absent video in full. Valid for the
    /// connection that carries the message.
    Receive(SentTiers),
    /// The answer to [`PublisherMessage::ReportViewing`].
    Viewing(Viewing),
    /// A type of a newer version.
    #[serde(other)]
    Unknown,
}

/// A message from the SFU to a student.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PublisherMessage {
    /// The first message.
    Welcome {
        /// The latest chat messages, oldest first; at most [`MAX_HISTORY`].
        history: Vec<ChatMessage>,
        /// The raised hands, in the order in which they went up.
        hands: Vec<RaisedHand>,
        /// Messages up to this id are cleared; 0 if none are.
        #[serde(default, skip_serializing_if = "is_zero_u64")]
        cleared_up_to: u64,
    },
    /// A chat message.
    Msg(ChatMessage),
    /// The chat was cleared: remove all messages up to this id, wherever they are shown.
    Cleared {
        /// The id of a message that is or was the newest.
        up_to: u64,
    },
    /// The raised hands, in the order in which they went up; at most [`MAX_LISTED_HANDS`]. Replaces the previous list.
    Hands {
        /// The list.
        hands: Vec<RaisedHand>,
    },
    /// The place of the receiver's own hand, if the hand is behind the end of the list that follows.
    HandPlace {
        /// From 1.
        place: usize,
    },
    /// A reaction.
    Reaction {
        /// The sender.
        user_id: UserId,
        /// The name that others see.
        nickname: Nickname,
        /// The reaction.
        reaction: Reaction,
    },
    /// The tier of each video that this student gets from now on; sent when a tier changes. Audio is always sent.
    Tier {
        /// The tier of each video.
        tiers: SentTiers,
        /// The SFU's estimate of the student's bandwidth, in kbit/s.
        #[serde(default)]
        estimate_kbps: Option<u32>,
        /// The reason for a lower tier; none when everything is sent.
        #[serde(default)]
        reason: Option<TierReason>,
    },
    /// The permissions of this student. Replaces the previous message.
    Allows(Allowed),
    /// Which videos have no source any more. Replaces the previous message.
    Stopped(Stopped),
    /// The stage. Replaces the previous message. A newcomer gets the message if somebody speaks or the floor is open;
    /// the teacher and those who moderate get it whenever the lecture has a stage.
    Stage(Stage),
    /// The student is invited to the stage. A student whose channel opens again before it speaks is invited again; it
    /// may ignore that if it publishes already.
    Invited {
        /// The time to answer, in milliseconds.
        within_ms: u32,
    },
    /// The student is not on the stage any more, or the invitation is void.
    OffStage {
        /// Why.
        reason: OffStage,
    },
    /// To the teacher and those who moderate: a student is not on the stage any more, or does not come.
    StageEnded {
        /// The student.
        user_id: UserId,
        /// The name that others see.
        nickname: Nickname,
        /// Why.
        reason: OffStage,
    },
    /// To a publisher whose media lives on the server: the encodings that somebody needs. Replaces the previous
    /// message.
    Encodings {
        /// The encodings, each track best first. Audio is always needed.
        needed: Vec<NeededEncoding>,
    },
    /// To a publisher whose media lives on the server, once a second: the report on the media of the last second.
    Ingest(IngestReport),
    /// The student is asked for [`StudentMessage::Viewing`], several times a minute.
    ReportViewing,
    /// The student's last message was dropped.
    Error {
        /// The stable code, for programs.
        code: ErrorCode,
        /// The sentence, for people.
        message: String,
        /// When the student may try again, in milliseconds, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// A type of a newer version.
    #[serde(other)]
    Unknown,
}

/// The permissions of the class or of one student, by default all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowed {
    /// Students may let chat messages fly over the video.
    #[serde(default = "yes")]
    pub comments: bool,
    /// Students may react. Otherwise the answer is [`ErrorCode::ReactionsOff`].
    #[serde(default = "yes")]
    pub reactions: bool,
    /// Students may write. Otherwise they are muted, and the answer is [`ErrorCode::Muted`]. Not on the wire if true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub chat: bool,
    /// All students are muted, but for exceptions and for those who moderate. Not on the wire if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mute_all: bool,
    /// Slow mode: the shortest time between two chat messages of a student, in milliseconds. Otherwise the answer is
    /// [`ErrorCode::SlowMode`]. Does not concern those who moderate. 0, or not on the wire, without slow mode.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slow_ms: u32,
}

impl Allowed {
    /// The permissions with these changes; none leaves a permission as it is.
    pub fn with(self, comments: Option<bool>, reactions: Option<bool>) -> Self {
        let (comments, reactions) = (comments.unwrap_or(self.comments), reactions.unwrap_or(self.reactions));
        Self { comments, reactions, ..self }
    }
}

impl Default for Allowed {
    fn default() -> Self {
        Self { comments: true, reactions: true, chat: true, mute_all: false, slow_ms: 0 }
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}

/// The tier of each video that a student gets. A video that the lecture does not have is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTiers {
    /// The tier of the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<SentTier>,
    /// The tier of the camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<SentTier>,
}

/// How much of a video a student gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SentTier {
    /// The full video.
    Full,
    /// Fewer frames per second; a film also has smaller frames.
    Low,
    /// No video until the path carries more.
    None,
    /// A tier of a newer version.
    #[serde(other)]
    Unknown,
}

/// The reason for a lower tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TierReason {
    /// The student's path carries less.
    Bandwidth,
    /// The path loses too many packets.
    Loss,
    /// The SFU heard nothing of the student for a moment: the path was interrupted, or the student's machine stood
    /// still.
    Silence,
    /// The teacher's machine or network has no more capacity for this class.
    Class,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

/// A chat message with the SFU's stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessage {
    /// Increases with every message, also across a restart of the teacher.
    pub id: u64,
    /// The sender.
    pub user_id: UserId,
    /// The name that others see.
    pub nickname: Nickname,
    /// Whether the teacher is the sender; `"pub"` or `"no"`.
    #[serde(rename = "pub", with = "publishes_text")]
    pub publishes: bool,
    /// The text.
    pub text: ChatText,
    /// The time, in milliseconds since 1970.
    pub at: u64,
    /// The only receiver of a private message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<UserId>,
}

/// A raised hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RaisedHand {
    /// The student.
    pub user_id: UserId,
    /// The name that others see.
    pub nickname: Nickname,
    /// The time at which the hand went up, in milliseconds since 1970.
    pub at: u64,
}

/// A reaction.
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
    /// Confusion.
    Confused,
}

impl Reaction {
    /// All reactions, in the order of a menu.
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

    /// The reaction with this code on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reaction| reaction.name() == name)
    }
}

impl StudentMessage {
    /// Parses one message. The error is a code and a sentence for [`PublisherMessage::Error`].
    pub fn parse(text: &str) -> Result<Self, (ErrorCode, String)> {
        if text.len() > MAX_CHANNEL_MESSAGE_BYTES {
            let sentence =
                format!("a message has at most {MAX_CHANNEL_MESSAGE_BYTES} bytes, this one has {}", text.len());
            return Err((ErrorCode::MessageTooLarge, sentence));
        }
        serde_json::from_str(text).map_err(|e| (ErrorCode::MalformedMessage, format!("malformed message: {e}")))
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl PublisherMessage {
    /// Parses one message. An error means that no SFU of this program sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| format!("message from the teacher not understood: {e}"))
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

#[cfg(test)]
mod tests;
