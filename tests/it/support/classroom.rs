//! A room under test: a server, teachers and students, each a process, on free ports.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::lecture_file;
use super::process::Process;
use super::wait::{DEADLINE, poll};

/// One line of `--json`.
pub type Event = Value;

/// How many turns are taken.
static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

/// Turns for each core. A lecture mostly waits, so a core has time for some of them.
const TURNS_OF_A_CORE: usize = 3;

/// What a test does with the machine.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// A lecture without a browser.
    Lecture,
    /// A lecture with a browser, which is half of the work of a core.
    Browser,
    /// An attack, which is tried again if the lecture suffers. Three may run at the same time.
    Attacked,
    /// A lecture whose quality is measured. Little may run beside it: two lectures, or a browser.
    Measured,
    /// A browser's quality is measured. One lecture without a browser may run beside it.
    MeasuredBrowser,
}

/// The right to run a lecture.
struct Turn {
    takes: usize,
}

impl Turn {
    fn wait(work: Work) -> Self {
        let all = TURNS_OF_A_CORE * std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let takes = match work {
            Work::Lecture => 1,
            Work::Browser => 2,
            Work::Attacked => all / 3,
            Work::Measured => all - 2,
            Work::MeasuredBrowser => all - 1,
        };
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let has_no_room = |taken: &mut usize| *taken + takes > all;
        *GIVEN_BACK.wait_while(taken, has_no_room).unwrap_or_else(PoisonError::into_inner) += takes;
        Self { takes }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.takes;
        GIVEN_BACK.notify_all();
    }
}

/// The room of every test; each test has a server of its own.
pub const ROOM: &str = "10013";

/// The way to a room: the address of its server, and its id.
#[derive(Debug, Clone)]
pub struct Site {
    pub address: String,
    pub room: String,
}

impl From<&Classroom> for Site {
    fn from(class: &Classroom) -> Self {
        Self { address: class.url().replace("ws://", ""), room: ROOM.to_owned() }
    }
}

/// A room, its port and its files. Dropping removes the files unless the test failed.
pub struct Classroom {
    port: u16,
    state: PathBuf,
    _turn: Turn,
}

impl Classroom {
    /// A room that no other test uses.
    pub fn new() -> Self {
        Self::in_turn(Turn::wait(Work::Lecture))
    }

    /// As [`Classroom::new`], for a test with a browser.
    pub fn with_browser() -> Self {
        Self::in_turn(Turn::wait(Work::Browser))
    }

    /// A room whose lecture nothing disturbs, for a test that measures what students see.
    pub fn undisturbed() -> Self {
        Self::in_turn(Turn::wait(Work::Measured))
    }

    /// As [`Classroom::undisturbed`], for a test that measures what a browser shows.
    pub fn undisturbed_with_browser() -> Self {
        Self::in_turn(Turn::wait(Work::MeasuredBrowser))
    }

    /// A room that is attacked.
    pub fn attacked() -> Self {
        Self::in_turn(Turn::wait(Work::Attacked))
    }

    fn in_turn(turn: Turn) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let state = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("class-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        Self { port: free_port(), state, _turn: turn }
    }

    /// A directory that is removed with the class.
    pub fn directory(&self) -> &std::path::Path {
        &self.state
    }

    /// The port of the server of this class.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL for `--server`.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The program with `--json` and the state directory of this class.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Process::command(arguments);
        // Nothing of the developer's own settings.
        command.arg("--json").env("XDG_STATE_HOME", &self.state).env("CLASSROOM_CONFIG", "");
        command
    }

    /// Starts `serve` on the port of this class and waits until it listens.
    #[track_caller]
    pub fn server(&self) -> Process {
        let listen = format!("127.0.0.1:{}", self.port);
        let server = Process::start("server", self.command(&["serve", "--listen", &listen]));
        server.wait_for("listening", |event| event["event"] == "listening");
        server
    }

    /// Starts a teacher with a server of its own on the port of this class, and waits until it has joined.
    #[track_caller]
    pub fn teacher(&self, flags: &[&str]) -> Process {
        let listen = format!("127.0.0.1:{}", self.port);
        let teacher = Process::start("teacher", self.teach(&[&["--listen", &listen], flags].concat()));
        teacher.wait_for("listening", |event| event["event"] == "listening");
        teacher.wait_for("joined", |event| event["event"] == "joined");
        teacher
    }

    /// Starts a teacher with a server of its own, who plays the lecture file in a loop.
    #[track_caller]
    pub fn lecturer(&self) -> Process {
        self.teacher(&["--file", lecture_file().to_str().unwrap(), "--loop"])
    }

    /// Starts a teacher at the server of this class, who plays the lecture file in a loop.
    #[track_caller]
    pub fn guest_lecturer(&self) -> Process {
        self.guest(&[])
    }

    /// As [`Classroom::guest_lecturer`], and with `--end-class`.
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

    /// `teach` for the room of this class, not started.
    pub fn teach(&self, flags: &[&str]) -> Command {
        self.command(&[&["teach", "--room", ROOM], flags].concat())
    }

    /// Starts a student that decodes the lecture and shows nothing.
    #[track_caller]
    pub fn student(&self, user: u32, flags: &[&str]) -> Process {
        let flags = [&["--sink", "null"], flags].concat();
        Process::start(&format!("student {user}"), self.watch(user, &flags))
    }

    /// `watch` for the room of this class, not started.
    pub fn watch(&self, user: u32, flags: &[&str]) -> Command {
        let (user, url) = (user.to_string(), self.url());
        self.command(&[&["watch", "--room", ROOM, "--user", &user, "--server", &url], flags].concat())
    }

    /// The line of `rooms` about the room of this class, if the room is listed.
    pub fn room(&self) -> Option<Value> {
        let url = self.url();
        let mut rooms = Process::start("rooms", self.command(&["rooms", "--server", &url]));
        rooms.exit_code(DEADLINE);
        rooms.events().into_iter().find(|room| room["roomId"] == ROOM)
    }

    /// Runs `rooms` until its line about the room of this class is the expected one.
    #[track_caller]
    pub fn wait_for_room(&self, what: &str, within: Duration, is_it: impl Fn(Option<&Value>) -> bool) {
        let found = poll(within, || Some(self.room()).filter(|room| is_it(room.as_ref())));
        assert!(found.is_some(), "no room with {what} within {within:?}: {:?}", self.room());
    }
}

impl Drop for Classroom {
    fn drop(&mut self) {
        // The files of a failed test stay for inspection.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.state);
        }
    }
}

/// A port that is free for TCP and for UDP.
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// Statistics of the screen.
pub fn is_stats(event: &Event) -> bool {
    event["event"] == "stats" && event["track"] == "screen"
}

/// Statistics of a screen whose picture moves.
pub fn is_picture(event: &Event) -> bool {
    is_stats(event) && event["fps"].as_f64().is_some_and(|fps| fps > 0.0)
}

/// The teacher's event that a student is in one of these states.
pub fn user_is(user: u32, states: &[&str]) -> impl Fn(&Event) -> bool {
    let user = user.to_string();
    let states: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
    move |event| {
        event["event"] == "student"
            && event["user"] == user.as_str()
            && states.iter().any(|state| event["state"] == state.as_str())
    }
}
