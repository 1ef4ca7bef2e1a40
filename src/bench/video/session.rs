//! A lecture that is actually encoded, and its students in another process.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::future::OptionFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::PUBLISHER;
use crate::bench::publisher::{EmulatedPublisher, PublisherEvent};
use crate::bench::student_process::StudentProcess;
use crate::bench::wire::{FromStudents, ToStudents};
use crate::endpoints;
use crate::id::UserId;
use crate::media::{Capture, CaptureEvent};
use crate::report::Reporter;
use crate::sfu::{Sfu, SfuEvent};

/// The publisher: a running capture and its SFU.
pub(in crate::bench) struct Publisher {
    pub(in crate::bench) sfu: Sfu,
    pub(in crate::bench) sfu_events: mpsc::Receiver<SfuEvent>,
    pub(in crate::bench) capture: Capture,
    pub(in crate::bench) capture_events: mpsc::Receiver<CaptureEvent>,
    /// The emulated publisher between the capture and the SFU; `None` if the capture gives its frames to the SFU.
    pub(in crate::bench) ingest: Option<EmulatedPublisher>,
}

impl Publisher {
    /// Serves SFU and capture until the SFU has an event about a student, or about its encodings.
    pub(in crate::bench) async fn next(&mut self, reporter: &Reporter) -> anyhow::Result<SfuEvent> {
        loop {
            let Self { sfu, sfu_events, capture, capture_events, ingest } = self;
            tokio::select! {
                event = sfu_events.recv() => {
                    let event = event.context("the SFU ended")?;
                    let event = match ingest {
                        Some(ingest) => serve_publisher(ingest, event)?,
                        None => endpoints::serve_encoders(capture, event),
                    };
                    if let Some(event) = event {
                        return Ok(event);
                    }
                }
                event = capture_events.recv() => match event {
                    Some(CaptureEvent::Error(error)) => return Err(error.into()),
                    Some(CaptureEvent::Warning(sentence)) => {
                        reporter.warn(sentence);
                        if ingest.is_none() {
                            endpoints::announce_encodings(capture, sfu);
                        }
                    }
                    Some(CaptureEvent::Playing { .. } | CaptureEvent::Slide(_) | CaptureEvent::Scene(_)) => {}
                    Some(CaptureEvent::Eos) | None => bail!("the lecture ended before the bench: give a longer --file"),
                },
                Some(event) = OptionFuture::from(ingest.as_mut().map(EmulatedPublisher::next)) => match event {
                    PublisherEvent::KeyFrameNeeded(encoding) => capture.request_key_frame(encoding),
                    PublisherEvent::Gone(why) => bail!("the emulated publisher is gone: {why}"),
                },
            }
        }
    }
}

/// Passes the SFU's answer and its requests to the publisher. All encoders go on: a stream may get any tier. Returns an
/// event that is about something else.
fn serve_publisher(ingest: &EmulatedPublisher, event: SfuEvent) -> anyhow::Result<Option<SfuEvent>> {
    match event {
        SfuEvent::Answer { user, sdp } if user.as_str() == PUBLISHER => ingest.answer(&sdp),
        SfuEvent::Refused { user, why } if user.as_str() == PUBLISHER => {
            bail!("the SFU does not take the emulated publisher: {why}")
        }
        SfuEvent::Gone { user, why } if user.as_str() == PUBLISHER => {
            bail!("the SFU says that the emulated publisher is gone: {why}")
        }
        SfuEvent::Needed(encoding, is_needed) => {
            ingest.need(encoding, is_needed);
        }
        other => return Ok(Some(other)),
    }
    Ok(None)
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
            tokio::select! {
                message = timeout_at(deadline, self.students.next()) => {
                    let Ok(message) = message else { return Ok(None) };
                    if let Some(message) = self.on_students(message?)? {
                        return Ok(Some(message));
                    }
                }
                event = self.publisher.next(&self.reporter) => self.on_sfu(event?).await?,
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

    /// The emulated publisher, if there is one.
    pub(super) fn ingest(&self) -> Option<&EmulatedPublisher> {
        self.publisher.ingest.as_ref()
    }

    /// Ends the students' process, the SFU and the capture.
    pub(super) async fn end(self) {
        self.students.end().await;
        let Publisher { sfu, capture, ingest, .. } = self.publisher;
        ingest.into_iter().for_each(EmulatedPublisher::end);
        sfu.close().await;
        let _ = tokio::task::spawn_blocking(move || capture.stop()).await;
    }
}
