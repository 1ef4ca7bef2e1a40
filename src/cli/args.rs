//! What was typed: the flags as clap sees them. What they mean is decided in [`super::meaning`].

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::bench::TypedBench;
use super::servers::{StunServer, TypedTurn};
use super::values::{self, Bitrate, TypedServer, TypedSink};
use crate::expect::Expectation;
use crate::id::{RoomId, RoomName, UserId};
use crate::media::{Content, Size, Tiers};
use crate::rtp::{Codec, Latency};

/// One teacher, many students, one command each.
#[derive(Debug, Parser)]
#[command(name = "classroom", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = EXAMPLES, after_long_help = examples_and_exit_codes())]
#[command(help_expected = true, subcommand_help_heading = "Verbs", subcommand_value_name = "VERB")]
pub(super) struct TypedCli {
    #[command(subcommand)]
    pub(super) verb: TypedVerb,

    /// Print events for scripts on stdout, one JSON object a line
    #[arg(long, global = true, help_heading = "Output")]
    pub(super) json: bool,

    /// Print more details
    #[arg(short, long, global = true, help_heading = "Output", overrides_with = "quiet", hide_short_help = true)]
    pub(super) verbose: bool,

    /// Print only warnings and errors
    #[arg(short, long, global = true, help_heading = "Output", overrides_with = "verbose", hide_short_help = true)]
    pub(super) quiet: bool,
}

const EXAMPLES: &str = "Examples:
  classroom demo                                a lecture taught and watched, on this machine
  classroom teach --room 10013                  teach with this machine's screen, camera and microphone
  classroom watch --room 10013 --user 1001      watch it, here or on another machine of the LAN

classroom VERB -h shows the flags that are used most, classroom VERB --help all of them.";

const EXIT_CODES: &str =
    "Exit codes: 0 ended well, 1 internal error, 2 usage, 3 nothing to capture or a missing plug-in,
4 server unreachable, 5 refused, 6 nobody taught in time, 7 media lost, 8 expectation unmet.";

fn examples_and_exit_codes() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

#[derive(Debug, Subcommand)]
pub(super) enum TypedVerb {
    /// Show a lecture taught and watched, in one command, on any machine
    #[command(after_help = "Examples:
  classroom demo                                until Ctrl-C
  classroom demo --for 10s                      ten seconds, then a summary
  classroom demo --file lecture.mp4 --loop      your own lecture")]
    Demo(TypedDemo),

    /// Teach: send the screen, the camera and the microphone to every student of a room
    #[command(after_help = "Example: classroom teach --room 10013     everything this machine has, server included
More flags and examples: classroom teach --help, or man classroom-teach")]
    #[command(after_long_help = "Examples:
  classroom teach --room 10013                  everything this machine has, server included
  classroom teach --room 10013 --screen --mic   the screen and the microphone, no camera
  classroom teach --room 10013 --file lecture.mp4 --loop
  classroom teach --room 10013 --file title.png --file part1.mp4 --file part2.mp4 --end-class
  classroom teach --room 10013 --file lecture.mp4 --camera --mic
  classroom teach --room 10013 --server ws://school.example:18080

At a terminal, typed lines go to the chat: /hands lists raised hands, /lower takes one down.
Without a source, teach sends the screen, the camera and the microphone that exist:
`classroom devices` lists them. When the lecture ends, students wait for the next one, unless
--end-class or the answer to the question at Ctrl-C ends the class.")]
    Teach(Box<TypedTeach>),

    /// Watch: show the lecture of a room, or count or record it
    #[command(after_help = "Example: classroom watch --room 10013 --user 1001
More flags and examples: classroom watch --help, or man classroom-watch")]
    #[command(after_long_help = "Examples:
  classroom watch --room 10013 --user 1001
  classroom watch --room 10013 --user 1001 --server ws://192.168.1.20:18080
  classroom watch --room 10013 --user 1001 --sink lecture.mkv
  classroom watch --room 10013 --user 1001 --sink null --for 30s --expect 'fps>=25'

At a terminal, typed lines go to the chat, and /hand raises your hand.
watch looks for the server in this order: --server, $CLASSROOM_SERVER, this computer, and the LAN,
where a server announces the room (DNS-SD). The server need not be there yet: without --timeout,
watch waits for server and teacher for ever, and reconnects by itself.")]
    Watch(TypedWatch),

    /// Run the signalling server alone
    #[command(after_help = "Examples:
  classroom serve
  classroom serve --listen 192.168.1.20:18080")]
    Serve(TypedServe),

    /// List who teaches where, and how many watch
    #[command(after_help = "Examples:
  classroom rooms
  classroom rooms --server ws://school.example:18080 --json")]
    Rooms(TypedRooms),

