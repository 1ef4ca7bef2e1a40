//! The colours and the tones of a recording, by which tests know whom they see and hear.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::DEADLINE;

/// The size to which pictures are scaled.
const WIDTH: usize = 16;
const HEIGHT: usize = 12;

const SAMPLES_PER_SECOND: usize = 48_000;

/// A tone is sought in this many samples, so that two frequencies differ by 10 Hz.
const WINDOW: usize = SAMPLES_PER_SECOND / 10;

/// Whether each track is a video, and its last picture or all of its samples.
type Decoded = BTreeMap<String, (bool, Vec<u8>)>;

/// The colours and tones of all tracks of a recording, in no order.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The hue of the middle of the last picture of each video, in degrees.
    hues: Vec<f64>,
    /// The loudest frequency in the middle of each audio track, in Hz.
    tones: Vec<f64>,
}

impl Recorded {
    /// Decodes a whole file.
    #[track_caller]
    pub fn of(file: &Path) -> Self {
        gst::init().unwrap();
        let graph = format!("filesrc location=\"{}\" ! decodebin name=all", file.display());
        let pipeline = gst::parse::launch(&graph).unwrap().downcast::<gst::Pipeline>().unwrap();
        let tracks: Arc<Mutex<Decoded>> = Arc::default();
        let (weak, decoded) = (pipeline.downgrade(), Arc::clone(&tracks));
        pipeline.by_name("all").unwrap().connect_pad_added(move |_, pad| {
            let Some(pipeline) = weak.upgrade() else { return };
            let is_video = pad.current_caps().unwrap().structure(0).unwrap().name().starts_with("video");
            let graph = if is_video {
                format!("videoconvert ! videoscale ! video/x-raw,format=RGB,width={WIDTH},height={HEIGHT}")
            } else {
                format!("audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate={SAMPLES_PER_SECOND},channels=1")
            };
            let bin = gst::parse::bin_from_description(&format!("{graph} ! fakesink name=out async=false"), true);
            let bin = bin.unwrap();
            let (name, decoded) = (pad.name().to_string(), Arc::clone(&decoded));
            let out = bin.by_name("out").unwrap().static_pad("sink").unwrap();
            out.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(bytes) = info.buffer().and_then(|buffer| buffer.map_readable().ok()) {
                    let mut decoded = decoded.lock().unwrap();
                    let (_, all) = decoded.entry(name.clone()).or_insert((is_video, Vec::new()));
                    if is_video {
                        all.clear();
                    }
                    all.extend_from_slice(&bytes);
                }
                gst::PadProbeReturn::Ok
            });
            pipeline.add(&bin).unwrap();
            bin.sync_state_with_parent().unwrap();
            pad.link(&bin.static_pad("sink").unwrap()).unwrap();
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::try_from(DEADLINE).unwrap(), &kinds);
        assert_eq!(end.expect("the end of the file").type_(), gst::MessageType::Eos);
        pipeline.set_state(gst::State::Null).unwrap();
        let mut recorded = Self::default();
        for (is_video, bytes) in tracks.lock().unwrap().values() {
            if *is_video {
                recorded.hues.push(hue(&bytes[3 * (HEIGHT / 2 * WIDTH + WIDTH / 2)..]));
            } else {
                recorded.tones.extend(tone(bytes));
            }
        }
        recorded
    }

    /// Asserts that somebody is seen in this hue, and heard with this tone.
    #[track_caller]
    pub fn has(&self, hue: f64, tone: f64) {
        let apart = |seen: &f64| ((seen - hue + 540.0).rem_euclid(360.0) - 180.0).abs();
        assert!(self.hues.iter().any(|seen| apart(seen) < 25.0), "a hue of {hue} in {self:?}");
        assert!(self.hears(tone), "a tone of {tone} Hz in {self:?}");
    }

    /// Asserts that nobody is heard with this tone.
    #[track_caller]
    pub fn has_no_tone(&self, tone: f64) {
        assert!(!self.hears(tone), "no tone of {tone} Hz in {self:?}");
    }

    fn hears(&self, tone: f64) -> bool {
        self.tones.iter().any(|heard| (heard - tone).abs() < 12.0)
    }
}

/// The hue of a pixel of red, green and blue, in degrees.
fn hue(pixel: &[u8]) -> f64 {
    let [red, green, blue] = [0, 1, 2].map(|n| f64::from(pixel[n]));
    (3_f64.sqrt() * (green - blue)).atan2(2.0 * red - green - blue).to_degrees().rem_euclid(360.0)
}

/// The loudest of the frequencies up to 2 kHz, in the middle of the samples.
fn tone(bytes: &[u8]) -> Option<f64> {
    let samples: Vec<f64> = bytes.chunks_exact(2).map(|two| f64::from(i16::from_le_bytes([two[0], two[1]]))).collect();
    let from = samples.len().checked_sub(WINDOW)? / 2;
    let window = &samples[from..from + WINDOW];
    // The power at a frequency, by the algorithm of Goertzel.
    let power = |hertz: f64| {
        let twice_cosine = 2.0 * (std::f64::consts::TAU * hertz / SAMPLES_PER_SECOND as f64).cos();
        let (one, two) = window.iter().fold((0.0, 0.0), |(one, two), sample| (sample + twice_cosine * one - two, one));
        one * one + two * two - twice_cosine * one * two
    };
    (10..200).map(|tens| f64::from(tens) * 10.0).max_by(|a, b| power(*a).total_cmp(&power(*b)))
}
