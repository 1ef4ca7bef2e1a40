//! WHIP: every status by raw HTTP, and lectures sent by a foreign publisher (aiortc).

mod offers;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use classroom::protocol::MAX_MESSAGE_BYTES;
use serde_json::Value;

use self::offers::{ffmpeg, obs};
use crate::support::{Answer, Classroom, DEADLINE, FRAGMENT, Process, ROOM, SDP, ask, ask_raw, poll, python};

/// A silent publisher is removed within this time: 10 s of ICE consent, and a margin for a busy machine.
const EXPIRY: Duration = Duration::from_secs(20);

/// The publisher's secret in these tests.
const KEY: &str = "open-sesame-1234";

fn post(class: &Classroom, path: &str, offer: &str) -> Answer {
    ask(class, "POST", path, &[SDP], offer)
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

/// A later candidate.
fn fragment(ufrag: &str) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
    )
}

/// Starts a publisher, which sends for some seconds.
fn publisher(python: &Path, class: &Classroom, path: &str, seconds: u32, bearer: Option<&str>) -> Process {
    publisher_at(python, &format!("{}/whip/{ROOM}{path}", class.url().replace("ws://", "http://")), seconds, bearer)
}

fn publisher_at(python: &Path, url: &str, seconds: u32, bearer: Option<&str>) -> Process {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whip/publisher.py")).arg(url).arg(seconds.to_string());
    command.args(bearer).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process::start("publisher", command)
}

/// Starts a WHEP player in the class's room.
fn player(python: &Path, class: &Classroom, seconds: u32) -> Process {
    let url = format!("{}/whep/{ROOM}", class.url().replace("ws://", "http://"));
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whep/player.py")).arg(url).arg(seconds.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process::start("player", command)
}

fn is_named(name: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == name
}

/// The id of the publisher, if somebody publishes.
fn teacher_of(class: &Classroom) -> Option<String> {
    class.room()?["publisher"]["userId"].as_str().map(str::to_owned)
}

#[track_caller]
fn has_bars(played: &Value) {
    let colour =
        |name: &str| -> Vec<i64> { played[name].as_array().unwrap().iter().filter_map(Value::as_i64).collect() };
    let (yellow, blue) = (colour("yellow"), colour("blue"));
    assert!(yellow[0] > 120 && yellow[1] > 120 && yellow[2] < 100, "a yellow bar: {played}");
    assert!(blue[0] < 100 && blue[1] < 100 && blue[2] > 120, "a blue bar: {played}");
}

