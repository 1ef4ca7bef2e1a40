//! Calls and meetings over the wire of a real server, in the words of the protocol.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Answer, Classroom, DEADLINE, Process, ROOM, ask};

/// A client that speaks JSON.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
}

impl Peer {
    /// Joins with a query such as `userId=1001`; returns the first message, too.
    async fn join(class: &Classroom, query: &str) -> (Self, Value) {
        let address: SocketAddr = class.url().replace("ws://", "").parse().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/ws?roomId={ROOM}&{query}");
        let (socket, _) = client_async(url, stream).await.unwrap();
        let mut peer = Self { socket };
        let first = peer.next().await;
        (peer, first)
    }

    /// Joins a meeting with a secret, and takes part.
    pub(crate) async fn meet(class: &Classroom, user: u32, session: &str) -> Self {
        let address: SocketAddr = class.url().replace("ws://", "").parse().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/ws?roomId={ROOM}&userId={user}&kind=meeting&auth=1");
        let (socket, _) = client_async(url, stream).await.unwrap();
        let mut peer = Self { socket };
        peer.say(json!({"type": "auth", "session": session})).await;
        peer.hear("joined").await;
        peer.say(json!({"type": "participate", "sends": []})).await;
        peer
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            match timeout(DEADLINE, self.socket.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(_)) => {}
                other => panic!("instead of a message: {other:?}"),
            }
        }
    }

    /// The next message of this type.
    pub(crate) async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The first list that has this many participants.
    async fn participants(&mut self, count: usize) -> Vec<Value> {
        loop {
            let message = self.hear("participants").await;
            let list = message["participants"].as_array().unwrap().clone();
            if list.len() == count {
                return list;
            }
        }
    }
}

/// The rooms of `GET /api/rooms`, by the program.
fn rooms(class: &Classroom) -> Vec<Value> {
    let mut rooms = Process::start("rooms", class.command(&["rooms", "--server", &class.url()]));
    rooms.ends_with(0);
    rooms.events()
}

#[tokio::test]
async fn two_users_find_each_other_in_the_list_and_negotiate_a_call() {
    let class = Classroom::new();
    let _server = class.server();
    let (mut ada, joined) = Peer::join(&class, "userId=1001&nickname=Ada&kind=call").await;
    assert_eq!((&joined["type"], &joined["roomId"], &joined["kind"]), (&json!("joined"), &json!(ROOM), &json!("call")));
    let (mut bob, joined) = Peer::join(&class, "userId=1002&nickname=Bob").await;
    assert_eq!(joined["kind"], "call", "the room is there already");
    ada.say(json!({"type": "roomUserList"})).await;
    let list = ada.hear("roomUserList").await;
    let users: Vec<_> = list["users"].as_array().unwrap().iter().map(|user| &user["nickname"]).collect();
    assert_eq!(users, ["Ada", "Bob"]);

    ada.say(json!({"type": "call", "targetUid": "1003", "sends": ["audio"]})).await;
    assert_eq!(ada.hear("error").await["code"], "unknownTarget", "who is not there is said so at once");
    ada.say(json!({"type": "call", "targetUid": "1002", "sends": ["audio", "camera"]})).await;
    let call = bob.hear("call").await;
    assert_eq!(call, json!({"type": "call", "userId": "1001", "nickname": "Ada", "sends": ["audio", "camera"]}));
    bob.say(json!({"type": "accept", "targetUid": "1001", "sends": ["audio"]})).await;
    assert_eq!(ada.hear("accept").await["userId"], "1002");
    let (list, same) = (ada.participants(2).await, bob.participants(2).await);
    assert_eq!(list, same);
    let [caller, callee] = &list[..] else { panic!("{list:?}") };
    assert!(callee["entry"].as_u64() > caller["entry"].as_u64(), "the callee makes the first offer");

    bob.say(json!({"type": "offer", "targetUid": "1001", "entry": caller["entry"], "sdp": "v=0 of Bob"})).await;
    let offer = ada.hear("offer").await;
    assert_eq!(offer, json!({"type": "offer", "userId": "1002", "entry": callee["entry"], "sdp": "v=0 of Bob"}));
    ada.say(json!({"type": "answer", "targetUid": "1002", "entry": callee["entry"], "sdp": "v=0 of Ada"})).await;
    let answer = bob.hear("answer").await;
    assert_eq!(answer, json!({"type": "answer", "userId": "1001", "entry": caller["entry"], "sdp": "v=0 of Ada"}));
    let candidate = json!({"candidate": "candidate:1 1 udp 1 10.0.0.1 5 typ host", "sdpMid": "0"});
    for is_caller in [true, false] {
        let (from, to, target) = if is_caller { (&mut ada, &mut bob, callee) } else { (&mut bob, &mut ada, caller) };
        let (target, entry) = (&target["userId"], &target["entry"]);
        from.say(json!({"type": "candidate", "targetUid": target, "entry": entry, "candidate": candidate})).await;
        assert_eq!(to.hear("candidate").await["candidate"], candidate);
    }
    let listed = rooms(&class).remove(0);
    let counts = (&listed["kind"], &listed["state"], &listed["watching"], &listed["participants"]);
    assert_eq!(counts, (&json!("call"), &json!("live"), &json!(2), &json!(2)));
    assert_eq!(listed["owner"]["userId"], "1001");
    ada.say(json!({"type": "hangup", "targetUid": "1002"})).await;
    assert_eq!(bob.hear("hangup").await["userId"], "1001");
    assert!(bob.participants(0).await.is_empty());
}

