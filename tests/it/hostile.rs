//! Attacks on the real programs, in small: two healthy students watch, and a newcomer joins after the attack.
//! `cargo bench --bench hostile` runs the same attacks at full size and prints what they cost.

mod admission;
mod dns_sd;
mod media;
mod signalling;
mod talk;
mod web;

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::attack::{Tally, Target};
use crate::support::{Classroom, DEADLINE, Process, is_picture, is_stats};

/// By how much the teacher may grow, in kB: 600 peers that never connect, which is what one network may have.
const MAX_GROWTH_KB: u64 = 100_000;

/// How often an attack is tried at most, see [`Besieged::withstands`].
const ATTEMPTS: usize = 3;

/// A class with two healthy students.
struct Besieged {
    class: Classroom,
    teacher: Process,
    students: Vec<Process>,
    memory_kb: u64,
    target: Target,
    runtime: Runtime,
    /// The flags of each student.
    watch: &'static [&'static str],
}

impl Besieged {
    /// A teacher with these flags and the server inside.
    #[track_caller]
    fn teach(flags: &[&str]) -> Self {
        Self::teach_and_watch(flags, &[])
    }

    /// As [`Besieged::teach`], with flags for the students.
    #[track_caller]
    fn teach_and_watch(flags: &[&str], watch: &'static [&'static str]) -> Self {
        let class = Classroom::attacked();
        let listen = class.url().replace("ws://", "");
        let test = ["--test", "--size", "320x180", "--fps", "15", "--chat", "--listen", &listen];
        let mut command = class.teach(&[&test[..], flags].concat());
        command.stdin(Stdio::piped());
        let teacher = Process::start("teacher", command);
        let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
        let media_port: u16 = listening["udp"].as_u64().unwrap().try_into().unwrap();
        let http: SocketAddr = listen.parse().unwrap();
        let target = Target::new(http, SocketAddr::new(http.ip(), media_port)).unwrap();
        let runtime = Runtime::new().unwrap();
        let mut besieged = Self { class, teacher, students: Vec::new(), memory_kb: 0, target, runtime, watch };
        besieged.students = [1001, 1002].map(|user| besieged.student(user)).into();
        for student in &besieged.students {
            student.wait_for("moving picture", is_picture);
        }
        besieged.memory_kb = memory_kb(besieged.teacher.pid(), "VmRSS:");
        besieged
    }

    /// Starts a student who writes to the chat what the test types.
    #[track_caller]
    fn student(&self, user: u32) -> Process {
        let flags = [&["--sink", "null", "--chat"], self.watch].concat();
        let mut command = self.class.watch(user, &flags);
        command.stdin(Stdio::piped());
        Process::start(&format!("student {user}"), command)
    }

    /// Runs an attack, and checks that nothing which the attack itself checks is broken, that a newcomer sees the
    /// lecture, that both healthy students have seen all of it, and that the teacher has never been much larger.
    ///
    /// A freeze that the attack causes is there each time, so the attack may be repeated: other freezes come from a
    /// machine with more to do than this test.
    #[track_caller]
    fn withstands(&mut self, attack: impl AsyncFn(&Target) -> Tally) -> Tally {
        let mut freezes = Vec::new();
        for attempt in 0..ATTEMPTS {
            self.target.attempt = attempt;
            let before = self.statistics();
            let tally = self.runtime.block_on(attack(&self.target));
            assert!(tally.broken.is_empty(), "{:?}; attackers: {tally}", tally.broken);
            let newcomer = self.student(1999 + attempt as u32);
            newcomer.wait_for("first frame", |event| event["event"] == "first-frame" && event["track"] == "screen");
            let after = self.statistics();
            let grown = memory_kb(self.teacher.pid(), "VmHWM:").saturating_sub(self.memory_kb);
            assert!(grown < MAX_GROWTH_KB, "{grown} kB more; attackers: {tally}");
            for (before, after) in before.iter().zip(&after) {
                for count in ["lost", "withheld_ms"] {
                    assert_eq!(after[count], before[count], "{count} of a healthy student; attackers: {tally}");
                }
            }
            let is_smooth = before.iter().zip(&after).all(|(before, after)| after["freezes"] == before["freezes"]);
            if is_smooth && after.iter().all(is_picture) {
                return tally;
            }
            freezes.push((before, after));
        }
        panic!("a healthy student's picture froze in each attempt: {freezes:?}");
    }

    /// The next statistics of each healthy student.
    #[track_caller]
    fn statistics(&self) -> Vec<Value> {
        let next = |student: &Process| student.wait_since(student.mark(), DEADLINE, "statistics", is_stats);
        self.students.iter().map(next).collect()
    }
}

/// The resident memory of a process in kB: that of now (`VmRSS:`), or the most so far (`VmHWM:`).
fn memory_kb(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}
