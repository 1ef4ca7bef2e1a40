//! Random packets of a peer, passed through the checks into the core.
//!
//! Two cores connect; then one sends well-formed chunks with arbitrary numbers, and truncated and modified copies of
//! its earlier packets. No packet may make the other core panic or grow: streams, associations and responses are
//! counted after each. The CPU time of the core depends on the machine: a run with `CLASSROOM_FUZZ_SECONDS` prints it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::sctp::{
    Association as Core, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ServerConfig, StreamEvent, TransportConfig,
};
use rtc::shared::TransportProtocol;
use rustix::time::{ClockId, clock_gettime};

use super::super::order::WINDOW;
use super::super::{Association, MAX_INITS, MAX_STREAMS, Rejected};
use super::{chunk, packet, sign};
use crate::srtp::random::Random;

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The seed of the packets, which are the same in every run.
const SEED: u64 = 0x5eed_c1a5_5000_0017;

/// The number of packets of an ordinary run, and of one peer.
const PACKETS: u64 = 12_000;
const PACKETS_OF_ONE: u64 = 400;

/// The most packets and bytes that the core may send after each packet: a response to each chunk, and packets that were
/// already due.
const MAX_ANSWERS: usize = 16;
const MAX_ANSWER_BYTES: usize = 8 * 1024;

/// The receive window of our answers.
const RECEIVE_BUFFER_BYTES: u32 = 128 * 1024;

/// One end: the core, without DTLS below and data channels above.
struct End {
    endpoint: Endpoint,
    associations: HashMap<AssociationHandle, Core>,
    out: Vec<Bytes>,
}

impl End {
    fn new(at: &str, is_server: bool) -> Self {
        let transport = TransportConfig::default().with_max_receive_buffer_size(RECEIVE_BUFFER_BYTES);
        let server = is_server.then(|| Arc::new(ServerConfig::new(transport.with_max_message_size(64 * 1024))));
        let config = Arc::new(EndpointConfig::new());
        let endpoint = Endpoint::new(at.parse().unwrap(), TransportProtocol::UDP, config, server);
        Self { endpoint, associations: HashMap::new(), out: Vec::new() }
    }

    fn take(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) {
        match self.endpoint.handle(now, from, None, Bytes::copy_from_slice(packet)) {
            Some((handle, DatagramEvent::NewAssociation(core))) => drop(self.associations.insert(handle, core)),
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some(core) = self.associations.get_mut(&handle) {
                    core.handle_event(event);
                }
            }
            Some(_) | None => {}
        }
        self.turn(now);
    }

    /// Runs the core as its own handler does.
    fn turn(&mut self, now: Instant) {
        let mut drained = Vec::new();
        for (handle, core) in &mut self.associations {
            if core.poll_timeout().is_some_and(|at| at <= now) {
                core.handle_timeout(now);
            }
            while let Some(event) = core.poll() {
                if let Event::Stream(StreamEvent::Readable { id }) = event
                    && let Ok(mut stream) = core.stream(id)
                {
                    while stream.read_sctp().is_ok_and(|message| message.is_some()) {}
                }
            }
            while let Some(message) = core.poll_transmit(now) {
                let Payload::RawEncode(packets) = message.message else { continue };
                self.out.extend(packets);
            }
            while let Some(event) = core.poll_endpoint_event() {
                drained.push((*handle, event));
            }
        }
        for (handle, event) in drained {
            self.endpoint.handle_event(handle, event);
            self.associations.remove(&handle);
        }
    }
}

/// The outcome of a run.
#[derive(Debug, Default)]
struct Tally {
    packets: u64,
    peers: u64,
    read: u64,
    unwanted: u64,
    violations: u64,
    answers: usize,
    answer_bytes: usize,
    longest: Duration,
    over_a_millisecond: u64,
    worst: Vec<u8>,
}

/// A connected peer, and the state for forging its packets.
struct Session {
    peer: End,
    sfu: End,
    check: Association,
    now: Instant,
    /// The peer's packets so far.
    sent: Vec<Vec<u8>>,
    tag: u32,
    tsn: u32,
    ssn: u16,
}

