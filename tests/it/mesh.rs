//! A meeting of six at random: the rules of rooms, and the modules of the page in Node.js, in virtual time.
//!
//! `tests/browser/simulation.mjs` makes people join, leave, load their pages again and vanish, loses messages, and lets
//! sockets and paths die. Each line of its output is an event for the rooms here, and each line of its input is what
//! they do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use classroom::id::UserId;
use classroom::network::{Network, Rate};
use classroom::protocol::{ClientMessage, MediaHost, RoomKind};
use classroom::room::{ConnId, Input, Meetings, Newcomer, Output, RoomLimits, Rooms, Route};
use serde::Deserialize;
use serde_json::json;

use crate::support::has_tools;

/// The random events of one run.
const EVENTS: u32 = 1_000;

/// Somebody who has vanished is gone after this time, well within a quiet period of the simulation.
const GRACE: Duration = Duration::from_secs(2);

/// A line of the simulation. Times are in milliseconds from its beginning.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
enum Event {
    Join { at: u64, conn: u64, user: UserId, epoch: u32 },
    Message { at: u64, conn: u64, text: String },
    Lost { at: u64, conn: u64 },
    Tick { at: u64 },
    End { failure: Option<String>, counts: Option<serde_json::Value>, seconds: Option<u64> },
}

/// The rooms in virtual time.
struct Server {
    rooms: Rooms,
    start: Instant,
}

impl Server {
    fn new() -> Self {
        let rate = Rate { per_second: 10_000, burst: 10_000, all_per_second: 10_000, all_burst: 10_000 };
        let limits = RoomLimits {
            meetings: Meetings::Anyone,
            resume_grace: GRACE,
            conference_grace: GRACE,
            joins: rate,
            openings: rate,
            offers: rate,
            conference_offers: rate,
            ..RoomLimits::default()
        };
        Self { rooms: Rooms::new(limits), start: Instant::now() }
    }

    /// Applies an event, and returns the line with what the rooms do.
    fn handle(&mut self, at: u64, input: Input) -> String {
        let now = self.start + Duration::from_millis(at);
        let (mut sent, mut closed) = (Vec::new(), Vec::new());
        for output in self.rooms.handle(now, input) {
            match output {
                Output::Send { to, message } | Output::Relay { to, message, .. } => {
                    sent.push((to.0, message.to_json()));
                }
                Output::Broadcast { to, message } => {
                    let text = message.to_json();
                    sent.extend(to.into_iter().map(|to| (to.0, text.clone())));
                }
                Output::Close { conn, .. } => closed.push(conn.0),
                Output::StartHost { .. } => panic!("six participants need no media host"),
            }
        }
        let due = self.rooms.next_tick().map(|due| due.saturating_duration_since(self.start));
        // Rounded up, as a tick that comes early changes nothing.
        let tick_at = due.map(|due| due.as_millis() as u64 + 1);
        json!({ "sent": sent, "closed": closed, "tickAt": tick_at }).to_string()
    }
}

fn newcomer(user: UserId, epoch: u32) -> Newcomer {
    Newcomer {
        room: "10013".parse().unwrap(),
        room_name: None,
        nickname: user.as_str().into(),
        session: format!("{user:s>16}").parse().unwrap(),
        user,
        publishes: false,
        media: MediaHost::Publisher,
        epoch,
        client: None,
        network: Network::of([127, 0, 0, 1].into()),
        moderates: false,
        code: None,
        kind: Some(RoomKind::Meeting),
        may_teach: false,
        settings: None,
        identity: None,
        reserved: false,
        route: Route::default(),
    }
}

/// Runs the simulation with a seed; its failure names the time and what is wrong.
#[track_caller]
fn holds(seed: u64) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/simulation.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .args([seed.to_string(), EVENTS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The end of this pipe ends the simulation, also if this test fails.
    let mut answers = node.stdin.take().unwrap();
    let mut server = Server::new();
    let mut end = None;
    for line in BufReader::new(node.stdout.take().unwrap()).lines() {
        let (at, input) = match serde_json::from_str(&line.unwrap()).unwrap() {
            Event::Join { at, conn, user, epoch } => {
                (at, Input::Join { conn: ConnId(conn), newcomer: newcomer(user, epoch) })
            }
            Event::Message { at, conn, text } => {
                let message = ClientMessage::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                (at, Input::Message { conn: ConnId(conn), message })
            }
            Event::Lost { at, conn } => (at, Input::Lost { conn: ConnId(conn) }),
            Event::Tick { at } => (at, Input::Tick),
            Event::End { failure, counts, seconds } => {
                end = Some((failure, counts, seconds));
                break;
            }
        };
        let answer = server.handle(at, input);
        writeln!(answers, "{answer}").unwrap();
    }
    node.wait().unwrap();
    let (failure, counts, seconds) = end.expect("an end of the simulation");
    assert!(failure.is_none(), "seed {seed}: {}", failure.unwrap_or_default());
    println!("seed {seed}: {} in {} s of virtual time", counts.unwrap_or_default(), seconds.unwrap_or_default());
}

#[test]
fn a_thousand_random_events_leave_one_connection_between_every_two_participants() {
    if !has_tools("a simulated meeting", &["node"]) {
        return;
    }
    for seed in [1, 2, 3] {
        holds(seed);
    }
}
