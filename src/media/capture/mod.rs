//! A running capture: from sources to RTP packets. Each encoding is produced once, and only while it is needed.

mod branches;
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
use crate::lecture::{Change, SourceFacts, Turn};
use crate::media::contract::{self, PipelineOutputs};
use crate::media::encode::branch_spec;
use crate::media::encode::output::{EncodedOutput, KeyFrameGate, OnFrame, request_key_frame};
use crate::media::error::MediaError;
use crate::media::file::Playlist;
use crate::media::options::{CaptureEvent, CaptureOptions};
use crate::media::pipelines;
use crate::media::scenes::Director;
use crate::media::slides::SlideShow;
use crate::media::source::{self, CapturePlan};
use crate::rtp::{Codec, Encoding, Frame, Tier, Track};

/// The source element of cameras.
const CAMERA: &str = "v4l2src";

/// The event queue. More than one unread event means trouble, and more warnings add nothing.
const MAX_QUEUED_EVENTS: usize = 32;

/// A pipeline that is built and checked, ready to start.
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
    /// The captured tracks and their main codec, in the order of [`Track::ALL`].
    pub fn tracks(&self) -> Vec<(Track, Codec)> {
        let mut tracks: Vec<(Track, Codec)> = Vec::new();
        for Encoding { track, codec, .. } in self.encodings() {
            if tracks.iter().all(|(known, _)| *known != track) {
                tracks.push((track, codec));
            }
        }
        tracks
    }

    /// All encodings that this machine can produce, in the order of [`Track::ALL`], and per track the best first: the
    /// main codec in its tiers, then the codec for students that can't decode the main one.
    pub fn encodings(&self) -> Vec<Encoding> {
        let made = self.plan.specs.iter().map(|spec| spec.encoding);
        in_order(self.outputs.encoded.iter().map(|output| output.encoding).chain(made))
    }

    /// The encodings with the configured bit/s of each.
    pub fn rates(&self) -> Vec<(Encoding, u32)> {
        let rate = |encoding: &Encoding| {
            let spec = self.plan.specs.iter().find(|spec| spec.encoding == *encoding);
            spec.map_or(self.plan.rates[encoding.track as usize], |spec| spec.config.bitrate)
        };
        self.encodings().into_iter().map(|encoding| (encoding, rate(&encoding))).collect()
    }

    /// The facts about each scene of a lecture.
    pub fn scene_facts(&self) -> &[SourceFacts] {
        &self.plan.scene_facts
    }

    pub(in crate::media) fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// One sentence for each choice, with the reason, for the user.
    pub fn notices(&self) -> &[String] {
        &self.plan.notices
    }
}

/// Sorts by track and keeps the order within a track.
fn in_order(encodings: impl Iterator<Item = Encoding>) -> Vec<Encoding> {
    let mut all: Vec<Encoding> = encodings.collect();
    all.sort_by_key(|encoding| encoding.track);
    all
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // A pipeline must be in Null before it is freed. A change to Null always succeeds.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A running capture. Dropping it stops the pipeline.
pub struct Capture {
    prepared: Prepared,
    /// Encodings that the pipeline itself always produces.
    outputs: Vec<(EncodedOutput, Arc<KeyFrameGate>)>,
    /// Encodings on demand.
    branches: Arc<Branches>,
    /// One per video source that may stall.
    frame_counters: Vec<(Track, FrameCounter)>,
    /// The files that are played into the pipeline.
    playlist: Option<Playlist>,
    /// The slides that are shown in the pipeline.
    slides: Option<SlideShow>,
    /// The scenes that are shown in the pipeline.
    director: Option<Director>,
    builder: Option<JoinHandle<()>>,
    watcher: Option<JoinHandle<()>>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("prepared", &self.prepared).finish_non_exhaustive()
    }
}

