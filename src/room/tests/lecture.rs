//! A lecture: who hears of whom, and which messages reach whom.

use super::*;
use crate::protocol::RoomKind;

#[test]
fn only_the_teacher_hangs_up() {
    let mut server = TestServer::new();
    let (teacher, student) = (server.join(TEACHER), server.join("1001"));
    let hangup = |target: &str| ClientMessage::Hangup { target_uid: id(target), source: None };
    let out = server.say(teacher, hangup("1001"));
    assert_eq!(told(&out, student), [ServerMessage::Hangup { user_id: id(TEACHER) }]);
    let out = server.say(student, hangup(TEACHER));
    assert!(matches!(&told(&out, student)[..], [ServerMessage::Error { code: ErrorCode::NotAllowed, .. }]), "{out:?}");
    assert!(told(&out, teacher).is_empty());
}

#[test]
fn students_may_come_first_and_hear_of_the_teacher_at_once() {
    let mut server = TestServer::new();
    let (student, out) = server.join_as("1001", 'a', 1);
    let joined = ServerMessage::Joined {
        kind: RoomKind::Lecture,
        room_id: "10013".parse().unwrap(),
        room_name: None,
        user_id: id("1001"),
        users: vec![user("1001", 1)],
        count: 1,
        publisher: None,
        publisher_went: None,
        ice_servers: vec![],
    };
    assert_eq!(told(&out, student), [joined]);
    server.pass(Duration::from_secs(60));
    let (_, out) = server.join_as(TEACHER, 'b', 7);
    assert_eq!(told(&out, student), [ServerMessage::Join { users: vec![user(TEACHER, 7)] }]);
}

#[test]
fn the_teacher_hears_of_a_student_at_once_and_other_students_in_a_batch() {
    let mut server = TestServer::new();
    let teacher = server.join(TEACHER);
    let first = server.join("1001");
    server.pass(Duration::from_secs(1));
    let (_, out) = server.join_as("1002", 'a', 1);
    assert_eq!(told(&out, teacher), [ServerMessage::Join { users: vec![user("1002", 1)] }]);
    assert_eq!(told(&out, first), []);
    server.join("1003");
    let out = server.pass(protocol::PRESENCE_INTERVAL);
    assert_eq!(told(&out, first), [ServerMessage::Join { users: vec![user("1002", 1), user("1003", 1)] }]);
    assert_eq!(told(&out, teacher), []);
}

#[test]
fn the_same_client_resumes_and_nobody_notices() {
    let mut server = TestServer::new();
    let teacher = server.join(TEACHER);
    let older = server.join("1001");
    let other = server.join("1002");
    server.pass(Duration::from_secs(1));
    // Over a second connection while the first is still open.
    let (newer, out) = server.join_as("1001", 'a', 1);
    assert_eq!(error_code(&out, older), None, "it is told nothing final: this may be its own older attempt");
    assert_eq!(closed(&out), [(older, None)]);
    assert_eq!((told(&out, teacher), told(&out, other)), (vec![], vec![]));
    // The end of the older connection arrives late and changes nothing.
    server.lose(older);
    let out = server.say(teacher, answer_to("1001"));
    assert_eq!(told(&out, newer).len(), 1);
    // After the connection was lost.
    server.lose(newer);
    server.pass(Duration::from_secs(4));
    let (_, out) = server.join_as("1001", 'a', 1);
    assert_eq!(flat(&out).len(), 1);
    assert_eq!(server.pass(Duration::from_secs(60)), []);
}

#[test]
fn a_new_process_with_the_same_id_is_announced_before_its_messages() {
    let mut server = TestServer::new();
    let teacher = server.join(TEACHER);
    let older = server.join("1001");
    server.pass(Duration::from_secs(1));
    server.lose(older);
    let (_, out) = server.join_as("1001", 'a', 2);
    assert_eq!(
        told(&out, teacher),
        [
            ServerMessage::Leave { users: vec![id("1001")], reason: LeaveReason::Replaced },
            ServerMessage::Join { users: vec![user("1001", 2)] }
        ]
    );
}

