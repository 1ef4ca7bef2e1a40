//! `classroom serve`: the signalling server, which `teach` also runs inside its own process, and the media of rooms
//! whose publisher does not host it.

mod cluster;
mod edge;
mod engine;
mod files;
mod host;
mod media;
mod mediamtx;
mod meeting;
mod whep;
mod whip;

use std::future::Future;
use std::time::Duration;

use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::cluster::ClusterNode;
use self::edge::{EdgeSettings, RunningEdges};
pub(super) use self::engine::engine_nodes;
use self::media::{MediaServer, RunningMedia};
use super::access::ServerAccess;
use super::hosted_source::SourceSettings;
use super::ice_servers::ice_servers;
use super::ice_tcp::{OwnTcpPort, PagesPort, TcpMedia};
use super::media_meter::MediaMeter;
use super::metrics::MetricsStore;
use super::negotiation::stun_addresses;
use super::own_turn::{OwnMedia, OwnTurnServer, RunningTurn};
use super::traces::Traces;
use super::whip::WhipDoor;
use super::{listen, reachable_host};
use crate::access::TurnSecret;
use crate::cli::{EngineNode, Serve};
use crate::exit::Failure;
use crate::http::{Host, Origin, Site};
use crate::protocol::IceServer;
use crate::report::{EndReason, Event, Reporter};
use crate::room::{EdgeRole, Meetings, Reservation};
use crate::signal::{OwnTurn, Server, ServerUrl};
use crate::tls::{CertificateSource, Identity, ServerTls, TypedHost};
use crate::trace::Tracer;
use crate::{http, process, protocol, signal};

/// Serves until `stop`.
pub(super) async fn run(
    serve: Serve,
    reporter: &Reporter,
    stop: impl Future<Output = EndReason>,
) -> Result<EndReason, Failure> {
    let drain = serve.cluster.as_ref().and_then(|cluster| cluster.drain);
    let mut stop = std::pin::pin!(stop);
    let serving = tokio::select! {
        // First, so that a signal right after `listening` ends the server in good order.
        biased;
        reason = &mut stop => return Ok(reason),
        serving = start(serve, reporter) => serving?,
    };
    let reason = stop.await;
    let end = async {
        if let Some(within) = drain {
            serving.server.drain(within, reporter).await;
        }
        serving.server.shutdown().await;
    };
    tokio::select! {
        () = end => {}
        _ = super::stop::stop(None) => {}
    }
    drop(serving.own_tcp_port);
    if let Some(traces) = serving.traces {
        traces.finish().await;
    }
    Ok(reason)
}

/// A server that has reported its addresses.
struct Serving {
    server: RunningServer,
    /// The TCP port with the number of the media port.
    own_tcp_port: Option<OwnTcpPort>,
    traces: Option<Traces>,
}

/// Starts the server, and reports its addresses.
async fn start(serve: Serve, reporter: &Reporter) -> Result<Serving, Failure> {
    let listener = listen(serve.listen)?;
    let turn_secret = serve.own_turn.map(|_| TurnSecret::own(rand::random()));
    let access = ServerAccess::start(&serve.access, serve.site.public_url.is_none(), turn_secret, reporter)?;
    if access.policy().teaches_only_here() {
        reporter.notice(match serve.site.public_url {
            None => {
                "only this computer may teach: start the server with --teach-key or --auth to let teachers in from \
                     elsewhere"
            }
            Some(_) => {
                "nobody may teach, as a proxy hides which clients are on this computer: start the server with \
                        --teach-key or --auth to let teachers in"
            }
        });
    }
    let (tracer, traces) = Traces::start(serve.otlp.clone(), reporter);
    let media = match &serve.media {
        Some(media) => {
            let stun = stun_addresses(&serve.stun, reporter).await;
            Some(MediaServer::bind(serve.listen.ip(), media, (&stun, &tracer), reporter)?)
        }
        None => None,
    };
    let cluster = match serve.cluster {
        Some(cluster) => Some(ClusterNode::connect(*cluster, reporter).await?),
        None => None,
    };
    let own_media = OwnMedia::default();
    if let Some(media) = &media {
        own_media.bound(media.address());
    }
    let own_turn = serve.own_turn.map(|at| OwnTurnServer::bind(at, serve.listen, &access.policy(), &own_media));
    let tcp_media = serve.media.as_ref().map(|media| TcpMedia::new(media.ice_tcp));
    let mut own_tcp_port = None;
    if let (Some(tcp), Some(media)) = (&tcp_media, &media) {
        let address = listener.local_addr().map_err(Failure::internal)?;
        let pages = PagesPort { address, has_proxy: serve.site.public_url.is_some() };
        own_tcp_port = tcp.start(media.port(), Some(pages))?;
    }
    let settings = ServerSettings {
        ice_servers: ice_servers(&serve.stun, &serve.turn),
        own_turn: own_turn.transpose()?.flatten(),
        tcp_media,
        tracer,
        tls: serve.tls.map(|source| start_tls(source, &serve.site, reporter)).transpose()?,
        access,
        site: serve.site,
        meetings: serve.meetings,
        reservation: None,
        whip: None,
        media,
        cluster,
        via: engine_nodes(serve.via, reporter)?,
    };
    let server = RunningServer::start(listener, settings)?;
    let (ws, page) = server.urls();
    let fingerprint = server.fingerprint();
    let udp = server.media.as_ref().map(RunningMedia::udp_port);
    let (ws, page, room_page, code) = (Some(ws), Some(page), None, None);
    reporter.event(&Event::Listening { ws, page, room_page, code, fingerprint, udp });
    server.show_certificate(reporter);
    if let Some(fingerprint) = server.fingerprint() {
        reporter.notice(format!("programs trust the server with --fingerprint {fingerprint}"));
    }
    Ok(Serving { server, own_tcp_port, traces })
}

