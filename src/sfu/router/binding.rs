//! The source of the datagrams of an SFU: a socket of its own, or a shared port.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::sfu::config::{SfuError, UdpBinding};
use crate::sfu::port::{Announcer, SharedSocket, Tag};
use crate::sfu::socket::{Arrived, Failure, Socket};
use crate::sfu::udp::UdpSender;

/// The socket of an SFU.
pub(super) enum Binding {
    /// A socket of its own, which its thread reads.
    Own(Box<Socket>),
    /// A socket that it shares, which the thread of the port reads.
    Shared(Box<SharedSocket>),
}

impl Binding {
    pub(super) fn new(udp: &UdpBinding) -> Result<Self, SfuError> {
        match udp {
            UdpBinding::Own(address) => Socket::bind(*address)
                .map(|socket| Self::Own(Box::new(socket)))
                .map_err(|cause| SfuError::Bind { address: *address, cause }),
            UdpBinding::Shared(port) => port
                .attach()
                .map(|shared| Self::Shared(Box::new(shared)))
                .map_err(|error| SfuError::Setup(error.to_string())),
        }
    }

    /// The bound address; its IP may be unspecified.
    pub(super) fn local(&self) -> SocketAddr {
        match self {
            Self::Own(socket) => socket.local(),
            Self::Shared(shared) => shared.local(),
        }
    }

    /// The addresses at which peers reach the port by TCP.
    pub(super) fn tcp(&self) -> Vec<SocketAddr> {
        match self {
            Self::Own(_) => Vec::new(),
            Self::Shared(shared) => shared.tcp(),
        }
    }

    /// A sending end.
    pub(super) fn sender(&self) -> io::Result<UdpSender> {
        match self {
            Self::Own(socket) => socket.sender(),
            Self::Shared(shared) => shared.sender(),
        }
    }

    /// The tag that the user name fragments of peers must begin with.
    pub(super) fn tag(&self) -> Option<Tag> {
        match self {
            Self::Own(_) => None,
            Self::Shared(shared) => Some(shared.tag()),
        }
    }

    /// Tells a shared port of the addresses of peers.
    pub(super) fn announcer(&self) -> Option<Announcer> {
        match self {
            Self::Own(_) => None,
            Self::Shared(shared) => Some(shared.announcer()),
        }
    }

    /// Whether the socket may be read now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self {
            Self::Own(socket) => socket.is_due(now),
            Self::Shared(_) => true,
        }
    }

    /// Receives the available datagrams, up to one batch. Returns whether more may wait.
    pub(super) fn receive(&mut self, now: Instant, batch: &mut Vec<Arrived>) -> Result<bool, Failure> {
        match self {
            Self::Own(socket) => {
                socket.receive(now, |at, from, bytes| batch.push(Arrived { at, from, bytes: bytes.into() }))
            }
            Self::Shared(shared) => shared.receive(batch),
        }
    }

    /// Waits until there is something to receive. Cancel-safe.
    pub(super) async fn readable(&self) {
        match self {
            Self::Own(socket) => socket.readable().await,
            Self::Shared(shared) => shared.readable().await,
        }
    }

    /// Sends a datagram to a STUN server. The owner of a shared port does that.
    pub(super) fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        if let Self::Own(socket) = self {
            socket.send(to, datagram);
        }
    }

    /// The public addresses of a shared port, if they have changed since the last call.
    pub(super) fn changed_public(&mut self) -> Vec<SocketAddr> {
        match self {
            Self::Own(_) => Vec::new(),
            Self::Shared(shared) => shared.changed_public(),
        }
    }

    /// Datagrams that were dropped because too many waited; those that the kernel drops are not counted.
    pub(super) fn dropped(&self) -> u64 {
        match self {
            Self::Own(_) => 0,
            Self::Shared(shared) => shared.dropped(),
        }
    }

    /// Makes each receive fail with this `errno`, until the socket is reopened; 0 ends that.
    #[cfg(test)]
    pub(super) fn fail_receives(&mut self, errno: i32) {
        match self {
            Self::Own(socket) => socket.fail_receives(errno),
            Self::Shared(shared) => shared.port().fail_receives(errno),
        }
    }
}
