//! Rooms whose media the server carries: a publisher that sends to `serve`, and students that can't tell.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use classroom::protocol::channel::{PublisherMessage, StudentMessage};
use classroom::protocol::{ErrorCode, MEDIA_WITHIN, ServerMessage};
use serde_json::{Value as Event, json};

use crate::support::{Classroom, DEADLINE, Desk, Process, Publisher, is_picture, poll};

/// Time of a lecture in which a publisher connects, and something happens.
const LESSON: &str = "14s";

fn is_first_frame(event: &Event) -> bool {
    event["event"] == "first-frame" && event["track"] == "screen"
}

fn source_is<'a>(state: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event["event"] == "source" && event["track"] == "screen" && event["state"] == state
}

/// The number of times that a student has connected to media.
fn first_frames(student: &Process) -> usize {
    student.events().iter().filter(|event| is_first_frame(event)).count()
}

/// The value of a metric of the server.
fn metric(class: &Classroom, name: &str) -> f64 {
    let address = class.url().replace("ws://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn students_watch_and_lose_nothing_while_the_publishers_websocket_is_lost() {
    let class = Classroom::undisturbed();
    let server = class.server();
    let listening = server.wait_for("listening", |event| event["event"] == "listening");
    assert_eq!(listening["udp"], class.port(), "{listening}");
    let flags = ["--for", LESSON, "--expect", "fps>=10", "--expect", "lost<=0"];
    // A student that comes first waits for the media.
    let early = class.student(1001, &flags);
    early.wait_for("the room", |event| event["event"] == "joined");
    let mut desk = Desk::join(&class, 1).await;
    let mut publisher = Publisher::connect(&mut desk).await;
    let late = class.student(1002, &flags);
    for student in [&early, &late] {
        student.wait_for("picture", is_first_frame);
    }
    class.wait_for_room("media on the server", DEADLINE, |room| {
        room.is_some_and(|room| room["media"] == "server" && room["state"] == "live" && room["watching"] == 2)
    });
    // The metrics follow once a second.
    let counted = || (metric(&class, "classroom_media_rooms"), metric(&class, "classroom_media_students"));
    poll(DEADLINE, || (counted() == (1.0, 2.0)).then_some(())).expect("one room and two students");
    let has_packets = || (metric(&class, "classroom_ingest_packets_total") > 100.0).then_some(());
    poll(DEADLINE, has_packets).expect("packets of the publisher");

    // The WebSocket breaks off without a goodbye, and comes back within the time of a resumption.
    let marks = [early.mark(), late.mark()];
    drop(desk);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let desk = Desk::join(&class, 1).await;
    publisher
        .hear_until("students that stay", |message| {
            matches!(message, PublisherMessage::Ingest(report) if report.students == 2 && !report.tracks.is_empty())
        })
        .await;
    for (student, mark) in [&early, &late].into_iter().zip(marks) {
        student.wait_since(mark, DEADLINE, "picture", is_picture);
    }
    for mut student in [early, late] {
        student.ends_with(0);
        assert_eq!(first_frames(&student), 1);
    }
    publisher.close().await;
    desk.leave(true).await;
    class.wait_for_room("an ended lecture", DEADLINE, |room| room.is_some_and(|room| room["state"] == "ended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_conversation_goes_over_the_server_and_the_teachers_words_are_the_teachers() {
    let class = Classroom::new();
    let _server = class.server();
    let mut desk = Desk::join(&class, 1).await;
    let mut publisher = Publisher::connect(&mut desk).await;
    let mut command = class.watch(1001, &["--sink", "null", "--chat", "--nickname", "S-01"]);
    command.stdin(std::process::Stdio::piped());
    let mut student = Process::start("student", command);
    student.wait_for("picture", is_first_frame);
    publisher
        .hear_until(
            "needed encodings",
            |message| matches!(message, PublisherMessage::Encodings { needed } if needed.len() == 1),
        )
        .await;
    publisher.say(&StudentMessage::Msg { text: "good morning".into(), to: None }).await;
    let said = student.wait_for("the teacher's words", |event| event["event"] == "chat");
    assert_eq!((&said["nickname"], &said["teacher"]), (&json!("Ms Li"), &json!(true)));
    student.types("good morning, Ms Li");
    let of_student = publisher.hear_until(
        "the student's words",
        |message| matches!(message, PublisherMessage::Msg(message) if message.user_id.as_str() == "1001"),
    );
    let PublisherMessage::Msg(message) = of_student.await else { unreachable!() };
    assert_eq!((message.nickname.as_str(), message.publishes), ("S-01", false));
    student.types("/hand");
    publisher
        .hear_until("a hand", |message| matches!(message, PublisherMessage::Hands { hands } if hands.len() == 1))
        .await;
    publisher.say(&StudentMessage::Allow { comments: None, reactions: Some(false) }).await;
    student.wait_for("no reactions", |event| event["event"] == "allowed" && event["reactions"] == false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn students_stay_connected_while_the_publisher_comes_back_with_another_connection() {
    let class = Classroom::new();
    let _server = class.server();
    let mut desk = Desk::join(&class, 1).await;
    let publisher = Publisher::connect(&mut desk).await;
    let student = class.student(1001, &[]);
    student.wait_for("picture", is_first_frame);
    // The page stops sharing, and shares again.
    publisher.set_screen(false);
    student.wait_for("a screen that has stopped", source_is("stopped"));
    let mark = student.mark();
    publisher.set_screen(true);
    student.wait_since(mark, DEADLINE, "the screen again", source_is("live"));
    // The page is closed, and opened again: the server asks for nothing but its offer.
    let mark = student.mark();
    publisher.close().await;
    desk.hear_until(|message| matches!(message, ServerMessage::Hangup { .. })).await;
    student.wait_since(mark, DEADLINE, "no screen", source_is("stopped"));
    drop(desk);
    let mark = student.mark();
    let mut desk = Desk::join(&class, 2).await;
    let publisher = Publisher::connect(&mut desk).await;
    student.wait_since(mark, DEADLINE, "the screen again", source_is("live"));
    let mark = student.mark();
    student.wait_since(mark, DEADLINE, "picture", is_picture);
    assert_eq!(first_frames(&student), 1, "over the same connection");
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lecture_moves_from_the_server_to_a_program_and_back() {
    let class = Classroom::new();
    let _server = class.server();
    let mut desk = Desk::join(&class, 1).await;
    let publisher = Publisher::connect(&mut desk).await;
    let student = class.student(1001, &[]);
    student.wait_for("picture", is_first_frame);
    desk.leave(false).await;
    let mark = student.mark();
    let mut program = class.guest_lecturer();
    student.wait_since(mark, DEADLINE, "picture of the program", is_picture);
    class.wait_for_room("media of the teacher", DEADLINE, |room| room.is_some_and(|room| room["media"] == "publisher"));
    program.interrupt();
    program.ends_with(0);
    publisher.close().await;
    let mark = student.mark();
    let mut desk = Desk::join(&class, 2).await;
    let _publisher = Publisher::connect(&mut desk).await;
    student.wait_since(mark, DEADLINE, "picture of the server", is_picture);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_refuses_to_carry_media_with_a_code() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let start = |flags: &[&str]| {
        let server = Process::start("server", class.command(&[&["serve", "--listen", &listen], flags].concat()));
        server.wait_for("listening", |event| event["event"] == "listening");
        server
    };
    let refusal = |first| match first {
        ServerMessage::Error { code, message, .. } => (code, message),
        other => panic!("{other:?}"),
    };
    let mut server = start(&["--no-media"]);
    let listening = server.wait_for("listening", |event| event["event"] == "listening");
    assert_eq!(listening["udp"], Event::Null);
    let (code, message) = refusal(Desk::open(&class, "media=server").await.1);
    assert!(code == ErrorCode::MediaNotServed && message.contains("--no-media"), "{message}");
    server.interrupt();
    server.ends_with(0);

    let key = class.directory().join("key");
    std::fs::write(&key, "a-long-enough-teaching-key").unwrap();
    let mut server = start(&["--teach-key-file", key.to_str().unwrap()]);
    let (code, _) = refusal(Desk::open(&class, "media=server").await.1);
    assert_eq!(code, ErrorCode::TeachingKeyRequired, "the right to publish comes first");
    assert_eq!(class.room(), None, "and no room was opened");
    server.interrupt();
    server.ends_with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_whose_media_runs_keeps_its_place_at_a_full_server() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let server = Process::start("server", class.command(&["serve", "--listen", &listen, "--max-media-rooms", "1"]));
    server.wait_for("listening", |event| event["event"] == "listening");
    let mut desk = Desk::join(&class, 1).await;
    let mut publisher = Publisher::connect(&mut desk).await;
    publisher.hear_until("a channel", |message| matches!(message, PublisherMessage::Encodings { .. })).await;
    match Desk::open_in(&class, "20026", "media=server").await.1 {
        // Without media, the place is free sooner.
        ServerMessage::Error { code: ErrorCode::ServerFull, retry_after_ms: Some(wait), .. } => {
            assert!(wait > MEDIA_WITHIN.as_millis() as u64, "{wait}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn students_of_a_publisher_that_sends_nothing_are_told_so() {
    let class = Classroom::new();
    let _server = class.server();
    let _desk = Desk::join(&class, 1).await;
    let mut watch = class.student(1001, &["--verbose", "--timeout", "5s", "--retry", "6s"]);
    watch.ends_with(7);
    let told = watch.events().iter().any(|event| event["message"].as_str().is_some_and(|m| m.contains("not arrived")));
    assert!(told, "{:?}", watch.events());
}
