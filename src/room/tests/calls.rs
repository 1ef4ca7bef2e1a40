//! Calls in a call room.

use super::*;
use crate::protocol::{DeclineReason, Participants, RING_S, TrackName};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A member of a room of this kind; 1001 may open it.
pub(super) fn person(user: &str, kind: RoomKind) -> Newcomer {
    Newcomer { kind: Some(kind), may_teach: user == "1001", ..student(user) }
}

pub(super) fn caller(user: &str) -> Newcomer {
    person(user, RoomKind::Call)
}

pub(super) fn call(target: &str) -> ClientMessage {
    ClientMessage::Call { target_uid: id(target), sends: vec![TrackName::Audio] }
}

pub(super) fn accept(target: &str) -> ClientMessage {
    ClientMessage::Accept { target_uid: id(target), sends: vec![TrackName::Camera] }
}

pub(super) fn hangup(target: &str) -> ClientMessage {
    ClientMessage::Hangup { target_uid: id(target), source: None }
}

pub(super) fn participate() -> ClientMessage {
    ClientMessage::Participate { sends: vec![TrackName::Audio] }
}

fn decline(target: &str, reason: DeclineReason) -> ClientMessage {
    ClientMessage::Decline { target_uid: id(target), reason }
}

fn declined(user: &str, reason: DeclineReason) -> ServerMessage {
    ServerMessage::Decline { user_id: id(user), reason }
}

fn hung_up(user: &str) -> ServerMessage {
    ServerMessage::Hangup { user_id: id(user) }
}

/// The last list that this connection got.
pub(super) fn last_list(out: &[Output], conn: ConnId) -> Option<Participants> {
    told(out, conn).into_iter().rev().find_map(|message| match message {
        ServerMessage::Participants(list) => Some(list),
        _ => None,
    })
}

/// The users of the last list that this connection got.
pub(super) fn listed(out: &[Output], conn: ConnId) -> Option<Vec<String>> {
    let list = last_list(out, conn)?;
    Some(list.participants.into_iter().map(|participant| participant.user_id.to_string()).collect())
}

/// The entry of a user in the last list that this connection got.
pub(super) fn entry(out: &[Output], conn: ConnId, user: &str) -> u32 {
    let list = last_list(out, conn).unwrap_or_else(|| panic!("{out:?}"));
    let known = list.participants.iter().find(|participant| participant.user_id == id(user));
    known.unwrap_or_else(|| panic!("{list:?}")).entry
}

impl TestServer {
    /// Three members of a call room.
    fn three() -> (Self, [ConnId; 3]) {
        let mut server = Self::new();
        let conns = ["1001", "1002", "1003"].map(|user| server.let_in(caller(user)));
        // The lists of members are out.
        server.pass(SECOND);
        (server, conns)
    }

    /// A call between 1001 and 1002, and another member.
    pub(super) fn in_call() -> (Self, [ConnId; 3]) {
        let (mut server, conns) = Self::three();
        server.say(conns[0], call("1002"));
        let out = server.say(conns[1], accept("1001"));
        assert_eq!(listed(&out, conns[0]).unwrap(), ["1001", "1002"]);
        server.pass(SECOND);
        (server, conns)
    }
}

