//! The STUN and TURN servers of a client.

use rtc::peer_connection::configuration::RTCIceServer;

/// A STUN or TURN server, with credentials if it needs any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port?transport=udp`.
    pub url: String,
    /// TURN: the user.
    pub username: String,
    /// TURN: the password.
    pub credential: String,
}

impl From<IceServer> for RTCIceServer {
    fn from(server: IceServer) -> Self {
        Self { urls: vec![server.url], username: server.username, credential: server.credential }
    }
}
