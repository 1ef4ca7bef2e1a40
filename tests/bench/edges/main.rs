//! Lectures over several servers and edges on this computer: what students notice when a process dies, and the cost of
//! a large class.
//!
//! ```sh
//! cargo bench --bench edges                          # all parts, some ten minutes, on an otherwise idle machine
//! cargo bench --bench edges -- deaths --students 300
//! cargo bench --bench edges -- hall --students 1000 --for 20
//! cargo bench --bench edges -- engines --students 300 --decoding 50
//! ```
//!
//! - `deaths`: four servers, two of them edges, a Redis and two TURN servers, and a server that sends its lectures over
//!   two nodes of Janus, each on a machine of its own: a network namespace, which needs root. A crowd of emulated
//!   students watches at the four servers; two `classroom watch` at each of them, two more by TURN alone, and two by
//!   Janus. Their connections go to another server when theirs is dead. Each kind of process is killed in turn.
//! - `hall`: a teacher with few bits per second, a server and three edges: first with ten students, then with all.
//! - `engines`: the same with an edge, and over a Janus, a LiveKit and a MediaMTX, as far as this machine has them: ten
//!   students, then all; some are processes that decode, and at Janus there are no others.
//!
//! It needs redis-server, janus and coturn, and takes what tests/livekit/build.sh and tests/mediamtx/build.sh make.
//! `$CLASSROOM_BINARY` is not read: the program of this build is measured.

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
mod engines;
mod hall;
mod livekit;
mod machines;
#[path = "../../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use the rest")]
mod support;
#[path = "../usage.rs"]
#[allow(dead_code, reason = "the bench of meetings uses the rest")]
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const USAGE: &str =
    "the parts are deaths, hall and engines, and the flags --students N, --decoding N and --for SECONDS";

fn main() -> ExitCode {
    let (mut parts, mut students, mut decoding) = (Vec::new(), None, 50);
    let mut length = Duration::from_secs(20);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<usize>().ok());
        match argument.as_str() {
            "deaths" | "hall" | "engines" => parts.push(argument),
            "--students" => students = number(),
            "--decoding" => decoding = number().unwrap_or(decoding),
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
        parts = vec!["deaths".into(), "hall".into(), "engines".into()];
    }
    for part in parts {
        match part.as_str() {
            "deaths" => deaths::print(students.unwrap_or(300), length),
            "hall" => hall::print(students.unwrap_or(1_000), length),
            _ => engines::print(students.unwrap_or(300), decoding, length),
        }
        println!();
    }
    ExitCode::SUCCESS
}
