//! STUN and TURN servers, by which two peers reach each other through NAT.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::Args;

use super::secrets::Secret;
use crate::turn::TurnTransport;

/// The default port of STUN and TURN (RFC 8489, section 18.6).
pub(super) const STUN_PORT: u16 = 3478;

/// The default port of TURN over TLS.
const TURNS_PORT: u16 = 5349;

/// A STUN server, which tells a socket its public address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunServer {
    /// A host name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The UDP port, by default 3478.
    pub port: u16,
}

impl StunServer {
    /// The ICE URL: `stun:host:port`.
    pub fn url(&self) -> String {
        format!("stun:{}", authority(&self.host, self.port))
    }
}

impl FromStr for StunServer {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("stuns:") {
            return Err("needs STUN over TLS, which is not supported, give stun:HOST:PORT".into());
        }
        let (host, port) = host_and_port(text.strip_prefix("stun:").unwrap_or(text), STUN_PORT)
            .ok_or("is not a STUN server, for example stun:stun.example.org:3478")?;
        Ok(StunServer { host, port })
    }
}

/// A TURN server as typed. The user name and the password are in the URL, or in flags of their own.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TypedTurn {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transport: TurnTransport,
    pub(super) login: Option<(String, String)>,
}

impl fmt::Debug for TypedTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypedTurn({})", authority(&self.host, self.port))
    }
}

impl FromStr for TypedTurn {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // clap adds the typed text to the error, so these sentences don't repeat it.
        const EXAMPLE: &str = "is not a TURN server, for example turn:user:password@turn.example.org:3478";
        let (scheme, rest) = text.split_once(':').ok_or(EXAMPLE)?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (transport, default_port) = match (scheme, query) {
            ("turn", None | Some("transport=udp")) => (TurnTransport::Udp, STUN_PORT),
            ("turn", Some("transport=tcp")) => (TurnTransport::Tcp, STUN_PORT),
            ("turns", None | Some("transport=tcp")) => (TurnTransport::Tls, TURNS_PORT),
            ("turn", _) => return Err("may only be followed by ?transport=udp or ?transport=tcp".into()),
            ("turns", _) => return Err("may only be followed by ?transport=tcp".into()),
            _ => return Err(EXAMPLE.into()),
        };
        // Split at the last '@', because a password may contain one.
        let (login, address) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, address)) => {
                let (user, pass) = login.split_once(':').ok_or(EXAMPLE)?;
                (Some((user.to_owned(), pass.to_owned())), address)
            }
        };
        let (host, port) = host_and_port(address, default_port).ok_or(EXAMPLE)?;
        Ok(TypedTurn { host, port, transport, login })
    }
}

/// The value of `--turn` at a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypedRelay {
    /// A TURN server in this process, at this address if one was typed; without a host at that of the server.
    Own(Option<(Option<IpAddr>, u16)>),
    /// Another one.
    Server(TypedTurn),
}

impl FromStr for TypedRelay {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Own(None));
        }
        let own = text.parse().map(|address: SocketAddr| (Some(address.ip()), address.port()));
        let own = own.or_else(|_| text.parse().map(|ip: IpAddr| (Some(ip), STUN_PORT)));
        match own.or_else(|_| text.parse().map(|port| (None, port))) {
            Ok((_, 0)) => Err("needs a port that students know, for example 3478".into()),
            Ok(own) => Ok(Self::Own(Some(own))),
            Err(_) => text.parse().map(Self::Server),
        }
    }
}

/// The TURN servers of a client.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct TypedClientRelays {
    /// Relay through turn:USER:PASS@HOST:PORT (with ?transport=tcp by TCP, with turns: by TLS); may be repeated
    /// [default: the servers that the signalling server names]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub(super) turn: Vec<TypedTurn>,

    /// The user name for each --turn whose URL has none
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) turn_user: Option<String>,

    /// The password for --turn-user
    #[arg(long, value_name = "PASSWORD", hide_short_help = true)]
    pub(super) turn_pass: Option<String>,

    /// Use no direct path, only TURN servers: to test them
    #[arg(long, hide_short_help = true)]
    pub(super) relay_only: bool,
}

