//! The connection to Redis: made again after each failure, with a bound on what Redis makes this process keep.
//!
//! The library reads a reply to its end, however long that is. So the stream below it fails once Redis has sent
//! [`MAX_REPLY_BYTES`] and no exchange has ended.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;

use super::super::{MAX_LISTS_BYTES, MAX_NODE_BYTES, MAX_NODES, StoreError};
use super::{RedisUrl, unreachable};
use crate::tls::{Stream, connect_by_system_roots};

/// How long one exchange may take: shorter than the time between two renewals, so that a hung Redis is noticed.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);

/// The most bytes that Redis may send before an exchange ends: twice the longest reply, that about all nodes.
pub(in crate::store) const MAX_REPLY_BYTES: usize = 2 * (MAX_LISTS_BYTES + MAX_NODES * MAX_NODE_BYTES);

/// A connection to one server.
pub(super) struct RedisConnection {
    server: String,
    info: ConnectionInfo,
    open: Mutex<Option<Arc<Open>>>,
    /// Held by the exchange that connects.
    connecting: tokio::sync::Mutex<()>,
}

/// A connection that has not failed yet. Exchanges that share it don't wait for each other.
struct Open {
    connection: MultiplexedConnection,
    unfinished: Unfinished,
    driver: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The bytes that Redis has sent since an exchange ended.
type Unfinished = Arc<AtomicUsize>;

impl RedisConnection {
    pub(super) fn new(url: &RedisUrl) -> Self {
        Self { server: url.to_string(), info: url.0.clone(), open: Mutex::default(), connecting: Default::default() }
    }

    /// Runs one exchange within its time. After a failure, later exchanges get another connection: replies of this one
    /// may still be on their way, or make no sense.
    pub(super) async fn exchange<T, F>(&self, run: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let mut used = None;
        let exchange = async {
            let open = used.insert(self.opened().await?);
            run(open.connection.clone()).await
        };
        let result = match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unreachable(&self.server, &error)),
            Err(_) => Err(StoreError::Unreachable {
                server: self.server.clone(),
                cause: format!("no answer within {} ms", ANSWER_WITHIN.as_millis()),
            }),
        };
        if let Some(used) = used {
            match &result {
                Ok(_) => used.unfinished.store(0, Ordering::Relaxed),
                Err(_) => _ = self.open().take_if(|open| Arc::ptr_eq(open, &used)),
            }
        }
        result
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection; makes one if there is none.
    async fn opened(&self) -> RedisResult<Arc<Open>> {
        let known = || self.open().clone();
        if let Some(open) = known() {
            return Ok(open);
        }
        let _turn = self.connecting.lock().await;
        if let Some(open) = known() {
            return Ok(open);
        }
        let unfinished = Unfinished::default();
        let stream = Bounded { inner: connect(self.info.addr()).await?, unfinished: unfinished.clone() };
        // The time of an exchange is limited as a whole.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let settings = self.info.redis_settings();
        let (connection, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
        unfinished.store(0, Ordering::Relaxed);
        let driver = tokio::spawn(driver).abort_handle();
        let open = Arc::new(Open { connection, unfinished, driver });
        *self.open() = Some(open.clone());
        Ok(open)
    }
}

/// Connects to the first address of the server that answers.
async fn connect(address: &ConnectionAddr) -> io::Result<Stream> {
    let (host, port, uses_tls) = match address {
        ConnectionAddr::Tcp(host, port) => (host, *port, false),
        ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
        _ => return Err(io::Error::other("this is no address of a TCP port")),
    };
    let addresses: Vec<_> = lookup_host((host.as_str(), port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::other("its name has no address"));
    }
    let attempts = addresses.into_iter().map(|address| Box::pin(TcpStream::connect(address)));
    let (stream, _others) = select_ok(attempts).await?;
    stream.set_nodelay(true)?;
    if !uses_tls {
        return Ok(Box::new(stream));
    }
    connect_by_system_roots(stream, host).await
}

/// A stream that fails after too many bytes without the end of an exchange.
struct Bounded {
    inner: Stream,
    unfinished: Unfinished,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        if self.unfinished.fetch_add(read, Ordering::Relaxed) + read > MAX_REPLY_BYTES {
            return Poll::Ready(Err(io::Error::other("its reply has no end; is this a Redis?")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
