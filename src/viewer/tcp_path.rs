//! A viewer's way to the passive TCP candidates of an answer (RFC 6544). `webrtc` 0.21.1 connects to such a candidate
//! only if it also listens for TCP itself, on each interface. Instead, a local UDP port stands for each candidate, and
//! what the library sends there goes over a TCP connection as frames of RFC 4571.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::peer_connection::{Link, LocalPath, PathLimits};

/// The most candidates that are used.
const MAX_CANDIDATES: usize = 4;

/// The most connections to a candidate: one for each socket of the library.
const MAX_LINKS: usize = 16;

/// The time for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection over which the library sends nothing for this long is closed: the pair that it uses gets a check every
/// few seconds.
const IDLE: Duration = Duration::from_secs(15);

/// The largest packet that a publisher sends.
const MAX_BYTES: usize = 2_048;

/// A local UDP port that stands for a TCP candidate. Dropping it ends its connections.
#[derive(Debug)]
pub(super) struct TcpPath(LocalPath);

impl TcpPath {
    fn start(candidate: SocketAddr) -> io::Result<Self> {
        let limits = PathLimits { links: MAX_LINKS, packet_bytes: MAX_BYTES };
        LocalPath::start(limits, move |link| carry(candidate, link)).map(Self)
    }

    /// The address of the local port.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// Replaces each passive TCP candidate of an answer by the local port that stands for it. If `uses_tcp` is false, they
/// are left out.
pub(super) fn with_tcp_paths(sdp: &str, uses_tcp: bool) -> (String, Vec<TcpPath>) {
    let mut paths: Vec<(SocketAddr, TcpPath)> = Vec::new();
    let mut out = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        let Some((before, address)) = passive_tcp(line) else {
            out.extend([line, "\r\n"]);
            continue;
        };
        if !uses_tcp {
            continue;
        }
        let known = paths.iter().position(|(of, _)| *of == address);
        let index = known.or_else(|| {
            let path = (paths.len() < MAX_CANDIDATES).then(|| TcpPath::start(address).ok())??;
            paths.push((address, path));
            Some(paths.len() - 1)
        });
        if let Some((_, path)) = index.and_then(|index| paths.get(index)) {
            let [foundation, component, priority] = before;
            let (ip, port) = (path.address().ip(), path.address().port());
            out.push_str(&format!("{foundation} {component} udp {priority} {ip} {port} typ host\r\n"));
        }
    }
    (out, paths.into_iter().map(|(_, path)| path).collect())
}

/// The foundation, the component and the priority of a passive TCP candidate, and its address.
fn passive_tcp(line: &str) -> Option<([&str; 3], SocketAddr)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [foundation, component, transport, priority, ip, port, rest @ ..] = words.as_slice() else { return None };
    let is_passive = rest.windows(2).any(|pair| pair == ["tcptype", "passive"]);
    if !foundation.starts_with("a=candidate:") || !transport.eq_ignore_ascii_case("tcp") || !is_passive {
        return None;
    }
    let address = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
    Some(([foundation, component, priority], address))
}

/// Carries the packets of one socket of the library over a connection of its own: to the publisher, each is another
/// pair.
async fn carry(candidate: SocketAddr, Link { mut packets, client }: Link) -> io::Result<()> {
    let stream = timeout(CONNECT_WITHIN, TcpStream::connect(candidate)).await??;
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let writing = async {
        while let Ok(Some(packet)) = timeout(IDLE, packets.recv()).await {
            // No packet is longer than [`MAX_BYTES`].
            let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
            writer.write_all(&[&length.to_be_bytes()[..], &packet].concat()).await?;
        }
        Ok(())
    };
    let reading = async {
        let mut packet = vec![0; usize::from(u16::MAX)];
        loop {
            let length = usize::from(reader.read_u16().await?);
            reader.read_exact(&mut packet[..length]).await?;
            client.send(&packet[..length]).await;
        }
    };
    tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\nm=video 9 X 96\r\na=candidate:1 1 udp 9 192.0.2.7 5 typ host\r\n\
        a=candidate:tcp0 1 tcp 7 192.0.2.7 5 typ host tcptype passive\r\n\
        a=candidate:tcp1 1 tcp 7 192.0.2.8 9 typ host tcptype active\r\na=end-of-candidates\r\n";

    #[tokio::test]
    async fn a_passive_candidate_becomes_a_local_port_and_an_active_one_stays() {
        let (sdp, paths) = with_tcp_paths(&[SDP, SDP].concat(), true);
        let [path] = paths.as_slice() else { panic!("{paths:?}") };
        let line = format!("a=candidate:tcp0 1 udp 7 127.0.0.1 {} typ host\r\n", path.address().port());
        assert_eq!(sdp.matches(&line).count(), 2, "{sdp}");
        assert_eq!(sdp.replace(&line, "").matches("candidate").count(), 6, "{sdp}");
        let (without, paths) = with_tcp_paths(SDP, false);
        assert!(paths.is_empty() && !without.contains("passive") && without.contains("active"));
    }

    #[tokio::test]
    async fn the_number_of_paths_is_bounded() {
        let line = |n: u8| format!("a=candidate:{n} 1 tcp 7 192.0.2.{n} 5 typ host tcptype passive\r\n");
        let (sdp, paths) = with_tcp_paths(&(1..100).map(line).collect::<String>(), true);
        assert_eq!((paths.len(), sdp.lines().count()), (MAX_CANDIDATES, MAX_CANDIDATES));
    }
}
