//! Edges: which of them serves whom, and what happens when one is gone.

use super::*;
use crate::room::edges::RETURNS_WITHIN;

/// An edge at a node, with a session of its own.
pub(super) fn edge(user: &str, node: &str) -> Newcomer {
    let route = Route { node: Some(node.parse().unwrap()), edge: Some(EdgeRole::Serves) };
    Newcomer { route, ..student(user) }
}

/// A student that is connected to a node.
pub(super) fn student_at(user: &str, node: &str) -> Newcomer {
    let route = Route { node: Some(node.parse().unwrap()), edge: None };
    Newcomer { route, ..student(user) }
}

pub(super) fn offer(target: &str) -> ClientMessage {
    let target_uid = id(target);
    ClientMessage::Offer { entry: None, target_uid, sdp: "v=0".into(), video: None, tracks: None }
}

/// The connections that get an offer of this user.
fn offered(out: &[Output], of: &str) -> Vec<ConnId> {
    let is_offer =
        |message: &ServerMessage| matches!(message, ServerMessage::Offer { user_id, .. } if *user_id == id(of));
    flat(out).into_iter().filter(|(_, message)| is_offer(message)).map(|(to, _)| to).collect()
}

fn has_hung_up(out: &[Output], conn: ConnId) -> bool {
    told(out, conn).contains(&ServerMessage::Hangup { user_id: id(TEACHER) })
}

fn connected(user: &str) -> ClientMessage {
    ClientMessage::Connected { target_uid: id(user) }
}

impl TestServer {
    /// The student offers, and this connection gets it and connects the student.
    #[track_caller]
    fn watches(&mut self, student: (&str, ConnId), by: ConnId) {
        let out = self.say(student.1, offer(TEACHER));
        assert_eq!(offered(&out, student.0), [by], "{out:?}");
        self.say(by, connected(student.0));
    }
}

#[test]
fn a_student_is_served_by_the_edge_of_its_own_server() {
    let mut server = TestServer::new();
    let teacher = server.let_in(teacher());
    let (one, two) = (server.let_in(student_at("1001", "a")), server.let_in(student_at("1002", "b")));
    let three = server.let_in(student_at("1003", "c"));
    server.watches(("1001", one), teacher);
    let (edge_a, out) = server.enter(edge("edgea", "a"));
    let ServerMessage::Joined { users, .. } = &told(&out, edge_a)[0] else { panic!("{out:?}") };
    assert_eq!(users.iter().map(|user| user.user_id.as_str()).collect::<Vec<_>>(), [TEACHER]);
    assert_eq!(told(&out, teacher), [ServerMessage::Edges { edges: vec![id("edgea")] }]);
    assert_eq!(flat(&out).len(), 2, "nobody else hears of an edge");
    let (edge_b, _) = server.enter(edge("edgeb", "b"));
    // The edge offers as a student does, and the answer comes back.
    let out = server.say(edge_b, offer(TEACHER));
    assert_eq!(offered(&out, "edgeb"), [teacher]);
    let answer =
        |user: &str| ClientMessage::Answer { entry: None, target_uid: id(user), sdp: "v=0".into(), source: None };
    let answered = || vec![ServerMessage::Answer { entry: None, user_id: id(TEACHER), sdp: "v=0".into() }];
    assert_eq!(told(&server.say(teacher, answer("edgeb")), edge_b), answered());

    server.watches(("1001", one), edge_a);
    let out = server.say(two, offer(TEACHER));
    assert_eq!(offered(&out, "1002"), [edge_b]);
    let candidate = IceCandidate { candidate: "x".into(), ..IceCandidate::default() };
    let candidate = ClientMessage::Candidate { entry: None, target_uid: id(TEACHER), candidate, source: None };
    assert_eq!(told(&server.say(two, candidate), edge_b).len(), 1, "candidates follow the offer");
    assert_eq!(told(&server.say(edge_b, answer("1002")), two), answered(), "in the publisher's name");
    assert_eq!(server.say(edge_a, answer("1002")), [], "it is not the student of this edge");
    server.say(edge_b, connected("1002"));
    // The server of the third one is no edge: the edge with the fewest students serves.
    server.join("1004");
    server.watches(("1003", three), edge_a);
    assert_eq!(server.summary("10013").unwrap().watching, 4, "edges are no members");
    // The teacher's earlier connection to the first one ends, which does not concern the edge.
    let out = server.say(teacher, ClientMessage::Hangup { target_uid: id("1001"), source: None });
    assert_eq!(out, []);
    // An edge hears of its own students.
    let out = server.say(one, ClientMessage::Leave { over: false });
    assert!(
        matches!(&told(&out, edge_a)[..], [ServerMessage::Leave { users, .. }] if *users == [id("1001")]),
        "{out:?}"
    );
    assert_eq!(told(&out, edge_b), []);
}

