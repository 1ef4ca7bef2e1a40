//! A crowd of bench students on loopback: it counts and opens the packets of an SFU, and sends NACKs for lost ones.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant, SystemTime};

use classroom::bench::crowd::{Clock, Crowd, CrowdEvent, Tally};
use classroom::bench::emulator::{Emulator, PathConfig, PathCounts, through, without_candidates};
use classroom::rtp::{Codec, Encoding, FrameAssembler, Track};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent, UdpBinding};

use crate::support::DEADLINE;

/// The polling interval for conditions without a notification.
const POLL: Duration = Duration::from_millis(5);

/// The packets that the emulated path loses.
const LOST: u64 = 20;

/// An SFU with one track, and students that watch it. Audio needs no key frame and gets no NACKs.
struct Bed {
    sfu: Sfu,
    crowd: Crowd,
    /// The path to the only student, if it is emulated.
    path: Option<Emulator>,
    encoding: Encoding,
    assembler: FrameAssembler,
    packets: u16,
    /// The counts before the packets of the test.
    before: Tally,
}

impl Bed {
    /// Lets all students join. With `emulated` there is one student, behind a network that the test can degrade.
    async fn join(students: usize, threads: usize, encoding: Encoding, emulated: bool) -> Self {
        let (sfu, mut events) = Sfu::start(SfuConfig {
            user: "9999".parse().unwrap(),
            udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
            advertise: vec![],
            stun: vec![],
            max_students: students,
            encodings: vec![(encoding, 1_000_000)],
            workers: NonZeroUsize::MIN,
            // Packets that a busy machine delays look like a narrow path; the students shall get all of them.
            adapts: false,
        })
        .unwrap();
        let good = PathConfig::default();
        let path = emulated.then(|| Emulator::start(sfu.udp(), good.clone(), good, 1).unwrap());
        let (crowd, events_of_crowd) = Crowd::start(students, threads, Clock { epoch: SystemTime::now() }).unwrap();
        let mut connected = 0;
        while connected < students {
            match events_of_crowd.recv_timeout(DEADLINE).expect("something happens in the crowd") {
                CrowdEvent::Offer { student, sdp } => {
                    // With a candidate the SFU would find a direct path.
                    let sdp = if path.is_some() { without_candidates(&sdp) } else { sdp };
                    sfu.offer(student.to_string().parse().unwrap(), sdp, None, None);
                    let answer = loop {
                        let event = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap();
                        if let Some(SfuEvent::Answer { user, sdp }) = event {
                            assert_eq!(user.as_str(), student.to_string());
                            break sdp;
                        }
                    };
                    let through_path = path.as_ref().map(|path| through(&answer, path.address()));
                    crowd.answer(student, through_path.unwrap_or(answer));
                }
                CrowdEvent::Connected { .. } => connected += 1,
                gone @ CrowdEvent::Gone { .. } => panic!("{gone:?}"),
            }
        }
        let assembler = FrameAssembler::new(encoding);
        let mut bed = Self { sfu, crowd, path, encoding, assembler, packets: 0, before: Tally::default() };
        bed.wait_until_live(students).await;
        bed
    }

    /// Media starts shortly after the students connect: sends packets until each student was sent one, and waits until
    /// all of them have arrived.
    async fn wait_until_live(&mut self, students: usize) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.teach(1);
            tokio::time::sleep(POLL).await;
            let stats = self.sfu.stats().await.unwrap();
            if stats.peers.iter().filter(|(_, peer)| peer.packets > 0).count() == students {
                break;
            }
            assert!(Instant::now() < deadline, "media never began");
        }
        // The packets of the last turn may still be on their way to the students and to the counts.
        loop {
            let stats = self.sfu.stats().await.unwrap();
            let sent: u64 = stats.peers.iter().map(|(_, peer)| peer.packets).sum();
            let seen = self.crowd.tally();
            let has_all = stats.frames.get(&self.encoding) == Some(&u64::from(self.packets));
            if has_all && seen.received == sent {
                self.before = seen;
                return;
            }
            assert!(Instant::now() < deadline, "{sent} packets were sent: {seen:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends this many packets to all students, each of them a frame.
    fn teach(&mut self, packets: u16) {
        for _ in 0..packets {
            let mut packet = vec![0x80, if self.encoding.track.is_video() { 0x80 | 96 } else { 111 }];
            packet.extend_from_slice(&self.packets.to_be_bytes());
            packet.extend_from_slice(&(u32::from(self.packets) * 960).to_be_bytes());
            // A key frame in the case of VP8.
            packet.extend_from_slice(&[0, 0, 0, 1, 0x10, 0]);
            packet.resize(1000, 7);
            self.packets += 1;
            self.sfu.input().push(self.assembler.push(&packet, Instant::now()).unwrap());
        }
    }

    /// The counts, once the students have received this many packets.
    async fn received(&self, packets: u64) -> Tally {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = self.crowd.tally().since(&self.before);
            if seen.received >= packets {
                return seen;
            }
            assert!(Instant::now() < deadline, "{packets} packets were to be received: {seen:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the emulator has handled this many packets to the student.
    async fn wait_for_path(&self, packets: u64) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let counts = self.path.as_ref().unwrap().counts().down;
            if counts.passed + counts.lost + counts.dropped >= packets {
                return;
            }
            assert!(Instant::now() < deadline, "{packets} packets were to be sent: {counts:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn end(self) {
        self.crowd.leave();
        self.sfu.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_packet_is_counted_once_and_opened() {
    let mut bed = Bed::join(5, 2, Encoding::full(Track::Audio, Codec::Opus), false).await;
    let mut seen = Tally::default();
    for batch in 1..=20 {
        bed.teach(10);
        seen = bed.received(50 * batch).await;
    }
    // A busy machine opens a sample.
    assert!(seen.received == 1000 && seen.handed > 0 && seen.opened == seen.handed, "{seen:?}");
    assert_eq!((seen.duplicates, seen.unknown_ssrc, seen.unreadable), (0, 0, 0), "{seen:?}");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_get_nacks_and_their_retransmissions_are_opened() {
    let mut bed = Bed::join(1, 1, Encoding::full(Track::Screen, Codec::Vp8), true).await;
    let set_loss = |bed: &Bed, loss| {
        let down = PathConfig { loss, ..PathConfig::default() };
        bed.path.as_ref().unwrap().set(down, PathConfig::default());
    };
    for round in 1..=LOST {
        set_loss(&bed, 1.0);
        let PathCounts { passed, lost, dropped, .. } = bed.path.as_ref().unwrap().counts().down;
        bed.teach(1);
        bed.wait_for_path(passed + lost + dropped + 1).await;
        // The student notices with the next packet, and no retransmission is lost.
        set_loss(&bed, 0.0);
        bed.teach(19);
        bed.received(20 * round).await;
    }
    let seen = bed.crowd.tally().since(&bed.before);
    // A report of the SFU may be lost in place of a packet of the lecture.
    assert!(seen.nacked >= LOST / 2 && seen.opened - seen.duplicates == seen.received, "{seen:?}");
    assert!(seen.unknown_ssrc == 0 && seen.feedbacks > 0, "{seen:?}");
    bed.end().await;
}
