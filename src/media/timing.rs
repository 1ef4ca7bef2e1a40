//! When a picture was captured, and how long its encoder took.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

/// The instant at which the graph's clock showed a running time.
pub(super) fn instant_of(element: &impl IsA<gst::Element>, running: gst::ClockTime) -> Option<Instant> {
    let clock = element.as_ref().clock()?;
    let target = element.as_ref().base_time()? + running;
    let (now, clock_now) = (Instant::now(), clock.time());
    if clock_now >= target {
        now.checked_sub(Duration::from(clock_now - target))
    } else {
        now.checked_add(Duration::from(target - clock_now))
    }
}

/// The mean time from the picture entering an encoder to its packets leaving it.
#[derive(Debug, Clone, Default)]
pub(super) struct EncodeTime(Arc<Mutex<Measured>>);

#[derive(Debug, Default)]
struct Measured {
    entered: VecDeque<(gst::ClockTime, Instant)>,
    mean_ms: Option<f32>,
}

impl EncodeTime {
    /// More pictures than any encoder of this crate holds; a picture that the encoder drops must not stay for ever.
    const MOST_INSIDE: usize = 16;

    /// Watches an encoder.
    pub(super) fn watch(encoder: &gst::Element) -> Self {
        let this = Self::default();
        for (pad, enters) in [("sink", true), ("src", false)] {
            let Some(pad) = encoder.static_pad(pad) else { continue };
            let measured = this.0.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                // The encoder may shift its timestamps, but never the running time.
                let segment = pad.sticky_event::<gst::event::Segment>(0);
                let running =
                    info.buffer().and_then(|buffer| buffer.pts()).zip(segment).and_then(|(pts, event)| {
                        event.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(pts)
                    });
                if let (Some(running), Ok(mut measured)) = (running, measured.lock()) {
                    if enters { measured.enter(running) } else { measured.leave(running) }
                }
                gst::PadProbeReturn::Ok
            });
        }
        this
    }

    /// The mean over about the last second, in milliseconds.
    pub(super) fn mean_ms(&self) -> Option<f32> {
        self.0.lock().ok()?.mean_ms
    }
}

impl Measured {
    fn enter(&mut self, running: gst::ClockTime) {
        if self.entered.len() >= EncodeTime::MOST_INSIDE {
            self.entered.pop_front();
        }
        self.entered.push_back((running, Instant::now()));
    }

    fn leave(&mut self, running: gst::ClockTime) {
        let Some(at) = self.entered.iter().position(|(entered, _)| *entered == running) else { return };
        let Some((_, entered)) = self.entered.drain(..=at).next_back() else { return };
        let ms = entered.elapsed().as_secs_f32() * 1000.0;
        // A weight of 1/30 forgets within about a second of pictures.
        self.mean_ms = Some(self.mean_ms.map_or(ms, |mean| mean + (ms - mean) / 30.0));
    }
}
