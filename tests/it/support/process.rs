//! The program as a process: its events, its messages, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Machine;

/// How long anything may take that has no limit of its own: a debug build on two busy cores.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often the exit of a child is looked at; there is no portable way to wait with a deadline.
const GLANCE: Duration = Duration::from_millis(10);

/// A running `classroom`; killed when dropped, its messages printed if the test fails.
pub struct Process {
    name: String,
    child: Child,
    said: Arc<Said>,
    readers: Vec<JoinHandle<()>>,
    started: Instant,
}

#[derive(Default)]
struct Said {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    events: Vec<Value>,
    stderr: String,
    ended: bool,
}

impl Said {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, add: impl FnOnce(&mut Lines)) {
        add(&mut self.lines());
        self.more.notify_all();
    }
}

impl Process {
    /// The program with arguments; nothing of the machine it is tested on gets in but what `prepare` adds.
    pub fn command(arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_classroom"));
        command.args(arguments);
        for variable in ["CLASSROOM_SERVER", "DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the program; `name` tells it from others in what a failed test prints.
    #[track_caller]
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = Arc::new(Said::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (events, messages) = (said.clone(), said.clone());
        let readers = vec![
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    // What is no object was not meant for scripts; tests of it read it here too.
                    let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                    events.add(|lines| lines.events.push(event));
                }
                events.add(|lines| lines.ended = true);
            }),
            std::thread::spawn(move || {
                let mut stderr = BufReader::new(stderr);
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = stderr.read(&mut piece) {
                    let text = String::from_utf8_lossy(&piece[..length]).into_owned();
                    messages.add(|lines| lines.stderr.push_str(&text));
                }
            }),
        ];
        Self { name: name.to_owned(), child, said, readers, started: Instant::now() }
    }

    /// Starts the program on a machine of a [`Lan`](super::Lan).
    #[track_caller]
    pub fn start_on(machine: &Machine, name: &str, command: &Command) -> Self {
        let mut command = machine.command(command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start(name, command)
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the events are now; [`Process::wait_since`] looks only at later ones.
    pub fn mark(&self) -> usize {
        self.said.lines().events.len()
    }

    /// Waits for an event, from the very first on.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_since(0, DEADLINE, what, is_it)
    }

    /// Waits for an event after a [`Process::mark`], no longer than `within`.
    #[track_caller]
    pub fn wait_since(&self, mark: usize, within: Duration, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + within;
        let mut lines = self.said.lines();
        let mut next = mark;
        loop {
            if let Some(found) = lines.events[next..].iter().find(|event| is_it(event)) {
                return found.clone();
            }
            next = lines.events.len();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!lines.ended, "{} ended without {what}", self.name);
            assert!(!left.is_zero(), "{} had no {what} within {within:?}", self.name);
            lines = self.said.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All events until now.
    pub fn events(&self) -> Vec<Value> {
        self.said.lines().events.clone()
    }

    /// What stands on stderr until now.
    pub fn stderr(&self) -> String {
        self.said.lines().stderr.clone()
    }

    /// Types a line, into a program that was started with a pipe for stdin.
    #[track_caller]
    pub fn types(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush()).unwrap();
    }

    /// Nothing more is typed: the end of stdin.
    pub fn hangs_up(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    /// What a service manager sends.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// The end without a word, as of a machine whose plug is pulled.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stands still for so long, as after Ctrl-Z, and goes on. The time is what a test is about, not a wait for
    /// something.
    pub fn stops_for(&self, time: Duration) {
        self.signal("-STOP");
        std::thread::sleep(time);
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success(), "kill {signal} {}", self.name);
    }

    /// Waits for the end; the exit code. Stdout and stderr are read to their ends.
    #[track_caller]
    pub fn exit_code(&mut self, within: Duration) -> i32 {
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{} did not end within {within:?}", self.name);
            std::thread::park_timeout(GLANCE);
        };
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        code_of(status).unwrap_or_else(|| panic!("{} was ended by {status}", self.name))
    }

    /// Whether it ended by itself, if it is given that long.
    pub fn ends_within(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::park_timeout(GLANCE);
        }
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for the end, which must be with this code; what stood on stderr.
    #[track_caller]
    pub fn ends_with(&mut self, code: i32) -> String {
        let actual = self.exit_code(DEADLINE);
        assert_eq!(actual, code, "exit code of {}", self.name);
        self.stderr()
    }
}

fn code_of(status: ExitStatus) -> Option<i32> {
    status.code()
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.kill();
        }
        if std::thread::panicking() {
            let lines = self.said.lines();
            println!("--- {} (pid {}, started {:?} ago)", self.name, self.child.id(), self.started.elapsed());
            for event in lines.events.iter().rev().take(20).rev() {
                println!("{event}");
            }
            println!("{}", lines.stderr);
        }
    }
}
