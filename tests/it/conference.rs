//! Calls and meetings over the wire of a real server, in the words of the protocol.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Classroom, DEADLINE, Process, ROOM};

/// A client that speaks JSON.
struct Peer {
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

    async fn say(&mut self, message: Value) {
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
    async fn hear(&mut self, kind: &str) -> Value {
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
