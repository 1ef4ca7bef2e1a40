//! The events that scripts read on stdout with `--json`.

use serde::Serialize;

use super::conference::{CallState, ParticipantState};
use super::file::FileReport;
use super::format::{one_decimal, one_decimal_or_null};
use super::order::Order;
use super::path::PathReport;
use super::scene::SceneReport;
use super::slide::SlideReport;
use super::source_state::SourceState;
use super::stage::StageState;
use super::summary::Summary;
use super::whip::{HostCount, HostState};
use crate::id::UserId;
use crate::protocol::channel::OffStage;
use crate::rtp::{Encoding, Track};

/// An event. Names and fields are stable, because scripts read them. `docs/labs.md` lists them all.
///
/// [`super::Reporter`] adds `at`, the time (RFC 3339, UTC, milliseconds), and `room` (null without a room, as for
/// `serve`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The server accepts connections, or the teacher accepts students.
    Listening {
        /// The URL of the own server's WebSocket, `ws://192.168.1.20:18080/ws`; `None` with another server.
        ws: Option<String>,
        /// The own server's page, `http://192.168.1.20:18080/`; `None` with another server.
        page: Option<String>,
        /// The page of the room, `http://192.168.1.20:18080/room/10013`; `None` without a room, as for `serve`.
        room_page: Option<String>,
        /// The join code of the room, which `room_page` contains; `None` without one.
        code: Option<String>,
        /// The fingerprint for `--fingerprint`, of an own server with TLS; `None` without TLS, or if the certificate
        /// has a name.
        fingerprint: Option<String>,
        /// The UDP port of the media; `None` without media, as for `serve --no-media`.
        udp: Option<u16>,
    },
    /// This process has joined the room.
    Joined {
        /// The own user id.
        user: UserId,
        /// The user's nickname; may be empty.
        nickname: String,
        /// The server.
        server: String,
    },
    /// This process waits until the teacher admits it to the room (student's side).
    Waiting {
        /// The own user id.
        user: UserId,
        /// The user's nickname; may be empty.
        nickname: String,
        /// The server.
        server: String,
    },
    /// The media of somebody comes by this way from now on.
    Path(PathReport),
    /// A student joined, left, or changed state (teacher's side).
    Student {
        /// The student.
        user: UserId,
        /// The user's nickname; may be empty.
        nickname: String,
        /// The new state.
        state: StudentState,
    },
    /// A teacher has joined or left (student's side).
    Publisher {
        /// The teacher; `None` if the teacher has left.
        user: Option<UserId>,
        /// The teacher's nickname, may be empty; `None` if the teacher has left.
        nickname: Option<String>,
    },
    /// A file starts to play (teacher's side).
    Playing {
        /// The path as it was typed.
        file: String,
        /// The position in the list, from 1.
        index: usize,
        /// The length of the list.
        of: usize,
    },
    /// Another slide is shown (teacher's side).
    Slide(SlideReport),
    /// Another scene of a lecture is shown (teacher's side).
    Scene(SceneReport),
    /// The first frame of a track was decoded.
    FirstFrame {
        /// The track.
        track: Track,
        /// Milliseconds since teacher and student were both in the room.
        #[serde(serialize_with = "one_decimal")]
        after_ms: f64,
        /// Milliseconds since the start of this process.
        #[serde(serialize_with = "one_decimal")]
        after_start_ms: f64,
    },
    /// A chat message.
    Chat {
        /// The number of the message; later messages have higher numbers.
        id: u64,
        /// The author.
        user: UserId,
        /// The user's nickname; may be empty.
        nickname: String,
        /// Whether the author is the teacher.
        teacher: bool,
        /// The text: one line of printable characters.
        text: String,
        /// The only receiver of a private message.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<UserId>,
    },
    /// A hand was raised or lowered.
    Hand {
        /// The student.
        user: UserId,
        /// The user's nickname; may be empty.
        nickname: String,
        /// Whether the hand was raised.
        raised: bool,
        /// All raised hands, the first one first.
        hands: Vec<UserId>,
    },
    /// A reaction.
    Reaction {
        /// The user who reacted.
        user: UserId,
        /// The user's nickname; may be empty.
        nickname: String,
        /// `like`, `clap`, `heart`, `laugh`, `wow` or `confused`.
        reaction: &'static str,
    },
    /// The permissions of the class, and on the student's side those of this student. Reported when they change, or
    /// when the teacher asks.
    Allowed {
        /// Whether chat messages may appear over the picture.
        comments: bool,
        /// Whether students may react.
        reactions: bool,
        /// Whether students may write; on the student's side, whether this student is not muted.
        chat: bool,
        /// The shortest time between two chat messages of a student, in milliseconds; 0 without slow mode.
        slow_ms: u32,
    },
    /// The student is invited to the stage, and comes or does not (student's side).
    Speaking {
        /// The new state.
        state: SpeakingState,
        /// The tracks that the student sends; empty while it sends nothing.
        tracks: Vec<Track>,
        /// Why the student does not speak any more; `None` while it does, or if nobody said.
        reason: Option<OffStage>,
        /// The bandwidth of the student's uplink in kbit/s; `None` if it is unknown or very high.
        estimate_kbps: Option<u32>,
    },
    /// An order was obeyed (teacher's side).
    Order {
        /// The teacher, or a member who moderates.
        by: UserId,
        /// The nickname of this user; may be empty.
        by_nickname: String,
        /// The order.
        order: Order,
        /// The student whom the order concerns; `None` if it concerns all.
        user: Option<UserId>,
        /// The nickname of this student, may be empty; `None` if the order concerns all.
        nickname: Option<String>,
        /// The new join code.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// A student comes to the stage or leaves it. Other students only hear of `live` and `ended`, without a reason.
    Stage {
        /// The student.
        user: UserId,
        /// The user's nickname; may be empty.
        nickname: String,
        /// The new state, with its data.
        #[serde(flatten)]
        state: StageState,
    },
    /// The lecture at a WHIP server begins, or breaks off (teacher's side).
    Whip {
        /// The number of the server among those of `--whip`, from 1.
        number: usize,
        /// The origin of the server.
        server: String,
        /// The new state, with its data.
        #[serde(flatten)]
        state: HostState,
    },
    /// The lecture in a VideoRoom of a Janus server begins, or breaks off (teacher's side).
    Janus {
        /// The room and the server.
        server: String,
        /// The new state, with its data.
        #[serde(flatten)]
        state: HostState,
    },
    /// Other clients than before wait for admission (teacher's side).
    Lobby {
        /// Those who have waited longest, at most [`MAX_LOBBY_LIST`](crate::protocol::MAX_LOBBY_LIST).
        waiting: Vec<Waiting>,
        /// The number of all that wait.
        count: usize,
    },
    /// All chat messages so far were removed (student's side).
    ChatCleared,
    /// A camera or a screen has stopped, or is back. Reported on both sides.
    Source {
        /// The track of the source.
        track: Track,
        /// The new state.
        state: SourceState,
    },
    /// The teacher's statistics, once a second.
    #[serde(rename = "stats")]
    TeachStats(TeachStats),
    /// The student's statistics of one track, once a second.
    #[serde(rename = "stats")]
    WatchStats(WatchStats),
    /// The statistics of one track of a speaker on the stage, once a second (student's side).
    SpeakerStats(SpeakerStats),
    /// A call rings, runs or ends.
    Call {
        /// The other one.
        user: UserId,
        /// The user's nickname; empty if it is not known yet.
        nickname: String,
        /// The new state, with its data.
        #[serde(flatten)]
        state: CallState,
    },
    /// A participant of a call or a meeting comes, goes, or changes.
    Participant {
        /// The participant.
        user: UserId,
        /// The user's nickname; may be empty.
        nickname: String,
        /// The new state, with its data.
        #[serde(flatten)]
        state: ParticipantState,
    },
    /// A file of a call or a meeting is offered, on its way, or over.
    File(FileReport),
    /// The statistics of one track of a participant, once a second.
    ParticipantStats(SpeakerStats),
    /// Something disturbs the lecture (student's side). Reported again when the text changes.
    Trouble {
        /// The kind of trouble.
        kind: TroubleKind,
        /// The affected track; `None` for all tracks.
        track: Option<Track>,
        /// The description.
        text: String,
    },
    /// A trouble is over.
    TroubleOver {
        /// The kind of trouble.
        kind: TroubleKind,
        /// The affected track.
        track: Option<Track>,
    },
    /// The summary at the end of a lecture (teacher's side).
    Summary(Summary),
    /// Information that needs no action.
    Notice {
        /// The sentence.
        message: String,
    },
    /// A problem that does not end the lecture.
    Warning {
        /// The sentence.
        message: String,
    },
    /// The last event of a process.
    Ended {
        /// The reason.
        reason: EndReason,
        /// The exit code of the process.
        exit: u8,
        /// The error, if the process failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}

/// A client that waits for admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The user id.
    pub user: UserId,
    /// The nickname; may be empty.
    pub nickname: String,
}

/// The teacher's statistics. Rates refer to the last second, counts are totals since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TeachStats {
    /// Students that receive media.
    pub students: usize,
    /// Encoded pictures per second of the screen, or of the camera if there is no screen.
    #[serde(serialize_with = "one_decimal")]
    pub fps: f64,
    /// kbit/s to one student who gets the full tier of all tracks.
    #[serde(serialize_with = "one_decimal")]
    pub kbps_per_student: f64,
    /// kbit/s to all students together.
    #[serde(serialize_with = "one_decimal")]
    pub kbps_up: f64,
    /// RTP packets sent to all students together.
    pub packets: u64,
    /// Frames not sent, because the queue of a student or the socket was full; all students together.
    pub dropped: u64,
    /// Milliseconds that a picture spends in the encoder, as a recent mean; `None` before the first picture.
    #[serde(serialize_with = "one_decimal_or_null")]
    pub encode_ms: Option<f64>,
    /// Key frames of all video tracks.
    pub key_frames: u64,
    /// How many students watch each encoding, for each track the best one first. Encodings that nobody watches are left
    /// out.
    pub watched: Vec<Watched>,
    /// The students on the stage, in the order in which they came.
    pub stage: Vec<UserId>,
    /// How many WHIP servers get the lecture; left out without `--whip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whip: Option<HostCount>,
    /// Whether the VideoRoom of a Janus server gets the lecture; left out without `--janus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub janus: Option<HostCount>,
}

