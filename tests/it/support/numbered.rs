//! Packets that name their sender, the number of their frame and the time at which they were sent; counts and times of
//! those that arrive.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use classroom::rtp::{Track, payload_offset};

use super::sending::Sender;

/// The start of the tests: the frames of a member that speaks again have new numbers.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time between two packets of audio.
const PACKET_TIME: Duration = Duration::from_millis(20);

/// What the connection of a speaker sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// 25 small frames and 50 packets of audio a second.
    Calm,
    /// Audio alone.
    AudioAlone,
    /// 60 Mbit/s.
    Flood,
    /// Frames that never start with a key frame.
    NoKeyFrames,
    /// Timestamps that jump with each frame, forwards and backwards.
    Jumps,
    /// A payload type that the answer does not have.
    WrongTypes,
    /// Nothing.
    Nothing,
    /// 5 frames of one packet and 50 packets of audio a second, as a picture of 160x90 takes.
    Small,
}

impl Pace {
    const ALL: [Self; 8] = [
        Self::Calm,
        Self::AudioAlone,
        Self::Flood,
        Self::NoKeyFrames,
        Self::Jumps,
        Self::WrongTypes,
        Self::Nothing,
        Self::Small,
    ];

    /// The number of packets of audio for each frame.
    fn packets_per_frame(self) -> u32 {
        if self == Self::Small { 10 } else { 2 }
    }

    /// The timestamp of a packet that would have this one at a calm pace.
    fn timestamp(self, calm: u32) -> u32 {
        if self == Self::Jumps { rand::random() } else { calm }
    }
}

/// A payload type that no offer of [`Sending`](super::sending::Sending) has.
const WRONG_TYPE: u8 = 35;

/// Received frames of one track.
#[derive(Debug, Default, Clone)]
pub struct Frames {
    /// The users that sent them.
    pub senders: BTreeSet<u32>,
    pub numbers: BTreeSet<u32>,
    /// The last packet of each frame, in the order of arrival.
    pub arrivals: Vec<Arrival>,
}

/// The last packet of a frame. Times are since the start of the tests.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub frame: u32,
    pub sent: Duration,
    pub at: Duration,
}

impl Frames {
    /// The frames between the first and the last one that did not arrive.
    pub fn missing(&self) -> usize {
        let (Some(first), Some(last)) = (self.numbers.first(), self.numbers.last()) else { return 0 };
        (last - first) as usize + 1 - self.numbers.len()
    }

    /// Notes a packet. The same packet may come twice.
    pub fn note(&mut self, packet: &Numbered) {
        self.senders.insert(packet.sender);
        let is_new = self.arrivals.last().is_none_or(|last| last.frame < packet.frame);
        if packet.is_last && is_new {
            self.arrivals.push(Arrival { frame: packet.frame, sent: packet.sent, at: now() });
        }
        self.numbers.insert(packet.frame);
    }

    /// The times between the arrivals of two frames that follow each other, and between the times at which they were
    /// sent, since a time.
    pub fn gaps(&self, since: Duration) -> impl Iterator<Item = (Duration, Duration)> {
        let follows = move |two: &&[Arrival]| two[0].frame + 1 == two[1].frame && two[0].at >= since;
        let pairs = self.arrivals.windows(2).filter(follows);
        pairs.map(|two| (two[1].at.saturating_sub(two[0].at), two[1].sent.saturating_sub(two[0].sent)))
    }
}

/// The time since the start of the tests.
pub fn now() -> Duration {
    START.elapsed()
}

/// Sends numbered frames until it is aborted.
pub async fn send(user: u32, mut senders: Vec<Sender>, pace: Arc<AtomicU8>) {
    let wants_key = Arc::new(AtomicU8::new(1));
    for sender in senders.iter().filter(|sender| sender.track.is_video()) {
        let wants_key = Arc::clone(&wants_key);
        sender.on_key_frame_request(move || wants_key.store(1, Ordering::Relaxed));
    }
    let mut clock = tokio::time::interval(PACKET_TIME);
    let mut ticks = START.elapsed().div_duration_f32(PACKET_TIME) as u32;
    loop {
        clock.tick().await;
        ticks += 1;
        let pace = Pace::ALL[usize::from(pace.load(Ordering::Relaxed))];
        for sender in &mut senders {
            sender.payload_type = (pace == Pace::WrongTypes).then_some(WRONG_TYPE);
            let is_video = sender.track.is_video();
            match pace {
                Pace::Nothing => continue,
                Pace::AudioAlone if is_video => continue,
                _ if is_video && !ticks.is_multiple_of(pace.packets_per_frame()) => continue,
                _ => {}
            }
            if !is_video {
                sender.send(pace.timestamp(ticks * 960), true, payload(&[0x78], user, ticks, 60)).await;
                continue;
            }
            let key = pace != Pace::NoKeyFrames && wants_key.swap(0, Ordering::Relaxed) == 1;
            // 40 ms at 60 Mbit/s.
            let timestamp = pace.timestamp(ticks * 1_800);
            let (packets, bytes) = match pace {
                Pace::Flood => (270, 1_100),
                Pace::Small => (1, 700),
                _ => (2, 1_100),
            };
            let frame = ticks / pace.packets_per_frame();
            for n in 0..packets {
                let start = [if n == 0 { 0x10 } else { 0 }, u8::from(!key)];
                sender.send(timestamp, n + 1 == packets, payload(&start, user, frame, bytes)).await;
            }
        }
    }
}

fn payload(start: &[u8], user: u32, frame: u32, bytes: usize) -> Bytes {
    let mut payload = BytesMut::from(start);
    payload.put_u32(user);
    payload.put_u32(frame);
    payload.put_u64(now().as_micros() as u64);
    payload.resize(bytes, 0);
    payload.freeze()
}

/// What a packet names.
#[derive(Debug)]
pub struct Numbered {
    pub sender: u32,
    pub frame: u32,
    sent: Duration,
    /// Whether the packet is the last one of its frame.
    is_last: bool,
}

/// What a packet names; `None` for padding.
pub fn read(track: Track, packet: &[u8]) -> Option<Numbered> {
    let start = if track.is_video() { 2 } else { 1 };
    let content = packet.get(payload_offset(packet)? + start..)?;
    let number = |at: usize| Some(u32::from_be_bytes(content.get(at..at + 4)?.try_into().ok()?));
    let sent = Duration::from_micros(u64::from(number(8)?) << 32 | u64::from(number(12)?));
    Some(Numbered { sender: number(0)?, frame: number(4)?, sent, is_last: packet[1] & 0x80 != 0 })
}
