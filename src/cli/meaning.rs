//! What a command line means: one struct per verb. No value of these types contradicts itself.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::Shell;

use super::attendance::AttendanceFiles;
use super::ice_tcp::IceTcp;
use super::janus::{TaughtJanus, WatchedJanus};
use super::lecture::LectureFile;
use super::secrets::{AccessPolicy, RoomAccess, Secret};
use super::servers::{StunServer, TurnServer};
use super::stage::StageOptions;
use super::values::Bitrate;
use super::via::Engines;
use super::whip_out::WhipOut;
use crate::access::JoinCode;
use crate::expect::Expectation;
use crate::http::{OtlpEndpoint, Site};
use crate::id::{Nickname, NodeId, RoomId, RoomName, UserId};
use crate::media::{self, Content, FileList, Size, Tiers};
use crate::protocol::channel::Allowed;
use crate::room::Meetings;
use crate::rtp::{Codec, Latency};
use crate::signal::ServerUrl;
use crate::store::RedisUrl;
use crate::tls::{CertificateSource, Fingerprint};

/// `classroom demo`: teach and watch in one process.
#[derive(Debug, Clone, PartialEq)]
pub struct Demo {
    /// The built-in lecture or files.
    pub lecture: DemoLecture,
    /// The tiers of the picture.
    pub tiers: Tiers,
    /// Where the student shows or writes the lecture.
    pub sink: Sink,
    /// End after this time; `None`: run until interrupted.
    pub length: Option<Duration>,
}

/// What `demo` teaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DemoLecture {
    /// A short lecture that the program itself draws and speaks.
    BuiltIn,
    /// Files, one after another.
    Files(FileList),
}

/// `classroom teach`.
#[derive(Debug, Clone, PartialEq)]
pub struct Teach {
    /// The room to teach in.
    pub room: RoomId,
    /// The new name of the room; `None` keeps the name it has.
    pub room_name: Option<RoomName>,
    /// The teacher's user id.
    pub user: UserId,
    /// The name that students see; by default the user id.
    pub nickname: Nickname,
    /// The signalling server to use.
    pub signalling: Signalling,
    /// The trust in another server.
    pub trust: ServerTrust,
    /// The sources to capture.
    pub sources: Sources,
    /// Whether to send the audio of the sources.
    pub audio: bool,
    /// How to encode video.
    pub video: Video,
    /// The access policy of the embedded server; the teaching key is also shown to another server.
    pub access: AccessPolicy,
    /// The access settings of the room.
    pub room_access: RoomAccess,
    /// The token to show to another server.
    pub token: Option<Secret>,
    /// The UDP port of all media; 0 lets the system choose.
    pub udp_port: u16,
    /// Whether to take another port if that one is in use. True for the default port with a server in another process,
    /// which may use the port for its own media.
    pub udp_port_may_change: bool,
    /// Additional addresses to offer as candidates (1:1 NAT).
    pub advertise: Vec<IpAddr>,
    /// Whether media also goes by TCP.
    pub ice_tcp: IceTcp,
    /// The collector of traces.
    pub otlp: Option<OtlpEndpoint>,
    /// STUN servers that tell the SFU's socket its public address.
    pub stun: Vec<StunServer>,
    /// TURN servers that the embedded server names to students.
    pub turn: Vec<TurnServer>,
    /// The address of the TURN server in this process; `None` without one.
    pub own_turn: Option<SocketAddr>,
    /// How browsers reach the built-in server.
    pub site: Site,
    /// The number of sending threads.
    pub workers: NonZeroUsize,
    /// The most students to admit; `None`: only the server's limit holds.
    pub max_students: Option<NonZeroUsize>,
    /// The files of the attendance list.
    pub attendance: AttendanceFiles,
    /// An additional address that serves `/healthz` and `/metrics`.
    pub metrics: Option<SocketAddr>,
    /// Whether to show the link for students as a QR code as well.
    pub qr: bool,
    /// End after this time; `None`: run until interrupted, or to the end of the file.
    pub length: Option<Duration>,
    /// End when no student has been there for this long; `None`: never.
    pub exit_when_empty: Option<Duration>,
    /// Whether the end of this process ends the class for the students too.
    pub end_class: bool,
    /// Which lines of stdin go to the chat.
    pub chat: ChatInput,
    /// The permissions of students at the start.
    pub allowed: Allowed,
    /// The stage of the lecture.
    pub stage: StageOptions,
    /// The WHIP servers that get the lecture as well.
    pub whip: WhipOut,
    /// The VideoRoom of a Janus server that gets the lecture as well.
    pub janus: Option<TaughtJanus>,
    /// The nodes of engines that send the media to students of the embedded server.
    pub via: Engines,
}