#[test]
fn a_teacher_killed_and_started_again_reaches_every_student_at_once() {
    let mut server = TestServer::new();
    let student = server.join("1001");
    let teacher = server.join(TEACHER);
    server.pass(Duration::from_secs(1));
    server.lose(teacher);
    assert_eq!(server.pass(Duration::from_secs(2)), [], "nobody is told of a connection that may come back");
    server.say(student, offer_to(TEACHER));
    let (teacher, out) = server.join_as(TEACHER, 'a', 2);
    assert_eq!(
        told(&out, student),
        [
            ServerMessage::Leave { users: vec![id(TEACHER)], reason: LeaveReason::Replaced },
            ServerMessage::Join { users: vec![user(TEACHER, 2)] }
        ]
    );
    assert_eq!(told(&out, teacher).len(), 1, "an offer to the process before is not for this one");
}

#[test]
fn students_learn_at_once_that_a_teacher_stays_away() {
    let mut server = TestServer::new();
    let student = server.join("1001");
    let teacher = server.join(TEACHER);
    server.pass(Duration::from_secs(1));
    server.lose(teacher);
    let out = server.pass(protocol::RESUME_GRACE);
    let lost = ServerMessage::Leave { users: vec![id(TEACHER)], reason: LeaveReason::Lost };
    assert_eq!(told(&out, student), [lost]);
    let teacher = server.join(TEACHER);
    let out = server.say(teacher, ClientMessage::Leave { over: false });
    let left = ServerMessage::Leave { users: vec![id(TEACHER)], reason: LeaveReason::Left };
    assert_eq!(told(&out, student), [left]);
    assert_eq!(closed(&out), [(teacher, None)]);
}

#[test]
fn a_lecture_is_over_only_when_its_teacher_says_so() {
    let mut server = TestServer::new();
    let student = server.join("1001");
    let teacher = server.join(TEACHER);
    let other = server.join("1002");
    server.pass(Duration::from_secs(1));
    // A student can't end a lecture.
    let out = server.say(other, ClientMessage::Leave { over: true });
    let left = |user, reason| ServerMessage::Leave { users: vec![id(user)], reason };
    assert_eq!(told(&out, teacher), [left("1002", LeaveReason::Left)]);
    server.pass(Duration::from_secs(1));
    let out = server.say(teacher, ClientMessage::Leave { over: true });
    assert_eq!(told(&out, student), [left(TEACHER, LeaveReason::Ended)]);
    assert_eq!(closed(&out), [(teacher, None)]);
}

#[test]
fn a_late_student_learns_how_the_teacher_left() {
    let mut server = TestServer::new();
    let went = |server: &mut TestServer| {
        let (conn, out) = server.join_as("1002", 'a', 1);
        match &told(&out, conn)[0] {
            ServerMessage::Joined { publisher_went, .. } => *publisher_went,
            other => panic!("{other:?}"),
        }
    };
    server.join("1001");
    assert_eq!(went(&mut server), None, "nobody has taught");
    let teacher = server.join(TEACHER);
    assert_eq!(went(&mut server), None, "somebody teaches");
    server.lose(teacher);
    server.pass(protocol::RESUME_GRACE);
    assert_eq!(went(&mut server), Some(LeaveReason::Lost));
    let teacher = server.join(TEACHER);
    assert_eq!(went(&mut server), None, "the teacher is back");
    server.say(teacher, ClientMessage::Leave { over: false });
    assert_eq!(went(&mut server), Some(LeaveReason::Left));
}

#[test]
fn a_ping_is_answered_to_its_sender_alone() {
    let mut server = TestServer::new();
    let (teacher, student) = (server.join(TEACHER), server.join("1001"));
    server.pass(Duration::from_secs(1));
    for conn in [teacher, student] {
        assert_eq!(flat(&server.say(conn, ClientMessage::Ping)), [(conn, ServerMessage::Pong)]);
    }
}

