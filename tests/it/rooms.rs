//! Rooms as a page, a script and the program create and list them, and how the server refuses a hostile client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use classroom::http;
use classroom::room;
use classroom::signal::{Server, ServerLimits};
use serde_json::{Value, json};

use crate::support::{Classroom, DEADLINE, Process};

/// A response: status, head, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends these bytes and reads until the server closes.
#[track_caller]
fn raw(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.unwrap_or_else(|| panic!("{text:?}")), head: head.to_owned(), body: body.to_owned() }
}

#[track_caller]
fn post(address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = format!("POST /api/rooms HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let head = format!("{request}Content-Length: {}\r\n\r\n", body.len());
    raw(address, &[head.as_bytes(), body].concat())
}

const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");

#[track_caller]
fn create(address: SocketAddr, name: &str) -> Answer {
    post(address, &[JSON], json!({ "name": name }).to_string().as_bytes())
}

#[track_caller]
fn list(address: SocketAddr) -> Vec<Value> {
    let request = format!("GET /api/rooms HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    match raw(address, request.as_bytes()).json() {
        Value::Array(rooms) => rooms,
        other => panic!("{other}"),
    }
}

fn address(class: &Classroom) -> SocketAddr {
    class.url().strip_prefix("ws://").unwrap().parse().unwrap()
}

#[test]
fn a_page_creates_a_room_and_gets_its_link() {
    let class = Classroom::new();
    let _server = class.server();
    let address = address(&class);
    let origin = format!("http://{address}");
    let answer = post(address, &[JSON, ("Origin", &origin)], br#"{"name":"  Linear algebra ","more":[1]}"#);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let created = answer.json();
    let id = created["roomId"].as_str().unwrap();
    assert!(id.len() == 5 && id.parse().is_ok_and(|number: u32| number >= 10_000), "{id}");
    assert_eq!(created, json!({ "roomId": id, "kind": "lecture", "name": "Linear algebra" }));
    assert_eq!(answer.header("location"), Some(format!("/room/{id}").as_str()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let [room] = &list(address)[..] else { panic!() };
    assert_eq!(
        (&room["roomId"], &room["name"], &room["state"]),
        (&json!(id), &json!("Linear algebra"), &json!("waiting"))
    );
    assert_eq!((&room["watching"], &room["liveS"], &room["endedS"]), (&json!(0), &Value::Null, &Value::Null));
}

#[test]
fn an_invalid_request_for_a_room_is_refused_with_a_reason_and_creates_nothing() {
    let class = Classroom::new();
    let server = class.server();
    let address = address(&class);
    let long = json!({ "name": "x".repeat(5_000) }).to_string();
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let bodies: [(&[u8], u16, &str); 12] = [
        (b"", 400, "malformedMessage"),
        (b"{", 400, "malformedMessage"),
        (b"[]", 400, "malformedMessage"),
        (b"null", 400, "malformedMessage"),
        (b"{}", 400, "malformedMessage"),
        (br#"{"name":7}"#, 400, "malformedMessage"),
        (b"{\"name\":\"\xff\xfe\"}", 400, "malformedMessage"),
        (deep.as_bytes(), 400, "malformedMessage"),
        (br#"{"name":""}"#, 400, "badRequest"),
        (br#"{"name":" \u202e\n\u0000 "}"#, 400, "badRequest"),
        (long.as_bytes(), 413, "messageTooLarge"),
        (&[b' '; 1_000_000], 413, "messageTooLarge"),
    ];
    for (body, status, code) in bodies {
        // The server does not read this body, so a head that announces it is enough.
        let answer = if body.len() > 100_000 {
            let head = format!(
                "POST /api/rooms HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            raw(address, head.as_bytes())
        } else {
            post(address, &[JSON], body)
        };
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{shown}");
        assert!(answer.json()["message"].as_str().is_some_and(|message| !message.is_empty()), "{shown}");
    }
    let good = br#"{"name":"x"}"#;
    for (headers, status, code) in [
        (vec![JSON, ("Origin", "http://evil.example")], 403, "notAllowed"),
        (vec![JSON, ("Origin", "null")], 403, "notAllowed"),
        (vec![("Content-Type", "text/plain")], 415, "badRequest"),
        (vec![("Content-Type", "application/x-www-form-urlencoded")], 415, "badRequest"),
        (vec![], 415, "badRequest"),
    ] {
        let answer = post(address, &headers, good);
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{headers:?}");
    }
    // A body without a length that never ends.
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let endless = format!(
        "POST /api/rooms HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"
    );
    assert_eq!(raw(address, endless.as_bytes()).status, 413);
    for method in ["PUT", "DELETE"] {
        let request = format!("{method} /api/rooms HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(address, request.as_bytes()).status, 405);
    }
    assert_eq!(list(address), Vec::<Value>::new());
    drop(server);
}

#[test]
fn names_are_text_and_stay_short() {
    let class = Classroom::new();
    let _server = class.server();
    let address = address(&class);
    for (name, kept) in [
        ("<script>alert(1)</script>", "<script>alert(1)</script>".to_owned()),
        ("线性\u{202e}代数\r\n", "线性代数".to_owned()),
        ("\u{1b}[31mred", "[31mred".to_owned()),
        (&"学".repeat(500), "学".repeat(80)),
    ] {
        let created = create(address, name).json();
        assert_eq!(created["name"], json!(kept), "{name:?}");
    }
    let mut rooms = Process::start("rooms", Process::command(&["rooms", "--server", &class.url()]));
    assert_eq!(rooms.exit_code(DEADLINE), 0);
    let table: Vec<String> = rooms.events().iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(table.len(), 5, "{table:?}");
    assert!(table.iter().all(|line| !line.contains(|c: char| c.is_control())), "{table:?}");
    assert!(table.iter().any(|line| line.contains("waiting 线性代数 ")), "{table:?}");
    // As HTML, the name is not an element.
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    assert!(!raw(address, request.as_bytes()).body.contains("<script>alert"));
}

#[test]
fn rooms_created_in_a_loop_are_refused_and_others_may_still_join() {
    let class = Classroom::new();
    let _server = class.server();
    let address = address(&class);
    let begun = Instant::now();
    let refused = (0..200).map(|n| create(address, &format!("loop {n}"))).find(|answer| answer.status != 201).unwrap();
    let made = list(address).len();
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("floodedMessages")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(made <= 30 + begun.elapsed().as_secs() as usize + 1, "{made} rooms");
    // Clients that only join are not limited by this.
    let student = class.student(1001, &[]);
    student.wait_for("joined", |event| event["event"] == "joined");
}

#[tokio::test]
async fn a_full_or_ending_server_creates_no_room() {
    let room = room::RoomLimits { max_rooms: 1, ..room::RoomLimits::default() };
    let server = Server::new(ServerLimits { room, ..ServerLimits::default() });
    let listener = http::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (rooms, creating) = (server.clone(), server.clone());
    let app = http::router(move || rooms.rooms()).merge(http::creation(move |name, kind, credentials, from| {
        let creating = creating.clone();
        async move { creating.create_room(name, kind, &credentials, from).await }
    }));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(http::serve(listener, app, http::ConnectionLimits::default(), async {
        _ = stopped.await;
    }));
    let ask = |name: &'static str| tokio::task::spawn_blocking(move || create(address, name));
    assert_eq!(ask("first").await.unwrap().status, 201);
    let full = ask("second").await.unwrap();
    assert_eq!((full.status, &full.json()["code"]), (503, &json!("serverFull")));
    server.shutdown().await;
    let ending = ask("third").await.unwrap();
    assert_eq!((ending.status, &ending.json()["code"]), (503, &json!("serverShutdown")));
    drop(stop);
    serving.await.unwrap();
}

#[test]
fn a_room_has_its_teachers_name_for_it_and_ends_when_the_teacher_leaves() {
    let class = Classroom::new();
    let _server = class.server();
    let address = address(&class);
    let created = create(address, "Linear algebra").json();
    let id = created["roomId"].as_str().unwrap();
    let url = class.url();
    let teach = |more: &[&str]| {
        let flags = ["teach", "--room", id, "--test", "--no-audio", "--server", &url, "--udp-port", "0"];
        let teacher = Process::start("teacher", class.command(&[&flags, more].concat()));
        teacher.wait_for("joined", |event| event["event"] == "joined");
        teacher
    };
    let state = || {
        let room = list(address).into_iter().find(|room| room["roomId"] == id).unwrap();
        (room["state"].as_str().unwrap().to_owned(), room["name"].as_str().unwrap().to_owned())
    };
    let state_is = |wanted: &str, name: &str| assert_eq!(state(), (wanted.into(), name.into()));
    // Under its created name.
    let mut teacher = teach(&["--end-class"]);
    let listening = teacher.wait_for("listening", |event| event["event"] == "listening");
    assert_eq!(listening["room_page"], json!(format!("http://{address}/room/{id}")));
    state_is("live", "Linear algebra");
    teacher.interrupt();
    teacher.ends_with(0);
    state_is("ended", "Linear algebra");
    // Renamed, then killed, which is no goodbye.
    let mut teacher = teach(&["--name", "Calculus"]);
    state_is("live", "Calculus");
    teacher.kill();
    let deadline = Instant::now() + DEADLINE;
    while state().0 == "live" {
        assert!(Instant::now() < deadline, "the end of a killed teacher is not seen");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    state_is("waiting", "Calculus");
}
