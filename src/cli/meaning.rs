//! What was meant: one struct a verb, none of which can hold a contradiction.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::Shell;

use super::args::{
    TypedDemo, TypedEncoding, TypedRooms, TypedServe, TypedSinkArgs, TypedSources, TypedTeach, TypedToldTurn,
    TypedWatch,
};
use super::servers::{StunServer, TurnServer, TypedTurn};
use super::values::{Bitrate, TypedSink};
use crate::expect::Expectation;
use crate::id::{Nickname, RoomId, RoomName, UserId};
use crate::media::{Content, FileList, Size, Tiers};
use crate::protocol::DEFAULT_PORT;
use crate::protocol::channel::Allowed;
use crate::rtp::{Codec, Latency};
use crate::signal::ServerUrl;

/// `classroom demo`: a lecture taught and watched in one process.
#[derive(Debug, Clone, PartialEq)]
pub struct Demo {
    /// The built-in lecture, or one's own.
    pub lecture: DemoLecture,
    /// In which tiers the picture can be had.
    pub tiers: Tiers,
    /// Where the student puts it.
    pub sink: Sink,
    /// End after this time; none: run until asked to end.
    pub length: Option<Duration>,
}

/// What `demo` teaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DemoLecture {
    /// A short lecture that the binary draws and speaks itself.
    BuiltIn,
    /// Files, one after another.
    Files(FileList),
}

/// `classroom teach`.
#[derive(Debug, Clone, PartialEq)]
pub struct Teach {
    /// The room to teach in.
    pub room: RoomId,
    /// What the room is called from now on; none: as before.
    pub room_name: Option<RoomName>,
    /// The teacher.
    pub user: UserId,
    /// The name that students see; the user id where none was typed.
    pub nickname: Nickname,
    /// Whose signalling server.
    pub signalling: Signalling,
    /// What is taught.
    pub sources: Sources,
    /// Whether the sound that the sources have is taught too.
    pub audio: bool,
    /// How pictures are encoded.
    pub video: Video,
    /// The one UDP port of the media; 0 lets the system choose.
    pub udp_port: u16,
    /// More addresses to tell students (NAT 1:1).
    pub advertise: Vec<IpAddr>,
    /// Servers to ask for our public address, from the SFU's own socket.
    pub stun: Vec<StunServer>,
    /// Servers to relay through, for students of the embedded server.
    pub turn: Vec<TurnServer>,
    /// Threads that send.
    pub workers: NonZeroUsize,
    /// At most so many students; none: no limit but those of the server.
    pub max_students: Option<NonZeroUsize>,
    /// The file that lists who was there.
    pub attendance: Option<PathBuf>,
    /// Where the numbers for a monitoring system are served, beside the embedded server.
    pub metrics: Option<SocketAddr>,
    /// Whether the link for students is shown as a QR code too, where a terminal can.
    pub qr: bool,
    /// End after this time; none: run until asked to end, or to the end of the file.
    pub length: Option<Duration>,
    /// Whether the lecture is over for the students too when it ends here.
    pub end_class: bool,
    /// Whose typed lines are said in chat.
    pub lines: Lines,
    /// The permissions of students at the start.
    pub allowed: Allowed,
}

/// Which signalling server a teacher uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signalling {
    /// One inside the teacher's own process.
    Embedded {
        /// Where it listens; port 0 lets the system choose.
        listen: SocketAddr,
    },
    /// The one at this URL.
    Remote(ServerUrl),
}

/// What a teacher teaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// The screen, the camera and the microphone that exist.
    Auto,
    /// These and no others; at least one of them is there.
    Chosen {
        /// What is shown in the large.
        main: Option<MainSource>,
        /// The camera.
        camera: Option<Device>,
        /// The microphone; where there is one, a file or the test pattern is heard no more.
        mic: Option<Device>,
    },
    /// A GStreamer graph of one's own; it encodes by itself.
    Pipeline(PathBuf),
}

/// What is shown in the large, on the `screen` track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainSource {
    /// A screen.
    Screen(Device),
    /// Files, played in real time, with their sound, one after another.
    Files(FileList),
    /// A moving pattern with a running clock, and a tone.
    Test,
}

/// Which device of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// The first that works.
    Default,
    /// The one of this name: `:1`, `/dev/video2`, `hw:1`.
    Named(String),
}

