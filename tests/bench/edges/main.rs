//! Lectures over several servers and edges on this computer: what students notice when a process dies, and the cost of
//! a large class.
//!
//! ```sh
//! cargo bench --bench edges                          # both parts, some five minutes, on an otherwise idle machine
//! cargo bench --bench edges -- deaths --students 300
//! cargo bench --bench edges -- hall --students 1000 --for 20
//! ```
//!
//! - `deaths`: four servers, two of them edges, and a Redis. A crowd of emulated students watches at all of them, and
//!   two `classroom watch` at each, whose connection goes to another server when theirs is dead. The processes are
//!   killed in turn.
//! - `hall`: a teacher with few bits per second, a server and three edges: first with ten students, then with all.
//!
//! It needs redis-server. `$CLASSROOM_BINARY` is not read: the program of this build is measured.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

mod class;
mod crowd;
mod deaths;
mod hall;
#[path = "../../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use the rest")]
mod support;
#[path = "../usage.rs"]
#[allow(dead_code, reason = "the bench of meetings uses the rest")]
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const USAGE: &str = "the parts are deaths and hall, and the flags --students N and --for SECONDS";

fn main() -> ExitCode {
    let (mut parts, mut students, mut length) = (Vec::new(), None, Duration::from_secs(20));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<usize>().ok());
        match argument.as_str() {
            "deaths" | "hall" => parts.push(argument),
            "--students" => students = number(),
            "--for" => length = number().map_or(length, |seconds| Duration::from_secs(seconds as u64)),
            // Cargo adds this.
            "--bench" => {}
            _ => {
                println!("{argument}: {USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Each emulated student has two sockets.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if parts.is_empty() {
        parts = vec!["deaths".into(), "hall".into()];
    }
    for part in parts {
        match part.as_str() {
            "deaths" => deaths::print(students.unwrap_or(300), length),
            _ => hall::print(students.unwrap_or(1_000), length),
        }
        println!();
    }
    ExitCode::SUCCESS
}
