//! A camera that is unplugged while the lecture goes on, and plugged in again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

/// How often a camera that is gone is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A source that may fail and come back. The rest of the graph goes on.
#[derive(Debug)]
pub(super) struct Revival {
    source: gst::Element,
    /// Whether it has given anything since it was started last.
    lives: Arc<AtomicBool>,
    /// When it is started next, while it is gone.
    due: Option<Instant>,
}

impl Revival {
    /// Of this source. Its end is kept from the graph, so that what it gives after that is let through.
    pub(super) fn of(source: gst::Element) -> Self {
        let lives = Arc::<AtomicBool>::default();
        if let Some(pad) = source.static_pad("src") {
            let lives = lives.clone();
            pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                match info.event().map(|event| event.type_()) {
                    Some(gst::EventType::Eos) => return gst::PadProbeReturn::Drop,
                    Some(_) => {}
                    None => lives.store(true, Ordering::Relaxed),
                }
                gst::PadProbeReturn::Ok
            });
        }
        Self { source, lives, due: None }
    }

    /// Whether it is this source that complains.
    pub(super) fn is_about(&self, error: &gst::message::Error) -> bool {
        error.src().is_some_and(|source| source == self.source.upcast_ref::<gst::Object>())
    }

    /// It has failed: it is shut, and started again from time to time. Gives whether it had worked until now.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        // The graph must not start it by itself. Null always succeeds.
        self.source.set_locked_state(true);
        let _ = self.source.set_state(gst::State::Null);
        let is_news = self.lives.swap(false, Ordering::Relaxed) || self.due.is_none();
        self.due = Some(now + LOOK_EVERY);
        is_news
    }

    /// How long [`Revival::look`] may wait; none while all is well.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// Starts it again when that is due; nothing happens while it works.
    pub(super) fn look(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if self.lives.load(Ordering::Relaxed) {
            self.due = None;
            return;
        }
        self.due = Some(now + LOOK_EVERY);
        self.source.set_locked_state(false);
        // Where it is still gone, it says so by an error.
        let _ = self.source.sync_state_with_parent();
    }
}

#[cfg(test)]
mod tests {
    use super::super::pulse::Pulse;
    use super::*;

    #[test]
    fn a_source_that_has_failed_is_started_again_and_the_graph_goes_on() {
        super::super::init().unwrap();
        let text =
            "videotestsrc is-live=true num-buffers=5 name=camera ! video/x-raw,framerate=100/1 ! fakesink name=end";
        let graph = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
        let pulse = Pulse::of(&graph.by_name("end").unwrap().static_pad("sink").unwrap());
        let mut revival = Revival::of(graph.by_name("camera").unwrap());
        graph.set_state(gst::State::Playing).unwrap();
        let until = |count: u64| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while pulse.count() < count {
                assert!(Instant::now() < deadline, "{} pictures", pulse.count());
                std::thread::park_timeout(Duration::from_millis(5));
            }
        };
        until(5);
        let mut now = Instant::now();
        assert_eq!(revival.wait(now), None);
        assert!(revival.failed(now), "it had worked");
        assert!(!revival.failed(now), "that is known");
        assert_eq!(revival.wait(now), Some(LOOK_EVERY));
        revival.look(now);
        now += LOOK_EVERY;
        revival.look(now);
        until(10);
        now += LOOK_EVERY;
        revival.look(now);
        assert_eq!(revival.wait(now), None, "it is back");
        let ended = graph.bus().unwrap().pop_filtered(&[gst::MessageType::Eos, gst::MessageType::Error]);
        assert!(ended.is_none(), "{ended:?}");
        graph.set_state(gst::State::Null).unwrap();
    }
}
