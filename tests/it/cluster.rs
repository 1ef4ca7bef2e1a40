//! One school on three servers that meet in Redis, as real programs: everybody is in one room, and whatever dies, the
//! lecture goes on.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use classroom::id::UserId;
use classroom::protocol::{ClientMessage, Credentials, ServerMessage};
use classroom::signal::{Client, ClientConfig, SignalEvent};
use classroom::tls::Trust;
use serde_json::{Value as Event, json};
use tokio::sync::mpsc;

use crate::support::{Classroom, DEADLINE, Process, ROOM, RedisServer, is_picture, poll};

pub struct Node {
    pub process: Process,
    /// `127.0.0.1:PORT`
    pub address: String,
}

impl Node {
    fn start(class: &Classroom, redis: &RedisServer, name: &str) -> Self {
        Self::start_with(class, redis, name, &[])
    }

    /// The same with more flags.
    pub fn start_with(class: &Classroom, redis: &RedisServer, name: &str, more: &[&str]) -> Self {
        let url = redis.url();
        Self::serve(class, &format!("node {name}"), &[&["--redis", &url, "--node", name], more].concat())
    }

    /// Starts `serve` with these flags on free ports.
    pub fn serve(class: &Classroom, name: &str, more: &[&str]) -> Self {
        let flags = ["serve", "--listen", "127.0.0.1:0", "--udp-port", "0"];
        Self::listens(Process::start(name, class.command(&[&flags, more].concat())))
    }

    /// Starts `teach` with the built-in server on free ports.
    pub fn teach(class: &Classroom, more: &[&str]) -> Self {
        let flags = ["teach", "--room", ROOM, "--test", "--size", "320x180", "--listen", "127.0.0.1:0", "--end-class"];
        Self::listens(Process::start("teacher", class.command(&[&flags, more].concat())))
    }

    fn listens(process: Process) -> Self {
        let listening = process.wait_for("listening", |event| event["event"] == "listening");
        let url = listening["ws"].as_str().unwrap();
        let address = url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
        Self { process, address }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = curl(&self.address, "/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.parse().ok()
    }

    /// The room in the list of this node.
    fn room(&self) -> Option<Event> {
        let rooms: Vec<Event> = serde_json::from_str(&curl(&self.address, "/api/rooms")?).ok()?;
        rooms.into_iter().find(|room| room["roomId"] == ROOM)
    }

    pub fn student(&self, class: &Classroom, user: &str) -> Process {
        self.student_with(class, user, &[])
    }

    /// A student with more flags.
    pub fn student_with(&self, class: &Classroom, user: &str, more: &[&str]) -> Process {
        let server = self.url();
        let flags = ["watch", "--room", ROOM, "--user", user, "--server", &server, "--sink", "null", "--chat"];
        let flags = [&flags[..], more].concat();
        Process::start(&format!("student {user}"), typing(class.command(&flags)))
    }

    fn teacher(&self, class: &Classroom) -> Process {
        self.teacher_with(class, &["--no-audio"])
    }

    /// A teacher with more flags.
    pub fn teacher_with(&self, class: &Classroom, more: &[&str]) -> Process {
        let server = self.url();
        let flags = ["teach", "--room", ROOM, "--test", "--size", "320x180", "--chat"];
        let flags = [&flags[..], more].concat();
        let flags = [&flags[..], &["--server", &server, "--udp-port", "0", "--end-class"]].concat();
        let teacher = Process::start("teacher", typing(class.command(&flags)));
        teacher.wait_for("joined", |event| event["event"] == "joined");
        teacher
    }
}

fn typing(mut command: Command) -> Command {
    command.stdin(Stdio::piped());
    command
}

/// The body of a page, if somebody answers.
pub fn curl(address: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.to_owned())
}

/// The answer to an encoder that wants to publish in the room.
fn whip(node: &Node) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(&node.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (address, length) = (&node.address, "Content-Type: application/sdp\r\nContent-Length: 5");
    write!(stream, "POST /whip/{ROOM} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}\r\n\r\nv=0\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    assert!(poll(DEADLINE, || condition().then_some(())).is_some(), "not within {DEADLINE:?}: {what}");
}

pub fn is_first_frame(event: &Event) -> bool {
    event["event"] == "first-frame"
}

pub fn says<'a>(user: &'a str, text: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "chat" && event["user"] == user && event["text"] == text
}

/// Whether the process has told people something with these words.
fn has_told(process: &Process, words: &str) -> bool {
    process.events().iter().any(|event| event["message"].as_str().is_some_and(|message| message.contains(words)))
}

/// The text of the hash that other programs read.
fn members(redis: &RedisServer) -> String {
    redis.run(&["HGETALL", &format!("meeting-room::{ROOM}")])
}

