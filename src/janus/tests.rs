//! A session against a server that is no Janus, or a hostile one, on loopback.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_async, accept_hdr_async};

use super::session::{JanusServer, Session, SessionEvent};
use super::transactions::Unasked;
use super::*;
use crate::tls::Trust;

type Socket = WebSocketStream<TcpStream>;

async fn listen() -> (TcpListener, JanusServer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap()).parse().unwrap();
    (listener, JanusServer { url, trust: Trust::roots(None).unwrap(), token: None })
}

/// Accepts a client as Janus does, and answers its first request.
async fn accept(listener: &TcpListener) -> Socket {
    let (stream, _) = listener.accept().await.unwrap();
    #[allow(clippy::result_large_err, reason = "the callback's type is the library's")]
    let named = |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", "janus-protocol".parse().unwrap());
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, named).await.unwrap();
    let Some(Ok(Frame::Text(text))) = socket.next().await else { panic!("the client closes") };
    let create: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(create["janus"], "create");
    let created = json!({"janus": "success", "transaction": create["transaction"], "data": {"id": 7}});
    socket.send(Frame::text(created.to_string())).await.unwrap();
    socket
}

#[tokio::test]
async fn a_web_socket_without_the_subprotocol_is_no_janus() {
    let (listener, server) = listen().await;
    let other = async {
        let (stream, _) = listener.accept().await.unwrap();
        let _ = accept_async(stream).await;
    };
    let (opened, ()) = tokio::join!(Session::open(&server, None), other);
    let error = opened.map(|_| ()).unwrap_err();
    assert!(matches!(&error, JanusError::NotJanus { cause, .. } if cause.contains("janus-protocol")), "{error}");
}

#[tokio::test]
async fn a_janus_that_floods_or_talks_nonsense_loses_the_connection() {
    let event = json!({"janus": "webrtcup", "session_id": 7, "sender": 9}).to_string();
    let flood = vec![Frame::text(event); 10_000];
    let nonsense = vec![Frame::text("{\"janus\":7}")];
    let huge = vec![Frame::text("x".repeat(wire::MAX_MESSAGE_BYTES + 1))];
    for (frames, what) in [
        (flood, "more events than can be handled"),
        (nonsense, "no message of Janus"),
        (huge, "no longer reachable"),
        (vec![Frame::binary(vec![1])], "a binary message"),
        (vec![Frame::Close(None)], "has closed the connection"),
        (vec![Frame::text(json!({"janus": "timeout", "session_id": 7}).to_string())], "has ended the session"),
    ] {
        let (listener, server) = listen().await;
        let hostile = tokio::spawn(async move {
            let mut socket = accept(&listener).await;
            for frame in frames {
                if socket.send(frame).await.is_err() {
                    return;
                }
            }
            // Until the client closes.
            while let Some(Ok(_)) = socket.next().await {}
        });
        let (session, mut events, _) = Session::open(&server, None).await.unwrap();
        // A client that takes no events.
        hostile.await.unwrap();
        let error = loop {
            match events.recv().await {
                Some(SessionEvent::Unasked(Unasked::Up(_))) => {}
                Some(SessionEvent::Lost(error)) => break error.to_string(),
                Some(other) => panic!("{other:?}"),
                // The flood leaves no space for the reason.
                None => break "more events than can be handled".to_owned(),
            }
        };
        assert!(error.contains(what), "{error}");
        session.end().await;
    }
}