impl Teach {
    /// The lecture of `--lecture`.
    pub fn lecture(&self) -> Option<&LectureFile> {
        match &self.sources {
            Sources::Chosen { main: Some(MainSource::Lecture(file)), .. } => Some(file),
            _ => None,
        }
    }
}

/// A client's trust beside the root certificates of the system and the CA of this computer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerTrust {
    /// A file of CA certificates.
    pub ca: Option<PathBuf>,
    /// The only certificate to trust, of the server or of its CA.
    pub fingerprint: Option<Fingerprint>,
}

/// The signalling server that a teacher uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signalling {
    /// A server inside the teacher's own process.
    Embedded {
        /// The address to listen on; port 0 lets the system choose.
        listen: SocketAddr,
        /// The certificate, if the server speaks TLS.
        tls: Option<CertificateSource>,
    },
    /// The server at this URL.
    Remote(ServerUrl),
}

/// The sources that a teacher captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// The screen, the camera and the microphone, as far as this computer has them.
    Auto,
    /// Only these sources; at least one of the fields is set.
    Chosen {
        /// The source of the `screen` track.
        main: Option<MainSource>,
        /// The camera.
        camera: Option<Device>,
        /// The microphone; it replaces the audio of a file or of the test pattern.
        mic: Option<Device>,
    },
    /// The user's own GStreamer pipeline, which contains its own encoders.
    Pipeline(PathBuf),
    /// The media of WHIP clients, sent to this process.
    Whip,
}

/// The source of the `screen` track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainSource {
    /// A screen.
    Screen(Device),
    /// Files, played in real time one after another, with their audio.
    Files(FileList),
    /// The pages of a PDF document or a presentation.
    Slides(PathBuf),
    /// The scenes of a lecture.
    Lecture(LectureFile),
    /// A moving pattern with a running clock, and a tone.
    Test,
}

/// The choice among the devices of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// The first device that works.
    Default,
    /// The device with this name, for example `:1`, `/dev/video2` or `hw:1`.
    Named(String),
}

/// How to encode the `screen` track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Video {
    /// The codec; `None`: H.264, or VP8 if no H.264 encoder works.
    pub codec: Option<Codec>,
    /// The size that the picture must fit; `None`: the size of the source, at most 1920x1080 or, for a screen,
    /// 2560x1440.
    pub size: Option<Size>,
    /// Pictures per second, 1 to 120.
    pub fps: u32,
    /// The target bit rate; `None`: chosen by the size.
    pub bitrate: Option<Bitrate>,
    /// The tiers to offer.
    pub tiers: Tiers,
    /// The kind of content; `None`: text for a screen and the demo, otherwise film.
    pub content: Option<Content>,
}

/// Which lines of stdin go to the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatInput {
    /// No lines.
    Never,
    /// Lines that a person types at a terminal.
    Terminal,
    /// Lines of a script or a file as well.
    Always,
}

/// `classroom watch`.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// The student and its room. Its timeout also limits the wait for a teacher.
    pub member: Member,
    /// Where to show or write the lecture.
    pub sink: Sink,
    /// Which lines of stdin go to the chat.
    pub chat: ChatInput,
    /// The length of the jitter buffer.
    pub latency: Latency,
    /// End after this time; `None`: run until interrupted.
    pub length: Option<Duration>,
    /// How long to wait for a lost lecture to come back; `None`: for ever.
    pub retry: Option<Duration>,
    /// Conditions that the whole run must meet.
    pub expect: Vec<Expectation>,
    /// How to speak on the stage; `None`: invitations are declined.
    pub speaking: Option<Speaking>,
    /// The Janus server with the room; `None`: a classroom server has the room.
    pub janus: Option<WatchedJanus>,
}

/// A member that joins a room of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The room.
    pub room: RoomId,
    /// The member's user id.
    pub user: UserId,
    /// The name that others see; by default the user id.
    pub nickname: Nickname,
    /// The server of `--server` or `$CLASSROOM_SERVER`; `None`: search this computer, then the LAN (DNS-SD).
    pub server: Option<ServerUrl>,
    /// The join code of the room.
    pub code: Option<JoinCode>,
    /// The token to show to the server.
    pub token: Option<Secret>,
    /// The trust in the server.
    pub trust: ServerTrust,
    /// How long to wait for the server; `None`: for ever.
    pub timeout: Option<Duration>,
    /// STUN servers that tell this computer its public address.
    pub stun: Vec<StunServer>,
    /// TURN servers to relay through.
    pub turn: Vec<TurnServer>,
    /// Whether media takes no other path.
    pub relay_only: bool,
}

