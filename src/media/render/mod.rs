//! A running render: from RTP packets to a window, to a file, or only to statistics.

mod freeze_detector;
mod fullscreen;
mod grid;
mod layout;
pub(crate) mod matroska;
pub(super) mod pipeline;
mod playout;
mod recording;
mod scene;
mod stage;
mod track_monitor;
mod types;
mod window;

use std::fmt;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use self::pipeline::DECODE_LATENCY;
use self::playout::{Playout, TrackInput};
use self::recording::{Recording, TrackTitle};
use self::scene::{Arrangement, Picture};
pub use self::stage::RenderStage;
use self::stage::SpeakerPictures;
use self::track_monitor::{RenderClock, TrackMonitor};
pub use self::types::{GridOptions, RenderEvent, RenderOptions, Sink, SpeakerOptions, TrackFormat, TrackStats};
use self::window::KeyAction;
pub use self::window::Window;
use crate::media::error::MediaError;
use crate::media::pipelines;
use crate::rtp::{JitterBuffer, Latency, Track};

/// The event queue: a few per track. More warnings add nothing.
const MAX_QUEUED_EVENTS: usize = 64;

/// A running render, of a lecture or of a speaker beside it. Dropping it stops the pipeline and completes a recording.
pub struct Render {
    pipeline: gst::Pipeline,
    /// None only during the drop.
    playout: Option<Playout>,
    watcher: Option<JoinHandle<()>>,
    /// Of a lecture in a window.
    layout: Option<layout::Layout>,
    window: Option<Window>,
    /// Of a lecture in a file.
    recording: Option<Recording>,
    /// Of a lecture.
    stage: Option<RenderStage>,
    /// Of a speaker in a window. Dropped after the pipeline has stopped.
    pictures: Option<SpeakerPictures>,
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

    /// Builds and starts a window, or a recording, for a meeting: all pictures are those of speakers, and have the same
    /// size.
    ///
    /// # Errors
    ///
    /// There is no display, or the file can't be created.
    pub fn start_grid(options: GridOptions) -> Result<(Self, mpsc::Receiver<RenderEvent>), MediaError> {
        crate::media::init()?;
        let GridOptions { sink, latency, title } = options;
        let options = RenderOptions { sink, latency, tracks: Vec::new(), audio: true, title };
        let plan = pipeline::plan(&options)?;
        let (render, events) = Self::with_plan(options, plan)?;
        if let Some(layout) = &render.layout {
            layout.arrange_as(Arrangement::Grid);
        }
        Ok((render, events))
    }

    fn with_plan(
        options: RenderOptions,
        plan: pipeline::RenderPlan,
    ) -> Result<(Self, mpsc::Receiver<RenderEvent>), MediaError> {
        let (events, receiver) = mpsc::channel(MAX_QUEUED_EVENTS);
        let pipeline::RenderPlan { text, notices, pipeline_latency, audio } = plan;
        for notice in notices {
            // The channel is new, so it has room.
            let _ = events.try_send(RenderEvent::Warning(notice));
        }
        let pipeline = pipelines::parse("watch", &text)?;
        let RenderOptions { sink, latency, tracks, title, .. } = options;
        let clock = RenderClock::new(&pipeline, latency, pipeline_latency);
        let names: Vec<Track> = tracks.iter().map(|format| format.track).collect();
        let layout = layout::attach(&pipeline, &clock, &names);
        if names.iter().filter(|track| track.is_video()).count() > 1 {
            // A compositor waits for the decoder, a window for the whole pipeline.
            clock.set_latency(pipeline_latency, DECODE_LATENCY);
        }
        let playout = connect(&pipeline, &clock, &tracks, latency, (matches!(sink, Sink::File(_)), &events))?;
        if let Sink::Window { .. } = sink {
            playout.show_late();
        }
        let mut render = Self::new(&pipeline, playout);
        render.layout = layout;
        if let Sink::File(path) = &sink {
            let recording = Recording::create(path, events.clone())?;
            for track in names {
                record(&pipeline, &recording, TrackTitle { speaker: None, track }, &events);
            }
            render.recording = Some(recording);
        }
        if let Sink::Window { fullscreen } = sink {
            render.window = Some(Window::attach(&pipeline, &title, fullscreen));
        }
        render.stage = Some(RenderStage::of(&render, sink, audio));
        render.play(&events)?;
        Ok((render, receiver))
    }

    /// A render that does not run yet.
    fn new(pipeline: &gst::Pipeline, playout: Playout) -> Self {
        Self {
            pipeline: pipeline.clone(),
            playout: Some(playout),
            watcher: None,
            layout: None,
            window: None,
            recording: None,
            stage: None,
            pictures: None,
        }
    }

    /// Starts the pipeline.
    fn play(&mut self, events: &mpsc::Sender<RenderEvent>) -> Result<(), MediaError> {
        let failed = |cause: &str| MediaError::Pipeline { pipeline: "watch".into(), cause: cause.into() };
        let bus = self.pipeline.bus().ok_or_else(|| failed("no bus"))?;
        if self.pipeline.set_state(gst::State::Playing).is_err() {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            return Err(match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => explain(error),
                _ => failed("it can't start"),
            });
        }
        let (weak, window, events) = (self.pipeline.downgrade(), self.window.clone(), events.clone());
        let watcher = std::thread::Builder::new()
            .name("render-events".into())
            .spawn(move || watch(&bus, &weak, window.as_ref(), &events));
        self.watcher = Some(watcher.map_err(|error| failed(&error.to_string()))?);
        Ok(())
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
            layout.show(Picture::Lecture(track), shown);
        }
        if let Some(pictures) = &self.pictures {
            pictures.show(track, shown);
        }
    }

    /// Shows this speaker large in the window, or the lecture again.
    pub fn enlarge(&self, large: bool) {
        if let Some(pictures) = &self.pictures {
            pictures.enlarge(large);
        }
    }

    /// The place for speakers beside this lecture. None if this is a speaker.
    pub fn stage(&self) -> Option<&RenderStage> {
        self.stage.as_ref()
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

/// Records a track of this pipeline.
fn record(pipeline: &gst::Pipeline, recording: &Recording, title: TrackTitle, events: &mpsc::Sender<RenderEvent>) {
    let sink = pipeline.by_name(&format!("{}-sink", title.track));
    if let Some(sink) = sink.and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()) {
        recording.connect(title, &sink, events.clone());
    }
}

/// Connects the tracks of a pipeline that is about to run to a playout. `keeps`: the tracks are recorded.
fn connect(
    pipeline: &gst::Pipeline,
    clock: &RenderClock,
    tracks: &[TrackFormat],
    latency: Latency,
    (keeps, events): (bool, &mpsc::Sender<RenderEvent>),
) -> Result<Playout, MediaError> {
    playout::set_delay(pipeline, clock);
    let inputs: Vec<TrackInput> =
        tracks.iter().map(|format| input(pipeline, *format, clock, events)).collect::<Result<_, _>>()?;
    let jitter_buffer = JitterBuffer::new(tracks.iter().map(|it| (it.track, it.codec)), latency, keeps);
    Playout::start(clock.clone(), inputs, jitter_buffer)
        .map_err(|error| MediaError::Pipeline { pipeline: "watch".into(), cause: error.to_string() })
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
