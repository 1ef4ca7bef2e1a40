//! The stable codes of errors.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why something was refused: a stable camel-case string on the wire, which comes with a sentence for people.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "&'static str")]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code of a newer version.
            Unknown,
        }

        impl ErrorCode {
            /// All codes that this version knows.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown => "unknown",
                }
            }
        }
    };
}

codes! {
    /// The URL lacks a valid room or user.
    BadRequest = "badRequest",
    /// The message is not JSON, or not one of the protocol.
    MalformedMessage = "malformedMessage",
    /// The message is longer than [`MAX_MESSAGE_BYTES`](super::MAX_MESSAGE_BYTES).
    MessageTooLarge = "messageTooLarge",
    /// The client sent a binary frame; only text frames are accepted.
    BinaryFrame = "binaryFrame",
    /// Too many messages in too short a time.
    FloodedMessages = "floodedMessages",
    /// The target is not in the room.
    UnknownTarget = "unknownTarget",
    /// The target's queue is full and the message was dropped; comes with `retryAfterMs`.
    TargetBusy = "targetBusy",
    /// The rules of the room forbid it, such as an offer to another student.
    NotAllowed = "notAllowed",
    /// Another client has this user id in the room.
    UserIdTaken = "userIdTaken",
    /// The room has another publisher.
    PublisherExists = "publisherExists",
    /// The room is of another kind than the client needs, or the server has no rooms of this kind.
    WrongKind = "wrongKind",
    /// The meeting or call room does not exist yet, and this client may not open it; comes with `retryAfterMs`.
    RoomNotOpen = "roomNotOpen",
    /// The meeting takes no more participants.
    MeetingFull = "meetingFull",
    /// The room or the publisher takes no more students.
    RoomFull = "roomFull",
    /// The server takes no more rooms or connections.
    ServerFull = "serverFull",
    /// The room has a join code, and the client gave none.
    CodeRequired = "codeRequired",
    /// The join code is wrong.
    WrongCode = "wrongCode",
    /// The server admits only clients with a token.
    TokenRequired = "tokenRequired",
    /// The token is malformed, expired, signed with an unknown key, or for another room.
    BadToken = "badToken",
    /// Only a teacher may publish or create rooms on this server, and the client has not proved that it is one.
    TeachingKeyRequired = "teachingKeyRequired",
    /// The teacher has locked the room.
    RoomLocked = "roomLocked",
    /// The teacher has put the client out of the room.
    Removed = "removed",
    /// Too many wrong codes, keys or tokens; comes with `retryAfterMs`.
    TooManyAttempts = "tooManyAttempts",
    /// A newer connection of the same client replaced this one.
    Replaced = "replaced",
    /// The server carries no media: the publisher has to host it.
    MediaNotServed = "mediaNotServed",
    /// The client did not read its messages in time.
    SlowConsumer = "slowConsumer",
    /// The server is shutting down; reconnect once it runs again.
    ServerShutdown = "serverShutdown",
    /// A section of the offer has the wrong direction: a student only receives, and a publisher only sends.
    OfferNotRecvonly = "offerNotRecvonly",
    /// The offer has more media sections than a lecture has tracks.
    TooManySections = "tooManySections",
    /// The offer lacks the codec of the lecture.
    NoCommonCodec = "noCommonCodec",
    /// The session description can't be parsed.
    BadSdp = "badSdp",
    /// The user that an offer names is not on the stage.
    NotOnStage = "notOnStage",
    /// The lecture does not have the requested video track.
    NoSuchTrack = "noSuchTrack",
    /// The teacher has switched reactions off; sent over the data channel.
    ReactionsOff = "reactionsOff",
    /// The student is muted; sent over the data channel.
    Muted = "muted",
    /// The student's last chat message was a short time ago, and slow mode is on; comes with `retryAfterMs` over the
    /// data channel.
    SlowMode = "slowMode",
    /// The server takes no file, or not this one; comes with `retryAfterMs` if it may take the file later.
    FileRefused = "fileRefused",
}

