//! Rooms whose media the server carries.

use super::*;

/// A publisher that wants the server to carry its media.
pub(super) fn hosted() -> Newcomer {
    Newcomer { media: MediaHost::Server, ..teacher() }
}

pub(super) fn with_rooms(max_media_rooms: usize) -> TestServer {
    TestServer::with(RoomLimits { max_media_rooms, ..RoomLimits::default() })
}

/// The rooms whose hosts the server has to start.
pub(super) fn starts(out: &[Output]) -> Vec<&str> {
    out.iter()
        .filter_map(|output| match output {
            Output::StartHost { room, .. } => Some(room.as_str()),
            _ => None,
        })
        .collect()
}

impl TestServer {
    /// Joins, and starts the host if the room needs one; returns the connections of both.
    pub(super) fn host(&mut self, newcomer: Newcomer) -> (ConnId, ConnId) {
        let room = newcomer.room.clone();
        let (publisher, out) = self.enter(newcomer);
        assert!(is_in(&out, publisher) && starts(&out) == [room.as_str()], "{out:?}");
        (publisher, self.attach(room.as_str()))
    }

    pub(super) fn attach(&mut self, room: &str) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let room = room.parse().unwrap();
        // A lecture's own host starts before that of its breakout rooms.
        let of_lecture = self.rooms.rooms[&room].host.as_ref().filter(|host| host.conn.is_none());
        let publisher = of_lecture.map(|host| host.publisher.clone());
        let out = self.rooms.handle(self.now, Input::HostStarted { conn, room, publisher });
        assert!(is_in(&out, conn), "{out:?}");
        conn
    }
}

fn publisher_epoch(out: &[Output], conn: ConnId) -> u32 {
    let epoch = told(out, conn).into_iter().find_map(|message| match message {
        ServerMessage::Joined { users, .. } | ServerMessage::Join { users } => {
            users.into_iter().find(|user| user.publishes).map(|user| user.epoch)
        }
        _ => None,
    });
    epoch.unwrap_or_else(|| panic!("{out:?}"))
}

#[test]
fn students_talk_to_the_host_and_hear_the_publisher() {
    let mut server = with_rooms(1);
    let early = server.let_in(student("1000"));
    let (publisher, host) = server.host(hosted());
    let one = server.let_in(student("1001"));
    for message in [offer_to(TEACHER), candidate_to(TEACHER)] {
        let out = server.say(one, message);
        assert!(told(&out, publisher).is_empty(), "{out:?}");
        assert!(matches!(&out[..], [Output::Relay { from, to, .. }] if (*from, *to) == (one, host)), "{out:?}");
    }
    let reject =
        |code| ClientMessage::Reject { target_uid: id("1001"), code, message: "no".into(), codec: None, source: None };
    let hangup = ClientMessage::Hangup { target_uid: id("1001"), source: None };
    for message in [answer_to("1001"), candidate_to("1001"), reject(ErrorCode::TargetBusy), hangup] {
        let out = server.say(host, message.clone());
        let (student, out) = (told(&out, one), flat(&out).len());
        let is_of_publisher = match &student[..] {
            [ServerMessage::Answer { user_id, .. } | ServerMessage::Candidate { user_id, .. }]
            | [ServerMessage::Hangup { user_id } | ServerMessage::Error { user_id: Some(user_id), .. }] => {
                *user_id == id(TEACHER)
            }
            other => panic!("{other:?}"),
        };
        assert!(is_of_publisher && out == 1, "{message:?}");
    }
    assert_eq!(server.say(host, answer_to("1009")), [], "somebody who has left");
    assert_eq!(server.say(host, offer_to("1001")), [], "a host answers");
    server.say(one, ClientMessage::Leave { over: false });
    let users = match &told(&server.say(early, ClientMessage::RoomUserList), early)[..] {
        [ServerMessage::RoomUserList { users, count }] => (users.len(), *count),
        other => panic!("{other:?}"),
    };
    assert_eq!(users, (2, 2), "nobody sees the host");
    let summary = server.summary("10013").unwrap();
    assert_eq!((summary.watching, summary.media), (1, Some(MediaHost::Server)));
}

