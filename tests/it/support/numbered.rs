//! Packets that name their sender and the number of their frame, and counts of those that arrive.

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
}

impl Pace {
    const ALL: [Self; 7] =
        [Self::Calm, Self::AudioAlone, Self::Flood, Self::NoKeyFrames, Self::Jumps, Self::WrongTypes, Self::Nothing];

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
}

impl Frames {
    /// The frames between the first and the last one that did not arrive.
    pub fn missing(&self) -> usize {
        let (Some(first), Some(last)) = (self.numbers.first(), self.numbers.last()) else { return 0 };
        (last - first) as usize + 1 - self.numbers.len()
    }
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
                _ if is_video && !ticks.is_multiple_of(2) => continue,
                _ => {}
            }
            if !is_video {
                sender.send(pace.timestamp(ticks * 960), true, payload(&[0x78], user, ticks, 60)).await;
                continue;
            }
            let key = pace != Pace::NoKeyFrames && wants_key.swap(0, Ordering::Relaxed) == 1;
            // 40 ms at 60 Mbit/s.
            let timestamp = pace.timestamp(ticks * 1_800);
            let packets = if pace == Pace::Flood { 270 } else { 2 };
            for n in 0..packets {
                let start = [if n == 0 { 0x10 } else { 0 }, u8::from(!key)];
                sender.send(timestamp, n + 1 == packets, payload(&start, user, ticks / 2, 1_100)).await;
            }
        }
    }
}

fn payload(start: &[u8], user: u32, frame: u32, bytes: usize) -> Bytes {
    let mut payload = BytesMut::from(start);
    payload.put_u32(user);
    payload.put_u32(frame);
    payload.resize(bytes, 0);
    payload.freeze()
}

/// The sender and the number of the frame in a packet.
pub fn read(track: Track, packet: &[u8]) -> Option<(u32, u32)> {
    let start = if track.is_video() { 2 } else { 1 };
    let content = packet.get(payload_offset(packet)? + start..)?;
    let number = |at: usize| Some(u32::from_be_bytes(content.get(at..at + 4)?.try_into().ok()?));
    Some((number(0)?, number(4)?))
}
