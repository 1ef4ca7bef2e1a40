//! The cost of students at each kind of server that sends a lecture on: for the teacher, and for that server.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::class::{Node, teacher, watch};
use crate::crowd::Students;
use crate::livekit::LiveKit;
use crate::support::{Classroom, JanusServer, Process, RedisServer, is_picture, mediamtx};
use crate::usage::used;

/// The students of the first measurement, half of whom decode.
const FEW: usize = 10;

/// The engine that makes the offers, which emulated students can't answer: all its students decode.
const OFFERS: &str = "Janus";

/// What sends the lecture to students.
struct Engine {
    name: &'static str,
    node: Node,
    /// The process of somebody else.
    foreign: Option<u32>,
}

pub fn print(students: usize, decoding: usize, length: Duration) {
    let Some(redis) = RedisServer::start("engines") else { return };
    let class = Classroom::undisturbed();
    println!("| students, decoding | over | CPU of the teacher | of the server | of the engine | pictures/s, frozen |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let url = redis.url();
    let edge = Node::start(&class, "edge", &["--redis", &url, "--edge"], None);
    measure(&class, &Engine { name: "an edge", node: edge, foreign: None }, (students, decoding), length);
    let over = |name, pid, flags: &[&str]| {
        let node = Node::start(&class, name, flags, None);
        measure(&class, &Engine { name, node, foreign: Some(pid) }, (students, decoding), length);
    };
    if let Some(janus) = JanusServer::start("engines", &class.directory().join("janus-of-the-bench"), "") {
        over(OFFERS, janus.pid(), &["--via", &format!("janus={}", janus.url())]);
    }
    if let Some(livekit) = LiveKit::start(class.directory()) {
        let key = class.directory().join("livekit.key");
        std::fs::write(&key, livekit.key()).unwrap();
        let flags = ["--via", &format!("livekit={}", livekit.url()), "--livekit-key-file", path(&key)];
        over("LiveKit", livekit.pid(), &flags);
    }
    if let Some(program) = mediamtx::program("MediaMTX") {
        let mediamtx = mediamtx::start(&program, class.directory(), "paths:\n  all_others:\n");
        let via = format!("mediamtx={}", mediamtx.url("").trim_end_matches('/'));
        over("MediaMTX", mediamtx.pid(), &["--via", &via]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn measure(class: &Classroom, engine: &Engine, (students, decoding): (usize, usize), length: Duration) {
    let teacher = teacher(class, &engine.node, None);
    let at = || vec![engine.node.address.clone()];
    let mut seen: Vec<Process> = Vec::new();
    for (all, decode) in [(FEW, FEW / 2), (students, decoding)] {
        let all = if engine.name == OFFERS { decode } else { all };
        let more = seen.len()..decode;
        seen.extend(more.map(|n| watch(class, &(1001 + n).to_string(), at(), &[])));
        let emulated = all.saturating_sub(seen.len());
        let crowd = (emulated > 0).then(|| Students::enter(emulated, &[&engine.node], Ipv4Addr::LOCALHOST));
        row(engine, &teacher, (all, &seen), length);
        crowd.into_iter().for_each(Students::leave);
    }
}

fn row(engine: &Engine, teacher: &Process, (all, seen): (usize, &[Process]), length: Duration) {
    let cpu = || {
        let pids = [Some(teacher.pid()), Some(engine.node.process.pid()), engine.foreign];
        pids.map(|pid| pid.map_or(0.0, |pid| used(pid).cpu))
    };
    let marks: Vec<usize> = seen.iter().map(Process::mark).collect();
    let (before, begun) = (cpu(), Instant::now());
    std::thread::sleep(length);
    let (after, seconds) = (cpu(), begun.elapsed().as_secs_f64());
    let [of_teacher, of_server, of_engine] = [0, 1, 2].map(|n| 100.0 * (after[n] - before[n]) / seconds);
    let rates: Vec<f64> = seen.iter().zip(&marks).filter_map(|(student, mark)| rate(student, *mark)).collect();
    let fps = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    println!(
        "| {all}, {} | {} | {of_teacher:.1} % | {of_server:.1} % | {of_engine:.1} % | {fps:.1}, {} |",
        seen.len(),
        engine.name,
        seen.len() - rates.len(),
    );
}

/// The pictures a second of a student since the mark; none if there was no picture.
fn rate(student: &Process, mark: usize) -> Option<f64> {
    let events = student.events();
    let rates: Vec<f64> =
        events[mark..].iter().filter(|event| is_picture(event)).filter_map(|event| event["fps"].as_f64()).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}
