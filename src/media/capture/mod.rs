//! The teacher's side: from sources to RTP packets, each encoding made once, and only while somebody needs it.

pub(in crate::media) mod branches;
mod bus;
mod source_state;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use self::branches::{BranchInputs, Branches};
use self::bus::{BusWatcher, ENDED, ErrorContext, STOP, post};
use self::source_state::{EndOfStream, FrameCounter, SourceRestart};
use crate::media::contract::{self, PipelineOutputs};
use crate::media::encode::branch_spec;
use crate::media::encode::output::{EncodedOutput, KeyFrameGate, OnFrame, request_key_frame};
use crate::media::error::MediaError;
use crate::media::file::Playlist;
use crate::media::graph;
use crate::media::options::{CaptureEvent, CaptureOptions};
use crate::media::source::{self, CapturePlan};
use crate::rtp::{Codec, Encoding, Frame, Tier, Track};

/// The element of a camera.
const CAMERA: &str = "v4l2src";

/// Events that nobody has read yet: more than one means trouble already, and warnings beyond that tell nothing new.
const MAX_QUEUED_EVENTS: usize = 32;

/// A graph that was built and checked, and waits to be started.
pub struct Prepared {
    name: String,
    pipeline: gst::Pipeline,
    outputs: PipelineOutputs,
    plan: CapturePlan,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("name", &self.name).field("tracks", &self.tracks()).finish_non_exhaustive()
    }
}

impl Prepared {
    /// What will be captured and with which codec the class goes, in the order of [`Track::ALL`].
    pub fn tracks(&self) -> Vec<(Track, Codec)> {
        let mut tracks: Vec<(Track, Codec)> = Vec::new();
        for Encoding { track, codec, .. } in self.encodings() {
            if tracks.iter().all(|(known, _)| *known != track) {
                tracks.push((track, codec));
            }
        }
        tracks
    }

    /// All that can be made on this machine, in the order of [`Track::ALL`], for each track the best first: that in
    /// the class's codec in its tiers, then those for students who can't take it.
    pub fn encodings(&self) -> Vec<Encoding> {
        let made = self.plan.specs.iter().map(|spec| spec.encoding);
        in_order(self.outputs.encoded.iter().map(|output| output.encoding).chain(made))
    }

    /// The same, each with the bits per second that its encoder is set to.
    pub fn rates(&self) -> Vec<(Encoding, u32)> {
        let rate = |encoding: &Encoding| {
            let spec = self.plan.specs.iter().find(|spec| spec.encoding == *encoding);
            spec.map_or(self.plan.rates[encoding.track as usize], |spec| spec.config.bitrate)
        };
        self.encodings().into_iter().map(|encoding| (encoding, rate(&encoding))).collect()
    }

    pub(in crate::media) fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// What was plan and why, a sentence each, for people.
    pub fn notices(&self) -> &[String] {
        &self.plan.notices
    }
}

/// Sorted by track, and otherwise as they come.
fn in_order(encodings: impl Iterator<Item = Encoding>) -> Vec<Encoding> {
    let mut all: Vec<Encoding> = encodings.collect();
    all.sort_by_key(|encoding| encoding.track);
    all
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
    /// What the graph encodes by itself, always.
    outputs: Vec<(EncodedOutput, Arc<KeyFrameGate>)>,
    /// What is encoded on demand.
    branches: Arc<Branches>,
    /// Of each source of pictures that may stop.
    frame_counters: Vec<(Track, FrameCounter)>,
    /// What is played into the graph.
    playlist: Option<Playlist>,
    builder: Option<JoinHandle<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("prepared", &self.prepared).finish_non_exhaustive()
    }
}

impl Capture {
    /// Finds devices and working encoders, builds the graph and checks the contract by element name.
    ///
    /// This blocks: encoders are tried for some pictures (50 ms each, seconds for a GPU), a file is opened, and on
    /// Wayland the desktop asks its user. Call it where blocking is allowed, and also from within no async runtime.
    pub fn prepare(options: CaptureOptions) -> Result<Prepared, MediaError> {
        crate::media::init()?;
        let mut plan = source::plan(&options)?;
        let name = match &options.pipeline {
            Some(path) => path.display().to_string(),
            None => "of this program".into(),
        };
        let pipeline = graph::parse(&name, &plan.text)?;
        let outputs = contract::outputs(&name, &pipeline, |track| plan.timestamps[track as usize])?;
        if let Some(error) = plan.no_encoder.take_if(|_| !outputs.raw_video.is_empty()) {
            return Err(error);
        }
        plan.specs.retain(|spec| outputs.raw_video.iter().any(|(track, _)| *track == spec.encoding.track));
        branch_spec::crop_to_even(&pipeline);
        if let Some(size) = plan.demo {
            source::demo::attach(&pipeline, size);
        }
        Ok(Prepared { name, pipeline, outputs, plan })
    }

