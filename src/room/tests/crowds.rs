//! The cost of a crowd for the members of a room: lists, and batches of presence.

use super::*;
use crate::protocol::{MAX_LISTED_USERS, STUDENT_QUEUE_BYTES};

/// A user id and a nickname of the greatest length.
fn longest(n: usize) -> (String, String) {
    (format!("{n:0>64}"), "\u{1f4af}".repeat(40))
}

fn users_of(message: &ServerMessage) -> (&[User], usize) {
    match message {
        ServerMessage::Joined { users, count, .. } | ServerMessage::RoomUserList { users, count } => (users, *count),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_student_gets_a_short_list_with_the_teacher_and_the_count_and_the_teacher_gets_all() {
    let mut server = TestServer::new();
    let teacher = server.join(TEACHER);
    for n in 0..1_000 {
        server.join(&longest(n).0);
    }
    let (student, out) = server.join_as("zz", 'z', 1);
    let told = told(&out, student);
    let (users, count) = users_of(&told[0]);
    assert_eq!((users.len(), count), (MAX_LISTED_USERS, 1_002));
    assert!(users[0].publishes && users.iter().any(|user| user.user_id == id("zz")));
    let mut ids: Vec<_> = users.iter().map(|user| &user.user_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), users.len(), "nobody twice");
    let list = server.say(teacher, ClientMessage::RoomUserList);
    let list = super::told(&list, teacher);
    assert_eq!(users_of(&list[0]), (users_of(&list[0]).0, 1_002));
    assert_eq!(users_of(&list[0]).0.len(), 1_002);
}

#[test]
fn a_list_of_the_longest_names_fits_into_the_queue_of_a_student() {
    let user = |n: usize| {
        let (user_id, nickname) = longest(n);
        User {
            user_id: id(&user_id),
            nickname: nickname.as_str().into(),
            publishes: false,
            epoch: u32::MAX,
            client: Some(ClientKind::Browser),
            moderates: true,
        }
    };
    let users: Vec<User> = (0..MAX_LISTED_USERS).map(user).collect();
    let bytes = ServerMessage::RoomUserList { users, count: 4_096 }.to_json().len();
    // The rest is for the messages that waited for a student who returns, and for a batch of presence.
    assert!(bytes < STUDENT_QUEUE_BYTES * 5 / 8, "{bytes} bytes");
}

/// Joins `count` clients from several networks.
fn crowd(server: &mut TestServer, count: usize) -> Vec<ConnId> {
    let join = |n: usize| {
        let network = Network::of(std::net::Ipv4Addr::new(10, 0, (n / 200) as u8, 1).into());
        server.let_in(Newcomer { network, ..newcomer(&longest(n).0) })
    };
    (0..count).map(join).collect()
}

/// The users that `witness` knows of after some seconds, and the last count that it heard.
fn hear(
    server: &mut TestServer,
    witness: ConnId,
    present: &mut std::collections::BTreeSet<UserId>,
    seconds: u64,
) -> Option<usize> {
    let mut counted = None;
    for _ in 0..seconds * 10 {
        let out = server.pass(Duration::from_millis(100));
        let told = told(&out, witness);
        let bytes: usize = told.iter().map(|message| message.to_json().len()).sum();
        assert!(bytes < STUDENT_QUEUE_BYTES / 2, "{bytes} bytes in one batch");
        for message in told {
            match message {
                ServerMessage::Join { users } => present.extend(users.into_iter().map(|user| user.user_id)),
                ServerMessage::Leave { users, .. } => users.iter().for_each(|user| _ = present.remove(user)),
                ServerMessage::MemberCount { count } => counted = Some(count),
                other => panic!("{other:?}"),
            }
        }
    }
    counted
}

#[test]
fn a_class_that_joins_and_leaves_at_once_reaches_students_in_small_batches_and_in_order() {
    let mut server = TestServer::new();
    let (witness, mut present) = (server.join("witness"), std::collections::BTreeSet::new());
    server.pass(Duration::from_secs(1));
    let conns = crowd(&mut server, MAX_LISTED_USERS - 1);
    assert_eq!(hear(&mut server, witness, &mut present, 4), None);
    assert_eq!(present.len(), MAX_LISTED_USERS - 1, "all are announced in the end");
    for conn in conns {
        server.say(conn, ClientMessage::Leave { over: false });
    }
    // Some come back while their leave waits in a batch.
    crowd(&mut server, 200);
    assert_eq!(hear(&mut server, witness, &mut present, 4), None);
    assert_eq!(present.len(), 200);
}

#[test]
fn in_a_crowd_students_hear_of_leaves_and_of_the_number_of_members_once_a_second() {
    let mut server = TestServer::new();
    let (witness, mut present) = (server.join("witness"), std::collections::BTreeSet::new());
    server.pass(Duration::from_secs(1));
    let conns = crowd(&mut server, 3_000);
    let out = server.pass(Duration::from_secs(2));
    let told = told(&out, witness);
    assert_eq!(told, [ServerMessage::MemberCount { count: 3_001 }]);
    for conn in conns.into_iter().skip(300) {
        server.say(conn, ClientMessage::Leave { over: false });
    }
    assert_eq!(hear(&mut server, witness, &mut present, 4), Some(301), "also when the room is small again");
    assert!(present.is_empty());
    let list = server.say(witness, ClientMessage::RoomUserList);
    assert_eq!(users_of(&super::told(&list, witness)[0]).0.len(), 301, "a client that wants the names asks");
}
