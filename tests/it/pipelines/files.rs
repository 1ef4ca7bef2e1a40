//! Test files: created and decoded by GStreamer, with speech by espeak-ng.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::bed::folder;
use crate::support::run_tool;

/// A lecture: a moving ball and a running clock at 25 frames/s, and three seconds of speech.
pub fn lecture(name: &str, pictures: u32) -> PathBuf {
    let path = folder().join(name);
    let speech = speech(&format!("{name}.wav"));
    let muxer = if name.ends_with(".mkv") { "matroskamux" } else { "mp4mux" };
    run(&format!(
        "videotestsrc num-buffers={pictures} pattern=ball background-color=0xff204060 \
         ! video/x-raw,format=I420,width=854,height=480,framerate=25/1 ! timeoverlay font-desc=\"Sans 30\" \
         ! x264enc speed-preset=ultrafast ! video/x-h264,profile=main ! {muxer} name=muxer ! filesink location={} \
         filesrc location={} ! wavparse ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2 \
         ! opusenc ! muxer.",
        path.display(),
        speech.display(),
    ));
    path
}

/// A file with only video or only audio.
pub fn one_track(name: &str) -> PathBuf {
    if name.ends_with(".wav") {
        return speech(name);
    }
    let path = folder().join(name);
    run(&format!(
        "videotestsrc num-buffers=50 ! video/x-raw,format=Y444,width=321,height=241,framerate=25/1 \
         ! x264enc ! mp4mux ! filesink location={}",
        path.display()
    ));
    path
}

/// One second of video in this size.
pub fn sized(width: u32, height: u32) -> PathBuf {
    let path = folder().join(format!("{width}x{height}.mkv"));
    run(&format!(
        "videotestsrc num-buffers=25 ! video/x-raw,format=I420,width={width},height={height},framerate=25/1 \
         ! vp8enc deadline=1 cpu-used=8 ! matroskamux ! filesink location={}",
        path.display()
    ));
    path
}

/// One white frame per second among black ones, each with a tick.
pub fn flashes_and_ticks(name: &str, seconds: usize) -> PathBuf {
    let path = folder().join(name);
    let raw = folder().join(format!("{name}.raw"));
    let (luma, chroma) = (160 * 120, 160 * 120 / 2);
    let pictures = (0..seconds * 25).flat_map(|n| {
        let white = if n % 25 == 0 { 235 } else { 16 };
        std::iter::repeat_n(white, luma).chain(std::iter::repeat_n(128, chroma))
    });
    std::fs::write(&raw, pictures.collect::<Vec<u8>>()).unwrap();
    run(&format!(
        "filesrc location={} ! rawvideoparse format=i420 width=160 height=120 framerate=25/1 \
         ! x264enc speed-preset=ultrafast ! matroskamux name=muxer ! filesink location={} \
         audiotestsrc wave=ticks num-buffers={} samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
         ! opusenc ! muxer.",
        raw.display(),
        path.display(),
        seconds * 50
    ));
    path
}

fn speech(name: &str) -> PathBuf {
    let path = folder().join(name);
    let text = "Good morning class. Today we look at rivers.";
    run_tool(Command::new("espeak-ng").arg("-w").arg(&path).arg(text));
    path
}

/// Runs a pipeline to its end.
pub fn run(text: &str) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(text).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    pipeline.set_state(gst::State::Null).unwrap();
    if let gst::MessageView::Error(error) = message.expect("the pipeline ends in time").view() {
        panic!("{error:?}");
    }
}

/// A frame in greyscale.
pub struct Picture {
    pub time: Duration,
    pub width: usize,
    pub height: usize,
    grey: Vec<u8>,
}

impl Picture {
    pub fn mean(&self) -> f64 {
        self.grey.iter().map(|v| f64::from(*v)).sum::<f64>() / self.grey.len() as f64
    }

    /// The mean difference per pixel, of 255.
    pub fn difference(&self, other: &Picture) -> f64 {
        assert_eq!(self.grey.len(), other.grey.len());
        let sum: f64 = self.grey.iter().zip(&other.grey).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        sum / self.grey.len() as f64
    }
}

/// The decoded content of a file.
#[derive(Default)]
pub struct Decoded {
    pub duration: Duration,
    pub video_tracks: usize,
    pub audio_tracks: usize,
    /// The video track with the largest frames.
    pub pictures: Vec<Picture>,
    /// The time and peak of each millisecond.
    pub sound: Vec<(Duration, u16)>,
}

