//! The cost of meetings on this machine, and what their participants notice.
//!
//! ```sh
//! cargo bench --bench meetings                       # all four parts, some six minutes
//! cargo bench --bench meetings -- mesh server        # the cost by the number of participants
//! cargo bench --bench meetings -- server --of 25 --real 25
//! cargo bench --bench meetings -- server --of 25 --real 25 --looking 1
//! cargo bench --bench meetings -- move line          # what participants notice
//! ```
//!
//! - `mesh` and `server`: CPU and memory of each participant and of the server, and what arrives. Participants are
//!   `classroom meet --sink null` with small pictures. Beyond `--real` of them (12), the others are emulated in this
//!   process: they signal, connect, send and receive like the real ones, but neither encode nor decode, and their
//!   pictures can't be decoded. Beyond `--looking` of the real ones, they record what they get and decode nothing.
//! - `move`: what is missing and what is twice in the recordings of seven participants, of whom the seventh moves the
//!   meeting to the server.
//! - `line`: the line of one participant is narrow, or loses packets; what arrives from it, at it, and among the
//!   others. This needs root, for network namespaces.
//!
//! Each part says how much CPU time other processes of this machine took meanwhile. `$CLASSROOM_BINARY` names another
//! program.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

mod cost;
mod emulated;
mod line;
mod meeting;
mod moving;
mod recording;
#[path = "../../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use the rest")]
mod support;
#[path = "../usage.rs"]
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use classroom::protocol::{MAX_MESH, MAX_PARTICIPANTS};
use cost::Real;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The participants of a mesh, and of a meeting on the server.
const MESHES: [usize; 3] = [2, 4, MAX_MESH];
const MEETINGS: [usize; 3] = [MAX_MESH + 1, 12, MAX_PARTICIPANTS];

/// The most real participants, unless the command line says otherwise.
const REAL: usize = 12;

/// The length of a measurement in seconds.
const SECONDS: u64 = 15;

/// The command line.
struct Options {
    parts: Vec<String>,
    /// The numbers of participants; empty for those of each part.
    of: Vec<usize>,
    real: usize,
    looking: usize,
    length: Duration,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let length = Duration::from_secs(SECONDS);
        let mut options = Self { parts: Vec::new(), of: Vec::new(), real: REAL, looking: usize::MAX, length };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().ok_or(format!("{argument} needs a number"))?;
                value.parse::<usize>().map_err(|_| format!("{argument} {value}: give a number"))
            };
            match argument.as_str() {
                "mesh" | "server" | "move" | "line" => options.parts.push(argument),
                "--of" => options.of.push(number()?),
                "--real" => options.real = number()?,
                "--looking" => options.looking = number()?,
                "--for" => options.length = Duration::from_secs(number()? as u64),
                // Cargo adds this.
                "--bench" => {}
                other => {
                    let known = "the parts are mesh, server, move and line, and the flags --of N, --real N, \
                        --looking N and --for S";
                    return Err(format!("{other}: {known}"));
                }
            }
        }
        if options.parts.is_empty() {
            options.parts = ["mesh", "server", "move", "line"].map(str::to_owned).into();
        }
        Ok(options)
    }

    fn numbers(&self, of_part: &[usize]) -> Vec<usize> {
        if self.of.is_empty() { of_part.to_vec() } else { self.of.clone() }
    }
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(sentence) => {
            println!("{sentence}");
            return ExitCode::from(2);
        }
    };
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Each emulated participant has a socket for each other one.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    for part in &options.parts {
        match part.as_str() {
            "mesh" => {
                let real = Real { all: MAX_MESH, looking: options.looking };
                cost::print("in a mesh", &options.numbers(&MESHES), real, options.length);
            }
            "server" => {
                let real = Real { all: options.real, looking: options.looking };
                cost::print("over the server", &options.numbers(&MEETINGS), real, options.length);
            }
            "move" => moving::print(),
            _ => line::print(options.length),
        }
        println!();
    }
    ExitCode::SUCCESS
}
