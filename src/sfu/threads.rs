//! Workers on threads of their own: `--workers`.

use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::SfuError;
use super::router::TICK;
use super::worker::{Worker, WorkerCommand};
use crate::rtp::{Frame, PerTrack, Track};

/// Tasks that may wait for a thread: three tracks at 50 a second and the feedback of 1,000 students are some 5,000 a
/// second, so more than a second of a thread that stands still.
const TASK_QUEUE: usize = 8_192;

/// A thread with a worker.
pub(super) struct WorkerThread {
    tasks: mpsc::Sender<WorkerCommand>,
    /// Pictures of these tracks did not fit, and the thread does not know yet.
    gaps: PerTrack<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts the thread `hub-{number}`.
    pub(super) fn start(number: usize, worker: Worker) -> Result<Self, SfuError> {
        let setup = |e: &dyn std::fmt::Display| SfuError::Setup(e.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|e| setup(&e))?;
        let (tasks, queue) = mpsc::channel(TASK_QUEUE);
        let thread = std::thread::Builder::new()
            .name(format!("sfu-{number}"))
            .spawn(move || runtime.block_on(run(worker, queue)))
            .map_err(|e| setup(&e))?;
        Ok(Self { tasks, gaps: PerTrack::default(), thread: Some(thread) })
    }

    /// Gives it something to do, or false when it does not keep up.
    pub(super) fn give(&self, task: WorkerCommand) -> bool {
        self.tasks.try_send(task).is_ok()
    }

    /// Gives it a frame, which is after so many `keys` of its encoding, or the last of them. A picture that does not fit
    /// is left out, and the thread is told before the next one of its track. Gives whether it was told so now: its
    /// students wait for key frames then.
    pub(super) fn frame(&mut self, frame: Frame, keys: u64) -> bool {
        let track = frame.track;
        let told = self.gaps[track] && self.give(WorkerCommand::Gap(track));
        self.gaps[track] &= !told;
        if !self.gaps[track] {
            let fits = self.give(WorkerCommand::Frame { frame, keys });
            self.gaps[track] = !fits && track.is_video();
        }
        told
    }

    /// A picture of this track was lost before it came here: the thread is told so at once, or before the next one.
    pub(super) fn gap(&mut self, track: Track) {
        self.gaps[track] = !self.give(WorkerCommand::Gap(track));
    }

    /// Says goodbye to its students and ends the thread.
    pub(super) fn close(mut self) {
        // A full queue is emptied by dropping the sender; the students find out by themselves then.
        let _ = self.tasks.try_send(WorkerCommand::Close);
        let (nobody, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.tasks, nobody));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Does what is asked until nobody can ask any more.
async fn run(mut worker: Worker, mut tasks: mpsc::Receiver<WorkerCommand>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ticked = Instant::now();
    let mut served = false;
    loop {
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            worker.tick();
            worker.adapt();
            worker.serve_behind();
        }
        tokio::select! {
            biased;
            task = tasks.recv() => match task {
                Some(task) => worker.handle(task),
                None => return,
            },
            () = std::future::ready(()), if !served && worker.has_video() => {
                worker.serve_newest();
                served = true;
                continue;
            }
            _ = tick.tick() => {}
            () = tokio::task::yield_now(), if worker.has_video() => {}
        }
        served = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{Codec, Encoding, FrameAssembler};

    fn frame(track: Track) -> Frame {
        let codec = if track.is_video() { Codec::Vp8 } else { Codec::Opus };
        let packet = [&[0x80, 0x80 | 96, 0, 1][..], &[0; 8], &[0x10, 0, 0]].concat();
        FrameAssembler::new(Encoding::full(track, codec)).push(&packet, Instant::now()).unwrap()
    }

    #[test]
    fn a_thread_that_missed_a_picture_knows_where_and_how_many_key_frames_there_were() {
        let (tasks, mut queue) = mpsc::channel(3);
        let mut worker = WorkerThread { tasks, gaps: PerTrack::default(), thread: None };
        let mut said = |taken: usize| {
            let all: Vec<String> = std::iter::from_fn(|| queue.try_recv().ok())
                .take(taken)
                .map(|task| match task {
                    WorkerCommand::Frame { frame, keys } => format!("{} {keys}", frame.track),
                    WorkerCommand::Gap(track) => format!("gap {track}"),
                    _ => unreachable!(),
                })
                .collect();
            all.join(", ")
        };
        for keys in 1..=3 {
            assert!(!worker.frame(frame(Track::Screen), keys));
        }
        // The fourth key frame does not fit; nor does sound, which needs none.
        assert!(!worker.frame(frame(Track::Screen), 4) && !worker.frame(frame(Track::Audio), 9));
        assert!(!worker.frame(frame(Track::Screen), 4), "it can't be told yet");
        assert_eq!(said(1), "screen 1");
        // Room for the gap, and not for the picture after it: that is one more.
        assert!(worker.frame(frame(Track::Screen), 4));
        assert_eq!(said(3), "screen 2, screen 3, gap screen");
        assert!(!worker.frame(frame(Track::Audio), 10) && worker.frame(frame(Track::Screen), 5));
        assert_eq!(said(3), "audio 10, gap screen, screen 5");
        assert!(!worker.frame(frame(Track::Screen), 5));
        assert_eq!(said(3), "screen 5");
    }
}
