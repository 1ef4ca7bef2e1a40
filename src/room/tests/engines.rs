//! Edges whose students an engine serves: their offers, and the messages of students without a data channel.

use super::edges::{edge, offer, student_at};
use super::*;
use crate::protocol::channel::{PublisherMessage, StudentMessage};
use crate::protocol::{OfferedTracks, TrackName};

fn tell(target: Option<&str>) -> ClientMessage {
    let message = PublisherMessage::Cleared { up_to: 7 };
    ClientMessage::Tell { target_uid: target.map(id), message }
}

fn talk() -> ServerMessage {
    ServerMessage::Talk { user_id: id(TEACHER), message: PublisherMessage::Cleared { up_to: 7 } }
}

fn hand() -> ClientMessage {
    ClientMessage::Talk { message: StudentMessage::Hand { raised: true } }
}

#[test]
fn an_engine_offers_in_the_publishers_name_and_the_student_answers() {
    let mut server = TestServer::new();
    server.let_in(teacher());
    let (engine, _) = server.enter(edge("enginea", "a"));
    let one = server.let_in(student_at("1001", "a"));
    let tracks = Some(OfferedTracks::from([("0".to_owned(), TrackName::Screen)]));
    let offers = |target: &str| ClientMessage::Offer {
        entry: None,
        target_uid: id(target),
        sdp: "v=1".into(),
        video: None,
        tracks: tracks.clone(),
    };
    assert_eq!(server.say(engine, offers("1001")), [], "nobody has asked");
    server.say(one, offer(TEACHER));
    let out = server.say(engine, offers("1001"));
    let [ServerMessage::Offer { user_id, sdp, tracks: named, .. }] = &told(&out, one)[..] else { panic!("{out:?}") };
    assert_eq!((user_id, sdp.as_str(), named), (&id(TEACHER), "v=1", &tracks));
    let (entry, target_uid, source) = (None, id(TEACHER), None);
    let out = server.say(one, ClientMessage::Answer { entry, target_uid, sdp: "v=2".into(), source });
    let answer = ServerMessage::Answer { entry: None, user_id: id("1001"), sdp: "v=2".into() };
    assert_eq!(flat(&out), [(engine, answer)]);
    assert_eq!(server.say(engine, offers("1009")), [], "nobody has this id");
}

#[test]
fn students_without_a_data_channel_talk_by_signalling() {
    let mut server = TestServer::new();
    let teacher = server.let_in(teacher());
    let (engine_a, _) = server.enter(edge("enginea", "a"));
    let (engine_b, _) = server.enter(edge("engineb", "b"));
    let [(one, a), (two, b)] = [("1001", "a"), ("1002", "b")].map(|(user, node)| {
        let conn = server.let_in(student_at(user, node));
        server.say(conn, offer(TEACHER));
        (conn, if node == "a" { engine_a } else { engine_b })
    });
    for (user, engine) in [("1001", a), ("1002", b)] {
        server.say(engine, ClientMessage::Connected { target_uid: id(user) });
    }
    let heard = ServerMessage::Heard { user_id: id("1001"), message: StudentMessage::Hand { raised: true } };
    assert_eq!(flat(&server.say(one, hand())), [(engine_a, heard)]);
    assert_eq!(flat(&server.say(engine_a, tell(Some("1001")))), [(one, talk())]);
    assert_eq!(flat(&server.say(engine_a, tell(None))), [(one, talk())], "its own students");
    assert_eq!(flat(&server.say(engine_a, tell(Some("1002")))), [], "the student of another engine");
    // Nobody else may speak for the publisher.
    for conn in [two, teacher] {
        let out = server.say(conn, tell(Some("1001")));
        assert_eq!((told(&out, one), error_code(&out, conn)), (vec![], Some(ErrorCode::NotAllowed)));
    }
    // What is said while signalling is lost does not wait: the student is welcomed again.
    server.lose(one);
    assert_eq!(flat(&server.say(engine_a, tell(Some("1001")))), []);
    assert_eq!(flat(&server.say(engine_a, tell(None))), []);
    // The node of the engine is gone, and the student, which has not noticed yet, is told that nobody hears.
    server.say(engine_b, ClientMessage::Leave { over: false });
    let out = server.say(two, hand());
    let [ServerMessage::Talk { message: PublisherMessage::Error { code, .. }, .. }] = &told(&out, two)[..] else {
        panic!("{out:?}")
    };
    assert_eq!(*code, ErrorCode::TargetBusy);
}
