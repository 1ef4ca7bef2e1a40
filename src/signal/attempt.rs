//! One attempt of a client to join: connect, upgrade to a WebSocket, be let into the room.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::ServerUrl;
use super::dial::dial;
use crate::id::{Nickname, RoomId, RoomName, UserId};
use crate::protocol::{
    self, ClientKind, Credentials, ErrorCode, IceServer, JoinRequest, MediaHost, RoomKind, ServerMessage, User,
};
use crate::tls::{Stream, TlsError, Trust};

/// How long the server may take to answer the join request, once TCP is connected.
const ENTER_WITHIN: Duration = Duration::from_secs(3);

/// The data that a client needs to join a room.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The server.
    pub server: ServerUrl,
    /// The client's trust, if the server's URL has TLS.
    pub trust: Trust,
    /// The room.
    pub room: RoomId,
    /// The kind of the room, if it does not exist yet.
    pub kind: Option<RoomKind>,
    /// The kind of client, for the list of members.
    pub client: Option<ClientKind>,
    /// The room's name, from a publisher; without one, the room keeps its name.
    pub room_name: Option<RoomName>,
    /// The user id that the client asks for.
    pub user: UserId,
    /// The name that others see.
    pub nickname: Nickname,
    /// Whether the client publishes.
    pub publishes: bool,
    /// The secrets of this client; for the session see [`super::SessionToken`].
    pub credentials: Credentials,
    /// A random number, drawn once per process.
    pub epoch: u32,
    /// How long the first connection may take, retries included, before [`SignalError::Unreachable`].
    pub initial_deadline: Duration,
}

/// An event for the client.
#[derive(Debug)]
pub enum SignalEvent {
    /// The client is in the room, for the first time or again. After a restart of the server, members who are missing
    /// here may still be on their way back; [`ServerMessage::Leave`] names those who left.
    Joined {
        /// The room's name, if it has one.
        room_name: Option<RoomName>,
        /// The kind of the room.
        kind: RoomKind,
        /// Everybody in the room.
        users: Vec<User>,
        /// The publisher, if there is one.
        publisher: Option<UserId>,
        /// STUN and TURN servers that the server recommends.
        ice_servers: Vec<IceServer>,
    },
    /// The client waits until the teacher admits it; [`SignalEvent::Joined`] or [`SignalEvent::Ended`] follows.
    Waiting {
        /// The room's name, if it has one.
        room_name: Option<RoomName>,
    },
    /// Any other message of the server, except errors that close the connection.
    Message(ServerMessage),
    /// The connection is lost and the client reconnects. Messages sent meanwhile wait.
    Lost {
        /// Why.
        reason: String,
    },
    /// The last event: the server refuses this client for good.
    Ended(SignalError),
}

/// Why a client is not connected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Nothing answered.
    #[error("can't reach the signalling server {server}: {cause}")]
    Unreachable {
        /// The server's address.
        server: ServerUrl,
        /// The cause of the last failure.
        cause: String,
    },
    /// Something answered that does not speak the protocol.
    #[error(
        "{server} is not a classroom server: {cause}; check host and port, which `classroom serve` and `teach` print"
    )]
    NotAServer {
        /// The address that answered.
        server: ServerUrl,
        /// The answer.
        cause: String,
    },
    /// There is no secure connection to the server.
    #[error("no secure connection to {server}: {cause}")]
    Tls {
        /// The server's address.
        server: ServerUrl,
        /// The cause and the remedy.
        cause: TlsError,
    },
    /// The server refused the client.
    #[error("refused by the server: {message}")]
    Refused {
        /// Why, for a program.
        code: ErrorCode,
        /// Why, for a person.
        message: String,
    },
}

/// A client's WebSocket.
pub(super) type Socket = WebSocketStream<Stream>;

/// A connection that has joined the room, or waits in its lobby.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) socket: Socket,
    /// [`SignalEvent::Joined`] or [`SignalEvent::Waiting`].
    pub(super) joined: SignalEvent,
    /// The address that the server's name resolved to.
    pub(super) address: Option<SocketAddr>,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    pub(super) error: SignalError,
    pub(super) retry_after: Option<Duration>,
}

