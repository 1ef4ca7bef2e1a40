//! Whose room it is, and who gets in: the reservation before the port is open, the lobby, a kick, the join code.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use classroom::protocol::ServerMessage;
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Classroom, DEADLINE, Process, ROOM, is_picture};

/// How often the teacher starts.
const STARTS: usize = 8;

/// Tries to join as fast as possible until `over`; returns how often it was let in.
async fn rush(address: SocketAddr, query: &str, answers: &AtomicUsize, over: &AtomicBool) -> usize {
    let mut let_in = 0;
    while !over.load(Ordering::Relaxed) {
        let Ok(stream) = TcpStream::connect(address).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let url = format!("ws://{address}/ws?roomId={ROOM}&{query}");
        let Ok((mut socket, _)) = client_async(url, stream).await else { continue };
        let Some(Ok(Message::Text(text))) = socket.next().await else { continue };
        answers.fetch_add(1, Ordering::Relaxed);
        if matches!(ServerMessage::parse(&text), Ok(ServerMessage::Joined { .. })) {
            let_in += 1;
        }
    }
    let_in
}

#[test]
fn a_stranger_never_takes_the_room_or_the_id_of_a_teacher_that_starts() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for start in 0..STARTS {
        let class = Classroom::new();
        let address = SocketAddr::from(([127, 0, 0, 1], class.port()));
        let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        // One stranger wants to teach, the other one wants the id of the teacher.
        let strangers = ["userId=6666&pub=pub", "userId=9999&pub=no"].map(|query| {
            let (over, answers) = (over.clone(), answers.clone());
            runtime.spawn(async move { rush(address, query, &answers, &over).await })
        });
        let flags = ["--listen", &address.to_string(), "--test", "--no-audio", "--size", "320x180"];
        let mut teacher = Process::start("teacher", class.teach(&flags));
        teacher.wait_for("joined", |event| event["event"] == "joined" && event["user"] == "9999");
        over.store(true, Ordering::Relaxed);
        let let_in = strangers.map(|stranger| runtime.block_on(stranger).unwrap());
        assert_eq!(let_in, [0, 0], "start {start}");
        assert!(answers.load(Ordering::Relaxed) > 0, "start {start}: the strangers were there in time");
        teacher.interrupt();
        teacher.ends_with(0);
    }
}

#[test]
fn a_student_waits_in_the_lobby_watches_and_is_put_out() {
    let class = Classroom::new();
    let listen = class.url().replace("ws://", "");
    let flags = ["--test", "--no-audio", "--size", "320x180", "--lobby", "--chat", "--listen", &listen];
    let mut command = class.teach(&flags);
    command.stdin(Stdio::piped());
    let mut teacher = Process::start("teacher", command);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let mut student = class.student(1001, &[]);
    student.wait_for("waiting", |event| event["event"] == "waiting" && event["user"] == "1001");
    assert!(student.events().iter().all(|event| event["event"] != "joined"));
    teacher.wait_for("lobby", |event| event["event"] == "lobby" && event["count"] == 1);
    teacher.types("/admit 1001");
    student.wait_for("first frame", |event| event["event"] == "first-frame");
    teacher.types("/kick 1001");
    let stderr = student.ends_with(5);
    assert!(stderr.contains("the teacher has put you out of the room"), "{stderr}");
    teacher.interrupt();
    teacher.ends_with(0);
}

#[test]
fn a_student_learns_that_a_code_is_asked_for_or_that_nobody_admits_it() {
    let class = Classroom::new();
    let teacher = class.teacher(&["--test", "--no-audio", "--size", "320x180", "--lobby", "--code=472913"]);
    let stderr = class.student(1001, &[]).ends_with(5);
    assert!(stderr.contains("has a join code"), "{stderr}");
    let stderr = class.student(1001, &["--code", "111111"]).ends_with(5);
    assert!(stderr.contains("is not the join code"), "{stderr}");
    let stderr = class.student(1001, &["--code", "472913", "--timeout", "2s"]).ends_with(5);
    assert!(stderr.contains("did not admit you to room 10013 within 2 s"), "{stderr}");
    teacher.interrupt();
}

/// Needs: the teacher's process gives the bans and the other orders to a server that knows nothing of them.
#[test]
fn bans_and_a_lock_outlive_a_restart_of_the_server() {
    let class = Classroom::new();
    let mut server = class.server();
    let flags = ["--test", "--no-audio", "--size", "320x180", "--chat", "--server", &class.url(), "--udp-port", "0"];
    let mut command = class.teach(&flags);
    command.stdin(Stdio::piped());
    let mut teacher = Process::start("teacher", command);
    teacher.wait_for("joined", |event| event["event"] == "joined");
    let [mut rude, honest] = [1001, 1002].map(|user| class.student(user, &[]));
    [&rude, &honest].iter().for_each(|student| _ = student.wait_for("picture", is_picture));
    teacher.types("/ban 1001");
    rude.ends_with(5);
    teacher.types("/lock");
    let is_lock = |event: &serde_json::Value| event["event"] == "order" && event["order"] == "lock";
    teacher.wait_for("the lock", is_lock);

    server.kill();
    let mark = teacher.mark();
    let _server = class.server();
    teacher.wait_since(mark, DEADLINE, "the lock again", is_lock);
    let stderr = class.student(1001, &[]).ends_with(5);
    assert!(stderr.contains("the teacher has put you out of room 10013"), "{stderr}");
    let stderr = class.student(1003, &[]).ends_with(5);
    assert!(stderr.contains("has locked room"), "{stderr}");
    // The student who was in the room is in it again, and watches all the while.
    honest.wait_since(honest.mark(), DEADLINE, "picture", is_picture);
    let has_it = |room: Option<&serde_json::Value>| room.is_some_and(|room| room["watching"] == 1);
    class.wait_for_room("the student", DEADLINE, has_it);
}
