//! An admitted student that abuses its own ICE credentials, on loopback: real ICE, DTLS and SRTP, synthetic frames.

use std::net::{SocketAddrV4, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use classroom::id::UserId;
use classroom::rtp::{Codec, Encoding, FrameAssembler, Tier, Track};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent, SfuStats, UdpBinding};
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::attack::ice::Credentials;
use crate::attack::offer::{attribute, host_address};
use crate::attack::udp;
use crate::support::DEADLINE;

mod shared_port;

const SCREEN: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };

/// Messages that the victim sends, and packets that it receives, while its address is forged. At least.
const WORDS: usize = 20;

struct Class {
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
    /// The bytes of its frames.
    filling: u8,
}

struct Student {
    user: UserId,
    viewer: Viewer,
    address: SocketAddrV4,
    credentials: Credentials,
    /// The sequence numbers of the packets that it has received.
    received: Arc<Mutex<Vec<u16>>>,
    /// The last byte of each of these packets.
    fillings: Arc<Mutex<Vec<u8>>>,
}

impl Class {
    fn start() -> Self {
        Self::on(UdpBinding::Own("127.0.0.1:0".parse().unwrap()), 7)
    }

    fn on(udp: UdpBinding, filling: u8) -> Self {
        let (sfu, events) = Sfu::start(SfuConfig {
            user: "9999".parse().unwrap(),
            udp,
            advertise: vec![],
            stun: vec![],
            max_students: 10,
            workers: NonZeroUsize::MIN,
            adapts: true,
            encodings: vec![(SCREEN, 1_000_000)],
        })
        .unwrap();
        Self { sfu, events, filling }
    }

    /// The first result of `wanted` for the coming events.
    async fn next<T>(&mut self, wanted: impl Fn(SfuEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("the SFU still runs")) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, wait).await.expect("the event comes in time")
    }

    /// A student whose data channel is open at both ends.
    async fn student(&mut self, id: &str) -> Student {
        let user: UserId = id.parse().unwrap();
        let received: Arc<Mutex<Vec<u16>>> = Arc::default();
        let fillings: Arc<Mutex<Vec<u8>>> = Arc::default();
        let of_sink = (Arc::clone(&received), Arc::clone(&fillings));
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(_, packet) = incoming {
                of_sink.0.lock().unwrap().push(u16::from_be_bytes([packet[2], packet[3]]));
                of_sink.1.lock().unwrap().extend(packet.last());
            }
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, offer, mut viewer_events) = Viewer::offer(config, sink).await.unwrap();
        self.sfu.offer(user.clone(), offer.clone(), None, None);
        let answer = self.next(|event| if let SfuEvent::Answer { sdp, .. } = event { Some(sdp) } else { None }).await;
        viewer.answer(answer.clone()).await.unwrap();
        let mut address = None;
        let opens = async {
            loop {
                match viewer_events.recv().await.expect("the viewer still runs") {
                    ViewerEvent::Candidate(candidate) => address = address.or(host_address(&candidate.candidate)),
                    ViewerEvent::ChannelOpen => return,
                    _ => {}
                }
            }
        };
        timeout(DEADLINE, opens).await.expect("the channel opens");
        self.next(|event| matches!(event, SfuEvent::ChannelOpen(who) if who == user).then_some(())).await;
        let address = address.or_else(|| offer.lines().find_map(host_address)).expect("a candidate");
        let credentials = Credentials::new(&attribute(&offer, "a=ice-ufrag:").unwrap(), &answer).unwrap();
        Student { user, viewer, address, credentials, received, fillings }
    }

    /// Pushes frames of one packet until the task is aborted.
    fn teach(&self) -> tokio::task::JoinHandle<()> {
        let (input, filling) = (self.sfu.input(), self.filling);
        tokio::spawn(async move {
            let mut assembler = FrameAssembler::new(SCREEN);
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            for n in 0u32.. {
                pace.tick().await;
                let header = [&[0x80, 0x80 | 96][..], &(n as u16).to_be_bytes(), &(n * 900).to_be_bytes()].concat();
                let packet = [&header[..], &[0, 0, 0, 1, 0x10, u8::from(n % 100 > 0)], &[filling; 500]].concat();
                if let Some(frame) = assembler.push(&packet, Instant::now()) {
                    input.push(frame);
                }
            }
        })
    }
}

/// A socket that sends whole IPv4 packets; `None` where this process is not root.
fn raw_socket() -> Option<socket2::Socket> {
    match udp::raw_socket() {
        Ok(socket) => Some(socket),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "a raw socket: {error}");
            println!("skipped: a forged source address needs a raw socket, and that needs root: {error}");
            None
        }
    }
}

