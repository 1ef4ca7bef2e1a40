//! Ten thousand random steps of a class with misbehaving students, with the real sending code and a real socket. A
//! well-behaved student receives exactly the bytes that it would receive alone, and no nonce is used for two different
//! packets. No step depends on a clock.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rtc::crypto::default_provider;
use rtc::interceptor::Registry;
use rtc::peer_connection::RTCPeerConnectionBuilder;
use rtc::srtp::context::Context;
use rtc::srtp::option::srtp_no_replay_protection;
use rtc::srtp::protection_profile::ProtectionProfile;

use super::super::amplification::{AmplificationLimit, CheckBudget};
use super::super::encoders::EncoderRequests;
use super::super::peer::media_track;
use super::super::udp::{UdpReceiver, UdpSender};
use super::*;
use crate::congestion::{Adaptation, ClassRetransmissions, Offered, PathCapacity};
use crate::rtp::{FrameAssembler, HEADER_BYTES, RtxStream, Subscription, payload_offset};
use crate::sdp::engine;
use crate::srtp::random::Random;

/// The seed of the class, which is the same in every run.
const SEED: u64 = 0x5eed_c1a5_5000_0005;

const STEPS: usize = 10_000;

/// Time between two steps.
const STEP: Duration = Duration::from_millis(8);

/// The time after which a missing datagram fails the test; loopback delivers a datagram at once.
const DEADLINE: Duration = Duration::from_secs(10);

/// The largest payload of a packet.
const PAYLOAD: u64 = 900;

/// The first sequence number of every stream, high enough that all of them roll over.
const FIRST: u16 = 60_000;

const TRANSPORT_ID: u8 = 3;

/// An address to which the kernel refuses to send, because broadcast is not allowed.
const REFUSED_ADDRESS: &str = "255.255.255.255:9";

/// The kind of a student.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Transport-wide sequence numbers and RTX.
    Modern,
    /// Neither of these: packets are retransmitted unchanged.
    Plain,
    /// As `Modern`, but the kernel refuses to send to it.
    Unreachable,
}

/// A student, and everything that it has received.
struct Student {
    kind: Kind,
    senders: Senders,
    transport: Transport,
    estimate: Estimate,
    socket: UdpSocket,
    receiver: Context,
    /// The highest packet index, by SSRC.
    highest: HashMap<u32, u64>,
    /// The encrypted packets, by SSRC and index, which form the nonce.
    sealed: HashMap<(u32, u64), Vec<u8>>,
    /// The decrypted packets.
    got: Vec<Vec<u8>>,
    /// The number of packets that arrived under a known nonce: of video and of audio.
    again: [usize; 2],
}

/// The id of the playout delay.
const PLAYOUT_ID: u8 = 5;

/// The SSRC of audio.
const AUDIO: u32 = 10;

const TRACKS: [(Track, Codec); 3] =
    [(Track::Audio, Codec::Opus), (Track::Screen, Codec::Vp8), (Track::Camera, Codec::Vp8)];

/// The encodings of the lecture.
const ENCODINGS: [Encoding; 5] = [
    Encoding { track: Track::Audio, tier: Tier::Full, codec: Codec::Opus },
    Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::Vp8 },
    Encoding { track: Track::Screen, tier: Tier::Low, codec: Codec::Vp8 },
    Encoding { track: Track::Camera, tier: Tier::Full, codec: Codec::Vp8 },
    Encoding { track: Track::Camera, tier: Tier::Low, codec: Codec::Vp8 },
];

