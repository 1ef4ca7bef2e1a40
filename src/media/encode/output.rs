//! Encoded output of the pipeline: RTP packets from an appsink become [`Frame`]s, gated per encoding, with capture time
//! and encode time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::rtp::{Encoding, Frame, FrameAssembler};

/// Packets queued between payloader and callback. The callback takes one frame at a time.
const MAX_BUFFERS: u32 = 8;

/// Receives frames on the pipeline's streaming threads.
pub(in crate::media) type OnFrame = Arc<dyn Fn(Frame) + Send + Sync>;

/// Whether the frames of an encoding pass. The gate opens only at a key frame, so that no delivered frame depends on an
/// undelivered one.
#[derive(Debug, Default)]
pub(in crate::media) struct KeyFrameGate(AtomicU8);

impl KeyFrameGate {
    const CLOSED: u8 = 0;
    /// Opens at the next key frame.
    const AWAITING_KEY_FRAME: u8 = 1;
    const OPEN: u8 = 2;

    /// Opens the gate from the next key frame on, or closes it at once.
    pub(in crate::media) fn set(&self, open: bool) {
        if open {
            let shut =
                self.0.compare_exchange(Self::CLOSED, Self::AWAITING_KEY_FRAME, Ordering::SeqCst, Ordering::SeqCst);
            // A failed exchange means that the gate is open or waiting already.
            let _ = shut;
        } else {
            self.0.store(Self::CLOSED, Ordering::SeqCst);
        }
    }

    /// Whether a frame passes.
    fn passes(&self, key: bool) -> bool {
        match self.0.load(Ordering::SeqCst) {
            Self::OPEN => true,
            Self::AWAITING_KEY_FRAME if key => {
                // The exchange fails if the gate has just been closed. Then it stays closed.
                self.0
                    .compare_exchange(Self::AWAITING_KEY_FRAME, Self::OPEN, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok()
            }
            _ => false,
        }
    }
}

/// The appsink of an encoding, and the statistics of its encoder.
#[derive(Debug)]
pub(in crate::media) struct EncodedOutput {
    pub encoding: Encoding,
    sink: gst_app::AppSink,
    time: Option<EncodeTime>,
}

impl EncodedOutput {
    /// Configures an appsink that has not received a buffer yet. `encoder` is measured.
    pub(in crate::media) fn new(encoding: Encoding, sink: gst_app::AppSink, encoder: Option<&gst::Element>) -> Self {
        sink.set_property("sync", false);
        // Otherwise a playing pipeline would wait for this sink's first buffer.
        sink.set_property("async", false);
        sink.set_property("buffer-list", true);
        sink.set_property("enable-last-sample", false);
        sink.set_property("qos", false);
        sink.set_max_buffers(MAX_BUFFERS);
        Self { encoding, sink, time: encoder.map(EncodeTime::watch) }
    }

    /// Delivers packets as frames while the gate is open.
    pub(in crate::media) fn connect(
        &self,
        gate: Arc<KeyFrameGate>,
        on_frame: OnFrame,
        on_end: impl Fn() + Send + 'static,
    ) {
        let mut assembler = FrameAssembler::new(self.encoding);
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
            let mut push = |buffer: &gst::BufferRef| {
                let running = buffer.pts().zip(segment).and_then(|(pts, segment)| segment.to_running_time(pts));
                let captured = running.and_then(|running| instant_of(sink, running)).unwrap_or_else(Instant::now);
                if let Ok(map) = buffer.map_readable()
                    && let Some(frame) = assembler.push(&map, captured)
                    && gate.passes(frame.key)
                {
                    on_frame(frame);
                }
            };
            match sample.buffer_list() {
                Some(list) => list.iter().for_each(&mut push),
                None => sample.buffer().into_iter().for_each(&mut push),
            }
            Ok(gst::FlowSuccess::Ok)
        });
        self.sink.set_callbacks(callbacks.eos(move |_| on_end()).build());
    }

    /// The appsink. Request key frames from it without holding a lock.
    pub(in crate::media) fn sink(&self) -> gst_app::AppSink {
        self.sink.clone()
    }

    /// The mean encode time of about the last second, in milliseconds.
    pub(in crate::media) fn encode_ms(&self) -> Option<f32> {
        self.time.as_ref()?.mean_ms()
    }
}

