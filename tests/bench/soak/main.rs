//! Students that come and go for hours: memory, files, sockets and threads must stay flat.
//!
//! ```sh
//! cargo bench --bench soak                      # 10,000 joins
//! cargo bench --bench soak -- --hours 2         # as many joins as two hours have time for
//! cargo bench --bench soak -- --joins 500 --at-once 10 --plain
//! ```
//!
//! The class is `classroom serve --tls`, `classroom teach --server`, and one `watch` that stays. Students are real
//! connections in this process: each joins, stays for up to two seconds, and leaves; one in three has a bad line, and
//! one in six disappears without a goodbye. The server is killed and started again at a tenth, at two tenths and at the
//! half of the run.
//!
//! Once a minute, and at the end, a line is printed. At the end `target/tmp/soak.csv` and `soak.svg` are written, and
//! the last quarter is compared with the second one. The exit code is 1 if something has grown, or if the student that
//! stayed has no picture. `$CLASSROOM_BINARY` names another program.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark fails by panicking, and prints"
)]

#[path = "../../attack/mod.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod attack;
#[path = "../hostile/browser.rs"]
#[allow(dead_code, reason = "the hostile bench uses the rest")]
mod browser;
#[path = "../hostile/class.rs"]
#[allow(dead_code, reason = "the other bench uses the rest")]
mod class;
mod plot;
mod sample;
mod students;
#[path = "../../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use the rest")]
mod support;
#[path = "../usage.rs"]
#[allow(dead_code, reason = "the bench of meetings uses the rest")]
mod usage;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::attack::Target;
use self::class::{command, free_port, is_first_frame, state_folder};
use self::sample::{Sample, Samples};
use self::students::{Counts, Students};
use self::support::Process;

/// Joins, if the command line has neither a number nor a time.
const JOINS: u64 = 10_000;

/// Students in the room at a time.
const AT_ONCE: usize = 20;

/// How often the processes are looked at, and how often a line is printed.
const SAMPLE: Duration = Duration::from_secs(1);
const PRINT: Duration = Duration::from_secs(60);

/// When the server is killed, as fractions of the run. The second and the last quarter then have a server of about the
/// same age distribution, and a leak makes the last one larger.
const DEATHS: [f64; 3] = [0.1, 0.2, 0.5];

/// The command line.
struct Options {
    joins: Option<u64>,
    time: Option<Duration>,
    at_once: usize,
    plain: bool,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self { joins: None, time: None, at_once: AT_ONCE, plain: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().unwrap_or_else(|| panic!("{argument} needs a number"));
                value.parse::<f64>().unwrap_or_else(|_| panic!("{argument} {value}: give a number"))
            };
            match argument.as_str() {
                "--joins" => options.joins = Some(number() as u64),
                "--hours" => options.time = Some(Duration::from_secs_f64(number() * 3600.0)),
                "--at-once" => options.at_once = number() as usize,
                "--plain" => options.plain = true,
                // Cargo adds this.
                "--bench" => {}
                other => panic!("{other}: the flags are --joins N, --hours N, --at-once N and --plain"),
            }
        }
        if options.time.is_none() {
            options.joins.get_or_insert(JOINS);
        }
        options
    }

    /// How much of the run is done, 0 to 1.
    fn done(&self, begun: Instant, counts: Counts) -> f64 {
        let of_time = self.time.map(|time| begun.elapsed().as_secs_f64() / time.as_secs_f64());
        let of_joins = self.joins.map(|joins| counts.joined as f64 / joins as f64);
        of_time.into_iter().chain(of_joins).fold(0.0, f64::max)
    }
}

/// The processes of the class.
struct School {
    state: PathBuf,
    listen: String,
    plain: bool,
    server: Process,
    teacher: Process,
    stays: Process,
    target: Target,
}

impl School {
    fn start(plain: bool) -> Self {
        let port = free_port();
        let state = state_folder(port);
        let listen = format!("127.0.0.1:{port}");
        let url = format!("{}://{listen}", if plain { "ws" } else { "wss" });
        let server = serve(&state, &listen, plain);
        let teach = ["teach", "--room", "10013", "--test", "--size", "320x180", "--bitrate", "200k", "--no-qr"];
        let place = ["--server", &url, "--udp-port", "0"];
        let teacher = Process::start("teacher", command(&state, &[&teach[..], &place].concat()));
        let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
        let media_port: u16 = listening["udp"].as_u64().unwrap().try_into().unwrap();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut target = Target::new(local(port), local(media_port)).unwrap();
        if !plain {
            target.tls = Some(attack::trust(&state.join("classroom/ca.pem")).unwrap());
        }
        let watch = ["watch", "--room", "10013", "--user", "stays", "--sink", "null", "--server", &url];
        let stays = Process::start("student", command(&state, &watch));
        stays.wait_for("first frame", is_first_frame);
        Self { state, listen, plain, server, teacher, stays, target }
    }

    /// Kills the server without a goodbye and starts another one.
    fn restart_server(&mut self) {
        self.server.kill();
        self.server = serve(&self.state, &self.listen, self.plain);
    }

    /// Whether the student that stays got pictures in the last second.
    fn sees(&self) -> bool {
        let events = self.stays.events();
        let last = events.iter().rev().find(|event| event["event"] == "stats" && event["track"] == "screen");
        last.is_some_and(|stats| stats["fps"].as_f64().is_some_and(|fps| fps > 0.0))
    }
}

impl Drop for School {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

fn serve(state: &PathBuf, listen: &str, plain: bool) -> Process {
    let flags: &[&str] = if plain { &[] } else { &["--tls"] };
    let server = Process::start("server", command(state, &[&["serve", "--listen", listen], flags].concat()));
    server.wait_for("listening", |event| event["event"] == "listening");
    server
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut school = School::start(options.plain);
    let students = Students::start(&runtime, &school.target, options.at_once);
    let (begun, mut samples, mut deaths) = (Instant::now(), Samples::default(), DEATHS.iter().peekable());
    let (mut printed, mut next) = (None::<Instant>, Instant::now());
    println!("{}", Sample::HEADER);
    loop {
        let counts = students.counts();
        let done = options.done(begun, counts);
        samples.0.push(Sample::take(begun, counts, school.teacher.pid(), school.server.pid()));
        if done >= 1.0 || printed.is_none_or(|at| at.elapsed() >= PRINT) {
            printed = Some(Instant::now());
            println!("{}", samples.0.last().unwrap());
        }
        if done >= 1.0 {
            break;
        }
        if deaths.next_if(|at| done >= **at).is_some() {
            school.restart_server();
            println!("{:>7.0} s: the server was killed and started again", begun.elapsed().as_secs_f64());
        }
        next += SAMPLE;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let sees = school.sees();
    runtime.block_on(students.end());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    samples.write(folder).unwrap();
    println!("{}/soak.csv and soak.svg have every second", folder.display());
    let mut failures = samples.growth();
    if !sees {
        failures.push("the student that stayed has no picture".to_owned());
    }
    for failure in &failures {
        println!("{failure}");
    }
    if failures.is_empty() {
        println!("flat: the last quarter is as the second one");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}
