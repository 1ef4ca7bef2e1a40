//! A server of several that is stopped while a client reads nothing: what the load balancer reads, and how to end the
//! wait.

use std::time::Duration;

use classroom::protocol::{ClientMessage, ServerMessage};
use classroom::signal::SignalEvent;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpSocket;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::cluster::{Node, curl, member, until};
use crate::support::{Classroom, DEADLINE, RedisServer};

/// Bytes that no buffer of the kernel takes with the settings of both ends.
const BACKLOG: usize = 2_000_000;

/// The longest offer that fits into a message.
const SDP: usize = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drains_is_not_ready_and_a_second_sigterm_ends_it() {
    let Some(redis) = RedisServer::start("a_server_that_drains_is_not_ready_and_a_second_sigterm_ends_it") else {
        return;
    };
    let class = Classroom::new();
    let mut node = Node::start_with(&class, &redis, "a", &["--drain", "10m"]);
    assert_eq!(curl(&node.address, "/readyz").as_deref(), Some("ok\n"));

    // A teacher that reads nothing and sends pings: the messages that wait for it delay the end of the server.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(node.address.parse().unwrap()).await.unwrap();
    let url = format!("ws://{}/ws?roomId=20000&userId=9999&pub=pub", node.address);
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Text(text))) if text.contains(r#""type":"joined""#)));
    let (mut sink, _unread) = socket.split();
    let alive = tokio::spawn(async move {
        while sink.send(Message::Ping(bytes::Bytes::new())).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (student, mut told) = member(&node, "1001").await;
    for _ in 0..BACKLOG / SDP {
        let (target_uid, sdp) = ("9999".parse().unwrap(), "x".repeat(SDP));
        student.send(ClientMessage::Offer { target_uid, sdp, entry: None, video: None, tracks: None }).unwrap();
    }
    until("a backlog", || {
        node.metric("classroom_signalling_waiting_bytes").is_some_and(|bytes| bytes > BACKLOG as f64 / 2.0)
    });

    node.process.terminate();
    until("not ready", || curl(&node.address, "/readyz").as_deref() == Some("the server is ending\n"));
    assert_eq!(curl(&node.address, "/healthz").as_deref(), Some("ok\n"));
    let sent_away = async {
        while let Some(event) = told.recv().await {
            if matches!(event, SignalEvent::Lost { .. }) {
                return;
            }
            let SignalEvent::Message(ServerMessage::Error { code, .. }) = event else { continue };
            if code == classroom::protocol::ErrorCode::ServerShutdown {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, sent_away).await.expect("a student is sent away");
    // The server has ten minutes for the teacher.
    node.process.terminate();
    node.process.ends_with(0);
    alive.abort();
}
