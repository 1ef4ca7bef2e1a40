//! What a command line means: one struct per verb. No value of these types contradicts itself.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::Shell;

use super::attendance::AttendanceFiles;
use super::ice_tcp::IceTcp;
use super::janus::{TaughtJanus, WatchedJanus};
use super::secrets::{AccessPolicy, RoomAccess, Secret};
use super::servers::{StunServer, TurnServer};
use super::stage::StageOptions;
use super::values::Bitrate;
use super::via::Engines;
use super::whip_out::WhipOut;
use crate::access::{JoinCode, SecretError};
use crate::expect::Expectation;
use crate::http::{OtlpEndpoint, Site, whip_client::WhipUrlError};
use crate::id::{Nickname, NodeId, RoomId, RoomName, UserId};
use crate::media::{self, Content, FileList, Size, Tiers};
use crate::protocol::channel::Allowed;
use crate::room::Meetings;
use crate::rtp::{Codec, Latency};
use crate::signal::ServerUrl;
use crate::store::{RedisUrl, RedisUrlError};
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
    /// The Redis server where the nodes meet.
    pub redis: RedisUrl,
    /// The file with its password.
    pub password_file: Option<PathBuf>,
    /// The name of this node; `None`: the name of the computer.
    pub name: Option<NodeId>,
    /// The URL of this node for the others; `None`: an address of this computer.
    pub url: Option<ServerUrl>,
    /// Whether this node sends the media of all lectures to its students.
    pub edge: bool,
    /// The most edges that get a lecture of a room here from the holder of its media.
    pub direct_edges: NonZeroUsize,
    /// The longest time in which this node sends its clients to the others before it ends.
    pub drain: Duration,
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

