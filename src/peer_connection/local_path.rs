//! A UDP port of this computer that stands for another way to a peer, which `webrtc` 0.21.1 does not know. Each socket
//! of the library that sends there has a link of its own: to the other end, each is another client.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

/// The pause after a link that failed. The library repeats what it has sent soon.
const PAUSE: Duration = Duration::from_secs(1);

/// The most packets that wait for a link. Feedback is small; what does not fit is lost, as on any slow path.
const MAX_WAITING: usize = 256;

/// A port with its links. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct LocalPath {
    port: u16,
    _tasks: JoinSet<()>,
}

/// The limits of a port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathLimits {
    /// The most links.
    pub(crate) links: usize,
    /// The largest packet.
    pub(crate) packet_bytes: usize,
}

/// The library's end of a link.
pub(crate) struct Link {
    /// What the library sends.
    pub(crate) packets: mpsc::Receiver<Vec<u8>>,
    /// The socket of the library.
    pub(crate) client: LinkClient,
}

/// A socket of the library.
#[derive(Clone)]
pub(crate) struct LinkClient {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
}

impl LinkClient {
    /// Sends a packet to the library. One that can't be sent is lost, as on any path.
    pub(crate) async fn send(&self, packet: &[u8]) {
        let _ = self.socket.send_to(packet, self.address).await;
    }
}

impl LocalPath {
    /// Binds a port. `carry` carries the packets of a link to its end.
    ///
    /// # Errors
    /// If no port is free.
    pub(crate) fn start<F>(limits: PathLimits, carry: impl Fn(Link) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let port = socket.local_addr()?.port();
        let mut tasks = JoinSet::new();
        tasks.spawn(run(socket, limits, carry));
        Ok(Self { port, _tasks: tasks })
    }

    /// The address of the port.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

async fn run<F>(socket: Arc<UdpSocket>, limits: PathLimits, carry: impl Fn(Link) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut links: HashMap<SocketAddr, (mpsc::Sender<Vec<u8>>, AbortHandle)> = HashMap::new();
    // Dropping the set ends the links.
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; limits.packet_bytes];
    loop {
        let (length, from) = tokio::select! {
            Some(_) = tasks.join_next() => continue,
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        links.retain(|_, (_, task)| !task.is_finished());
        if !links.contains_key(&from) && links.len() >= limits.links {
            continue;
        }
        let (link, _) = links.entry(from).or_insert_with(|| {
            let (sender, packets) = mpsc::channel(MAX_WAITING);
            let client = LinkClient { socket: Arc::clone(&socket), address: from };
            let carried = carry(Link { packets, client });
            let task = tasks.spawn(async move {
                if carried.await.is_err() {
                    sleep(PAUSE).await;
                }
            });
            (sender, task)
        });
        let _ = link.try_send(buffer[..length].to_vec());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn each_socket_has_a_link_of_its_own_up_to_a_limit() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let path = LocalPath::start(PathLimits { links: 2, packet_bytes: 100 }, move |mut link| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            async move {
                while let Some(packet) = link.packets.recv().await {
                    link.client.send(&[&[number as u8][..], &packet].concat()).await;
                }
                Ok(())
            }
        })
        .unwrap();
        let mut answers = Vec::new();
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(path.address()).await.unwrap();
            for text in [b"a", b"b"] {
                socket.send(text).await.unwrap();
                let mut buffer = [0; 100];
                let length = timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await.unwrap().unwrap();
                answers.push(buffer[..length].to_vec());
            }
            sockets.push(socket);
        }
        assert_eq!(answers, [b"\0a", b"\0b", b"\x01a", b"\x01b"]);
        let third = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        third.send_to(b"c", path.address()).await.unwrap();
        // The port handles one packet after another.
        sockets[0].send(b"d").await.unwrap();
        let mut buffer = [0; 100];
        timeout(Duration::from_secs(10), sockets[0].recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }
}
