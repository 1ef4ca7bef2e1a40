//! What ends a command from outside: signals, the time of `--for`, and a fatal assertion of GStreamer.

use std::io::Write;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::exit::{Exit, Failure};
use crate::media::on_fatal;
use crate::report::EndReason;

/// How long the process may take to end in good order after a fatal assertion: longer than the runtime's grace period.
/// Then it exits in any case, because stopping a pipeline may wait for the very thread that failed.
const ORDERLY: Duration = Duration::from_secs(2);

/// Why a command was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// SIGINT, for example by Ctrl-C.
    Interrupt,
    /// SIGTERM or SIGHUP.
    Signal,
    /// The time of `--for` is over.
    Duration,
}

impl Stop {
    pub(super) fn reason(self) -> EndReason {
        match self {
            Stop::Interrupt | Stop::Signal => EndReason::Interrupted,
            Stop::Duration => EndReason::Duration,
        }
    }
}

/// Completes on a signal.
pub(super) async fn stop_cause() -> Stop {
    let kinds = (SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup());
    match (signal(kinds.0), signal(kinds.1), signal(kinds.2)) {
        (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) => {
            tokio::select! {
                _ = interrupt.recv() => Stop::Interrupt,
                _ = terminate.recv() => Stop::Signal,
                // The terminal was closed.
                _ = hangup.recv() => Stop::Signal,
            }
        }
        // Without handlers the signals end the process by themselves.
        _ => std::future::pending().await,
    }
}

/// Completes on a signal, or after `length`, for commands that treat all signals alike.
pub(super) async fn stop(length: Option<Duration>) -> EndReason {
    let stop = tokio::select! {
        stop = stop_cause() => stop,
        () = super::or_never(length.map(tokio::time::sleep)) => Stop::Duration,
    };
    stop.reason()
}

/// Reports fatal assertions of GStreamer as failures, so that the process ends with an exit code of its own and an
/// error instead of SIGABRT. Call it once.
pub(super) fn fatal_assertions() -> mpsc::UnboundedReceiver<Failure> {
    let (sender, failures) = mpsc::unbounded_channel();
    on_fatal(move |cause| {
        let failure = fatal(cause);
        let line = format!("error: {failure}");
        if sender.send(failure).is_ok() {
            std::thread::sleep(ORDERLY);
        }
        let _ = writeln!(std::io::stderr(), "{line}");
        std::process::exit(Exit::Internal.code().into());
    });
    failures
}

fn fatal(cause: &str) -> Failure {
    Failure::internal(anyhow::anyhow!(
        "GStreamer crashed: {}; this is a bug in GStreamer or in one of its plug-ins: try again without the source or \
         the sink that was in use",
        cause.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_fatal_assertion_has_the_cause_on_one_line() {
        let text = fatal("ERROR:a.c:1:f: assertion failed: (x)\n").to_string();
        assert!(text.starts_with("GStreamer crashed: ERROR:a.c:1:f: assertion failed: (x); "), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
