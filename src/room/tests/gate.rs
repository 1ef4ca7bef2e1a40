//! Join codes and locks.

use super::meetings::guest;
use super::*;

fn code(code: &str) -> RoomSettings {
    RoomSettings { code: Some(code.into()), ..RoomSettings::default() }
}

fn with_code(user: &str, code: &str) -> Newcomer {
    Newcomer { code: Some(code.into()), ..student(user) }
}

#[test]
fn a_room_with_a_code_admits_guests_with_the_code_and_clients_with_a_token() {
    let mut server = TestServer::new();
    server.let_in(teacher_with(code("472913")));
    assert!(server.summary("10013").unwrap().has_code);
    assert_eq!(server.refused(student("1001")), ErrorCode::CodeRequired);
    assert_eq!(server.refused(with_code("1001", "472914")), ErrorCode::WrongCode);
    server.let_in(with_code("1001", "472 913"));
    server.let_in(pupil("1002"));
}

#[test]
fn students_who_came_before_the_teacher_are_judged_by_its_code() {
    let mut server = TestServer::new();
    let without = server.let_in(student("1001"));
    let wrong = server.let_in(with_code("1002", "111111"));
    let right = server.let_in(with_code("1003", "472913"));
    let lost = server.let_in(student("1004"));
    server.lose(lost);
    let (conn, out) = server.enter(teacher_with(code("472913")));
    assert_eq!(closed(&out), [(without, Some(ErrorCode::CodeRequired)), (wrong, Some(ErrorCode::CodeRequired))]);
    assert_eq!(told(&out, right).last(), Some(&ServerMessage::Join { users: vec![teacher().user_entry()] }));
    let [ServerMessage::Joined { users, .. }] = &told(&out, conn)[..] else { panic!("{out:?}") };
    assert_eq!(users.len(), 2, "nobody without the code is in the room: {users:?}");
    assert_eq!(server.refused(student("1004")), ErrorCode::CodeRequired);
}

#[test]
fn a_server_that_has_restarted_learns_from_the_teacher_who_was_banned() {
    let mut server = TestServer::new();
    let early = server.let_in(student("1001"));
    server.let_in(student("1002"));
    let banned = vec![id("1001"), id("1003")];
    let (conn, out) = server.enter(teacher_with(RoomSettings { banned, ..RoomSettings::default() }));
    assert_eq!(closed(&out), [(early, Some(ErrorCode::Removed))]);
    let [ServerMessage::Joined { users, .. }] = &told(&out, conn)[..] else { panic!("{out:?}") };
    assert_eq!(users.len(), 2, "the teacher and 1002: {users:?}");
    for user in ["1001", "1003"] {
        assert_eq!(server.refused(student(user)), ErrorCode::Removed);
    }
    assert_eq!(server.refused(Newcomer { user: id("1009"), ..student("1001") }), ErrorCode::Removed, "the same client");
    server.let_in(student("1004"));
}

#[test]
fn a_room_asks_for_its_code_also_while_the_teacher_is_away() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(code("472913")));
    server.say(conn, ClientMessage::Leave { over: true });
    server.pass(Duration::from_secs(60));
    assert_eq!(server.refused(student("1001")), ErrorCode::CodeRequired);
    server.let_in(with_code("1001", "472913"));
}

#[test]
fn members_stay_and_come_back_when_the_code_changes() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(code("472913")));
    let first = server.let_in(with_code("1001", "472913"));
    let out = server.order(conn, RoomOrder::Code { code: Some("Blue-Fox".into()) });
    assert_eq!(closed(&out), []);
    server.lose(first);
    server.pass(Duration::from_secs(60));
    server.let_in(with_code("1001", "472913"));
    assert_eq!(server.refused(with_code("1002", "472913")), ErrorCode::WrongCode);
    server.let_in(with_code("1002", "blue fox"));
    // The publisher's settings are older than its order.
    server.lose(conn);
    server.let_in(teacher_with(code("472913")));
    assert_eq!(server.refused(with_code("1003", "472913")), ErrorCode::WrongCode);
}

