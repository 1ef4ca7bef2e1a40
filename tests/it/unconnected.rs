//! Strangers on loopback that send offers and never connect, beside students that are connected: real ICE, DTLS and
//! SRTP, synthetic frames.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use classroom::bench::emulator::through;
use classroom::network::NetworkTag;
use classroom::rtp::Delays;
use classroom::sfu::SfuStats;
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::peer::{Class, Received, user};
use crate::support::{DEADLINE, until};

/// The network of the strangers.
const STRANGERS: Option<NetworkTag> = Some(NetworkTag(7));

/// A third party: it counts what it receives on any address of this computer, and never answers.
struct ThirdParty {
    port: u16,
    bytes: Arc<AtomicU64>,
}

impl ThirdParty {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let (port, bytes) = (socket.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok((length, _)) = socket.recv_from(&mut datagram) {
                counted.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
        Self { port, bytes }
    }

    /// Addresses of the third party: all of 127.0.0.0/8 is this computer.
    fn addresses(&self, count: u8) -> impl Iterator<Item = SocketAddr> {
        (1..=count).map(|n| SocketAddr::from(([127, 0, 7, n], self.port)))
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The offer of a real student.
async fn offer() -> (Viewer, String, mpsc::Receiver<ViewerEvent>) {
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
    Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap()
}

/// The offer with these candidates in place of its own.
fn with_candidates(sdp: &str, candidates: impl IntoIterator<Item = SocketAddr>) -> String {
    let mut lines: Vec<String> =
        sdp.lines().filter(|line| !line.starts_with("a=candidate")).map(str::to_owned).collect();
    let section = lines.iter().position(|line| line.starts_with("a=ice-ufrag")).unwrap();
    for (n, at) in candidates.into_iter().enumerate() {
        let (ip, port, priority) = (at.ip(), at.port(), 2_130_706_431 - n);
        lines.insert(section, format!("a=candidate:{n} 1 udp {priority} {ip} {port} typ host"));
    }
    lines.join("\r\n") + "\r\n"
}

/// Whether a student has received all packets from its first one on, in whatever order.
fn has_no_gap(received: &Received) -> bool {
    let mut numbers: Vec<u16> = received.sequence.lock().unwrap().iter().map(|(number, ..)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.windows(2).all(|pair| pair[1] - pair[0] == 1)
}

/// Checks that nine of ten packets left at once, and that these students lost no frame and no tier.
fn assert_untouched(stats: &SfuStats, delays: &Delays, users: impl IntoIterator<Item = usize>) {
    let late = delays.percentile(0.9).unwrap();
    assert!(late < Duration::from_millis(150), "{late:?}");
    for n in users {
        let (_, peer) = stats.peers.iter().find(|(id, _)| *id == user(n)).expect("the student is connected");
        assert_eq!((peer.changes, peer.dropped), (0, 0), "{n}: {peer:?}");
    }
}

/// 800 offers take all the time of the thread if each peer's timers run when they are due: a frame then waits for up to
/// a second.
#[tokio::test(flavor = "multi_thread")]
async fn offers_that_never_connect_delay_no_frame_of_connected_students() {
    const OFFERS: usize = 800;
    let class = Class::start(3 + 1);
    let mut students = Vec::new();
    for n in 0..3 {
        students.push(class.join(n).await.unwrap());
        until("packets", || students[n].1.packets.load(Ordering::Relaxed) > 60).await;
    }
    let (stranger, sdp, _events) = offer().await;
    let sdp = with_candidates(&sdp, ThirdParty::start().addresses(32));
    let before = class.sfu.stats().await.unwrap();
    for n in 0..OFFERS {
        class.sfu.offer(user(5_000 + n), sdp.clone(), None, STRANGERS);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // An honest newcomer of the same network gets the last place, while the strangers still wait.
    let newcomer = class.join(100).await.unwrap();
    let stats = class.sfu.stats().await.unwrap();
    assert!(stats.connecting > 300, "{} strangers wait", stats.connecting);
    until("packets for the newcomer", || newcomer.1.packets.load(Ordering::Relaxed) > 60).await;
    let delays = stats.send_delay.since(&before.send_delay);
    println!("delays: {:?} {:?}", delays.percentile(0.5), delays.percentile(0.95));
    assert_untouched(&stats, &delays, 0..3);
    for (viewer, received) in students.into_iter().chain([newcomer]) {
        until("every packet", || has_no_gap(&received)).await;
        viewer.close().await;
    }
    stranger.close().await;
    class.end().await;
}

/// Each offer of a user makes a new peer, at most every 300 ms.
#[tokio::test(flavor = "multi_thread")]
async fn students_that_offer_again_and_again_delay_no_frame_of_others() {
    const USERS: usize = 150;
    const ROUNDS: usize = 10;
    let class = Class::start(4);
    let mut students = Vec::new();
    for n in 0..3 {
        students.push(class.join(n).await.unwrap());
        until("packets", || students[n].1.packets.load(Ordering::Relaxed) > 60).await;
    }
    let (stranger, sdp, _events) = offer().await;
    let before = class.sfu.stats().await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(310));
    for _ in 0..ROUNDS {
        pace.tick().await;
        (0..USERS).for_each(|n| class.sfu.offer(user(5_000 + n), sdp.clone(), None, STRANGERS));
    }
    let stats = class.sfu.stats().await.unwrap();
    let delays = stats.send_delay.since(&before.send_delay);
    println!("delays: {:?} {:?}", delays.percentile(0.5), delays.percentile(0.95));
    assert_untouched(&stats, &delays, 0..3);
    for (viewer, received) in students {
        until("every packet", || has_no_gap(&received)).await;
        viewer.close().await;
    }
    stranger.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_of_a_third_party_cause_next_to_no_traffic_there() {
    const STUDENTS: usize = 50;
    const LASTS: Duration = Duration::from_secs(6);
    let class = Class::start(10);
    let third = ThirdParty::start();
    let (stranger, sdp, _events) = offer().await;
    let sdp = with_candidates(&sdp, third.addresses(100));
    for n in 0..STUDENTS {
        class.sfu.offer(user(5_000 + n), sdp.clone(), None, STRANGERS);
    }
    // The amount of traffic over time is tested, so this sleeps.
    tokio::time::sleep(LASTS).await;
    let (offered, sent) = (STUDENTS * sdp.len(), third.bytes());
    println!("{offered} bytes of offers caused {sent} bytes");
    // Some checks must leave, or no student behind a NAT or a firewall could connect.
    assert!((1..offered as u64 / 2).contains(&sent), "{offered} bytes of offers caused {sent} bytes");
    stranger.close().await;
    class.end().await;
}

/// A NAT in front of the SFU: what a student sends gets in once the SFU has sent something to the student.
struct Nat {
    /// The student, as the SFU sees it.
    outside: SocketAddr,
    /// The SFU, as the student sees it.
    inside: SocketAddr,
    /// Datagrams of the student that the NAT has dropped.
    dropped: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Nat {
    fn start(sfu: SocketAddr) -> Self {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            socket
        };
        let (to_sfu, to_student) = (bind(), bind());
        let (outside, inside) = (to_sfu.local_addr().unwrap(), to_student.local_addr().unwrap());
        let (dropped, ends) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, stops) = (Arc::clone(&dropped), Arc::clone(&ends));
        std::thread::spawn(move || {
            let (mut is_open, mut student, mut bytes) = (false, None, [0; 2048]);
            while !stops.load(Ordering::Relaxed) {
                if let Ok((length, _)) = to_sfu.recv_from(&mut bytes) {
                    is_open = true;
                    // The student's own NAT is open once it has sent something.
                    if let Some(student) = student {
                        to_student.send_to(&bytes[..length], student).unwrap();
                    }
                }
                if let Ok((length, from)) = to_student.recv_from(&mut bytes) {
                    student = Some(from);
                    if is_open {
                        to_sfu.send_to(&bytes[..length], sfu).unwrap();
                    } else {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self { outside, inside, dropped, ends }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_reaches_an_sfu_behind_a_nat_because_the_sfu_sends_the_first_check() {
    let class = Class::start(10);
    let nat = Nat::start(class.sfu.udp());
    let (viewer, sdp, mut events) = offer().await;
    let (answers, mut answer) = mpsc::unbounded_channel();
    class.events.answers.lock().unwrap().insert(user(1), answers);
    class.sfu.offer(user(1), with_candidates(&sdp, [nat.outside]), None, None);
    let sdp = timeout(DEADLINE, answer.recv()).await.unwrap().unwrap();
    let began = Instant::now();
    viewer.answer(through(&sdp, nat.inside)).await.unwrap();
    let connected = async { while events.recv().await.unwrap() != ViewerEvent::Connected {} };
    timeout(DEADLINE, connected).await.expect("it connects");
    println!("connected after {:?}, {} datagrams dropped", began.elapsed(), nat.dropped.load(Ordering::Relaxed));
    nat.ends.store(true, Ordering::Relaxed);
    viewer.close().await;
    class.end().await;
}