    /// List what can be captured here, and which encoders work
    Devices,

    /// Measure what a class costs its teacher, on this machine
    #[command(after_help = "Example: classroom bench --students 300
More flags and examples: classroom bench --help, or man classroom-bench")]
    #[command(after_long_help = "Examples:
  classroom bench                               100 students for ten seconds
  classroom bench --students 500 --bitrate 2500k --fps 30 --for 10s
  classroom bench --students 50 --json          one object, for a script that compares
  classroom bench --loss 5% --rtt 50ms          a student with a bad Wi-Fi
  classroom bench --rate 600k --rate-until 20s --for 40s
  classroom bench --burst 100%@5s+500ms         half a second of nothing
  classroom bench --students 30 --bad 5 --loss 5% --rtt 50ms --for 60s
  classroom bench --glass --latency 20          from the capture of a picture to its decoding

The students are real connections in another process of this machine. They open every packet if the
machine is fast enough; if not, they take turns, and the table says what share was opened.

The floor is what one thread takes to copy, seal and send the same packets with nothing around it: a
figure to divide by, not a lower bound. On loopback, the sender also pays for receiving. As root, or
with user namespaces, bench runs in a network namespace of its own and measures both once more while
the kernel drops media before it is received.

With a bad network or --glass a real lecture is encoded and decoded: each picture carries a code,
so that the pictures that arrive can be counted.")]
    Bench(TypedBench),

    /// Print a script that completes the flags of classroom in a shell
    #[command(after_help = "Examples:
  classroom completions bash > ~/.local/share/bash-completion/completions/classroom
  classroom completions zsh > ~/.zfunc/_classroom
  classroom completions fish > ~/.config/fish/completions/classroom.fish

The Debian package has installed them already.")]
    Completions(TypedCompletions),

    /// Write the manual pages into a folder
    #[command(after_help = "Example:
  classroom man ~/.local/share/man/man1         then: man classroom-teach")]
    Man(TypedMan),

    /// Open files and say what is in them: `teach` does that in another process, which may break down on one
    #[command(name = "inspect-files", hide = true)]
    InspectFiles(TypedFiles),

    /// The students of `bench`, which tells them on stdin what to do
    #[command(name = "bench-students", hide = true)]
    BenchStudents,
}

#[derive(Debug, Args)]
pub(super) struct TypedFiles {
    /// The files
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct TypedDemo {
    /// Teach this file instead of the built-in lecture; may be repeated, as in teach
    #[arg(long, value_name = "PATH", help_heading = "Sources")]
    pub(super) file: Vec<PathBuf>,

    /// Start again with the first file after the last one
    #[arg(long = "loop", help_heading = "Sources")]
    pub(super) looped: bool,

    /// The tiers in which the picture is offered, as in teach: full,low or full or full,low=300k
    #[arg(long, value_name = "LIST", default_value = "full,low", value_parser = values::tiers, help_heading = "Encoding", hide_short_help = true)]
    pub(super) tiers: Tiers,

    #[command(flatten)]
    pub(super) sink: TypedSinkArgs,

    /// End after this time [default: run until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub(super) length: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct TypedSinkArgs {
    /// window, null (decode and count only) or FILE.mkv [default: window where there is a display, else null]
    #[arg(long, value_name = "SINK", help_heading = "Output")]
    pub(super) sink: Option<TypedSink>,

    /// Fill the screen with the window
    #[arg(long, help_heading = "Output", hide_short_help = true)]
    pub(super) fullscreen: bool,
}

#[derive(Debug, Args)]
pub(super) struct TypedTeach {
    /// The room to teach in, for example 10013
    #[arg(long, value_name = "ID", help_heading = "Lecture")]
    pub(super) room: RoomId,

    /// What the room is called, for example 'Linear algebra'
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

    /// Keep an attendance list in this file: one row for each student, complete at any time
    #[arg(long, value_name = "FILE.csv", help_heading = "Output", hide_short_help = true)]
    pub(super) attendance: Option<PathBuf>,

    /// Print the link for students without its QR code
    #[arg(long, help_heading = "Output", hide_short_help = true)]
    pub(super) no_qr: bool,

