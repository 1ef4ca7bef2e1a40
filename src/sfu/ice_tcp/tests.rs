//! Tests of TCP peers on loopback: a real port, a real SFU, and viewers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::{MAX_FRAME_BYTES, next_frame};
use super::queue::{MAX_WAITING, MAX_WAITING_OF_ALL, Queue};
use super::*;
use crate::rtp::{Codec, Encoding, Track};
use crate::sfu::tests::{config, next};
use crate::sfu::{MediaPort, Sfu, SfuEvent, UdpBinding};
use crate::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};

const LIMIT: Duration = Duration::from_secs(30);

fn home() -> Network {
    Network::of(Ipv4Addr::LOCALHOST.into())
}

/// A media port that is also reached by TCP, and an SFU.
struct Port {
    port: MediaPort,
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
    /// The connections whose peers have proved themselves.
    proved: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Port {
    async fn new() -> Self {
        let (port, _) = MediaPort::bind("127.0.0.1:0".parse().unwrap(), &[]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        port.set_tcp(vec![listener.local_addr().unwrap()]);
        let encodings = vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)];
        let one = std::num::NonZeroUsize::MIN;
        let (sfu, events) = Sfu::start(config(UdpBinding::Shared(port.clone()), 10, encodings, one)).unwrap();
        let (proved, mut accepting) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let of_task = (port.clone(), Arc::clone(&proved));
        accepting.spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (port, proved) = of_task.clone();
                let proved = move || {
                    proved.fetch_add(1, Ordering::Relaxed);
                };
                streams.spawn(async move { port.serve_stream(stream, home(), proved).await });
            }
        });
        Self { port, sfu, events, proved, _accepting: accepting }
    }

    /// A viewer that gets those candidates of the answer that `keeps` keeps.
    async fn student(&mut self, id: &str, keeps: fn(&str) -> bool) -> (Viewer, mpsc::Receiver<ViewerEvent>) {
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, offer, events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
        self.sfu.offer(id.parse().unwrap(), offer, None, None);
        let answer = |event| if let SfuEvent::Answer { sdp, .. } = event { Some(sdp) } else { None };
        let answer = next(&mut self.events, answer).await;
        assert!(answer.contains("tcptype passive"), "{answer}");
        let lines = answer.lines().filter(|line| !line.starts_with("a=candidate:") || keeps(line));
        viewer.answer(lines.flat_map(|line| [line, "\r\n"]).collect()).await.unwrap();
        next(&mut self.events, |event| matches!(event, SfuEvent::ChannelOpen(_)).then_some(())).await;
        (viewer, events)
    }

    /// A connection without TCP, served by the port.
    fn connect(&self) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (client, server) = duplex(1 << 16);
        let port = self.port.clone();
        (client, tokio::spawn(async move { port.serve_stream(server, home(), || {}).await }))
    }
}

#[tokio::test]
async fn a_student_without_udp_talks_by_tcp_and_one_with_udp_uses_that() {
    let mut port = Port::new().await;
    let (by_tcp, mut hears) = port.student("1001", |line| line.contains(" tcp ")).await;
    let (by_udp, mut also_hears) = port.student("1002", |_| true).await;
    assert!(by_tcp.uses_tcp().await && !by_udp.uses_tcp().await);
    for viewer in [&by_tcp, &by_udp] {
        assert!(viewer.say("here").await);
        next(&mut port.events, |event| matches!(event, SfuEvent::Heard { .. }).then_some(())).await;
    }
    port.sfu.tell_all("go on");
    for hears in [&mut hears, &mut also_hears] {
        next(hears, |event| matches!(event, ViewerEvent::Heard(text) if text == "go on").then_some(())).await;
    }
    by_udp.close().await;
    let has_proved = async {
        while port.proved.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, has_proved).await.unwrap();
    // When the peer is gone, so is its connection.
    port.sfu.remove("1001".parse().unwrap());
    let is_closed = async {
        while port.port.stats().tcp > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, is_closed).await.unwrap();
    by_tcp.close().await;
    port.sfu.close().await;
}

/// A STUN binding request with this user name.
fn request(name: &str) -> Vec<u8> {
    assert_eq!(name.len() % 4, 0);
    let size = name.len() as u16;
    let (all, own) = ((size + 4).to_be_bytes(), size.to_be_bytes());
    [&[0, 1, all[0], all[1], 0x21, 0x12, 0xa4, 0x42][..], &[7; 12], &[0, 6, own[0], own[1]], name.as_bytes()].concat()
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes()[..], packet].concat()
}

#[tokio::test]
async fn a_connection_that_is_for_no_peer_ends_at_once_and_a_silent_one_soon() {
    let port = Port::new().await;
    let giant = [&((MAX_FRAME_BYTES + 1) as u16).to_be_bytes()[..], &[0; 100]].concat();
    let dtls = framed(&[22, 254, 253, 0, 0]);
    for first in [framed(&request("abcdefgh:ijk")), giant, dtls, framed(b"")] {
        let (mut client, served) = port.connect();
        client.write_all(&first).await.unwrap();
        timeout(LIMIT, served).await.unwrap().unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "nothing is sent to a stranger");
    }
    // Half a frame, and then nothing: while this one waits, its own time runs.
    let (mut client, served) = port.connect();
    client.write_all(&[0, 100, 0]).await.unwrap();
    timeout(LIMIT, served).await.unwrap().unwrap();
    assert_eq!(port.port.stats().tcp, 0);
    port.sfu.close().await;
}

