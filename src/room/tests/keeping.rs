//! How long an empty room stays, its name, and which room is removed when the server is full.

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

impl TestServer {
    fn create(&mut self, room: &str, name: &str) -> Result<(), RoomRefusal> {
        self.rooms.create(self.now, room.parse().unwrap(), name.parse().unwrap())
    }

    /// Joins another room than `join` does.
    fn enter(&mut self, room: &str, user: &str, name: Option<&str>) -> (ConnId, Vec<Output>) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let newcomer = Newcomer {
            room: room.parse().unwrap(),
            room_name: name.map(|name| name.parse().unwrap()),
            user: user.parse().unwrap(),
            nickname: "".into(),
            publishes: user.starts_with('9'),
            epoch: 1,
            session: "a".repeat(16).parse().unwrap(),
            client: None,
            network: network(),
            moderates: false,
            code: None,
            settings: None,
        };
        (conn, self.rooms.handle(self.now, Input::Join { conn, newcomer }))
    }

    fn leave(&mut self, conn: ConnId) {
        self.say(conn, ClientMessage::Leave { over: true });
    }

    fn summary(&self, room: &str) -> Option<RoomSummary> {
        self.rooms.summaries(self.now).into_iter().find(|summary| summary.room_id.as_str() == room)
    }

    fn name(&self, room: &str) -> Option<String> {
        self.summary(room)?.name.map(String::from)
    }
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
    let (student, out) = server.enter("48213", "1001", None);
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
    let (teacher, out) = server.enter("48213", "9999", None);
    assert_eq!(name_told(&out, teacher).as_deref(), Some("Linear algebra"));
    server.leave(teacher);
    let (teacher, out) = server.enter("48213", "9999", Some("Calculus"));
    assert_eq!(name_told(&out, teacher).as_deref(), Some("Calculus"));
    // A student can't name a room.
    let (student, out) = server.enter("48213", "1001", Some("Naptime"));
    assert_eq!(name_told(&out, student).as_deref(), Some("Calculus"));
    assert_eq!(server.name("48213").as_deref(), Some("Calculus"));
    let (student, out) = server.enter("7", "1001", Some("Naptime"));
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

#[test]
fn a_full_server_evicts_empty_rooms_the_ended_ones_first() {
    let mut server = TestServer::with(RoomLimits { max_rooms: 3, ..RoomLimits::default() });
    server.create("1", "first").unwrap();
    server.pass(MINUTE);
    server.create("2", "second").unwrap();
    let (teacher, _) = server.enter("3", "9999", None);
    server.leave(teacher);
    let rooms = |server: &TestServer| -> Vec<String> {
        server.rooms.summaries(server.now).iter().map(|summary| summary.room_id.to_string()).collect()
    };
    assert_eq!(rooms(&server), ["1", "2", "3"]);
    server.enter("4", "1001", None);
    assert_eq!(rooms(&server), ["1", "2", "4"]);
    // A created room does not evict rooms that wait for their teachers.
    assert_eq!(server.create("5", "fifth").unwrap_err().code, ErrorCode::ServerFull);
    server.enter("5", "1001", None);
    assert_eq!(rooms(&server), ["2", "4", "5"]);
    server.enter("2", "1001", None);
    // Every room has a member now.
    let (late, out) = server.enter("6", "1001", None);
    assert_eq!(error_code(&out, late), Some(ErrorCode::ServerFull));
    assert_eq!(rooms(&server), ["2", "4", "5"]);
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
fn rooms_created_in_a_loop_are_refused_with_the_time_to_wait() {
    let mut server = TestServer::new();
    let refused = (0..100).find_map(|n| server.create(&format!("{n}"), "loop").err().map(|refusal| (n, refusal)));
    let (created, refusal) = refused.unwrap();
    assert_eq!((created, refusal.code), (30, ErrorCode::FloodedMessages));
    let wait = refusal.retry_after.unwrap();
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    assert!(!refusal.code.is_final());
    server.pass(wait);
    server.create("later", "loop").unwrap();
}
