//! Sfu and links on loopback: real ICE, DTLS and SRTP, synthetic frames.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use classroom::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use classroom::id::UserId;
use classroom::rtp::{Codec, Encoding, Frame, FrameAssembler, Track, payload_offset};
use classroom::sfu::{OfferRefusal, Sfu, SfuConfig, SfuEvent};
use classroom::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

fn user(n: usize) -> UserId {
    n.to_string().parse().unwrap()
}

/// A source of VP8 frames of `packets` packets, and the encoder's answer to key-frame requests.
struct Source {
    assembler: FrameAssembler,
    sequence_number: u16,
    frames: u32,
}

impl Source {
    fn new() -> Self {
        Self {
            assembler: FrameAssembler::new(Encoding::full(Track::Screen, Codec::Vp8)),
            sequence_number: 0,
            frames: 0,
        }
    }

    fn frame(&mut self, key: bool, packets: usize) -> Frame {
        self.frames += 1;
        for n in 0..packets {
            let marker = if n + 1 == packets { 0x80 } else { 0 };
            let mut packet = vec![0x80, 96 | marker];
            packet.extend_from_slice(&self.sequence_number.to_be_bytes());
            packet.extend_from_slice(&(self.frames * 3000).to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0, 1]);
            packet.extend_from_slice(&[if n == 0 { 0x10 } else { 0 }, u8::from(!key)]);
            packet.extend_from_slice(&self.frames.to_be_bytes());
            packet.resize(1000, n as u8);
            self.sequence_number = self.sequence_number.wrapping_add(1);
            if let Some(frame) = self.assembler.push(&packet, Instant::now()) {
                return frame;
            }
        }
        unreachable!()
    }
}

/// What a student got.
#[derive(Default)]
struct Got {
    packets: AtomicU64,
    reports: AtomicU64,
    sequence: Mutex<Vec<(u16, u32, u32)>>,
}

struct Class {
    sfu: Arc<Sfu>,
    links: Arc<Mutex<HashMap<UserId, mpsc::UnboundedSender<String>>>>,
    refused: Arc<Mutex<Vec<(UserId, OfferRefusal)>>>,
    gone: Arc<Mutex<Vec<UserId>>>,
    want_key: Arc<AtomicBool>,
    key_requests: Arc<AtomicU64>,
    teaching: tokio::task::JoinHandle<()>,
}

impl Class {
    /// An SFU with a source of 30 frames a second.
    fn start(max_students: usize) -> Self {
        Self::with_workers(max_students, 1)
    }

    fn with_workers(max_students: usize, workers: usize) -> Self {
        let (sfu, mut events) = Sfu::start(SfuConfig {
            user: user(9999),
            udp: "127.0.0.1:0".parse().unwrap(),
            advertise: vec![],
            stun: vec![],
            max_students,
            workers: workers.try_into().unwrap(),
            adapts: true,
            encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
        })
        .unwrap();
        let links: Arc<Mutex<HashMap<UserId, mpsc::UnboundedSender<String>>>> = Arc::default();
        let refused: Arc<Mutex<Vec<(UserId, OfferRefusal)>>> = Arc::default();
        let gone: Arc<Mutex<Vec<UserId>>> = Arc::default();
        let (want_key, key_requests) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (l, r, g, w, k) = (links.clone(), refused.clone(), gone.clone(), want_key.clone(), key_requests.clone());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    SfuEvent::Answer { user, sdp } => {
                        if let Some(link) = l.lock().unwrap().get(&user) {
                            let _ = link.send(sdp);
                        }
                    }
                    SfuEvent::Refused { user, why } => {
                        l.lock().unwrap().remove(&user);
                        r.lock().unwrap().push((user, why));
                    }
                    SfuEvent::Gone { user, .. } => g.lock().unwrap().push(user),
                    SfuEvent::KeyFrameNeeded(_) => {
                        k.fetch_add(1, Ordering::Relaxed);
                        w.store(true, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        });
        let (input, want) = (sfu.input(), want_key.clone());
        let teaching = tokio::spawn(async move {
            let mut source = Source::new();
            let mut pace = tokio::time::interval(Duration::from_millis(33));
            loop {
                pace.tick().await;
                let key = want.swap(false, Ordering::Relaxed);
                input.push(source.frame(key, if key { 40 } else { 5 }));
            }
        });
        Self { sfu: Arc::new(sfu), links, refused, gone, want_key, key_requests, teaching }
    }

