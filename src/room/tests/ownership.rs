//! The right to publish in a room.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Another teacher, with the right to teach on this server.
fn other_teacher() -> Newcomer {
    Newcomer { session: secret('o'), user: id("9998"), ..teacher() }
}

fn with_key(newcomer: Newcomer) -> Newcomer {
    Newcomer { identity: Some(Identity::TeachingKey), ..newcomer }
}

#[test]
fn after_a_crash_nobody_else_publishes_while_students_are_in_the_room() {
    let mut server = TestServer::new();
    server.let_in(student("1001"));
    let conn = server.let_in(teacher());
    server.lose(conn);
    server.pass(60 * MINUTE);
    assert_eq!(server.refused(other_teacher()), ErrorCode::PublisherExists);
    assert_eq!(server.refused(with_key(other_teacher())), ErrorCode::PublisherExists);
    server.let_in(Newcomer { epoch: 2, ..teacher() });
}

#[test]
fn after_a_crash_an_empty_room_stays_its_owners_for_ten_minutes() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    server.lose(conn);
    server.pass(protocol::RESUME_GRACE);
    server.pass(10 * MINUTE - Duration::from_secs(1));
    assert_eq!(server.refused(other_teacher()), ErrorCode::PublisherExists);
    server.pass(Duration::from_secs(1));
    server.let_in(other_teacher());
}

#[test]
fn teachers_with_the_same_identity_own_a_room_together() {
    let mut server = TestServer::new();
    let conn = server.let_in(with_key(teacher()));
    assert_eq!(server.refused(with_key(other_teacher())), ErrorCode::PublisherExists, "the first one teaches");
    server.lose(conn);
    server.pass(protocol::RESUME_GRACE);
    assert_eq!(server.refused(other_teacher()), ErrorCode::PublisherExists, "without the key");
    server.let_in(with_key(other_teacher()));
}

#[test]
fn an_owner_that_ends_the_lecture_gives_the_room_free() {
    let mut server = TestServer::new();
    server.let_in(student("1001"));
    let conn = server.let_in(teacher());
    server.say(conn, ClientMessage::Leave { over: false });
    assert_eq!(server.refused(other_teacher()), ErrorCode::PublisherExists, "the owner may come back");
    let conn = server.let_in(teacher());
    server.say(conn, ClientMessage::Leave { over: true });
    server.let_in(other_teacher());
}

#[test]
fn a_reserved_room_and_its_teachers_id_are_for_one_client() {
    let mut server = TestServer::new();
    let Newcomer { room, user, session, .. } = teacher();
    server.rooms.reserve(server.now, network(), &Reservation { room, user, session });
    let strangers = [
        (with_key(other_teacher()), ErrorCode::PublisherExists),
        (Newcomer { identity: Some(Identity::Loopback), ..other_teacher() }, ErrorCode::PublisherExists),
        (Newcomer { session: secret('o'), ..teacher() }, ErrorCode::UserIdTaken),
        (Newcomer { user: id(TEACHER), ..student("1001") }, ErrorCode::UserIdTaken),
        (Newcomer { user: id(TEACHER), ..pupil("1001") }, ErrorCode::UserIdTaken),
    ];
    for (stranger, code) in &strangers {
        assert_eq!(server.refused(stranger.clone()), *code, "{stranger:?}");
    }
    server.let_in(student("1001"));
    let conn = server.let_in(teacher());
    server.say(conn, ClientMessage::Leave { over: true });
    server.pass(60 * MINUTE);
    for (stranger, code) in strangers {
        assert_eq!(server.refused(stranger), code);
    }
    server.let_in(teacher());
}

#[test]
fn a_reserved_room_does_not_give_way() {
    let mut server = TestServer::with(RoomLimits { max_rooms: 1, ..RoomLimits::default() });
    let Newcomer { room, user, session, .. } = teacher();
    server.rooms.reserve(server.now, network(), &Reservation { room, user, session });
    server.pass(24 * 60 * MINUTE);
    let elsewhere = Newcomer { room: "7".parse().unwrap(), network: network_of("198.51.100.7"), ..other_teacher() };
    assert_eq!(server.refused(elsewhere), ErrorCode::ServerFull);
    server.let_in(teacher());
}

#[test]
fn a_token_takes_its_user_id_from_a_guest() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    let guest = server.let_in(student("1001"));
    server.pass(Duration::from_secs(1));
    let (owner, out) = server.enter(Newcomer { session: secret('p'), ..pupil("1001") });
    assert!(is_in(&out, owner));
    assert_eq!(
        (error_code(&out, guest), closed(&out)),
        (Some(ErrorCode::UserIdTaken), vec![(guest, Some(ErrorCode::UserIdTaken))])
    );
    let told = told(&out, conn);
    assert_eq!(told[0], removed("1001"), "the media of the guest ends");
    assert!(matches!(&told[1], ServerMessage::Join { .. }), "{told:?}");
    assert_eq!(server.refused(student("1001")), ErrorCode::UserIdTaken);
    // The same token from another device takes over, as the same session would.
    let (newer, out) = server.enter(Newcomer { session: secret('q'), epoch: 2, ..pupil("1001") });
    assert!(is_in(&out, newer));
    assert_eq!(closed(&out), [(owner, Some(ErrorCode::Replaced))]);
}

#[test]
fn a_teacher_with_the_key_takes_its_user_id_from_a_guest_and_not_from_a_teacher() {
    let mut server = TestServer::new();
    let squatter = server.let_in(Newcomer { user: id(TEACHER), publishes: false, ..student("1001") });
    assert_eq!(server.refused(teacher()), ErrorCode::UserIdTaken);
    let (conn, out) = server.enter(with_key(teacher()));
    assert!(is_in(&out, conn));
    assert_eq!(closed(&out), [(squatter, Some(ErrorCode::UserIdTaken))]);
    let again = Newcomer { session: secret('o'), ..with_key(teacher()) };
    assert_eq!(server.refused(again), ErrorCode::UserIdTaken);
}