#[test]
fn a_call_rings_is_taken_and_ends_for_both() {
    let (mut server, [one, two, three]) = TestServer::three();
    let out = server.say(one, call("1002"));
    let sends = vec![TrackName::Audio];
    let rings = ServerMessage::Call { user_id: id("1001"), nickname: "N-1001".into(), sends };
    assert_eq!((told(&out, two), out.len()), (vec![rings], 1));
    let out = server.say(two, accept("1001"));
    assert_eq!(told(&out, one)[0], ServerMessage::Accept { user_id: id("1002") });
    let lists = [one, two, three].map(|conn| last_list(&out, conn));
    assert!(lists[0] == lists[1] && lists[2].is_none(), "only the two learn of their call: {out:?}");
    let list = lists[0].clone().unwrap().participants;
    let sends: Vec<_> = list.iter().map(|participant| participant.sends.clone()).collect();
    assert_eq!(sends, [vec![TrackName::Audio], vec![TrackName::Camera]]);
    assert!(list[1].entry > list[0].entry, "the callee makes the first offer");
    let summary = server.summary("10013").unwrap();
    assert_eq!((summary.state, summary.participants, summary.watching), (RoomState::Live, 2, 3));
    let out = server.say(two, hangup("1001"));
    assert_eq!(told(&out, one), [hung_up("1002"), ServerMessage::Participants(Participants::default())]);
    assert_eq!(told(&out, two), [ServerMessage::Participants(Participants::default())]);
    assert_eq!(server.say(one, hangup("1002")), [], "both hang up at once");
    assert_eq!(server.summary("10013").unwrap().state, RoomState::Waiting);
}

#[test]
fn offers_that_go_nowhere_keep_nobody_of_the_same_network_from_offering() {
    let (mut server, [one, two, three]) = TestServer::three();
    server.say(one, call("1002"));
    let out = server.say(two, accept("1001"));
    let (caller, callee) = (entry(&out, one, "1001"), entry(&out, one, "1002"));
    let offer = |target: &str, entry| {
        let entry = Some(entry);
        ClientMessage::Offer { target_uid: id(target), sdp: "v=0".into(), entry, video: None, tracks: None }
    };
    for _ in 0..5_000 {
        assert_eq!(server.say(one, offer("1002", callee + 1)), [], "an entry that is gone");
        assert_eq!(error_code(&server.say(three, offer("1002", callee)), three), Some(ErrorCode::NotAllowed));
    }
    assert_eq!(told(&server.say(two, offer("1001", caller)), one).len(), 1);
    let relayed = (0..500).filter(|_| !told(&server.say(one, offer("1002", callee)), two).is_empty()).count();
    assert_eq!(relayed, protocol::PARTICIPANT_OFFER_BURST as usize, "one participant alone");
    assert_eq!(error_code(&server.say(one, offer("1002", callee)), one), Some(ErrorCode::TargetBusy));
    assert_eq!(told(&server.say(two, offer("1001", caller)), one).len(), 1, "the other one may offer");
}

#[test]
fn a_call_that_does_not_come_about_says_why() {
    let (mut server, [one, two, three]) = TestServer::three();
    let out = server.say(one, call("1009"));
    assert_eq!(error_code(&out, one), Some(ErrorCode::UnknownTarget), "at once");
    assert_eq!(error_code(&server.say(one, call("1001")), one), Some(ErrorCode::NotAllowed));
    server.say(one, call("1002"));
    assert_eq!(server.say(one, call("1002")), [], "it rings already");
    assert_eq!(
        server.say(three, call("1002")),
        [Output::Send { to: three, message: declined("1002", DeclineReason::Busy) }]
    );
    assert_eq!(told(&server.say(three, call("1001")), three), [declined("1001", DeclineReason::Busy)], "it calls");
    for reason in [DeclineReason::NoAnswer, DeclineReason::Left] {
        let out = server.say(two, decline("1001", reason));
        assert_eq!(error_code(&out, two), Some(ErrorCode::NotAllowed), "only the server says so");
    }
    let out = server.say(two, decline("1001", DeclineReason::NoDevices));
    assert_eq!(told(&out, one), [declined("1002", DeclineReason::NoDevices)]);
    assert_eq!(error_code(&server.say(two, accept("1001")), two), Some(ErrorCode::UnknownTarget), "too late");

    server.say(one, call("1002"));
    assert_eq!(told(&server.say(one, hangup("1002")), two), [hung_up("1001")], "given up");

    server.say(one, call("1002"));
    assert_eq!(server.pass(Duration::from_secs(RING_S) - SECOND), []);
    let out = server.pass(SECOND);
    assert_eq!(
        (told(&out, one), told(&out, two)),
        (vec![declined("1002", DeclineReason::NoAnswer)], vec![hung_up("1001")])
    );

    server.say(one, call("1002"));
    let out = server.say(two, ClientMessage::Leave { over: false });
    assert!(told(&out, one).contains(&declined("1002", DeclineReason::Left)), "{out:?}");
    server.say(one, call("1003"));
    let out = server.say(one, ClientMessage::Leave { over: false });
    assert!(told(&out, three).contains(&hung_up("1001")), "{out:?}");
}

