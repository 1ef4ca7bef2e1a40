//! The SFU and its viewers on loopback: real ICE, DTLS and SRTP, synthetic frames.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use classroom::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use classroom::id::UserId;
use classroom::rtp::{Codec, Encoding, Frame, FrameAssembler, Track, payload_offset};
use classroom::sfu::{OfferRefusal, Sfu, SfuConfig, SfuEvent, UdpBinding};
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{DEADLINE, until};

/// The size of a key frame; other frames have 5 packets.
const KEY_FRAME_PACKETS: usize = 40;

pub(crate) fn user(n: usize) -> UserId {
    n.to_string().parse().unwrap()
}

/// A source of VP8 frames.
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

/// What a student received.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) packets: AtomicU64,
    /// RTCP compounds.
    reports: AtomicU64,
    /// Sequence number, timestamp and frame number of each packet.
    pub(crate) sequence: Mutex<Vec<(u16, u32, u32)>>,
}

/// An SFU, a task that reads its events, and a task that pushes frames.
pub(crate) struct Class {
    pub(crate) sfu: Arc<Sfu>,
    pub(crate) events: Arc<Events>,
    teaching: tokio::task::JoinHandle<()>,
}

/// What the events of the SFU have told so far.
#[derive(Default)]
pub(crate) struct Events {
    /// Where the answer for a student goes.
    pub(crate) answers: Mutex<HashMap<UserId, mpsc::UnboundedSender<String>>>,
    pub(crate) refused: Mutex<Vec<(UserId, OfferRefusal)>>,
    pub(crate) gone: Mutex<Vec<UserId>>,
    /// Whether the next frame is to be a key frame.
    wants_key_frame: AtomicBool,
    /// Whether the encoder makes no key frame for now.
    holds_key_frames: AtomicBool,
    key_frames: AtomicU64,
    key_frame_requests: AtomicU64,
}

