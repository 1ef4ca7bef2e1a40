//! What a script reads on stdout under `--json`, and the sentence a person reads instead.

use serde::{Serialize, Serializer};

use super::summary::Summary;
use crate::id::{UserId, named};
use crate::rtp::{Encoding, Track};

/// Something that happened. Names and fields are stable: scripts read them. `docs/labs.md` has the table.
///
/// [`super::Reporter`] adds `at`, the time (RFC 3339, UTC, milliseconds), and `room` (null where there is none, as for
/// `serve`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The server, or the teacher with its own server, can be reached.
    Listening {
        /// Where students connect to: `ws://192.168.1.20:18080/ws`; none where somebody else's server is used.
        ws: Option<String>,
        /// The page for people: `http://192.168.1.20:18080/`; none where somebody else's server is used.
        page: Option<String>,
        /// The room's page, for students: `http://192.168.1.20:18080/room/10013`; none without a room, as for `serve`.
        room_page: Option<String>,
        /// The UDP port of the media; none without media, as for `serve`.
        udp: Option<u16>,
    },
    /// This process is in the room.
    Joined {
        /// As whom.
        user: UserId,
        /// As shown to people, possibly empty.
        nickname: String,
        /// At which server.
        server: String,
    },
    /// A student came, went, or changed state (teacher's side).
    Student {
        /// Who.
        user: UserId,
        /// As shown to people, possibly empty.
        nickname: String,
        /// What they do now.
        state: StudentState,
    },
    /// Somebody teaches in this room (student's side).
    Publisher {
        /// Who; none when the teacher has gone.
        user: Option<UserId>,
        /// As shown to people, possibly empty; none when the teacher has gone.
        nickname: Option<String>,
    },
    /// A file begins (teacher's side).
    Playing {
        /// As it was given.
        file: String,
        /// Its place in the list, from 1.
        index: usize,
        /// How long the list is.
        of: usize,
    },
    /// The first picture was decoded, or the first sound.
    FirstFrame {
        /// Of which track.
        track: Track,
        /// Milliseconds since teacher and student were both in the room.
        #[serde(serialize_with = "one_decimal")]
        after_ms: f64,
        /// Milliseconds since this process began.
        #[serde(serialize_with = "one_decimal")]
        after_start_ms: f64,
    },
    /// Somebody said something.
    Chat {
        /// Grows from message to message.
        id: u64,
        /// Who said it.
        user: UserId,
        /// As shown to people, possibly empty.
        nickname: String,
        /// Whether it was the teacher.
        teacher: bool,
        /// The words: one line, printable.
        text: String,
    },
    /// Somebody's hand went up or down.
    Hand {
        /// Whose.
        user: UserId,
        /// As shown to people, possibly empty.
        nickname: String,
        /// Up or down.
        raised: bool,
        /// All hands that are up now, in the order they went up.
        hands: Vec<UserId>,
    },
    /// Somebody gave a sign.
    Reaction {
        /// Who.
        user: UserId,
        /// As shown to people, possibly empty.
        nickname: String,
        /// `like`, `clap`, `heart`, `laugh`, `wow` or `confused`.
        reaction: &'static str,
    },
    /// What the teacher allows the class: said when it changes, or when the teacher asks.
    Allowed {
        /// Lines of chat may fly over the picture.
        comments: bool,
        /// Students may react.
        reactions: bool,
    },
    /// A camera or a screen has stopped, or is back. Said on both sides.
    Source {
        /// Which.
        track: Track,
        /// How it is now.
        state: SourceState,
    },
    /// Once a second, the teacher's numbers.
    #[serde(rename = "stats")]
    TeachStats(TeachStats),
    /// Once a second and track, the student's numbers.
    #[serde(rename = "stats")]
    WatchStats(WatchStats),
    /// The student suffers from something (student's side). Said anew when its text changes.
    Trouble {
        /// From what.
        kind: TroubleKind,
        /// Which track suffers; none when all do.
        track: Option<Track>,
        /// In words.
        text: String,
    },
    /// A trouble is over.
    TroubleOver {
        /// Which.
        kind: TroubleKind,
        /// Of which track.
        track: Option<Track>,
    },
    /// A lecture is over (teacher's side): who was there, and what each student had of it.
    Summary(Summary),
    /// Something worth saying that needs no action.
    Notice {
        /// A sentence.
        message: String,
    },
    /// Something is wrong, and the lecture goes on.
    Warning {
        /// A sentence.
        message: String,
    },
    /// The last event of a process.
    Ended {
        /// Why.
        reason: EndReason,
        /// The exit code that follows.
        exit: u8,
        /// The error, where it is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}

/// The teacher's numbers. Rates are those of the last second, counts are totals since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TeachStats {
    /// Students that receive.
    pub students: usize,
    /// Encoded pictures per second: the screen's, or the camera's where no screen is taught.
    #[serde(serialize_with = "one_decimal")]
    pub fps: f64,
    /// Thousands of bits per second that one student gets, all tracks together.
    #[serde(serialize_with = "one_decimal")]
    pub kbps_per_student: f64,
    /// Thousands of bits per second that leave, all students together.
    #[serde(serialize_with = "one_decimal")]
    pub kbps_up: f64,
    /// RTP packets sent, all students together.
    pub packets: u64,
    /// Frames not sent, because a student's queue or the socket was full; all students together.
    pub dropped: u64,
    /// Milliseconds that a picture spends in the encoder, recent mean; none before the first.
    #[serde(serialize_with = "one_decimal_or_null")]
    pub encode_ms: Option<f64>,
    /// Key frames of all video tracks.
    pub key_frames: u64,
    /// What students watch, for each track the best first; what nobody watches is left out.
    pub watched: Vec<Watched>,
}

