//! Watches one track in a student's pipeline: statistics, key-frame requests, and dropping before a slow decoder.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use super::freeze_detector::{FreezeDetector, Withheld};
use super::types::{RenderEvent, TrackStats};
use crate::rtp::{Latency, Track};

/// The frame interval of text in the low tier.
const TEXT_INTERVAL: Duration = Duration::from_millis(200);

/// The interval of key-frame requests. They are repeated until a key frame comes, because requests get lost too.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// How late an encoded frame may leave the queue before the decoder. Later frames are dropped up to the next key frame,
/// so that a slow decoder does not fall behind more and more.
const MAX_LATENESS: Duration = Duration::from_millis(700);

/// The time that a late frame gets to reach the window.
const REMAINING_TIME: Duration = Duration::from_millis(5);

/// The running time of the pipeline, the delay of the jitter buffer and the latency behind it. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct RenderClock {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    times: Arc<Times>,
}

/// Times in nanoseconds.
#[derive(Debug, Default)]
struct Times {
    delay: AtomicU64,
    pipeline_latency: AtomicU64,
    frame_latency: AtomicU64,
}

impl RenderClock {
    /// `pipeline_latency` is the latency behind the jitter buffer.
    pub(super) fn new(pipeline: &gst::Pipeline, latency: Latency, pipeline_latency: Duration) -> Self {
        let clock = Self { pipeline: pipeline.downgrade(), times: Arc::default() };
        clock.set_delay(latency.first());
        clock.set_latency(pipeline_latency, pipeline_latency);
        clock
    }

    /// The running time. None while the pipeline starts or stops.
    pub(super) fn now(&self) -> Option<Duration> {
        Some(self.pipeline.upgrade()?.current_running_time()?.into())
    }

    /// The current delay of the jitter buffer.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_nanos(self.times.delay.load(Ordering::Relaxed))
    }

    /// The latency behind the jitter buffer.
    pub(super) fn pipeline_latency(&self) -> Duration {
        Duration::from_nanos(self.times.pipeline_latency.load(Ordering::Relaxed))
    }

    /// How long after its playout time a frame may leave the decoder and still be shown.
    pub(super) fn frame_latency(&self) -> Duration {
        Duration::from_nanos(self.times.frame_latency.load(Ordering::Relaxed))
    }

    /// The pipeline, while it exists.
    pub(super) fn pipeline(&self) -> Option<gst::Pipeline> {
        self.pipeline.upgrade()
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        self.times.delay.store(nanoseconds(delay), Ordering::Relaxed);
    }

    /// A window waits for the whole pipeline, a compositor only for the decoder: `frame`.
    pub(super) fn set_latency(&self, pipeline: Duration, frame: Duration) {
        self.times.pipeline_latency.store(nanoseconds(pipeline), Ordering::Relaxed);
        self.times.frame_latency.store(nanoseconds(frame), Ordering::Relaxed);
    }

    /// The time of a frame that is to be shown as soon as possible.
    pub(super) fn soonest(&self) -> Option<Duration> {
        let now = self.now()?;
        Some((now + REMAINING_TIME).saturating_sub(self.delay() + self.frame_latency()))
    }
}

/// Nanoseconds as `u64`, which holds 584 years.
fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Watches one track. Clones share the state.
#[derive(Debug, Clone)]
pub(super) struct TrackMonitor(Arc<Monitored>);

#[derive(Debug)]
struct Monitored {
    track: Track,
    clock: RenderClock,
    events: mpsc::Sender<RenderEvent>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stats: TrackStats,
    freezes: FreezeDetector,
    /// When a key frame was last requested, while one is needed.
    needed: Option<Instant>,
    /// When a key frame was last requested.
    asked: Option<Instant>,
    /// No frames are expected, though some may still be under way.
    unexpected: bool,
    /// Encoded frames are dropped up to the next key frame.
    skipping: bool,
    /// Late frames must be shown at once.
    shows_late: bool,
}

impl TrackMonitor {
    pub(super) fn new(track: Track, clock: RenderClock, events: mpsc::Sender<RenderEvent>) -> Self {
        // A video track starts at a key frame, which the teacher sends unasked.
        let needed = track.is_video().then(Instant::now);
        let state = State { needed, asked: needed, ..State::default() };
        Self(Arc::new(Monitored { track, clock, events, state: Mutex::new(state) }))
    }

    pub(super) fn track(&self) -> Track {
        self.0.track
    }

