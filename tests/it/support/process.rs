//! The program as a process: its events, its messages, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{DEADLINE, Machine, poll};

/// A running `classroom`. Dropping kills the process, and prints its output if the test fails.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    started: Instant,
}

/// What the two reader threads have read so far.
#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Default)]
struct Lines {
    events: Vec<Value>,
    stderr: String,
    ended: bool,
}

impl Output {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, add: impl FnOnce(&mut Lines)) {
        add(&mut self.lines());
        self.more.notify_all();
    }
}

impl Process {
    /// The program, or that of `$CLASSROOM_BINARY`, with arguments, without the variables of this machine that change
    /// what the program does.
    pub fn command(arguments: &[&str]) -> Command {
        let other = std::env::var_os("CLASSROOM_BINARY");
        let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_classroom").into()));
        command.args(arguments);
        for variable in [
            "CLASSROOM_JANUS_PIN",
            "CLASSROOM_JANUS_TOKEN",
            "CLASSROOM_REDIS",
            "CLASSROOM_SERVER",
            "CLASSROOM_TEACH_KEY",
            "CLASSROOM_TOKEN",
            "CLASSROOM_TURN_SECRET",
            "CLASSROOM_WHIP_TOKEN",
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "XDG_SESSION_TYPE",
        ] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the program; a failed test prints its output under `name`.
    #[track_caller]
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (events, messages) = (output.clone(), output.clone());
        let readers = vec![
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    // Without `--json` stdout is text for people, which tests read as strings.
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
        Self { name: name.to_owned(), child, output, readers, started: Instant::now() }
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

    /// The number of events so far; [`Process::wait_since`] looks only at later ones.
    pub fn mark(&self) -> usize {
        self.output.lines().events.len()
    }

    /// Waits for an event; events that have been printed already count.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_since(0, DEADLINE, what, is_it)
    }

    /// Waits at most `within` for an event after a [`Process::mark`].
    #[track_caller]
    pub fn wait_since(&self, mark: usize, within: Duration, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + within;
        let mut lines = self.output.lines();
        let mut next = mark;
        loop {
            if let Some(found) = lines.events[next..].iter().find(|event| is_it(event)) {
                return found.clone();
            }
            next = lines.events.len();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!lines.ended, "{} ended without {what}", self.name);
            assert!(!left.is_zero(), "{} had no {what} within {within:?}", self.name);
            lines = self.output.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Value> {
        self.output.lines().events.clone()
    }

    /// Stderr so far.
    pub fn stderr(&self) -> String {
        self.output.lines().stderr.clone()
    }

    /// Types a line; the program must have been started with a pipe for stdin.
    #[track_caller]
    pub fn types(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush()).unwrap();
    }

    /// Closes stdin.
    pub fn hangs_up(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    /// Sends SIGTERM, as a service manager does.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends SIGKILL: the program ends without a goodbye, as on a power cut.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops the process for this time, as Ctrl-Z does, and continues it. The time itself is what is tested, so this
    /// sleeps.
    pub fn stops_for(&self, time: Duration) {
        self.signal("-STOP");
        std::thread::sleep(time);
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success(), "kill {signal} {}", self.name);
    }

    /// Waits for the process to exit, reads stdout and stderr to their ends, and returns the exit code.
    #[track_caller]
    pub fn exit_code(&mut self, within: Duration) -> i32 {
        // There is no portable wait for a child with a deadline.
        let status = poll(within, || self.child.try_wait().unwrap());
        let status: ExitStatus = status.unwrap_or_else(|| panic!("{} did not exit within {within:?}", self.name));
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status.code().unwrap_or_else(|| panic!("{} was killed: {status}", self.name))
    }

    /// Whether the process exits by itself within this time.
    pub fn ends_within(&mut self, within: Duration) -> bool {
        poll(within, || self.child.try_wait().unwrap()).is_some()
    }

    /// Waits for the process to exit with this code, and returns its stderr.
    #[track_caller]
    pub fn ends_with(&mut self, code: i32) -> String {
        let actual = self.exit_code(DEADLINE);
        assert_eq!(actual, code, "exit code of {}", self.name);
        self.stderr()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.kill();
        }
        if std::thread::panicking() {
            let lines = self.output.lines();
            println!("--- {} (pid {}, started {:?} ago)", self.name, self.child.id(), self.started.elapsed());
            for event in lines.events.iter().rev().take(20).rev() {
                println!("{event}");
            }
            println!("{}", lines.stderr);
        }
    }
}
