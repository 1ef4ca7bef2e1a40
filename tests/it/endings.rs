//! The exit codes of each verb, and the error sentences that go with them.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::{Classroom, DEADLINE, Lan, Process, ROOM, has_lan, is_picture};

/// Checks that there is exactly one `error:` line and that it contains all these words.
#[track_caller]
fn explains(stderr: &str, words: &[&str]) {
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("not one error line: {stderr:?}") };
    for word in words {
        assert!(error.contains(word), "no {word:?} in {error:?}");
    }
}

#[track_caller]
fn ended(process: &Process, exit: i32) {
    let events = process.events();
    let ended = events.last().unwrap_or_else(|| panic!("no event"));
    assert_eq!((&ended["event"], &ended["exit"]), (&"ended".into(), &exit.into()));
}

#[test]
fn a_normal_end_exits_with_0() {
    let class = Classroom::new();
    let mut teacher = class.teacher(&["--test", "--size", "320x180", "--for", "2s"]);
    teacher.ends_with(0);
    ended(&teacher, 0);
}

#[test]
fn nothing_to_capture_exits_with_3_and_says_what_to_do() {
    let class = Classroom::new();
    if ["/dev/video0", "/dev/snd"].iter().any(|device| std::path::Path::new(device).exists()) {
        println!("skipped nothing to capture: there is a camera or a sound card");
        return;
    }
    let mut command = class.teach(&["--listen", "127.0.0.1:0"]);
    // Hide the sound server.
    command.env("XDG_RUNTIME_DIR", class.directory()).env("PULSE_SERVER", "unix:/nowhere");
    let mut teacher = Process::start("teacher", command);
    explains(&teacher.ends_with(3), &["looked for", "--file", "--test"]);
    ended(&teacher, 3);
}

#[test]
fn a_missing_screen_exits_with_3() {
    let class = Classroom::new();
    let mut teacher = Process::start("teacher", class.teach(&["--screen", "--listen", "127.0.0.1:0"]));
    explains(&teacher.ends_with(3), &["classroom devices"]);
}

#[test]
fn a_missing_plug_in_exits_with_3_and_names_its_package() {
    let class = Classroom::new();
    let mut command = class.teach(&["--test", "--listen", "127.0.0.1:0"]);
    // Hide all plug-ins except the core elements.
    command.env("GST_PLUGIN_SYSTEM_PATH_1_0", class.directory());
    command.env("GST_REGISTRY_1_0", class.directory().join("registry.bin"));
    let mut teacher = Process::start("teacher", command);
    explains(&teacher.ends_with(3), &["gstreamer1.0-plugins"]);
}

#[test]
fn a_missing_file_exits_with_2_and_is_named() {
    let class = Classroom::new();
    let mut teacher = Process::start("teacher", class.teach(&["--file", "/nowhere/a.mp4", "--listen", "127.0.0.1:0"]));
    explains(&teacher.ends_with(2), &["/nowhere/a.mp4"]);
}

#[test]
fn an_address_in_use_exits_with_2_and_is_named() {
    let class = Classroom::new();
    let _server = class.server();
    let listen = class.url().replace("ws://", "");
    let mut second = Process::start("second server", class.command(&["serve", "--listen", &listen]));
    explains(&second.ends_with(2), &[&listen]);
}

#[test]
fn an_unreachable_server_exits_with_4_and_is_named() {
    let class = Classroom::new();
    let mut student = class.student(1001, &["--timeout", "1s"]);
    explains(&student.ends_with(4), &[&class.url(), "--timeout", "CLASSROOM_SERVER"]);
    ended(&student, 4);
    let url = class.url();
    let mut rooms = Process::start("rooms", class.command(&["rooms", "--server", &url]));
    explains(&rooms.ends_with(4), &[&url]);
    let mut teacher = Process::start("teacher", class.teach(&["--test", "--server", &url, "--udp-port", "0"]));
    explains(&teacher.ends_with(4), &[&url]);
}

#[test]
fn a_search_without_a_server_exits_with_4_and_says_how_to_name_one() {
    if !has_lan("a_search_without_a_server_exits_with_4") {
        return;
    }
    let class = Classroom::new();
    let mut lan = Lan::new();
    let alone = lan.machine();
    let command = class.command(&["watch", "--room", ROOM, "--user", "1001", "--sink", "null", "--timeout", "4s"]);
    let mut student = Process::start_on(&alone, "student", &command);
    let said = student.wait_for("what it waits for", |event| event["event"] == "notice");
    for words in ["waiting for a server", "this computer", "DNS-SD", ROOM, "--server", "$CLASSROOM_SERVER"] {
        assert!(said["message"].as_str().unwrap().contains(words), "no {words:?} in {said}");
    }
    explains(&student.ends_with(4), &["--timeout", "DNS-SD", "--server"]);
    let notices = student.events().into_iter().filter(|event| event["event"] == "notice").count();
    assert_eq!(notices, 1, "reported once");
}

