//! The lecture of healthy students while others attack the class.
//!
//! ```sh
//! cargo bench --bench hostile                   # every row, some ten minutes
//! cargo bench --bench hostile -- checks rooms   # the rows whose names begin with these words
//! ```
//!
//! Each row starts the real program: a teacher with `--test` at 640x360 and three healthy `watch --sink null`. In rows
//! of `serve` that carries media, the teacher is an emulated browser with a small picture, and an honest student is on
//! the stage. Then the attack runs for some seconds, from 127.0.0.2 and its neighbours, at a lower priority than the
//! class; in its middle an honest newcomer joins. A row holds if the healthy students have no freeze and no lost
//! packet, the processes of the class grow by less than [`judge::MAX_GROWTH_MB`], the newcomer sees the lecture, and
//! nothing is broken that the attack itself checks. The exit code is 1 if a row fails. `$CLASSROOM_BINARY` names
//! another program to attack.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

#[path = "../../attack/mod.rs"]
#[allow(dead_code, reason = "the integration tests use the rest")]
mod attack;
mod browser;
mod class;
mod judge;
mod race;
mod rows;
#[path = "../../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use the rest")]
mod support;
#[path = "../usage.rs"]
#[allow(dead_code, reason = "the bench of meetings uses the rest")]
mod usage;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use self::rows::Row;

/// By how much the attacker's threads yield to the class: its own CPU time is not what is measured.
const NICE: i32 = 10;

fn main() -> ExitCode {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without this, the attacker runs out of sockets before the class does.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // Cargo adds `--bench`.
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_named = |row: &&Row| names.is_empty() || names.iter().any(|name| row.name.starts_with(name.as_str()));
    let all = [rows::all(), rows::hosted()].concat();
    let chosen: Vec<&Row> = all.iter().filter(is_named).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = all.iter().map(|row| row.name).collect();
        println!("no such row; the rows are {}", known.join(", "));
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| _ = nice(NICE))
        .enable_all()
        .build()
        .unwrap();
    println!("{}", judge::HEADER);
    let mut failed = Vec::new();
    for row in &chosen {
        let verdict = row.run(&runtime);
        println!("{}", verdict.line(row.name));
        for note in verdict.notes() {
            println!("    {note}");
        }
        if !verdict.holds() {
            failed.push(row.name);
        }
    }
    if failed.is_empty() {
        println!("all {} rows hold", chosen.len());
        return ExitCode::SUCCESS;
    }
    println!("{} of {} rows fail: {}", failed.len(), chosen.len(), failed.join(", "));
    ExitCode::FAILURE
}
