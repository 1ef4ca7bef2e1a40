//! The stable words for what can go wrong.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why something was refused: a stable camel-case string on the wire, with a sentence beside it for people.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "&'static str")]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code of a newer version.
            Unknown,
        }

        impl ErrorCode {
            /// Every code that this version knows.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word on the wire.
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
    /// The URL has no room or user, or one that is malformed.
    BadRequest = "badRequest",
    /// Not JSON, or not a message of the protocol.
    MalformedMessage = "malformedMessage",
    /// More than [`MAX_MESSAGE_BYTES`](super::MAX_MESSAGE_BYTES).
    MessageTooLarge = "messageTooLarge",
    /// A binary frame, where only text is spoken.
    BinaryFrame = "binaryFrame",
    /// Too many messages in too short a time.
    FloodedMessages = "floodedMessages",
    /// The target is not in the room.
    UnknownTarget = "unknownTarget",
    /// The target's queue is full, nothing was delivered; comes with `retryAfterMs`.
    TargetBusy = "targetBusy",
    /// Against the rules of the room, such as an offer to another student.
    NotAllowed = "notAllowed",
    /// Another client has that user id in the room.
    UserIdTaken = "userIdTaken",
    /// Somebody else teaches in the room.
    PublisherExists = "publisherExists",
    /// As many students as the room or the publisher takes.
    RoomFull = "roomFull",
    /// As many rooms or connections as the server takes.
    ServerFull = "serverFull",
    /// A newer connection of the same client took the place.
    Replaced = "replaced",
    /// The client did not read what was sent to it.
    SlowConsumer = "slowConsumer",
    /// The server ends; come back when it is started again.
    ServerShutdown = "serverShutdown",
    /// The offer wants to send, a student only receives.
    OfferNotRecvonly = "offerNotRecvonly",
    /// The offer has more media sections than a lecture has tracks.
    TooManySections = "tooManySections",
    /// The offer has no codec that the lecture is sent in.
    NoCommonCodec = "noCommonCodec",
    /// The session description can't be read.
    BadSdp = "badSdp",
    /// The picture that is asked for is not taught.
    NoSuchTrack = "noSuchTrack",
    /// The teacher has switched reactions off; said over the data channel.
    ReactionsOff = "reactionsOff",
}

impl ErrorCode {
    /// Whether a client should give up instead of trying the same again. Where a message carries `retryAfterMs`, that
    /// counts and not this.
    pub fn is_final(self) -> bool {
        match self {
            Self::BadRequest
            | Self::MalformedMessage
            | Self::MessageTooLarge
            | Self::BinaryFrame
            | Self::NotAllowed
            | Self::UserIdTaken
            | Self::PublisherExists
            | Self::RoomFull
            | Self::Replaced
            | Self::OfferNotRecvonly
            | Self::TooManySections
            | Self::NoCommonCodec
            | Self::BadSdp
            | Self::NoSuchTrack
            | Self::ReactionsOff => true,
            Self::FloodedMessages
            | Self::UnknownTarget
            | Self::TargetBusy
            | Self::ServerFull
            | Self::SlowConsumer
            | Self::ServerShutdown
            | Self::Unknown => false,
        }
    }

    /// Whether the server closes the connection after saying it; the others concern one message.
    pub fn closes(self) -> bool {
        match self {
            Self::UnknownTarget
            | Self::TargetBusy
            | Self::NotAllowed
            | Self::OfferNotRecvonly
            | Self::TooManySections
            | Self::NoCommonCodec
            | Self::BadSdp
            | Self::NoSuchTrack
            | Self::ReactionsOff
            | Self::Unknown => false,
            Self::BadRequest
            | Self::MalformedMessage
            | Self::MessageTooLarge
            | Self::BinaryFrame
            | Self::FloodedMessages
            | Self::UserIdTaken
            | Self::PublisherExists
            | Self::RoomFull
            | Self::ServerFull
            | Self::Replaced
            | Self::SlowConsumer
            | Self::ServerShutdown => true,
        }
    }

    /// Whether a publisher may say it to a student by `reject`: what concerns an offer, nothing that only the server
    /// can know.
    pub fn may_reject(self) -> bool {
        matches!(
            self,
            Self::OfferNotRecvonly
                | Self::TooManySections
                | Self::NoCommonCodec
                | Self::BadSdp
                | Self::NoSuchTrack
                | Self::RoomFull
                | Self::NotAllowed
                | Self::TargetBusy
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
    fn every_code_survives_the_wire_and_a_new_one_is_no_error() {
        for code in ErrorCode::ALL {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<ErrorCode>(&text).unwrap(), *code);
        }
        assert_eq!(serde_json::from_str::<ErrorCode>("\"fromTheFuture\"").unwrap(), ErrorCode::Unknown);
    }
}
