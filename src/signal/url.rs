//! The address of a server: what a person types, and what a client connects to.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::protocol::{DEFAULT_PORT, WS_PATH};

/// The default port of `https://`, which is the address of a page that somebody copied.
const HTTPS_PORT: u16 = 443;

/// The address of a server: `ws://host[:port][/path]`, `http://host[:port]`, `host:port` or `host`; with TLS
/// `wss://host[:port][/path]` or `https://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    uses_tls: bool,
    /// A name or an address, IPv6 without brackets.
    host: Box<str>,
    port: u16,
    path: Box<str>,
}

/// Why a text is not a server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// Another scheme.
    #[error("{0}:// is not a scheme of a signalling server, use wss://HOST:PORT or ws://HOST:PORT")]
    Scheme(String),
    /// No host, or a character that no host has.
    #[error("{0:?} has no valid host, use ws://HOST:PORT")]
    Host(String),
    /// Not a port number.
    #[error("{0:?} is not a port, use a number from 1 to 65535")]
    Port(String),
    /// A path that is not valid in a request line.
    #[error("{0:?} is not the path of a signalling server, which is {WS_PATH}")]
    Path(String),
}

impl ServerUrl {
    /// The server at this host without TLS; IPv6 without brackets.
    pub fn new(host: &str, port: u16) -> Self {
        Self { uses_tls: false, host: host.into(), port, path: WS_PATH.into() }
    }

    /// The same server with or without TLS.
    #[must_use]
    pub fn with_tls(self, uses_tls: bool) -> Self {
        Self { uses_tls, ..self }
    }

    /// Whether clients connect by TLS.
    pub fn uses_tls(&self) -> bool {
        self.uses_tls
    }

    /// The name or address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` as in a URL, IPv6 in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URL of the WebSocket with this query.
    pub(super) fn with_query(&self, query: &str) -> String {
        format!("{}://{}{}?{query}", self.scheme(), self.authority(), self.path)
    }

    /// The URL of a WebSocket with another path.
    pub(super) fn with_path(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme(), self.authority())
    }

    /// The URL of the WebSocket.
    pub fn web_socket(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority(), self.path)
    }

    /// The origin of the server's pages: `http://host:port`, or `https://host:port` with TLS.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.uses_tls { "https" } else { "http" }, self.authority())
    }

    fn scheme(&self) -> &'static str {
        if self.uses_tls { "wss" } else { "ws" }
    }
}

impl From<SocketAddr> for ServerUrl {
    fn from(address: SocketAddr) -> Self {
        Self::new(&address.ip().to_string(), address.port())
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (uses_tls, is_page) = match scheme.to_ascii_lowercase().as_str() {
            "ws" => (false, false),
            "wss" => (true, false),
            "" | "http" => (false, true),
            "https" => (true, true),
            other => return Err(ServerUrlError::Scheme(other.into())),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority).ok_or_else(|| ServerUrlError::Host(text.into()))?;
        let host_is_valid = if host.contains(':') {
            host.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        if !host_is_valid {
            return Err(ServerUrlError::Host(text.into()));
        }
        let port = match port {
            None if uses_tls && is_page => HTTPS_PORT,
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(ServerUrlError::Port(port.into())),
                Ok(port) => port,
            },
        };
        if !path.chars().all(|c| c.is_ascii_graphic()) {
            return Err(ServerUrlError::Path(path.into()));
        }
        // The path of an http:// address belongs to a page whose address somebody copied, not to the WebSocket.
        let path = if !is_page && path.len() > 1 { path } else { WS_PATH };
        Ok(Self { uses_tls, host: host.into(), port, path: path.into() })
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after {
            "" => Some((host, None)),
            _ => Some((host, Some(after.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((authority, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if &*self.path == WS_PATH { "" } else { &*self.path };
        f.pad(&format!("{}://{}{path}", self.scheme(), self.authority()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<ServerUrl>().unwrap().with_query("q")
    }

    #[test]
    fn common_spellings_of_an_address_are_parsed() {
        assert_eq!(shown("10.0.0.5"), "ws://10.0.0.5:18080/ws?q");
        assert_eq!(shown("lab-3.example.org:80"), "ws://lab-3.example.org:80/ws?q");
        assert_eq!(shown(" WS://host:1/ "), "ws://host:1/ws?q");
        assert_eq!(shown("ws://host/behind/proxy?x#y"), "ws://host:18080/behind/proxy?q");
        assert_eq!(shown("http://host:18080/room/10013"), "ws://host:18080/ws?q");
        assert_eq!(shown("[::1]:5"), "ws://[::1]:5/ws?q");
        assert_eq!(shown("fe80::1"), "ws://[fe80::1]:18080/ws?q");
        assert_eq!("host:1".parse::<ServerUrl>().unwrap().to_string(), "ws://host:1");
    }

    #[test]
    fn an_address_with_tls_keeps_its_scheme() {
        assert_eq!(shown("wss://host"), "wss://host:18080/ws?q");
        assert_eq!(shown("WSS://[::1]:5/behind/proxy"), "wss://[::1]:5/behind/proxy?q");
        assert_eq!(shown("https://host:18080/room/10013"), "wss://host:18080/ws?q");
        assert_eq!(shown("https://school.example/room/10013"), "wss://school.example:443/ws?q", "as a browser does");
        let url: ServerUrl = "wss://host:1".parse().unwrap();
        assert!(url.uses_tls());
        assert_eq!((url.to_string().as_str(), url.origin().as_str()), ("wss://host:1", "https://host:1"));
        assert_eq!(url.with_tls(false), "ws://host:1".parse().unwrap());
    }

    #[test]
    fn other_addresses_are_refused_with_the_cause() {
        let refused = |text: &str| text.parse::<ServerUrl>().unwrap_err();
        assert_eq!(refused("rtsp://host"), ServerUrlError::Scheme("rtsp".into()));
        assert_eq!(refused("host:99999"), ServerUrlError::Port("99999".into()));
        assert_eq!(refused("host:0"), ServerUrlError::Port("0".into()));
        assert_eq!(refused("ws://host/a b"), ServerUrlError::Path("/a b".into()));
        for text in ["", "ws://", "ws://user@host", "[::1", "a b"] {
            assert_eq!(refused(text), ServerUrlError::Host(text.into()));
        }
    }
}
