//! One client with its allocation and the allocation's socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::allocation::Allocation;
use super::server::{Client, Now, Reaction, Shared};

/// The kernel's receive buffer of a relayed address: what waits for a client whose connection is slow. A key frame of
/// 100 kB fits; the kernel drops what does not, as a narrow link would.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1024;

/// A client.
pub(super) struct Session {
    shared: Arc<Shared>,
    client: Client,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    allocation: Option<Allocation>,
    /// The socket at the relayed address.
    socket: Option<Arc<UdpSocket>>,
}

/// The outcome of a message.
#[derive(Default)]
pub(super) struct Handled {
    /// For the client.
    pub(super) answer: Option<Vec<u8>>,
    /// The socket of a new allocation, from which packets for the client come.
    pub(super) opened: Option<Arc<UdpSocket>>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, client: Client) -> Self {
        Self { shared, client, state: Mutex::default(), changed: Notify::new() }
    }

    /// Handles a message of the client.
    pub(super) fn on_client(&self, bytes: &[u8]) -> Handled {
        let mut opened = None;
        let bind = |ip| {
            let socket = Arc::new(bind_relay(ip)?);
            let address = socket.local_addr()?;
            opened = Some(socket);
            Ok(address)
        };
        let now = Now::read();
        let mut state = self.lock();
        let reaction = self.shared.on_client(now, self.client, bytes, &mut state.allocation, bind);
        if let Some(socket) = &opened {
            state.socket = Some(Arc::clone(socket));
        }
        if state.allocation.as_ref().is_none_or(|allocation| allocation.expires() <= now.instant) {
            self.end(&mut state);
        }
        match reaction {
            Reaction::Nothing => Handled { answer: None, opened },
            Reaction::Answer(answer) => Handled { answer: Some(answer), opened },
            Reaction::Relay(peer, data) => {
                if let Some(socket) = &state.socket {
                    // A full queue of the kernel drops the packet, as any router may.
                    let _ = socket.try_send_to(&data, peer);
                }
                Handled::default()
            }
        }
    }

    /// The data of a peer, as the client gets it.
    pub(super) fn on_peer(&self, peer: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        let state = self.lock();
        self.shared.on_peer(Now::read(), state.allocation.as_ref()?, peer, data)
    }

    /// Whether the client has an allocation.
    pub(super) fn has_allocation(&self) -> bool {
        self.lock().allocation.is_some()
    }

    /// Waits until the client has no allocation any more. Cancel-safe.
    pub(super) async fn over(&self) {
        loop {
            let Some(expires) = self.lock().allocation.as_ref().map(Allocation::expires) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(expires.into()) => {
                    let mut state = self.lock();
                    if state.allocation.as_ref().is_some_and(|allocation| allocation.expires() <= Now::read().instant) {
                        self.end(&mut state);
                    }
                }
                () = self.changed.notified() => {}
            }
        }
    }

    fn end(&self, state: &mut State) {
        if state.socket.is_some() {
            *state = State::default();
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind_relay(ip: IpAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((ip, 0))?;
    socket.set_nonblocking(true)?;
    // Best effort: the kernel's own size holds less than a large key frame.
    _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    UdpSocket::from_std(socket)
}
