//! `classroom serve`: the signalling server, which `teach` also runs inside its own process.

mod whep;

use std::future::Future;

use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::metrics::MetricsStore;
use super::{listen, reachable_host};
use crate::cli::{Serve, StunServer, TurnLogin, TurnServer};
use crate::exit::Failure;
use crate::http::Site;
use crate::protocol::IceServer;
use crate::report::{EndReason, Event, Reporter};
use crate::signal::{Server, ServerUrl};
use crate::tls::{CertificateSource, Identity, ServerTls};
use crate::{http, process, protocol, signal};

/// Serves until `stop`.
pub(super) async fn run(
    serve: Serve,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<EndReason, Failure> {
    let listener = listen(serve.listen)?;
    let tls = serve.tls.map(|source| start_tls(source, reporter)).transpose()?;
    let served = RunningServer::start(listener, ice_servers(&serve.stun, &serve.turn), serve.site, tls)?;
    let (ws, page) = served.urls();
    let fingerprint = served.fingerprint();
    reporter.event(&Event::Listening { ws: Some(ws), page: Some(page), room_page: None, fingerprint, udp: None });
    served.show_certificate(reporter);
    let reason = stop.await;
    served.shutdown().await;
    Ok(reason)
}

/// Makes or reads the certificate of a server. Later warnings go to the terminal.
pub(super) fn start_tls(source: CertificateSource, reporter: &Reporter) -> Result<ServerTls, Failure> {
    let reporter = reporter.clone();
    ServerTls::start(source, move |warning| reporter.warn(warning)).map_err(Failure::usage)
}

/// STUN and TURN servers in the form of the wire.
pub(super) fn ice_servers(stun: &[StunServer], turn: &[TurnServer]) -> Vec<IceServer> {
    let stun = stun.iter().map(|server| IceServer { urls: vec![server.url()], username: None, credential: None });
    let turn = turn.iter().map(|server| {
        let (username, credential) = match &server.login {
            TurnLogin::Password { user, password } => (Some(user.clone()), Some(password.clone())),
            TurnLogin::PerStudent => (None, None),
        };
        IceServer { urls: vec![server.url()], username, credential }
    });
    stun.chain(turn).collect()
}

/// A running server: signalling, pages, WHEP and metrics on one port.
pub(super) struct RunningServer {
    server: Server,
    metrics: MetricsStore,
    address: std::net::SocketAddr,
    tls: Option<ServerTls>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningServer {
    /// Serves on `listener` as `site`, and names `ice_servers` to everybody who joins. With `tls`, by HTTPS and WSS as
    /// well.
    pub(super) fn start(
        listener: TcpListener,
        ice_servers: Vec<IceServer>,
        site: Site,
        tls: Option<ServerTls>,
    ) -> Result<Self, Failure> {
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
        let app = http::guard(app.merge(metrics.router()), site);
        let limits = http::ConnectionLimits::within(process::max_files());
        let (end, ended) = oneshot::channel::<()>();
        let port = match &tls {
            Some(tls) => http::Port::with_tls(app, tls.clone()),
            None => app.into(),
        };
        let task = tokio::spawn(http::serve(listener, port, limits, async {
            let _ = ended.await;
        }));
        Ok(Self { server, metrics, address, tls, end, task })
    }

    /// The local address.
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// The URL by which other computers in the network join: by the name in the certificate of `--tls-cert`, or by an
    /// address of this computer.
    pub(super) fn url(&self) -> ServerUrl {
        let name = self.tls.as_ref().and_then(ServerTls::name).map(str::to_owned);
        let host = name.unwrap_or_else(|| reachable_host(self.address.ip()).to_string());
        ServerUrl::new(&host, self.address.port()).with_tls(self.tls.is_some())
    }

    /// The URLs of the WebSocket and of the page, as other computers in the network use them.
    pub(super) fn urls(&self) -> (String, String) {
        let url = self.url();
        (url.web_socket(), format!("{}/", url.origin()))
    }

    /// The TLS side, if there is one.
    pub(super) fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// The fingerprint that clients need, unless the certificate has a name that a known CA vouches for.
    pub(super) fn fingerprint(&self) -> Option<String> {
        match self.tls.as_ref()?.identity() {
            Identity::Certificate(fingerprint) => Some(fingerprint.to_string()),
            Identity::Name(_) => None,
        }
    }

    /// Tells how browsers and programs come to trust the server.
    pub(super) fn show_certificate(&self, reporter: &Reporter) {
        let Some(fingerprint) = self.fingerprint() else { return };
        if self.tls.as_ref().is_some_and(|tls| tls.root().is_some()) {
            let help = format!("{}/ca/help", self.url().with_tls(false).origin());
            reporter.notice(format!("browsers warn until the certificate of this computer is installed once: {help}"));
        }
        reporter.notice(format!("programs trust the server with --fingerprint {fingerprint}"));
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
