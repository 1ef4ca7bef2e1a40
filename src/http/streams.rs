//! Connections to the port of HTTP that are none of HTTP: their first byte tells, and a handler takes them.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::network::SharedClientState;

/// The first byte of a STUN request (RFC 8489, 5), and of a frame with fewer than 256 bytes (RFC 4571, 2). No HTTP
/// request and no TLS record begins with it.
pub(super) const STUN_REQUEST: u8 = 0;

/// A stream of bytes.
pub trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

/// A connection whose first byte is that of a STUN request, alone or in a frame, with or without TLS.
pub struct StunStream {
    /// The bytes, without TLS.
    pub stream: Box<dyn Bytes>,
    /// The address of the client.
    pub from: SocketAddr,
    /// The address that the client has called.
    pub at: SocketAddr,
    /// The progress of the client; see [`SharedClientState`].
    pub client_state: SharedClientState,
}

type Handling = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes connections to their end.
#[derive(Clone)]
pub struct StunHandler(Arc<dyn Fn(StunStream) -> Handling + Send + Sync>);

impl StunHandler {
    /// A handler that runs this function.
    pub fn new<F>(handle: impl Fn(StunStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Arc::new(move |stream| Box::pin(handle(stream))))
    }

    /// Takes a connection to its end.
    pub async fn handle(&self, stream: StunStream) {
        (self.0)(stream).await;
    }
}

impl fmt::Debug for StunHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StunHandler")
    }
}
