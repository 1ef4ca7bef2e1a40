//! Meetings, and the owners of their rooms.

use super::calls::*;
use super::*;
use crate::protocol::{MAX_MESH, Participants, RING_S, RoomInfo, TrackName};

pub(super) fn guest(user: &str) -> Newcomer {
    person(user, RoomKind::Meeting)
}

/// What a connection was told of the room last.
fn room(out: &[Output], conn: ConnId) -> Option<RoomInfo> {
    told(out, conn).into_iter().rev().find_map(|message| match message {
        ServerMessage::Room(info) => Some(info),
        _ => None,
    })
}

fn owner(out: &[Output], conn: ConnId) -> Option<String> {
    room(out, conn)?.owner.map(|owner| owner.to_string())
}

impl TestServer {
    /// A meeting room with members from 1001 on, who all take part.
    pub(super) fn meeting(&mut self, members: usize) -> Vec<ConnId> {
        let conns: Vec<_> = (1..=members).map(|n| self.let_in(guest(&format!("{}", 1000 + n)))).collect();
        for conn in &conns {
            let out = self.say(*conn, participate());
            assert_eq!(error_code(&out, *conn), None, "{out:?}");
            self.pass(SECOND);
        }
        conns
    }
}

#[test]
fn members_enter_and_leave_the_meeting_and_everybody_hears_of_it() {
    let mut server = TestServer::new();
    let (one, out) = server.enter(guest("1001"));
    let told_first = told(&out, one);
    assert!(matches!(&told_first[0], ServerMessage::Joined { kind: RoomKind::Meeting, .. }), "{told_first:?}");
    let info = RoomInfo {
        kind: RoomKind::Meeting,
        name: None,
        owner: Some(id("1001")),
        is_locked: false,
        is_calling: false,
        is_spotlight_restricted: false,
        most: MAX_MESH,
    };
    assert_eq!(told_first[1..3], [ServerMessage::Room(info), ServerMessage::Participants(Participants::default())]);
    let two = server.let_in(Newcomer { kind: None, ..guest("1002") });
    let three = server.let_in(guest("1003"));
    let out = server.say(two, participate());
    for conn in [one, two, three] {
        assert_eq!(listed(&out, conn).unwrap(), ["1002"], "{out:?}");
    }
    server.say(one, participate());
    let out = server.pass(SECOND);
    assert_eq!(listed(&out, three).unwrap(), ["1002", "1001"], "in the order in which they entered");
    let out = server.say(one, ClientMessage::Participate { sends: vec![TrackName::Screen] });
    assert_eq!(last_list(&out, two).unwrap().participants[1].sends, [TrackName::Screen]);
    server.pass(SECOND);
    let out = server.say(two, hangup("1002"));
    assert_eq!(listed(&out, two).unwrap(), ["1001"]);
    assert_eq!(server.summary("10013").unwrap().participants, 1);
}

#[test]
fn a_participant_that_changes_often_is_told_of_a_few_times() {
    let mut server = TestServer::new();
    let conns = server.meeting(3);
    let mut lists = 0;
    for n in 0..500 {
        let sends = if n % 2 == 0 { vec![] } else { vec![TrackName::Camera] };
        let mut out = server.say(conns[0], ClientMessage::Participate { sends });
        out.extend(server.pass(Duration::from_millis(20)));
        lists += told(&out, conns[1]).len();
    }
    assert!((10..=40).contains(&lists), "{lists} lists in 10 s");
    let out = server.pass(2 * SECOND);
    let last = last_list(&out, conns[1]).unwrap();
    assert_eq!(last.participants[0].sends, [TrackName::Camera], "the last change arrives");
}

#[test]
fn the_seventh_participant_has_no_place_without_a_server_that_carries_media() {
    let mut server = TestServer::new();
    server.meeting(MAX_MESH);
    let seventh = server.let_in(guest("1007"));
    let out = server.say(seventh, participate());
    assert_eq!(error_code(&out, seventh), Some(ErrorCode::MeetingFull));
    assert_eq!(closed(&out), [], "it may wait in the room");
}

