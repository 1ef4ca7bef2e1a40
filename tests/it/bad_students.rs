//! Misbehaving students in a class of ten on loopback: real ICE, DTLS and SRTP, synthetic frames. The other students
//! get every packet, and the teacher sends hardly more.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use classroom::rtp::{Codec, Encoding, FrameAssembler, HEADER_BYTES, Tier, Track, payload_offset};
use classroom::sfu::{Departure, Sfu, SfuConfig, SfuEvent, SfuStats, UdpBinding};
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, timeout};

use crate::attack::bad_student::{Bad, Misbehaviour};
use crate::attack::forger::Forgery;
use crate::support::DEADLINE;

const SCREEN: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };

/// Students of a class.
const STUDENTS: usize = 10;

/// Students with a complete receiver, whose packets are compared. The other well-behaved ones only receive, which costs
/// this machine far less: on an overloaded machine the SFU would rightly send less.
const COMPLETE: usize = 2;

/// One class at a time, for the same reason.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Packets of a delta frame and of a key frame.
const DELTA_FRAME: usize = 5;
const KEY_FRAME: usize = 50;

/// Frames until a newcomer has received the frames in the ring.
const SETTLING_FRAMES: usize = 15;

/// The time without a packet, in frames, after which nothing is left to be sent.
const CALM_FRAMES: usize = 10;

/// Frames before and during the misbehaviour over which bytes are compared.
const FRAMES: (usize, usize) = (30, 120);

/// The same for a flood of PLI. After 2 s the key frame in the ring is too old to be sent again, so that each granted
/// request costs a new one; 11 s are the worst window, as the wait between key frames doubles up to 16 s.
const FRAMES_WITH_PLI_FLOOD: (usize, usize) = (63, 330);

/// The most bytes per frame that the teacher may send because of misbehaving students, relative to before.
const MAX_GROWTH: f64 = 1.10;

/// When a student that requests key frames all the time gets one, as `congestion` grants them. The second follows where
/// the request was repeated before the first had arrived.
const GRANTED_KEY_FRAMES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(4), Duration::from_secs(12)];

/// The part of a packet that is the same for all students: marker, timestamp and payload.
type Content = (bool, u32, Vec<u8>);

/// The packets that a student received, in the order of arrival: sequence number and content.
type Received = Arc<Mutex<Vec<(u16, Content)>>>;

fn content(packet: &[u8]) -> Content {
    let timestamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
    (packet[1] & 0x80 != 0, timestamp, packet[payload_offset(packet).unwrap()..].to_vec())
}

/// A lecture to ten students, some of them bad.
struct Class {
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
    good: Vec<(Viewer, Received)>,
    bad: Vec<Bad>,
    assembler: FrameAssembler,
    frames: u32,
    wants_key: bool,
    /// The students that the SFU has removed, and why.
    gone: Vec<(String, Departure)>,
    /// What the teacher was told.
    notices: Vec<String>,
    /// All packets of the source.
    pushed: Vec<Content>,
    clock: Interval,
}

impl Class {
    /// Ten students, of whom one for each of `misbehaviours` is bad.
    async fn join(misbehaviours: &[Misbehaviour]) -> Self {
        let (sfu, events) = Sfu::start(SfuConfig {
            user: "9999".parse().unwrap(),
            udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
            advertise: vec![],
            stun: vec![],
            max_students: STUDENTS,
            workers: NonZeroUsize::MIN,
            adapts: true,
            encodings: vec![(SCREEN, 1_000_000)],
        })
        .unwrap();
        let mut clock = tokio::time::interval(Duration::from_millis(33));
        // On a loaded machine the source is late, and never sends a burst.
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let assembler = FrameAssembler::new(SCREEN);
        let (good, bad, pushed) = (Vec::new(), Vec::new(), Vec::new());
        let mut class = Self {
            sfu,
            events,
            good,
            bad,
            assembler,
            frames: 0,
            wants_key: true,
            gone: Vec::new(),
            notices: Vec::new(),
            pushed,
            clock,
        };
        for n in 0..COMPLETE {
            class.join_good(n).await;
        }
        let others = std::iter::repeat_n(&Misbehaviour::Silent, STUDENTS - COMPLETE - misbehaviours.len());
        for (n, misbehaviour) in misbehaviours.iter().chain(others).enumerate() {
            let (bad, offer) = Bad::offer(*misbehaviour);
            bad.answer(class.exchange(100 + n, offer).await);
            class.bad.push(bad);
        }
        let deadline = Instant::now() + DEADLINE;
        while !class.bad.iter().all(Bad::is_connected)
            || class.good.iter().any(|(_, received)| received.lock().unwrap().is_empty())
        {
            assert!(Instant::now() < deadline, "a student never received anything");
            class.teach(1).await;
        }
        class.teach(SETTLING_FRAMES).await;
        class
    }

