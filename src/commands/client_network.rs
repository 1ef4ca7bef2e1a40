//! The addresses and the ICE servers of a client's peer connections.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::ice_servers;
use super::trust::ClientTrust;
use crate::cli::Member;
use crate::exit::Failure;
use crate::protocol;
use crate::report::MediaPath;
use crate::signal::ServerUrl;
use crate::turn::{Forwarder, TurnAddress, TurnTransport};
use crate::viewer::{IceServer, IceServers, has_ipv6};

/// The most URLs of a signalling server that are used.
const MAX_URLS: usize = 10;

/// The most problems of TURN servers that are said. A server may give a new reason each time.
const MAX_SAID: usize = 20;

/// The ways of a client to the TURN servers of its room.
#[derive(Debug)]
pub(super) struct ClientRelays {
    trust: ClientTrust,
    forwarders: Vec<Forwarder>,
    /// The problems that were said.
    said: HashSet<String>,
}

impl ClientRelays {
    /// Reads what the member trusts.
    pub(super) fn new(member: &Member) -> Result<Self, Failure> {
        Ok(Self { trust: ClientTrust::new(&member.trust)?, forwarders: Vec::new(), said: HashSet::new() })
    }

    /// The typed STUN and TURN servers, or else those that the signalling server names. Connections by a server that
    /// is named again go on.
    pub(super) fn update(&mut self, member: &Member, named: Vec<protocol::IceServer>) -> IceServers {
        let typed = ice_servers::ice_servers(&member.stun, &member.turn);
        let named = if typed.is_empty() { named } else { typed };
        let (mut before, mut servers) = (std::mem::take(&mut self.forwarders), Vec::new());
        for (url, login) in named.into_iter().flat_map(urls).take(MAX_URLS) {
            let (username, credential) = login;
            let server = |url| IceServer { url, username, credential };
            if url.starts_with("stun:") {
                servers.push(server(url));
                continue;
            }
            let Some(address) = TurnAddress::parse(&url) else { continue };
            let forwarder = match before.iter().position(|known| *known.server() == address) {
                Some(at) => before.swap_remove(at),
                None => {
                    let trust = self.trust.of_named(&ServerUrl::new(&address.host, address.port).with_tls(true));
                    let Ok(forwarder) = Forwarder::start(address, trust) else { continue };
                    forwarder
                }
            };
            servers.push(server(forwarder.url()));
            self.forwarders.push(forwarder);
        }
        IceServers { servers, relay_only: member.relay_only }
    }

    /// The way of a connection whose media is relayed from this address, or from none.
    pub(super) fn path(&self, relayed: Option<SocketAddr>) -> MediaPath {
        let relay = relayed.and_then(|relayed| self.forwarders.iter().find(|known| known.has_relayed(relayed)));
        let Some(relay) = relay else { return MediaPath::Direct };
        MediaPath::Turn { transport: relay.server().transport, udp_works: self.reach_by_udp() }
    }

    /// Whether a TURN server has answered by UDP.
    pub(super) fn reach_by_udp(&self) -> bool {
        let by_udp = |forwarder: &&Forwarder| forwarder.server().transport == TurnTransport::Udp;
        self.forwarders.iter().filter(by_udp).any(Forwarder::has_allocated)
    }

    /// Why the TURN servers do not help: a sentence for each problem that was not returned before.
    pub(super) fn new_problems(&mut self) -> Vec<String> {
        let problem = |of: &Forwarder| Some(format!("the TURN server {} {}", of.server(), of.problem()?));
        let problems = self.forwarders.iter().filter_map(problem).filter(|problem| !self.said.contains(problem));
        let new: Vec<String> = problems.take(MAX_SAID.saturating_sub(self.said.len())).collect();
        self.said.extend(new.iter().cloned());
        new
    }
}

/// These servers, as a connection without [`ClientRelays`] uses them: by UDP alone.
pub(super) fn usable(servers: Vec<protocol::IceServer>) -> IceServers {
    let is_by_udp = |url: &str| url.starts_with("stun:") || url.starts_with("turn:") && !url.contains("transport=tcp");
    let servers = servers.into_iter().flat_map(urls).filter(|(url, _)| is_by_udp(url));
    let servers = servers.map(|(url, (username, credential))| IceServer { url, username, credential }).collect();
    IceServers { servers, relay_only: false }
}

/// The URLs of a server, each with the user name and the password.
fn urls(server: protocol::IceServer) -> impl Iterator<Item = (String, (String, String))> {
    let login = (server.username.unwrap_or_default(), server.credential.unwrap_or_default());
    server.urls.into_iter().map(move |url| (url, login.clone()))
}

/// The addresses to bind. `0.0.0.0` and `[::]` stand for every interface. Loopback comes first if the server is on
/// this computer, which may have no other address.
pub(super) fn bind_addresses(server: Option<&ServerUrl>) -> Vec<String> {
    bind_addresses_for(server.map_or("", ServerUrl::host))
}

/// The same for the host of a server, a name or an address.
pub(super) fn bind_addresses_for(host: &str) -> Vec<String> {
    let address: Option<IpAddr> = host.parse().ok();
    let mut sockets = match address {
        Some(ip) if ip.is_loopback() => vec![SocketAddr::new(ip, 0).to_string()],
        None if host == "localhost" => vec!["127.0.0.1:0".to_owned()],
        _ => Vec::new(),
    };
    sockets.push("0.0.0.0:0".to_owned());
    if has_ipv6() {
        sockets.push("[::]:0".to_owned());
    }
    sockets
}
