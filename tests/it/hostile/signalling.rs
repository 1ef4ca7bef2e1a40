//! Attacks by WebSocket: lists, rooms, and the teacher's seat.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::Besieged;
use crate::attack::member::Member;
use crate::attack::proxy::Proxy;
use crate::attack::{Tally, Target, signalling, web};
use crate::support::{Classroom, Process};

/// Needs: a byte budget for each student, and a list once a second.
#[test]
fn lists_that_nobody_reads_take_no_memory() {
    let mut besieged = Besieged::teach(&[]);
    // Slower than a member may be, so that nobody is closed for its own messages.
    let lasts = Duration::from_secs(3);
    let tally = besieged.withstands(async |at| signalling::user_lists(at, 60, 60, false, lasts).await);
    assert!(tally.of("asked") > 1_000, "{tally}");
}

#[test]
fn malformed_messages_end_only_their_own_connection() {
    let mut besieged = Besieged::teach(&[]);
    besieged.withstands(async |at| signalling::malformed(at, 20).await);
}

#[test]
fn strangers_do_not_get_a_room_that_is_taught_in() {
    let mut besieged = Besieged::teach(&[]);
    let tally = besieged.withstands(async |at| signalling::publishers(at, Duration::from_secs(1)).await);
    assert!(tally.answers.values().sum::<u64>() > 10, "{tally}");
}

fn address(class: &Classroom) -> SocketAddr {
    class.url().replace("ws://", "").parse().unwrap()
}

/// Needs: room and user id reserved before the port is open.
#[test]
fn a_teacher_gets_its_room_before_any_stranger() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..2 {
        let class = Classroom::new();
        let target = Target::new(address(&class), address(&class)).unwrap();
        let strangers = runtime.spawn(async move { signalling::publishers(&target, Duration::from_secs(3)).await });
        let teacher = class.teacher(&["--test", "--size", "320x180"]);
        let tally = runtime.block_on(strangers).unwrap();
        assert!(tally.broken.is_empty(), "{:?}", tally.broken);
        assert!(tally.of("publisherExists") + tally.of("notAllowed") + tally.of("teachingKeyRequired") > 0, "{tally}");
        teacher.interrupt();
    }
}

/// Needs: secrets in the first message instead of the URL.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_url() {
    let class = Classroom::new();
    let _teacher = class.lecturer();
    let proxy = Proxy::start(address(&class)).await.unwrap();
    let url = format!("ws://{}", proxy.address);
    let watch = ["watch", "--room", "10013", "--user", "1001", "--sink", "null", "--server", &url];
    let student = Process::start("student", class.command(&watch));
    tokio::task::block_in_place(|| student.wait_for("first frame", |event| event["event"] == "first-frame"));
    let mut tally = Tally::default();
    proxy.expect_no_secrets(&mut tally);
    assert!(tally.broken.is_empty(), "{:?}", tally.broken);
}

/// Needs: a share of new rooms for each network.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_creates_rooms_stops_no_other_teacher() {
    let class = Classroom::new();
    let _server = tokio::task::block_in_place(|| class.server());
    let target = Target::new(address(&class), address(&class)).unwrap();
    let mut tally = signalling::rooms(&target, 200, 400).await;
    assert!(tally.of("POST 429") > 0, "{tally}");
    let json = "content-type: application/json\r\n";
    let created = web::ask(&target, Ipv4Addr::LOCALHOST, "POST /api/rooms", json, "{\"name\":\"honest\"}").await;
    assert_eq!(web::outcome(&created), "201", "for an honest teacher; attackers: {tally}");
    let query = "roomId=honest&userId=9999&nickname=Ms+Li&pub=pub";
    let taught = Member::join_with(&target, Ipv4Addr::LOCALHOST, query).await.map(|_| ());
    tally.expect(taught.is_ok(), || format!("an honest teacher was refused: {taught:?}"));
    let list = web::ask(&target, Ipv4Addr::LOCALHOST, "GET /api/rooms", "", "").await.unwrap().body;
    let rooms: Vec<Value> = serde_json::from_str(&list).unwrap();
    let of_attacker = rooms.iter().filter(|room| room.to_string().contains("attack")).count();
    tally.expect(of_attacker <= 64, || format!("{of_attacker} rooms of the attacker are in the list"));
    assert!(tally.broken.is_empty(), "{:?}", tally.broken);
}
