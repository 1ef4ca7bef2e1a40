//! A class: a server, teachers and students as processes of their own, on ports of their own.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lecture_file;
use super::process::{DEADLINE, Process};

/// What `--json` prints a line of.
pub type Event = Value;

/// One lecture at a time: two of them on two cores would measure each other.
static STAGE: Mutex<()> = Mutex::new(());

/// The room of every test; each has a server of its own.
pub const ROOM: &str = "10013";

/// How often `rooms` is asked while waiting for what it says.
const ASK: Duration = Duration::from_millis(100);

/// A room and what belongs to it. Everything that was started in it ends with it.
pub struct Classroom {
    port: u16,
    state: PathBuf,
    _stage: MutexGuard<'static, ()>,
}

impl Classroom {
    /// A class of its own for a test.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let state = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("class-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        Self { port: free_port(), state, _stage: stage }
    }

    /// A directory that goes away with the class.
    pub fn directory(&self) -> &std::path::Path {
        &self.state
    }

    /// What `--server` gets.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// A command of this class, with `--json`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Process::command(arguments);
        command.arg("--json").env("XDG_STATE_HOME", &self.state);
        command
    }

    /// `serve` on the port of this class, ready.
    #[track_caller]
    pub fn server(&self) -> Process {
        let listen = format!("127.0.0.1:{}", self.port);
        let server = Process::start("server", self.command(&["serve", "--listen", &listen]));
        server.wait_for("listening", |event| event["event"] == "listening");
        server
    }

    /// A teacher with its own server on the port of this class, ready.
    #[track_caller]
    pub fn teacher(&self, flags: &[&str]) -> Process {
        let listen = format!("127.0.0.1:{}", self.port);
        let teacher = Process::start("teacher", self.teach(&[&["--listen", &listen], flags].concat()));
        teacher.wait_for("listening", |event| event["event"] == "listening");
        teacher.wait_for("joined", |event| event["event"] == "joined");
        teacher
    }

    /// A teacher of the lecture file, again and again, with its own server.
    #[track_caller]
    pub fn lecturer(&self) -> Process {
        self.teacher(&["--file", lecture_file().to_str().unwrap(), "--loop"])
    }

    /// A teacher of the lecture file at the server of this class, ready.
    #[track_caller]
    pub fn guest_lecturer(&self) -> Process {
        self.guest(&[])
    }

    /// The same, who ends the class when it goes.
    #[track_caller]
    pub fn last_lecturer(&self) -> Process {
        self.guest(&["--end-class"])
    }

    #[track_caller]
    fn guest(&self, more: &[&str]) -> Process {
        let (file, url) = (lecture_file(), self.url());
        let flags = ["--file", file.to_str().unwrap(), "--loop", "--server", &url, "--udp-port", "0"];
        let teacher = Process::start("teacher", self.teach(&[&flags, more].concat()));
        teacher.wait_for("joined", |event| event["event"] == "joined");
        teacher
    }

    /// `teach` in the room of this class, not started yet.
    pub fn teach(&self, flags: &[&str]) -> Command {
        self.command(&[&["teach", "--room", ROOM], flags].concat())
    }

    /// A student who decodes and counts, started.
    #[track_caller]
    pub fn student(&self, user: u32, flags: &[&str]) -> Process {
        let flags = [&["--sink", "null"], flags].concat();
        Process::start(&format!("student {user}"), self.watch(user, &flags))
    }

    /// `watch` in the room of this class, not started yet.
    pub fn watch(&self, user: u32, flags: &[&str]) -> Command {
        let (user, url) = (user.to_string(), self.url());
        self.command(&[&["watch", "--room", ROOM, "--user", &user, "--server", &url], flags].concat())
    }

    /// What `rooms` says about the room of this class; none when it isn't listed.
    pub fn room(&self) -> Option<Value> {
        let url = self.url();
        let mut rooms = Process::start("rooms", self.command(&["rooms", "--server", &url]));
        rooms.exit_code(DEADLINE);
        rooms.events().into_iter().find(|room| room["roomId"] == ROOM)
    }

    /// Waits until `rooms` says so.
    #[track_caller]
    pub fn wait_for_room(&self, what: &str, within: Duration, is_it: impl Fn(Option<&Value>) -> bool) {
        let deadline = Instant::now() + within;
        loop {
            let room = self.room();
            if is_it(room.as_ref()) {
                return;
            }
            assert!(Instant::now() < deadline, "no room with {what} within {within:?}, it is {room:?}");
            std::thread::park_timeout(ASK);
        }
    }
}

impl Drop for Classroom {
    fn drop(&mut self) {
        // A failed test leaves its files for a look.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.state);
        }
    }
}

/// A number that is free for TCP and for UDP.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// Numbers of the screen.
pub fn is_stats(event: &Event) -> bool {
    event["event"] == "stats" && event["track"] == "screen"
}

/// Numbers that tell of a moving picture.
pub fn is_picture(event: &Event) -> bool {
    is_stats(event) && event["fps"].as_f64().is_some_and(|fps| fps > 0.0)
}

/// A student's change of state, as the teacher tells it.
pub fn user_is(user: u32, states: &[&str]) -> impl Fn(&Event) -> bool {
    let user = user.to_string();
    let states: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
    move |event| {
        event["event"] == "student"
            && event["user"] == user.as_str()
            && states.iter().any(|state| event["state"] == state.as_str())
    }
}
