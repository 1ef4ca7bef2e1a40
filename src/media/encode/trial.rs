//! Trials of encoders: which ones work on this machine, and which are fast enough for a large screen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::config::EncoderConfig;
use super::encoder::{ENCODERS, Encoder};
use crate::media::error::{MediaError, package_of};
use crate::media::options::Content;
use crate::media::pipelines;
use crate::rtp::Codec;

/// The timeout of a trial. Software takes 50 ms; opening a GPU can take a second.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Frames that an encoder must deliver in a trial.
const TRIAL_FRAMES: usize = 3;

/// Frames of a speed measurement, 0.1 s of work. The first ones fill buffers and don't count.
const SPEED_FRAMES: usize = 12;
const WARM_UP_FRAMES: usize = 4;

/// The share of the frame interval that encoding may take. The rest is for capture and conversion (a quarter of a core
/// at 2560x1440) and for the teacher's other programs.
const MAX_SHARE: f64 = 0.5;

/// The encode time per frame: the median over a pattern that moves everywhere. None if the encoder fails.
pub(in crate::media) fn measure_encode_time(encoder: &Encoder, config: &EncoderConfig) -> Option<Duration> {
    let text = format!(
        "videotestsrc pattern=zone-plate kx2=12 ky2=12 kt=3 \
         ! video/x-raw,format=I420,width={},height={},framerate={}/1 ! videoconvert \
         ! {} ! fakesink name=trial-sink sync=false async=false",
        config.size.width,
        config.size.height,
        config.fps,
        encoder.text("trial", config, Content::Film)
    );
    let pipeline = pipelines::parse(encoder.element, &text).ok()?;
    let element = pipeline.by_name("trial")?;
    let entered = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let times = Arc::new(Mutex::new(Vec::<Duration>::new()));
    let enters = entered.clone();
    element.static_pad("sink")?.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        enters.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        gst::PadProbeReturn::Ok
    });
    let takes = times.clone();
    element.static_pad("src")?.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let mut takes = takes.lock().unwrap_or_else(PoisonError::into_inner);
        // The encoder keeps the order of frames and drops none of these few.
        let entered = entered.lock().unwrap_or_else(PoisonError::into_inner).get(takes.len()).copied();
        takes.extend(entered.map(|entered| entered.elapsed()));
        gst::PadProbeReturn::Ok
    });
    run(&pipeline, SPEED_FRAMES).ok()?;
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let mut times: Vec<Duration> = times.iter().skip(WARM_UP_FRAMES).copied().collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// Whether an encoder with this time per frame can keep up with `fps`.
pub(in crate::media) fn is_fast_enough(time: Duration, fps: u32) -> bool {
    time.as_secs_f64() * f64::from(fps) <= MAX_SHARE
}

/// Whether an encoder works on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The encoder delivered frames.
    Works,
    /// The element isn't installed.
    Missing {
        /// The Debian package to install.
        package: String,
    },
    /// The element is installed but failed.
    Fails {
        /// The error message.
        cause: String,
    },
}

impl Encoder {
    /// Encodes a few frames. An installed element may still lack driver, device or permission.
    pub(in crate::media) fn try_out(&self, config: &EncoderConfig) -> Verdict {
        if gst::ElementFactory::find(self.element).is_none() {
            return Verdict::Missing { package: package_of(self.element).into() };
        }
        let text = format!(
            "videotestsrc pattern=blue ! video/x-raw,format=I420,width={},height={},framerate={}/1 \
             ! videoconvert ! {} ! fakesink name=trial-sink sync=false async=false",
            config.size.width,
            config.size.height,
            config.fps,
            self.text("trial", config, Content::Film)
        );
        match pipelines::parse(self.element, &text).and_then(|pipeline| run(&pipeline, TRIAL_FRAMES)) {
            Ok(()) => Verdict::Works,
            Err(MediaError::Pipeline { cause, .. }) => Verdict::Fails { cause },
            Err(error) => Verdict::Fails { cause: error.to_string() },
        }
    }
}

