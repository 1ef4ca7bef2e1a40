//! How long an empty room stays, its name, and which room is removed when the server is full.

use super::*;
use crate::protocol::OPENINGS;

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

impl TestServer {
    fn create(&mut self, room: &str, name: &str) -> Result<(), RoomRefusal> {
        self.create_from(network(), room, name)
    }

    fn create_from(&mut self, creator: Network, room: &str, name: &str) -> Result<(), RoomRefusal> {
        let created = self.rooms.create(
            self.now,
            Creation {
                room_id: room.parse().unwrap(),
                name: name.parse().unwrap(),
                kind: RoomKind::Lecture,
                network: creator,
                may_teach: true,
            },
        );
        created.map(|out| assert_eq!(out, []))
    }

    /// Joins another room than `join` does.
    fn visit(&mut self, room: &str, user: &str, name: Option<&str>) -> (ConnId, Vec<Output>) {
        self.enter(Newcomer { room_name: name.map(|name| name.parse().unwrap()), ..visitor(room, user) })
    }

    fn leave(&mut self, conn: ConnId) {
        self.say(conn, ClientMessage::Leave { over: true });
    }

    fn name(&self, room: &str) -> Option<String> {
        self.summary(room)?.name.map(String::from)
    }
}

fn visitor(room: &str, user: &str) -> Newcomer {
    Newcomer { room: room.parse().unwrap(), ..newcomer(user) }
}

fn name_told(out: &[Output], conn: ConnId) -> Option<String> {
    told(out, conn).into_iter().find_map(|message| match message {
        ServerMessage::Joined { room_name, .. } => room_name.map(String::from),
        _ => None,
    })
}

#[test]
fn a_created_room_waits_for_its_teacher_for_hours_and_then_goes() {
    let mut server = TestServer::new();
    server.create("48213", "Linear algebra").unwrap();
    server.pass(12 * HOUR - MINUTE);
    let summary = server.summary("48213").unwrap();
    assert_eq!((summary.state, summary.watching, summary.open_s), (RoomState::Waiting, 0, 12 * 3_600 - 60));
    assert_eq!(server.name("48213").as_deref(), Some("Linear algebra"));
    // A visit restarts the retention.
    let (student, out) = server.visit("48213", "1001", None);
    assert_eq!(name_told(&out, student).as_deref(), Some("Linear algebra"));
    server.leave(student);
    server.pass(12 * HOUR - MINUTE);
    assert!(server.summary("48213").is_some());
    server.pass(MINUTE);
    assert_eq!(server.rooms.summaries(server.now), []);
    assert_eq!(server.rooms.next_tick(), None);
}

#[test]
fn a_teacher_keeps_the_name_of_a_room_or_gives_it_another() {
    let mut server = TestServer::new();
    server.create("48213", "Linear algebra").unwrap();
    let (teacher, out) = server.visit("48213", "9999", None);
    assert_eq!(name_told(&out, teacher).as_deref(), Some("Linear algebra"));
    server.leave(teacher);
    let (teacher, out) = server.visit("48213", "9999", Some("Calculus"));
    assert_eq!(name_told(&out, teacher).as_deref(), Some("Calculus"));
    // A student can't name a room.
    let (student, out) = server.visit("48213", "1001", Some("Naptime"));
    assert_eq!(name_told(&out, student).as_deref(), Some("Calculus"));
    assert_eq!(server.name("48213").as_deref(), Some("Calculus"));
    let (student, out) = server.visit("7", "1001", Some("Naptime"));
    assert_eq!((name_told(&out, student), server.name("7")), (None, None));
}

#[test]
fn a_lecture_is_over_when_the_teacher_says_goodbye_until_one_comes_back() {
    let mut server = TestServer::new();
    let (teacher, student) = (server.join(TEACHER), server.join("1001"));
    server.pass(HOUR);
    server.leave(teacher);
    server.pass(MINUTE);
    let summary = server.summary("10013").unwrap();
    assert_eq!((summary.state, summary.ended_s, summary.watching), (RoomState::Ended, Some(60), 1));
    // A room with members stays, and a late student changes nothing.
    server.pass(24 * HOUR);
    let late = server.join("1002");
    assert_eq!(server.summary("10013").unwrap().state, RoomState::Ended);
    server.leave(late);
    let teacher = server.join(TEACHER);
    let summary = server.summary("10013").unwrap();
    assert_eq!((summary.state, summary.ended_s), (RoomState::Live, None));
    // A lost publisher has not ended the lecture.
    server.lose(teacher);
    server.pass(protocol::RESUME_GRACE);
    assert_eq!(server.summary("10013").unwrap().state, RoomState::Waiting);
    server.leave(student);
    server.pass(protocol::OWNED_ROOM_STAYS - Duration::from_secs(1));
    assert_eq!(server.summary("10013").unwrap().state, RoomState::Waiting);
    server.pass(Duration::from_secs(1));
    assert_eq!(server.summary("10013"), None);
}