    /// Starts a graph. `on_frame` is called on the graph's own threads, one for each encoding, and must not block.
    ///
    /// Of each track the first of [`encodings`](Self::encodings) is needed from the start.
    pub fn start(
        mut prepared: Prepared,
        on_frame: impl Fn(Frame) + Send + Sync + 'static,
    ) -> Result<(Self, mpsc::Receiver<CaptureEvent>), MediaError> {
        let on_frame: OnFrame = Arc::new(on_frame);
        let pipeline = prepared.pipeline.clone();
        let failed = |cause: String| MediaError::Pipeline { pipeline: prepared.name.clone(), cause };
        let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
        let frame_counters = frame_counters(&prepared);
        let playlist_config = prepared.plan.playlist.take();
        let of_file = |track: &Track| playlist_config.as_ref().is_none_or(|list| list.tracks.contains(track));
        let playing = prepared.tracks().into_iter().map(|(track, _)| track).filter(of_file).collect();
        let own_bus = bus.clone();
        let end_of_stream = Arc::new(EndOfStream::new(playing, move || post(&own_bus, ENDED)));
        let outputs = outputs(&prepared, &on_frame, &end_of_stream);
        let (events, receiver) = mpsc::channel(MAX_QUEUED_EVENTS);
        let branches = Branches::new(BranchInputs {
            pipeline: pipeline.clone(),
            tees: prepared.outputs.raw_video.clone(),
            specs: prepared.plan.specs.clone(),
            on_frame,
            end_of_stream,
            events: events.clone(),
        })?;
        if pipeline.set_state(gst::State::Playing).is_err() {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            return Err(match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => {
                    ErrorContext::new(&prepared.name, &prepared.plan).explain(error)
                }
                _ => failed("it can't be started".into()),
            });
        }
        let watch = BusWatcher {
            bus,
            events: events.clone(),
            about: ErrorContext::new(&prepared.name, &prepared.plan),
            branches: branches.clone(),
            camera: camera(&prepared).map(SourceRestart::new),
        };
        let playlist = playlist_config.map(|config| Playlist::start(config, &pipeline, events)).transpose()?;
        let mut capture = Self {
            prepared,
            outputs,
            branches: branches.clone(),
            frame_counters,
            playlist,
            builder: None,
            watcher: None,
        };
        capture.watcher = Some(spawn("capture-events", move || watch.run())?);
        capture.builder = Some(spawn("capture-tiers", move || branches.run())?);
        Ok((capture, receiver))
    }

    /// What is captured and with which codec the class goes, in the order of [`Track::ALL`].
    pub fn tracks(&self) -> Vec<(Track, Codec)> {
        self.prepared.tracks()
    }

    /// All that can be made, as [`Prepared::encodings`] says, without what has failed since.
    pub fn encodings(&self) -> Vec<Encoding> {
        let always = self.outputs.iter().map(|(output, _)| output.encoding);
        in_order(always.chain(self.branches.encodings()))
    }

    /// From now on an encoding is needed, and its frames come from a key frame on; or it is not: none come, and what
    /// makes them is taken away. Returns at once, and changes nothing for other encodings.
    ///
    /// What can't be built is told as a [`CaptureEvent::Warning`], and is among [`encodings`](Self::encodings) no more.
    /// A graph of the user's own encodes always; then only frames come or not. So does sound, which always comes.
    pub fn need(&self, encoding: Encoding, needed: bool) {
        match self.output(encoding) {
            Some((output, gate)) if encoding.track.is_video() => {
                gate.set(needed);
                if needed {
                    request_key_frame(&output.sink());
                }
            }
            _ => self.branches.need(encoding, needed),
        }
    }

    /// Asks an encoder for a key frame, which then comes with the next picture. Sound has none.
    pub fn request_key_frame(&self, encoding: Encoding) {
        match self.output(encoding) {
            Some((output, _)) if encoding.track.is_video() => request_key_frame(&output.sink()),
            _ => self.branches.request_key_frame(encoding),
        }
    }

    /// How long the encoder took for a picture, the mean of about a second, in milliseconds; none while there is none.
    pub fn encode_ms(&self, encoding: Encoding) -> Option<f32> {
        match self.output(encoding) {
            Some((output, _)) => output.encode_ms(),
            None => self.branches.encode_ms(encoding),
        }
    }

    /// How many pictures each source has given so far, and the longest time from one to the next that it has announced.
    /// A still screen gives pictures too. A file is not among them: it may show a slide for minutes.
    pub fn frame_counts(&self) -> impl Iterator<Item = (Track, u64, Duration)> {
        self.frame_counters.iter().map(|(track, counter)| (*track, counter.count(), counter.interval()))
    }

    fn output(&self, encoding: Encoding) -> Option<&(EncodedOutput, Arc<KeyFrameGate>)> {
        self.outputs.iter().find(|(output, _)| output.encoding == encoding)
    }

    /// Stops the graph and closes its devices. Dropping does the same.
    pub fn stop(self) {}
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(playlist) = &self.playlist {
            playlist.stop();
        }
        // First whoever builds: what joins a graph that stops would not be stopped.
        self.branches.stop();
        if let Some(builder) = self.builder.take() {
            let _ = builder.join();
        }
        // Null always succeeds, and waits for the streaming threads: no frame comes after this.
        let _ = self.prepared.pipeline.set_state(gst::State::Null);
        // Its files are closed now that nobody takes anything from them.
        self.playlist = None;
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

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, MediaError> {
    let failed = |error: std::io::Error| MediaError::Pipeline { pipeline: name.into(), cause: error.to_string() };
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(failed)
}