#[test]
fn messages_to_a_reconnecting_member_wait_in_order() {
    let mut server = TestServer::new();
    let teacher = server.join(TEACHER);
    let student = server.join("1001");
    let gone = server.join("1002");
    server.pass(Duration::from_secs(1));
    server.lose(teacher);
    server.say(student, offer_to(TEACHER));
    server.say(gone, ClientMessage::Leave { over: false });
    server.say(student, candidate_to(TEACHER));
    let (teacher, out) = server.join_as(TEACHER, 'a', 1);
    let told = told(&out, teacher);
    assert!(matches!(&told[0], ServerMessage::Joined { users, .. } if users.len() == 2), "{told:?}");
    assert!(matches!(&told[1], ServerMessage::Offer { user_id, .. } if *user_id == id("1001")), "{told:?}");
    assert!(matches!(&told[2], ServerMessage::Leave { users, .. } if users[..] == [id("1002")]), "{told:?}");
    assert!(matches!(&told[3], ServerMessage::Candidate { .. }), "{told:?}");
}

#[test]
fn a_full_mailbox_is_reported_to_the_sender() {
    let mut server = TestServer::new();
    let teacher = server.join(TEACHER);
    let student = server.join("1001");
    server.lose(student);
    let refused = (0..1_000).find(|_| error_code(&server.say(teacher, answer_to("1001")), teacher).is_some());
    assert_eq!(refused, Some(64));
    assert_eq!(error_code(&server.say(teacher, answer_to("1001")), teacher), Some(ErrorCode::TargetBusy));
}

#[test]
fn a_student_that_offers_too_fast_is_told_when_to_try_again() {
    let mut server = TestServer::new();
    let (teacher, student) = (server.join(TEACHER), server.join("1001"));
    let (code, message) = (ErrorCode::FloodedMessages, "too fast".into());
    let out =
        server.say(teacher, ClientMessage::Reject { target_uid: id("1001"), code, message, codec: None, source: None });
    let [ServerMessage::Error { code, user_id, retry_after_ms, .. }] = &told(&out, student)[..] else {
        panic!("{out:?}");
    };
    assert_eq!((*code, user_id, *retry_after_ms), (ErrorCode::FloodedMessages, &Some(id(TEACHER)), Some(1_000)));
    assert_eq!(closed(&out), [], "and both stay");
}

#[test]
fn each_message_is_allowed_or_refused_by_sender_and_target() {
    let mut server = TestServer::new();
    let (teacher, a, b) = (server.join(TEACHER), server.join("1001"), server.join("1002"));
    let reject =
        |code| ClientMessage::Reject { target_uid: id("1001"), code, message: "no".into(), codec: None, source: None };
    let allowed = [
        (a, offer_to(TEACHER), teacher),
        (a, candidate_to(TEACHER), teacher),
        (teacher, answer_to("1001"), a),
        (teacher, candidate_to("1002"), b),
        (teacher, reject(ErrorCode::NoCommonCodec), a),
        (a, offer_to("1002"), teacher),
        (a, candidate_to("1002"), teacher),
        (a, offer_to("1001"), teacher),
    ];
    for (from, message, to) in allowed {
        let out = server.say(from, message.clone());
        assert_eq!((flat(&out).len(), told(&out, to).len()), (1, 1), "{message:?}");
    }
    let refused = [
        (a, answer_to("1002"), ErrorCode::NotAllowed),
        (a, answer_to(TEACHER), ErrorCode::NotAllowed),
        (a, reject(ErrorCode::NoCommonCodec), ErrorCode::NotAllowed),
        (teacher, offer_to("1001"), ErrorCode::NotAllowed),
        (teacher, answer_to(TEACHER), ErrorCode::NotAllowed),
        (teacher, reject(ErrorCode::ServerShutdown), ErrorCode::NotAllowed),
        (a, offer_to("7"), ErrorCode::UnknownTarget),
        (teacher, answer_to("7"), ErrorCode::UnknownTarget),
    ];
    for (from, message, code) in refused {
        let out = server.say(from, message.clone());
        assert_eq!(error_code(&out, from), Some(code), "{message:?}");
        assert_eq!(flat(&out).len(), 1, "only the sender hears of it");
        assert_eq!(closed(&out), [], "and stays");
    }
}

