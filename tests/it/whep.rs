//! WHEP: every status by raw HTTP, and a lecture watched by a foreign player (aiortc).

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use classroom::protocol::{Credentials, MAX_MESSAGE_BYTES};
use classroom::signal::{Client, ClientConfig, Goodbye, ServerUrl, SessionToken};
use classroom::tls::Trust;
use serde_json::Value;

use crate::support::{Answer, Classroom, DEADLINE, FRAGMENT, Process, ROOM, SDP, ask, ask_raw, python};

/// A silent player is removed within this time: 10 s of ICE consent, and a margin for a busy machine.
const EXPIRY: Duration = Duration::from_secs(20);

fn post(class: &Classroom, path: &str, offer: &str) -> Answer {
    ask(class, "POST", path, &[SDP], offer)
}

/// A player's offer: audio, and one video of this codec.
fn offer(codec: &str) -> String {
    let transport = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=rtcp-mux\r\n\
        a=setup:actpass\r\n\
        a=recvonly\r\n";
    let fingerprint = vec!["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 102\r\n{transport}a=mid:1\r\na=rtpmap:102 {codec}/90000\r\n\
         a=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n"
    )
}

/// A later candidate.
fn fragment(ufrag: &str) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
    )
}

#[test]
fn an_offer_is_answered_and_its_session_follows_the_draft() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let flags = ["serve", "--listen", &listen, "--stun", "stun:stun.example", "--turn", "turn:me:secret@turn.example"];
    let server = Process::start("server", class.command(&flags));
    server.wait_for("listening", |event| event["event"] == "listening");
    let teacher = class.guest_lecturer();

    let endpoint = format!("/whep/{ROOM}");
    let answer = ask(&class, "POST", &format!("{endpoint}?nickname=Hall+B&userId=hall"), &[SDP], &offer("H264"));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/sdp");
    assert_eq!(answer.header("accept-patch"), "application/trickle-ice-sdpfrag");
    assert_eq!(answer.header("access-control-allow-origin"), "", "{answer:?}");
    assert!(answer.header("link").starts_with("<stun:stun.example:3478>; rel=\"ice-server\""), "{answer:?}");
    let turn = "<turn:turn.example:3478?transport=udp>; rel=\"ice-server\"; username=\"me\"; credential=\"secret\"; \
                credential-type=\"password\"";
    assert!(answer.header("link").contains(turn), "{answer:?}");
    assert!(answer.body.contains(" typ host\r\n") && answer.body.contains("a=end-of-candidates"), "{answer:?}");
    assert_eq!(answer.body.matches("a=sendonly").count(), 2, "{answer:?}");
    teacher.wait_for("the student", |event| event["event"] == "student" && event["user"] == "hall");
    // Our own students get these servers too, and need none of them.
    let mut student = class.student(1001, &["--for", "1s"]);
    student.wait_for("first frame", |event| event["event"] == "first-frame");
    student.ends_with(0);

    let (session, etag) = (answer.header("location").to_owned(), answer.header("etag").to_owned());
    assert!(
        session.starts_with(&format!("/whep/{ROOM}/session/")) && session.len() >= endpoint.len() + 41,
        "{session}"
    );
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2, "{etag}");
    let matching = ("If-Match", etag.as_str());
    let patch = |headers: &[(&str, &str)], body: &str| ask(&class, "PATCH", &session, headers, body);
    assert_eq!(patch(&[FRAGMENT, matching], &fragment("abcd")).status, 204);
    patch(&[FRAGMENT], &fragment("abcd")).is(428, "preconditionRequired");
    patch(&[FRAGMENT, ("If-Match", "\"other\"")], &fragment("abcd")).is(412, "preconditionFailed");
    let wrong = patch(&[SDP, matching], &fragment("abcd"));
    wrong.is(415, "unsupportedMediaType");
    assert_eq!(wrong.header("accept-patch"), "application/trickle-ice-sdpfrag");
    patch(&[FRAGMENT, matching], "hello").is(400, "badFragment");
    patch(&[FRAGMENT, matching], &fragment("abcd").replace("a=mid:0\r\n", "")).is(400, "badFragment");
    patch(&[FRAGMENT, ("If-Match", "*")], &fragment("efgh")).is(422, "iceRestartUnsupported");
    let many = fragment("abcd")
        .replace("a=end", &format!("{}a=end", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n".repeat(63)));
    assert_eq!(patch(&[FRAGMENT, matching], &many).status, 204);
    patch(&[FRAGMENT, matching], &many).is(429, "tooManyCandidates");

    let elsewhere = session.replace(ROOM, "1");
    ask(&class, "DELETE", &elsewhere, &[], "").is(404, "noSuchSession");
    let refused = ask(&class, "POST", &session, &[SDP], &offer("H264"));
    refused.is(405, "methodNotAllowed");
    assert_eq!(refused.header("allow"), "GET, HEAD, PATCH, DELETE, OPTIONS");
    assert!(is_alive(&class, &session));
    assert_eq!(class.room().unwrap()["watching"], 1);
    assert_eq!(ask(&class, "DELETE", &session, &[], "").status, 200);
    assert_eq!(class.room().unwrap()["watching"], 0, "out of the room before the answer");
    teacher.wait_for("left", |event| event["user"] == "hall" && event["state"] == "left");
    ask(&class, "DELETE", &session, &[], "").is(404, "noSuchSession");
    patch(&[FRAGMENT, matching], &fragment("abcd")).is(404, "noSuchSession");

    // The user id is free at once.
    let again = post(&class, &format!("{endpoint}?userId=hall"), &offer("H264"));
    assert_eq!(again.status, 201, "{again:?}");
    post(&class, &format!("{endpoint}?userId=hall"), &offer("H264")).is(409, "userIdTaken");
    // The session ends with the teacher.
    teacher.interrupt();
    let session = again.header("location").to_owned();
    wait_until("the session is over", || !is_alive(&class, &session));
}

#[test]
fn pages_of_other_sites_play_only_if_the_server_names_their_origin() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let flags = ["serve", "--listen", &listen, "--whep-origin", "https://school.example"];
    let server = Process::start("server", class.command(&flags));
    server.wait_for("listening", |event| event["event"] == "listening");
    let _teacher = class.guest_lecturer();
    let endpoint = format!("/whep/{ROOM}");
    let named = ("Origin", "https://school.example");
    for (path, methods) in [
        (endpoint.clone(), "GET, HEAD, POST, OPTIONS"),
        (format!("{endpoint}/session/1"), "GET, HEAD, PATCH, DELETE, OPTIONS"),
    ] {
        let options = ask(&class, "OPTIONS", &path, &[named, ("Access-Control-Request-Method", "POST")], "");
        assert_eq!((options.status, options.header("allow")), (200, methods), "{options:?}");
        assert_eq!(options.header("access-control-allow-origin"), named.1);
        assert_eq!(options.header("access-control-allow-methods"), methods);
        assert_eq!(options.header("access-control-allow-headers"), "content-type, if-match, authorization");
        assert_eq!(options.header("vary"), "origin");
    }
    let answer = ask(&class, "POST", &endpoint, &[SDP, named], &offer("H264"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (201, named.1), "{answer:?}");
    for exposed in ["location", "etag", "link", "accept-patch", "retry-after"] {
        assert!(answer.header("access-control-expose-headers").contains(exposed), "{answer:?}");
    }
    let refused = ask(&class, "POST", &endpoint, &[SDP, named], "hello");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (400, named.1), "{refused:?}");
    for origin in ["http://school.example", "https://evil.example", "null"] {
        let foreign = ask(&class, "POST", &endpoint, &[SDP, ("Origin", origin)], &offer("H264"));
        foreign.is(403, "notAllowed");
    }
    let elsewhere = ask(&class, "GET", "/api/rooms", &[named], "");
    assert_eq!((elsewhere.status, elsewhere.header("access-control-allow-origin")), (403, ""), "{elsewhere:?}");
}

