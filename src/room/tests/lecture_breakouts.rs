//! Breakout rooms of a lecture.

use super::breakouts::*;
use super::calls::*;
use super::host::{hosted, starts, with_rooms};
use super::*;
use crate::protocol::{ClientKind, MAX_MESH, MediaMove, RECALL_S};

/// A student with a page.
fn page(user: &str) -> Newcomer {
    Newcomer { client: Some(ClientKind::Browser), ..student(user) }
}

impl TestServer {
    /// A lecture with pages from 1001 on; the teacher is in front.
    fn lecture(&mut self, pages: usize) -> Vec<ConnId> {
        let teacher = self.let_in(teacher());
        [teacher].into_iter().chain(self.pages(pages)).collect()
    }

    fn pages(&mut self, pages: usize) -> Vec<ConnId> {
        (1..=pages).map(|n| self.let_in(page(&format!("{}", 1000 + n)))).collect()
    }

    /// A lecture whose media the server carries, with pages that take part in two breakout rooms: the first so many in
    /// the first one, which the server carries, too. Returns the teacher, its host, the students and their host.
    fn carried(&mut self, (pages, first): (usize, usize)) -> (ConnId, ConnId, Vec<ConnId>, ConnId) {
        let (teacher, lecture) = self.host(hosted());
        self.say(lecture, connected(TEACHER));
        let students = self.pages(pages);
        let assign: Vec<(String, u32)> =
            (1..=pages).map(|n| (format!("{}", 1000 + n), if n <= first { 1 } else { 2 })).collect();
        let assign: Vec<(&str, u32)> = assign.iter().map(|(user, at)| (user.as_str(), *at)).collect();
        self.ordered(teacher, by_hand(2, &assign));
        let mut host = None;
        for (n, student) in students.iter().enumerate() {
            let out = self.say(*student, participate());
            assert_eq!(error_code(&out, *student), None, "{n}: {out:?}");
            if !starts(&out).is_empty() {
                assert_eq!((n, host), (MAX_MESH, None), "the seventh moves the room: {out:?}");
                host = Some(self.attach("10013"));
            }
            self.pass(SECOND);
        }
        (teacher, lecture, students, host.unwrap())
    }
}

/// For the media of a participant at the server.
fn of_conference(message: ClientMessage) -> ClientMessage {
    ClientMessage::Conference { message: Box::new(message) }
}

