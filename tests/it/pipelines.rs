//! The pipelines with real media: capture, packets, render, with a simulated network.

use std::path::PathBuf;
use std::time::Duration;

use classroom::media::{
    Capture, CaptureEvent, CaptureOptions, FileList, MainSource, MediaError, Render, RenderEvent, RenderOptions, Sink,
    Size, Sources, TrackFormat, Wanted,
};
use classroom::rtp::{Codec, Latency, Track};

use self::bed::{Carry, Lecture, folder, format_of, in_process, until};
use self::files::decode;
use self::pixels::Pixels;
use crate::support::{Display, has_tools};

pub mod bed;
mod codes;
pub mod files;
mod pixels;

fn options(main: MainSource) -> CaptureOptions {
    CaptureOptions { sources: Sources::only(main), ..CaptureOptions::default() }
}

fn file(path: PathBuf) -> MainSource {
    MainSource::Files(FileList::once(path))
}

fn with_test_camera(mut options: CaptureOptions) -> CaptureOptions {
    options.sources.camera = Wanted::Yes(Some("test".into()));
    options
}

#[test]
fn demo_and_test_picture_are_captured_and_decoded() {
    for main in [MainSource::Demo, MainSource::Test] {
        let mut lecture = Lecture::start(with_test_camera(options(main)), Sink::Null);
        for track in Track::ALL {
            let stats = lecture.until_stats(track, |stats| stats.frames_decoded >= 60);
            assert_eq!((stats.lost, stats.late), (0, 0), "{track}");
        }
        let screen = lecture.render.stats(Track::Screen);
        assert_eq!((screen.width, screen.height), (1280, 720));
        let camera = lecture.render.stats(Track::Camera);
        assert_eq!((camera.width, camera.height), (640, 360));
        assert!(lecture.encode_ms(Track::Screen).is_some_and(|ms| ms > 0.0 && ms < 500.0));
        let sent = lecture.sent();
        let keys = sent.iter().filter(|sent| sent.track == Track::Screen && sent.key).count();
        assert_eq!(keys, 1, "one key frame at the start, and no other without a request");
        lecture.finish();
    }
}

#[test]
fn frames_carry_their_capture_time() {
    let mut lecture = Lecture::start(options(MainSource::Test), Sink::Null);
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 60);
    for track in [Track::Screen, Track::Audio] {
        let sent: Vec<_> = lecture.sent().into_iter().filter(|sent| sent.track == track).collect();
        let rate = f64::from(sent[0].codec.clock_rate());
        for sent in &sent {
            // The capture time is never later than the frame, by more than a frame's duration, and RTP time advances
            // with it.
            assert!(sent.at + Duration::from_millis(40) > sent.captured, "{sent:?}");
        }
        for pair in sent.windows(2) {
            let rtp = f64::from(pair[1].timestamp.wrapping_sub(pair[0].timestamp)) / rate;
            let wall = pair[1].captured.duration_since(pair[0].captured).as_secs_f64();
            assert!((rtp - wall).abs() < 0.005, "{track}: {rtp} s of RTP, {wall} s of capture");
        }
    }
    lecture.finish();
}

#[test]
fn a_lecture_file_is_played_in_real_time_to_its_end() {
    if !has_tools("playing a lecture file in real time", &["espeak-ng"]) {
        return;
    }
    let path = files::lecture("real-time.mp4", 75);
    let mut lecture = Lecture::start(options(file(path)), Sink::Null);
    lecture.until_end();
    // A busy machine may drop video frames, but never audio.
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 40);
    lecture.until_stats(Track::Audio, |stats| stats.frames_decoded >= 100);
    let screen: Vec<_> = lecture.sent().into_iter().filter(|sent| sent.track == Track::Screen).collect();
    let took = screen[screen.len() - 1].at - screen[0].at;
    assert!(took > Duration::from_millis(2800) && took < Duration::from_millis(4000), "{took:?} for 3 s");
    lecture.finish();
}

