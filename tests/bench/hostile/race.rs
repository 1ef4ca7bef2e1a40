//! Attacks on classes of another shape: on the start of a teacher, on secrets, on a room whose teacher crashed, and on
//! the search for the room in a network of machines.

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::attack::dns_sd::{self, Message};
use crate::attack::proxy::Proxy;
use crate::attack::udp::Flood;
use crate::attack::{Tally, Target, signalling};
use crate::class::{SETTLES, command, first_frame, free_port, is_first_frame, state_folder, used};
use crate::judge::{MAX_GROWTH_MB, NEWCOMER_WITHIN, Sight};
use crate::support::{Lan, Process, has_lan};

/// The teaching key of a server apart.
const KEY: &str = "teaching-key-of-the-bench";

/// How often a teacher starts.
const STARTS: usize = 8;

fn target(port: u16) -> Target {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Target::new(address, address).unwrap()
}

/// Strangers want to publish in the room from before the port is open. The teacher must get it every time.
pub fn strangers_at_the_start(runtime: &Runtime) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..STARTS {
        let port = free_port();
        let state = state_folder(port);
        let target = target(port);
        let strangers = runtime.spawn(async move { signalling::publishers(&target, Duration::from_secs(4)).await });
        let listen = format!("127.0.0.1:{port}");
        let flags = ["teach", "--room", "10013", "--test", "--size", "640x360", "--no-qr", "--listen", &listen];
        let mut teacher = Process::start("teacher", command(&state, &flags));
        let strangers = runtime.block_on(strangers).unwrap_or_default();
        tally.expect(!teacher.ends_within(Duration::ZERO), || "a stranger was first, and the teacher ended".into());
        tally.add(strangers);
        drop(teacher);
        let _ = std::fs::remove_dir_all(state);
    }
    tally
}

/// A server apart whose teacher is killed. A stranger from another network wants the room for longer than the teacher's
/// place is reserved; then the teacher comes back.
pub fn a_room_whose_teacher_crashed(runtime: &Runtime) -> Tally {
    let port = free_port();
    let state = state_folder(port);
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("ws://127.0.0.1:{port}"));
    let server = Process::start("server", command(&state, &["serve", "--listen", &listen, "--teach-key", KEY]));
    server.wait_for("listening", |event| event["event"] == "listening");
    let teach = [
        "teach",
        "--room",
        "10013",
        "--test",
        "--size",
        "640x360",
        "--no-qr",
        "--server",
        &url,
        "--udp-port",
        "0",
        "--teach-key",
        KEY,
    ];
    let mut teacher = Process::start("teacher", command(&state, &teach));
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let watch = ["watch", "--room", "10013", "--user", "1001", "--sink", "null", "--server", &url];
    let student = Process::start("student", command(&state, &watch));
    student.wait_for("first frame", is_first_frame);
    teacher.kill();
    let target = target(port);
    let mut tally = runtime.block_on(async move { signalling::publishers(&target, Duration::from_secs(8)).await });
    let mark = student.mark();
    let begun = Instant::now();
    let mut back = Process::start("teacher", command(&state, &teach));
    let sees = || student.events()[mark..].iter().any(|event| event["event"] == "stats" && event["fps"] != 0.0);
    while !sees() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    tally.expect(!back.ends_within(Duration::ZERO), || "the real teacher was refused".into());
    tally.expect(sees(), || "the student did not see the teacher who came back".into());
    let newcomer =
        Process::start("newcomer", command(&state, &watch.map(|word| if word == "1001" { "1002" } else { word })));
    let saw = first_frame(&newcomer, begun, Duration::from_secs(20));
    tally.expect(saw.is_some(), || "a newcomer saw nothing of the teacher who came back".into());
    drop((back, student, newcomer, server));
    let _ = std::fs::remove_dir_all(state);
    tally
}

/// A student watches through a proxy that keeps the request lines: none may contain a secret.
pub fn secrets_in_urls(runtime: &Runtime) -> Tally {
    let mut tally = Tally::default();
    let port = free_port();
    let state = state_folder(port);
    let listen = format!("127.0.0.1:{port}");
    let flags = ["teach", "--room", "10013", "--test", "--size", "640x360", "--no-qr", "--listen", &listen];
    let teacher = Process::start("teacher", command(&state, &flags));
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], port)))).unwrap();
    let url = format!("ws://{}", proxy.address);
    let watch = ["watch", "--room", "10013", "--user", "1001", "--sink", "null", "--server", &url];
    let student = Process::start("student", command(&state, &watch));
    student.wait_for("first frame", is_first_frame);
    proxy.expect_no_secrets(&mut tally);
    drop((student, teacher, proxy));
    let _ = std::fs::remove_dir_all(state);
    tally
}