#[test]
fn the_sender_is_stamped_and_a_rejection_names_who_rejects() {
    let mut server = TestServer::new();
    let (teacher, student) = (server.join(TEACHER), server.join("1001"));
    let out = server.say(student, offer_to(TEACHER));
    assert_eq!(
        told(&out, teacher),
        [ServerMessage::Offer {
            entry: None,
            user_id: id("1001"),
            sdp: "v=0".into(),
            video: None,
            tracks: None,
            network: Some(server.rooms.tag(network())),
            source: None
        }]
    );
    assert!(matches!(out[0], Output::Relay { from, .. } if from == student));
    let (code, codec) = (ErrorCode::NoCommonCodec, Some(VideoCodec::Vp8));
    let no = ClientMessage::Reject { target_uid: id("1001"), code, message: "no".into(), codec, source: None };
    let out = server.say(teacher, no);
    let (message, user_id) = ("no".into(), Some(id(TEACHER)));
    let error = ServerMessage::Error { code, message, user_id, retry_after_ms: None, codec, kind: RoomKind::Lecture };
    assert_eq!(told(&out, student), [error]);
}

#[test]
fn a_summary_tells_who_teaches_and_since_when() {
    let mut server = TestServer::new();
    server.join("1001");
    server.pass(Duration::from_secs(10));
    let teacher = server.join(TEACHER);
    server.pass(Duration::from_secs(5));
    let summary = &server.rooms.summaries(server.now)[0];
    assert_eq!((summary.state, summary.watching, summary.open_s, summary.live_s), (RoomState::Live, 1, 15, Some(5)));
    assert_eq!(summary.publisher, Some(user(TEACHER, 1)));
    server.lose(teacher);
    assert_eq!(server.rooms.summaries(server.now)[0].state, RoomState::Waiting);
}

#[test]
fn a_batch_of_presence_ends_with_the_current_state() {
    let mut server = TestServer::new();
    let watcher = server.join("1001");
    server.pass(Duration::from_secs(1));
    let brief = server.join("1002");
    server.say(brief, ClientMessage::Leave { over: false });
    let back = server.join("1003");
    server.say(back, ClientMessage::Leave { over: false });
    server.join("1003");
    let out = server.pass(Duration::from_secs(1));
    let told = told(&out, watcher);
    let left = ServerMessage::Leave { users: vec![id("1002"), id("1003")], reason: LeaveReason::Left };
    assert_eq!(told, [left, ServerMessage::Join { users: vec![user("1003", 1)] }]);
}

#[test]
fn a_class_of_1000_joining_in_a_second_costs_a_bounded_number_of_messages() {
    let mut server = TestServer::new();
    let mut sent = 0;
    server.join(TEACHER);
    for n in 0..1_000 {
        let (_, out) = server.join_as(&format!("{}", 10_000 + n), 'a', 1);
        // One message to the newcomer, one to the teacher.
        assert_eq!(flat(&out).len(), 2);
        sent += 2;
        sent += flat(&server.pass(Duration::from_millis(1))).len();
    }
    sent += flat(&server.pass(Duration::from_secs(1))).len();
    // Ten batches and one more for rounding, to at most 1,000 students each; without batches there would be 500,000.
    assert!(sent <= 2_000 + 11 * 1_000, "{sent}");

    let out = {
        let conns: Vec<_> = server.rooms.conns.keys().copied().collect();
        conns.into_iter().for_each(|conn| server.lose(conn));
        server.pass(protocol::RESUME_GRACE + Duration::from_secs(1))
    };
    assert!(flat(&out).len() <= 3_000, "{}", flat(&out).len());
    server.pass(protocol::OWNED_ROOM_STAYS);
    assert_eq!(server.rooms.summaries(server.now), []);
}