impl Student {
    /// A student whose packets the SFU encrypts, as if the core had sent the first one.
    fn new(kind: Kind, now: Instant, from: SocketAddr) -> Self {
        let (provider, keys) = crate::srtp::capturing(default_provider().unwrap());
        let context = |crypto| {
            let profile = ProtectionProfile::AeadAes128Gcm;
            Context::new(&[3; 16], &[5; 12], profile, Some(srtp_no_replay_protection()), None, crypto).unwrap()
        };
        context(provider.crypto()).encrypt_rtp(&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1]).unwrap();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_media_engine(engine::adaptive_media_engine(&[Codec::Opus, Codec::Vp8]).unwrap())
            .with_interceptor_registry(Registry::new())
            .build(now)
            .unwrap();
        let socket = crate::bench::crowd::receiving_socket(std::net::Ipv4Addr::LOCALHOST).unwrap();
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut senders = Senders::default();
        for (n, (track, codec)) in TRACKS.into_iter().enumerate() {
            let (ssrc, rtx_ssrc) = (AUDIO + n as u32, 20 + n as u32);
            let id = connection.add_track(media_track(track, codec, ssrc, rtx_ssrc)).unwrap();
            let subscription = Subscription::new(ssrc, 96, FIRST, Tier::Full);
            let rtx = RtxStream::new(rtx_ssrc, 97, FIRST);
            let has_rtx = kind != Kind::Plain && track.is_video();
            let sender = Sender::new((track, codec), id, subscription, has_rtx.then_some(rtx));
            senders.push(sender.with_playout(track.is_video().then_some(PLAYOUT_ID)));
        }
        let to = match kind {
            Kind::Unreachable => REFUSED_ADDRESS.parse().unwrap(),
            Kind::Modern | Kind::Plain => socket.local_addr().unwrap(),
        };
        let twcc = (kind != Kind::Plain).then_some(TRANSPORT_ID);
        let limit = AmplificationLimit::new(CheckBudget::default());
        let mut transport = Transport::new(connection, keys, Vec::new(), twcc, limit);
        transport.seal_from_now_on(from, to);
        Self {
            kind,
            senders,
            transport,
            estimate: Estimate::new(now),
            socket,
            receiver: context(default_provider().unwrap().crypto()),
            highest: HashMap::new(),
            sealed: HashMap::new(),
            got: Vec::new(),
            again: [0; 2],
        }
    }

    /// Does work that may send, then reads and checks everything that was sent. Returns the requests to the encoders.
    fn with(
        &mut self,
        now: Instant,
        rings: &Rings,
        udp: &mut UdpSender,
        work: impl FnOnce(&mut Self, &mut SendContext<'_>),
    ) -> EncoderRequests {
        let before = udp.sent.packets;
        let (mut requests, mut shared_rtx) = (EncoderRequests::default(), ClassRetransmissions::default());
        let (requested, shared) = (&mut requests, &mut shared_rtx);
        work(self, &mut SendContext { now, rings, udp, requests: requested, shared_rtx: shared });
        for _ in before..udp.sent.packets {
            self.read();
        }
        requests
    }

    fn read(&mut self) {
        let mut bytes = [0; 2048];
        let length = self.socket.recv(&mut bytes).expect("what was sent to this student arrives");
        let sealed = bytes[..length].to_vec();
        let ssrc = u32::from_be_bytes(sealed[8..HEADER_BYTES].try_into().unwrap());
        let highest = self.highest.entry(ssrc).or_insert(FIRST.into());
        let ahead = u16::from_be_bytes([sealed[2], sealed[3]]).wrapping_sub(*highest as u16).cast_signed();
        let index = highest.checked_add_signed(ahead.into()).unwrap();
        *highest = index.max(*highest);
        self.got.push(self.receiver.decrypt_rtp(&sealed).expect("the student opens it").to_vec());
        if let Some(before) = self.sealed.insert((ssrc, index), sealed.clone()) {
            assert!(before == sealed, "two packets of SSRC {ssrc} under one nonce, at {index}");
            self.again[usize::from(ssrc == AUDIO)] += 1;
        }
    }

    fn send(&mut self, now: Instant, only: Option<Track>, rings: &Rings, udp: &mut UdpSender) {
        self.with(now, rings, udp, |s, cx| {
            s.senders.send(cx, &mut s.transport, &mut s.estimate, only);
        });
    }

    /// Requests `count` packets of a track again, starting `oldest` packets before the newest one.
    fn ask_again(&mut self, now: Instant, ssrc: u32, (oldest, count): (u64, u16), rings: &Rings, udp: &mut UdpSender) {
        let newest = self.highest.get(&ssrc).copied().unwrap_or(FIRST.into());
        let first = newest.saturating_sub(oldest) as u16;
        let requests: Vec<RetransmissionRequest> =
            (0..count).filter_map(|n| self.senders.on_nack(rings, ssrc, first.wrapping_add(n))).collect();
        self.with(now, rings, udp, |s, cx| {
            s.senders.retransmit(cx, &mut s.transport, &mut s.estimate, &requests);
        });
    }

    /// A random act of a misbehaving student, or of the SFU towards one. Returns the number of the act.
    fn misbehave(&mut self, random: &mut Random, now: Instant, rings: &Rings, udp: &mut UdpSender) -> usize {
        let track = if random.below(2) == 0 { Track::Screen } else { Track::Camera };
        let ssrc = AUDIO + random.below(4) as u32;
        let what = random.below(8) as usize;
        if what > 5 {
            // For packets that are recent, old, or were never sent.
            self.ask_again(now, ssrc, (random.below(600), random.below(40) as u16), rings, udp);
            return what;
        }
        self.with(now, rings, udp, |s, cx| match what {
            0 => s.senders.set_tier(cx, track, Some(Tier::Low), random.below(2) == 0),
            1 => s.senders.set_tier(cx, track, Some(Tier::Full), random.below(2) == 0),
            2 if random.below(3) == 0 => s.senders.set_tier(cx, track, None, true),
            2 | 3 => {
                let bits_per_second = random.below(3_000_000) as u32;
                let queue = Duration::from_millis(random.below(200));
                s.senders.set_playout(bits_per_second.is_multiple_of(2));
                s.transport.set_pace(now, (random.below(3) > 0).then_some(PathCapacity { bits_per_second, queue }));
            }
            4 => drop(s.senders.on_key_frame_request(cx, ssrc, random.below(2) == 0)),
            _ => {
                let probe = Probe { packets: random.below(5) as u32, bytes_each: 1_200 };
                s.senders.probe(cx, &mut s.transport, &mut s.estimate, probe);
            }
        });
        what
    }
}

