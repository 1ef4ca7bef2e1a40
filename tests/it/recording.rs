//! A lecture recorded into a file, and played back.

use std::path::Path;
use std::process::Command;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::support::{
    Classroom, DEADLINE, LECTURE_FPS, LECTURE_SECONDS, Process, has_tools, is_picture, lecture_file, run_tool,
};

/// How long is recorded.
const SECONDS: f64 = 6.0;

/// Points across and down of what pictures are made into for comparison; two of each of the seven colour bars.
const SMALL: (usize, usize) = (14, 8);

/// Samples of sound per second after playing back.
const SAMPLES: usize = 8000;

struct PlayoutEvent {
    /// As the container says, without playing.
    duration: f64,
    /// Red, green and blue of each point of each picture.
    pictures: Vec<Vec<u8>>,
    /// Loudness of each tenth of a second.
    loudness: Vec<f64>,
}

/// Plays a file with GStreamer's own tools, as another program would.
fn play(file: &Path, scratch: &Path) -> PlayoutEvent {
    let (pictures, sound) = (scratch.join("pictures.rgb"), scratch.join("sound.raw"));
    let graph = format!(
        "filesrc location={} ! decodebin name=file \
         file. ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! videoconvert ! videoscale ! \
           video/x-raw,format=RGBx,width={},height={},pixel-aspect-ratio=1/1 ! filesink location={} \
         file. ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! audioconvert ! audioresample ! \
           audio/x-raw,format=S16LE,rate={SAMPLES},channels=1 ! filesink location={}",
        file.display(),
        SMALL.0,
        SMALL.1,
        pictures.display(),
        sound.display(),
    );
    run_tool(Command::new("gst-launch-1.0").arg("--quiet").args(graph.split_whitespace()));
    let frame = SMALL.0 * SMALL.1 * 4;
    let loud = |block: &[u8]| {
        let samples = block.chunks_exact(2).map(|sample| f64::from(i16::from_le_bytes([sample[0], sample[1]])));
        (samples.map(|sample| sample * sample).sum::<f64>() / (block.len() / 2) as f64).sqrt()
    };
    PlayoutEvent {
        duration: duration(file),
        pictures: std::fs::read(pictures).unwrap().chunks_exact(frame).map(<[u8]>::to_vec).collect(),
        loudness: std::fs::read(sound).unwrap().chunks_exact(SAMPLES / 10 * 2).map(loud).collect(),
    }
}

fn duration(file: &Path) -> f64 {
    gst::init().unwrap();
    let graph = format!("filesrc location=\"{}\" ! matroskademux name=d d. ! fakesink", file.display());
    let pipeline = gst::parse::launch(&graph).unwrap();
    pipeline.set_state(gst::State::Paused).unwrap();
    let (result, ..) = pipeline.state(gst::ClockTime::from_seconds(10));
    result.unwrap();
    let duration = pipeline.query_duration::<gst::ClockTime>().expect("a duration");
    pipeline.set_state(gst::State::Null).unwrap();
    duration.mseconds() as f64 / 1000.0
}

/// How far two pictures are apart: 0 the same, 255 black and white.
fn distance(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn the_lecture_file_of_these_tests_is_a_lecture() {
    if !has_tools("the lecture file", &["gst-launch-1.0", "espeak-ng"]) {
        return;
    }
    let class = Classroom::new();
    let lecture = play(lecture_file(), class.directory());
    assert!((lecture.duration - f64::from(LECTURE_SECONDS)).abs() < 0.5, "{} s", lecture.duration);
    assert_eq!(lecture.pictures.len() as u32, LECTURE_SECONDS * LECTURE_FPS);
    assert_ne!(lecture.pictures.first(), lecture.pictures.last());
    let voiced = lecture.loudness.iter().filter(|loudness| **loudness > 300.0).count();
    assert!(voiced > lecture.loudness.len() / 2, "a voice in {voiced} of {} tenths", lecture.loudness.len());
}

#[test]
fn a_lecture_is_recorded_with_picture_and_sound() {
    if !has_tools("a recording", &["gst-launch-1.0", "espeak-ng"]) {
        return;
    }
    let class = Classroom::new();
    let _teacher = class.lecturer();
    let file = class.directory().join("out.mkv");
    let length = format!("{SECONDS}s");
    let mut student =
        Process::start("recorder", class.watch(1001, &["--sink", file.to_str().unwrap(), "--for", &length]));
    student.wait_for("picture", is_picture);
    student.ends_with(0);

    let recorded = play(&file, class.directory());
    // Joining and the wait for the first key frame belong to the time, and not to the file.
    assert!((SECONDS - 3.0..SECONDS + 1.0).contains(&recorded.duration), "{} s", recorded.duration);
    let pictures_per_second = recorded.pictures.len() as f64 / recorded.duration;
    assert!((20.0..33.0).contains(&pictures_per_second), "{pictures_per_second} pictures per second");
    let sound = recorded.loudness.len() as f64 / 10.0;
    assert!((sound - recorded.duration).abs() < 1.0, "{sound} s of sound, {} s of file", recorded.duration);

    let original = play(lecture_file(), class.directory());
    let typical = &original.pictures[original.pictures.len() / 2];
    for picture in &recorded.pictures {
        let nearest = distance(picture, typical);
        assert!(nearest < 20.0, "a picture is {nearest:.1} from what was taught");
    }
    let (first, last) = (recorded.pictures.first().unwrap(), recorded.pictures.last().unwrap());
    assert_ne!(first, last, "the picture moves");
    let loudest = |played: &PlayoutEvent| played.loudness.iter().copied().fold(0.0, f64::max);
    let ratio = loudest(&recorded) / loudest(&original);
    assert!((0.25..4.0).contains(&ratio), "the voice is {ratio:.2} times as loud as it was");
}

#[test]
fn a_recording_is_whole_when_it_is_interrupted() {
    let class = Classroom::new();
    let _teacher = class.teacher(&["--test", "--size", "320x180"]);
    let file = class.directory().join("out.mkv");
    let mut student = Process::start("recorder", class.watch(1001, &["--sink", file.to_str().unwrap()]));
    student.wait_for("picture", is_picture);
    let mark = student.mark();
    student.wait_since(mark, DEADLINE, "another second", is_picture);
    student.interrupt();
    student.ends_with(0);
    assert!(duration(&file) > 0.5);
}
