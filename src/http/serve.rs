//! Serves connections of a listening socket, within limits.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::network::{ClientAddress, Network};

/// The pause after a failed `accept`, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that the kernel queues until we accept them. It drops the SYNs of further ones, which come again after
/// 1, 3, 7 and 15 s. The kernel's own limit (`net.core.somaxconn`) is also 4,096.
const BACKLOG: u32 = 4_096;

/// The kernel's send buffer for one client. It is small so that our own queues decide which client is too slow.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// The largest head of a request: a URL, and the headers of a browser with cookies.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Limits on connections.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections at a time, WebSockets included. Further ones are closed at once.
    pub max_connections: usize,
    /// Connections per address: a school behind one router is one address, and so are a thousand test clients.
    pub max_connections_per_ip: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long a connection may last without becoming a WebSocket.
    pub request_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_ip: 5_000,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
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

/// Serves `app` on `listener` until `shutdown` completes. Requests in progress are dropped then; upgraded connections
/// belong to their new owner and continue. The socket is closed when this returns.
pub async fn serve(listener: TcpListener, app: Router, limits: ConnectionLimits, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let mut tasks = JoinSet::new();
    let count = Arc::new(Mutex::new(Count::default()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(stream) = CountedStream::new(stream, peer, &count, &limits) {
                    tasks.spawn(connection(stream, app.clone(), limits.clone()));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: CountedStream, app: Router, limits: ConnectionLimits) {
    // Signalling messages are small and urgent. Both settings are best effort; without them a socket is slower.
    _ = stream.io.set_nodelay(true);
    _ = SockRef::from(&stream.io).set_send_buffer_size(SEND_BUFFER_BYTES);
    let app = app.layer(Extension(stream.address));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .with_upgrades();
    // Errors concern only this client, which knows of them.
    _ = timeout(limits.request_timeout, connection).await;
}

/// Whether an error of `accept` concerns one connection and not the next ones.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[derive(Debug, Default)]
struct Count {
    all: usize,
    by_network: HashMap<Network, usize>,
}

/// A socket that is counted until dropped. An upgrade takes it along, so a WebSocket counts too.
#[derive(Debug)]
struct CountedStream {
    io: TcpStream,
    address: ClientAddress,
    count: Arc<Mutex<Count>>,
}

impl CountedStream {
    /// Counts the socket, or drops it if there are too many.
    fn new(io: TcpStream, peer: SocketAddr, count: &Arc<Mutex<Count>>, limits: &ConnectionLimits) -> Option<Self> {
        let address = ClientAddress::of(peer.ip());
        let mut counts = count.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= limits.max_connections {
            return None;
        }
        let of_this_ip = counts.by_network.entry(address.network).or_default();
        if *of_this_ip >= limits.max_connections_per_ip {
            return None;
        }
        *of_this_ip += 1;
        counts.all += 1;
        drop(counts);
        Some(Self { io, address, count: count.clone() })
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        let mut counts = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(of_this_ip) = counts.by_network.get_mut(&self.address.network) {
            *of_this_ip -= 1;
            if *of_this_ip == 0 {
                counts.by_network.remove(&self.address.network);
            }
        }
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