#[test]
fn a_callee_that_is_lost_is_waited_for_and_learns_of_the_call_when_it_is_back() {
    let (mut server, [one, two, three]) = TestServer::three();
    server.say(one, call("1002"));
    server.lose(two);
    let (two, out) = server.enter(caller("1002"));
    assert!(matches!(told(&out, two)[..], [.., ServerMessage::Call { .. }]), "{out:?}");
    server.lose(two);
    let out = server.pass(protocol::RESUME_GRACE);
    assert_eq!(told(&out, one).first(), Some(&declined("1002", DeclineReason::Left)), "{out:?}");
    server.say(one, call("1003"));
    server.lose(one);
    server.say(three, accept("1001"));
    let (one, out) = server.enter(caller("1001"));
    assert!(told(&out, one).contains(&ServerMessage::Accept { user_id: id("1003") }), "{out:?}");
    assert_eq!(listed(&out, one).unwrap(), ["1001", "1003"]);
}

#[test]
fn two_that_call_each_other_at_once_are_in_a_call() {
    let (mut server, [one, two, three]) = TestServer::three();
    server.say(one, call("1002"));
    let out = server.say(two, call("1001"));
    assert_eq!(listed(&out, one).unwrap(), ["1001", "1002"]);
    assert_eq!(told(&out, two).len(), 1, "nothing rings any more");
    assert_eq!(told(&server.say(three, call("1001")), three), [declined("1001", DeclineReason::Busy)]);
    assert_eq!(error_code(&server.say(two, call("1003")), two), Some(ErrorCode::NotAllowed), "one call at a time");
}

#[test]
fn calls_of_one_member_are_bounded() {
    let (mut server, [one, two, _]) = TestServer::three();
    let rung: Vec<_> =
        (0..100).flat_map(|_| [server.say(one, call("1002")), server.say(one, hangup("1002"))]).collect();
    let rung: Vec<_> = rung.concat();
    let calls = told(&rung, two).into_iter().filter(|message| matches!(message, ServerMessage::Call { .. })).count();
    assert_eq!(calls, protocol::CALL_BURST as usize);
    let refused = told(&rung, one);
    assert!(matches!(refused[0], ServerMessage::Error { code: ErrorCode::TargetBusy, retry_after_ms: Some(_), .. }));
}

#[test]
fn a_call_has_no_chat_on_the_server() {
    let (mut server, [one, ..]) = TestServer::in_call();
    let message = protocol::channel::StudentMessage::Msg { text: "hello".into(), to: None };
    let out = server.say(one, ClientMessage::Channel { message });
    assert_eq!(error_code(&out, one), Some(ErrorCode::NotAllowed));
}

#[test]
fn the_owner_ends_all_calls() {
    let (mut server, [one, two, three]) = TestServer::in_call();
    let four = server.let_in(caller("1004"));
    server.say(three, call("1004"));
    assert_eq!(error_code(&server.order(three, RoomOrder::End), three), Some(ErrorCode::NotAllowed));
    let out = server.order(one, RoomOrder::End);
    assert!(told(&out, two).contains(&hung_up("1001")) && told(&out, four).contains(&hung_up("1003")), "{out:?}");
    assert_eq!(server.summary("10013").unwrap().state, RoomState::Ended);
    assert_eq!(error_code(&server.say(two, participate()), two), Some(ErrorCode::NotAllowed), "there is no call");
}
