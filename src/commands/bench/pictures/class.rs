//! The teacher's view of a lecture that is really encoded, and of its students in another process.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::super::class::{Students, process};
use super::wire::{FromWatchers, Join, ToWatchers};
use crate::commands::studio;
use crate::id::UserId;
use crate::media::{Capture, CaptureEvent};
use crate::report::Reporter;
use crate::sfu::{Sfu, SfuEvent};

/// A lecture and its class. Dropping it ends both.
pub(super) struct Class {
    pub(super) sfu: Sfu,
    sfu_events: mpsc::Receiver<SfuEvent>,
    capture: Capture,
    captured: mpsc::Receiver<CaptureEvent>,
    reporter: Reporter,
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Whose connection stands, or stood.
    pub(super) connected: HashSet<usize>,
    /// Who never came, or is gone again.
    pub(super) gone: HashSet<usize>,
    /// Why the last one is gone.
    pub(super) why: Option<String>,
}

impl Class {
    /// Starts the process of the students and lets them join.
    pub(super) async fn start(
        (sfu, sfu_events): (Sfu, mpsc::Receiver<SfuEvent>),
        (capture, captured): (Capture, mpsc::Receiver<CaptureEvent>),
        join: Join,
        reporter: &Reporter,
    ) -> anyhow::Result<Self> {
        let Students { child, stdin, lines } = process("bench-watchers")?;
        let (reporter, connected, gone) = (reporter.clone(), HashSet::new(), HashSet::new());
        let mut class =
            Self { sfu, sfu_events, capture, captured, reporter, child, stdin, lines, connected, gone, why: None };
        class.tell(&ToWatchers::Join(join)).await?;
        Ok(class)
    }

    /// Goes on until the students say something that is about measuring; none when that is not before the deadline.
    pub(super) async fn next(&mut self, deadline: Instant) -> anyhow::Result<Option<FromWatchers>> {
        loop {
            tokio::select! {
                line = timeout_at(deadline, self.lines.next_line()) => {
                    let Ok(line) = line else { return Ok(None) };
                    let line = line?.context("the process of the students ended: see what it said above")?;
                    let said = serde_json::from_str(&line).with_context(|| format!("students said {line:?}"))?;
                    if let Some(said) = self.heard(said)? {
                        return Ok(Some(said));
                    }
                }
                event = self.sfu_events.recv() => {
                    let event = event.context("the SFU ended")?;
                    if let Some(event) = studio::obey(&self.capture, event) {
                        self.on_sfu(event).await?;
                    }
                }
                event = self.captured.recv() => match event {
                    Some(CaptureEvent::Error(error)) => return Err(error.into()),
                    Some(CaptureEvent::Warning(sentence)) => {
                        self.reporter.warn(sentence);
                        studio::offer(&self.capture, &self.sfu);
                    }
                    Some(CaptureEvent::Playing { .. }) => {}
                    Some(CaptureEvent::Eos) | None => bail!("the lecture ended before the bench: give a longer --file"),
                },
            }
        }
    }

    async fn on_sfu(&mut self, event: SfuEvent) -> anyhow::Result<()> {
        let number = |user: &UserId| user.as_str().parse().context("the SFU speaks of a stranger");
        match event {
            SfuEvent::Answer { user, sdp } => {
                self.tell(&ToWatchers::Answer { student: number(&user)?, sdp }).await?;
            }
            SfuEvent::Refused { user, why } => self.missing(number(&user)?, why.to_string()),
            SfuEvent::Gone { user, why } => self.missing(number(&user)?, format!("the teacher says: {why}")),
            _ => {}
        }
        Ok(())
    }

    fn heard(&mut self, said: FromWatchers) -> anyhow::Result<Option<FromWatchers>> {
        match said {
            FromWatchers::Offer { student, sdp } => {
                let user: UserId = student.to_string().parse().map_err(|e| anyhow!("student {student}: {e}"))?;
                self.sfu.offer(user, sdp, None);
                return Ok(None);
            }
            FromWatchers::Connected { student } => drop(self.connected.insert(student)),
            FromWatchers::Gone { student, ref why } => self.missing(student, format!("the student says: {why}")),
            FromWatchers::Began { .. } | FromWatchers::Sight(_) => {}
        }
        Ok(Some(said))
    }

    fn missing(&mut self, student: usize, why: String) {
        self.gone.insert(student);
        self.why = Some(why);
    }

    /// Says something to the students.
    pub(super) async fn tell(&mut self, message: &ToWatchers) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(message)?;
        line.push('\n');
        self.stdin.write_all(line.as_bytes()).await.context("the process of the students does not listen")
    }

    /// Waits until each student is connected or gone, at the most so long.
    pub(super) async fn joined(&mut self, students: usize, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while self.connected.union(&self.gone).count() < students && self.next(deadline).await?.is_some() {}
        if self.connected.is_empty() {
            let why = self.why.take().unwrap_or_else(|| format!("none was connected within {} s", within.as_secs()));
            bail!("no student could join: {why}");
        }
        Ok(())
    }

    /// Ends the process of the students, the SFU and the capture.
    pub(super) async fn end(mut self) {
        let _ = self.child.kill().await;
        self.sfu.close().await;
        let capture = self.capture;
        let _ = tokio::task::spawn_blocking(move || capture.stop()).await;
    }
}
