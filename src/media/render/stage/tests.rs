//! Speakers who come and go beside a lecture that must not notice.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::super::freeze_detector::FreezeDetector;
use super::super::pipeline::{WindowSinks, with_sinks};
use super::super::tests::{FPS, SHORT, SIZE, brightness, encoded, on_time};
use super::super::types::RenderOptions;
use super::*;
use crate::rtp::Codec;

/// The brightness of a speaker's picture, which the lecture never has.
const SPEAKER: u8 = 235;

/// The lecture has six seconds; the speaker is there from second 1.5 on, large from 2.5 to 3.5, and leaves at 4.5.
const FRAMES: u64 = 180;
const JOINS: u64 = 45;
const LARGE: std::ops::Range<u64> = 75..105;
const LEAVES: u64 = 135;

/// The pixel in the middle of the window, and the one in the middle of the speaker's inset.
const MIDDLE: (u32, u32) = (SIZE.0 / 2, SIZE.1 / 2);
const INSET: (u32, u32) = (140, 83);

/// A frame in the window.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Duration,
    middle: u8,
    inset: u8,
}

fn format(track: Track) -> TrackFormat {
    let codec = if track.is_video() { Codec::H264 } else { Codec::Opus };
    TrackFormat { track, codec, payload_type: 96 }
}

fn lecture(sink: Sink, tracks: &[Track]) -> (Render, mpsc::Receiver<RenderEvent>) {
    crate::media::init().unwrap();
    let tracks = tracks.iter().map(|track| format(*track)).collect();
    let options = RenderOptions { sink, latency: SHORT, tracks, audio: true, title: String::new() };
    let outputs = WindowSinks { window: "fakesink qos=true max-lateness=20000000".into(), audio: None };
    let plan = with_sinks(&options, &outputs).unwrap();
    Render::with_plan(options, plan).unwrap()
}

fn speaker(user: &str, tracks: &[Track]) -> SpeakerOptions {
    SpeakerOptions {
        user: user.parse().unwrap(),
        name: "A".into(),
        latency: SHORT,
        tracks: tracks.iter().map(|track| format(*track)).collect(),
    }
}

/// Logs what the window shows.
fn log_window(render: &Render) -> Arc<Mutex<Vec<Seen>>> {
    let log: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (pipeline, to_log) = (render.pipeline.downgrade(), Arc::clone(&log));
    let window = render.pipeline.by_name("window").unwrap();
    window.set_property("signal-handoffs", true);
    window.connect("handoff", false, move |values| {
        let now = pipeline.upgrade()?.current_running_time()?;
        let buffer = values.get(1)?.get::<gst::Buffer>().ok()?;
        let map = buffer.map_readable().ok()?;
        let pixel = |(x, y): (u32, u32)| map.get((y * SIZE.0 + x) as usize).copied();
        to_log.lock().ok()?.push(Seen { at: now.into(), middle: pixel(MIDDLE)?, inset: pixel(INSET)? });
        None
    });
    log
}

fn wait_until(due: Instant) {
    while Instant::now() < due {
        std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
    }
}

fn push(render: &Render, track: Track, packets: &[Vec<u8>]) {
    for packet in packets {
        let mut packet = packet.clone();
        packet[11] = track as u8;
        render.push_rtp(track, &packet);
    }
}

/// A window of a render, and the running time of its pipeline at which each frame was sent.
struct Played {
    seen: Vec<Seen>,
    sent: Vec<Duration>,
    /// Packets and frames that were left out.
    left_out: u64,
}

