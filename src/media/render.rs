//! The student's side: from RTP packets to a window, to a file, or to nothing but numbers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::error::MediaError;
use super::receive::{Received, TrackStats};
use super::recording::Recording;
use super::{fullscreen, graph, layout, watching};
use crate::rtp::{Codec, Track};

/// Events that nobody has read yet: a few per track, and warnings beyond that tell nothing new.
const MOST_EVENTS: usize = 64;

/// How long after the jitter buffer a picture or a sound is shown: one picture in the compositor (33 ms), or one block
/// in the Opus decoder (20 ms) and the sound card's buffer (40 ms), and the time to decode and convert it.
const SHOWN_AFTER: Duration = Duration::from_millis(80);

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
    /// How long a packet may take for the detour of being sent again; sound and picture are shown this much later.
    pub latency: Duration,
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
    inputs: Vec<Input>,
    recording: Option<Recording>,
    watcher: Option<JoinHandle<()>>,
    fullscreen: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

/// One track on its way in.
struct Input {
    packets: gst_app::AppSrc,
    reports: gst_app::AppSrc,
    received: Received,
}

impl fmt::Debug for Render {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Render").field("tracks", &self.inputs.len()).finish_non_exhaustive()
    }
}

impl Render {
    /// Builds and starts the graph, in some ten milliseconds; no media need be there yet.
    pub fn start(options: RenderOptions) -> Result<(Self, mpsc::Receiver<RenderEvent>), MediaError> {
        super::init()?;
        let (events, receiver) = mpsc::channel(MOST_EVENTS);
        let (text, notices) = watching::text(&options)?;
        for notice in notices {
            // The channel is new, so there is room.
            let _ = events.try_send(RenderEvent::Warning(notice));
        }
        let pipeline = graph::parse("watch", &text)?;
        layout::attach(&pipeline);
        set_title(&pipeline, &options.title);
        // Fixed from the start: asked at run time, the graph does not know before media flows, and then answers with
        // the worst that an Opus decoder or a sound card might ever need, a quarter of a second more.
        pipeline.set_latency(gst::ClockTime::try_from(options.latency + SHOWN_AFTER).ok());
        let inputs: Vec<Input> =
            options.tracks.iter().map(|format| input(&pipeline, *format, &events)).collect::<Result<_, _>>()?;
        connect(&pipeline, &inputs, &options.tracks)?;
        let failed = |cause: &str| MediaError::Pipeline { pipeline: "watch".into(), cause: cause.into() };
        let bus = pipeline.bus().ok_or_else(|| failed("no bus"))?;
        let recording = match &options.sink {
            Sink::File(path) => Some(record(&pipeline, path, &options.tracks, &events)?),
            _ => None,
        };
        let mut render = Self { pipeline: pipeline.clone(), inputs, recording, watcher: None, fullscreen: None };
        if pipeline.set_state(gst::State::Playing).is_err() {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            return Err(match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => explain(error),
                _ => failed("it can't be started"),
            });
        }
        let weak = pipeline.downgrade();
        let watcher =
            std::thread::Builder::new().name("render-events".into()).spawn(move || watch(&bus, &weak, &events));
        render.watcher = Some(watcher.map_err(|error| failed(&error.to_string()))?);
        // Only Wayland's sink can be told by a property.
        let is_x11 = pipeline.by_name("window").is_some_and(|window| window.find_property("fullscreen").is_none());
        if is_x11 && options.sink == (Sink::Window { fullscreen: true }) {
            let (stop, title) = (Arc::new(AtomicBool::new(false)), options.title);
            let stopped = stop.clone();
            let thread = std::thread::Builder::new().name("fullscreen".into());
            let thread = thread.spawn(move || fullscreen::follow(&title, &stopped));
            render.fullscreen = thread.ok().map(|thread| (stop, thread));
        }
        Ok((render, receiver))
    }

    /// Takes an RTP packet of a track. Never blocks; a track that was not announced is ignored.
    pub fn push_rtp(&self, track: Track, packet: &[u8]) {
        if let Some(input) = self.input(track) {
            input.received.remind();
            // It fails only while the graph is being stopped.
            let _ = input.packets.push_buffer(gst::Buffer::from_slice(packet.to_vec()));
        }
    }

    /// Takes a compound RTCP packet of a track: a sender report with the capture time, and the CNAME, by which the
    /// tracks are kept together. Never blocks.
    pub fn push_rtcp(&self, track: Track, packet: &[u8]) {
        if let Some(input) = self.input(track) {
            // It fails only while the graph is being stopped.
            let _ = input.reports.push_buffer(gst::Buffer::from_slice(packet.to_vec()));
        }
    }

    /// The numbers of a track since the start.
    pub fn stats(&self, track: Track) -> TrackStats {
        self.input(track).map(|input| input.received.stats()).unwrap_or_default()
    }

    /// Stops; a file is complete when this returns. Dropping does the same.
    pub fn finish(self) {}

    pub(super) fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    fn input(&self, track: Track) -> Option<&Input> {
        self.inputs.iter().find(|input| input.received.track() == track)
    }
}