#[test]
fn a_repeated_file_has_one_timeline() {
    if !has_tools("repeating a file", &["espeak-ng"]) {
        return;
    }
    let path = files::lecture("repeated.mp4", 75);
    let main = MainSource::Files(FileList::looped(path));
    let mut lecture = Lecture::start(options(main), Sink::Null);
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 160);
    for track in [Track::Screen, Track::Audio] {
        let sent: Vec<_> = lecture.sent().into_iter().filter(|sent| sent.track == track).collect();
        for pair in sent.windows(2) {
            let gap = pair[1].timestamp.wrapping_sub(pair[0].timestamp) / (pair[0].codec.clock_rate() / 1000);
            // At the end of each round the last frame stays until the audio has ended.
            assert!(gap < 400, "{track}: a gap of {gap} ms");
        }
    }
    lecture.finish();
}

/// Per frame of a track: whether it is a key frame, and the milliseconds since the frame before.
fn steps(sent: &[bed::Sent], track: Track) -> Vec<(bool, i64)> {
    let of_track: Vec<_> = sent.iter().filter(|sent| sent.track == track).collect();
    let rate = i64::from(of_track[0].codec.clock_rate() / 1000);
    let step = |pair: &[&bed::Sent]| {
        (pair[1].key, i64::from(pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed()) / rate)
    };
    of_track.windows(2).map(step).collect()
}