#[tokio::test]
async fn who_knows_a_user_name_but_no_password_gets_nothing_and_is_closed() {
    let mut port = Port::new().await;
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
    let (viewer, offer, _events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    port.sfu.offer("1001".parse().unwrap(), offer, None, None);
    let answer = |event| if let SfuEvent::Answer { sdp, .. } = event { Some(sdp) } else { None };
    let answer = next(&mut port.events, answer).await;
    let ufrag = answer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap();
    let (mut client, served) = port.connect();
    client.write_all(&framed(&request(&format!("{ufrag}:abc")))).await.unwrap();
    let mut got = Vec::new();
    timeout(LIMIT, client.read_to_end(&mut got)).await.unwrap().unwrap();
    timeout(LIMIT, served).await.unwrap().unwrap();
    assert!(got.is_empty(), "{got:?}");
    viewer.close().await;
    port.sfu.close().await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_as_a_whole_and_never_waits() {
    let of_all = Arc::default();
    let queue = Arc::new(Queue::new(Arc::clone(&of_all), Arc::default()));
    let batch = [7; 50_000];
    let fits = (0..).take_while(|_| queue.push(&batch, 1_200).is_ok()).count();
    assert_eq!(fits, MAX_WAITING / (batch.len() + 2 * 42));
    assert_eq!(of_all.load(Ordering::Relaxed), fits * (batch.len() + 2 * 42));
    // A reader makes room again, and gets whole frames.
    let (client, server) = duplex(1 << 12);
    let (writer, is_done) = (Arc::clone(&queue), Arc::new(AtomicBool::new(false)));
    let done = Arc::clone(&is_done);
    let writing = tokio::spawn(async move {
        writer.write_to(server).await.unwrap();
        done.store(true, Ordering::Relaxed);
    });
    let mut client = tokio::io::BufReader::new(client);
    for _ in 0..fits {
        for _ in 0..41 {
            assert_eq!(next_frame(&mut client).await.unwrap(), vec![7; 1_200]);
        }
        assert_eq!(next_frame(&mut client).await.unwrap(), vec![7; 800]);
    }
    let has_room = async {
        while queue.push(&[9; 3], 3).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, has_room).await.unwrap();
    queue.close();
    assert!(queue.push(&[1], 1).is_err());
    timeout(LIMIT, writing).await.unwrap().unwrap();
    assert_eq!(next_frame(&mut client).await.unwrap(), vec![9; 3]);
    assert!(is_done.load(Ordering::Relaxed));
    drop(queue);
    assert_eq!(of_all.load(Ordering::Relaxed), 0);
}

#[test]
fn slow_readers_leave_a_share_to_others_and_to_other_networks() {
    let of_all = Arc::<AtomicUsize>::default();
    let fill = |queue: &Queue| (0..).take_while(|_| queue.push(&[7; 1_000], 1_000).is_ok()).count();
    let queue = |of_network: &Arc<AtomicUsize>| Queue::new(Arc::clone(&of_all), Arc::clone(of_network));
    let (school, other) = (Arc::default(), Arc::default());
    let slow: Vec<Queue> = (0..1_000).map(|_| queue(&school)).collect();
    slow[..60].iter().for_each(|queue| assert!(fill(queue) > 300));
    assert!(fill(&queue(&school)) > 300);
    for queue in &slow[60..] {
        fill(queue);
    }
    assert!(of_all.load(Ordering::Relaxed) <= MAX_WAITING_OF_ALL / 4 * 3);
    // The first readers of another network have as much as without this one.
    let others: Vec<Queue> = (0..10).map(|_| queue(&other)).collect();
    others.iter().for_each(|queue| assert!(fill(queue) > 500));
    drop((slow, others));
    assert_eq!([&of_all, &school, &other].map(|bytes| bytes.load(Ordering::Relaxed)), [0; 3]);
}

#[test]
fn networks_without_connections_are_forgotten() {
    let (peers, local) = (TcpPeers::default(), "192.0.2.7:9".parse().unwrap());
    let network = |n: u8| Network::of(Ipv4Addr::new(192, 0, 2, n).into());
    let (one, same) = (peers.register(local, network(1)), peers.register(local, network(1)));
    assert!(peers.send(one.from, &[0; 100], 100).is_ok());
    assert_eq!(peers.of_network(network(1)).load(Ordering::Relaxed), 102);
    for n in 2..=255 {
        drop(peers.register(local, network(n)));
    }
    assert!(peers.0.of_networks.lock().unwrap().len() <= 4);
    drop((one, same));
    assert_eq!(peers.of_network(network(1)).load(Ordering::Relaxed), 0);
}

#[test]
fn a_stand_in_is_no_address_of_a_network_and_belongs_to_one_connection() {
    let peers = TcpPeers::default();
    for local in ["0.0.0.0:9", "[::]:9", "192.0.2.7:9", "[2001:db8::7]:9"] {
        let local: SocketAddr = local.parse().unwrap();
        let (one, other) = (peers.register(local, home()), peers.register(local, home()));
        assert!(TcpPeers::is_stand_in(one.from) && one.from != other.from);
        assert_eq!(at(local).is_ipv4(), one.from.is_ipv4(), "the core pairs addresses of one family");
        assert!(peers.send(one.from, &[1, 2, 3], 3).is_ok());
        let gone = one.from;
        drop(one);
        assert!(peers.send(gone, &[1, 2, 3], 3).is_err());
    }
    assert_eq!(peers.count(), 0);
    for real in ["10.0.0.1:9", "239.1.1.1:9", "255.255.255.255:9", "[2001:db8::7]:9", "[::ffff:240.0.0.1]:9"] {
        assert!(!TcpPeers::is_stand_in(real.parse().unwrap()), "{real}");
    }
}
