//! A teacher's room belongs to the teacher before its port is open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use classroom::protocol::ServerMessage;
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Classroom, Process, ROOM};

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
