//! The flags as clap parses them. [`super::convert`] turns them into the types of [`super::meaning`].

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::{Args, Parser, Subcommand};

use super::access::{TypedPolicy, TypedRoomAccess, TypedToken};
use super::attendance::TypedAttendance;
use super::bench::{BENCH_HELP, TypedBench};
use super::capture::{TypedDeck, TypedEncoding, TypedFiles, TypedSources};
use super::cluster::TypedCluster;
use super::conference::{CALL_EXAMPLE, CALL_HELP, MEET_EXAMPLE, MEET_HELP, TypedCall, TypedMeet};
use super::demo::TypedDemo;
use super::doctor::{DOCTOR_HELP, TypedDoctor};
use super::ice_tcp::{TypedIceTcp, TypedTraces};
use super::janus_flags::{TypedTaughtJanus, TypedWatchedJanus};
use super::manual::{CONFIG_HELP, TypedCompletions, TypedConfig, TypedMan};
use super::media::TypedServeMedia;
use super::meetings::TypedMeetingsFlag;
use super::plan::{PLAN_EXAMPLE, PLAN_HELP, TypedPlan};
use super::rooms::TypedRooms;
use super::servers::{StunServer, TypedClientRelays, TypedRelays};
use super::sink::TypedSinkArgs;
use super::site::TypedSite;
use super::speak::TypedSpeaking;
use super::stage::TypedStage;
use super::tls::{TypedCertificate, TypedTrust};
use super::token::TypedTokenVerb;
use super::values::{self, TypedServer};
use super::via::TypedVia;
use super::whip_flags::TypedWhipOut;
use crate::access::JoinCode;
use crate::expect::Expectation;
use crate::id::{RoomId, RoomName, UserId};
use crate::rtp::Latency;

/// One teacher, many students, one command each.
#[derive(Debug, Parser)]
#[command(name = "classroom", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = EXAMPLES, after_long_help = examples_and_exit_codes())]
#[command(help_expected = true, subcommand_help_heading = "Verbs", subcommand_value_name = "VERB")]
pub(super) struct TypedCli {
    #[command(subcommand)]
    pub(super) verb: TypedVerb,

    /// Print events for scripts on stdout, one JSON object per line
    #[arg(long, global = true, help_heading = "Output")]
    pub(super) json: bool,

    /// Read this configuration file, and no other [default: classroom/classroom.toml in $XDG_CONFIG_HOME and /etc/xdg]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Output", hide_short_help = true)]
    pub(super) config: Option<PathBuf>,

    /// Print more details
    #[arg(short, long, global = true, help_heading = "Output", overrides_with = "quiet", hide_short_help = true)]
    pub(super) verbose: bool,

    /// Print only warnings and errors
    #[arg(short, long, global = true, help_heading = "Output", overrides_with = "verbose", hide_short_help = true)]
    pub(super) quiet: bool,
}

const EXAMPLES: &str = "Examples:
  classroom demo                                teach and watch a sample lecture on this computer
  classroom teach --room 10013                  teach with this computer's screen and camera
  classroom watch --room 10013 --user 1001      watch, here or on another computer of the LAN
  classroom call --user 1001 --to 1002          call somebody at the same server

classroom VERB -h shows the most common flags, classroom VERB --help shows all of them.";

const EXIT_CODES: &str =
    "Exit codes: 0 ended well, 1 internal error, 2 usage, 3 nothing to capture or a missing plug-in,
4 server unreachable, 5 refused, 6 nobody taught in time, 7 media lost, 8 expectation unmet,
9 call declined, 10 busy, 11 no answer, 12 not there.";

fn examples_and_exit_codes() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

#[derive(Debug, Subcommand)]
pub(super) enum TypedVerb {
    /// Teach and watch a sample lecture on this computer
    #[command(after_help = "Examples:
  classroom demo                                run until Ctrl-C
  classroom demo --for 10s                      run for ten seconds, then print a summary
  classroom demo --file lecture.mp4 --loop      play your own file")]
    Demo(TypedDemo),

    /// Teach: send the screen, the camera and the microphone to every student of a room
    #[command(after_help = "Example: classroom teach --room 10013     (all flags: classroom teach --help)")]
    #[command(after_long_help = "Examples:
  classroom teach --room 10013                  screen, camera and microphone
  classroom teach --room 10013 --tls --code     encrypted, and students need a join code
  classroom teach --room 10013 --screen --mic   the screen and the microphone, no camera
  classroom teach --room 10013 --file lecture.mp4 --loop
  classroom teach --room 10013 --file title.png --file part1.mp4 --file part2.mp4 --end-class
  classroom teach --room 10013 --file lecture.mp4 --camera --mic
  classroom teach --room 10013 --server ws://school.example:18080

Lines that you type at the terminal go to the chat. /hands lists the raised hands, /help lists all commands.

If you name no source, teach sends the screen, the camera and the microphone of this computer; \
`classroom devices` lists them. When you stop teaching, the students wait for the next lecture. To end the class \
for them too, add --end-class, or answer y to the question after Ctrl-C.")]
    Teach(Box<TypedTeach>),