/// The configuration of a MediaMTX server that gets lectures from this one, see [`mediamtx::configuration`].
pub(super) fn mediamtx_configuration(serve: &Serve) -> String {
    let url = url_of(serve.site.public_url.as_ref(), None, serve.listen);
    let uses_tls = url.uses_tls() || serve.tls.is_some();
    mediamtx::configuration(&url.with_tls(uses_tls))
}

/// Makes or reads the certificate of a server. Later warnings go to the terminal.
pub(super) fn start_tls(source: CertificateSource, site: &Site, reporter: &Reporter) -> Result<ServerTls, Failure> {
    let reporter = reporter.clone();
    let typed = |flag, host: &Host, may_be_proxy| {
        let host = match host {
            Host::Name(name) => name.to_string(),
            Host::Ip(ip) => ip.to_string(),
        };
        TypedHost { flag, host, may_be_proxy }
    };
    let public_url = site.public_url.iter().filter(|url| url.is_secure());
    let public_url = public_url.map(|url| typed("--public-url", url.host(), true));
    let typed = public_url.chain(site.hosts.iter().map(|host| typed("--host", host, false))).collect();
    ServerTls::start(source, typed, move |warning| reporter.warn(warning)).map_err(Failure::usage)
}

/// The URL by which other computers join a server that listens on this address, see [`RunningServer::url`].
fn url_of(public_url: Option<&Origin>, tls: Option<&ServerTls>, address: std::net::SocketAddr) -> ServerUrl {
    if let Some(url) = public_url {
        return ServerUrl::new(&url.host().to_string(), url.port()).with_tls(url.is_secure());
    }
    let name = tls.and_then(|tls| tls.names().first().cloned());
    let host = name.unwrap_or_else(|| reachable_host(address.ip()).to_string());
    ServerUrl::new(&host, address.port()).with_tls(tls.is_some())
}

/// See [`RunningServer::fingerprint`].
fn fingerprint_of(tls: Option<&ServerTls>) -> Option<String> {
    match tls?.identity() {
        Identity::Certificate(fingerprint) => Some(fingerprint.to_string()),
        Identity::Name(_) => None,
    }
}

/// The settings of a server.
pub(super) struct ServerSettings {
    /// STUN and TURN servers for everybody who joins.
    pub(super) ice_servers: Vec<IceServer>,
    /// The TURN server of this process.
    pub(super) own_turn: Option<OwnTurnServer>,
    /// Takes the media of clients that reach it by TCP at the port of the pages.
    pub(super) tcp_media: Option<TcpMedia>,
    /// Takes the joins of members.
    pub(super) tracer: Tracer,
    /// The certificate for HTTPS and WSS.
    pub(super) tls: Option<ServerTls>,
    /// The access policy.
    pub(super) access: ServerAccess,
    /// The names of the server.
    pub(super) site: Site,
    /// The clients that may open meeting and call rooms.
    pub(super) meetings: Meetings,
    /// A room for a teacher in this process.
    pub(super) reservation: Option<Reservation>,
    /// Takes the media of WHIP clients for that teacher.
    pub(super) whip: Option<WhipDoor>,
    /// The media of rooms whose publisher does not host it; none without `serve`.
    pub(super) media: Option<MediaServer>,
    /// The other nodes, if there are any.
    pub(super) cluster: Option<ClusterNode>,
    /// The nodes of engines that send the media to students.
    pub(super) via: Vec<EngineNode>,
}

