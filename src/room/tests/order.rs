//! Kicks and bans.

use super::*;

fn kick(user: &str) -> RoomOrder {
    RoomOrder::Kick { target_uid: id(user) }
}

fn ban(user: &str) -> RoomOrder {
    RoomOrder::Ban { target_uid: id(user) }
}

fn from(ip: &str, newcomer: Newcomer) -> Newcomer {
    Newcomer { network: network_of(ip), ..newcomer }
}

#[test]
fn a_kick_puts_a_member_out_and_everybody_hears_of_it() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    let (one, two) = (server.let_in(student("1001")), server.let_in(student("1002")));
    server.pass(Duration::from_secs(1));
    let out = server.order(conn, kick("1001"));
    assert_eq!(error_code(&out, one), Some(ErrorCode::Removed));
    assert_eq!(closed(&out), [(one, Some(ErrorCode::Removed))]);
    assert_eq!(told(&out, conn), [removed("1001"), ServerMessage::Order { user_id: id(TEACHER), order: kick("1001") }]);
    assert_eq!(told(&server.pass(Duration::from_secs(1)), two), [removed("1001")]);
    assert_eq!(server.say(one, ClientMessage::Ping), [], "what is still said is ignored");
}

#[test]
fn who_was_kicked_stays_out_by_session_and_by_token() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    server.let_in(student("1001"));
    server.let_in(pupil("1002"));
    server.order(conn, kick("1001"));
    server.order(conn, kick("1002"));
    for user in ["1001", "1003"] {
        let same_session = Newcomer { user: id(user), epoch: 2, ..student("1001") };
        assert_eq!(server.refused(same_session), ErrorCode::Removed, "{user}");
    }
    assert_eq!(server.refused(Newcomer { session: secret('x'), ..pupil("1002") }), ErrorCode::Removed);
    // The user id is free for others.
    server.let_in(Newcomer { session: secret('y'), ..student("1001") });
    server.order(conn, RoomOrder::Unban { target_uid: id("1002") });
    server.let_in(pupil("1002"));
    let out = server.order(conn, RoomOrder::Unban { target_uid: id("1002") });
    assert_eq!(error_code(&out, conn), Some(ErrorCode::UnknownTarget));
}

#[test]
fn who_was_banned_stays_out_by_user_id_and_network() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    server.let_in(from("198.51.100.7", student("1001")));
    server.order(conn, ban("1001"));
    let fresh = |user: &str| Newcomer { session: secret('x'), ..student(user) };
    assert_eq!(server.refused(fresh("1001")), ErrorCode::Removed, "from another network");
    assert_eq!(server.refused(from("198.51.100.7", fresh("1002"))), ErrorCode::Removed, "with another id");
    server.let_in(fresh("1002"));
    server.order(conn, RoomOrder::Unban { target_uid: id("1001") });
    server.let_in(from("198.51.100.7", student("1001")));
}

#[test]
fn a_ban_spares_the_class_behind_the_same_address_and_the_token_with_the_same_id() {
    let mut server = TestServer::new();
    let conn = server.let_in(from("203.0.113.9", teacher()));
    server.let_in(from("198.51.100.7", student("1001")));
    server.let_in(from("198.51.100.7", student("1002")));
    server.order(conn, ban("1001"));
    server.let_in(from("198.51.100.7", student("1003")));
    server.let_in(from("198.51.100.7", pupil("1001")).with_session('p'));
    // Somebody who is not here can be banned, too.
    server.order(conn, ban("1009"));
    assert_eq!(server.refused(student("1009")), ErrorCode::Removed);
}

impl Newcomer {
    fn with_session(self, letter: char) -> Self {
        Self { session: secret(letter), ..self }
    }
}

#[test]
fn the_next_lecture_decides_anew() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    server.let_in(student("1001"));
    server.order(conn, ban("1001"));
    server.lose(conn);
    server.pass(Duration::from_secs(60));
    let conn = server.let_in(Newcomer { epoch: 2, ..teacher() });
    assert_eq!(server.refused(student("1001")), ErrorCode::Removed, "a crash does not end the lecture");
    server.say(conn, ClientMessage::Leave { over: true });
    server.let_in(teacher());
    server.let_in(student("1001"));
}

#[test]
fn only_moderators_give_orders_and_not_against_one_another() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    let co_teacher = server.let_in(Newcomer { moderates: true, ..student("8001") });
    let one = server.let_in(student("1001"));
    server.let_in(student("1002"));
    let refused = [
        (one, kick("1002")),
        (one, RoomOrder::Lock { locked: true }),
        (one, RoomOrder::Admit { target_uid: None }),
        (co_teacher, kick(TEACHER)),
        (co_teacher, ban(TEACHER)),
        (co_teacher, kick("8001")),
        (conn, kick("8001")),
        (conn, kick(TEACHER)),
    ];
    for (from, order) in refused {
        let out = server.order(from, order.clone());
        assert_eq!((error_code(&out, from), flat(&out).len()), (Some(ErrorCode::NotAllowed), 1), "{order:?}");
    }
    let out = server.order(conn, kick("7"));
    assert_eq!(error_code(&out, conn), Some(ErrorCode::UnknownTarget));
    let out = server.order(co_teacher, kick("1002"));
    for moderator in [conn, co_teacher] {
        let order = ServerMessage::Order { user_id: id("8001"), order: kick("1002") };
        assert!(told(&out, moderator).contains(&order), "{out:?}");
    }
    assert!(!told(&out, one).iter().any(|message| matches!(message, ServerMessage::Order { .. })));
}

#[test]
fn many_bans_cost_bounded_memory() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    for n in 0..3_000 {
        server.order(conn, ban(&format!("{}", 10_000 + n)));
    }
    assert_eq!(server.refused(student("12999")), ErrorCode::Removed);
    server.let_in(student("10000"));
}