impl FailedAttempt {
    /// Whether a client that was in the room before gives up. A foreign answer at the server's address is not final:
    /// the server may be about to start again. Nor is another identity: somebody in the network may pretend to be the
    /// server for a moment.
    pub(super) fn is_final(&self) -> bool {
        match &self.error {
            SignalError::Unreachable { .. } | SignalError::NotAServer { .. } | SignalError::Tls { .. } => false,
            SignalError::Refused { code, .. } => self.retry_after.is_none() && code.is_final(),
        }
    }

    /// Whether a client that was never in the room gives up.
    pub(super) fn is_final_at_first(&self) -> bool {
        matches!(self.error, SignalError::NotAServer { .. } | SignalError::Tls { .. }) || self.is_final()
    }
}

/// Connects and joins. `known` is the server's address in the previous attempt.
pub(super) async fn enter(config: &ClientConfig, known: Option<SocketAddr>) -> Result<Entered, FailedAttempt> {
    let unreachable = |cause: String| FailedAttempt {
        error: SignalError::Unreachable { server: config.server.clone(), cause },
        retry_after: None,
    };
    let stream = dial(config.server.host(), config.server.port(), known).await;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    // Signalling messages are small and urgent, so Nagle's algorithm is off.
    stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
    let address = stream.peer_addr().ok();
    let deadline = Instant::now() + ENTER_WITHIN;
    let too_slow = |_| unreachable(format!("no answer within {} s", ENTER_WITHIN.as_secs()));
    let stream = timeout_at(deadline, secure(config, stream)).await.map_err(too_slow)??;
    let (socket, joined) = timeout_at(deadline, join(config, stream)).await.map_err(too_slow)??;
    Ok(Entered { socket, joined, address })
}

/// The connection with TLS, if the server's URL has it.
async fn secure(config: &ClientConfig, stream: TcpStream) -> Result<Stream, FailedAttempt> {
    if !config.server.uses_tls() {
        return Ok(Box::new(stream));
    }
    let server = config.server.clone();
    config.trust.connect(stream, config.server.host()).await.map_err(|cause| {
        let error = if cause.may_change() {
            SignalError::Unreachable { server, cause: cause.to_string() }
        } else {
            SignalError::Tls { server, cause }
        };
        FailedAttempt { error, retry_after: None }
    })
}

async fn join(config: &ClientConfig, stream: Stream) -> Result<(Socket, SignalEvent), FailedAttempt> {
    let failed = |error| FailedAttempt { error, retry_after: None };
    let unreachable = |cause: String| failed(SignalError::Unreachable { server: config.server.clone(), cause });
    let not_a_server = |cause: String| failed(SignalError::NotAServer { server: config.server.clone(), cause });
    let request = JoinRequest {
        kind: config.kind,
        room: config.room.clone(),
        room_name: config.room_name.clone(),
        user: config.user.clone(),
        nickname: config.nickname.clone(),
        publishes: config.publishes,
        // A program carries its own media.
        media: MediaHost::Publisher,
        epoch: config.epoch,
        client: config.client,
        auth: true,
    };
    let url = config.server.with_query(&request.to_query());
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(protocol::MAX_SERVER_MESSAGE_BYTES))
        .max_frame_size(Some(protocol::MAX_SERVER_MESSAGE_BYTES));
    let (mut socket, _response) = match client_async_with_config(url, stream, Some(limits)).await {
        Ok(open) => open,
        Err(Error::Http(response)) if wants_tls(response.status(), response.headers()) => {
            return Err(failed(SignalError::Tls { server: config.server.clone(), cause: TlsError::WantsTls }));
        }
        Err(Error::Http(response)) => {
            let (status, cause) = (response.status(), format!("it answered {}", response.status()));
            return Err(match response.body().as_deref().and_then(refusal) {
                Some(HttpRefusal { message, .. }) if may_change(status) => unreachable(message),
                Some(HttpRefusal { code, message }) => failed(SignalError::Refused { code, message }),
                None if may_change(status) => unreachable(cause),
                None => not_a_server(cause),
            });
        }
        // A port forwarder whose target is not up yet closes the connection like this.
        Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => {
            return Err(unreachable("it closed the connection".into()));
        }
        Err(Error::Protocol(error)) => {
            return Err(not_a_server(format!("it speaks another protocol, perhaps TLS, as in wss:// ({error})")));
        }
        Err(error) => return Err(unreachable(error.to_string())),
    };
    let auth = Message::text(config.credentials.to_json());
    socket.send(auth).await.map_err(|error| unreachable(error.to_string()))?;
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Err(error)) => return Err(unreachable(error.to_string())),
            _ => return Err(unreachable("it closed the connection".into())),
        };
        match ServerMessage::parse(&text) {
            Ok(message) => {
                if let Some(failed) = closing_error(&message) {
                    return Err(failed);
                }
                let event = SignalEvent::of(message);
                if !matches!(event, SignalEvent::Message(_)) {
                    return Ok((socket, event));
                }
            }
            Err(cause) => return Err(not_a_server(cause)),
        }
    }
}

