//! The student's side: from RTP packets to a window, to a file, or to nothing but numbers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::error::MediaError;
use super::playing::{self, Clock, DECODED_AFTER, Input, Playing};
use super::receive::{Received, TrackStats};
use super::recording::Recording;
use super::window::{Asked, Window};
use super::{graph, layout, watching, window};
use crate::rtp::{Codec, JitterBuffer, Latency, Track};

/// Events that nobody has read yet: a few per track, and warnings beyond that tell nothing new.
const MOST_EVENTS: usize = 64;

/// Where a lecture is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// In a window, with sound where there is a sound card.
    Window {
        /// Over the whole screen.
        fullscreen: bool,
    },
    /// Nowhere: decoded and counted.
    Null,
    /// In a Matroska file, as it was encoded.
    File(PathBuf),
}

/// How a track will arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackFormat {
    /// Which track.
    pub track: Track,
    /// How it is encoded.
    pub codec: Codec,
    /// The payload type that was agreed on; packets of another are taken for the same codec.
    pub payload_type: u8,
}

/// What to show, and where.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    /// Where to.
    pub sink: Sink,
    /// How much later than possible sound and picture are shown, so that what the network delays comes in time.
    pub latency: Latency,
    /// The tracks that may come. One that never does costs nothing.
    pub tracks: Vec<TrackFormat>,
    /// Whether a window plays sound, where there is a sound card.
    pub sound: bool,
    /// The title of the window.
    pub title: String,
}

/// What a running render has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenderEvent {
    /// The first picture or block of sound of a track was decoded, or for a file, received.
    FirstFrame {
        /// Which track.
        track: Track,
    },
    /// The decoder can't go on without a key frame. Repeated twice a second until one comes.
    KeyFrameNeeded(Track),
    /// The user closed the window: the render is over.
    WindowClosed,
    /// The render is over.
    Error(MediaError),
    /// The render goes on, but somebody should know.
    Warning(String),
}

/// A running render.
pub struct Render {
    pipeline: gst::Pipeline,
    /// Of a window that tracks share.
    layout: Option<layout::Layout>,
    /// Nothing only while this is dropped.
    playing: Option<Playing>,
    recording: Option<Recording>,
    watcher: Option<JoinHandle<()>>,
    window: Option<Window>,
}

impl fmt::Debug for Render {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Render").field("playing", &self.playing).finish_non_exhaustive()
    }
}

impl Render {
    /// Builds and starts the graph, in some ten milliseconds; no media need be there yet.
    pub fn start(options: RenderOptions) -> Result<(Self, mpsc::Receiver<RenderEvent>), MediaError> {
        super::init()?;
        let graph = watching::graph(&options)?;
        Self::with_graph(options, graph)
    }

