//! A TURN server (RFC 8656) that relays to the media of its own server and to nothing else, and a client's way to any
//! TURN server by UDP, TCP and TLS.
//!
//! Why not the crate `turn` 0.17 of webrtc-rs: it stands on an older generation of the crates that we have already
//! (`stun`, `webrtc-util`: 40 more in the tree, with duplicates), takes no TCP, and knows neither limits of peers nor
//! quotas, which are most of the work here. `rtc`, which we have, parses and writes the messages.

mod allocation;
mod forwarder;
mod framing;
pub(crate) mod fuzz;
mod message;
mod nonce;
mod quota;
mod server;
mod session;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod udp;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

pub use self::forwarder::{Forwarder, TurnAddress, TurnTransport};
pub use self::server::{MediaAddresses, TurnConfig};
pub use self::stats::{Refusal, TurnStats};

use self::server::{Client, Shared};

/// A TURN server. A clone is the same server.
#[derive(Clone)]
pub struct TurnServer(Arc<Shared>);

/// The UDP sockets of a TURN server. Dropping it closes them.
#[derive(Debug)]
pub struct TurnSockets {
    _tasks: JoinSet<()>,
}

impl TurnServer {
    /// A server without sockets.
    pub fn new(config: TurnConfig) -> Self {
        Self(Arc::new(Shared::new(config, rand::random(), Instant::now())))
    }

    /// Serves clients at these UDP addresses, none of which is unspecified: a client is answered from the address that
    /// it has called, and gets a relayed address of the same host.
    ///
    /// # Errors
    /// If an address can't be bound.
    pub fn listen(&self, addresses: &[SocketAddr]) -> io::Result<TurnSockets> {
        let mut tasks = JoinSet::new();
        for address in addresses {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            let at = socket.local_addr()?;
            tasks.spawn(udp::serve(Arc::clone(&self.0), Arc::new(UdpSocket::from_std(socket)?), at));
        }
        Ok(TurnSockets { _tasks: tasks })
    }

    /// Serves a client of a stream to its end: TCP, or TLS that has been accepted. `allocated` is called when the
    /// client has proved that it may use the server.
    pub async fn serve_stream<S>(
        &self,
        stream: S,
        (from, at): (SocketAddr, SocketAddr),
        allocated: impl FnOnce() + Send,
    ) where
        S: AsyncRead + AsyncWrite + Send,
    {
        stream::serve(Arc::clone(&self.0), stream, Client { from, at }, allocated).await;
    }

    /// The counters.
    pub fn stats(&self) -> TurnStats {
        self.0.counts.stats(self.0.quota.count())
    }
}

impl fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TurnServer").field(&self.stats()).finish()
    }
}
