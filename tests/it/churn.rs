//! After a thousand joins and leaves, a teacher uses no more memory, sockets and threads than before.

use classroom::signal::ServerUrl;
use std::path::Path;

use crate::support::{Classroom, DEADLINE, Receiver, poll};

/// The number of students that join and leave together.
const AT_ONCE: usize = 25;

/// Joins before the first measurement; by then caches and pools have their final size.
const WARM_UP: usize = 200;

const JOINS: usize = 1000;

/// The maximum growth of memory, in kB: 800 leaked peers would be 100 MB.
const TOLERANCE_KB: u64 = 20_000;

/// Kernel resources of a process.
#[derive(Debug, Clone, Copy)]
struct Resources {
    sockets: usize,
    threads: usize,
}

fn resources(pid: u32) -> Resources {
    let count = |folder: &str| std::fs::read_dir(format!("/proc/{pid}/{folder}")).unwrap().count();
    Resources { sockets: count("fd"), threads: count("task") }
}

fn memory_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Students with ids from `first` on join and leave in batches.
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

impl Resources {
    /// Fewer are fine: the runtime ends idle threads.
    fn are_within(self, before: Self) -> bool {
        self.sockets <= before.sockets && self.threads <= before.threads
    }
}

#[test]
fn a_thousand_joins_and_leaves_leave_nothing_behind() {
    let class = Classroom::new();
    let teacher = class.teacher(&["--test", "--size", "320x180", "--fps", "10", "--bitrate", "200k"]);
    let server: ServerUrl = class.url().parse().unwrap();
    come_and_go(&server, 0, WARM_UP);
    class.wait_for_room("an empty class", DEADLINE, |room| room.is_some_and(|room| room["watching"] == 0));
    let before = resources(teacher.pid());
    let memory = memory_kb(teacher.pid());
    come_and_go(&server, WARM_UP, JOINS - WARM_UP);
    let settled = poll(DEADLINE, || resources(teacher.pid()).are_within(before).then_some(()));
    assert!(settled.is_some(), "{before:?} before, {:?} after", resources(teacher.pid()));
    let grown = memory_kb(teacher.pid()).saturating_sub(memory);
    assert!(grown < TOLERANCE_KB, "{grown} kB more after {} more joins", JOINS - WARM_UP);
}
