//! The chat of a meeting.

use super::calls::SECOND;
use super::meetings::guest;
use super::*;
use crate::protocol::channel::{ChatMessage, Moderation, PublisherMessage, StudentMessage};

fn says(text: &str, to: Option<&str>) -> ClientMessage {
    ClientMessage::Channel { message: StudentMessage::Msg { text: text.into(), to: to.map(id) } }
}

fn moderate(order: Moderation) -> ClientMessage {
    ClientMessage::Channel { message: StudentMessage::Moderate(order) }
}

/// What the chat tells this connection.
fn heard(out: &[Output], conn: ConnId) -> Vec<PublisherMessage> {
    let of_chat = |message| match message {
        ServerMessage::Channel { message } => Some(message),
        _ => None,
    };
    told(out, conn).into_iter().filter_map(of_chat).collect()
}

fn texts(out: &[Output], conn: ConnId) -> Vec<String> {
    let text = |message: &ChatMessage| message.text.to_string();
    let texts = |message| match message {
        PublisherMessage::Msg(message) => vec![text(&message)],
        PublisherMessage::Welcome { history, .. } => history.iter().map(text).collect(),
        _ => vec![],
    };
    heard(out, conn).into_iter().flat_map(texts).collect()
}

fn refusal(out: &[Output], conn: ConnId) -> Option<ErrorCode> {
    heard(out, conn).into_iter().find_map(|message| match message {
        PublisherMessage::Error { code, .. } => Some(code),
        _ => None,
    })
}

fn three() -> (TestServer, [ConnId; 3]) {
    let mut server = TestServer::new();
    server.rooms.set_time(1_795_228_800_000);
    let conns = ["1001", "1002", "1003"].map(|user| server.let_in(guest(user)));
    (server, conns)
}

#[test]
fn all_members_read_what_is_written_and_latecomers_get_the_history() {
    let (mut server, [one, two, three]) = three();
    let out = server.say(two, says("hello", None));
    for conn in [one, two, three] {
        assert_eq!(texts(&out, conn), ["hello"]);
    }
    let PublisherMessage::Msg(message) = heard(&out, one).remove(0) else { panic!("{out:?}") };
    assert_eq!((message.user_id, message.nickname.as_str(), message.at), (id("1002"), "N-1002", 1_795_228_800_000));
    for n in 0..60 {
        server.pass(SECOND);
        server.say(three, says(&n.to_string(), None));
    }
    let (four, out) = server.enter(guest("1004"));
    assert_eq!(texts(&out, four).len(), protocol::channel::MAX_HISTORY);
    for conn in [one, two, three, four] {
        server.say(conn, ClientMessage::Leave { over: false });
    }
    let (one, out) = server.enter(guest("1001"));
    assert_eq!(texts(&out, one), [""; 0], "the history ends with the room");
}

#[test]
fn a_private_message_goes_to_one_and_is_not_kept() {
    let (mut server, [one, two, three]) = three();
    let out = server.say(two, says("psst", Some("1003")));
    assert_eq!([one, two, three].map(|conn| texts(&out, conn).len()), [0, 1, 1]);
    assert!(matches!(&heard(&out, three)[0], PublisherMessage::Msg(message) if message.to == Some(id("1003"))));
    let (four, out) = server.enter(guest("1004"));
    assert_eq!(texts(&out, four), [""; 0]);
    for (to, code) in [("1009", ErrorCode::UnknownTarget), ("1002", ErrorCode::NotAllowed)] {
        assert_eq!(refusal(&server.say(two, says("psst", Some(to))), two), Some(code));
        server.pass(2 * SECOND);
    }
    server.say(one, moderate(Moderation::Mute { user_id: id("1002") }));
    assert_eq!(refusal(&server.say(two, says("psst", Some("1003"))), two), Some(ErrorCode::Muted));
}

#[test]
fn the_owner_keeps_order_in_the_chat() {
    let (mut server, [one, two, three]) = three();
    let out = server.say(two, moderate(Moderation::MuteAll));
    assert_eq!(refusal(&out, two), Some(ErrorCode::NotAllowed));
    server.say(one, moderate(Moderation::Slow { ms: 10_000 }));
    server.say(three, says("one", None));
    assert_eq!(refusal(&server.say(three, says("two", None)), three), Some(ErrorCode::SlowMode));
    let out = server.say(one, moderate(Moderation::Clear));
    assert!(heard(&out, two).iter().any(|message| matches!(message, PublisherMessage::Cleared { .. })));
    let allow = StudentMessage::Allow { comments: None, reactions: Some(false) };
    let out = server.say(one, ClientMessage::Channel { message: allow.clone() });
    assert!(heard(&out, two).iter().any(|message| matches!(message, PublisherMessage::Allows(a) if !a.reactions)));
    server.order(one, RoomOrder::HandOver { target_uid: id("1002") });
    server.pass(SECOND);
    let out = server.say(one, ClientMessage::Channel { message: allow });
    assert_eq!(refusal(&out, one), Some(ErrorCode::NotAllowed), "not the owner any more");
}

#[test]
fn hands_are_listed_in_order_and_a_flood_is_told_once() {
    let (mut server, [one, two, three]) = three();
    for conn in [three, two] {
        server.say(conn, ClientMessage::Channel { message: StudentMessage::Hand { raised: true } });
    }
    let out = server.pass(SECOND);
    let hands = heard(&out, one).into_iter().find_map(|message| match message {
        PublisherMessage::Hands { hands } => Some(hands),
        _ => None,
    });
    let users: Vec<_> = hands.unwrap().into_iter().map(|hand| hand.user_id.to_string()).collect();
    assert_eq!(users, ["1003", "1002"]);
    let out: Vec<_> = (0..50).flat_map(|_| server.say(two, says("x", None))).collect();
    assert_eq!(texts(&out, one).len(), 10, "a burst");
    assert_eq!(refusal(&out, two), Some(ErrorCode::FloodedMessages));
}
