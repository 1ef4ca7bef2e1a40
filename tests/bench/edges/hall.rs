//! The cost of a large class over three edges, for the teacher and for the edges.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::class::{Node, teacher, until};
use crate::crowd::Students;
use crate::support::{Classroom, DEADLINE, Process, RedisServer};
use crate::usage::{busy, used};

/// The students of the first measurement.
const FEW: usize = 10;

pub fn print(students: usize, length: Duration) {
    let Some(redis) = RedisServer::start("hall") else { return };
    let class = Classroom::undisturbed();
    let url = redis.url();
    let a = Node::start(&class, "a", &["--redis", &url], None);
    let edges = ["b", "c", "d"].map(|name| Node::start(&class, name, &["--redis", &url, "--edge"], None));
    let teacher = teacher(&class, &a, None);
    println!(
        "| students | CPU of the teacher | of the edges, in all | others | packets/s, requested again | first picture |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for count in [FEW, students] {
        row(count, &teacher, &edges, length);
    }
}

fn row(count: usize, teacher: &Process, edges: &[Node; 3], length: Duration) {
    let begun = Instant::now();
    let crowd = Students::enter(count, &edges.each_ref(), Ipv4Addr::LOCALHOST);
    let joined = begun.elapsed();
    until("the students are counted", DEADLINE, || {
        let all: f64 = edges.iter().filter_map(|edge| edge.metric("classroom_edge_students")).sum();
        all as usize >= count - crowd.gone()
    });
    let cpu = || (used(teacher.pid()).cpu, edges.iter().map(|edge| used(edge.process.pid()).cpu).sum::<f64>(), busy());
    let (before, packets, begun) = (cpu(), crowd.tally(), Instant::now());
    std::thread::sleep(length);
    let (after, now, seconds) = (cpu(), crowd.tally().since(&packets), begun.elapsed().as_secs_f64());
    let percent = |of: f64| 100.0 * of / seconds;
    let (of_teacher, of_edges) = (after.0 - before.0, after.1 - before.1);
    let others = after.2 - before.2 - of_teacher - of_edges;
    let mut first = now.first_frames_ms.clone();
    first.sort_unstable();
    let part = |share: f64| first.get((first.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "| {count}, {} not connected, all after {:.1} s | {:.1} % | {:.1} % | {:.0} % | {:.0}, {} \
         | p50 {} ms, p95 {} ms |",
        crowd.gone(),
        joined.as_secs_f64(),
        percent(of_teacher),
        percent(of_edges),
        percent(others),
        now.received as f64 / seconds,
        now.nacked,
        part(0.5),
        part(0.95),
    );
    crowd.leave();
}
