//! One UDP socket for all SFUs of a process: a server needs one UDP port, whatever the number of rooms.
//!
//! A thread receives for all of them. It puts each datagram into the bounded queue of the SFU that it is for, and the
//! SFU's own thread takes it from there. Each SFU sends through the same socket, from its own threads. Datagrams
//! for one SFU delay no other SFU, unless the port gets more datagrams than one thread can receive: see [`inbox`].

mod inbox;
mod tag;
#[cfg(test)]
mod tests;
mod thread;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use self::inbox::{Inbox, Inboxes, Interruption, Pool};
pub(super) use self::tag::Tag;
use self::tag::Tags;
use self::thread::{Command, PortThread};
use super::ice_tcp::{Opening, TcpPacket, TcpPeers};
use super::socket::{Arrived, Failure, Socket};
use super::stun_client::StunServers;
use super::udp::UdpSender;
use crate::network::Network;

/// The most packets of TCP peers that wait for the thread of the port. A connection that finds no room waits.
const TCP_PACKETS: usize = 256;

/// The most sentences that wait for the owner of the port.
const NOTICES: usize = 16;

/// A UDP port that SFUs share. The socket closes when the last handle is dropped and no SFU uses the port any more.
#[derive(Clone)]
pub struct MediaPort(Arc<Handle>);

struct Handle {
    local: SocketAddr,
    commands: mpsc::UnboundedSender<Command>,
    tcp: TcpPeers,
    tcp_packets: mpsc::Sender<TcpPacket>,
    common: Arc<Common>,
    pool: Pool,
}

/// Counters of a shared port.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MediaPortStats {
    /// SFUs that use the port.
    pub sfus: usize,
    /// Datagrams that arrived.
    pub received: u64,
    /// Received datagrams that belong to no SFU: of an unknown sender, or neither STUN, DTLS nor SRTP.
    pub unclaimed: u64,
    /// Peers' TCP connections.
    pub tcp: usize,
    /// Datagrams that were dropped because too many waited, see also
    /// [`SfuStats::datagrams_dropped`](super::SfuStats::datagrams_dropped).
    pub dropped: u64,
}

/// The state that the thread of the port shares with the SFUs.
#[derive(Default)]
struct Common {
    tags: Mutex<Tags>,
    /// The public addresses of the port by STUN, at most one of each family, and the number of changes.
    public: Mutex<Vec<SocketAddr>>,
    public_changes: AtomicU64,
    /// The addresses at which peers reach the port by TCP.
    tcp: Mutex<Vec<SocketAddr>>,
    /// None if the socket is gone.
    template: Mutex<Option<Template>>,
    counts: Counts,
}

/// A sender from which others are made.
struct Template {
    sender: UdpSender,
    /// The number of times that the socket had been reopened before.
    reopened: u64,
}

#[derive(Default)]
struct Counts {
    received: AtomicU64,
    unclaimed: AtomicU64,
    dropped: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Common {
    fn tags(&self) -> MutexGuard<'_, Tags> {
        lock(&self.tags)
    }

    fn set_template(&self, template: Option<Template>) {
        *lock(&self.template) = template;
    }

    /// Replaces the public address of the same family.
    fn set_public(&self, address: SocketAddr) {
        let mut public = lock(&self.public);
        public.retain(|known| known.is_ipv4() != address.is_ipv4());
        public.push(address);
        self.public_changes.fetch_add(1, Ordering::Release);
    }
}