/// Connects what the graph encodes by itself. Its best tier is needed from the start.
fn outputs(
    prepared: &Prepared,
    on_frame: &OnFrame,
    end_of_stream: &Arc<EndOfStream>,
) -> Vec<(EncodedOutput, Arc<KeyFrameGate>)> {
    let mut outputs: Vec<(EncodedOutput, Arc<KeyFrameGate>)> = Vec::new();
    for output in &prepared.outputs.encoded {
        let Encoding { track, tier, .. } = output.encoding;
        let encoder = prepared.pipeline.by_name(&format!("{}-encoder", contract::name_of(track, tier)));
        let output = EncodedOutput::new(output.encoding, output.sink.clone(), encoder.as_ref());
        let (gate, end_of_stream) = (Arc::<KeyFrameGate>::default(), end_of_stream.clone());
        gate.set(outputs.iter().all(|(other, _)| other.encoding.track != track));
        output.connect(gate.clone(), on_frame.clone(), move || end_of_stream.track_ended(track));
        outputs.push((output, gate));
    }
    outputs
}

/// The camera that was plan, where something else is taught too: then it may fail, and the lecture goes on.
fn camera(prepared: &Prepared) -> Option<gst::Element> {
    let is_chosen = prepared.plan.devices.iter().any(|(element, _)| *element == CAMERA);
    let is_camera = |element: &gst::Element| element.factory().is_some_and(|factory| factory.name() == CAMERA);
    let mut elements = prepared.pipeline.iterate_recurse().into_iter().flatten();
    elements.find(is_camera).filter(|_| is_chosen && prepared.tracks().len() > 1)
}

/// Counts pictures where they leave their source: in front of the encoders, or behind those of the graph's own.
fn frame_counters(prepared: &Prepared) -> Vec<(Track, FrameCounter)> {
    let of_file = |track: &Track| prepared.plan.playlist.as_ref().is_some_and(|list| list.tracks.contains(track));
    let raw = prepared.outputs.raw_video.iter().map(|(track, tee)| (*track, tee));
    let encoded = prepared.outputs.encoded.iter().filter(|output| output.encoding.tier == Tier::Full);
    let encoded = encoded.map(|output| (output.encoding.track, output.sink.upcast_ref::<gst::Element>()));
    let pads = raw.chain(encoded).filter(|(track, _)| track.is_video() && !of_file(track));
    pads.filter_map(|(track, element)| Some((track, FrameCounter::new(&element.static_pad("sink")?)))).collect()
}

#[cfg(test)]
mod tests;
