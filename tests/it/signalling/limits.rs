//! Crowds, slow clients, and the other endpoints on the port.

use super::*;

/// This port of this computer.
fn at(port: u16) -> http::client::Address {
    http::client::Address::new("127.0.0.1", port, None)
}

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
        let answer = ClientMessage::Answer { entry: None, target_uid: id("1001"), sdp: n.to_string(), source: None };
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
    // The last place is kept for another network.
    let http_limits = http::ConnectionLimits { max_connections: 3, ..http::ConnectionLimits::default() };
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
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
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
    let rooms = http::client::rooms(&at(school.address.port())).await.unwrap();
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
    let rooms = http::client::rooms(&at(school.address.port())).await.unwrap();
    assert_eq!(rooms[0].publisher.as_ref().unwrap().user_id, id("9999"));
    school.close().await;
    assert!(matches!(http::client::rooms(&at(9)).await, Err(http::client::ClientError::Unreachable { .. })));
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

    // Messages of 60 kB fill the kernel's buffers first and then the queue: 512 messages, or 256 kB.
    let answer = ClientMessage::Answer { entry: None, target_uid: id("1002"), sdp: "v".repeat(60_000), source: None };
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

/// Reads the head of a response.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match timeout(DEADLINE, stream.read_u8()).await.unwrap() {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_its_first_and_before_its_next_request() {
    let header_timeout = Duration::from_millis(300);
    let http_limits = http::ConnectionLimits { header_timeout, ..http::ConnectionLimits::default() };
    let school = School::open_with(ServerLimits::default(), http_limits).await;
    let mut silent = TcpStream::connect(school.address).await.unwrap();
    let mut used = TcpStream::connect(school.address).await.unwrap();
    used.write_all(b"GET /api/ping HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(head(&mut used).await.starts_with("HTTP/1.1 204"));
    let begun = Instant::now();
    for stream in [&mut silent, &mut used] {
        let mut rest = Vec::new();
        _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    school.close().await;
}

#[tokio::test]
async fn idle_connections_of_one_network_make_place_for_others_and_for_its_own_newcomers() {
    let http_limits = http::ConnectionLimits { max_connections: 40, ..http::ConnectionLimits::default() };
    let school = School::open_with(ServerLimits::default(), http_limits).await;
    // Members first: idle connections never cost them their place.
    let mut teacher = school.join(TEACHER).await;
    let mut member = school.student("1001").await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(school.address).await.unwrap());
    }
    assert!(get(school.address, "/").await.starts_with("HTTP/1.1 200"), "a newcomer of the same network");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let stream = socket.connect(school.address).await.unwrap();
    let mut other = school.connect_by(stream, &student("1002")).await;
    assert!(matches!(other.hear().await, ServerMessage::Joined { .. }), "another network");
    // The closed ones are closed, and not only forgotten.
    let mut rest = Vec::new();
    _ = timeout(DEADLINE, idle[0].read_to_end(&mut rest)).await.unwrap();
    let is_other = |m: &ServerMessage| matches!(m, ServerMessage::Join { users } if users[0].user_id == id("1002"));
    teacher.hear_until(is_other).await;
    still_whole(&mut teacher, &mut member).await;
    school.close().await;
}

#[tokio::test]
async fn a_page_of_another_site_and_a_rebound_name_may_not_join() {
    let school = School::open().await;
    let upgrade = async |headers: String| {
        let mut stream = TcpStream::connect(school.address).await.unwrap();
        let request = format!(
            "GET /ws?roomId=1&userId=1 HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        head(&mut stream).await.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let own = school.address.to_string();
    assert_eq!(upgrade(format!("host: {own}\r\norigin: http://{own}\r\n")).await, "101");
    assert_eq!(upgrade(format!("host: {own}\r\n")).await, "101", "a program");
    for origin in ["http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1", "null", ""] {
        assert_eq!(upgrade(format!("host: {own}\r\norigin: {origin}\r\n")).await, "403", "{origin}");
    }
    let rebound = "host: evil.example\r\norigin: http://evil.example\r\n".to_owned();
    assert_eq!(upgrade(rebound).await, "421");
    school.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_one_list_of_users_a_second_however_often_it_asks() {
    let school = School::open().await;
    let _teacher = school.join(TEACHER).await;
    let mut student = school.student("1001").await;
    let begun = Instant::now();
    for _ in 0..100 {
        student.say(ClientMessage::RoomUserList).await;
    }
    let is_list = |message: &ServerMessage| matches!(message, ServerMessage::RoomUserList { .. });
    let first = student.hear_until(is_list).await;
    let ServerMessage::RoomUserList { users, count } = first else { unreachable!() };
    assert_eq!((users.len(), count), (2, 2));
    for _ in 0..50 {
        student.say(ClientMessage::RoomUserList).await;
    }
    student.hear_until(is_list).await;
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    // On a busy machine the requests may take longer than a second to arrive.
    student.say(ClientMessage::Ping).await;
    let mut more = 0;
    while !matches!(student.hear().await, ServerMessage::Pong) {
        more += 1;
    }
    assert!(more < begun.elapsed().as_secs(), "{more} more lists");
    // A list is never older than what the client was told before.
    let _other = school.student("1002").await;
    student.hear_until(|message| matches!(message, ServerMessage::Join { .. })).await;
    student.say(ClientMessage::RoomUserList).await;
    let ServerMessage::RoomUserList { users, .. } = student.hear_until(is_list).await else { unreachable!() };
    assert_eq!(users.len(), 3);
    school.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_ask_and_do_not_read_hold_little_memory_and_free_it() {
    let school = School::open().await;
    let mut teacher = school.join(TEACHER).await;
    let long = "x".repeat(40);
    // The list has 500 students with long names: about 90 kB.
    let names: Vec<_> =
        (0..500).map(|n| format!("roomId=1&userId={n:0>60}&nickname={long}&session=studentstudent{n:0>4}")).collect();
    let mut students = join_all(names.iter().map(|name| school.join(name))).await;
    // They read at first, and then they only ask.
    for second in 0..4 {
        for student in students.iter_mut() {
            for _ in 0..10 {
                if student.socket.send(Message::text(ClientMessage::RoomUserList.to_json())).await.is_err() {
                    break;
                }
            }
        }
        let waiting = school.server.waiting();
        println!("second {second}: {waiting:?}");
        assert!(waiting.bytes < 80_000_000, "{waiting:?}");
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    drop(students);
    wait_for("the attackers are gone", || school.server.connections() == 1).await;
    teacher.hear_until(|m| matches!(m, ServerMessage::Leave { .. })).await;
    wait_for("nothing waits", || school.server.waiting().bytes < 1_000_000).await;
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
