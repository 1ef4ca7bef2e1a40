//! Hosts and origins: the names in `Host` and `Origin` headers, and the flags that give a server further names.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::network::CalledHost;

/// The longest host name (RFC 1035, 2.3.4), and a port.
const MAX_AUTHORITY_BYTES: usize = 253 + 6;

/// A host: an address, or a name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name without a dot at the end.
    Name(Box<str>),
}

impl Host {
    /// The host as a URL has it.
    pub(super) fn called(&self) -> CalledHost {
        CalledHost(match self {
            Self::Ip(IpAddr::V6(ip)) => format!("[{ip}]").into(),
            Self::Ip(ip) => ip.to_string().into(),
            Self::Name(name) => name.to_string().into(),
        })
    }
}

/// The `Host` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

/// The origin of a page (RFC 6454): `https://class.school.example`, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    is_secure: bool,
    host: Host,
    port: u16,
}

/// An origin whose pages may play by WHEP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhepOrigin {
    /// Every origin.
    Any,
    /// This origin.
    One(Origin),
}

/// Why a text is not an origin or not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not an origin.
    #[error("{0:?} is not the address of a site, write for example https://class.school.example")]
    Origin(String),
    /// Not a host.
    #[error("{0:?} is not the name of a host, write for example class.school.example")]
    Host(String),
}

impl Origin {
    /// The origin of the pages that a server with this `Host` sends.
    pub(super) fn of(authority: &Authority, is_secure: bool) -> Self {
        let port = authority.port.unwrap_or(default_port(is_secure));
        Self { is_secure, host: authority.host.clone(), port }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether pages of this origin come over TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The port, also if the text has none.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let parsed = text.split_once("://").and_then(|(scheme, rest)| {
            let is_secure = scheme.eq_ignore_ascii_case("https");
            let is_known = is_secure || scheme.eq_ignore_ascii_case("http");
            let authority = Authority::parse(rest.strip_suffix('/').unwrap_or(rest))?;
            is_known.then(|| Self::of(&authority, is_secure))
        });
        parsed.ok_or_else(|| OriginError::Origin(text.into()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_secure { "https" } else { "http" }, self.host)?;
        if self.port == default_port(self.is_secure) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl FromStr for WhepOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::One) }
    }
}

impl FromStr for Host {
    type Err = OriginError;

    /// Parses a host without a port; IPv6 with or without brackets.
    fn from_str(text: &str) -> Result<Self, OriginError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let authority = Authority::parse(text).filter(|authority| authority.port.is_none());
        authority.map(|authority| authority.host).ok_or_else(|| OriginError::Host(text.into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Authority {
    /// Parses `host` or `host:port`; IPv6 in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_AUTHORITY_BYTES {
            return None;
        }
        let (host, rest) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, rest) = rest.split_once(']')?;
                (Host::Ip(IpAddr::V6(ip.parse().ok()?)), rest)
            }
            None => {
                let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                (name_or_ip(name)?, rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if rest.is_empty() => None,
            _ => return None,
        };
        Some(Self { host, port })
    }
}

fn name_or_ip(text: &str) -> Option<Host> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if let Ok(ip) = name.parse() {
        return Some(Host::Ip(IpAddr::V4(ip)));
    }
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    name.split('.').all(is_label).then(|| Host::Name(name.to_ascii_lowercase().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (text, shown) in [
            ("https://Class.School.example", "https://class.school.example"),
            ("https://class.school.example:443/", "https://class.school.example"),
            ("HTTP://lab-3:18080", "http://lab-3:18080"),
            ("http://[2001:DB8::1]:80", "http://[2001:db8::1]"),
            ("http://10.0.0.1", "http://10.0.0.1"),
            ("http://10.0.0.1.", "http://10.0.0.1"),
        ] {
            assert_eq!(origin(text).to_string(), shown);
            assert_eq!(origin(shown), origin(text));
        }
        assert_ne!(origin("http://a"), origin("https://a"));
        assert_ne!(origin("http://a"), origin("http://a:81"));
        for bad in ["null", "", "a", "ftp://a", "http://", "http://a/b", "http://a b", "http://u@a", "http://a:b", "*"]
        {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
        assert_eq!("*".parse(), Ok(WhepOrigin::Any));
        assert_eq!("http://a".parse(), Ok(WhepOrigin::One(origin("http://a"))));
    }

    #[test]
    fn the_host_of_a_request_is_a_name_or_an_address() {
        let parsed = |text: &str| Authority::parse(text).map(|it| (it.host.to_string(), it.port));
        assert_eq!(parsed("Lab-3.local.:18080"), Some(("lab-3.local".into(), Some(18080))));
        assert_eq!(parsed("10.0.0.1"), Some(("10.0.0.1".into(), None)));
        assert_eq!(parsed("[::1]:5"), Some(("[::1]".into(), Some(5))));
        for bad in ["", ":80", "a:", "a:b", "a:99999", "a:+5", "[::1", "::1", "a..b", ".", "a/b", "a b", "[10.0.0.1]"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
        assert_eq!(parsed(&"a".repeat(300)), None);
        assert_eq!("::1".parse::<Host>(), Ok(Host::Ip("::1".parse().unwrap())));
        assert!("a:80".parse::<Host>().is_err());
    }
}
