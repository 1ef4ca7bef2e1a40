//! The thread between network and pipeline: packets wait in a [`JitterBuffer`] and go to the track's appsrc when they
//! are due.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::pipeline::DECODE_LATENCY;
use super::track_monitor::{RenderClock, TrackMonitor};
use super::types::TrackStats;
use crate::rtp::{JitterBuffer, PlayoutEvent, Track};

/// The input of a track.
#[derive(Debug)]
pub(super) struct TrackInput {
    pub(super) packets: gst_app::AppSrc,
    pub(super) monitor: TrackMonitor,
}

/// The running playout of all tracks.
#[derive(Debug)]
pub(super) struct Playout {
    shared: Arc<PlayoutThread>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct PlayoutThread {
    clock: RenderClock,
    inputs: Vec<TrackInput>,
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug)]
struct State {
    jitter_buffer: JitterBuffer,
    /// When the thread wakes by itself. None: only when notified.
    wakes: Option<Duration>,
    stopped: bool,
}

impl Playout {
    /// Starts the playout of a pipeline that is about to run.
    pub(super) fn start(
        clock: RenderClock,
        inputs: Vec<TrackInput>,
        jitter_buffer: JitterBuffer,
    ) -> std::io::Result<Self> {
        let state = Mutex::new(State { jitter_buffer, wakes: None, stopped: false });
        let shared = Arc::new(PlayoutThread { clock, inputs, state, woken: Condvar::new() });
        let thread_state = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("render-playout".into()).spawn(move || thread_state.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes an RTP packet of a track. It is dropped while the pipeline starts or stops.
    pub(super) fn push_rtp(&self, track: Track, packet: &[u8]) {
        let shared = &*self.shared;
        let (Some(input), Some(now)) = (shared.input(track), shared.clock.now()) else { return };
        input.monitor.repeat_request();
        let mut state = shared.state();
        let changed = state.jitter_buffer.take(track, packet, now, |track, played| shared.play(track, played));
        let wakes = state.jitter_buffer.wakes();
        let sooner = wakes.is_some_and(|at| state.wakes.is_none_or(|then| at < then));
        drop(state);
        if changed || sooner {
            shared.woken.notify_one();
        }
    }

    /// Takes a compound RTCP packet of a track.
    pub(super) fn push_rtcp(&self, track: Track, packet: &[u8]) {
        self.shared.state().jitter_buffer.report(track, packet);
    }

    /// The statistics of a track since the start.
    pub(super) fn stats(&self, track: Track) -> TrackStats {
        let Some(input) = self.shared.input(track) else { return TrackStats::default() };
        let state = self.shared.state();
        let (losses, jitter_ms) = (state.jitter_buffer.losses(track), state.jitter_buffer.jitter_ms(track));
        drop(state);
        TrackStats {
            lost: losses.lost,
            late: losses.late,
            restored: losses.restored,
            concealed: losses.concealed,
            jitter_ms: jitter_ms as f32,
            ..input.monitor.stats()
        }
    }

    /// The current delay of the jitter buffer.
    pub(super) fn delay(&self) -> Duration {
        self.shared.clock.delay()
    }

    /// See [`TrackMonitor::show_late`].
    pub(super) fn show_late(&self) {
        self.shared.inputs.iter().for_each(|input| input.monitor.show_late());
    }

    /// Notes that this process was suspended: neither a freeze nor a reason for a longer delay.
    pub(super) fn note_suspension(&self, from: Instant, to: Instant) {
        self.shared.state().jitter_buffer.on_suspension();
        self.shared.inputs.iter().for_each(|input| input.monitor.note_suspension(from, to));
    }

    /// Sets whether frames of a track are expected.
    pub(super) fn expect(&self, track: Track, expected: bool) {
        if let Some(input) = self.shared.input(track) {
            input.monitor.expect(expected);
        }
    }

    /// See [`super::Render::expect_nothing`].
    pub(super) fn expect_nothing(&self) {
        self.shared.inputs.iter().for_each(|input| input.monitor.expect_nothing());
    }

    /// See [`super::Render::expect_fewer`].
    pub(super) fn expect_fewer(&self, track: Track) {
        if let Some(input) = self.shared.input(track) {
            input.monitor.expect_fewer();
        }
    }
}

impl Drop for Playout {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            // A failed thread leaves nothing to end.
            let _ = thread.join();
        }
    }
}

impl PlayoutThread {
    fn input(&self, track: Track) -> Option<&TrackInput> {
        self.inputs.iter().find(|input| input.monitor.track() == track)
    }

    /// Ignore poisoning: a panic elsewhere is no reason to stop the playout.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn play(&self, track: Track, played: PlayoutEvent) {
        let Some(input) = self.input(track) else { return };
        match played {
            PlayoutEvent::KeyFrameNeeded => input.monitor.want_key_frame(),
            played => push_to_appsrc(&input.packets, played),
        }
    }

    /// Plays what is due, and applies changed delays to the pipeline.
    fn run(&self) {
        let mut applied = self.clock.delay();
        let mut state = self.state();
        while !state.stopped {
            let now = self.clock.now().unwrap_or_default();
            state.jitter_buffer.pass(now, |track, played| self.play(track, played));
            let delay = state.jitter_buffer.delay();
            if delay != applied {
                drop(state);
                self.apply(delay);
                applied = delay;
                state = self.state();
                continue;
            }
            state.wakes = state.jitter_buffer.wakes();
            state = match state.wakes {
                Some(wakes) => {
                    // Never wait for zero time, whatever the clock says.
                    let wait = wakes.saturating_sub(now).max(Duration::from_millis(1));
                    self.woken.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.woken.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Applies a delay to all sinks. This may block as long as a sink shows a frame.
    fn apply(&self, delay: Duration) {
        self.clock.set_delay(delay);
        let Some(pipeline) = self.clock.pipeline() else { return };
        set_delay(&pipeline, &self.clock);
        // This fails only while the pipeline stops.
        let _ = pipeline.recalculate_latency();
    }
}

/// Pushes a packet, or a gap event for lost audio. Never blocks, because appsrc queues.
fn push_to_appsrc(packets: &gst_app::AppSrc, played: PlayoutEvent) {
    // Both fail only while the pipeline stops.
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

/// Sets the latency of the pipeline from the times of its clock.
///
/// The latency query is of no use: before media flows it has no result, and later the worst case of the Opus decoder
/// and the sound card, 0.25 s more than they need.
pub(super) fn set_delay(pipeline: &gst::Pipeline, clock: &RenderClock) {
    let delay = clock.delay();
    pipeline.set_latency(gst::ClockTime::try_from(delay + clock.pipeline_latency()).ok());
    if let Some(layout) = pipeline.by_name("layout") {
        let wait = (delay + DECODE_LATENCY).as_nanos();
        layout.set_property("min-upstream-latency", u64::try_from(wait).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests;