    /// End after this time [default: until Ctrl-C or the end of the file]
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration, help_heading = "Lecture", hide_short_help = true)]
    pub(super) length: Option<Duration>,

    /// End the lecture for the students too, instead of letting them wait for the next one
    #[arg(long, help_heading = "Lecture")]
    pub(super) end_class: bool,

    /// Send the lines of stdin to the chat even if stdin is not a terminal; /help lists commands
    #[arg(long, help_heading = "Lecture", hide_short_help = true)]
    pub(super) chat: bool,

    /// Do not let chat fly over the picture; while you teach, /comments on and /comments off change this
    #[arg(long, help_heading = "Lecture", hide_short_help = true)]
    pub(super) no_comments: bool,

    /// Do not allow reactions; while you teach, /reactions on and /reactions off change this
    #[arg(long, help_heading = "Lecture", hide_short_help = true)]
    pub(super) no_reactions: bool,

    #[command(flatten)]
    pub(super) sources: TypedSources,

    #[command(flatten)]
    pub(super) encoding: TypedEncoding,

    /// Join this signalling server instead of running one
    #[arg(long, value_name = "URL", env = "CLASSROOM_SERVER", help_heading = "Network")]
    pub(super) server: Option<TypedServer>,

    /// Where the built-in signalling server listens [default: 0.0.0.0:18080]
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::listen, help_heading = "Network")]
    pub(super) listen: Option<SocketAddr>,

    /// The one UDP port for all media [default: the number of the built-in server's port, else 18080]
    #[arg(long, value_name = "PORT", help_heading = "Network", hide_short_help = true)]
    pub(super) udp_port: Option<u16>,

    /// Serve /healthz and /metrics at this address too [default: only on the port of the built-in server]
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::listen, help_heading = "Network", hide_short_help = true)]
    pub(super) metrics: Option<SocketAddr>,

    /// Number of sending threads, each for its share of the students; one carries several hundred students
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::workers, help_heading = "Network", hide_short_help = true)]
    pub(super) workers: NonZeroUsize,

    /// Also tell students this address, for a teacher behind NAT with the UDP port forwarded
    #[arg(long, value_name = "IP", help_heading = "Network", hide_short_help = true)]
    pub(super) advertise: Vec<IpAddr>,

    /// Ask this STUN server for this computer's public address; the built-in server tells students to ask it too; may
    /// be repeated
    #[arg(long, value_name = "URL", help_heading = "Network", hide_short_help = true)]
    pub(super) stun: Vec<StunServer>,

    #[command(flatten)]
    pub(super) turn: TypedToldTurn,
}

/// TURN servers that whoever joins a room is told of.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct TypedToldTurn {
    /// Tell students to relay through turn:USER:PASS@HOST:PORT, may be repeated. Anybody who joins a room can read the
    /// name and the password: use ones that open nothing else
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub(super) turn: Vec<TypedTurn>,

    /// The name for every --turn that has none in its URL
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) turn_user: Option<String>,

    /// The password that goes with --turn-user
    #[arg(long, value_name = "PASSWORD", hide_short_help = true)]
    pub(super) turn_pass: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Sources")]
pub(super) struct TypedSources {
    /// Teach the screen, for example --screen or --screen=:1
    #[arg(long, value_name = "DISPLAY", num_args = 0..=1, require_equals = true)]
    pub(super) screen: Option<Option<String>>,

    /// Teach the camera, for example --camera or --camera=/dev/video2
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true)]
    pub(super) camera: Option<Option<String>>,

    /// Teach the microphone, for example --mic or --mic=hw:1
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true)]
    pub(super) mic: Option<Option<String>>,

    /// Teach without sound
    #[arg(long, hide_short_help = true)]
    pub(super) no_audio: bool,

    /// Teach a video, picture or sound file; repeat the flag to play a list
    #[arg(long, value_name = "PATH")]
    pub(super) file: Vec<PathBuf>,

    /// Start again with the first file after the last one
    #[arg(long = "loop", hide_short_help = true)]
    pub(super) looped: bool,

    /// Show each picture file for this long [default: 10s in a list of files, else until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    pub(super) still: Option<Duration>,

    /// Teach a moving pattern with a running clock, and a tone
    #[arg(long, hide_short_help = true)]
    pub(super) test: bool,

    /// Teach your own GStreamer graph, read from this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) pipeline: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Encoding")]
pub(super) struct TypedEncoding {
    /// h264 or vp8 [default: h264 unless no encoder for it works]
    #[arg(long, value_name = "CODEC", value_parser = values::video_codec, hide_short_help = true)]
    pub(super) codec: Option<Codec>,

    /// Fit the picture into this size; native sends any size [default: whole up to 1920x1080, a screen up to 2560x1440
    /// if the encoder is fast enough]
    #[arg(long, value_name = "WxH")]
    pub(super) size: Option<Size>,

