//! Calls and meetings: rooms in which everybody may send to everybody.
//!
//! # Rooms
//!
//! A room has a [`RoomKind`] from its first member on. In a room of the kind `call`, any two members may call each
//! other. In a room of the kind `meeting`, members enter the meeting and leave it. Those who are in a call or in the
//! meeting are the *participants* of a *conference* (RFC 4353); the other members of the room are merely present. After
//! `joined`, and after each change, the server sends `room` with a [`RoomInfo`]. Each `joined` is followed by `room`,
//! by `participants`, which may be empty, by `call` if one rings at the receiver, and in a meeting by the chat.
//!
//! A client opens a meeting or call room by joining with `kind`, if it may: the server decides who. Others get
//! [`ErrorCode::RoomNotOpen`] and try again after `retryAfterMs`. A room in which students wait for a teacher becomes a
//! meeting or a call room then, and its members are told by `room`. A publisher is refused with
//! [`ErrorCode::WrongKind`].
//!
//! The first member that may open the room owns it. When the owner has left, the member that has been there longest
//! becomes the owner. The owner moderates the room, as its [`User`](super::User) says: besides the orders of a lecture
//! it may `rename` the room, `handOver` it, and `end` what goes on in it.
//!
//! # A call
//!
//! ```text
//! 1001 -> server   {"type":"call","targetUid":"1002","sends":["audio","camera"]}
//! server -> 1002   {"type":"call","userId":"1001","nickname":"Ada","sends":["audio","camera"]}
//! 1002 -> server   {"type":"accept","targetUid":"1001","sends":["audio"]}
//! server -> 1001   {"type":"accept","userId":"1002"}
//! server -> both   {"type":"participants","participants":[{"userId":"1001","entry":7,...},...],"media":"publisher"}
//! ```
//!
//! The caller waits for [`RING_S`]. The server answers at once for a member that is busy, and for one that is not in
//! the room. `hangup` cancels a call that rings, and ends a call that runs, for both; its target is the other one.
//! `decline` has a [`DeclineReason`]. If two members call each other at the same time, the second `call` accepts the
//! first. When nobody answers, the callee gets `hangup`, and the caller `decline`. A call ends with an empty list for
//! both.
//!
//! # A meeting
//!
//! `participate` enters the meeting, and tells later what the participant sends. `hangup` with one's own user id leaves
//! the meeting, but not the room. `callAll` of the owner rings all members that take no part; `accept` enters the
//! meeting then. All members hear of the participants, those of a call only the two. A meeting that takes no more
//! participants answers with [`ErrorCode::MeetingFull`]; its sender stays in the room.
//!
//! # Lost connections and reloads
//!
//! A participant whose connection is lost keeps its place and its `entry` for [`CONFERENCE_GRACE`]. A participant that
//! comes back in another process, with another `epoch`, has lost its entry: the others get a list without it. Its place
//! is kept for the same time, in a call too: by `participate` it enters again, with a new entry. A server that has
//! restarted knows of no conference, and everybody enters again, or calls again; it does not use the numbers of the old
//! entries.
//!
//! # Media between two participants
//!
//! `participants` lists everybody in the order in which they entered. Each entry has a number, `entry`, which is higher
//! than those before and changes when a participant enters again, as after a reload. There is one peer connection for
//! each pair of entries. The participant with the higher number makes the first offer; from then on both may offer, by
//! the rules of perfect negotiation (W3C webrtc-pc, 10.7): the participant with the smaller user id, as text, is
//! polite. The first offer has three sections and the data channel: audio, screen, camera, each `sendrecv`, so that a
//! participant starts and stops sending without a negotiation.
//!
//! Offers, answers and candidates for such a connection carry `entry`: that of the target, from the sender; that of the
//! sender, to the receiver. The server drops messages for an entry that is gone. Candidates follow their description.
//!
//! ```text
//! 1002 -> server   {"type":"offer","targetUid":"1001","entry":7,"sdp":"v=0..."}
//! server -> 1001   {"type":"offer","userId":"1002","entry":8,"sdp":"v=0..."}
//! ```
//!
//! Offers, answers and candidates of a sender that takes no part are answered with [`ErrorCode::NotAllowed`]. An offer
//! beyond [`PARTICIPANT_OFFER_RATE`] is answered with [`ErrorCode::TargetBusy`].
//!
//! # Media on the server
//!
//! With `"media":"server"`, each participant publishes to the server by an offer with its own user id as target and
//! without `entry`, as a speaker on the stage does. Once its media has arrived, it is listed with `published`, and
//! everybody else may receive its media by a recvonly offer with that user id as target and without `entry`.
//!
//! A pair keeps its own connection until neither side needs it. A participant sends `{"type":"moved"}` over the data
//! channel of the pair once it needs no media of the other one over it: when that media arrives from the server, or at
//! once if the other one sends nothing and is not `published`. A side that gets `moved` sends no more media over the
//! pair. A side that has sent and got `moved` closes the pair, after the files that are offered or on their way over
//! it. A connection that is lost after `moved` was sent has ended, too: the other side's `moved` may have been lost
//! with it.
//!
//! The media host gets the lists of participants, and offers and candidates with the `entry` of their sender and with
//! the target as `source`. Its answers name the `source` too. It tells by `published` whose media it has.
//!
//! A meeting moves to the server with its seventh participant, or when a participant reports `overloaded`, if the
//! server carries media and has a place. It returns to its participants only if the server's media fails, for as many
//! as [`MAX_MESH`]; the others are out, with [`ErrorCode::MeetingFull`]. Then it stays there until it is over.
//!
//! # Breakout rooms
//!
//! The owner may `split` a meeting into breakout rooms. A breakout room is one more conference of the same room (a
//! *sidebar*, RFC 5239): it has a number from 1, participants and a chat of its own, while 0 is the meeting itself.
//! Nobody joins a breakout room: members stay in the room, behind the same gate and under the same owner, and the
//! server moves them. A participant that is moved gets another entry, in the `participants` of the other conference; it
//! need not know of breakout rooms to follow. Whoever is moved also gets `breakouts` and the chat of the new place.
//!
//! ```text
//! 1001 -> server   {"type":"order","order":"split","rooms":2,"assign":{"1002":1},"limitS":600}
//! server -> 1002   {"type":"breakouts","rooms":2,"at":1,"own":1,"endsInMs":600000}
//! server -> 1001   {"type":"breakouts","rooms":2,"at":0,"endsInMs":600000,"places":{"1001":0,"1002":1,"1003":2}}
//! 1001 -> server   {"type":"visit","breakout":2}
//! 1001 -> server   {"type":"order","order":"announce","text":"five more minutes"}
//! server -> all    {"type":"announcement","userId":"1001","nickname":"Ada","text":"five more minutes"}
//! 1001 -> server   {"type":"order","order":"recall","withinS":30}
//! server -> all    {"type":"breakouts","rooms":2,"at":1,"own":1,"endsInMs":30000,"isRecalled":true}
//! ```
//!
//! Members that moderate stay in the meeting and visit any breakout room. The others go to their own one and back to
//! the meeting; elsewhere they are refused with [`ErrorCode::NotAllowed`]. A newcomer is assigned to the smallest one.
//! When the owner leaves the room, the others are called back within [`RECALL_S`](super::RECALL_S); the order `end`
//! ends everything. The media of a breakout room goes where that of the meeting went, and moves as that of a meeting
//! does; the server carries [`MAX_PARTICIPANTS`] participants of a room and its breakout rooms together.
//!
//! `breakouts` names in `here` who else is at the receiver's place; the rest of the room is only a number for it. The
//! owner's `nameBreakout` gives a breakout room a name, which lasts until everybody is called back.
//!
//! The publisher of a lecture gives the same orders, and its students meet in breakout rooms. Students of a room of at
//! most [`MAX_MESH`], and one visitor that moderates, connect to each other. The server carries the larger rooms, with
//! [`MAX_PARTICIPANTS`] less one students in all; that one place is for the publisher. Only members whose `client` is
//! `browser` are moved. In a breakout room they send `participate`, offers with `entry`, `channel` and `hangup` with
//! their own user id, as in a meeting. The messages of the lecture keep their meaning there, and the media and the data
//! channels of the lecture go on. A lecture has no `participants`: students who come back to it take part in nothing.
//! An offer without `entry` is for the lecture, so each message about the media of a participant at the server, in both
//! directions, is the `message` of a `conference`:
//!
//! ```text
//! 1001 -> server   {"type":"conference","message":{"type":"offer","targetUid":"1002","sdp":"v=0..."}}
//! server -> 1001   {"type":"conference","message":{"type":"answer","userId":"1002","sdp":"v=0..."}}
//! ```
//!
//! # The spotlight
//!
//! One participant of a meeting may be large for everybody: the `spotlight` of `participants`. A participant that sends
//! a picture asks for that with `"on":true`, and gives it up with `"on":false`.
//!
//! ```text
//! 1002 -> server   {"type":"spotlight","on":true}
//! server -> all    {"type":"participants","participants":[...],"spotlight":"1002"}
//! ```
//!
//! The next one takes it over. The owner's orders `spotlight` and `spotlightOff` do the same for somebody else, and
//! nobody takes it over from a participant that the owner has chosen. With the order `restrictSpotlight`, the owner
//! decides about each request. A participant that has to wait for the owner `asksForSpotlight` until the owner's
//! `spotlight` or `spotlightOff`. Both end with the entry.
//!
//! A client switches in two phases: it asks for the participant's best tier, and shows the participant large once it
//! has decoded a frame. Until then nothing changes. What its user has made large goes before the spotlight.
//!
//! # Microphones
//!
//! Those who moderate a meeting switch the microphone of a participant off by the order `muteMicrophone`, and without
//! `targetUid` those of all who do not moderate. The server tells each of them by an order that names it; its client
//! sends no sound from then on, until its user switches the microphone on again.
//!
//! ```text
//! 1001 -> server   {"type":"order","order":"muteMicrophone","targetUid":"1002"}
//! server -> 1002   {"type":"order","userId":"1001","order":"muteMicrophone","targetUid":"1002"}
//! 1002 -> server   {"type":"participate","sends":["camera"]}
//! ```
//!
//! # Chat
//!
//! In a meeting, the messages of the data channel of a lecture (see [`channel`](super::channel)) travel by signalling,
//! each as the `message` of a `channel`; `welcome` and `allows` follow each `joined`. Those who moderate have the
//! rights of the teacher. A `msg` with a user id as `to` goes to that member and back to the sender, and is not kept.
//! In a call, messages travel over the data channel of the two.
//!
//! # Files from participant to participant
//!
//! In a call, and in a meeting whose media does not pass the server, the sender offers a file of at most
//! [`MAX_PAIR_FILE_BYTES`] to each receiver over the data channel of their pair. Each accepts or declines for itself.
//! Declined files have a `reason`: `declined`, `noFiles`, `busy` or `tooLarge`. A file for one receiver of a meeting is
//! offered with `"only":true`.
//!
//! ```text
//! 1001 -> 1002   {"type":"file","id":"8f3a01c2","name":"notes.pdf","size":48213,"mime":"application/pdf"}
//! 1002 -> 1001   {"type":"fileAnswer","id":"8f3a01c2","accepted":true}
//! either         {"type":"fileCancel","id":"8f3a01c2"}
//! ```
//!
//! The sender of an accepted file opens a data channel of its own for the bytes, ordered and reliable, with the label
//! [`FILE_CHANNEL_LABEL`] and the id as `protocol`. Binary messages of at most 16 kB are the bytes in their order. Then
//! the sender says `{"type":"end","sha256":"..."}`, with an empty digest if its browser makes none; the receiver checks
//! the length and the digest, and answers `{"type":"received"}` or `{"type":"broken"}`. A channel that closes before
//! that has lost the file. A receiver closes the channel of a sender that sends anything else. A file that was offered
//! before the media moved to the server still goes over the pair, which stays without media as long as that takes.
//!
//! # Files over the server
//!
//! While the server carries the media, it takes files of at most [`MAX_SERVER_FILE_BYTES`] from the participants, and
//! keeps them in memory for ten minutes. Once a file is whole, all participants get `file`, or those two that `to`
//! names; who enters later gets it then.
//!
//! ```text
//! 1001 -> server   {"type":"shareFile","name":"notes.pdf","size":48213,"mime":"application/pdf"}
//! server -> 1001   {"type":"filePlace","file":19}
//! 1001 -> server   PATCH /api/files/10013/19?userId=1001    Upload-Offset: 0
//! server -> all    {"type":"file","file":19,"userId":"1001","nickname":"Ada","name":"notes.pdf","size":48213,...}
//! 1002 -> server   GET /api/files/10013/19?userId=1002      Range: bytes=0-48212
//! 1001 -> server   {"type":"withdrawFile","file":19}
//! server -> all    {"type":"fileGone","file":19}
//! ```
//!
//! Both requests have the session of the member in `Authorization: Bearer`. A part has [`FILE_PART_BYTES`], the last
//! one of a file fewer. A sender has one unfinished file; another one replaces it.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::{
    CONFERENCE_GRACE, ErrorCode, FILE_CHANNEL_LABEL, FILE_PART_BYTES, MAX_PAIR_FILE_BYTES, MAX_SERVER_FILE_BYTES,
    PARTICIPANT_OFFER_RATE,
};
use super::{MediaHost, TrackName};
use crate::id::{Nickname, RoomName, UserId};