    async fn join(&self, n: usize) -> Result<(Viewer, Arc<Got>), String> {
        self.join_by(n, None).await
    }

    /// Joins through an emulator in place of the hub. The SFU is told no candidate then: it would find a direct way.
    async fn join_by(&self, n: usize, way: Option<&Emulator>) -> Result<(Viewer, Arc<Got>), String> {
        let got = Arc::new(Got::default());
        let g = got.clone();
        let sink = Arc::new(move |incoming: Incoming<'_>| match incoming {
            Incoming::Rtp(_, bytes) => {
                g.packets.fetch_add(1, Ordering::Relaxed);
                let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
                let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
                let payload = payload_offset(bytes).unwrap();
                g.sequence.lock().unwrap().push((sequence, number(4), number(payload + 2)));
            }
            Incoming::Rtcp(..) => {
                g.reports.fetch_add(1, Ordering::Relaxed);
            }
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: vec![] };
        let (link, offer, mut events) = Viewer::offer(config, sink).await.map_err(|e| e.to_string())?;
        let (answers, mut answer) = mpsc::unbounded_channel();
        self.links.lock().unwrap().insert(user(n), answers);
        let offer = if way.is_some() { without_candidates(&offer) } else { offer };
        self.sfu.offer(user(n), offer, None);
        let Some(sdp) = timeout(DEADLINE, answer.recv()).await.map_err(|_| "no answer")? else {
            link.close().await;
            return Err("refused".to_owned());
        };
        let dump = sdp.clone();
        let sdp = match way {
            Some(emulator) => through(&sdp, emulator.address()),
            None => sdp,
        };
        let tracks = link.answer(sdp).await.map_err(|e| e.to_string())?;
        assert_eq!(tracks.len(), 1, "{dump}");
        let connected = async {
            loop {
                match events.recv().await {
                    Some(ViewerEvent::Connected) => return Ok(()),
                    Some(ViewerEvent::Candidate(candidate)) if way.is_none() => self.sfu.candidate(user(n), candidate),
                    Some(ViewerEvent::Candidate(_)) => {}
                    Some(ViewerEvent::Gone) | None => return Err("gone".to_owned()),
                    Some(_) => {}
                }
            }
        };
        timeout(DEADLINE, connected).await.map_err(|_| "never connected")??;
        Ok((link, got))
    }

    async fn end(self) {
        self.teaching.abort();
        let _ = self.teaching.await;
        if let Ok(sfu) = Arc::try_unwrap(self.sfu) {
            sfu.close().await;
        }
    }
}