impl Events {
    fn note(&self, event: SfuEvent) {
        match event {
            SfuEvent::Answer { user, sdp } => {
                if let Some(answer) = self.answers.lock().unwrap().get(&user) {
                    let _ = answer.send(sdp);
                }
            }
            SfuEvent::Refused { user, why } => {
                self.answers.lock().unwrap().remove(&user);
                self.refused.lock().unwrap().push((user, why));
            }
            SfuEvent::Gone { user, .. } => self.gone.lock().unwrap().push(user),
            SfuEvent::KeyFrameNeeded(_) => {
                self.key_frame_requests.fetch_add(1, Ordering::Relaxed);
                self.wants_key_frame.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl Class {
    /// An SFU with a source of 30 frames a second.
    pub(crate) fn start(max_students: usize) -> Self {
        Self::with_workers(max_students, 1)
    }

    fn with_workers(max_students: usize, workers: usize) -> Self {
        let (sfu, mut events) = Sfu::start(SfuConfig {
            user: user(9999),
            udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
            advertise: vec![],
            stun: vec![],
            max_students,
            workers: workers.try_into().unwrap(),
            adapts: true,
            encodings: vec![(Encoding::full(Track::Screen, Codec::Vp8), 1_000_000)],
        })
        .unwrap();
        let noted = Arc::new(Events { wants_key_frame: AtomicBool::new(true), ..Events::default() });
        let (of_events, of_source) = (Arc::clone(&noted), Arc::clone(&noted));
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                of_events.note(event);
            }
        });
        let input = sfu.input();
        let teaching = tokio::spawn(async move {
            let mut source = Source::new();
            let mut pace = tokio::time::interval(Duration::from_millis(33));
            loop {
                pace.tick().await;
                let key = !of_source.holds_key_frames.load(Ordering::Relaxed)
                    && of_source.wants_key_frame.swap(false, Ordering::Relaxed);
                of_source.key_frames.fetch_add(key.into(), Ordering::Relaxed);
                input.push(source.frame(key, if key { KEY_FRAME_PACKETS } else { 5 }));
            }
        });
        Self { sfu: Arc::new(sfu), events: noted, teaching }
    }

    pub(crate) async fn join(&self, n: usize) -> Result<(Viewer, Arc<Received>), String> {
        self.join_by(n, None).await
    }

    /// Joins through an emulated network. The SFU gets no candidates then, as they would give a direct path.
    async fn join_by(&self, n: usize, network: Option<&Emulator>) -> Result<(Viewer, Arc<Received>), String> {
        let received = Arc::new(Received::default());
        let of_sink = received.clone();
        let sink = Arc::new(move |incoming: Incoming<'_>| match incoming {
            Incoming::Rtp(_, bytes) => {
                of_sink.packets.fetch_add(1, Ordering::Relaxed);
                let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
                let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
                let payload = payload_offset(bytes).unwrap();
                of_sink.sequence.lock().unwrap().push((sequence, number(4), number(payload + 2)));
            }
            Incoming::Rtcp(..) => {
                of_sink.reports.fetch_add(1, Ordering::Relaxed);
            }
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, offer, mut events) = Viewer::offer(config, sink).await.map_err(|e| e.to_string())?;
        let (answers, mut answer) = mpsc::unbounded_channel();
        self.events.answers.lock().unwrap().insert(user(n), answers);
        let offer = if network.is_some() { without_candidates(&offer) } else { offer };
        self.sfu.offer(user(n), offer, None, None);
        let Some(sdp) = timeout(DEADLINE, answer.recv()).await.map_err(|_| "no answer")? else {
            viewer.close().await;
            return Err("refused".to_owned());
        };
        let answered = sdp.clone();
        let sdp = match network {
            Some(emulator) => through(&sdp, emulator.address()),
            None => sdp,
        };
        let tracks = viewer.answer(sdp).await.map_err(|e| e.to_string())?;
        assert_eq!(tracks.len(), 1, "{answered}");
        let connected = async {
            loop {
                match events.recv().await {
                    Some(ViewerEvent::Connected) => return Ok(()),
                    Some(ViewerEvent::Candidate(candidate)) if network.is_none() => {
                        self.sfu.candidate(user(n), candidate);
                    }
                    Some(ViewerEvent::Candidate(_)) => {}
                    Some(ViewerEvent::Gone) | None => return Err("gone".to_owned()),
                    Some(_) => {}
                }
            }
        };
        timeout(DEADLINE, connected).await.map_err(|_| "never connected")??;
        Ok((viewer, received))
    }

    pub(crate) async fn end(self) {
        self.teaching.abort();
        let _ = self.teaching.await;
        if let Ok(sfu) = Arc::try_unwrap(self.sfu) {
            sfu.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_gets_every_packet_in_order_from_a_key_frame() {
    let class = Class::start(10);
    let (viewer, received) = class.join(1001).await.unwrap();
    until("a hundred packets", || received.packets.load(Ordering::Relaxed) > 100).await;
    until("a sender report", || received.reports.load(Ordering::Relaxed) > 0).await;
    let sequence = received.sequence.lock().unwrap().clone();
    assert!(sequence.windows(2).all(|w| w[1].0 == w[0].0.wrapping_add(1)), "a gap");
    assert!(sequence.windows(2).all(|w| w[1].1.wrapping_sub(w[0].1) < 1 << 31), "time went back");
    let first = sequence.iter().filter(|(_, timestamp, _)| *timestamp == sequence[0].1).count();
    assert_eq!(first, KEY_FRAME_PACKETS, "the first frame is a whole key frame");
    viewer.close().await;
    until("the student is gone", || class.events.gone.lock().unwrap().contains(&user(1001))).await;
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
    // The age of the key frame is what is tested, so this sleeps: nobody may start from a key frame of that age.
    tokio::time::sleep(classroom::rtp::REPLAY_AGE).await;
    assert!(!class.events.wants_key_frame.load(Ordering::Relaxed), "the source has sent its key frame");
    // A busy machine takes longer for the thirty handshakes than an encoder for a key frame.
    class.events.holds_key_frames.store(true, Ordering::Relaxed);
    let before = class.events.key_frames.load(Ordering::Relaxed);
    let joins = futures_util::future::join_all((0..30).map(|n| class.join(n))).await;
    let students: Vec<_> = joins.into_iter().map(Result::unwrap).collect();
    until("a request", || class.events.key_frame_requests.load(Ordering::Relaxed) > 0).await;
    class.events.holds_key_frames.store(false, Ordering::Relaxed);
    for (_, received) in &students {
        until("packets", || received.packets.load(Ordering::Relaxed) > 60).await;
    }
    // A request may be repeated at the moment at which the key frame is made.
    let made = class.events.key_frames.load(Ordering::Relaxed) - before;
    assert!((1..=2).contains(&made), "{made} key frames");
    let stats = class.sfu.stats().await.unwrap();
    assert_eq!((stats.students, stats.dropped, stats.refused), (30, 0, 0));
    // Each student receives every packet once, from whichever thread; retransmissions come late.
    for (_, received) in &students {
        let all = || {
            let mut numbers: Vec<u16> = received.sequence.lock().unwrap().iter().map(|(number, ..)| *number).collect();
            numbers.sort_unstable();
            numbers.windows(2).all(|w| w[1] == w[0].wrapping_add(1))
        };
        until("every packet once", all).await;
    }
    for (viewer, _) in students {
        viewer.close().await;
    }
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_room_refuses_and_serves_the_others() {
    let class = Class::start(1);
    let (viewer, received) = class.join(1).await.unwrap();
    assert!(class.join(2).await.is_err());
    assert!(matches!(class.events.refused.lock().unwrap()[0], (_, OfferRefusal::Full(1))));
    let before = received.packets.load(Ordering::Relaxed);
    until("more packets", || received.packets.load(Ordering::Relaxed) > before + 20).await;
    viewer.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_that_signalling_and_ice_have_lost_does_not_stay_for_as_long_as_consent() {
    let class = Class::start(10);
    let good = PathConfig::default();
    let [vanishes, sleeps] =
        [1, 2].map(|seed| Emulator::start(class.sfu.udp(), good.clone(), good.clone(), seed).unwrap());
    let (vanished, _) = class.join_by(1, Some(&vanishes)).await.unwrap();
    let (asleep, _) = class.join_by(2, Some(&sleeps)).await.unwrap();
    let (watching, received) = class.join(3).await.unwrap();
    // Two students are cut off at the same time. Signalling has lost one of them, and one that still watches.
    for path in [&vanishes, &sleeps] {
        let dead = PathConfig { loss: 1.0, ..PathConfig::default() };
        path.set(dead.clone(), dead);
    }
    class.sfu.signalling_lost(user(1));
    class.sfu.signalling_lost(user(3));
    until("a departure", || !class.events.gone.lock().unwrap().is_empty()).await;
    assert_eq!(*class.events.gone.lock().unwrap(), [user(1)], "the other one may come back");
    until("the end of consent", || class.events.gone.lock().unwrap().len() == 2).await;
    assert_eq!(class.events.gone.lock().unwrap()[1], user(2));
    let before = received.packets.load(Ordering::Relaxed);
    until("more packets", || received.packets.load(Ordering::Relaxed) > before + 20).await;
    for viewer in [vanished, asleep, watching] {
        viewer.close().await;
    }
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_harms_nobody() {
    let class = Class::start(10);
    let (viewer, received) = class.join(1).await.unwrap();
    class.sfu.offer(user(2), "v=0".to_owned(), None, None);
    class.sfu.offer(user(3), "\u{0}\u{1}".repeat(1000), None, None);
    until("two refusals", || class.events.refused.lock().unwrap().len() == 2).await;
    let attacker = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..2000u32 {
        let bytes: Vec<u8> =
            (0..(n % 200)).map(|i| (n.wrapping_mul(2_654_435_761).wrapping_add(i * 7) >> 8) as u8).collect();
        attacker.send_to(&bytes, class.sfu.udp()).unwrap();
    }
    let before = received.packets.load(Ordering::Relaxed);
    until("more packets", || received.packets.load(Ordering::Relaxed) > before + 50).await;
    viewer.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_offer_replaces_the_first() {
    let class = Class::start(10);
    let (first, of_first) = class.join(1).await.unwrap();
    until("packets for the first connection", || of_first.packets.load(Ordering::Relaxed) > 50).await;
    // The SFU refuses a second offer that comes too soon; a student tries again, as the page does.
    let tried_since = Instant::now();
    let (second, of_second) = loop {
        match class.join(1).await {
            Ok(joined) => break joined,
            Err(error) => assert!(error == "refused" && tried_since.elapsed() < DEADLINE, "{error}"),
        }
    };
    // A frame may still be on its way to the first connection; after that one, all packets go to the second.
    let most = of_first.packets.load(Ordering::Relaxed) + 40;
    until("packets for the second connection", || of_second.packets.load(Ordering::Relaxed) > 100).await;
    let of_first = of_first.packets.load(Ordering::Relaxed);
    assert!(of_first <= most, "the first connection still gets packets: {of_first}, at most {most}");
    assert_eq!(class.sfu.stats().await.unwrap().students, 1);
    first.close().await;
    second.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_were_tampered_with_harm_nobody() {
    let class = Class::start(2000);
    let (viewer, received) = class.join(1).await.unwrap();
    let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
    let (model, good, _events) = Viewer::offer(config, Arc::new(|_: Incoming<'_>| {})).await.unwrap();
    // A fixed seed: the same offers in every run.
    let mut random = StdRng::seed_from_u64(0x9e37_79b9_7f4a_7c15);
    let mut next = move || random.random::<u32>() as usize;
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
                    // Another step may have put U+FFFD there, which has three bytes.
                    let cut = (0..=cut).rev().find(|cut| bad[at].is_char_boundary(*cut)).unwrap_or(0);
                    bad[at].truncate(cut);
                }
                3 => bad[at].push_str(&"9".repeat(next() % 40)),
                _ => bad[at] = bad[at].replace(['1', '9', ':'], ["", "-1", "4294967296", "\u{fffd}"][next() % 4]),
            }
        }
        class.sfu.offer(user(100 + n), bad.join("\r\n") + "\r\n", None, None);
        // As fast as the SFU takes them: its queue is bounded.
        if n % 50 == 0 {
            assert!(class.sfu.stats().await.is_some(), "the SFU ended at offer {n}");
        }
    }
    assert!(class.sfu.stats().await.is_some(), "the SFU ended");
    let before = received.packets.load(Ordering::Relaxed);
    until("more packets", || received.packets.load(Ordering::Relaxed) > before + 50).await;
    viewer.close().await;
    model.close().await;
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_is_sent_again() {
    let class = Class::start(10);
    let lossy = PathConfig { loss: 0.1, ..PathConfig::default() };
    let network = Emulator::start(class.sfu.udp(), lossy, PathConfig::default(), 1).unwrap();
    let (viewer, received) = class.join_by(1, Some(&network)).await.unwrap();
    until("a thousand packets", || received.packets.load(Ordering::Relaxed) > 1000).await;
    // Retransmissions of the last packets may still be on their way.
    let whole = || {
        let sequence = received.sequence.lock().unwrap();
        let first = sequence[0].0;
        let mut offsets: Vec<u16> = sequence.iter().map(|packet| packet.0.wrapping_sub(first)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        (0..900).all(|n| offsets.binary_search(&n).is_ok())
    };
    until("all of the first 900 packets", whole).await;
    // 100 of 1,000 on average; 50 and fewer do not happen by chance.
    let (stats, counts) = (viewer.stats(), network.counts());
    assert!(stats.nacks >= 50 && counts.down.lost >= 50, "{stats:?} {counts:?}");
    let stats = class.sfu.stats().await.unwrap();
    assert!(stats.peers[0].1.resent >= 50, "{stats:?}");
    viewer.close().await;
    class.end().await;
}