/// How many students watch an encoding: `{"track":"screen","tier":"low","codec":"h264","students":3}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// The encoding.
    #[serde(flatten)]
    pub encoding: Encoding,
    /// The number of students.
    pub students: usize,
    /// Whether the encoding has the usual codec of the lecture. The status line names other codecs.
    #[serde(skip)]
    pub is_class_codec: bool,
}

/// A student's statistics of one track. Rates refer to the last second, counts are totals since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WatchStats {
    /// The track.
    pub track: Track,
    /// Decoded frames per second.
    #[serde(serialize_with = "one_decimal")]
    pub fps: f64,
    /// The width of the picture in pixels, 0 for audio.
    pub width: u32,
    /// The height of the picture in pixels, 0 for audio.
    pub height: u32,
    /// kbit/s received.
    #[serde(serialize_with = "one_decimal")]
    pub kbps: f64,
    /// Packets that never arrived.
    pub lost: u64,
    /// Packets requested again (NACK).
    pub nacks: u64,
    /// Key frames requested (PLI).
    pub plis: u64,
    /// How often the picture froze (`freezeCount` of W3C webrtc-stats) or was withheld, including a current freeze.
    pub freezes: u64,
    /// Milliseconds in which the picture was frozen or withheld.
    pub freeze_ms: u64,
    /// The part of `freeze_ms` in which the publisher withheld the picture.
    pub withheld_ms: u64,
    /// Frames that were dropped because the decoder was too slow.
    pub skipped: u64,
    /// Milliseconds of missing audio that were concealed.
    pub concealed_ms: u64,
    /// The delay of the jitter buffer in milliseconds.
    pub delay_ms: u64,
    /// The interarrival jitter in milliseconds (RFC 3550, section 6.4.1).
    #[serde(serialize_with = "one_decimal")]
    pub jitter_ms: f64,
}