impl Decoded {
    /// For each flash, the milliseconds until the nearest tick.
    pub fn flash_to_tick(&self) -> Vec<f64> {
        let mut flashes = Vec::new();
        for picture in self.pictures.iter().filter(|picture| picture.mean() > 125.0) {
            let is_new = flashes.last().is_none_or(|last: &Duration| picture.time - *last > Duration::from_millis(500));
            if is_new {
                flashes.push(picture.time);
            }
        }
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let mut ticks: Vec<f64> = Vec::new();
        for (time, _) in self.sound.iter().filter(|(_, peak)| *peak > 6000) {
            if ticks.last().is_none_or(|last| ms(*time) - last > 500.0) {
                ticks.push(ms(*time));
            }
        }
        let nearest =
            |flash: Duration| ticks.iter().map(|tick| tick - ms(flash)).min_by(|a, b| a.abs().total_cmp(&b.abs()));
        flashes.into_iter().filter_map(nearest).collect()
    }
}

/// Decodes a file as fast as possible.
pub fn decode(path: &Path) -> Decoded {
    gst::init().unwrap();
    let decoded = Arc::new(Mutex::new(Decoded::default()));
    let pipeline = gst::Pipeline::new();
    let uri = gst::glib::filename_to_uri(path, None).unwrap();
    let source = gst::ElementFactory::make("uridecodebin").property("uri", &*uri).build().unwrap();
    pipeline.add(&source).unwrap();
    let (weak, shared) = (pipeline.downgrade(), decoded.clone());
    source.connect_pad_added(move |_, pad| {
        let pipeline = weak.upgrade().unwrap();
        let is_video = pad.current_caps().unwrap().structure(0).unwrap().name().starts_with("video/");
        {
            let mut decoded = shared.lock().unwrap();
            *(if is_video { &mut decoded.video_tracks } else { &mut decoded.audio_tracks }) += 1;
        }
        let text = if is_video {
            "queue ! videoconvert ! video/x-raw,format=GRAY8 ! appsink name=sink sync=false"
        } else {
            "queue ! audioconvert ! audio/x-raw,format=S16LE,channels=1 ! audioresample \
             ! audio/x-raw,rate=48000 ! appsink name=sink sync=false"
        };
        let bin = gst::parse::bin_from_description(text, true).unwrap();
        pipeline.add(&bin).unwrap();
        if let Some(sink) = bin.by_name("sink") {
            let (sink, shared) = (sink.downcast::<gst_app::AppSink>().unwrap(), shared.clone());
            let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                take(&sample, is_video, &mut shared.lock().unwrap());
                Ok(gst::FlowSuccess::Ok)
            });
            sink.set_callbacks(callbacks.build());
        }
        pad.link(&bin.static_pad("sink").unwrap()).unwrap();
        bin.sync_state_with_parent().unwrap();
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    let duration = pipeline.query_duration::<gst::ClockTime>();
    pipeline.set_state(gst::State::Null).unwrap();
    if let gst::MessageView::Error(error) = message.expect("the pipeline ends in time").view() {
        panic!("{}: {error:?}", path.display());
    }
    drop(pipeline);
    let mut decoded = std::mem::take(&mut *decoded.lock().unwrap());
    let widest = decoded.pictures.iter().map(|picture| picture.width).max().unwrap_or(0);
    decoded.pictures.retain(|picture| picture.width == widest);
    decoded.duration = duration.expect("the file says how long it is").into();
    decoded
}

fn take(sample: &gst::Sample, is_video: bool, decoded: &mut Decoded) {
    let buffer = sample.buffer().unwrap();
    let time = Duration::from(buffer.pts().unwrap());
    if is_video {
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).unwrap();
        let (width, height) = (info.width() as usize, info.height() as usize);
        let stride = frame.plane_stride()[0] as usize;
        let rows = frame.plane_data(0).unwrap().chunks(stride).take(height);
        let grey = rows.flat_map(|row| row[..width].iter().copied()).collect();
        decoded.pictures.push(Picture { time, width, height, grey });
    } else {
        let map = buffer.map_readable().unwrap();
        // A millisecond has 48 samples of two bytes.
        for (ms, samples) in map.chunks(96).enumerate() {
            let peak = samples.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs()).max();
            decoded.sound.push((time + Duration::from_millis(ms as u64), peak.unwrap_or(0)));
        }
    }
}
