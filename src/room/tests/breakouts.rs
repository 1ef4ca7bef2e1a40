//! Breakout rooms of a meeting.

use std::collections::BTreeMap;

use super::calls::*;
use super::host::{starts, with_rooms};
use super::meetings::guest;
use super::*;
use crate::protocol::channel::{Moderation, PublisherMessage, StudentMessage};
use crate::protocol::{Breakouts, MAX_BREAKOUTS, MAX_MESH, MAX_PARTICIPANTS, MediaMove, RECALL_S, TrackName};

pub(super) fn split(rooms: u32) -> RoomOrder {
    RoomOrder::Split { rooms, assign: BTreeMap::new(), limit_s: None }
}

/// Splits with these members in these breakout rooms.
pub(super) fn by_hand(rooms: u32, assign: &[(&str, u32)]) -> RoomOrder {
    let assign = assign.iter().map(|(user, breakout)| (id(user), *breakout)).collect();
    RoomOrder::Split { rooms, assign, limit_s: None }
}

pub(super) fn visit(breakout: u32) -> ClientMessage {
    ClientMessage::Visit { breakout }
}

/// What a connection was told of the breakout rooms last.
pub(super) fn seen(out: &[Output], conn: ConnId) -> Option<Breakouts> {
    told(out, conn).into_iter().rev().find_map(|message| match message {
        ServerMessage::Breakouts(breakouts) => Some(breakouts),
        _ => None,
    })
}

pub(super) fn at(out: &[Output], conn: ConnId) -> u32 {
    seen(out, conn).unwrap_or_else(|| panic!("{conn:?} hears nothing in {out:?}")).at
}

pub(super) fn says(text: &str) -> ClientMessage {
    ClientMessage::Channel { message: StudentMessage::Msg { text: text.into(), to: None } }
}

/// The texts of the chat that a connection got.
pub(super) fn texts(out: &[Output], conn: ConnId) -> Vec<String> {
    let text = |message| match message {
        ServerMessage::Channel { message: PublisherMessage::Msg(message) } => vec![message.text.to_string()],
        ServerMessage::Channel { message: PublisherMessage::Welcome { history, .. } } => {
            history.iter().map(|message| message.text.to_string()).collect()
        }
        _ => vec![],
    };
    told(out, conn).into_iter().flat_map(text).collect()
}

impl TestServer {
    /// An order of the owner that is carried out, and what follows within a second.
    pub(super) fn ordered(&mut self, conn: ConnId, order: RoomOrder) -> Vec<Output> {
        let out = self.order(conn, order);
        assert_eq!(error_code(&out, conn), None, "{out:?}");
        [out, self.pass(SECOND)].concat()
    }

    pub(super) fn refuses(&mut self, conn: ConnId, message: ClientMessage) -> ErrorCode {
        let out = self.say(conn, message);
        error_code(&out, conn).unwrap_or_else(|| panic!("{out:?}"))
    }
}

