//! Attacks on the connections between nodes: by strangers, by a node that lies, and by an owner that lies.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use super::super::frame::{Challenge, Hello, MAX_TO_OWNER};
use super::*;
use crate::protocol::{STUDENT_BURST, STUDENT_RATE};

type Socket = WebSocketStream<TcpStream>;

/// A connection to a node, and its challenge.
async fn knock(to: &Machine) -> (Socket, Challenge) {
    let stream = TcpStream::connect(to.address).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{}{NODE_PATH}", to.address), stream).await.unwrap();
    let text = heard(&mut socket).await.expect("a challenge");
    (socket, Challenge::parse(&text).unwrap())
}

fn hello(node: &str, secret: &str, challenge: &Challenge) -> String {
    Hello::new(&node.parse().unwrap(), &secret.parse().unwrap(), challenge).to_text()
}

/// A connection to a node by one that knows its secret. None if the node refuses it.
async fn enter(to: &Machine, node: &str) -> Option<Socket> {
    let (mut socket, challenge) = knock(to).await;
    socket.send(Message::text(hello(node, SECRET, &challenge))).await.unwrap();
    (heard(&mut socket).await? == "welcome").then_some(socket)
}

/// The next text; none once the connection has ended.
async fn heard(socket: &mut Socket) -> Option<String> {
    loop {
        match timeout(DEADLINE, socket.next()).await.expect("in time") {
            Some(Ok(Message::Text(text))) => return Some(text.to_string()),
            Some(Ok(_)) => {}
            None | Some(Err(_)) => return None,
        }
    }
}

/// The join of a student of room 1.
fn join(stream: u64, user: &str) -> String {
    format!(
        r#"join {stream} {{"room":"1","user":"{user}","nickname":"","publishes":false,"media":"publisher","epoch":0,
        "session":"0123456789abcdef","network":"10.0.0.1","moderates":false,"mayTeach":false,"reserved":false}}"#
    )
}

