//! The address of a LiveKit server.

use std::fmt;
use std::str::FromStr;

use crate::http::whip_client::{WhipUrl, WhipUrlError};
use crate::signal::{ServerUrl, ServerUrlError};

/// The port of LiveKit's sample configuration.
const PORT: u16 = 7880;

/// The address of a LiveKit server: `ws://host[:port]` or `http://host[:port]`, with TLS `wss://` or `https://`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LiveKitUrl(ServerUrl);

/// Why a text is not an address of LiveKit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiveKitUrlError {
    /// A path or a query, of which LiveKit has none.
    #[error("{0:?} has a path, which LiveKit servers don't have: use ws://HOST:7880")]
    Path(String),
    /// The scheme, the host or the port.
    #[error(transparent)]
    Server(#[from] ServerUrlError),
}

impl LiveKitUrl {
    /// The host and the port.
    pub fn server(&self) -> &ServerUrl {
        &self.0
    }

    /// The URL of a WebSocket with this path and query.
    pub(super) fn web_socket(&self, path: &str) -> String {
        let scheme = if self.0.uses_tls() { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.0.authority())
    }

    /// The endpoint for WHIP.
    ///
    /// # Errors
    /// If the host has a form that no URL has.
    pub(super) fn whip(&self) -> Result<WhipUrl, WhipUrlError> {
        format!("{}/whip/v1", self.0.origin()).parse()
    }
}

impl FromStr for LiveKitUrl {
    type Err = LiveKitUrlError;

    fn from_str(text: &str) -> Result<Self, LiveKitUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("ws", text));
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(LiveKitUrlError::Path(text.to_owned()));
        }
        let server: ServerUrl = format!("{scheme}://{authority}").parse()?;
        let has_port = authority != server.host() && authority != format!("[{}]", server.host());
        let port = match server.uses_tls() {
            _ if has_port => server.port(),
            true => 443,
            false => PORT,
        };
        Ok(Self(ServerUrl::new(server.host(), port).with_tls(server.uses_tls())))
    }
}

impl fmt::Display for LiveKitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.web_socket(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_spellings_of_an_address_are_parsed() {
        let shown = |text: &str| text.parse::<LiveKitUrl>().unwrap().to_string();
        assert_eq!(shown("ws://livekit.example"), "ws://livekit.example:7880");
        assert_eq!(shown(" livekit.example:7881/ "), "ws://livekit.example:7881");
        assert_eq!(shown("http://10.0.0.5:7880"), "ws://10.0.0.5:7880");
        assert_eq!(shown("https://livekit.example"), "wss://livekit.example:443");
        assert_eq!(shown("wss://[::1]:99"), "wss://[::1]:99");
        let url: LiveKitUrl = "ws://[::1]".parse().unwrap();
        assert_eq!(
            (url.web_socket("/rtc/v1?x=1"), url.whip().unwrap().port()),
            ("ws://[::1]:7880/rtc/v1?x=1".into(), 7880)
        );
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in ["", "ws://", "ws://h:0", "ws://h/rtc", "ws://user@h", "rtc://h", "ws://h?x"] {
            assert!(text.parse::<LiveKitUrl>().is_err(), "{text}");
        }
    }
}
