//! The TURN server in this process: its ports, and the media to which it relays.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::listen;
use crate::access::Access;
use crate::exit::Failure;
use crate::http::{self, ConnectionLimits, Port, StunHandler, StunStream};
use crate::network::ClientState;
use crate::process;
use crate::sfu::LocalMedia;
use crate::signal::OwnTurn;
use crate::tls::ServerTls;
use crate::turn::{MediaAddresses, TurnConfig, TurnServer, TurnSockets, TurnStats};

/// The most allocations of a server. Each takes a socket and up to 256 kB of the kernel's memory while its client is
/// slow.
const MAX_ALLOCATIONS: usize = 4_096;

/// The part of the files that this process may open that allocations may take.
const FILES_SHARE: u64 = 4;

/// The media of this process, once its port is bound.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnMedia(Arc<OnceLock<LocalMedia>>);

impl OwnMedia {
    /// The media port is bound to this address.
    pub(super) fn bound(&self, address: SocketAddr) {
        // There is one media port.
        let _ = self.0.set(LocalMedia::new(address));
    }
}

impl MediaAddresses for OwnMedia {
    fn contains(&self, address: SocketAddr) -> bool {
        self.0.get().is_some_and(|media| media.contains(address))
    }

    fn has_host(&self, ip: IpAddr) -> bool {
        self.0.get().is_some_and(|media| media.has_host(ip))
    }
}

/// A TURN server with its sockets.
pub(super) struct OwnTurnServer {
    server: TurnServer,
    address: SocketAddr,
    _sockets: TurnSockets,
    listener: Option<TcpListener>,
}

/// A TURN server that accepts connections. Dropping it ends that.
pub(super) struct RunningTurn {
    server: TurnServer,
    _sockets: TurnSockets,
    task: Option<JoinHandle<()>>,
}

impl OwnTurnServer {
    /// Binds UDP and TCP at `address`, unless `pages` is the same TCP port. None if `access` has no secret.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub(super) fn bind(
        address: SocketAddr,
        pages: SocketAddr,
        access: &Access,
        media: &OwnMedia,
    ) -> Result<Option<Self>, Failure> {
        let Some(secret) = access.turn_secret().cloned() else { return Ok(None) };
        let files = usize::try_from(process::max_files() / FILES_SHARE).unwrap_or(usize::MAX);
        let max_allocations = MAX_ALLOCATIONS.min(files);
        let server = TurnServer::new(TurnConfig { secret, media: Arc::new(media.clone()), max_allocations });
        let failed = |cause| {
            let advice = "choose another address with --turn ADDR:PORT";
            Failure::usage(anyhow::anyhow!("can't listen on UDP {address} for TURN: {cause}; {advice}"))
        };
        // One socket for each address of this computer, as answers must come from the address that was called.
        let addresses = LocalMedia::new(address).addresses();
        let sockets = server.listen(&addresses).map_err(failed)?;
        let listener = if address.port() == pages.port() { None } else { Some(listen(address)?) };
        Ok(Some(Self { server, address, _sockets: sockets, listener }))
    }

    /// How clients find the server. `pages` is the TCP port that they call for pages, if no proxy is in between.
    pub(super) fn urls(&self, host: &str, pages: Option<u16>, has_tls: bool) -> OwnTurn {
        let port = self.address.port();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        OwnTurn { host, is_called_otherwise: false, udp: Some(port), tcp: pages.unwrap_or(port), has_tls }
    }

    /// Takes the connections to the port of the pages that begin with a STUN request.
    pub(super) fn handler(&self) -> StunHandler {
        let server = self.server.clone();
        StunHandler::new(move |stream| {
            let server = server.clone();
            async move {
                let StunStream { stream, from, at, client_state } = stream;
                // A member's relay must not make place for a stranger.
                let allocated = move || client_state.set(ClientState::Connected);
                server.serve_stream(stream, (from, at), allocated).await;
            }
        })
    }

    /// Accepts connections.
    pub(super) fn start(self, tls: Option<&ServerTls>) -> RunningTurn {
        let handler = self.handler();
        let Self { server, _sockets, listener, .. } = self;
        let port = match tls {
            Some(tls) => Port::with_tls(Router::new(), tls.clone()),
            None => Port::from(Router::new()),
        };
        let limits = ConnectionLimits::within(process::max_files() / FILES_SHARE);
        let serve =
            |listener| tokio::spawn(http::serve(listener, port.with_stun(handler), limits, std::future::pending()));
        RunningTurn { server, _sockets, task: listener.map(serve) }
    }
}

impl RunningTurn {
    /// The counters, also after the end.
    pub(super) fn stats(&self) -> impl Fn() -> TurnStats + Send + Sync + 'static {
        let server = self.server.clone();
        move || server.stats()
    }
}

impl Drop for RunningTurn {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
