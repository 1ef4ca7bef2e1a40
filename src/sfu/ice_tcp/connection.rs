//! The life of one TCP connection to a media port.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::{TcpPeers, at};
use crate::network::Network;
use crate::sfu::demux::{Datagram, classify};

/// The time for the first frame, which must be a STUN binding request for a peer of the port.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// The time that UDP has before the first frame of a connection is looked at. The core of an SFU never leaves the first
/// pair that a browser nominates, so TCP must not win where UDP works; a browser that has found UDP closes the
/// connection.
const HEAD_START: Duration = Duration::from_millis(500);

/// The time until a check proves that the peer knows the password of the answer.
const PROVED_WITHIN: Duration = Duration::from_secs(10);

/// A connection ends if nothing of a known peer has come over it for this long: the consent of ICE expires after 30 s
/// (RFC 7675, 5.1).
const SILENT_FOR: Duration = Duration::from_secs(35);

/// A STUN client repeats a request over UDP, but not over TCP (RFC 8489, 6.2.2), and the core of an SFU leaves a
/// request that nominates a pair unanswered until its own check has succeeded. So the last request is repeated here,
/// after these pauses, while a connection is young. Without that Firefox never connects.
const REPEATED_AFTER_MS: [u64; 4] = [100, 200, 400, 800];
const YOUNG: Duration = Duration::from_secs(10);

/// How often a connection looks for its end.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The largest frame. No packet of a browser is larger than an Ethernet frame.
pub(super) const MAX_FRAME_BYTES: usize = 2_048;

/// A packet that has arrived by TCP.
pub(in crate::sfu) struct TcpPacket {
    /// An address of the port that each SFU has as a candidate.
    pub(in crate::sfu) at: SocketAddr,
    /// The stand-in for the address of the peer.
    pub(in crate::sfu) from: SocketAddr,
    pub(in crate::sfu) bytes: BytesMut,
}

/// A connection whose first frame has been read.
pub(in crate::sfu) struct Opening<S> {
    first: BytesMut,
    reader: BufReader<ReadHalf<S>>,
    writer: WriteHalf<S>,
}

impl<S: AsyncRead + AsyncWrite> Opening<S> {
    /// Reads the first frame; `None` if it does not come in time.
    pub(in crate::sfu) async fn read(stream: S) -> Option<Self> {
        let (reader, writer) = tokio::io::split(stream);
        let mut reader = BufReader::with_capacity(2 * MAX_FRAME_BYTES, reader);
        let first = timeout(FIRST_WITHIN, next_frame(&mut reader)).await.ok()?.ok()?;
        Some(Self { first, reader, writer })
    }

    /// Our user name fragment, if the first frame is a STUN binding request.
    pub(in crate::sfu) fn ufrag(&self) -> Option<&str> {
        match classify(&self.first) {
            Datagram::StunRequest { ufrag } => Some(ufrag),
            _ => None,
        }
    }

    /// Serves the connection to its end. The port is bound to `local`, and the peer is in `network`. All connections
    /// wait in line for `arrived`, so a flood on one of them delays itself. `proved` is called once the peer has proved
    /// that it knows our answer.
    pub(in crate::sfu) async fn serve(
        self,
        peers: &TcpPeers,
        (local, network): (SocketAddr, Network),
        arrived: &mpsc::Sender<TcpPacket>,
        proved: impl FnOnce() + Send,
    ) {
        let Self { first, mut reader, writer } = self;
        sleep(HEAD_START).await;
        let registered = peers.register(local, network);
        let (at, from) = (at(local), registered.from);
        let (newest, mut requests) = watch::channel(BytesMut::new());
        let begun = Instant::now();
        let reading = async {
            let mut frame = Ok(first);
            while let Ok(bytes) = frame {
                if begun.elapsed() < YOUNG && matches!(classify(&bytes), Datagram::StunRequest { .. }) {
                    newest.send_replace(bytes.clone());
                }
                if arrived.send(TcpPacket { at, from, bytes }).await.is_err() {
                    break;
                }
                frame = next_frame(&mut reader).await;
            }
        };
        let repeating = async {
            while requests.changed().await.is_ok() {
                let bytes = requests.borrow_and_update().clone();
                for pause in REPEATED_AFTER_MS {
                    sleep(Duration::from_millis(pause)).await;
                    let is_newest = !requests.has_changed().unwrap_or(true);
                    if !is_newest || arrived.send(TcpPacket { at, from, bytes: bytes.clone() }).await.is_err() {
                        break;
                    }
                }
            }
            std::future::pending::<()>().await;
        };
        let looking = async {
            let mut proved = Some(proved);
            loop {
                sleep(LOOK_EVERY).await;
                let (since, within) = match registered.queue.last_heard() {
                    Some(heard) => {
                        proved.take().into_iter().for_each(|proved| proved());
                        (heard, SILENT_FOR)
                    }
                    None => (begun, PROVED_WITHIN),
                };
                if since.elapsed() > within {
                    break;
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = looking => {}
            () = repeating => {}
            _ = registered.queue.write_to(writer) => {}
        }
    }
}

/// Reads one frame (RFC 4571, 2). Not cancel-safe.
pub(super) async fn next_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<BytesMut> {
    let length = usize::from(reader.read_u16().await?);
    if length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = BytesMut::zeroed(length);
    reader.read_exact(&mut bytes).await?;
    Ok(bytes)
}
