//! The teacher's side: from sources to RTP packets, each encoding made once, and only while somebody needs it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use super::branches::Branches;
use super::contract::{self, Outputs};
use super::ends::Ends;
use super::error::MediaError;
use super::file::Playlist;
use super::graph;
use super::messages::{About, ENDED, STOP, Watch, post};
use super::options::CaptureOptions;
use super::outlet::{EncodedOutput, Gate, OnFrame, ask_for_key_frame};
use super::pulse::Pulse;
use super::revival::Revival;
use super::sources::{self, Chosen};
use crate::rtp::{Codec, Encoding, Frame, Tier, Track};

/// The element of a camera.
const CAMERA: &str = "v4l2src";

/// Events that nobody has read yet: more than one means trouble already, and warnings beyond that tell nothing new.
const MOST_EVENTS: usize = 32;

/// What a running capture has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureEvent {
    /// A file of a list begins.
    Playing {
        /// Which one.
        path: PathBuf,
        /// Its place in the list, from 1.
        index: usize,
        /// How long the list is.
        of: usize,
    },
    /// The last file is at its end.
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
    outputs: Outputs,
    chosen: Chosen,
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
        let made = self.chosen.recipes.iter().map(|recipe| recipe.encoding);
        in_order(self.outputs.encoded.iter().map(|output| output.encoding).chain(made))
    }

    /// The same, each with the bits per second that its encoder is set to.
    pub fn rates(&self) -> Vec<(Encoding, u32)> {
        let rate = |encoding: &Encoding| {
            let recipe = self.chosen.recipes.iter().find(|recipe| recipe.encoding == *encoding);
            recipe.map_or(self.chosen.rates[encoding.track as usize], |recipe| recipe.coding.bitrate)
        };
        self.encodings().into_iter().map(|encoding| (encoding, rate(&encoding))).collect()
    }

    pub(super) fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// What was chosen and why, a sentence each, for people.
    pub fn notices(&self) -> &[String] {
        &self.chosen.notices
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
    outlets: Vec<(EncodedOutput, Arc<Gate>)>,
    /// What is encoded on demand.
    branches: Arc<Branches>,
    /// Of each source of pictures that may stop.
    pulses: Vec<(Track, Pulse)>,
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
        super::init()?;
        let mut chosen = sources::choose(&options)?;
        let name = match &options.pipeline {
            Some(path) => path.display().to_string(),
            None => "of this program".into(),
        };
        let pipeline = graph::parse(&name, &chosen.text)?;
        let outputs = contract::outputs(&name, &pipeline, |track| chosen.timestamps[track as usize])?;
        if let Some(error) = chosen.no_encoder.take_if(|_| !outputs.pictures.is_empty()) {
            return Err(error);
        }
        chosen.recipes.retain(|recipe| outputs.pictures.iter().any(|(track, _)| *track == recipe.encoding.track));
        super::even::attach(&pipeline, &Track::ALL.map(Track::name));
        if let Some(size) = chosen.demo {
            super::demo::attach(&pipeline, size);
        }
        Ok(Prepared { name, pipeline, outputs, chosen })
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
        let pulses = pulses(&prepared);
        let program = prepared.chosen.program.take();
        let of_file = |track: &Track| program.as_ref().is_none_or(|program| program.tracks.contains(track));
        let playing = prepared.tracks().into_iter().map(|(track, _)| track).filter(of_file).collect();
        let end = bus.clone();
        let ends = Arc::new(Ends::new(playing, move || post(&end, ENDED)));
        let outlets = outlets(&prepared, &on_frame, &ends);
        let (events, receiver) = mpsc::channel(MOST_EVENTS);
        let (tees, recipes) = (prepared.outputs.pictures.clone(), prepared.chosen.recipes.clone());
        let branches = Branches::new(&pipeline, tees, recipes, on_frame, ends, events.clone())?;
        if pipeline.set_state(gst::State::Playing).is_err() {
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            return Err(match error.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => About::new(&prepared.name, &prepared.chosen).explain(error),
                _ => failed("it can't be started".into()),
            });
        }
        let watch = Watch {
            bus,
            events: events.clone(),
            about: About::new(&prepared.name, &prepared.chosen),
            branches: branches.clone(),
            camera: camera(&prepared).map(Revival::of),
        };
        let playlist = program.map(|program| Playlist::start(program, &pipeline, events)).transpose()?;
        let mut capture =
            Self { prepared, outlets, branches: branches.clone(), pulses, playlist, builder: None, watcher: None };
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
        let always = self.outlets.iter().map(|(outlet, _)| outlet.encoding);
        in_order(always.chain(self.branches.encodings()))
    }

    /// From now on an encoding is needed, and its frames come from a key frame on; or it is not: none come, and what
    /// makes them is taken away. Returns at once, and changes nothing for other encodings.
    ///
    /// What can't be built is told as a [`CaptureEvent::Warning`], and is among [`encodings`](Self::encodings) no more.
    /// A graph of the user's own encodes always; then only frames come or not. So does sound, which always comes.
    pub fn need(&self, encoding: Encoding, needed: bool) {
        match self.outlet(encoding) {
            Some((outlet, gate)) if encoding.track.is_video() => {
                gate.set(needed);
                if needed {
                    ask_for_key_frame(&outlet.sink());
                }
            }
            _ => self.branches.need(encoding, needed),
        }
    }

    /// Asks an encoder for a key frame, which then comes with the next picture. Sound has none.
    pub fn request_key_frame(&self, encoding: Encoding) {
        match self.outlet(encoding) {
            Some((outlet, _)) if encoding.track.is_video() => ask_for_key_frame(&outlet.sink()),
            _ => self.branches.request_key_frame(encoding),
        }
    }

    /// How long the encoder took for a picture, the mean of about a second, in milliseconds; none while there is none.
    pub fn encode_ms(&self, encoding: Encoding) -> Option<f32> {
        match self.outlet(encoding) {
            Some((outlet, _)) => outlet.encode_ms(),
            None => self.branches.encode_ms(encoding),
        }
    }

    /// How many pictures each source has given so far, and the longest time from one to the next that it has announced.
    /// A still screen gives pictures too. A file is not among them: it may show a slide for minutes.
    pub fn pulses(&self) -> impl Iterator<Item = (Track, u64, Duration)> {
        self.pulses.iter().map(|(track, pulse)| (*track, pulse.count(), pulse.interval()))
    }

    fn outlet(&self, encoding: Encoding) -> Option<&(EncodedOutput, Arc<Gate>)> {
        self.outlets.iter().find(|(outlet, _)| outlet.encoding == encoding)
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
fn outlets(prepared: &Prepared, on_frame: &OnFrame, ends: &Arc<Ends>) -> Vec<(EncodedOutput, Arc<Gate>)> {
    let mut outlets: Vec<(EncodedOutput, Arc<Gate>)> = Vec::new();
    for output in &prepared.outputs.encoded {
        let Encoding { track, tier, .. } = output.encoding;
        let encoder = prepared.pipeline.by_name(&format!("{}-encoder", contract::name_of(track, tier)));
        let outlet = EncodedOutput::new(output.encoding, output.sink.clone(), encoder.as_ref());
        let (gate, ends) = (Arc::<Gate>::default(), ends.clone());
        gate.set(outlets.iter().all(|(other, _)| other.encoding.track != track));
        outlet.connect(gate.clone(), on_frame.clone(), move || ends.ended(track));
        outlets.push((outlet, gate));
    }
    outlets
}

/// The camera that was chosen, where something else is taught too: then it may fail, and the lecture goes on.
fn camera(prepared: &Prepared) -> Option<gst::Element> {
    let is_chosen = prepared.chosen.devices.iter().any(|(element, _)| *element == CAMERA);
    let is_camera = |element: &gst::Element| element.factory().is_some_and(|factory| factory.name() == CAMERA);
    let mut elements = prepared.pipeline.iterate_recurse().into_iter().flatten();
    elements.find(is_camera).filter(|_| is_chosen && prepared.tracks().len() > 1)
}

/// Counts pictures where they leave their source: in front of the encoders, or behind those of the graph's own.
fn pulses(prepared: &Prepared) -> Vec<(Track, Pulse)> {
    let of_file =
        |track: &Track| prepared.chosen.program.as_ref().is_some_and(|program| program.tracks.contains(track));
    let raw = prepared.outputs.pictures.iter().map(|(track, tee)| (*track, tee));
    let encoded = prepared.outputs.encoded.iter().filter(|output| output.encoding.tier == Tier::Full);
    let encoded = encoded.map(|output| (output.encoding.track, output.sink.upcast_ref::<gst::Element>()));
    let pads = raw.chain(encoded).filter(|(track, _)| track.is_video() && !of_file(track));
    pads.filter_map(|(track, element)| Some((track, Pulse::of(&element.static_pad("sink")?)))).collect()
}

#[cfg(test)]
mod tests;
