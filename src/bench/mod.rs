//! Measures the product. Outside of tests, only `commands/bench.rs` uses this module.
//!
//! [`run`] has three kinds of benches. The fan-out bench feeds an SFU with packets of realistic sizes and measures the
//! cost of a [`crowd`] of students. The video bench encodes a lecture with [`codes`] in its frames, sends it through
//! [`emulator`]s and judges the frames that each student decodes; the lecture may come from an emulated publisher, over
//! a line of its own. In both, the students are another process on this
//! machine, so that the sender's CPU time can be measured separately: [`students()`] is the body of that process. The
//! text bench compares pages of text with what a student sees of them.

pub mod codes;
mod cpu;
pub mod crowd;
pub mod emulator;
mod fan_out;
mod publisher;
mod receive_path;
mod student_process;
mod students;
mod text;
mod video;
mod wire;

use serde_json::Value;

pub use self::students::students;
use crate::cli::Bench;
use crate::exit::Failure;
use crate::process::allow_many_files;
use crate::report::Reporter;

/// The results of a bench.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// For scripts; values that could not be measured are null.
    pub object: Value,
    /// For people, in Markdown.
    pub table: String,
}

/// Runs a bench. The fan-out bench may replace this process by itself in its own network namespace, so nothing may be
/// printed or opened before.
///
/// # Errors
/// If no student could join, a process ended early, or the kernel does not report resource use.
pub async fn run(bench: &Bench, reporter: &Reporter) -> Result<Report, Failure> {
    allow_many_files();
    match bench {
        Bench::FanOut(bench) => Ok(fan_out::run(bench, reporter).await?),
        Bench::Video(bench) => video::run(bench, reporter).await,
        Bench::Text(bench) => text::run(bench, reporter).await,
    }
}
