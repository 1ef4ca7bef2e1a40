//! The teacher's side: from sources to RTP packets, each track encoded once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use tokio::sync::mpsc;

use super::error::MediaError;
use super::file::{self, Repeat};
use super::graph::{self, Output};
use super::options::CaptureOptions;
use super::sources::{self, Chosen};
use super::timing::{EncodeTime, instant_of};
use crate::rtp::{Codec, Encoding, Frame, FrameAssembler, Track};

/// Events that nobody has read yet: more than one means trouble already, and warnings beyond that tell nothing new.
const MOST_EVENTS: usize = 32;

/// Packets of pictures between payloader and callback: one picture is handed over at a time.
const MOST_BUFFERS: u32 = 8;

/// What a running capture has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureEvent {
    /// The file is at its end.
    Eos,
    /// The capture is over.
    Error(MediaError),
    /// The capture goes on, but somebody should know.
    Warning(String),
}

/// A graph that was built and checked, and waits to be started.
pub struct Prepared {
    name: String,
    pipeline: gst::Pipeline,
    outputs: Vec<Output>,
    chosen: Chosen,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("name", &self.name).field("tracks", &self.tracks()).finish_non_exhaustive()
    }
}

impl Prepared {
    /// What will be captured, in the order of [`Track::ALL`].
    pub fn tracks(&self) -> Vec<(Track, Codec)> {
        self.outputs.iter().map(|output| (output.track, output.codec)).collect()
    }

    pub(super) fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// What was chosen and why, a sentence each, for people.
    pub fn notices(&self) -> &[String] {
        &self.chosen.notices
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // A graph must be in Null when it goes. Null always succeeds.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A running capture.
pub struct Capture {
    prepared: Prepared,
    encode_times: Vec<(Track, EncodeTime)>,
    watcher: Option<JoinHandle<()>>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("prepared", &self.prepared).finish_non_exhaustive()
    }
}

impl Capture {
    /// Finds devices and a working encoder, builds the graph and checks the contract by element name.
    ///
    /// This blocks: encoders are tried for some pictures (50 ms each, seconds for a GPU), a file is opened, and on
    /// Wayland the desktop asks its user. Call it where blocking is allowed, and also from within no async runtime.
    pub fn prepare(options: CaptureOptions) -> Result<Prepared, MediaError> {
        super::init()?;
        let chosen = sources::choose(&options)?;
        let name = match &options.pipeline {
            Some(path) => path.display().to_string(),
            None => "of this program".into(),
        };
        let pipeline = graph::parse(&name, &chosen.text)?;
        let outputs = graph::outputs(&name, &pipeline)?;
        if let Some(size) = chosen.demo {
            super::demo::attach(&pipeline, size);
        }
        Ok(Prepared { name, pipeline, outputs, chosen })
    }

    /// Starts a graph. `on_frame` is called on the graph's own threads, one for each track, and must not block.
    pub fn start(
        prepared: Prepared,
        on_frame: impl Fn(Frame) + Send + Sync + 'static,
    ) -> Result<(Self, mpsc::Receiver<CaptureEvent>), MediaError> {
        let on_frame = Arc::new(on_frame);
        let encode_times = prepared
            .outputs
            .iter()
            .filter_map(|output| {
                let encoder = prepared.pipeline.by_name(&format!("{}-encoder", output.track))?;
                Some((output.track, EncodeTime::watch(&encoder)))
            })
            .collect();
        let pipeline = prepared.pipeline.clone();
        let failed = |cause: String| MediaError::Pipeline { pipeline: prepared.name.clone(), cause };
        let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
        let of_file = |track: Track| prepared.chosen.file.as_ref().is_none_or(|file| file.tracks.contains(&track));
        let playing =
            Arc::new(AtomicUsize::new(prepared.outputs.iter().filter(|output| of_file(output.track)).count()));
        for output in &prepared.outputs {
            let (playing, bus) = (of_file(output.track).then(|| playing.clone()), bus.clone());
            let on_end = move || {
                // The last track that comes from the file: others may go on for ever.
                if playing.as_ref().is_some_and(|playing| playing.fetch_sub(1, Ordering::SeqCst) == 1) {
                    post(&bus, ENDED);
                }
            };
            connect(output, on_frame.clone(), on_end);
        }
        let repeat = match &prepared.chosen.file {
            Some(file) => {
                let end = bus.clone();
                let repeat = file.repeat.then(|| Repeat::attach(&pipeline, move || post(&end, REWIND))).flatten();
                file::open(&pipeline).map_err(|cause| MediaError::File { path: file.path.clone(), cause })?;
                repeat
            }
            None => None,
        };
        let (events, receiver) = mpsc::channel(MOST_EVENTS);
        if pipeline.set_state(gst::State::Playing).is_err() {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            return Err(match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => explain(&prepared, error),
                _ => failed("it can't be started".into()),
            });
        }
        let mut capture = Self { prepared, encode_times, watcher: None };
        let watch = Watch::new(&capture.prepared, bus, repeat, events);
        let watcher = std::thread::Builder::new().name("capture-events".into()).spawn(move || watch.run());
        capture.watcher = Some(
            watcher.map_err(|error| MediaError::Pipeline { pipeline: "events".into(), cause: error.to_string() })?,
        );
        Ok((capture, receiver))
    }

    /// What is captured, in the order of [`Track::ALL`].
    pub fn tracks(&self) -> Vec<(Track, Codec)> {
        self.prepared.tracks()
    }