impl ErrorCode {
    /// Whether a client should give up instead of repeating the request. A `retryAfterMs` in the message overrides
    /// this.
    pub fn is_final(self) -> bool {
        match self {
            Self::BadRequest
            | Self::MalformedMessage
            | Self::MessageTooLarge
            | Self::BinaryFrame
            | Self::NotAllowed
            | Self::UserIdTaken
            | Self::PublisherExists
            | Self::WrongKind
            | Self::MeetingFull
            | Self::RoomFull
            | Self::CodeRequired
            | Self::WrongCode
            | Self::TokenRequired
            | Self::BadToken
            | Self::TeachingKeyRequired
            | Self::RoomLocked
            | Self::Removed
            | Self::Replaced
            | Self::MediaNotServed
            | Self::OfferNotRecvonly
            | Self::TooManySections
            | Self::NoCommonCodec
            | Self::BadSdp
            | Self::NotOnStage
            | Self::NoSuchTrack
            | Self::ReactionsOff
            | Self::FileRefused
            | Self::Muted => true,
            Self::FloodedMessages
            | Self::SlowMode
            | Self::UnknownTarget
            | Self::TargetBusy
            | Self::RoomNotOpen
            | Self::ServerFull
            | Self::TooManyAttempts
            | Self::SlowConsumer
            | Self::ServerShutdown
            | Self::Unknown => false,
        }
    }

    /// Whether the server closes the connection after this error; the other errors concern one message.
    pub fn closes(self) -> bool {
        match self {
            Self::UnknownTarget
            | Self::TargetBusy
            | Self::NotAllowed
            | Self::MeetingFull
            | Self::OfferNotRecvonly
            | Self::TooManySections
            | Self::NoCommonCodec
            | Self::BadSdp
            | Self::NotOnStage
            | Self::NoSuchTrack
            | Self::ReactionsOff
            | Self::Muted
            | Self::SlowMode
            | Self::FileRefused
            | Self::Unknown => false,
            Self::BadRequest
            | Self::MalformedMessage
            | Self::MessageTooLarge
            | Self::BinaryFrame
            | Self::FloodedMessages
            | Self::UserIdTaken
            | Self::PublisherExists
            | Self::WrongKind
            | Self::RoomNotOpen
            | Self::RoomFull
            | Self::ServerFull
            | Self::CodeRequired
            | Self::WrongCode
            | Self::TokenRequired
            | Self::BadToken
            | Self::TeachingKeyRequired
            | Self::RoomLocked
            | Self::Removed
            | Self::TooManyAttempts
            | Self::Replaced
            | Self::MediaNotServed
            | Self::SlowConsumer
            | Self::ServerShutdown => true,
        }
    }

    /// Whether a publisher may send this code to a student by `reject`: codes about an offer, and none that only the
    /// server can know.
    pub fn may_reject(self) -> bool {
        matches!(
            self,
            Self::OfferNotRecvonly
                | Self::TooManySections
                | Self::NoCommonCodec
                | Self::BadSdp
                | Self::NotOnStage
                | Self::NoSuchTrack
                | Self::RoomFull
                | Self::NotAllowed
                | Self::TargetBusy
                | Self::FloodedMessages
        )
    }
}

impl From<String> for ErrorCode {
    fn from(text: String) -> Self {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Self::Unknown)
    }
}

impl From<ErrorCode> for &'static str {
    fn from(code: ErrorCode) -> &'static str {
        code.as_str()
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_json_and_an_unknown_one_is_accepted() {
        for code in ErrorCode::ALL {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<ErrorCode>(&text).unwrap(), *code);
        }
        assert_eq!(serde_json::from_str::<ErrorCode>("\"fromTheFuture\"").unwrap(), ErrorCode::Unknown);
    }
}
