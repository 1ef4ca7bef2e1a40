//! A running render: from RTP packets to a window, to a file, or only to statistics.

mod freeze_detector;
mod fullscreen;
mod layout;
pub(crate) mod matroska;
pub(super) mod pipeline;
mod playout;
mod recording;
mod track_monitor;
mod types;
mod window;

use std::fmt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use self::pipeline::DECODE_LATENCY;
use self::playout::{Playout, TrackInput};
use self::recording::Recording;
use self::track_monitor::{RenderClock, TrackMonitor};
pub use self::types::{RenderEvent, RenderOptions, Sink, TrackFormat, TrackStats};
use self::window::KeyAction;
pub use self::window::Window;
use crate::media::error::MediaError;
use crate::media::pipelines;
use crate::rtp::{JitterBuffer, Track};

/// The event queue: a few per track. More warnings add nothing.
const MAX_QUEUED_EVENTS: usize = 64;

/// A running render. Dropping it stops the pipeline and completes a recording.
pub struct Render {
    pipeline: gst::Pipeline,
    /// Present if tracks share a window.
    layout: Option<layout::Layout>,
    /// None only during the drop.
    playout: Option<Playout>,
    recording: Option<Recording>,
    watcher: Option<JoinHandle<()>>,
    window: Option<Window>,
}

impl fmt::Debug for Render {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Render").field("playout", &self.playout).finish_non_exhaustive()
    }
}

impl Render {
    /// Builds and starts the pipeline, within some ten milliseconds. Media may come at any time later.
    ///
    /// # Errors
    ///
    /// There is no display, a decoder is missing, or the file can't be created.
    pub fn start(options: RenderOptions) -> Result<(Self, mpsc::Receiver<RenderEvent>), MediaError> {
        crate::media::init()?;
        let plan = pipeline::plan(&options)?;
        Self::with_plan(options, plan)
    }

