//! How long an encoder takes for a picture, tried out: whether this machine can send a large screen as it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::coding::Coding;
use super::encoder::{Encoder, run};
use super::graph;

/// Pictures that are encoded, a tenth of a second of work: the first ones, for which buffers are filled, do not count.
const PICTURES: usize = 12;
const FIRST: usize = 4;

/// The share of the time between two pictures that encoding may take. The rest is for capturing and converting them,
/// which takes a quarter of a core at 2560x1440, and for everything else that a teacher does with the machine.
const SHARE: f64 = 0.5;

/// The time of a picture for this encoder: of a pattern that moves all over, the median of some. None where it failed.
pub(super) fn time_of_a_picture(encoder: &Encoder, coding: &Coding) -> Option<Duration> {
    let text = format!(
        "videotestsrc pattern=zone-plate kx2=12 ky2=12 kt=3 \
         ! video/x-raw,format=I420,width={},height={},framerate={}/1 ! videoconvert \
         ! {} ! fakesink name=trial-sink sync=false async=false",
        coding.size.width,
        coding.size.height,
        coding.fps,
        encoder.text("trial", coding)
    );
    let pipeline = graph::parse(encoder.element, &text).ok()?;
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
        // It gives pictures in the order in which it got them, and drops none of these few.
        let entered = entered.lock().unwrap_or_else(PoisonError::into_inner).get(takes.len()).copied();
        takes.extend(entered.map(|entered| entered.elapsed()));
        gst::PadProbeReturn::Ok
    });
    run(&pipeline, PICTURES).ok()?;
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let mut times: Vec<Duration> = times.iter().skip(FIRST).copied().collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// Whether an encoder that takes so long keeps up with so many pictures a second.
pub(super) fn keeps_up(time: Duration, fps: u32) -> bool {
    time.as_secs_f64() * f64::from(fps) <= SHARE
}

#[cfg(test)]
mod tests {
    use super::super::encoder::ENCODERS;
    use super::super::options::Size;
    use super::*;

    #[test]
    fn an_encoder_may_take_half_of_the_time_between_two_pictures() {
        let ms = Duration::from_millis;
        assert!(keeps_up(ms(16), 30) && !keeps_up(ms(17), 30));
        assert!(keeps_up(ms(33), 15) && !keeps_up(ms(16), 60));
    }

    #[test]
    fn every_software_encoder_takes_some_time() {
        crate::media::init().unwrap();
        for encoder in ENCODERS.iter().filter(|encoder| matches!(encoder.element, "x264enc" | "vp8enc")) {
            let coding = Coding::full(Size { width: 320, height: 180 }, 30, 400_000);
            let time = time_of_a_picture(encoder, &coding).unwrap();
            assert!(!time.is_zero(), "{}", encoder.element);
        }
    }
}
