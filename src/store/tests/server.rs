//! A redis-server of a test: on a free port, without a file. Shared with `tests/it` by its path.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running redis-server. Dropping kills it.
pub struct RedisServer {
    port: u16,
    child: Child,
}

impl RedisServer {
    /// Starts a server; none if the machine has none, which fails where `$CI` is set.
    pub fn start(test: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        match spawn(port) {
            Some(child) => Some(Self { port, child }),
            None => {
                assert!(std::env::var_os("CI").is_none(), "redis-server is missing: run bin/setup --test");
                println!("skipped {test}: redis-server is missing, bin/setup --test installs it");
                None
            }
        }
    }

    /// The URL for `--redis`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server, which forgets everything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again on the same port.
    pub fn restart(&mut self) {
        self.child = spawn(self.port).expect("redis-server was there before");
    }

    /// Runs one command, given as its words, and returns the raw answer (RESP).
    pub fn run(&self, words: &[&str]) -> String {
        command(self.port, words).expect("redis-server answers")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Starts a server and waits until it answers; none without the program.
fn spawn(port: u16) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while self::command(port, &["PING"]).is_none_or(|answer| !answer.starts_with("+PONG")) {
        assert!(Instant::now() < deadline, "redis-server does not answer on port {port}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(child)
}

/// One command of the Redis protocol. Short answers come in one piece.
fn command(port: u16, words: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let bulk: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    stream.write_all(format!("*{}\r\n{bulk}", words.len()).as_bytes()).ok()?;
    let mut answer = vec![0; 64 * 1024];
    let length = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}
