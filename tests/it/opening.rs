//! How students begin, on loopback with real ICE, DTLS and SRTP: who is near with everything, who is behind a narrow line
//! with what that carries, and none of them with a queue in which sound waits.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use classroom::bench::emulator::{Emulator, PathConfig, through, without_candidates};
use classroom::rtp::{Codec, Encoding, FrameAssembler, HEADER_BYTES, Tier, Track, payload_offset};
use classroom::sfu::{Sfu, SfuConfig, SfuEvent};
use classroom::viewer::{Incoming, Viewer, ViewerConfig, ViewerEvent};
use tokio::sync::mpsc;
use tokio::time::{Interval, timeout};

use crate::support::DEADLINE;

const SOUND: Encoding = Encoding { track: Track::Audio, tier: Tier::Full, codec: Codec::Opus };
const FULL: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 };
const LOW: Encoding = Encoding { tier: Tier::Low, ..FULL };

/// Sound comes this often, and with every second block a picture.
const BLOCK: Duration = Duration::from_millis(20);

/// Packets of a kilobyte that a picture has: 1,200 kbit/s, or 200 kbit/s and now and then nothing.
const FULL_PACKETS: usize = 6;
const LOW_PACKETS: usize = 1;

/// What a student got: the tier of each picture's packets, and the numbers of its sound, as they came.
#[derive(Default)]
struct Got {
    tiers: Vec<Tier>,
    sound: Vec<u16>,
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
            udp: "127.0.0.1:0".parse().unwrap(),
            advertise: vec![],
            stun: vec![],
            max_students: 10,
            workers: NonZeroUsize::MIN,
            adapts: true,
            encodings: vec![(SOUND, 48_000), (FULL, 1_200_000), (LOW, 300_000)],
        })
        .unwrap();
        let assemblers = [SOUND, FULL, LOW].map(|encoding| (encoding, FrameAssembler::new(encoding)));
        let clock = tokio::time::interval(BLOCK);
        Self { sfu, events, assemblers, sequence_number: 0, blocks: 0, clock }
    }

    /// A student joins through a network, or directly; sound and pictures go on meanwhile.
    async fn join(&mut self, user: &str, network: Option<PathConfig>) -> (Viewer, Arc<Mutex<Got>>, Option<Emulator>) {
        let emulator = network.map(|path| Emulator::start(self.sfu.udp(), path.clone(), path, 1).unwrap());
        let got = Arc::<Mutex<Got>>::default();
        let g = Arc::clone(&got);
        let sink = Arc::new(move |incoming: Incoming<'_>| match incoming {
            Incoming::Rtp(Track::Audio, packet) => {
                g.lock().unwrap().sound.push(u16::from_be_bytes([packet[2], packet[3]]));
            }
            Incoming::Rtp(_, packet) => {
                // The last byte of each packet says what it is of.
                let is_full = packet[payload_offset(packet).unwrap()..].last() == Some(&1);
                g.lock().unwrap().tiers.push(if is_full { Tier::Full } else { Tier::Low });
            }
            Incoming::Rtcp(..) => {}
        });
        let config = ViewerConfig { bind: vec!["127.0.0.1:0".to_owned()], ice_servers: vec![] };
        let (link, offer, mut events) = Viewer::offer(config, sink).await.unwrap();
        let offer = if emulator.is_some() { without_candidates(&offer) } else { offer };
        self.sfu.offer(user.parse().unwrap(), offer, None);
        let answer = loop {
            match timeout(DEADLINE, self.events.recv()).await.unwrap().unwrap() {
                SfuEvent::Answer { sdp, .. } => break sdp,
                refused @ SfuEvent::Refused { .. } => panic!("{refused:?}"),
                _ => {}
            }
        };
        let answer = match &emulator {
            Some(emulator) => through(&answer, emulator.address()),
            None => answer,
        };
        link.answer(answer).await.unwrap();
        let deadline = Instant::now() + DEADLINE;
        let mut connected = false;
        while !connected {
            assert!(Instant::now() < deadline, "{user} was never connected");
            self.teach().await;
            while let Ok(event) = events.try_recv() {
                match event {
                    ViewerEvent::Candidate(candidate) if emulator.is_none() => {
                        self.sfu.candidate(user.parse().unwrap(), candidate);
                    }
                    ViewerEvent::Connected => connected = true,
                    _ => {}
                }
            }
        }
        (link, got, emulator)
    }

    /// 20 ms of sound, and every second time a picture of each tier: each of them could be decoded by itself.
    async fn teach(&mut self) {
        self.clock.tick().await;
        while self.events.try_recv().is_ok() {}
        self.blocks += 1;
        let has_picture = self.blocks.is_multiple_of(2);
        for (encoding, assembler) in &mut self.assemblers {
            let (packets, bytes, timestamp) = match encoding {
                _ if *encoding == SOUND => (1, 100, self.blocks * 960),
                _ if !has_picture => continue,
                Encoding { tier: Tier::Full, .. } => (FULL_PACKETS, 1000, self.blocks * 1800),
                Encoding { tier: Tier::Low, .. } => (LOW_PACKETS, 1000, self.blocks * 1800),
            };
            for n in 0..packets {
                let is_last = n + 1 == packets;
                let mut packet = vec![0x80, 96 | if is_last { 0x80 } else { 0 }];
                packet.extend_from_slice(&self.sequence_number.to_be_bytes());
                packet.extend_from_slice(&timestamp.to_be_bytes());
                // For VP8: the first packet of a frame, and that this is a key frame.
                packet.extend_from_slice(&[0, 0, 0, 1, if n == 0 { 0x10 } else { 0 }, 0]);
                packet.resize(HEADER_BYTES + bytes, u8::from(encoding.tier == Tier::Full));
                self.sequence_number = self.sequence_number.wrapping_add(1);
                if let Some(frame) = assembler.push(&packet, Instant::now()) {
                    self.sfu.input().push(frame);
                }
            }
        }
    }

    /// Teaches until a student has so many packets of pictures.
    async fn until(&mut self, got: &Mutex<Got>, packets: usize) {
        let deadline = Instant::now() + DEADLINE;
        while got.lock().unwrap().tiers.len() < packets {
            assert!(Instant::now() < deadline, "{} packets of pictures came", got.lock().unwrap().tiers.len());
            self.teach().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_line_begins_with_the_low_tier_and_whole_sound() {
    let mut class = Class::start();
    let line = PathConfig { rate: Some(600_000), delay: Duration::from_millis(25), ..PathConfig::default() };
    let (link, got, emulator) = class.join("1001", Some(line)).await;
    class.until(&got, 20).await;
    let counts = emulator.as_ref().unwrap().counts();
    {
        let got = got.lock().unwrap();
        assert!(got.tiers.iter().all(|tier| *tier == Tier::Low), "{:?}", got.tiers);
        assert!(got.sound.windows(2).all(|two| two[1].wrapping_sub(two[0]) == 1), "sound with a gap: {:?}", got.sound);
        assert!(got.sound.len() > 10, "sound does not wait for pictures: {:?}", got.sound);
    }
    assert_eq!(counts.down.dropped, 0, "no queue was overrun: {counts:?}");
    link.close().await;
    class.sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_line_begins_with_the_full_tier_however_long_it_is() {
    let mut class = Class::start();
    let far = PathConfig { delay: Duration::from_millis(40), ..PathConfig::default() };
    for (user, network) in [("1001", None), ("1002", Some(far))] {
        let (link, got, _emulator) = class.join(user, network).await;
        class.until(&got, 5 * FULL_PACKETS).await;
        let tiers = got.lock().unwrap().tiers.clone();
        assert!(tiers.iter().all(|tier| *tier == Tier::Full), "{user}: {tiers:?}");
        link.close().await;
    }
    class.sfu.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_sound_begins_with_sound_and_says_why() {
    let mut class = Class::start();
    let line = PathConfig { rate: Some(120_000), delay: Duration::from_millis(25), ..PathConfig::default() };
    let (link, got, emulator) = class.join("1001", Some(line)).await;
    let deadline = Instant::now() + DEADLINE;
    while got.lock().unwrap().sound.len() < 150 {
        assert!(Instant::now() < deadline, "{} blocks of sound came", got.lock().unwrap().sound.len());
        class.teach().await;
    }
    let counts = emulator.as_ref().unwrap().counts();
    {
        let got = got.lock().unwrap();
        assert!(got.tiers.is_empty(), "{:?}", got.tiers);
        assert!(got.sound.windows(2).all(|two| two[1].wrapping_sub(two[0]) == 1), "sound with a gap: {:?}", got.sound);
    }
    assert_eq!(counts.down.dropped, 0, "no queue was overrun: {counts:?}");
    let stats = class.sfu.stats().await.unwrap();
    assert!(stats.peers.iter().all(|(_, peer)| peer.changes == 1), "{:?}", stats.peers);
    link.close().await;
    class.sfu.close().await;
}