#[test]
fn who_may_teach_opens_meetings_unless_the_server_says_otherwise() {
    let mut server = TestServer::new();
    assert_eq!(server.refused(guest("1002")), ErrorCode::RoomNotOpen);
    assert!(!server.has_room("10013"));
    server.let_in(guest("1001"));
    server.let_in(guest("1002"));
    let code =
        |meetings, newcomer| TestServer::with(RoomLimits { meetings, ..RoomLimits::default() }).refused(newcomer);
    assert_eq!(code(Meetings::Off, guest("1001")), ErrorCode::WrongKind);
    let mut server = TestServer::with(RoomLimits { meetings: Meetings::Anyone, ..RoomLimits::default() });
    let (two, out) = server.enter(guest("1002"));
    assert_eq!(owner(&out, two).unwrap(), "1002");
}

#[test]
fn nobody_teaches_in_a_meeting_and_nobody_meets_in_a_lecture() {
    let mut server = TestServer::new();
    server.let_in(guest("1001"));
    let (conn, out) = server.enter(teacher());
    let message = told(&out, conn);
    let is_named = |text: &str| text.contains("classroom meet");
    assert!(
        matches!(&message[0], ServerMessage::Error { code: ErrorCode::WrongKind, message, .. } if is_named(message)),
        "{message:?}"
    );
    let mut server = TestServer::new();
    server.join(TEACHER);
    let (one, out) = server.enter(guest("1001"));
    assert!(matches!(told(&out, one)[0], ServerMessage::Joined { kind: RoomKind::Lecture, .. }));
    for message in [participate(), call("1002"), ClientMessage::CallAll] {
        assert_eq!(error_code(&server.say(one, message), one), Some(ErrorCode::NotAllowed));
    }
}

#[test]
fn a_room_in_which_guests_wait_becomes_a_meeting_when_it_is_opened() {
    let mut server = TestServer::new();
    let early = server.let_in(student("1002"));
    let (one, out) = server.enter(guest("1001"));
    assert_eq!((room(&out, early).unwrap().kind, owner(&out, early).unwrap()), (RoomKind::Meeting, "1001".into()));
    server.say(one, participate());
    let out = [server.say(early, participate()), server.pass(SECOND)].concat();
    assert_eq!(listed(&out, one).unwrap(), ["1001", "1002"]);
}

#[test]
fn a_created_room_belongs_to_the_first_who_may_open_one() {
    let mut server = TestServer::new();
    let (room_id, name) = ("10013".parse().unwrap(), "Staff".parse().unwrap());
    let creation = Creation { room_id, name, kind: RoomKind::Meeting, network: network(), may_teach: true };
    assert_eq!(server.rooms.create(server.now, creation), Ok(vec![]));
    server.pass(3_600 * SECOND);
    let (two, out) = server.enter(Newcomer { kind: None, ..guest("1002") });
    assert_eq!((room(&out, two).unwrap().owner, room(&out, two).unwrap().name), (None, "Staff".parse().ok()));
    let (_, out) = server.enter(guest("1001"));
    assert_eq!(owner(&out, two).unwrap(), "1001");
}