/// The frames of a lecture, the same in every run.
struct Lecture {
    random: Random,
    assemblers: [FrameAssembler; ENCODINGS.len()],
    sequence_number: u16,
}

impl Lecture {
    fn new() -> Self {
        Self { random: Random::new(SEED), assemblers: ENCODINGS.map(FrameAssembler::new), sequence_number: 0 }
    }

    /// Puts the next frame into its ring. Returns its encoding, its index in the ring, and whether it is a key frame.
    fn next(&mut self, step: usize, now: Instant, rings: &mut Rings) -> (Encoding, u64, bool) {
        let n = self.random.below(ENCODINGS.len() as u64) as usize;
        let encoding = ENCODINGS[n];
        let key = self.random.below(25) == 0 || !encoding.track.is_video();
        let packets = match (encoding.track.is_video(), key) {
            (false, _) => 1,
            (true, key) => 1 + self.random.below(if key { 20 } else { 8 }),
        };
        let mut pushed = None;
        for packet in 0..packets {
            let last = packet + 1 == packets;
            let mut bytes = vec![0x80, 96 | if last && encoding.track.is_video() { 0x80 } else { 0 }];
            bytes.extend_from_slice(&self.sequence_number.to_be_bytes());
            bytes.extend_from_slice(&(step as u32 * 720).to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 0, n as u8, if packet == 0 { 0x10 } else { 0 }, u8::from(!key)]);
            bytes.extend_from_slice(&(step as u32).to_be_bytes());
            bytes.resize(bytes.len() + 1 + self.random.below(PAYLOAD) as usize, packet as u8);
            self.sequence_number = self.sequence_number.wrapping_add(1);
            pushed = self.assemblers[n].push(&bytes, now).or(pushed);
        }
        (encoding, rings[encoding].push(pushed.unwrap()), key)
    }
}