    /// Watch: show the lecture of a room, record it, or measure it
    #[command(after_help = "Example: classroom watch --room 10013 --user 1001     (all flags: classroom watch --help)")]
    #[command(after_long_help = "Examples:
  classroom watch --room 10013 --user 1001
  classroom watch --room 10013 --user 1001 --server ws://192.168.1.20:18080
  classroom watch --room 10013 --user 1001 --sink lecture.mkv
  classroom watch --room 10013 --user 1001 --sink null --for 30s --expect 'fps>=25'
  classroom watch --room 10013 --user 1001 --may-speak

Lines that you type at the terminal go to the chat. /hand raises your hand, /help lists all commands.

watch looks for the server in this order: --server, $CLASSROOM_SERVER, this computer, and then the local network, \
where servers announce their rooms (DNS-SD). You may start watch before the server and the teacher: it waits for \
them, for ever unless you set --timeout, and it reconnects by itself.")]
    Watch(TypedWatch),

    /// Call somebody, or answer calls: both see and hear each other
    #[command(after_help = CALL_EXAMPLE, after_long_help = CALL_HELP)]
    Call(Box<TypedCall>),

    /// Take part in a meeting: everybody sees and hears everybody
    #[command(after_help = MEET_EXAMPLE, after_long_help = MEET_HELP)]
    Meet(Box<TypedMeet>),

    /// Run a server: rooms to teach in from a browser, a program or `classroom teach`
    #[command(after_help = "Examples:
  classroom serve
  classroom serve --listen 192.168.1.20:18080
  classroom serve --no-media                    only `classroom teach` can teach
  classroom serve --teach-key-file FILE         teachers need the key in this file
  classroom serve --auth keys.json              everybody needs a token: classroom token -h")]
    Serve(TypedServe),

    /// Make tokens, by which a school decides who may teach and watch, and keys to sign them
    #[command(after_help = "Examples:
  classroom token --new-key school --auth keys.json
  classroom token --room 10013 --user 1001 --auth keys.json
  classroom token --room 10013 --user 9999 --role teacher --ttl 8h --auth keys.json")]
    Token(TypedTokenVerb),

    /// List the rooms of a server: who teaches, and how many students watch
    #[command(after_help = "Examples:
  classroom rooms
  classroom rooms --server ws://school.example:18080 --json")]
    Rooms(TypedRooms),

    /// List the screens, cameras and microphones of this computer, and test its encoders
    Devices,

    /// Check what a lecture needs on this computer, or why a student sees nothing
    #[command(after_help = DOCTOR_HELP)]
    Doctor(TypedDoctor),

    /// Measure what a class costs the teacher's computer
    #[command(after_help = "Example: classroom bench --students 300
More flags and examples: classroom bench --help, or man classroom-bench")]
    #[command(after_long_help = BENCH_HELP)]
    Bench(TypedBench),

    /// Plan how many machines a lecture takes
    #[command(after_help = PLAN_EXAMPLE, after_long_help = PLAN_HELP)]
    Plan(TypedPlan),

    /// Print the settings of this computer, and where they come from
    #[command(after_help = CONFIG_HELP)]
    Config(TypedConfig),

    /// Print a shell script that completes the verbs and flags of classroom
    #[command(after_help = "Examples:
  classroom completions bash > ~/.local/share/bash-completion/completions/classroom
  classroom completions zsh > ~/.zfunc/_classroom
  classroom completions fish > ~/.config/fish/completions/classroom.fish

The Debian package installs these scripts by itself.")]
    Completions(TypedCompletions),

    /// Write the manual pages into a folder
    #[command(after_help = "Example:
  classroom man ~/.local/share/man/man1         then: man classroom-teach")]
    Man(TypedMan),

    /// Inspect media files. `teach` runs this in another process, because a broken file may crash the inspection
    #[command(name = "inspect-files", hide = true)]
    InspectFiles(TypedFiles),

    /// Draw slides. `teach` runs this in another process, because a broken page may crash it or take all memory
    #[command(name = "draw-slides", hide = true)]
    DrawSlides(TypedDeck),

    /// The students of `bench`, told what to do on stdin
    #[command(name = "bench-students", hide = true)]
    BenchStudents,
}

#[derive(Debug, Args)]
pub(super) struct TypedTeach {
    /// The room to teach in, for example 10013
    #[arg(long, value_name = "ID", help_heading = "Lecture")]
    pub(super) room: RoomId,

