//! The address of Janus's WebSocket.

use std::fmt;
use std::str::FromStr;

use crate::signal::{ServerUrl, ServerUrlError};

/// The ports of Janus's sample configuration, without and with TLS.
const PORT: u16 = 8188;
const TLS_PORT: u16 = 8989;

/// The address of Janus's WebSocket: `ws://host[:port][/path]` or `wss://host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JanusUrl {
    server: ServerUrl,
    /// For Janus behind a proxy; Janus itself takes any path.
    path: Box<str>,
}

/// Why a text is not an address of Janus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JanusUrlError {
    /// Another scheme.
    #[error("{0}:// is not a scheme of Janus's WebSocket, use ws://HOST:8188 or wss://HOST:8989")]
    Scheme(String),
    /// A character that no path has.
    #[error("{0:?} is not a path")]
    Path(String),
    /// The host or the port.
    #[error(transparent)]
    Server(#[from] ServerUrlError),
}

impl JanusUrl {
    /// The host and the port.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// The URL of the WebSocket.
    pub(super) fn web_socket(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.server.authority(), self.path)
    }

    fn scheme(&self) -> &'static str {
        if self.server.uses_tls() { "wss" } else { "ws" }
    }
}

impl FromStr for JanusUrl {
    type Err = JanusUrlError;

    fn from_str(text: &str) -> Result<Self, JanusUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("ws", text));
        let uses_tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            other => return Err(JanusUrlError::Scheme(other.to_owned())),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let server: ServerUrl = authority.parse()?;
        // The port of an address that names none.
        let bare: ServerUrl = format!("[{}]", server.host()).parse().or_else(|_| server.host().parse())?;
        let has_port = authority != server.host() && authority != format!("[{}]", server.host());
        let port = if has_port {
            server.port()
        } else if uses_tls {
            TLS_PORT
        } else {
            PORT
        };
        let path = if path.is_empty() { "/" } else { path };
        if !path.starts_with('/') || !path.chars().all(|c| c.is_ascii_graphic() && c != '#') {
            return Err(JanusUrlError::Path(path.to_owned()));
        }
        Ok(Self { server: ServerUrl::new(bare.host(), port).with_tls(uses_tls), path: path.into() })
    }
}

/// As it is typed; without the path if Janus has the whole server.
impl fmt::Display for JanusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if &*self.path == "/" { "" } else { &*self.path };
        f.pad(&format!("{}://{}{path}", self.scheme(), self.server.authority()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_spellings_of_an_address_are_parsed() {
        let shown = |text: &str| text.parse::<JanusUrl>().unwrap().to_string();
        assert_eq!(shown("ws://janus.example"), "ws://janus.example:8188");
        assert_eq!(shown(" janus.example:8188/ "), "ws://janus.example:8188");
        assert_eq!(shown("WSS://10.0.0.5/janus?x=1"), "wss://10.0.0.5:8989/janus?x=1");
        assert_eq!(shown("ws://[::1]"), "ws://[::1]:8188");
        assert_eq!(shown("ws://[::1]:99"), "ws://[::1]:99");
    }

    #[test]
    fn other_addresses_are_refused_with_the_cause() {
        let refused = |text: &str| text.parse::<JanusUrl>().unwrap_err().to_string();
        assert!(refused("http://h:8088/janus").contains("ws://HOST:8188"), "the HTTP interface of Janus");
        for text in ["", "ws://", "ws://h:0", "ws://h/a b", "ws://user@h"] {
            assert!(!refused(text).is_empty(), "{text}");
        }
    }
}
