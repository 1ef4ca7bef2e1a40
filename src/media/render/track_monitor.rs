//! What a student's graph measures of a track, and when it needs a key frame.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use super::freeze_detector::{FreezeDetector, Withheld};
use super::types::{RenderEvent, TrackStats};
use crate::rtp::{Latency, Track};

/// Between two pictures of text in the low tier.
const TEXT_INTERVAL: Duration = Duration::from_millis(200);

/// A key frame is asked for twice a second at most, and as often until it comes, because requests get lost too.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// How long an encoded picture may wait for the decoder beyond its time. A slow decoder is not followed into the past: what
/// waits is thrown away up to a fresh key frame.
const MAX_LATENESS: Duration = Duration::from_millis(700);

/// What a late picture gets for the expect_nothing of its way to the window.
const REMAINING_TIME: Duration = Duration::from_millis(5);

/// The graph's time, and how much later than due it plays. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::media) struct RenderClock {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    delay: Arc<AtomicU64>,
}

impl RenderClock {
    pub(in crate::media) fn new(pipeline: &gst::Pipeline, latency: Latency) -> Self {
        let clock = Self { pipeline: pipeline.downgrade(), delay: Arc::default() };
        clock.set_delay(latency.first());
        clock
    }

    /// The time since the graph began; none while it starts or stops.
    pub(in crate::media) fn now(&self) -> Option<Duration> {
        Some(self.pipeline.upgrade()?.current_running_time()?.into())
    }

    /// How much later than due everything is played.
    pub(in crate::media) fn delay(&self) -> Duration {
        Duration::from_nanos(self.delay.load(Ordering::Relaxed))
    }

    /// The pipeline, while it exists.
    pub(super) fn pipeline(&self) -> Option<gst::Pipeline> {
        self.pipeline.upgrade()
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        self.delay.store(delay.as_nanos().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The measuring points of one track. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::media) struct TrackMonitor(Arc<Monitored>);

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
    /// When a key frame was last asked for, while one is needed.
    needed: Option<Instant>,
    /// When a key frame was last asked for.
    asked: Option<Instant>,
    /// No pictures are expected; some may be under way.
    unexpected: bool,
    /// Encoded pictures are thrown away up to the next key frame.
    skipping: bool,
    /// What comes behind the decoder, where late pictures are to be shown at once.
    pipeline_latency: Option<Duration>,
}

impl TrackMonitor {
    pub(in crate::media) fn new(track: Track, clock: RenderClock, events: mpsc::Sender<RenderEvent>) -> Self {
        // A video track begins with the need for a key frame, which the teacher sends unasked.
        let needed = track.is_video().then(Instant::now);
        let state = State { needed, asked: needed, ..State::default() };
        Self(Arc::new(Monitored { track, clock, events, state: Mutex::new(state) }))
    }

    pub(in crate::media) fn track(&self) -> Track {
        self.0.track
    }

    /// The numbers that are known here, which is all but those of packets.
    pub(in crate::media) fn stats(&self) -> TrackStats {
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

    /// Says whether pictures are expected; the time without one is withheld then, and no freeze.
    pub(in crate::media) fn expect(&self, expected: bool) {
        let Ok(mut state) = self.0.state.lock() else { return };
        state.unexpected = !expected;
        if !expected {
            state.freezes.pause(Instant::now());
        }
    }

    /// The lecture is over for now. What is still under way is not expected.
    pub(in crate::media) fn expect_nothing(&self) {
        let Ok(mut state) = self.0.state.lock() else { return };
        state.unexpected = true;
        state.freezes.expect_nothing(Instant::now());
    }

    /// This process stood still from one time to another.
    pub(in crate::media) fn note_suspension(&self, from: Instant, to: Instant) {
        if let Ok(mut state) = self.0.state.lock() {
            state.freezes.note_suspension(from, to);
        }
    }

    /// The publisher sends fewer pictures from now on: as few as the low tier of text has.
    pub(in crate::media) fn expect_fewer(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.freezes.expect_interval(TEXT_INTERVAL);
        }
    }

    /// Notes that the decoder can't go on, and asks for a key frame unless that was done just now.
    pub(in crate::media) fn need_key_frame(&self) {
        self.request(|state| {
            state.needed.get_or_insert_with(Instant::now);
            true
        });
    }