/// The most participants of a meeting whose media does not pass the server: each sends to each.
pub const MAX_MESH: usize = 6;

/// The most participants of a meeting.
pub const MAX_PARTICIPANTS: usize = 25;

/// How long a call rings, in seconds.
pub const RING_S: u64 = 30;

/// The kind of a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RoomKind {
    /// One publisher, and students that receive.
    #[default]
    Lecture,
    /// All participants send to all.
    Meeting,
    /// Members call each other, two at a time.
    Call,
}

impl RoomKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Lecture, Self::Meeting, Self::Call];

    /// The word on the wire and in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lecture => "lecture",
            Self::Meeting => "meeting",
            Self::Call => "call",
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_lecture(&self) -> bool {
        *self == Self::Lecture
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What the members of a meeting or call room know of the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomInfo {
    /// The kind.
    pub kind: RoomKind,
    /// The room's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RoomName>,
    /// The owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// Whether newcomers are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_locked: bool,
    /// Whether the owner is calling all members at present.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_calling: bool,
    /// Whether a participant needs the owner's permission to be large for everybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_spotlight_restricted: bool,
    /// The most participants.
    pub most: usize,
}

/// A participant of a call or a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// The member.
    pub user_id: UserId,
    /// The name that others see, possibly empty.
    pub nickname: Nickname,
    /// Higher than that of everybody who entered before, and another one after each return.
    pub entry: u32,
    /// The tracks that the participant sends at present: a muted microphone is not among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sends: Vec<TrackName>,
    /// Whether the server has the participant's media.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub published: bool,
    /// Whether the participant waits for the owner's permission to be large for everybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks_for_spotlight: bool,
}

