//! The servers of a class, and its teacher.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value as Event;

use crate::support::{Classroom, DEADLINE, Machine, Process, ROOM, poll};

/// The key of the teachers, who may be on other machines than the server.
const KEY: (&str, &str) = ("CLASSROOM_TEACH_KEY", "teaching-key-of-the-bench");

/// A server.
pub struct Node {
    pub process: Process,
    /// `HOST:PORT`
    pub address: String,
}

impl Node {
    /// Starts `serve` with these flags, on a machine or at a free port of this one.
    pub fn start(class: &Classroom, name: &str, flags: &[&str], machine: Option<&Machine>) -> Self {
        // A machine of its own has all ports.
        let listen = machine.map_or("127.0.0.1:0".to_owned(), |machine| format!("{}:18080", machine.address()));
        let own = if machine.is_some() { &[][..] } else { &["--udp-port", "0"] };
        let command = class.command(&[&["serve", "--listen", &listen], own, flags].concat());
        let process = start(&format!("server {name}"), command, machine);
        let listening = process.wait_for("listening", |event| event["event"] == "listening");
        let address = listening["ws"].as_str().unwrap().trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
        Self { process, address }
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        let address = &self.address;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.parse().ok()
    }
}

/// Starts a command that knows the key, on a machine if one is given.
fn start(name: &str, mut command: Command, machine: Option<&Machine>) -> Process {
    command.env(KEY.0, KEY.1);
    match machine {
        Some(machine) => Process::start_on(machine, name, &command),
        None => Process::start(name, command),
    }
}

/// A teacher with a small moving picture and a tone, at this server.
pub fn teacher(class: &Classroom, at: &Node, machine: Option<&Machine>) -> Process {
    let server = format!("ws://{}", at.address);
    let flags = ["teach", "--room", ROOM, "--test", "--size", "320x180", "--fps", "10", "--server", &server];
    let teacher = start("teacher", class.command(&[&flags[..], &["--udp-port", "0"]].concat()), machine);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    teacher
}

/// A student that decodes and reads chat, whose connection goes to the first of these servers that is alive.
pub fn watch(class: &Classroom, user: &str, servers: Vec<String>, more: &[&str]) -> Process {
    let server = format!("ws://{}", balancer(servers));
    let flags = ["watch", "--room", ROOM, "--user", user, "--server", &server, "--sink", "null", "--chat"];
    let mut command = class.command(&[&flags, more].concat());
    command.stdin(Stdio::piped());
    let student = Process::start(&format!("student {user}"), command);
    student.wait_for("the lecture", is_first_frame);
    student
}

pub fn is_first_frame(event: &Event) -> bool {
    event["event"] == "first-frame"
}

/// Passes connections on to the first of these addresses at which somebody listens. Returns its own address.
fn balancer(servers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Some(server) = servers.iter().find_map(|server| TcpStream::connect(server).ok()) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

/// Waits until the condition is met, at most this long.
#[track_caller]
pub fn until(what: &str, within: Duration, condition: impl Fn() -> bool) {
    assert!(poll(within, || condition().then_some(())).is_some(), "not within {within:?}: {what}");
}