/// Runs a lecture for a healthy student and the `bad` ones. Returns the healthy student, the bad ones, and the number
/// of acts of each kind.
fn run(bad: &[Kind], began: Instant) -> (Student, Vec<Student>, [usize; 8]) {
    let receiver = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut udp = receiver.sender().unwrap();
    let (mut rings, mut lecture, mut random) = (Rings::default(), Lecture::new(), Random::new(SEED ^ 0xbad));
    let mut healthy = Student::new(Kind::Modern, began, receiver.local());
    let mut bad: Vec<Student> = bad.iter().map(|kind| Student::new(*kind, began, receiver.local())).collect();
    let mut seen = [0; 8];
    for step in 0..STEPS {
        let now = began + STEP * step as u32;
        let (encoding, index, key) = lecture.next(step, now, &mut rings);
        let only = (!encoding.track.is_video()).then_some(encoding.track);
        if step == 9 {
            for student in bad.iter_mut().chain([&mut healthy]) {
                student.with(now, &rings, &mut udp, |s, cx| {
                    s.senders.start_audio(cx.rings);
                    s.senders.start_video(cx);
                });
            }
        }
        // Some bad students have their turn before the healthy one, and some have it afterwards.
        let before = random.below(bad.len() as u64 + 1) as usize;
        let mut turns = |bad: &mut [Student], udp: &mut UdpSender| {
            for student in bad {
                student.senders.on_frame(encoding, index, key);
                if random.below(3) == 0 {
                    seen[student.misbehave(&mut random, now, &rings, udp)] += 1;
                }
                // Now and then a student misses its turn, and catches up later.
                if random.below(8) > 0 {
                    student.send(now, only, &rings, udp);
                }
            }
        };
        turns(&mut bad[..before], &mut udp);
        healthy.senders.on_frame(encoding, index, key);
        healthy.send(now, only, &rings, &mut udp);
        if step % 40 == 0 {
            // A healthy student loses a packet now and then.
            healthy.ask_again(now, 11, (5, 1), &rings, &mut udp);
        }
        turns(&mut bad[before..], &mut udp);
    }
    (healthy, bad, seen)
}

#[tokio::test]
async fn a_healthy_student_receives_the_same_packets_with_and_without_bad_ones() {
    println!("seed {SEED:#x}");
    let began = Instant::now();
    let (alone, ..) = run(&[], began);
    let (among_bad_ones, bad, seen) = run(&[Kind::Modern, Kind::Plain, Kind::Unreachable], began);
    assert!(seen.iter().all(|count| *count > 100), "every kind of act happened: {seen:?}");
    assert!(alone.got.len() > 20_000 && alone.senders.dropped() == 0, "{}", alone.got.len());
    assert!(alone.highest[&11] > 1 << 16, "the numbers rolled over, they are at {}", alone.highest[&11]);
    let different = alone.got.iter().zip(&among_bad_ones.got).position(|(a, b)| a != b);
    assert_eq!(different, None, "the first packet that differs");
    assert_eq!(alone.got.len(), among_bad_ones.got.len());
    assert_eq!(among_bad_ones.again, [0; 2], "each packet of a modern student has a nonce of its own");
    for student in &bad {
        let is_sent = !student.got.is_empty();
        assert_eq!(is_sent, student.kind != Kind::Unreachable);
        let [video, audio] = student.again;
        assert_eq!(video > 100, student.kind == Kind::Plain, "{video}");
        assert_eq!(audio > 100, is_sent, "audio is retransmitted as it was: {audio}");
    }
    assert!(bad[0].highest[&21] > u64::from(FIRST), "RTX was sent");
}

