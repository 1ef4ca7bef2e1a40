//! A class as a school has it: the programs, each a process.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::attack::Target;
use crate::support::{DEADLINE, Process};

/// The healthy students.
pub const STUDENTS: u32 = 3;

/// Seconds until encoders, jitter buffers and estimates have settled.
pub const SETTLES: Duration = Duration::from_secs(4);

/// How often the memory is read.
pub const SAMPLE: Duration = Duration::from_millis(100);

/// The clock of `/proc/PID/stat`: USER_HZ is 100 on every Linux that Rust has.
const TICKS_PER_SECOND: f64 = 100.0;

/// Which processes a class has, and their flags.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// The server is `classroom serve` with these flags, instead of the one inside of `teach`.
    pub serve: Option<&'static [&'static str]>,
    /// More flags for `teach`.
    pub teach: &'static [&'static str],
    /// More flags for each `watch`.
    pub watch: &'static [&'static str],
    /// The join code that `teach` was told.
    pub code: &'static str,
}

/// The running processes.
pub struct Class {
    pub server: Option<Process>,
    pub teacher: Process,
    pub students: Vec<Process>,
    pub target: Target,
    setup: Setup,
    state: PathBuf,
}

/// The resources that a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Use {
    /// Resident memory in kB.
    pub memory_kb: u64,
    /// CPU time in seconds.
    pub cpu: f64,
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
        let server = setup.serve.map(|flags| {
            let server =
                Process::start("server", command(&state, &[&["serve", "--listen", &listen][..], flags].concat()));
            server.wait_for("listening", |event| event["event"] == "listening");
            server
        });
        let test = ["teach", "--room", "10013", "--test", "--size", "640x360", "--no-qr", "--chat"];
        let place: &[&str] =
            if setup.serve.is_some() { &["--server", &url, "--udp-port", "0"] } else { &["--listen", &listen] };
        let mut teach = command(&state, &[&test[..], place, setup.teach].concat());
        teach.stdin(Stdio::piped());
        let teacher = Process::start("teacher", teach);
        let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
        teacher.wait_for("statistics", |event| event["event"] == "stats");
        let media_port: u16 = listening["udp"].as_u64().unwrap().try_into().unwrap();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut target = Target::new(local(port), local(media_port)).unwrap();
        target.code = setup.code.into();
        let mut class = Self { server, teacher, students: Vec::new(), target, setup, state };
        class.students = (1..=STUDENTS).map(|n| class.watch(&format!("{}", 1000 + n), &["--chat"])).collect();
        for student in &class.students {
            student.wait_for("first frame", is_first_frame);
        }
        std::thread::sleep(SETTLES);
        class
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
    pub fn used(&self) -> Use {
        let processes = std::iter::once(&self.teacher).chain(&self.server);
        processes
            .map(|process| used(process.pid()))
            .fold(Use::default(), |sum, one| Use { memory_kb: sum.memory_kb + one.memory_kb, cpu: sum.cpu + one.cpu })
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// The resources that a process has used; nothing once it has ended.
pub fn used(pid: u32) -> Use {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory_kb = memory.and_then(|rest| rest.trim().split(' ').next()?.parse().ok()).unwrap_or_default();
    // The name of the program may contain spaces, so the fields are counted from its end.
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    Use { memory_kb, cpu: (ticks(11) + ticks(12)) / TICKS_PER_SECOND }
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