    /// Asks the encoder of a track for a key frame, which then comes with the next picture. Sound has none.
    pub fn request_key_frame(&self, track: Track) {
        let output = self.prepared.outputs.iter().find(|output| output.track == track && track.is_video());
        if let Some(pad) = output.and_then(|output| output.sink.static_pad("sink")) {
            // False means that no picture has come yet, and the first one is a key frame anyway.
            pad.push_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
    }

    /// How long the encoder took for a picture, the mean of about a second, in milliseconds.
    pub fn encode_ms(&self, track: Track) -> Option<f32> {
        self.encode_times.iter().find(|(timed, _)| *timed == track)?.1.mean_ms()
    }

    /// Stops the graph and closes its devices. Dropping does the same.
    pub fn stop(self) {}
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Null always succeeds, and waits for the streaming threads: no frame comes after this.
        let _ = self.prepared.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.prepared.pipeline.bus() {
            // Null makes the bus drop messages, so it is opened again for this one.
            bus.set_flushing(false);
            post(&bus, STOP);
        }
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// Hands the packets of an appsink over as frames.
fn connect(output: &Output, on_frame: Arc<impl Fn(Frame) + Send + Sync + 'static>, on_end: impl Fn() + Send + 'static) {
    let sink = &output.sink;
    sink.set_property("sync", false);
    sink.set_property("async", false);
    sink.set_property("buffer-list", true);
    sink.set_property("enable-last-sample", false);
    sink.set_property("qos", false);
    sink.set_max_buffers(MOST_BUFFERS);
    let mut assembler = FrameAssembler::new(Encoding::full(output.track, output.codec));
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let mut push = |buffer: &gst::BufferRef| {
            let running = buffer.pts().zip(segment).and_then(|(pts, segment)| segment.to_running_time(pts));
            let captured = running.and_then(|running| instant_of(sink, running)).unwrap_or_else(Instant::now);
            if let Ok(map) = buffer.map_readable()
                && let Some(frame) = assembler.push(&map, captured)
            {
                on_frame(frame);
            }
        };
        match sample.buffer_list() {
            Some(list) => list.iter().for_each(&mut push),
            None => sample.buffer().into_iter().for_each(&mut push),
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.eos(move |_| on_end()).build());
}

/// Messages of this program to its own watcher.
const REWIND: &str = "classroom-rewind";
const ENDED: &str = "classroom-ended";
const STOP: &str = "classroom-stop";

fn post(bus: &gst::Bus, what: &str) {
    // A bus that is being closed drops it, and then nobody waits for it either.
    let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty(what)));
}

/// Turns what the graph reports into events, on a thread of its own.
struct Watch {
    bus: gst::Bus,
    repeat: Option<Repeat>,
    events: mpsc::Sender<CaptureEvent>,
    about: About,
}

/// What is needed to explain an error.
struct About {
    name: String,
    file: Option<std::path::PathBuf>,
    devices: Vec<(&'static str, String)>,
}

impl About {
    fn new(prepared: &Prepared) -> Self {
        Self {
            name: prepared.name.clone(),
            file: prepared.chosen.file.as_ref().map(|file| file.path.clone()),
            devices: prepared.chosen.devices.clone(),
        }
    }

    /// Says what an error message of the graph means to its user.
    fn explain(&self, message: &gst::message::Error) -> MediaError {
        let error = message.error();
        let cause = error.message().to_string();
        let element = message.src().and_then(|source| source.downcast_ref::<gst::Element>());
        let factory = element.and_then(gst::Element::factory).map(|factory| factory.name().to_string());
        let factory = factory.unwrap_or_default();
        if error.matches(gst::CoreError::MissingPlugin) || error.matches(gst::StreamError::CodecNotFound) {
            let package = "gstreamer1.0-libav or gstreamer1.0-plugins-bad".into();
            return MediaError::MissingElement { element: format!("decoder ({cause})"), package };
        }
        if let Some((_, device)) = self.devices.iter().find(|(element, _)| *element == factory) {
            return MediaError::Device { device: device.clone(), cause };
        }
        match &self.file {
            // Whatever fails outside of the named elements of the graph is within the file's decoders.
            Some(path) => MediaError::File { path: path.clone(), cause: format!("{cause} ({factory})") },
            None => MediaError::Pipeline { pipeline: self.name.clone(), cause: format!("{factory}: {cause}") },
        }
    }
}

fn explain(prepared: &Prepared, message: &gst::message::Error) -> MediaError {
    About::new(prepared).explain(message)
}

impl Watch {
    fn new(prepared: &Prepared, bus: gst::Bus, repeat: Option<Repeat>, events: mpsc::Sender<CaptureEvent>) -> Self {
        Self { bus, repeat, events, about: About::new(prepared) }
    }

    fn run(self) {
        while let Some(message) = self.bus.timed_pop(gst::ClockTime::NONE) {
            let event = match message.view() {
                gst::MessageView::Error(error) => CaptureEvent::Error(self.about.explain(error)),
                gst::MessageView::Warning(warning) => CaptureEvent::Warning(warning.error().message().to_string()),
                gst::MessageView::Application(own) => {
                    match own.structure().map(|structure| structure.name().as_str()) {
                        Some(STOP) => return,
                        Some(ENDED) => CaptureEvent::Eos,
                        Some(REWIND) => match self.repeat.as_ref().map(Repeat::rewind) {
                            Some(Err(_)) => {
                                self.send(CaptureEvent::Warning(
                                    "this file can't be played again from its begin".into(),
                                ));
                                CaptureEvent::Eos
                            }
                            _ => continue,
                        },
                        _ => continue,
                    }
                }
                _ => continue,
            };
            self.send(event);
        }
    }

    fn send(&self, event: CaptureEvent) {
        // Full or closed: whoever doesn't read the first events would not read this one.
        let _ = self.events.try_send(event);
    }
}
