//! The encoders of a lecture in virtual time: the sizes of their frames and the times of their key frames.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::Offered;
use crate::rtp::{Codec, Encoding, Frame, FrameAssembler, KeyFrameRequests, PerEncoding, Tier, Track};

pub(super) const AUDIO: Encoding = Encoding { track: Track::Audio, tier: Tier::Full, codec: Codec::Opus };

/// The duration of an audio packet, in microseconds.
const AUDIO_EVERY: u64 = 20_000;

/// A key frame is as large as this many usual frames.
const KEY: u64 = 8;

/// The time between two pages of slides, in microseconds.
const PAGE: u64 = 7_000_000;

/// The size of a frame of a still page, in percent of a usual frame.
const STILL: u64 = 4;

/// The time from the request for a key frame to the frame, in microseconds.
const KEY_AFTER: u64 = 50_000;

/// The size in bytes of a full RTP packet without the header extension, and of an audio packet.
const PACKET: u64 = 1_200;
const AUDIO_PACKET: u64 = 200;

/// An encoder and the requests for its key frames.
#[derive(Default)]
struct Encoder {
    requests: KeyFrameRequests,
    /// When the requested key frame is ready.
    key: Option<u64>,
    has_begun: bool,
}

/// The encoders of audio and of all tiers; all of them run, as other peers watch them.
pub(super) struct Encoders {
    began: Instant,
    video: Vec<Encoding>,
    encoders: PerEncoding<Encoder>,
    /// By encoding and size: frames to be copied.
    templates: HashMap<(Encoding, u64), Frame>,
    slides: bool,
    /// The bytes of a new page in the full tier.
    page: Option<u64>,
}

impl Encoders {
    pub(super) fn new(began: Instant, tracks: &[Track], slides: bool, page: Option<u64>) -> Self {
        let all_tiers = |track: &Track| Tier::ALL.map(|tier| Encoding { track: *track, tier, codec: Codec::Vp8 });
        Self {
            began,
            video: tracks.iter().flat_map(all_tiers).collect(),
            encoders: PerEncoding::default(),
            templates: HashMap::new(),
            slides,
            page,
        }
    }

    /// The nominal rate of each encoder, in bits per second.
    pub(super) fn nominal(&self) -> Vec<(Encoding, u32)> {
        self.video.iter().chain([&AUDIO]).map(|encoding| (*encoding, nominal(*encoding))).collect()
    }

    pub(super) fn offered(&self) -> Offered {
        self.video.iter().fold(Offered::default(), |offered, e| offered.with(e.track, e.tier))
    }

    pub(super) fn request_key_frame(&mut self, encoding: Encoding) {
        self.encoders[encoding].requests.want();
    }

    /// The frames that are encoded in the step that starts at `now`.
    pub(super) fn encode(&mut self, now: u64, step: u64, rng: &mut StdRng) -> Vec<Frame> {
        let mut frames = Vec::new();
        if now.is_multiple_of(AUDIO_EVERY) {
            frames.push(self.audio(now));
        }
        for n in 0..self.video.len() {
            let encoding = self.video[n];
            let at = self.began + Duration::from_micros(now);
            let encoder = &mut self.encoders[encoding];
            if encoder.requests.is_due(at) {
                encoder.requests.asked(at);
                encoder.key = Some(now + KEY_AFTER);
            }
            let key = !encoder.has_begun || encoder.key.is_some_and(|key| key <= now);
            if key {
                encoder.requests.fulfilled();
                (encoder.key, encoder.has_begun) = (None, true);
            }
            let bytes = self.frame_bytes((now, now + step), encoding, key, rng);
            if bytes > 0 {
                frames.push(self.frame(now, encoding, bytes, key));
            }
        }
        frames
    }

    /// A packet of audio.
    pub(super) fn audio(&mut self, now: u64) -> Frame {
        self.frame(now, AUDIO, AUDIO_PACKET, true)
    }

    /// The size of the frame encoded in this step; 0 if there is no frame.
    fn frame_bytes(&self, (now, end): (u64, u64), encoding: Encoding, key: bool, rng: &mut StdRng) -> u64 {
        let fps = if encoding.tier == Tier::Full { 30 } else { 15 };
        let usual = u64::from(nominal(encoding)) / 8 / fps;
        if key {
            return usual * KEY;
        }
        if now * fps / 1_000_000 == end * fps / 1_000_000 {
            return 0;
        }
        let is_new_page = now / PAGE != (now + 1_000_000 / fps) / PAGE;
        match self.slides {
            true if is_new_page => self.page.filter(|_| encoding.tier == Tier::Full).unwrap_or(usual * KEY),
            true => usual * STILL / 100,
            false => usual * rng.random_range(80..=120) / 100,
        }
    }

    fn frame(&mut self, now: u64, encoding: Encoding, bytes: u64, key: bool) -> Frame {
        // Sizes are rounded so that frames can be copied.
        let bytes = bytes.next_multiple_of(if bytes < PACKET { 20 } else { 100 });
        let template = self.templates.entry((encoding, bytes)).or_insert_with(|| template(encoding, bytes));
        let mut frame = template.clone();
        (frame.key, frame.captured) = (key, self.began + Duration::from_micros(now));
        frame.timestamp = (now * u64::from(encoding.codec.clock_rate()) / 1_000_000) as u32;
        frame
    }
}

fn nominal(encoding: Encoding) -> u32 {
    match (encoding.track, encoding.tier) {
        (Track::Audio, _) => 80_000,
        (Track::Screen, Tier::Full) => 2_500_000,
        (Track::Screen, Tier::Low) => 450_000,
        (Track::Camera, Tier::Full) => 1_000_000,
        (Track::Camera, Tier::Low) => 250_000,
    }
}

/// A frame of this size, RTP headers included.
fn template(encoding: Encoding, bytes: u64) -> Frame {
    let mut assembler = FrameAssembler::new(encoding);
    let mut left = bytes;
    loop {
        // No packet is shorter than its header plus some payload.
        let length = left.clamp(20, PACKET);
        left = left.saturating_sub(length);
        let mut packet = vec![0; length as usize];
        packet[0] = 0x80;
        packet[1] = 96 | if left == 0 { 0x80 } else { 0 };
        if let Some(frame) = assembler.push(&packet, Instant::now()) {
            return frame;
        }
    }
}
