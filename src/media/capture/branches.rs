//! Encodings on demand: which ones are needed, and a thread that builds and removes their branches.
//!
//! Opening an encoder takes milliseconds, on a GPU seconds. So callers only set the demand and never wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use super::source_state::EndOfStream;
use crate::media::encode::branch::Branch;
use crate::media::encode::branch_spec::BranchSpec;
use crate::media::encode::output::{KeyFrameGate, OnFrame};
use crate::media::encode::screen_monitor::ScreenMonitor;
use crate::media::error::MediaError;
use crate::media::options::{CaptureEvent, Content};
use crate::rtp::{Encoding, PerEncoding, Track};

/// The inputs of the branches.
pub(super) struct BranchInputs {
    pub pipeline: gst::Pipeline,
    /// The tees of raw video.
    pub tees: Vec<(Track, gst::Element)>,
    /// The best encoding of each track comes first.
    pub specs: Vec<BranchSpec>,
    pub on_frame: OnFrame,
    pub end_of_stream: Arc<EndOfStream>,
    pub events: mpsc::Sender<CaptureEvent>,
}

/// All encodings of raw video.
pub(super) struct Branches {
    inputs: BranchInputs,
    /// Watches the raw video of a screen with text.
    monitor: Option<Arc<ScreenMonitor>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    encodings: PerEncoding<EncodingState>,
    /// Tracks whose source has ended.
    ended: Vec<Track>,
    stopping: bool,
}

/// The state of one encoding.
#[derive(Debug, Default)]
struct EncodingState {
    demand: Demand,
    gate: Arc<KeyFrameGate>,
    /// Present from the end of building to the start of removal.
    branch: Option<Branch>,
}

/// Whether an encoding must be produced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Demand {
    #[default]
    NotNeeded,
    Needed,
    /// Never tried again: a failure on this machine repeats every time.
    Failed,
}

/// The next work of the thread.
enum Task<'a> {
    Build(&'a BranchSpec),
    Remove(Branch),
}

impl Branches {
    /// Builds the main branch of each track, in a pipeline that does not play yet.
    pub(super) fn new(inputs: BranchInputs) -> Result<Arc<Self>, MediaError> {
        let is_text = |spec: &BranchSpec| spec.encoding.track == Track::Screen && spec.content == Content::Text;
        let screen = inputs.tees.iter().find(|(track, _)| *track == Track::Screen);
        let text = screen.filter(|_| inputs.specs.iter().any(is_text));
        let monitor = text.map(|(_, tee)| ScreenMonitor::watch(tee));
        let this = Arc::new(Self { inputs, monitor, state: Mutex::default(), changed: Condvar::new() });
        for (track, tee) in &this.inputs.tees {
            this.watch_end(*track, tee);
        }
        for spec in this.inputs.specs.iter().filter(|spec| this.is_main(spec.encoding)) {
            let gate = Arc::<KeyFrameGate>::default();
            gate.set(true);
            let branch = this.build(spec, gate.clone())?;
            this.state().encodings[spec.encoding] =
                EncodingState { demand: Demand::Needed, gate, branch: Some(branch) };
        }
        Ok(this)
    }

    /// The encodings that can be produced, the best of each track first.
    pub(super) fn encodings(&self) -> Vec<Encoding> {
        let state = self.state();
        let encodings = self.inputs.specs.iter().map(|spec| spec.encoding);
        encodings.filter(|encoding| state.encodings[*encoding].demand != Demand::Failed).collect()
    }

    /// Whether this is the main encoding of its track, which the lecture can't do without.
    pub(super) fn is_main(&self, encoding: Encoding) -> bool {
        let first = self.inputs.specs.iter().find(|spec| spec.encoding.track == encoding.track);
        first.is_some_and(|spec| spec.encoding == encoding)
    }

    /// Sets whether an encoding is needed. If so, frames come from the next key frame on; if not, none come.
    pub(super) fn need(&self, encoding: Encoding, needed: bool) {
        if self.inputs.specs.iter().all(|spec| spec.encoding != encoding) {
            return;
        }
        let mut state = self.state();
        let encoding_state = &mut state.encodings[encoding];
        let demand = if needed { Demand::Needed } else { Demand::NotNeeded };
        if encoding_state.demand == Demand::Failed || encoding_state.demand == demand {
            return;
        }
        encoding_state.demand = demand;
        encoding_state.gate.set(needed);
        // The branch may still exist if it is needed again before its removal.
        let request = encoding_state.branch.as_ref().filter(|_| needed).map(Branch::key_frame_request);
        drop(state);
        self.changed.notify_one();
        request.iter().for_each(|request| request());
    }

