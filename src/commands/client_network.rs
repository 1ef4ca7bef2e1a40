//! The addresses and the ICE servers of a client's peer connections.

use std::net::{IpAddr, SocketAddr};

use super::ice_servers::ice_servers as typed_servers;
use crate::cli::Member;
use crate::protocol;
use crate::signal::ServerUrl;
use crate::viewer::{IceServer, has_ipv6};

/// The typed STUN and TURN servers, or else those that the signalling server names.
pub(super) fn ice_servers(member: &Member, named: Vec<protocol::IceServer>) -> Vec<IceServer> {
    let typed = typed_servers(&member.stun, &member.turn);
    usable(if typed.is_empty() { named } else { typed })
}

/// These servers, as connections of a client use them.
pub(super) fn usable(servers: Vec<protocol::IceServer>) -> Vec<IceServer> {
    servers.into_iter().flat_map(supported_urls).collect()
}

/// One server for each URL that a viewer supports. It supports no TLS.
fn supported_urls(server: protocol::IceServer) -> impl Iterator<Item = IceServer> {
    let (username, credential) = (server.username.unwrap_or_default(), server.credential.unwrap_or_default());
    let is_supported = |url: &String| url.starts_with("stun:") || url.starts_with("turn:");
    server.urls.into_iter().filter(is_supported).map(move |url| IceServer {
        url,
        username: username.clone(),
        credential: credential.clone(),
    })
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
