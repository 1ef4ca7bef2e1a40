//! The messages of a client.

use serde::{Deserialize, Serialize};

use super::channel::{PublisherMessage, StudentMessage};
use super::{
    DeclineReason, ErrorCode, FileId, IceCandidate, OfferedTracks, RoomOrder, ShareFile, TrackName, VideoCodec,
    VideoTrack,
};
use super::{conference, media, to_json};
use crate::id::{UserId, is_printable};

/// The longest sentence of a `reject`, in characters; it is shown to a person.
const MAX_REASON_CHARS: usize = 400;

/// A message from a client to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// A student offers to the publisher or to a speaker; or somebody offers to itself, to publish: a publisher whose
    /// media lives on the server, or a speaker. With `entry`, a participant offers to another one.
    Offer {
        /// The publisher, the speaker, or the other participant.
        target_uid: UserId,
        /// The session description: no media section of an offer to oneself is recvonly, and all of other offers are,
        /// but for those to another participant.
        sdp: String,
        /// The entry of the other participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u32>,
        /// The video track that the student wants. Absent: one for each video section, the screen first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video: Option<VideoTrack>,
        /// The tracks of an offer to oneself. Has no meaning in another offer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tracks: Option<OfferedTracks>,
    },
    /// The publisher answers a student's offer; or a participant answers another one.
    Answer {
        /// The student, or the other participant.
        target_uid: UserId,
        /// The session description.
        sdp: String,
        /// The entry of the other participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u32>,
        /// The speaker whose media the message is about; absent for the publisher's own media. Only the holder of the
        /// media says this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// A candidate, from either side.
    Candidate {
        /// The other side.
        target_uid: UserId,
        /// The candidate.
        candidate: IceCandidate,
        /// The entry of the other participant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u32>,
        /// The speaker whose media the message is about; absent for the publisher's own media. Only the holder of the
        /// media says this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The publisher refuses a student's offer; delivered as [`ServerMessage::Error`](super::ServerMessage::Error).
    Reject {
        /// The student.
        target_uid: UserId,
        /// The reason, a code with [`ErrorCode::may_reject`].
        code: ErrorCode,
        /// The reason as a sentence.
        message: String,
        /// With [`ErrorCode::NoCommonCodec`]: the codec of the lecture.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codec: Option<VideoCodec>,
        /// The speaker whose media the message is about; absent for the publisher's own media. Only the holder of the
        /// media says this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The publisher has ended a student's media: lost, finished, or never connected. In a call room, ends a call; in a
    /// meeting, a participant leaves it.
    Hangup {
        /// The student; the other one of a call; in a meeting, the sender itself.
        target_uid: UserId,
        /// The speaker whose media the message is about; absent for the publisher's own media. Only the holder of the
        /// media says this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<UserId>,
    },
    /// The publisher has connected a student's media.
    Connected {
        /// The student.
        target_uid: UserId,
    },
    /// The holder of the media tells the server, for the list of rooms, how many students speak.
    Speakers {
        /// The number, at most [`MAX_SPEAKERS`](super::channel::MAX_SPEAKERS).
        count: usize,
    },
    /// A member that moderates gives an order.
    Order(RoomOrder),
    /// The owner of a meeting calls all members that take no part.
    CallAll,
    /// Calls a member of a call room.
    Call {
        /// The callee.
        target_uid: UserId,
        /// The tracks that the caller will send.
        #[serde(default)]
        sends: Vec<TrackName>,
    },
    /// Takes a call, or enters the meeting that the owner calls to.
    Accept {
        /// The caller.
        target_uid: UserId,
        /// The tracks that the sender will send.
        #[serde(default)]
        sends: Vec<TrackName>,
    },
    /// Takes no call.
    Decline {
        /// The caller.
        target_uid: UserId,
        /// The reason.
        reason: DeclineReason,
    },
    /// Enters the meeting; or tells what a participant sends from now on, in a call too.
    Participate {
        /// The tracks that the sender sends.
        #[serde(default)]
        sends: Vec<TrackName>,
    },
    /// A participant of a meeting wants to be large for everybody, or no longer.
    Spotlight {
        /// Whether it wants to.
        on: bool,
    },
    /// Goes to a breakout room. A member that does not moderate goes to its own, or back to the meeting.
    Visit {
        /// The breakout room; 0 for the meeting or the lecture.
        breakout: u32,
    },
    /// The sender's computer or line does not carry a connection to each participant.
    Overloaded,
    /// In a breakout room of a lecture, where an offer without `entry` is for the lecture: an `offer` or `candidate`
    /// for the media of a participant at the server.
    Conference {
        /// The message, as in a meeting.
        message: Box<Self>,
    },
    /// The media host of a meeting has a participant's media, or has it no longer. Nobody else says this.
    Published {
        /// The participant.
        target_uid: UserId,
        /// The participant's entry, as in its offer.
        entry: u32,
        /// Whether the media host has the media.
        on: bool,
    },
    /// A message of the data channel of a lecture, in a meeting.
    Channel {
        /// The message.
        message: StudentMessage,
    },
    /// A student whose media has no data channel sends a message of the channel of the lecture.
    Talk {
        /// The message.
        message: StudentMessage,
    },
    /// An edge without data channels has a message of the channel of the lecture. Nobody else says this.
    Tell {
        /// The student; none for all students of the edge.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_uid: Option<UserId>,
        /// The message.
        message: PublisherMessage,
    },
    /// A participant of a meeting whose media the server carries has a file for the others. The answer is `filePlace`,
    /// or an error with [`ErrorCode::FileRefused`].
    ShareFile(ShareFile),
    /// The sender of a file, or a member that moderates, takes the file from the server.
    WithdrawFile {
        /// The file.
        file: FileId,
    },
    /// Goodbye: the user id is free at once.
    Leave {
        /// The lecture is over. Has no meaning from a student.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over: bool,
    },
    /// Asks for [`ServerMessage::RoomUserList`](super::ServerMessage::RoomUserList). Requests within
    /// [`USER_LIST_INTERVAL`](super::USER_LIST_INTERVAL) get one answer, at its end.
    RoomUserList,
    /// Asks for [`ServerMessage::Pong`](super::ServerMessage::Pong), to check the path.
    Ping,
}

impl ClientMessage {
    /// Parses one text message. The error is a sentence for [`ErrorCode::MalformedMessage`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut message: Self = serde_json::from_str(text).map_err(|e| format!("malformed message: {e}"))?;
        message.check()?;
        Ok(message)
    }

    fn check(&mut self) -> Result<(), String> {
        match self {
            Self::Candidate { candidate, .. } => candidate.check()?,
            Self::Offer { tracks: Some(tracks), .. } => media::check_tracks(tracks)?,
            Self::Call { sends, .. } | Self::Accept { sends, .. } | Self::Participate { sends } => {
                conference::check_sends(sends)?;
            }
            Self::Reject { message, .. } => {
                *message = message.chars().filter(|c| is_printable(*c)).take(MAX_REASON_CHARS).collect();
            }
            Self::Conference { message } => match **message {
                Self::Offer { .. } | Self::Candidate { .. } => message.check()?,
                _ => return Err("malformed message: a conference message is an offer or a candidate".into()),
            },
            _ => {}
        }
        Ok(())
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}