const PEER: &str = "127.0.0.1:1";
const SFU: &str = "127.0.0.1:2";

impl Session {
    fn new(random: &mut Random) -> Self {
        let (now, mut peer) = (Instant::now(), End::new(PEER, false));
        let transport = TransportConfig::default();
        let (handle, core) = peer.endpoint.connect(now, ClientConfig::new(transport), SFU.parse().unwrap()).unwrap();
        peer.associations.insert(handle, core);
        let (sfu, check, sent) = (End::new(SFU, true), Association::default(), Vec::new());
        let mut session = Self { peer, sfu, check, now, sent, tag: 0, tsn: 0, ssn: 1 };
        session.exchange();
        let core = session.peer.associations.get_mut(&handle).unwrap();
        let mut stream = core.open_stream(0, PayloadProtocolIdentifier::Dcep).unwrap();
        let kind = random.below(2) as u8;
        let open = [3, kind, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, b'c'];
        stream.write_with_ppi(now, &open, PayloadProtocolIdentifier::Dcep).unwrap();
        session.exchange();
        let last = session.sent.iter().rev().find(|packet| packet[12] == 0).expect("the peer has sent something");
        session.tag = u32::from_be_bytes(last[4..8].try_into().unwrap());
        session.tsn = u32::from_be_bytes(last[16..20].try_into().unwrap()).wrapping_add(1);
        assert_eq!(session.check.refused(), 0, "honest packets pass");
        session
    }

    /// Exchanges packets until neither end has more to send.
    fn exchange(&mut self) {
        for _ in 0..20 {
            self.now += Duration::from_millis(50);
            self.peer.turn(self.now);
            for packet in std::mem::take(&mut self.peer.out) {
                self.sent.push(packet.to_vec());
                if self.check.open(self.now, &packet).is_ok() {
                    self.sfu.take(self.now, PEER.parse().unwrap(), &packet);
                }
            }
            for packet in std::mem::take(&mut self.sfu.out) {
                self.check.seal(&packet);
                self.peer.take(self.now, SFU.parse().unwrap(), &packet);
            }
        }
    }

    /// Puts messages of the SFU in flight, so that a SACK may acknowledge them.
    fn chat(&mut self) {
        for core in self.sfu.associations.values_mut() {
            if let Ok(mut stream) = core.stream(0) {
                // This fails if the association has ended.
                let _ = stream.write_with_ppi(self.now, &[b'x'; 100], PayloadProtocolIdentifier::String);
            }
        }
    }

    fn give(&mut self, packet: &[u8], measure: bool, tally: &mut Tally) {
        let began = if measure { cpu_time() } else { Duration::ZERO };
        let opened = self.check.open(self.now, packet);
        if opened.is_ok() {
            self.sfu.take(self.now, PEER.parse().unwrap(), packet);
        }
        if measure {
            let took = cpu_time().saturating_sub(began);
            tally.over_a_millisecond += u64::from(took > Duration::from_millis(1));
            if took > tally.longest {
                (tally.longest, tally.worst) = (took, packet.to_vec());
            }
        }
        tally.packets += 1;
        match opened {
            Ok(()) => tally.read += 1,
            Err(Rejected::Unwanted) => tally.unwanted += 1,
            Err(Rejected::Violation(_)) => tally.violations += 1,
        }
        let out = std::mem::take(&mut self.sfu.out);
        let bytes = out.iter().map(Bytes::len).sum::<usize>();
        assert!(
            out.len() <= MAX_ANSWERS && bytes <= MAX_ANSWER_BYTES,
            "{} answers, {bytes} bytes: {packet:02x?}",
            out.len()
        );
        (tally.answers, tally.answer_bytes) = (tally.answers.max(out.len()), tally.answer_bytes.max(bytes));
        assert!(self.sfu.associations.len() <= MAX_INITS, "{packet:02x?}");
        let streams = self.sfu.associations.values().map(|core| core.stream_ids().len()).max();
        assert!(streams <= Some(MAX_STREAMS), "{streams:?}: {packet:02x?}");
        out.iter().for_each(|packet| self.check.seal(packet));
    }