#[test]
fn the_next_file_starts_with_a_key_frame_and_without_a_gap() {
    // The files differ in size and frame rate. The middle one has no audio, the last one no video.
    let (first, second) = (files::flashes_and_ticks("first.mkv", 2), files::one_track("silent.mp4"));
    let third = folder().join("only-ticks.mkv");
    files::run(&format!(
        "audiotestsrc wave=ticks num-buffers=100 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 ! opusenc \
         ! matroskamux ! filesink location={}",
        third.display()
    ));
    let list = FileList { paths: vec![first.clone(), second, third, first], repeat: false, still: None };
    let mut lecture = Lecture::start(options(MainSource::Files(list)), Sink::Null);
    let played: Vec<_> = (1..=4)
        .map(|_| match lecture.until_any() {
            CaptureEvent::Playing { index, of: 4, .. } => index,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(played, [1, 2, 3, 4]);
    lecture.until_end();
    let stats = lecture.render.stats(Track::Screen);
    assert_eq!((stats.width, stats.height), (320, 240), "all frames have the size of the largest file");
    let sent = lecture.sent();
    for (key, ms) in steps(&sent, Track::Screen) {
        // Without video, the last frame is repeated every 0.1 s.
        assert!((1..=200).contains(&ms), "{ms} ms from picture to picture, key: {key}");
    }
    for (_, ms) in steps(&sent, Track::Audio) {
        // An encoder that receives audio slightly early or late shifts its blocks.
        assert!((5..=65).contains(&ms), "{ms} ms from block to block");
    }
    let keys = sent.iter().filter(|sent| sent.track == Track::Screen && sent.key).count();
    // A flash after some calm is a new page, too.
    assert!(keys >= 4, "one for each file: {keys}");
    // Four files of 2 s in real time.
    let (begin, end) = (sent[0].at, sent[sent.len() - 1].at);
    let took = end - begin;
    assert!(took > Duration::from_millis(7_300) && took < Duration::from_millis(9_500), "{took:?} for 8 s");
    lecture.finish();
}

#[test]
fn audio_and_video_stay_in_sync_from_file_to_file() {
    let source = files::flashes_and_ticks("flashes-in-turn.mkv", 3);
    let path = folder().join("flashes-in-turn-recorded.mkv");
    let list = FileList { paths: vec![source.clone(), source.clone(), source.clone()], repeat: false, still: None };
    let mut lecture = Lecture::start(options(MainSource::Files(list)), Sink::File(path.clone()));
    lecture.until_end();
    lecture.finish();
    let before = decode(&source).flash_to_tick();
    let after = decode(&path).flash_to_tick();
    assert!(after.len() >= 8, "{after:?}");
    for offset in &after[1..] {
        assert!(
            (offset - before[1]).abs() <= 40.0,
            "audio is {offset} ms late, {} in the source: {after:?}",
            before[1]
        );
    }
}

#[test]
fn a_deleted_file_is_skipped_with_a_warning_that_names_it() {
    let first = files::flashes_and_ticks("stays.mkv", 6);
    let gone = folder().join("goes.mkv");
    std::fs::copy(&first, &gone).unwrap();
    let last = files::flashes_and_ticks("stays-too.mkv", 1);
    let list = FileList { paths: vec![first, gone.clone(), last], repeat: false, still: None };
    let mut lecture = Lecture::start(options(MainSource::Files(list)), Sink::Null);
    assert!(matches!(lecture.until_any(), CaptureEvent::Playing { index: 1, .. }));
    std::fs::remove_file(&gone).unwrap();
    let warning = lecture.until_any();
    let named = "goes.mkv, 2 of 3, is skipped: ";
    assert!(matches!(&warning, CaptureEvent::Warning(why) if why.contains(named)), "{warning:?}");
    assert!(matches!(lecture.until_any(), CaptureEvent::Playing { index: 3, .. }));
    lecture.until_end();
    lecture.finish();
}

#[test]
fn a_still_image_is_sent_for_its_duration_with_key_frames_on_request() {
    let path = folder().join("still.png");
    files::run(&format!(
        "videotestsrc num-buffers=1 ! video/x-raw,width=201,height=151 ! pngenc ! filesink location={}",
        path.display()
    ));
    let list = FileList { still: Some(Duration::from_secs(2)), ..FileList::once(path) };
    let mut lecture = Lecture::start(options(MainSource::Files(list)), Sink::Null);
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 5 && (stats.width, stats.height) == (200, 150));
    let main = lecture.capture.encodings()[0];
    lecture.capture.request_key_frame(main);
    lecture.until_end();
    let sent = lecture.sent();
    assert_eq!(sent.iter().filter(|sent| sent.key).count(), 2, "the first and the requested one");
    let took = sent[sent.len() - 1].at - sent[0].at;
    assert!(took > Duration::from_millis(1_700) && took < Duration::from_millis(2_600), "{took:?} for 2 s");
    lecture.finish();
}

#[test]
fn a_file_without_video_or_without_audio_is_played() {
    if !has_tools("playing a file without video or without audio", &["espeak-ng"]) {
        return;
    }
    for (name, track) in [("only-sound.wav", Track::Audio), ("only-picture.mp4", Track::Screen)] {
        let path = files::one_track(name);
        let mut lecture = Lecture::start(options(file(path)), Sink::Null);
        assert_eq!(lecture.capture.tracks().iter().map(|(track, _)| *track).collect::<Vec<_>>(), [track]);
        lecture.until_stats(track, |stats| stats.frames_decoded >= 20);
        lecture.finish();
    }
}

#[test]
fn a_file_keeps_its_size_up_to_full_hd() {
    let sizes = [
        ((1920, 1080), None, (1920, 1080)),
        ((1080, 1920), None, (1080, 1920)),
        ((321, 241), None, (320, 240)),
        ((32, 18), None, (64, 64)),
        ((2560, 1440), None, (1920, 1080)),
        ((2560, 1440), Some(Size::NATIVE), (2560, 1440)),
        ((1920, 1080), Some(Size { width: 1280, height: 720 }), (1280, 720)),
    ];
    for ((width, height), asked, sent) in sizes {
        let mut options = options(file(files::sized(width, height)));
        options.screen.size = asked;
        let mut lecture = Lecture::start(options, Sink::Null);
        let stats = lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 1);
        assert_eq!((stats.width, stats.height), sent, "{width}x{height} with {asked:?}");
        lecture.finish();
    }
}