/// TURN servers that the server tells everybody who joins a room.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct TypedRelays {
    /// Relay media for students whose network blocks UDP: alone or with an address, by a TURN server in this program;
    /// with turn:HOST:PORT, by that one; may be repeated
    ///
    /// The TURN server in this program listens on UDP and TCP port 3478, or at the given address, and on the TCP port
    /// of the pages, there with TLS as well if this server has a certificate. It relays to the media of this server
    /// only. A student needs no flag.
    ///
    /// With another TURN server and --turn-secret, each student gets a user name and a password that expire. Without
    /// it, write turn:USER:PASS@HOST:PORT: everybody who joins a room can read this user name and password, so use an
    /// account that is good for nothing else.
    #[arg(
        long, value_name = "ADDR:PORT or URL", num_args = 0..=1, default_missing_value = "", hide_short_help = true
    )]
    pub(super) turn: Vec<TypedRelay>,

    /// The user name for each --turn whose URL has none
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(super) turn_user: Option<String>,

    /// The password for --turn-user
    #[arg(long, value_name = "PASSWORD", hide_short_help = true)]
    pub(super) turn_pass: Option<String>,

    /// The secret that this server shares with the TURN servers: coturn's static-auth-secret, with use-auth-secret
    #[arg(long, value_name = "SECRET", env = "CLASSROOM_TURN_SECRET", hide_env_values = true, hide_short_help = true)]
    pub(super) turn_secret: Option<Secret>,
}

/// A TURN server, which relays media where no direct path exists.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    /// A host name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The port, by default 3478.
    pub port: u16,
    /// The transport to the server.
    pub transport: TurnTransport,
    /// How a client proves that it may use the server.
    pub login: TurnLogin,
}

/// How a client proves to a TURN server that it may use it. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub enum TurnLogin {
    /// A user name and a password, the same for all.
    Password {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// A user name and a password that the signalling server makes for each student.
    PerStudent,
}

impl TurnServer {
    /// The ICE URL without user name and password: `turn:host:port?transport=udp`.
    pub fn url(&self) -> String {
        let (scheme, transport) = match self.transport {
            TurnTransport::Udp => ("turn", "udp"),
            TurnTransport::Tcp => ("turn", "tcp"),
            TurnTransport::Tls => ("turns", "tcp"),
        };
        format!("{scheme}:{}?transport={transport}", authority(&self.host, self.port))
    }
}

impl fmt::Debug for TurnLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TurnLogin::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
            TurnLogin::PerStudent => f.write_str("PerStudent"),
        }
    }
}

impl fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match &self.login {
            TurnLogin::Password { user, .. } => user,
            TurnLogin::PerStudent => "each student",
        };
        write!(f, "TurnServer({} as {user})", self.url())
    }
}

fn host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = match port {
            "" => default_port,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, default_port),
        }
    };
    let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    (named && port != 0).then(|| (host.to_owned(), port))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stun_and_turn_urls_are_parsed() {
        let url = |text: &str| text.parse::<StunServer>().map(|server| server.url());
        assert_eq!(url("stun:a.example:1").unwrap(), "stun:a.example:1");
        assert_eq!(url("a.example").unwrap(), "stun:a.example:3478");
        assert_eq!(url("stun:[::1]:5").unwrap(), "stun:[::1]:5");
        for text in ["", "stun:", "stun:a b", "stuns:a", "stun:a:0", "stun:a:x"] {
            assert!(url(text).is_err(), "{text}");
        }
        let turn: TypedTurn = "turn:me:p@ss@t.example:99?transport=tcp".parse().unwrap();
        assert_eq!(turn.login, Some(("me".into(), "p@ss".into())));
        assert_eq!((turn.host.as_str(), turn.port, turn.transport), ("t.example", 99, TurnTransport::Tcp));
        let tls: TypedTurn = "turns:me:pass@t.example".parse().unwrap();
        assert_eq!((tls.port, tls.transport), (5349, TurnTransport::Tls));
        for text in ["t.example", "turns:t?transport=udp", "turn:me@t", "turn:t?x=y", "http://t"] {
            assert!(text.parse::<TypedTurn>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_relays_by_itself_or_by_another_server() {
        let ip = |text: &str| Some(text.parse().unwrap());
        for (text, own) in [
            ("", None),
            ("443", Some((None, 443))),
            ("192.0.2.7", Some((ip("192.0.2.7"), 3478))),
            ("[::1]:443", Some((ip("::1"), 443))),
        ] {
            assert_eq!(text.parse(), Ok(TypedRelay::Own(own)), "{text}");
        }
        assert!(matches!("turn:me:pass@t".parse(), Ok(TypedRelay::Server(_))));
        assert!("t.example".parse::<TypedRelay>().is_err());
    }

    #[test]
    fn a_password_is_never_printed() {
        let server = TurnServer {
            host: "t".into(),
            port: 1,
            transport: TurnTransport::Udp,
            login: TurnLogin::Password { user: "me".into(), password: "hunter2".into() },
        };
        assert!(!format!("{server:?} {:?}", server.login).contains("hunter2"));
        assert!(!format!("{:?}", "turn:me:hunter2@t".parse::<TypedTurn>()).contains("hunter2"));
    }
}
