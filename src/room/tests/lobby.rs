//! The lobby.

use super::*;

fn lobby() -> RoomSettings {
    RoomSettings { lobby: true, ..RoomSettings::default() }
}

/// The list that a connection was told last.
fn list(out: &[Output], conn: ConnId) -> Option<(Vec<String>, usize)> {
    told(out, conn).into_iter().rev().find_map(|message| match message {
        ServerMessage::Lobby { users, count } => {
            Some((users.iter().map(|user| user.user_id.to_string()).collect(), count))
        }
        _ => None,
    })
}

impl TestServer {
    fn wait(&mut self, newcomer: Newcomer) -> ConnId {
        let (conn, out) = self.enter(newcomer);
        assert!(waits(&out, conn) && closed(&out).is_empty(), "{out:?}");
        conn
    }
}

#[test]
fn a_client_in_the_lobby_hears_nothing_and_nobody_but_the_teacher_hears_of_it() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    let member = server.let_in(student("1001"));
    server.order(conn, RoomOrder::Lobby { lobby: true });
    server.pass(Duration::from_secs(1));
    let (waiting, out) = server.enter(student("1002"));
    let room_id = "10013".parse().unwrap();
    assert_eq!(flat(&out), [(waiting, ServerMessage::Waiting { room_id, room_name: None, kind: RoomKind::Lecture })]);
    for message in [offer_to(TEACHER), candidate_to(TEACHER), ClientMessage::RoomUserList] {
        let out = server.say(waiting, message);
        assert_eq!((flat(&out).len(), error_code(&out, waiting)), (1, Some(ErrorCode::NotAllowed)));
    }
    assert_eq!(flat(&server.say(waiting, ClientMessage::Ping)), [(waiting, ServerMessage::Pong)]);
    let out = server.pass(Duration::from_secs(1));
    assert_eq!(list(&out, conn), Some((vec!["1002".into()], 1)));
    assert_eq!(told(&out, member), []);
    assert_eq!(server.summary("10013").unwrap().watching, 1);
    let out = server.say(conn, answer_to("1002"));
    assert_eq!(error_code(&out, conn), Some(ErrorCode::UnknownTarget));
}

#[test]
fn the_teacher_admits_one_denies_one_and_admits_all_who_are_left() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(lobby()));
    let [one, two, three, four] = ["1001", "1002", "1003", "1004"].map(|user| server.wait(student(user)));
    let admit = |user: &str| RoomOrder::Admit { target_uid: Some(id(user)) };
    let out = server.order(conn, admit("1003"));
    assert!(
        is_in(&out, three)
            && told(&out, conn).contains(&ServerMessage::Order { user_id: id(TEACHER), order: admit("1003") })
    );
    assert!(told(&out, conn).iter().any(|message| matches!(message, ServerMessage::Join { .. })));
    let out = server.order(conn, RoomOrder::Deny { target_uid: id("1002") });
    assert_eq!(closed(&out), [(two, Some(ErrorCode::Removed))]);
    assert_eq!(server.refused(student("1002")), ErrorCode::Removed);
    let out = server.order(conn, RoomOrder::Admit { target_uid: None });
    assert!(is_in(&out, one) && is_in(&out, four));
    assert_eq!(list(&server.pass(Duration::from_secs(1)), conn), Some((vec![], 0)));
    let out = server.order(conn, admit("1001"));
    assert_eq!(error_code(&out, conn), Some(ErrorCode::UnknownTarget), "who is in does not wait");
    // The members are students like all others.
    assert_eq!(told(&server.say(four, offer_to(TEACHER)), conn).len(), 1);
}

#[test]
fn students_who_came_before_the_teacher_wait_when_it_sets_a_lobby() {
    let mut server = TestServer::new();
    let early = server.let_in(student("1001"));
    let witness = server.let_in(Newcomer { moderates: true, ..student("8001") });
    server.pass(Duration::from_secs(1));
    let (conn, out) = server.enter(teacher_with(lobby()));
    assert!(waits(&out, early) && closed(&out).is_empty(), "{out:?}");
    assert_eq!(list(&out, conn), Some((vec!["1001".into()], 1)));
    let out = server.pass(Duration::from_secs(1));
    assert!(told(&out, witness).contains(&removed("1001")), "{out:?}");
    assert!(is_in(&server.order(conn, RoomOrder::Admit { target_uid: None }), early));
}