#[test]
fn a_recording_has_all_tracks_and_the_right_duration_and_frames() {
    if !has_tools("recording all tracks", &["espeak-ng"]) {
        return;
    }
    for codec in [Codec::H264, Codec::Vp8] {
        let source = files::lecture(&format!("source-{codec}.mp4"), 100);
        let path = folder().join(format!("recorded-{codec}.mkv"));
        let options = CaptureOptions { codec: Some(codec), ..options(file(source.clone())) };
        let mut lecture = Lecture::start(with_test_camera(options), Sink::File(path.clone()));
        lecture.until_end();
        lecture.finish();
        let recorded = decode(&path);
        assert_eq!((recorded.video_tracks, recorded.audio_tracks), (2, 1), "{codec}");
        let seconds = recorded.duration.as_secs_f64();
        assert!((3.6..6.0).contains(&seconds), "{codec}: {seconds} s");
        assert!(recorded.pictures.len() >= 60, "{codec}: {} pictures", recorded.pictures.len());
        assert!(recorded.sound.iter().any(|(_, peak)| *peak > 1000), "{codec}: no speech");
        // Compare the same moment of both. Encoding loses a little detail, but not the ball.
        let original = decode(&source);
        let (first, second) = (&original.pictures[30], &recorded.pictures[30]);
        assert_eq!((first.width, first.height), (second.width, second.height));
        let best = recorded.pictures[10..60].iter().map(|it| first.difference(it)).fold(f64::MAX, f64::min);
        assert!(best < 4.0, "{codec}: the pictures differ by {best} of 255");
    }
}

#[test]
fn audio_and_video_stay_in_sync_over_a_network_with_unequal_delays() {
    let source = files::flashes_and_ticks("flashes.mkv", 8);
    let path = folder().join("flashes-recorded.mkv");
    // Video takes 90 ms longer than audio. Sender reports must compensate for that.
    let carry =
        Carry { delay: |track| Duration::from_millis(if track == Track::Screen { 90 } else { 0 }), ..Carry::default() };
    let mut lecture = Lecture::carried(options(file(source.clone())), Sink::File(path.clone()), carry);
    lecture.until_end();
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 120);
    lecture.finish();
    let before = decode(&source).flash_to_tick();
    let after = decode(&path).flash_to_tick();
    assert!(before.len() >= 7 && after.len() >= 6, "{before:?} {after:?}");
    // The first sender reports come with the first packets, so the second flash is in sync already.
    for offset in &after[1..] {
        assert!((offset - before[1]).abs() <= 40.0, "audio is {offset} ms late, {} in the source", before[1]);
    }
}

#[test]
fn one_key_frame_repairs_a_loss() {
    let carry =
        Carry { lose: |track, index| track == Track::Screen && (400..403).contains(&index), ..Carry::default() };
    let mut lecture = Lecture::carried(options(MainSource::Test), Sink::Null, carry);
    lecture.until_event(&RenderEvent::KeyFrameNeeded(Track::Screen));
    let before = lecture.render.stats(Track::Screen).frames_decoded;
    let stats = lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= before + 60);
    assert!((1..=3).contains(&stats.lost), "{stats:?}");
    let keys = lecture.sent().iter().filter(|sent| sent.track == Track::Screen && sent.key).count();
    assert_eq!(keys, 2, "the first and the requested one");
    lecture.finish();
}

#[test]
fn a_render_survives_a_restart_of_the_teacher() {
    let mut lecture = Lecture::start(options(MainSource::Test), Sink::Null);
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 30);
    lecture.restart(options(MainSource::Test));
    let before = lecture.render.stats(Track::Screen).frames_decoded;
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= before + 60);
    lecture.until_stats(Track::Audio, |stats| stats.frames_decoded >= 100);
    lecture.finish();
}

