//! The lecture of the fan-out bench: packets of realistic sizes, in real time, without an encoder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::floor::PlannedFrame;
use crate::rtp::{Codec, Encoding, Frame, FrameAssembler, HEADER_BYTES, Track};

/// The largest RTP packet, as created by the payloaders of our pipelines.
const MTU: usize = 1200;

/// The size of a key frame relative to another frame of the same rate.
const KEY_WEIGHT: f64 = 8.0;

/// The relative sizes of frames; their mean is 1.
const SIZES: [f64; 5] = [0.8, 1.1, 0.9, 1.2, 1.0];

/// Audio: 50 packets per second at 64 kbit/s.
const AUDIO_EVERY: Duration = Duration::from_millis(20);
const AUDIO_BYTES: usize = 160;

/// The rate of the video.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) bits_per_second: u32,
    pub(super) fps: u32,
    /// The interval of key frames without a request.
    pub(super) key_every: Duration,
}

impl Rate {
    fn every(self) -> Duration {
        Duration::from_secs(1) / self.fps
    }

    /// The packet sizes of the frame `since_key` frames after a key frame; 0 is the key frame.
    fn packets(self, since_key: u64) -> Vec<usize> {
        let frames = (self.key_every.as_secs_f64() * f64::from(self.fps)).max(1.0);
        let weight = if since_key == 0 { KEY_WEIGHT } else { SIZES[since_key as usize % SIZES.len()] };
        // The other frames compensate for the key frame.
        let average = f64::from(self.bits_per_second) / 8.0 / f64::from(self.fps);
        let bytes = (average * weight * frames / (frames - 1.0 + KEY_WEIGHT)) as usize;
        let payload = MTU - HEADER_BYTES;
        let mut packets = vec![MTU; bytes / payload];
        // An H.264 or VP8 payloader puts a shorter packet at the end.
        let rest = (bytes % payload).max(usize::from(packets.is_empty()) * 16);
        packets.extend((rest > 0).then_some(HEADER_BYTES + rest.max(16)));
        packets
    }

    /// A second of the lecture for the floor: video and audio, without a key frame.
    pub(super) fn second(self) -> Vec<PlannedFrame> {
        let video =
            (1..=self.fps).map(|n| PlannedFrame { at: self.every() * (n - 1), packets: self.packets(n.into()) });
        let audio = (0..50).map(|n| PlannedFrame { at: AUDIO_EVERY * n, packets: vec![HEADER_BYTES + AUDIO_BYTES] });
        let mut second: Vec<PlannedFrame> = video.chain(audio).collect();
        second.sort_by_key(|frame| frame.at);
        second
    }
}

/// The controls of a running lecture.
#[derive(Debug, Default)]
pub(super) struct LectureControl {
    /// The next frame must be a key frame.
    pub(super) key_frame_needed: AtomicBool,
    /// Nothing is sent.
    pub(super) silent: AtomicBool,
    /// Packets passed to the SFU, for each student.
    pub(super) packets: AtomicU64,
}

/// Creates the packets of one track.
struct Payloader {
    assembler: FrameAssembler,
    payload_type: u8,
    clock_rate: u32,
    sequence_number: u16,
}

impl Payloader {
    fn new(track: Track, codec: Codec, payload_type: u8) -> Self {
        let clock_rate = codec.clock_rate();
        Self {
            assembler: FrameAssembler::new(Encoding::full(track, codec)),
            payload_type,
            clock_rate,
            sequence_number: 0,
        }
    }

    /// A frame of packets of these sizes, captured `time` after the lecture began.
    fn frame(&mut self, key: bool, sizes: &[usize], time: Duration) -> Option<Frame> {
        let now = Instant::now();
        let ticks = (time.as_micros() * u128::from(self.clock_rate) / 1_000_000) as u32;
        let mut frame = None;
        for (n, size) in sizes.iter().enumerate() {
            let marker = if n + 1 == sizes.len() { 0x80 } else { 0 };
            let mut packet = vec![0x80, self.payload_type | marker];
            packet.extend_from_slice(&self.sequence_number.to_be_bytes());
            packet.extend_from_slice(&ticks.to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0, 1]);
            // The VP8 payload descriptor and the first byte of the frame (RFC 7741, 4.2 and 4.3).
            packet.extend_from_slice(&[if n == 0 { 0x10 } else { 0 }, u8::from(!key)]);
            packet.resize(*size, n as u8);
            self.sequence_number = self.sequence_number.wrapping_add(1);
            frame = self.assembler.push(&packet, now);
        }
        frame
    }
}