/// How many students watch an encoding: `{"track":"screen","tier":"low","codec":"h264","students":3}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Which one.
    #[serde(flatten)]
    pub encoding: Encoding,
    /// So many.
    pub students: usize,
    /// Whether it is in the codec that the class goes with; the status line names others.
    #[serde(skip)]
    pub is_class_codec: bool,
}

/// A student's numbers for one track. Rates are those of the last second, counts are totals since the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WatchStats {
    /// Which track.
    pub track: Track,
    /// Decoded pictures (or blocks of sound) per second.
    #[serde(serialize_with = "one_decimal")]
    pub fps: f64,
    /// Width of the picture in pixels, 0 for sound.
    pub width: u32,
    /// Height of the picture in pixels, 0 for sound.
    pub height: u32,
    /// Thousands of bits per second received.
    #[serde(serialize_with = "one_decimal")]
    pub kbps: f64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets asked for again.
    pub nacks: u64,
    /// Key frames asked for.
    pub plis: u64,
    /// Times the picture stood still (`freezeCount` of W3C's webrtc-stats) or was withheld, one that goes on too.
    pub freezes: u64,
    /// Milliseconds that it stood still or was withheld.
    pub freeze_ms: u64,
    /// The part of them in which the publisher withheld the picture.
    pub withheld_ms: u64,
    /// Pictures or blocks of sound that were thrown away, because the decoder had no time for them.
    pub skipped: u64,
    /// Milliseconds of sound that never came, and in whose place something was played.
    pub concealed_ms: u64,
    /// How much later than possible it is shown, so that what the network delays comes in time; in milliseconds.
    pub delay_ms: u64,
    /// Milliseconds of jitter (RFC 3550, section 6.4.1).
    #[serde(serialize_with = "one_decimal")]
    pub jitter_ms: f64,
}

/// What a student suffers from, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// No packets come, or nothing was heard of this student.
    Network,
    /// The machine can't decode what comes.
    Decoder,
    /// The line carries less than the lecture.
    Bandwidth,
    /// Packets are lost.
    Loss,
    /// The teacher has no more for this class.
    Class,
}