#[tokio::test]
async fn a_meeting_has_participants_and_a_chat_and_nobody_teaches_in_it() {
    let class = Classroom::new();
    let _server = class.server();
    let (mut ada, _) = Peer::join(&class, "userId=1001&nickname=Ada&kind=meeting&roomName=Staff").await;
    let room = ada.hear("room").await;
    assert_eq!((&room["owner"], &room["name"], &room["most"]), (&json!("1001"), &json!("Staff"), &json!(25)));
    let (mut bob, _) = Peer::join(&class, "userId=1002").await;
    ada.say(json!({"type": "participate", "sends": ["audio"]})).await;
    ada.participants(1).await;
    bob.say(json!({"type": "participate", "sends": ["audio"]})).await;
    let list = ada.participants(2).await;
    assert_eq!(list.iter().map(|known| &known["userId"]).collect::<Vec<_>>(), ["1001", "1002"]);
    bob.say(json!({"type": "channel", "message": {"type": "msg", "text": "psst", "to": "1001"}})).await;
    let message = loop {
        let message = ada.hear("channel").await["message"].clone();
        if message["type"] == "msg" {
            break message;
        }
    };
    assert_eq!(
        (&message["userId"], &message["text"], &message["to"]),
        (&json!("1002"), &json!("psst"), &json!("1001"))
    );
    bob.say(json!({"type": "order", "order": "end"})).await;
    assert_eq!(bob.hear("error").await["code"], "notAllowed");
    ada.say(json!({"type": "order", "order": "handOver", "targetUid": "1002"})).await;
    while bob.hear("room").await["owner"] != "1002" {}

    let mut watch = class.student(1003, &[]);
    let error = watch.ends_with(5);
    assert!(error.contains("is a meeting") && error.contains("classroom meet"), "{error}");
    let flags = ["--server", &class.url(), "--test", "--no-audio", "--size", "320x180"];
    let mut teach = Process::start("teacher", class.teach(&flags));
    let error = teach.ends_with(5);
    assert!(error.contains("is a meeting") && error.contains("classroom meet"), "{error}");
}