impl SignalEvent {
    /// The event of a message that does not close the connection.
    pub(super) fn of(message: ServerMessage) -> Self {
        match message {
            ServerMessage::Joined { room_name, kind, users, publisher, ice_servers, .. } => {
                Self::Joined { room_name, kind, users, publisher, ice_servers }
            }
            ServerMessage::Waiting { room_name, .. } => Self::Waiting { room_name },
            message => Self::Message(message),
        }
    }
}

/// Whether a server refuses plain HTTP: 426 with a TLS version in `Upgrade` (RFC 2817, 4.2), or a redirection to
/// `https://`, which a proxy may answer.
fn wants_tls(status: StatusCode, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let upgrade = || text(header::UPGRADE).split(',').any(|token| token.trim().starts_with("TLS/"));
    (status == StatusCode::UPGRADE_REQUIRED && upgrade())
        || (status.is_redirection() && text(header::LOCATION).starts_with("https://"))
}

/// Whether the same request may soon get another answer: from a proxy whose server is not up yet, or from a server that
/// is shutting down.
fn may_change(status: StatusCode) -> bool {
    let asks_to_wait = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || asks_to_wait.contains(&status)
}

/// The body of our own server's refusal of a request.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct HttpRefusal {
    code: ErrorCode,
    message: String,
}

/// Reads a refusal, which a server that does not know its name sends, or one that limits the rate. None if something
/// else answered, or if the body has not arrived with the head.
fn refusal(body: &[u8]) -> Option<HttpRefusal> {
    serde_json::from_slice(body).ok().filter(|refusal: &HttpRefusal| refusal.code != ErrorCode::Unknown)
}

/// Returns an error of the server itself that closes the connection.
pub(super) fn closing_error(message: &ServerMessage) -> Option<FailedAttempt> {
    match message {
        ServerMessage::Error { code, message, user_id: None, retry_after_ms, .. } if code.closes() => {
            Some(FailedAttempt {
                error: SignalError::Refused { code: *code, message: message.clone() },
                retry_after: retry_after_ms.map(Duration::from_millis),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_of_a_refused_request_is_shown() {
        let body =
            r#"{"code":"notAllowed","message":"this server does not know the name lab: start it with --host lab"}"#;
        let refused = refusal(body.as_bytes()).unwrap();
        assert!(refused.code.is_final() && refused.message.contains("--host lab"));
        for other in ["", "<html>", "{}", r#"{"message":"x"}"#, r#"{"code":"teapot","message":"x"}"#, &body[..40]] {
            assert_eq!(refusal(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_client_waits_for_a_proxy_whose_server_is_not_up() {
        for status in [502, 503, 504, 500, 429, 408] {
            assert!(may_change(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404, 426] {
            assert!(!may_change(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }

    #[test]
    fn a_server_that_wants_tls_is_recognized() {
        let wants = |status: u16, name: header::HeaderName, value: &str| {
            wants_tls(StatusCode::from_u16(status).unwrap(), &HeaderMap::from_iter([(name, value.parse().unwrap())]))
        };
        assert!(wants(426, header::UPGRADE, "TLS/1.2, HTTP/1.1"));
        assert!(wants(308, header::LOCATION, "https://a:18080/ws"));
        assert!(!wants(426, header::UPGRADE, "websocket"), "this is about the WebSocket");
        assert!(!wants(302, header::LOCATION, "/login") && !wants(200, header::UPGRADE, "TLS/1.2"));
    }
}
