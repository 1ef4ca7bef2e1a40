//! Codes drawn into frames before the encoder and read after the decoder, at low bitrates.

use std::sync::{Arc, Mutex};

use classroom::bench::codes::{CodeWriter, ReadFrame, now_ms, read_codes};
use classroom::media::{Capture, CaptureOptions, MainSource, Render, RenderOptions, Sink, Size, VideoOptions};
use classroom::rtp::{Codec, Latency, Track};

use super::bed::{format_of, until};
use super::options;

/// An upper bound for the run time of a test.
const SOON_MS: u64 = 60_000;

#[test]
fn codes_survive_both_codecs_at_few_bits_and_in_half_the_size() {
    for codec in [Codec::H264, Codec::Vp8] {
        for (width, height, bitrate) in [(1280, 720, 450_000), (640, 360, 450_000), (640, 360, 150_000)] {
            survives(
                codec,
                VideoOptions { size: Some(Size { width, height }), fps: 30, bitrate: Some(bitrate) },
                false,
            );
        }
    }
}

#[test]
fn codes_survive_a_film_that_takes_all_bits() {
    for codec in [Codec::H264, Codec::Vp8] {
        for (width, height) in [(1280, 720), (640, 360)] {
            survives(codec, VideoOptions { size: Some(Size { width, height }), fps: 15, bitrate: Some(450_000) }, true);
        }
    }
}

fn survives(codec: Codec, screen: VideoOptions, film: bool) {
    let begun = now_ms();
    let options = CaptureOptions { codec: Some(codec), screen, ..options(MainSource::Demo) };
    let prepared = Capture::prepare(options).unwrap();
    let codes = CodeWriter::attach(&prepared, film);
    let tracks = prepared.tracks().into_iter().map(|(track, codec)| format_of(track, codec)).collect();
    let latency = std::time::Duration::from_millis(100);
    let options = RenderOptions {
        sink: Sink::Null,
        latency: Latency::Fixed(latency),
        tracks,
        audio: false,
        title: String::new(),
    };
    let (render, _rendered) = Render::start(options).unwrap();
    let seen: Arc<Mutex<Vec<ReadFrame>>> = Arc::default();
    let log = seen.clone();
    read_codes(&render, Track::Screen, move |picture| log.lock().unwrap().push(picture));
    let capture = Capture::start(prepared, move |frame| {
        frame.packets().for_each(|packet| render.push_rtp(frame.track, packet));
    });
    let (capture, _captured) = capture.unwrap();
    let seen = until("90 pictures", || Some(seen.lock().unwrap().clone()).filter(|seen| seen.len() >= 90));
    capture.stop();
    let drawn = codes.written();
    let [drawn] = &drawn[..] else { panic!("one encoder was to be drawn into: {drawn:?}") };
    let width = screen.size.unwrap().width;
    assert_eq!((&*drawn.encoder, drawn.width), ("screen-encoder", width));
    for picture in &seen {
        let (number, captured) = picture.code.unwrap_or_else(|| panic!("no code at {:?}", screen.bitrate));
        assert_eq!((drawn.captured_ms[usize::from(number)], picture.width), (captured, width));
        assert!(captured <= picture.decoded_ms && picture.decoded_ms - begun < SOON_MS, "{picture:?} after {begun}");
    }
    let numbers: Vec<u16> = seen.iter().filter_map(|picture| Some(picture.code?.0)).collect();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
}