/// Sends a lecture into an SFU until it is aborted; the timestamps of its tracks are 0 at `epoch`.
pub(super) async fn teach(
    input: impl Fn(Frame) + Send + 'static,
    rate: Rate,
    epoch: Instant,
    control: Arc<LectureControl>,
) {
    let mut video = Payloader::new(Track::Screen, Codec::Vp8, 96);
    let mut audio = Payloader::new(Track::Audio, Codec::Opus, 111);
    let (mut video_ticks, mut audio_ticks) = (tokio::time::interval(rate.every()), tokio::time::interval(AUDIO_EVERY));
    let key_every = (rate.key_every.as_secs_f64() * f64::from(rate.fps)) as u64;
    let mut since_key = key_every;
    loop {
        let is_video = tokio::select! {
            _ = video_ticks.tick() => true,
            _ = audio_ticks.tick() => false,
        };
        if control.silent.load(Ordering::Relaxed) {
            continue;
        }
        let frame = if is_video {
            let wanted = control.key_frame_needed.swap(false, Ordering::Relaxed);
            since_key = if wanted || since_key + 1 >= key_every { 0 } else { since_key + 1 };
            video.frame(since_key == 0, &rate.packets(since_key), epoch.elapsed())
        } else {
            audio.frame(true, &[HEADER_BYTES + AUDIO_BYTES], epoch.elapsed())
        };
        if let Some(frame) = frame {
            control.packets.fetch_add(frame.len() as u64, Ordering::Relaxed);
            input(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bits_per_second: u32, fps: u32) -> Rate {
        Rate { bits_per_second, fps, key_every: Duration::from_secs(5) }
    }

    #[test]
    fn the_video_has_the_requested_rate() {
        for (bits_per_second, fps) in [(2_500_000, 30), (500_000, 15), (8_000_000, 60)] {
            let rate = rate(bits_per_second, fps);
            let frames = u64::from(fps) * rate.key_every.as_secs();
            let bytes: usize = (0..frames).flat_map(|n| rate.packets(n)).map(|size| size - HEADER_BYTES).sum();
            let bits = bytes as f64 * 8.0 / rate.key_every.as_secs_f64();
            assert!((bits / f64::from(bits_per_second) - 1.0).abs() < 0.02, "{bits} for {bits_per_second}");
        }
        assert_eq!(rate(50_000, 120).packets(1).len(), 1, "no frame without a packet");
    }

    #[test]
    fn only_the_last_packet_is_smaller() {
        let rate = rate(2_500_000, 30);
        for frame in rate.second() {
            let (last, others) = frame.packets.split_last().unwrap();
            assert!(others.iter().all(|size| *size == MTU) && *last <= MTU);
        }
        assert_eq!(rate.second().len(), 80);
    }

    #[test]
    fn frames_have_the_form_that_an_sfu_takes() {
        let rate = rate(2_500_000, 30);
        let mut video = Payloader::new(Track::Screen, Codec::Vp8, 96);
        let key = video.frame(true, &rate.packets(0), Duration::from_secs(1)).unwrap();
        assert!(key.key && key.timestamp == 90_000 && key.len() == rate.packets(0).len());
        let other = video.frame(false, &rate.packets(1), Duration::from_secs(2)).unwrap();
        assert!(!other.key && other.bytes() == rate.packets(1).iter().sum::<usize>());
        let mut audio = Payloader::new(Track::Audio, Codec::Opus, 111);
        assert_eq!(audio.frame(true, &[172], Duration::from_secs(1)).unwrap().timestamp, 48_000);
    }
}
