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

#[test]
fn a_crowd_that_joins_and_leaves_at_once_reaches_students_in_small_batches_and_in_order() {
    let mut server = TestServer::new();
    let witness = server.join("witness");
    server.pass(Duration::from_secs(1));
    let crowd: Vec<ConnId> = (0..3_000)
        .map(|n| {
            let network = Network::of(std::net::Ipv4Addr::new(10, 0, 0, (n / 1_000) as u8).into());
            server.let_in(Newcomer { network, ..newcomer(&longest(n).0) })
        })
        .collect();
    let (mut present, mut counted) = (std::collections::BTreeSet::new(), 0);
    let mut hear = |server: &mut TestServer, seconds: u64| {
        for _ in 0..seconds * 10 {
            let out = server.pass(Duration::from_millis(100));
            let told = told(&out, witness);
            let bytes: usize = told.iter().map(|message| message.to_json().len()).sum();
            assert!(bytes < STUDENT_QUEUE_BYTES / 2, "{bytes} bytes in one batch");
            for message in told {
                match message {
                    ServerMessage::Join { users } => present.extend(users.into_iter().map(|user| user.user_id)),
                    ServerMessage::Leave { users, .. } => users.iter().for_each(|user| _ = present.remove(user)),
                    // The witness knows only a part of the others in a large room.
                    ServerMessage::MemberCount { count } => counted = count,
                    other => panic!("{other:?}"),
                }
            }
        }
        (present.len(), counted)
    };
    assert_eq!(hear(&mut server, 4), (3_000, 3_001), "all are announced in the end, and counted with the witness");
    for conn in crowd {
        server.say(conn, ClientMessage::Leave { over: false });
    }
    // Some come back while their leave waits in a batch.
    for n in 0..500 {
        server.join(&longest(n).0);
    }
    assert_eq!(hear(&mut server, 4), (500, 501), "a part of the others stays unknown in a room that was large");
}
