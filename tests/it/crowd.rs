//! A crowd of bench students on loopback: that it counts what an SFU sends, opens it, and asks again.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant, SystemTime};

use classroom::bench::crowd::{Clock, Crowd, CrowdEvent, Tally};
use classroom::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use classroom::rtp::{Codec, Encoding, FrameAssembler, Track};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent};

use crate::support::DEADLINE;

/// An SFU with one track, and students that watch it. Sound needs no key frame, and is not asked for again.
struct Class {
    sfu: Sfu,
    crowd: Crowd,
    /// Where all students get what they get, if not from the SFU itself.
    way: Option<Emulator>,
    students: u64,
    encoding: Encoding,
    assembler: FrameAssembler,
    packets: u16,
}

impl Class {
    /// All join; `emulated` is for one alone, over a network that may become bad.
    async fn join(students: usize, threads: usize, encoding: Encoding, emulated: bool) -> Self {
        let (sfu, mut events) = Sfu::start(SfuConfig {
            user: "9999".parse().unwrap(),
            udp: "127.0.0.1:0".parse().unwrap(),
            advertise: vec![],
            stun: vec![],
            max_students: students,
            encodings: vec![(encoding, 1_000_000)],
            workers: NonZeroUsize::MIN,
            adapts: true,
        })
        .unwrap();
        let good = PathConfig::default();
        let way = emulated.then(|| Emulator::start(sfu.udp(), good.clone(), good, 1).unwrap());
        let (crowd, said) = Crowd::start(students, threads, Clock { epoch: SystemTime::now() }).unwrap();
        let mut connected = 0;
        while connected < students {
            match said.recv_timeout(DEADLINE).expect("something happens in the crowd") {
                CrowdEvent::Offer { student, sdp } => {
                    // The SFU would find a direct way where it has a candidate.
                    let sdp = if way.is_some() { without_candidates(&sdp) } else { sdp };
                    sfu.offer(student.to_string().parse().unwrap(), sdp, None);
                    let answer = loop {
                        let event = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap();
                        if let Some(SfuEvent::Answer { user, sdp }) = event {
                            assert_eq!(user.as_str(), student.to_string());
                            break sdp;
                        }
                    };
                    let way = way.as_ref().map(|way| through(&answer, way.address()));
                    crowd.answer(student, way.unwrap_or(answer));
                }
                CrowdEvent::Connected { .. } => connected += 1,
                gone @ CrowdEvent::Gone { .. } => panic!("{gone:?}"),
            }
        }
        let assembler = FrameAssembler::new(encoding);
        let mut class = Self { sfu, crowd, way, students: students as u64, encoding, assembler, packets: 0 };
        class.wait_until_live().await;
        class
    }

    /// Media begins a moment after the connections stand.
    async fn wait_until_live(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let before = self.crowd.tally().received;
            self.teach(1);
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.crowd.tally().received == before + self.students {
                return;
            }
            assert!(Instant::now() < deadline, "media never began");
        }
    }

    /// Sends as many packets to everybody, each a frame.
    fn teach(&mut self, packets: u16) {
        for _ in 0..packets {
            let mut packet = vec![0x80, if self.encoding.track.is_video() { 0x80 | 96 } else { 111 }];
            packet.extend_from_slice(&self.packets.to_be_bytes());
            packet.extend_from_slice(&(u32::from(self.packets) * 960).to_be_bytes());
            // As VP8 it is a key frame.
            packet.extend_from_slice(&[0, 0, 0, 1, 0x10, 0]);
            packet.resize(1000, 7);
            self.packets += 1;
            self.sfu.input().push(self.assembler.push(&packet, Instant::now()).unwrap());
        }
    }

    /// What was seen since then, once it is as many packets as expected.
    async fn seen(&self, before: &Tally, packets: u64) -> Tally {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = self.crowd.tally().since(before);
            if seen.received >= packets {
                return seen;
            }
            assert!(Instant::now() < deadline, "{packets} packets were to come: {seen:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.crowd.leave();
        self.sfu.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_packet_is_counted_once_and_opened() {
    let mut class = Class::join(5, 2, Encoding::full(Track::Audio, Codec::Opus), false).await;
    let before = class.crowd.tally();
    for _ in 0..20 {
        class.teach(10);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seen = class.seen(&before, 1000).await;
    assert_eq!((seen.received, seen.handed, seen.opened), (1000, 1000, 1000), "{seen:?}");
    assert_eq!((seen.again, seen.strange, seen.unreadable), (0, 0, 0), "{seen:?}");
    class.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_is_asked_for_again_and_opened() {
    let mut class = Class::join(1, 1, Encoding::full(Track::Screen, Codec::Vp8), true).await;
    let network = |class: &Class, loss| {
        let down = PathConfig { loss, ..PathConfig::default() };
        class.way.as_ref().unwrap().set(down, PathConfig::default());
    };
    network(&class, 0.1);
    let before = class.crowd.tally();
    for _ in 0..30 {
        class.teach(10);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The last ones may be lost, and nobody misses them before another one comes.
    network(&class, 0.0);
    class.teach(1);
    let seen = class.seen(&before, 301).await;
    assert!(seen.nacked >= 10 && seen.opened - seen.again == seen.received, "{seen:?}");
    assert!(seen.strange == 0 && seen.feedbacks > 0, "{seen:?}");
    class.end().await;
}
