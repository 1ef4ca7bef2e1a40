//! What students notice when a process dies.

use std::time::{Duration, Instant};

use serde_json::Value as Event;

use crate::class::{Node, is_first_frame, teacher, watch};
use crate::crowd::Students;
use crate::support::{Classroom, Process, RedisServer, is_picture};

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(50);

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

pub fn print(students: usize, length: Duration) {
    let Some(mut redis) = RedisServer::start("deaths") else { return };
    let class = Classroom::undisturbed();
    let [mut a, mut d] = ["a", "d"].map(|name| Node::start(&class, &redis, name, &[]));
    let [b, mut c] = ["b", "c"].map(|name| Node::start(&class, &redis, name, &["--edge"]));
    // The first one who comes makes server a the owner of the room.
    let _teacher = teacher(&class, &a);
    let addresses: Vec<String> = [&a, &b, &c, &d].iter().map(|node| node.address.clone()).collect();
    let student = |n: usize| {
        let mut servers = addresses.clone();
        // Whose server is dead goes to an edge that stays.
        servers.swap(0, n % 4);
        let rest = servers.split_off(1);
        servers.push(b.address.clone());
        servers.extend(rest);
        watch(&class, &(1001 + n).to_string(), servers)
    };
    let seen: Vec<Process> = (0..8).map(student).collect();
    let crowd = Students::enter(students, &[&a, &b, &c, &d]);
    println!("{students} emulated students, {} of them not connected, and {} that decode", crowd.gone(), seen.len());
    println!("| what dies | lost signalling | longest gap in signalling | longest time without a picture |");
    println!("| --- | --- | --- | --- |");
    for what in ["nothing", "a server", "Redis", "an edge", "the owner of the room"] {
        let marks: Vec<(usize, u64)> = seen.iter().map(|student| (student.mark(), freeze_ms(student))).collect();
        let died = Instant::now();
        match what {
            "a server" => d.process.kill(),
            "an edge" => c.process.kill(),
            "the owner of the room" => a.process.kill(),
            "Redis" => {
                redis.kill();
                redis.restart();
            }
            _ => {}
        }
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
        let gaps: Vec<Duration> = noticed.iter().filter_map(|one| one.signalling).collect();
        let signalling = gaps.iter().max().copied().unwrap_or_default();
        let media = noticed.iter().map(|one| one.media.unwrap_or(one.frozen)).max().unwrap_or_default();
        let of_all = format!("{} of {}", gaps.len(), seen.len());
        println!("| {what} | {of_all} | {:.1} s | {:.1} s |", signalling.as_secs_f64(), media.as_secs_f64());
    }
    crowd.leave();
}

fn is_back(event: &Event) -> bool {
    event["message"].as_str().is_some_and(|text| text.contains("is back"))
}

/// The time in freezes so far.
fn freeze_ms(student: &Process) -> u64 {
    let frozen = |event: &Event| if is_picture(event) { event["freeze_ms"].as_u64() } else { None };
    student.events().iter().filter_map(frozen).next_back().unwrap_or_default()
}
