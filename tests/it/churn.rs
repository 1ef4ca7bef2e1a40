//! A thousand joins and leaves leave memory, sockets and threads where they were.

use std::path::Path;
use std::time::{Duration, Instant};

use classroom::signal::ServerUrl;

use crate::support::{Classroom, DEADLINE, Receiver};

/// Students that come and go together.
const AT_ONCE: usize = 25;

/// Joins before the first look: caches and pools have their size then.
const WARM_UP: usize = 200;

const JOINS: usize = 1000;

/// What may be more afterwards, in kB: 800 leaked peers would be 100 MB.
const TOLERANCE_KB: u64 = 20_000;

#[derive(Debug)]
struct Held {
    sockets: usize,
    threads: usize,
}

fn held(pid: u32) -> Held {
    let count = |folder: &str| std::fs::read_dir(format!("/proc/{pid}/{folder}")).unwrap().count();
    Held { sockets: count("fd"), threads: count("task") }
}

fn memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn come_and_go(server: &ServerUrl, first: usize, count: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for batch in (first..first + count).step_by(AT_ONCE) {
            let joins = (batch..batch + AT_ONCE).map(|n| {
                let (room, user) = (crate::support::ROOM.parse().unwrap(), n.to_string().parse().unwrap());
                tokio::spawn(Receiver::join(server.clone(), room, user))
            });
            let joins: Vec<_> = joins.collect();
            let mut leaves = Vec::new();
            for join in joins {
                leaves.push(tokio::spawn(join.await.unwrap().leave()));
            }
            for leave in leaves {
                leave.await.unwrap();
            }
        }
    });
}

impl Held {
    /// Less is fine: the runtime ends threads that had nothing to do.
    fn fits(&self, before: &Held) -> bool {
        self.sockets <= before.sockets && self.threads <= before.threads
    }
}

/// Waits until the teacher holds nothing that a student left.
fn settled(pid: u32, before: &Held) -> Held {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let now = held(pid);
        if now.fits(before) || Instant::now() > deadline {
            return now;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_thousand_joins_and_leaves_leave_nothing_behind() {
    let class = Classroom::new();
    let teacher = class.teacher(&["--test", "--size", "320x180", "--fps", "10", "--bitrate", "200k"]);
    let server: ServerUrl = class.url().parse().unwrap();
    come_and_go(&server, 0, WARM_UP);
    class.wait_for_room("an empty class", DEADLINE, |room| room.is_some_and(|room| room["watching"] == 0));
    let before = held(teacher.pid());
    let memory = memory_kb(teacher.pid());
    come_and_go(&server, WARM_UP, JOINS - WARM_UP);
    let after = settled(teacher.pid(), &before);
    assert!(after.fits(&before), "{before:?} before, {after:?} after");
    let grown = memory_kb(teacher.pid()).saturating_sub(memory);
    assert!(grown < TOLERANCE_KB, "{grown} kB more after {} more joins", JOINS - WARM_UP);
}
