//! A member of a room by raw WebSocket, from any address, with any headers.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use classroom::protocol::{ClientMessage, ErrorCode, ServerMessage};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{PATIENCE, Target};

/// Why somebody is not in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The connection was refused, reset, or silent.
    Socket(&'static str),
    /// An HTTP status instead of a WebSocket.
    Status(u16),
    /// An error of the protocol.
    Code(ErrorCode),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(what) => f.pad(what),
            Self::Status(status) => status.fmt(f),
            Self::Code(code) => code.fmt(f),
        }
    }
}

/// A TCP connection from this address, with a small receive buffer if the client will not read.
///
/// # Errors
/// If the server refuses it, or does not answer in time.
pub async fn connect(from: Ipv4Addr, to: SocketAddr, reads: bool) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    if !reads {
        socket.set_recv_buffer_size(4_096)?;
    }
    timeout(PATIENCE, socket.connect(to)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// TCP, or TLS over TCP.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection to the target that requests can be sent on: with TLS, the handshake is done.
///
/// # Errors
/// If the server refuses it, or does not answer in time.
pub async fn dial(target: &Target, from: Ipv4Addr, reads: bool) -> io::Result<Box<dyn Wire>> {
    let stream = connect(from, target.http, reads).await?;
    let Some(config) = &target.tls else { return Ok(Box::new(stream)) };
    let name = ServerName::IpAddress(target.http.ip().into());
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    let stream = timeout(PATIENCE, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    Ok(Box::new(stream))
}

/// An open WebSocket.
pub struct Member {
    socket: WebSocketStream<Box<dyn Wire>>,
}

impl Member {
    /// Opens a WebSocket with this query, and waits for nothing.
    ///
    /// # Errors
    /// If no WebSocket opens.
    pub async fn open(
        target: &Target,
        from: Ipv4Addr,
        query: &str,
        headers: &[(&'static str, &str)],
        reads: bool,
    ) -> Result<Self, Refusal> {
        let stream = dial(target, from, reads).await.map_err(|_| Refusal::Socket("no connection"))?;
        let scheme = if target.tls.is_some() { "wss" } else { "ws" };
        let url = format!("{scheme}://{}/ws?{query}", target.http);
        let mut request = url.into_client_request().map_err(|_| Refusal::Socket("no request"))?;
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|_| Refusal::Socket("no request"))?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        match timeout(PATIENCE, client_async(request, stream)).await {
            Ok(Ok((socket, _))) => Ok(Self { socket }),
            Ok(Err(Error::Http(response))) => Err(Refusal::Status(response.status().as_u16())),
            Ok(Err(_)) => Err(Refusal::Socket("closed")),
            Err(_) => Err(Refusal::Socket("silence")),
        }
    }

    /// Joins as a student of this name.
    ///
    /// # Errors
    /// If the server does not let the student in.
    pub async fn join(target: &Target, from: Ipv4Addr, user: &str) -> Result<Self, Refusal> {
        Self::join_with(target, from, &target.query(user)).await
    }

    /// Joins with this query.
    ///
    /// # Errors
    /// If the server does not let the member in.
    pub async fn join_with(target: &Target, from: Ipv4Addr, query: &str) -> Result<Self, Refusal> {
        let mut member = Self::open(target, from, query, &[], true).await?;
        member.is_in().await?;
        Ok(member)
    }

    /// Waits until the member is in, in a lobby if the room has one.
    ///
    /// # Errors
    /// If an error comes instead, or nothing.
    pub async fn is_in(&mut self) -> Result<(), Refusal> {
        loop {
            match self.hear().await {
                Some(ServerMessage::Joined { .. }) => return Ok(()),
                Some(ServerMessage::Waiting { .. }) => {}
                Some(ServerMessage::Error { code, .. }) => return Err(Refusal::Code(code)),
                Some(_) => return Err(Refusal::Socket("another message")),
                None => return Err(Refusal::Socket("closed")),
            }
        }
    }

    /// Sends a message; false if the connection is gone, or takes nothing more.
    pub async fn say(&mut self, message: &ClientMessage) -> bool {
        self.say_text(message.to_json()).await
    }

    /// Sends any text.
    pub async fn say_text(&mut self, text: impl Into<Utf8Bytes>) -> bool {
        matches!(timeout(PATIENCE, self.socket.send(Message::text(text))).await, Ok(Ok(())))
    }

    /// The next message that is understood; none if the connection ended, or nothing came in time.
    pub async fn hear(&mut self) -> Option<ServerMessage> {
        let heard = async {
            loop {
                match self.socket.next().await?.ok()? {
                    Message::Text(text) => {
                        if let Ok(message) = ServerMessage::parse(&text) {
                            return Some(message);
                        }
                    }
                    Message::Close(_) => return None,
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, heard).await.ok()?
    }

    /// The next message for which `pick` gives something.
    pub async fn hear_until<T>(&mut self, pick: impl Fn(ServerMessage) -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = pick(self.hear().await?) {
                return Some(found);
            }
        }
    }

    /// Reads and drops whatever comes, until the connection ends.
    pub async fn drain(&mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Ends the connection without a goodbye, as a crash does: the server sees the end of the stream without a close.
    pub fn vanish(self) {
        drop(self.socket);
    }
}