#[test]
fn an_offer_is_answered_and_its_session_follows_the_rfc() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let flags = ["serve", "--listen", &listen, "--stun", "stun:stun.example", "--turn", "turn:me:secret@turn.example"];
    let server = Process::start("server", class.command(&flags));
    server.wait_for("listening", is_named("listening"));
    let endpoint = format!("/whip/{ROOM}");

    let answer = post(&class, &format!("{endpoint}?nickname=Hall+B&roomName=Algebra"), &obs());
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/sdp");
    assert_eq!(answer.header("accept-patch"), "application/trickle-ice-sdpfrag");
    assert!(answer.header("link").starts_with("<stun:stun.example:3478>; rel=\"ice-server\""), "{answer:?}");
    assert!(answer.body.contains(" typ host\r\n") && answer.body.contains("a=end-of-candidates"), "{answer:?}");
    assert_eq!(answer.body.matches("a=recvonly").count(), 2, "{answer:?}");
    let room = class.room().unwrap();
    assert_eq!((&room["name"], &room["publisher"]["nickname"]), (&"Algebra".into(), &"Hall B".into()), "{room}");
    assert_eq!((&room["publisher"]["userId"], &room["state"]), (&"whip".into(), &"live".into()), "{room}");

    let session = answer.header("location").to_owned();
    assert!(session.starts_with(&format!("/whip/{ROOM}/session/")), "{answer:?}");
    let etag = answer.header("etag");
    let matching = ("If-Match", etag);
    let patch = |headers: &[(&str, &str)], fragment: &str| ask(&class, "PATCH", &session, headers, fragment);
    assert_eq!(patch(&[FRAGMENT, matching], &fragment("LxTl")).status, 204);
    assert_eq!(patch(&[FRAGMENT, ("If-Match", "*")], &fragment("LxTl")).status, 204);
    patch(&[FRAGMENT], &fragment("LxTl")).is(428, "preconditionRequired");
    patch(&[FRAGMENT, ("If-Match", "\"other\"")], &fragment("LxTl")).is(412, "preconditionFailed");
    patch(&[matching], &fragment("LxTl")).is(415, "unsupportedMediaType");
    patch(&[FRAGMENT, matching], "hello").is(400, "badFragment");
    // A restart of ICE: new credentials and a new entity tag.
    patch(&[FRAGMENT, ("If-Match", "\"other\"")], &fragment("other")).is(412, "preconditionFailed");
    patch(&[FRAGMENT], &fragment("other")).is(428, "preconditionRequired");
    let no_password = fragment("other").replace("a=ice-pwd", "a=x");
    patch(&[FRAGMENT, matching], &no_password).is(400, "badFragment");
    patch(&[FRAGMENT, matching], &fragment("x")).is(400, "badFragment");
    let ufrag = |sdp: &str| sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap().to_owned();
    let mut known = vec![ufrag(&answer.body)];
    let mut tags = vec![etag.to_owned()];
    for (tag, client) in [("*", "other"), ("", "third")] {
        let tag = if tag.is_empty() { tags.last().unwrap().clone() } else { tag.to_owned() };
        let restarted = patch(&[FRAGMENT, ("If-Match", &tag)], &fragment(client));
        assert_eq!((restarted.status, restarted.header("content-type")), (200, FRAGMENT.1), "{restarted:?}");
        assert!(restarted.body.contains("a=ice-pwd:") && restarted.body.contains("a=candidate:"), "{restarted:?}");
        let (new, tag) = (ufrag(&restarted.body), restarted.header("etag").to_owned());
        assert!(!known.contains(&new) && !tags.contains(&tag), "{restarted:?}");
        patch(&[FRAGMENT, matching], &fragment(client)).is(412, "preconditionFailed");
        assert_eq!(patch(&[FRAGMENT, ("If-Match", &tag)], &fragment(client)).status, 204);
        known.push(new);
        tags.push(tag);
    }
    assert_eq!(ask(&class, "GET", &session, &[], "").status, 204);

    let refused = ask(&class, "POST", &session, &[SDP], &obs());
    refused.is(405, "methodNotAllowed");
    assert_eq!(refused.header("allow"), "GET, HEAD, PATCH, DELETE, OPTIONS");
    ask(&class, "DELETE", &session.replace(ROOM, "1"), &[], "").is(404, "noSuchSession");
    // RFC 9725, 4.3.1: an entity tag has no meaning for the goodbye.
    assert_eq!(ask(&class, "DELETE", &session, &[("If-Match", "\"other\"")], "").status, 200);
    assert_eq!(teacher_of(&class), None, "out of the room before the answer");
    ask(&class, "DELETE", &session, &[], "").is(404, "noSuchSession");
    let again = post(&class, &endpoint, &obs());
    assert_eq!(again.status, 201, "{again:?}");
}

#[test]
fn every_refusal_has_its_status_and_code() {
    let class = Classroom::new();
    let _server = class.server();
    let path = format!("/whip/{ROOM}");
    let obs = obs();
    post(&class, "/whip/a%20b", &obs).is(404, "noSuchRoom");
    post(&class, &path, "").is(400, "badSdp");
    post(&class, &path, "v=0\r\nnonsense").is(400, "badSdp");
    post(&class, &format!("{path}?userId=a%20b"), &obs).is(400, "badRequest");
    let untyped = ask(&class, "POST", &path, &[], &obs);
    untyped.is(415, "unsupportedMediaType");
    assert_eq!(untyped.header("accept-post"), "application/sdp");
    ask_raw(&class, "POST", &path, &[SDP, ("Content-Length", "70000")], "").is(413, "messageTooLarge");
    let chunked = format!("{:x}\r\n{}", MAX_MESSAGE_BYTES + 1, "v".repeat(MAX_MESSAGE_BYTES + 1));
    ask_raw(&class, "POST", &path, &[SDP, ("Transfer-Encoding", "chunked")], &chunked).is(413, "messageTooLarge");
    post(&class, &path, &obs.replace("sendonly", "recvonly")).is(422, "offerNotSendonly");
    post(&class, &path, &obs.replace("sendonly", "inactive")).is(422, "offerNotSendonly");
    let video = obs.split("m=video").nth(1).unwrap();
    post(&class, &path, &format!("{obs}m=video{video}").replacen("a=mid:1", "a=mid:2", 1)).is(422, "tooManySections");
    post(&class, &path, &obs.replace("H264", "H265")).is(422, "noCommonCodec");
    post(&class, &format!("{path}/blackboard"), &obs).is(404, "noSuchTrack");
    assert_eq!(teacher_of(&class), None, "who was refused publishes nothing");

    assert_eq!(ask(&class, "GET", &path, &[], "").status, 204, "as the RFC says");
    for method in ["PUT", "DELETE", "PATCH"] {
        let refused = ask(&class, method, &path, &[], "");
        refused.is(405, "methodNotAllowed");
        assert_eq!(refused.header("allow"), "GET, HEAD, POST, OPTIONS");
    }
    let options = ask(&class, "OPTIONS", &path, &[], "");
    assert_eq!((options.status, options.header("accept-post")), (200, "application/sdp"), "{options:?}");
    let origin = ("Origin", "http://school.example");
    ask(&class, "POST", &path, &[SDP, origin], &obs).is(403, "notAllowed");

    // No direction is sendrecv, and the answer to both is recvonly.
    let undirected = post(&class, &path, &obs.replace("a=sendonly\r\n", ""));
    assert_eq!((undirected.status, undirected.body.matches("a=recvonly").count()), (201, 2), "{undirected:?}");
    let teacher = class.teach(&["--test", "--server", &class.url(), "--udp-port", "0"]);
    let mut teacher = Process::start("teacher", teacher);
    let (code, stderr) = (teacher.exit_code(DEADLINE), teacher.stderr());
    assert!(code == 5 && stderr.contains("whip"), "another way to publish is refused, too: {code} {stderr}");
}