/// The bytes of a file, which the helper for requests takes as text.
fn contents(length: usize) -> String {
    (0..length).map(|n| char::from(b'a' + (n % 23) as u8)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_a_meeting_on_the_server_is_for_its_participants() {
    let class = Classroom::new();
    let _server = class.server();
    let [of_ada, of_bob] = ["a".repeat(32), "b".repeat(32)];
    let mut ada = Peer::meet(&class, 1001, &of_ada).await;
    let mut bob = Peer::meet(&class, 1002, &of_bob).await;
    bob.participants(2).await;
    ada.say(json!({"type": "shareFile", "name": "a", "size": 9})).await;
    assert_eq!(ada.hear("error").await["code"], "fileRefused", "these two send files to each other");
    ada.say(json!({"type": "overloaded"})).await;
    while bob.hear("participants").await["media"] != "server" {}
    ada.say(json!({"type": "shareFile", "name": "../\u{202e}a b.pdf", "size": 300_000, "mime": "text/html"})).await;
    let file = ada.hear("filePlace").await["file"].clone();
    let path = |user: u32| format!("/api/files/{ROOM}/{file}?userId={user}");
    let request = |method: &str, user: u32, session: &str, headers: &[(&str, &str)], body: &str| -> Answer {
        let bearer = format!("Bearer {session}");
        ask(&class, method, &path(user), &[headers, &[("Authorization", &bearer)]].concat(), body)
    };
    let text = contents(300_000);
    let (first, rest) = text.split_at(256 * 1024);
    let [start, next] = [("Upload-Offset", "0"), ("Upload-Offset", "262144")];
    let sent = request("PATCH", 1001, &of_ada, &[start], first);
    assert_eq!((sent.status, sent.header("upload-offset")), (204, "262144"), "{sent:?}");
    assert_eq!(request("HEAD", 1001, &of_ada, &[], "").header("upload-offset"), "262144");
    request("GET", 1001, &of_ada, &[], "").is(409, "targetBusy");
    request("GET", 1002, &of_bob, &[], "").is(404, "unknownTarget");
    let twice = request("PATCH", 1001, &of_ada, &[start], first);
    assert_eq!((twice.status, twice.header("upload-offset")), (409, "262144"), "{twice:?}");
    request("PATCH", 1001, &of_ada, &[next], "x").is(413, "messageTooLarge");
    request("PATCH", 1001, &of_ada, &[next], &contents(256 * 1024 + 1)).is(413, "messageTooLarge");
    assert_eq!(request("PATCH", 1001, &of_ada, &[next], rest).status, 204);

    let told = bob.hear("file").await;
    assert_eq!((&told["file"], &told["userId"], &told["name"]), (&file, &json!("1001"), &json!("_a b.pdf")));
    let whole = request("GET", 1002, &of_bob, &[], "");
    assert!(whole.status == 200 && whole.body == text, "{}", whole.status);
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment; filename*=UTF-8''_a%20b.pdf"),
        ("content-length", "300000"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(whole.header(name), value);
    }
    let part = request("GET", 1002, &of_bob, &[("Range", "bytes=262143-262145")], "");
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 262143-262145/300000"));
    assert_eq!(part.body, text[262_143..262_146]);
    request("GET", 1002, &of_bob, &[("Range", "bytes=300000-")], "").is(416, "badRequest");
    request("PATCH", 1002, &of_bob, &[("Upload-Offset", "300000")], "x").is(403, "notAllowed");
    request("POST", 1002, &of_bob, &[], "").is(405, "badRequest");
    request("GET", 1002, &of_ada, &[], "").is(404, "unknownTarget");
    ask(&class, "GET", &path(1002), &[], "").is(400, "badRequest");
    request("GET", 1002, &of_bob, &[("Origin", "https://elsewhere.example")], "").is(403, "notAllowed");
    // Who has left the meeting can't fetch anything any more.
    bob.say(json!({"type": "hangup", "targetUid": "1002"})).await;
    ada.participants(1).await;
    request("GET", 1002, &of_bob, &[], "").is(404, "unknownTarget");
    ada.say(json!({"type": "withdrawFile", "file": file})).await;
    assert_eq!(ada.hear("fileGone").await["file"], file);
    request("GET", 1001, &of_ada, &[], "").is(404, "unknownTarget");
}

#[tokio::test]
async fn the_owner_splits_a_meeting_speaks_to_all_and_calls_them_back() {
    let class = Classroom::new();
    let _server = class.server();
    let (mut ada, _) = Peer::join(&class, "userId=1001&nickname=Ada&kind=meeting").await;
    let (mut ben, _) = Peer::join(&class, "userId=1002&epoch=7").await;
    let (mut cleo, _) = Peer::join(&class, "userId=1003").await;
    let url = class.url();
    let meet = ["meet", "--room", ROOM, "--user", "1004", "--server", &url, "--sink", "null"];
    let dan = Process::start("meet", class.command(&meet));
    for peer in [&mut ada, &mut ben, &mut cleo] {
        peer.say(json!({"type": "participate", "sends": ["audio"]})).await;
    }
    ada.participants(4).await;
    let assign = json!({"1002": 1, "1003": 2, "1004": 1});
    ada.say(json!({"type": "order", "order": "split", "rooms": 2, "assign": assign, "limitS": 600})).await;
    let seen = ben.hear("breakouts").await;
    assert_eq!((&seen["rooms"], &seen["at"], &seen["own"]), (&json!(2), &json!(1), &json!(1)));
    assert!(seen["places"].is_null() && seen["endsInMs"].as_u64() > Some(500_000), "{seen}");
    let list = ben.participants(2).await;
    assert_eq!(list.iter().map(|one| &one["userId"]).collect::<Vec<_>>(), ["1002", "1004"]);
    // Lists from before the split come first.
    cleo.hear("breakouts").await;
    assert_eq!(cleo.participants(1).await[0]["userId"], "1003");
    let says = |words: &'static str| {
        move |event: &Value| event["message"].as_str().is_some_and(|message| message.contains(words))
    };
    dan.wait_for("where it is", says("you are in breakout room 1 of 2"));
    while ada.hear("breakouts").await["places"]["1004"] != 1 {}
    let listed = rooms(&class).remove(0);
    assert_eq!((&listed["breakouts"], &listed["participants"]), (&json!([2, 1]), &json!(4)));

    ben.say(json!({"type": "visit", "breakout": 2})).await;
    assert_eq!(ben.hear("error").await["code"], "notAllowed");
    ada.say(json!({"type": "order", "order": "announce", "text": "five more minutes"})).await;
    for peer in [&mut ben, &mut cleo] {
        let said = peer.hear("announcement").await;
        assert_eq!((&said["nickname"], &said["text"]), (&json!("Ada"), &json!("five more minutes")));
    }
    dan.wait_for("the sentence", says("Ada (1001) says to all breakout rooms: five more minutes"));
    ada.say(json!({"type": "visit", "breakout": 2})).await;
    cleo.participants(2).await;

    ada.say(json!({"type": "order", "order": "recall", "withinS": 1})).await;
    while cleo.hear("breakouts").await["isRecalled"] != true {}
    for peer in [&mut ben, &mut cleo] {
        peer.participants(4).await;
    }
    dan.wait_for("the way back", says("you are back in the meeting"));
}
