//! A class on one machine: what it costs the teacher, what the students lose, how soon they see something.
//!
//! `cargo bench --bench class -- --students 100 --seconds 60 --joins 20`
//!
//! The teacher is the real program with its drawn test lecture. The students live in another process, so that the
//! teacher's CPU is its own; they do ICE, DTLS and SRTP for real, and look at every packet, but decode nothing: this
//! machine could not decode a hundred pictures. The joins are real `classroom watch --sink null`, one after another.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use classroom::signal::ServerUrl;
use serde_json::Value;

use self::receiver::Receiver;

#[path = "../it/support/receiver.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the tests, which use other parts of it")]
mod receiver;

const STUDENTS_OF: &str = "CLASSROOM_BENCH_STUDENTS";

struct Options {
    students: usize,
    seconds: u64,
    joins: usize,
    bitrate: String,
}

fn options() -> Options {
    let mut options = Options { students: 100, seconds: 20, joins: 20, bitrate: "2500k".to_owned() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
        match argument.as_str() {
            "--students" => options.students = value().parse().unwrap(),
            "--seconds" => options.seconds = value().parse().unwrap(),
            "--joins" => options.joins = value().parse().unwrap(),
            "--bitrate" => options.bitrate = value(),
            "--bench" => {}
            other => panic!("{other} is no option: --students N --seconds N --joins N --bitrate 2500k"),
        }
    }
    options
}

fn main() {
    if let Ok(what) = std::env::var(STUDENTS_OF) {
        let (server, count) = what.split_once(' ').unwrap();
        return students(server.parse().unwrap(), count.parse().unwrap());
    }
    let options = options();
    let mut teacher = Teacher::start(&options.bitrate);
    let first_frames = joins(&teacher.server, options.joins);
    let idle = teacher.memory_kb();

    let begun = Instant::now();
    let mut class = Command::new(std::env::current_exe().unwrap())
        .env(STUDENTS_OF, format!("{} {}", teacher.server, options.students))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let joined_cpu = teacher.sfu_cpu();
    let mut lines = BufReader::new(class.stdout.take().unwrap());
    assert_eq!(line(&mut lines), "joined");
    let joined = begun.elapsed();
    let join_cpu = teacher.sfu_cpu() - joined_cpu;
    // Late joiners are served from the ring for a moment; the measurement is of a class that sits.
    std::thread::sleep(Duration::from_secs(3));
    let full = teacher.memory_kb();
    let (cpu, all_cpu, packets, at) = (teacher.sfu_cpu(), teacher.cpu(), teacher.packets(), Instant::now());
    std::thread::sleep(Duration::from_secs(options.seconds));
    let (cpu, all_cpu) = (teacher.sfu_cpu() - cpu, teacher.cpu() - all_cpu);
    let (packets, seconds) = (teacher.packets() - packets, at.elapsed().as_secs_f64());
    writeln!(class.stdin.take().unwrap(), "report").unwrap();
    let report: Value = serde_json::from_str(&line(&mut lines)).unwrap();
    class.wait().unwrap();
    let dropped = teacher.dropped();
    teacher.end();

    let n = options.students as f64;
    println!();
    println!("| a class of {} for {} s | |", options.students, options.seconds);
    println!("| --- | --- |");
    if let (Some(median), Some(worst)) = (first_frames.get(first_frames.len() / 2), first_frames.last()) {
        println!(
            "| join to first decoded frame, median of {} (worst) | {median:.0} ms ({worst:.0} ms) |",
            options.joins
        );
    }
    println!("| joined in | {:.2} s |", joined.as_secs_f64());
    println!("| teacher's CPU for a join | {:.1} ms |", join_cpu * 1000.0 / n);
    println!("| delivered | {:.0} packets/s |", packets as f64 / seconds);
    println!("| teacher's CPU per delivered packet (SFU thread) | {:.2} us |", cpu * 1e6 / packets as f64);
    println!("| SFU thread | {:.1} % of a core |", cpu / seconds * 100.0);
    println!("| whole teacher, encoders and test picture included | {:.1} % of a core |", all_cpu / seconds * 100.0);
    println!("| memory per student | {:.0} kB |", (full - idle) as f64 / n);
    println!(
        "| packets received, asked for again, lost for good | {}, {}, {} |",
        report["received"], report["nacked"], report["lost"]
    );
    println!("| frames left out by the teacher | {dropped} |");
}

