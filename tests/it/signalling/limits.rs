//! Crowds, slow clients, and the other endpoints on the port.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classes_of_2000_students_from_one_address_are_let_in_at_once() {
    // Both ends of each connection are in this process: as many as its descriptors allow beside the other tests.
    let students = (max_open_files().saturating_sub(400) / 2).min(2_000);
    let school = School::open().await;
    // In rooms of 100, because these clients read lists more slowly than the server writes them.
    let names: Vec<_> = (0..students).map(|n| format!("roomId={}&userId={}", n / 100, n)).collect();
    let _students = join_all(names.iter().map(|name| school.join(name))).await;
    assert_eq!(school.server.rooms().iter().map(|room| room.watching).sum::<usize>(), students);
    school.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_offers_at_once_is_heard() {
    let school = School::open().await;
    let mut teacher = school.join(TEACHER).await;
    let names: Vec<_> = (0..100).map(|n| student(&format!("{}", 1001 + n))).collect();
    let mut students = join_all(names.iter().map(|name| school.join(name))).await;
    join_all(students.iter_mut().map(|student| student.say(offer()))).await;
    for _ in 0..students.len() {
        teacher.hear_until(|message| matches!(message, ServerMessage::Offer { .. })).await;
    }
    school.close().await;
}

/// On one thread, so that the reader of the teacher's messages fills the student's queue before it is written.
#[tokio::test]
async fn the_65th_message_of_a_burst_is_not_lost() {
    let school = School::open().await;
    let mut teacher = school.join(TEACHER).await;
    let mut student = school.student("1001").await;
    for n in 0..300 {
        let answer = ClientMessage::Answer { target_uid: id("1001"), sdp: n.to_string() };
        teacher.socket.feed(Message::text(answer.to_json())).await.unwrap();
    }
    teacher.socket.flush().await.unwrap();
    for n in 0..300 {
        let answer = student.hear().await;
        assert!(matches!(&answer, ServerMessage::Answer { sdp, .. } if *sdp == n.to_string()), "{n}: {answer:?}");
    }
    school.close().await;
}

fn max_open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(1_024)
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once() {
    let http_limits = http::ConnectionLimits { max_connections_per_ip: 2, ..http::ConnectionLimits::default() };
    let school = School::open_with(ServerLimits::default(), http_limits).await;
    let _one = school.student("1001").await;
    let two = school.student("1002").await;
    let mut third = TcpStream::connect(school.address).await.unwrap();
    assert_eq!(timeout(DEADLINE, third.read(&mut [0])).await.unwrap().unwrap(), 0);
    drop(two);
    wait_for("one less", || school.server.connections() == 1).await;
    // The socket counts until it is closed, just after the connection ends.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut stream = TcpStream::connect(school.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        if matches!(stream.read(&mut [0]).await, Ok(1)) {
            break;
        }
        assert!(Instant::now() < deadline);
    }
    school.close().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_closed() {
    let http_limits =
        http::ConnectionLimits { header_timeout: Duration::from_millis(200), ..http::ConnectionLimits::default() };
    let school = School::open_with(ServerLimits::default(), http_limits).await;
    let mut slow = TcpStream::connect(school.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut rest = Vec::new();
    timeout(DEADLINE, slow.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    school.close().await;
}

#[tokio::test]
async fn the_pages_and_the_websocket_share_a_port() {
    let school = School::open().await;
    let _teacher = school.join(TEACHER).await;
    let _student = school.student("1001").await;
    let rooms = http::client::rooms("127.0.0.1", school.address.port(), None).await.unwrap();
    assert_eq!(rooms.len(), 1);
    assert_eq!((rooms[0].watching, rooms[0].state), (1, RoomState::Live));

    for (path, status, text) in [
        ("/", "200", "classroom watch --room"),
        ("/room/1", "200", "<script type=\"module\" src=\"/assets/"),
        ("/room/7", "200", "classroom watch --room"),
        ("/room/..%2F", "404", "no such page"),
        ("/nowhere", "404", "no such page"),
        ("/ws", "426", "badRequest"),
    ] {
        let answer = get(school.address, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains(text), "{path}: {answer}");
        assert!(path == "/ws" || answer.contains("content-security-policy: default-src 'none'"), "{answer}");
    }
    let rooms = http::client::rooms("127.0.0.1", school.address.port(), None).await.unwrap();
    assert_eq!(rooms[0].publisher.as_ref().unwrap().user_id, id("9999"));
    school.close().await;
    assert!(matches!(
        http::client::rooms("127.0.0.1", 9, None).await,
        Err(http::client::RoomsError::Unreachable { .. })
    ));
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_affects_nobody_else() {
    let school = School::open_with_grace(Duration::from_millis(100)).await;
    let mut teacher = school.join(TEACHER).await;
    let mut witness = school.student("1001").await;
    assert!(matches!(teacher.hear().await, ServerMessage::Join { .. }));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(school.address).await.unwrap();
    let mut deaf = school.connect_by(stream, &student("1002")).await;
    assert!(matches!(deaf.hear().await, ServerMessage::Joined { .. }));
    assert!(matches!(teacher.hear().await, ServerMessage::Join { .. }));

    // Messages of 60 kB fill the kernel's buffers first and then the queue: 512 messages, or 16 MiB.
    let answer = ClientMessage::Answer { target_uid: id("1002"), sdp: "v".repeat(60_000) };
    let text = answer.to_json();
    for _ in 0..600 {
        teacher.say_raw(Message::text(text.clone())).await;
        if school.server.connections() < 3 {
            break;
        }
    }
    wait_for("the connection that does not read is closed", || school.server.connections() == 2).await;
    let code = async {
        let mut code = None;
        while let Some(Ok(message)) = deaf.socket.next().await {
            if let Message::Text(text) = message
                && let Ok(ServerMessage::Error { code: found, .. }) = ServerMessage::parse(&text)
            {
                code = Some(found);
            }
        }
        code
    };
    // The client could read the reason by starting to read within a second; this one does not.
    assert!(matches!(timeout(DEADLINE, code).await.unwrap(), None | Some(ErrorCode::SlowConsumer)));
    teacher
        .hear_until(
            |m| matches!(m, ServerMessage::Leave { reason: LeaveReason::Lost, users } if users[..] == [id("1002")]),
        )
        .await;
    witness.hear_until(|m| matches!(m, ServerMessage::Leave { .. })).await;
    // Answers to missing users come back as errors; after this one, all have.
    teacher.say(ClientMessage::RoomUserList).await;
    teacher.hear_until(|m| matches!(m, ServerMessage::RoomUserList { .. })).await;
    still_whole(&mut teacher, &mut witness).await;
    school.close().await;
}

#[tokio::test]
async fn a_half_open_connection_is_detected() {
    let limits = ServerLimits {
        ping_interval: Duration::from_millis(50),
        silence_timeout: Duration::from_millis(200),
        room: room::RoomLimits { resume_grace: Duration::from_millis(100), ..room::RoomLimits::default() },
    };
    let school = School::open_with(limits, http::ConnectionLimits::default()).await;
    let mut teacher = school.join(TEACHER).await;
    let silent = school.student("1001").await;
    // The teacher reads, and so answers pings; the student does not.
    teacher.hear_until(|m| matches!(m, ServerMessage::Leave { reason: LeaveReason::Lost, .. })).await;
    drop(silent);
    teacher.say(ClientMessage::RoomUserList).await;
    teacher.hear().await;
    school.close().await;
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}
