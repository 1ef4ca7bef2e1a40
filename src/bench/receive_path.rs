//! The CPU time of ingest for each packet of a publisher, compared with that of opening SRTP alone.
//!
//! Both work on the same sealed packets, in turns, so that other load of the machine hits both. The datagrams have just
//! been written, as by a receive, and fit into the cache. Their allocation does not count, but their release does.
//! The median of many short turns is not that of a turn that was interrupted. Sockets are left out.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::BytesMut;
use serde_json::{Value, json};

use super::cpu;
use crate::ingest::{ExtensionIds, Ingest, IngestLimit, IngestSection};
use crate::rtp::{Codec, OutgoingPacket, Track, TwccSequenceNumber};
use crate::srtp::{RtpOpener, Sealer};

/// The key and the salt of the packets, which go nowhere.
const KEY: [u8; 16] = [3; 16];
const SALT: [u8; 12] = [4; 12];

/// The length of the lecture, which contains a receiver report, and the number of turns of each side.
const LENGTH: Duration = Duration::from_millis(1_100);
const TURNS: usize = 401;

/// Frames and their packets: 2.4 Mbit/s at 30 frames a second, and sound. A slice of a frame fills a packet.
const VIDEO_EVERY: Duration = Duration::from_micros(33_333);
const PACKETS_OF_A_FRAME: usize = 9;
const VIDEO_BYTES: usize = 1_120;
const AUDIO_EVERY: Duration = Duration::from_millis(20);
const AUDIO_BYTES: usize = 90;

const VIDEO: Stream = Stream { ssrc: 7, payload_type: 96, ticks_per_second: 90_000 };
const AUDIO: Stream = Stream { ssrc: 9, payload_type: 111, ticks_per_second: 48_000 };
const TWCC_ID: u8 = 3;

struct Stream {
    ssrc: u32,
    payload_type: u8,
    ticks_per_second: u128,
}

/// Packets that arrive together.
#[derive(Clone)]
struct Arrival {
    after: Duration,
    datagrams: Vec<BytesMut>,
}

/// CPU time in microseconds per packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ReceivePath {
    open_us: f64,
    ingest_us: f64,
}

impl ReceivePath {
    /// Opening and ingest together, as a multiple of opening alone.
    fn ratio(&self) -> f64 {
        self.ingest_us / self.open_us
    }

    pub(super) fn object(&self) -> Value {
        json!({ "open_us": self.open_us, "ingest_us": self.ingest_us, "ratio": self.ratio() })
    }

    pub(super) fn sentence(&self) -> String {
        let Self { open_us, ingest_us, .. } = self;
        let ratio = self.ratio();
        format!("A packet costs {open_us:.2} us to open and {ingest_us:.2} us with ingest: {ratio:.2} times.")
    }
}

/// Measures both. This takes less than a second of CPU time.
///
/// # Errors
/// If `ring` refuses the key, or if ingest does not find every frame.
pub(super) fn measure() -> anyhow::Result<ReceivePath> {
    let lecture = lecture().context("ring refuses a key")?;
    let packets = lecture.iter().map(|arrival| arrival.datagrams.len()).sum::<usize>();
    let (mut open, mut ingest) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        open.push(open_alone(&lecture)?);
        ingest.push(open_and_ingest(&lecture)?);
    }
    let per_packet = |times: &mut [Duration]| median(times).as_secs_f64() * 1e6 / packets as f64;
    Ok(ReceivePath { open_us: per_packet(&mut open), ingest_us: per_packet(&mut ingest) })
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The CPU time of one turn with datagrams of its own, as they are decrypted in place.
fn turn(lecture: &[Arrival], work: impl FnOnce(Vec<Arrival>) -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let copy = lecture.to_vec();
    let before = cpu::of_this_thread();
    work(copy)?;
    Ok(cpu::of_this_thread().saturating_sub(before))
}

