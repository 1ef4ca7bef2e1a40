//! Shards on threads of their own: `--workers`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::HubError;
use super::router::TICK;
use super::shard::{Shard, Task};
use crate::rtp::{Frame, Track};

/// Tasks that may wait for a thread: three tracks at 50 a second and the feedback of 1,000 students are some 5,000 a
/// second, so more than a second of a thread that stands still.
const TASK_QUEUE: usize = 8_192;

/// A thread with a shard.
pub(super) struct Worker {
    tasks: mpsc::Sender<Task>,
    /// Frames did not fit.
    gap: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread `hub-{number}`.
    pub(super) fn start(number: usize, shard: Shard) -> Result<Self, HubError> {
        let setup = |e: &dyn std::fmt::Display| HubError::Setup(e.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| setup(&e))?;
        let (tasks, queue) = mpsc::channel(TASK_QUEUE);
        let gap = Arc::new(AtomicBool::new(false));
        let gaps = Arc::clone(&gap);
        let thread = std::thread::Builder::new()
            .name(format!("hub-{number}"))
            .spawn(move || runtime.block_on(run(shard, queue, &gaps)))
            .map_err(|e| setup(&e))?;
        Ok(Self { tasks, gap, thread: Some(thread) })
    }

    /// Gives it something to do, or false when it does not keep up.
    pub(super) fn give(&self, task: Task) -> bool {
        self.tasks.try_send(task).is_ok()
    }

    /// Gives it a frame. One that does not fit is left out, and its students wait for a key frame.
    pub(super) fn frame(&self, frame: Frame) {
        if !self.give(Task::Frame(frame)) {
            self.gap.store(true, Ordering::Relaxed);
        }
    }

    /// Says goodbye to its students and ends the thread.
    pub(super) fn close(mut self) {
        // A full queue is emptied by dropping the sender; the students find out by themselves then.
        let _ = self.tasks.try_send(Task::Close);
        let (nobody, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.tasks, nobody));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Does what is asked until nobody can ask any more.
async fn run(mut shard: Shard, mut tasks: mpsc::Receiver<Task>, gap: &AtomicBool) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ticked = Instant::now();
    let mut served = false;
    loop {
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            if gap.swap(false, Ordering::Relaxed) {
                Track::ALL.into_iter().filter(|track| track.is_video()).for_each(|t| shard.handle(Task::Gap(t)));
            }
            shard.tick();
            shard.adapt();
            shard.turns();
        }
        tokio::select! {
            biased;
            task = tasks.recv() => match task {
                Some(task) => shard.handle(task),
                None => return,
            },
            () = std::future::ready(()), if !served && shard.has_pictures() => {
                shard.serve();
                served = true;
                continue;
            }
            _ = tick.tick() => {}
            () = tokio::task::yield_now(), if shard.has_pictures() => {}
        }
        served = false;
    }
}
