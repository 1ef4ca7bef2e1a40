//! MediaMTX, built by tests/mediamtx/build.sh.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::classroom::free_port;
use super::wait::{DEADLINE, poll};

/// A MediaMTX that runs. Dropping kills it.
pub struct MediaMtx {
    port: u16,
    child: Child,
}

impl MediaMtx {
    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// The id of the process.
    #[allow(dead_code, reason = "a bench measures it")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for MediaMtx {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The program. Without it the test is skipped by name: building it takes minutes.
pub fn program(test: &str) -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mediamtx/mediamtx");
    if program.exists() {
        return Some(program);
    }
    println!("skipped {test}: {} is missing, tests/mediamtx/build.sh makes it", program.display());
    None
}

/// Starts MediaMTX with WebRTC alone, on free ports, and waits until it listens.
#[track_caller]
pub fn start(program: &Path, directory: &Path, configuration: &str) -> MediaMtx {
    let file = directory.join("mediamtx.yml");
    std::fs::write(&file, configuration).unwrap();
    let (port, udp) = (free_port(), free_port());
    let log = std::fs::File::create(directory.join("mediamtx.log")).unwrap();
    let mut command = Command::new(program);
    command.arg(&file).stdin(Stdio::null()).stderr(Stdio::null()).stdout(log);
    command.env("MTX_WEBRTCADDRESS", format!("127.0.0.1:{port}"));
    command.env("MTX_WEBRTCLOCALUDPADDRESS", format!("127.0.0.1:{udp}"));
    for other in ["RTSP", "RTMP", "HLS", "SRT", "MOQ"] {
        command.env(format!("MTX_{other}"), "no");
    }
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let started = MediaMtx { port, child };
    let listens = poll(DEADLINE, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    assert!(listens.is_some(), "MediaMTX does not listen: {}", log_of(directory));
    started
}

fn log_of(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("mediamtx.log")).unwrap_or_default()
}