#[test]
fn another_kind_of_server_exits_with_4_at_once() {
    let class = Classroom::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let web = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
        // Wait until the other side has read the answer.
        _ = stream.read_to_end(&mut Vec::new());
    });
    let watch = ["watch", "--room", ROOM, "--user", "1001", "--sink", "null", "--server", &url];
    let mut student = Process::start("student", class.command(&watch));
    explains(&student.ends_with(4), &[&url, "404", "not a classroom server"]);
    web.join().unwrap();
}

#[test]
fn without_a_picture_expectations_exit_with_8() {
    let class = Classroom::new();
    let mut student = class.student(1001, &["--for", "1s", "--expect", "fps>=1"]);
    explains(&student.ends_with(8), &["but no picture"]);
    let mut waits = class.student(1002, &[]);
    waits.wait_for("what it waits for", |event| event["event"] == "notice");
    waits.interrupt();
    waits.ends_with(0);
    ended(&waits, 0);
}

#[test]
fn a_second_teacher_exits_with_5_and_reads_who_teaches() {
    let class = Classroom::new();
    let teacher = class.teacher(&["--test", "--size", "320x180"]);
    let url = class.url();
    let flags = ["--test", "--size", "320x180", "--user", "8888", "--server", &url, "--udp-port", "0"];
    let mut second = Process::start("second teacher", class.teach(&flags));
    explains(&second.ends_with(5), &["9999"]);
    ended(&second, 5);
    let mark = teacher.mark();
    teacher.wait_since(mark, DEADLINE, "numbers of the first", |event| event["event"] == "stats");
}

#[test]
fn a_taken_user_id_exits_with_5() {
    let class = Classroom::new();
    let _server = class.server();
    let first = class.student(1001, &[]);
    first.wait_for("joined", |event| event["event"] == "joined");
    let mut second = class.student(1001, &[]);
    explains(&second.ends_with(5), &["1001"]);
    ended(&second, 5);
}

#[test]
fn a_full_room_exits_with_5() {
    let class = Classroom::new();
    let _teacher = class.teacher(&["--test", "--size", "320x180", "--max-students", "1"]);
    let first = class.student(1001, &[]);
    first.wait_for("picture", is_picture);
    let mut second = class.student(1002, &[]);
    second.ends_with(5);
    let mark = first.mark();
    first.wait_since(mark, DEADLINE, "picture of the first", is_picture);
}

#[test]
fn no_teacher_within_the_timeout_exits_with_6() {
    let class = Classroom::new();
    let _server = class.server();
    let mut student = class.student(1001, &["--timeout", "1s"]);
    explains(&student.ends_with(6), &["10013", "--timeout"]);
    ended(&student, 6);
}

#[test]
fn a_lecture_that_does_not_come_back_exits_with_7() {
    let class = Classroom::new();
    let _server = class.server();
    let url = class.url();
    let flags = ["--test", "--size", "320x180", "--server", &url, "--udp-port", "0"];
    let mut teacher = Process::start("teacher", class.teach(&flags));
    let mut student = class.student(1001, &["--retry", "1s"]);
    student.wait_for("picture", is_picture);
    teacher.kill();
    explains(&student.ends_with(7), &["--retry"]);
    ended(&student, 7);
}

#[test]
fn an_unmet_expectation_exits_with_8_and_has_the_actual_value() {
    let class = Classroom::new();
    let _teacher = class.teacher(&["--test", "--size", "320x180"]);
    let flags = ["--for", "3s", "--expect", "fps>=1000", "--expect", "height==180"];
    let mut student = class.student(1001, &flags);
    let stderr = student.ends_with(8);
    explains(&stderr, &["expected fps>=1000, but it was "]);
    assert!(!stderr.contains("height"), "{stderr}");
    ended(&student, 8);
}

#[test]
fn an_invalid_pipeline_is_refused_before_anything_connects() {
    let class = Classroom::new();
    let file = class.directory().join("own.gst");
    std::fs::write(&file, "# no appsink\nvideotestsrc ! fakesink\n").unwrap();
    let flags = ["--pipeline", file.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let mut teacher = Process::start("teacher", class.teach(&flags));
    explains(&teacher.ends_with(2), &["own.gst", "screen"]);
    assert!(!teacher.events().iter().any(|event| event["event"] == "listening"));
}

#[test]
fn an_interrupted_server_exits_with_0() {
    let class = Classroom::new();
    let mut server = class.server();
    let student = class.student(1001, &[]);
    student.wait_for("joined", |event| event["event"] == "joined");
    server.interrupt();
    assert_eq!(server.exit_code(Duration::from_secs(10)), 0);
    ended(&server, 0);
}