/// How the screen or the picture of a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Video {
    /// The codec; none: H.264 unless no encoder for it works.
    pub codec: Option<Codec>,
    /// The box that the picture must fit; none: as the source is, up to 1920x1080 or, for a screen, 2560x1440.
    pub size: Option<Size>,
    /// Pictures per second, 1 to 120.
    pub fps: u32,
    /// The target rate; none: by the size.
    pub bitrate: Option<Bitrate>,
    /// In which tiers the pictures can be had.
    pub tiers: Tiers,
    /// The kind of picture; none: text for a screen and the demo, film for the rest.
    pub content: Option<Content>,
}

/// Which lines of stdin are said in chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// None.
    Never,
    /// A person's, at a terminal.
    OfTerminal,
    /// A script's too.
    Always,
}

impl Lines {
    fn typed(chat: bool) -> Self {
        if chat { Self::Always } else { Self::OfTerminal }
    }
}

/// `classroom watch`.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// The room to watch.
    pub room: RoomId,
    /// The student.
    pub user: UserId,
    /// The name that others see; the user id where none was typed.
    pub nickname: Nickname,
    /// The server of the flag or of `$CLASSROOM_SERVER`; none: the one on this computer, then DNS-SD.
    pub server: Option<ServerUrl>,
    /// Where the lecture goes.
    pub sink: Sink,
    /// Whose typed lines are said in chat.
    pub lines: Lines,
    /// The jitter buffer.
    pub latency: Latency,
    /// End after this time; none: run until asked to end.
    pub length: Option<Duration>,
    /// How long to wait for the server and for somebody to teach, both together; none: for ever.
    pub timeout: Option<Duration>,
    /// How long to wait for a lost lecture to come back; none: for ever.
    pub retry: Option<Duration>,
    /// What the whole run must be like.
    pub expect: Vec<Expectation>,
    /// Servers to ask for our public address.
    pub stun: Vec<StunServer>,
    /// Servers to relay through.
    pub turn: Vec<TurnServer>,
}

/// Where a lecture goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A window where there is a display, else [`Sink::Null`] with a notice.
    Auto {
        /// Whether the window fills the screen.
        fullscreen: bool,
    },
    /// A window.
    Window {
        /// Whether it fills the screen.
        fullscreen: bool,
    },
    /// Decoded and counted, not shown.
    Null,
    /// A Matroska file.
    File(PathBuf),
}

/// `classroom serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Where the server listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Servers that tell students their public address.
    pub stun: Vec<StunServer>,
    /// Servers for students to relay through.
    pub turn: Vec<TurnServer>,
}

/// `classroom completions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completions {
    /// For which shell.
    pub shell: Shell,
}

/// `classroom man`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Man {
    /// Where the pages are written.
    pub folder: PathBuf,
}

/// `classroom rooms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    /// The server of the flag or of `$CLASSROOM_SERVER`; none: the one on this computer, then DNS-SD.
    pub server: Option<ServerUrl>,
}