    fn with_plan(
        options: RenderOptions,
        plan: pipeline::RenderPlan,
    ) -> Result<(Self, mpsc::Receiver<RenderEvent>), MediaError> {
        let (events, receiver) = mpsc::channel(MAX_QUEUED_EVENTS);
        let pipeline::RenderPlan { text, notices, pipeline_latency } = plan;
        for notice in notices {
            // The channel is new, so it has room.
            let _ = events.try_send(RenderEvent::Warning(notice));
        }
        let pipeline = pipelines::parse("watch", &text)?;
        let layout = layout::attach(&pipeline);
        let clock = RenderClock::new(&pipeline, options.latency);
        playout::set_delay(&pipeline, clock.delay(), pipeline_latency);
        let inputs: Vec<TrackInput> =
            options.tracks.iter().map(|format| input(&pipeline, *format, &clock, &events)).collect::<Result<_, _>>()?;
        for TrackInput { monitor, .. } in &inputs {
            match options.sink {
                // A compositor waits for the decoder, a window for the whole pipeline.
                Sink::Window { .. } if pipeline.by_name("layout").is_some() => monitor.show_late(DECODE_LATENCY),
                Sink::Window { .. } => monitor.show_late(pipeline_latency),
                Sink::Null | Sink::File(_) => {}
            }
        }
        let failed = |cause: &str| MediaError::Pipeline { pipeline: "watch".into(), cause: cause.into() };
        let bus = pipeline.bus().ok_or_else(|| failed("no bus"))?;
        let recording = match &options.sink {
            Sink::File(path) => Some(record(&pipeline, path, &options.tracks, &events)?),
            _ => None,
        };
        let keeps = matches!(options.sink, Sink::File(_));
        let jitter_buffer =
            JitterBuffer::new(options.tracks.iter().map(|it| (it.track, it.codec)), options.latency, keeps);
        let playout = Playout::start(clock, inputs, jitter_buffer, pipeline_latency)
            .map_err(|error| failed(&error.to_string()))?;
        let playout = Some(playout);
        let window = match options.sink {
            Sink::Window { fullscreen } => Some(Window::attach(&pipeline, &options.title, fullscreen)),
            Sink::Null | Sink::File(_) => None,
        };
        let of_watcher = window.clone();
        let mut render = Self { pipeline: pipeline.clone(), layout, playout, recording, watcher: None, window };
        if pipeline.set_state(gst::State::Playing).is_err() {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            return Err(match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => explain(error),
                _ => failed("it can't start"),
            });
        }
        let weak = pipeline.downgrade();
        let watcher = std::thread::Builder::new()
            .name("render-events".into())
            .spawn(move || watch(&bus, &weak, of_watcher.as_ref(), &events));
        render.watcher = Some(watcher.map_err(|error| failed(&error.to_string()))?);
        Ok((render, receiver))
    }

    /// Takes an RTP packet of a track. Never blocks. Packets of unknown tracks are ignored.
    pub fn push_rtp(&self, track: Track, packet: &[u8]) {
        if let Some(playout) = &self.playout {
            playout.push_rtp(track, packet);
        }
    }

    /// Takes a compound RTCP packet of a track. Its sender report has the capture time, by which tracks are kept in
    /// sync. Never blocks.
    pub fn push_rtcp(&self, track: Track, packet: &[u8]) {
        if let Some(playout) = &self.playout {
            playout.push_rtcp(track, packet);
        }
    }

    /// Sets whether frames of a track are expected. Time without an expected frame counts as [`TrackStats::withheld`],
    /// not as a freeze.
    pub fn expect(&self, track: Track, expected: bool) {
        if let Some(playout) = &self.playout {
            playout.expect(track, expected);
        }
    }

    /// Notes that the teacher has ended the lecture for now: the last frame stays, and that is not a freeze.
    pub fn expect_nothing(&self) {
        if let Some(playout) = &self.playout {
            playout.expect_nothing();
        }
    }

    /// Shows or hides a track in a window that it shares with another one.
    pub fn show(&self, track: Track, shown: bool) {
        if let Some(layout) = &self.layout {
            layout.show(track, shown);
        }
    }

    /// The window. None for other sinks.
    pub fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    /// Notes that this process was suspended: video did not freeze, and the network was not slow.
    pub fn note_suspension(&self, from: Instant, to: Instant) {
        if let Some(playout) = &self.playout {
            playout.note_suspension(from, to);
        }
    }

    /// Notes that the publisher switches a track to fewer frames per second (the low tier). That is not a freeze.
    pub fn expect_fewer(&self, track: Track) {
        if let Some(playout) = &self.playout {
            playout.expect_fewer(track);
        }
    }

    /// The current delay of the jitter buffer.
    pub fn delay(&self) -> Duration {
        self.playout.as_ref().map(Playout::delay).unwrap_or_default()
    }

    /// The statistics of a track since the start.
    pub fn stats(&self, track: Track) -> TrackStats {
        self.playout.as_ref().map(|playout| playout.stats(track)).unwrap_or_default()
    }

    /// Stops, as dropping does. A file is complete when this returns.
    pub fn finish(self) {}

    pub(in crate::media) fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }
}

impl Drop for Render {
    fn drop(&mut self) {
        self.playout = None;
        // A change to Null always succeeds, and waits for the streaming threads.
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(recording) = &self.recording {
            recording.finish();
        }
        if let Some(bus) = self.pipeline.bus() {
            // In Null the bus drops messages, so reopen it for this one.
            bus.set_flushing(false);
            // A bus that drops the message has no reader either.
            let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty(STOP)));
        }
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// The message that ends the bus watcher.
const STOP: &str = "classroom-stop";

/// Creates the file and connects all tracks to it.
fn record(
    pipeline: &gst::Pipeline,
    path: &Path,
    tracks: &[TrackFormat],
    events: &mpsc::Sender<RenderEvent>,
) -> Result<Recording, MediaError> {
    let recording = Recording::create(path, events.clone())?;
    for format in tracks {
        let sink = pipeline.by_name(&format!("{}-sink", format.track));
        if let Some(sink) = sink.and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()) {
            recording.connect(format.track, &sink);
        }
    }
    Ok(recording)
}

