//! The TCP ports by which clients reach the media port of this process (RFC 6544).

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, join, split};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cli::IceTcp;
use crate::exit::Failure;
use crate::http::{self, ConnectionLimits, Port, StunHandler, StunStream};
use crate::network::{ClientState, Network};
use crate::process;
use crate::sfu::MediaPort;

/// The part of the files that this process may open that the connections of a port of its own may take.
const FILES_SHARE: u64 = 4;

/// The time for the bytes by which TURN and ICE differ.
const BEGINNING_WITHIN: Duration = Duration::from_secs(5);

/// The bytes by which TURN and ICE differ: the magic cookie is in the second word of a STUN message (RFC 8489, 5), and
/// a frame of RFC 4571 has its length before that.
const BEGINNING: usize = 10;
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();

/// The TCP side of the media port, which is bound later than the port of the pages.
#[derive(Debug, Clone)]
pub(super) struct TcpMedia {
    wanted: IceTcp,
    port: Arc<OnceLock<MediaPort>>,
}

/// The TCP port of the pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct PagesPort {
    /// The bound address.
    pub(super) address: SocketAddr,
    /// Whether clients reach only a proxy in front of it.
    pub(super) has_proxy: bool,
}

/// A TCP port for media alone. Dropping it closes the port.
pub(super) struct OwnTcpPort(JoinHandle<()>);

impl TcpMedia {
    /// The TCP side of a media port that is not bound yet.
    pub(super) fn new(wanted: IceTcp) -> Self {
        Self { wanted, port: Arc::default() }
    }

    /// Takes the connections that begin with a STUN message: those of ICE, and those of TURN for `turn`.
    pub(super) fn handler(&self, turn: Option<StunHandler>) -> Option<StunHandler> {
        if self.wanted == IceTcp::Off {
            return turn;
        }
        let port = Arc::clone(&self.port);
        Some(StunHandler::new(move |stream| {
            let (port, turn) = (Arc::clone(&port), turn.clone());
            async move {
                let StunStream { stream, from, at, client_state } = stream;
                let (mut reader, writer) = split(stream);
                let mut beginning = [0; BEGINNING];
                let read = timeout(BEGINNING_WITHIN, reader.read_exact(&mut beginning)).await;
                if !matches!(read, Ok(Ok(_))) {
                    return;
                }
                let stream = join(Cursor::new(beginning).chain(reader), writer);
                if is_framed(&beginning) {
                    // A peer that knows our answer must not make place for a stranger.
                    let proved = move || client_state.set(ClientState::Connected);
                    if let Some(port) = port.get() {
                        port.serve_stream(stream, Network::of(from.ip()), proved).await;
                    }
                } else if let Some(turn) = turn {
                    turn.handle(StunStream { stream: Box::new(stream), from, at, client_state }).await;
                }
            }
        }))
    }

    /// The media port is bound: tells its SFUs the TCP ports that lead there. With `--ice-tcp on`, binds the one with
    /// the same number, unless that is the port of the pages.
    ///
    /// # Errors
    /// If that port can't be bound.
    pub(super) fn start(&self, port: &MediaPort, pages: Option<PagesPort>) -> Result<Option<OwnTcpPort>, Failure> {
        // There is one media port.
        let _ = self.port.set(port.clone());
        let media = port.local();
        let is_own = |pages: &PagesPort| pages.address.port() == media.port();
        let by_pages = pages.filter(|pages| !pages.has_proxy || (self.wanted == IceTcp::On && is_own(pages)));
        let listener = match self.wanted {
            IceTcp::Off => return Ok(None),
            IceTcp::On if !pages.is_some_and(|pages| is_own(&pages)) => Some(bind(media)?),
            IceTcp::On | IceTcp::Auto => None,
        };
        let own = listener.as_ref().map(|_| media);
        port.set_tcp(by_pages.map(|pages| pages.address).into_iter().chain(own).collect());
        Ok(listener.and_then(|listener| {
            let port = Port::from(Router::new()).with_stun(self.handler(None)?);
            let limits = ConnectionLimits::within(process::max_files() / FILES_SHARE);
            Some(OwnTcpPort(tokio::spawn(http::serve(listener, port, limits, std::future::pending()))))
        }))
    }
}

impl Drop for OwnTcpPort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    process::allow_many_files();
    http::bind(address).map_err(|cause| {
        let advice = "choose another port with --udp-port, or do without --ice-tcp on";
        Failure::usage(anyhow::anyhow!("can't listen on TCP {address} for media: {cause}; {advice}"))
    })
}

/// Whether a STUN message in a frame begins with these bytes.
fn is_framed(beginning: &[u8; BEGINNING]) -> bool {
    beginning[6..] == MAGIC_COOKIE && beginning[4..8] != MAGIC_COOKIE
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use tokio::time::sleep;

    use super::*;
    use crate::rtp::{Codec, Encoding, Track};
    use crate::sfu::{Sfu, SfuConfig, SfuEvent, UdpBinding};
    use crate::viewer::{IceServers, Viewer, ViewerConfig, ViewerEvent};

    #[test]
    fn turn_and_ice_are_told_apart_by_the_place_of_the_magic_cookie() {
        let allocate = [0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42, 1, 2];
        let check = [0, 100, 0, 1, 0, 80, 0x21, 0x12, 0xa4, 0x42];
        assert!(is_framed(&check) && !is_framed(&allocate) && !is_framed(b"\0GET / HTT"));
    }

    #[tokio::test]
    async fn on_opens_the_tcp_port_with_the_number_of_the_media_port() {
        let (port, _) = MediaPort::bind("127.0.0.1:0".parse().unwrap(), &[]).unwrap();
        let (address, pages) = (port.local(), "127.0.0.1:9".parse().unwrap());
        let pages = |has_proxy| Some(PagesPort { address: pages, has_proxy });
        // The pages have another port, behind a proxy: no TCP port but that of `on` leads to the media.
        assert!(TcpMedia::new(IceTcp::Auto).start(&port, pages(true)).unwrap().is_none());
        let _open = TcpMedia::new(IceTcp::On).start(&port, pages(true)).unwrap().unwrap();
        let config = SfuConfig {
            user: "9999".parse().unwrap(),
            udp: UdpBinding::Shared(port.clone()),
            advertise: Vec::new(),
            stun: Vec::new(),
            max_students: 1,
            encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
            workers: NonZeroUsize::MIN,
            adapts: true,
        };
        let (sfu, mut events) = Sfu::start(config).unwrap();
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, offer, mut happens) = Viewer::offer(config, Arc::new(|_| {})).await.unwrap();
        sfu.offer("1001".parse().unwrap(), offer, None, None);
        let connects = async {
            let sdp = loop {
                if let SfuEvent::Answer { sdp, .. } = events.recv().await.unwrap() {
                    break sdp;
                }
            };
            let by_tcp = |line: &&str| line.starts_with("a=candidate:") && line.contains("tcptype passive");
            let ports: Vec<&str> = sdp.lines().filter(by_tcp).filter_map(|line| line.split(' ').nth(5)).collect();
            assert!(!ports.is_empty() && ports.iter().all(|port| *port == address.port().to_string()), "{sdp}");
            let lines = sdp.lines().filter(|line| !line.starts_with("a=candidate:") || by_tcp(line));
            viewer.answer(lines.flat_map(|line| [line, "\r\n"]).collect()).await.unwrap();
            while !matches!(happens.recv().await.unwrap(), ViewerEvent::Connected) {}
            while !viewer.uses_tcp().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), connects).await.unwrap();
        viewer.close().await;
        sfu.close().await;
    }
}