/// A STUN server on loopback that sees everybody at 203.0.113.7:4711.
fn stun_server() -> std::net::SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        let (_, from) = socket.recv_from(&mut bytes).unwrap();
        let mut answer = vec![0x01, 0x01, 0, 12];
        answer.extend_from_slice(&bytes[4..20]);
        // XOR-MAPPED-ADDRESS (RFC 8489, 14.2): the port and the address, each xored with the magic cookie.
        answer.extend_from_slice(&[0x00, 0x20, 0, 8, 0, 1]);
        answer.extend_from_slice(&(4711u16 ^ 0x2112).to_be_bytes());
        answer.extend_from_slice(&(u32::from_be_bytes([203, 0, 113, 7]) ^ 0x2112_a442).to_be_bytes());
        socket.send_to(&answer, from).unwrap();
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_name_the_public_address_and_the_advertised_one() {
    let (sfu, mut events) = Sfu::start(SfuConfig {
        user: user(9999),
        udp: "127.0.0.1:0".parse().unwrap(),
        advertise: vec!["198.51.100.9".parse().unwrap()],
        stun: vec![stun_server()],
        max_students: 1,
        workers: NonZeroUsize::MIN,
        adapts: true,
        encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
    })
    .unwrap();
    let noticed = timeout(DEADLINE, events.recv()).await.unwrap();
    assert!(matches!(noticed, Some(SfuEvent::Notice(sentence)) if sentence.contains("203.0.113.7:4711")));
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: vec![] };
    let (link, offer, _events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    sfu.offer(user(1), offer, None);
    let Some(SfuEvent::Answer { sdp, .. }) = timeout(DEADLINE, events.recv()).await.unwrap() else {
        panic!("no answer");
    };
    let port = sfu.udp().port();
    assert!(sdp.contains(&format!("127.0.0.1 {port} typ host")), "{sdp}");
    assert!(sdp.contains("203.0.113.7 4711 typ srflx"), "{sdp}");
    assert!(sdp.contains(&format!("198.51.100.9 {port} typ srflx")), "{sdp}");
    link.close().await;
    sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_that_has_only_ipv6_connects_to_an_sfu_on_all_interfaces() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 here");
        return;
    }
    let (sfu, mut events) = Sfu::start(SfuConfig {
        user: user(9999),
        udp: "0.0.0.0:0".parse().unwrap(),
        advertise: vec!["198.51.100.9".parse().unwrap(), "2001:db8::9".parse().unwrap()],
        stun: vec![],
        max_students: 1,
        workers: NonZeroUsize::MIN,
        adapts: true,
        encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
    })
    .unwrap();
    let config = ViewerConfig { bind: vec!["[::1]:0".to_owned()], ice_servers: vec![] };
    let (link, offer, mut happens) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    sfu.offer(user(1), offer, None);
    let Some(SfuEvent::Answer { sdp, .. }) = timeout(DEADLINE, events.recv()).await.unwrap() else {
        panic!("no answer");
    };
    let port = sfu.udp().port();
    for candidate in ["127.0.0.1 PORT typ host", "::1 PORT typ host", "2001:db8::9 PORT typ srflx raddr"] {
        assert!(sdp.contains(&format!(" {}", candidate.replace("PORT", &port.to_string()))), "{candidate}: {sdp}");
    }
    let related = sdp.lines().find(|line| line.contains("2001:db8::9")).and_then(|line| line.split("raddr ").nth(1));
    assert!(related.is_some_and(|base| base.contains(':')), "its base is of the same family: {sdp}");
    link.answer(sdp).await.unwrap();
    let connected = async { while happens.recv().await.unwrap() != ViewerEvent::Connected {} };
    timeout(DEADLINE, connected).await.unwrap();
    link.close().await;
    sfu.close().await;
}