#[test]
fn a_room_whose_lecture_is_over_stays_ten_minutes_after_the_last_one_left() {
    for created in [false, true] {
        let mut server = TestServer::new();
        if created {
            server.create("10013", "Linear algebra").unwrap();
        }
        let (teacher, student) = (server.join(TEACHER), server.join("1001"));
        server.leave(teacher);
        server.pass(HOUR);
        server.lose(student);
        server.pass(protocol::RESUME_GRACE);
        server.pass(10 * MINUTE - Duration::from_secs(1));
        assert_eq!(server.summary("10013").unwrap().state, RoomState::Ended);
        server.pass(Duration::from_secs(1));
        assert_eq!(server.rooms.summaries(server.now), []);
        assert_eq!(server.rooms.next_tick(), None);
    }
}

fn rooms(server: &TestServer) -> Vec<String> {
    server.rooms.summaries(server.now).iter().map(|summary| summary.room_id.to_string()).collect()
}

#[test]
fn a_full_server_evicts_rooms_whose_lecture_is_over_and_none_that_wait_for_their_teachers() {
    let mut server = TestServer::with(RoomLimits { max_rooms: 3, ..RoomLimits::default() });
    server.create("1", "first").unwrap();
    server.pass(MINUTE);
    server.create("2", "second").unwrap();
    let (teacher, _) = server.visit("3", "9999", None);
    server.leave(teacher);
    assert_eq!(rooms(&server), ["1", "2", "3"]);
    server.visit("4", "9999", None);
    assert_eq!(rooms(&server), ["1", "2", "4"]);
    assert_eq!(server.create("5", "fifth").unwrap_err().code, ErrorCode::ServerFull);
    for user in ["1001", "9999"] {
        assert_eq!(server.refused(visitor("5", user)), ErrorCode::ServerFull, "{user}");
    }
    assert_eq!(rooms(&server), ["1", "2", "4"]);
}

#[test]
fn a_network_with_many_rooms_gives_way_to_one_with_few_and_not_the_other_way_round() {
    let mut server = TestServer::with(RoomLimits { max_rooms: 4, ..RoomLimits::default() });
    let others = network_of("198.51.100.7");
    for room in ["1", "2", "3"] {
        server.create_from(others, room, "loop").unwrap();
        server.pass(MINUTE);
    }
    server.create("4", "mine").unwrap();
    server.create("5", "mine").unwrap();
    assert_eq!(rooms(&server), ["2", "3", "4", "5"], "the oldest room of the biggest network has gone");
    assert_eq!(server.create("6", "mine").unwrap_err().code, ErrorCode::ServerFull);
    assert_eq!(server.create_from(others, "6", "loop").unwrap_err().code, ErrorCode::ServerFull);
    // Students have no claim on the rooms of teachers.
    let from_elsewhere = Newcomer { network: network_of("203.0.113.9"), ..visitor("7", "1001") };
    assert_eq!(server.refused(from_elsewhere), ErrorCode::ServerFull);
    assert_eq!(rooms(&server), ["2", "3", "4", "5"]);
}

#[test]
fn students_of_one_network_open_few_rooms_before_their_teachers_come() {
    let mut server = TestServer::new();
    for n in 0..protocol::MAX_UNCLAIMED_ROOMS {
        server.let_in(visitor(&format!("{n}"), "1001"));
    }
    assert_eq!(server.refused(visitor("one-more", "1001")), ErrorCode::ServerFull);
    let elsewhere = Newcomer { network: network_of("198.51.100.7"), ..visitor("elsewhere", "1001") };
    server.let_in(elsewhere);
    // Teachers claim rooms, and their students may come to them.
    server.let_in(visitor("one-more", "9999"));
    server.let_in(visitor("one-more", "1001"));
    server.let_in(visitor("0", "9999"));
    server.let_in(visitor("two-more", "1001"));
}