/// `classroom watch`, one after another: milliseconds from its start to the first decoded picture, sorted.
fn joins(server: &str, count: usize) -> Vec<f64> {
    let mut all: Vec<f64> = (0..count)
        .map(|n| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_classroom"));
            command.args(["watch", "--room", "bench", "--user", &format!("join-{n}"), "--server", server]);
            let begun = Instant::now();
            let mut child = command
                .args(["--sink", "null", "--json"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap());
            let first = loop {
                let event: Value = serde_json::from_str(&line(&mut lines)).unwrap();
                if event["event"] == "first-frame" && event["track"] == "screen" {
                    break begun.elapsed();
                }
            };
            child.kill().unwrap();
            child.wait().unwrap();
            first.as_secs_f64() * 1000.0
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all
}

fn line(lines: &mut impl BufRead) -> String {
    let mut text = String::new();
    assert!(lines.read_line(&mut text).unwrap() > 0, "the other process ended");
    text.trim().to_owned()
}

/// The program, teaching.
struct Teacher {
    child: Child,
    server: String,
    stats: Arc<Mutex<Value>>,
}

impl Teacher {
    fn start(bitrate: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_classroom"))
            .args(["teach", "--room", "bench", "--test", "--listen", "127.0.0.1:0", "--json", "--bitrate", bitrate])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines: BufReader<ChildStdout> = BufReader::new(child.stdout.take().unwrap());
        let server = loop {
            let event: Value = serde_json::from_str(&line(&mut lines)).unwrap();
            if event["event"] == "listening" {
                break event["ws"].as_str().unwrap().to_owned();
            }
        };
        let stats = Arc::new(Mutex::new(Value::Null));
        let latest = Arc::clone(&stats);
        std::thread::spawn(move || {
            for text in lines.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&text).unwrap();
                if event["event"] == "stats" {
                    *latest.lock().unwrap() = event;
                }
            }
        });
        let teacher = Self { child, server, stats };
        while teacher.stats.lock().unwrap().is_null() {
            std::thread::sleep(Duration::from_millis(50));
        }
        teacher
    }

    fn packets(&self) -> u64 {
        self.stats.lock().unwrap()["packets"].as_u64().unwrap()
    }

    fn dropped(&self) -> u64 {
        self.stats.lock().unwrap()["dropped"].as_u64().unwrap()
    }

    /// Seconds of CPU of the whole process.
    fn cpu(&self) -> f64 {
        cpu_of(&format!("/proc/{}/stat", self.child.id()))
    }

    /// Seconds of CPU of the SFU's thread.
    fn sfu_cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks
            .map(|task| task.unwrap().path())
            .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "sfu"))
            .map(|task| cpu_of(task.join("stat").to_str().unwrap()))
            .sum()
    }

    fn memory_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// User and system time of a `stat` file of `/proc`, which counts in hundredths of a second.
fn cpu_of(path: &str) -> f64 {
    let stat = std::fs::read_to_string(path).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// The other process: joins all, says so, and reports when asked.
fn students(server: ServerUrl, count: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let receivers: Vec<Receiver> = runtime.block_on(async {
        let join = |n: usize| {
            let (server, room) = (server.clone(), "bench".parse().unwrap());
            tokio::spawn(Receiver::join(server, room, n.to_string().parse().unwrap()))
        };
        let mut receivers = Vec::new();
        for join in (0..count).map(join).collect::<Vec<_>>() {
            receivers.push(join.await.unwrap());
        }
        receivers
    });
    println!("joined");
    std::io::stdout().flush().unwrap();
    let mut asked = String::new();
    std::io::stdin().read_line(&mut asked).unwrap();
    let nacked: u64 = receivers.iter().map(|one| one.link.stats().nacks).sum();
    let (received, lost) = receivers.iter().map(|one| one.seen.sum()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    println!("{}", serde_json::json!({ "received": received, "lost": lost, "nacked": nacked }));
    std::process::exit(0);
}
