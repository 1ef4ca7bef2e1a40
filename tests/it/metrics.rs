//! `/healthz` and `/metrics` of the real program.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Classroom, DEADLINE, Process, is_picture};

/// Requests a path: status and body, or `None` if nobody answers.
fn get(authority: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(authority).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The value of a sample, by its name with labels.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// Requests the metrics until they meet the condition.
#[track_caller]
fn wait_for_metrics(authority: &str, what: &str, is_it: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let text = get(authority, "/metrics").map(|(status, text)| {
            assert_eq!(status, 200);
            text
        });
        match text {
            Some(text) if is_it(&text) => return text,
            text => assert!(Instant::now() < deadline, "no {what} in {text:?}"),
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn a_server_reports_its_rooms_and_its_end() {
    let class = Classroom::new();
    let mut server = class.server();
    let authority = class.url().replace("ws://", "");
    assert_eq!(get(&authority, "/healthz"), Some((200, "ok\n".to_owned())));
    let student = class.student(1001, &[]);
    student.wait_for("joined", |event| event["event"] == "joined");
    let text = wait_for_metrics(&authority, "student", |text| {
        value(text, r#"classroom_room_members{role="student"}"#) == Some(1.0)
    });
    assert_eq!(value(&text, r#"classroom_rooms{kind="lecture",state="waiting"}"#), Some(1.0), "{text}");
    assert_eq!(value(&text, "classroom_connections"), Some(1.0), "{text}");
    assert!(value(&text, "process_resident_memory_bytes").unwrap() > 1e6, "{text}");
    assert!(value(&text, "process_start_time_seconds").unwrap() > 1e9, "{text}");
    assert!(!text.contains("classroom_students"), "nobody teaches in this process: {text}");
    // A client that never reads delays the end of the server by a second, in which `/healthz` answers 503.
    let mut deaf = TcpStream::connect(&authority).unwrap();
    let upgrade = format!(
        "GET /ws?roomId=1&userId=2 HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    deaf.write_all(upgrade.as_bytes()).unwrap();
    wait_for_metrics(&authority, "second room", |text| value(text, "classroom_connections") == Some(2.0));
    server.interrupt();
    let deadline = Instant::now() + DEADLINE;
    loop {
        match get(&authority, "/healthz") {
            Some((503, _)) => break,
            Some((200, _)) => assert!(Instant::now() < deadline),
            other => panic!("the port was closed before it said that the server ends: {other:?}"),
        }
    }
    assert_eq!(server.exit_code(DEADLINE), 0);
}

#[test]
fn a_teacher_reports_its_lecture_without_names() {
    let class = Classroom::new();
    let _teacher = class.teacher(&["--test", "--size", "320x180", "--codec", "vp8"]);
    let authority = class.url().replace("ws://", "");
    let student = class.student(424_242, &["--nickname", "Anna"]);
    student.wait_for("picture", is_picture);
    let watched = r#"classroom_viewers{track="screen",tier="full",codec="vp8"}"#;
    let text = wait_for_metrics(&authority, "viewer", |text| {
        value(text, watched) == Some(1.0) && value(text, "classroom_sent_packets_total").is_some_and(|sent| sent > 20.0)
    });
    for (sample, least) in [
        (r#"classroom_students{state="watching"}"#, 1.0),
        (r#"classroom_rooms{kind="lecture",state="live"}"#, 1.0),
        (r#"classroom_room_members{role="teacher"}"#, 1.0),
        ("classroom_sent_bytes_total", 1000.0),
        (r#"classroom_encoded_frames_total{track="screen",tier="full",codec="vp8"}"#, 5.0),
        (r#"classroom_encoded_key_frames_total{track="screen",tier="full",codec="vp8"}"#, 1.0),
        (r#"classroom_queue_capacity{queue="frames"}"#, 1.0),
        (r#"classroom_queue_capacity{queue="events"}"#, 1.0),
        ("classroom_lecture_duration_seconds", 0.5),
        ("process_cpu_seconds_total", 0.01),
        ("process_open_fds", 5.0),
    ] {
        assert!(value(&text, sample).is_some_and(|value| value >= least), "{sample} in {text}");
    }
    let samples: Vec<&str> = text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    for private in ["424242", "Anna", "10013", "9999"] {
        assert!(!samples.iter().any(|sample| sample.contains(private)), "{private} in {text}");
    }
}

#[test]
fn a_teacher_at_another_server_serves_metrics_on_its_own_port() {
    let class = Classroom::new();
    let _server = class.server();
    let url = class.url();
    let flags = ["--test", "--size", "320x180", "--server", &url, "--udp-port", "0", "--metrics", "127.0.0.1:0"];
    let mut teacher = Process::start("teacher", class.teach(&flags));
    let notice =
        teacher.wait_for("port", |event| event["message"].as_str().is_some_and(|text| text.ends_with("/metrics")));
    let address = notice["message"].as_str().unwrap().split("http://").nth(1).unwrap();
    let authority = address.trim_end_matches("/metrics").to_owned();
    let text =
        wait_for_metrics(&authority, "lecture", |text| value(text, "classroom_lecture_duration_seconds").is_some());
    assert!(!text.contains("classroom_rooms"), "the server is another process: {text}");
    assert_eq!(get(&authority, "/healthz"), Some((200, "ok\n".to_owned())));
    let taken = ["--test", "--listen", "127.0.0.1:0", "--metrics", &authority];
    let stderr = Process::start("second", class.teach(&taken)).ends_with(2);
    assert!(stderr.contains(&authority) && stderr.contains("--metrics"), "{stderr}");
    teacher.interrupt();
    assert_eq!(teacher.exit_code(DEADLINE), 0);
}
