//! What a student's graph measures of a track, and when it needs a key frame.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use super::render::RenderEvent;
use crate::rtp::Track;

/// A key frame is asked for twice a second at most, and as often until it comes, because requests get lost too.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Numbers of a track since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TrackStats {
    /// Pictures or blocks of sound that came out of the decoder.
    pub frames_decoded: u64,
    /// Width of the picture in pixels, 0 before the first.
    pub width: u32,
    /// Height of the picture in pixels, 0 before the first.
    pub height: u32,
    /// Jitter of arrival (RFC 3550, 6.4.1), in milliseconds.
    pub jitter_ms: f32,
    /// How often the picture stood still: a gap of three mean intervals, or of one and 150 ms, whichever is more.
    pub freezes: u64,
    /// The time in all freezes.
    pub freeze_total: Duration,
    /// Packets that never came, or too late.
    pub lost: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Key frames that were asked for.
    pub key_frames_asked: u64,
}

/// The measuring points of one track. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Received(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    track: Track,
    events: mpsc::Sender<RenderEvent>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stats: TrackStats,
    jitter_buffer: Option<gst::Element>,
    /// Lost and late packets of jitter buffers that are gone.
    lost_before: (u64, u64),
    last_frame: Option<Instant>,
    mean_interval: Option<Duration>,
    /// When a key frame was last asked for, while one is needed.
    asked: Option<Instant>,
}

impl Received {
    pub(super) fn new(track: Track, events: mpsc::Sender<RenderEvent>) -> Self {
        // A video track begins with the need for a key frame, which the teacher sends unasked.
        let state = State { asked: track.is_video().then(Instant::now), ..State::default() };
        Self(Arc::new(Shared { track, events, state: Mutex::new(state) }))
    }

    pub(super) fn track(&self) -> Track {
        self.0.track
    }

    pub(super) fn stats(&self) -> TrackStats {
        let Ok(state) = self.0.state.lock() else { return TrackStats::default() };
        let (lost, late, jitter_ms) = read(state.jitter_buffer.as_ref());
        TrackStats { lost: lost + state.lost_before.0, late: late + state.lost_before.1, jitter_ms, ..state.stats }
    }

    pub(super) fn set_jitter_buffer(&self, buffer: gst::Element) {
        let Ok(mut state) = self.0.state.lock() else { return };
        let (lost, late, _) = read(state.jitter_buffer.as_ref());
        state.lost_before = (state.lost_before.0 + lost, state.lost_before.1 + late);
        state.jitter_buffer = Some(buffer);
    }

    /// Notes that the decoder can't go on, and asks for a key frame unless that was done just now.
    pub(super) fn need_key_frame(&self) {
        self.ask(true);
    }

    /// Asks again while a key frame is still needed. Called with every packet.
    pub(super) fn remind(&self) {
        self.ask(false);
    }

    fn ask(&self, needed: bool) {
        if !self.0.track.is_video() {
            return;
        }
        let Ok(mut state) = self.0.state.lock() else { return };
        let due = match state.asked {
            Some(last) => last.elapsed() >= ASK_AGAIN,
            None => needed,
        };
        if due {
            state.asked = Some(Instant::now());
            state.stats.key_frames_asked += 1;
            drop(state);
            // Full: the reader has events enough, and this one is repeated.
            let _ = self.0.events.try_send(RenderEvent::KeyFrameNeeded(self.0.track));
        }
    }