#[test]
fn the_students_of_a_lecture_meet_and_come_back_while_it_goes_on() {
    let mut server = TestServer::new();
    let mut conns = server.lecture(4);
    let watcher = Newcomer { client: Some(ClientKind::Watch), ..student("1005") };
    conns.push(server.let_in(watcher));
    let assign = [("1001", 1), ("1002", 1), ("1003", 2), ("1004", 2), ("1005", 1)];
    let out = server.ordered(conns[0], by_hand(2, &assign));
    let places: Vec<u32> = conns.iter().map(|conn| at(&out, *conn)).collect();
    assert_eq!(places, [0, 1, 1, 2, 2, 0], "the teacher stays, and a terminal, which can't meet");
    let teachers = seen(&out, conns[0]).unwrap();
    assert_eq!((teachers.places.len(), teachers.here.len()), (6, 0));
    assert_eq!(seen(&out, conns[1]).unwrap().here, [id("1001"), id("1002")]);
    assert!(last_list(&out, conns[1]).is_none_or(|list| list.participants.is_empty()), "nobody takes part unasked");
    // Two of a breakout room connect to each other, and not to others.
    server.say(conns[1], participate());
    let out = [server.say(conns[2], participate()), server.pass(SECOND)].concat();
    assert_eq!((listed(&out, conns[1]).unwrap(), listed(&out, conns[3])), (vec!["1001".into(), "1002".into()], None));
    let offer = |entry| ClientMessage::Offer {
        target_uid: id("1001"),
        entry: Some(entry),
        sdp: "v=0".into(),
        video: None,
        tracks: None,
    };
    let to_first = entry(&out, conns[1], "1001");
    assert_eq!(told(&server.say(conns[2], offer(to_first)), conns[1]).len(), 1);
    assert_eq!(server.refuses(conns[3], offer(to_first)), ErrorCode::NotAllowed);
    // The lecture goes on for all of them.
    for conn in [conns[1], conns[5]] {
        assert_eq!(told(&server.say(conn, offer_to(TEACHER)), conns[0]).len(), 1);
    }
    assert_eq!(told(&server.say(conns[0], answer_to("1001")), conns[1]).len(), 1);
    let summary = server.summary("10013").unwrap();
    assert_eq!((summary.kind, summary.participants, summary.breakouts), (RoomKind::Lecture, 0, vec![2, 0]));
    // Each breakout room has its own chat, and the teacher visits it.
    let out = server.say(conns[1], says("hello"));
    assert_eq!(
        (texts(&out, conns[2]), texts(&out, conns[3]), texts(&out, conns[0])),
        (vec!["hello".into()], vec![], vec![])
    );
    let out = [server.say(conns[0], visit(1)), server.say(conns[0], participate()), server.pass(SECOND)].concat();
    assert_eq!(listed(&out, conns[2]).unwrap(), ["1001", "1002", TEACHER]);
    assert_eq!(texts(&out, conns[0]), ["hello"]);
    assert!(seen(&out, conns[1]).unwrap().here.contains(&id(TEACHER)), "nobody listens unseen");
    assert_eq!(server.refuses(conns[3], visit(1)), ErrorCode::NotAllowed);
    // A sentence for all, and back.
    let out = server.order(conns[0], RoomOrder::Announce { text: "two minutes".into() });
    let is_told =
        |conn: &&ConnId| told(&out, **conn).iter().any(|message| matches!(message, ServerMessage::Announcement { .. }));
    assert_eq!(conns.iter().filter(is_told).count(), conns.len());
    let out = server.ordered(conns[0], RoomOrder::Recall { within_s: 5 });
    assert!(conns.iter().all(|conn| seen(&out, *conn).unwrap().is_recalled), "{out:?}");
    let out = server.pass(5 * SECOND);
    for conn in &conns {
        let breakouts = seen(&out, *conn).unwrap();
        assert_eq!((breakouts.rooms, breakouts.at), (0, 0));
        assert_eq!(listed(&out, *conn), None, "a lecture has no participants");
    }
    assert_eq!(server.refuses(conns[1], participate()), ErrorCode::NotAllowed);
    assert_eq!(told(&server.say(conns[1], offer_to(TEACHER)), conns[0]).len(), 1);
}

#[test]
fn a_breakout_room_of_a_lecture_takes_as_many_as_connect_to_each_other() {
    let mut server = TestServer::new();
    let conns = server.lecture(2 * MAX_MESH + 1);
    assert_eq!(server.refuses(conns[0], ClientMessage::Order(split(2))), ErrorCode::NotAllowed, "13 in 2 rooms");
    let all: Vec<(String, u32)> = (1..=MAX_MESH + 1).map(|n| (format!("{}", 1000 + n), 1)).collect();
    let all: Vec<(&str, u32)> = all.iter().map(|(user, breakout)| (user.as_str(), *breakout)).collect();
    assert_eq!(server.refuses(conns[0], ClientMessage::Order(by_hand(4, &all))), ErrorCode::NotAllowed, "7 in one");
    let out = server.ordered(conns[0], by_hand(3, &all[..MAX_MESH]));
    assert_eq!(conns[1..=MAX_MESH].iter().map(|conn| at(&out, *conn)).sum::<u32>(), MAX_MESH as u32);
    let assign = RoomOrder::Assign { target_uid: id("1012"), breakout: 1 };
    assert_eq!(server.refuses(conns[0], ClientMessage::Order(assign)), ErrorCode::NotAllowed);
    for conn in &conns[1..=MAX_MESH] {
        assert_eq!(error_code(&server.say(*conn, participate()), *conn), None);
    }
    // The teacher comes on top of a full room.
    let out = [server.say(conns[0], visit(1)), server.say(conns[0], participate()), server.pass(SECOND)].concat();
    assert_eq!(listed(&out, conns[1]).unwrap().len(), MAX_MESH + 1, "{out:?}");
    // Latecomers go to the smallest room, and stay in the lecture once all are full.
    for n in 1..=8 {
        let (conn, out) = server.enter(page(&format!("11{n:02}")));
        let breakouts = seen(&out, conn).unwrap();
        let expected =
            if n <= 5 { (2..=3).contains(&breakouts.at) } else { breakouts.at == 0 && breakouts.own.is_none() };
        assert!(expected, "{n}: {breakouts:?}");
    }
}