#[test]
fn a_code_that_is_none_is_refused() {
    let mut server = TestServer::new();
    assert_eq!(server.refused(teacher_with(code("?"))), ErrorCode::BadRequest);
    let conn = server.let_in(teacher());
    let out = server.order(conn, RoomOrder::Code { code: Some("12".into()) });
    assert_eq!((error_code(&out, conn), closed(&out)), (Some(ErrorCode::NotAllowed), vec![]));
    server.let_in(student("1001"));
}

#[test]
fn wrong_codes_are_slowed_down_for_their_network_alone() {
    let mut server = TestServer::new();
    server.let_in(teacher_with(code("472913")));
    let member = server.let_in(with_code("1001", "472913"));
    let guess = |n| Newcomer { network: network_of("198.51.100.7"), ..with_code("2001", &format!("{n:06}")) };
    let wrong = (0..1_000).take_while(|n| server.refused(guess(*n)) == ErrorCode::WrongCode).count();
    assert!(wrong <= 30, "{wrong}");
    assert_eq!(server.refused(guess(472_913)), ErrorCode::TooManyAttempts, "the right code does not show");
    server.let_in(with_code("1002", "472913"));
    // A member of the attacker's network comes back.
    server.lose(member);
    server.let_in(Newcomer { network: network_of("198.51.100.7"), ..with_code("1001", "472913") });
}

#[test]
fn a_locked_room_admits_members_that_come_back_and_teachers() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    let member = server.let_in(student("1001"));
    server.order(conn, RoomOrder::Lock { locked: true });
    assert!(server.summary("10013").unwrap().is_locked);
    assert_eq!(server.refused(student("1002")), ErrorCode::RoomLocked);
    assert_eq!(server.refused(pupil("1002")), ErrorCode::RoomLocked);
    server.lose(member);
    server.pass(Duration::from_secs(60));
    server.let_in(student("1001"));
    server.let_in(Newcomer { moderates: true, ..student("8001") });
    server.order(conn, RoomOrder::Lock { locked: false });
    server.let_in(student("1002"));
}

#[test]
fn a_co_teacher_learns_that_the_room_is_locked_or_has_a_lobby() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(RoomSettings { lobby: true, ..RoomSettings::default() }));
    server.order(conn, RoomOrder::Lock { locked: true });
    let identity = Some(Identity::Token { key: "school".parse().unwrap(), subject: id("7") });
    let (helper, out) = server.enter(Newcomer { moderates: true, identity, ..student("7") });
    let orders: Vec<_> = told(&out, helper)
        .into_iter()
        .filter_map(|message| match message {
            ServerMessage::Order { order, .. } => Some(order),
            _ => None,
        })
        .collect();
    assert_eq!(orders, [RoomOrder::Lock { locked: true }, RoomOrder::Lobby { lobby: true }]);
    assert_eq!(told(&out, conn).len(), 1, "the teacher hears only that somebody joined");
}

#[test]
fn the_sentences_of_a_meeting_name_its_owner() {
    let mut server = TestServer::new();
    let (one, two) = (server.let_in(guest("1001")), server.let_in(guest("1002")));
    let sentence = |out: &[Output], conn| match told(out, conn).pop() {
        Some(ServerMessage::Error { message, kind: RoomKind::Meeting, .. }) => message,
        other => panic!("{other:?}"),
    };
    let out = server.order(one, RoomOrder::Kick { target_uid: id("1002") });
    assert_eq!(sentence(&out, two), "the owner has put you out of the room");
    let (two, out) = server.enter(guest("1002"));
    assert_eq!(sentence(&out, two), "the owner has put you out of room 10013");
    server.order(one, RoomOrder::Lobby { lobby: true });
    let (three, out) = server.enter(guest("1003"));
    assert!(matches!(told(&out, three)[..], [ServerMessage::Waiting { kind: RoomKind::Meeting, .. }]), "{out:?}");
    server.order(one, RoomOrder::Lock { locked: true });
    let (four, out) = server.enter(guest("1004"));
    assert_eq!(sentence(&out, four), "the owner has locked room 10013");
}