#[test]
fn a_server_without_media_takes_no_publisher() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let server = Process::start("server", class.command(&["serve", "--listen", &listen, "--no-media"]));
    server.wait_for("listening", is_named("listening"));
    post(&class, &format!("/whip/{ROOM}"), &obs()).is(403, "mediaNotServed");
    assert_eq!(teacher_of(&class), None);
}

#[test]
fn who_may_not_teach_may_not_publish() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let mut command = class.command(&["serve", "--listen", &listen]);
    command.env("CLASSROOM_TEACH_KEY", KEY);
    let server = Process::start("server", command);
    server.wait_for("listening", is_named("listening"));
    let path = format!("/whip/{ROOM}");
    let with = |secret: &str| ask(&class, "POST", &path, &[SDP, ("Authorization", &bearer(secret))], &obs());
    for refused in [post(&class, &path, &obs()), with("guess"), with("a.b.c")] {
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"), "{refused:?}");
    }
    assert_eq!(with("guess").code(), "teachingKeyRequired");
    assert_eq!(with("a.b.c").code(), "badToken");
    assert!(class.room().is_none(), "who was refused opens no room");
    assert_eq!(with(KEY).status, 201);
}

#[test]
fn the_offers_of_obs_and_ffmpeg_are_answered() {
    let class = Classroom::new();
    let _server = class.server();
    for (name, offer, setup) in [("obs", obs(), "passive"), ("ffmpeg", ffmpeg(), "active")] {
        let answer = post(&class, &format!("/whip/{name}"), &offer);
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
        assert_eq!(answer.body.matches(&format!("a=setup:{setup}")).count(), 2, "{name}: {answer:?}");
        assert_eq!(answer.body.matches("a=recvonly").count(), 2, "{name}: {answer:?}");
        assert!(answer.body.starts_with("v=0\r\n") && answer.body.contains("a=rtpmap:111 opus/48000/2"), "{answer:?}");
        assert!(answer.body.contains(" H264/90000"), "{name}: {answer:?}");
    }
}