/// Flags that are valid alone and contradict each other together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    #[error("--server uses another server, but --listen runs one here: remove one of the two flags")]
    ServerAndListen,
    #[error(
        "--server uses another server, but --tls is for the one that runs here: remove --tls, and start that server \
         with it"
    )]
    TlsForAnotherServer,
    #[error("{0} is about another server: add --server wss://HOST:PORT, or remove {0}")]
    TrustWithoutServer(&'static str),
    #[error("{0} is about several servers that share their rooms: add --redis redis://HOST:6379, or remove {0}")]
    NodeWithoutRedis(&'static str),
    #[error("--edge sends media, and --no-media sends none: remove one of the two flags")]
    EdgeWithoutMedia,
    #[error("can't use --redis: {0}")]
    Redis(RedisUrlError),
    #[error("{0} needs TLS: write --server {1}, or remove {0}")]
    TrustWithoutTls(&'static str, ServerUrl),
    #[error("{0} is about speaking on the stage: add --may-speak, or remove {0}")]
    SpeakingFlagWithoutConsent(&'static str),
    #[error("--may-speak needs a camera or a microphone: remove --camera=none or --mic=none, or add --screen")]
    NothingToSpeakWith,
    #[error("--to calls somebody, and --answer waits for calls: give one of the two flags")]
    ToOrAnswer,
    #[error("--once ends after the first call that --answer takes: add --answer, or remove --once")]
    OnceWithoutAnswer,
    #[error("{0} and {1} can't be used together: remove one of the two flags")]
    TwoSources(&'static str, &'static str),
    #[error("--no-media carries no media, but {0} is about media: remove one of the two flags")]
    MediaFlagWithoutMedia(&'static str),
    #[error("--loop repeats files, but there is no file: add --file PATH")]
    LoopWithoutFile,
    #[error("--still needs a picture file: add --file PATH")]
    StillWithoutFile,
    #[error("--mic turns sound on, but --no-audio turns it off: remove one of the two flags")]
    MicWithoutAudio,
    #[error(
        "{0} has no effect on --whip-in, which gets encoded pictures: remove {0} and change the encoder's settings"
    )]
    WhipEncodes(&'static str),
    #[error("--janus sends what this computer encodes, but --whip-in gets encoded media: remove one of the two flags")]
    JanusOfWhipIn,
    #[error("--whip sends what this computer encodes, but --whip-in gets encoded media: remove one of the two flags")]
    WhipOutOfWhipIn,
    #[error("{0} is about a WHIP server: add --whip URL, or remove {0}")]
    WhipFlagWithoutServer(&'static str),
    #[error("there are {servers} --whip and {tokens} tokens for them: give a token for each, '' for none")]
    WhipTokens { servers: usize, tokens: usize },
    #[error("--whip {0}")]
    WhipUrl(WhipUrlError),
    #[error("--whip-token {0}")]
    WhipToken(WhipUrlError),
    #[error("{0} has no effect on --pipeline, which has its own encoders: remove {0} and change the pipeline file")]
    PipelineEncodes(&'static str),
    #[error(
        "the low tier needs a lower bit rate than the full tier, but --tiers low={0} is above --bitrate {1}: lower it"
    )]
    LowAboveFull(String, Bitrate),
    #[error("--fullscreen needs a window, but --sink is {0}: remove one of the two flags")]
    FullscreenWithoutWindow(String),
    #[error(
        "--turn is for the built-in server, but --server uses another server: start that server with --turn instead"
    )]
    TurnForAnotherServer,
    #[error("{0} is about a Janus server: add --janus ws://HOST:8188, or remove {0}")]
    JanusFlagWithoutJanus(&'static str),
    #[error(
        "{0} is about a classroom server, but --janus watches a room of a Janus server: remove one of the two flags"
    )]
    NotWithJanus(&'static str),
    #[error("--turn without a URL starts the TURN server in this program: give it once")]
    TwoOwnTurnServers,
    #[error("--token is for another server, but there is none: add --server URL, or remove --token")]
    TokenWithoutServer,
    #[error("{0} can't be used: {1}")]
    Secret(&'static str, SecretError),
    #[error("a token needs a key: add --auth FILE, or --private-key FILE and --key ID")]
    TokenWithoutKey,
    #[error("--private-key needs the id by which the server knows the key: add --key ID")]
    PrivateKeyWithoutId,
    #[error("--alg is for a new key: add --new-key ID, or remove --alg")]
    AlgorithmWithoutNewKey,
    #[error("--new-key needs the file to add the key to: add --auth FILE")]
    NewKeyWithoutFile,
    #[error("a key of EdDSA has a private part, which the server does not need: add --private-key FILE to write it to")]
    KeyPairWithoutFile,
    #[error("a key of HS256 has no private part: remove --private-key, or add --alg EdDSA")]
    PrivateKeyOfSecret,
    #[error("{0} is for the built-in server, but --server uses another server: start that server with {0} instead")]
    SiteOfAnotherServer(&'static str),
    #[error("{0} needs a TURN server: add --turn turn:HOST:PORT")]
    LoginWithoutTurn(&'static str),
    #[error("{0} only works with a bad network or --glass: add --glass or, for example, --loss 5%")]
    BenchWithoutPictures(&'static str),
    #[error("{0} needs a limited bit rate: add --rate, for example --rate 600k")]
    NoRate(&'static str),
    #[error("--rate-until must be later than --rate-from: give a later time")]
    FastBeforeSlow,
    #[error("--bad needs a bad network: add, for example, --loss 5%")]
    NothingBad,
    #[error("--bad is about students, whose networks are perfect with --ingest: remove --bad")]
    BadWithIngest,
    #[error("--bad {0} is more than --students {1}: change one of the two numbers")]
    MoreBadThanStudents(usize, usize),
    #[error("--size {0} is too small for the code that bench draws: give a width of 640 pixels or more")]
    TooSmallForCodes(Size),
    #[error(
        "--turn {0} has no user name and password: write turn:USER:PASS@HOST:PORT, or add --turn-user and --turn-pass \
         (for a server of your own, --turn-secret)"
    )]
    TurnWithoutLogin(String),
}
