//! `classroom doctor`: checks what a lecture needs, and says what to do about each problem.

mod computer;
mod server;

use serde_json::json;

use crate::cli::Doctor;
use crate::doctor::{Section, problems, text};
use crate::exit::{Exit, Failure};
use crate::media::MediaError;
use crate::report::Reporter;

/// Makes all checks and prints them. Fails with the exit code of the first problem.
pub(super) async fn run(doctor: Doctor, reporter: &Reporter) -> Result<(), Failure> {
    reporter.status("checking, which takes some seconds");
    let sections = match doctor {
        Doctor::Teacher { listen, fixes } => computer::teacher(listen, fixes).await?,
        Doctor::Student { server, trust, member } => server::student(server, &trust, member.map(|m| *m)).await?,
    };
    reporter.finish();
    let found = problems(&sections);
    if reporter.is_json() {
        let exit = found.map_or(Exit::Ended, |(exit, _)| exit);
        reporter.result_object(&json!({ "sections": sections, "exit": exit.code() }));
    } else {
        reporter.result(&text(&sections));
    }
    match found {
        None => Ok(()),
        Some((exit, 1)) => Err(Failure::new(exit, anyhow::anyhow!("there is a problem"))),
        Some((exit, count)) => Err(Failure::new(exit, anyhow::anyhow!("there are {count} problems"))),
    }
}

/// The sections without those that are empty.
fn filled(sections: impl IntoIterator<Item = Section>) -> Vec<Section> {
    sections.into_iter().filter(|section| !section.checks.is_empty()).collect()
}

/// The cause alone, as the check names the device.
fn cause(error: MediaError) -> String {
    match error {
        MediaError::Device { cause, .. } | MediaError::Pipeline { cause, .. } => cause,
        other => other.to_string(),
    }
}
