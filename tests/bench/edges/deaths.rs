//! What students notice when a process dies.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::Value as Event;

use crate::class::{Node, is_first_frame, teacher, until, watch};
use crate::crowd::Students;
use crate::machines::{Foreign, Machines, TURN_SECRET};
use crate::support::{Classroom, DEADLINE, Lan, Process, has_lan, has_tools, is_picture};

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The processes that are killed, in this order. Those that nothing restarts stay dead.
const DEATHS: [&str; 9] = [
    "nothing",
    "a TURN server",
    "the other TURN server, the first one is back",
    "a Janus with students",
    "the other Janus, the first one is back",
    "a server",
    "Redis, started again at once",
    "an edge",
    "the owner of the room",
];

/// What a student noticed.
#[derive(Default, Clone, Copy)]
struct Noticed {
    /// From the death until its server, or another one, had let it in again.
    signalling: Option<Duration>,
    /// From the death until the first picture of another window.
    media: Option<Duration>,
    /// The time in freezes without another window.
    frozen: Duration,
}

/// Everything of the hall that can die.
struct Hall {
    owner: Node,
    edges: [Node; 2],
    plain: Node,
    redis: Foreign,
    januses: [Foreign; 2],
    turns: [Foreign; 2],
    via: Node,
    _teachers: [Process; 2],
}

pub fn print(students: usize, length: Duration) {
    if !has_lan("deaths") || !has_tools("deaths", &["redis-server", "janus", "turnserver"]) {
        return;
    }
    let mut lan = Lan::new();
    let (machines, of_students) = (Machines::new(&mut lan), lan.machine());
    // This thread, and those that it starts, are on the machine of the students.
    let address = of_students.address().parse().unwrap();
    of_students.open(|| run(&machines, (students, address), length));
}

fn run(machines: &Machines, (students, address): (usize, Ipv4Addr), length: Duration) {
    let class = Classroom::undisturbed();
    let mut hall = Hall::start(&class, machines);
    let addresses: Vec<String> = hall.nodes().map(|node| node.address.clone()).into();
    let stays = hall.edges[0].address.clone();
    let student = |n: usize, first: &str, more: &[&str]| {
        // Whose server is dead goes to an edge that stays.
        let servers = [&[first.to_owned(), stays.clone()][..], &addresses].concat();
        watch(&class, &(1001 + n).to_string(), servers, more)
    };
    let mut seen: Vec<Process> = (0..8).map(|n| student(n, &addresses[n % 4], &[])).collect();
    seen.extend((8..10).map(|n| student(n, &stays, &["--relay-only"])));
    chat(&mut seen);
    let via = hall.via.address.clone();
    seen.extend((10..12).map(|n| watch(&class, &(1001 + n).to_string(), vec![via.clone()], &[])));
    until("two students at Janus", DEADLINE, || hall.via.metric("classroom_edge_students") == Some(2.0));
    let crowd = Students::enter(students, &hall.nodes(), address);
    println!("{students} emulated students, {} of them not connected, and {} that decode", crowd.gone(), seen.len());
    println!("| `kill -9` of | lost signalling | longest gap in signalling | longest time without a picture |");
    println!("| --- | --- | --- | --- |");
    for what in DEATHS {
        let marks: Vec<(usize, u64)> = seen.iter().map(|student| (student.mark(), freeze_ms(student))).collect();
        let died = Instant::now();
        hall.kill(what);
        let mut noticed = vec![Noticed::default(); seen.len()];
        while died.elapsed() < length {
            std::thread::sleep(LOOK);
            for ((student, (mark, _)), noticed) in seen.iter().zip(&marks).zip(&mut noticed) {
                let since = &student.events()[*mark..];
                let look = |is_it: fn(&Event) -> bool| since.iter().any(is_it).then(|| died.elapsed());
                noticed.signalling = noticed.signalling.or_else(|| look(is_back));
                noticed.media = noticed.media.or_else(|| look(is_first_frame));
            }
        }
        for ((student, (_, before)), noticed) in seen.iter().zip(&marks).zip(&mut noticed) {
            noticed.frozen = Duration::from_millis(freeze_ms(student).saturating_sub(*before));
        }
        row(what, &noticed);
    }
    chat(&mut seen[..10]);
    crowd.leave();
}

