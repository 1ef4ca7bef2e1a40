//! The library's client: how it reconnects, and when it gives up.

use super::*;

#[tokio::test]
async fn clients_rejoin_a_restarted_server_and_the_room_is_complete() {
    let school = School::open().await;
    let (teacher, mut teacher_events) = Client::connect(school.config("9999", 't')).await.unwrap();
    let mut students = Vec::new();
    for n in 0..5 {
        let (client, mut events) = Client::connect(school.config(&format!("100{n}"), 's')).await.unwrap();
        let joined = event(&mut events).await;
        assert!(matches!(joined, SignalEvent::Joined { publisher: Some(_), .. }), "{joined:?}");
        students.push((client, events));
    }
    let address = school.address;
    school.close().await;
    for (_, events) in &mut students {
        event_until(events, |event| matches!(event, SignalEvent::Lost { .. })).await;
    }
    // Messages sent meanwhile wait.
    students[0].0.send(offer()).unwrap();

    // The port is free at once, although the server closed the connections first.
    let listener = http::bind(address).unwrap();
    let school = School::on(listener, ServerLimits::default(), http::ConnectionLimits::default());
    wait_for("everybody is back", || school.server.rooms().iter().any(|room| room.watching == 5)).await;
    wait_for("the teacher is back", || school.server.rooms()[0].state == RoomState::Live).await;
    for (_, events) in &mut students {
        event_until(events, |event| matches!(event, SignalEvent::Joined { .. })).await;
    }
    // Whoever joined first, the offer is there, or its sender knows that nobody was.
    let is_offer = |event: &SignalEvent| matches!(event, SignalEvent::Message(ServerMessage::Offer { .. }));
    let is_error = |event: &SignalEvent| matches!(event, SignalEvent::Message(ServerMessage::Error { .. }));
    let heard = tokio::select! {
        heard = event_until(&mut teacher_events, is_offer) => heard,
        heard = event_until(&mut students[0].1, is_error) => heard,
    };
    assert!(matches!(heard, SignalEvent::Message(_)));
    teacher.leave(Goodbye::Leave).await;
    wait_for("the teacher is gone", || school.server.rooms()[0].publisher.is_none()).await;
    school.close().await;
}

#[tokio::test]
async fn a_client_learns_why_it_is_refused() {
    let school = School::open().await;
    let (_teacher, _events) = Client::connect(school.config("9999", 't')).await.unwrap();
    let refused = Client::connect(school.config("9998", 'u')).await.unwrap_err();
    assert!(matches!(refused, SignalError::Refused { code: ErrorCode::PublisherExists, .. }), "{refused}");
    let refused = Client::connect(school.config("9999", 'u')).await.unwrap_err();
    assert!(matches!(refused, SignalError::Refused { code: ErrorCode::UserIdTaken, .. }), "{refused}");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let nowhere = ClientConfig {
        kind: None,
        client: None,
        server: ServerUrl::from(address),
        initial_deadline: Duration::from_millis(300),
        ..school.config("1001", 's')
    };
    assert!(matches!(Client::connect(nowhere).await.unwrap_err(), SignalError::Unreachable { .. }));
    school.close().await;
}

#[tokio::test]
async fn a_client_waits_for_a_user_id_that_becomes_free() {
    let school = School::open_with_grace(Duration::from_millis(500)).await;
    let (first, _) = Client::connect(school.config("9999", 't')).await.unwrap();
    drop(first);
    wait_for("the end is seen", || school.server.rooms()[0].state == RoomState::Waiting).await;
    let (_second, _) = Client::connect(school.config("9999", 'u')).await.unwrap();
    school.close().await;
}

#[tokio::test]
async fn a_replaced_client_ends() {
    let school = School::open().await;
    let (_older, mut events) = Client::connect(school.config("1001", 's')).await.unwrap();
    let other_process = ClientConfig { epoch: 8, ..school.config("1001", 's') };
    let (_newer, _) = Client::connect(other_process).await.unwrap();
    let ended = event_until(&mut events, |event| matches!(event, SignalEvent::Ended(_))).await;
    assert!(matches!(ended, SignalEvent::Ended(SignalError::Refused { code: ErrorCode::Replaced, .. })), "{ended:?}");
    school.close().await;
}

/// A server that lets every client in and then falls silent, as on a dead path.
async fn mute_server() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut mute = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            let joined = r#"{"type":"joined","roomId":"1","userId":"1001","users":[],"publisher":null}"#;
            socket.send(Message::text(joined)).await.unwrap();
            // Nothing is read, so no ping is answered.
            mute.push(socket);
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_probe_detects_a_dead_path() {
    let (address, serving) = mute_server().await;
    let school = School::open().await;
    let config = ClientConfig { server: ServerUrl::from(address), ..school.config("1001", 's') };
    let (client, mut events) = Client::connect(config).await.unwrap();
    assert!(matches!(event(&mut events).await, SignalEvent::Joined { .. }));
    client.probe();
    let lost = event(&mut events).await;
    // Without a probe, it would take 12 s.
    assert!(matches!(&lost, SignalEvent::Lost { reason } if reason == "nothing from the server for 2 s"), "{lost:?}");
    assert!(matches!(event(&mut events).await, SignalEvent::Joined { .. }), "by a new connection");
    serving.abort();
    school.close().await;
}

#[tokio::test]
async fn a_client_stays_with_a_server_that_answers_its_probe() {
    let school = School::open().await;
    let (client, mut events) = Client::connect(school.config("1001", 's')).await.unwrap();
    assert!(matches!(event(&mut events).await, SignalEvent::Joined { .. }));
    client.probe();
    // Longer than the server may take to answer.
    let lost = event_until(&mut events, |event| matches!(event, SignalEvent::Lost { .. }));
    let lost = timeout(Duration::from_millis(2_500), lost).await;
    assert!(lost.is_err(), "{lost:?}");
    school.close().await;
}

/// A port that answers every connection with these bytes.
async fn answers(bytes: &'static [u8]) -> (ServerUrl, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = ServerUrl::from(listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            _ = stream.read(&mut request).await;
            stream.write_all(bytes).await.unwrap();
        }
    });
    (server, serving)
}

#[tokio::test]
async fn a_foreign_service_is_distinguished_from_a_server_that_is_not_up_yet() {
    let school = School::open().await;
    for (bytes, is_a_mistake) in [
        (&b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"[..], true),
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", true),
        (b"SSH-2.0-OpenSSH_9.2\r\n", true),
        // A TLS alert.
        (&[0x15, 3, 1, 0, 2, 2, 10], true),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", false),
        (b"", false),
    ] {
        let (server, serving) = answers(bytes).await;
        let config = ClientConfig { server, initial_deadline: Duration::ZERO, ..school.config("1001", 's') };
        let error = Client::connect(config).await.unwrap_err();
        let said = String::from_utf8_lossy(bytes);
        assert_eq!(matches!(error, SignalError::NotAServer { .. }), is_a_mistake, "{said:?}: {error}");
        assert_eq!(matches!(error, SignalError::Unreachable { .. }), !is_a_mistake, "{said:?}: {error}");
        serving.abort();
    }
    let name = ServerUrl::new("no-such-host.invalid", 1);
    let config = ClientConfig { server: name, initial_deadline: Duration::ZERO, ..school.config("1001", 's') };
    let error = Client::connect(config).await.unwrap_err().to_string();
    assert!(error.contains("does not resolve") || error.contains("no answer"), "{error}");
    school.close().await;
}