/// What a student does, as the teacher sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StudentState {
    /// In the room, without media yet.
    Joined,
    /// Negotiating a connection.
    Connecting,
    /// Receiving the lecture.
    Watching,
    /// Still in the room or not, but its media broke off.
    Lost,
    /// Refused, with the reason in a warning.
    Refused,
    /// Gone from the room.
    Left,
}

/// How a source of pictures is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// No picture has come from it for some seconds.
    Stopped,
    /// Pictures come again.
    Live,
}

impl From<bool> for SourceState {
    /// Of whether it has stopped.
    fn from(stopped: bool) -> Self {
        if stopped { Self::Stopped } else { Self::Live }
    }
}

/// Why a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// `--for` was over.
    Duration,
    /// The file was over.
    EndOfFile,
    /// SIGINT or SIGTERM.
    Interrupted,
    /// The person closed the window.
    WindowClosed,
    /// The teacher ended the lecture.
    LectureOver,
    /// An error; `exit` and `message` say which.
    Failed,
}

impl EndReason {
    fn words(self) -> &'static str {
        match self {
            EndReason::Duration => "the time is over",
            EndReason::EndOfFile => "the file has ended",
            EndReason::Interrupted => "interrupted",
            EndReason::WindowClosed => "the window was closed",
            EndReason::LectureOver => "the lecture is over",
            EndReason::Failed => "failed",
        }
    }
}

impl Event {
    /// The line for a person; none for what the status line shows, or what the end of the process says by itself.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Event::Listening { ws, udp, .. } => {
                let media = udp.map(|port| format!("media on UDP port {port}"));
                let parts: Vec<String> =
                    ws.as_ref().map(|ws| format!("listening on {ws}")).into_iter().chain(media).collect();
                (!parts.is_empty()).then(|| parts.join(", "))
            }
            Event::Joined { user, nickname, server } => {
                Some(format!("joined as {} at {server}", named(user, nickname)))
            }
            Event::Student { user, nickname, state } => {
                let does = match state {
                    StudentState::Joined => "has joined",
                    StudentState::Connecting => return None,
                    StudentState::Watching => "is watching",
                    StudentState::Lost => "was lost",
                    StudentState::Refused => "was refused",
                    StudentState::Left => "has left",
                };
                Some(format!("student {} {does}", named(user, nickname)))
            }
            Event::Publisher { user: Some(user), nickname } => {
                Some(format!("{} is teaching", named(user, nickname.as_deref().unwrap_or_default())))
            }
            Event::Publisher { user: None, .. } => Some("the teacher has left; waiting".into()),
            Event::Playing { file, index, of } => Some(match of {
                1 => format!("playing {file}"),
                of => format!("playing {file}, {index} of {of}"),
            }),
            Event::FirstFrame { track, after_ms, .. } => Some(format!("{track} after {after_ms:.0} ms")),
            Event::Chat { user, nickname, teacher, text, .. } => {
                let role = if *teacher { ", teacher" } else { "" };
                Some(format!("<{}{role}> {text}", named(user, nickname)))
            }
            Event::Hand { user, nickname, raised: true, hands } => {
                let place = hands.iter().position(|id| id == user).map_or(hands.len(), |at| at + 1);
                Some(format!("{} raises a hand, number {place}", named(user, nickname)))
            }
            Event::Hand { user, nickname, raised: false, .. } => {
                Some(format!("the hand of {} is down", named(user, nickname)))
            }
            Event::Reaction { user, nickname, reaction } => Some(format!("{}: {reaction}!", named(user, nickname))),
            Event::Allowed { comments, reactions } => {
                let word = |on: bool| if on { "on" } else { "off" };
                Some(format!("chat over the picture is {}, reactions are {}", word(*comments), word(*reactions)))
            }
            Event::Source { track, state: SourceState::Stopped } => {
                Some(format!("the {track} has stopped: no picture comes from it"))
            }
            Event::Source { track, state: SourceState::Live } => Some(format!("the {track} is back")),
            Event::TeachStats(_) | Event::WatchStats(_) => None,
            Event::Summary(summary) => Some(summary.text()),
            Event::Trouble { text, .. } => Some(format!("trouble: {text}")),
            Event::TroubleOver { .. } => None,
            Event::Notice { message } => Some(message.clone()),
            Event::Warning { message } => Some(format!("warning: {message}")),
            Event::Ended { reason: EndReason::Failed, .. } => None,
            Event::Ended { reason, .. } => Some(format!("ended: {}", reason.words())),
        }
    }
}