    async fn exchange(&mut self, n: usize, offer: String) -> String {
        self.sfu.offer(n.to_string().parse().unwrap(), offer, None, None);
        loop {
            match timeout(DEADLINE, self.events.recv()).await.unwrap().unwrap() {
                SfuEvent::Answer { sdp, .. } => return sdp,
                refused @ SfuEvent::Refused { .. } => panic!("{refused:?}"),
                _ => {}
            }
        }
    }

    async fn join_good(&mut self, n: usize) {
        let received = Received::default();
        let of_sink = Arc::clone(&received);
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(_, packet) = incoming {
                of_sink.lock().unwrap().push((u16::from_be_bytes([packet[2], packet[3]]), content(packet)));
            }
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, offer, mut events) = Viewer::offer(config, sink).await.unwrap();
        let answer = self.exchange(n, offer).await;
        viewer.answer(answer).await.unwrap();
        loop {
            match timeout(DEADLINE, events.recv()).await.unwrap().unwrap() {
                ViewerEvent::Candidate(candidate) => self.sfu.candidate(n.to_string().parse().unwrap(), candidate),
                ViewerEvent::Connected => break,
                _ => {}
            }
        }
        self.good.push((viewer, received));
    }

    /// Pushes this many frames to the SFU, 30 a second; a key frame where one was requested.
    async fn teach(&mut self, frames: usize) {
        for _ in 0..frames {
            self.clock.tick().await;
            while let Ok(event) = self.events.try_recv() {
                match event {
                    SfuEvent::KeyFrameNeeded(_) => self.wants_key = true,
                    SfuEvent::Gone { user, why } => self.gone.push((user.to_string(), why)),
                    SfuEvent::Notice(notice) => self.notices.push(notice),
                    _ => {}
                }
            }
            let key = std::mem::take(&mut self.wants_key);
            let packets = if key { KEY_FRAME } else { DELTA_FRAME };
            self.frames += 1;
            for n in 0..packets {
                let mut packet = vec![0x80, 96 | if n + 1 == packets { 0x80 } else { 0 }];
                packet.extend_from_slice(&(self.pushed.len() as u16).to_be_bytes());
                packet.extend_from_slice(&(self.frames * 3000).to_be_bytes());
                packet.extend_from_slice(&[0, 0, 0, 1, if n == 0 { 0x10 } else { 0 }, u8::from(!key)]);
                packet.extend_from_slice(&self.frames.to_be_bytes());
                packet.resize(1000 + HEADER_BYTES, n as u8);
                self.pushed.push(content(&packet));
                if let Some(frame) = self.assembler.push(&packet, Instant::now()) {
                    self.sfu.input().push(frame);
                }
            }
        }
    }

    async fn stats(&self) -> SfuStats {
        self.sfu.stats().await.unwrap()
    }

    /// The statistics as soon as the SFU has sent all frames: on a loaded machine it lags behind the source.
    async fn stats_when_all_is_sent(&mut self) -> SfuStats {
        let deadline = Instant::now() + DEADLINE;
        let mut earlier = self.stats().await;
        let mut calm = 0;
        loop {
            self.clock.tick().await;
            let stats = self.stats().await;
            let is_calm = stats.frames[&SCREEN] == u64::from(self.frames) && stats.bytes == earlier.bytes;
            calm = if is_calm { calm + 1 } else { 0 };
            // What is paced leaves within this time.
            if calm == CALM_FRAMES {
                return stats;
            }
            assert!(Instant::now() < deadline, "{} frames were pushed: {stats:?}", self.frames);
            earlier = stats;
        }
    }

    /// Waits until each complete receiver has all packets from `first` up to now, and checks that each came once, in
    /// order and unchanged. Packets that the receiver itself has reported as lost may come late or twice.
    async fn good_students_have_all_from(&mut self, first: usize) {
        let last = self.pushed.len();
        let deadline = Instant::now() + DEADLINE;
        for n in 0..self.good.len() {
            loop {
                let (nacks, received) = (self.good[n].0.stats().nacks, self.good[n].1.lock().unwrap().clone());
                let began = received.iter().position(|(_, content)| *content == self.pushed[first]);
                let arrived = began.map_or(&[][..], |began| &received[began..]);
                let number = |at: &(u16, Content)| usize::from(at.0.wrapping_sub(arrived[0].0));
                let by_number: BTreeMap<usize, &Content> = arrived.iter().map(|a| (number(a), &a.1)).collect();
                if (0..last - first).all(|n| by_number.contains_key(&n)) {
                    for (at, pushed) in self.pushed[first..last].iter().enumerate() {
                        let name = |content: &Content| (content.1 / 3000, content.2[6], content.2.len());
                        let (is, was) = (name(by_number[&at]), name(pushed));
                        if by_number[&at] != pushed {
                            let stats = self.stats().await;
                            panic!("student {n}: packet {at} is {is:?}, the source gave {was:?}; {stats:?}");
                        }
                    }
                    let twice = arrived.len() - by_number.len();
                    let late = arrived.windows(2).filter(|pair| number(&pair[1]) < number(&pair[0])).count();
                    assert!(
                        (twice + late) as u64 <= nacks,
                        "{twice} packets came twice and {late} late, {nacks} were reported lost"
                    );
                    break;
                }
                if Instant::now() >= deadline {
                    let (came, stats) = (arrived.len(), self.stats().await);
                    let (gone, notices) = (&self.gone, &self.notices);
                    panic!("student {n} has {came} of {}: {stats:?} {gone:?} {notices:?}", last - first);
                }
                // A receiver notices the loss of the last packet by the next packet.
                self.teach(1).await;
            }
        }
    }

    async fn end(self) {
        for (viewer, _) in self.good {
            viewer.close().await;
        }
        self.bad.into_iter().for_each(Bad::end);
        self.sfu.close().await;
    }
}

