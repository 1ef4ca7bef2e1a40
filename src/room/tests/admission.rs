//! Who is let in, and who is refused.

use super::*;

#[test]
fn a_stranger_with_a_taken_id_is_refused_unnoticed_by_others() {
    let mut server = TestServer::new();
    let first = server.join("1001");
    server.pass(Duration::from_secs(1));
    let (stranger, out) = server.join_as("1001", 'b', 2);
    assert_eq!(error_code(&out, stranger), Some(ErrorCode::UserIdTaken));
    assert_eq!(closed(&out), [(stranger, Some(ErrorCode::UserIdTaken))]);
    assert_eq!(flat(&out).len(), 1);
    assert!(matches!(&told(&out, stranger)[0], ServerMessage::Error { retry_after_ms: None, .. }));
    assert_eq!(server.say(stranger, ClientMessage::RoomUserList), [], "what is still said is ignored");
    assert_eq!(told(&server.say(first, ClientMessage::RoomUserList), first).len(), 1);
}

#[test]
fn a_reserved_user_id_is_refused_with_the_time_to_wait_and_then_free() {
    let mut server = TestServer::new();
    let first = server.join("1001");
    let teacher = server.join(TEACHER);
    server.pass(Duration::from_secs(1));
    server.lose(first);
    server.pass(Duration::from_secs(3));
    let (stranger, out) = server.join_as("1001", 'b', 2);
    let [ServerMessage::Error { retry_after_ms: Some(wait), .. }] = told(&out, stranger)[..] else { panic!("{out:?}") };
    let wait = Duration::from_millis(wait);
    assert!(wait <= protocol::RESUME_GRACE - Duration::from_secs(3) + Duration::from_millis(1), "{wait:?}");
    let out = server.pass(wait);
    assert_eq!(told(&out, teacher), [ServerMessage::Leave { users: vec![id("1001")], reason: LeaveReason::Lost }]);
    let (stranger, out) = server.join_as("1001", 'b', 2);
    assert_eq!(error_code(&out, stranger), None);
}

#[test]
fn a_second_publisher_is_refused_by_name() {
    let mut server = TestServer::new();
    let teacher = server.join(TEACHER);
    let (second, out) = server.join_as("9998", 'b', 1);
    let [ServerMessage::Error { code, message, retry_after_ms: None, .. }] = &told(&out, second)[..] else { panic!() };
    assert_eq!(*code, ErrorCode::PublisherExists);
    assert!(message.contains("N-9999 (9999) teaches in room 10013"), "{message}");
    // While the first publisher's connection is lost, the refusal names the time to wait.
    server.lose(teacher);
    let (second, out) = server.join_as("9998", 'b', 1);
    assert!(matches!(&told(&out, second)[0], ServerMessage::Error { retry_after_ms: Some(_), .. }));
    server.pass(protocol::RESUME_GRACE);
    server.join("9998");
}

#[test]
fn a_full_room_still_admits_its_teacher_and_returning_students() {
    let mut server = TestServer::with(RoomLimits { max_room_users: 2, ..RoomLimits::default() });
    server.join("1001");
    server.join("1002");
    let (third, out) = server.join_as("1003", 'a', 1);
    assert_eq!(error_code(&out, third), Some(ErrorCode::RoomFull));
    server.join(TEACHER);
    let (_, out) = server.join_as("1001", 'a', 2);
    assert!(!closed(&out).iter().any(|(_, code)| *code == Some(ErrorCode::RoomFull)));
}

#[test]
fn a_full_server_opens_no_room_and_empty_rooms_vanish() {
    let mut server = TestServer::with(RoomLimits { max_rooms: 1, ..RoomLimits::default() });
    let student = server.join("1001");
    let elsewhere = |n| Newcomer {
        room: "7".parse().unwrap(),
        room_name: None,
        user: id("1"),
        nickname: "".into(),
        publishes: false,
        epoch: 0,
        session: n,
        client: None,
        network: network(),
        moderates: false,
        code: None,
        settings: None,
    };
    let session: SessionSecret = "b".repeat(16).parse().unwrap();
    let conn = ConnId(99);
    let out = server.rooms.handle(server.now, Input::Join { conn, newcomer: elsewhere(session.clone()) });
    assert_eq!(error_code(&out, conn), Some(ErrorCode::ServerFull));
    server.say(student, ClientMessage::Leave { over: false });
    assert_eq!(server.rooms.summaries(server.now), []);
    let conn = ConnId(100);
    let out = server.rooms.handle(server.now, Input::Join { conn, newcomer: elsewhere(session) });
    assert_eq!(error_code(&out, conn), None);
    server.lose(conn);
    server.pass(protocol::RESUME_GRACE);
    assert_eq!(server.rooms.summaries(server.now), []);
    assert_eq!(server.rooms.next_tick(), None);
    assert!(server.rooms.conns.is_empty());
}