/// A tenth is as exact as anything here is measured, and shorter to read than 29.969999313354492.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn one_decimal<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 10.0).round() / 10.0)
}

pub(super) fn one_decimal_or_null<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => one_decimal(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rtp::{Codec, Tier};

    fn user(id: &str) -> UserId {
        id.parse().unwrap()
    }

    #[test]
    fn names_and_fields_are_those_that_scripts_read() {
        let low = Watched {
            encoding: Encoding { track: Track::Screen, tier: Tier::Low, codec: Codec::Vp8 },
            students: 28,
            is_class_codec: false,
        };
        let watch = WatchStats {
            track: Track::Screen,
            fps: 29.969_999,
            width: 1280,
            height: 720,
            kbps: 2512.34,
            lost: 1,
            nacks: 2,
            plis: 3,
            freezes: 4,
            freeze_ms: 800,
            withheld_ms: 300,
            skipped: 5,
            concealed_ms: 60,
            delay_ms: 80,
            jitter_ms: 0.123,
        };
        for (event, expected) in [
            (
                Event::Listening {
                    ws: Some("ws://a/ws".into()),
                    page: Some("http://a/".into()),
                    room_page: Some("http://a/room/1".into()),
                    udp: Some(18080),
                },
                json!({"event": "listening", "ws": "ws://a/ws", "page": "http://a/",
                    "room_page": "http://a/room/1", "udp": 18080}),
            ),
            (
                Event::Joined { user: user("1001"), nickname: "Anna".into(), server: "ws://a".into() },
                json!({"event": "joined", "user": "1001", "nickname": "Anna", "server": "ws://a"}),
            ),
            (
                Event::Student { user: user("1001"), nickname: "Anna".into(), state: StudentState::Watching },
                json!({"event": "student", "user": "1001", "nickname": "Anna", "state": "watching"}),
            ),
            (
                Event::Publisher { user: Some(user("9999")), nickname: Some("Ms Li".into()) },
                json!({"event": "publisher", "user": "9999", "nickname": "Ms Li"}),
            ),
            (
                Event::Allowed { comments: true, reactions: false },
                json!({"event": "allowed", "comments": true, "reactions": false}),
            ),
            (
                Event::Source { track: Track::Camera, state: SourceState::Stopped },
                json!({"event": "source", "track": "camera", "state": "stopped"}),
            ),
            (
                Event::Playing { file: "b.mp4".into(), index: 2, of: 3 },
                json!({"event": "playing", "file": "b.mp4", "index": 2, "of": 3}),
            ),
            (
                Event::FirstFrame { track: Track::Screen, after_ms: 281.26, after_start_ms: 61_000.0 },
                json!({"event": "first-frame", "track": "screen", "after_ms": 281.3, "after_start_ms": 61000.0}),
            ),
            (
                Event::TeachStats(TeachStats {
                    students: 28,
                    fps: 30.0,
                    packets: 7,
                    watched: vec![low],
                    ..TeachStats::default()
                }),
                json!({"event": "stats", "students": 28, "fps": 30.0, "kbps_per_student": 0.0, "kbps_up": 0.0,
                    "packets": 7, "dropped": 0, "encode_ms": null, "key_frames": 0,
                    "watched": [{"track": "screen", "tier": "low", "codec": "vp8", "students": 28}]}),
            ),
            (
                Event::WatchStats(watch),
                json!({"event": "stats", "track": "screen", "fps": 30.0, "width": 1280, "height": 720,
                    "kbps": 2512.3, "lost": 1, "nacks": 2, "plis": 3, "freezes": 4, "freeze_ms": 800, "withheld_ms": 300,
                    "skipped": 5, "concealed_ms": 60, "delay_ms": 80, "jitter_ms": 0.1}),
            ),
            (
                Event::Chat {
                    id: 17,
                    user: user("1001"),
                    nickname: "S-01".into(),
                    teacher: false,
                    text: "hello".into(),
                },
                json!({"event": "chat", "id": 17, "user": "1001", "nickname": "S-01", "teacher": false, "text": "hello"}),
            ),
            (
                Event::Hand {
                    user: user("1001"),
                    nickname: "".into(),
                    raised: true,
                    hands: vec![user("7"), user("1001")],
                },
                json!({"event": "hand", "user": "1001", "nickname": "", "raised": true, "hands": ["7", "1001"]}),
            ),
            (
                Event::Reaction { user: user("1001"), nickname: "S-01".into(), reaction: "clap" },
                json!({"event": "reaction", "user": "1001", "nickname": "S-01", "reaction": "clap"}),
            ),
            (
                Event::Trouble { kind: TroubleKind::Loss, track: None, text: "5 % are lost".into() },
                json!({"event": "trouble", "kind": "loss", "track": null, "text": "5 % are lost"}),
            ),
            (
                Event::TroubleOver { kind: TroubleKind::Decoder, track: Some(Track::Screen) },
                json!({"event": "trouble-over", "kind": "decoder", "track": "screen"}),
            ),
            (
                Event::Ended { reason: EndReason::EndOfFile, exit: 0, message: None },
                json!({"event": "ended", "reason": "end-of-file", "exit": 0}),
            ),
        ] {
            assert_eq!(serde_json::to_value(&event).unwrap(), expected);
        }
    }

    #[test]
    fn people_read_sentences() {
        let sentence = |event: Event| event.sentence().unwrap_or_default();
        let listening =
            Event::Listening { ws: Some("ws://a/ws".into()), page: None, room_page: None, udp: Some(18080) };
        assert_eq!(sentence(listening), "listening on ws://a/ws, media on UDP port 18080");
        assert_eq!(
            sentence(Event::FirstFrame { track: Track::Screen, after_ms: 281.3, after_start_ms: 0.0 }),
            "screen after 281 ms"
        );
        assert_eq!(sentence(Event::Warning { message: "no sound card".into() }), "warning: no sound card");
        let said =
            |teacher| Event::Chat { id: 1, user: user("1001"), nickname: "S-01".into(), teacher, text: "hi".into() };
        assert_eq!(sentence(said(false)), "<S-01 (1001)> hi");
        assert_eq!(sentence(said(true)), "<S-01 (1001), teacher> hi");
        let hand =
            |raised| Event::Hand { user: user("1001"), nickname: "S-01".into(), raised, hands: vec![user("1001")] };
        assert_eq!(sentence(hand(true)), "S-01 (1001) raises a hand, number 1");
        assert_eq!(sentence(hand(false)), "the hand of S-01 (1001) is down");
        let left = |nickname: &str| {
            sentence(Event::Student { user: user("1001"), nickname: nickname.into(), state: StudentState::Left })
        };
        assert_eq!([left("Anna"), left("")], ["student Anna (1001) has left", "student 1001 has left"]);
        let teaches = Event::Publisher { user: Some(user("9999")), nickname: Some("Ms Li".into()) };
        assert_eq!(sentence(teaches), "Ms Li (9999) is teaching");
        assert_eq!(sentence(Event::TeachStats(TeachStats::default())), "");
        let ended = Event::Ended { reason: EndReason::Interrupted, exit: 0, message: None };
        assert_eq!(sentence(ended), "ended: interrupted");
    }
}