/// The statistics of one track of a speaker: totals since its render began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpeakerStats {
    /// The speaker.
    pub user: UserId,
    /// The track.
    pub track: Track,
    /// Decoded frames, or blocks of audio; for a recording, received ones.
    pub frames: u64,
    /// The width of the picture in pixels, 0 for audio.
    pub width: u32,
    /// The height of the picture in pixels, 0 for audio.
    pub height: u32,
    /// Packets that never arrived.
    pub lost: u64,
    /// How often the picture froze, including a current freeze.
    pub freezes: u64,
}

/// The kind of a trouble, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// No packets arrive, or the publisher received nothing from this student.
    Network,
    /// This computer is too slow to decode the lecture.
    Decoder,
    /// The path carries less than the full lecture.
    Bandwidth,
    /// Packets are lost.
    Loss,
    /// The teacher's bandwidth does not suffice for the class.
    Class,
}

/// The state of a student, as the teacher sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StudentState {
    /// In the room, without media.
    Joined,
    /// Negotiating a connection.
    Connecting,
    /// Receiving the lecture.
    Watching,
    /// The media broke off; the student may still be in the room.
    Lost,
    /// The offer was refused.
    Refused,
    /// Has left the room.
    Left,
}

/// The way of a student to the stage and off it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpeakingState {
    /// The teacher invites the student.
    Invited,
    /// The student, or this program, declines.
    Declined,
    /// The student accepts, and its camera and microphone start.
    Starting,
    /// The student's media is sent.
    Connected,
    /// The class sees and hears the student.
    Live,
    /// The student is not on the stage any more, or the invitation is void.
    Ended,
}

/// Why a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The time of `--for` is over.
    Duration,
    /// The last file or the last scene has ended.
    EndOfFile,
    /// No student was there for the time of `--exit-when-empty`.
    Empty,
    /// SIGINT, SIGTERM or SIGHUP.
    Interrupted,
    /// The user closed the window.
    WindowClosed,
    /// The teacher ended the class.
    LectureOver,
    /// The call is over.
    CallOver,
    /// The meeting is over.
    MeetingOver,
    /// The user has left the meeting, or hung up.
    Left,
    /// An error, which `exit` and `message` describe.
    Failed,
}

#[cfg(test)]
mod tests;
