//! Encodings on demand: unneeded ones are not produced, and starting or stopping one does not disturb the others.

use std::collections::HashSet;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use classroom::media::{
    Capture, CaptureEvent, CaptureOptions, Content, FileList, MainSource, Render, RenderOptions, Sink, Sources, Tiers,
    TrackFormat, VideoOptions, Wanted,
};
use classroom::rtp::{Codec, Encoding, Frame, Tier, Track};
use tokio::sync::mpsc::Receiver;

use self::lecture::Lecture;

mod cost;
mod lecture;

const FULL: Encoding = Encoding { track: Track::Screen, tier: Tier::Full, codec: Codec::H264 };
const LOW: Encoding = Encoding { tier: Tier::Low, ..FULL };

/// A small test picture, because these tests do not depend on encoding speed.
fn options() -> CaptureOptions {
    CaptureOptions {
        sources: Sources::only(MainSource::Test),
        codec: Some(Codec::H264),
        screen: VideoOptions { size: Some("320x180".parse().unwrap()), fps: 20, bitrate: Some(400_000) },
        ..CaptureOptions::default()
    }
}

#[test]
fn encodings_are_listed_best_first() {
    let mut options = options();
    options.sources.camera = Wanted::Yes(Some("test".into()));
    let of = |tiers: Tiers, codec: Codec| {
        let prepared = Capture::prepare(CaptureOptions { tiers, codec: Some(codec), ..options.clone() }).unwrap();
        let short = |e: &Encoding| format!("{e} {}", e.codec);
        (prepared.tracks(), prepared.encodings().iter().map(short).collect::<Vec<_>>().join(", "))
    };
    let (tracks, encodings) = of(Tiers::Both(None), Codec::H264);
    assert_eq!(tracks, [(Track::Audio, Codec::Opus), (Track::Screen, Codec::H264), (Track::Camera, Codec::H264)]);
    assert_eq!(
        encodings,
        "audio Opus, screen H.264, screen low H.264, screen VP8, screen low VP8, \
         camera H.264, camera low H.264, camera VP8, camera low VP8"
    );
    assert_eq!(of(Tiers::Full, Codec::Vp8).1, "audio Opus, screen VP8, screen H.264, camera VP8, camera H.264");
    let (tracks, encodings) = of(Tiers::Low(None), Codec::Vp8);
    assert_eq!(tracks[1..], [(Track::Screen, Codec::Vp8), (Track::Camera, Codec::Vp8)]);
    assert_eq!(encodings, "audio Opus, screen low VP8, screen low H.264, camera low VP8, camera low H.264");
}

#[test]
fn starting_and_stopping_the_low_tier_does_not_disturb_the_full_tier() {
    let lecture = Lecture::start(options());
    lecture.until_frames(FULL, 5);
    assert!(lecture.frames(LOW).is_empty(), "unneeded");
    lecture.capture.need(LOW, true);
    lecture.until_frames(LOW, 15);
    lecture.capture.need(LOW, false);
    let before = lecture.frames(FULL).len();
    lecture.until_frames(FULL, before + 20);
    let (full, low) = (lecture.frames(FULL), lecture.frames(LOW));
    let after = low.len();
    lecture.until_frames(FULL, before + 40);
    assert_eq!(lecture.frames(LOW).len(), after, "the low tier goes on although it is no longer needed");

    assert!(low[0].key && low[1..].iter().all(|frame| !frame.key), "one key frame, and no other without a request");
    let pictures: HashSet<u32> = full.iter().map(|frame| frame.timestamp).collect();
    assert!(
        low.iter().all(|frame| pictures.contains(&frame.timestamp)),
        "a frame has the same timestamp in both tiers"
    );
    // Every other frame. A busy machine may drop more.
    let step = 90_000 / 20;
    assert!(low.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) >= 2 * step - 90));

    assert!(full[0].key && full[1..].iter().all(|frame| !frame.key), "the full tier started only once");
    let packets: Vec<(u32, u16)> = full.iter().flat_map(lecture::names).collect();
    assert!(
        packets.windows(2).all(|pair| pair[1] == (pair[0].0, pair[0].1.wrapping_add(1))),
        "one stream without a gap"
    );
    let longest = full.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) / step).max();
    assert!(longest < Some(10), "missing frames: {longest:?} in a row");
}

