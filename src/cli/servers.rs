//! STUN and TURN servers, by which two peers reach each other through NAT.

use std::fmt;
use std::str::FromStr;

use clap::Args;

use super::secrets::Secret;

/// The default port of STUN and TURN (RFC 8489, section 18.6).
const STUN_PORT: u16 = 3478;

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
        let (host, port) = host_and_port(text.strip_prefix("stun:").unwrap_or(text))
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
        if text.starts_with("turns:") {
            return Err("needs TURN over TLS, which is not supported, give turn:HOST:PORT".into());
        }
        let rest = text.strip_prefix("turn:").ok_or(EXAMPLE)?;
        let (rest, transport) = match rest.split_once('?') {
            None => (rest, TurnTransport::Udp),
            Some((rest, "transport=udp")) => (rest, TurnTransport::Udp),
            Some((rest, "transport=tcp")) => (rest, TurnTransport::Tcp),
            Some(_) => return Err("may only be followed by ?transport=udp or ?transport=tcp".into()),
        };
        // Split at the last '@', because a password may contain one.
        let (login, address) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, address)) => {
                let (user, pass) = login.split_once(':').ok_or(EXAMPLE)?;
                (Some((user.to_owned(), pass.to_owned())), address)
            }
        };
        let (host, port) = host_and_port(address).ok_or(EXAMPLE)?;
        Ok(TypedTurn { host, port, transport, login })
    }
}

/// TURN servers that the server tells everybody who joins a room.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct TypedRelays {
    /// Tell students to relay through turn:HOST:PORT; may be repeated
    ///
    /// A TURN server relays media where a student can't reach the teacher. With --turn-secret, each student gets a user
    /// name and a password that expire. Without it, write turn:USER:PASS@HOST:PORT: everybody who joins a room can read
    /// this user name and password, so use an account that is good for nothing else.
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub(super) turn: Vec<TypedTurn>,

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

/// The transport between a client and a TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnTransport {
    /// UDP, the default.
    Udp,
    /// TCP, for networks that block outgoing UDP.
    Tcp,
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
        let transport = match self.transport {
            TurnTransport::Udp => "udp",
            TurnTransport::Tcp => "tcp",
        };
        format!("turn:{}?transport={transport}", authority(&self.host, self.port))
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

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        let port = match port {
            "" => STUN_PORT,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, STUN_PORT),
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
        for text in ["t.example", "turns:t", "turn:me@t", "turn:t?x=y"] {
            assert!(text.parse::<TypedTurn>().is_err(), "{text}");
        }
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