#[test]
fn who_was_admitted_is_admitted_for_the_lecture_and_not_for_the_next_one() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(lobby()));
    let first = server.wait(student("1001"));
    server.order(conn, RoomOrder::Admit { target_uid: None });
    server.lose(first);
    server.pass(Duration::from_secs(60));
    let again = server.let_in(student("1001"));
    server.say(again, ClientMessage::Leave { over: false });
    let again = server.let_in(student("1001"));
    server.say(conn, ClientMessage::Leave { over: true });
    let (_, out) = server.enter(teacher_with(lobby()));
    assert!(waits(&out, again), "{out:?}");
}

#[test]
fn who_reconnects_in_the_lobby_waits_on_at_the_same_place() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(lobby()));
    let older = server.wait(student("1001"));
    server.wait(student("1002"));
    let (newer, out) = server.enter(student("1001"));
    assert!(waits(&out, newer));
    assert_eq!(closed(&out), [(older, None)]);
    server.lose(older);
    assert_eq!(list(&server.pass(Duration::from_secs(1)), conn), Some((vec!["1001".into(), "1002".into()], 2)));
    assert_eq!(server.refused(Newcomer { session: secret('x'), ..student("1001") }), ErrorCode::UserIdTaken);
    server.lose(newer);
    assert_eq!(list(&server.pass(Duration::from_secs(1)), conn), Some((vec!["1002".into()], 1)));
}

#[test]
fn teachers_never_wait() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(lobby()));
    server.wait(student("1001"));
    let co_teacher = Newcomer { moderates: true, ..student("8001") };
    let (co_teacher, out) = server.enter(co_teacher);
    assert!(is_in(&out, co_teacher));
    assert_eq!(list(&out, co_teacher), Some((vec!["1001".into()], 1)));
    server.lose(conn);
    server.let_in(teacher_with(lobby()));
}

#[test]
fn without_a_lobby_all_who_wait_are_admitted() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(lobby()));
    assert!(server.summary("10013").unwrap().has_lobby);
    let waiting = server.wait(student("1001"));
    assert!(is_in(&server.order(conn, RoomOrder::Lobby { lobby: false }), waiting));
    server.let_in(student("1002"));
}

#[test]
fn a_full_lobby_has_space_for_a_network_with_few_in_it() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(lobby()));
    let first = server.wait(student("1001"));
    let attacker = |n| Newcomer { network: network_of("198.51.100.7"), ..student(&format!("{}", 20_000 + n)) };
    let flood: Vec<_> = (1..protocol::MAX_LOBBY).map(|n| server.wait(attacker(n))).collect();
    assert_eq!(server.refused(attacker(0)), ErrorCode::RoomFull);
    let (second, out) = server.enter(student("1002"));
    assert!(waits(&out, second));
    assert_eq!(closed(&out), [(*flood.last().unwrap(), Some(ErrorCode::RoomFull))], "the newest of the attacker");
    let (listed, count) = list(&server.pass(Duration::from_secs(1)), conn).unwrap();
    assert_eq!((listed[0].as_str(), listed.len(), count), ("1001", protocol::MAX_LOBBY_LIST, protocol::MAX_LOBBY));
    let out = server.order(conn, RoomOrder::Admit { target_uid: Some(id("1002")) });
    assert!(is_in(&out, second));
    server.lose(first);
    server.pass(Duration::from_secs(1));
}

#[test]
fn a_full_room_keeps_the_rest_in_the_lobby_and_says_so() {
    let mut server = TestServer::with(RoomLimits { max_room_users: 1, ..RoomLimits::default() });
    let conn = server.let_in(teacher_with(lobby()));
    let (one, two) = (server.wait(student("1001")), server.wait(student("1002")));
    let out = server.order(conn, RoomOrder::Admit { target_uid: None });
    assert!(is_in(&out, one) && !is_in(&out, two));
    assert_eq!((error_code(&out, conn), closed(&out)), (Some(ErrorCode::NotAllowed), vec![]));
    assert_eq!(list(&server.pass(Duration::from_secs(1)), conn), Some((vec!["1002".into()], 1)));
}

#[test]
fn a_room_with_somebody_in_the_lobby_stays() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher_with(lobby()));
    server.lose(conn);
    let waiting = server.wait(student("1001"));
    server.pass(Duration::from_secs(3_600));
    let conn = server.let_in(teacher_with(lobby()));
    assert!(is_in(&server.order(conn, RoomOrder::Admit { target_uid: None }), waiting));
}
