//! The first seconds of a student on loopback, with real ICE, DTLS and SRTP. A wide path starts with the full tier, a
//! narrow path with what it carries, and audio never waits in a queue.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use classroom::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use classroom::rtp::{Codec, Encoding, FrameAssembler, HEADER_BYTES, Tier, Track, payload_offset};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent, UdpBinding};
use classroom::viewer::{IceServers, Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::time::{Interval, timeout};

use crate::support::DEADLINE;

const AUDIO: Encoding = Encoding { track: Track::Audio, tier: Tier::Full, codec: Codec::Opus };
const FULL: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };
const LOW: Encoding = Encoding { tier: Tier::Low, ..FULL };

/// The length of a block of audio. A picture comes with every second block.
const BLOCK: Duration = Duration::from_millis(20);

/// Packets of 1,000 bytes in a picture, of which there are 25 a second: 1,200 kbit/s and 200 kbit/s.
const FULL_PACKETS: usize = 6;
const LOW_PACKETS: usize = 1;

/// What a student received, in the order of arrival.
#[derive(Default)]
struct Received {
    /// The tier of each video packet.
    tiers: Vec<Tier>,
    /// The sequence number of each audio packet.
    audio: Vec<u16>,
}

/// A student that has joined, and the network between it and the SFU.
struct Student {
    viewer: Viewer,
    received: Arc<Mutex<Received>>,
    network: Option<Emulator>,
}

struct Class {
    sfu: Sfu,
    events: mpsc::Receiver<SfuEvent>,
    assemblers: [(Encoding, FrameAssembler); 3],
    sequence_number: u16,
    blocks: u32,
    clock: Interval,
}

impl Class {
    fn start() -> Self {
        let (sfu, events) = Sfu::start(SfuConfig {
            user: "9999".parse().unwrap(),
            udp: UdpBinding::Own("127.0.0.1:0".parse().unwrap()),
            advertise: vec![],
            stun: vec![],
            max_students: 10,
            workers: NonZeroUsize::MIN,
            adapts: true,
            encodings: vec![(AUDIO, 48_000), (FULL, 1_200_000), (LOW, 300_000)],
        })
        .unwrap();
        let assemblers = [AUDIO, FULL, LOW].map(|encoding| (encoding, FrameAssembler::new(encoding)));
        let clock = tokio::time::interval(BLOCK);
        Self { sfu, events, assemblers, sequence_number: 0, blocks: 0, clock }
    }

    /// A student joins through an emulated network, or directly; audio and video go on meanwhile.
    async fn join(&mut self, user: &str, network: Option<PathConfig>) -> Student {
        let network = network.map(|path| Emulator::start(self.sfu.udp(), path.clone(), path, 1).unwrap());
        let received = Arc::<Mutex<Received>>::default();
        let of_sink = Arc::clone(&received);
        let sink = Arc::new(move |incoming: Incoming<'_>| match incoming {
            Incoming::Rtp(Track::Audio, packet) => {
                of_sink.lock().unwrap().audio.push(u16::from_be_bytes([packet[2], packet[3]]));
            }
            Incoming::Rtp(_, packet) => {
                // The last byte of each packet tells its tier.
                let is_full = packet[payload_offset(packet).unwrap()..].last() == Some(&1);
                of_sink.lock().unwrap().tiers.push(if is_full { Tier::Full } else { Tier::Low });
            }
            Incoming::Rtcp(..) => {}
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: IceServers::default() };
        let (viewer, offer, mut events) = Viewer::offer(config, sink).await.unwrap();
        let offer = if network.is_some() { without_candidates(&offer) } else { offer };
        self.sfu.offer(user.parse().unwrap(), offer, None, None);
        let answer = loop {
            match timeout(DEADLINE, self.events.recv()).await.unwrap().unwrap() {
                SfuEvent::Answer { sdp, .. } => break sdp,
                refused @ SfuEvent::Refused { .. } => panic!("{refused:?}"),
                _ => {}
            }
        };
        let answer = match &network {
            Some(network) => through(&answer, network.address()),
            None => answer,
        };
        viewer.answer(answer).await.unwrap();
        let deadline = Instant::now() + DEADLINE;
        let mut connected = false;
        while !connected {
            assert!(Instant::now() < deadline, "{user} was never connected");
            self.teach().await;
            while let Ok(event) = events.try_recv() {
                match event {
                    ViewerEvent::Candidate(candidate) if network.is_none() => {
                        self.sfu.candidate(user.parse().unwrap(), candidate);
                    }
                    ViewerEvent::Connected => connected = true,
                    _ => {}
                }
            }
        }
        Student { viewer, received, network }
    }

