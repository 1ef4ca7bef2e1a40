//! Students whose networks let media pass only through a TURN server: coturn, and the one in our own program.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use classroom::access::{TurnCredentials, TurnSecret, turn_credentials};
use serde_json::json;

use crate::calls::has_frames;
use crate::conference::Peer;
use crate::support::{
    Classroom, DEADLINE, Lan, Line, Process, ROOM, ask, free_port, has_lan, has_tools, is_picture, lecture_file, poll,
};

const TOOLS: [&str; 2] = ["gst-launch-1.0", "espeak-ng"];
const SECRET: &str = "north-south-east-west";

/// Debian's coturn with our secret, on loopback.
struct Coturn(Child);

impl Coturn {
    #[track_caller]
    fn start(port: u16, directory: &Path) -> Self {
        let (port_flag, file) = (format!("--listening-port={port}"), |name: &str| directory.join(name));
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--use-auth-secret", &format!("--static-auth-secret={SECRET}"), "--realm=test"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", &port_flag, "--allow-loopback-peers"])
            .args(["--no-cli", "--no-tls", "--no-dtls", "--no-rfc5780", "--relay-threads=1"])
            .arg(format!("--userdb={}", file("turndb").display()))
            .arg(format!("--pidfile={}", file("turn.pid").display()))
            .arg(format!("--log-file={}", file("turn.log").display()))
            .args(["--simple-log", "--no-stdout-log"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let this = Self(command.spawn().unwrap());
        let answers = poll(DEADLINE, || TcpStream::connect(("127.0.0.1", port)).ok());
        assert!(answers.is_some(), "coturn does not listen");
        this
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The flags for a student with credentials that end `ttl` after an hour ago.
fn login(ttl: Duration) -> [String; 4] {
    let secret: TurnSecret = SECRET.parse().unwrap();
    let (room, user) = (ROOM.parse().unwrap(), "1003".parse().unwrap());
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    let TurnCredentials { username, credential } = turn_credentials(&secret, (&room, &user), ttl, hour_ago);
    ["--turn-user".to_owned(), username, "--turn-pass".to_owned(), credential]
}

const TWO_HOURS: Duration = Duration::from_secs(7_200);
const A_MINUTE: Duration = Duration::from_secs(60);

#[test]
fn students_watch_through_coturn_and_one_with_old_credentials_reads_why_not() {
    if !has_tools("coturn", &["turnserver", TOOLS[0], TOOLS[1]]) {
        return;
    }
    let class = Classroom::new();
    let port = free_port();
    let _coturn = Coturn::start(port, class.directory());
    let by_tcp = format!("turn:127.0.0.1:{port}?transport=tcp");
    let flags = ["--file", lecture_file().to_str().unwrap(), "--loop", "--turn", &by_tcp, "--turn-secret", SECRET];
    let _teacher = class.teacher(&flags);
    let student = class.student(1001, &["--relay-only"]);

    let by_udp = format!("turn:127.0.0.1:{port}");
    let [user_flag, user, pass_flag, pass] = &login(TWO_HOURS);
    let of_udp = class.student(1002, &["--relay-only", "--turn", &by_udp, user_flag, user, pass_flag, pass]);
    let [user_flag, user, pass_flag, pass] = &login(A_MINUTE);
    let late = class.student(1003, &["--relay-only", "--turn", &by_udp, user_flag, user, pass_flag, pass]);

    let path = |event: &serde_json::Value| event["event"] == "path";
    let of_first = student.wait_for("path", path);
    assert_eq!((&of_first["path"], &of_first["udp_blocked"]), (&"turn/tcp".into(), &true.into()));
    assert_eq!(of_udp.wait_for("path", path)["path"], "turn/udp");
    student.wait_for("picture", is_picture);
    of_udp.wait_for("picture", is_picture);
    let refused = |event: &serde_json::Value| {
        event["event"] == "warning" && event["message"].as_str().is_some_and(|text| text.contains("refused this"))
    };
    let why = late.wait_for("refusal", refused)["message"].to_string();
    assert!(why.contains("401") && why.contains("expired"), "{why}");
    assert!(!late.events().iter().any(is_picture));
}

#[test]
fn students_watch_through_our_own_turn_server_by_udp_tcp_and_tls() {
    if !has_tools("our TURN server", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let port = free_port();
    let (at, secret) = (format!("--turn=127.0.0.1:{port}"), ["--turn-secret", SECRET]);
    let file = lecture_file();
    let flags = ["--file", file.to_str().unwrap(), "--loop", &at, secret[0], secret[1], "--tls", "--host", "localhost"];
    let teacher = class.teacher(&flags);
    let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
    let fingerprint = listening["fingerprint"].as_str().unwrap().to_owned();
    // Without a flag but the one for this test: what a student in such a network does.
    let student = class.student(1001, &["--relay-only"]);
    let [user_flag, user, pass_flag, pass] = &login(TWO_HOURS);
    let by = |user_id, url: &str| {
        let flags = ["--relay-only", "--turn", url, user_flag, user, pass_flag, pass, "--fingerprint", &fingerprint];
        let server = format!("wss://127.0.0.1:{}", class.port());
        let watch = ["watch", "--room", ROOM, "--user", user_id, "--server", &server, "--sink", "null"];
        Process::start(user_id, class.command(&[&watch[..], &flags].concat()))
    };
    // The TCP port of the pages carries TURN, too.
    let of_tcp = by("1002", &format!("turn:127.0.0.1:{}?transport=tcp", class.port()));
    let of_tls = by("1003", &format!("turns:127.0.0.1:{port}"));
    for (student, expected) in [(&student, "turn/"), (&of_tcp, "turn/tcp"), (&of_tls, "turn/tls")] {
        let path = student.wait_for("path", |event| event["event"] == "path");
        assert!(path["path"].as_str().unwrap().starts_with(expected), "{path}");
        student.wait_for("picture", is_picture);
    }
    let metrics = ask(&class, "GET", "/metrics", &[], "").body;
    let value = |sample: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
        line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or_else(|| panic!("no {sample} in {metrics}"))
    };
    assert!(value("classroom_turn_allocations ") >= 3.0);
    assert!(value("classroom_turn_relayed_bytes_total{to=\"clients\"} ") > 10_000.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_and_a_meeting_pass_our_own_turn_server() {
    if !has_tools("a call by our TURN server", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let (listen, at) = (format!("127.0.0.1:{}", class.port()), format!("--turn=127.0.0.1:{}", free_port()));
    let server = Process::start("server", class.command(&["serve", "--listen", &listen, &at, "--turn-secret", SECRET]));
    server.wait_for("listening", |event| event["event"] == "listening");
    let url = class.url();
    let start = |verb: &str, user: &str, flags: &[&str]| {
        let common = [verb, "--user", user, "--server", &url, "--relay-only", "--speak-test", "--sink", "null"];
        let process = Process::start(&format!("{verb} {user}"), class.command(&[&common, flags].concat()));
        process.wait_for("the room", |event| event["event"] == "joined");
        process
    };
    let is_relayed = |process: &Process, other: &str| {
        let path = process.wait_for("path", |event| event["event"] == "path" && event["user"] == other);
        assert!(path["path"].as_str().unwrap().starts_with("turn/"), "{path}");
        process.wait_for("picture", has_frames(other, "camera"));
    };
    let desk = start("call", "1002", &["--answer"]);
    let caller = start("call", "1001", &["--to", "1002"]);
    is_relayed(&desk, "1001");
    is_relayed(&caller, "1002");
    drop((desk, caller));

    let (ada, ben) = (start("meet", "1001", &["--room", ROOM]), start("meet", "1002", &["--room", ROOM]));
    is_relayed(&ada, "1002");
    is_relayed(&ben, "1001");
    // Over the server, too.
    let mut cleo = Peer::meet(&class, 1003, &"c".repeat(32)).await;
    cleo.say(json!({"type": "overloaded"})).await;
    for (process, other) in [(&ada, "1002"), (&ben, "1001")] {
        let is_moved = |event: &serde_json::Value| event["user"] == other && event["state"] == "moved";
        process.wait_for("the end of a pair", is_moved);
        process.wait_since(process.mark(), DEADLINE, "picture from the server", has_frames(other, "camera"));
    }
}

/// `cargo test --test it blocks_udp -- --ignored`: as root, for network namespaces.
#[test]
#[ignore = "needs root, and a network namespace for each machine"]
fn students_whose_network_blocks_udp_watch_by_tcp_and_by_turn_over_tls() {
    if !has_lan("students_whose_network_blocks_udp_watch_by_tcp_and_by_turn_over_tls") {
        return;
    }
    let class = Classroom::new();
    let mut lan = Lan::new();
    let (teacher, student) = (lan.machine(), lan.machine());
    student.set_line(Some(Line::BlocksUdp));
    let at = format!("{}:18080", teacher.address());
    let flags =
        ["--test", "--size", "320x180", "--fps", "10", "--listen", &at, "--tls", "--turn", "--turn-secret", SECRET];
    let teach = class.command(&[&["teach", "--room", ROOM, "--user", "9999"][..], &flags].concat());
    let teaching = Process::start_on(&teacher, "teacher", &teach);
    let listening = teaching.wait_for("listening", |event| event["event"] == "listening");
    let fingerprint = listening["fingerprint"].as_str().unwrap().to_owned();
    let server = format!("wss://{at}");
    let watch = |user: &str, more: &[&str]| {
        let watch = ["watch", "--room", ROOM, "--user", user, "--server", &server, "--fingerprint", &fingerprint];
        let command = class.command(&[&watch[..], &["--sink", "null"], more].concat());
        Process::start_on(&student, user, &command)
    };
    let [user_flag, user, pass_flag, pass] = &login(TWO_HOURS);
    let turns = format!("turns:{at}");
    let by_turn = ["--relay-only", "--turn", &turns, user_flag, user, pass_flag, pass];
    // Which of the ways by TCP is the first one, the load of the computer decides.
    let ways: [&[&str]; 2] = [&["tcp", "turn/tcp", "turn/tls"], &["turn/tls"]];
    for (student, ways) in [watch("1001", &[]), watch("1003", &by_turn)].into_iter().zip(ways) {
        let path = student.wait_for("path", |event| event["event"] == "path");
        assert!(ways.iter().any(|way| path["path"] == *way) && path["udp_blocked"] == true, "{path}");
        student.wait_for("picture", is_picture);
    }
}