#[test]
fn the_students_of_an_edge_that_is_gone_are_served_elsewhere() {
    let mut server = TestServer::new();
    let teacher = server.let_in(teacher());
    let (edge_a, _) = server.enter(edge("edgea", "a"));
    let (edge_b, _) = server.enter(edge("edgeb", "b"));
    let one = server.let_in(student_at("1001", "a"));
    server.watches(("1001", one), edge_a);
    // The connection comes back in time, and nothing happens.
    server.lose(edge_a);
    assert!(!has_hung_up(&server.pass(RETURNS_WITHIN / 2), one));
    let (edge_a, _) = server.enter(edge("edgea", "a"));
    server.say(edge_a, connected("1001"));
    assert!(!has_hung_up(&server.pass(2 * RETURNS_WITHIN), one));
    // A student who left meanwhile is told.
    let out = server.say(edge_a, connected("1009"));
    assert!(
        matches!(&told(&out, edge_a)[..], [ServerMessage::Leave { users, .. }] if *users == [id("1009")]),
        "{out:?}"
    );
    // It does not come back. A student who offers meanwhile does not wait for it.
    let three = server.let_in(student_at("1003", "a"));
    assert_eq!(offered(&server.say(three, offer(TEACHER)), "1003"), [edge_a]);
    server.lose(edge_a);
    let two = server.let_in(student_at("1002", "a"));
    server.watches(("1002", two), edge_b);
    let out = server.pass(RETURNS_WITHIN);
    assert!(has_hung_up(&out, one) && !has_hung_up(&out, two), "{out:?}");
    assert_eq!(error_code(&out, three), Some(ErrorCode::TargetBusy), "it was about to connect, and tries again");
    assert_eq!(told(&out, teacher).last(), Some(&ServerMessage::Edges { edges: vec![id("edgeb")] }));
    server.watches(("1001", one), edge_b);
    // A goodbye is heard at once, and without any edge the teacher serves.
    let out = server.say(edge_b, ClientMessage::Leave { over: false });
    assert!(has_hung_up(&out, one) && has_hung_up(&out, two), "{out:?}");
    server.watches(("1001", one), teacher);
}

#[test]
fn an_edge_that_a_student_cannot_reach_is_left_out() {
    let mut server = TestServer::new();
    let teacher = server.let_in(teacher());
    let (edge_a, _) = server.enter(edge("edgea", "a"));
    let (edge_b, _) = server.enter(edge("edgeb", "b"));
    let one = server.let_in(student_at("1001", "a"));
    for to in [edge_a, edge_b, teacher] {
        let out = server.say(one, offer(TEACHER));
        assert_eq!(offered(&out, "1001"), [to]);
    }
    // An edge without media yet has not failed; a full one has.
    let two = server.let_in(student_at("1002", "a"));
    let reject =
        |code| ClientMessage::Reject { target_uid: id("1002"), code, message: "no".into(), codec: None, source: None };
    for (code, next) in [(ErrorCode::TargetBusy, edge_a), (ErrorCode::RoomFull, edge_b)] {
        let out = server.say(two, offer(TEACHER));
        assert_eq!(offered(&out, "1002"), [edge_a]);
        assert_eq!(error_code(&server.say(edge_a, reject(code)), two), Some(ErrorCode::TargetBusy), "it tries again");
        let out = server.say(two, offer(TEACHER));
        assert_eq!(offered(&out, "1002"), [next]);
        server.say(next, connected("1002"));
    }
}

#[test]
fn an_edge_keeps_its_students_when_the_room_moves_to_another_node() {
    let mut server = TestServer::new();
    server.let_in(teacher());
    let one = server.let_in(student_at("1001", "a"));
    let (edge_a, _) = server.enter(edge("edgea", "a"));
    server.watches(("1001", one), edge_a);
    let (clients, _) = server.rooms.surrender(&"10013".parse().unwrap());
    assert!(clients.iter().any(|(conn, newcomer)| *conn == edge_a && newcomer.route.edge.is_some()));
    // At the next owner, the edge may come before the student.
    let mut next = TestServer::new();
    let (early, out) = next.enter(edge("edgea", "a"));
    assert_eq!(closed(&out), [(early, Some(ErrorCode::UnknownTarget))], "it tries again when somebody is there");
    next.let_in(teacher());
    let (edge_a, _) = next.enter(edge("edgea", "a"));
    assert_eq!(next.say(edge_a, connected("1001")), []);
    let one = next.let_in(student_at("1001", "a"));
    next.lose(edge_a);
    assert!(has_hung_up(&next.pass(RETURNS_WITHIN), one), "the room knows whose student it is");
}

#[test]
fn an_edge_takes_no_name_of_a_member_and_serves_lectures_alone() {
    let mut server = TestServer::new();
    let (first, out) = server.enter(edge("edgea", "a"));
    assert_eq!(closed(&out), [(first, Some(ErrorCode::UnknownTarget))], "there is no room");
    server.join("1001");
    let (second, out) = server.enter(edge("1001", "a"));
    assert_eq!(closed(&out), [(second, Some(ErrorCode::NotAllowed))]);
    server.enter(edge("edgea", "a"));
    assert_eq!(server.refused(student("edgea")), ErrorCode::UserIdTaken);
    let (other, out) = server.enter(Newcomer { session: secret('x'), ..edge("edgea", "b") });
    assert_eq!(closed(&out), [(other, Some(ErrorCode::NotAllowed))], "another one's id");
}