    /// Sees key frames pass, and requests of depayloader and decoder going up.
    pub(super) fn watch_depayloader(&self, depayloader: &gst::Element) {
        if !self.0.track.is_video() {
            return;
        }
        if let Some(pad) = depayloader.static_pad("sink") {
            let this = self.clone();
            pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
                let asks =
                    info.event().and_then(|event| event.structure()).is_some_and(|s| s.name() == "GstForceKeyUnit");
                if !asks {
                    return gst::PadProbeReturn::Ok;
                }
                this.need_key_frame();
                gst::PadProbeReturn::Handled
            });
        }
        if let Some(pad) = depayloader.static_pad("src") {
            let this = self.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                let key = info.buffer().is_some_and(|buffer| !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
                if key && let Ok(mut state) = this.0.state.lock() {
                    state.asked = None;
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Asks for a key frame when encoded pictures were thrown away.
    pub(super) fn watch_queue(&self, queue: &gst::Element) {
        let this = self.clone();
        queue.connect("overrun", false, move |_| {
            this.need_key_frame();
            None
        });
    }

    /// Counts what is decoded.
    pub(super) fn watch_decoder(&self, decoder: &gst::Element) {
        let Some(pad) = decoder.static_pad("src") else { return };
        let this = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(event) = info.event() {
                if let gst::EventView::Caps(caps) = event.view() {
                    this.shaped(caps.caps());
                }
            } else {
                this.decoded();
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn shaped(&self, caps: &gst::CapsRef) {
        let Some(shape) = caps.structure(0) else { return };
        let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        if let Ok(mut state) = self.0.state.lock() {
            (state.stats.width, state.stats.height) = (edge("width"), edge("height"));
        }
    }

    fn decoded(&self) {
        let Ok(mut state) = self.0.state.lock() else { return };
        state.decoded(Instant::now());
        let first = state.stats.frames_decoded == 1;
        drop(state);
        if first {
            // Full is impossible so early; closed means that nobody asks.
            let _ = self.0.events.try_send(RenderEvent::FirstFrame { track: self.0.track });
        }
    }
}

impl State {
    fn decoded(&mut self, now: Instant) {
        self.stats.frames_decoded += 1;
        let Some(last) = self.last_frame.replace(now) else { return };
        let gap = now.saturating_duration_since(last);
        let Some(mean) = self.mean_interval else {
            self.mean_interval = Some(gap);
            return;
        };
        // The definition of `freezeCount` in W3C's webrtc-stats, with a moving mean of about thirty pictures.
        if gap > (mean * 3).max(mean + Duration::from_millis(150)) {
            self.stats.freezes += 1;
            self.stats.freeze_total += gap;
        }
        self.mean_interval = Some((mean * 29 + gap.min(mean * 3)) / 30);
    }
}

/// Lost and late packets and jitter in milliseconds of a jitter buffer.
fn read(buffer: Option<&gst::Element>) -> (u64, u64, f32) {
    let Some(stats) = buffer.map(|buffer| buffer.property::<gst::Structure>("stats")) else { return (0, 0, 0.0) };
    let number = |name: &str| stats.get::<u64>(name).unwrap_or(0);
    (number("num-lost"), number("num-late"), number("avg-jitter") as f32 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_is_a_gap_that_stands_out() {
        let mut state = State::default();
        let mut now = Instant::now();
        for _ in 0..60 {
            now += Duration::from_millis(33);
            state.decoded(now);
        }
        assert_eq!(state.stats.freezes, 0);
        now += Duration::from_millis(170);
        state.decoded(now);
        assert_eq!(state.stats.freezes, 0);
        now += Duration::from_millis(400);
        state.decoded(now);
        assert_eq!((state.stats.freezes, state.stats.freeze_total), (1, Duration::from_millis(400)));
    }

    #[test]
    fn a_key_frame_is_asked_for_once_and_again_only_after_a_while() {
        let (events, mut receiver) = mpsc::channel(8);
        let received = Received::new(Track::Screen, events);
        received.0.state.lock().unwrap().asked = None;
        for _ in 0..10 {
            received.need_key_frame();
            received.remind();
        }
        assert_eq!(receiver.try_recv(), Ok(RenderEvent::KeyFrameNeeded(Track::Screen)));
        assert!(receiver.try_recv().is_err());
        received.0.state.lock().unwrap().asked = Instant::now().checked_sub(ASK_AGAIN);
        received.remind();
        assert!(receiver.try_recv().is_ok());
        received.0.state.lock().unwrap().asked = None;
        received.remind();
        assert!(receiver.try_recv().is_err());
    }
}
