//! The servers of a class, and its teacher.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value as Event;

use crate::support::{Classroom, DEADLINE, Process, ROOM, RedisServer, poll};

/// A server.
pub struct Node {
    pub process: Process,
    /// `127.0.0.1:PORT`
    pub address: String,
}

impl Node {
    pub fn start(class: &Classroom, redis: &RedisServer, name: &str, more: &[&str]) -> Self {
        let url = redis.url();
        let flags = ["serve", "--listen", "127.0.0.1:0", "--udp-port", "0", "--redis", &url, "--node", name];
        let flags = [&flags[..], more].concat();
        let process = Process::start(&format!("server {name}"), class.command(&flags));
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

/// A teacher with a small moving picture and a tone, at this server.
pub fn teacher(class: &Classroom, at: &Node) -> Process {
    let server = format!("ws://{}", at.address);
    let flags = ["teach", "--room", ROOM, "--test", "--size", "320x180", "--fps", "10", "--server", &server];
    let teacher = Process::start("teacher", class.command(&[&flags[..], &["--udp-port", "0"]].concat()));
    teacher.wait_for("joined", |event| event["event"] == "joined");
    teacher
}

/// A student that decodes, whose connection goes to the first of these servers that is alive.
pub fn watch(class: &Classroom, user: &str, servers: Vec<String>) -> Process {
    let server = format!("ws://{}", balancer(servers));
    let flags = ["watch", "--room", ROOM, "--user", user, "--server", &server, "--sink", "null"];
    let student = Process::start(&format!("student {user}"), class.command(&flags));
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
