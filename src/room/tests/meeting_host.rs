//! Meetings whose media the server carries, with a host that the test plays.

use super::calls::*;
use super::host::{hosted, starts, with_rooms};
use super::meetings::guest;
use super::*;
use crate::protocol::{MAX_MESH, MAX_PARTICIPANTS, MediaMove, OfferedTracks, TrackName};

fn published(user: &str, entry: u32, on: bool) -> ClientMessage {
    ClientMessage::Published { target_uid: id(user), entry, on }
}

/// A meeting of seven, its host, and the last list.
pub(super) fn of_seven() -> (TestServer, Vec<ConnId>, ConnId) {
    let mut server = with_rooms(1);
    let mut conns = server.meeting(MAX_MESH);
    conns.push(server.let_in(guest("1007")));
    let out = server.say(conns[6], participate());
    assert_eq!(starts(&out), ["10013"]);
    let list = last_list(&out, conns[0]).unwrap();
    let moved = (list.media, list.moved, list.participants.len());
    assert_eq!(moved, (MediaHost::Server, Some(MediaMove::Size), 7), "one list tells both");
    let host = server.attach("10013");
    server.pass(SECOND);
    (server, conns, host)
}

#[test]
fn the_seventh_participant_moves_the_meeting_to_the_server() {
    let (mut server, conns, host) = of_seven();
    let out = server.say(conns[0], participate());
    let own = last_list(&server.enter(guest("1008")).1, ConnId(9)).unwrap().participants[0].entry;
    assert_eq!(out, []);
    let tracks = Some(OfferedTracks::from([("0".to_owned(), TrackName::Audio)]));
    let offer = |target: &str| ClientMessage::Offer {
        entry: None,
        target_uid: id(target),
        sdp: "v=0".into(),
        video: None,
        tracks: tracks.clone(),
    };
    for (target, is_own) in [("1001", true), ("1002", false)] {
        match &told(&server.say(conns[0], offer(target)), host)[..] {
            [ServerMessage::Offer { user_id, entry, source, tracks, network: Some(_), .. }] => {
                assert_eq!((user_id, *entry, source.as_ref()), (&id("1001"), Some(own), Some(&id(target))));
                assert_eq!(tracks.is_some(), is_own);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(told(&server.say(conns[0], candidate_to(target)), host).len(), 1);
    }
    let out = server.say(conns[0], offer("1008"));
    assert_eq!(error_code(&out, conns[0]), Some(ErrorCode::UnknownTarget), "it is only present");
    let out = server.say(ConnId(9), offer("1001"));
    assert_eq!(error_code(&out, ConnId(9)), Some(ErrorCode::NotAllowed), "it takes no part");
    let source = Some(id("1002"));
    let answer = ClientMessage::Answer { target_uid: id("1001"), sdp: "v=0".into(), entry: None, source };
    let out = server.say(host, answer);
    assert_eq!(told(&out, conns[0]), [ServerMessage::Answer { user_id: id("1002"), sdp: "v=0".into(), entry: None }]);
}

#[test]
fn two_that_come_in_the_same_instant_move_the_meeting_once() {
    let mut server = with_rooms(1);
    let conns = server.meeting(MAX_MESH);
    let late = ["1007", "1008"].map(|user| server.let_in(guest(user)));
    let out = late.map(|conn| server.say(conn, participate())).concat();
    assert_eq!(starts(&out), ["10013"]);
    // An offer may come before the host has started, and before the lists.
    assert_eq!(error_code(&server.say(late[1], offer_to("1008")), late[1]), Some(ErrorCode::TargetBusy));
    let host = server.attach("10013");
    assert_eq!(told(&server.say(late[1], offer_to("1008")), host).len(), 1);
    let out = server.pass(SECOND);
    for conn in [conns[0], late[0], late[1]] {
        let list = last_list(&out, conn).unwrap();
        assert_eq!((list.media, list.participants.len()), (MediaHost::Server, 8));
    }
}

#[test]
fn the_host_says_whose_media_it_has_and_nobody_else_does() {
    let (mut server, conns, host) = of_seven();
    let entered = last_list(&server.enter(guest("1001")).1, ConnId(9)).unwrap();
    let own = entered.participants[1].entry;
    assert_eq!(error_code(&server.say(conns[2], published("1002", own, true)), conns[2]), Some(ErrorCode::NotAllowed));
    assert_eq!(server.say(host, published("1002", own + 100, true)), [], "another entry");
    let out = server.say(host, published("1002", own, true));
    assert!(last_list(&out, conns[2]).unwrap().participants[1].published);
    server.pass(SECOND);
    let (_, out) = server.enter(Newcomer { epoch: 2, ..guest("1002") });
    assert_eq!(listed(&out, host).unwrap().len(), 6, "the host learns of the reload, too");
    server.pass(SECOND);
    assert_eq!(server.say(host, published("1002", own, false)), [], "the entry is gone");
}

#[test]
fn a_meeting_on_the_server_takes_twenty_five() {
    let (mut server, ..) = of_seven();
    for n in 8..=MAX_PARTICIPANTS {
        let conn = server.let_in(guest(&format!("{}", 1000 + n)));
        assert_eq!(error_code(&server.say(conn, participate()), conn), None);
    }
    let late = server.let_in(guest("1026"));
    assert_eq!(error_code(&server.say(late, participate()), late), Some(ErrorCode::MeetingFull));
}

#[test]
fn an_overloaded_participant_is_believed_once() {
    let mut server = with_rooms(1);
    let conns = server.meeting(2);
    let present = server.let_in(guest("1003"));
    assert_eq!(starts(&server.say(present, ClientMessage::Overloaded)), [""; 0], "it takes no part");
    let out = server.say(conns[0], ClientMessage::Overloaded);
    assert_eq!(last_list(&out, conns[1]).unwrap().moved, Some(MediaMove::Overload));
    assert_eq!(starts(&out), ["10013"]);
    let host = server.attach("10013");
    assert_eq!(server.say(conns[1], ClientMessage::Overloaded), []);
    server.pass(SECOND);
    let out = server.rooms.handle(server.now, Input::Lost { conn: host });
    assert_eq!(last_list(&out, conns[1]).unwrap().moved, Some(MediaMove::Failure));
    assert_eq!(server.say(conns[0], ClientMessage::Overloaded), [], "its server has failed");
    assert_eq!(starts(&server.say(conns[0], participate())), [""; 0]);
}

#[test]
fn a_host_that_fails_leaves_the_first_six() {
    let (mut server, conns, host) = of_seven();
    let out = server.say(host, ClientMessage::Leave { over: false });
    let list = last_list(&out, conns[0]).unwrap();
    assert_eq!((list.media, list.moved, list.participants.len()), (MediaHost::Publisher, Some(MediaMove::Failure), 6));
    assert_eq!(error_code(&out, conns[6]), Some(ErrorCode::MeetingFull));
    assert_eq!(error_code(&server.say(conns[6], participate()), conns[6]), Some(ErrorCode::MeetingFull));
    server.pass(SECOND);
    for (n, conn) in conns[..6].iter().enumerate() {
        server.say(*conn, hangup(&format!("{}", 1001 + n)));
    }
    server.pass(SECOND);
    let out = server.say(conns[6], participate());
    assert_eq!(last_list(&out, conns[6]).unwrap().moved, None, "a new meeting");
}

#[test]
fn the_host_ends_with_the_meeting() {
    let (mut server, conns, host) = of_seven();
    let out = server.order(conns[0], RoomOrder::End);
    assert_eq!(closed(&out), [(host, None)]);
    let mut server = of_seven();
    for (n, conn) in server.1.into_iter().enumerate() {
        let out = server.0.say(conn, ClientMessage::Leave { over: false });
        assert_eq!(closed(&out).contains(&(server.2, None)), n == 6, "{out:?}");
    }
}

#[test]
fn meetings_and_lectures_share_the_places_at_the_server() {
    let mut server = with_rooms(1);
    let room = |newcomer| Newcomer { room: "7".parse().unwrap(), ..newcomer };
    let (_, lecture) = server.host(room(hosted()));
    server.say(lecture, connected(TEACHER));
    let conns = server.meeting(MAX_MESH);
    let seventh = server.let_in(guest("1007"));
    assert_eq!(error_code(&server.say(seventh, participate()), seventh), Some(ErrorCode::MeetingFull));
    assert_eq!(server.say(conns[0], ClientMessage::Overloaded), [], "there is no place");

    let (mut server, conns, host) = of_seven();
    server.pass(protocol::MEDIA_WITHIN);
    let (teacher, out) = server.enter(room(hosted()));
    assert!(is_in(&out, teacher), "no media has arrived in the meeting: {out:?}");
    assert!(closed(&out).contains(&(host, None)));
    assert_eq!(last_list(&out, conns[0]).unwrap().moved, Some(MediaMove::Failure));
}