    /// The name of the room, for example 'Linear algebra'
    #[arg(long, value_name = "TEXT", help_heading = "Lecture")]
    pub(super) name: Option<RoomName>,

    /// The teacher's user id, unique in the room
    #[arg(long, value_name = "ID", default_value = "9999", help_heading = "Lecture", hide_short_help = true)]
    pub(super) user: UserId,

    /// The name that students see [default: the user id]
    #[arg(long, value_name = "NAME", help_heading = "Lecture", hide_short_help = true)]
    pub(super) nickname: Option<String>,

    /// Admit at most this many students [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Lecture", hide_short_help = true)]
    pub(super) max_students: Option<NonZeroUsize>,

    #[command(flatten)]
    pub(super) attendance: TypedAttendance,

    /// Do not show a QR code of the link for students
    #[arg(long, help_heading = "Output", hide_short_help = true)]
    pub(super) no_qr: bool,

    /// End after this time on the air [default: until Ctrl-C or the end of the file]
    #[arg(
        long = "for", value_name = "DURATION", value_parser = values::duration, help_heading = "Lecture",
        hide_short_help = true
    )]
    pub(super) length: Option<Duration>,

    #[command(flatten)]
    pub(super) room_access: TypedRoomAccess,

    /// When you stop, end the class for the students too
    ///
    /// Without this flag they wait for the next lecture.
    #[arg(long, help_heading = "Lecture")]
    pub(super) end_class: bool,

    /// Send each line of stdin to the chat even if stdin is not a terminal; /help lists the commands
    #[arg(long, help_heading = "Lecture", hide_short_help = true)]
    pub(super) chat: bool,

    /// Do not show chat messages over the picture; during the lecture, type /comments on or /comments off
    #[arg(long, help_heading = "Lecture", hide_short_help = true)]
    pub(super) no_comments: bool,

    /// Do not allow reactions; during the lecture, type /reactions on or /reactions off
    #[arg(long, help_heading = "Lecture", hide_short_help = true)]
    pub(super) no_reactions: bool,

    #[command(flatten)]
    pub(super) stage: TypedStage,

    #[command(flatten)]
    pub(super) sources: TypedSources,

    #[command(flatten)]
    pub(super) encoding: TypedEncoding,

    /// Use this server instead of the built-in one
    #[arg(long, value_name = "URL", env = "CLASSROOM_SERVER", help_heading = "Network")]
    pub(super) server: Option<TypedServer>,

    /// The address of the built-in signalling server [default: 0.0.0.0:18080]
    #[arg(
        long, value_name = "ADDR:PORT", value_parser = values::listen, help_heading = "Network",
        hide_short_help = true
    )]
    pub(super) listen: Option<SocketAddr>,

    #[command(flatten)]
    pub(super) ice_tcp: TypedIceTcp,

    #[command(flatten)]
    pub(super) traces: TypedTraces,

    /// The UDP port for all media [default: the port number of the built-in server, or 18080]
    #[arg(long, value_name = "PORT", help_heading = "Network", hide_short_help = true)]
    pub(super) udp_port: Option<u16>,

    /// Also serve /healthz and /metrics at this address [default: only on the port of the built-in server]
    #[arg(
        long, value_name = "ADDR:PORT", value_parser = values::listen, help_heading = "Network",
        hide_short_help = true
    )]
    pub(super) metrics: Option<SocketAddr>,

    /// The number of threads that send; one thread serves several hundred students
    #[arg(
        long, value_name = "N", default_value = "1", value_parser = values::workers, help_heading = "Network",
        hide_short_help = true
    )]
    pub(super) workers: NonZeroUsize,

    /// Also tell students this IP address, if your router forwards the UDP port to this computer
    #[arg(long, value_name = "IP", help_heading = "Network", hide_short_help = true)]
    pub(super) advertise: Vec<IpAddr>,

    /// Learn this computer's public address from this STUN server; the built-in server tells students to use it too;
    /// may be repeated
    #[arg(long, value_name = "URL", help_heading = "Network", hide_short_help = true)]
    pub(super) stun: Vec<StunServer>,

    #[command(flatten)]
    pub(super) turn: TypedRelays,

    #[command(flatten)]
    pub(super) policy: TypedPolicy,

    #[command(flatten)]
    pub(super) token: TypedToken,

    #[command(flatten)]
    pub(super) site: TypedSite,

    #[command(flatten)]
    pub(super) certificate: TypedCertificate,

    #[command(flatten)]
    pub(super) trust: TypedTrust,

    #[command(flatten)]
    pub(super) whip: TypedWhipOut,

    #[command(flatten)]
    pub(super) janus: TypedTaughtJanus,

    #[command(flatten)]
    pub(super) via: TypedVia,
}

