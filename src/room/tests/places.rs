//! The places of a full room, and the rate of newcomers.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn room_of(places: usize) -> TestServer {
    TestServer::with(RoomLimits { max_room_users: places, ..RoomLimits::default() })
}

fn attacker(n: usize) -> Newcomer {
    Newcomer { network: network_of("198.51.100.7"), ..student(&format!("{}", 20_000 + n)) }
}

/// The members that lost their places.
fn displaced(out: &[Output]) -> Vec<ConnId> {
    let is_full = |(_, code): &(ConnId, Option<ErrorCode>)| *code == Some(ErrorCode::RoomFull);
    closed(out).into_iter().filter(is_full).map(|(conn, _)| conn).collect()
}

#[test]
fn a_crowd_without_media_gives_way_to_honest_newcomers() {
    let mut server = room_of(35);
    let conn = server.let_in(teacher());
    let flood: Vec<_> = (0..35).map(|n| server.let_in(attacker(n))).collect();
    for (n, first) in flood.iter().enumerate().take(30) {
        let user = format!("{}", 1_001 + n);
        let (newcomer, out) = server.enter(student(&user));
        assert!(is_in(&out, newcomer), "{out:?}");
        assert_eq!(displaced(&out), [*first], "the longest without media");
        server.say(conn, connected(&user));
    }
    assert_eq!(server.summary("10013").unwrap().watching, 35);
}

#[test]
fn media_keeps_a_place_from_everybody() {
    let mut server = room_of(2);
    let conn = server.let_in(teacher());
    for n in 0..2 {
        server.let_in(attacker(n));
        server.say(conn, connected(attacker(n).user.as_str()));
    }
    server.pass(60 * SECOND);
    assert_eq!(server.refused(student("1001")), ErrorCode::RoomFull);
    assert_eq!(server.refused(pupil("1001")), ErrorCode::RoomFull);
    // Media ends: by the publisher's hangup, or with the publisher.
    server.say(conn, ClientMessage::Hangup { target_uid: attacker(0).user, source: None });
    server.pass(60 * SECOND);
    server.let_in(student("1001"));
}

#[test]
fn only_the_publishers_word_about_media_counts() {
    let mut server = room_of(1);
    server.let_in(teacher());
    let first = server.let_in(attacker(0));
    server.say(first, connected(attacker(0).user.as_str()));
    server.pass(60 * SECOND);
    let (newcomer, out) = server.enter(student("1001"));
    assert!(is_in(&out, newcomer));
    assert_eq!(displaced(&out), [first]);
}

