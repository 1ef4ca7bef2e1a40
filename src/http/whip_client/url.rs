//! The URL of a WHIP endpoint or session.

use std::fmt;
use std::str::FromStr;

use url::{Host, Position, Url};

use super::WhipError;

/// The longest URL that a server may name.
const MAX_BYTES: usize = 2_048;

/// The URL of a WHIP endpoint or session. Some services have a secret in the path, so `Display` and `Debug` show the
/// origin alone.
#[derive(Clone, PartialEq, Eq)]
pub struct WhipUrl {
    url: Url,
    /// Without the brackets of IPv6.
    host: Box<str>,
}

/// Why a text is no URL or no token of a WHIP endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WhipUrlError {
    /// Not a URL.
    #[error("is not the URL of a WHIP endpoint, for example https://live.example.org/whip")]
    Url,
    /// The URL has a user name or a password.
    #[error("has a user name or a password, which WHIP does not take: give the token with --whip-token-file")]
    Login,
    /// Not a token.
    #[error("is not a bearer token: it must be visible ASCII characters without spaces")]
    Token,
}

impl WhipUrl {
    fn new(mut url: Url) -> Result<Self, WhipUrlError> {
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err(WhipUrlError::Url),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WhipUrlError::Url);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(WhipUrlError::Login);
        }
        url.set_fragment(None);
        Ok(Self { url, host: host.into() })
    }

    /// The URL in a `Location`, which may be relative to this one.
    pub(super) fn follow(&self, location: &str) -> Result<Self, WhipError> {
        const NONE: WhipError = WhipError::Answer("it names a URL that is none");
        if location.len() > MAX_BYTES {
            return Err(NONE);
        }
        let next = self.url.join(location).ok().and_then(|url| Self::new(url).ok()).ok_or(NONE)?;
        if self.uses_tls() && !next.uses_tls() {
            return Err(WhipError::Answer("it names a URL without TLS"));
        }
        Ok(next)
    }

    pub(super) fn path(&self) -> &str {
        &self.url[Position::BeforePath..]
    }

    /// A name or an address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// Whether the URL has a path or a query.
    pub fn has_path(&self) -> bool {
        self.path() != "/"
    }

    /// Whether this is HTTPS.
    pub fn uses_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether both URLs have the same origin.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }
}

impl FromStr for WhipUrl {
    type Err = WhipUrlError;
    fn from_str(text: &str) -> Result<Self, WhipUrlError> {
        Url::parse(text.trim()).map_err(|_| WhipUrlError::Url).and_then(Self::new)
    }
}

impl fmt::Display for WhipUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

impl fmt::Debug for WhipUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WhipUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> WhipUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        let endpoint = url("https://live.example.org/secret/publish?key=secret#x");
        assert_eq!(endpoint.path(), "/secret/publish?key=secret");
        assert_eq!((endpoint.to_string(), endpoint.port()), ("https://live.example.org".to_owned(), 443));
        assert!(!format!("{endpoint:?}").contains("secret"));
        assert_eq!((url("http://[::1]:8889/a/whip").host(), url("http://[::1]:8889/a/whip").port()), ("::1", 8889));
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in ["", "live.example.org/whip", "ws://a/whip", "file:///etc/passwd", "http://", "https:///x"] {
            // Without a host, the first part of the path is the host (WHATWG URL).
            assert!(text.parse::<WhipUrl>().is_err() || text == "https:///x", "{text}");
        }
        assert_eq!("https://me:pw@a/whip".parse::<WhipUrl>(), Err(WhipUrlError::Login));
    }

    #[test]
    fn a_location_is_relative_or_absolute_and_keeps_tls() {
        let endpoint = url("https://a.example/whip/room?x=1");
        let followed = |location: &str| endpoint.follow(location).map(|url| url.url.to_string());
        assert_eq!(followed("/whip/session/1").unwrap(), "https://a.example/whip/session/1");
        assert_eq!(followed("session/1").unwrap(), "https://a.example/whip/session/1");
        assert_eq!(followed("https://b.example/s").unwrap(), "https://b.example/s");
        assert!(endpoint.follow("/s").unwrap().is_of(&endpoint));
        assert!(!endpoint.follow("https://a.example:444/s").unwrap().is_of(&endpoint));
        for bad in ["http://a.example/s", "file:///etc/passwd", "https://me:pw@a.example/s", &"x".repeat(3_000)] {
            assert!(followed(bad).is_err(), "{bad}");
        }
        assert!(url("http://a/whip").follow("https://a/s").is_ok());
    }
}