/// Finds the elements of a track and attaches its monitor.
fn input(
    pipeline: &gst::Pipeline,
    format: TrackFormat,
    clock: &RenderClock,
    events: &mpsc::Sender<RenderEvent>,
) -> Result<TrackInput, MediaError> {
    let track = format.track;
    let missing = |name: &str| MediaError::Contract { pipeline: "watch".into(), problem: format!("{name} is missing") };
    let find = |name: String| pipeline.by_name(&name).ok_or_else(|| missing(&name));
    let packets = find(track.to_string())?.downcast::<gst_app::AppSrc>().map_err(|_| missing(track.name()))?;
    packets.set_caps(Some(&caps(format)));
    let monitor = TrackMonitor::new(track, clock.clone(), events.clone());
    monitor.watch_depayloader(&find(format!("{track}-depayloader"))?);
    monitor.watch_queue(&find(format!("{track}-queue"))?);
    monitor.watch_decoder(&find(format!("{track}-decoder"))?);
    Ok(TrackInput { packets, monitor })
}

pub(in crate::media) fn caps(format: TrackFormat) -> gst::Caps {
    gst::Caps::builder("application/x-rtp")
        .field("media", if format.track.is_video() { "video" } else { "audio" })
        .field("payload", i32::from(format.payload_type))
        .field("clock-rate", format.codec.clock_rate() as i32)
        .field("encoding-name", format.codec.encoding_name())
        .build()
}

/// Turns bus messages into events.
fn watch(
    bus: &gst::Bus,
    pipeline: &gst::glib::WeakRef<gst::Pipeline>,
    window: Option<&Window>,
    events: &mpsc::Sender<RenderEvent>,
) {
    loop {
        let timeout = window.and_then(Window::due).map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| gst::ClockTime::try_from(timeout).ok());
        let Some(message) = bus.timed_pop(timeout) else {
            match window {
                Some(window) if timeout.is_some() => window.expire(),
                _ => return,
            }
            continue;
        };
        let event = match message.view() {
            gst::MessageView::Error(error) => match explain(error) {
                MediaError::Pipeline { cause, .. } if cause.contains("window was closed") => RenderEvent::WindowClosed,
                error => RenderEvent::Error(error),
            },
            // The configured latency is lower than the worst case that elements report; see `set_delay`.
            gst::MessageView::Warning(warning) if warning.error().matches(gst::CoreError::Clock) => continue,
            gst::MessageView::Warning(warning) => RenderEvent::Warning(warning.error().message().to_string()),
            gst::MessageView::Latency(_) => {
                if let Some(pipeline) = pipeline.upgrade() {
                    // This fails only while the pipeline stops.
                    let _ = pipeline.recalculate_latency();
                }
                continue;
            }
            gst::MessageView::Application(own) if own.structure().is_some_and(|own| own.name() == window::KEY) => {
                match window.zip(own.structure().and_then(|own| own.get::<String>("key").ok())) {
                    Some((window, key)) if window.on_key(&key) == KeyAction::Close => RenderEvent::WindowClosed,
                    _ => continue,
                }
            }
            gst::MessageView::Application(own) if own.structure().is_some_and(|own| own.name() == STOP) => return,
            _ => continue,
        };
        // If the queue is full or closed, nobody reads events, so drop this one.
        let _ = events.try_send(event);
    }
}

/// Translates an error message for the user.
fn explain(message: &gst::message::Error) -> MediaError {
    let element = message.src().and_then(|source| source.downcast_ref::<gst::Element>());
    let factory = element.and_then(gst::Element::factory).map(|factory| factory.name().to_string());
    let name = factory.unwrap_or_else(|| "watch".into());
    MediaError::Pipeline { pipeline: name, cause: message.error().message().to_string() }
}

#[cfg(test)]
mod tests;
