//! The places of rooms whose media the server carries.

use super::host::{hosted, starts, with_rooms};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A publisher in a room of its own.
fn publisher(room: u32, ip: &str) -> Newcomer {
    let session = format!("{room:t>16}").parse().unwrap();
    Newcomer { room: room.to_string().parse().unwrap(), session, network: network_of(ip), ..hosted() }
}

const FAR: &str = "198.51.100.7";
const NEAR: &str = "192.0.2.1";

/// The time after which a refused publisher may come again.
fn refused_for(server: &mut TestServer, newcomer: Newcomer) -> u64 {
    let (conn, out) = server.enter(newcomer);
    match &told(&out, conn)[..] {
        [ServerMessage::Error { code: ErrorCode::ServerFull, retry_after_ms: Some(wait), .. }] => *wait,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_network_whose_publishers_send_no_media_keeps_nobody_else_out() {
    let mut server = with_rooms(4);
    let idle: Vec<_> = (1..=4).map(|room| server.host(publisher(room, FAR))).collect();
    for (n, room) in [10, 11].into_iter().enumerate() {
        let (conn, out) = server.enter(publisher(room, NEAR));
        assert!(is_in(&out, conn));
        let (lost, host) = idle[n];
        assert_eq!(closed(&out), [(lost, Some(ErrorCode::ServerFull)), (host, None)], "the oldest one");
        server.attach(&room.to_string());
    }
    // Now each network has two.
    let wait = refused_for(&mut server, publisher(12, NEAR));
    assert_eq!(wait, protocol::MEDIA_WITHIN.as_millis() as u64 + 1);
    server.pass(protocol::MEDIA_WITHIN);
    let (_, out) = server.enter(publisher(12, NEAR));
    assert_eq!(closed(&out).len(), 2, "the others had their time");
}

#[test]
fn a_publisher_whose_media_runs_keeps_its_place() {
    let mut server = with_rooms(1);
    let (first, host) = server.host(publisher(1, NEAR));
    server.say(host, connected(TEACHER));
    server.pass(3_600 * SECOND);
    refused_for(&mut server, publisher(2, FAR));
    // The media is lost: the class waits, and the publisher may come back.
    let hangup = ClientMessage::Hangup { target_uid: id(TEACHER), source: None };
    for _ in 0..2 {
        server.say(host, hangup.clone());
        server.pass(protocol::MEDIA_STAYS);
        refused_for(&mut server, publisher(2, FAR));
        server.say(host, connected(TEACHER));
    }
    server.say(host, hangup);
    server.say(first, offer_to(TEACHER));
    server.pass(protocol::MEDIA_STAYS + protocol::MEDIA_WITHIN);
    let viewer = server.let_in(Newcomer { room: "1".parse().unwrap(), ..student("1001") });
    let (second, out) = server.enter(publisher(2, FAR));
    assert!(is_in(&out, second));
    assert_eq!(closed(&out), [(first, Some(ErrorCode::ServerFull)), (host, None)]);
    assert_eq!(told(&out, viewer), [removed(TEACHER)]);
    refused_for(&mut server, publisher(1, NEAR));
    assert_eq!(server.summary("1").unwrap().watching, 1, "the room and its students stay");
}

#[test]
fn only_the_host_knows_of_the_publishers_media() {
    let mut server = with_rooms(1);
    let (first, _) = server.host(publisher(1, NEAR));
    server.say(first, connected(TEACHER));
    server.pass(protocol::MEDIA_WITHIN);
    let (second, out) = server.enter(publisher(2, FAR));
    assert!(is_in(&out, second));
}

#[test]
fn a_room_whose_publisher_is_away_or_whose_host_has_failed_gives_way_too() {
    let mut server = with_rooms(1);
    let (away, host) = server.host(publisher(1, NEAR));
    server.lose(away);
    server.pass(protocol::RESUME_GRACE);
    let (_, out) = server.enter(publisher(2, FAR));
    assert_eq!((closed(&out), starts(&out)), (vec![(host, None)], vec!["2"]));
    let host = server.attach("2");
    server.say(host, connected(TEACHER));
    server.rooms.handle(server.now, Input::Lost { conn: host });
    refused_for(&mut server, publisher(3, NEAR));
    server.pass(protocol::MEDIA_WITHIN);
    let (_, out) = server.enter(publisher(3, NEAR));
    assert_eq!((closed(&out).len(), starts(&out)), (1, vec!["3"]));
    assert_eq!(server.rooms.rooms.values().filter(|room| room.takes_host()).count(), 1);
}

#[test]
fn a_refused_publisher_takes_no_place() {
    let mut server = with_rooms(1);
    server.host(publisher(1, NEAR));
    server.let_in(Newcomer { media: MediaHost::Publisher, ..publisher(2, NEAR) });
    server.pass(protocol::MEDIA_WITHIN);
    let stranger = Newcomer { session: secret('o'), user: id("9998"), ..publisher(2, FAR) };
    assert_eq!(server.refused(stranger), ErrorCode::PublisherExists);
    assert!(server.rooms.rooms[&"1".parse().unwrap()].takes_host());
}