#[test]
fn the_publisher_offers_to_itself_and_sends_nothing_to_students() {
    let mut server = with_rooms(1);
    let (publisher, host) = server.host(hosted());
    let student = server.let_in(student("1001"));
    let tracks = Some(protocol::OfferedTracks::from([("1".to_owned(), protocol::TrackName::Screen)]));
    let offer =
        |tracks| ClientMessage::Offer { entry: None, target_uid: id(TEACHER), sdp: "v=0".into(), video: None, tracks };
    let out = server.say(publisher, offer(tracks.clone()));
    match &told(&out, host)[..] {
        [ServerMessage::Offer { user_id, tracks: relayed, .. }] => {
            assert_eq!((user_id, relayed), (&id(TEACHER), &tracks));
        }
        other => panic!("{other:?}"),
    }
    let out = server.say(student, offer(tracks));
    assert!(matches!(&told(&out, host)[..], [ServerMessage::Offer { tracks: None, .. }]), "{out:?}");
    let out = server.say(host, answer_to(TEACHER));
    assert!(matches!(&told(&out, publisher)[..], [ServerMessage::Answer { user_id, .. }] if *user_id == id(TEACHER)));
    let hangup = ClientMessage::Hangup { target_uid: id("1001"), source: None };
    for message in [answer_to("1001"), hangup, answer_to(TEACHER)] {
        let out = server.say(publisher, message.clone());
        assert_eq!(error_code(&out, publisher), Some(ErrorCode::NotAllowed), "{message:?}");
        assert!(told(&out, student).is_empty() && told(&out, host).is_empty(), "{message:?}");
    }
    server.say(publisher, offer_to(TEACHER));
    let relayed = (0..100).filter(|_| !server.say(publisher, candidate_to(TEACHER)).is_empty()).count();
    assert_eq!(relayed, protocol::MAX_CANDIDATES_PER_OFFER as usize, "as for a student");
}

#[test]
fn only_the_host_says_whose_media_runs() {
    let mut server = with_rooms(1);
    let (publisher, host) = server.host(hosted());
    let student_conn = server.let_in(student("1001"));
    let has_media = |server: &TestServer| {
        let member = &server.rooms.rooms[&"10013".parse().unwrap()].members[&id("1001")];
        member.media == member::Media::Connected
    };
    server.say(publisher, connected("1001"));
    assert!(!has_media(&server) && server.rooms.student_of(publisher, &id("1001")).is_none());
    server.say(host, connected("1001"));
    assert!(has_media(&server));
    assert_eq!(server.rooms.student_of(host, &id("1001")), Some(student_conn));
    server.say(host, ClientMessage::Hangup { target_uid: id("1001"), source: None });
    assert!(!has_media(&server));
}

#[test]
fn the_host_hears_of_members_at_once() {
    let mut server = with_rooms(1);
    server.let_in(student("1001"));
    let (publisher, out) = server.enter(hosted());
    assert_eq!(starts(&out), ["10013"]);
    let out = server.rooms.handle(
        server.now,
        Input::HostStarted { conn: ConnId(77), room: "10013".parse().unwrap(), publisher: Some(id(TEACHER)) },
    );
    match &told(&out, ConnId(77))[..] {
        [ServerMessage::Joined { users, user_id, .. }] => assert_eq!((users.len(), user_id), (2, &id(TEACHER))),
        other => panic!("{other:?}"),
    }
    let host = ConnId(77);
    let (conn, out) = server.enter(student("1002"));
    assert!(matches!(&told(&out, host)[..], [ServerMessage::Join { .. }]) && told(&out, publisher).len() == 1);
    let out = server.say(conn, ClientMessage::Leave { over: false });
    assert!(matches!(&told(&out, host)[..], [ServerMessage::Leave { .. }]) && told(&out, publisher).len() == 1);
}