#[test]
fn only_the_teacher_splits_a_lecture_and_it_ends_with_the_teacher() {
    let mut server = TestServer::new();
    let conns = server.lecture(3);
    let assistant = server.let_in(Newcomer { moderates: true, ..page("1009") });
    for conn in [assistant, conns[1]] {
        assert_eq!(server.refuses(conn, ClientMessage::Order(split(2))), ErrorCode::NotAllowed);
        assert_eq!(server.refuses(conn, visit(1)), ErrorCode::NotAllowed);
    }
    let text = ErrorCode::NotAllowed;
    for order in [RoomOrder::End, RoomOrder::Recall { within_s: 0 }, RoomOrder::HandOver { target_uid: id("1001") }] {
        assert_eq!(server.refuses(conns[0], ClientMessage::Order(order)), text);
    }
    let out = server.ordered(conns[0], by_hand(2, &[("1001", 1), ("1002", 2), ("1003", 2)]));
    assert_eq!(at(&out, assistant), 0, "an assistant visits");
    let out = [server.say(assistant, visit(2)), server.pass(SECOND)].concat();
    assert_eq!(at(&out, assistant), 2);
    // A page that is loaded again, or a connection that is lost, leads back to the same room.
    server.say(conns[1], participate());
    let (again, out) = server.enter(Newcomer { epoch: 2, ..page("1001") });
    assert_eq!(at(&out, again), 1);
    assert_eq!(error_code(&server.say(again, participate()), again), None);
    server.lose(again);
    let (again, out) = server.enter(Newcomer { epoch: 2, ..page("1001") });
    let is_place = |message: &ServerMessage| matches!(message, ServerMessage::Breakouts(_));
    let is_list = |message: &ServerMessage| matches!(message, ServerMessage::Participants(_));
    let heard = told(&out, again);
    let first = |is: &dyn Fn(&ServerMessage) -> bool| heard.iter().position(is);
    assert!(first(&is_place) < first(&is_list), "a page understands the list by its place: {heard:?}");
    assert_eq!((at(&out, again), listed(&out, again).unwrap()), (1, vec!["1001".to_owned()]));
    // Without a teacher nobody knows what the rooms are for.
    server.say(conns[0], ClientMessage::Leave { over: false });
    let out = server.pass(Duration::from_secs(RECALL_S.into()));
    assert_eq!((seen(&out, again).unwrap().rooms, at(&out, again)), (0, 0));
    let teacher = server.let_in(teacher());
    assert_eq!(server.say(again, offer_to(TEACHER)).len(), 1);
    let (_, out) = server.enter(page("1004"));
    assert!(!out.iter().any(|it| matches!(it, Output::Send { message: ServerMessage::Room(_), .. })), "{out:?}");
    let out = server.ordered(teacher, by_hand(2, &[("1001", 2)]));
    assert_eq!(at(&out, again), 2);
}

#[test]
fn the_media_host_of_a_lecture_never_learns_of_breakout_rooms() {
    let mut server = with_rooms(1);
    let (publisher, host) = server.host(hosted());
    let students: Vec<_> = (1..=3).map(|n| server.let_in(page(&format!("{}", 1000 + n)))).collect();
    let mut out = server.ordered(publisher, split(2));
    for student in &students {
        out.extend(server.say(*student, participate()));
        out.extend(server.say(*student, ClientMessage::Overloaded));
    }
    out.extend(server.say(students[0], hangup("1001")));
    out.extend(server.ordered(publisher, RoomOrder::Recall { within_s: 0 }));
    let is_list = |message: &ServerMessage| matches!(message, ServerMessage::Participants(_));
    assert!(!told(&out, host).iter().any(is_list), "{out:?}");
    assert!(closed(&out).is_empty(), "the host carries the lecture on: {out:?}");
    assert_eq!(told(&server.say(students[0], offer_to(TEACHER)), host).len(), 1);
}