impl Drop for Render {
    fn drop(&mut self) {
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
        if let Some((stop, thread)) = self.fullscreen.take() {
            stop.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            // It can only have failed, and then there is nothing left to end.
            let _ = thread.join();
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

/// Names the window, if there is one.
fn set_title(pipeline: &gst::Pipeline, title: &str) {
    if let Some(element) = pipeline.by_name("window-title") {
        gst::glib::set_application_name("classroom");
        let tags = gst::Structure::builder("taglist").field("title", title).build().to_string();
        // The element wants the fields alone, without the name and the end of the structure.
        let fields = tags.strip_prefix("taglist, ").unwrap_or_default();
        element.set_property("tags", fields.trim_end_matches(';'));
    }
}

/// Finds the elements of a track, and measures at them.
fn input(
    pipeline: &gst::Pipeline,
    format: TrackFormat,
    events: &mpsc::Sender<RenderEvent>,
) -> Result<Input, MediaError> {
    let track = format.track;
    let missing = |name: &str| MediaError::Contract { pipeline: "watch".into(), problem: format!("{name} is missing") };
    let find = |name: String| pipeline.by_name(&name).ok_or_else(|| missing(&name));
    let source = |name: String| find(name.clone())?.downcast::<gst_app::AppSrc>().map_err(|_| missing(&name));
    let packets = source(track.to_string())?;
    packets.set_caps(Some(&caps(format.track, format.codec, format.payload_type)));
    let received = Received::new(track, events.clone());
    received.watch_depayloader(&find(format!("{track}-depayloader"))?);
    received.watch_queue(&find(format!("{track}-queue"))?);
    received.watch_decoder(&find(format!("{track}-decoder"))?);
    Ok(Input { packets, reports: source(format!("{track}-reports"))?, received })
}

fn caps(track: Track, codec: Codec, payload_type: u8) -> gst::Caps {
    gst::Caps::builder("application/x-rtp")
        .field("media", if track.is_video() { "video" } else { "audio" })
        .field("payload", i32::from(payload_type))
        .field("clock-rate", codec.clock_rate() as i32)
        .field("encoding-name", codec.encoding_name())
        .build()
}

/// Connects what rtpbin makes as media arrives.
fn connect(pipeline: &gst::Pipeline, inputs: &[Input], formats: &[TrackFormat]) -> Result<(), MediaError> {
    let missing = || MediaError::Contract { pipeline: "watch".into(), problem: "rtpbin is missing".into() };
    let rtpbin = pipeline.by_name("rtpbin").ok_or_else(missing)?;
    let formats_of_sessions = formats.to_vec();
    rtpbin.connect("request-pt-map", false, move |values| {
        let format = formats_of_sessions.get(values.get(1)?.get::<u32>().ok()? as usize)?;
        let payload_type = values.get(2)?.get::<u32>().ok()? as u8;
        Some(caps(format.track, format.codec, payload_type).to_value())
    });
    let received: Vec<Received> = inputs.iter().map(|input| input.received.clone()).collect();
    rtpbin.connect("new-jitterbuffer", false, move |values| {
        let buffer = values.get(1)?.get::<gst::Element>().ok()?;
        let session = values.get(2)?.get::<u32>().ok()? as usize;
        // The first packet starts the stream: waiting for an earlier one would cost the whole latency.
        buffer.set_property("faststart-min-packets", 1u32);
        received.get(session)?.set_jitter_buffer(buffer);
        None
    });
    let depayloaders: Vec<Option<gst::Element>> =
        formats.iter().map(|format| pipeline.by_name(&format!("{}-depayloader", format.track))).collect();
    let linking = Mutex::new(());
    rtpbin.connect_pad_added(move |_, pad| {
        let name = pad.name();
        let session = name.strip_prefix("recv_rtp_src_").and_then(|rest| rest.split('_').next()?.parse::<usize>().ok());
        let Some(Some(depayloader)) = session.and_then(|session| depayloaders.get(session)) else { return };
        let Some(input) = depayloader.static_pad("sink") else { return };
        // A teacher that was started again has another SSRC, and so another pad.
        let _one_at_a_time = linking.lock();
        if let Some(before) = input.peer() {
            // It was linked, so it can be unlinked.
            let _ = before.unlink(&input);
        }
        // Both are RTP of the same codec; if it fails the graph reports an error.
        let _ = pad.link(&input);
    });
    Ok(())
}

/// Turns what the graph reports into events.
fn watch(bus: &gst::Bus, pipeline: &gst::glib::WeakRef<gst::Pipeline>, events: &mpsc::Sender<RenderEvent>) {
    while let Some(message) = bus.timed_pop(gst::ClockTime::NONE) {
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