#[test]
fn a_foreign_publisher_is_seen_by_two_students_and_a_foreign_player_at_once() {
    let test = "a_foreign_publisher_is_seen_by_two_students_and_a_foreign_player_at_once";
    let Some(python) = python(test) else { return };
    let class = Classroom::new();
    let _server = class.server();
    let early = class.student(1001, &[]);
    early.wait_for("joined", is_named("joined"));
    let mut publisher = publisher(&python, &class, "", 12, None);
    let answered = publisher.wait_for("an answer", is_named("answered"));
    println!("POST to 201: {} ms", answered["ms"]);
    publisher.wait_for("a connection", is_named("connected"));
    let late = class.student(1002, &[]);
    let mut player = player(&python, &class, 6);
    for student in [&early, &late] {
        let first =
            student.wait_for("a picture", |event| event["event"] == "first-frame" && event["track"] == "screen");
        println!("first picture after {} ms", first["after_ms"]);
        student.wait_for("sound", |event| event["event"] == "first-frame" && event["track"] == "audio");
        student.wait_for("a moving picture", |event| {
            event["event"] == "stats" && event["fps"].as_f64().is_some_and(|fps| fps > 20.0)
        });
    }
    // A second publisher does not disturb the first.
    post(&class, &format!("/whip/{ROOM}"), &obs()).is(409, "publisherExists");
    post(&class, &format!("/whip/{ROOM}/camera?userId=phone"), &obs()).is(409, "publisherExists");
    let played = player.wait_for("the end", is_named("played"));
    let number = |name: &str| played[name].as_f64().unwrap();
    assert!(number("frames") > 5.0 * 20.0 && number("pictures") > 60.0, "it moves: {played}");
    assert!(number("sound") > 0.01, "it sounds: {played}");
    has_bars(&played);
    player.ends_with(0);

    let deleted = publisher.wait_for("goodbye", is_named("deleted"));
    assert_eq!((&deleted["status"], &deleted["again"]), (&200.into(), &404.into()));
    early.wait_for("nobody teaches", |event| event["event"] == "publisher" && event["user"].is_null());
    publisher.ends_with(0);
}

/// The number of connections over which a student has got the screen.
fn connections(student: &Process) -> usize {
    let is_first = |event: &&Value| event["event"] == "first-frame" && event["track"] == "screen";
    student.events().iter().filter(is_first).count()
}

#[test]
fn two_encoders_send_the_screen_and_the_camera() {
    let Some(python) = python("two_encoders_send_the_screen_and_the_camera") else { return };
    let class = Classroom::new();
    let _server = class.server();
    let first_frame = |student: &Process, track: &'static str| {
        student.wait_for(track, |event| event["event"] == "first-frame" && event["track"] == track);
    };
    let screen = publisher(&python, &class, "", 60, None);
    screen.wait_for("a connection", is_named("connected"));
    let early = class.student(1001, &[]);
    first_frame(&early, "screen");
    let mut camera = publisher(&python, &class, "/camera", 4, None);
    camera.wait_for("a connection", is_named("connected"));
    first_frame(&early, "camera");
    let late = class.student(1002, &[]);
    ["screen", "camera", "audio"].into_iter().for_each(|track| first_frame(&late, track));
    assert_eq!(connections(&early), 1, "it need not connect again for the camera: {:?}", early.events());
    for path in ["", "/screen", "/camera"] {
        post(&class, &format!("/whip/{ROOM}{path}"), &obs()).is(409, "publisherExists");
    }
    // The camera ends, and the screen goes on.
    let mark = early.mark();
    let deleted = camera.wait_for("goodbye", is_named("deleted"));
    assert_eq!((&deleted["status"], &deleted["again"]), (&200.into(), &404.into()));
    camera.ends_with(0);
    early.wait_since(mark, DEADLINE, "the end of the camera", |event| {
        event["event"] == "source" && event["track"] == "camera" && event["state"] == "stopped"
    });
    let mark = early.mark();
    early.wait_since(mark, DEADLINE, "a moving screen", |event| {
        event["event"] == "stats" && event["track"] == "screen" && event["fps"].as_f64().is_some_and(|fps| fps > 10.0)
    });
    assert_eq!(teacher_of(&class).as_deref(), Some("whip"));
    let again = publisher(&python, &class, "/camera", 60, None);
    let mark = early.mark();
    again.wait_for("a connection", is_named("connected"));
    early.wait_since(mark, DEADLINE, "the camera again", |event| {
        event["event"] == "source" && event["track"] == "camera" && event["state"] != "stopped"
    });
    // The lecture ends with the last encoder.
    for encoder in [screen, again] {
        let session = encoder.wait_for("an answer", is_named("answered"))["location"].as_str().unwrap().to_owned();
        assert!(teacher_of(&class).is_some());
        assert_eq!(ask(&class, "DELETE", &session, &[], "").status, 200);
    }
    assert_eq!(teacher_of(&class), None);
}

