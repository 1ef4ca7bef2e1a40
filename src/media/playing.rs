//! Between a student's network and its graph: packets wait in a [`JitterBuffer`], and go on when it says so.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::receive::{Received, TrackStats};
use crate::rtp::{JitterBuffer, Latency, PlayoutEvent, Track};

/// What the decoder of a picture may take, before it is late.
pub(super) const DECODED_AFTER: Duration = Duration::from_millis(20);

/// The graph's time, and how much later than due it plays. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    delay: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn new(pipeline: &gst::Pipeline, latency: Latency) -> Self {
        let clock = Self { pipeline: pipeline.downgrade(), delay: Arc::default() };
        clock.set_delay(latency.first());
        clock
    }

    /// The time since the graph began; none while it starts or stops.
    pub(super) fn now(&self) -> Option<Duration> {
        Some(self.pipeline.upgrade()?.current_running_time()?.into())
    }

    /// How much later than due everything is played.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_nanos(self.delay.load(Ordering::Relaxed))
    }

    fn set_delay(&self, delay: Duration) {
        self.delay.store(delay.as_nanos().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// One track on its way in.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) packets: gst_app::AppSrc,
    pub(super) received: Received,
}

/// All tracks on their way in.
#[derive(Debug)]
pub(super) struct Playing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    inputs: Vec<Input>,
    /// What is shown after the delay, by the parts of this graph.
    shown_after: Duration,
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug)]
struct State {
    playout: JitterBuffer,
    /// When the thread wakes by itself; none: only when it is woken.
    wakes: Option<Duration>,
    stopped: bool,
}

impl Playing {
    /// Starts, for a graph that is about to run.
    pub(super) fn start(
        clock: Clock,
        inputs: Vec<Input>,
        playout: JitterBuffer,
        shown_after: Duration,
    ) -> std::io::Result<Self> {
        let state = Mutex::new(State { playout, wakes: None, stopped: false });
        let shared = Arc::new(Shared { clock, inputs, shown_after, state, woken: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("render-playout".into()).spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes an RTP packet of a track; it is dropped while the graph starts or stops.
    pub(super) fn push_rtp(&self, track: Track, packet: &[u8]) {
        let shared = &*self.shared;
        let (Some(input), Some(now)) = (shared.input(track), shared.clock.now()) else { return };
        input.received.remind();
        let mut state = shared.state();
        let changed = state.playout.take(track, packet, now, |track, played| shared.play(track, played));
        let wakes = state.playout.wakes();
        let sooner = wakes.is_some_and(|at| state.wakes.is_none_or(|then| at < then));
        drop(state);
        if changed || sooner {
            shared.woken.notify_one();
        }
    }

    /// Takes a compound RTCP packet of a track.
    pub(super) fn push_rtcp(&self, track: Track, packet: &[u8]) {
        self.shared.state().playout.report(track, packet);
    }

    /// The numbers of a track since the start.
    pub(super) fn stats(&self, track: Track) -> TrackStats {
        let Some(input) = self.shared.input(track) else { return TrackStats::default() };
        let state = self.shared.state();
        let (missing, jitter_ms) = (state.playout.missing(track), state.playout.jitter_ms(track));
        drop(state);
        TrackStats {
            lost: missing.lost,
            late: missing.late,
            restored: missing.restored,
            concealed: missing.concealed,
            jitter_ms: jitter_ms as f32,
            ..input.received.stats()
        }
    }

    /// How much later than possible everything is played.
    pub(super) fn delay(&self) -> Duration {
        self.shared.clock.delay()
    }

    /// This process stood still from one time to another: that is neither a freeze nor a reason to wait longer.
    pub(super) fn stood_still(&self, from: Instant, to: Instant) {
        self.shared.state().playout.stood_still();
        self.shared.inputs.iter().for_each(|input| input.received.stood_still(from, to));
    }

    /// Says whether pictures of a track are expected.
    pub(super) fn expect(&self, track: Track, expected: bool) {
        if let Some(input) = self.shared.input(track) {
            input.received.expect(expected);
        }
    }

    /// As [`super::Render::rest`].
    pub(super) fn rest(&self) {
        self.shared.inputs.iter().for_each(|input| input.received.rest());
    }

    /// As [`super::Render::expect_fewer`].
    pub(super) fn expect_fewer(&self, track: Track) {
        if let Some(input) = self.shared.input(track) {
            input.received.expect_fewer();
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            // It can only have failed, and then there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn input(&self, track: Track) -> Option<&Input> {
        self.inputs.iter().find(|input| input.received.track() == track)
    }

    /// A panic elsewhere is no reason to stop playing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn play(&self, track: Track, played: PlayoutEvent) {
        let Some(input) = self.input(track) else { return };
        match played {
            PlayoutEvent::KeyFrameNeeded => input.received.want_key_frame(),
            played => hand_on(&input.packets, played),
        }
    }

    /// Plays what needs not be waited for any more, and tells the graph of a new delay.
    fn run(&self) {
        let mut applied = self.clock.delay();
        let mut state = self.state();
        while !state.stopped {
            let now = self.clock.now().unwrap_or_default();
            state.playout.pass(now, |track, played| self.play(track, played));
            let delay = state.playout.delay();
            if delay != applied {
                drop(state);
                self.apply(delay);
                applied = delay;
                state = self.state();
                continue;
            }
            state.wakes = state.playout.wakes();
            state = match state.wakes {
                Some(wakes) => {
                    // Never nothing at all, whatever the clock does.
                    let wait = wakes.saturating_sub(now).max(Duration::from_millis(1));
                    self.woken.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.woken.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Makes everything that plays wait as long as this. It may take as long as a picture in a sink.
    fn apply(&self, delay: Duration) {
        self.clock.set_delay(delay);
        let Some(pipeline) = self.clock.pipeline.upgrade() else { return };
        set_delay(&pipeline, delay, self.shown_after);
        // It fails only while the graph is being stopped.
        let _ = pipeline.recalculate_latency();
    }
}

/// Hands a packet to the graph, or what stands for sound that never came. Never blocks: an appsrc queues.
fn hand_on(packets: &gst_app::AppSrc, played: PlayoutEvent) {
    // Both fail only while the graph is being stopped.
    match played {
        PlayoutEvent::Packet { bytes, due, after_loss } => {
            let mut buffer = gst::Buffer::from_slice(bytes);
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_pts(gst::ClockTime::try_from(due).ok());
                if after_loss {
                    buffer.set_flags(gst::BufferFlags::DISCONT);
                }
            }
            let _ = packets.push_buffer(buffer);
        }
        PlayoutEvent::Concealment { due, lasts } => {
            if let (Ok(due), Ok(lasts)) = (gst::ClockTime::try_from(due), gst::ClockTime::try_from(lasts)) {
                let _ = packets.send_event(gst::event::Gap::builder(due).duration(lasts).build());
            }
        }
        PlayoutEvent::KeyFrameNeeded => {}
    }
}

/// Writes a delay into the graph.
///
/// The graph's latency is not asked for: it does not know before media flows, and then answers with the worst that an
/// Opus decoder or a sound card might ever need, a quarter of a second more.
pub(super) fn set_delay(pipeline: &gst::Pipeline, delay: Duration, shown_after: Duration) {
    pipeline.set_latency(gst::ClockTime::try_from(delay + shown_after).ok());
    if let Some(layout) = pipeline.by_name("layout") {
        let wait = (delay + DECODED_AFTER).as_nanos();
        layout.set_property("min-upstream-latency", u64::try_from(wait).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests;