#[test]
fn a_users_pipeline_replaces_the_built_in_one() {
    let path = folder().join("own.gst");
    let text = "# One camera, and nothing else.\n\
                videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1\n\
                ! vp8enc name=camera-encoder deadline=1 ! rtpvp8pay ! appsink name=camera\n";
    std::fs::write(&path, text).unwrap();
    let options = CaptureOptions { pipeline: Some(path), ..CaptureOptions::default() };
    let mut lecture = Lecture::start(options, Sink::Null);
    assert_eq!(lecture.capture.tracks(), [(Track::Camera, Codec::Vp8)]);
    lecture.until_stats(Track::Camera, |stats| stats.frames_decoded >= 15 && stats.width == 320);
    assert!(lecture.encode_ms(Track::Camera).is_some());
    lecture.finish();
}

#[test]
fn invalid_sources_and_sinks_are_refused_before_the_start() {
    let write = |name: &str, text: &str| {
        let path = folder().join(name);
        std::fs::write(&path, text).unwrap();
        CaptureOptions { pipeline: Some(path), ..CaptureOptions::default() }
    };
    let refuse = |options: CaptureOptions| Capture::prepare(options).unwrap_err();
    let error = refuse(write("no-appsink.gst", "videotestsrc ! fakesink"));
    assert!(matches!(error, MediaError::Contract { .. }) && error.to_string().contains("appsink"), "{error}");
    let error = refuse(write("unknown.gst", "videotestsrc ! {nonsense} ! appsink name=screen"));
    assert!(error.to_string().contains("{nonsense}"), "{error}");
    let error = refuse(write("element.gst", "videotestsrc ! nosuchelement ! appsink name=screen"));
    assert!(matches!(&error, MediaError::MissingElement { element, .. } if element == "nosuchelement"), "{error}");
    let error = refuse(options(file("/nonexistent.mp4".into())));
    assert!(matches!(error, MediaError::File { .. }) && error.to_string().contains("/nonexistent.mp4"), "{error}");
    let text = folder().join("text.mp4");
    std::fs::write(&text, "this is not a film\n".repeat(100)).unwrap();
    assert!(matches!(refuse(options(file(text))), MediaError::File { .. }));
    let mut sources = Sources::only(MainSource::Screen(Wanted::Yes(Some(":986".into()))));
    let error = refuse(CaptureOptions { sources: sources.clone(), ..CaptureOptions::default() });
    assert!(matches!(error, MediaError::Device { .. }) && error.to_string().contains(":986"), "{error}");
    sources.main = MainSource::Screen(Wanted::No);
    let error = refuse(CaptureOptions { sources, ..CaptureOptions::default() });
    assert!(error.to_string().contains("--file") && error.to_string().contains("--test"), "{error}");
    let error = Render::start(RenderOptions {
        sink: Sink::File("/nonexistent/out.mkv".into()),
        latency: Latency::Fixed(Duration::ZERO),
        tracks: vec![format_of(Track::Audio, Codec::Opus)],
        audio: false,
        title: String::new(),
    });
    assert!(matches!(error.unwrap_err(), MediaError::File { .. }));
}

#[test]
fn a_truncated_file_is_played_to_its_end() {
    if !has_tools("playing a truncated file", &["espeak-ng"]) {
        return;
    }
    let whole = std::fs::read(files::lecture("whole.mkv", 100)).unwrap();
    let path = folder().join("half.mkv");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let mut lecture = Lecture::start(options(file(path)), Sink::Null);
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 25);
    let ended =
        |event: &CaptureEvent| matches!(event, CaptureEvent::Eos | CaptureEvent::Error(MediaError::File { .. }));
    assert!(ended(&lecture.until_captured()));
    lecture.finish();
}

