//! Participants that reload, are lost, are killed, or exist twice.

use super::breakouts::split;
use super::calls::*;
use super::meeting_host::of_seven;
use super::meetings::guest;
use super::*;
use crate::protocol::{CONFERENCE_GRACE, LeaveReason, Participant, RESUME_GRACE};

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

#[test]
fn a_participant_whose_media_the_server_carries_is_loaded_again_or_killed() {
    let (mut server, conns, host) = of_seven();
    let list = |out: &[Output], conn| last_list(out, conn).unwrap();
    let old = list(&server.enter(guest("1001")).1, ConnId(9)).participants[1].entry;
    let published = ClientMessage::Published { target_uid: id("1002"), entry: old, on: true };
    server.say(host, published.clone());
    server.pass(SECOND);
    // Everybody closes the old connections, and the host the old SFU.
    let (two, out) = server.enter(reloaded(guest("1002")));
    for conn in [host, conns[2]] {
        assert_eq!(listed(&out, conn).unwrap().len(), 6, "{out:?}");
    }
    server.say(two, participate());
    let out = server.pass(SECOND);
    let is_new = |one: &Participant| one.user_id == id("1002") && one.entry > old && !one.published;
    for conn in [host, conns[2]] {
        assert_eq!(list(&out, conn).media, MediaHost::Server);
        assert!(list(&out, conn).participants.iter().any(is_new), "{out:?}");
    }
    assert_eq!([server.say(host, published), server.pass(SECOND)].concat(), [], "media of the old entry");
    server.lose(two);
    let out = server.pass(CONFERENCE_GRACE + SECOND);
    for conn in [host, conns[2]] {
        assert!(!listed(&out, conn).unwrap().contains(&"1002".to_owned()), "{out:?}");
    }
    assert_eq!(list(&out, conns[2]).media, MediaHost::Server, "back is never needed");
}

#[test]
fn a_second_tab_a_stranger_and_a_death_in_each_kind_of_meeting() {
    let of_three = |is_split| {
        let mut server = TestServer::new();
        let conns = server.meeting(3);
        if is_split {
            server.ordered(conns[0], split(2));
        }
        (server, conns)
    };
    let of_server = of_seven();
    for (mut server, conns) in [of_three(false), of_three(true), (of_server.0, of_server.1)] {
        let stranger = Newcomer { session: secret('x'), ..guest("1002") };
        assert_eq!(server.refused(stranger), ErrorCode::UserIdTaken);
        let (two, out) = server.enter(reloaded(guest("1002")));
        assert_eq!(closed(&out), [(conns[1], Some(ErrorCode::Replaced))], "the first tab hears why");
        let out = [server.say(two, participate()), server.pass(SECOND)].concat();
        assert!(listed(&out, two).unwrap().contains(&"1002".to_owned()), "{out:?}");
        server.lose(two);
        server.pass(CONFERENCE_GRACE + SECOND);
        let (two, out) = server.enter(reloaded(reloaded(guest("1002"))));
        assert!(!listed(&out, two).unwrap().contains(&"1002".to_owned()), "its place is free: {out:?}");
    }
}
