//! The state of sources while a lecture runs: frames delivered, failed and restarted, ended.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::rtp::Track;

/// How often a failed source is restarted.
const RESTART_INTERVAL: Duration = Duration::from_secs(2);

/// A source that may fail and return, such as a camera that is unplugged. The rest of the pipeline goes on.
#[derive(Debug)]
pub(super) struct SourceRestart {
    source: gst::Element,
    /// Whether the source has delivered a buffer since its last start.
    delivers: Arc<AtomicBool>,
    /// The time of the next restart, while the source is gone.
    due: Option<Instant>,
}

impl SourceRestart {
    /// Watches a source element. Its end-of-stream events are dropped, because downstream elements would refuse buffers
    /// after them.
    pub(super) fn new(source: gst::Element) -> Self {
        let delivers = Arc::<AtomicBool>::default();
        if let Some(pad) = source.static_pad("src") {
            let delivers = delivers.clone();
            pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                match info.event().map(|event| event.type_()) {
                    Some(gst::EventType::Eos) => return gst::PadProbeReturn::Drop,
                    Some(_) => {}
                    None => delivers.store(true, Ordering::Relaxed),
                }
                gst::PadProbeReturn::Ok
            });
        }
        Self { source, delivers, due: None }
    }

    /// Whether an error comes from this source.
    pub(super) fn is_source_of(&self, error: &gst::message::Error) -> bool {
        error.src().is_some_and(|source| source == self.source.upcast_ref::<gst::Object>())
    }

    /// Stops the failed source and schedules a restart. Returns whether the failure is new.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        // Lock the state, so that the pipeline does not start the element. A change to Null always succeeds.
        self.source.set_locked_state(true);
        let _ = self.source.set_state(gst::State::Null);
        let is_new = self.delivers.swap(false, Ordering::Relaxed) || self.due.is_none();
        self.due = Some(now + RESTART_INTERVAL);
        is_new
    }

    /// The time until [`SourceRestart::restart_if_due`] must be called. None while the source works.
    pub(super) fn time_to_restart(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Restarts the source if that is due.
    pub(super) fn restart_if_due(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if self.delivers.load(Ordering::Relaxed) {
            self.due = None;
            return;
        }
        self.due = Some(now + RESTART_INTERVAL);
        self.source.set_locked_state(false);
        // If the device is still gone, the element posts another error.
        let _ = self.source.sync_state_with_parent();
    }
}

/// Counts the frames of a source. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct FrameCounter(Arc<FrameCounts>);

#[derive(Debug, Default)]
struct FrameCounts {
    frames: AtomicU64,
    interval_ms: AtomicU64,
}

impl FrameCounter {
    /// Counts buffers at a pad.
    pub(super) fn new(pad: &gst::Pad) -> Self {
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
                    counted.frames.fetch_add(1, Ordering::Relaxed);
                }
            }
            gst::PadProbeReturn::Ok
        });
        this
    }

    /// Frames so far, or packets if the pad carries packets.
    pub(super) fn count(&self) -> u64 {
        self.0.frames.load(Ordering::Relaxed)
    }

    /// The frame interval in the caps. Zero if it is unknown or variable.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.0.interval_ms.load(Ordering::Relaxed))
    }
}

fn interval_ms(caps: &gst::CapsRef) -> u64 {
    let rate = caps.structure(0).and_then(|shape| shape.get::<gst::Fraction>("framerate").ok());
    let Some((frames, seconds)) = rate.map(|rate| (rate.numer(), rate.denom())) else { return 0 };
    if frames <= 0 { 0 } else { u64::try_from(i64::from(seconds) * 1000 / i64::from(frames)).unwrap_or(0) }
}

/// Detects the end of a lecture: all tracks that can end have ended.
pub(super) struct EndOfStream {
    open: Mutex<Vec<Track>>,
    at_end: Box<dyn Fn() + Send + Sync>,
}

impl EndOfStream {
    /// Calls `at_end` once, when all of these tracks have ended. Other tracks may go on.
    pub(super) fn new(tracks: Vec<Track>, at_end: impl Fn() + Send + Sync + 'static) -> Self {
        Self { open: Mutex::new(tracks), at_end: Box::new(at_end) }
    }

    /// Notes the end of a track. Each of its encodings may report it.
    pub(super) fn track_ended(&self, track: Track) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let before = open.len();
        open.retain(|other| *other != track);
        let last = before > 0 && open.is_empty();
        drop(open);
        if last {
            (self.at_end)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_source_is_restarted_while_the_pipeline_goes_on() {
        crate::media::init().unwrap();
        let text =
            "videotestsrc is-live=true num-buffers=5 name=camera ! video/x-raw,framerate=100/1 ! fakesink name=end";
        let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
        let counter = FrameCounter::new(&pipeline.by_name("end").unwrap().static_pad("sink").unwrap());
        let mut restart = SourceRestart::new(pipeline.by_name("camera").unwrap());
        pipeline.set_state(gst::State::Playing).unwrap();
        let until = |count: u64| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while counter.count() < count {
                assert!(Instant::now() < deadline, "{} pictures", counter.count());
                std::thread::park_timeout(Duration::from_millis(5));
            }
        };
        until(5);
        let mut now = Instant::now();
        assert_eq!(restart.time_to_restart(now), None);
        assert!(restart.failed(now), "it had worked");
        assert!(!restart.failed(now), "that is known");
        assert_eq!(restart.time_to_restart(now), Some(RESTART_INTERVAL));
        restart.restart_if_due(now);
        now += RESTART_INTERVAL;
        restart.restart_if_due(now);
        until(10);
        now += RESTART_INTERVAL;
        restart.restart_if_due(now);
        assert_eq!(restart.time_to_restart(now), None, "it is back");
        let ended = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Eos, gst::MessageType::Error]);
        assert!(ended.is_none(), "{ended:?}");
        pipeline.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn frames_are_counted_and_their_interval_is_known() {
        crate::media::init().unwrap();
        let text = "videotestsrc num-buffers=7 ! video/x-raw,framerate=1/5,width=16,height=16 ! fakesink name=end";
        let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
        let counter = FrameCounter::new(&pipeline.by_name("end").unwrap().static_pad("sink").unwrap());
        pipeline.set_state(gst::State::Playing).unwrap();
        let bus = pipeline.bus().unwrap();
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Eos]).unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!((counter.count(), counter.interval()), (7, Duration::from_secs(5)));
    }

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_last_track_ends_the_lecture_once() {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = count.clone();
        let end_of_stream = EndOfStream::new(vec![Track::Audio, Track::Screen], move || {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        for track in [Track::Camera, Track::Screen, Track::Screen] {
            end_of_stream.track_ended(track);
            assert_eq!(count.load(Ordering::SeqCst), 0);
        }
        end_of_stream.track_ended(Track::Audio);
        end_of_stream.track_ended(Track::Audio);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