#[test]
fn the_server_carries_a_large_breakout_room_of_a_lecture_beside_the_lecture() {
    let mut server = with_rooms(2);
    let (teacher, lecture, students, host) = server.carried((8, 7));
    // The same target is the lecture, or a visitor.
    let out = [server.say(teacher, visit(1)), server.say(teacher, participate()), server.pass(SECOND)].concat();
    let list = last_list(&out, students[0]).unwrap();
    assert_eq!((list.media, list.moved, list.participants.len()), (MediaHost::Server, Some(MediaMove::Size), 8));
    for sender in [students[0], teacher] {
        let out = server.say(sender, offer_to(TEACHER));
        assert_eq!((told(&out, lecture).len(), told(&out, host).len()), (1, 0), "{out:?}");
        for message in [offer_to(TEACHER), candidate_to(TEACHER)] {
            let out = server.say(sender, of_conference(message));
            assert_eq!((told(&out, lecture).len(), told(&out, host).len()), (0, 1), "{out:?}");
        }
    }
    let answer = |source: &str| ClientMessage::Answer {
        target_uid: id("1001"),
        sdp: "v=0".into(),
        entry: None,
        source: Some(id(source)),
    };
    let plain = |user: &str| ServerMessage::Answer { user_id: id(user), sdp: "v=0".into(), entry: None };
    let out = server.say(host, answer(TEACHER));
    assert_eq!(told(&out, students[0]), [ServerMessage::Conference { message: Box::new(plain(TEACHER)) }]);
    assert_eq!(told(&server.say(lecture, answer_to("1001")), students[0]), [plain(TEACHER)]);
    // Nobody reaches those who are elsewhere, and nobody else speaks for the host.
    assert_eq!(server.refuses(students[0], of_conference(offer_to("1008"))), ErrorCode::UnknownTarget);
    assert_eq!(server.refuses(students[7], of_conference(offer_to("1001"))), ErrorCode::NotAllowed);
    let forged = ClientMessage::Published { target_uid: id("1002"), entry: list.participants[1].entry, on: true };
    assert_eq!(server.refuses(students[0], forged), ErrorCode::NotAllowed);
    // A host that fails takes the other one along neither way.
    let out = server.rooms.handle(server.now, Input::Lost { conn: host });
    let list = last_list(&out, students[0]).unwrap();
    assert_eq!((list.media, list.moved, list.participants.len()), (MediaHost::Publisher, Some(MediaMove::Failure), 6));
    assert_eq!(told(&server.say(students[0], offer_to(TEACHER)), lecture).len(), 1);
    assert_eq!(server.refuses(students[0], of_conference(offer_to("1002"))), ErrorCode::NotAllowed);
}

#[test]
fn the_hosts_of_a_lecture_and_of_its_breakout_rooms_end_each_in_its_time() {
    let mut server = with_rooms(2);
    let (_, lecture, students, host) = server.carried((9, 7));
    // No media of a participant arrives: another lecture gets that place, and this one goes on.
    server.pass(protocol::MEDIA_WITHIN);
    let other = Newcomer { room: "7".parse().unwrap(), session: secret('o'), ..hosted() };
    let (_, out) = server.enter(other);
    assert_eq!((closed(&out), starts(&out)), (vec![(host, None)], vec!["7"]));
    assert_eq!(last_list(&out, students[0]).unwrap().moved, Some(MediaMove::Failure));
    assert_eq!(told(&server.say(students[1], offer_to(TEACHER)), lecture).len(), 1);
    // The students are back: the server carries only the lecture.
    let mut server = with_rooms(2);
    let (teacher, lecture, students, host) = server.carried((9, 7));
    let out = server.ordered(teacher, RoomOrder::Recall { within_s: 0 });
    assert_eq!(closed(&[out, server.pass(SECOND)].concat()), [(host, None)], "nobody is carried any more");
    assert_eq!(told(&server.say(students[0], offer_to(TEACHER)), lecture).len(), 1);

    // Everything ends with the room.
    let mut server = with_rooms(2);
    let (teacher, lecture, students, host) = server.carried((8, 8));
    let mut out = server.say(teacher, ClientMessage::Leave { over: true });
    assert_eq!(closed(&out), [(teacher, None), (lecture, None)]);
    for student in students {
        out = server.say(student, ClientMessage::Leave { over: false });
    }
    assert!(closed(&out).contains(&(host, None)), "{out:?}");
}

