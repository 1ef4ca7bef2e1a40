//! Attacks that need no healthy students: on the start of a teacher, on secrets, and on a room whose teacher crashed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::attack::proxy::Proxy;
use crate::attack::{Tally, Target, signalling};
use crate::class::{command, first_frame, free_port, is_first_frame, state_folder};
use crate::support::Process;

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
    let begun = std::time::Instant::now();
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
