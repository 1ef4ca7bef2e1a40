//! The quality of the low tier for small text and for film: encode, decode and compare with the source.
//!
//! These tests are independent of time: frames enter as fast as the encoder takes them, and none is dropped for being
//! late.

use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::media::encode::branch::Branch;
use crate::media::encode::branch_spec::{BranchSpec, VideoTrack};
use crate::media::encode::config::{EncoderConfig, Reduction};
use crate::media::encode::encoder::{ENCODERS, Encoder};
use crate::media::encode::output::KeyFrameGate;
use crate::media::encode::screen_monitor::ScreenMonitor;
use crate::media::error::require;
use crate::media::init;
use crate::media::options::{Content, Size};
use crate::rtp::{Codec, Frame, Tier, Track};

const SIZE: Size = Size { width: 1920, height: 1080 };
const FPS: u64 = 30;

/// The luma plane of a frame.
type Luma = Vec<u8>;

fn pull(text: &str) -> Vec<gst::Buffer> {
    let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let raw_frames =
        std::iter::from_fn(|| sink.pull_sample().ok()).filter_map(|sample| sample.buffer_owned()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    raw_frames
}

fn raw() -> String {
    format!("video/x-raw,format=I420,width={},height={},framerate={FPS}/1", SIZE.width, SIZE.height)
}

/// A page of code and prose in letters of 10 pt, 13 pixels at 96 dpi.
fn page(seed: usize) -> gst::Buffer {
    let words = ["l1[i] = Il0;", "x^2 + e^-3t", "while (n >= 0o7)", "{ rn, m, cl, d }", "eigenvalue", "8B6G", "0xB8E3"];
    let line =
        |n: usize| (0..9).map(|k| words[(n * 5 + k * 3 + n * k + seed) % words.len()]).collect::<Vec<_>>().join("  ");
    let text: String =
        (0..52).map(|n| format!("{n:02}  {}&#10;", line(n).replace('<', "&lt;").replace('>', "&gt;"))).collect();
    let raw_frames = pull(&format!(
        "videotestsrc num-buffers=1 pattern=white ! {} ! textoverlay text=\"{text}\" halignment=left valignment=top \
         line-alignment=left auto-resize=false wrap-mode=none color=0xff101010 draw-shadow=false draw-outline=false \
         font-desc=\"DejaVu Sans Mono 13px\" xpad=40 ypad=20 ! appsink name=out sync=false",
        raw()
    ));
    raw_frames.into_iter().next().unwrap()
}

/// A page that is replaced by another one after three seconds.
fn pages(seconds: u64) -> Vec<gst::Buffer> {
    let (first, second) = (page(0), page(3));
    (0..seconds * FPS).map(|n| if n < 3 * FPS { first.clone() } else { second.clone() }).collect()
}

/// Growing rings with some noise: movement everywhere.
fn film(seconds: u64) -> Vec<gst::Buffer> {
    let raw_frames = seconds * FPS;
    pull(&format!(
        "videotestsrc num-buffers={raw_frames} pattern=zone-plate kx2=3 ky2=3 kt=12 ! {} ! appsink name=out sync=false \
         max-buffers=2",
        raw()
    ))
}

fn luma(raw_frame: &gst::Buffer) -> Luma {
    raw_frame.map_readable().unwrap()[..SIZE.pixels() as usize].to_vec()
}

/// Peak signal-to-noise ratio in dB.
fn psnr(one: &[u8], other: &[u8]) -> f64 {
    let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let sum: u64 = one.iter().zip(other).map(square).sum();
    10.0 * (255.0 * 255.0 * one.len() as f64 / sum.max(1) as f64).log10()
}

/// The low tier of 1920x1080 at `bitrate`.
fn spec(encoder: &Encoder, content: Content, bitrate: u32) -> BranchSpec {
    let video = VideoTrack {
        track: Track::Screen,
        full: EncoderConfig::full(SIZE, FPS as u32, 4_600_000),
        bounds: SIZE,
        content,
        low_bitrate: Some(bitrate),
        timestamp_offset: 0,
    };
    video.branch_spec(Tier::Low, encoder, true).unwrap()
}

/// Encodes frames of 30 per second.
fn encode(spec: &BranchSpec, raw_frames: &[gst::Buffer]) -> Vec<Frame> {
    encode_with(spec, raw_frames, |_| None)
}

/// The same, with a monitor of the raw video at the tee.
fn encode_with(
    spec: &BranchSpec,
    raw_frames: &[gst::Buffer],
    monitor: impl FnOnce(&gst::Element) -> Option<Arc<ScreenMonitor>>,
) -> Vec<Frame> {
    let text = format!(
        "appsrc name=in format=time block=true max-buffers=4 caps=\"{}\" \
         ! tee name=screen-pictures allow-not-linked=true",
        raw()
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let frames = Arc::new(Mutex::new(Vec::new()));
    let (log, gate) = (frames.clone(), Arc::<KeyFrameGate>::default());
    gate.set(true);
    let tee = pipeline.by_name("screen-pictures").unwrap();
    let mut branch = Branch::build(spec, monitor(&tee)).unwrap();
    branch.output.connect(gate, Arc::new(move |frame| log.lock().unwrap().push(frame)), || {});
    branch.add_to(&pipeline, &tee).unwrap();
    // In production, this queue drops frames if the encoder is slow.
    pipeline.by_name(&format!("{}-entry", spec.name)).unwrap().set_property_from_str("leaky", "no");
    pipeline.set_state(gst::State::Playing).unwrap();
    let source = pipeline.by_name("in").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    for (n, raw_frame) in raw_frames.iter().enumerate() {
        let mut raw_frame = raw_frame.clone();
        let own = raw_frame.make_mut();
        own.set_pts(gst::ClockTime::SECOND * n as u64 / FPS);
        own.set_duration(gst::ClockTime::SECOND / FPS);
        source.push_buffer(raw_frame).unwrap();
    }
    source.end_of_stream().unwrap();
    let end_of_stream = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &end_of_stream).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    frames.lock().unwrap().clone()
}

/// Decodes frames and scales them to the size of the source, as a student's window does.
fn decode(codec: Codec, frames: &[Frame]) -> Vec<Luma> {
    let name = codec.encoding_name();
    let text = format!(
        "appsrc name=in format=time \
         caps=\"application/x-rtp,media=video,clock-rate=90000,encoding-name={name},payload=96\" \
         ! {} ! decodebin ! videoconvertscale ! {} ! appsink name=out sync=false",
        if codec == Codec::H264 { "rtph264depay" } else { "rtpvp8depay" },
        raw().replace(&format!(",framerate={FPS}/1"), "")
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("in").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for frame in frames {
        let time = gst::ClockTime::SECOND * u64::from(frame.timestamp) / 90_000;
        for packet in frame.packets() {
            let mut buffer = gst::Buffer::from_slice(packet.to_vec());
            buffer.make_mut().set_pts(time);
            source.push_buffer(buffer).unwrap();
        }
    }
    source.end_of_stream().unwrap();
    let raw_frames: Vec<Luma> =
        std::iter::from_fn(|| sink.pull_sample().ok()).map(|sample| luma(&sample.buffer_owned().unwrap())).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    raw_frames
}

/// What a student sees over a path with 20 % more capacity than the bitrate: each frame appears when its last byte has
/// arrived.
struct Shown {
    frames: Vec<Frame>,
    raw_frames: Vec<Luma>,
    /// In seconds, one per frame.
    arrivals: Vec<f64>,
}

impl Shown {
    fn of(spec: &BranchSpec, source: &[gst::Buffer]) -> Self {
        let frames = encode(spec, source);
        let raw_frames = decode(spec.encoding.codec, &frames);
        assert_eq!(raw_frames.len(), frames.len());
        let mut free = 0.0f64;
        let arrivals = frames.iter().map(|frame| {
            free = free.max(f64::from(frame.timestamp) / 90_000.0)
                + frame.bytes() as f64 * 8.0 / (f64::from(spec.config.bitrate) * 1.2);
            free
        });
        Self { arrivals: arrivals.collect(), raw_frames, frames }
    }

    /// The PSNR of the visible frame at a time. None before the first frame has arrived.
    fn psnr_at(&self, seconds: f64, source: &[gst::Buffer]) -> Option<f64> {
        let at = self.arrivals.iter().rposition(|arrival| *arrival <= seconds)?;
        Some(psnr(&luma(&source[(seconds * FPS as f64) as usize]), &self.raw_frames[at]))
    }
}

fn x264() -> Option<&'static Encoder> {
    ENCODERS.iter().find(|encoder| encoder.element == "x264enc").filter(|e| require(e.element).is_ok())
}

#[test]
fn small_text_stays_legible_in_the_low_tier_and_film_has_half_the_size() {
    init().unwrap();
    let Some(encoder) = x264() else { return };
    let source = pages(3);
    let text = spec(encoder, Content::Text, 450_000);
    let shown = Shown::of(&text, &source);
    assert_eq!(text.config.size, SIZE);
    assert_eq!(shown.frames.len(), 15, "five a second");
    assert!(shown.frames[0].bytes() < 28_000, "{} bytes are half a second", shown.frames[0].bytes());
    let film = spec(encoder, Content::Film, 450_000);
    assert_eq!((film.config.reduction, film.config.size), (Reduction::HalfSize, SIZE.half()));
    let halved = Shown::of(&film, &source);
    assert_eq!(halved.frames.len(), 45);
    let at = |shown: &Shown, seconds| shown.psnr_at(seconds, &source).unwrap();
    let (after_one, after_two, ambiguous) = (at(&shown, 1.0), at(&shown, 2.0), at(&halved, 2.9));
    println!("{after_one:.1} dB after 1 s, {after_two:.1} after 2 s, {ambiguous:.1} in half the size");
    assert!(after_one > ambiguous && after_two > ambiguous + 4.0 && after_two > 25.0);
}

#[test]
fn a_new_page_after_a_rest_is_a_large_key_frame() {
    init().unwrap();
    let Some(encoder) = x264() else { return };
    const STILL: usize = 6 * FPS as usize;
    let (first, second) = (page(0), page(3));
    let source: Vec<gst::Buffer> = (0..STILL + 10).map(|n| if n < STILL { &first } else { &second }.clone()).collect();
    let video = VideoTrack {
        track: Track::Screen,
        full: EncoderConfig::full(SIZE, FPS as u32, 2_500_000),
        bounds: SIZE,
        content: Content::Text,
        low_bitrate: None,
        timestamp_offset: 0,
    };
    let full = video.branch_spec(Tier::Full, encoder, true).unwrap();
    // The frame of the new page; its timestamp is that of the source.
    let change = (STILL as u64 * 90_000 / FPS) as u32;
    let of_change = |frames: &[Frame]| frames.iter().find(|frame| frame.timestamp >= change).unwrap().clone();
    let was = of_change(&encode(&full, &source));
    let is = of_change(&encode_with(&full, &source, |tee| Some(ScreenMonitor::watch(tee))));
    println!("{} bytes, now {}", was.bytes(), is.bytes());
    assert!(!was.key && is.key && is.timestamp == change, "a key frame at once");
    assert!(is.bytes() > was.bytes() * 3 / 2, "{} bytes before, {} now", was.bytes(), is.bytes());
}

/// The same picture, moved up by so many lines.
fn moved(picture: &gst::Buffer, lines: usize) -> gst::Buffer {
    let mut bytes = picture.map_readable().unwrap().to_vec();
    bytes[..SIZE.pixels() as usize].rotate_left(lines % SIZE.height as usize * SIZE.width as usize);
    gst::Buffer::from_mut_slice(bytes)
}

#[test]
fn a_page_right_after_scrolling_gets_its_bits_at_once() {
    init().unwrap();
    let Some(encoder) = x264() else { return };
    const MOVES: usize = FPS as usize;
    let (first, second) = (page(0), page(3));
    let scrolling = (0..MOVES).map(|n| moved(&first, n * 40));
    let source: Vec<gst::Buffer> = scrolling.chain(std::iter::repeat_n(second, FPS as usize)).collect();
    let bitrate = 4_600_000;
    let video = VideoTrack {
        track: Track::Screen,
        full: EncoderConfig::full(SIZE, FPS as u32, bitrate),
        bounds: SIZE,
        content: Content::Text,
        low_bitrate: None,
        timestamp_offset: 0,
    };
    let full = video.branch_spec(Tier::Full, encoder, true).unwrap();
    let change = (MOVES as u64 * 90_000 / FPS) as u32;
    let after = |frames: Vec<Frame>| -> Vec<usize> {
        frames.iter().filter(|frame| frame.timestamp >= change).map(Frame::bytes).collect()
    };
    let without = after(encode(&full, &source));
    let with = after(encode_with(&full, &source, |tee| Some(ScreenMonitor::watch(tee))));
    let soon = |bytes: &[usize]| bytes.iter().take(8).sum::<usize>();
    println!("{without:?}, now {with:?}");
    assert!(soon(&with) > soon(&without) * 3 / 2, "within 270 ms: {} and {}", soon(&without), soon(&with));
    // A second's worth at once, that of the second itself, and what the usual buffer allows.
    assert!(with.iter().sum::<usize>() < bitrate as usize / 8 * 5 / 2, "{} bytes", with.iter().sum::<usize>());
}

#[test]
#[ignore = "measures for a minute, for people"]
fn how_legible_each_low_tier_is() {
    init().unwrap();
    let (pages, film) = (pages(8), film(4));
    let vp8 = ENCODERS.iter().find(|encoder| encoder.element == "vp8enc");
    println!(
        "source  codec  kbit/s  low tier        key kB  dB after 0.5 s, 1 s, 2 s, 3 s; 0.5, 1 and 5 s after a new page"
    );
    for encoder in x264().into_iter().chain(vp8) {
        for bitrate in [450_000, 300_000, 150_000] {
            for (name, source, times) in
                [("page", &pages, &[0.5, 1.0, 2.0, 2.9, 3.5, 4.0, 7.9][..]), ("film", &film, &[0.5, 1.0, 2.0, 3.0])]
            {
                for content in [Content::Film, Content::Text] {
                    let spec = spec(encoder, content, bitrate);
                    let shown = Shown::of(&spec, source);
                    let of = |time: &f64| {
                        // For film, the mean of half a second.
                        let times =
                            (0..15).map(|n| time + f64::from(n) / FPS as f64 * f64::from(u8::from(name == "film")));
                        let all: Vec<f64> = times.filter_map(|time| shown.psnr_at(time, source)).collect();
                        format!("{:5.1}", all.iter().sum::<f64>() / all.len().max(1) as f64)
                    };
                    let EncoderConfig { size, fps, .. } = spec.config;
                    println!(
                        "{name:6}  {:5}  {:6}  {:9} {fps:2} fps  {:6.1}  {}",
                        encoder.codec,
                        bitrate / 1000,
                        size.to_string(),
                        shown.frames[0].bytes() as f64 / 1000.0,
                        times.iter().map(of).collect::<Vec<_>>().join(" ")
                    );
                }
            }
        }
    }
}
