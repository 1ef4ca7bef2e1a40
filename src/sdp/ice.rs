//! The STUN and TURN servers of a client, and the credentials of an ICE session.

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

/// The STUN and TURN servers of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceServers {
    /// The servers.
    pub servers: Vec<IceServer>,
    /// Whether media may take no path but those through TURN servers.
    pub relay_only: bool,
}

impl From<IceServer> for RTCIceServer {
    fn from(server: IceServer) -> Self {
        Self { urls: vec![server.url], username: server.username, credential: server.credential }
    }
}

/// Whether these are a user name fragment and a password of ICE (RFC 8839, 5.4).
pub(crate) fn are_credentials(ufrag: &str, password: &str) -> bool {
    const MOST: usize = 256;
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let is_valid = |text: &str, least: usize| (least..=MOST).contains(&text.len()) && text.bytes().all(is_char);
    is_valid(ufrag, 4) && is_valid(password, 22)
}
