//! How a lecture ends: for its teacher alone, or for the class too. Only a person can tell, so at a terminal Ctrl-C
//! asks.

use std::io::IsTerminal;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::report::Reporter;
use crate::signal::Goodbye;

/// What is asked. The lecture goes on meanwhile.
const QUESTION: &str = "End the class for the students too? [y/N] ";

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Question {
    answer: oneshot::Receiver<bool>,
    signals: [Signal; 3],
}

impl Question {
    /// Asks; nothing where nobody could answer. Nobody else may read stdin from now on.
    pub(super) fn ask(reporter: &Reporter) -> Option<Self> {
        // A second signal before there is an answer means it.
        let again = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        let [Ok(interrupt), Ok(terminate), Ok(hangup)] = again else { return None };
        let (say, answer) = oneshot::channel();
        let read = move || {
            let mut line = String::new();
            // What can't be read is no answer.
            let _ = std::io::stdin().read_line(&mut line);
            let _ = say.send(is_yes(&line));
        };
        reporter.ask(QUESTION);
        // Not a task of the runtime, which would not end before the read does.
        std::thread::Builder::new().name("question".into()).spawn(read).ok()?;
        Some(Self { answer, signals: [interrupt, terminate, hangup] })
    }

    /// Waits for the answer. Ctrl-C once more, or another signal to end, says no.
    pub(super) async fn answered(&mut self) -> Goodbye {
        let [interrupt, terminate, hangup] = &mut self.signals;
        let ends = tokio::select! {
            answer = &mut self.answer => answer.unwrap_or(false),
            _ = interrupt.recv() => false,
            _ = terminate.recv() => false,
            _ = hangup.recv() => false,
        };
        if ends { Goodbye::LectureOver } else { Goodbye::Leave }
    }
}

/// Whether a person sits at this terminal, reads what is asked, and can answer.
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
    fn only_a_yes_is_a_yes() {
        for (line, yes) in [("y\n", true), ("Yes\n", true), (" y \n", true), ("\n", false), ("", false), ("n\n", false)]
        {
            assert_eq!(is_yes(line), yes, "{line:?}");
        }
    }
}