#[test]
fn the_owner_moderates_and_the_next_one_is_who_is_there_for_longest() {
    let mut server = TestServer::new();
    let [one, two, three] = ["1001", "1002", "1003"].map(|user| server.let_in(guest(user)));
    server.pass(SECOND);
    let lock = RoomOrder::Lock { locked: true };
    assert_eq!(error_code(&server.order(two, lock.clone()), two), Some(ErrorCode::NotAllowed));
    let out = server.order(one, lock);
    assert!(room(&out, three).unwrap().is_locked, "{out:?}");
    assert_eq!(server.refused(guest("1004")), ErrorCode::RoomLocked);
    server.order(one, RoomOrder::Rename { name: "Staff".parse().unwrap() });
    let out = server.pass(SECOND);
    assert_eq!(room(&out, two).unwrap().name, "Staff".parse().ok());

    server.lose(one);
    assert_eq!(server.pass(protocol::RESUME_GRACE - SECOND), [], "a lost owner may come back");
    let (one, out) = server.enter(guest("1001"));
    assert_eq!(owner(&out, one).unwrap(), "1001");
    server.lose(one);
    let out = server.pass(protocol::RESUME_GRACE + SECOND);
    assert_eq!(owner(&out, three).unwrap(), "1002");
    let moderates = |out: &[Output], conn, user: &str| {
        told(out, conn).into_iter().rev().find_map(|message| match message {
            ServerMessage::Join { users } => users.into_iter().find(|known| known.user_id == id(user)),
            _ => None,
        })
    };
    assert!(moderates(&out, three, "1002").unwrap().moderates, "{out:?}");

    let hand_over = |user: &str| RoomOrder::HandOver { target_uid: id(user) };
    assert_eq!(error_code(&server.order(two, hand_over("1009")), two), Some(ErrorCode::UnknownTarget));
    let out = [server.order(two, hand_over("1003")), server.pass(SECOND)].concat();
    assert_eq!(owner(&out, two).unwrap(), "1003");
    assert!(!moderates(&out, three, "1002").unwrap().moderates);
    let out = server.order(three, RoomOrder::Kick { target_uid: id("1002") });
    assert_eq!(closed(&out), [(two, Some(ErrorCode::Removed))]);
    assert_eq!(
        error_code(&server.order(three, RoomOrder::Kick { target_uid: id("1003") }), three),
        Some(ErrorCode::NotAllowed)
    );
    assert_eq!(server.summary("10013").unwrap().owner.unwrap().user_id, id("1003"));
}

#[test]
fn a_code_and_a_lobby_keep_people_out_of_a_meeting() {
    let mut server = TestServer::new();
    let settings = RoomSettings { code: Some("472913".into()), ..RoomSettings::default() };
    let one = server.let_in(Newcomer { settings: Some(settings), ..guest("1001") });
    assert_eq!(server.refused(guest("1002")), ErrorCode::CodeRequired);
    server.let_in(Newcomer { code: Some("472913".into()), ..guest("1002") });
    server.order(one, RoomOrder::Code { code: None });
    server.order(one, RoomOrder::Lobby { lobby: true });
    let (three, out) = server.enter(guest("1003"));
    assert!(waits(&out, three));
    assert_eq!(error_code(&server.say(three, participate()), three), Some(ErrorCode::NotAllowed));
    let out = server.order(one, RoomOrder::Admit { target_uid: Some(id("1003")) });
    assert!(is_in(&out, three));
}

#[test]
fn the_owner_calls_all_who_take_no_part() {
    let mut server = TestServer::new();
    let conns = server.meeting(2);
    let [three, four, five] = ["1003", "1004", "1005"].map(|user| server.let_in(guest(user)));
    server.pass(SECOND);
    assert_eq!(error_code(&server.say(three, ClientMessage::CallAll), three), Some(ErrorCode::NotAllowed));
    let out = server.say(conns[0], ClientMessage::CallAll);
    let rings =
        |out: &[Output], conn| told(out, conn).iter().any(|message| matches!(message, ServerMessage::Call { .. }));
    assert!([three, four, five].into_iter().all(|conn| rings(&out, conn)) && !rings(&out, conns[1]), "{out:?}");
    assert!(room(&out, conns[1]).unwrap().is_calling);
    server.pass(SECOND);
    let (six, out) = server.enter(guest("1006"));
    assert!(rings(&out, six), "who comes while it rings hears it");
    let out = server.say(three, accept("1001"));
    assert_eq!(listed(&out, three).unwrap(), ["1001", "1002", "1003"]);
    assert_eq!(told(&out, conns[0])[0], ServerMessage::Accept { user_id: id("1003") });
    let reason = protocol::DeclineReason::Declined;
    let out = server.say(four, ClientMessage::Decline { target_uid: id("1001"), reason });
    assert_eq!(told(&out, conns[0]), [ServerMessage::Decline { user_id: id("1004"), reason }]);
    let out = server.pass(Duration::from_secs(RING_S));
    assert!(told(&out, five).contains(&ServerMessage::Hangup { user_id: id("1001") }), "{out:?}");
    assert!(!room(&out, conns[0]).unwrap().is_calling);
}

