//! How long a student waits for the first frame: from the start of `classroom watch` to its first decoded frame.
//!
//! `cargo bench --bench joins -- 20`
//!
//! The publisher is `classroom teach` with its test lecture. The students are `classroom watch --sink null`, one after
//! another.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

/// Joins, if the command line has no number.
const JOINS: usize = 20;

fn main() {
    // Cargo adds `--bench`.
    let joins = std::env::args().skip(1).find(|argument| argument != "--bench");
    let joins = joins.map_or(JOINS, |number| number.parse().unwrap_or_else(|_| panic!("{number}: give a number")));
    let mut teacher = Process::start(&["teach", "--room", "bench", "--test", "--listen", "127.0.0.1:0"]);
    let listening = teacher.wait_for(|event| event["event"] == "listening");
    let server = listening["ws"].as_str().unwrap();
    // Encoders run once their first packets are counted.
    teacher.wait_for(|event| event["event"] == "stats");

    let mut milliseconds: Vec<f64> = (0..joins)
        .map(|n| {
            let user = format!("join-{n}");
            let began = Instant::now();
            let arguments = ["watch", "--room", "bench", "--user", &user, "--server", server, "--sink", "null"];
            let mut student = Process::start(&arguments);
            student.wait_for(|event| event["event"] == "first-frame" && event["track"] == "screen");
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    milliseconds.sort_by(f64::total_cmp);
    let (median, worst) = (milliseconds[joins / 2], milliseconds[joins - 1]);
    println!("start of watch to first decoded frame, median of {joins} (worst): {median:.0} ms ({worst:.0} ms)");
}

/// A `classroom` process and its events. Dropping it kills it.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_classroom"));
        command.args(arguments).arg("--json").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads events until one is wanted.
    fn wait_for(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.next().expect("the process runs").unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if is_wanted(&event) {
                return event;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
