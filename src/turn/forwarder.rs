//! A client's way to a TURN server: takes TURN messages at a UDP port of this computer, and carries them by UDP, TCP or
//! TLS. `webrtc` 0.21.1 speaks TURN by UDP only, and tells nobody why a server refused it: what passes here does.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::framing::{Deframer, frame};
use super::message::{self, Asked, Incoming, MAX_MESSAGE_BYTES, Outcome};
use crate::peer_connection::{Link, LinkClient, LocalPath, PathLimits};
use crate::tls::Trust;

/// The time for the connection to a server, with its TLS handshake.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The most connections: the sockets of a peer connection, and those of the one before it.
const MAX_LINKS: usize = 32;

/// A link that carries nothing for this long is closed. Clients refresh their allocations every five minutes.
const IDLE: Duration = Duration::from_secs(660);

/// The most relayed addresses that are remembered.
const MAX_RELAYED: usize = 128;

/// The transport between a client and a TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TurnTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl fmt::Display for TurnTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        })
    }
}

/// A TURN server, as a URL names it (RFC 7065).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TurnAddress {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How to get there.
    pub transport: TurnTransport,
}

impl TurnAddress {
    /// Parses `turn:HOST:PORT?transport=tcp`; `None` for another URL.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (authority, query) = rest.split_once('?').map_or((rest, None), |(before, after)| (before, Some(after)));
        let (transport, default_port) = match (scheme, query) {
            ("turn", None | Some("transport=udp")) => (TurnTransport::Udp, 3478),
            ("turn", Some("transport=tcp")) => (TurnTransport::Tcp, 3478),
            ("turns", None | Some("transport=tcp")) => (TurnTransport::Tls, 5349),
            _ => return None,
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, transport })
    }
}

impl fmt::Display for TurnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{host}:{} by {}", self.port, self.transport)
    }
}

/// A way to one TURN server. Dropping it ends its connections.
#[derive(Debug)]
pub struct Forwarder {
    path: LocalPath,
    server: TurnAddress,
    seen: Arc<Mutex<Seen>>,
}

/// What passed.
#[derive(Debug, Default)]
struct Seen {
    relayed: HashSet<SocketAddr>,
    problem: Option<String>,
}

impl Forwarder {
    /// Starts to take messages for `server`. `trust` decides about its certificate.
    ///
    /// # Errors
    /// If no port is free.
    pub fn start(server: TurnAddress, trust: Trust) -> io::Result<Self> {
        let seen = Arc::<Mutex<Seen>>::default();
        let route = Arc::new(Route { server: server.clone(), trust, seen: Arc::clone(&seen) });
        let limits = PathLimits { links: MAX_LINKS, packet_bytes: MAX_MESSAGE_BYTES };
        let path = LocalPath::start(limits, move |link| {
            let route = Arc::clone(&route);
            async move {
                let carried = route.carry(link).await;
                if let Err(error) = &carried {
                    lock(&route.seen).problem = Some(format!("can't be reached: {error}"));
                }
                carried
            }
        })?;
        Ok(Self { path, server, seen })
    }

    /// The URL for a client on this computer.
    pub fn url(&self) -> String {
        format!("turn:{}?transport=udp", self.path.address())
    }

    /// The server.
    pub fn server(&self) -> &TurnAddress {
        &self.server
    }

    /// Whether the server gave a client this relayed address.
    pub fn has_relayed(&self, address: SocketAddr) -> bool {
        lock(&self.seen).relayed.contains(&address)
    }

    /// Whether the server has given a client any relayed address.
    pub fn has_allocated(&self) -> bool {
        !lock(&self.seen).relayed.is_empty()
    }

    /// Why the server relays nothing, if it does not: a sentence without a subject, for example `refused ...`.
    pub fn problem(&self) -> Option<String> {
        lock(&self.seen).problem.clone()
    }
}

struct Route {
    server: TurnAddress,
    trust: Trust,
    seen: Arc<Mutex<Seen>>,
}