impl Participant {
    /// A participant that has just entered.
    pub fn new(user_id: UserId, nickname: Nickname, entry: u32, sends: Vec<TrackName>) -> Self {
        Self { user_id, nickname, entry, sends, published: false, asks_for_spotlight: false }
    }

    /// Whether the participant sends a picture.
    pub fn sends_picture(&self) -> bool {
        self.sends.iter().any(|track| *track != TrackName::Audio)
    }
}

/// The participants of a conference, in the order in which they entered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Participants {
    /// The participants; none after the end.
    pub participants: Vec<Participant>,
    /// The breakout room that they are in; 0 for the meeting, or a call.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub breakout: u32,
    /// The host of the media: each participant for itself (`publisher`), or the server.
    #[serde(default)]
    pub media: MediaHost,
    /// Why the media has moved, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<MediaMove>,
    /// The participant that is large for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spotlight: Option<UserId>,
}

/// Why the media of a meeting has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MediaMove {
    /// To the server: there are more than [`MAX_MESH`] participants.
    Size,
    /// To the server: a participant's computer or line was overloaded.
    Overload,
    /// To the participants: the server's media has failed.
    Failure,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

/// Why a call does not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeclineReason {
    /// The callee does not want to talk now.
    Declined,
    /// The callee is in a call, or one rings already.
    Busy,
    /// The callee did not answer within [`RING_S`]. Only the server says so.
    NoAnswer,
    /// The callee can't use its microphone and camera.
    NoDevices,
    /// The callee has left the room. Only the server says so.
    Left,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// The most tracks that `sends` names.
const MAX_SENDS: usize = 3;

/// Sorts the names, once each; an error if there are more than tracks.
pub(super) fn check_sends(sends: &mut Vec<TrackName>) -> Result<(), String> {
    if sends.len() > MAX_SENDS {
        return Err(format!("sends names {} tracks, and there are {MAX_SENDS}", sends.len()));
    }
    sends.sort_unstable();
    sends.dedup();
    Ok(())
}