    /// Requests a key frame. A branch that is being built starts with one.
    pub(super) fn request_key_frame(&self, encoding: Encoding) {
        let request = self.state().encodings[encoding].branch.as_ref().map(Branch::key_frame_request);
        request.iter().for_each(|request| request());
    }

    /// The mean encode time in milliseconds, while the branch exists.
    pub(super) fn encode_ms(&self, encoding: Encoding) -> Option<f32> {
        self.state().encodings[encoding].branch.as_ref()?.output.encode_ms()
    }

    /// The encoding whose branch contains an element.
    pub(super) fn encoding_of(&self, element: &gst::Object) -> Option<Encoding> {
        let mut at = Some(element.clone());
        while let Some(object) = at {
            let name = object.name();
            if let Some(spec) = self.inputs.specs.iter().find(|spec| spec.bin_name() == name) {
                return Some(spec.encoding);
            }
            at = object.parent();
        }
        None
    }

    /// Returns up an encoding after a failure.
    pub(super) fn give_up(&self, encoding: Encoding, cause: &str) {
        let mut state = self.state();
        let encoding_state = &mut state.encodings[encoding];
        let before = std::mem::replace(&mut encoding_state.demand, Demand::Failed);
        encoding_state.gate.set(false);
        drop(state);
        self.changed.notify_one();
        // One failure causes errors of several elements. Report the first.
        if before != Demand::Failed {
            let sentence = format!(
                "{encoding} in {} can't be encoded on this machine, so no student gets it: {cause}",
                encoding.codec
            );
            // If the queue is full or closed, nobody reads events, so drop this one.
            let _ = self.inputs.events.try_send(CaptureEvent::Warning(sentence));
        }
    }

    /// Builds and removes branches until [`stop`](Self::stop).
    pub(super) fn run(&self) {
        while let Some(task) = self.next() {
            match task {
                Task::Build(spec) => {
                    let gate = self.state().encodings[spec.encoding].gate.clone();
                    match self.build(spec, gate) {
                        Ok(branch) => self.state().encodings[spec.encoding].branch = Some(branch),
                        Err(error) => self.give_up(spec.encoding, &error.to_string()),
                    }
                }
                Task::Remove(branch) => {
                    let track = branch.output.encoding.track;
                    branch.remove_from(&self.inputs.pipeline);
                    self.end_if_none(track);
                }
            }
        }
    }

    /// Makes [`run`](Self::run) return.
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work. None after [`stop`](Self::stop).
    fn next(&self) -> Option<Task<'_>> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            for spec in &self.inputs.specs {
                let encoding_state = &mut state.encodings[spec.encoding];
                match (encoding_state.demand == Demand::Needed, encoding_state.branch.is_some()) {
                    (true, false) => return Some(Task::Build(spec)),
                    (false, true) => return encoding_state.branch.take().map(Task::Remove),
                    _ => {}
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn build(&self, spec: &BranchSpec, gate: Arc<KeyFrameGate>) -> Result<Branch, MediaError> {
        let track = spec.encoding.track;
        let no_tee = || MediaError::Pipeline { pipeline: spec.name.clone(), cause: "there is no raw video".into() };
        let (_, tee) = self.inputs.tees.iter().find(|(of, _)| *of == track).ok_or_else(no_tee)?;
        let monitor = self.monitor.clone().filter(|_| track == Track::Screen);
        let mut branch = Branch::build(spec, monitor)?;
        let end_of_stream = self.inputs.end_of_stream.clone();
        branch.output.connect(gate, self.inputs.on_frame.clone(), move || end_of_stream.track_ended(track));
        match branch.add_to(&self.inputs.pipeline, tee) {
            Ok(()) => Ok(branch),
            Err(error) => {
                branch.remove_from(&self.inputs.pipeline);
                Err(error)
            }
        }
    }

    /// Watches for the end of the source. A track with branches ends when its encoders have delivered their last frame;
    /// a track without any ends at the tee.
    fn watch_end(self: &Arc<Self>, track: Track, tee: &gst::Element) {
        let Some(pad) = tee.static_pad("sink") else { return };
        let this = Arc::downgrade(self);
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(gst::EventView::Eos(_)) = info.event().map(|event| event.view())
                && let Some(this) = this.upgrade()
            {
                this.state().ended.push(track);
                this.end_if_none(track);
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn end_if_none(&self, track: Track) {
        let state = self.state();
        let branch_of =
            |spec: &&BranchSpec| spec.encoding.track == track && state.encodings[spec.encoding].branch.is_some();
        let ended = state.ended.contains(&track) && self.inputs.specs.iter().find(branch_of).is_none();
        drop(state);
        if ended {
            self.inputs.end_of_stream.track_ended(track);
        }
    }
}