#[test]
fn everybody_but_the_owner_is_moved_evenly_and_meets_only_its_own_group() {
    let mut server = TestServer::new();
    let conns = server.meeting(5);
    let out = server.ordered(conns[0], split(2));
    let owners = seen(&out, conns[0]).unwrap();
    assert_eq!((owners.rooms, owners.at, owners.own, owners.places.len()), (2, 0, None, 5));
    assert_eq!(listed(&out, conns[0]).unwrap(), ["1001"]);
    let mut groups = BTreeMap::<u32, Vec<usize>>::new();
    for (n, conn) in conns.iter().enumerate().skip(1) {
        let own = seen(&out, *conn).unwrap();
        assert_eq!((own.rooms, own.own, own.places.len()), (2, Some(own.at), 0), "others are none of its business");
        assert_eq!(owners.places[&id(&format!("{}", 1001 + n))], own.at);
        groups.entry(own.at).or_default().push(n);
    }
    assert_eq!(groups.values().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    let (ours, theirs) = (&groups[&1], &groups[&2]);
    for group in [ours, theirs] {
        let users: Vec<String> = group.iter().map(|n| format!("{}", 1001 + n)).collect();
        group.iter().for_each(|n| assert_eq!(listed(&out, conns[*n]).unwrap(), users, "{out:?}"));
        assert_eq!(last_list(&out, conns[group[0]]).unwrap().breakout, if group == ours { 1 } else { 2 });
    }
    // An offer reaches the own group, and nobody else, whatever number it names.
    let user = |n: usize| format!("{}", 1001 + n);
    let offer = |to: usize| {
        let entry = Some(entry(&out, conns[to], &user(to)));
        ClientMessage::Offer { target_uid: id(&user(to)), entry, sdp: "v=0".into(), video: None, tracks: None }
    };
    assert_eq!(told(&server.say(conns[ours[0]], offer(ours[1])), conns[ours[1]]).len(), 1);
    assert_eq!(server.say(conns[ours[0]], offer(theirs[0])), []);
    let summary = server.summary("10013").unwrap();
    assert_eq!((summary.participants, summary.watching, summary.breakouts), (5, 5, vec![2, 2]));
    assert!(server.rooms.summaries(server.now).len() == 1, "nobody can join a breakout room");
}

#[test]
fn the_owner_assigns_by_hand_and_moves_people_later() {
    let mut server = TestServer::new();
    let conns = server.meeting(5);
    let out = server.ordered(conns[0], by_hand(3, &[("1001", 1), ("1002", 3), ("1003", 3), ("1004", 0)]));
    let places = [0, 1, 2, 3].map(|n| at(&out, conns[n]));
    assert_eq!(places, [0, 3, 3, 0], "who moderates stays, and 0 is the meeting");
    assert!((1..=2).contains(&at(&out, conns[4])), "one of the smallest");
    let assign = |user: &str, breakout| RoomOrder::Assign { target_uid: id(user), breakout };
    let out = server.ordered(conns[0], assign("1002", 1));
    assert_eq!((at(&out, conns[1]), listed(&out, conns[2]).unwrap()), (1, vec!["1003".to_owned()]));
    assert_eq!(seen(&out, conns[0]).unwrap().places[&id("1002")], 1);
    assert_eq!(at(&server.ordered(conns[0], assign("1002", 0)), conns[1]), 0);
    for (order, code) in [
        (assign("1002", 4), ErrorCode::UnknownTarget),
        (assign("1009", 1), ErrorCode::UnknownTarget),
        (assign("1001", 1), ErrorCode::NotAllowed),
    ] {
        assert_eq!(server.refuses(conns[0], ClientMessage::Order(order)), code);
    }
}

#[test]
fn a_split_that_makes_no_sense_or_comes_from_others_is_refused() {
    let mut server = TestServer::new();
    let conns = server.meeting(4);
    let limit = |limit_s| RoomOrder::Split { rooms: 2, assign: BTreeMap::new(), limit_s: Some(limit_s) };
    let wrong = [split(0), split(1), split(5), split(MAX_BREAKOUTS + 1), split(u32::MAX), limit(0), limit(u32::MAX)];
    for order in wrong.into_iter().chain([by_hand(2, &[("1002", 3)])]) {
        assert_eq!(server.refuses(conns[0], ClientMessage::Order(order)), ErrorCode::NotAllowed);
    }
    let text = "five minutes".into();
    let orders = [split(2), RoomOrder::Recall { within_s: 0 }, RoomOrder::Announce { text }];
    for order in orders.iter().skip(1) {
        let code = server.refuses(conns[0], ClientMessage::Order(order.clone()));
        assert_eq!(code, ErrorCode::NotAllowed, "there are no breakout rooms");
    }
    for order in orders {
        assert_eq!(server.refuses(conns[1], ClientMessage::Order(order)), ErrorCode::NotAllowed);
    }
    assert_eq!(server.refuses(conns[1], visit(1)), ErrorCode::NotAllowed);
    let mut server = TestServer::new();
    let (one, _) = (server.let_in(caller("1001")), server.let_in(caller("1002")));
    assert_eq!(server.refuses(one, ClientMessage::Order(split(2))), ErrorCode::NotAllowed, "only for meetings");
}

#[test]
fn members_go_to_their_own_room_and_back_and_the_owner_anywhere() {
    let mut server = TestServer::new();
    let conns = server.meeting(3);
    server.ordered(conns[0], by_hand(2, &[("1002", 1), ("1003", 2)]));
    assert_eq!(server.refuses(conns[1], visit(2)), ErrorCode::NotAllowed, "uninvited");
    assert_eq!(server.refuses(conns[1], visit(3)), ErrorCode::UnknownTarget);
    let out = [server.say(conns[1], visit(0)), server.pass(SECOND)].concat();
    assert_eq!((at(&out, conns[1]), listed(&out, conns[0]).unwrap()), (0, vec!["1001".into(), "1002".into()]));
    let out = [server.say(conns[1], visit(1)), server.pass(SECOND)].concat();
    assert_eq!(listed(&out, conns[1]).unwrap(), ["1002"]);
    for (breakout, other) in [(1, "1002"), (2, "1003")] {
        let out = [server.say(conns[0], visit(breakout)), server.pass(SECOND)].concat();
        assert_eq!(listed(&out, conns[0]).unwrap(), [other, "1001"]);
        let moderates = told(&out, conns[1]).iter().any(|message| matches!(message, ServerMessage::Join { .. }));
        assert!(!moderates, "nobody else gets rights");
    }
    let out = [server.say(conns[0], visit(0)), server.pass(SECOND)].concat();
    assert_eq!(listed(&out, conns[2]).unwrap(), ["1003"]);
    // Whoever goes to and fro has to wait.
    let refused = (0..40).filter(|n| error_code(&server.say(conns[1], visit(n % 2)), conns[1]).is_some()).count();
    assert!(refused > 25, "{refused}");
}

#[test]
fn a_reload_stays_in_the_room_and_a_newcomer_gets_the_smallest_one() {
    let mut server = TestServer::new();
    let conns = server.meeting(4);
    server.ordered(conns[0], by_hand(2, &[("1002", 1), ("1003", 1), ("1004", 2)]));
    let (two, out) = server.enter(Newcomer { epoch: 2, ..guest("1002") });
    assert_eq!((at(&out, two), listed(&out, two).unwrap()), (1, vec!["1003".to_owned()]));
    let out = [server.say(two, participate()), server.pass(SECOND)].concat();
    assert_eq!(listed(&out, conns[2]).unwrap(), ["1003", "1002"]);
    let (five, out) = server.enter(guest("1005"));
    assert_eq!((at(&out, five), seen(&out, five).unwrap().own), (2, Some(2)));
    assert_eq!(listed(&out, five).unwrap(), ["1004"]);
    server.say(five, participate());
    server.say(five, ClientMessage::Leave { over: false });
    server.pass(60 * SECOND);
    let (six, out) = server.enter(guest("1006"));
    assert_eq!(at(&out, six), 2);
    let (five, out) = server.enter(guest("1005"));
    assert_eq!(at(&out, five), 2, "its group waits");
    // The gate is that of the room.
    server.order(conns[0], RoomOrder::Lock { locked: true });
    assert_eq!(server.refused(guest("1007")), ErrorCode::RoomLocked);
    let out = server.order(conns[0], RoomOrder::Ban { target_uid: id("1005") });
    assert_eq!(closed(&out), [(five, Some(ErrorCode::Removed))]);
    assert_eq!(server.refused(guest("1005")), ErrorCode::Removed);
}

/// Ends the breakout rooms of these members in some way.
type Recall = fn(&mut TestServer, &[ConnId]) -> Vec<Output>;

#[test]
fn everybody_is_back_after_the_countdown_or_the_limit_or_when_the_owner_has_left() {
    let recalls: [Recall; 3] = [
        |server, conns| {
            server.ordered(conns[0], split(2));
            server.ordered(conns[0], RoomOrder::Recall { within_s: RECALL_S })
        },
        |server, conns| {
            let limit_s = Some(RECALL_S);
            server.ordered(conns[0], RoomOrder::Split { rooms: 2, assign: BTreeMap::new(), limit_s })
        },
        |server, conns| {
            server.ordered(conns[0], split(2));
            [server.say(conns[0], ClientMessage::Leave { over: false }), server.pass(SECOND)].concat()
        },
    ];
    for (way, recall) in recalls.into_iter().enumerate() {
        let mut server = TestServer::new();
        let conns = server.meeting(5);
        let out = recall(&mut server, &conns);
        let last = seen(&out, conns[1]).unwrap();
        assert!(last.at > 0 && last.is_recalled == (way != 1), "{last:?}");
        assert!(last.ends_in_ms.unwrap() >= 28_000, "{last:?}");
        let out = server.pass(Duration::from_secs(RECALL_S.into()));
        let all: Vec<String> = (if way == 2 { 1002 } else { 1001 }..=1005).map(|user: u32| user.to_string()).collect();
        for conn in &conns[1..] {
            assert_eq!(seen(&out, *conn), Some(Breakouts::default()), "way {way}");
            let mut list = listed(&out, *conn).unwrap();
            list.sort();
            assert_eq!(list, all, "way {way}");
        }
        assert_eq!(server.summary("10013").unwrap().breakouts, [0_usize; 0]);
        assert_eq!(server.refuses(conns[1], visit(1)), ErrorCode::NotAllowed);
    }
    let mut server = TestServer::new();
    let conns = server.meeting(3);
    server.ordered(conns[0], split(2));
    let out = server.ordered(conns[0], RoomOrder::Recall { within_s: 0 });
    assert_eq!(listed(&out, conns[1]).unwrap().len(), 3, "at once");
    server.ordered(conns[0], split(2));
    let out = server.ordered(conns[0], RoomOrder::End);
    assert_eq!((seen(&out, conns[1]).unwrap().rooms, listed(&out, conns[1]).unwrap().len()), (0, 0));
    assert_eq!(closed(&out), [], "the members stay in the room");
}

#[test]
fn each_room_has_a_chat_of_its_own_under_the_same_rules() {
    let mut server = TestServer::new();
    let conns = server.meeting(4);
    server.say(conns[1], says("before"));
    let muted = Moderation::Mute { user_id: id("1004") };
    server.say(conns[0], ClientMessage::Channel { message: StudentMessage::Moderate(muted) });
    let out = server.ordered(conns[0], by_hand(2, &[("1002", 1), ("1003", 1), ("1004", 2)]));
    assert!(texts(&out, conns[1]).is_empty(), "{out:?}");
    let out = server.say(conns[1], says("ours"));
    let heard = [0, 1, 2, 3].map(|n| texts(&out, conns[n]).len());
    assert_eq!(heard, [0, 1, 1, 0]);
    assert!(texts(&server.say(conns[3], says("theirs")), conns[3]).is_empty(), "who is muted stays so");
    let private = StudentMessage::Msg { text: "psst".into(), to: Some(id("1004")) };
    let out = server.say(conns[1], ClientMessage::Channel { message: private });
    assert!(told(&out, conns[3]).is_empty(), "nobody writes into another room");
    let out = server.ordered(conns[0], RoomOrder::Announce { text: "five minutes".into() });
    for conn in &conns {
        assert_eq!(texts(&out, *conn), ["five minutes"]);
        let is_told = |message: &ServerMessage| matches!(message, ServerMessage::Announcement { .. });
        assert!(told(&out, *conn).iter().any(is_told));
    }
    let out = server.say(conns[0], visit(1));
    assert_eq!(texts(&out, conns[0]), ["ours", "five minutes"], "who comes reads what was written");
    server.pass(SECOND);
    // Nothing is kept of a room that all have left.
    for n in [0, 1, 2] {
        server.say(conns[n], visit(0));
    }
    assert!(texts(&server.say(conns[1], visit(1)), conns[1]).is_empty());
    let out = server.ordered(conns[0], RoomOrder::Recall { within_s: 0 });
    assert_eq!(texts(&out, conns[3]), ["before", "five minutes"]);
}

/// A meeting of this many on the server, with its host.
fn on_server(participants: usize) -> (TestServer, Vec<ConnId>, ConnId) {
    let mut server = with_rooms(1);
    let mut conns = server.meeting(MAX_MESH);
    let mut host = None;
    for n in MAX_MESH..participants {
        conns.push(server.let_in(guest(&format!("{}", 1001 + n))));
        server.say(conns[n], participate());
        host.get_or_insert_with(|| server.attach("10013"));
        server.pass(SECOND);
    }
    (server, conns, host.unwrap())
}

#[test]
fn the_server_carries_the_rooms_of_a_large_meeting_and_keeps_them_apart() {
    let (mut server, conns, host) = on_server(9);
    let assign: Vec<(String, u32)> = (1002..=1009).map(|user| (user.to_string(), 1 + user % 2)).collect();
    let assign: Vec<(&str, u32)> = assign.iter().map(|(user, at)| (user.as_str(), *at)).collect();
    let out = server.ordered(conns[0], by_hand(2, &assign));
    let lists: BTreeMap<u32, (MediaHost, usize)> = told(&out, host)
        .into_iter()
        .filter_map(|message| match message {
            ServerMessage::Participants(list) => Some((list.breakout, (list.media, list.participants.len()))),
            _ => None,
        })
        .collect();
    let server_has = |count| (MediaHost::Server, count);
    assert_eq!(lists, BTreeMap::from([(0, server_has(1)), (1, server_has(4)), (2, server_has(4))]), "{out:?}");
    // 1002 and 1004 are together, and 1003 is elsewhere.
    assert_eq!(told(&server.say(conns[1], offer_to("1004")), host).len(), 1);
    assert_eq!(server.refuses(conns[1], offer_to("1003")), ErrorCode::UnknownTarget);
    let (target_uid, sdp) = (id("1002"), "v=0".into());
    let answer = ClientMessage::Answer { target_uid, sdp, entry: None, source: Some(id("1004")) };
    assert_eq!(told(&server.say(host, answer), conns[1]).len(), 1);
    let out = server.ordered(conns[0], RoomOrder::Recall { within_s: 0 });
    let list = last_list(&out, conns[8]).unwrap();
    assert_eq!((list.media, list.participants.len(), closed(&out)), (MediaHost::Server, 9, vec![]), "the same host");
    server.ordered(conns[0], RoomOrder::End);
    assert_eq!(server.rooms.handle(server.now, Input::Lost { conn: host }), [], "it has ended");
}

#[test]
fn the_server_carries_as_many_in_all_rooms_as_in_one_meeting() {
    let (mut server, conns, _) = on_server(MAX_PARTICIPANTS);
    server.ordered(conns[0], split(2));
    let late = server.let_in(guest("2001"));
    assert_eq!(server.refuses(late, participate()), ErrorCode::MeetingFull);
    server.say(conns[1], hangup("1002"));
    assert_eq!(error_code(&server.say(late, participate()), late), None);
}

#[test]
fn more_come_back_than_connect_to_each_other_and_the_server_carries_them() {
    for places in [1, 0] {
        let mut server = with_rooms(places);
        let conns: Vec<_> = (1001..=1010).map(|user| server.let_in(guest(&user.to_string()))).collect();
        server.ordered(conns[0], split(3));
        for conn in &conns[1..] {
            assert_eq!(error_code(&server.say(*conn, participate()), *conn), None);
        }
        assert_eq!(server.summary("10013").unwrap().breakouts, [3, 3, 3]);
        let out = server.order(conns[0], RoomOrder::Recall { within_s: 0 });
        let out = [out, server.pass(SECOND)].concat();
        let list = last_list(&out, conns[1]).unwrap();
        if places == 1 {
            assert_eq!(starts(&out), ["10013"]);
            assert_eq!((list.media, list.moved), (MediaHost::Server, Some(MediaMove::Size)));
            assert_eq!(list.participants.len(), 9);
        } else {
            assert_eq!((list.media, list.participants.len()), (MediaHost::Publisher, MAX_MESH));
            let out_of = conns.iter().filter(|conn| error_code(&out, **conn) == Some(ErrorCode::MeetingFull)).count();
            assert_eq!(out_of, 3, "the others are told");
        }
    }
}

#[test]
fn full_rooms_change_places_and_a_visit_moves_one_to_the_server() {
    let mut server = with_rooms(1);
    let conns: Vec<_> = (1001..=1013).map(|user| server.let_in(guest(&user.to_string()))).collect();
    let halves = |first| (1002..=1013).map(move |user| (user.to_string(), if user < 1008 { first } else { 3 - first }));
    for first in [1, 2] {
        let assign: Vec<(String, u32)> = halves(first).collect();
        let assign: Vec<(&str, u32)> = assign.iter().map(|(user, at)| (user.as_str(), *at)).collect();
        let out = server.ordered(conns[0], by_hand(2, &assign));
        assert_eq!(at(&out, conns[1]), first);
        if first == 1 {
            conns[1..].iter().for_each(|conn| _ = server.say(*conn, participate()));
        }
        assert_eq!(server.summary("10013").unwrap().breakouts, [6, 6]);
        server.pass(60 * SECOND);
    }
    server.say(conns[0], participate());
    let out = [server.say(conns[0], visit(2)), server.pass(SECOND)].concat();
    assert_eq!((starts(&out), listed(&out, conns[0]).unwrap().len()), (vec!["10013"], 7));
    assert_eq!(last_list(&out, conns[1]).unwrap().media, MediaHost::Server);
}

#[test]
fn a_thousand_splits_leave_nothing_behind() {
    let mut server = TestServer::new();
    let conns = server.meeting(6);
    let (mut carried_out, mut heard) = (0, 0);
    for n in 0..1_000 {
        let out = server.order(conns[0], split(2 + n % 5));
        carried_out += u32::from(error_code(&out, conns[0]).is_none());
        let out = [out, server.pass(Duration::from_millis(10))].concat();
        heard += told(&out, conns[1]).len();
    }
    assert!((5..=30).contains(&carried_out), "{carried_out} splits in 10 s");
    assert!(heard < 300, "{heard} messages");
    let summary = server.summary("10013").unwrap();
    assert_eq!((summary.participants, summary.breakouts.iter().sum::<usize>()), (6, 5), "nobody is lost: {summary:?}");
    server.ordered(conns[0], RoomOrder::Recall { within_s: 0 });
    let out = server.say(conns[1], ClientMessage::Participate { sends: vec![TrackName::Screen] });
    assert_eq!(listed(&[out, server.pass(SECOND)].concat(), conns[2]).unwrap().len(), 6);
    conns.iter().for_each(|conn| _ = server.say(*conn, ClientMessage::Leave { over: false }));
    assert!(!server.has_room("10013"));
}