#[test]
fn screen_and_camera_share_a_window() {
    if !has_tools("screen and camera in a window", &["Xvfb", "import"]) {
        return;
    }
    let display = Display::new();
    in_process("window_with_camera", &[("DISPLAY", display.name())]);
}

#[test]
#[ignore = "started by screen_and_camera_share_a_window"]
fn window_with_camera() {
    let display = std::env::var("DISPLAY").unwrap();
    let mut lecture = Lecture::start(with_test_camera(options(MainSource::Demo)), Sink::Window { fullscreen: false });
    lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 60);
    let dark = |mean: [f64; 3]| mean.iter().sum::<f64>() < 300.0;
    until("the header of the slide, and the camera in its corner", || {
        lecture.poll();
        let pixels = Pixels::of(&display);
        let (header, paper) = (pixels.mean(0..1280, 4..30), pixels.mean(900..930, 200..500));
        let camera = pixels.mean(940..1240, 520..560);
        (dark(header) && !dark(paper) && dark(camera) && camera[2] > camera[0] + 20.0).then_some(())
    });
    lecture.finish();
}

#[test]
fn a_window_does_not_wait_for_an_absent_camera_and_fills_the_screen() {
    if !has_tools("a window without a camera", &["Xvfb", "import"]) {
        return;
    }
    let display = Display::new();
    in_process("window_without_camera", &[("DISPLAY", display.name())]);
}

#[test]
#[ignore = "started by a_window_does_not_wait_for_an_absent_camera_and_fills_the_screen"]
fn window_without_camera() {
    let display = std::env::var("DISPLAY").unwrap();
    let carry = Carry { lose: |track, _| track == Track::Camera, ..Carry::default() };
    let mut options = with_test_camera(options(MainSource::Demo));
    options.screen.size = Some("640x360".parse().unwrap());
    let mut lecture = Lecture::carried(options, Sink::Window { fullscreen: true }, carry);
    until("the paper of the slide in the far corner", || {
        lecture.poll();
        let corner = Pixels::of(&display).mean(1200..1270, 600..700);
        corner.iter().all(|c| *c > 200.0).then_some(())
    });
    lecture.finish();
}

#[test]
fn captures_and_renders_leave_no_thread_or_file_open() {
    in_process("start_and_stop_again_and_again", &[]);
}

#[test]
#[ignore = "started by captures_and_renders_leave_no_thread_or_file_open"]
fn start_and_stop_again_and_again() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let cycle = || {
        let mut lecture = Lecture::start(options(MainSource::Test), Sink::Null);
        lecture.until_stats(Track::Screen, |stats| stats.frames_decoded >= 5);
        lecture.finish();
    };
    // The first rounds start GStreamer's thread pool, which stays for the life of the process.
    (0..3).for_each(|_| cycle());
    let before = (threads(), open());
    (0..8).for_each(|_| cycle());
    let after = (threads(), open());
    assert!(after.0 <= before.0 + 4 && after.1 <= before.1 + 2, "threads and files: {before:?}, then {after:?}");
}

#[test]
fn a_render_starts_without_media_and_ignores_garbage() {
    let tracks: Vec<TrackFormat> =
        [(Track::Audio, Codec::Opus), (Track::Screen, Codec::H264), (Track::Camera, Codec::Vp8)]
            .map(|(track, codec)| format_of(track, codec))
            .into();
    let latency = Latency::Fixed(Duration::from_millis(100));
    let options = RenderOptions { sink: Sink::Null, latency, tracks, audio: true, title: String::new() };
    let (render, mut events) = Render::start(options).unwrap();
    // Invalid packets from the network are dropped.
    for garbage in [&[][..], &[0; 3], &[0x80; 12], &[0xff; 1500]] {
        render.push_rtp(Track::Screen, garbage);
        render.push_rtcp(Track::Audio, garbage);
    }
    assert_eq!(render.stats(Track::Screen).frames_decoded, 0);
    render.finish();
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, RenderEvent::Error(_)), "{event:?}");
    }
}
