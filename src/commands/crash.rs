//! A fatal assertion of GStreamer ends the process with an exit code of this program and a sentence, instead of 134.

use std::io::Write;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::exit::{Exit, Failure};
use crate::media::on_fatal;

/// How long the process has to end in good order: longer than the runtime is waited for. Then it ends anyway, for what
/// stops a graph may wait for the thread that failed.
const ORDERLY: Duration = Duration::from_secs(2);

/// Fatal assertions, as failures. To be called once.
pub(super) fn listen() -> mpsc::UnboundedReceiver<Failure> {
    let (sender, failures) = mpsc::unbounded_channel();
    on_fatal(move |cause| {
        let failure = failure(cause);
        let line = format!("error: {failure}");
        if sender.send(failure).is_ok() {
            std::thread::sleep(ORDERLY);
        }
        let _ = writeln!(std::io::stderr(), "{line}");
        std::process::exit(Exit::Internal.code().into());
    });
    failures
}

fn failure(cause: &str) -> Failure {
    Failure::internal(anyhow::anyhow!(
        "GStreamer broke down: {}; this is a bug in GStreamer or in one of its plug-ins: leave out what was being taught or \
         watched when it happened",
        cause.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_has_the_cause_on_one_line() {
        let text = failure("ERROR:a.c:1:f: assertion failed: (x)\n").to_string();
        assert!(text.starts_with("GStreamer broke down: ERROR:a.c:1:f: assertion failed: (x); "), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