#[test]
fn larger_breakout_rooms_of_a_lecture_share_the_places_at_the_server() {
    let mut server = with_rooms(2);
    let (teacher, _) = server.host(hosted());
    let students = server.pages(25);
    assert_eq!(server.refuses(teacher, ClientMessage::Order(split(2))), ErrorCode::NotAllowed, "25 of 24 places");
    let places = seen(&server.ordered(teacher, split(4)), teacher).unwrap().places;
    let size = |breakout| places.values().filter(|at| **at == breakout).count();
    assert_eq!([1, 2, 3, 4].map(size).iter().max(), Some(&7), "three of six, and one of seven");
    server.say(students[24], ClientMessage::Leave { over: false });
    // Twelve and twelve: the server carries both, and the teacher finds a place in each.
    server.ordered(teacher, split(2));
    for student in &students[..24] {
        let out = server.say(*student, participate());
        assert_eq!(error_code(&out, *student), None);
        if !starts(&out).is_empty() {
            server.attach("10013");
        }
    }
    for breakout in [1, 2] {
        let out = [server.say(teacher, visit(breakout)), server.say(teacher, participate()), server.pass(SECOND)];
        assert_eq!(last_list(&out.concat(), teacher).unwrap().participants.len(), 13);
    }
    let (late, out) = server.enter(page("2001"));
    assert_eq!((at(&out, late), seen(&out, late).unwrap().own), (0, None), "a latecomer stays in the lecture");
    let assign = RoomOrder::Assign { target_uid: id("2001"), breakout: 1 };
    assert_eq!(server.refuses(teacher, ClientMessage::Order(assign)), ErrorCode::NotAllowed);
    // Other groups: all go on in them.
    server.pass(60 * SECOND);
    let assign: Vec<(String, u32)> = (1001..=1024).map(|user| (user.to_string(), 1 + user % 2)).collect();
    let mut assign: Vec<(&str, u32)> = assign.iter().map(|(user, at)| (user.as_str(), *at)).collect();
    assign.push(("2001", 0));
    server.ordered(teacher, by_hand(2, &assign));
    let taken = server.summary("10013").unwrap().breakouts;
    assert_eq!(taken.iter().sum::<usize>(), 25, "{taken:?}");
}

#[test]
fn breakout_rooms_have_names_and_show_only_their_own_members() {
    let mut server = TestServer::new();
    let conns = server.meeting(5);
    let assign = [("1002", 1), ("1003", 1), ("1004", 2), ("1005", 0)];
    let out = server.ordered(conns[0], by_hand(2, &assign));
    let here = |out: &[Output], n: usize| -> Vec<String> {
        seen(out, conns[n]).unwrap().here.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        (here(&out, 1), here(&out, 3), here(&out, 4)),
        (vec!["1002".into(), "1003".into()], vec!["1004".into()], vec!["1001".into(), "1005".into()])
    );
    let name =
        |breakout, name: Option<&str>| RoomOrder::NameBreakout { breakout, name: name.map(|it| it.parse().unwrap()) };
    let out = server.ordered(conns[0], name(2, Some("Algebra")));
    for conn in &conns {
        let named = seen(&out, *conn).unwrap();
        assert_eq!((named.name(1), named.name(2).map(ToString::to_string)), (None, Some("Algebra".into())));
        // The name reaches the client, too.
        let message = ServerMessage::Breakouts(named);
        assert_eq!(ServerMessage::parse(&message.to_json()), Ok(message));
    }
    for (conn, order) in [(conns[1], name(1, None)), (conns[0], name(0, None)), (conns[0], name(3, Some("Three")))] {
        let code = server.refuses(conn, ClientMessage::Order(order));
        assert!(matches!(code, ErrorCode::NotAllowed | ErrorCode::UnknownTarget), "{code:?}");
    }
    // A name stays when the rooms are filled anew, as long as there is such a room.
    let out = server.ordered(conns[0], by_hand(3, &assign));
    assert!(seen(&out, conns[0]).unwrap().name(2).is_some());
    assert!(seen(&server.ordered(conns[0], name(2, None)), conns[0]).unwrap().names.is_empty());
    // Somebody who goes is missed by those who stay there, and by nobody else.
    let out = [server.say(conns[2], visit(0)), server.pass(SECOND)].concat();
    assert_eq!(
        (here(&out, 1), here(&out, 4)),
        (vec!["1002".into()], vec!["1001".into(), "1003".into(), "1005".into()])
    );
}
