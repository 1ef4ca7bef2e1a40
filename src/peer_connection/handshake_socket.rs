//! UDP sockets for the library that retransmit DTLS flights early, as the SFU does ([`crate::dtls::flights`]): the
//! library waits a second before it repeats a lost ClientHello.
//!
//! A flight through a TURN server is not seen here, and is left to the library.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use crate::dtls::flights::{FlightDatagram, Handshake};

/// The tokio runtime with such sockets.
#[derive(Debug)]
pub(super) struct HandshakeRuntime;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for HandshakeRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn spawn_reactor(&self, pool_size: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn_reactor(pool_size, future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(HandshakeSocket::new(TokioRuntime.wrap_udp_socket(socket)?)))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, address: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(address)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        TokioRuntime.name()
    }
}

/// A socket, and the DTLS handshake over it.
#[derive(Debug)]
struct HandshakeSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    flights: Arc<Flights>,
    /// Retransmits, and ends with the socket.
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Flights {
    handshake: Mutex<Handshake>,
    sent: Notify,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Handshake> {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandshakeSocket {
    /// Must be called within a tokio runtime.
    fn new(inner: Arc<dyn AsyncUdpSocket>) -> Self {
        let flights = Arc::new(Flights::default());
        let task = tokio::spawn(retransmit(Arc::clone(&inner), Arc::clone(&flights))).abort_handle();
        Self { inner, flights, task }
    }
}

impl Drop for HandshakeSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn retransmit(socket: Arc<dyn AsyncUdpSocket>, flights: Arc<Flights>) {
    loop {
        let due = flights.lock().due();
        let is_due = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = flights.sent.notified() => continue,
            () = is_due => {}
        }
        let datagrams: Vec<FlightDatagram> = flights.lock().retransmit(Instant::now()).to_vec();
        for (_, to, datagram) in datagrams {
            // A datagram that can't be sent is lost, as on any path.
            let _ = socket.send_to(&datagram, to).await;
        }
    }
}

impl AsyncUdpSocket for HandshakeSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if !Handshake::is_dtls(transmit.contents) {
            return self.inner.poll_send(cx, transmit);
        }
        let datagrams = || transmit.contents.chunks(transmit.segment_size.unwrap_or(usize::MAX).max(1));
        let sent = self.inner.poll_send(cx, transmit);
        if let Poll::Ready(Ok(_)) = sent {
            let mut handshake = self.flights.lock();
            let (now, from) = (Instant::now(), SocketAddr::from(([0, 0, 0, 0], 0)));
            // The retransmissions of the library pass as well: they have new record numbers, and the server may have
            // dropped a record that came too early, and take its repetition for a replay.
            datagrams().for_each(|datagram| _ = handshake.on_send(now, from, transmit.destination, datagram));
            self.flights.sent.notify_one();
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            for (buffer, meta) in bufs.iter().zip(meta.iter()).take(count) {
                for datagram in buffer[..meta.len.min(buffer.len())].chunks(meta.stride.max(1)) {
                    if Handshake::is_dtls(datagram) {
                        self.flights.lock().on_receive(Instant::now(), datagram);
                    }
                }
            }
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;
    use tokio::time::timeout;

    use super::*;

    /// A record of DTLS 1.2 with this content type and body.
    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, body.len() as u8], body].concat()
    }

    #[tokio::test]
    async fn a_flight_is_sent_again_until_the_server_has_it() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = TokioRuntime.wrap_udp_socket(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let client = HandshakeSocket::new(socket);
        let (to, from) = (server.local_addr().unwrap(), client.local_addr().unwrap());
        let hello = record(22, &[1, 0, 0, 0]);
        client.send_to(&hello, to).await.unwrap();
        client.send_to(&[0, 1, 0, 0], to).await.unwrap();
        let mut received = Vec::new();
        while received.len() < 3 {
            let mut buffer = [0; 100];
            let wait = timeout(Duration::from_secs(20), server.recv(&mut buffer));
            let length = wait.await.expect("the flight is not sent again").unwrap();
            received.push(buffer[..length].to_vec());
        }
        assert_eq!(received, [hello.clone(), vec![0, 1, 0, 0], hello], "STUN is sent once");
        assert!(client.flights.lock().due().is_some());
        server.send_to(&record(20, &[1]), from).await.unwrap();
        let mut buffer = [0; 100];
        timeout(Duration::from_secs(20), client.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(client.flights.lock().due(), None);
    }
}