impl MediaPort {
    /// Binds the address, and starts the thread that receives; an unspecified address means all interfaces, IPv4 and
    /// IPv6. STUN servers are asked for the public address of the port. Also returns sentences for the owner of the
    /// port: its public address, a silent STUN server, a socket that failed.
    ///
    /// # Errors
    /// If the address can't be bound, or if a thread can't be created.
    pub fn bind(address: SocketAddr, stun: &[SocketAddr]) -> io::Result<(Self, mpsc::Receiver<String>)> {
        let (commands, command_queue) = mpsc::unbounded_channel();
        let (tcp_packets, packet_queue) = mpsc::channel(TCP_PACKETS);
        let (notices, notice_queue) = mpsc::channel(NOTICES);
        let (common, pool) = (Arc::new(Common::default()), Pool::default());
        let (bound, when_bound) = std::sync::mpsc::sync_channel(1);
        let (of_thread, inboxes) = (Arc::clone(&common), Inboxes::new(pool.clone()));
        let stun = StunServers::new(stun, Instant::now());
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(bound.send(Err(error))),
            };
            runtime.block_on(async {
                match open(address, &of_thread) {
                    Ok(socket) => {
                        let _ = bound.send(Ok((socket.local(), socket.tcp().clone())));
                        let queues = (command_queue, packet_queue);
                        PortThread::new(socket, stun, queues, of_thread, inboxes, notices).run().await;
                    }
                    Err(error) => drop(bound.send(Err(error))),
                }
            });
        };
        std::thread::Builder::new().name("media-port".to_owned()).spawn(run)?;
        let (local, tcp) = when_bound.recv().map_err(|_| io::Error::other("the thread of the media port ended"))??;
        Ok((Self(Arc::new(Handle { local, commands, tcp, tcp_packets, common, pool })), notice_queue))
    }

    /// The bound address; its IP may be unspecified.
    pub fn local(&self) -> SocketAddr {
        self.0.local
    }

    /// The current counters.
    pub fn stats(&self) -> MediaPortStats {
        let Common { tags, counts, .. } = &*self.0.common;
        MediaPortStats {
            sfus: lock(tags).count(),
            received: counts.received.load(Ordering::Relaxed),
            unclaimed: counts.unclaimed.load(Ordering::Relaxed),
            tcp: self.0.tcp.count(),
            dropped: counts.dropped.load(Ordering::Relaxed),
        }
    }

    /// Peers also reach the port by TCP at these addresses, see [`serve_stream`](Self::serve_stream). The answers of
    /// SFUs that start later contain them as passive candidates (RFC 6544).
    pub fn set_tcp(&self, addresses: Vec<SocketAddr>) {
        *lock(&self.0.common.tcp) = addresses;
    }

    /// Serves a connection of a peer in this network to its end. `proved` is called once the peer has proved that it
    /// knows the answer of an SFU. Until then, and after the peer has gone, the connection lasts for some seconds.
    pub async fn serve_stream<S>(&self, stream: S, network: Network, proved: impl FnOnce() + Send)
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        let Some(opening) = Opening::read(stream).await else { return };
        let (answer, answered) = oneshot::channel();
        let Some(ufrag) = opening.ufrag().map(str::to_owned) else { return };
        let asked = self.0.commands.send(Command::IsKnown { ufrag, answer });
        if asked.is_ok() && answered.await.unwrap_or(false) {
            opening.serve(&self.0.tcp, (self.0.local, network), &self.0.tcp_packets, proved).await;
        }
    }

    /// A socket for one SFU.
    ///
    /// # Errors
    /// If the socket of the port is gone, or if it can't be duplicated.
    pub(super) fn attach(&self) -> io::Result<SharedSocket> {
        let Handle { commands, common, pool, .. } = &*self.0;
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the media port has ended");
        let (sender, reopened) = {
            let template = lock(&common.template);
            let Template { sender, reopened } = template.as_ref().ok_or_else(gone)?;
            (sender.another()?, *reopened)
        };
        let (tag, inbox) = (common.tags().take(), pool.inbox());
        let shared = SharedSocket { tag, inbox: Arc::clone(&inbox), sender, port: self.clone(), public_changes: 0 };
        commands.send(Command::Attach { tag, inbox, reopened }).map_err(|_| gone())?;
        Ok(shared)
    }

    /// Makes each receive fail with this `errno`, until the socket is reopened; 0 ends that.
    #[cfg(test)]
    pub(super) fn fail_receives(&self, errno: i32) {
        let _ = self.0.commands.send(Command::FailReceives(errno));
    }
}