    fn with_graph(
        options: RenderOptions,
        graph: watching::Graph,
    ) -> Result<(Self, mpsc::Receiver<RenderEvent>), MediaError> {
        let (events, receiver) = mpsc::channel(MOST_EVENTS);
        let watching::Graph { text, notices, shown_after } = graph;
        for notice in notices {
            // The channel is new, so there is room.
            let _ = events.try_send(RenderEvent::Warning(notice));
        }
        let pipeline = graph::parse("watch", &text)?;
        let layout = layout::attach(&pipeline);
        let clock = Clock::new(&pipeline, options.latency);
        playing::set_delay(&pipeline, clock.delay(), shown_after);
        let inputs: Vec<Input> =
            options.tracks.iter().map(|format| input(&pipeline, *format, &clock, &events)).collect::<Result<_, _>>()?;
        for Input { received, .. } in &inputs {
            match options.sink {
                // A compositor waits for what is decoded, the window itself for everything.
                Sink::Window { .. } if pipeline.by_name("layout").is_some() => received.show_late(DECODED_AFTER),
                Sink::Window { .. } => received.show_late(shown_after),
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
        let playout = JitterBuffer::new(options.tracks.iter().map(|it| (it.track, it.codec)), options.latency, keeps);
        let playing =
            Playing::start(clock, inputs, playout, shown_after).map_err(|error| failed(&error.to_string()))?;
        let playing = Some(playing);
        let window = match options.sink {
            Sink::Window { fullscreen } => Some(Window::attach(&pipeline, &options.title, fullscreen)),
            Sink::Null | Sink::File(_) => None,
        };
        let of_watcher = window.clone();
        let mut render = Self { pipeline: pipeline.clone(), layout, playing, recording, watcher: None, window };
        if pipeline.set_state(gst::State::Playing).is_err() {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            return Err(match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => explain(error),
                _ => failed("it can't be started"),
            });
        }
        let weak = pipeline.downgrade();
        let watcher = std::thread::Builder::new()
            .name("render-events".into())
            .spawn(move || watch(&bus, &weak, of_watcher.as_ref(), &events));
        render.watcher = Some(watcher.map_err(|error| failed(&error.to_string()))?);
        Ok((render, receiver))
    }

    /// Takes an RTP packet of a track. Never blocks; a track that was not announced is ignored.
    pub fn push_rtp(&self, track: Track, packet: &[u8]) {
        if let Some(playing) = &self.playing {
            playing.push_rtp(track, packet);
        }
    }

    /// Takes a compound RTCP packet of a track: a sender report with the capture time, by which the tracks are kept
    /// together. Never blocks.
    pub fn push_rtcp(&self, track: Track, packet: &[u8]) {
        if let Some(playing) = &self.playing {
            playing.push_rtcp(track, packet);
        }
    }

    /// Says whether pictures of a track are expected now. Where the publisher sends none, the time counts as
    /// [`TrackStats::withheld`], and is no freeze.
    pub fn expect(&self, track: Track, expected: bool) {
        if let Some(playing) = &self.playing {
            playing.expect(track, expected);
        }
    }

    /// The lecture is over for now, as its teacher has said: the last picture stands, and that is no freeze.
    pub fn rest(&self) {
        if let Some(playing) = &self.playing {
            playing.rest();
        }
    }

    /// Takes a picture off a window that it shares with another one, or puts it back.
    pub fn show(&self, track: Track, shown: bool) {
        if let Some(layout) = &self.layout {
            layout.show(track, shown);
        }
    }

    /// The window with its texts; none for other sinks.
    pub fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    /// This process stood still from one time to another: its pictures did not freeze, and its network was not slow.
    pub fn stood_still(&self, from: Instant, to: Instant) {
        if let Some(playing) = &self.playing {
            playing.stood_still(from, to);
        }
    }

    /// Says that the publisher sends fewer pictures of a track from now on, the low tier: that is no freeze.
    pub fn expect_fewer(&self, track: Track) {
        if let Some(playing) = &self.playing {
            playing.expect_fewer(track);
        }
    }

    /// How much later than possible sound and picture are shown now.
    pub fn delay(&self) -> Duration {
        self.playing.as_ref().map(Playing::delay).unwrap_or_default()
    }

    /// The numbers of a track since the start.
    pub fn stats(&self, track: Track) -> TrackStats {
        self.playing.as_ref().map(|playing| playing.stats(track)).unwrap_or_default()
    }

    /// Stops; a file is complete when this returns. Dropping does the same.
    pub fn finish(self) {}

    pub(super) fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }
}

impl Drop for Render {
    fn drop(&mut self) {
        self.playing = None;
        // Null always succeeds, and waits for the streaming threads.
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(recording) = &self.recording {
            recording.finish();
        }
        if let Some(bus) = self.pipeline.bus() {
            // Null makes the bus drop messages, so it is opened again for this one.
            bus.set_flushing(false);
            // A bus that drops it has no reader either.
            let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty(STOP)));
        }
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// The message by which the watcher of the bus ends.
const STOP: &str = "classroom-stop";

