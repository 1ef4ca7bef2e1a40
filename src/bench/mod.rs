//! Measures the product. Only `commands/bench.rs` names this folder.
//!
//! [`run`] measures in one of two ways. The fan-out bench feeds an SFU with packets of realistic sizes and measures
//! what a [`crowd`] of students costs it. The video bench encodes a lecture with [`codes`] in its frames, sends it
//! through [`emulator`]s and judges what each student decodes. In both, the students are another process of this
//! machine, so that the sender's CPU is its own: [`students()`] is the body of that process.

pub mod codes;
mod cpu;
pub mod crowd;
pub mod emulator;
mod fan_out;
mod student_process;
mod students;
mod video;
mod wire;

use serde_json::Value;

pub use self::students::students;
use crate::cli::Bench;
use crate::exit::Failure;
use crate::process::allow_many_files;
use crate::report::Reporter;

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
