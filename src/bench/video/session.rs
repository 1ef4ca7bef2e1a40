//! A lecture that is actually encoded, and its students in another process.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::bench::student_process::StudentProcess;
use crate::bench::wire::{FromStudents, ToStudents};
use crate::endpoints;
use crate::id::UserId;
use crate::media::{Capture, CaptureEvent};
use crate::report::Reporter;
use crate::sfu::{Sfu, SfuEvent};

/// The publisher: a running capture and its SFU.
pub(super) struct Publisher {
    pub(super) sfu: Sfu,
    pub(super) sfu_events: mpsc::Receiver<SfuEvent>,
    pub(super) capture: Capture,
    pub(super) capture_events: mpsc::Receiver<CaptureEvent>,
}

/// A publisher and its students. Dropping it ends both.
pub(super) struct Session {
    publisher: Publisher,
    students: StudentProcess,
    reporter: Reporter,
    /// Students that have connected.
    pub(super) connected: HashSet<usize>,
    /// Students that never connected or have left.
    pub(super) gone: HashSet<usize>,
    /// Why the last student is gone.
    pub(super) why: Option<String>,
}

impl Session {
    /// Starts the students' process and lets them join.
    pub(super) async fn start(publisher: Publisher, join: &ToStudents, reporter: &Reporter) -> anyhow::Result<Self> {
        let students = StudentProcess::start(join).await?;
        let (reporter, connected, gone) = (reporter.clone(), HashSet::new(), HashSet::new());
        Ok(Self { publisher, students, reporter, connected, gone, why: None })
    }

    /// The SFU.
    pub(super) fn sfu(&self) -> &Sfu {
        &self.publisher.sfu
    }

    /// Serves SFU, capture and students until a student reports on the measurement; `None` if that does not happen
    /// before the deadline.
    pub(super) async fn next(&mut self, deadline: Instant) -> anyhow::Result<Option<FromStudents>> {
        loop {
            let Publisher { sfu, sfu_events, capture, capture_events } = &mut self.publisher;
            tokio::select! {
                message = timeout_at(deadline, self.students.next()) => {
                    let Ok(message) = message else { return Ok(None) };
                    if let Some(message) = self.on_students(message?)? {
                        return Ok(Some(message));
                    }
                }
                event = sfu_events.recv() => {
                    let event = event.context("the SFU ended")?;
                    if let Some(event) = endpoints::serve_encoders(capture, event) {
                        self.on_sfu(event).await?;
                    }
                }
                event = capture_events.recv() => match event {
                    Some(CaptureEvent::Error(error)) => return Err(error.into()),
                    Some(CaptureEvent::Warning(sentence)) => {
                        self.reporter.warn(sentence);
                        endpoints::announce_encodings(capture, sfu);
                    }
                    Some(CaptureEvent::Playing { .. }) => {}
                    Some(CaptureEvent::Eos) | None => bail!("the lecture ended before the bench: give a longer --file"),
                },
            }
        }
    }

    async fn on_sfu(&mut self, event: SfuEvent) -> anyhow::Result<()> {
        let number = |user: &UserId| user.as_str().parse().context("the SFU named an unknown student");
        match event {
            SfuEvent::Answer { user, sdp } => {
                self.students.say(&ToStudents::Answer { student: number(&user)?, sdp }).await?;
            }
            SfuEvent::Refused { user, why } => self.lost(number(&user)?, why.to_string()),
            SfuEvent::Gone { user, why } => self.lost(number(&user)?, format!("the SFU says: {why}")),
            _ => {}
        }
        Ok(())
    }

    fn on_students(&mut self, message: FromStudents) -> anyhow::Result<Option<FromStudents>> {
        match message {
            FromStudents::Offer { student, sdp } => {
                let user: UserId = student.to_string().parse().map_err(|e| anyhow!("student {student}: {e}"))?;
                self.publisher.sfu.offer(user, sdp, None, None);
                return Ok(None);
            }
            FromStudents::Connected { student } => drop(self.connected.insert(student)),
            FromStudents::Gone { student, ref why } => self.lost(student, format!("the student says: {why}")),
            FromStudents::Began { .. } | FromStudents::Sight(_) | FromStudents::Tally(_) => {}
        }
        Ok(Some(message))
    }

    fn lost(&mut self, student: usize, why: String) {
        self.gone.insert(student);
        self.why = Some(why);
    }

    /// Sends a message to the students.
    pub(super) async fn say(&mut self, message: &ToStudents) -> anyhow::Result<()> {
        self.students.say(message).await
    }

    /// Waits at most `within` until each student is connected or gone.
    pub(super) async fn joined(&mut self, students: usize, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while self.connected.union(&self.gone).count() < students && self.next(deadline).await?.is_some() {}
        if self.connected.is_empty() {
            let why = self.why.take().unwrap_or_else(|| format!("none was connected within {} s", within.as_secs()));
            bail!("no student could join: {why}");
        }
        Ok(())
    }

    /// Ends the students' process, the SFU and the capture.
    pub(super) async fn end(self) {
        self.students.end().await;
        let Publisher { sfu, capture, .. } = self.publisher;
        sfu.close().await;
        let _ = tokio::task::spawn_blocking(move || capture.stop()).await;
    }
}