/// Creates the file and lets all tracks be written to it.
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

/// Finds the elements of a track, and measures at them.
fn input(
    pipeline: &gst::Pipeline,
    format: TrackFormat,
    clock: &Clock,
    events: &mpsc::Sender<RenderEvent>,
) -> Result<Input, MediaError> {
    let track = format.track;
    let missing = |name: &str| MediaError::Contract { pipeline: "watch".into(), problem: format!("{name} is missing") };
    let find = |name: String| pipeline.by_name(&name).ok_or_else(|| missing(&name));
    let packets = find(track.to_string())?.downcast::<gst_app::AppSrc>().map_err(|_| missing(track.name()))?;
    packets.set_caps(Some(&caps(format)));
    let received = Received::new(track, clock.clone(), events.clone());
    received.watch_depayloader(&find(format!("{track}-depayloader"))?);
    received.watch_queue(&find(format!("{track}-queue"))?);
    received.watch_decoder(&find(format!("{track}-decoder"))?);
    Ok(Input { packets, received })
}

pub(super) fn caps(format: TrackFormat) -> gst::Caps {
    gst::Caps::builder("application/x-rtp")
        .field("media", if format.track.is_video() { "video" } else { "audio" })
        .field("payload", i32::from(format.payload_type))
        .field("clock-rate", format.codec.clock_rate() as i32)
        .field("encoding-name", format.codec.encoding_name())
        .build()
}

/// Turns what the graph reports into events.
fn watch(
    bus: &gst::Bus,
    pipeline: &gst::glib::WeakRef<gst::Pipeline>,
    window: Option<&Window>,
    events: &mpsc::Sender<RenderEvent>,
) {
    loop {
        let patience = window.and_then(Window::due).map(|due| due.saturating_duration_since(Instant::now()));
        let patience = patience.and_then(|patience| gst::ClockTime::try_from(patience).ok());
        let Some(message) = bus.timed_pop(patience) else {
            match window {
                Some(window) if patience.is_some() => window.expire(),
                _ => return,
            }
            continue;
        };
        let event = match message.view() {
            gst::MessageView::Error(error) => match explain(error) {
                MediaError::Pipeline { cause, .. } if cause.contains("window was closed") => RenderEvent::WindowClosed,
                error => RenderEvent::Error(error),
            },
            // That the fixed latency is less than the worst that elements claim; see where it is set.
            gst::MessageView::Warning(warning) if warning.error().matches(gst::CoreError::Clock) => continue,
            gst::MessageView::Warning(warning) => RenderEvent::Warning(warning.error().message().to_string()),
            gst::MessageView::Latency(_) => {
                if let Some(pipeline) = pipeline.upgrade() {
                    // It fails only while the graph is being stopped.
                    let _ = pipeline.recalculate_latency();
                }
                continue;
            }
            gst::MessageView::Application(own) if own.structure().is_some_and(|own| own.name() == window::KEY) => {
                match window.zip(own.structure().and_then(|own| own.get::<String>("key").ok())) {
                    Some((window, key)) if window.on_key(&key) == Asked::Close => RenderEvent::WindowClosed,
                    _ => continue,
                }
            }
            gst::MessageView::Application(own) if own.structure().is_some_and(|own| own.name() == STOP) => return,
            _ => continue,
        };
        // Full or closed: whoever doesn't read the first events would not read this one.
        let _ = events.try_send(event);
    }
}

/// Says what an error message of the graph means.
fn explain(message: &gst::message::Error) -> MediaError {
    let element = message.src().and_then(|source| source.downcast_ref::<gst::Element>());
    let factory = element.and_then(gst::Element::factory).map(|factory| factory.name().to_string());
    let name = factory.unwrap_or_else(|| "watch".into());
    MediaError::Pipeline { pipeline: name, cause: message.error().message().to_string() }
}

#[cfg(test)]
mod tests;
