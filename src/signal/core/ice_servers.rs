//! The STUN and TURN servers for the members of all rooms.

use std::sync::Arc;
use std::time::SystemTime;

use crate::access::{Access, TurnCredentials};
use crate::id::UserId;
use crate::protocol::IceServer;

/// The ICE servers that the server recommends.
#[derive(Debug)]
pub(super) struct IceServers {
    servers: Vec<IceServer>,
    access: Arc<Access>,
}

impl IceServers {
    pub(super) fn new(servers: Vec<IceServer>, access: Arc<Access>) -> Self {
        Self { servers, access }
    }

    /// The servers for one member, with credentials of its own.
    pub(super) fn of(&self, user: &UserId) -> Vec<IceServer> {
        let now = SystemTime::now();
        let with_credentials = |server: &IceServer| {
            let is_turn = server.urls.iter().any(|url| url.starts_with("turn"));
            if !is_turn || server.username.is_some() {
                return Some(server.clone());
            }
            let TurnCredentials { username, credential } = self.access.turn_credentials(now, user)?;
            let (username, credential) = (Some(username), Some(credential));
            Some(IceServer { urls: server.urls.clone(), username, credential })
        };
        self.servers.iter().filter_map(with_credentials).collect()
    }
}
