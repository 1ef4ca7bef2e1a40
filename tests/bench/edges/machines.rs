//! The machines of a hall, each a network namespace, and the servers of others that run there: Redis, Janus, coturn.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{DEADLINE, Lan, Machine, poll};

/// The secret of the TURN servers.
pub const TURN_SECRET: &str = "north-south-east-west";

/// The machines of servers and of the teacher. The students are on one more.
pub struct Machines {
    pub nodes: [Machine; 4],
    pub redis: Machine,
    pub teacher: Machine,
    /// A server that sends its lectures over two nodes of Janus.
    pub via: Machine,
    pub januses: [Machine; 2],
    pub turns: [Machine; 2],
}

impl Machines {
    pub fn new(lan: &mut Lan) -> Self {
        let mut machine = || lan.machine();
        Self {
            nodes: [machine(), machine(), machine(), machine()],
            redis: machine(),
            teacher: machine(),
            via: machine(),
            januses: [machine(), machine()],
            turns: [machine(), machine()],
        }
    }
}

/// A server that is not ours. Dropping kills it.
pub struct Foreign {
    /// `HOST:PORT`
    pub address: String,
    command: Command,
    child: Child,
}

impl Foreign {
    /// Starts a command on a machine, and waits until it listens on this port.
    fn start(machine: &Machine, port: u16, command: &Command) -> Self {
        let mut command = machine.command(command);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let address = format!("{}:{port}", machine.address());
        let child = spawn(&mut command, &address);
        Self { address, command, child }
    }

    /// A Redis without a file.
    pub fn redis(machine: &Machine) -> Self {
        let mut command = Command::new("redis-server");
        command.args(["--bind", machine.address(), "--protected-mode", "no", "--save", "", "--appendonly", "no"]);
        Self::start(machine, 6379, &command)
    }

    /// A Janus, started as docs/deploy does.
    pub fn janus(machine: &Machine, folder: &Path) -> Self {
        let mut command = Command::new("sh");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy/janus/start-janus"));
        command.env("ADDRESS", machine.address()).env("JANUS_FOLDER", folder.join(machine.address()));
        Self::start(machine, 8188, &command)
    }

    /// A coturn.
    pub fn turn(machine: &Machine, folder: &Path) -> Self {
        let file = |name: &str| folder.join(format!("{}-{name}", machine.address())).display().to_string();
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--use-auth-secret", &format!("--static-auth-secret={TURN_SECRET}"), "--realm=hall"])
            .args([format!("--listening-ip={}", machine.address()), format!("--relay-ip={}", machine.address())])
            .args(["--no-cli", "--no-tls", "--no-dtls", "--no-rfc5780", "--relay-threads=1", "--no-stdout-log"])
            .args([format!("--userdb={}", file("turndb")), format!("--pidfile={}", file("turn.pid"))])
            .arg(format!("--log-file={}", file("turn.log")))
            .current_dir(folder);
        Self::start(machine, 3478, &command)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again, without what it knew.
    pub fn restart(&mut self) {
        self.child = spawn(&mut self.command, &self.address);
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn spawn(command: &mut Command, address: &str) -> Child {
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(poll(DEADLINE, || TcpStream::connect(address).ok()).is_some(), "{command:?} does not listen");
    child
}