#[tokio::test]
async fn a_key_frame_is_requested_for_a_student_whose_frames_have_left_the_ring() {
    let receiver = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut udp = receiver.sender().unwrap();
    let (mut rings, mut lecture, now) = (Rings::default(), Lecture::new(), Instant::now());
    let mut student = Student::new(Kind::Modern, now, receiver.local());
    // Key frames of all encodings; then no turn until all frames of the screen have left the ring.
    let mut next = |student: &mut Student, rings: &mut Rings, step| {
        let (encoding, index, key) = lecture.next(step, now, rings);
        student.senders.on_frame(encoding, index, key);
    };
    let full = ENCODINGS[1];
    for step in 0..500 {
        next(&mut student, &mut rings, step);
    }
    student.with(now, &rings, &mut udp, |s, cx| s.senders.start_video(cx));
    let due = rings[full].next();
    let mut step = 500;
    while rings[full].get(due).is_some() || rings[full].next() == due {
        next(&mut student, &mut rings, step);
        step += 1;
    }
    let (mut adaptation, mut key_frames) = (Adaptation::new(now, Offered::default(), true), Vec::new());
    assert!(student.senders.awaiting_key_frame().all(|encoding| encoding != full), "not known yet");
    student.send(now, Some(Track::Screen), &rings, &mut udp);
    adaptation.request_key_frames(now, student.senders.awaiting_key_frame(), &mut key_frames);
    assert!(key_frames.contains(&full), "{key_frames:?}");
}

#[tokio::test]
async fn the_first_packet_of_a_frame_tells_a_student_another_playout_delay() {
    let receiver = UdpReceiver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut udp = receiver.sender().unwrap();
    let now = Instant::now();
    for kind in [Kind::Modern, Kind::Plain] {
        let (mut rings, mut lecture) = (Rings::default(), Lecture::new());
        let mut student = Student::new(kind, now, receiver.local());
        // Not told yet, told to show frames at once, and told to decide.
        let mut extensions = Vec::new();
        for (phase, told) in [None, Some(true), Some(false)].into_iter().enumerate() {
            told.into_iter().for_each(|at_once| student.senders.set_playout(at_once));
            // A paced frame is sent in parts.
            let line = PathCapacity { bits_per_second: 900_000, queue: Duration::ZERO };
            for step in 100 * phase..100 * (phase + 1) {
                let now = now + STEP * step as u32;
                student.transport.set_pace(now, (step % 2 == 0).then_some(line));
                let (encoding, index, key) = lecture.next(step, now, &mut rings);
                student.senders.on_frame(encoding, index, key);
                student.with(now, &rings, &mut udp, |s, cx| s.senders.start_video(cx));
                student.send(now, None, &rings, &mut udp);
            }
            let of_screen = std::mem::take(&mut student.got).into_iter().filter(|packet| packet[11] == 11);
            let mut seen: Vec<(bool, Option<[u8; 3]>)> = of_screen
                .map(|packet| {
                    let is_first = packet[payload_offset(&packet).unwrap()] & 0x10 != 0;
                    let extension = packet[HEADER_BYTES..].strip_prefix(&[0xbe, 0xde, 0, 2, PLAYOUT_ID << 4 | 2]);
                    (is_first, extension.map(|limits| [limits[0], limits[1], limits[2]]))
                })
                .collect();
            seen.sort_unstable();
            seen.dedup();
            extensions.push(seen);
        }
        // The packets of a phase take less than a second, and one of them tells.
        let told = |limits| {
            let telling = Some((true, Some(limits))).filter(|_| kind == Kind::Modern);
            [(false, None), (true, None)].into_iter().chain(telling).collect::<Vec<_>>()
        };
        let untold = vec![(false, None), (true, None)];
        assert_eq!(extensions, [untold, told([0, 0, 10]), told([0, 0x0f, 0xff])], "{kind:?}");
    }
}