fn open(address: SocketAddr, common: &Common) -> io::Result<Socket> {
    let socket = Socket::bind(address)?;
    common.set_template(Some(Template { sender: socket.sender()?, reopened: 0 }));
    Ok(socket)
}

impl fmt::Debug for MediaPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaPort({})", self.local())
    }
}

/// A shared port, as one SFU sees it. Dropping it ends the SFU's use of the port.
pub(super) struct SharedSocket {
    tag: Tag,
    inbox: Arc<Inbox>,
    /// A sender from which others are made.
    sender: UdpSender,
    port: MediaPort,
    /// The number of changes of the public addresses that were seen.
    public_changes: u64,
}

impl SharedSocket {
    /// The bound address of the port.
    pub(super) fn local(&self) -> SocketAddr {
        self.port.local()
    }

    /// A sending end.
    pub(super) fn sender(&self) -> io::Result<UdpSender> {
        self.sender.another()
    }

    /// The tag that the user name fragments of the SFU's peers must begin with.
    pub(super) fn tag(&self) -> Tag {
        self.tag
    }

    /// Tells the port of the addresses of the SFU's peers.
    pub(super) fn announcer(&self) -> Announcer {
        Announcer { tag: self.tag, port: self.port.clone() }
    }

    /// The addresses at which peers reach the port by TCP.
    pub(super) fn tcp(&self) -> Vec<SocketAddr> {
        lock(&self.port.0.common.tcp).clone()
    }

    /// Takes the datagrams that wait, up to one batch. Returns whether more wait.
    pub(super) fn receive(&mut self, batch: &mut Vec<Arrived>) -> Result<bool, Failure> {
        self.inbox.take(batch).map_err(|interruption| match interruption {
            Interruption::Reopened(sender) => {
                self.sender = *sender;
                Failure::Reopened(None)
            }
            Interruption::Lost(why) => Failure::Lost(why),
        })
    }

    /// Waits until there is something to receive. Cancel-safe.
    pub(super) async fn readable(&self) {
        self.inbox.ready().await;
    }

    /// The public addresses of the port, if they have changed since the last call.
    pub(super) fn changed_public(&mut self) -> Vec<SocketAddr> {
        let Common { public, public_changes, .. } = &*self.port.0.common;
        let changes = public_changes.load(Ordering::Acquire);
        if std::mem::replace(&mut self.public_changes, changes) == changes {
            return Vec::new();
        }
        lock(public).clone()
    }

    /// The SFU's datagrams that were dropped because too many waited.
    pub(super) fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }

    #[cfg(test)]
    pub(super) fn port(&self) -> &MediaPort {
        &self.port
    }
}

impl Drop for SharedSocket {
    fn drop(&mut self) {
        let detached = self.port.0.commands.send(Command::Detach { tag: self.tag });
        if detached.is_err() {
            self.port.0.common.tags().give_back(self.tag);
        }
    }
}

/// Tells a port of the addresses of one SFU's peers.
pub(super) struct Announcer {
    tag: Tag,
    port: MediaPort,
}

impl Announcer {
    /// A peer has claimed the address.
    pub(super) fn claimed(&self, from: SocketAddr) {
        self.send(Command::Claim { tag: self.tag, from });
    }

    /// A peer has confirmed the address.
    pub(super) fn confirmed(&self, from: SocketAddr) {
        self.send(Command::Confirm { tag: self.tag, from });
    }

    /// A peer has this user name fragment, which the core made, and which does not begin with the tag.
    pub(super) fn named(&self, ufrag: String) {
        self.send(Command::Name { tag: self.tag, ufrag });
    }

    /// No peer has this user name fragment any more.
    pub(super) fn unnamed(&self, ufrag: String) {
        self.send(Command::Unname { tag: self.tag, ufrag });
    }

    /// No peer claims the address any more.
    pub(super) fn released(&self, from: SocketAddr) {
        self.send(Command::Release { tag: self.tag, from });
    }

    /// The queue is unbounded, but a peer has few addresses and announces each at most once in ten seconds.
    fn send(&self, command: Command) {
        let _ = self.port.0.commands.send(command);
    }
}
