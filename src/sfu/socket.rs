//! A bound UDP socket that is reopened when it fails.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::event_loop;
use super::ice_tcp::TcpPeers;
use super::udp::{ReceiveErrors, UdpReceiver, UdpSender};

/// The most times that the socket is reopened without a successful receive in between.
const MAX_REBINDS: u32 = 3;

/// A datagram that has arrived.
pub(super) struct Arrived {
    /// The local address to which it was sent.
    pub(super) at: SocketAddr,
    pub(super) from: SocketAddr,
    pub(super) bytes: BytesMut,
}

/// A failure of the socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The socket failed and was reopened on the same port: all senders must be replaced by senders of the new
    /// socket. The sentence is for the teacher; on a shared port the thread tells the owner instead.
    Reopened(Option<String>),
    /// The socket failed and can't be reopened; a sentence for the teacher says why.
    Lost(String),
}

/// A bound UDP socket.
pub(super) struct Socket {
    receiver: UdpReceiver,
    /// For requests to STUN servers.
    sender: UdpSender,
    errors: ReceiveErrors,
    /// The time to receive again after an error, because a persistent error must not keep the thread busy.
    receive_again: Option<Instant>,
    /// The number of times that the socket was reopened since the last success.
    rebinds: u32,
}

impl Socket {
    /// Binds `address`; an unspecified one means all interfaces, IPv6 and IPv4. Must be called within a tokio runtime.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let receiver = UdpReceiver::bind(address)?;
        let sender = receiver.sender()?;
        Ok(Self { receiver, sender, errors: ReceiveErrors::default(), receive_again: None, rebinds: 0 })
    }

    /// The bound address; its IP may be unspecified.
    pub(super) fn local(&self) -> SocketAddr {
        self.receiver.local()
    }

    /// A sending end.
    pub(super) fn sender(&self) -> io::Result<UdpSender> {
        self.receiver.sender()
    }

    /// The TCP connections of the port.
    pub(super) fn tcp(&self) -> &TcpPeers {
        self.receiver.tcp()
    }

    /// Sends a datagram of our own.
    pub(super) fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.sender.queue(self.receiver.local(), to, datagram);
        self.sender.flush();
    }

    /// Whether the socket may be read now: after an error it rests for a moment.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.receive_again.is_none_or(|at| at <= now)
    }

    /// Waits until there is something to receive; after an error for ever. Cancel-safe.
    pub(super) async fn readable(&self) {
        if self.receive_again.is_some() {
            std::future::pending::<()>().await;
        }
        // Reading the socket returns the error again.
        let _ = self.receiver.readable().await;
    }

    /// Receives the available datagrams, up to one batch, as [`UdpReceiver::receive`] does. Returns whether more may
    /// wait.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        each: impl FnMut(SocketAddr, SocketAddr, &[u8]),
    ) -> Result<bool, Failure> {
        match self.receiver.receive(each) {
            Ok(more) => {
                self.errors.on_success();
                (self.receive_again, self.rebinds) = (None, 0);
                Ok(more)
            }
            Err(error) => {
                self.receive_again = Some(now + event_loop::TICK);
                self.on_error(now, &error)
            }
        }
    }

    fn on_error(&mut self, now: Instant, error: &io::Error) -> Result<bool, Failure> {
        if !self.errors.is_gone(now, error) {
            return Ok(false);
        }
        let failed = format!("the socket of UDP port {} failed ({error})", self.receiver.local().port());
        match self.rebind() {
            Ok(()) => Err(Failure::Reopened(Some(format!("{failed} and was reopened")))),
            Err(cause) => Err(Failure::Lost(format!("{failed}; it can't be reopened ({cause})"))),
        }
    }

    fn rebind(&mut self) -> io::Result<()> {
        self.rebinds += 1;
        if self.rebinds > MAX_REBINDS {
            return Err(io::Error::other("the new socket fails as well"));
        }
        self.receiver.rebind(&self.sender)?;
        self.errors = ReceiveErrors::default();
        self.sender.move_to(self.receiver.sender()?);
        Ok(())
    }

    /// Makes each receive fail with this `errno`, until the socket is reopened; 0 ends that.
    #[cfg(test)]
    pub(super) fn fail_receives(&mut self, errno: i32) {
        self.receiver.fails_with = Some(errno);
    }
}