    /// Asks for a key frame that may not be needed, because repairs are still under way.
    pub(in crate::media) fn want_key_frame(&self) {
        self.request(|_| true);
    }

    /// Asks again while a key frame is still needed. Called with every packet.
    pub(in crate::media) fn repeat_request(&self) {
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
            // Full: the reader has events enough, and this one is repeated.
            let _ = self.0.events.try_send(RenderEvent::KeyFrameNeeded(self.0.track));
        }
    }

    /// Sees key frames pass, and requests of depayloader and decoder going up.
    pub(in crate::media) fn watch_depayloader(&self, depayloader: &gst::Element) {
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

    /// Keeps what waits for the decoder fresh: what the decoder has no time for is thrown away up to a key frame.
    pub(in crate::media) fn watch_queue(&self, queue: &gst::Element) {
        let this = self.clone();
        queue.connect("overrun", false, move |_| {
            this.skip();
            None
        });
        let (Some(input), Some(output)) = (queue.static_pad("sink"), queue.static_pad("src")) else { return };
        let clock = self.0.clock.clone();
        input.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let (Some(now), Some(buffer)) = (clock.now(), info.buffer_mut()) {
                // Nothing behind a depayloader reads it.
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

    /// Whether the decoder shall get this.
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

    /// Counts what is frame_decoded.
    pub(in crate::media) fn watch_decoder(&self, decoder: &gst::Element) {
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

    /// Lets pictures that are late be shown at once: a window and a compositor would drop them as they are. What comes
    /// behind the decoder waits for the delay and this.
    pub(in crate::media) fn show_late(&self, pipeline_latency: Duration) {
        if let Ok(mut state) = self.0.state.lock() {
            state.pipeline_latency = Some(pipeline_latency).filter(|_| self.0.track.is_video());
        }
    }

    fn retime_if_late(&self, picture: &mut gst::Buffer) {
        let pipeline_latency = self.0.state.lock().ok().and_then(|state| state.pipeline_latency);
        let (Some(pipeline_latency), Some(now)) = (pipeline_latency, self.0.clock.now()) else { return };
        let latest = (now + REMAINING_TIME).saturating_sub(self.0.clock.delay() + pipeline_latency);
        if let (Some(pts), Ok(latest)) = (picture.pts(), gst::ClockTime::try_from(latest))
            && pts < latest
        {
            picture.make_mut().set_pts(latest);
        }
    }

    fn caps_changed(&self, caps: &gst::CapsRef) {
        let Some(shape) = caps.structure(0) else { return };
        let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        if let Ok(mut state) = self.0.state.lock() {
            (state.stats.width, state.stats.height) = (edge("width"), edge("height"));
        }
    }

    /// A picture, or a block of sound, is frame_decoded. It is shown when its time has come, which is what freezes are made of.
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
            // Full is impossible so early; closed means that nobody asks.
            let _ = self.0.events.try_send(RenderEvent::FirstFrame { track: self.0.track });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_is_asked_for_once_and_again_only_after_a_while() {
        crate::media::init().unwrap();
        let (events, mut receiver) = mpsc::channel(8);
        let clock = RenderClock::new(&gst::Pipeline::new(), Latency::AUTO);
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
        // What is only wanted is not repeated.
        monitor.want_key_frame();
        assert!(receiver.try_recv().is_ok());
        set(None, long_ago);
        monitor.repeat_request();
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn pictures_that_are_not_sent_are_no_freeze() {
        crate::media::init().unwrap();
        let (events, _receiver) = mpsc::channel(8);
        let clock = RenderClock::new(&gst::Pipeline::new(), Latency::AUTO);
        let monitor = TrackMonitor::new(Track::Screen, clock, events);
        let last = || monitor.0.state.lock().unwrap().freezes.frozen(Instant::now() + Duration::from_secs(9));
        (0..3).for_each(|_| monitor.frame_decoded(None));
        assert!(last().is_some());
        monitor.expect(false);
        // One was still under way.
        monitor.frame_decoded(None);
        assert_eq!(last(), None);
        monitor.expect(true);
        assert_eq!(last(), None);
        monitor.frame_decoded(None);
        assert!(last().is_some());
    }
}