fn open_alone(lecture: &[Arrival]) -> anyhow::Result<Duration> {
    let mut opener = RtpOpener::with_key(KEY, SALT).context("ring refuses a key")?;
    turn(lecture, |copy| {
        for mut datagram in copy.into_iter().flat_map(|arrival| arrival.datagrams) {
            opener.open(&mut datagram).context("a packet can't be opened")?;
        }
        Ok(())
    })
}

fn open_and_ingest(lecture: &[Arrival]) -> anyhow::Result<Duration> {
    let mut opener = RtpOpener::with_key(KEY, SALT).context("ring refuses a key")?;
    let begin = Instant::now();
    let section = |mid: &str, track, stream: &Stream, codec| IngestSection {
        mid: mid.to_owned(),
        track,
        codecs: vec![(stream.payload_type, codec)],
        rtx: Vec::new(),
        rids: Vec::new(),
        ssrcs: vec![(stream.ssrc, None)],
    };
    let sections =
        vec![section("0", Track::Audio, &AUDIO, Codec::Opus), section("1", Track::Screen, &VIDEO, Codec::Vp8)];
    let ids = ExtensionIds { twcc: Some(TWCC_ID), ..ExtensionIds::default() };
    let mut ingest = Ingest::new(begin, sections, ids, IngestLimit::default());
    turn(lecture, |copy| {
        let (arrivals, mut frames) = (copy.len(), 0);
        for Arrival { after, datagrams } in copy {
            let now = begin + after;
            if ingest.deadline().is_some_and(|at| at <= now) {
                ingest.on_timeout(now);
            }
            for mut datagram in datagrams {
                let length = opener.open(&mut datagram).context("a packet can't be opened")?.len();
                datagram.truncate(length);
                ingest.on_rtp(now, datagram);
            }
            while ingest.next_rtcp(now).is_some() {}
            frames += std::iter::from_fn(|| ingest.next_frame()).count();
        }
        anyhow::ensure!(frames == arrivals, "ingest found {frames} of {arrivals} frames");
        Ok(())
    })
}

/// Frames of video and audio in the order of their times. None if `ring` refuses the key.
fn lecture() -> Option<Vec<Arrival>> {
    let sealer = Sealer::with_key(KEY, SALT)?;
    let (mut arrivals, mut number) = (Vec::new(), 0u16);
    let (mut next_video, mut next_audio, mut video_index, mut audio_index) = (Duration::ZERO, AUDIO_EVERY / 2, 1, 1);
    while next_video.min(next_audio) < LENGTH {
        let is_video = next_video <= next_audio;
        let (stream, index, next, every, packets, bytes) = if is_video {
            (&VIDEO, &mut video_index, &mut next_video, VIDEO_EVERY, PACKETS_OF_A_FRAME, VIDEO_BYTES)
        } else {
            (&AUDIO, &mut audio_index, &mut next_audio, AUDIO_EVERY, 1, AUDIO_BYTES)
        };
        let after = *next;
        *next += every;
        let is_first = *index == 1;
        let seal = |n: usize| {
            // The descriptor of VP8 (RFC 7741, 4.2), and the bit of its payload that says "no key frame".
            let mut payload = vec![0x55; bytes];
            (payload[0], payload[1]) = (if n == 0 { 0x10 } else { 0 }, u8::from(!is_first));
            let packet = OutgoingPacket {
                marker: n + 1 == packets,
                payload_type: stream.payload_type,
                index: *index,
                timestamp: (after.as_nanos() * stream.ticks_per_second / 1_000_000_000) as u32,
                ssrc: stream.ssrc,
                twcc: Some(TwccSequenceNumber { id: TWCC_ID, number }),
                playout: None,
                original: None,
                padding: 0,
                payload: &payload,
            };
            let mut sealed = Vec::new();
            sealer.seal(&packet, &mut sealed);
            *index += 1;
            number = number.wrapping_add(1);
            sealed[..].into()
        };
        arrivals.push(Arrival { after, datagrams: (0..packets).map(seal).collect() });
    }
    Some(arrivals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_take_every_packet() {
        let found = measure().unwrap();
        assert!(found.open_us > 0.0 && found.ingest_us > 0.0, "{}", found.sentence());
    }
}
