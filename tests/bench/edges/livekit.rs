//! LiveKit, built by tests/livekit/build.sh.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{DEADLINE, free_port, poll};

/// The API key.
const KEY: &str = "bench: secret-of-the-bench-with-32-characters";

/// A LiveKit that runs. Dropping kills it.
pub struct LiveKit {
    port: u16,
    child: Child,
}

impl LiveKit {
    /// Starts LiveKit on free ports, and waits until it listens; none if the program is missing.
    pub fn start(directory: &Path) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/livekit/livekit-server");
        if !program.exists() {
            println!("skipped LiveKit: {} is missing, tests/livekit/build.sh makes it", program.display());
            return None;
        }
        let [port, udp, tcp] = [(); 3].map(|()| free_port());
        let rtc = format!("udp_port: {udp}, tcp_port: {tcp}, node_ip: 127.0.0.1, enable_loopback_candidate: true");
        let config = format!("port: {port}\nbind_addresses: [127.0.0.1]\nkeys: {{ {KEY} }}\nrtc: {{ {rtc} }}\n");
        let log = std::fs::File::create(directory.join("livekit.log")).unwrap();
        let mut command = Command::new(program);
        command.args(["--config-body", &config]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let livekit = Self { port, child };
        assert!(poll(DEADLINE, || TcpStream::connect(("127.0.0.1", port)).ok()).is_some(), "LiveKit does not listen");
        Some(livekit)
    }

    /// The URL for `--via`.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    pub fn key(&self) -> &'static str {
        KEY
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for LiveKit {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