#[test]
fn a_flood_of_rooms_takes_no_space_from_teachers_nor_from_students_elsewhere() {
    let mut server = TestServer::with(RoomLimits { max_rooms: 40, ..RoomLimits::default() });
    let attacker = network_of("198.51.100.7");
    let class = visitor("class", "1001");
    server.let_in(class.clone());
    server.let_in(Newcomer { user: id("1002"), ..class });
    let flood: Vec<_> = (0..100)
        .map(|n| server.enter(Newcomer { network: attacker, ..visitor(&format!("{n}"), "1001") }))
        .filter(|(conn, out)| is_in(out, *conn))
        .collect();
    assert_eq!(flood.len(), 9, "a quarter of all rooms, and the class has one");
    // One room of the attacker gives way, and its client learns of it.
    let (conn, out) = server.enter(Newcomer { network: network_of("203.0.113.9"), ..visitor("second", "1001") });
    assert!(is_in(&out, conn));
    assert_eq!(closed(&out), [(flood[0].0, Some(ErrorCode::ServerFull))]);
    assert!(server.has_room("class") && !server.has_room("0"));
    for n in 0..30 {
        server.visit(&format!("lecture-{n}"), "9999", None);
    }
    assert_eq!(server.rooms.rooms.len(), 40);
    server.pass(Duration::from_secs(1));
    // A full server takes more rooms of students from the attacker, for a teacher.
    let (teacher, out) = server.visit("lecture-30", "9999", None);
    assert!(is_in(&out, teacher) && closed(&out).len() == 1 && server.has_room("class"), "{out:?}");
}

#[test]
fn a_created_room_evicts_a_lecture_that_is_over() {
    let mut server = TestServer::with(RoomLimits { max_rooms: 1, ..RoomLimits::default() });
    let teacher = server.join(TEACHER);
    assert_eq!(server.create("5", "fifth").unwrap_err().code, ErrorCode::ServerFull);
    server.leave(teacher);
    server.create("5", "fifth").unwrap();
    assert_eq!((server.summary("10013"), server.rooms.rooms.len()), (None, 1));
}

#[test]
fn rooms_created_in_a_loop_are_refused_with_the_time_to_wait_and_only_to_their_network() {
    let mut server = TestServer::new();
    let refused = (0..100).find_map(|n| server.create(&format!("{n}"), "loop").err().map(|refusal| (n, refusal)));
    let (created, refusal) = refused.unwrap();
    assert_eq!((created, refusal.code), (OPENINGS.burst as usize, ErrorCode::FloodedMessages));
    let wait = refusal.retry_after.unwrap();
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    assert!(!refusal.code.is_final());
    server.create_from(network_of("198.51.100.7"), "elsewhere", "a lecture").unwrap();
    server.pass(wait);
    server.create("later", "loop").unwrap();
}

#[test]
fn a_loop_that_creates_rooms_and_opens_others_gets_no_more_than_one_of_both() {
    let mut server = TestServer::new();
    (0..30).for_each(|n| server.create(&format!("{n}"), "loop").unwrap());
    let opened = (30..100).filter(|n| {
        let (conn, out) = server.visit(&format!("{n}"), "9999", Some("loop"));
        is_in(&out, conn)
    });
    assert_eq!(opened.count() + 30, OPENINGS.burst as usize);
}

#[test]
fn rooms_that_a_teacher_opens_and_leaves_in_a_loop_are_few_and_stop_no_other_teacher() {
    let mut server = TestServer::new();
    for n in 0..1_000 {
        let (conn, out) = server.visit(&format!("{n}"), "9999", Some("loop"));
        if is_in(&out, conn) {
            server.lose(conn);
        } else {
            assert_eq!(error_code(&out, conn), Some(ErrorCode::FloodedMessages));
        }
    }
    assert_eq!(server.rooms.rooms.len(), OPENINGS.burst as usize);
    server.let_in(visitor("0", "9999"));
    server.let_in(Newcomer { network: network_of("198.51.100.7"), ..visitor("honest", "9999") });
    server.pass(Duration::from_secs(1));
    server.let_in(visitor("later", "9999"));
}
