//! Every fuzz target with many mutations of its seeds, without libFuzzer and nightly.
//!
//! `cargo bench --bench fuzz -- --inputs 1000000 [--seed 1] [TARGET...]`
//!
//! Each target gets its own thread, as many at a time as there are cores. An input that fails is written to
//! `fuzz/artifacts/`, where cargo-fuzz writes them too, and belongs into `fuzz/seeds/`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use classroom::fuzz::{Mutator, TARGETS, Target, seeds};
use rustix::time::{ClockId, clock_gettime};

/// Inputs of each target, if the command line has no number.
const INPUTS: u64 = 100_000;

/// The most CPU time of one input. The slowest legal input, 64 kB of SDP through the core, takes a tenth.
const MAX_CPU_TIME: Duration = Duration::from_millis(100);

/// The findings of a run.
struct Outcome {
    inputs: u64,
    accepted: u64,
    bytes: u64,
    /// The CPU time of the slowest input, and its length.
    slowest: (Duration, usize),
    failures: u64,
    took: Duration,
}

fn main() {
    let (mut inputs, mut seed, mut names) = (INPUTS, 1, Vec::new());
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{argument} NUMBER"));
        match argument.as_str() {
            "--inputs" => inputs = number(),
            "--seed" => seed = number(),
            _ => names.push(argument),
        }
    }
    let unknown = names.iter().find(|name| TARGETS.iter().all(|target| target.name != *name));
    assert!(unknown.is_none(), "{unknown:?} is no target");
    let is_wanted = |target: &&Target| names.is_empty() || names.iter().any(|name| name == target.name);
    let left: Mutex<Vec<Target>> = Mutex::new(TARGETS.iter().rev().filter(is_wanted).copied().collect());
    println!("{:16} {:>9} {:>8} {:>6} {:>9} {:>21}", "target", "inputs", "accepted", "s", "inputs/s", "slowest, CPU");
    let began = Instant::now();
    let failures: u64 = std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let worker = || {
            let mut failures = 0;
            loop {
                let Some(target) = left.lock().unwrap().pop() else { return failures };
                let outcome = fuzz(target, inputs, seed);
                print(target, &outcome);
                failures += outcome.failures;
            }
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{:.0} s in all, {failures} failures", began.elapsed().as_secs_f64());
    assert_eq!(failures, 0, "see fuzz/artifacts/");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Runs a target with mutations of its seeds, until it has failed ten times.
fn fuzz(target: Target, inputs: u64, seed: u64) -> Outcome {
    let mut mutator = Mutator::new(seeds(&folder().join("seeds").join(target.name)).unwrap(), seed);
    let began = Instant::now();
    let mut outcome =
        Outcome { inputs: 0, accepted: 0, bytes: 0, slowest: (Duration::ZERO, 0), failures: 0, took: Duration::ZERO };
    while outcome.inputs < inputs && outcome.failures < 10 {
        let input = mutator.mutation();
        let before = cpu_time();
        let result = std::panic::catch_unwind(|| (target.body)(&input));
        let took = cpu_time() - before;
        outcome.inputs += 1;
        outcome.bytes += input.len() as u64;
        outcome.accepted += u64::from(matches!(result, Ok(true)));
        outcome.slowest = outcome.slowest.max((took, input.len()));
        if result.is_err() || took > MAX_CPU_TIME {
            outcome.failures += 1;
            let artifacts = folder().join("artifacts").join(target.name);
            std::fs::create_dir_all(&artifacts).unwrap();
            let file = artifacts.join(format!("seed-{seed}-input-{}", outcome.inputs));
            std::fs::write(&file, &input).unwrap();
            println!("{}: {took:?} of CPU, panic: {}: {}", target.name, result.is_err(), file.display());
        }
    }
    outcome.took = began.elapsed();
    outcome
}

fn print(target: Target, outcome: &Outcome) {
    let seconds = outcome.took.as_secs_f64();
    let percent = 100.0 * outcome.accepted as f64 / outcome.inputs as f64;
    let (slowest, length) = outcome.slowest;
    println!(
        "{:16} {:>9} {percent:>7.1}% {seconds:>6.0} {:>9.0} {:>8.2} ms, {length:>5} B",
        target.name,
        outcome.inputs,
        outcome.inputs as f64 / seconds,
        slowest.as_secs_f64() * 1000.0
    );
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
