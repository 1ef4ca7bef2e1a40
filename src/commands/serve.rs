//! `classroom serve`: the signalling server, which `teach` also runs inside its own process.

mod whep;

use std::future::Future;

use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::metrics::MetricsStore;
use super::{listen, reachable_host};
use crate::cli::{Serve, StunServer, TurnServer};
use crate::exit::Failure;
use crate::protocol::IceServer;
use crate::report::{EndReason, Event, Reporter};
use crate::signal::Server;
use crate::{http, protocol, signal};

/// Serves until `stop`.
pub(super) async fn run(
    serve: Serve,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<EndReason, Failure> {
    let listener = listen(serve.listen)?;
    let served = RunningServer::start(listener, ice_servers(&serve.stun, &serve.turn))?;
    let (ws, page) = served.urls();
    reporter.event(&Event::Listening { ws: Some(ws), page: Some(page), room_page: None, udp: None });
    let reason = stop.await;
    served.shutdown().await;
    Ok(reason)
}

/// STUN and TURN servers in the form of the wire.
pub(super) fn ice_servers(stun: &[StunServer], turn: &[TurnServer]) -> Vec<IceServer> {
    let stun = stun.iter().map(|server| IceServer { urls: vec![server.url()], username: None, credential: None });
    let turn = turn.iter().map(|server| IceServer {
        urls: vec![server.url()],
        username: Some(server.user.clone()),
        credential: Some(server.password.clone()),
    });
    stun.chain(turn).collect()
}

/// A running server: signalling, pages, WHEP and metrics on one port.
pub(super) struct RunningServer {
    server: Server,
    metrics: MetricsStore,
    address: std::net::SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningServer {
    /// Serves on `listener`, and names `ice_servers` to everybody who joins.
    pub(super) fn start(listener: TcpListener, ice_servers: Vec<IceServer>) -> Result<Self, Failure> {
        let address = listener.local_addr().map_err(Failure::internal)?;
        let server =
            Server::with(signal::ServerConfig { ice_servers: ice_servers.clone(), ..signal::ServerConfig::default() });
        let (rooms, sockets) = (server.clone(), server.clone());
        let creating = server.clone();
        let app = http::router(move || rooms.rooms()).route(
            protocol::WS_PATH,
            any(move |request: axum::extract::Request| {
                let sockets = sockets.clone();
                async move { sockets.upgrade(request) }
            }),
        );
        let app = app.merge(http::whep::router(whep::Players(server.clone()), &ice_servers));
        let app =
            app.merge(http::creation(move |name, credentials, from| creating.create_room(name, credentials, from)));
        let metrics = MetricsStore::new(Some(server.clone()));
        let app = app.merge(metrics.router());
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(http::serve(listener, app, http::ConnectionLimits::default(), async {
            let _ = ended.await;
        }));
        Ok(Self { server, metrics, address, end, task })
    }

    /// The local address.
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// The URLs of the WebSocket and of the page, as other computers in the network use them.
    pub(super) fn urls(&self) -> (String, String) {
        let host = std::net::SocketAddr::new(reachable_host(self.address.ip()), self.address.port());
        (format!("ws://{host}{}", protocol::WS_PATH), format!("http://{host}/"))
    }

    /// The metrics of this process.
    pub(super) fn metrics(&self) -> &MetricsStore {
        &self.metrics
    }

    /// Tells all users that the server ends, and closes the port.
    pub(super) async fn shutdown(self) {
        self.metrics.set_ending();
        // Until the sockets are closed, the port stays open and answers new users that the server is ending.
        self.server.shutdown().await;
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}