#[tokio::test]
async fn strangers_are_no_nodes_and_nonsense_ends_a_link() {
    let store = MemoryStore::new(TIMES);
    let a = Machine::start("a", &store);
    let _member = a.member("userId=1001").await;
    let (mut socket, challenge) = knock(&a).await;
    let replayed = hello("x", SECRET, &challenge);
    socket.send(Message::text(replayed.as_str())).await.unwrap();
    assert_eq!(heard(&mut socket).await.as_deref(), Some("welcome"));
    type Says<'a> = &'a dyn Fn(&Challenge) -> Message;
    let firsts: [Says<'_>; 7] = [
        &|_| Message::text(""),
        &|_| Message::text(join(1, "1002")),
        &|_| Message::text(replayed.as_str()),
        &|challenge| Message::text(hello("x", "0123456789abcdeg", challenge)),
        &|challenge| Message::text(hello("x", SECRET, challenge).replace("\"x\"", "\"y\"")),
        &|challenge| Message::binary(hello("x", SECRET, challenge)),
        &|_| Message::Ping(bytes::Bytes::new()),
    ];
    for (number, first) in firsts.iter().enumerate() {
        let (mut socket, challenge) = knock(&a).await;
        for message in [first(&challenge), Message::text(join(1, "1002"))] {
            _ = socket.send(message).await;
        }
        assert_eq!(heard(&mut socket).await, None, "{number}");
    }
    assert_eq!(watching(&a), 1);
    for nonsense in ["nonsense", "join 1 {}", "message", "welcome"] {
        let mut socket = enter(&a, "x").await.unwrap();
        for text in [&join(1, "1002"), nonsense] {
            socket.send(Message::text(text)).await.unwrap();
        }
        while heard(&mut socket).await.is_some() {}
    }
    let mut socket = enter(&a, "x").await.unwrap();
    socket.send(Message::text(join(1, "1002"))).await.unwrap();
    assert!(heard(&mut socket).await.unwrap().starts_with(r#"message 1 {"type":"joined""#));
    assert_eq!(watching(&a), 2);
    let elsewhere = join(2, "1003").replace(r#""room":"1""#, r#""room":"2""#);
    socket.send(Message::text(elsewhere)).await.unwrap();
    while heard(&mut socket).await.expect("a link") != "moved 2" {}
    a.close().await;
}

#[tokio::test]
async fn a_node_takes_no_more_memory_than_a_message_is_long() {
    let store = MemoryStore::new(TIMES);
    let a = Machine::start("a", &store);
    // The length stands in front of the bytes: nobody reads them.
    for declared in [MAX_TO_OWNER as u64 + 1, 1 << 40, u64::MAX >> 1] {
        for is_node in [false, true] {
            let socket = if is_node { enter(&a, "x").await.unwrap() } else { knock(&a).await.0 };
            let mut stream = socket.into_inner();
            let head = [&[0x81, 0xff][..], &declared.to_be_bytes(), &[0; 4]].concat();
            stream.write_all(&head).await.unwrap();
            let end = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
            assert!(end.is_ok(), "{declared}");
        }
    }
    // A message in fragments without end.
    let mut stream = enter(&a, "x").await.unwrap().into_inner();
    let piece = [&[0x00, 0xfe, 0x40, 0x00, 0, 0, 0, 0][..], &[b'x'; 0x4000]].concat();
    let first = [&[0x01_u8][..], &piece[1..]].concat();
    let mut sent = 0;
    let mut piece_of = first;
    while stream.write_all(&piece_of).await.is_ok() {
        sent += piece_of.len();
        piece_of.clone_from(&piece);
        assert!(sent < 64 * 1024 * 1024, "still read after {sent} bytes");
    }
    a.close().await;
}

#[tokio::test]
async fn silent_strangers_keep_no_node_out() {
    let store = MemoryStore::new(TIMES);
    let a = Machine::start_within("a", &store, http::ConnectionLimits { max_connections: 8, ..Default::default() });
    // Half of them stop in the middle of the handshake, and half say nothing after it.
    let (mut halfway, mut silent) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let mut stream = TcpStream::connect(a.address).await.unwrap();
        stream.write_all(format!("GET {NODE_PATH} HTTP/1.1\r\nHost: a\r\nUpgrade: webso").as_bytes()).await.unwrap();
        halfway.push(stream);
        silent.push(knock(&a).await);
    }
    assert!(enter(&a, "x").await.is_some());
    drop((halfway, silent));
    a.close().await;
}

#[tokio::test]
async fn a_node_has_one_connection_and_invented_nodes_are_few() {
    let store = MemoryStore::new(TIMES);
    let a = Machine::start("a", &store);
    let mut first = enter(&a, "x.0").await.unwrap();
    let mut last = enter(&a, "x.0").await.unwrap();
    assert_eq!(heard(&mut first).await, None, "the node has connected once more");
    let mut others = Vec::new();
    for number in 1..crate::store::MAX_NODES {
        others.push(enter(&a, &format!("x.{number}")).await.expect("a place"));
    }
    assert!(enter(&a, "x.999").await.is_none());
    let _member = a.member("userId=1001").await;
    last.send(Message::text(join(1, "1002"))).await.unwrap();
    assert!(heard(&mut last).await.unwrap().contains("joined"));
    drop(others.pop());
    until("both members", || watching(&a) == 2).await;
    let deadline = Instant::now() + DEADLINE;
    while enter(&a, "x.999").await.is_none() {
        assert!(Instant::now() < deadline, "the place of a node that is gone stays taken");
    }
    a.close().await;
}

#[tokio::test]
async fn a_member_that_floods_a_room_by_its_node_goes_and_the_others_stay() {
    let store = MemoryStore::new(TIMES);
    let a = Machine::start("a", &store);
    let mut member = a.member("userId=1001").await;
    let mut socket = enter(&a, "x").await.unwrap();
    for text in [join(1, "1002"), join(2, "1003")] {
        socket.send(Message::text(text)).await.unwrap();
    }
    // Without an answer, so that nothing else can end it.
    let flood = 2 * STUDENT_BURST + 10 * STUDENT_RATE;
    for _ in 0..flood {
        socket.feed(Message::text("message 1 nonsense")).await.unwrap();
    }
    socket.send(Message::text(r#"message 2 {"type":"ping"}"#)).await.unwrap();
    let mut told = Vec::new();
    while !told.iter().any(|text: &String| text.starts_with(r#"message 2 {"type":"pong""#)) {
        told.push(heard(&mut socket).await.expect("a link"));
    }
    while !told.contains(&"close 1 floodedMessages".to_owned()) {
        told.push(heard(&mut socket).await.expect("a link"));
    }
    member.send(ClientMessage::Ping);
    hear(&mut member, "a pong", |message| matches!(message, ServerMessage::Pong).then_some(())).await;
    until("the one that stays", || watching(&a) == 2).await;
    a.close().await;
}

#[tokio::test]
async fn an_owner_speaks_for_its_own_rooms_only() {
    // The lease of a node that does not renew lasts as long as the test.
    let store = MemoryStore::new(Times { lease: 10 * DEADLINE, ..TIMES });
    let [a, b] = ["a", "b"].map(|name| Machine::start(name, &store));
    let mut teacher = a.member("userId=9999&pub=pub").await;
    let mut student = b.member("userId=1001").await;
    // A node that owns room 2, and knows nothing but the words.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let evil = node("evil", listener.local_addr().unwrap());
    store.announce(&evil, &[]).await.unwrap();
    store.acquire(&"2".parse().unwrap(), &evil.id).await.unwrap();
    let request = JoinRequest::parse("roomId=2&userId=1002").unwrap();
    let mut victim = b.server.join(request, Credentials::default(), ClientAddress::this_process());
    let (stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    let challenge = Challenge::new();
    socket.send(Message::text(challenge.to_text())).await.unwrap();
    let answer = Hello::parse(&heard(&mut socket).await.unwrap()).unwrap();
    assert!(answer.checked(&evil.secret, &challenge).is_some());
    socket.send(Message::text("welcome")).await.unwrap();
    let asked = heard(&mut socket).await.unwrap();
    let own: u64 = asked.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(asked.starts_with("join ") && own > 1, "{asked}");
    // The student of room 1 has an earlier stream.
    for stream in (0..own).chain(own + 1..own + 9) {
        for lie in ["message STREAM {\"type\":\"pong\"}", "media STREAM 1", "moved STREAM", "close STREAM roomFull"] {
            socket.feed(Message::text(lie.replace("STREAM", &stream.to_string()))).await.unwrap();
        }
    }
    socket.send(Message::text(format!("message {own} {{\"type\":\"pong\"}}"))).await.unwrap();
    hear(&mut victim, "a pong", |message| matches!(message, ServerMessage::Pong).then_some(())).await;
    assert!(student.client_state().get() < crate::network::ClientState::Connected, "no media");
    student.send(offer("9999"));
    hear(&mut teacher, "an offer", |message| matches!(message, ServerMessage::Offer { .. }).then_some(())).await;
    let target_uid = "1001".parse().unwrap();
    teacher.send(ClientMessage::Answer { target_uid, sdp: "v=0".into(), entry: None, source: None });
    hear(&mut student, "an answer", |message| {
        assert!(!matches!(message, ServerMessage::Pong | ServerMessage::Error { .. }), "{message:?}");
        matches!(message, ServerMessage::Answer { .. }).then_some(())
    })
    .await;
    for machine in [a, b] {
        machine.close().await;
    }
}
