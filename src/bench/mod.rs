//! Measures the product. Only `commands/bench.rs` names this folder.
//!
//! [`run`] measures in one of two ways. The fan-out bench feeds an SFU with packets of realistic sizes and measures what a
//! [`crowd`] of students costs it. The video bench encodes a lecture with [`codes`] in its frames, sends it through
//! [`emulator`]s and judges what each student decodes. In both, the students are another process of this machine, so that
//! the sender's CPU is its own: [`students`] is the body of that process.

pub mod codes;
mod cpu;
pub mod crowd;
pub mod emulator;
mod fan_out;
mod student_process;
mod video;
mod wire;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use self::wire::{FromStudents, ToStudents};
use crate::cli::Bench;
use crate::exit::Failure;
use crate::process::allow_many_files;
use crate::report::Reporter;

/// Messages of students that are not written yet; a student that has more to say waits.
const MESSAGES: usize = 64;

/// What a bench has measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// For scripts; what could not be measured is null.
    pub object: Value,
    /// For people, in Markdown.
    pub table: String,
}

/// Measures. The fan-out bench may replace this process by itself in a network namespace of its own, so nothing may be
/// printed or opened before.
///
/// # Errors
/// When no student could join, a process ended early, or the kernel does not tell what was used.
pub async fn run(bench: &Bench, reporter: &Reporter) -> Result<Report, Failure> {
    allow_many_files();
    match bench {
        Bench::FanOut(bench) => Ok(fan_out::run(bench, reporter).await?),
        Bench::Video(bench) => video::run(bench, reporter).await,
    }
}

/// The students that [`run`] measures with, in the process that it starts for them. Does what stdin says, and ends with
/// it, that is, when the process of the bench ends.
///
/// # Errors
/// When a line can't be understood, or the students can't be set up.
pub async fn students() -> anyhow::Result<()> {
    allow_many_files();
    let (orders, mut queue) = mpsc::channel(1);
    let read = tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await.context("can't read from the process of the bench")? {
            let order: ToStudents =
                serde_json::from_str(&line).with_context(|| format!("{line:?} is not a message of a bench"))?;
            if orders.send(order).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    });
    let (say, mut said) = mpsc::channel::<FromStudents>(MESSAGES);
    tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(message) = said.recv().await {
            let Ok(mut line) = serde_json::to_string(&message) else { continue };
            line.push('\n');
            // When nobody reads any more, stdin ends, too.
            if out.write_all(line.as_bytes()).await.is_err() || out.flush().await.is_err() {
                return;
            }
        }
    });
    match queue.recv().await {
        Some(ToStudents::JoinCrowd(join)) => fan_out::students::run(join, queue, say).await?,
        Some(ToStudents::JoinViewers(join)) => video::students::run(join, queue, say).await?,
        Some(_) => bail!("the first line must be a join; this verb is for `classroom bench`, run that"),
        None => {}
    }
    read.await?
}