    /// Pushes a block of audio, and every second time a key frame of each tier.
    async fn teach(&mut self) {
        self.clock.tick().await;
        while self.events.try_recv().is_ok() {}
        self.blocks += 1;
        let has_picture = self.blocks.is_multiple_of(2);
        for (encoding, assembler) in &mut self.assemblers {
            let (packets, bytes, timestamp) = match encoding {
                _ if *encoding == AUDIO => (1, 100, self.blocks * 960),
                _ if !has_picture => continue,
                Encoding { tier: Tier::Full, .. } => (FULL_PACKETS, 1000, self.blocks * 1800),
                Encoding { tier: Tier::Low, .. } => (LOW_PACKETS, 1000, self.blocks * 1800),
            };
            for n in 0..packets {
                let is_last = n + 1 == packets;
                let mut packet = vec![0x80, 96 | if is_last { 0x80 } else { 0 }];
                packet.extend_from_slice(&self.sequence_number.to_be_bytes());
                packet.extend_from_slice(&timestamp.to_be_bytes());
                // The VP8 payload descriptor of the first packet of a frame, and a key frame (RFC 7741, 4.2 and 4.3).
                packet.extend_from_slice(&[0, 0, 0, 1, if n == 0 { 0x10 } else { 0 }, 0]);
                packet.resize(HEADER_BYTES + bytes, u8::from(encoding.tier == Tier::Full));
                self.sequence_number = self.sequence_number.wrapping_add(1);
                if let Some(frame) = assembler.push(&packet, Instant::now()) {
                    self.sfu.input().push(frame);
                }
            }
        }
    }

    /// Teaches until a student has received enough.
    async fn teach_until(&mut self, what: &str, student: &Student, enough: impl Fn(&Received) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !enough(&student.received.lock().unwrap()) {
            let (video, audio) = student.counts();
            assert!(Instant::now() < deadline, "never {what}: {video} video packets, {audio} audio packets");
            self.teach().await;
        }
    }
}

impl Student {
    /// Video and audio packets received so far.
    fn counts(&self) -> (usize, usize) {
        let received = self.received.lock().unwrap();
        (received.tiers.len(), received.audio.len())
    }

    /// Checks that audio came in order and without a gap, and that the queue of the path never overflowed.
    fn assert_whole_audio(&self) {
        let audio = self.received.lock().unwrap().audio.clone();
        assert!(audio.windows(2).all(|two| two[1].wrapping_sub(two[0]) == 1), "audio has a gap: {audio:?}");
        let counts = self.network.as_ref().unwrap().counts();
        assert_eq!(counts.down.dropped, 0, "a queue overflowed: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_path_starts_with_the_low_tier_and_whole_audio() {
    let mut class = Class::start();
    let path = PathConfig { rate: Some(600_000), delay: Duration::from_millis(25), ..PathConfig::default() };
    let student = class.join("1001", Some(path)).await;
    class.teach_until("20 video packets", &student, |received| received.tiers.len() >= 20).await;
    student.assert_whole_audio();
    let tiers = student.received.lock().unwrap().tiers.clone();
    assert!(tiers.iter().all(|tier| *tier == Tier::Low), "{tiers:?}");
    let (video, audio) = student.counts();
    assert!(audio > 10, "audio does not wait for video: {audio} packets of audio, {video} of video");
    student.viewer.close().await;
    class.sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_path_starts_with_the_full_tier_whatever_its_delay() {
    let mut class = Class::start();
    let far = PathConfig { delay: Duration::from_millis(40), ..PathConfig::default() };
    for (user, network) in [("1001", None), ("1002", Some(far))] {
        let student = class.join(user, network).await;
        let packets = 5 * FULL_PACKETS;
        class.teach_until("five pictures", &student, |received| received.tiers.len() >= packets).await;
        let tiers = student.received.lock().unwrap().tiers.clone();
        assert!(tiers.iter().all(|tier| *tier == Tier::Full), "{user}: {tiers:?}");
        student.viewer.close().await;
    }
    class.sfu.close().await;
}

/// The SFU of one participant of a meeting, whom two others watch: a bad line of one of them is that one's own affair.
#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_path_lowers_the_picture_of_its_own_user_alone() {
    let mut class = Class::start();
    let path = PathConfig { rate: Some(600_000), delay: Duration::from_millis(25), ..PathConfig::default() };
    let near = class.join("1001", None).await;
    let narrow = class.join("1002", Some(path)).await;
    class.teach_until("20 video packets", &narrow, |received| received.tiers.len() >= 20).await;
    assert!(narrow.received.lock().unwrap().tiers.iter().all(|tier| *tier == Tier::Low));
    let full = |received: &Received| received.tiers.iter().filter(|tier| **tier == Tier::Full).count();
    let enough = full(&near.received.lock().unwrap()) + 10 * FULL_PACKETS;
    class.teach_until("ten more pictures", &near, |received| full(received) >= enough).await;
    for student in [near, narrow] {
        student.viewer.close().await;
    }
    class.sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_for_audio_only_starts_with_audio_and_one_change_of_layer() {
    let mut class = Class::start();
    let path = PathConfig { rate: Some(120_000), delay: Duration::from_millis(25), ..PathConfig::default() };
    let student = class.join("1001", Some(path)).await;
    class.teach_until("150 audio packets", &student, |received| received.audio.len() >= 150).await;
    student.assert_whole_audio();
    assert_eq!(student.counts().0, 0, "no video packet");
    let stats = class.sfu.stats().await.unwrap();
    let changes: Vec<_> = stats.peers.iter().map(|(user, peer)| (user.as_str(), peer.changes)).collect();
    assert_eq!(changes, [("1001", 1)]);
    student.viewer.close().await;
    class.sfu.close().await;
}