/// How a student of `watch` speaks on the stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaking {
    /// Whether the student is asked whether to accept an invitation.
    pub asks: bool,
    /// The sources of the media.
    pub sources: media::Sources,
}

/// Where `watch` and `demo` show or write a lecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A window, or [`Sink::Null`] and a notice if there is no display.
    Auto {
        /// Whether the window fills the screen.
        fullscreen: bool,
    },
    /// A window.
    Window {
        /// Whether the window fills the screen.
        fullscreen: bool,
    },
    /// Decode and count only.
    Null,
    /// A Matroska file.
    File(PathBuf),
}

/// `classroom serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The certificate, if the server speaks TLS.
    pub tls: Option<CertificateSource>,
    /// STUN servers that the server names to students, and that tell its media port its public address.
    pub stun: Vec<StunServer>,
    /// TURN servers that the server names to students.
    pub turn: Vec<TurnServer>,
    /// The address of the TURN server in this process; `None` without one.
    pub own_turn: Option<SocketAddr>,
    /// The access policy of the server.
    pub access: AccessPolicy,
    /// How browsers reach the server.
    pub site: Site,
    /// The clients that may open meeting and call rooms.
    pub meetings: Meetings,
    /// The media of rooms; `None` with `--no-media`.
    pub media: Option<ServeMedia>,
    /// The other servers with the same rooms; `None` without `--redis`.
    pub cluster: Option<Box<Cluster>>,
    /// The nodes of engines that send the media to students.
    pub via: Engines,
    /// The collector of traces.
    pub otlp: Option<OtlpEndpoint>,
    /// Whether to print the configuration of a MediaMTX edge instead of serving.
    pub print_mediamtx: bool,
}

/// A node of a server on several machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// How the nodes know each other.
    pub nodes: Nodes,
    /// The name of this node; `None`: the name of the computer.
    pub name: Option<NodeId>,
    /// The URL of this node for the others; `None`: an address of this computer.
    pub url: Option<ServerUrl>,
    /// Whether this node sends the media of all lectures to its students.
    pub edge: bool,
    /// The most edges that get a lecture of a room here from the holder of its media.
    pub direct_edges: NonZeroUsize,
    /// The longest time in which this node sends its clients to the others before it ends; none if there are no others.
    pub drain: Option<Duration>,
}

/// How the nodes of a server know each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nodes {
    /// They meet in Redis.
    Redis {
        /// The server.
        url: RedisUrl,
        /// The file with its password.
        password_file: Option<PathBuf>,
    },
    /// This node has all rooms, and the others are its edges.
    Origin {
        /// The file with the secret that edges show.
        secret_file: PathBuf,
    },
    /// This node is an edge, and an origin has all rooms.
    Edge {
        /// The origin.
        origin: ServerUrl,
        /// The fingerprint of its certificate.
        fingerprint: Option<Fingerprint>,
        /// The file with the secret for it.
        secret_file: PathBuf,
    },
}

/// The media that `classroom serve` carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeMedia {
    /// The UDP port of all rooms; 0 lets the system choose.
    pub udp_port: u16,
    /// The most rooms.
    pub max_rooms: NonZeroUsize,
    /// The most students of a room; `None`: only the server's limit holds.
    pub max_students: Option<NonZeroUsize>,
    /// The most speakers on the stage of a room; 0 without a stage.
    pub stage: usize,
    /// The number of sending threads of each room, and of each speaker.
    pub workers: NonZeroUsize,
    /// Additional addresses to offer as candidates (1:1 NAT).
    pub advertise: Vec<IpAddr>,
    /// Whether media also goes by TCP.
    pub ice_tcp: IceTcp,
}

/// `classroom completions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completions {
    /// The shell to print a script for.
    pub shell: Shell,
}

/// `classroom man`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Man {
    /// The folder for the pages.
    pub folder: PathBuf,
}

/// `classroom rooms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    /// The server of `--server` or `$CLASSROOM_SERVER`; `None`: search this computer, then the LAN (DNS-SD).
    pub server: Option<ServerUrl>,
    /// The trust in the server.
    pub trust: ServerTrust,
}
