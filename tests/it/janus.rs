//! A VideoRoom of a Janus server: a lecture that is published and watched there.

use std::time::Duration;

use crate::support::{Classroom, DEADLINE, JanusServer, Process, has_tools, is_picture, is_stats, lecture_file};

const TOOLS: [&str; 2] = ["gst-launch-1.0", "espeak-ng"];

/// A room with a pin, and room for one publisher.
const ROOMS: &str = "room-4444: { pin = \"1111\"; publishers = 1; videocodec = \"h264,vp8\"; }\n";

/// How long the media may be away after Janus has started again: a pause between attempts, a join, and the second
/// between two `stats`.
const COMES_BACK: Duration = Duration::from_secs(15);

/// `watch` of a room of Janus, not started.
fn watch(class: &Classroom, janus: &JanusServer, room: &str, flags: &[&str]) -> std::process::Command {
    let url = janus.url();
    class.command(&[&["watch", "--janus", &url, "--room", room, "--sink", "null"], flags].concat())
}

#[test]
fn a_lecture_is_published_and_watched_in_a_video_room_and_comes_back_with_janus() {
    if !has_tools("a lecture by Janus", &TOOLS) {
        return;
    }
    let class = Classroom::new();
    let Some(mut janus) = JanusServer::start("a lecture by Janus", class.directory(), ROOMS) else { return };
    // Most of the run is the time without Janus.
    // The pictures per second depend on how long Janus is away.
    let expectations = ["--expect", "width==640"];
    let mut student = Process::start("student", watch(&class, &janus, "10013", &expectations));
    let url = janus.url();
    let lecture = lecture_file();
    let flags = ["--file", lecture.to_str().unwrap(), "--loop", "--janus", &url, "--janus-create"];
    let mut teacher = class.teacher(&[&flags[..], &["--nickname", "Ms Li"]].concat());

    for track in ["screen", "audio"] {
        let what = format!("first frame of {track}");
        student.wait_for(&what, |event| event["event"] == "first-frame" && event["track"] == track);
    }
    let publishes = |participant: &serde_json::Value| participant["publisher"] == true;
    let publishers: Vec<_> = janus.participants(10013).into_iter().filter(publishes).collect();
    assert_eq!(publishers.len(), 1, "{publishers:?}");
    assert_eq!(publishers[0]["display"], "Ms Li");

    janus.kill();
    let mark = student.mark();
    student.wait_since(mark, DEADLINE, "end of the picture", |event| is_stats(event) && event["fps"] == 0.0);
    let mark = student.mark();
    janus.restart();
    student.wait_since(mark, COMES_BACK, "picture after the restart", is_picture);

    teacher.interrupt();
    teacher.ends_with(0);
    student.wait_since(mark, DEADLINE, "end of the lecture", |event| {
        event["event"] == "publisher" && event["user"].is_null()
    });
    student.interrupt();
    student.ends_with(0);
}

#[test]
fn what_janus_refuses_is_said_with_the_next_step() {
    let class = Classroom::new();
    let Some(janus) = JanusServer::start("refusals of Janus", class.directory(), ROOMS) else { return };
    let ends = |room: &str, flags: &[&str], code: i32| {
        let mut student = Process::start("student", watch(&class, &janus, room, flags));
        student.ends_with(code)
    };
    let message = ends("4444", &[], 5);
    assert!(message.contains("429") && message.contains("--janus-pin-file"), "{message}");
    let message = ends("4444", &["--janus-pin", "2222"], 5);
    assert!(message.contains("433") && message.contains("pin"), "{message}");
    let message = ends("4444", &["--janus-pin", "1111", "--timeout", "1s"], 6);
    assert!(message.contains("nobody taught in room 4444"), "{message}");
    let message = ends("5555", &["--timeout", "1s"], 6);
    assert!(message.contains("No such room") && message.contains("--room"), "{message}");

    // A server that is no Janus: a classroom server.
    let _server = class.server();
    let not_janus = class.command(&["watch", "--janus", &class.url(), "--room", "1234", "--sink", "null"]);
    let message = Process::start("student", not_janus).ends_with(4);
    assert!(message.contains("is not the WebSocket of a Janus server"), "{message}");
}
