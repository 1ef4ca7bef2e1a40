//! Serves connections of a listening socket, within limits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connections::{CountedStream, Places};
use super::secure::{Port, Spoken, spoken};
use super::streams::{STUN_REQUEST, StunStream};
use crate::network::{ClientAddress, Network, SharedClientState};

/// The pause after a failed `accept`, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that the kernel queues until we accept them. It drops the SYNs of further ones, which come again after
/// 1, 3, 7 and 15 s. The kernel's own limit (`net.core.somaxconn`) is also 4,096.
const BACKLOG: u32 = 4_096;

/// The kernel's send buffer for one client: what waits for a client that does not read, beside our own queue. 64 kB
/// carry 5 Mbit/s over a round trip of 100 ms.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// The largest head of a request: a URL, and the headers of a browser with cookies.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// File descriptors that are kept for media, files and libraries.
const OTHER_FILES: u64 = 256;

/// Limits on connections.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections at a time, WebSockets included. One network gets three quarters of them at most. Further ones are
    /// closed at once, unless an older one that has not joined a room can be closed instead.
    pub max_connections: usize,
    /// How long a request's head may take, and how long a connection may be idle before its first or next request.
    pub header_timeout: Duration,
    /// How long a connection may last without becoming a WebSocket.
    pub request_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl ConnectionLimits {
    /// The default limits in a process that may open this many files.
    pub fn within(max_files: u64) -> Self {
        let files = usize::try_from(max_files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
        let limits = Self::default();
        Self { max_connections: limits.max_connections.min(files).max(16), ..limits }
    }
}

/// A listening socket on `address`; port 0 means any free port. The port of a server that just ended can be bound at
/// once, and the backlog holds a whole class that connects at the same instant.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves a port on `listener` until `shutdown` completes. Requests in progress are dropped then; upgraded connections
/// belong to their new owner and continue. The socket is closed when this returns.
pub async fn serve(
    listener: TcpListener,
    port: impl Into<Port>,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) {
    let port = port.into();
    let mut shutdown = pin!(shutdown);
    let mut tasks = JoinSet::new();
    let places = Places::new(limits.max_connections);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(stream) = places.admit(stream, Network::of(peer.ip())) {
                    tasks.spawn(connection(stream, peer, port.clone(), limits.clone()));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: CountedStream, from: SocketAddr, port: Port, limits: ConnectionLimits) {
    let ip = from.ip();
    // Signalling messages are small and urgent. Both settings are best effort; without them a socket is slower.
    _ = stream.tcp().set_nodelay(true);
    _ = SockRef::from(stream.tcp()).set_send_buffer_size(SEND_BUFFER_BYTES);
    let (client_state, plain) = (stream.client_state(), Peer { ip, is_secure: false });
    let state = client_state.clone();
    let of_one_client = |app: Router, peer| OfOneClient::new(app, peer, state);
    let Port { app, secure, stun } = port;
    let spoken = match (&secure, &stun) {
        (None, None) => Some(Spoken::Http),
        _ => spoken(stream.tcp(), limits.header_timeout).await,
    };
    let Ok(at) = stream.tcp().local_addr() else { return };
    match (spoken, secure, stun) {
        (Some(Spoken::Tls), Some(secure), stun) => {
            let Some(stream) = secure.accept(stream, Network::of(ip)).await else { return };
            let service = of_one_client(secure.app.clone(), Peer { is_secure: true, ..plain });
            let Some(stun) = stun else { return http(stream, service, limits).await };
            let mut stream = BufReader::new(stream);
            match timeout(limits.header_timeout, stream.fill_buf()).await {
                Ok(Ok([STUN_REQUEST, ..])) => {
                    stun.handle(StunStream { stream: Box::new(stream), from, at, client_state }).await;
                }
                Ok(Ok([_, ..])) => http(stream, service, limits).await,
                Ok(Ok([]) | Err(_)) | Err(_) => {}
            }
        }
        (Some(Spoken::Stun), _, Some(stun)) => {
            stun.handle(StunStream { stream: Box::new(stream), from, at, client_state }).await;
        }
        (Some(_), Some(secure), _) => {
            let app = if is_of_this_computer(stream.tcp()) { app } else { secure.redirecting.clone() };
            http(stream, of_one_client(app, plain), limits).await;
        }
        (Some(_), None, _) => http(stream, of_one_client(app, plain), limits).await,
        (None, ..) => {}
    }
}

/// Whether the other end is on this computer: its address is a loopback address, or the one that it connected to.
fn is_of_this_computer(stream: &TcpStream) -> bool {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return false };
    peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip()
}

async fn http<S>(stream: S, service: OfOneClient, limits: ConnectionLimits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // Errors concern only this client, which knows of them.
    _ = timeout(limits.request_timeout, connection).await;
}

/// The other end of a connection, an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// The address of the socket.
    pub(super) ip: IpAddr,
    /// Whether the connection uses TLS.
    pub(super) is_secure: bool,
}

/// The application, as one client sees it: each request has its [`Peer`], [`ClientAddress`] and
/// [`SharedClientState`] as extensions.
struct OfOneClient {
    app: TowerToHyperService<Router>,
    peer: Peer,
    client_state: SharedClientState,
}

impl OfOneClient {
    fn new(app: Router, peer: Peer, client_state: SharedClientState) -> Self {
        Self { app: TowerToHyperService::new(app), peer, client_state }
    }
}

impl Service<Request<Incoming>> for OfOneClient {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.peer);
        extensions.insert(ClientAddress::of(self.peer.ip));
        extensions.insert(self.client_state.clone());
        self.app.call(request)
    }
}

/// Whether an error of `accept` concerns one connection and not the next ones.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_file_descriptors_for_media() {
        assert_eq!(ConnectionLimits::within(1_024).max_connections, 768);
        assert_eq!(ConnectionLimits::within(20_000).max_connections, 10_000);
        assert_eq!(ConnectionLimits::within(u64::MAX).max_connections, 10_000);
        assert_eq!(ConnectionLimits::within(64).max_connections, 16);
    }
}