/// Nobody was disconnected, and every picture since the mark came in time.
#[track_caller]
fn nothing_happened_to(student: &Process, mark: usize) {
    assert!(!has_told(student, "lost the signalling server"));
    student.wait_since(mark, DEADLINE, "picture", is_picture);
    assert_eq!(student.events().iter().filter(|event| is_first_frame(event)).count(), 1, "one connection for media");
}

#[test]
fn three_servers_are_one_school_and_no_death_stops_the_lecture() {
    let Some(mut redis) = RedisServer::start("three_servers_are_one_school_and_no_death_stops_the_lecture") else {
        return;
    };
    let class = Classroom::new();
    let [mut a, b, c] = ["a", "b", "c"].map(|name| Node::start(&class, &redis, name));
    // The first one who comes makes node a the owner.
    let early = a.student(&class, "1000");
    early.wait_for("joined", |event| event["event"] == "joined");
    let teacher = b.teacher(&class);
    let mut one = b.student(&class, "1001");
    let mut two = c.student(&class, "1002");
    for student in [&early, &one, &two] {
        student.wait_for("picture", is_first_frame);
    }
    for node in [&a, &b, &c] {
        until("everybody in each list", || node.room().is_some_and(|room| room["watching"] == 3));
    }
    until("everybody for other programs", || {
        let members = members(&redis);
        ["1000", "1001", "1002", "9999"].iter().all(|user| members.contains(&format!(r#"{{"userId":"{user}""#)))
    });
    assert_eq!(a.metric("classroom_node_rooms"), Some(1.0));
    assert_eq!((c.metric("classroom_nodes"), c.metric("classroom_node_degraded")), (Some(3.0), Some(0.0)));

    // Chat and hands.
    let heard = poll(DEADLINE, || {
        one.types("hello from b");
        two.events().into_iter().any(|event| says("1001", "hello from b")(&event)).then_some(())
    });
    heard.expect("the words of a student of another node");
    two.types("/hand");
    teacher.wait_for("a hand", |event| event["event"] == "hand" && event["hands"] == json!(["1002"]));

    // The owner dies.
    let marks = [one.mark(), two.mark()];
    a.process.kill();
    let late = c.student(&class, "1003");
    late.wait_for("joined", |event| event["event"] == "joined");
    late.wait_for("picture", is_first_frame);
    for (student, mark) in [&one, &two].into_iter().zip(marks) {
        nothing_happened_to(student, mark);
    }
    for node in [&b, &c] {
        until("a list without the students of the dead node", || {
            node.room().is_some_and(|room| room["watching"] == 3 && room["state"] == "live")
        });
    }
    until("a hash without them", || {
        let members = members(&redis);
        members.contains(r#"{"userId":"1003""#) && !members.contains(r#"{"userId":"1000""#)
    });
    one.types("still here");
    two.wait_for("chat", says("1001", "still here"));

    // Redis dies, and comes back without its memory.
    redis.kill();
    for node in [&b, &c] {
        until("degraded", || node.metric("classroom_node_degraded") == Some(1.0));
        assert!(has_told(&node.process, "degraded: can't reach Redis"));
    }
    let during = c.student(&class, "1004");
    during.wait_for("picture", is_first_frame);
    redis.restart();
    for node in [&b, &c] {
        until("not degraded", || node.metric("classroom_node_degraded") == Some(0.0));
    }
    until("everybody for other programs", || {
        let members = members(&redis);
        ["1001", "1002", "1003", "1004", "9999"].iter().all(|user| members.contains(&format!(r#""userId":"{user}""#)))
    });
    for (student, mark) in [&one, &two].into_iter().zip(marks) {
        nothing_happened_to(student, mark);
    }

    // An encoder is sent to the owner of the room. Node a was that, and now it is b or c.
    let (asked, owner) = if b.metric("classroom_node_rooms") == Some(1.0) { (&c, &b) } else { (&b, &c) };
    let (answer, location) = (whip(asked), format!("location: http://{}/whip/{ROOM}\r\n", owner.address));
    assert!(answer.starts_with("HTTP/1.1 307 ") && answer.to_lowercase().contains(&location), "{answer}");

    // A server that is stopped hands its rooms over, and is not ready from the beginning.
    let mut b = b;
    b.process.terminate();
    b.process.wait_for("the drain", |event| {
        event["message"].as_str().is_some_and(|text| text.contains("move to the others"))
    });
    let ready = curl(&b.address, "/readyz");
    assert!(matches!(ready.as_deref(), None | Some("the server is ending\n")), "{ready:?}");
    b.process.ends_with(0);
    until("node c owns the room", || c.metric("classroom_node_rooms") == Some(1.0));
    nothing_happened_to(&two, marks[1]);
    nothing_happened_to(&late, 0);
    let back = c.process.events().iter().filter(|event| event["message"] == "Redis answers again").count();
    assert_eq!(back, 1);
}

#[test]
fn a_redis_that_is_not_there_is_named_without_its_password() {
    let class = Classroom::new();
    let mut command = class.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("CLASSROOM_REDIS", "redis://me:hunter2@127.0.0.1:1");
    let mut server = Process::start("server", command);
    let stderr = server.ends_with(2);
    assert!(stderr.contains("can't reach Redis at 127.0.0.1:1") && !stderr.contains("hunter2"), "{stderr}");
}

/// Joins the room of the measurement by one node.
pub async fn member(node: &Node, user: &str) -> (Client, mpsc::Receiver<SignalEvent>) {
    let session = format!("0123456789abcd{user}").parse().unwrap();
    let config = ClientConfig {
        kind: None,
        client: None,
        server: node.url().parse().unwrap(),
        trust: Trust::default(),
        room: "20000".parse().unwrap(),
        room_name: None,
        user: user.parse().unwrap(),
        nickname: "N".into(),
        publishes: user.starts_with('9'),
        credentials: Credentials { session: Some(session), ..Credentials::default() },
        epoch: 7,
        initial_deadline: DEADLINE,
    };
    Client::connect(config).await.unwrap()
}

/// Offers of a student at one node to a teacher at another, ten a second: the longest time between two that arrive.
async fn signalling_gap(from: &Client, to: &mut mpsc::Receiver<SignalEvent>, time: Duration) -> Duration {
    let target_uid: UserId = "9999".parse().unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let (end, mut last, mut longest) = (Instant::now() + time, Instant::now(), Duration::ZERO);
    while Instant::now() < end {
        tokio::select! {
            _ = ticks.tick() => {
                let sdp = "v=0".into();
                let target_uid = target_uid.clone();
                from.send(ClientMessage::Offer { target_uid, sdp, entry: None, video: None, tracks: None }).unwrap();
            }
            Some(event) = to.recv() => {
                if matches!(event, SignalEvent::Message(ServerMessage::Offer { .. })) {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
            }
        }
    }
    longest.max(last.elapsed())
}

/// The longest time without a picture, as far as statistics of each second can tell.
fn media_gap(student: &Process, mark: usize) -> u64 {
    let frozen = |event: &Event| if is_picture(event) { event["freeze_ms"].as_u64() } else { None };
    let events = student.events();
    let before = events[..mark].iter().filter_map(frozen).next_back().unwrap_or_default();
    events.iter().filter_map(frozen).next_back().unwrap_or_default().saturating_sub(before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for two minutes, for docs/server.md: cargo test --test it gaps_of -- --ignored --nocapture"]
async fn gaps_of_signalling_and_media() {
    let Some(mut redis) = RedisServer::start("gaps_of_signalling_and_media") else { return };
    let class = Classroom::undisturbed();
    let [mut a, b, c] = ["a", "b", "c"].map(|name| Node::start(&class, &redis, name));
    // Node a owns both rooms; teachers are at b, students at c.
    let (_first, _events) = member(&a, "1000").await;
    let early = a.student(&class, "1000");
    early.wait_for("joined", |event| event["event"] == "joined");
    let _teacher = b.teacher(&class);
    let student = c.student(&class, "1001");
    student.wait_for("picture", is_first_frame);
    let (_publisher, mut offers) = member(&b, "9999").await;
    let (sender, _answers) = member(&c, "1001").await;
    println!("| what happens | longest gap in signalling | frozen picture |\n| --- | --- | --- |");
    for what in
        ["nothing, for ten seconds", "kill -9 of the owner", "kill -9 of Redis, back at once", "no Redis for a minute"]
    {
        let mark = student.mark();
        let seconds = match what {
            "kill -9 of the owner" => {
                a.process.kill();
                20
            }
            "kill -9 of Redis, back at once" => {
                redis.kill();
                redis.restart();
                10
            }
            "no Redis for a minute" => {
                redis.kill();
                60
            }
            _ => 10,
        };
        let gap = signalling_gap(&sender, &mut offers, Duration::from_secs(seconds)).await;
        if what == "no Redis for a minute" {
            redis.restart();
        }
        println!("| {what} | {:.1} s | {} ms |", gap.as_secs_f64(), media_gap(&student, mark));
    }
    let gap = signalling_gap(&sender, &mut offers, Duration::from_secs(10)).await;
    println!("| ... and Redis is back | {:.1} s | |", gap.as_secs_f64());
}