impl Capture {
    /// Finds devices and working encoders, builds the pipeline and checks its element names.
    ///
    /// Blocks: each encoder trial takes 50 ms (seconds on a GPU), files are opened, and on Wayland the desktop asks its
    /// user. Don't call this in an async task.
    ///
    /// # Errors
    ///
    /// A source, an element or every encoder is missing, or the user's pipeline breaks the contract.
    pub fn prepare(options: CaptureOptions) -> Result<Prepared, MediaError> {
        crate::media::init()?;
        let mut plan = source::plan(&options)?;
        let name = match &options.pipeline {
            Some(path) => path.display().to_string(),
            None => "built into this program".into(),
        };
        let pipeline = pipelines::parse(&name, &plan.text)?;
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

    /// Starts the pipeline. `on_frame` is called on streaming threads, one per encoding, and must not block.
    ///
    /// At the start, the first encoding of each track is needed.
    ///
    /// # Errors
    ///
    /// The pipeline can't start: a device is in use, or an encoder fails.
    pub fn start(
        mut prepared: Prepared,
        on_frame: impl Fn(Frame) + Send + Sync + 'static,
    ) -> Result<(Self, mpsc::Receiver<CaptureEvent>), MediaError> {
        let on_frame: OnFrame = Arc::new(on_frame);
        let pipeline = prepared.pipeline.clone();
        let failed = |cause: String| MediaError::Pipeline { pipeline: prepared.name.clone(), cause };
        let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
        let frame_counters = frame_counters(&prepared);
        let (playlist_config, slides_config) = (prepared.plan.playlist.take(), prepared.plan.slides.take());
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
                _ => failed("it can't start".into()),
            });
        }
        let watcher = BusWatcher {
            bus,
            events: events.clone(),
            context: ErrorContext::new(&prepared.name, &prepared.plan),
            branches: branches.clone(),
            camera: camera(&prepared).map(SourceRestart::new),
        };
        let slides = slides_config.map(|config| SlideShow::start(config, &pipeline, events.clone())).transpose()?;
        let director = prepared.plan.director.take();
        let director = director.map(|config| Director::start(config, &pipeline, events.clone())).transpose()?;
        let playlist = playlist_config.map(|config| Playlist::start(config, &pipeline, events)).transpose()?;
        let mut capture = Self {
            prepared,
            outputs,
            branches: branches.clone(),
            frame_counters,
            playlist,
            slides,
            director,
            builder: None,
            watcher: None,
        };
        capture.watcher = Some(spawn("capture-events", move || watcher.run())?);
        capture.builder = Some(spawn("capture-tiers", move || branches.run())?);
        Ok((capture, receiver))
    }

    /// The captured tracks and their main codec, in the order of [`Track::ALL`].
    pub fn tracks(&self) -> Vec<(Track, Codec)> {
        self.prepared.tracks()
    }

    /// As [`Prepared::encodings`], without those that have failed since.
    pub fn encodings(&self) -> Vec<Encoding> {
        let always = self.outputs.iter().map(|(output, _)| output.encoding);
        in_order(always.chain(self.branches.encodings()))
    }

    /// Sets whether an encoding is needed. If so, its frames come from a key frame on; if not, none come and its
    /// encoder is removed. Returns at once. Other encodings are not affected.
    ///
    /// If the encoder can't be built, a [`CaptureEvent::Warning`] follows and the encoding leaves
    /// [`encodings`](Self::encodings). A user's pipeline may encode by itself, always; then only the delivery of frames
    /// starts and stops. Audio is always delivered.
    pub fn need(&self, encoding: Encoding, needed: bool) {
        if needed {
            self.refresh_slides(encoding, true);
        }
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

    /// Requests a key frame of a video encoding, for the next captured frame.
    pub fn request_key_frame(&self, encoding: Encoding) {
        self.refresh_slides(encoding, false);
        match self.output(encoding) {
            Some((output, _)) if encoding.track.is_video() => request_key_frame(&output.sink()),
            _ => self.branches.request_key_frame(encoding),
        }
    }

    /// Shows another page of the slides.
    ///
    /// # Errors
    ///
    /// A sentence for the teacher: there are no slides, or no such page.
    pub fn turn(&self, turn: Turn) -> Result<(), String> {
        let slides = self.slides.as_ref().ok_or("this lecture has no slides: start it with --slides deck.pdf")?;
        slides.turn(turn)
    }

    /// Changes what a lecture of scenes shows.
    ///
    /// # Errors
    ///
    /// A sentence for the teacher: there are no scenes.
    pub(crate) fn change(&self, change: Change) -> Result<(), String> {
        let director = self.director.as_ref().ok_or("this lecture has no scenes: start it with --lecture FILE")?;
        director.change(change);
        Ok(())
    }

    /// Slides send a picture at once where somebody needs a key frame. Other sources send one soon anyway.
    fn refresh_slides(&self, encoding: Encoding, is_new: bool) {
        if let (Track::Screen, Some(slides)) = (encoding.track, &self.slides) {
            slides.refresh(is_new);
        }
    }

    /// The mean encode time of about the last second, in milliseconds. None while the encoding is not produced.
    pub fn encode_ms(&self, encoding: Encoding) -> Option<f32> {
        match self.output(encoding) {
            Some((output, _)) => output.encode_ms(),
            None => self.branches.encode_ms(encoding),
        }
    }

    /// Per video source: the frames so far, and the announced frame interval (zero if unknown). A static screen
    /// delivers frames too. Files, slides and scenes are left out: they may show a page
    /// for minutes.
    pub fn frame_counts(&self) -> impl Iterator<Item = (Track, u64, Duration)> {
        self.frame_counters.iter().map(|(track, counter)| (*track, counter.count(), counter.interval()))
    }

    fn output(&self, encoding: Encoding) -> Option<&(EncodedOutput, Arc<KeyFrameGate>)> {
        self.outputs.iter().find(|(output, _)| output.encoding == encoding)
    }

    /// Stops the pipeline and closes its devices, as dropping does.
    pub fn stop(self) {}
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(playlist) = &self.playlist {
            playlist.stop();
        }
        if let Some(slides) = &self.slides {
            slides.stop();
        }
        if let Some(director) = &self.director {
            director.stop();
        }
        // Stop building branches first: a branch that joins a stopping pipeline would not be stopped.
        self.branches.stop();
        if let Some(builder) = self.builder.take() {
            let _ = builder.join();
        }
        // A change to Null always succeeds, and waits for the streaming threads: no frame comes after this.
        let _ = self.prepared.pipeline.set_state(gst::State::Null);
        // Close the files now that nothing reads from them.
        self.playlist = None;
        self.slides = None;
        self.director = None;
        if let Some(bus) = self.prepared.pipeline.bus() {
            // In Null the bus drops messages, so reopen it for this one.
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

/// Connects the encodings that the pipeline itself produces. The best tier of each track is needed from the start.
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

/// The chosen camera, if the lecture has other tracks and can go on without it.
fn camera(prepared: &Prepared) -> Option<gst::Element> {
    let is_chosen = prepared.plan.devices.iter().any(|(element, _)| *element == CAMERA);
    let is_camera = |element: &gst::Element| element.factory().is_some_and(|factory| factory.name() == CAMERA);
    let mut elements = prepared.pipeline.iterate_recurse().into_iter().flatten();
    elements.find(is_camera).filter(|_| is_chosen && prepared.tracks().len() > 1)
}

/// Counts frames at the end of each video source: at the tee of raw video, or at the appsink of a user's own encoder.
fn frame_counters(prepared: &Prepared) -> Vec<(Track, FrameCounter)> {
    let of_list = |track: &Track| prepared.plan.playlist.as_ref().is_some_and(|list| list.tracks.contains(track));
    let is_drawn = prepared.plan.slides.is_some() || prepared.plan.director.is_some();
    let of_file = |track: &Track| of_list(track) || (is_drawn && *track == Track::Screen);
    let raw = prepared.outputs.raw_video.iter().map(|(track, tee)| (*track, tee));
    let encoded = prepared.outputs.encoded.iter().filter(|output| output.encoding.tier == Tier::Full);
    let encoded = encoded.map(|output| (output.encoding.track, output.sink.upcast_ref::<gst::Element>()));
    let pads = raw.chain(encoded).filter(|(track, _)| track.is_video() && !of_file(track));
    pads.filter_map(|(track, element)| Some((track, FrameCounter::new(&element.static_pad("sink")?)))).collect()
}

#[cfg(test)]
mod tests;