    /// The statistics, except those of packets.
    pub(super) fn stats(&self) -> TrackStats {
        let Ok(state) = self.0.state.lock() else { return TrackStats::default() };
        let State { stats, freezes, .. } = &*state;
        let now = Instant::now();
        let Withheld { count: withholdings, total: withheld } = freezes.withheld(now);
        TrackStats {
            freezes: freezes.count,
            freeze_total: freezes.total,
            frozen: freezes.frozen(now),
            withholdings,
            withheld,
            is_withheld: freezes.is_withheld(),
            ..*stats
        }
    }

    /// Sets whether frames are expected. Unexpected time is a pause, not a freeze.
    pub(super) fn expect(&self, expected: bool) {
        let Ok(mut state) = self.0.state.lock() else { return };
        state.unexpected = !expected;
        if !expected {
            state.freezes.pause(Instant::now());
        }
    }

    /// Notes that the lecture is over for now. Frames under way are unexpected.
    pub(super) fn expect_nothing(&self) {
        let Ok(mut state) = self.0.state.lock() else { return };
        state.unexpected = true;
        state.freezes.expect_nothing(Instant::now());
    }

    /// Notes that this process was suspended.
    pub(super) fn note_suspension(&self, from: Instant, to: Instant) {
        if let Ok(mut state) = self.0.state.lock() {
            state.freezes.note_suspension(from, to);
        }
    }

