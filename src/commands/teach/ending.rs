//! The question at Ctrl-C: does the lecture end for the teacher alone, or for the class too?

use std::io::IsTerminal;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::report::Reporter;
use crate::signal::Goodbye;

const QUESTION: &str = "End the class for the students too? [y/N] ";

/// A question that waits for its answer. The lecture goes on meanwhile.
pub(super) struct EndQuestion {
    reporter: Reporter,
    answer: oneshot::Receiver<bool>,
    signals: [Signal; 3],
}

impl EndQuestion {
    /// Asks the question; `None` if the system gives no thread or no signal handler. Nobody else may read stdin from
    /// now on.
    pub(super) fn ask(reporter: &Reporter) -> Option<Self> {
        // Another signal before the answer ends the lecture.
        let again = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        let [Ok(interrupt), Ok(terminate), Ok(hangup)] = again else { return None };
        let (sender, answer) = oneshot::channel();
        let read = move || {
            let mut line = String::new();
            // A read error counts as an empty line.
            let _ = std::io::stdin().read_line(&mut line);
            let _ = sender.send(is_yes(&line));
        };
        reporter.ask(QUESTION);
        // A task of the runtime would keep the process alive until the read returns.
        std::thread::Builder::new().name("question".into()).spawn(read).ok()?;
        Some(Self { reporter: reporter.clone(), answer, signals: [interrupt, terminate, hangup] })
    }

    /// Waits for the answer. A second Ctrl-C, or another signal to end, means no.
    pub(super) async fn answered(&mut self) -> Goodbye {
        let [interrupt, terminate, hangup] = &mut self.signals;
        let answer = tokio::select! {
            answer = &mut self.answer => answer.ok(),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            _ = hangup.recv() => None,
        };
        self.reporter.answered(answer.is_some());
        if answer.unwrap_or(false) { Goodbye::LectureOver } else { Goodbye::Leave }
    }
}

/// Whether a person at the terminal can read a question and answer it.
pub(super) fn can_ask(reporter: &Reporter) -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !reporter.is_json()
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "y" | "yes" | "是")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_explicit_yes_ends_the_class() {
        for (line, yes) in [("y\n", true), ("Yes\n", true), (" y \n", true), ("\n", false), ("", false), ("n\n", false)]
        {
            assert_eq!(is_yes(line), yes, "{line:?}");
        }
    }
}
