//! A meeting with its server and its participants, each a process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{DEADLINE, Machine, Process, run_tool};

/// The room.
pub const ROOM: &str = "20014";

/// How long a participant may take until it sees all others: with 25 of them, 600 connections are made.
const ARRIVES_WITHIN: Duration = Duration::from_secs(120);

/// What every participant sends: a moving picture of this size and rate, and a tone.
#[derive(Debug, Clone, Copy)]
pub struct Picture {
    pub size: (u32, u32),
    pub fps: u32,
    /// Whether the picture is noise, so that the encoder uses its whole bit rate.
    pub is_noise: bool,
}

/// A small picture, for many participants on one machine.
pub const SMALL: Picture = Picture { size: (160, 90), fps: 5, is_noise: false };

/// The length of the file that a participant sends.
const FILE_SECONDS: u32 = 240;

impl Picture {
    /// The file with this picture; the first call makes it.
    fn file(self) -> PathBuf {
        let Self { size: (width, height), fps, is_noise } = self;
        let pattern = if is_noise { "snow" } else { "ball" };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = folder.join(format!("meeting-{pattern}-{width}x{height}-{fps}.mkv"));
        if file.exists() {
            return file;
        }
        let (frames, blocks) = (FILE_SECONDS * fps, FILE_SECONDS * 50);
        let half_made = folder.join(format!("meeting-{}.mkv", std::process::id()));
        let graph = format!(
            "videotestsrc pattern={pattern} num-buffers={frames} ! \
               video/x-raw,width={width},height={height},framerate={fps}/1 ! \
               x264enc speed-preset=ultrafast key-int-max={fps} bitrate=600 ! h264parse ! queue ! out. \
             audiotestsrc num-buffers={blocks} samplesperbuffer=960 volume=0.2 ! audio/x-raw,rate=48000 ! \
               opusenc ! opusparse ! queue ! out. \
             matroskamux name=out ! filesink location=\"{}\"",
            half_made.display()
        );
        run_tool(Command::new("gst-launch-1.0").arg("--quiet").args(graph.split_whitespace()));
        std::fs::rename(&half_made, &file).unwrap();
        file
    }
}

/// A participant that is a process.
pub struct Participant {
    pub user: String,
    pub process: Process,
}

/// A running meeting.
pub struct Meeting {
    pub server: Process,
    pub participants: Vec<Participant>,
    /// `HOST:PORT` of the server.
    pub address: String,
    state: PathBuf,
    file: PathBuf,
    began: Instant,
}

/// The program with `--json`.
fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Process::command(arguments);
    command.arg("--json").env("XDG_STATE_HOME", state);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts a command, on a machine if one is given.
fn start(name: &str, machine: Option<&Machine>, command: Command) -> Process {
    match machine {
        Some(machine) => Process::start_on(machine, name, &command),
        None => Process::start(name, command),
    }
}

impl Meeting {
    /// Starts the server, on a machine or at a free port of this one. Nobody takes part yet.
    pub fn new(picture: Picture, machine: Option<&Machine>) -> Self {
        let host = machine.map_or("127.0.0.1", Machine::address);
        // A machine of its own has all ports.
        let port = if machine.is_some() { 18_080 } else { crate::support::free_port() };
        let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("meeting-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        let (address, file) = (format!("{host}:{port}"), picture.file());
        let serve = command(&state, &["serve", "--listen", &address, "--meetings", "anyone"]);
        let server = start("server", machine, serve);
        server.wait_for("listening", |event| event["event"] == "listening");
        Self { server, participants: Vec::new(), address, state, file, began: Instant::now() }
    }

    /// The folder of the meeting's files, which is removed with the meeting.
    pub fn folder(&self) -> &Path {
        &self.state
    }

    /// The time since the server listens.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// One more participant enters, with this sink. It may not have a connection yet.
    pub fn enter(&mut self, sink: &str, machine: Option<&Machine>) {
        let user = format!("{}", 1001 + self.participants.len());
        let (url, file) = (format!("ws://{}", self.address), self.file.to_str().unwrap());
        let meet = ["meet", "--room", ROOM, "--user", &user, "--server", &url, "--speak-file", file, "--sink", sink];
        let process = start(&format!("participant {user}"), machine, command(&self.state, &meet));
        process.wait_for("a room", |event| event["event"] == "joined");
        self.participants.push(Participant { user, process });
    }

    /// Waits until each process sees all other ones.
    pub fn all_see_all(&self) {
        self.see_all(self.participants.len());
    }

    /// The same for the first ones.
    pub fn see_all(&self, first: usize) {
        for Participant { user, process } in self.participants.iter().take(first) {
            for other in self.participants.iter().map(|other| &other.user).filter(|other| *other != user) {
                let is_seen = |event: &Value| {
                    event["event"] == "participant-stats"
                        && event["user"] == other.as_str()
                        && event["track"] != "audio"
                        && event["frames"].as_u64() > Some(0)
                };
                process.wait_since(0, ARRIVES_WITHIN, &format!("picture of {other}"), is_seen);
            }
        }
    }

    /// Ends all participants, which completes their recordings.
    pub fn end(&mut self) {
        for one in &self.participants {
            one.process.interrupt();
        }
        for one in &mut self.participants {
            let _ = one.process.exit_code(DEADLINE);
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}
