//! Receives the speakers on the stage, for a student and for the teacher: a connection and a render for each of them.

mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::view::{Handles, View};
pub(super) use self::view::{Prepared, StartedRender, ViewContext, ViewInput, ViewOutput};
use crate::id::{Nickname, UserId};
use crate::media::Render;
use crate::protocol::TrackName;
use crate::protocol::channel::MAX_SPEAKERS;

/// The most inputs of a view that may wait. A view that takes none for so long connects again later.
const INPUTS: usize = 16;

/// The most outputs of all views that may wait: a view waits for room.
const OUTPUTS: usize = 16 * MAX_SPEAKERS;

/// The views of a lecture, one for each speaker.
pub(super) struct SpeakerViews {
    views: BTreeMap<UserId, Running>,
    /// The tasks of views that were closed, as far as they have not ended yet.
    ending: Vec<JoinHandle<()>>,
    outputs: mpsc::Sender<OfView>,
    output_queue: mpsc::Receiver<OfView>,
}

/// An output of a view, with the speaker and the number of the speaker's time on the stage.
type OfView = (UserId, u64, ViewOutput);

/// The view of a speaker. Without its sender of inputs the task ends.
struct Running {
    id: u64,
    inputs: mpsc::Sender<ViewInput>,
    handles: Handles,
    task: JoinHandle<()>,
}

impl SpeakerViews {
    /// No views yet.
    pub(super) fn new() -> Self {
        let (outputs, output_queue) = mpsc::channel(OUTPUTS);
        Self { views: BTreeMap::new(), ending: Vec::new(), outputs, output_queue }
    }

    /// A student speaks: connects to its media. `id` is the number of its time on the stage; an earlier one ends.
    pub(super) fn open(&mut self, speaker: &UserId, nickname: &Nickname, id: u64, context: Arc<dyn ViewContext>) {
        self.close(speaker);
        let (inputs, input_queue) = mpsc::channel(INPUTS);
        let handles = Handles::default();
        let outputs = (speaker.clone(), id, self.outputs.clone());
        let view = View::new(context, nickname, outputs, handles.clone());
        let task = tokio::spawn(view.run(input_queue));
        self.views.insert(speaker.clone(), Running { id, inputs, handles, task });
    }

    /// Whether a view is held: another connection still brings the same media, so this one is neither heard nor seen.
    pub(super) fn hold(&self, speaker: &UserId, is_held: bool) {
        if let Some(view) = self.views.get(speaker)
            && view.handles.is_held.swap(is_held, Ordering::Relaxed) != is_held
        {
            let _ = view.inputs.try_send(ViewInput::Held);
        }
    }

    /// Whether media of a speaker may flow.
    pub(super) fn is_connected(&self, speaker: &UserId) -> bool {
        self.views.get(speaker).is_some_and(|view| view.handles.is_connected.load(Ordering::Relaxed))
    }

    /// The student speaks no more: closes its view.
    pub(super) fn close(&mut self, speaker: &UserId) {
        self.ending.retain(|task| !task.is_finished());
        self.ending.extend(self.views.remove(speaker).map(|view| view.task));
    }

    /// These tracks of a speaker deliver nothing at present.
    pub(super) fn silent(&self, speaker: &UserId, silent: Vec<TrackName>) {
        self.pass(speaker, ViewInput::Silent(silent));
    }

    /// Passes an input to the view of a speaker, if there is one. A view that takes no inputs has lost its answer, and
    /// offers again after a while.
    pub(super) fn pass(&self, speaker: &UserId, input: ViewInput) {
        if let Some(view) = self.views.get(speaker) {
            let _ = view.inputs.try_send(input);
        }
    }

    /// Passes an input to all views.
    pub(super) fn pass_all(&self, input: impl Fn() -> ViewInput) {
        self.views.keys().for_each(|speaker| self.pass(speaker, input()));
    }

    /// Starts all renders again, by the context as it is now. Connections stay.
    pub(super) fn restart_renders(&self) {
        self.views.values().for_each(|view| view.handles.restart.notify_one());
    }

    /// Calls `look` with the render of a speaker, if one runs.
    pub(super) fn with_render<T>(&self, speaker: &UserId, look: impl FnOnce(&Render) -> T) -> Option<T> {
        self.views.get(speaker)?.handles.screen.with(look)
    }

    /// The next output of an open view. Cancel-safe.
    pub(super) async fn next(&mut self) -> (UserId, ViewOutput) {
        loop {
            // This set has a sender, too, so the channel stays open.
            let Some((speaker, id, output)) = self.output_queue.recv().await else {
                return std::future::pending().await;
            };
            if self.views.get(&speaker).is_some_and(|view| view.id == id) {
                return (speaker, output);
            }
        }
    }

    /// Closes all views, and waits for their ends.
    pub(super) async fn end(self) {
        let running = self.views.into_values().map(|view| view.task);
        let tasks: Vec<JoinHandle<()>> = self.ending.into_iter().chain(running).collect();
        // Without a receiver no view waits for room.
        drop(self.output_queue);
        for task in tasks {
            let _ = task.await;
        }
    }
}