/// What Firefox offers, but for extensions and codecs that do not matter here: all but the first section of a
/// kind are bundle-only, with port 0.
fn offer_of_firefox() -> String {
    let transport = "c=IN IP4 0.0.0.0\r\na=ice-pwd:8b2c17913c7153223b3690ad06d6e52b\r\na=ice-ufrag:1846ad3e\r\na=rtcp-mux\r\n\
        a=setup:actpass\r\n";
    let fingerprint = vec!["D5"; 32].join(":");
    let video = |port: u16, more: &str| {
        format!(
            "m=video {port} UDP/TLS/RTP/SAVPF 120 121\r\n{transport}{more}a=recvonly\r\na=fmtp:120 max-fs=12288;max-fr=60\r\n\
             a=rtcp-fb:120 nack\r\na=rtcp-fb:120 nack pli\r\na=rtpmap:120 VP8/90000\r\na=rtpmap:121 VP9/90000\r\n"
        )
    };
    format!(
        "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 6821829637301101048 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=group:BUNDLE 0 1 2\r\na=ice-options:trickle\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 109\r\n{transport}a=mid:0\r\na=recvonly\r\na=rtpmap:109 opus/48000/2\r\n{}{}",
        video(9, "a=mid:1\r\n"),
        video(0, "a=bundle-only\r\na=mid:2\r\n"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_only_section_of_firefox_is_answered_like_the_others() {
    let (sfu, mut events) = Sfu::start(SfuConfig {
        user: user(9999),
        udp: "127.0.0.1:0".parse().unwrap(),
        advertise: vec![],
        stun: vec![],
        max_students: 1,
        workers: NonZeroUsize::MIN,
        adapts: true,
        encodings: vec![
            (Encoding::full(Track::Audio, Codec::Opus), 1_000_000),
            (Encoding::full(Track::Screen, Codec::Vp8), 1_000_000),
            (Encoding::full(Track::Camera, Codec::Vp8), 1_000_000),
        ],
    })
    .unwrap();
    sfu.offer(user(1), offer_of_firefox(), None);
    let answered = timeout(DEADLINE, events.recv()).await.unwrap();
    let Some(SfuEvent::Answer { sdp, .. }) = answered else { panic!("{answered:?}") };
    let sections: Vec<&str> = sdp.split("m=").skip(1).collect();
    let ports: Vec<&str> = sections.iter().filter_map(|section| section.split(' ').nth(1)).collect();
    assert_eq!(ports, ["9"; 3], "none is rejected: {sdp}");
    assert!(sections.iter().all(|section| section.contains("a=sendonly")), "{sdp}");
    assert!(sections[2].contains("a=msid:classroom camera") && sdp.contains("a=group:BUNDLE 0 1 2"), "{sdp}");
    let with_candidates = |section: &&str| section.contains("a=candidate:");
    assert!(
        sections[0].contains("a=candidate:") && sections.iter().filter(|s| with_candidates(s)).count() == 1,
        "{sdp}"
    );
    sfu.close().await;
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = timeout(DEADLINE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_gets_every_packet_in_order_from_a_key_frame() {
    let class = Class::start(10);
    let (link, got) = class.join(1001).await.unwrap();
    until("a hundred packets", || got.packets.load(Ordering::Relaxed) > 100).await;
    until("a sender report", || got.reports.load(Ordering::Relaxed) > 0).await;
    let sequence = got.sequence.lock().unwrap().clone();
    assert!(sequence.windows(2).all(|w| w[1].0 == w[0].0.wrapping_add(1)), "a gap");
    assert!(sequence.windows(2).all(|w| w[1].1.wrapping_sub(w[0].1) < 1 << 31), "time went back");
    let (tracks, first) = (class.key_requests.load(Ordering::Relaxed), sequence[0].2);
    assert_eq!(first, 1, "it began with the key frame that was there, {tracks} requests");
    link.close().await;
    until("the student is gone", || class.gone.lock().unwrap().contains(&user(1001))).await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_at_once_cost_the_encoder_one_key_frame() {
    thirty_at_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_at_once_over_three_threads_cost_the_encoder_one_key_frame() {
    thirty_at_once(3).await;
}

async fn thirty_at_once(workers: usize) {
    let class = Class::with_workers(100, workers);
    // An old key frame: nobody may start from it.
    tokio::time::sleep(classroom::rtp::REPLAY_AGE).await;
    assert!(!class.want_key.load(Ordering::Relaxed));
    let joins = futures_util::future::join_all((0..30).map(|n| class.join(n))).await;
    let students: Vec<_> = joins.into_iter().map(Result::unwrap).collect();
    for (_, got) in &students {
        until("packets", || got.packets.load(Ordering::Relaxed) > 60).await;
    }
    assert_eq!(class.key_requests.load(Ordering::Relaxed), 1);
    let stats = class.sfu.stats().await.unwrap();
    assert_eq!((stats.students, stats.dropped, stats.refused), (30, 0, 0));
    // Each got every packet once, whichever thread it came from; repaired ones come late.
    for (_, got) in &students {
        let all = || {
            let mut numbers: Vec<u16> = got.sequence.lock().unwrap().iter().map(|(number, ..)| *number).collect();
            numbers.sort_unstable();
            numbers.windows(2).all(|w| w[1] == w[0] + 1)
        };
        until("every packet once", all).await;
    }
    for (link, _) in students {
        link.close().await;
    }
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_room_refuses_and_serves_the_others() {
    let class = Class::start(1);
    let (link, got) = class.join(1).await.unwrap();
    assert!(class.join(2).await.is_err());
    assert!(matches!(class.refused.lock().unwrap()[0], (_, OfferRefusal::Full(1))));
    let before = got.packets.load(Ordering::Relaxed);
    until("more packets", || got.packets.load(Ordering::Relaxed) > before + 20).await;
    link.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_harms_nobody() {
    let class = Class::start(10);
    let (link, got) = class.join(1).await.unwrap();
    class.sfu.offer(user(2), "v=0".to_owned(), None);
    class.sfu.offer(user(3), "\u{0}\u{1}".repeat(1000), None);
    until("two refusals", || class.refused.lock().unwrap().len() == 2).await;
    let attacker = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..2000u32 {
        let bytes: Vec<u8> =
            (0..(n % 200)).map(|i| (n.wrapping_mul(2_654_435_761).wrapping_add(i * 7) >> 8) as u8).collect();
        attacker.send_to(&bytes, class.sfu.udp()).unwrap();
    }
    let before = got.packets.load(Ordering::Relaxed);
    until("more packets", || got.packets.load(Ordering::Relaxed) > before + 50).await;
    link.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_offer_replaces_the_first() {
    let class = Class::start(10);
    let (first, _) = class.join(1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (second, got) = class.join(1).await.unwrap();
    until("packets", || got.packets.load(Ordering::Relaxed) > 50).await;
    assert_eq!(class.sfu.stats().await.unwrap().students, 1);
    first.close().await;
    second.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_were_tampered_with_harm_nobody() {
    let class = Class::start(2000);
    let (link, got) = class.join(1).await.unwrap();
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: vec![] };
    let (model, good, _events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    // A fixed seed: the same offers in every run.
    let mut rng = StdRng::seed_from_u64(1);
    let mut next = move || rng.random::<u32>() as usize;
    let lines: Vec<&str> = good.lines().collect();
    for n in 0..400 {
        let mut bad: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        for _ in 0..1 + next() % 3 {
            let at = next() % bad.len();
            match next() % 5 {
                0 => drop(bad.remove(at)),
                1 => bad.insert(at, lines[next() % lines.len()].to_owned()),
                2 => {
                    let cut = next() % (bad[at].len() + 1);
                    // Not within the replacement character that another step may have put there.
                    let cut = (0..=cut).rev().find(|cut| bad[at].is_char_boundary(*cut)).unwrap_or(0);
                    bad[at].truncate(cut);
                }
                3 => bad[at].push_str(&"9".repeat(next() % 40)),
                _ => bad[at] = bad[at].replace(['1', '9', ':'], ["", "-1", "4294967296", "\u{fffd}"][next() % 4]),
            }
        }
        class.sfu.offer(user(100 + n), bad.join("\r\n") + "\r\n", None);
        // As fast as the SFU takes them: its queue is bounded.
        if n % 50 == 0 {
            assert!(class.sfu.stats().await.is_some(), "the SFU ended at offer {n}");
        }
    }
    assert!(class.sfu.stats().await.is_some(), "the SFU ended");
    let before = got.packets.load(Ordering::Relaxed);
    until("more packets", || got.packets.load(Ordering::Relaxed) > before + 50).await;
    link.close().await;
    model.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_is_sent_again() {
    let class = Class::start(10);
    let lossy = PathConfig { loss: 0.1, ..PathConfig::default() };
    let way = Emulator::start(class.sfu.udp(), lossy, PathConfig::default(), 1).unwrap();
    let (link, got) = class.join_by(1, Some(&way)).await.unwrap();
    until("a thousand packets", || got.packets.load(Ordering::Relaxed) > 1000).await;
    // The last ones may still be on their second way.
    let whole = || {
        let sequence = got.sequence.lock().unwrap();
        let first = sequence[0].0;
        let mut offsets: Vec<u16> = sequence.iter().map(|packet| packet.0.wrapping_sub(first)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        (0..900).all(|n| offsets.binary_search(&n).is_ok())
    };
    until("each of the first 900 packets", whole).await;
    // A tenth of them, give or take what luck has.
    assert!(link.stats().nacks >= 50 && way.counts().down.lost >= 50, "{:?} {:?}", link.stats(), way.counts());
    let stats = class.sfu.stats().await.unwrap();
    assert!(stats.peers[0].1.resent >= 50, "{stats:?}");
    link.close().await;
    class.end().await;
}