/// Waits until the last frames are shown, and ends the render.
fn finish(render: Render, log: &Mutex<Vec<Seen>>, sent: Vec<Duration>, tracks: &[Track]) -> Played {
    let deadline = Instant::now() + Duration::from_secs(20);
    let end = brightness(FRAMES - 5)..=brightness(FRAMES - 1) + 1;
    while !log.lock().unwrap().last().is_some_and(|seen| end.contains(&seen.middle)) {
        assert!(Instant::now() < deadline, "the last frames never came: {:?}", log.lock().unwrap());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let stats = tracks.iter().map(|track| render.stats(*track));
    let left_out = stats.map(|stats| stats.lost + stats.skipped).sum();
    render.finish();
    let seen = log.lock().unwrap().clone();
    Played { seen, sent, left_out }
}

/// Plays a lecture with these tracks and the speaker, and at the same time the same lecture without a speaker.
fn play(tracks: &[Track]) -> [Played; 2] {
    crate::media::init().unwrap();
    let keys = "key-int-max=10000";
    let (of_lecture, of_speaker) = (encoded(FRAMES, keys, brightness), encoded(FRAMES, keys, |_| SPEAKER));
    let (render, mut events) = lecture(Sink::Window { fullscreen: false }, tracks);
    let (alone, _events) = lecture(Sink::Window { fullscreen: false }, tracks);
    let logs = [&render, &alone].map(log_window);
    let (to_speaker, started) = std::sync::mpsc::channel();
    let (mut on_stage, mut sent, begun) = (None, [Vec::new(), Vec::new()], Instant::now());
    for n in 0..FRAMES {
        wait_until(begun + Duration::from_millis(on_time(n)));
        for (render, sent) in [&render, &alone].into_iter().zip(&mut sent) {
            sent.push(render.pipeline.current_running_time().unwrap().into());
            tracks.iter().for_each(|track| push(render, *track, &of_lecture[n as usize]));
        }
        match n {
            JOINS => {
                let (stage, to_speaker) = (render.stage().unwrap().clone(), to_speaker.clone());
                std::thread::spawn(move || {
                    assert!(to_speaker.send(stage.start(&speaker("1001", &[Track::Camera])).unwrap()).is_ok());
                });
            }
            LEAVES => drop(on_stage.take()),
            _ => {}
        }
        if n < LEAVES {
            on_stage = on_stage.or_else(|| started.try_recv().ok().map(|started| (started, 0)));
        }
        if let Some(((speaker, _), at)) = &mut on_stage {
            push(speaker, Track::Camera, &of_speaker[*at]);
            *at += 1;
            speaker.enlarge(LARGE.contains(&n));
        }
    }
    let ([log, log_alone], [sent, sent_alone]) = (logs, sent);
    let played = [finish(render, &log, sent, tracks), finish(alone, &log_alone, sent_alone, tracks)];
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, RenderEvent::Error(_) | RenderEvent::Warning(_)), "{event:?}");
    }
    played
}

fn is_speaker(brightness: u8) -> bool {
    brightness.abs_diff(SPEAKER) < 6
}

/// The frames in which the time of the lecture is divided. Each change of the window is at the start of a span.
const SPAN: usize = 15;

/// The most runs: a busy machine disturbs a run, but not each of them in the same way.
const RUNS: usize = 5;

/// The spans with a freeze of a picture that was shown at these times.
fn freezes(shown: impl Iterator<Item = Duration>, sent: &[Duration]) -> BTreeSet<usize> {
    let span_of = |at: Duration| sent.partition_point(|sent| *sent <= at) / SPAN;
    let (mut detector, mut frozen) = (FreezeDetector::default(), BTreeSet::new());
    let (begun, mut last) = (Instant::now(), Duration::ZERO);
    for at in shown {
        let known = detector.count;
        detector.frame_shown(begun + at);
        if detector.count > known {
            frozen.extend(span_of(last)..=span_of(at));
        }
        last = at;
    }
    frozen
}

/// What was wrong in a run: sentences that name a moment, the same in each run.
type Faults = BTreeSet<String>;

