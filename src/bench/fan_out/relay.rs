//! Relays messages between the SFU and the students in the other process.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, anyhow};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::lecture::LectureControl;
use crate::bench::crowd::Tally;
use crate::bench::student_process::StudentProcess;
use crate::bench::wire::{FromStudents, ToStudents};
use crate::id::UserId;
use crate::sfu::{Sfu, SfuEvent};

/// The progress of joining.
#[derive(Debug, Default, Clone)]
pub(super) struct Progress {
    /// Students that have connected.
    pub(super) connected: usize,
    /// Students that never connected and are given up.
    pub(super) failed: usize,
    /// Why the last student failed or left.
    pub(super) why: Option<String>,
}

/// A running relay and its students. Dropping it ends their process.
pub(super) struct Relay {
    pub(super) progress: watch::Receiver<Progress>,
    questions: mpsc::Sender<oneshot::Sender<Tally>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Relay {
    /// Starts the students' process and lets them join.
    pub(super) async fn start(
        join: &ToStudents,
        sfu: Arc<Sfu>,
        events: mpsc::Receiver<SfuEvent>,
        control: Arc<LectureControl>,
    ) -> anyhow::Result<Self> {
        let process = StudentProcess::start(join).await?;
        let (progress_in, progress) = watch::channel(Progress::default());
        let (questions, queue) = mpsc::channel(4);
        let task = Task {
            sfu,
            events,
            control,
            progress: progress_in,
            questions: queue,
            process,
            asking: None,
            connected: HashSet::new(),
        };
        Ok(Self { progress, questions, task: tokio::spawn(task.run()) })
    }

    /// The students' counts so far.
    pub(super) async fn tally(&mut self) -> anyhow::Result<Tally> {
        let (reply, tally) = oneshot::channel();
        // If the task has ended, the reply is dropped.
        let _ = self.questions.send(reply).await;
        match tally.await {
            Ok(tally) => Ok(tally),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Why the task ended.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            _ => anyhow!("the process of the students ended"),
        }
    }

    /// Ends the students' process.
    pub(super) async fn end(self) {
        drop(self.questions);
        // An error at this point does not affect the measurement.
        let _ = self.task.await;
    }
}

struct Task {
    sfu: Arc<Sfu>,
    events: mpsc::Receiver<SfuEvent>,
    control: Arc<LectureControl>,
    progress: watch::Sender<Progress>,
    questions: mpsc::Receiver<oneshot::Sender<Tally>>,
    process: StudentProcess,
    asking: Option<oneshot::Sender<Tally>>,
    connected: HashSet<usize>,
}

impl Task {
    async fn run(mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                message = self.process.next() => self.on_students(message?)?,
                event = self.events.recv() => self.on_sfu(event.context("the SFU ended")?).await?,
                question = self.questions.recv() => {
                    let Some(reply) = question else { break };
                    self.asking = Some(reply);
                    self.process.say(&ToStudents::Tally).await?;
                }
            }
        }
        self.process.end().await;
        Ok(())
    }

    async fn on_sfu(&mut self, event: SfuEvent) -> anyhow::Result<()> {
        match event {
            SfuEvent::Answer { user, sdp } => {
                let student = user.as_str().parse().context("the SFU answered an unknown student")?;
                self.process.say(&ToStudents::Answer { student, sdp }).await?;
            }
            SfuEvent::Refused { why, .. } => self.lost(why.to_string(), true),
            SfuEvent::Gone { why, .. } => self.lost(format!("the SFU says: {why}"), false),
            SfuEvent::KeyFrameNeeded(_) => self.control.key_frame_needed.store(true, Ordering::Relaxed),
            _ => {}
        }
        Ok(())
    }

    fn on_students(&mut self, message: FromStudents) -> anyhow::Result<()> {
        match message {
            FromStudents::Offer { student, sdp } => {
                let user: UserId = student.to_string().parse().map_err(|e| anyhow!("student {student}: {e}"))?;
                self.sfu.offer(user, sdp, None, None);
            }
            FromStudents::Connected { student } => {
                self.connected.insert(student);
                self.progress.send_modify(|progress| progress.connected += 1);
            }
            FromStudents::Gone { student, why } => {
                let was_connected = self.connected.contains(&student);
                self.lost(format!("the student says: {why}"), !was_connected);
            }
            FromStudents::Tally(tally) => {
                if let Some(reply) = self.asking.take() {
                    let _ = reply.send(tally);
                }
            }
            FromStudents::Began { .. } | FromStudents::Sight(_) => {}
        }
        Ok(())
    }

    fn lost(&self, why: String, never_connected: bool) {
        self.progress.send_modify(|progress| {
            progress.failed += usize::from(never_connected);
            progress.why = Some(why);
        });
    }
}