/// Whether a session exists.
fn is_alive(class: &Classroom, session: &str) -> bool {
    match ask(class, "GET", session, &[], "").status {
        204 => true,
        404 => false,
        status => panic!("{status}"),
    }
}

#[test]
fn a_session_ends_when_another_process_teaches() {
    let class = Classroom::new();
    let _server = class.server();
    let mut teacher = class.guest_lecturer();
    let path = format!("/whep/{ROOM}");
    let answer = post(&class, &path, &offer("H264"));
    assert_eq!(answer.status, 201, "{answer:?}");
    let session = answer.header("location");
    assert!(is_alive(&class, session));
    teacher.kill();
    let _back = class.guest_lecturer();
    wait_until("the session is over", || !is_alive(&class, session));
    let again = post(&class, &path, &offer("H264"));
    assert_eq!(again.status, 201, "{again:?}");
}

#[test]
fn every_refusal_has_its_status_and_code() {
    let class = Classroom::new();
    let _server = class.server();
    let path = format!("/whep/{ROOM}");
    let h264 = offer("H264");
    post(&class, &path, &h264).is(404, "noSuchRoom");
    post(&class, "/whep/a%20b", &h264).is(404, "noSuchRoom");
    assert!(class.room().is_none(), "a player opens no room");
    let waiting = class.student(1001, &[]);
    waiting.wait_for("joined", |event| event["event"] == "joined");
    post(&class, &path, &h264).is(409, "nobodyTeaches");

    let url = class.url();
    let flags =
        ["--test", "--size", "320x180", "--codec", "vp8", "--server", &url, "--udp-port", "0", "--max-students", "2"];
    let teacher = Process::start("teacher", class.teach(&flags));
    teacher.wait_for("joined", |event| event["event"] == "joined");
    waiting.wait_for("first frame", |event| event["event"] == "first-frame");

    let vp8 = offer("VP8");
    post(&class, &path, "").is(400, "badSdp");
    post(&class, &path, "hello").is(400, "badSdp");
    post(&class, &path, "v=0\r\nnonsense").is(400, "badSdp");
    post(&class, &format!("{path}?userId=a%20b"), &vp8).is(400, "badRequest");
    ask(&class, "POST", &path, &[("Content-Type", "text/plain")], &vp8).is(415, "unsupportedMediaType");
    let untyped = ask(&class, "POST", &path, &[], &vp8);
    untyped.is(415, "unsupportedMediaType");
    assert_eq!(untyped.header("accept-post"), "application/sdp");
    ask_raw(&class, "POST", &path, &[SDP, ("Content-Length", "70000")], "").is(413, "messageTooLarge");
    // One byte too many, so that no byte is unread when the response comes.
    let chunked = format!("{:x}\r\n{}", MAX_MESSAGE_BYTES + 1, "v".repeat(MAX_MESSAGE_BYTES + 1));
    ask_raw(&class, "POST", &path, &[SDP, ("Transfer-Encoding", "chunked")], &chunked).is(413, "messageTooLarge");
    post(&class, &path, &offer("H265")).is(422, "noCommonCodec");
    post(&class, &path, &vp8.replace("recvonly", "sendonly")).is(422, "offerNotRecvonly");
    let many = vp8.clone() + &"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=recvonly\r\n".repeat(9);
    post(&class, &path, &many).is(422, "tooManySections");
    post(&class, &format!("{path}/camera"), &vp8).is(404, "noSuchTrack");
    post(&class, &format!("{path}/blackboard"), &vp8).is(404, "noSuchTrack");
    post(&class, &format!("{path}?userId=1001"), &vp8).is(409, "userIdTaken");

    assert_eq!(ask(&class, "GET", &path, &[], "").status, 204, "as the draft says");
    for method in ["PUT", "DELETE", "PATCH"] {
        let refused = ask(&class, method, &path, &[], "");
        refused.is(405, "methodNotAllowed");
        assert_eq!(refused.header("allow"), "GET, HEAD, POST, OPTIONS");
    }
    let of_session = "GET, HEAD, PATCH, DELETE, OPTIONS";
    for (path, methods) in [(path.clone(), "GET, HEAD, POST, OPTIONS"), (format!("{path}/session/1"), of_session)] {
        let options = ask(&class, "OPTIONS", &path, &[], "");
        assert_eq!((options.status, options.header("allow")), (200, methods), "{options:?}");
        assert_eq!(options.header("access-control-allow-methods"), "", "{options:?}");
        let asked = [("Origin", "http://school.example"), ("Access-Control-Request-Method", "POST")];
        let foreign = ask(&class, "OPTIONS", &path, &asked, "");
        foreign.is(403, "notAllowed");
        assert!(foreign.body.contains("--whep-origin http://school.example"), "{foreign:?}");
    }
    assert_eq!(ask(&class, "OPTIONS", &path, &[], "").header("accept-post"), "application/sdp");
    assert_eq!(class.room().unwrap()["watching"], 1, "who was refused is in nobody's room");

    let last = post(&class, &format!("{path}/screen"), &vp8.replace("recvonly", "sendrecv"));
    assert_eq!((last.status, last.body.matches("a=sendonly").count()), (201, 2), "{last:?}");
    assert_eq!(ask(&class, "DELETE", last.header("location"), &[], "").status, 200);
    let undirected = vp8.replace("a=recvonly\r\n", "");
    let last = post(&class, &path, &undirected);
    assert_eq!((last.status, last.body.matches("a=sendonly").count()), (201, 2), "no direction is sendrecv: {last:?}");
    // The player never connects, so it takes no place.
    let other = class.student(1002, &[]);
    other.wait_for("first frame", |event| event["event"] == "first-frame");
    post(&class, &path, &vp8).is(503, "roomFull");
    teacher.interrupt();
    wait_until("nobody teaches", || post(&class, &path, &vp8).status == 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_does_not_wait_long_for_a_silent_teacher() {
    let class = Classroom::new();
    let server = class.server();
    let teacher = Client::connect(ClientConfig {
        kind: None,
        client: None,
        server: class.url().parse::<ServerUrl>().unwrap(),
        trust: Trust::default(),
        room: ROOM.parse().unwrap(),
        user: "9999".parse().unwrap(),
        room_name: None,
        nickname: "asleep".into(),
        publishes: true,
        credentials: Credentials { session: Some(SessionToken::fresh().session().clone()), ..Credentials::default() },
        epoch: 1,
        initial_deadline: DEADLINE,
    });
    let (client, _signals) = teacher.await.unwrap();
    let begun = Instant::now();
    tokio::task::block_in_place(|| {
        post(&class, &format!("/whep/{ROOM}"), &offer("H264")).is(503, "noAnswer");
        let patience = begun.elapsed();
        assert_eq!(class.room().unwrap()["watching"], 0);
        // The server stops waiting when the player disconnects.
        let watching = |count: u32| class.room().is_some_and(|room| room["watching"] == count);
        let mut stream = TcpStream::connect(class.url().replace("ws://", "")).unwrap();
        let body = offer("H264");
        let length = body.len();
        let head = format!(
            "POST /whep/{ROOM} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nContent-Length: {length}"
        );
        let begun = Instant::now();
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        wait_until("the player is in", || watching(1));
        drop(stream);
        wait_until("the player is out", || watching(0));
        assert!(begun.elapsed() < patience, "{:?}", begun.elapsed());
    });
    client.leave(Goodbye::Leave).await;
    drop(server);
}

/// Starts a player in the class's room.
fn player(python: &Path, class: &Classroom, query: &str, seconds: u32) -> Process {
    let url = format!("{}/whep/{ROOM}{query}", class.url().replace("ws://", "http://"));
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whep/player.py")).arg(url).arg(seconds.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process::start("player", command)
}

#[test]
fn a_foreign_player_plays_ten_seconds_and_leaves() {
    let Some(python) = python("a_foreign_player_plays_ten_seconds_and_leaves") else { return };
    let class = Classroom::new();
    let teacher = class.lecturer();
    let mut player = player(&python, &class, "", 10);
    let answered = player.wait_for("an answer", |event| event["event"] == "answered");
    assert_eq!(answered["status"], 201, "{answered}");
    println!("POST to 201: {} ms", answered["ms"]);
    let playing = player.wait_for("a picture", |event| event["event"] == "playing");
    assert_eq!((&playing["width"], &playing["height"]), (&640.into(), &360.into()));
    let is_player =
        |event: &Value| event["event"] == "student" && event["user"].as_str().is_some_and(|u| u.starts_with("whep-"));
    teacher.wait_for("a student that watches", |event| is_player(event) && event["state"] == "watching");
    assert_eq!(class.room().unwrap()["watching"], 1);

    let played = player.wait_for("the end", |event| event["event"] == "played");
    let number = |name: &str| played[name].as_f64().unwrap();
    assert!(number("frames") > 8.0 * 25.0 && number("seconds") > 9.0, "{played}");
    assert!(number("pictures") > 100.0, "it moves: {played}");
    assert!(number("sound") > 0.01, "it speaks: {played}");
    let colour =
        |name: &str| -> Vec<i64> { played[name].as_array().unwrap().iter().filter_map(Value::as_i64).collect() };
    let (yellow, blue) = (colour("yellow"), colour("blue"));
    assert!(yellow[0] > 120 && yellow[1] > 120 && yellow[2] < 80, "a yellow bar: {played}");
    assert!(blue[0] < 80 && blue[1] < 80 && blue[2] > 120, "a blue bar: {played}");

    let deleted = player.wait_for("goodbye", |event| event["event"] == "deleted");
    assert_eq!((&deleted["status"], &deleted["again"]), (&200.into(), &404.into()));
    teacher.wait_for("a student that left", |event| is_player(event) && event["state"] == "left");
    class.wait_for_room("no player", DEADLINE, |room| room.is_some_and(|room| room["watching"] == 0));
    player.ends_with(0);
}

#[test]
fn a_player_that_is_killed_expires_by_its_consent() {
    let Some(python) = python("a_player_that_is_killed_expires_by_its_consent") else { return };
    let class = Classroom::new();
    let _server = class.server();
    let teacher = class.guest_lecturer();
    let mut player = player(&python, &class, "?userId=hall", 60);
    player.wait_for("a picture", |event| event["event"] == "playing");
    player.kill();
    let begun = Instant::now();
    class.wait_for_room("no player", EXPIRY, |room| room.is_some_and(|room| room["watching"] == 0));
    println!("expired after {:?}", begun.elapsed());
    teacher.wait_for("a lost student", |event| event["user"] == "hall" && event["state"] == "lost");
}

#[track_caller]
fn wait_until(what: &str, mut is_it: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_it() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
