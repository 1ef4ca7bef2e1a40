//! Participants that reload, are lost, are killed, or exist twice.

use super::calls::*;
use super::*;
use crate::protocol::{CONFERENCE_GRACE, LeaveReason, RESUME_GRACE};

/// The same client in another process.
fn reloaded(newcomer: Newcomer) -> Newcomer {
    Newcomer { epoch: newcomer.epoch + 1, ..newcomer }
}

fn offer(target: &str, entry: u32) -> ClientMessage {
    let (target_uid, entry) = (id(target), Some(entry));
    ClientMessage::Offer { target_uid, sdp: "v=0".into(), entry, video: None, tracks: None }
}

#[test]
fn a_connection_that_was_lost_keeps_its_entry() {
    let (mut server, [one, two, _]) = TestServer::in_call();
    server.lose(two);
    let waits = server.say(one, offer("1002", 0));
    assert_eq!(waits, [], "an entry that nobody has");
    assert_eq!(server.pass(CONFERENCE_GRACE - SECOND), [], "longer than {RESUME_GRACE:?}");
    let (two, out) = server.enter(caller("1002"));
    assert_eq!(listed(&out, two).unwrap(), ["1001", "1002"]);
    let own = entry(&out, two, "1002");
    let out = server.say(one, offer("1002", own));
    assert!(matches!(&told(&out, two)[..], [ServerMessage::Offer { entry: Some(_), .. }]), "{out:?}");
    server.lose(two);
    assert_eq!(server.say(one, offer("1002", own)), [], "it waits");
    let (two, out) = server.enter(caller("1002"));
    assert!(told(&out, two).iter().any(|message| matches!(message, ServerMessage::Offer { .. })), "{out:?}");
}

#[test]
fn a_participant_that_is_killed_is_out_after_ten_seconds() {
    let (mut server, [one, two, _]) = TestServer::in_call();
    server.lose(two);
    let out = server.pass(CONFERENCE_GRACE);
    let told = told(&out, one);
    assert!(told.contains(&ServerMessage::Hangup { user_id: id("1002") }), "{told:?}");
    assert_eq!(listed(&out, one).unwrap(), [""; 0]);
}

#[test]
fn a_reload_keeps_the_place_and_changes_the_entry() {
    let (mut server, [one, two, _]) = TestServer::in_call();
    let out = server.say(one, participate());
    let before = last_list(&server.enter(caller("1001")).1, ConnId(4)).unwrap();
    assert_eq!(out, [], "nothing has changed");
    let one = ConnId(4);
    server.lose(two);
    let (two, out) = server.enter(reloaded(caller("1002")));
    assert_eq!((listed(&out, one).unwrap(), listed(&out, two).unwrap()), (vec!["1001".into()], vec!["1001".into()]));
    let out = server.say(two, participate());
    assert_eq!(out, [], "the others hear of it in the next list");
    let out = server.pass(SECOND);
    let old = before.participants.iter().map(|participant| participant.entry).max().unwrap();
    assert!(entry(&out, one, "1002") > old, "{out:?}");
    assert_eq!(server.say(one, offer("1002", old)), [], "a message for the old entry");
}

#[test]
fn a_page_that_does_not_come_back_to_its_call_ends_it() {
    let (mut server, [one, _, _]) = TestServer::in_call();
    let (two, out) = server.enter(reloaded(caller("1002")));
    assert_eq!(closed(&out).len(), 1, "the first tab is closed");
    let out = server.pass(CONFERENCE_GRACE);
    assert!(told(&out, one).contains(&ServerMessage::Hangup { user_id: id("1002") }), "{out:?}");
    assert_eq!(listed(&out, two).unwrap(), [""; 0]);
    assert_eq!(error_code(&server.say(two, participate()), two), Some(ErrorCode::NotAllowed), "the call is over");
    assert!(matches!(told(&server.say(one, call("1002")), two)[..], [ServerMessage::Call { .. }]));
}

#[test]
fn a_second_client_with_the_same_id_disturbs_no_call() {
    let (mut server, [one, ..]) = TestServer::in_call();
    let stranger = Newcomer { session: secret('x'), ..caller("1002") };
    assert_eq!(server.refused(stranger), ErrorCode::UserIdTaken);
    let out = server.say(one, hangup("1002"));
    assert_eq!(listed(&out, one).unwrap(), [""; 0], "until now it ran");
}

#[test]
fn a_server_that_has_restarted_gives_other_entries() {
    let entries = [0, 1].map(|_| {
        let (mut server, _) = TestServer::in_call();
        let list = last_list(&server.enter(caller("1001")).1, ConnId(4)).unwrap();
        list.participants.iter().map(|participant| participant.entry).collect::<Vec<_>>()
    });
    assert!(entries[0].iter().all(|entry| !entries[1].contains(entry)), "{entries:?}");
    let mut server = TestServer::new();
    assert_eq!(server.refused(caller("1002")), ErrorCode::RoomNotOpen, "a guest waits for who may open the room");
    let one = server.let_in(caller("1001"));
    let two = server.let_in(caller("1002"));
    assert_eq!(error_code(&server.say(two, participate()), two), Some(ErrorCode::NotAllowed));
    let out = server.say(two, call("1001"));
    assert!(matches!(told(&out, one)[..], [ServerMessage::Call { .. }]), "they call each other again");
}

#[test]
fn a_reload_while_it_rings() {
    let mut server = TestServer::new();
    let [one, _] = ["1001", "1002"].map(|user| server.let_in(caller(user)));
    server.say(one, call("1002"));
    let (two, out) = server.enter(reloaded(caller("1002")));
    assert!(matches!(told(&out, two)[..], [.., ServerMessage::Call { .. }]), "the callee hears it again: {out:?}");
    let (_, out) = server.enter(reloaded(caller("1001")));
    assert!(told(&out, two).contains(&ServerMessage::Hangup { user_id: id("1001") }), "the caller has forgotten it");
}

#[test]
fn a_guest_that_leaves_a_meeting_for_good_frees_its_place_at_once() {
    let mut server = TestServer::new();
    let [one, two] = ["1001", "1002"].map(|user| server.let_in(person(user, RoomKind::Meeting)));
    server.say(one, participate());
    server.say(two, participate());
    server.pass(SECOND);
    let out = server.say(two, ClientMessage::Leave { over: false });
    assert_eq!(listed(&out, one).unwrap(), ["1001"]);
    let out = server.pass(SECOND);
    let left = ServerMessage::Leave { users: vec![id("1002")], reason: LeaveReason::Left };
    assert!(told(&out, one).contains(&left), "{out:?}");
}