impl Hall {
    fn start(class: &Classroom, on: &Machines) -> Self {
        let folder = class.directory();
        let redis = Foreign::redis(&on.redis);
        let turns = [&on.turns[0], &on.turns[1]].map(|machine| Foreign::turn(machine, folder));
        let januses = [&on.januses[0], &on.januses[1]].map(|machine| Foreign::janus(machine, folder));
        let (url, relays) =
            (format!("redis://{}", redis.address), turns.each_ref().map(|turn| format!("turn:{}", turn.address)));
        let flags = ["--redis", &url, "--turn", &relays[0], "--turn", &relays[1], "--turn-secret", TURN_SECRET];
        let node = |name: &str, number: usize, more: &[&str]| {
            Node::start(class, name, &[&flags, more].concat(), Some(&on.nodes[number]))
        };
        let (owner, plain) = (node("a", 0, &[]), node("d", 3, &[]));
        let edges = [node("b", 1, &["--edge"]), node("c", 2, &["--edge"])];
        let engine = format!("janus=ws://{},ws://{}", januses[0].address, januses[1].address);
        let via = Node::start(class, "of Janus", &["--via", &engine], Some(&on.via));
        // The first one who comes makes server a the owner of the room.
        let teachers = [&owner, &via].map(|node| teacher(class, node, Some(&on.teacher)));
        Self { owner, edges, plain, redis, januses, turns, via, _teachers: teachers }
    }

    fn nodes(&self) -> [&Node; 4] {
        [&self.owner, &self.edges[0], &self.edges[1], &self.plain]
    }

    /// Kills a Janus that has students; it is the first one from then on.
    fn kill_busy_janus(&mut self) {
        let students = |janus: &Foreign| {
            let metric = format!("classroom_engine_students{{node=\"ws://{}\"}}", janus.address);
            self.via.metric(&metric).unwrap_or_default()
        };
        let has_students = self.januses.each_ref().map(|janus| students(janus) > 0.0);
        assert!(has_students[0] || has_students[1], "no students at Janus");
        if !has_students[0] {
            self.januses.swap(0, 1);
        }
        self.januses[0].kill();
    }

    fn kill(&mut self, what: &str) {
        match what {
            "nothing" => {}
            "a TURN server" => self.turns[0].kill(),
            "a Janus with students" => self.kill_busy_janus(),
            other if other.starts_with("the other TURN server") => replace(&mut self.turns),
            other if other.starts_with("the other Janus") => {
                self.januses[0].restart();
                let both = || self.via.metric("classroom_edge_lectures") == Some(2.0);
                until("both nodes of Janus have the lecture", DEADLINE, both);
                self.januses[1].kill();
            }
            "a server" => self.plain.process.kill(),
            "an edge" => self.edges[1].process.kill(),
            "the owner of the room" => self.owner.process.kill(),
            _ => {
                self.redis.kill();
                self.redis.restart();
            }
        }
    }
}

/// The first one is back, and the second one dies: nobody knows at which of them the students are.
fn replace([first, second]: &mut [Foreign; 2]) {
    first.restart();
    second.kill();
}

/// Waits until each of these students reads what the first one writes.
fn chat(students: &mut [Process]) {
    let text = format!("number {}", students[0].mark());
    students[0].types(&text);
    for student in &*students {
        student.wait_since(0, DEADLINE, "chat", |event| event["event"] == "chat" && event["text"] == text.as_str());
    }
}

fn row(what: &str, noticed: &[Noticed]) {
    let gaps: Vec<Duration> = noticed.iter().filter_map(|one| one.signalling).collect();
    let signalling = gaps.iter().max().copied().unwrap_or_default();
    let media = noticed.iter().map(|one| one.media.unwrap_or(one.frozen)).max().unwrap_or_default();
    let of_all = format!("{} of {}", gaps.len(), noticed.len());
    println!("| {what} | {of_all} | {:.1} s | {:.1} s |", signalling.as_secs_f64(), media.as_secs_f64());
}

fn is_back(event: &Event) -> bool {
    event["message"].as_str().is_some_and(|text| text.contains("is back"))
}

/// The time in freezes so far.
fn freeze_ms(student: &Process) -> u64 {
    let frozen = |event: &Event| if is_picture(event) { event["freeze_ms"].as_u64() } else { None };
    student.events().iter().filter_map(frozen).next_back().unwrap_or_default()
}
