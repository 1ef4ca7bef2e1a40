//! `classroom serve`: the signalling server alone. Also what a teacher runs inside of itself.

mod whep;

use std::future::Future;

use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::metrics::Meters;
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
    let served = Served::start(listener, ice_servers(&serve.stun, &serve.turn))?;
    let (ws, page) = served.urls();
    reporter.event(&Event::Listening { ws: Some(ws), page: Some(page), room_page: None, udp: None });
    let reason = stop.await;
    served.shutdown().await;
    Ok(reason)
}

/// STUN and TURN servers in the words of the wire.
pub(super) fn ice_servers(stun: &[StunServer], turn: &[TurnServer]) -> Vec<IceServer> {
    let stun = stun.iter().map(|server| IceServer { urls: vec![server.url()], username: None, credential: None });
    let turn = turn.iter().map(|server| IceServer {
        urls: vec![server.url()],
        username: Some(server.user.clone()),
        credential: Some(server.password.clone()),
    });
    stun.chain(turn).collect()
}

/// A running server: signalling and pages on one port.
pub(super) struct Served {
    server: Server,
    meters: Meters,
    address: std::net::SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    /// Serves on `listener`; whoever joins is told of `ice_servers`.
    pub(super) fn start(listener: TcpListener, ice_servers: Vec<IceServer>) -> Result<Self, Failure> {
        let address = listener.local_addr().map_err(Failure::internal)?;
        let server = Server::with_ice_servers(signal::ServerLimits::default(), ice_servers.clone());
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
        let app = app.merge(http::creation(move |name| creating.create_room(name)));
        let meters = Meters::new(Some(server.clone()));
        let app = app.merge(meters.router());
        let (end, ended) = oneshot::channel::<()>();
        let task = tokio::spawn(http::serve(listener, app, http::ConnectionLimits::default(), async {
            let _ = ended.await;
        }));
        Ok(Self { server, meters, address, end, task })
    }

    /// Where it is bound.
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// The WebSocket's URL and the page's, as others on the network would type them.
    pub(super) fn urls(&self) -> (String, String) {
        let host = std::net::SocketAddr::new(reachable_host(self.address.ip()), self.address.port());
        (format!("ws://{host}{}", protocol::WS_PATH), format!("http://{host}/"))
    }

    /// Where its numbers are.
    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Tells everybody, closes everything; the port is free when this returns.
    pub(super) async fn shutdown(self) {
        self.meters.end();
        // The port stays open meanwhile: who asks is told that the server is ending, and nobody is let in.
        self.server.shutdown().await;
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}
