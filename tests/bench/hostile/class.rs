//! A class as a school has it: the programs, each a process.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::attack::Target;
use crate::attack::publishing::FIRST_SPEAKER;
use crate::browser::Browser;
use crate::support::{DEADLINE, Process, ROOM, Site};
pub use crate::usage::{Use, used};

/// The healthy students.
pub const STUDENTS: u32 = 3;

/// The user id of the honest student on the stage.
pub const SPEAKER: u32 = FIRST_SPEAKER;

/// Seconds until encoders, jitter buffers and estimates have settled.
pub const SETTLES: Duration = Duration::from_secs(4);

/// How often the memory is read.
pub const SAMPLE: Duration = Duration::from_millis(100);

/// Where the server of a class is, and the media of its lecture.
#[derive(Debug, Clone, Copy, Default)]
pub enum Host {
    /// Both are inside of `teach`.
    #[default]
    Teach,
    /// The server is `serve` with these flags, and `teach` sends the media.
    Serve(&'static [&'static str]),
    /// The server is `serve` with these flags and carries the media of a browser. One student is on the stage.
    Media(&'static [&'static str]),
}

/// Which processes a class has, and their flags.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    pub host: Host,
    /// More flags for `teach`.
    pub teach: &'static [&'static str],
    /// More flags for each `watch`.
    pub watch: &'static [&'static str],
    /// The join code that `teach` was told.
    pub code: &'static str,
}

/// The teacher of a class.
pub enum Teacher {
    Program(Process),
    /// The thread of a browser, which has no process of its own.
    Browser {
        _browser: Browser,
    },
}

/// The running processes.
pub struct Class {
    pub server: Option<Process>,
    pub teacher: Teacher,
    pub students: Vec<Process>,
    /// The honest student on the stage.
    pub speaker: Option<Process>,
    pub target: Target,
    setup: Setup,
    state: PathBuf,
}

/// The program under attack.
pub fn command(state: &PathBuf, arguments: &[&str]) -> Command {
    let program = std::env::var("CLASSROOM_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_classroom").to_owned());
    let mut command = Command::new(program);
    command.args(arguments).arg("--json").env("XDG_STATE_HOME", state);
    for variable in ["CLASSROOM_SERVER", "CLASSROOM_TEACH_KEY", "DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A port of 127.0.0.1 that is free for TCP and UDP.
pub fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// A new folder for the state of a class.
pub fn state_folder(port: u16) -> PathBuf {
    let state = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&state).unwrap();
    state
}

impl Class {
    /// Starts the class, and waits until every healthy student has seen some seconds of the lecture.
    pub fn start(setup: Setup) -> Self {
        let port = free_port();
        let state = state_folder(port);
        let (listen, url) = (format!("127.0.0.1:{port}"), format!("ws://127.0.0.1:{port}"));
        let server = match setup.host {
            Host::Teach => None,
            Host::Serve(flags) | Host::Media(flags) => {
                let serve = [&["serve", "--listen", &listen][..], flags].concat();
                Some(Process::start("server", command(&state, &serve)))
            }
        };
        let mut listening = server.as_ref().map(|server| server.wait_for("listening", is_listening));
        let teacher = match setup.host {
            Host::Teach => Teacher::Program(teach(&state, &["--listen", &listen], setup.teach)),
            Host::Serve(_) => Teacher::Program(teach(&state, &["--server", &url, "--udp-port", "0"], setup.teach)),
            Host::Media(_) => {
                let site = Site { address: listen.clone(), room: ROOM.to_owned() };
                Teacher::Browser { _browser: Browser::start(site) }
            }
        };
        if let Teacher::Program(teacher) = &teacher {
            listening = Some(teacher.wait_for("listening", is_listening));
            teacher.wait_for("statistics", |event| event["event"] == "stats");
        }
        let media_port: u16 = listening.unwrap()["udp"].as_u64().unwrap().try_into().unwrap();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut target = Target::new(local(port), local(media_port)).unwrap();
        target.code = setup.code.into();
        let mut class = Self { server, teacher, students: Vec::new(), speaker: None, target, setup, state };
        class.students = (1..=STUDENTS).map(|n| class.watch(&format!("{}", 1000 + n), &["--chat"])).collect();
        for student in &class.students {
            student.wait_for("first frame", is_first_frame);
        }
        if matches!(setup.host, Host::Media(_)) {
            let speaker = class.watch(&SPEAKER.to_string(), &["--may-speak=yes", "--speak-test"]);
            speaker.wait_for("the stage", |event| event["event"] == "speaking" && event["state"] == "live");
            class.speaker = Some(speaker);
            for student in &class.students {
                student.wait_for("the speaker", |event| is_of_speaker(event) && event["frames"].as_u64() > Some(0));
            }
        }
        std::thread::sleep(SETTLES);
        class
    }

    /// The programs of teacher and server.
    pub fn programs(&mut self) -> impl Iterator<Item = &mut Process> {
        let teacher = match &mut self.teacher {
            Teacher::Program(teacher) => Some(teacher),
            Teacher::Browser { .. } => None,
        };
        teacher.into_iter().chain(&mut self.server)
    }

    /// The events of the teacher's program.
    pub fn events_of_teacher(&self) -> Vec<Value> {
        match &self.teacher {
            Teacher::Program(teacher) => teacher.events(),
            Teacher::Browser { .. } => panic!("a browser has no events"),
        }
    }

    /// Starts a student.
    pub fn watch(&self, user: &str, flags: &[&str]) -> Process {
        let url = format!("ws://{}", self.target.http);
        let watch = ["watch", "--room", "10013", "--user", user, "--sink", "null", "--server", &url];
        let mut watch = command(&self.state, &[&watch[..], self.setup.watch, flags].concat());
        watch.stdin(Stdio::piped());
        Process::start(&format!("student {user}"), watch)
    }

    /// The resources of teacher and server together.
    pub fn used(&mut self) -> Use {
        self.programs()
            .map(|process| used(process.pid()))
            .fold(Use::default(), |sum, one| Use { memory_kb: sum.memory_kb + one.memory_kb, cpu: sum.cpu + one.cpu })
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

fn is_listening(event: &Value) -> bool {
    event["event"] == "listening"
}

fn teach(state: &PathBuf, place: &[&str], more: &[&str]) -> Process {
    let test = ["teach", "--room", ROOM, "--test", "--size", "640x360", "--no-qr", "--chat"];
    let mut teach = command(state, &[&test[..], place, more].concat());
    teach.stdin(Stdio::piped());
    Process::start("teacher", teach)
}

/// The statistics of the honest speaker's picture.
pub fn is_of_speaker(event: &Value) -> bool {
    event["event"] == "speaker-stats"
        && event["user"].as_str() == Some(&*SPEAKER.to_string())
        && event["track"] == "camera"
}

/// The first picture of a student.
pub fn is_first_frame(event: &Value) -> bool {
    event["event"] == "first-frame" && event["track"] == "screen"
}

/// Waits until a student has its first picture; none if it does not come in time.
pub fn first_frame(student: &Process, begun: Instant, within: Duration) -> Option<Duration> {
    while begun.elapsed() < within.min(DEADLINE) {
        if student.events().iter().any(is_first_frame) {
            return Some(begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}
