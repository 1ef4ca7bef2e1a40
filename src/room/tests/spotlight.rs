//! The spotlight of a meeting: who is large for everybody.

use super::calls::*;
use super::meetings::guest;
use super::*;
use crate::protocol::{CONFERENCE_GRACE, TrackName};

fn spotlight(on: bool) -> ClientMessage {
    ClientMessage::Spotlight { on }
}

fn large(out: &[Output], conn: ConnId) -> Option<String> {
    last_list(out, conn).unwrap().spotlight.map(|user| user.to_string())
}

/// Those who ask the owner.
fn asking(out: &[Output], conn: ConnId) -> Vec<String> {
    let asking = last_list(out, conn).unwrap().participants.into_iter().filter(|one| one.asks_for_spotlight);
    asking.map(|one| one.user_id.to_string()).collect()
}

impl TestServer {
    /// A meeting of participants that all send a picture; 1001 owns it.
    fn pictured(&mut self, members: usize) -> Vec<ConnId> {
        let conns = self.meeting(members);
        for conn in &conns {
            self.say(*conn, ClientMessage::Participate { sends: vec![TrackName::Camera] });
            self.pass(SECOND);
        }
        conns
    }

    /// The message with the news after it.
    fn told_after(&mut self, conn: ConnId, message: ClientMessage) -> Vec<Output> {
        [self.say(conn, message), self.pass(SECOND)].concat()
    }
}

#[test]
fn whoever_wants_to_is_large_for_everybody_until_the_next_one_or_its_end() {
    let mut server = TestServer::new();
    let conns = server.pictured(4);
    assert_eq!(large(&server.told_after(conns[1], spotlight(true)), conns[3]).unwrap(), "1002");
    assert_eq!(large(&server.told_after(conns[2], spotlight(true)), conns[3]).unwrap(), "1003", "another takes it");
    let out = server.told_after(conns[1], spotlight(false));
    assert_eq!(out, [], "it was not the large one any more");
    assert_eq!(large(&server.told_after(conns[2], spotlight(false)), conns[3]), None);
    // It ends with the entry: by leaving, by a reload, and by a connection that does not come back.
    server.told_after(conns[1], spotlight(true));
    assert_eq!(large(&server.told_after(conns[1], hangup("1002")), conns[3]), None);
    server.told_after(conns[2], spotlight(true));
    let (again, out) = server.enter(Newcomer { epoch: 2, ..guest("1003") });
    assert!(is_in(&out, again), "{out:?}");
    assert_eq!(large(&[out, server.pass(SECOND)].concat(), conns[3]), None);
    server.told_after(conns[3], spotlight(true));
    server.lose(conns[3]);
    let out = server.pass(CONFERENCE_GRACE + SECOND);
    assert_eq!(large(&out, conns[0]), None);
}

#[test]
fn only_a_participant_of_a_meeting_that_sends_a_picture_is_large() {
    let mut server = TestServer::new();
    let conns = server.pictured(2);
    let present = server.let_in(guest("1003"));
    let out = server.say(present, spotlight(true));
    assert_eq!(error_code(&out, present), Some(ErrorCode::UnknownTarget), "it takes no part");
    server.told_after(conns[1], ClientMessage::Participate { sends: vec![TrackName::Audio] });
    assert_eq!(error_code(&server.say(conns[1], spotlight(true)), conns[1]), Some(ErrorCode::NotAllowed));
    let out = server.order(conns[0], RoomOrder::Spotlight { target_uid: id("1002") });
    assert_eq!(error_code(&out, conns[0]), Some(ErrorCode::NotAllowed));
    let mut calls = TestServer::new();
    let caller = calls.let_in(person("1001", RoomKind::Call));
    assert_eq!(error_code(&calls.say(caller, spotlight(true)), caller), Some(ErrorCode::NotAllowed));
}

#[test]
fn the_owner_may_decide_about_each_request() {
    let mut server = TestServer::new();
    let conns = server.pictured(3);
    let restrict = |restricted| RoomOrder::RestrictSpotlight { restricted };
    let give = |user: &str| RoomOrder::Spotlight { target_uid: id(user) };
    let take = |user: &str| RoomOrder::SpotlightOff { target_uid: id(user) };
    let out = server.order(conns[1], restrict(true));
    assert_eq!(error_code(&out, conns[1]), Some(ErrorCode::NotAllowed), "only the owner restricts");
    let out = server.ordered(conns[0], restrict(true));
    assert!(told(&out, conns[1]).iter().any(|m| matches!(m, ServerMessage::Room(i) if i.is_spotlight_restricted)));
    let out = server.told_after(conns[1], spotlight(true));
    assert_eq!((large(&out, conns[0]), asking(&out, conns[0])), (None, vec!["1002".to_owned()]));
    let out = server.ordered(conns[0], give("1002"));
    assert_eq!((large(&out, conns[2]).unwrap(), asking(&out, conns[0])), ("1002".to_owned(), vec![]));
    server.told_after(conns[2], spotlight(true));
    let out = server.ordered(conns[0], take("1003"));
    assert_eq!((large(&out, conns[2]).unwrap(), asking(&out, conns[2])), ("1002".to_owned(), vec![]), "refused");
    assert_eq!(large(&server.ordered(conns[0], take("1002")), conns[2]), None, "taken back");
    let out = server.order(conns[0], take("1002"));
    assert_eq!(error_code(&out, conns[0]), Some(ErrorCode::UnknownTarget));
    assert_eq!(large(&server.told_after(conns[0], spotlight(true)), conns[2]).unwrap(), "1001", "it asks nobody");
}

#[test]
fn nobody_takes_the_spotlight_from_a_participant_that_the_owner_has_chosen() {
    let mut server = TestServer::new();
    let conns = server.pictured(3);
    server.ordered(conns[0], RoomOrder::Spotlight { target_uid: id("1002") });
    let out = server.told_after(conns[2], spotlight(true));
    assert_eq!((large(&out, conns[0]).unwrap(), asking(&out, conns[0])), ("1002".to_owned(), vec!["1003".to_owned()]));
    server.told_after(conns[1], spotlight(false));
    let out = server.told_after(conns[2], spotlight(true));
    assert_eq!((large(&out, conns[0]).unwrap(), asking(&out, conns[0])), ("1003".to_owned(), vec![]));
}

#[test]
fn a_spotlight_that_changes_often_is_told_of_a_few_times() {
    let mut server = TestServer::new();
    let conns = server.pictured(3);
    let mut lists = 0;
    for n in 0..500 {
        let out = [server.say(conns[1], spotlight(n % 2 == 0)), server.pass(Duration::from_millis(20))].concat();
        lists += told(&out, conns[2]).len();
    }
    assert!((5..=40).contains(&lists), "{lists} lists in 10 s");
}