#[test]
fn every_encoding_starts_with_a_key_frame_and_has_its_size() {
    let mut options = options();
    options.sources.camera = Wanted::Yes(Some("test".into()));
    options.camera.size = Some("192x108".parse().unwrap());
    let lecture = Lecture::start(options);
    let encodings = lecture.capture.encodings();
    assert_eq!(encodings.len(), Encoding::COUNT);
    encodings.iter().for_each(|encoding| lecture.capture.need(*encoding, true));
    for encoding in encodings.into_iter().filter(|encoding| encoding.track.is_video()) {
        lecture.until_frames(encoding, 12);
        let frames = lecture.frames(encoding);
        assert!(frames[0].key, "{encoding}");
        let expected = match (encoding.track, encoding.tier) {
            (Track::Screen, Tier::Full) => (320, 180),
            (Track::Screen, Tier::Low) => (160, 90),
            (_, Tier::Full) => (192, 108),
            // Half of 108 is even already.
            (_, Tier::Low) => (96, 54),
        };
        assert_eq!(lecture::size(encoding, &frames), expected, "{encoding} in {}", encoding.codec);
    }
    // All encodings of a track start with the same RTP timestamp, so they share timestamps.
    for track in [Track::Screen, Track::Camera] {
        let of_track = |encoding: &Encoding| encoding.track == track;
        let encodings: Vec<Encoding> = lecture.capture.encodings().into_iter().filter(of_track).collect();
        let full: HashSet<u32> = lecture.frames(encodings[0]).iter().map(|frame| frame.timestamp).collect();
        for encoding in &encodings[1..] {
            let frames = lecture.frames(*encoding);
            let shared = frames.iter().filter(|frame| full.contains(&frame.timestamp)).count();
            assert!(shared >= 1, "{encoding} in {} shares no timestamp with full", encoding.codec);
        }
    }
}

#[test]
fn the_low_tier_of_text_keeps_the_size_at_five_frames_per_second() {
    let mut options = options();
    options.content = Some(Content::Text);
    options.tiers = Tiers::Both(Some(400_000));
    options.sources.camera = Wanted::Yes(Some("test".into()));
    options.camera.size = Some("192x108".parse().unwrap());
    let lecture = Lecture::start(options);
    let camera = Encoding { track: Track::Camera, ..LOW };
    let vp8 = Encoding { codec: Codec::Vp8, ..LOW };
    let lows = [LOW, vp8, camera];
    lows.iter().for_each(|encoding| lecture.capture.need(*encoding, true));
    for encoding in lows {
        lecture.until_frames(encoding, 8);
    }
    assert_eq!(lows.map(|low| lecture::size(low, &lecture.frames(low))), [(320, 180), (320, 180), (96, 54)]);
    for low in [LOW, vp8] {
        let frames = lecture.frames(low);
        let seconds = f64::from(frames[frames.len() - 1].timestamp.wrapping_sub(frames[0].timestamp)) / 90_000.0;
        // At most one picture a second is a new page, which does not wait.
        assert!((frames.len() - 1) as f64 <= 6.1 * seconds, "{} pictures in {seconds} s", frames.len());
    }
    // A requested key frame does not wait for the next regular frame of this low rate.
    let before = lecture.frames(LOW).len();
    lecture.capture.request_key_frame(LOW);
    lecture.until("a key frame", || lecture.frames(LOW)[before..].iter().any(|frame| frame.key));
}

#[test]
fn the_full_tier_is_encoded_only_while_it_is_needed() {
    let lecture = Lecture::start(options());
    lecture.until_frames(FULL, 5);
    lecture.capture.need(LOW, true);
    lecture.until_frames(LOW, 1);
    lecture.capture.need(FULL, false);
    let before = lecture.frames(FULL).len();
    lecture.until_frames(LOW, 10);
    assert_eq!(lecture.frames(FULL).len(), before);
    assert!(lecture.capture.encode_ms(FULL).is_none() && lecture.capture.encode_ms(LOW).is_some());
    lecture.capture.need(FULL, true);
    lecture.until_frames(FULL, before + 10);
    let full = lecture.frames(FULL);
    assert!(full[before].key, "the full tier starts with a key frame");
    // A key-frame request reaches only one encoding.
    let low_keys = || lecture.frames(LOW).iter().filter(|frame| frame.key).count();
    lecture.capture.request_key_frame(FULL);
    lecture.until("a key frame", || lecture.frames(FULL)[before + 10..].iter().any(|frame| frame.key));
    assert_eq!(low_keys(), 1);
    lecture.capture.request_key_frame(LOW);
    lecture.until("a key frame of the low tier", || low_keys() == 2);
}

