//! One attempt of a client to come in: connected, upgraded to a WebSocket, and let into the room.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::client::{ClientConfig, SignalError, SignalEvent};
use super::dial::dial;
use crate::protocol::{self, ClientKind, JoinRequest, ServerMessage};

/// How long the server may take to let us in, once connected.
const ENTER_WITHIN: Duration = Duration::from_secs(3);

/// The client's end of a connection.
pub(super) type Socket = WebSocketStream<TcpStream>;

/// A connection that is in the room.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) socket: Socket,
    /// [`SignalEvent::Joined`].
    pub(super) joined: SignalEvent,
    /// The address behind the server's name.
    pub(super) address: Option<SocketAddr>,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: SignalError,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether a client that was in before gives up. Something else that answers in the place of its server does not
    /// count: the server may be about to start again.
    pub(super) fn is_final(&self) -> bool {
        match &self.error {
            SignalError::Unreachable { .. } | SignalError::NotAServer { .. } => false,
            SignalError::Refused { code, .. } => self.retry_after.is_none() && code.is_final(),
        }
    }

    /// Whether a client that was never in gives up.
    pub(super) fn is_final_at_first(&self) -> bool {
        matches!(self.error, SignalError::NotAServer { .. }) || self.is_final()
    }
}

/// Tries to come in. `known` is the address of the server in the attempt before.
pub(super) async fn enter(config: &ClientConfig, known: Option<SocketAddr>) -> Result<Entered, Refusal> {
    let unreachable = |cause: String| Refusal {
        error: SignalError::Unreachable { server: config.server.clone(), cause },
        retry_after: None,
    };
    let stream = dial(config.server.host(), config.server.port(), known).await;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    // Signalling is small messages that somebody waits for.
    stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
    let address = stream.peer_addr().ok();
    let too_slow = |_| unreachable(format!("no answer within {} s", ENTER_WITHIN.as_secs()));
    let (socket, joined) = timeout(ENTER_WITHIN, join(config, stream)).await.map_err(too_slow)??;
    Ok(Entered { socket, joined, address })
}

async fn join(config: &ClientConfig, stream: TcpStream) -> Result<(Socket, SignalEvent), Refusal> {
    let refusal = |error| Refusal { error, retry_after: None };
    let unreachable = |cause: String| refusal(SignalError::Unreachable { server: config.server.clone(), cause });
    let not_a_server = |cause: String| refusal(SignalError::NotAServer { server: config.server.clone(), cause });
    let request = JoinRequest {
        room: config.room.clone(),
        room_name: config.room_name.clone(),
        user: config.user.clone(),
        nickname: config.nickname.clone(),
        publishes: config.publishes,
        session: Some(config.session.clone()),
        epoch: config.epoch,
        client: (!config.publishes).then_some(ClientKind::Watch),
    };
    let url = config.server.with_query(&request.to_query());
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(protocol::MAX_SERVER_MESSAGE_BYTES))
        .max_frame_size(Some(protocol::MAX_SERVER_MESSAGE_BYTES));
    let (mut socket, _response) = match client_async_with_config(url, stream, Some(limits)).await {
        Ok(open) => open,
        Err(Error::Http(response)) => {
            let (status, cause) = (response.status(), format!("it answered {}", response.status()));
            return Err(if may_change(status) { unreachable(cause) } else { not_a_server(cause) });
        }
        // Closed in the middle, as a forwarded port does whose target is not there yet.
        Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => {
            return Err(unreachable("it closed the connection".into()));
        }
        Err(Error::Protocol(error)) => {
            return Err(not_a_server(format!("it speaks another protocol, TLS perhaps ({error})")));
        }
        Err(error) => return Err(unreachable(error.to_string())),
    };
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Err(error)) => return Err(unreachable(error.to_string())),
            _ => return Err(unreachable("it closed the connection".into())),
        };
        match ServerMessage::parse(&text) {
            Ok(ServerMessage::Joined { room_name, users, publisher, ice_servers, .. }) => {
                return Ok((socket, SignalEvent::Joined { room_name, users, publisher, ice_servers }));
            }
            Ok(message) => {
                if let Some(refusal) = closing_error(&message) {
                    return Err(refusal);
                }
            }
            Err(cause) => return Err(not_a_server(cause)),
        }
    }
}

/// Whether the same request may soon be answered in another way: by a proxy whose server is not there yet, or by a
/// server that ends.
fn may_change(status: StatusCode) -> bool {
    let asks_to_wait = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || asks_to_wait.contains(&status)
}

/// An error by the server itself after which it closes the connection.
pub(super) fn closing_error(message: &ServerMessage) -> Option<Refusal> {
    match message {
        ServerMessage::Error { code, message, user_id: None, retry_after_ms, .. } if code.closes() => Some(Refusal {
            error: SignalError::Refused { code: *code, message: message.clone() },
            retry_after: retry_after_ms.map(Duration::from_millis),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_waits_for_its_server_is_waited_for() {
        for status in [502, 503, 504, 500, 429, 408] {
            assert!(may_change(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404, 426] {
            assert!(!may_change(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}