#[test]
fn the_media_goes_on_while_the_publishers_connection_is_lost() {
    let mut server = with_rooms(1);
    let student_conn = server.let_in(student("1001"));
    let (publisher, host) = server.host(hosted());
    server.say(host, connected("1001"));
    server.lose(publisher);
    let out = server.say(student_conn, offer_to(TEACHER));
    assert_eq!(told(&out, host).len(), 1, "the host answers meanwhile");
    let (publisher, out) = server.enter(hosted());
    assert_eq!((starts(&out).len(), told(&out, student_conn).len()), (0, 0), "{out:?}");
    server.lose(publisher);
    let out = server.pass(protocol::RESUME_GRACE);
    let lost = ServerMessage::Leave { users: vec![id(TEACHER)], reason: LeaveReason::Lost };
    assert_eq!(told(&out, host), std::slice::from_ref(&lost));
    assert!(told(&out, student_conn).contains(&lost) && closed(&out).is_empty(), "{out:?}");
    // Another process of the same client, within the time: the students keep their media.
    server.pass(protocol::MEDIA_STAYS - Duration::from_secs(1));
    let (_, out) = server.enter(Newcomer { epoch: 2, ..hosted() });
    assert_eq!((publisher_epoch(&out, student_conn), starts(&out).len()), (1, 0), "{out:?}");
    assert!(matches!(told(&out, host)[..], [ServerMessage::Join { .. }]) && closed(&out).is_empty());
    let media = |server: &TestServer| server.rooms.rooms[&"10013".parse().unwrap()].members[&id("1001")].media;
    assert_eq!(media(&server), member::Media::Connected);
}

#[test]
fn a_reloaded_page_finds_its_students_connected() {
    let mut server = with_rooms(1);
    let student_conn = server.let_in(student("1001"));
    let (older, host) = server.host(hosted());
    let (newer, out) = server.enter(Newcomer { epoch: 2, ..hosted() });
    assert_eq!(closed(&out), [(older, Some(ErrorCode::Replaced))]);
    assert_eq!((told(&out, student_conn).len(), told(&out, host).len(), starts(&out).len()), (0, 0, 0), "{out:?}");
    assert_eq!(told(&server.say(newer, offer_to(TEACHER)), host).len(), 1);
}

#[test]
fn the_host_ends_when_the_publisher_does_not_come_back() {
    let mut server = with_rooms(1);
    server.let_in(student("1001"));
    let (publisher, host) = server.host(hosted());
    server.lose(publisher);
    server.pass(protocol::RESUME_GRACE + protocol::MEDIA_STAYS - Duration::from_secs(1));
    assert_eq!(closed(&server.pass(Duration::from_secs(1))), [(host, None)]);
    // A room that is removed takes its host along.
    let mut server = TestServer::with(RoomLimits {
        max_media_rooms: 1,
        owned_stays: Duration::from_secs(1),
        ..RoomLimits::default()
    });
    let (publisher, host) = server.host(hosted());
    server.lose(publisher);
    assert_eq!(closed(&server.pass(protocol::RESUME_GRACE + Duration::from_secs(1))), [(host, None)]);
    assert!(!server.has_room("10013"));
}

#[test]
fn the_host_ends_with_the_lecture() {
    for over in [false, true] {
        let mut server = with_rooms(1);
        let student_conn = server.let_in(student("1001"));
        let (publisher, host) = server.host(hosted());
        let out = server.say(publisher, ClientMessage::Leave { over });
        assert_eq!(closed(&out), [(publisher, None), (host, None)]);
        let reason = if over { LeaveReason::Ended } else { LeaveReason::Left };
        assert_eq!(told(&out, student_conn), [ServerMessage::Leave { users: vec![id(TEACHER)], reason }]);
        assert_eq!(server.say(host, answer_to("1001")), [], "its connection is closed");
        let (_, out) = server.enter(hosted());
        assert_eq!(starts(&out), ["10013"], "the next lecture has another");
    }
}

#[test]
fn a_lecture_moves_between_a_program_and_the_server() {
    let mut server = with_rooms(1);
    let student_conn = server.let_in(student("1001"));
    let (browser, host) = server.host(hosted());
    let (program, out) = server.enter(Newcomer { epoch: 7, ..teacher() });
    assert_eq!(closed(&out), [(browser, Some(ErrorCode::Replaced)), (host, None)]);
    let replaced = ServerMessage::Leave { users: vec![id(TEACHER)], reason: LeaveReason::Replaced };
    assert_eq!((told(&out, student_conn)[0].clone(), publisher_epoch(&out, student_conn)), (replaced, 7));
    assert_eq!(told(&server.say(student_conn, offer_to(TEACHER)), program).len(), 1);
    assert_eq!(server.summary("10013").unwrap().media, Some(MediaHost::Publisher));
    let (_, out) = server.enter(Newcomer { epoch: 8, ..hosted() });
    assert_eq!((closed(&out), starts(&out)), (vec![(program, Some(ErrorCode::Replaced))], vec!["10013"]));
    assert_eq!(publisher_epoch(&out, student_conn), 8);
    // The rules of ownership stay: a stranger takes nothing over.
    let stranger = Newcomer { session: secret('o'), ..hosted() };
    assert_eq!(server.refused(stranger), ErrorCode::UserIdTaken);
    let stranger = Newcomer { session: secret('o'), user: id("9998"), ..hosted() };
    assert_eq!(server.refused(stranger), ErrorCode::PublisherExists);
}