    /// Notes that the publisher sends as few frames as the low tier of text.
    pub(super) fn expect_fewer(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.freezes.expect_interval(TEXT_INTERVAL);
        }
    }

    /// Notes that the decoder needs a key frame, and requests one unless that was done just now.
    pub(super) fn need_key_frame(&self) {
        self.request(|state| {
            state.needed.get_or_insert_with(Instant::now);
            true
        });
    }

    /// Requests a key frame that may turn out unnecessary, because retransmissions are still under way.
    pub(super) fn want_key_frame(&self) {
        self.request(|_| true);
    }

    /// Repeats the request while a key frame is needed. Called for every packet.
    pub(super) fn repeat_request(&self) {
        self.request(|state| state.needed.is_some());
    }

    fn request(&self, wants: impl FnOnce(&mut State) -> bool) {
        if !self.0.track.is_video() {
            return;
        }
        let Ok(mut state) = self.0.state.lock() else { return };
        if wants(&mut state) && state.asked.is_none_or(|last| last.elapsed() >= KEY_FRAME_REQUEST_INTERVAL) {
            state.asked = Some(Instant::now());
            state.stats.key_frames_asked += 1;
            drop(state);
            // If the queue is full, the request is repeated later.
            let _ = self.0.events.try_send(RenderEvent::KeyFrameNeeded(self.0.track));
        }
    }

    /// Sees key frames, and the key-frame requests of depayloader and decoder.
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
                    state.needed = None;
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Drops frames that have waited too long for the decoder, up to a key frame.
    pub(super) fn watch_queue(&self, queue: &gst::Element) {
        let this = self.clone();
        queue.connect("overrun", false, move |_| {
            this.skip();
            None
        });
        let (Some(input), Some(output)) = (queue.static_pad("sink"), queue.static_pad("src")) else { return };
        let clock = self.0.clock.clone();
        input.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let (Some(now), Some(buffer)) = (clock.now(), info.buffer_mut()) {
                // No element behind the depayloader reads the offset.
                buffer.make_mut().set_offset(now.as_nanos().try_into().unwrap_or(u64::MAX));
            }
            gst::PadProbeReturn::Ok
        });
        let this = self.clone();
        output.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let is_kept = info.buffer_mut().is_none_or(|buffer| this.keep(buffer));
            if is_kept { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
        });
    }

    fn skip(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.skipping = true;
        }
        self.need_key_frame();
    }

    /// Whether to pass this buffer to the decoder.
    fn keep(&self, buffer: &mut gst::Buffer) -> bool {
        let Some(now) = self.0.clock.now() else { return true };
        let due = buffer.pts().map_or(Duration::ZERO, |pts| Duration::from(pts) + self.0.clock.delay());
        let came = Duration::from_nanos(buffer.offset());
        let too_late = now > due.max(came) + MAX_LATENESS;
        let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let Ok(mut state) = self.0.state.lock() else { return true };
        if !too_late && (is_key || !state.skipping) {
            if std::mem::take(&mut state.skipping) {
                buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
            }
            return true;
        }
        state.skipping = self.0.track.is_video();
        state.stats.skipped += 1;
        drop(state);
        self.need_key_frame();
        false
    }

    /// Counts decoded frames.
    pub(super) fn watch_decoder(&self, decoder: &gst::Element) {
        let Some(pad) = decoder.static_pad("src") else { return };
        let this = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(event) = info.event() {
                if let gst::EventView::Caps(caps) = event.view() {
                    this.caps_changed(caps.caps());
                }
            } else {
                this.frame_decoded(info.buffer().and_then(|buffer| buffer.pts()));
                if let Some(buffer) = info.buffer_mut() {
                    this.retime_if_late(buffer);
                }
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Shows late frames at once: window and compositor would drop them.
    pub(super) fn show_late(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.shows_late = self.0.track.is_video();
        }
    }

    fn retime_if_late(&self, frame: &mut gst::Buffer) {
        if !self.0.state.lock().is_ok_and(|state| state.shows_late) {
            return;
        }
        if let (Some(pts), Some(latest)) = (frame.pts(), self.0.clock.soonest())
            && let Ok(latest) = gst::ClockTime::try_from(latest)
            && pts < latest
        {
            frame.make_mut().set_pts(latest);
        }
    }

    fn caps_changed(&self, caps: &gst::CapsRef) {
        let Some(shape) = caps.structure(0) else { return };
        let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        if let Ok(mut state) = self.0.state.lock() {
            (state.stats.width, state.stats.height) = (edge("width"), edge("height"));
        }
    }

    /// Notes a decoded frame. Freezes depend on its display time, not on this moment.
    fn frame_decoded(&self, pts: Option<gst::ClockTime>) {
        let due = pts.map(|pts| Duration::from(pts) + self.0.clock.delay());
        let left = due.zip(self.0.clock.now()).map_or(Duration::ZERO, |(due, now)| due.saturating_sub(now));
        let Ok(mut state) = self.0.state.lock() else { return };
        state.stats.frames_decoded += 1;
        if self.0.track.is_video() && !state.unexpected {
            state.freezes.frame_shown(Instant::now() + left);
        }
        let first = state.stats.frames_decoded == 1;
        drop(state);
        if first {
            // The queue has room so early. If it is closed, nobody cares.
            let _ = self.0.events.try_send(RenderEvent::FirstFrame { track: self.0.track });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frame_requests_are_limited_and_repeated() {
        crate::media::init().unwrap();
        let (events, mut receiver) = mpsc::channel(8);
        let clock = RenderClock::new(&gst::Pipeline::new(), Latency::AUTO, Duration::ZERO);
        let monitor = TrackMonitor::new(Track::Screen, clock, events);
        let long_ago = Instant::now().checked_sub(KEY_FRAME_REQUEST_INTERVAL);
        let set = |needed, asked| {
            let mut state = monitor.0.state.lock().unwrap();
            (state.needed, state.asked) = (needed, asked);
        };
        set(None, None);
        for _ in 0..10 {
            monitor.need_key_frame();
            monitor.repeat_request();
        }
        assert_eq!(receiver.try_recv(), Ok(RenderEvent::KeyFrameNeeded(Track::Screen)));
        assert!(receiver.try_recv().is_err());
        set(long_ago, long_ago);
        monitor.repeat_request();
        assert!(receiver.try_recv().is_ok());
        set(None, long_ago);
        monitor.repeat_request();
        assert!(receiver.try_recv().is_err());
        // An unnecessary request is not repeated.
        monitor.want_key_frame();
        assert!(receiver.try_recv().is_ok());
        set(None, long_ago);
        monitor.repeat_request();
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn unexpected_frames_are_no_freeze() {
        crate::media::init().unwrap();
        let (events, _receiver) = mpsc::channel(8);
        let clock = RenderClock::new(&gst::Pipeline::new(), Latency::AUTO, Duration::ZERO);
        let monitor = TrackMonitor::new(Track::Screen, clock, events);
        let last = || monitor.0.state.lock().unwrap().freezes.frozen(Instant::now() + Duration::from_secs(9));
        (0..3).for_each(|_| monitor.frame_decoded(None));
        assert!(last().is_some());
        monitor.expect(false);
        // A frame was still under way.
        monitor.frame_decoded(None);
        assert_eq!(last(), None);
        monitor.expect(true);
        assert_eq!(last(), None);
        monitor.frame_decoded(None);
        assert!(last().is_some());
    }
}
