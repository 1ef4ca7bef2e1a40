//! Clients that reach the server by UDP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval};

use super::message::MAX_MESSAGE_BYTES;
use super::server::{Client, Shared};
use super::session::Session;

/// How often sessions without an allocation are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// The pause after a failed receive, so that a broken socket does not take a core.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the clients of one socket. Those without an allocation leave no trace; the others are as many as the quota
/// allows.
pub(super) async fn serve(shared: Arc<Shared>, socket: Arc<UdpSocket>, at: SocketAddr) {
    let mut sessions: HashMap<SocketAddr, Arc<Session>> = HashMap::new();
    let mut forget = interval(FORGET_EVERY);
    forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = [0; MAX_MESSAGE_BYTES + 1];
    loop {
        let (length, from) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            _ = forget.tick() => {
                sessions.retain(|_, session| session.has_allocation());
                continue;
            }
        };
        let known = sessions.get(&from).cloned();
        let session = known.unwrap_or_else(|| Arc::new(Session::new(Arc::clone(&shared), Client { from, at })));
        let handled = session.on_client(&buffer[..length]);
        if let Some(answer) = handled.answer {
            let _ = socket.try_send_to(&answer, from);
        }
        if let Some(relay) = handled.opened {
            sessions.insert(from, Arc::clone(&session));
            tokio::spawn(relay_to_client(session, relay, Arc::clone(&socket), from));
        }
    }
}

/// Passes packets of peers to a client until its allocation is over.
async fn relay_to_client(session: Arc<Session>, relay: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    loop {
        tokio::select! {
            received = relay.recv_from(&mut buffer) => {
                let Ok((length, peer)) = received else { continue };
                if let Some(message) = session.on_peer(peer, &buffer[..length]) {
                    let _ = socket.try_send_to(&message, client);
                }
            }
            () = session.over() => return,
        }
    }
}