/// Plays a lecture with a speaker, and judges what the window showed.
fn faults_of_a_run(tracks: &[Track]) -> Faults {
    let [Played { seen, sent, left_out }, alone] = play(tracks);
    let during = |frames: std::ops::Range<u64>| {
        // Some frames later, because a frame needs time to the window.
        let (from, to) = (sent[frames.start as usize + 15], sent[frames.end as usize - 1]);
        seen.iter().filter(move |seen| (from..to).contains(&seen.at))
    };
    let has_speaker = |seen: &Seen| is_speaker(seen.inset) || is_speaker(seen.middle);
    let checks = [
        ("the speaker is shown before it comes", !during(0..JOINS).any(has_speaker)),
        (
            "the speaker is not beside the lecture",
            during(JOINS..LARGE.start).any(|seen| is_speaker(seen.inset) && !is_speaker(seen.middle)),
        ),
        (
            "the lecture is not beside the speaker",
            during(LARGE).any(|seen| is_speaker(seen.middle) && !is_speaker(seen.inset)),
        ),
        ("the lecture is not large again", during(LARGE.end..LEAVES).any(|seen| !is_speaker(seen.middle))),
        ("the speaker stays", !during(LEAVES..FRAMES).any(has_speaker)),
        ("packets or frames of the lecture are left out", left_out <= alone.left_out),
    ];
    let mut faults: Faults = checks.into_iter().filter(|(_, holds)| !holds).map(|(what, _)| what.to_owned()).collect();
    // The lecture itself moves on: not the same frame again and again while the window changes. While the speaker is
    // large, the lecture is in the inset.
    let lecture = |seen: &Seen| if is_speaker(seen.middle) { seen.inset } else { seen.middle };
    let moved = seen.windows(2).filter(|pair| lecture(&pair[0]) != lecture(&pair[1])).map(|pair| pair[1].at);
    let frozen = &freezes(seen.iter().map(|seen| seen.at), &sent) | &freezes(moved, &sent);
    // The machine stops both lectures.
    let by_machine = freezes(alone.seen.iter().map(|seen| seen.at), &alone.sent);
    faults.extend(frozen.difference(&by_machine).map(|span| format!("a freeze in span {span}")));
    faults
}

#[test]
fn a_speaker_comes_and_goes_and_the_lecture_never_stops() {
    // The camera is over the inset of the speaker, who stands above the camera.
    for tracks in [&[Track::Screen][..], &[Track::Camera]] {
        let mut faults = faults_of_a_run(tracks);
        for _ in 1..RUNS {
            if faults.is_empty() {
                break;
            }
            faults = &faults & &faults_of_a_run(tracks);
        }
        assert!(faults.is_empty(), "{tracks:?}: in each of {RUNS} runs: {faults:?}");
    }
}

#[test]
fn a_lecture_without_a_picture_opens_the_window_for_a_speaker() {
    let (render, _events) = lecture(Sink::Window { fullscreen: false }, &[Track::Audio]);
    let shown = Arc::new(AtomicU32::new(0));
    let (window, counted) = (render.pipeline.by_name("window").unwrap(), Arc::clone(&shown));
    window.set_property("signal-handoffs", true);
    window.connect("handoff", false, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        None
    });
    let pictures = encoded(FPS, "key-int-max=10000", |_| SPEAKER);
    let (speaker, _events) = render.stage().unwrap().start(&speaker("1001", &[Track::Camera])).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    for packets in pictures.iter() {
        push(&speaker, Track::Camera, packets);
        std::thread::park_timeout(Duration::from_millis(33));
    }
    while shown.load(Ordering::Relaxed) < 3 {
        assert!(Instant::now() < deadline, "no window");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_speaker_whose_stream_is_garbage_ends_alone() {
    let (render, mut events) = lecture(Sink::Window { fullscreen: false }, &[Track::Screen]);
    let stage = render.stage().unwrap().clone();
    let started: Vec<_> =
        ["1001", "1002"].iter().map(|user| stage.start(&speaker(user, &Track::ALL)).unwrap()).collect();
    let pictures = encoded(FPS, "key-int-max=10000", brightness);
    for (n, packets) in pictures.iter().enumerate() {
        push(&render, Track::Screen, packets);
        push(&started[0].0, Track::Camera, packets);
        for mut packet in packets.clone() {
            packet[12..].iter_mut().for_each(|byte| *byte ^= n as u8 ^ 0x5a);
            Track::ALL.iter().for_each(|track| started[1].0.push_rtp(*track, &packet));
        }
        std::thread::park_timeout(Duration::from_millis(33));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while render.stats(Track::Screen).frames_decoded < FPS || started[0].0.stats(Track::Camera).frames_decoded < FPS {
        assert!(Instant::now() < deadline, "{:?}", render.stats(Track::Screen));
        std::thread::park_timeout(Duration::from_millis(5));
    }
    // In any order: the lecture may end before its speakers.
    render.finish();
    drop(started);
    assert!(stage.start(&speaker("1003", &[Track::Camera])).is_err(), "the lecture has ended");
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, RenderEvent::Error(_)), "{event:?}");
    }
}