/// What bad students cost a class.
struct Outcome {
    /// Of the SFU, at the end.
    stats: SfuStats,
    /// Bytes per frame sent during the misbehaviour, relative to before.
    growth: f64,
    /// Key frames that the encoder was asked for during the misbehaviour.
    keys: u64,
    /// The most that the schedule grants.
    max_keys: u64,
    /// Retransmissions and key frames that the bad students requested.
    asked: u64,
}

async fn class_with(misbehaviours: &[Misbehaviour]) -> Outcome {
    let _turn = TURN.lock().await;
    let (good_frames, bad_frames) =
        if misbehaviours.contains(&Misbehaviour::FloodsPli) { FRAMES_WITH_PLI_FLOOD } else { FRAMES };
    let mut class = Class::join(misbehaviours).await;
    let first = class.pushed.len();
    let before = class.stats_when_all_is_sent().await;
    class.teach(good_frames).await;
    let good = class.stats_when_all_is_sent().await;
    let begun = Instant::now();
    class.bad.iter().for_each(Bad::misbehave);
    class.teach(bad_frames).await;
    let stats = class.stats().await;
    let lasted = begun.elapsed();
    class.good_students_have_all_from(first).await;
    let asked = class.bad.iter().map(Bad::asked).sum();
    class.end().await;
    for (user, peer) in &stats.peers {
        let is_bad = (100..100 + misbehaviours.len()).any(|bad| user.as_str() == bad.to_string());
        assert!(is_bad || (peer.changes, peer.dropped) == (0, 0), "{user}: {peer:?}");
    }
    assert_eq!((stats.students, stats.refused), (STUDENTS, 0));
    let per_frame = |from: u64, to: u64, frames: usize| (to - from) as f64 / frames as f64;
    let growth = per_frame(good.bytes, stats.bytes, bad_frames) / per_frame(before.bytes, good.bytes, good_frames);
    let keys_by = |stats: &SfuStats| stats.key_requests[&SCREEN];
    assert_eq!(keys_by(&before), keys_by(&good), "no key frame was needed before");
    let keys = keys_by(&stats) - keys_by(&good);
    println!("{misbehaviours:?}: {growth:.3} of the bytes, {keys} key frames, {asked} requests");
    Outcome {
        stats,
        growth,
        keys,
        max_keys: GRANTED_KEY_FRAMES.iter().filter(|at| **at <= lasted).count() as u64,
        asked,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_without_feedback_costs_the_class_nothing() {
    let Outcome { growth, keys, .. } = class_with(&[Misbehaviour::Silent]).await;
    assert_eq!(keys, 0);
    assert!(growth <= MAX_GROWTH, "{growth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_student_that_nacks_every_packet_gets_a_share_and_costs_the_class_nothing() {
    let Outcome { stats, growth, keys, asked, .. } = class_with(&[Misbehaviour::NacksAll]).await;
    assert_eq!(keys, 0);
    assert!(growth <= MAX_GROWTH, "{growth}");
    let (_, bad) = stats.peers.iter().find(|(user, _)| user.as_str() == "100").unwrap();
    assert!(asked >= (FRAMES.1 * DELTA_FRAME) as u64 / 2 && bad.resent > 100, "{asked} {bad:?}");
    assert!(bad.resent <= bad.nacked / 2, "{bad:?}");
}

/// A flood of PLI costs the most of the three, so the bound holds for it alone as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pli_gets_few_key_frames_and_three_bad_students_cost_the_class_nothing() {
    let Outcome { growth, keys, max_keys, asked, .. } =
        class_with(&[Misbehaviour::Silent, Misbehaviour::NacksAll, Misbehaviour::FloodsPli]).await;
    assert!((1..=max_keys).contains(&keys), "{keys} key frames, {max_keys} are granted at most");
    // At least half of the packets by NACK, and 300 by PLI, of which one is sent every 20 ms on an idle machine.
    assert!(asked >= (FRAMES_WITH_PLI_FLOOD.1 * DELTA_FRAME) as u64 / 2 + 300, "{asked}");
    assert!(growth <= MAX_GROWTH, "{growth}");
}

/// One student forges SCTP packets: the SFU removes it, and the others lose nothing.
async fn class_with_a_forger(forgery: Forgery) {
    let _turn = TURN.lock().await;
    let mut class = Class::join(&[Misbehaviour::Forges(forgery)]).await;
    let first = class.pushed.len();
    class.teach(FRAMES.0).await;
    class.bad.iter().for_each(Bad::misbehave);
    let deadline = Instant::now() + DEADLINE;
    while class.gone.is_empty() {
        assert!(Instant::now() < deadline, "the forger is still there after {} packets", class.bad[0].asked());
        class.teach(1).await;
    }
    class.teach(FRAMES.0).await;
    class.good_students_have_all_from(first).await;
    let stats = class.stats().await;
    assert_eq!(class.gone, [("100".to_owned(), Departure::Misbehaved)]);
    assert!(class.notices.iter().any(|notice| notice.starts_with("100 was disconnected: ")), "{:?}", class.notices);
    assert_eq!((stats.students, stats.refused), (STUDENTS - 1, 0));
    for (user, peer) in &stats.peers {
        assert_eq!((peer.changes, peer.dropped, peer.refused), (0, 0, 0), "{user}: {peer:?}");
    }
    class.end().await;
}

/// The core counts up to the new TSN one by one: this packet used to keep the SFU's thread busy for five seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_student_that_sends_a_forward_tsn_far_ahead_is_removed() {
    class_with_a_forger(Forgery::ForwardTsn).await;
}

/// This packet makes the core panic.
#[tokio::test(flavor = "multi_thread")]
async fn a_student_that_sends_an_abort_with_a_cause_too_long_is_removed() {
    class_with_a_forger(Forgery::Abort).await;
}