#[test]
fn a_publisher_is_told_at_once_that_the_server_carries_no_media_or_enough() {
    let mut server = with_rooms(0);
    server.let_in(student("1001"));
    assert_eq!(server.refused(hosted()), ErrorCode::MediaNotServed);
    server.let_in(teacher());
    let mut server = with_rooms(16);
    let of_room = |n: u32| {
        let session = format!("{n:t>16}").parse().unwrap();
        Newcomer { room: n.to_string().parse().unwrap(), session, ..hosted() }
    };
    let (mut hosts, mut full) = (0, 0);
    for n in 1..=100 {
        // An attack takes longer than the burst of rooms that one network may open.
        server.pass(Duration::from_secs(1));
        let (conn, out) = server.enter(of_room(n));
        match error_code(&out, conn) {
            None => {
                hosts += starts(&out).len();
                let host = server.attach(&n.to_string());
                server.say(host, connected(TEACHER));
            }
            Some(ErrorCode::ServerFull) => full += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((hosts, full), (16, 84));
    assert_eq!(server.rooms.summaries(server.now).len(), 16, "a refused publisher opens no room");
    server.let_in(Newcomer { epoch: 2, ..of_room(3) });
    server.let_in(Newcomer { media: MediaHost::Publisher, ..of_room(17) });
}

#[test]
fn a_host_that_fails_ends_the_media_and_the_publishers_next_offer_starts_another() {
    let mut server = with_rooms(1);
    let (watching, waiting) = (server.let_in(student("1001")), server.let_in(student("1002")));
    let (publisher, host) = server.host(hosted());
    server.say(host, connected("1001"));
    let out = server.rooms.handle(server.now, Input::Lost { conn: host });
    let hangup = [ServerMessage::Hangup { user_id: id(TEACHER) }];
    assert_eq!(
        (told(&out, publisher), told(&out, watching), told(&out, waiting)),
        (hangup.to_vec(), hangup.to_vec(), vec![])
    );
    let out = server.say(watching, offer_to(TEACHER));
    assert_eq!(error_code(&out, watching), Some(ErrorCode::TargetBusy), "not the publisher, who has no media");
    let other = Newcomer { room: "2".parse().unwrap(), ..hosted() };
    assert_eq!(server.refused(other), ErrorCode::ServerFull, "the room keeps its share");
    let out = server.say(publisher, offer_to(TEACHER));
    assert_eq!((starts(&out), error_code(&out, publisher)), (vec!["10013"], Some(ErrorCode::TargetBusy)), "{out:?}");
    assert_eq!(publisher_epoch(&out, watching), 2, "students offer again");
    let host = server.attach("10013");
    assert_eq!(told(&server.say(publisher, offer_to(TEACHER)), host).len(), 1);
    assert_eq!(closed(&server.say(host, ClientMessage::Leave { over: false })), [], "a host may end by itself");
    assert_eq!(error_code(&server.say(watching, offer_to(TEACHER)), watching), Some(ErrorCode::TargetBusy));
}

#[test]
fn a_host_that_starts_too_late_is_closed_at_once() {
    let mut server = with_rooms(1);
    let (publisher, out) = server.enter(hosted());
    assert_eq!(starts(&out), ["10013"]);
    server.say(publisher, ClientMessage::Leave { over: true });
    let late = Input::HostStarted { conn: ConnId(77), room: "10013".parse().unwrap(), publisher: Some(id(TEACHER)) };
    assert_eq!(closed(&server.rooms.handle(server.now, late)), [(ConnId(77), None)]);
}

#[test]
fn students_of_a_restarted_server_see_another_epoch_and_offer_again() {
    let epoch_at = |host_epochs| {
        let limits = RoomLimits { max_media_rooms: 1, host_epochs, ..RoomLimits::default() };
        let mut server = TestServer::with(limits);
        server.host(hosted());
        let (student_conn, out) = server.enter(student("1001"));
        publisher_epoch(&out, student_conn)
    };
    assert_eq!((epoch_at(0), epoch_at(70)), (1, 71));
}
