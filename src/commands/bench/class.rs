//! The teacher's view of a class in another process: its offers, its answers, its numbers.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::source::Desk;
use super::wire::{FromStudents, ToStudents};
use crate::bench::crowd::Tally;
use crate::id::UserId;
use crate::sfu::{Sfu, SfuEvent};

/// How far joining has come.
#[derive(Debug, Default, Clone)]
pub(super) struct Roll {
    /// Students whose connection has stood.
    pub(super) connected: usize,
    /// Students that never came.
    pub(super) refused: usize,
    /// Why the last one did not come, or did not stay.
    pub(super) why: Option<String>,
}

/// The class. Dropping it ends its process.
pub(super) struct Class {
    pub(super) roll: watch::Receiver<Roll>,
    asks: mpsc::Sender<oneshot::Sender<Tally>>,
    relay: tokio::task::JoinHandle<anyhow::Result<()>>,
    child: Child,
}

impl Class {
    /// Starts the process and lets it join.
    pub(super) async fn join(
        join: ToStudents,
        sfu: Arc<Sfu>,
        events: mpsc::Receiver<SfuEvent>,
        desk: Arc<Desk>,
    ) -> anyhow::Result<Self> {
        let Students { child, stdin, lines } = process("bench-students")?;
        let (roll_in, roll) = watch::channel(Roll::default());
        let (asks, asked) = mpsc::channel(4);
        let mut relay =
            Relay { sfu, events, desk, roll: roll_in, asked, stdin, lines, asking: None, seated: HashSet::new() };
        relay.tell(&join).await?;
        Ok(Self { roll, asks, relay: tokio::spawn(relay.run()), child })
    }

    /// What the students have seen until now.
    pub(super) async fn tally(&mut self) -> anyhow::Result<Tally> {
        let (reply, tally) = oneshot::channel();
        // Where nobody takes the question nobody answers it either.
        let _ = self.asks.send(reply).await;
        match tally.await {
            Ok(tally) => Ok(tally),
            Err(_) => Err(self.failed().await),
        }
    }

    /// Why the relay has ended.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.relay).await {
            Ok(Err(error)) => error,
            _ => anyhow!("the process of the students ended"),
        }
    }

    /// Ends the process.
    pub(super) async fn end(mut self) {
        // Nothing of it is needed any more, and five hundred farewells would take a while.
        let _ = self.child.kill().await;
        self.relay.abort();
        let _ = self.relay.await;
    }
}

/// A process of students. Dropping it ends it.
pub(super) struct Students {
    pub(super) child: Child,
    pub(super) stdin: ChildStdin,
    pub(super) lines: Lines<BufReader<ChildStdout>>,
}

/// Starts this program once more, with a verb.
pub(super) fn process(verb: &str) -> anyhow::Result<Students> {
    let program = std::env::current_exe().context("can't find the program itself, to start students")?;
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C is for us; students end when we do, as their stdin ends.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("can't start the process of the students")?;
    let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("students without pipes")?;
    Ok(Students { child, stdin, lines: BufReader::new(stdout).lines() })
}

/// Passes on what the SFU and the students have to say to each other.
struct Relay {
    sfu: Arc<Sfu>,
    events: mpsc::Receiver<SfuEvent>,
    desk: Arc<Desk>,
    roll: watch::Sender<Roll>,
    asked: mpsc::Receiver<oneshot::Sender<Tally>>,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    asking: Option<oneshot::Sender<Tally>>,
    /// Who has come.
    seated: HashSet<usize>,
}

impl Relay {
    async fn run(mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                line = self.lines.next_line() => {
                    let line = line?.context("the process of the students ended: see what it said above")?;
                    let said = serde_json::from_str(&line).with_context(|| format!("students said {line:?}"))?;
                    self.heard(said)?;
                }
                event = self.events.recv() => match event.context("the SFU ended")? {
                    SfuEvent::Answer { user, sdp } => {
                        let student = user.as_str().parse().context("the SFU answered a stranger")?;
                        self.tell(&ToStudents::Answer { student, sdp }).await?;
                    }
                    SfuEvent::Refused { why, .. } => self.missing(why.to_string(), true),
                    SfuEvent::Gone { why, .. } => self.missing(format!("the teacher says: {why}"), false),
                    SfuEvent::KeyFrameNeeded(_) => self.desk.key_wanted.store(true, Ordering::Relaxed),
                    _ => {}
                },
                Some(reply) = self.asked.recv() => {
                    self.asking = Some(reply);
                    self.tell(&ToStudents::Tally).await?;
                }
            }
        }
    }

    fn heard(&mut self, said: FromStudents) -> anyhow::Result<()> {
        match said {
            FromStudents::Offer { student, sdp } => {
                let user: UserId = student.to_string().parse().map_err(|e| anyhow!("student {student}: {e}"))?;
                self.sfu.offer(user, sdp, None);
            }
            FromStudents::Connected { student } => {
                self.seated.insert(student);
                self.roll.send_modify(|roll| roll.connected += 1);
            }
            FromStudents::Gone { student, why } => {
                let never_came = !self.seated.contains(&student);
                self.missing(format!("the student says: {why}"), never_came);
            }
            FromStudents::Tally(tally) => {
                if let Some(reply) = self.asking.take() {
                    let _ = reply.send(tally);
                }
            }
        }
        Ok(())
    }

    fn missing(&self, why: String, never_came: bool) {
        self.roll.send_modify(|roll| {
            roll.refused += usize::from(never_came);
            roll.why = Some(why);
        });
    }

    async fn tell(&mut self, message: &ToStudents) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(message)?;
        line.push('\n');
        self.stdin.write_all(line.as_bytes()).await.context("the process of the students does not listen")
    }
}