/// Checks that a student has lost no packet, no frame and no tier.
fn assert_untouched(victim: &Student, stats: &SfuStats) {
    let (_, peer) = stats.peers.iter().find(|(user, _)| *user == victim.user).unwrap();
    assert_eq!((peer.changes, peer.dropped), (0, 0));
    let mut received = victim.received.lock().unwrap().clone();
    received.sort_unstable();
    received.dedup();
    assert!(received.windows(2).all(|pair| pair[1] - pair[0] == 1), "a packet is missing: {received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_from_a_victims_forged_address_divert_none_of_its_datagrams() {
    let Some(raw) = raw_socket() else { return };
    let mut class = Class::start();
    let teaching = class.teach();
    let (victim, insider) = (class.student("1001").await, class.student("1002").await);
    let to = udp::v4(class.sfu.udp()).expect("the SFU was bound to 127.0.0.1");
    let (from, stop) = (victim.address, Arc::new(AtomicBool::new(false)));
    let sent = Arc::new(AtomicUsize::new(0));
    let (stopped, counted, credentials) = (Arc::clone(&stop), Arc::clone(&sent), insider.credentials);
    let forging = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            raw.send_to(&udp::forged(from, to, &credentials.check(false).unwrap()), &to.into()).unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            // The rate of the attack: up to 1,000 forged checks per second.
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    // On until there were more than WORDS messages, packets and forged checks.
    let has_enough =
        |n: usize| n > WORDS && victim.received.lock().unwrap().len() > WORDS && sent.load(Ordering::Relaxed) > WORDS;
    for n in (0..).take_while(|n| !has_enough(*n)) {
        let word = format!("word {n}");
        assert!(victim.viewer.say(&word).await);
        let heard = class.next(|event| match event {
            SfuEvent::Heard { user, text } => Some((user, text)),
            _ => None,
        });
        assert_eq!(heard.await, (victim.user.clone(), word));
    }
    stop.store(true, Ordering::Relaxed);
    forging.join().unwrap();
    let sent = sent.load(Ordering::Relaxed);
    let stats = class.sfu.stats().await.unwrap();
    teaching.abort();
    assert_eq!((stats.students, stats.disturbed), (2, 0), "after {sent} forged checks");
    assert_untouched(&victim, &stats);
    victim.viewer.close().await;
    insider.viewer.close().await;
    class.sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_authentic_checks_is_limited() {
    const FLOOD: u64 = 5_000;
    let mut class = Class::start();
    let insider = class.student("1002").await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let check = insider.credentials.check(false).unwrap();
    let mut counted = 0;
    // In small bursts, so that the socket's receive buffer does not overflow.
    for sent in 1..=FLOOD {
        socket.send_to(&check, class.sfu.udp()).unwrap();
        if sent % 100 == 0 {
            counted = class.sfu.stats().await.unwrap().checks_left_out;
        }
    }
    let deadline = Instant::now() + DEADLINE;
    while counted < FLOOD * 4 / 5 && Instant::now() < deadline {
        counted = class.sfu.stats().await.unwrap().checks_left_out;
    }
    assert!(counted >= FLOOD * 4 / 5, "{counted} of {FLOOD} checks were dropped");
    assert!(insider.viewer.say("still here").await);
    class.next(|event| matches!(event, SfuEvent::Heard { text, .. } if text == "still here").then_some(())).await;
    insider.viewer.close().await;
    class.sfu.close().await;
}

/// Each check that is accepted costs two HMACs and two datagrams, so few are.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_authentic_checks_takes_nothing_from_others() {
    const LASTS: Duration = Duration::from_secs(3);
    let mut class = Class::start();
    let teaching = class.teach();
    let (victim, insider) = (class.student("1001").await, class.student("1002").await);
    let (to, check) = (class.sfu.udp(), insider.credentials.check(false).unwrap());
    let flooding = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (begun, mut sent) = (Instant::now(), 0u64);
        while begun.elapsed() < LASTS {
            // At most 50,000 a second.
            (0..50).for_each(|_| drop(socket.send_to(&check, to)));
            sent += 50;
            std::thread::sleep(Duration::from_millis(1));
        }
        sent
    });
    let sent = tokio::task::spawn_blocking(|| flooding.join().unwrap()).await.unwrap();
    let stats = class.sfu.stats().await.unwrap();
    teaching.abort();
    assert!(stats.checks_left_out > 1_000, "{} of {sent} were left out", stats.checks_left_out);
    assert_untouched(&victim, &stats);
    victim.viewer.close().await;
    insider.viewer.close().await;
    class.sfu.close().await;
}