#[test]
fn a_publisher_that_is_killed_frees_the_room_and_may_return() {
    let Some(python) = python("a_publisher_that_is_killed_frees_the_room_and_may_return") else { return };
    let class = Classroom::new();
    let _server = class.server();
    let student = class.student(1001, &[]);
    let mut first = publisher(&python, &class, "/camera", 60, None);
    student.wait_for("a picture", |event| event["event"] == "first-frame" && event["track"] == "camera");
    first.kill();
    let begun = Instant::now();
    // The same client again: refused while its media may still run, then taken.
    let second = poll(EXPIRY, || {
        let mut next = publisher(&python, &class, "/camera", 3, None);
        let answered = next.wait_for("an answer", is_named("answered"));
        if answered["status"] != 201 {
            assert_eq!(answered["status"], 409, "{answered}");
            _ = next.exit_code(DEADLINE);
            return None;
        }
        Some(next)
    })
    .expect("the room is free");
    println!("taken again after {:?}", begun.elapsed());
    second.wait_for("a connection", is_named("connected"));
    let mark = student.mark();
    second.wait_for("goodbye", is_named("deleted"));
    student.wait_since(mark, DEADLINE, "a moving picture", |event| {
        event["event"] == "stats" && event["fps"].as_f64().is_some_and(|fps| fps > 10.0)
    });
}

#[test]
fn an_encoder_sends_the_lecture_of_a_teacher() {
    let Some(python) = python("an_encoder_sends_the_lecture_of_a_teacher") else { return };
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let mut command = class.teach(&["--whip-in", "--listen", &listen, "--chat", "--nickname", "Ms Li"]);
    command.stdin(Stdio::piped());
    let mut teacher = Process::start("teacher", command);
    teacher.wait_for("joined", is_named("joined"));
    let url = format!("/whip/{ROOM}");
    teacher.wait_for("the URL for OBS", |event| event["message"].as_str().is_some_and(|text| text.contains(&url)));
    post(&class, "/whip/other", &obs()).is(404, "noSuchRoom");
    let student = class.student(1001, &[]);
    student.wait_for("joined", is_named("joined"));
    let mut publisher = publisher(&python, &class, "", 12, None);
    student.wait_for("a picture", |event| event["event"] == "first-frame" && event["track"] == "screen");
    let stats = teacher.wait_for("statistics", |event| {
        event["event"] == "stats" && event["students"] == 1 && event["fps"].as_f64().is_some_and(|fps| fps > 20.0)
    });
    assert!(stats["encode_ms"].is_null(), "{stats}");
    post(&class, &url, &obs()).is(409, "publisherExists");
    let mut camera = self::publisher(&python, &class, "/camera", 1, None);
    student.wait_for("the camera", |event| event["event"] == "first-frame" && event["track"] == "camera");
    let stopped = |track: &'static str| {
        move |event: &Value| event["event"] == "source" && event["track"] == track && event["state"] == "stopped"
    };
    teacher.wait_for("the end of the camera", stopped("camera"));
    student.wait_for("the end of the camera", stopped("camera"));
    camera.ends_with(0);
    let mut heard = false;
    let deadline = Instant::now() + DEADLINE;
    while !heard && Instant::now() < deadline {
        teacher.types("good morning");
        heard = poll(Duration::from_secs(1), || {
            student.events().iter().any(|e| e["event"] == "chat" && e["text"] == "good morning").then_some(())
        })
        .is_some();
    }
    assert!(heard, "the chat of the teacher's terminal");
    let deleted = publisher.wait_for("goodbye", is_named("deleted"));
    assert_eq!(deleted["status"], 200, "{deleted}");
    teacher.wait_for("a stopped source", stopped("screen"));
    student.wait_for("a stopped source", stopped("screen"));
    assert_eq!(teacher_of(&class).as_deref(), Some("9999"), "the teacher stays");
    publisher.ends_with(0);
}

#[test]
fn an_encoder_sends_the_lecture_of_a_teacher_at_another_server() {
    let Some(python) = python("an_encoder_sends_the_lecture_of_a_teacher_at_another_server") else { return };
    let class = Classroom::new();
    let _server = class.server();
    let teacher = class.teach(&["--whip-in", "--server", &class.url(), "--udp-port", "0"]);
    let teacher = Process::start("teacher", teacher);
    let notice = teacher
        .wait_for("the URL for OBS", |event| event["message"].as_str().is_some_and(|text| text.contains("/whip/")));
    let url = notice["message"].as_str().unwrap().split("Server: ").nth(1).unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with(&format!("/whip/{ROOM}")), "{url}");
    let student = class.student(1001, &[]);
    student.wait_for("joined", is_named("joined"));
    let mut publisher = publisher_at(&python, &url, 3, None);
    student.wait_for("a picture", |event| event["event"] == "first-frame" && event["track"] == "screen");
    publisher.wait_for("goodbye", is_named("deleted"));
    publisher.ends_with(0);
    assert_eq!(teacher_of(&class).as_deref(), Some("9999"), "the teacher stays");
}
