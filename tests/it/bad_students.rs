//! Bad students on loopback, in a class of ten: real ICE, DTLS and SRTP, synthetic frames. The others get every packet,
//! and the uplink hardly grows.

mod forger;
mod student;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use classroom::rtp::{Codec, Encoding, FrameAssembler, HEADER_BYTES, Tier, Track, payload_offset};
use classroom::sfu::{Departure, Sfu, SfuConfig, SfuEvent, SfuStats};
use classroom::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::time::{Interval, timeout};

use self::forger::Forgery;
use self::student::{Bad, Manner};
use crate::support::DEADLINE;

const SCREEN: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };

/// Students of a class.
const STUDENTS: usize = 10;

/// So many of them are whole students, at whose packets we look. The other good ones only take what comes, which costs
/// this machine far less: a student here that is kept waiting would rightly get less for that.
const WHOLE: usize = 2;

/// One class at a time, for the same reason.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Packets of a picture, and of a key frame: ten times as many.
const PICTURE: usize = 5;
const KEY_FRAME: usize = 50;

/// Frames until newcomers have got what came before them.
const SETTLING_FRAMES: usize = 15;

/// Frames that a class has while all are good, and while some are bad, where packets are counted.
const FRAMES: (usize, usize) = (30, 120);

/// The same where one begs for key frames: 2 s, after which the SFU has no key frame any more that it would give to it; and
/// 11 s, when it has cost the class most: it waits longer and longer, and the next key frame is a second away.
const FRAMES_WITH_A_BEGGAR: (usize, usize) = (63, 330);

/// So much more may leave the teacher because of bad students among ten.
const MOST_GROWTH: f64 = 1.10;

/// As in `congestion`: when a student gets key frames that begs all the time. The first may come a second time where it
/// was asked for again before it was there.
const KEYS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(4), Duration::from_secs(12)];

/// A packet without what each student has of its own: marker, timestamp and payload.
type Content = (bool, u32, Vec<u8>);

/// The packets that a student got, in the order of their arrival: sequence numbers and contents.
type Got = Arc<Mutex<Vec<(u16, Content)>>>;

fn content(packet: &[u8]) -> Content {
    let timestamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
    (packet[1] & 0x80 != 0, timestamp, packet[payload_offset(packet).unwrap()..].to_vec())
}

struct Class {
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
    good: Vec<(Viewer, Got)>,
    bad: Vec<Bad>,
    assembler: FrameAssembler,
    frames: u32,
    wants_key: bool,
    /// Who is gone, and why; and what the teacher is told.
    gone: Vec<(String, Departure)>,
    notices: Vec<String>,
    /// All packets of the source.
    pushed: Vec<Content>,
    clock: Interval,
}

impl Class {
    /// Ten students, those with `manners` bad.
    async fn join(manners: &[Manner]) -> Self {
        let (sfu, events) = Sfu::start(SfuConfig {
            user: "9999".parse().unwrap(),
            udp: "127.0.0.1:0".parse().unwrap(),
            advertise: vec![],
            stun: vec![],
            max_students: STUDENTS,
            workers: NonZeroUsize::MIN,
            adapts: true,
            encodings: vec![(SCREEN, 1_000_000)],
        })
        .unwrap();
        let clock = tokio::time::interval(Duration::from_millis(33));
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
        for n in 0..WHOLE {
            class.join_good(n).await;
        }
        let others = std::iter::repeat_n(&Manner::Silent, STUDENTS - WHOLE - manners.len());
        for (n, manner) in manners.iter().chain(others).enumerate() {
            let (bad, offer) = Bad::offer(*manner);
            bad.answer(class.exchange(100 + n, offer).await);
            class.bad.push(bad);
        }
        let deadline = Instant::now() + DEADLINE;
        while !class.bad.iter().all(Bad::is_connected)
            || class.good.iter().any(|(_, got)| got.lock().unwrap().is_empty())
        {
            assert!(Instant::now() < deadline, "somebody never began");
            class.teach(1).await;
        }
        class.teach(SETTLING_FRAMES).await;
        class
    }

