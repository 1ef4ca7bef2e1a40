//! What the devices of this computer give in two seconds, and how fast its encoder is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::encode::config::{EncoderConfig, default_bitrate};
use super::encode::trial;
use super::error::MediaError;
use super::options::Size;
use super::pipelines;
use super::source::devices;
use crate::rtp::Codec;

/// How long a device is read.
const LENGTH: Duration = Duration::from_secs(2);

/// How long a device may take to give its first picture or sample.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// The sizes at which the encoder is measured.
const SIZES: [Size; 2] = [Size { width: 1280, height: 720 }, Size { width: 1920, height: 1080 }];

/// Pictures per second for which the encoder is set up.
const FPS: u32 = 30;

/// A camera that was read for some time.
#[derive(Debug)]
pub struct CameraSample {
    /// The name for users.
    pub label: String,
    /// How many pictures it gave, and in which time.
    pub pictures: Result<(u64, Duration), MediaError>,
}

/// The samples of all devices.
#[derive(Debug)]
pub struct DeviceSamples {
    /// The name of the H.264 encoder that `teach` would use, and its time for one picture at each size; none if none
    /// works.
    pub encoder: Option<(&'static str, Vec<(Size, Duration)>)>,
    /// The number of screens.
    pub screens: usize,
    /// All cameras.
    pub cameras: Vec<CameraSample>,
    /// The number of microphones.
    pub microphones: usize,
    /// The default microphone: its label, and its loudest sample in decibels below full scale; none without one.
    pub microphone: Option<(String, Result<f64, MediaError>)>,
}

/// Reads each camera and the default microphone for two seconds, and measures the encoder.
///
/// # Errors
/// GStreamer can't start.
pub fn device_samples() -> Result<DeviceSamples, MediaError> {
    super::init()?;
    let camera =
        |(device, label, _): (String, String, gst::Caps)| CameraSample { pictures: count_pictures(&device), label };
    let cameras = devices::cameras().into_iter().map(camera).collect();
    let microphone = devices::microphone(None).ok().map(|found| {
        let peak = loudest(found.element);
        (found.label, peak)
    });
    Ok(DeviceSamples {
        encoder: encoder_speed(),
        screens: devices::list_screens().len(),
        cameras,
        microphones: devices::list_microphones().len().max(usize::from(microphone.is_some())),
        microphone,
    })
}

fn encoder_speed() -> Option<(&'static str, Vec<(Size, Duration)>)> {
    let config = |size: Size| EncoderConfig::full(size, FPS, default_bitrate(size));
    let (encoder, _) = trial::choose(Some(Codec::H264), &config(SIZES[0])).ok()?;
    let each = |size: Size| Some((size, trial::measure_encode_time(&encoder, &config(size))?));
    Some((encoder.label, SIZES.into_iter().filter_map(each).collect()))
}

fn count_pictures(device: &str) -> Result<(u64, Duration), MediaError> {
    let pipeline = pipelines::parse("camera", "v4l2src name=source ! fakesink name=sample-sink sync=false")?;
    if let Some(source) = pipeline.by_name("source") {
        source.set_property("device", device);
    }
    count(&pipeline, device)
}

/// Counts the buffers at `sample-sink`, from the first one on.
fn count(pipeline: &gst::Pipeline, device: &str) -> Result<(u64, Duration), MediaError> {
    let counted = Arc::new(AtomicU64::new(0));
    if let Some(pad) = pipeline.by_name("sample-sink").and_then(|sink| sink.static_pad("sink")) {
        let counted = counted.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }
    let mut first = None;
    let deadline = Instant::now() + START_TIMEOUT;
    read(pipeline, device, |_| {
        let now = Instant::now();
        if counted.load(Ordering::Relaxed) > 0 {
            // The picture that starts the clock does not count.
            let first = *first.get_or_insert_with(|| {
                counted.store(0, Ordering::Relaxed);
                now
            });
            now >= first + LENGTH
        } else {
            first.is_none() && now >= deadline || first.is_some_and(|first| now >= first + LENGTH)
        }
    })?;
    Ok((counted.load(Ordering::Relaxed), LENGTH))
}

fn loudest(element: &str) -> Result<f64, MediaError> {
    peak(&format!("{element} ! audioconvert ! level interval=100000000 ! fakesink sync=false"), element)
}

/// The loudest sample that passes the element `level` of a pipeline.
fn peak(text: &str, device: &str) -> Result<f64, MediaError> {
    let pipeline = pipelines::parse("microphone", text)?;
    let (mut loudest, mut first) = (f64::NEG_INFINITY, None);
    let deadline = Instant::now() + START_TIMEOUT;
    read(&pipeline, device, |message| {
        let now = Instant::now();
        if let Some(peaks) = message.and_then(peaks) {
            first.get_or_insert(now);
            loudest = peaks.into_iter().fold(loudest, f64::max);
        }
        now >= first.map_or(deadline, |first| first + LENGTH)
    })?;
    if first.is_none() {
        return Err(MediaError::Device { device: device.into(), cause: "it gives no sound".into() });
    }
    Ok(loudest)
}

fn peaks(message: &gst::Message) -> Option<Vec<f64>> {
    let structure = message.structure().filter(|structure| structure.name() == "level")?;
    let peaks = structure.get::<glib::ValueArray>("peak").ok()?;
    Some(peaks.iter().filter_map(|peak| peak.get().ok()).collect())
}

/// Runs a pipeline until `is_done`, which is asked at each message and at least each tenth of a second.
fn read(
    pipeline: &gst::Pipeline,
    device: &str,
    mut is_done: impl FnMut(Option<&gst::Message>) -> bool,
) -> Result<(), MediaError> {
    let failed = |cause: String| MediaError::Device { device: device.into(), cause };
    let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
    let started = pipeline.set_state(gst::State::Playing).is_ok();
    let kinds = [gst::MessageType::Error, gst::MessageType::Element];
    let result = loop {
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(100), &kinds);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => break Err(failed(error.error().message().to_string())),
            None if !started => break Err(failed("it can't start".into())),
            _ => {}
        }
        if is_done(message.as_ref()) {
            break Ok(());
        }
    };
    // A change to Null always succeeds.
    let _ = pipeline.set_state(gst::State::Null);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_counted_from_the_first_one() {
        crate::media::init().unwrap();
        let text = "videotestsrc is-live=true ! video/x-raw,framerate=20/1 ! fakesink name=sample-sink sync=false";
        let (pictures, time) = count(&pipelines::parse("camera", text).unwrap(), "test").unwrap();
        assert!(pictures > 5 && time == LENGTH, "{pictures}");
        let error = count_pictures("/dev/video-none").unwrap_err().to_string();
        assert!(error.contains("/dev/video-none"), "{error}");
    }

    #[test]
    fn the_loudest_sample_is_found() {
        crate::media::init().unwrap();
        let tone = |volume: f64| {
            let text = format!(
                "audiotestsrc is-live=true volume={volume} ! audioconvert ! level interval=100000000 ! fakesink \
                 sync=false"
            );
            peak(&text, "test").unwrap()
        };
        assert!((-7.0..-5.0).contains(&tone(0.5)));
        assert!(tone(0.0) < -300.0);
    }
}
