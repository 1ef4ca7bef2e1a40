//! `teach --whip`: a lecture that goes to WHIP servers as well, ours and MediaMTX, and MediaMTX as an edge.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Classroom, Process, ROOM, free_port, is_picture, mediamtx, python};

/// The room at the other server.
const OTHER: &str = "20002";

fn whip(state: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "whip" && event["state"] == state
}

fn is_named(name: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == name
}

#[test]
fn a_lecture_goes_to_a_whip_server_as_well_and_comes_back_there() {
    let (class, other) = (Classroom::new(), Classroom::new());
    let server = other.server();
    let url = format!("http://127.0.0.1:{}/whip/{OTHER}", other.port());
    // Nobody answers at the second server, which disturbs nobody.
    let dead = format!("http://127.0.0.1:{}/whip", free_port());
    let teacher = class.teacher(&["--test", "--whip", &url, "--whip", &dead]);
    let live = teacher.wait_for("the other server", whip("live"));
    assert_eq!((&live["number"], live["server"].as_str().unwrap().contains("/whip")), (&1.into(), false), "{live}");
    let waiting = teacher.wait_for("the dead server", whip("waiting"));
    assert!(waiting["number"] == 2 && waiting["reason"].as_str().unwrap().contains("can't be reached"), "{waiting}");

    let here = class.student(1001, &[]);
    let address = other.url();
    let flags = ["watch", "--room", OTHER, "--user", "1002", "--server", &address, "--sink", "null"];
    let there = Process::start("student there", other.command(&flags));
    for student in [&here, &there] {
        student.wait_for("a picture", |event| event["event"] == "first-frame" && event["track"] == "screen");
        student.wait_for("sound", |event| event["event"] == "first-frame" && event["track"] == "audio");
        student.wait_for("a moving picture", is_picture);
    }
    let stats = teacher.wait_for("statistics", |event| event["event"] == "stats" && event["whip"]["live"] == 1);
    assert_eq!(stats["whip"]["servers"], 2, "{stats}");

    // The server is gone, and comes back with empty memory.
    let mark = teacher.mark();
    drop(server);
    teacher.wait_since(mark, crate::support::DEADLINE, "the loss", whip("waiting"));
    let _server = other.server();
    teacher.wait_since(mark, crate::support::DEADLINE, "the way back", whip("live"));
    let mark = there.mark();
    there.wait_since(mark, crate::support::DEADLINE, "a moving picture again", is_picture);
    let mark = here.mark();
    here.wait_since(mark, crate::support::DEADLINE, "an undisturbed picture", is_picture);

    // The goodbye ends the session at once.
    let mut teacher = teacher;
    teacher.interrupt();
    teacher.ends_with(0);
    there.wait_for("the end", |event| event["event"] == "publisher" && event["user"].is_null());
}

#[test]
fn a_server_that_refuses_is_named_and_not_asked_again() {
    let (class, other) = (Classroom::new(), Classroom::new());
    let listen = format!("127.0.0.1:{}", other.port());
    let mut command = other.command(&["serve", "--listen", &listen]);
    command.env("CLASSROOM_TEACH_KEY", "open-sesame-1234");
    let server = Process::start("server", command);
    server.wait_for("listening", is_named("listening"));
    let url = format!("http://127.0.0.1:{}/whip/{OTHER}", other.port());
    let token = class.directory().join("token");
    std::fs::write(&token, "open-sesame-1234\n").unwrap();
    let (wrong, right) =
        (["--whip", &url, "--whip-token", "guess-guess"], ["--whip-token-file", token.to_str().unwrap()]);
    let mut teacher = class.teacher(&[&["--test"][..], &wrong].concat());
    let refused = teacher.wait_for("a refusal", whip("refused"));
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.starts_with("it does not accept the token (401): ") && !reason.contains("guess"), "{reason}");
    let student = class.student(1001, &[]);
    student.wait_for("a picture", is_picture);
    teacher.interrupt();
    teacher.ends_with(0);
    let teacher = class.teacher(&["--test", "--whip", &url, right[0], right[1]]);
    teacher.wait_for("the other server", whip("live"));
}

/// Plays from a WHEP endpoint for some seconds. Returns what was seen and heard.
fn played(python: &std::path::Path, url: &str) -> Value {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whep/player.py")).arg(url).arg("4");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let player = Process::start("player", command);
    player.wait_for("the end", is_named("played"))
}

#[track_caller]
fn is_seen_and_heard(played: &Value) {
    let number = |name: &str| played[name].as_f64().unwrap();
    assert!(number("frames") > 20.0 && number("pictures") > 5.0, "it moves: {played}");
    assert!(number("sound") > 0.01, "it sounds: {played}");
}

#[test]
fn mediamtx_gets_a_lecture_by_whip() {
    let test = "mediamtx_gets_a_lecture_by_whip";
    let (Some(python), Some(mediamtx)) = (python(test), mediamtx::program(test)) else { return };
    let class = Classroom::new();
    let edge = mediamtx::start(&mediamtx, class.directory(), "paths:\n  all_others:\n");
    let teacher = class.teacher(&["--test", "--whip", &edge.url(&format!("{ROOM}/whip"))]);
    teacher.wait_for("MediaMTX", whip("live"));
    let played = poll_played(&python, &edge.url(&format!("{ROOM}/whep")));
    is_seen_and_heard(&played);
    // MediaMTX asks for a key frame every two seconds.
    let stats = teacher.events().into_iter().rfind(|event| event["event"] == "stats").unwrap();
    println!("key frames: {}", stats["key_frames"]);
}

/// A path exists in MediaMTX some moments after the connection.
fn poll_played(python: &std::path::Path, url: &str) -> Value {
    crate::support::poll(crate::support::DEADLINE, || {
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whep/player.py")).arg(url).arg("4");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut player = Process::start("player", command);
        let answered = player.wait_for("an answer", is_named("answered"));
        if answered["status"] != 201 {
            _ = player.exit_code(crate::support::DEADLINE);
            return None;
        }
        Some(player.wait_for("the end", is_named("played")))
    })
    .expect("a path")
}

#[test]
fn mediamtx_gets_a_lecture_by_whep_for_its_own_players() {
    let test = "mediamtx_gets_a_lecture_by_whep_for_its_own_players";
    let (Some(python), Some(mediamtx)) = (python(test), mediamtx::program(test)) else { return };
    let class = Classroom::new();
    let listen = format!("127.0.0.1:{}", class.port());
    let mut printed = Process::start("serve", class.command(&["serve", "--listen", &listen, "--print-mediamtx"]));
    printed.ends_with(0);
    let lines: Vec<String> = printed.events().iter().filter_map(|line| line.as_str().map(str::to_owned)).collect();
    let edge = mediamtx::start(&mediamtx, class.directory(), &lines.join("\n"));
    let teacher = class.teacher(&["--test"]);
    let student = class.student(1001, &[]);
    student.wait_for("a picture", is_picture);
    is_seen_and_heard(&played(&python, &edge.url(&format!("room/{ROOM}/whep"))));
    let watching = teacher.wait_for("the edge", |event| event["event"] == "stats" && event["students"] == 2);
    println!("key frames: {}", watching["key_frames"]);
}