    async fn exchange(&mut self, n: usize, offer: String) -> String {
        self.sfu.offer(n.to_string().parse().unwrap(), offer, None);
        loop {
            match timeout(DEADLINE, self.events.recv()).await.unwrap().unwrap() {
                SfuEvent::Answer { sdp, .. } => return sdp,
                refused @ SfuEvent::Refused { .. } => panic!("{refused:?}"),
                _ => {}
            }
        }
    }

    async fn join_good(&mut self, n: usize) {
        let got = Got::default();
        let g = Arc::clone(&got);
        let sink = Arc::new(move |incoming: Incoming<'_>| {
            if let Incoming::Rtp(_, packet) = incoming {
                g.lock().unwrap().push((u16::from_be_bytes([packet[2], packet[3]]), content(packet)));
            }
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: vec![] };
        let (link, offer, mut events) = Viewer::offer(config, sink).await.unwrap();
        let answer = self.exchange(n, offer).await;
        link.answer(answer).await.unwrap();
        loop {
            match timeout(DEADLINE, events.recv()).await.unwrap().unwrap() {
                ViewerEvent::Candidate(candidate) => self.sfu.candidate(n.to_string().parse().unwrap(), candidate),
                ViewerEvent::Connected => break,
                _ => {}
            }
        }
        self.good.push((link, got));
    }

    /// Gives so many frames to the SFU, 30 a second; a key frame where one was asked for.
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
            let packets = if key { KEY_FRAME } else { PICTURE };
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

    /// Waits until each good student has all packets from `first` on up to now, and looks at them: once, in order, and
    /// the same as the source gave. What was lost on the way, of which it says so itself, may come late or twice.
    async fn the_good_have_all_from(&mut self, first: usize) {
        let last = self.pushed.len();
        let deadline = Instant::now() + DEADLINE;
        for n in 0..self.good.len() {
            loop {
                let (nacks, got) = (self.good[n].0.stats().nacks, self.good[n].1.lock().unwrap().clone());
                let began = got.iter().position(|(_, content)| *content == self.pushed[first]);
                let arrived = began.map_or(&[][..], |began| &got[began..]);
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
                    assert!((twice + late) as u64 <= nacks, "{twice} came twice and {late} late, {nacks} were lost");
                    break;
                }
                if Instant::now() >= deadline {
                    let (came, stats) = (arrived.len(), self.stats().await);
                    let (gone, notices) = (&self.gone, &self.notices);
                    panic!("student {n} has {came} of {}: {stats:?} {gone:?} {notices:?}", last - first);
                }
                // Who lost the last packet notices it by the next one.
                self.teach(1).await;
            }
        }
    }

    async fn end(self) {
        for (link, _) in self.good {
            link.close().await;
        }
        self.bad.into_iter().for_each(Bad::end);
        self.sfu.close().await;
    }
}

/// What a class was like with bad students in it.
struct Outcome {
    /// Of the SFU, at the end.
    stats: SfuStats,
    /// Bytes per frame that left, compared with those while all were good.
    growth: f64,
    /// Key frames that were asked for because of them, and at the most.
    keys: u64,
    most_keys: u64,
    /// What they asked for.
    asked: u64,
}