/// Requests a key frame from the encoder in front of an appsink, for the next captured frame.
///
/// Does nothing before the first frame, which is a key frame anyway. x264enc of GStreamer 1.22 would misread such an
/// early request as one for a time thousands of hours later, and ignore all others until then.
pub(in crate::media) fn request_key_frame(sink: &gst_app::AppSink) {
    request_key_frame_from(sink, None);
}

/// Requests a key frame for the first frame with at least this running time. Otherwise the same as
/// [`request_key_frame`].
pub(super) fn request_key_frame_from(sink: &gst_app::AppSink, running_time: Option<gst::ClockTime>) {
    if let Some(pad) = sink.static_pad("sink").filter(|pad| pad.current_caps().is_some()) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).running_time(running_time);
        // This returns false only while the pipeline stops.
        pad.push_event(event.build());
    }
}

/// The instant at which the pipeline's clock had a running time.
pub(in crate::media) fn instant_of(element: &impl IsA<gst::Element>, running: gst::ClockTime) -> Option<Instant> {
    let clock = element.as_ref().clock()?;
    let target = element.as_ref().base_time()? + running;
    let (now, clock_now) = (Instant::now(), clock.time());
    if clock_now >= target {
        now.checked_sub(Duration::from(clock_now - target))
    } else {
        now.checked_add(Duration::from(target - clock_now))
    }
}

/// The mean time from a frame's entry into an encoder to the exit of its data.
#[derive(Debug, Clone, Default)]
pub(in crate::media) struct EncodeTime(Arc<Mutex<Measured>>);

#[derive(Debug, Default)]
struct Measured {
    entered: VecDeque<(gst::ClockTime, Instant)>,
    mean_ms: Option<f32>,
}

impl EncodeTime {
    /// The maximum of tracked frames, more than any of the encoders holds. Without a limit, frames that an encoder
    /// drops would accumulate.
    const MAX_INSIDE: usize = 16;

    /// Measures an encoder by probes on its pads.
    pub(in crate::media) fn watch(encoder: &gst::Element) -> Self {
        let this = Self::default();
        for (pad, enters) in [("sink", true), ("src", false)] {
            let Some(pad) = encoder.static_pad(pad) else { continue };
            let measured = this.0.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                // Encoders may shift timestamps and segment, but keep the running time.
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

    /// The mean of about the last second, in milliseconds.
    pub(in crate::media) fn mean_ms(&self) -> Option<f32> {
        self.0.lock().ok()?.mean_ms
    }
}

impl Measured {
    fn enter(&mut self, running: gst::ClockTime) {
        if self.entered.len() >= EncodeTime::MAX_INSIDE {
            self.entered.pop_front();
        }
        self.entered.push_back((running, Instant::now()));
    }

    fn leave(&mut self, running: gst::ClockTime) {
        let Some(at) = self.entered.iter().position(|(entered, _)| *entered == running) else { return };
        let Some((_, entered)) = self.entered.drain(..=at).next_back() else { return };
        let ms = entered.elapsed().as_secs_f32() * 1000.0;
        // An exponential mean with weight 1/30: about a second at 30 frames per second.
        self.mean_ms = Some(self.mean_ms.map_or(ms, |mean| mean + (ms - mean) / 30.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_opens_at_a_key_frame_and_closes_at_once() {
        let gate = KeyFrameGate::default();
        assert!(!gate.passes(true), "shut at first");
        gate.set(true);
        assert_eq!([false, true, false, true].map(|key| gate.passes(key)), [false, true, true, true]);
        gate.set(true);
        assert!(gate.passes(false), "it was open already");
        gate.set(false);
        assert!(!gate.passes(false) && !gate.passes(true));
    }
}
