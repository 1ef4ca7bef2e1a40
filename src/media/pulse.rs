//! Whether a source of pictures lives: what it has given so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

/// Counts the pictures of a source. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    pictures: AtomicU64,
    interval_ms: AtomicU64,
}

impl Pulse {
    /// Of what passes this pad.
    pub(super) fn of(pad: &gst::Pad) -> Self {
        let this = Self::default();
        let counted = this.0.clone();
        let passes = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(passes, move |_, info| {
            match info.event().map(|event| event.view()) {
                Some(gst::EventView::Caps(caps)) => {
                    counted.interval_ms.store(interval_ms(caps.caps()), Ordering::Relaxed);
                }
                Some(_) => {}
                None => {
                    counted.pictures.fetch_add(1, Ordering::Relaxed);
                }
            }
            gst::PadProbeReturn::Ok
        });
        this
    }

    /// Pictures, or packets of them, so far.
    pub(super) fn count(&self) -> u64 {
        self.0.pictures.load(Ordering::Relaxed)
    }

    /// The time from one picture to the next, as the source has announced; nothing where it varies or is not known.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.0.interval_ms.load(Ordering::Relaxed))
    }
}

fn interval_ms(caps: &gst::CapsRef) -> u64 {
    let rate = caps.structure(0).and_then(|shape| shape.get::<gst::Fraction>("framerate").ok());
    let Some((frames, seconds)) = rate.map(|rate| (rate.numer(), rate.denom())) else { return 0 };
    if frames <= 0 { 0 } else { u64::try_from(i64::from(seconds) * 1000 / i64::from(frames)).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_counted_and_their_rate_is_known() {
        super::super::init().unwrap();
        let text = "videotestsrc num-buffers=7 ! video/x-raw,framerate=1/5,width=16,height=16 ! fakesink name=end";
        let graph = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
        let pulse = Pulse::of(&graph.by_name("end").unwrap().static_pad("sink").unwrap());
        graph.set_state(gst::State::Playing).unwrap();
        let bus = graph.bus().unwrap();
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Eos]).unwrap();
        graph.set_state(gst::State::Null).unwrap();
        assert_eq!((pulse.count(), pulse.interval()), (7, Duration::from_secs(5)));
    }
}