/// Flags that are fine alone and make no sense together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    #[error("--server joins another server and --listen runs one here: drop one of them")]
    ServerAndListen,
    #[error("{0} and {1} can't both be what is taught: drop one of them")]
    TwoSources(&'static str, &'static str),
    #[error("--loop repeats files, but no file is given: add --file PATH")]
    LoopWithoutFile,
    #[error("--still needs a picture file: add --file PATH")]
    StillWithoutFile,
    #[error("--mic asks for sound and --no-audio for none: drop one of them")]
    MicWithoutAudio,
    #[error("--pipeline encodes by itself, so {0} would do nothing: write it into the file")]
    PipelineEncodes(&'static str),
    #[error("the low tier can't have more bits than the full one: --tiers low={0} is above --bitrate {1}")]
    LowAboveFull(String, Bitrate),
    #[error("--fullscreen needs a window, but --sink is {0}: drop one of them")]
    FullscreenWithoutWindow(String),
    #[error("the built-in server tells students of --turn, but --server joins another one: start that one with --turn")]
    TurnForAnotherServer,
    #[error("{0} needs a server: add --turn turn:HOST:PORT")]
    LoginWithoutTurn(&'static str),
    #[error("{0} needs a bench with pictures and a network: add --glass or, for example, --loss 5%")]
    BenchWithoutPictures(&'static str),
    #[error("{0} needs a narrow line: add, for example, --rate 600k")]
    NoRate(&'static str),
    #[error("--rate-until is not after --rate-from: give a later time")]
    FastBeforeSlow,
    #[error("--bad needs a bad network: add, for example, --loss 5%")]
    NothingBad,
    #[error("--bad {0} is more than --students {1}: change one of them")]
    MoreBadThanStudents(usize, usize),
    #[error("--size {0} is too small for the code that this bench draws: give 640 pixels across, or more")]
    TooSmallForCodes(Size),
    #[error("--turn {0} has no name and password: write turn:USER:PASS@HOST:PORT, or add --turn-user and --turn-pass")]
    TurnWithoutLogin(String),
}

impl TryFrom<TypedDemo> for Demo {
    type Error = Conflict;
    fn try_from(typed: TypedDemo) -> Result<Self, Conflict> {
        let lecture = match typed.file {
            paths if !paths.is_empty() => DemoLecture::Files(FileList { paths, repeat: typed.looped, still: None }),
            _ if typed.looped => return Err(Conflict::LoopWithoutFile),
            _ => DemoLecture::BuiltIn,
        };
        low_below_full(typed.tiers, Some(Bitrate::default()))?;
        Ok(Demo { lecture, tiers: typed.tiers, sink: typed.sink.try_into()?, length: typed.length })
    }
}

impl TypedTeach {
    /// The meaning; `chosen` tells which flags stood on the command line, and not only in the defaults or the
    /// environment.
    pub(super) fn mean(self, chosen: &[&'static str]) -> Result<Teach, Conflict> {
        // `$CLASSROOM_SERVER` is the default of a machine, and --listen a decision of this moment.
        let is_typed = chosen.contains(&"--server");
        let server = self.server.and_then(|server| server.0).filter(|_| is_typed || self.listen.is_none());
        let signalling = match (server, self.listen) {
            (Some(_), Some(_)) => return Err(Conflict::ServerAndListen),
            (Some(url), None) => Signalling::Remote(url),
            (None, listen) => {
                let every = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_PORT);
                Signalling::Embedded { listen: listen.unwrap_or(every) }
            }
        };
        let udp_port = self.udp_port.unwrap_or(match signalling {
            Signalling::Embedded { listen } => listen.port(),
            Signalling::Remote(_) => DEFAULT_PORT,
        });
        let turn = self.turn.mean()?;
        if !turn.is_empty() && matches!(signalling, Signalling::Remote(_)) {
            return Err(Conflict::TurnForAnotherServer);
        }
        let audio = !self.sources.no_audio;
        let sources = Sources::try_from(self.sources)?;
        let encodes = chosen.iter().find(|flag| **flag != "--server");
        if let (Sources::Pipeline(_), Some(flag)) = (&sources, encodes) {
            return Err(Conflict::PipelineEncodes(flag));
        }
        let TypedEncoding { codec, size, fps, bitrate, tiers, content } = self.encoding;
        low_below_full(tiers, bitrate)?;
        Ok(Teach {
            nickname: nickname(self.nickname, &self.user),
            room: self.room,
            room_name: self.name,
            user: self.user,
            signalling,
            sources,
            audio,
            video: Video { codec, size, fps, bitrate, tiers, content },
            udp_port,
            advertise: self.advertise,
            stun: self.stun,
            turn,
            workers: self.workers,
            max_students: self.max_students,
            attendance: self.attendance,
            metrics: self.metrics,
            qr: !self.no_qr,
            length: self.length,
            end_class: self.end_class,
            lines: Lines::typed(self.chat),
            allowed: Allowed { comments: !self.no_comments, reactions: !self.no_reactions },
        })
    }
}

impl TryFrom<TypedSources> for Sources {
    type Error = Conflict;
    fn try_from(typed: TypedSources) -> Result<Self, Conflict> {
        if typed.file.is_empty() {
            if typed.looped {
                return Err(Conflict::LoopWithoutFile);
            }
            if typed.still.is_some() {
                return Err(Conflict::StillWithoutFile);
            }
        }
        if typed.mic.is_some() && typed.no_audio {
            return Err(Conflict::MicWithoutAudio);
        }
        let named = |device: Option<String>| device.map_or(Device::Default, Device::Named);
        let screen = typed.screen.map(|device| ("--screen", MainSource::Screen(named(device))));
        let files = FileList { paths: typed.file, repeat: typed.looped, still: typed.still };
        let file = (!files.paths.is_empty()).then_some(("--file", MainSource::Files(files)));
        let test = typed.test.then_some(("--test", MainSource::Test));
        let mut mains = [file, test, screen].into_iter().flatten();
        let main = mains.next();
        if let (Some((first, _)), Some((second, _))) = (&main, mains.next()) {
            return Err(Conflict::TwoSources(first, second));
        }
        if let Some(path) = typed.pipeline {
            let camera = typed.camera.map(|_| "--camera");
            let other = main.map(|(flag, _)| flag).or(camera).or(typed.mic.map(|_| "--mic"));
            return match other {
                Some(flag) => Err(Conflict::TwoSources("--pipeline", flag)),
                None if typed.no_audio => Err(Conflict::PipelineEncodes("--no-audio")),
                None => Ok(Sources::Pipeline(path)),
            };
        }
        let main = main.map(|(_, main)| main);
        let (camera, mic) = (typed.camera.map(named), typed.mic.map(named));
        Ok(match (&main, &camera, &mic) {
            (None, None, None) => Sources::Auto,
            _ => Sources::Chosen { main, camera, mic },
        })
    }
}

impl TryFrom<TypedWatch> for Watch {
    type Error = Conflict;
    fn try_from(typed: TypedWatch) -> Result<Self, Conflict> {
        Ok(Watch {
            nickname: nickname(typed.nickname, &typed.user),
            room: typed.room,
            user: typed.user,
            server: typed.server.and_then(|server| server.0),
            sink: typed.sink.try_into()?,
            lines: Lines::typed(typed.chat),
            latency: typed.latency,
            length: typed.length,
            timeout: typed.timeout,
            retry: typed.retry,
            expect: typed.expect,
            stun: typed.stun,
            turn: turn_servers(typed.turn, typed.turn_user, typed.turn_pass)?,
        })
    }
}

impl TryFrom<TypedSinkArgs> for Sink {
    type Error = Conflict;
    fn try_from(typed: TypedSinkArgs) -> Result<Self, Conflict> {
        let fullscreen = typed.fullscreen;
        match typed.sink {
            None => Ok(Sink::Auto { fullscreen }),
            Some(TypedSink::Window) => Ok(Sink::Window { fullscreen }),
            Some(TypedSink::Null) if fullscreen => Err(Conflict::FullscreenWithoutWindow("null".into())),
            Some(TypedSink::File(path)) if fullscreen => {
                Err(Conflict::FullscreenWithoutWindow(path.display().to_string()))
            }
            Some(TypedSink::Null) => Ok(Sink::Null),
            Some(TypedSink::File(path)) => Ok(Sink::File(path)),
        }
    }
}

impl TryFrom<TypedServe> for Serve {
    type Error = Conflict;
    fn try_from(typed: TypedServe) -> Result<Self, Conflict> {
        Ok(Serve { listen: typed.listen, stun: typed.stun, turn: typed.turn.mean()? })
    }
}

impl TypedToldTurn {
    fn mean(self) -> Result<Vec<TurnServer>, Conflict> {
        turn_servers(self.turn, self.turn_user, self.turn_pass)
    }
}

impl From<TypedRooms> for Rooms {
    fn from(typed: TypedRooms) -> Self {
        Rooms { server: typed.server.and_then(|server| server.0) }
    }
}

fn low_below_full(tiers: Tiers, full: Option<Bitrate>) -> Result<(), Conflict> {
    match (tiers, full) {
        (Tiers::Both(Some(low)), Some(full)) if low > full.bits_per_second() => {
            Err(Conflict::LowAboveFull(format!("{}k", low / 1000), full))
        }
        _ => Ok(()),
    }
}

fn nickname(typed: Option<String>, user: &UserId) -> Nickname {
    let typed = Nickname::from(typed.unwrap_or_default());
    if typed.as_str().is_empty() { Nickname::from(user.as_str()) } else { typed }
}

fn turn_servers(
    servers: Vec<TypedTurn>,
    user: Option<String>,
    password: Option<String>,
) -> Result<Vec<TurnServer>, Conflict> {
    if servers.is_empty() {
        let flag = user.map(|_| "--turn-user").or(password.map(|_| "--turn-pass"));
        return flag.map_or(Ok(Vec::new()), |flag| Err(Conflict::LoginWithoutTurn(flag)));
    }
    let shared = user.zip(password);
    let complete = |TypedTurn { host, port, transport, login }: TypedTurn| {
        let Some((user, password)) = login.or_else(|| shared.clone()) else {
            return Err(Conflict::TurnWithoutLogin(format!("turn:{host}:{port}")));
        };
        Ok(TurnServer { host, port, transport, user, password })
    };
    servers.into_iter().map(complete).collect()
}
