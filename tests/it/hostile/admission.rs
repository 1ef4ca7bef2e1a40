//! Attacks on who gets in.

use std::net::Ipv4Addr;
use std::time::Duration;

use classroom::id::UserId;
use classroom::protocol::{ClientMessage, ErrorCode, RoomOrder, ServerMessage};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::Besieged;
use crate::attack::member::{Member, Refusal};
use crate::attack::{Target, admission, network};
use crate::support::{Classroom, Process};

/// The code of a refusal.
fn code<T>(joined: Result<T, Refusal>) -> String {
    joined.map_or_else(|refusal| refusal.to_string(), |_| "in".to_owned())
}

/// Needs: `--code`.
#[test]
fn guesses_of_the_code_are_slowed_down_and_keep_nobody_out() {
    let mut besieged = Besieged::teach_and_watch(&["--code=472913"], &["--code", "472913"]);
    besieged.target.code = "472913".to_owned();
    besieged.withstands(async |at| admission::wrong_codes(at, 200, 200).await);
    let without = besieged.runtime.block_on(Member::join(&besieged.target, network(7), "without"));
    assert_eq!(code(without), "codeRequired");
}

#[test]
fn a_client_that_never_authenticates_is_closed() {
    let mut besieged = Besieged::teach(&[]);
    besieged.withstands(async |at| admission::silent(at, 20).await);
}

/// Needs: `--auth` and `classroom token`. Without a file of keys no token is valid, but a room without a code is open
/// to everybody; so this server wants a token from each student.
#[test]
fn forged_tokens_open_nothing() {
    let class = Classroom::undisturbed();
    let keys = class.directory().join("keys.json");
    let keys = keys.to_str().unwrap();
    Process::start("key", class.command(&["token", "--new-key", "school", "--auth", keys])).ends_with(0);
    let text = std::fs::read_to_string(keys).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file["guests"] = json!(false);
    std::fs::write(keys, file.to_string()).unwrap();
    let _teacher = class.teacher(&["--test", "--size", "320x180", "--auth", keys]);
    let address = class.url().replace("ws://", "").parse().unwrap();
    let target = Target::new(address, address).unwrap();
    let runtime = Runtime::new().unwrap();
    let tally = runtime.block_on(admission::forged_tokens(&target, 6));
    assert!(tally.broken.is_empty(), "{:?}", tally.broken);
    assert_eq!(tally.of("badToken") + tally.of("tooManyAttempts"), 6, "{tally}");
    assert_eq!(code(runtime.block_on(Member::join(&target, network(7), "without"))), "tokenRequired");
}

/// A server with a teacher that gives orders, without media.
struct Room {
    _class: Classroom,
    _server: Process,
    target: Target,
    runtime: Runtime,
    teacher: Member,
}

impl Room {
    #[track_caller]
    fn open() -> Self {
        let class = Classroom::new();
        let server = class.server();
        let address = class.url().replace("ws://", "").parse().unwrap();
        let target = Target::new(address, address).unwrap();
        let runtime = Runtime::new().unwrap();
        let query = format!("roomId={}&userId=9999&nickname=Ms+Li&pub=pub", target.room);
        let teacher = runtime.block_on(Member::join_with(&target, Ipv4Addr::LOCALHOST, &query)).unwrap();
        Self { _class: class, _server: server, target, runtime, teacher }
    }

    /// Gives an order and waits until the server has carried it out.
    #[track_caller]
    fn order(&mut self, order: RoomOrder) {
        let said = self.runtime.block_on(async {
            self.teacher.say(&ClientMessage::Order(order.clone())).await;
            let confirmed = |message| match message {
                ServerMessage::Order { order, .. } => Some(Ok(order)),
                ServerMessage::Error { code, message, .. } => Some(Err((code, message))),
                _ => None,
            };
            self.teacher.hear_until(confirmed).await
        });
        assert_eq!(said, Some(Ok(order)));
    }

    /// Joins with a session, and returns the member or the code of the refusal.
    fn join(&self, from: Ipv4Addr, user: &str, session: char) -> Result<Member, String> {
        let auth = json!({ "session": session.to_string().repeat(20) });
        let joined = self.runtime.block_on(admission::join_with(&self.target, from, user, auth));
        joined.map_err(|refusal| refusal.to_string())
    }
}

/// The user id of an attacker in the first attempt.
fn id(user: &str) -> UserId {
    format!("{user}-0").parse().unwrap()
}

/// Needs: the orders `lobby` and `admit` in the room.
#[test]
fn a_crowd_in_the_lobby_gets_nothing_and_hides_nobody() {
    let mut room = Room::open();
    room.order(RoomOrder::Lobby { lobby: true });
    let target = room.target.clone();
    let crowd = room.runtime.spawn(async move { admission::lobby(&target, 150, Duration::from_secs(5)).await });
    let is_full = |message| matches!(message, ServerMessage::Lobby { count, .. } if count >= 150).then_some(());
    assert!(room.runtime.block_on(room.teacher.hear_until(is_full)).is_some(), "150 strangers wait");
    let query = format!("{}&auth=1", room.target.query("honest"));
    let target = &room.target;
    let honest = async {
        let mut honest = Member::open(target, network(9), &query, &[], true).await?;
        honest.say_text(r#"{"type":"auth"}"#).await;
        let waits = honest.hear_until(|message| matches!(message, ServerMessage::Waiting { .. }).then_some(())).await;
        assert!(waits.is_some(), "an honest student waits");
        Ok::<_, Refusal>(honest)
    };
    let mut honest = room.runtime.block_on(honest).unwrap();
    room.order(RoomOrder::Admit { target_uid: Some(id("honest")) });
    assert_eq!(code(room.runtime.block_on(honest.is_in())), "in");
    let tally = room.runtime.block_on(crowd).unwrap();
    assert!(tally.broken.is_empty() && tally.of("waited") == 150, "{:?} {tally}", tally.broken);
}

/// Needs: the orders `kick` and `ban` in the room.
#[test]
fn a_student_who_is_out_stays_out() {
    let mut room = Room::open();
    let _bystander = room.join(network(9), "1001", 'b').unwrap();
    let mut rude = room.join(network(1), "rude", 'r').unwrap();
    room.order(RoomOrder::Kick { target_uid: id("rude") });
    let told = |message| match message {
        ServerMessage::Error { code, .. } => Some(code),
        _ => None,
    };
    assert_eq!(room.runtime.block_on(rude.hear_until(told)), Some(ErrorCode::Removed));
    let again = |room: &Room, user: &str, session| {
        room.join(network(1), user, session).map_or_else(|code| code, |_| "in".into())
    };
    assert_eq!(again(&room, "rude", 'r'), "removed");
    assert_eq!(again(&room, "another-name", 'r'), "removed", "the same client");
    let _ruder = room.join(network(3), "ruder", 's').unwrap();
    room.order(RoomOrder::Ban { target_uid: id("ruder") });
    let from_there = |user: &str| room.join(network(3), user, 'u').map_or_else(|code| code, |_| "in".into());
    assert_eq!(from_there("ruder"), "removed", "the same name");
    assert_eq!(from_there("third-name"), "removed", "the same network");
    assert!(room.join(network(2), "1002", 'h').is_ok(), "another network");
}
