//! The STUN and TURN servers for the members of all rooms.

use std::sync::Arc;
use std::time::SystemTime;

use crate::access::{Access, TurnCredentials};
use crate::id::{RoomId, UserId};
use crate::network::CalledHost;
use crate::protocol::IceServer;

/// The TURN server in this process: it is at the host by which a member has called the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnTurn {
    /// The host for members whose call is not known, as those of WHEP.
    pub host: String,
    /// Whether `host` is for all members, as they call a load balancer or another node.
    pub is_called_otherwise: bool,
    /// The UDP port.
    pub udp: Option<u16>,
    /// The TCP port.
    pub tcp: u16,
    /// Whether TLS is spoken at the TCP port, too.
    pub has_tls: bool,
}

impl OwnTurn {
    /// The URLs (RFC 7065).
    fn urls(&self, host: &str) -> Vec<String> {
        let Self { udp, tcp, has_tls, .. } = self;
        let udp = udp.map(|port| format!("turn:{host}:{port}?transport=udp"));
        let tls = has_tls.then(|| format!("turns:{host}:{tcp}?transport=tcp"));
        udp.into_iter().chain([format!("turn:{host}:{tcp}?transport=tcp")]).chain(tls).collect()
    }
}

/// The ICE servers that the server recommends.
#[derive(Debug)]
pub(super) struct IceServers {
    servers: Vec<IceServer>,
    own: Option<OwnTurn>,
    access: Arc<Access>,
}

impl IceServers {
    pub(super) fn new(servers: Vec<IceServer>, own: Option<OwnTurn>, access: Arc<Access>) -> Self {
        Self { servers, own, access }
    }

    /// The servers for one member, with credentials of its own.
    pub(super) fn of(&self, room: &RoomId, user: &UserId, called: Option<&CalledHost>) -> Vec<IceServer> {
        let now = SystemTime::now();
        let with_credentials = |urls: Vec<String>| {
            let TurnCredentials { username, credential } = self.access.turn_credentials(now, (room, user))?;
            Some(IceServer { urls, username: Some(username), credential: Some(credential) })
        };
        let of_server = |server: &IceServer| {
            let is_turn = server.urls.iter().any(|url| url.starts_with("turn"));
            let is_complete = !is_turn || server.username.is_some();
            if is_complete { Some(server.clone()) } else { with_credentials(server.urls.clone()) }
        };
        let own = self.own.as_ref().and_then(|own| {
            let called = called.filter(|_| !own.is_called_otherwise);
            let host = called.map_or(own.host.as_str(), |called| &called.0);
            with_credentials(own.urls(host))
        });
        self.servers.iter().filter_map(of_server).chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AccessConfig, TurnSecret};

    #[test]
    fn a_member_finds_our_turn_server_where_it_found_the_server() {
        let turn_secret = Some(TurnSecret::own([7; 32]));
        let access = Arc::new(Access::new(AccessConfig { turn_secret, ..AccessConfig::default() }));
        let own = OwnTurn { host: "10.0.0.1".into(), udp: Some(3478), tcp: 443, has_tls: true, ..OwnTurn::default() };
        let balanced = OwnTurn { is_called_otherwise: true, ..own.clone() };
        let balanced = IceServers::new(Vec::new(), Some(balanced), access.clone());
        let servers = IceServers::new(Vec::new(), Some(own), access);
        let of = |called: Option<&CalledHost>| {
            let [server] = servers.of(&"10013".parse().unwrap(), &"1001".parse().unwrap(), called).try_into().unwrap();
            let IceServer { urls, username, credential } = server;
            assert!(username.is_some_and(|name| name.ends_with(":10013/1001")) && credential.is_some());
            urls
        };
        let called = CalledHost("class.example".into());
        assert_eq!(
            of(Some(&called)),
            [
                "turn:class.example:3478?transport=udp",
                "turn:class.example:443?transport=tcp",
                "turns:class.example:443?transport=tcp"
            ]
        );
        assert_eq!(of(None)[0], "turn:10.0.0.1:3478?transport=udp");
        let node = balanced.of(&"10013".parse().unwrap(), &"1001".parse().unwrap(), Some(&called));
        assert_eq!(node[0].urls[0], "turn:10.0.0.1:3478?transport=udp", "the balancer relays nothing");
    }
}