    /// Pictures per second
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120), hide_short_help = true)]
    pub(super) fps: u32,

    /// Bits per second of the screen or file picture, for example 2500k or 2.5M [default: by its size: 2500k for
    /// 1280x720, 4600k for 1920x1080, 7100k for 2560x1440]
    #[arg(long, value_name = "RATE", hide_short_help = true)]
    pub(super) bitrate: Option<Bitrate>,

    /// The tiers in which pictures are offered: full; and low, which has a quarter of the bits, 450k at most, and is
    /// encoded only while somebody's line needs it; low=300k sets its bit rate
    #[arg(long, value_name = "LIST", default_value = "full,low", value_parser = values::tiers, hide_short_help = true)]
    pub(super) tiers: Tiers,

    /// What the low tier keeps: text keeps every letter sharp, at 5 pictures a second or fewer; film keeps half of the
    /// pictures, in half the size [default: text for a screen or picture files, film for the rest]
    #[arg(long, value_name = "KIND", value_parser = values::content, hide_short_help = true)]
    pub(super) content: Option<Content>,
}

#[derive(Debug, Args)]
pub(super) struct TypedWatch {
    /// The room to watch, for example 10013
    #[arg(long, value_name = "ID", help_heading = "Lecture")]
    pub(super) room: RoomId,

    /// The student's user id, unique in the room
    #[arg(long, value_name = "ID", help_heading = "Lecture")]
    pub(super) user: UserId,

    /// The name that others see [default: the user id]
    #[arg(long, value_name = "NAME", help_heading = "Lecture")]
    pub(super) nickname: Option<String>,

    /// End after this time [default: until Ctrl-C or the window is closed]
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration, help_heading = "Lecture")]
    pub(super) length: Option<Duration>,

    /// Wait at most this long for the server (else exit with 4) and for somebody to teach (else 6), both together
    /// [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = "Lecture", hide_short_help = true)]
    pub(super) timeout: Option<Duration>,

    /// Wait at most this long for a lost lecture to come back, then exit with 7 [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = "Lecture", hide_short_help = true)]
    pub(super) retry: Option<Duration>,

    /// Check the whole run, and exit with 8 if this is unmet: fps, kbps, lost, freezes, freeze_percent,
    /// withheld_percent, width, height, first_frame_ms (from when the teacher is there), start_to_frame_ms (from the
    /// start of this program)
    #[arg(long, value_name = "'fps>=25'", help_heading = "Lecture", hide_short_help = true)]
    pub(super) expect: Vec<Expectation>,

    /// Send the lines of stdin to the chat even if stdin is not a terminal; /hand raises a hand, /help lists commands
    #[arg(long, help_heading = "Lecture", hide_short_help = true)]
    pub(super) chat: bool,

    #[command(flatten)]
    pub(super) sink: TypedSinkArgs,

    /// The jitter buffer: auto (20 to 500 ms, as the network needs), a range such as 40..200, or a fixed length such as
    /// 80
    #[arg(long, value_name = "MS", default_value = "auto", value_parser = values::latency, help_heading = "Output", hide_short_help = true)]
    pub(super) latency: Latency,

    /// The signalling server, which may start later [default: on this computer, else one on the LAN that has the room]
    #[arg(long, value_name = "URL", env = "CLASSROOM_SERVER", help_heading = "Network")]
    pub(super) server: Option<TypedServer>,

    /// Ask this STUN server for our public address, may be repeated [default: those that the signalling server names]
    #[arg(long, value_name = "URL", help_heading = "Network", hide_short_help = true)]
    pub(super) stun: Vec<StunServer>,

    /// Relay through turn:USER:PASS@HOST:PORT, may be repeated
    #[arg(long, value_name = "URL", help_heading = "Network", hide_short_help = true)]
    pub(super) turn: Vec<TypedTurn>,

    /// The name for every --turn that has none in its URL
    #[arg(long, value_name = "NAME", help_heading = "Network", hide_short_help = true)]
    pub(super) turn_user: Option<String>,

    /// The password that goes with --turn-user
    #[arg(long, value_name = "PASSWORD", help_heading = "Network", hide_short_help = true)]
    pub(super) turn_pass: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct TypedServe {
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:18080", value_parser = values::listen)]
    pub(super) listen: SocketAddr,

    /// Tell students to ask this server for their public address, may be repeated
    #[arg(long, value_name = "URL", help_heading = "Network", hide_short_help = true)]
    pub(super) stun: Vec<StunServer>,

    #[command(flatten)]
    pub(super) turn: TypedToldTurn,
}

#[derive(Debug, Args)]
pub(super) struct TypedRooms {
    /// The signalling server [default: the one on this computer, else one that announces itself on the LAN]
    #[arg(long, value_name = "URL", env = "CLASSROOM_SERVER")]
    pub(super) server: Option<TypedServer>,
}

#[derive(Debug, Args)]
pub(super) struct TypedCompletions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct TypedMan {
    /// The folder, which is created if it does not exist
    #[arg(value_name = "FOLDER")]
    pub(super) folder: PathBuf,
}