/// Picks the first encoder that works, for `codec` or else for H.264, then VP8. Also returns a notice if better
/// encoders failed.
pub(in crate::media) fn choose(
    codec: Option<Codec>,
    config: &EncoderConfig,
) -> Result<(Encoder, Option<String>), MediaError> {
    let mut tried = Vec::new();
    let wanted = |encoder: &&Encoder| codec.is_none_or(|codec| codec == encoder.codec);
    for encoder in ENCODERS.iter().filter(wanted) {
        match encoder.try_out(config) {
            Verdict::Works => {
                let fails: Vec<&str> =
                    tried.iter().filter(|(_, fails)| *fails).map(|(text, _): &(String, bool)| text.as_str()).collect();
                let notice = (!fails.is_empty())
                    .then(|| format!("encoding with {}, because {}", encoder.element, fails.join(", ")));
                return Ok((*encoder, notice));
            }
            Verdict::Missing { package } => {
                tried.push((format!("{} is not installed (package {package})", encoder.element), false));
            }
            Verdict::Fails { cause } => tried.push((format!("{} fails ({cause})", encoder.element), true)),
        }
    }
    let codec = codec.map_or("video".into(), |codec| codec.to_string());
    Err(MediaError::NoEncoder { codec, tried: tried.into_iter().map(|(text, _)| text).collect() })
}

/// Runs a pipeline until `pictures` buffers have arrived at its sink `trial-sink`, and stops it.
///
/// The source must be endless: at the end of a stream some encoders print complaints while they drain.
fn run(pipeline: &gst::Pipeline, frames: usize) -> Result<(), MediaError> {
    const DONE: &str = "classroom-trial-done";
    let failed = |cause: String| MediaError::Pipeline { pipeline: "trial".into(), cause };
    let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
    if let Some(pad) = pipeline.by_name("trial-sink").and_then(|sink| sink.static_pad("sink")) {
        let (bus, seen) = (bus.clone(), AtomicUsize::new(0));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == frames {
                // The loop below reads this message, unless it has timed out.
                let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty(DONE)));
            }
            gst::PadProbeReturn::Ok
        });
    }
    let started = pipeline.set_state(gst::State::Playing).is_ok();
    // A failed state change has left its cause on the bus.
    let timeout = if started { TRIAL_TIMEOUT } else { Duration::ZERO };
    let timeout = gst::ClockTime::try_from(timeout).unwrap_or(gst::ClockTime::SECOND);
    let kinds = [gst::MessageType::Application, gst::MessageType::Error];
    let result = match bus.timed_pop_filtered(timeout, &kinds).as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Application(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(failed(error.error().message().to_string())),
        _ if !started => Err(failed("it can't start".into())),
        _ => Err(failed(format!("no picture within {} s", timeout.seconds()))),
    };
    // A change to Null always succeeds. Nothing helps against a driver that hangs here.
    let _ = pipeline.set_state(gst::State::Null);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::options::Size;

    #[test]
    fn an_encoder_may_take_half_of_the_frame_interval() {
        let ms = Duration::from_millis;
        assert!(is_fast_enough(ms(16), 30) && !is_fast_enough(ms(17), 30));
        assert!(is_fast_enough(ms(33), 15) && !is_fast_enough(ms(16), 60));
    }

    #[test]
    fn the_encode_time_of_software_encoders_is_measured() {
        crate::media::init().unwrap();
        for encoder in ENCODERS.iter().filter(|encoder| matches!(encoder.element, "x264enc" | "vp8enc")) {
            let config = EncoderConfig::full(Size { width: 320, height: 180 }, 30, 400_000);
            let time = measure_encode_time(encoder, &config).unwrap();
            assert!(!time.is_zero(), "{}", encoder.element);
        }
    }

    #[test]
    fn a_working_encoder_is_chosen_and_a_missing_one_is_named() {
        crate::media::init().unwrap();
        let video = EncoderConfig::full(Size { width: 1280, height: 720 }, 30, 2_500_000);
        let (encoder, _) = choose(Some(Codec::Vp8), &video).unwrap();
        assert_eq!(encoder.element, "vp8enc");
        for encoder in ENCODERS.iter().filter(|encoder| gst::ElementFactory::find(encoder.element).is_some()) {
            let verdict = encoder.try_out(&video);
            // Hardware may be absent; software must work.
            if matches!(encoder.element, "x264enc" | "openh264enc" | "vp8enc") {
                assert_eq!(verdict, Verdict::Works, "{}", encoder.element);
            }
        }
        let error = choose(Some(Codec::Opus), &video).unwrap_err().to_string();
        assert!(error.contains("no Opus encoder"), "{error}");
    }
}
