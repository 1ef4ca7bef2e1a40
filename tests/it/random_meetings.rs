//! Meetings at random: the rules of rooms, and the modules of the page in Node.js, in virtual time.
//!
//! `tests/browser/simulation.mjs` makes people join, leave, load their pages again and vanish, loses messages, and lets
//! sockets and paths die. Each line of its output is an event for the rooms here, and each line of its input is what
//! they do. The media host of a meeting over the server is in the simulation, too.

use std::collections::{BTreeMap, VecDeque};
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
    End { failure: Option<String>, counts: Option<BTreeMap<String, u32>>, seconds: Option<u64> },
}

/// The number of the first connection of a media host. Those of participants have lower numbers.
const HOSTS: u64 = 1 << 32;

/// The rooms in virtual time.
struct Server {
    rooms: Rooms,
    start: Instant,
    /// Media hosts so far.
    hosts: u64,
}

impl Server {
    fn new() -> Self {
        let rate = Rate { per_second: 10_000, burst: 10_000, all_per_second: 10_000, all_burst: 10_000 };
        let limits = RoomLimits {
            meetings: Meetings::Anyone,
            max_media_rooms: 1,
            resume_grace: GRACE,
            conference_grace: GRACE,
            joins: rate,
            openings: rate,
            offers: rate,
            conference_offers: rate,
            ..RoomLimits::default()
        };
        Self { rooms: Rooms::new(limits), start: Instant::now(), hosts: 0 }
    }

    /// Applies an event, and returns the line with what the rooms do.
    fn handle(&mut self, at: u64, input: Input) -> String {
        let now = self.start + Duration::from_millis(at);
        let (mut sent, mut closed, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
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
                    Output::StartHost { room, publisher } => {
                        let conn = ConnId(HOSTS + self.hosts);
                        self.hosts += 1;
                        hosts.push(conn.0);
                        inputs.push_back(Input::HostStarted { conn, room, publisher });
                    }
                }
            }
        }
        let due = self.rooms.next_tick().map(|due| due.saturating_duration_since(self.start));
        // Rounded up, as a tick that comes early changes nothing.
        let tick_at = due.map(|due| due.as_millis() as u64 + 1);
        json!({ "sent": sent, "closed": closed, "hosts": hosts, "tickAt": tick_at }).to_string()
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

/// Runs the simulation of this kind of meeting with a seed; returns how often each event happened, and how many
/// conferences were checked. A failure names the time and what is wrong.
#[track_caller]
fn holds(kind: &str, seed: u64) -> BTreeMap<String, u32> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/simulation.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .args([&seed.to_string(), &EVENTS.to_string(), kind])
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
    assert!(failure.is_none(), "{kind}, seed {seed}: {}", failure.unwrap_or_default());
    let counts = counts.unwrap_or_default();
    println!("{kind}, seed {seed}: {counts:?} in {} s of virtual time", seconds.unwrap_or_default());
    counts
}

#[test]
fn a_thousand_random_events_leave_one_connection_between_every_two_participants() {
    if !has_tools("a simulated meeting", &["node"]) {
        return;
    }
    for seed in [1, 2, 3] {
        assert_eq!(holds("mesh", seed)["checkedOverServer"], 0, "six participants need no server");
    }
}

#[test]
fn a_thousand_random_events_leave_one_connection_to_the_server_for_each_way() {
    if !has_tools("a simulated meeting over the server", &["node"]) {
        return;
    }
    assert!(holds("server", 1)["checkedOverServer"] > EVENTS / 40, "eight participants need the server");
}

#[test]
fn a_thousand_random_events_leave_everybody_in_one_breakout_room_with_all_others_there() {
    if !has_tools("simulated breakout rooms", &["node"]) {
        return;
    }
    let counts = holds("breakouts", 1);
    assert!(counts["checkedRooms"] > EVENTS / 40 && counts["checkedOverServer"] > 0, "{counts:?}");
}
