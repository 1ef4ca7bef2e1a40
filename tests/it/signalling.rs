//! Signalling on loopback: every error of the protocol by its code, without effect on others; clients that reconnect by
//! themselves; a server that shuts down in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::routing::any;
use classroom::http;
use classroom::id::UserId;
use classroom::protocol::{
    ClientMessage, Credentials, ErrorCode, JoinRequest, LeaveReason, STUDENT_BURST, ServerMessage,
};
use classroom::room::{self, RoomState};
use classroom::signal::{Client, ClientConfig, Goodbye, Server, ServerLimits, ServerUrl, SignalError, SignalEvent};
use classroom::tls::Trust;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

// Crowds, slow clients, and the other endpoints on the port.
mod limits;

// The library's client: how it reconnects, and when it gives up.
mod clients;

// Join codes, lobby, lock, kicks and bans.
mod order;

/// Every test takes milliseconds; one that takes this long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

const TEACHER: &str = "roomId=1&userId=9999&nickname=Ms+Li&pub=pub&session=teacherteacherte";

/// A server on a free port of loopback.
struct School {
    address: SocketAddr,
    server: Server,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl School {
    async fn open() -> Self {
        Self::open_with(ServerLimits::default(), http::ConnectionLimits::default()).await
    }

    /// A server that releases the user id of a lost connection soon.
    async fn open_with_grace(grace: Duration) -> Self {
        let room = room::RoomLimits { resume_grace: grace, ..room::RoomLimits::default() };
        Self::open_with(ServerLimits { room, ..ServerLimits::default() }, http::ConnectionLimits::default()).await
    }

    async fn open_with(limits: ServerLimits, http_limits: http::ConnectionLimits) -> Self {
        Self::on(http::bind(([127, 0, 0, 1], 0).into()).unwrap(), limits, http_limits)
    }

    /// Serves pages and WebSocket on one port, as `classroom serve` does.
    fn on(listener: TcpListener, limits: ServerLimits, http_limits: http::ConnectionLimits) -> Self {
        let address = listener.local_addr().unwrap();
        let server = Server::new(limits);
        let (rooms, signalling) = (server.clone(), server.clone());
        let app = http::router(move || rooms.rooms())
            .route("/ws", any(move |request: axum::extract::Request| std::future::ready(signalling.upgrade(request))));
        let app = http::guard(app, http::Site::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(http::serve(listener, app, http_limits, async {
            _ = stopped.await;
        }));
        Self { address, server, stop: Some(stop), serving }
    }

    async fn close(mut self) {
        _ = self.stop.take().unwrap().send(());
        self.serving.await.unwrap();
        self.server.shutdown().await;
    }

    /// A raw client, whatever the server's answer.
    async fn connect(&self, query: &str) -> Raw {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        self.connect_by(stream, query).await
    }

    async fn connect_by(&self, stream: TcpStream, query: &str) -> Raw {
        let (query, session) = query.split_once("&session=").map_or((query, None), |(query, s)| (query, Some(s)));
        let auth = if session.is_some() { "&auth=1" } else { "" };
        let url = format!("ws://{}/ws?{query}{auth}", self.address);
        let (socket, _) = timeout(DEADLINE, client_async(url, stream)).await.unwrap().unwrap();
        let mut raw = Raw { socket };
        if let Some(session) = session {
            raw.socket.send(Message::text(format!(r#"{{"type":"auth","session":"{session}"}}"#))).await.unwrap();
        }
        raw
    }

    /// A raw client that has joined.
    async fn join(&self, query: &str) -> Raw {
        let mut raw = self.connect(query).await;
        let joined = raw.hear().await;
        assert!(matches!(joined, ServerMessage::Joined { .. }), "{joined:?}");
        raw
    }

    async fn student(&self, id: &str) -> Raw {
        self.join(&student(id)).await
    }

    fn config(&self, user: &str, session: char) -> ClientConfig {
        ClientConfig {
            kind: None,
            client: None,
            server: ServerUrl::from(self.address),
            trust: Trust::default(),
            room: "1".parse().unwrap(),
            room_name: None,
            user: user.parse().unwrap(),
            nickname: "N".into(),
            publishes: user.starts_with('9'),
            credentials: credentials(&session.to_string().repeat(16)),
            epoch: 7,
            initial_deadline: Duration::from_secs(2),
        }
    }
}

fn credentials(session: &str) -> Credentials {
    Credentials { session: Some(session.parse().unwrap()), ..Credentials::default() }
}

fn student(id: &str) -> String {
    format!("roomId=1&userId={id}&session=studentstudent{id}")
}

fn id(text: &str) -> UserId {
    text.parse().unwrap()
}

fn offer() -> ClientMessage {
    ClientMessage::Offer { entry: None, target_uid: id("9999"), sdp: "v=0".into(), video: None, tracks: None }
}

/// A client that sends what the test says, and nothing by itself except pongs.
struct Raw {
    socket: WebSocketStream<TcpStream>,
}

impl Raw {
    async fn say(&mut self, message: ClientMessage) {
        self.say_raw(Message::text(message.to_json())).await;
    }

    async fn say_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    async fn frame(&mut self) -> Option<Message> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            match timeout_at(deadline, self.socket.next()).await.expect("nothing was said in time")? {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return Some(message),
                Err(error) => panic!("instead of a close frame: {error}"),
            }
        }
    }

    async fn hear(&mut self) -> ServerMessage {
        match self.frame().await {
            Some(Message::Text(text)) => ServerMessage::parse(&text).unwrap(),
            other => panic!("instead of a message: {other:?}"),
        }
    }

    /// The next message for which `pick` is true.
    async fn hear_until(&mut self, pick: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        loop {
            let message = self.hear().await;
            if pick(&message) {
                return message;
            }
        }
    }

    async fn error(&mut self) -> (ErrorCode, String, Option<u64>) {
        match self.hear_until(|message| matches!(message, ServerMessage::Error { .. })).await {
            ServerMessage::Error { code, message, retry_after_ms, .. } => (code, message, retry_after_ms),
            _ => unreachable!(),
        }
    }

    /// The close frame's code and reason; the socket ends after it.
    async fn closed(&mut self) -> (CloseCode, String) {
        loop {
            match self.frame().await {
                Some(Message::Close(Some(frame))) => {
                    assert!(self.frame().await.is_none());
                    return (frame.code, frame.reason.to_string());
                }
                Some(Message::Text(_)) => {}
                other => panic!("instead of a close frame: {other:?}"),
            }
        }
    }

    /// Expects an error, then an orderly close with the same code as the reason.
    async fn refused(&mut self, code: ErrorCode) -> String {
        let (found, message, _) = self.error().await;
        assert_eq!(found, code, "{message}");
        assert!(code.closes());
        assert_eq!(self.closed().await.1, code.as_str());
        message
    }
}

/// Checks that the teacher and a student of the school still reach each other, and received nothing else.
async fn still_whole(teacher: &mut Raw, student: &mut Raw) {
    student.say(offer()).await;
    assert!(matches!(teacher.hear().await, ServerMessage::Offer { user_id, .. } if user_id == id("1001")));
    teacher.say(ClientMessage::Answer { entry: None, target_uid: id("1001"), sdp: "v=0".into(), source: None }).await;
    // Presence may arrive at any time.
    let heard = student.hear_until(|message| !matches!(message, ServerMessage::Join { .. })).await;
    assert!(matches!(heard, ServerMessage::Answer { .. }), "{heard:?}");
}

/// A client of the library.
async fn event(events: &mut mpsc::Receiver<SignalEvent>) -> SignalEvent {
    timeout(DEADLINE, events.recv()).await.expect("no event in time").expect("the client ended")
}

async fn event_until(events: &mut mpsc::Receiver<SignalEvent>, pick: impl Fn(&SignalEvent) -> bool) -> SignalEvent {
    loop {
        let event = event(events).await;
        if pick(&event) {
            return event;
        }
    }
}

/// Waits for a condition.
async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn joining_takes_less_than_5_ms() {
    let school = School::open().await;
    let mut times = Vec::new();
    for n in 0..50 {
        let start = Instant::now();
        let mut student = school.connect(&student(&format!("{}", 1000 + n))).await;
        assert!(matches!(student.hear().await, ServerMessage::Joined { .. }));
        times.push(start.elapsed());
    }
    // A delay by design would show in every run; other runs may have had to share their core.
    let best = times.iter().min().unwrap();
    assert!(*best < Duration::from_millis(5), "{times:?}");
    school.close().await;
}

#[tokio::test]
async fn an_offer_is_relayed_within_5_ms() {
    let school = School::open().await;
    let mut teacher = school.join(TEACHER).await;
    let mut student = school.student("1001").await;
    teacher.hear().await;
    let mut times = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        still_whole(&mut teacher, &mut student).await;
        times.push(start.elapsed());
    }
    let best = times.iter().min().unwrap();
    assert!(*best < Duration::from_millis(5), "there and back: {times:?}");
    school.close().await;
}

#[tokio::test]
async fn a_protocol_violation_gets_its_code_and_affects_nobody_else() {
    let school = School::open_with_grace(Duration::from_millis(100)).await;
    let mut teacher = school.join(TEACHER).await;
    let mut witness = school.student("1001").await;
    assert!(matches!(teacher.hear().await, ServerMessage::Join { .. }));

    let large = ClientMessage::Offer {
        entry: None,
        target_uid: id("9999"),
        sdp: "v".repeat(70_000),
        video: None,
        tracks: None,
    };
    let breaks = [
        (Message::text("{\"type\":\"off"), ErrorCode::MalformedMessage),
        (Message::text("{\"type\":\"call\"}"), ErrorCode::MalformedMessage),
        (Message::binary(vec![1, 2, 3]), ErrorCode::BinaryFrame),
        (Message::text(large.to_json()), ErrorCode::MessageTooLarge),
    ];
    for (n, (message, code)) in breaks.into_iter().enumerate() {
        let name = format!("200{n}");
        let mut culprit = school.student(&name).await;
        assert!(matches!(teacher.hear().await, ServerMessage::Join { .. }));
        culprit.say_raw(message).await;
        culprit.refused(code).await;
        // The teacher gets the leave of a lost client once its user id is free, and nothing else.
        let gone = teacher.hear().await;
        assert!(matches!(gone, ServerMessage::Leave { reason: LeaveReason::Lost, .. }), "{gone:?}");
    }
    witness.say(ClientMessage::RoomUserList).await;
    witness.hear_until(|message| matches!(message, ServerMessage::RoomUserList { .. })).await;
    still_whole(&mut teacher, &mut witness).await;
    school.close().await;
}

#[tokio::test]
async fn a_flood_is_stopped() {
    let school = School::open().await;
    let mut flooder = school.student("1001").await;
    for _ in 0..2 * STUDENT_BURST {
        // The server stops reading at some point.
        _ = flooder.socket.send(Message::text(ClientMessage::RoomUserList.to_json())).await;
    }
    flooder.refused(ErrorCode::FloodedMessages).await;
    school.close().await;
}

#[tokio::test]
async fn a_message_to_a_missing_user_or_to_a_student_is_refused_and_its_sender_stays() {
    let school = School::open().await;
    let mut one = school.student("1001").await;
    let mut other = school.student("1002").await;
    one.say(offer()).await;
    assert_eq!(one.error().await.0, ErrorCode::UnknownTarget);
    one.say(ClientMessage::Offer { entry: None, target_uid: id("1002"), sdp: "v=0".into(), video: None, tracks: None })
        .await;
    let (code, sentence, _) = one.error().await;
    assert!(code == ErrorCode::UnknownTarget && sentence.contains("nobody teaches"), "{code}: {sentence}");
    one.say(ClientMessage::RoomUserList).await;
    one.hear_until(|message| matches!(message, ServerMessage::RoomUserList { .. })).await;
    other.say(ClientMessage::RoomUserList).await;
    other.hear_until(|message| !matches!(message, ServerMessage::Join { .. })).await;
    school.close().await;
}

#[tokio::test]
async fn a_query_without_room_or_user_is_refused() {
    let school = School::open().await;
    for (query, cause) in [
        ("", "roomId is missing"),
        ("roomId=1", "userId is missing"),
        ("roomId=a%20b&userId=1", "room id contains ' '"),
        ("roomId=1&userId=..%2F", "user id contains '/'"),
        ("roomId=1&userId=1&pub=maybe", "pub is"),
    ] {
        let message = school.connect(query).await.refused(ErrorCode::BadRequest).await;
        assert!(message.contains(cause), "{message}");
    }
    assert_eq!(school.server.rooms(), []);
    school.close().await;
}

#[tokio::test]
async fn a_client_that_announces_credentials_and_sends_another_message_is_refused() {
    let school = School::open().await;
    for (text, cause) in
        [(r#"{"type":"ping"}"#, "auth comes first"), (r#"{"type":"auth","session":"x"}"#, "session must")]
    {
        let mut raw = school.connect("roomId=1&userId=1&auth=1").await;
        raw.socket.send(Message::text(text)).await.unwrap();
        let (code, message, _) = raw.error().await;
        assert!(code == ErrorCode::MalformedMessage && message.contains(cause), "{message}");
    }
    assert_eq!(school.server.rooms(), []);
    school.close().await;
}

#[tokio::test]
async fn a_user_id_in_use_is_refused_to_strangers_and_given_to_the_same_session() {
    let school = School::open().await;
    let mut teacher = school.join(TEACHER).await;
    let mut first = school.student("1001").await;
    assert!(matches!(teacher.hear().await, ServerMessage::Join { .. }));

    let mut stranger = school.connect("roomId=1&userId=1001&session=strangerstranger").await;
    let (code, _, retry) = stranger.error().await;
    assert_eq!((code, retry), (ErrorCode::UserIdTaken, None));
    let mut nobody = school.connect("roomId=1&userId=1001").await;
    nobody.refused(ErrorCode::UserIdTaken).await;

    let mut newer = school.student("1001").await;
    first.refused(ErrorCode::Replaced).await;
    still_whole(&mut teacher, &mut newer).await;
    school.close().await;
}

#[tokio::test]
async fn the_user_id_of_a_lost_connection_is_reserved_and_then_free() {
    let school = School::open().await;
    let mut teacher = school.join(TEACHER).await;
    let first = school.student("1001").await;
    assert!(matches!(teacher.hear().await, ServerMessage::Join { .. }));
    // Killed: the socket ends without a goodbye.
    drop(first);
    let taken = async || {
        let mut stranger = school.connect("roomId=1&userId=1001&session=strangerstranger").await;
        match stranger.hear().await {
            ServerMessage::Error { code: ErrorCode::UserIdTaken, retry_after_ms, .. } => retry_after_ms,
            other => panic!("{other:?}"),
        }
    };
    // Until the server has seen the end, the connection counts as open.
    let deadline = Instant::now() + DEADLINE;
    let wait = loop {
        if let Some(wait) = taken().await {
            break wait;
        }
        assert!(Instant::now() < deadline);
    };
    assert!(wait <= 5_001, "{wait}");
    // The same client reconnects, and nobody else gets a message.
    let mut back = school.student("1001").await;
    still_whole(&mut teacher, &mut back).await;
    drop(back);
    assert!(matches!(teacher.hear().await, ServerMessage::Leave { reason: LeaveReason::Lost, .. }));
    school.join("roomId=1&userId=1001&session=strangerstranger").await;
    school.close().await;
}

#[tokio::test]
async fn a_second_publisher_learns_who_teaches() {
    let school = School::open().await;
    let _teacher = school.join(TEACHER).await;
    let mut second = school.connect("roomId=1&userId=9998&pub=pub").await;
    let message = second.refused(ErrorCode::PublisherExists).await;
    assert!(message.contains("Ms Li (9999) teaches in room 1"), "{message}");
    school.close().await;
}

#[tokio::test]
async fn a_goodbye_frees_the_user_id_at_once() {
    let school = School::open().await;
    let mut teacher = school.join(TEACHER).await;
    let mut by_message = school.student("1001").await;
    by_message.say(ClientMessage::Leave { over: false }).await;
    assert_eq!(by_message.closed().await.0, CloseCode::Normal);
    teacher.hear_until(|m| matches!(m, ServerMessage::Leave { reason: LeaveReason::Left, .. })).await;
    let mut by_frame = school.join("roomId=1&userId=1001&session=strangerstranger").await;
    by_frame
        .say_raw(Message::Close(Some(tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        })))
        .await;
    teacher.hear_until(|m| matches!(m, ServerMessage::Leave { reason: LeaveReason::Left, .. })).await;
    school.close().await;
}

#[tokio::test]
async fn a_server_announces_its_shutdown() {
    let school = School::open().await;
    let mut student = school.student("1001").await;
    let address = school.address;
    let server = school.server.clone();
    school.close().await;
    assert_eq!(server.connections(), 0);
    assert_eq!(student.error().await.0, ErrorCode::ServerShutdown);
    assert_eq!(student.closed().await.0, CloseCode::Away);
    http::bind(address).unwrap();
}

#[test]
fn the_query_of_a_client_follows_the_specification() {
    let request = JoinRequest::parse("roomId=10013&userId=1001&nickname=S-01&pub=no").unwrap();
    assert_eq!(request.to_query(), "roomId=10013&userId=1001&nickname=S-01&pub=no&epoch=0");
}