/// The most lines about trouble that a person reads because of an attack.
const MAX_LINES: usize = 10;

/// Three students watch a lecture that they have found by DNS-SD. Another machine announces the room as its own, fills
/// the caches of everybody, and asks for all rooms; meanwhile a newcomer searches.
pub fn forged_announcements(runtime: &Runtime) -> Tally {
    let mut tally = Tally::default();
    if !has_lan("dns-sd") {
        tally.count("skipped: machines need root");
        return tally;
    }
    let state = state_folder(free_port());
    let mut lan = Lan::new();
    let [here, there, elsewhere] = std::array::from_fn(|_| lan.machine());
    let teach = ["teach", "--room", "10013", "--test", "--size", "640x360", "--no-qr", "--tls"];
    let teacher = Process::start_on(&here, "teacher", &command(&state, &teach));
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let watch = |user: &str| command(&state, &["watch", "--room", "10013", "--user", user, "--sink", "null"]);
    let students = ["1001", "1002", "1003"].map(|user| Process::start_on(&there, user, &watch(user)));
    students.iter().for_each(|student| _ = student.wait_for("first frame", is_first_frame));
    std::thread::sleep(SETTLES);

    let address = elsewhere.address().parse().unwrap();
    let forged = elsewhere.open(|| TcpListener::bind((address, 0))).unwrap();
    forged.set_nonblocking(true).unwrap();
    let server = SocketAddrV4::new(address, forged.local_addr().unwrap().port());
    let (base, mark) = (used(teacher.pid()), teacher.mark());
    let marks = students.each_ref().map(Process::mark);
    let (begun, lasts) = (Instant::now(), Duration::from_secs(10));
    let floods = [(Message::Announcement, 1_000), (Message::Orphan, 3_000), (Message::Query, 1_000)];
    let attackers = floods.map(|(message, per_second)| {
        let socket = elsewhere.open(|| dns_sd::socket(address)).unwrap();
        runtime.spawn(dns_sd::flood(socket, message, server, Flood { per_second, lasts }))
    });
    let newcomer = Process::start_on(&there, "newcomer", &watch("1004"));
    let saw = first_frame(&newcomer, begun, NEWCOMER_WITHIN);
    let mut most_kb = used(teacher.pid()).memory_kb;
    while begun.elapsed() < lasts {
        most_kb = most_kb.max(used(teacher.pid()).memory_kb);
        std::thread::sleep(crate::class::SAMPLE);
    }
    for attacker in attackers {
        tally.add(runtime.block_on(attacker).unwrap_or_default());
    }
    let (cpu, observed) = (used(teacher.pid()).cpu - base.cpu, begun.elapsed().as_secs_f64());
    tally.count_many("% of a core for the teacher", (cpu / observed * 100.0) as u64);
    let grown = most_kb.saturating_sub(base.memory_kb) as f64 / 1000.0;
    tally.count_many("MB more for the teacher", grown as u64);
    tally.expect(grown < MAX_GROWTH_MB, || format!("the teacher has {grown:.0} MB more"));
    // So many datagrams may hide the teacher's announcement, but they lead nobody astray.
    tally.count(if saw.is_some() { "found by a newcomer" } else { "not found by a newcomer" });
    tally.expect(forged.accept().is_err(), || "somebody asked the forged server".into());
    let sight = students.iter().zip(marks).map(|(student, mark)| Sight::of(&student.events(), mark));
    let sight = sight.reduce(Sight::worst).unwrap_or_default();
    tally.expect(sight.frozen_ms == 0 && sight.lost == 0, || format!("healthy students saw {sight:?}"));
    let is_line = |event: &&serde_json::Value| event["event"] == "warning" || event["event"] == "notice";
    let lines = [(&teacher, mark), (&newcomer, 0)].map(|(process, mark)| {
        let events = process.events();
        events[mark..].iter().filter(is_line).count()
    });
    tally.expect(lines.iter().all(|lines| *lines <= MAX_LINES), || format!("{lines:?} lines about trouble"));
    drop((students, newcomer, teacher));
    let _ = std::fs::remove_dir_all(state);
    tally
}