#[test]
fn within_a_network_a_member_has_some_seconds_for_its_media() {
    let mut server = room_of(2);
    let conn = server.let_in(teacher());
    let first = server.let_in(student("1001"));
    server.pass(SECOND);
    server.let_in(student("1002"));
    let (newcomer, out) = server.enter(student("1003"));
    let [ServerMessage::Error { code: ErrorCode::RoomFull, retry_after_ms: Some(wait), .. }] = told(&out, newcomer)[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!(wait, 4_001);
    server.say(conn, connected("1002"));
    server.pass(Duration::from_millis(wait));
    let (newcomer, out) = server.enter(student("1003"));
    assert!(is_in(&out, newcomer));
    assert_eq!(displaced(&out), [first]);
    // The displaced client is told when to try again.
    assert!(told(&out, first).iter().any(|m| matches!(m, ServerMessage::Error { retry_after_ms: Some(_), .. })));
    assert!(told(&out, conn).contains(&removed("1001")));
}

#[test]
fn without_a_teacher_nobody_of_the_same_network_loses_a_place() {
    let mut server = room_of(2);
    server.let_in(student("1001"));
    server.let_in(student("1002"));
    server.pass(3_600 * SECOND);
    assert_eq!(server.refused(student("1003")), ErrorCode::RoomFull);
    // When the teacher comes, the time begins.
    server.let_in(teacher());
    assert_eq!(server.refused(student("1003")), ErrorCode::RoomFull);
}

#[test]
fn a_network_does_not_lose_places_to_one_with_as_many() {
    let mut server = room_of(4);
    (0..2).for_each(|n| _ = server.let_in(attacker(n)));
    server.let_in(student("1001"));
    server.let_in(student("1002"));
    assert_eq!(server.refused(attacker(2)), ErrorCode::RoomFull);
    assert_eq!(server.refused(student("1003")), ErrorCode::RoomFull);
}

#[test]
fn lost_connections_keep_their_ids_and_take_no_places() {
    let mut server = room_of(35);
    server.let_in(teacher());
    for n in 0..20 {
        let conn = server.let_in(attacker(n));
        server.lose(conn);
    }
    for n in 0..35 {
        server.let_in(student(&format!("{}", 1_001 + n)));
    }
    assert_eq!(server.refused(Newcomer { session: secret('x'), ..attacker(0) }), ErrorCode::UserIdTaken);
    assert_eq!(server.summary("10013").unwrap().watching, 55);
    server.pass(protocol::RESUME_GRACE);
    assert_eq!(server.summary("10013").unwrap().watching, 35);
}

#[test]
fn a_lost_connection_whose_media_runs_keeps_its_place() {
    let mut server = room_of(1);
    let conn = server.let_in(teacher());
    let first = server.let_in(student("1001"));
    server.say(conn, connected("1001"));
    server.lose(first);
    assert_eq!(server.refused(student("1002")), ErrorCode::RoomFull);
    server.let_in(student("1001"));
}

#[test]
fn joins_and_losses_in_a_loop_cost_bounded_memory() {
    let mut server = room_of(10);
    server.let_in(teacher());
    for n in 0..1_000 {
        let conn = server.let_in(attacker(n));
        server.lose(conn);
        assert!(server.summary("10013").unwrap().watching <= 20);
    }
    server.let_in(student("1001"));
}

#[test]
fn a_reserved_id_finds_a_place_among_guests_without_media() {
    let mut server = room_of(3);
    let conn = server.let_in(teacher());
    server.let_in(student("1001"));
    server.say(conn, connected("1001"));
    server.let_in(pupil("1002"));
    let guest = server.let_in(student("1003"));
    let (newcomer, out) = server.enter(pupil("1004"));
    assert!(is_in(&out, newcomer));
    assert_eq!(displaced(&out), [guest]);
    server.pass(60 * SECOND);
    assert_eq!(server.refused(student("1005")), ErrorCode::RoomFull, "guests do not displace reserved ids");
}

#[test]
fn a_class_of_500_behind_one_address_comes_at_once_and_again_after_a_restart() {
    let class: Vec<_> = (0..500).map(|n| student(&format!("{}", 1_000 + n))).collect();
    for _restart in 0..2 {
        let mut server = TestServer::new();
        let conn = server.let_in(teacher());
        for member in &class {
            let from = server.let_in(member.clone());
            assert_eq!(error_code(&server.say(from, offer_to(TEACHER)), from), None);
        }
        // Everybody loses the connection and reconnects, four times in a row.
        for _ in 0..4 {
            class.iter().for_each(|member| _ = server.let_in(member.clone()));
        }
        assert_eq!(server.rooms.conns.len(), 501);
        server.say(conn, ClientMessage::Leave { over: true });
    }
}

#[test]
fn joins_in_a_loop_are_slowed_down_for_their_network_alone() {
    let mut server = TestServer::new();
    let mut joined = 0;
    let wait = loop {
        let (conn, out) = server.enter(attacker(joined));
        match &told(&out, conn)[..] {
            [ServerMessage::Error { code: ErrorCode::FloodedMessages, retry_after_ms: Some(wait), .. }] => break *wait,
            _ => server.say(conn, ClientMessage::Leave { over: false }),
        };
        joined += 1;
        assert!(joined <= 2_400, "{joined}");
    };
    assert!(wait <= 21, "{wait}");
    server.let_in(student("1001"));
    server.pass(Duration::from_millis(wait));
    server.let_in(attacker(joined));
}

#[test]
fn a_member_that_joins_again_in_a_loop_is_slowed_down_and_nobody_else() {
    let mut server = TestServer::new();
    server.let_in(student("1002"));
    let joined = (0..1_000).filter(|_| {
        let (conn, out) = server.enter(student("1001"));
        is_in(&out, conn)
    });
    assert_eq!(joined.count(), 9, "the first join and a burst");
    assert_eq!(server.refused(student("1001")), ErrorCode::FloodedMessages);
    server.let_in(student("1002"));
    server.pass(SECOND);
    server.let_in(student("1001"));
}

#[test]
fn offers_in_a_loop_are_slowed_down_for_their_network_alone() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    let (flooder, honest) = (server.let_in(attacker(0)), server.let_in(student("1001")));
    let out = (0..10_000).map(|_| server.say(flooder, offer_to(TEACHER)));
    let refused = out.filter(|out| error_code(out, flooder) == Some(ErrorCode::TargetBusy)).count();
    assert_eq!(refused, 10_000 - 600);
    let out = server.say(flooder, offer_to(TEACHER));
    assert!(matches!(&told(&out, flooder)[..], [ServerMessage::Error { retry_after_ms: Some(1..=51), .. }]), "{out:?}");
    assert_eq!(told(&server.say(honest, offer_to(TEACHER)), conn).len(), 1);
}

#[test]
fn an_offer_comes_with_its_network_and_few_candidates() {
    let mut server = TestServer::new();
    let conn = server.let_in(teacher());
    let (one, two, far) = (server.let_in(student("1001")), server.let_in(student("1002")), server.let_in(attacker(0)));
    let mut tag = |from| match &told(&server.say(from, offer_to(TEACHER)), conn)[..] {
        [ServerMessage::Offer { network, .. }] => network.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(tag(one), tag(two));
    assert_ne!(tag(one), tag(far));
    assert_ne!(TestServer::new().rooms.tag(network()), tag(one), "the numbers differ between servers");
    for _ in 0..2 {
        server.say(one, offer_to(TEACHER));
        let relayed = (0..100).map(|_| flat(&server.say(one, candidate_to(TEACHER))).len()).sum::<usize>();
        assert_eq!(relayed, 32);
    }
}