#[test]
fn the_owner_ends_the_meeting_and_the_members_stay() {
    let mut server = TestServer::new();
    let conns = server.meeting(3);
    let out = [server.order(conns[0], RoomOrder::End), server.pass(SECOND)].concat();
    assert_eq!((listed(&out, conns[2]).unwrap(), closed(&out)), (vec![], vec![]));
    let summary = server.summary("10013").unwrap();
    assert_eq!((summary.state, summary.watching, summary.participants), (RoomState::Ended, 3, 0));
    server.say(conns[1], participate());
    assert_eq!(server.summary("10013").unwrap().state, RoomState::Live, "the next meeting");
}

#[test]
fn an_empty_meeting_room_goes_at_once_or_waits_for_those_who_were_lost() {
    let mut server = TestServer::new();
    let conns = server.meeting(2);
    conns.iter().for_each(|conn| _ = server.say(*conn, ClientMessage::Leave { over: false }));
    assert!(!server.has_room("10013"));
    let conns = server.meeting(2);
    conns.iter().for_each(|conn| server.lose(*conn));
    server.pass(60 * SECOND);
    let (two, out) = server.enter(guest("1002"));
    assert!(is_in(&out, two), "the whole school was offline: {out:?}");
}

#[test]
fn a_running_meeting_of_guests_gives_way_to_nobody() {
    let limits = RoomLimits { meetings: Meetings::Anyone, max_rooms: 4, ..RoomLimits::default() };
    let mut server = TestServer::with(limits);
    let in_room = |room: &str, user: &str| Newcomer { room: room.parse().unwrap(), ..guest(user) };
    let conns = ["1002", "1003"].map(|user| server.let_in(in_room("1", user)));
    conns.iter().for_each(|conn| _ = server.say(*conn, participate()));
    let far = Newcomer { network: network_of("198.51.100.7"), ..in_room("2", "1004") };
    assert_eq!(server.refused(far), ErrorCode::ServerFull);
    assert!(server.has_room("1"));
}

#[test]
fn those_who_moderate_switch_a_microphone_off_and_nobody_switches_one_on() {
    let mut server = TestServer::new();
    let conns = server.meeting(3);
    let mute = |user: &str| RoomOrder::MuteMicrophone { target_uid: Some(id(user)) };
    let sends = |tracks: &[TrackName]| ClientMessage::Participate { sends: tracks.to_vec() };
    let ordered = |out: &[Output], conn| told(out, conn).iter().any(|m| matches!(m, ServerMessage::Order { .. }));
    server.say(conns[1], sends(&[TrackName::Audio, TrackName::Camera]));
    server.pass(SECOND);
    assert_eq!(error_code(&server.order(conns[2], mute("1002")), conns[2]), Some(ErrorCode::NotAllowed), "no owner");
    let out = server.order(conns[0], mute("1002"));
    let order = ServerMessage::Order { user_id: id("1001"), order: mute("1002") };
    assert_eq!(told(&out, conns[1]), std::slice::from_ref(&order));
    assert_eq!(told(&out, conns[0]), [order], "who moderates hears that it is carried out");
    assert!(!ordered(&out, conns[2]), "nobody else hears of it");
    server.say(conns[1], sends(&[TrackName::Camera]));
    server.pass(SECOND);
    let out = server.order(conns[0], mute("1002"));
    assert_eq!((error_code(&out, conns[0]), ordered(&out, conns[1])), (Some(ErrorCode::NotAllowed), false));
    let out = server.order(conns[0], mute("1009"));
    assert_eq!(error_code(&out, conns[0]), Some(ErrorCode::UnknownTarget));
    for conn in &conns {
        server.say(*conn, sends(&[TrackName::Audio]));
    }
    server.pass(SECOND);
    let all = RoomOrder::MuteMicrophone { target_uid: None };
    let out = server.order(conns[0], all.clone());
    for (conn, order) in [(conns[0], all), (conns[1], mute("1002")), (conns[2], mute("1003"))] {
        assert_eq!(told(&out, conn), [ServerMessage::Order { user_id: id("1001"), order }], "the owner stays heard");
    }
    let mut calls = TestServer::new();
    let owner = calls.let_in(person("1001", RoomKind::Call));
    calls.let_in(person("1002", RoomKind::Call));
    assert_eq!(error_code(&calls.order(owner, mute("1002")), owner), Some(ErrorCode::NotAllowed));
}