    fn forge(&mut self, random: &mut Random) -> Vec<u8> {
        if random.below(8) == 0 {
            let old = random.below(self.sent.len() as u64) as usize;
            return mutated(random, self.sent[old].clone());
        }
        let chunks: Vec<Vec<u8>> = (0..1 + random.below(4)).map(|_| self.chunk(random)).collect();
        let tag = if random.below(50) == 0 { 0 } else { self.tag };
        let made = packet(tag, &chunks);
        if random.below(3) == 0 { mutated(random, made) } else { made }
    }

    /// A TSN near the next one, or at an edge of the sequence space.
    fn tsn(&self, random: &mut Random) -> u32 {
        let steps = [0, 1, 2, 3, WINDOW / 2, WINDOW - 1, WINDOW, WINDOW + 1, 1 << 17, (1 << 31) - 1, 1 << 31, u32::MAX];
        let step = steps[random.below(steps.len() as u64) as usize];
        let near = if random.below(2) == 0 { random.below(u64::from(WINDOW)) as u32 } else { step };
        self.tsn.wrapping_add(near)
    }

    fn stream(&self, random: &mut Random) -> [u8; 2] {
        let streams = [0_u16, 0, 0, 0, 2, 4, 6, 16, 65_534];
        streams[random.below(streams.len() as u64) as usize].to_be_bytes()
    }

    fn chunk(&mut self, random: &mut Random) -> Vec<u8> {
        let tsn = self.tsn(random).to_be_bytes();
        let stream = self.stream(random);
        let some = |random: &mut Random, most: u64| random.below(most) as usize;
        match random.below(16) {
            // The next message: without such messages the other chunks would soon be too early.
            0..=4 => {
                let ends = random.below(4) != 0;
                let flags = if ends { 3 } else { 2 };
                let header = [&self.tsn.to_be_bytes()[..], &[0, 0], &self.ssn.to_be_bytes(), &[0, 0, 0, 51]].concat();
                let user = vec![b'y'; 1 + some(random, 400)];
                self.tsn = self.tsn.wrapping_add(1);
                let first = chunk(0, flags, &[header.clone(), user.clone()].concat());
                if ends {
                    self.ssn = self.ssn.wrapping_add(1);
                    return first;
                }
                let last = [&self.tsn.to_be_bytes()[..], &header[4..], &user].concat();
                (self.tsn, self.ssn) = (self.tsn.wrapping_add(1), self.ssn.wrapping_add(1));
                [first, chunk(0, 1, &last)].concat()
            }
            5 | 6 => {
                let flags = random.below(8) as u8;
                let ssn = if random.below(2) == 0 { self.ssn } else { random.below(1 << 16) as u16 };
                let header = [&tsn[..], &stream, &ssn.to_be_bytes(), &[0, 0, 0, 50 + random.below(4) as u8]].concat();
                chunk(0, flags, &[header, vec![b'z'; some(random, 1_200)]].concat())
            }
            7 => {
                let open = [3, random.below(4) as u8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, b'c'];
                let header = [&self.tsn.to_be_bytes()[..], &stream, &[0, 0, 0, 0, 0, 50]].concat();
                self.tsn = self.tsn.wrapping_add(1);
                chunk(0, 3, &[&header[..], &open].concat())
            }
            8 | 9 => {
                let ours = self.sfu_tsn(random).to_be_bytes();
                let gaps = some(random, 30);
                let mut value = [&ours[..], &[0, 1, 0, 0, 0, gaps as u8, 0, 0]].concat();
                let mut at = 0;
                for _ in 0..gaps {
                    at += 1 + random.below(3) as u16;
                    let end = at + random.below(3) as u16;
                    value.extend([at.to_be_bytes(), end.to_be_bytes()].concat());
                    at = end;
                }
                chunk(3, 0, &value)
            }
            10 | 11 => {
                let named: Vec<u8> =
                    (0..some(random, 3)).flat_map(|_| [stream, [0, random.below(9) as u8]].concat()).collect();
                chunk(192, 0, &[&tsn[..], &named].concat())
            }
            12 => {
                let last = self.tsn.wrapping_sub(1 + random.below(3) as u32).to_be_bytes();
                let number = (random.below(5) as u32).to_be_bytes();
                chunk(130, 0, &[&[0, 13, 0, 18][..], &number, &[0; 4], &last, &stream].concat())
            }
            13 => {
                let cause = [0, 1 + random.below(13) as u8, 0, random.below(24) as u8];
                chunk(if random.below(9) == 0 { 6 } else { 9 }, 0, &[&cause[..], &vec![0; some(random, 24)]].concat())
            }
            14 => chunk(4, 0, &[&[0, 1, 0, 12][..], &[7; 8]].concat()),
            _ => chunk(random.below(256) as u8, random.below(4) as u8, &vec![0; some(random, 64)]),
        }
    }