#[derive(Debug, Args)]
pub(super) struct TypedWatch {
    /// The room to watch, for example 10013
    #[arg(long, value_name = "ID", help_heading = "Lecture")]
    pub(super) room: RoomId,

    /// The student's user id, unique in the room
    #[arg(
        long,
        value_name = "ID",
        help_heading = "Lecture",
        required = false,
        required_unless_present = "janus",
        default_value_if("janus", ArgPredicate::IsPresent, "viewer")
    )]
    pub(super) user: UserId,

    /// The name that others see [default: the user id]
    #[arg(long, value_name = "NAME", help_heading = "Lecture")]
    pub(super) nickname: Option<String>,

    /// The join code that the teacher shows, if the room has one
    #[arg(long, value_name = "CODE", help_heading = "Lecture")]
    pub(super) code: Option<JoinCode>,

    #[command(flatten)]
    pub(super) token: TypedToken,

    /// End after this time [default: until Ctrl-C or the window is closed]
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration, help_heading = "Lecture")]
    pub(super) length: Option<Duration>,

    /// Wait at most this long in all: for the server (otherwise exit with 4) and for a teacher (otherwise exit with 6)
    /// [default: for ever]
    #[arg(
        long, value_name = "DURATION", value_parser = values::duration, help_heading = "Lecture",
        hide_short_help = true
    )]
    pub(super) timeout: Option<Duration>,

    /// If the lecture breaks off, wait at most this long for it to come back, then exit with 7 [default: for ever]
    #[arg(
        long, value_name = "DURATION", value_parser = values::duration, help_heading = "Lecture",
        hide_short_help = true
    )]
    pub(super) retry: Option<Duration>,

    /// Check this condition at the end, and exit with 8 if it does not hold. Metrics: fps, kbps, lost, freezes (gaps
    /// between pictures, for any reason), freeze_percent (time in them), withheld_percent (the part in which the
    /// teacher sent no picture), width, height, first_frame_ms (since the teacher arrived), start_to_frame_ms (since
    /// this program started)
    #[arg(
        long, value_name = "'fps>=25'", value_parser = values::lecture_expectation, help_heading = "Lecture",
        hide_short_help = true
    )]
    pub(super) expect: Vec<Expectation>,

    /// Send each line of stdin to the chat even if stdin is not a terminal; /help lists the commands
    #[arg(long, help_heading = "Lecture", hide_short_help = true)]
    pub(super) chat: bool,

    #[command(flatten)]
    pub(super) speaking: TypedSpeaking,

    #[command(flatten)]
    pub(super) janus: TypedWatchedJanus,

    #[command(flatten)]
    pub(super) sink: TypedSinkArgs,

    /// The length of the jitter buffer in milliseconds: auto (20 to 500, depending on the network), a range such as
    /// 40..200, or a fixed length such as 80
    #[arg(
        long, value_name = "MS", default_value = "auto", value_parser = values::latency, help_heading = "Output",
        hide_short_help = true
    )]
    pub(super) latency: Latency,

    /// The signalling server [default: on this computer, or one in the local network that has the room]
    #[arg(long, value_name = "URL", env = "CLASSROOM_SERVER", help_heading = "Network")]
    pub(super) server: Option<TypedServer>,

    /// Learn this computer's public address from this STUN server; may be repeated [default: the servers that the
    /// signalling server names]
    #[arg(long, value_name = "URL", help_heading = "Network", hide_short_help = true)]
    pub(super) stun: Vec<StunServer>,

    #[command(flatten)]
    pub(super) turn: TypedClientRelays,

    #[command(flatten)]
    pub(super) trust: TypedTrust,
}

#[derive(Debug, Args)]
pub(super) struct TypedServe {
    /// The address to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:18080", value_parser = values::listen)]
    pub(super) listen: SocketAddr,

    /// Learn this computer's public address from this STUN server, and tell students to use it too; may be repeated
    #[arg(long, value_name = "URL", help_heading = "Network", hide_short_help = true)]
    pub(super) stun: Vec<StunServer>,

    #[command(flatten)]
    pub(super) traces: TypedTraces,

    #[command(flatten)]
    pub(super) turn: TypedRelays,

    #[command(flatten)]
    pub(super) meetings: TypedMeetingsFlag,

    #[command(flatten)]
    pub(super) media: TypedServeMedia,

    #[command(flatten)]
    pub(super) cluster: TypedCluster,

    #[command(flatten)]
    pub(super) policy: TypedPolicy,

    #[command(flatten)]
    pub(super) site: TypedSite,

    #[command(flatten)]
    pub(super) certificate: TypedCertificate,

    #[command(flatten)]
    pub(super) via: TypedVia,

    /// Print the configuration of a MediaMTX server that gets lectures from this one for many more players, and end
    #[arg(long, help_heading = "Output", hide_short_help = true)]
    pub(super) print_mediamtx: bool,
}
