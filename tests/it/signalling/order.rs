//! Join codes, lobby, lock, kicks and bans over the wire.

use classroom::protocol::{RoomOrder, RoomSettings};

use super::*;

impl School {
    /// A raw client with these credentials, whatever the server's answer.
    async fn arrive(&self, user: &str, credentials: &Credentials) -> Raw {
        let publishes = if user.starts_with('9') { "&pub=pub" } else { "" };
        let mut raw = self.connect(&format!("roomId=1&userId={user}{publishes}&auth=1")).await;
        raw.say_raw(Message::text(credentials.to_json())).await;
        raw
    }

    /// A teacher that gives these settings to the room.
    async fn teacher_with(&self, settings: RoomSettings) -> Raw {
        let mut raw =
            self.arrive("9999", &Credentials { room: Some(settings), ..credentials("teacherteacherte") }).await;
        let joined = raw.hear().await;
        assert!(matches!(joined, ServerMessage::Joined { .. }), "{joined:?}");
        raw
    }
}

impl Raw {
    async fn order(&mut self, order: RoomOrder) {
        self.say(ClientMessage::Order(order.clone())).await;
        self.hear_until(|message| *message == ServerMessage::Order { user_id: id("9999"), order: order.clone() }).await;
    }

    async fn waits(&mut self) {
        let message = self.hear().await;
        assert!(matches!(message, ServerMessage::Waiting { .. }), "{message:?}");
    }
}

fn with_code(user: &str, code: &str) -> Credentials {
    Credentials { code: Some(code.into()), ..credentials(&format!("studentstudent{user}")) }
}

fn lobby() -> RoomSettings {
    RoomSettings { lobby: true, ..RoomSettings::default() }
}

#[tokio::test]
async fn a_join_code_is_asked_for_also_of_students_who_came_first() {
    let school = School::open().await;
    let mut early = school.student("1001").await;
    let mut early_with_code = school.arrive("1002", &with_code("1002", "472913")).await;
    early_with_code.hear_until(|message| matches!(message, ServerMessage::Joined { .. })).await;
    let _teacher = school.teacher_with(RoomSettings { code: Some("472913".into()), ..RoomSettings::default() }).await;
    early.refused(ErrorCode::CodeRequired).await;
    early_with_code
        .hear_until(|message| matches!(message, ServerMessage::Join { users } if users[0].user_id == id("9999")))
        .await;
    let mut wrong = school.arrive("1003", &with_code("1003", "111111")).await;
    wrong.refused(ErrorCode::WrongCode).await;
    let mut right = school.arrive("1003", &with_code("1003", "472 913")).await;
    assert!(matches!(right.hear().await, ServerMessage::Joined { .. }));
    assert!(school.server.rooms()[0].has_code);
    school.close().await;
}

#[tokio::test]
async fn a_client_in_the_lobby_learns_nothing_until_it_is_admitted() {
    let school = School::open().await;
    let mut teacher = school.teacher_with(lobby()).await;
    let mut member = school.connect(&student("1001")).await;
    member.waits().await;
    teacher.order(RoomOrder::Admit { target_uid: Some(id("1001")) }).await;
    assert!(matches!(member.hear().await, ServerMessage::Joined { .. }));
    // The list is kept as text for members from here on.
    member.say(ClientMessage::RoomUserList).await;
    member.hear_until(|message| matches!(message, ServerMessage::RoomUserList { .. })).await;
    let mut waiting = school.connect(&student("1002")).await;
    waiting.waits().await;
    for message in [ClientMessage::RoomUserList, offer()] {
        waiting.say(message).await;
        assert_eq!(waiting.error().await.0, ErrorCode::NotAllowed);
    }
    let is_listed = |message: &ServerMessage| match message {
        ServerMessage::Lobby { users, count: 1 } => users[0].user_id == id("1002"),
        _ => false,
    };
    teacher.hear_until(is_listed).await;
    teacher.order(RoomOrder::Deny { target_uid: id("1002") }).await;
    waiting.refused(ErrorCode::Removed).await;
    school.close().await;
}

