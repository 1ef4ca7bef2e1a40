//! A camera and a microphone without a picture: frames of the sizes that encoders produce, each marked with its tier.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::publisher::FrameInput;
use crate::rtp::{Codec, Encoding, Frame, FrameAssembler, Tier, Track};

pub(super) const AUDIO: Encoding = Encoding { track: Track::Audio, tier: Tier::Full, codec: Codec::Opus };
pub(super) const FULL: Encoding = Encoding { track: Track::Camera, tier: Tier::Full, codec: Codec::Vp8 };
pub(super) const LOW: Encoding = Encoding { track: Track::Camera, tier: Tier::Low, codec: Codec::Vp8 };

/// Bytes of a packet's payload.
const PAYLOAD: usize = 800;

/// The interval of blocks of audio; each third one comes with a picture.
const BLOCK: Duration = Duration::from_millis(20);

/// All encodings with their bits per second.
pub(super) fn encodings() -> [(Encoding, u32); 3] {
    [(AUDIO, 32_000), (FULL, 600_000), (LOW, 100_000)]
}

/// The encodings that are active, and those that must produce a key frame.
#[derive(Debug, Default)]
struct Orders {
    active: Vec<Encoding>,
    key_frames: Vec<Encoding>,
}

pub(super) struct Camera {
    input: FrameInput,
    orders: Mutex<Orders>,
    is_over: AtomicBool,
}

impl Camera {
    /// The full tier is active, as in a capture that has just started.
    pub(super) fn new(input: FrameInput) -> Self {
        let orders = Mutex::new(Orders { active: vec![FULL], key_frames: vec![FULL] });
        Self { input, orders, is_over: AtomicBool::new(false) }
    }

    pub(super) fn request_key_frame(&self, encoding: Encoding) {
        self.orders.lock().unwrap().key_frames.push(encoding);
    }

    pub(super) fn set_active(&self, encodings: Vec<Encoding>) {
        let mut orders = self.orders.lock().unwrap();
        let new: Vec<Encoding> = encodings.iter().copied().filter(|new| !orders.active.contains(new)).collect();
        orders.key_frames.extend(new);
        orders.active = encodings;
    }

    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Produces frames until [`stop`](Self::stop).
    pub(super) async fn run(&self) {
        let mut blocks = tokio::time::interval(BLOCK);
        // A camera that was not asked in time has no pictures in store, and a burst of them would fill a narrow uplink.
        blocks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut number = 0_u32;
        while !self.is_over.load(Ordering::Relaxed) {
            blocks.tick().await;
            number += 1;
            self.input.push(frame(AUDIO, number, number * 960, true, 80));
            if number.is_multiple_of(3) {
                self.pictures(number / 3);
            }
        }
    }

    /// The pictures of 60 ms.
    fn pictures(&self, number: u32) {
        let mut orders = self.orders.lock().unwrap();
        for (encoding, bits) in &encodings()[1..] {
            if !orders.active.contains(encoding) {
                continue;
            }
            let is_key = orders.key_frames.contains(encoding);
            orders.key_frames.retain(|other| other != encoding);
            let bytes = *bits as usize * 60 / 1000 / 8 * if is_key { 4 } else { 1 };
            self.input.push(frame(*encoding, number, number * 5_400, is_key, bytes));
        }
    }
}

/// A frame of this size: VP8's payload descriptor, the bit of key frames, the tier and the number, and filling.
fn frame(encoding: Encoding, number: u32, timestamp: u32, is_key: bool, bytes: usize) -> Frame {
    let mut assembler = FrameAssembler::new(encoding);
    let packets = bytes.div_ceil(PAYLOAD);
    for n in 0..packets {
        let marker = if n + 1 == packets { 0x80 } else { 0 };
        let mut packet = vec![0x80, 96 | marker, 0, n as u8];
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 7]);
        let first = if n == 0 { 0x10 } else { 0 };
        packet.extend_from_slice(&[first, u8::from(!is_key), encoding.tier as u8, number as u8]);
        packet.resize(packet.len() + (bytes / packets).saturating_sub(4), number as u8);
        if let Some(frame) = assembler.push(&packet, Instant::now()) {
            return frame;
        }
    }
    unreachable!("the last packet has the marker")
}