async fn class_with(manners: &[Manner]) -> Outcome {
    let _alone = ALONE.lock().await;
    let (good_frames, bad_frames) = if manners.contains(&Manner::Begs) { FRAMES_WITH_A_BEGGAR } else { FRAMES };
    let mut class = Class::join(manners).await;
    let first = class.pushed.len();
    let before = class.stats().await;
    class.teach(good_frames).await;
    let good = class.stats().await;
    let begun = Instant::now();
    class.bad.iter().for_each(Bad::misbehave);
    class.teach(bad_frames).await;
    let stats = class.stats().await;
    let lasted = begun.elapsed();
    class.the_good_have_all_from(first).await;
    let asked = class.bad.iter().map(Bad::asked).sum();
    class.end().await;
    for (user, peer) in &stats.peers {
        let is_bad = (100..100 + manners.len()).any(|bad| user.as_str() == bad.to_string());
        assert!(is_bad || (peer.changes, peer.dropped) == (0, 0), "{user}: {peer:?}");
    }
    assert_eq!((stats.students, stats.refused), (STUDENTS, 0));
    let per_frame = |from: u64, to: u64, frames: usize| (to - from) as f64 / frames as f64;
    let growth = per_frame(good.bytes, stats.bytes, bad_frames) / per_frame(before.bytes, good.bytes, good_frames);
    let keys_by = |stats: &SfuStats| stats.key_requests[&SCREEN];
    assert_eq!(keys_by(&before), keys_by(&good), "nobody needed one");
    let keys = keys_by(&stats) - keys_by(&good);
    println!("{manners:?}: {growth:.3} of the bytes, {keys} key frames, {asked} wishes");
    Outcome { stats, growth, keys, most_keys: KEYS.iter().filter(|at| **at <= lasted).count() as u64, asked }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_sends_feedback_costs_nobody_anything() {
    let Outcome { growth, keys, .. } = class_with(&[Manner::Silent]).await;
    assert_eq!(keys, 0);
    assert!(growth <= MOST_GROWTH, "{growth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_every_packet_again_gets_some_and_costs_nobody_anything() {
    let Outcome { stats, growth, keys, asked, .. } = class_with(&[Manner::NacksAll]).await;
    assert_eq!(keys, 0);
    assert!(growth <= MOST_GROWTH, "{growth}");
    let (_, bad) = stats.peers.iter().find(|(user, _)| user.as_str() == "100").unwrap();
    assert!(asked >= (FRAMES.1 * PICTURE) as u64 / 2 && bad.resent > 100, "{asked} {bad:?}");
    assert!(bad.resent <= bad.nacked / 2, "{bad:?}");
}

/// One that begs costs the most of the three: what holds with the others beside it holds without them.
#[tokio::test(flavor = "multi_thread")]
async fn who_begs_for_key_frames_gets_few_and_three_bad_ones_at_once_cost_nobody_anything() {
    let Outcome { growth, keys, most_keys, asked, .. } =
        class_with(&[Manner::Silent, Manner::NacksAll, Manner::Begs]).await;
    assert!((1..=most_keys).contains(&keys), "{keys} key frames, {most_keys} at the most");
    // The least that the one asks for again, and the other: each 20 ms, if this machine is not too busy.
    assert!(asked >= (FRAMES_WITH_A_BEGGAR.1 * PICTURE) as u64 / 2 + 300, "{asked}");
    assert!(growth <= MOST_GROWTH, "{growth}");
}

/// One student forges, the others lose nothing, and the one is gone.
async fn class_with_a_forger(forgery: Forgery) {
    let _alone = ALONE.lock().await;
    let mut class = Class::join(&[Manner::Forges(forgery)]).await;
    let first = class.pushed.len();
    class.teach(FRAMES.0).await;
    class.bad.iter().for_each(Bad::misbehave);
    let deadline = Instant::now() + DEADLINE;
    while class.gone.is_empty() {
        assert!(Instant::now() < deadline, "the forger is still there after {} packets", class.bad[0].asked());
        class.teach(1).await;
    }
    class.teach(FRAMES.0).await;
    class.the_good_have_all_from(first).await;
    let stats = class.stats().await;
    assert_eq!(class.gone, [("100".to_owned(), Departure::Misbehaved)]);
    assert!(class.notices.iter().any(|notice| notice.starts_with("100 was disconnected: ")), "{:?}", class.notices);
    assert_eq!((stats.students, stats.refused), (STUDENTS - 1, 0));
    for (user, peer) in &stats.peers {
        assert_eq!((peer.changes, peer.dropped, peer.refused), (0, 0, 0), "{user}: {peer:?}");
    }
    class.end().await;
}

/// The core counts each TSN: one packet kept the SFU's thread for five seconds.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_forward_tsn_far_ahead_is_gone_and_costs_nobody_anything() {
    class_with_a_forger(Forgery::ForwardTsn).await;
}

/// The core panics.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_an_abort_whose_cause_is_too_long_is_gone_and_costs_nobody_anything() {
    class_with_a_forger(Forgery::Abort).await;
}