    /// A TSN that the SFU has sent or may send.
    fn sfu_tsn(&self, random: &mut Random) -> u32 {
        let data = self.sent.iter().rev().find(|packet| packet[12] == 3);
        let acknowledged = data.map_or(0, |sack| u32::from_be_bytes(sack[16..20].try_into().unwrap()));
        acknowledged.wrapping_add(random.below(4) as u32)
    }
}

/// Truncates a packet, repeats parts of it or changes bytes; mostly with the right checksum.
fn mutated(random: &mut Random, mut packet: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        let at = random.below(packet.len() as u64) as usize;
        match random.below(6) {
            0 => packet[at] ^= 1 << random.below(8),
            1 => packet[at] = [0, 1, 4, 127, 128, 255][random.below(6) as usize],
            2 => packet.truncate(at.max(12)),
            3 => {
                let end = (at + random.below(40) as usize).min(packet.len());
                let part = packet[at..end].to_vec();
                packet.splice(at..at, part);
            }
            // This is a position of length fields.
            4 => {
                let at = (12 + at / 4 * 4 + 2).min(packet.len() - 2);
                packet[at..at + 2].copy_from_slice(&(random.below(64) as u16).to_be_bytes());
            }
            _ => packet.extend(std::iter::repeat_n(random.below(256) as u8, random.below(20) as usize)),
        }
        packet.resize(packet.len().max(12), 0);
    }
    if random.below(20) != 0 {
        sign(&mut packet);
    }
    packet
}

/// Runs peers that send random packets, until `is_enough`.
fn run(seed: u64, measure: bool, is_enough: impl Fn(&Tally) -> bool) -> Tally {
    let (mut random, mut tally) = (Random::new(seed), Tally::default());
    while !is_enough(&tally) {
        let mut session = Session::new(&mut random);
        tally.peers += 1;
        for _ in 0..PACKETS_OF_ONE {
            session.now += Duration::from_micros(random.below(20_000));
            if random.below(10) == 0 {
                session.chat();
            }
            let packet = session.forge(&mut random);
            session.give(&packet, measure, &mut tally);
        }
    }
    tally
}

#[test]
fn forged_packets_neither_panic_the_core_nor_exceed_its_limits() {
    let tally = run(SEED, false, |tally| tally.packets >= PACKETS);
    println!("{tally:?}");
    assert!(tally.read > PACKETS / 20 && tally.violations > PACKETS / 20, "both sides are tried: {tally:?}");
}

/// `CLASSROOM_FUZZ_SECONDS=600 cargo test --release --lib sctp::fuzz -- --ignored --nocapture`
#[test]
#[ignore = "runs for CLASSROOM_FUZZ_SECONDS"]
fn forged_packets_do_no_harm_for_a_given_time() {
    let seconds = std::env::var("CLASSROOM_FUZZ_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    let seed = std::env::var("CLASSROOM_FUZZ_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let tally = run(seed, true, |_| Instant::now() >= end);
    println!("seed {seed}: {tally:?}");
}
