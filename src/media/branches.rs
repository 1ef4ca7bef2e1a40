//! Which encodings of the pictures are needed, and a thread that builds them and takes them away.
//!
//! An encoder takes milliseconds to open and a GPU seconds, so nobody who says what is needed waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use tokio::sync::mpsc;

use super::branch::{Branch, Recipe};
use super::capture::CaptureEvent;
use super::ends::Ends;
use super::error::MediaError;
use super::outlet::{Gate, OnFrame};
use crate::rtp::{Encoding, PerEncoding, Track};

/// All encodings that are made of tees of raw pictures.
pub(super) struct Branches {
    pipeline: gst::Pipeline,
    tees: Vec<(Track, gst::Element)>,
    recipes: Vec<Recipe>,
    on_frame: OnFrame,
    ends: Arc<Ends>,
    events: mpsc::Sender<CaptureEvent>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    slots: PerEncoding<Slot>,
    /// Tracks whose source has ended.
    ended: Vec<Track>,
    stopping: bool,
}

/// What is known of an encoding.
#[derive(Debug, Default)]
struct Slot {
    needed: bool,
    /// It failed, and is not tried again: what fails on this machine fails every time.
    failed: bool,
    gate: Arc<Gate>,
    /// There from when it is built until it is being taken away.
    branch: Option<Branch>,
}

/// What the thread does next.
enum Step<'a> {
    Build(&'a Recipe),
    Remove(Branch),
}

impl Branches {
    /// Joins those branches that are needed at the start to a graph that does not play yet.
    pub(super) fn new(
        pipeline: &gst::Pipeline,
        tees: Vec<(Track, gst::Element)>,
        recipes: Vec<Recipe>,
        on_frame: OnFrame,
        ends: Arc<Ends>,
        events: mpsc::Sender<CaptureEvent>,
    ) -> Result<Arc<Self>, MediaError> {
        let (state, changed) = (Mutex::new(State::default()), Condvar::new());
        let this = Arc::new(Self { pipeline: pipeline.clone(), tees, recipes, on_frame, ends, events, state, changed });
        for (track, tee) in &this.tees {
            this.watch_end(*track, tee);
        }
        for recipe in this.recipes.iter().filter(|recipe| this.is_main(recipe.encoding)) {
            let gate = Arc::<Gate>::default();
            gate.set(true);
            let branch = this.build(recipe, gate.clone())?;
            this.state().slots[recipe.encoding] = Slot { needed: true, failed: false, gate, branch: Some(branch) };
        }
        Ok(this)
    }

    /// What can be made, best first.
    pub(super) fn encodings(&self) -> Vec<Encoding> {
        let state = self.state();
        let encodings = self.recipes.iter().map(|recipe| recipe.encoding);
        encodings.filter(|encoding| !state.slots[*encoding].failed).collect()
    }

    /// Whether an encoding is that with which its track began, and with which the class goes.
    pub(super) fn is_main(&self, encoding: Encoding) -> bool {
        let first = self.recipes.iter().find(|recipe| recipe.encoding.track == encoding.track);
        first.is_some_and(|recipe| recipe.encoding == encoding)
    }

    /// From now on an encoding is needed, and its frames come from the next key frame on; or it is not, and none come.
    pub(super) fn need(&self, encoding: Encoding, needed: bool) {
        if self.recipes.iter().all(|recipe| recipe.encoding != encoding) {
            return;
        }
        let mut state = self.state();
        let slot = &mut state.slots[encoding];
        if slot.failed || slot.needed == needed {
            return;
        }
        slot.needed = needed;
        slot.gate.set(needed);
        // Needed again before it was taken away.
        let ask = slot.branch.as_ref().filter(|_| needed).map(Branch::key_frames);
        drop(state);
        self.changed.notify_one();
        ask.iter().for_each(|ask| ask());
    }

    /// Asks for a key frame. An encoding that is only being built begins with one.
    pub(super) fn request_key_frame(&self, encoding: Encoding) {
        let ask = self.state().slots[encoding].branch.as_ref().map(Branch::key_frames);
        ask.iter().for_each(|ask| ask());
    }

    /// How long the encoder takes for a picture, in milliseconds, while there is one.
    pub(super) fn encode_ms(&self, encoding: Encoding) -> Option<f32> {
        self.state().slots[encoding].branch.as_ref()?.outlet.encode_ms()
    }

    /// Which encoding an element is a part of.
    pub(super) fn encoding_of(&self, element: &gst::Object) -> Option<Encoding> {
        let mut at = Some(element.clone());
        while let Some(object) = at {
            let name = object.name();
            if let Some(recipe) = self.recipes.iter().find(|recipe| recipe.bin_name() == name) {
                return Some(recipe.encoding);
            }
            at = object.parent();
        }
        None
    }

    /// Gives an encoding up, for it failed.
    pub(super) fn give_up(&self, encoding: Encoding, cause: &str) {
        let mut state = self.state();
        let slot = &mut state.slots[encoding];
        let before = std::mem::replace(&mut slot.failed, true);
        slot.needed = false;
        slot.gate.set(false);
        drop(state);
        self.changed.notify_one();
        // One failure makes several elements complain.
        if !before {
            let sentence = format!("{encoding} in {} can't be encoded here, nobody gets it: {cause}", encoding.codec);
            // Full or closed: whoever doesn't read the first events would not read this one.
            let _ = self.events.try_send(CaptureEvent::Warning(sentence));
        }
    }

    /// Builds and takes away, until it is told to stop.
    pub(super) fn run(&self) {
        while let Some(step) = self.next() {
            match step {
                Step::Build(recipe) => {
                    let gate = self.state().slots[recipe.encoding].gate.clone();
                    match self.build(recipe, gate) {
                        Ok(branch) => self.state().slots[recipe.encoding].branch = Some(branch),
                        Err(error) => self.give_up(recipe.encoding, &error.to_string()),
                    }
                }
                Step::Remove(branch) => {
                    let track = branch.outlet.encoding.track;
                    branch.leave(&self.pipeline);
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

    /// Waits for something to do, and nothing once it is to stop.
    fn next(&self) -> Option<Step<'_>> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            for recipe in &self.recipes {
                let slot = &mut state.slots[recipe.encoding];
                match (slot.needed, slot.branch.is_some()) {
                    (true, false) => return Some(Step::Build(recipe)),
                    (false, true) => return slot.branch.take().map(Step::Remove),
                    _ => {}
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn build(&self, recipe: &Recipe, gate: Arc<Gate>) -> Result<Branch, MediaError> {
        let track = recipe.encoding.track;
        let no_tee = || MediaError::Pipeline { pipeline: recipe.name.clone(), cause: "there are no pictures".into() };
        let (_, tee) = self.tees.iter().find(|(of, _)| *of == track).ok_or_else(no_tee)?;
        let mut branch = Branch::build(recipe)?;
        let ends = self.ends.clone();
        branch.outlet.connect(gate, self.on_frame.clone(), move || ends.ended(track));
        match branch.join(&self.pipeline, tee) {
            Ok(()) => Ok(branch),
            Err(error) => {
                branch.leave(&self.pipeline);
                Err(error)
            }
        }
    }

    /// A track that somebody encodes ends with its last encoded picture; one that nobody does, at its tee.
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
            |recipe: &&Recipe| recipe.encoding.track == track && state.slots[recipe.encoding].branch.is_some();
        let ended = state.ended.contains(&track) && self.recipes.iter().find(branch_of).is_none();
        drop(state);
        if ended {
            self.ends.ended(track);
        }
    }
}