/// A running server: signalling, pages, WHEP, WHIP and metrics on one port, and the media of rooms on another.
pub(super) struct RunningServer {
    server: Server,
    metrics: MetricsStore,
    media: Option<RunningMedia>,
    edges: Option<RunningEdges>,
    _turn: Option<RunningTurn>,
    address: std::net::SocketAddr,
    tls: Option<ServerTls>,
    public_url: Option<Origin>,
    /// Reads the key file again when the file changes.
    _access: ServerAccess,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl RunningServer {
    /// Serves on `listener`.
    pub(super) fn start(listener: TcpListener, settings: ServerSettings) -> Result<Self, Failure> {
        let ServerSettings {
            ice_servers,
            own_turn,
            tcp_media,
            tracer,
            tls,
            access,
            mut site,
            meetings,
            reservation,
            whip,
            media,
            cluster,
            via,
        } = settings;
        let address = listener.local_addr().map_err(Failure::internal)?;
        let mut limits = signal::ServerLimits::default();
        limits.room.meetings = meetings;
        limits.room.max_media_rooms = media.as_ref().map_or(0, MediaServer::max_rooms);
        cluster.iter().for_each(|node| limits.room.direct_edges = node.direct_edges());
        let has_cluster = cluster.is_some();
        let is_edge = cluster.as_ref().is_some_and(ClusterNode::is_edge);
        // The other nodes call this one by the name in its URL.
        let node_host = cluster.as_ref().and_then(|node| node.url()?.host().parse().ok());
        site.hosts.extend(node_host);
        // Nodes of a server have one public name, and each relays its own media.
        let own_url = |node: &ClusterNode| node.url().cloned().unwrap_or_else(|| url_of(None, tls.as_ref(), address));
        let node_url = cluster.as_ref().map(own_url);
        let config = |node: ClusterNode| {
            // Nodes talk to each other directly, and not through the proxy of `--public-url`.
            let (own, fingerprint) = (url_of(None, tls.as_ref(), address), fingerprint_of(tls.as_ref()));
            node.config(own, fingerprint, &access.policy(), meetings)
        };
        let cluster = cluster.map(config);
        let urls = |turn: &OwnTurnServer| {
            let pages = site.public_url.is_none().then(|| address.port());
            let url = node_url.unwrap_or_else(|| url_of(site.public_url.as_ref(), tls.as_ref(), address));
            OwnTurn { is_called_otherwise: has_cluster, ..turn.urls(url.host(), pages, tls.is_some()) }
        };
        let server = Server::with(signal::ServerConfig {
            limits,
            access: access.policy(),
            ice_servers,
            own_turn: own_turn.as_ref().map(urls),
            tracer,
            cluster,
        });
        let edges = media.as_ref().filter(|_| is_edge || !via.is_empty()).map(|media| {
            let settings = media.edges(address.ip(), is_edge, via);
            let role = if is_edge { EdgeRole::Serves } else { EdgeRole::ServesByEngine };
            (settings.meter.clone(), RunningEdges::start(settings, server.edges(role, media.max_rooms())))
        });
        let media = media.map(|media| media.start(server.media_hosts()));
        // Before the first request, or a stranger could take the room.
        if let Some(reservation) = &reservation {
            server.reserve_room(reservation);
        }
        let (rooms, sockets, nodes) = (server.clone(), server.clone(), server.clone());
        let creating = server.clone();
        let app = http::router(move || rooms.rooms()).route(
            protocol::WS_PATH,
            any(move |request: axum::extract::Request| {
                let sockets = sockets.clone();
                async move { sockets.upgrade(request) }
            }),
        );
        let app = match has_cluster {
            true => app.route(
                Server::NODE_PATH,
                any(move |request: axum::extract::Request| {
                    let nodes = nodes.clone();
                    async move { nodes.upgrade_node(request) }
                }),
            ),
            false => app,
        };
        let app = app.merge(http::whep::router(whep::Players(server.clone())));
        let app = app.merge(match whip {
            Some(door) => http::whip::router(door.guarded_by(server.clone())),
            None => http::whip::router(whip::Publishers::new(
                server.clone(),
                media.as_ref().map(RunningMedia::whip).unwrap_or_default(),
            )),
        });
        let app = app.merge(http::creation(move |name, kind, credentials, from| {
            let creating = creating.clone();
            async move { creating.create_room(name, kind, &credentials, from).await }
        }));
        let app = app.merge(http::files(files::MeetingFiles(server.clone())));
        let app = app.merge(http::invitation(url_of(site.public_url.as_ref(), tls.as_ref(), address).origin()));
        let metrics = MetricsStore::new(Some(server.clone()), media.as_ref().map(|media| media.meter().clone()));
        let edges = edges.map(|(meter, running)| {
            metrics.set_edges(meter);
            running
        });
        let app = app.merge(metrics.router());
        let app = match &tls {
            Some(tls) => app.merge(http::certificate(tls)),
            None => app,
        };
        // Browsers call the server by a name in its certificate.
        let names = tls.iter().flat_map(|tls| tls.names().iter().filter_map(|name| name.parse().ok()));
        site.hosts.extend(names);
        let public_url = site.public_url.clone();
        let app = http::guard(app, site);
        let limits = http::ConnectionLimits::within(process::max_files());
        let (end, ended) = oneshot::channel::<()>();
        let port = match &tls {
            Some(tls) => http::Port::with_tls(app, tls.clone()),
            None => app.into(),
        };
        let of_turn = own_turn.as_ref().map(OwnTurnServer::handler);
        let port = match tcp_media.map_or(of_turn.clone(), |media| media.handler(of_turn)) {
            Some(handler) => port.with_stun(handler),
            None => port,
        };
        let turn = own_turn.map(|turn| turn.start(tls.as_ref()));
        if let Some(turn) = &turn {
            metrics.set_turn(turn.stats());
        }
        let task = tokio::spawn(http::serve(listener, port, limits, async {
            let _ = ended.await;
        }));
        Ok(Self { server, metrics, media, edges, _turn: turn, address, tls, public_url, _access: access, end, task })
    }

    /// From now on these nodes of engines send the lecture of this process to students. `source` has the limits.
    pub(super) fn serve_by_engines(&mut self, nodes: Vec<EngineNode>, source: SourceSettings, reporter: &Reporter) {
        let settings = EdgeSettings::new(self.address.ip(), source, MediaMeter::default(), nodes, reporter.clone());
        self.metrics.set_edges(settings.meter.clone());
        self.edges = Some(RunningEdges::start(settings, self.server.edges(EdgeRole::ServesByEngine, 1)));
    }

    /// The local address.
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// The URL by which other computers join: that of `--public-url`, or the name in the certificate of `--tls-cert`,
    /// or an address of this computer.
    pub(super) fn url(&self) -> ServerUrl {
        url_of(self.public_url.as_ref(), self.tls.as_ref(), self.address)
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
        fingerprint_of(self.tls.as_ref())
    }

    /// Tells how browsers come to trust a server with a CA of its own. A proxy, which has another port, has a
    /// certificate of its own.
    pub(super) fn show_certificate(&self, reporter: &Reporter) {
        let has_proxy = self.public_url.as_ref().is_some_and(|url| url.port() != self.address.port());
        if !has_proxy && self.tls.as_ref().is_some_and(|tls| tls.root().is_some()) {
            let help = format!("{}/ca/help", self.url().with_tls(false).origin());
            reporter.notice(format!("browsers warn until the certificate of this computer is installed once: {help}"));
        }
    }

    /// The metrics of this process.
    pub(super) fn metrics(&self) -> &MetricsStore {
        &self.metrics
    }

    /// Sends all clients to the other servers.
    async fn drain(&self, within: Duration, reporter: &Reporter) {
        self.metrics.set_draining();
        let seconds = within.as_secs_f32();
        reporter.notice(format!("the clients of this server move to the others, for at most {seconds} s"));
        self.server.drain(within).await;
    }

    /// Tells all users that the server ends, and closes the port.
    pub(super) async fn shutdown(self) {
        self.metrics.set_ending();
        // Until the sockets are closed, the port stays open and answers new users that the server is ending.
        self.server.shutdown().await;
        if let Some(edges) = self.edges {
            edges.shutdown().await;
        }
        if let Some(media) = self.media {
            media.shutdown().await;
        }
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}