#[test]
fn an_encoding_needed_again_at_once_starts_with_a_key_frame() {
    let lecture = Lecture::start(options());
    for _ in 0..20 {
        let before = lecture.frames(LOW).len();
        lecture.capture.need(LOW, true);
        lecture.until_frames(LOW, before + 2);
        lecture.capture.need(LOW, false);
        let kept = lecture.frames(LOW);
        assert!(kept[before].key, "after {before} frames");
        // The next round needs the encoding again before, during or after its removal.
    }
}

#[test]
fn a_file_ends_even_if_nobody_watches_its_video() {
    if !crate::support::has_tools("ending a file that nobody watches", &["espeak-ng"]) {
        return;
    }
    let path = crate::pipelines::files::lecture("unwatched.mp4", 30);
    let main = MainSource::Files(FileList::once(path));
    let mut lecture = Lecture::start(CaptureOptions { sources: Sources::only(main), ..options() });
    lecture.capture.need(FULL, false);
    assert_eq!(lecture.until_event(), CaptureEvent::Eos);
}

#[test]
fn a_users_pipeline_offers_the_tiers_that_it_encodes() {
    let path = crate::pipelines::bed::folder().join("own-tiers.gst");
    let text = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=20/1 ! tee name=all\n\
                all. ! queue ! vp8enc name=screen-encoder deadline=1 ! rtpvp8pay ! appsink name=screen\n\
                all. ! queue ! videorate ! videoscale ! video/x-raw,width=160,height=90,framerate=10/1\n\
                ! vp8enc name=screen-low-encoder deadline=1 ! rtpvp8pay ! appsink name=screen-low\n\
                # And one of raw pictures, which is encoded as needed.\n\
                videotestsrc is-live=true ! {camera.exact} ! {camera.pictures}\n";
    std::fs::write(&path, text).unwrap();
    let lecture = Lecture::start(CaptureOptions { pipeline: Some(path), ..options() });
    let full = Encoding::full(Track::Screen, Codec::Vp8);
    let low = full.with(Tier::Low);
    let camera = Encoding::full(Track::Camera, Codec::H264);
    assert_eq!(lecture.capture.encodings()[..4], [full, low, camera, camera.with(Tier::Low)]);
    lecture.until_frames(full, 5);
    lecture.until_frames(camera, 5);
    assert!(lecture.frames(low).is_empty(), "encoded but not needed");
    lecture.capture.need(low, true);
    lecture.until_frames(low, 5);
    lecture.capture.need(low, false);
    let frames = lecture.frames(low);
    assert!(frames[0].key && lecture.capture.encode_ms(low).is_some());
    assert_eq!(lecture::size(low, &frames), (160, 90));
    let near = frames[0].timestamp.wrapping_sub(lecture.frames(full)[0].timestamp);
    assert!(near < 90_000 * 60, "the timestamps are {near} apart");
}

/// Runs one test of this file in a new process.
fn in_process(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("tiers::{test}"), "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn fifty_switches_leave_no_thread_behind() {
    in_process("switches_the_low_tier_on_and_off");
}

#[test]
#[ignore = "started by fifty_switches_leave_no_thread_behind"]
fn switches_the_low_tier_on_and_off() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let lecture = Lecture::start(options());
    lecture.until_frames(FULL, 5);
    let on = || {
        lecture.capture.need(LOW, true);
        lecture.capture.need(Encoding { codec: Codec::Vp8, ..LOW }, true);
    };
    let off = || {
        lecture.capture.need(LOW, false);
        lecture.capture.need(Encoding { codec: Codec::Vp8, ..LOW }, false);
    };
    let gone = || lecture.capture.encode_ms(LOW).is_none();
    // The first round starts GStreamer's thread pool, which stays for the life of the process.
    on();
    lecture.until_frames(LOW, 2);
    off();
    lecture.until("the end of the low tier", gone);
    let before = threads();
    for round in 0..50 {
        on();
        // Sometimes let the encoder live long enough to encode.
        if round % 10 == 0 {
            let frames = lecture.frames(LOW).len();
            lecture.until_frames(LOW, frames + 1);
        }
        off();
    }
    lecture.until("as many threads as before", || threads() <= before);
    let full = lecture.frames(FULL);
    assert!(full[1..].iter().all(|frame| !frame.key), "the full tier went on");
}