#[tokio::test]
async fn the_library_client_waits_in_the_lobby_and_then_joins() {
    let school = School::open().await;
    let mut teacher = school.teacher_with(lobby()).await;
    let (_client, mut events) = Client::connect(school.config("1001", 's')).await.unwrap();
    assert!(matches!(event(&mut events).await, SignalEvent::Waiting { .. }));
    // Longer than a server may take to answer a join request.
    let early = timeout(Duration::from_millis(3_500), event(&mut events)).await;
    assert!(early.is_err(), "{early:?}");
    teacher.order(RoomOrder::Lobby { lobby: false }).await;
    assert!(matches!(event(&mut events).await, SignalEvent::Joined { publisher: Some(_), .. }));
    school.close().await;
}

#[tokio::test]
async fn a_kicked_client_ends_with_the_reason_and_stays_out() {
    let school = School::open().await;
    let mut teacher = school.teacher_with(RoomSettings::default()).await;
    let (_client, mut events) = Client::connect(school.config("1001", 's')).await.unwrap();
    teacher.order(RoomOrder::Kick { target_uid: id("1001") }).await;
    let ended = event_until(&mut events, |event| matches!(event, SignalEvent::Ended(_))).await;
    let SignalEvent::Ended(SignalError::Refused { code: ErrorCode::Removed, message }) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(message, "the teacher has put you out of the room");
    let refused = Client::connect(school.config("1001", 's')).await.unwrap_err();
    assert!(matches!(refused, SignalError::Refused { code: ErrorCode::Removed, .. }), "{refused}");
    teacher.order(RoomOrder::Unban { target_uid: id("1001") }).await;
    Client::connect(school.config("1001", 's')).await.unwrap();
    school.close().await;
}

#[tokio::test]
async fn a_ban_outlives_a_new_session_and_a_lock_keeps_newcomers_out() {
    let school = School::open().await;
    let mut teacher = school.teacher_with(RoomSettings::default()).await;
    let mut banned = school.student("1001").await;
    let mut witness = school.student("1002").await;
    teacher.order(RoomOrder::Ban { target_uid: id("1001") }).await;
    banned.refused(ErrorCode::Removed).await;
    let removed = ServerMessage::Leave { users: vec![id("1001")], reason: LeaveReason::Removed };
    let is_leave = |message: &ServerMessage| *message == removed;
    witness.hear_until(is_leave).await;
    school.connect("roomId=1&userId=1001&session=anothersession01").await.refused(ErrorCode::Removed).await;
    teacher.order(RoomOrder::Lock { locked: true }).await;
    // The teacher shares this network, so the ban does not concern the address.
    school.connect(&student("1003")).await.refused(ErrorCode::RoomLocked).await;
    drop(witness);
    school.student("1002").await;
    school.close().await;
}

#[tokio::test]
async fn students_give_no_orders() {
    let school = School::open().await;
    let mut teacher = school.teacher_with(RoomSettings::default()).await;
    let mut one = school.student("1001").await;
    let _two = school.student("1002").await;
    one.say(ClientMessage::Order(RoomOrder::Kick { target_uid: id("1002") })).await;
    assert_eq!(one.error().await.0, ErrorCode::NotAllowed);
    teacher.say(ClientMessage::Order(RoomOrder::Kick { target_uid: id("9999") })).await;
    assert_eq!(teacher.error().await.0, ErrorCode::NotAllowed);
    assert_eq!(school.server.rooms()[0].watching, 2);
    school.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_of_500_from_one_address_comes_in_one_instant() {
    let school = School::open().await;
    let _teacher = school.join(TEACHER).await;
    let names: Vec<_> = (0..500).map(|n| student(&format!("{}", 1_001 + n))).collect();
    let mut students = join_all(names.iter().map(|name| school.join(name))).await;
    join_all(students.iter_mut().map(|student| student.say(offer()))).await;
    wait_for("500 students", || school.server.rooms()[0].watching == 500).await;
    school.close().await;
}
