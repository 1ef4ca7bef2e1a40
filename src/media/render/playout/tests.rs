//! Audio loss with the real encoder and decoder.

use super::super::pipeline;
use super::super::types::TrackFormat;
use super::*;
use crate::media::pipelines::{self, Values};
use crate::rtp::{Codec, Latency};

const RATE: usize = 48_000;
const BLOCK: usize = RATE / 50;

/// An artificial voice with syllables and a varying pitch.
fn voice(seconds: usize) -> Vec<i16> {
    let mut phase = 0.0f64;
    let sample = |n: usize| {
        let t = n as f64 / RATE as f64;
        phase += (150.0 + 50.0 * (t * 5.0).sin()) / RATE as f64;
        let tone: f64 = (1..12).map(|k| (phase * f64::from(k) * std::f64::consts::TAU).sin() / f64::from(k)).sum();
        (tone * (t * 9.0).sin().abs() * 6000.0) as i16
    };
    (0..seconds * RATE).map(sample).collect()
}

/// The packets of the voice, as the teacher's pipeline sends them.
fn packets(voice: &[i16]) -> Vec<Vec<u8>> {
    let text = format!(
        "appsrc name=voice format=time caps=audio/x-raw,format=S16LE,rate={RATE},channels=1,layout=interleaved \
         ! {} ! rtpopuspay pt=111 ! appsink name=out sync=false",
        crate::media::source::audio_encoder(64_000)
    );
    let pipeline = pipelines::parse("encoder", &text).unwrap();
    let source = pipeline.by_name("voice").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (n, block) in voice.chunks(BLOCK).enumerate() {
        let mut buffer = gst::Buffer::from_slice(block.iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<u8>>());
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::from_mseconds(n as u64 * 20));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let samples = std::iter::from_fn(|| sink.pull_sample().ok());
    let packets = samples.map(|sample| sample.buffer().unwrap().map_readable().unwrap().to_vec()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    packets
}

/// The decoded audio of packets that arrive in time or never.
fn heard(packets: &[Vec<u8>], lose: impl Fn(usize) -> bool) -> Vec<i16> {
    let format = TrackFormat { track: Track::Audio, codec: Codec::Opus, payload_type: 111 };
    let (depayloader, encoded) = pipeline::depayloader(Codec::Opus);
    let values = Values::default()
        .set("track", Track::Audio)
        .set("depayloader", depayloader)
        .set("encoded", encoded)
        .set("decoder", pipeline::decoder(&format).unwrap());
    let mut text = pipelines::text(&[pipelines::WATCH_TRACK], &values).unwrap();
    text.push_str(
        &pipelines::fill("end", "! {decoder} ! audio/x-raw,channels=1 ! appsink name=out sync=false", &values).unwrap(),
    );
    let pipeline = pipelines::parse("decoder", &text).unwrap();
    let source = pipeline.by_name("audio").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    source.set_caps(Some(&super::super::caps(format)));
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    // This test pushes faster than any network.
    pipeline.by_name("audio-queue").unwrap().set_property_from_str("leaky", "no");
    pipeline.set_state(gst::State::Playing).unwrap();
    let latency = Latency::Fixed(Duration::from_millis(60));
    let mut playout = JitterBuffer::new([(Track::Audio, Codec::Opus)], latency, false);
    for (n, packet) in packets.iter().enumerate() {
        let now = Duration::from_millis(1000 + n as u64 * 20);
        playout.pass(now, |_, played| push_to_appsrc(&source, played));
        if !lose(n) {
            playout.take(Track::Audio, packet, now, |_, played| push_to_appsrc(&source, played));
        }
    }
    playout.pass(Duration::from_secs(3600), |_, played| push_to_appsrc(&source, played));
    source.end_of_stream().unwrap();
    let samples = std::iter::from_fn(|| sink.pull_sample().ok());
    let heard = samples.flat_map(|sample| {
        let bytes = sample.buffer().unwrap().map_readable().unwrap().to_vec();
        bytes.chunks(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect::<Vec<_>>()
    });
    let heard = heard.collect();
    pipeline.set_state(gst::State::Null).unwrap();
    heard
}

/// The correlation of two blocks; 1 means equal.
fn likeness(one: &[i16], other: &[i16]) -> f64 {
    let product = |a: &[i16], b: &[i16]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    product(one, other) / (product(one, one) * product(other, other)).sqrt().max(1.0)
}

#[test]
fn a_lost_audio_packet_is_restored_from_the_next_one() {
    crate::media::init().unwrap();
    let packets = packets(&voice(6));
    let is_lost = |n: usize| n % 10 == 7;
    let (whole, lossy) = (heard(&packets, |_| false), heard(&packets, is_lost));
    // The decoder holds the last packet, whose redundant copy may be needed.
    assert_eq!((whole.len(), lossy.len()), (300 * BLOCK, 300 * BLOCK), "no hole, and nothing twice");
    let blocks = whole.chunks(BLOCK).zip(lossy.chunks(BLOCK)).enumerate();
    let loud = blocks.filter(|(n, (whole, _))| is_lost(*n) && whole.iter().any(|sample| sample.abs() > 4000));
    let likes: Vec<f64> = loud.map(|(_, (whole, lossy))| likeness(whole, lossy)).collect();
    // Without the redundant copy, concealment gives less than 0.9 in the worst block.
    assert!(likes.len() > 15 && likes.iter().all(|like| *like > 0.98), "{likes:?}");
}