impl Route {
    async fn carry(&self, Link { packets: mut messages, client }: Link) -> io::Result<()> {
        let TurnAddress { host, port, transport } = &self.server;
        let is_signed = Mutex::new(false);
        if *transport == TurnTransport::Udp {
            let address = tokio::net::lookup_host((host.as_str(), *port)).await?.next();
            let address = address.ok_or_else(|| io::Error::other("its name has no address"))?;
            let any = if address.is_ipv4() { SocketAddr::from(([0; 4], 0)) } else { SocketAddr::from(([0; 16], 0)) };
            let server = UdpSocket::bind(any).await?;
            server.connect(address).await?;
            let mut buffer = vec![0; MAX_MESSAGE_BYTES];
            return loop {
                tokio::select! {
                    message = messages.recv() => {
                        let Some(message) = message else { break Ok(()) };
                        self.sends(&message, &is_signed);
                        server.send(&message).await?;
                    }
                    received = server.recv(&mut buffer) => {
                        let length = received?;
                        self.arrives(&client, &buffer[..length], &is_signed).await;
                    }
                    () = sleep(IDLE) => break Ok(()),
                }
            };
        }
        let connect = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            match transport {
                TurnTransport::Tls => self.trust.connect(stream, host).await.map_err(io::Error::other),
                _ => Ok(Box::new(stream) as crate::tls::Stream),
            }
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let stream = timeout(CONNECT_WITHIN, connect).await.map_err(late)??;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let writing = async {
            while let Some(message) = messages.recv().await {
                self.sends(&message, &is_signed);
                writer.write_all(&frame(message)).await?;
                writer.flush().await?;
            }
            Ok(())
        };
        let reading = async {
            let (mut deframer, mut buffer) = (Deframer::default(), vec![0; MAX_MESSAGE_BYTES]);
            loop {
                let length = timeout(IDLE, reader.read(&mut buffer)).await??;
                if length == 0 {
                    return Ok(());
                }
                deframer.push(&buffer[..length]);
                while let Some(message) = deframer.next().map_err(|_| io::Error::other("it does not speak TURN"))? {
                    self.arrives(&client, message, &is_signed).await;
                }
            }
        };
        tokio::select! {
            ended = writing => ended,
            ended = reading => ended,
        }
    }

    /// Notes whether the client has shown its credentials: the first refusal is a question for them.
    fn sends(&self, message: &[u8], is_signed: &Mutex<bool>) {
        if !matches!(message.first(), Some(0..=3)) {
            return;
        }
        if let Some(Incoming::Request(request)) = message::parse(message)
            && request.asked == Asked::Allocate
        {
            *is_signed.lock().unwrap_or_else(PoisonError::into_inner) = matches!(request.proof(), Ok(Some(_)));
        }
    }

    async fn arrives(&self, client: &LinkClient, message: &[u8], is_signed: &Mutex<bool>) {
        if matches!(message.first(), Some(0..=3)) {
            let is_signed = *is_signed.lock().unwrap_or_else(PoisonError::into_inner);
            match message::allocation_outcome(message) {
                Some(Outcome::Relayed(address)) => {
                    let mut seen = lock(&self.seen);
                    if seen.relayed.len() >= MAX_RELAYED {
                        seen.relayed.clear();
                    }
                    seen.relayed.insert(address);
                    seen.problem = None;
                }
                Some(Outcome::Refused { code, reason }) if is_signed => {
                    let why = match (code, reason.as_str()) {
                        (401, "expired") => "the credentials have expired".to_owned(),
                        (401, _) => "the user name or the password is wrong or has expired".to_owned(),
                        (_, reason) => reason.to_owned(),
                    };
                    lock(&self.seen).problem = Some(format!("refused this computer ({code}): {why}"));
                }
                Some(Outcome::Refused { .. }) | None => {}
            }
        }
        client.send(message).await;
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urls_of_servers_say_how_to_get_there() {
        let parsed = |url: &str| TurnAddress::parse(url).map(|server| server.to_string());
        for (url, said) in [
            ("turn:t.example", "t.example:3478 by UDP"),
            ("turn:t.example:99?transport=udp", "t.example:99 by UDP"),
            ("turn:192.0.2.1:99?transport=tcp", "192.0.2.1:99 by TCP"),
            ("turns:t.example", "t.example:5349 by TLS"),
            ("turns:[2001:db8::1]:443?transport=tcp", "[2001:db8::1]:443 by TLS"),
        ] {
            assert_eq!(parsed(url).as_deref(), Some(said));
        }
        for url in ["stun:t", "turn:", "turns:t?transport=udp", "turn:t:x", "turn:t?transport=dtls", "t"] {
            assert_eq!(parsed(url), None, "{url}");
        }
    }
}
