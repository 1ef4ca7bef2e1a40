//! The connections of this participant, one for each other participant.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::pair::{Pair, PairContext, PairInput, PairOutput};
use super::participants::PairSide;
use crate::endpoints::RenderInput;
use crate::id::UserId;
use crate::media::Render;
use crate::protocol::MAX_PARTICIPANTS;
use crate::token_bucket::TokenBucket;

/// The most inputs of a pair that may wait. A pair that takes none for so long connects again later.
const INPUTS: usize = 64;

/// The most outputs of all pairs that may wait: a pair waits for room.
const OUTPUTS: usize = 16 * MAX_PARTICIPANTS;

/// The messages of the other one over the data channel that are read, per second and in one burst: as fast as a person
/// types.
const MESSAGE_RATE: u32 = 5;
const MESSAGE_BURST: u32 = 20;

/// The pairs.
pub(super) struct Pairs {
    context: Arc<PairContext>,
    running: BTreeMap<UserId, Running>,
    outputs: mpsc::Sender<(u64, PairOutput)>,
    output_queue: mpsc::Receiver<(u64, PairOutput)>,
    opened: u64,
    /// The pairs that end.
    ending: Vec<JoinHandle<()>>,
}

/// Without its sender of inputs the task ends.
struct Running {
    number: u64,
    inputs: mpsc::Sender<PairInput>,
    screen: Arc<RenderInput>,
    is_connected: bool,
    /// Whether this side has told the pair that it needs no media any more.
    is_released: bool,
    /// Whether nobody needs media over the pair any more.
    has_moved: bool,
    task: JoinHandle<()>,
}

impl Pairs {
    pub(super) fn new(context: Arc<PairContext>) -> Self {
        let (outputs, output_queue) = mpsc::channel(OUTPUTS);
        Self { context, running: BTreeMap::new(), outputs, output_queue, opened: 0, ending: Vec::new() }
    }

    /// Opens a pair, in place of one that there is.
    pub(super) fn open(&mut self, side: PairSide) {
        let other = side.other.user_id.clone();
        self.close(&other);
        self.opened += 1;
        let (number, screen) = (self.opened, Arc::<RenderInput>::default());
        let (inputs, input_queue) = mpsc::channel(INPUTS);
        let pair = Pair {
            context: Arc::clone(&self.context),
            number,
            outputs: self.outputs.clone(),
            screen: Arc::clone(&screen),
            render_events: None,
            formats: Vec::new(),
            has_moved: Arc::default(),
            drained: None,
            pace: TokenBucket::new(MESSAGE_RATE, MESSAGE_BURST),
            sends: side.other.sends.clone(),
            side,
        };
        let task = tokio::spawn(pair.run(input_queue));
        let (is_connected, is_released, has_moved) = (false, false, false);
        let running = Running { number, inputs, screen, is_connected, is_released, has_moved, task };
        self.running.insert(other, running);
    }

    /// Closes a pair.
    pub(super) fn close(&mut self, other: &UserId) {
        self.ending.retain(|task| !task.is_finished());
        self.ending.extend(self.running.remove(other).map(|running| running.task));
    }

    /// This side needs no media over a pair any more.
    pub(super) fn release(&mut self, other: &UserId) {
        if let Some(running) = self.running.get_mut(other).filter(|running| !running.is_released) {
            running.is_released = running.inputs.try_send(PairInput::Moved).is_ok();
        }
    }

    /// Closes the pairs over which nobody needs media, unless files need them. Returns whose pairs that were.
    pub(super) fn close_moved(&mut self, files_need: impl Fn(&UserId) -> bool) -> Vec<UserId> {
        let is_over = |(other, running): &(&UserId, &Running)| running.has_moved && !files_need(other);
        let over: Vec<UserId> = self.running.iter().filter(is_over).map(|(other, _)| other.clone()).collect();
        over.iter().for_each(|other| self.close(other));
        over
    }

    /// Passes an input to a pair. Returns false if there is no such pair, or if its queue is full or closed.
    pub(super) fn pass(&self, other: &UserId, input: PairInput) -> bool {
        self.running.get(other).is_some_and(|running| running.inputs.try_send(input).is_ok())
    }

    /// Whether the media of another one arrives over its pair.
    pub(super) fn is_connected(&self, other: &UserId) -> bool {
        self.running.get(other).is_some_and(|running| running.is_connected)
    }

    /// The number of the pair with this participant.
    pub(super) fn number(&self, other: &UserId) -> Option<u64> {
        self.running.get(other).map(|running| running.number)
    }

    /// Whether a pair has no connection yet, or has lost it.
    pub(super) fn await_connection(&self) -> bool {
        self.running.values().any(|running| !running.is_connected && !running.has_moved)
    }

    /// Calls `look` with the render of a pair, if one runs.
    pub(super) fn with_render<T>(&self, other: &UserId, look: impl FnOnce(&Render) -> T) -> Option<T> {
        self.running.get(other)?.screen.with(look)
    }

    /// The next output of an open pair. Cancel-safe.
    pub(super) async fn next(&mut self) -> (UserId, PairOutput) {
        loop {
            // This set has a sender, too, so the channel stays open.
            let Some((number, output)) = self.output_queue.recv().await else { return std::future::pending().await };
            if let Some((other, running)) = self.running.iter_mut().find(|(_, running)| running.number == number) {
                match output {
                    PairOutput::Connected(_) => running.is_connected = true,
                    PairOutput::Reconnecting => running.is_connected = false,
                    PairOutput::Moved => running.has_moved = true,
                    _ => {}
                }
                return (other.clone(), output);
            }
        }
    }

    /// Closes all pairs, and waits for their ends.
    pub(super) async fn end(mut self) -> Arc<PairContext> {
        let tasks = std::mem::take(&mut self.running).into_values().map(|running| running.task);
        let tasks: Vec<JoinHandle<()>> = self.ending.into_iter().chain(tasks).collect();
        // Without a receiver no pair waits for room.
        drop(self.output_queue);
        for task in tasks {
            let _ = task.await;
        }
        self.context
    }
}
