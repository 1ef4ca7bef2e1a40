//! What the two processes of a bench say to each other: one JSON object a line, over stdin and stdout.

use serde::{Deserialize, Serialize};

use crate::bench::crowd::{Clock, CrowdEvent, Tally};

/// To the students.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum ToStudents {
    /// Join, so many, on so many threads. The first line.
    Join { students: usize, threads: usize, clock: Clock },
    /// The answer to a student's offer.
    Answer { student: usize, sdp: String },
    /// Say what you have seen.
    Tally,
}

/// From the students.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(super) enum FromStudents {
    /// A student's offer.
    Offer { student: usize, sdp: String },
    /// A student's connection stands.
    Connected { student: usize },
    /// A student is gone, or never came.
    Gone { student: usize, why: String },
    /// What all have seen.
    Tally(Tally),
}

impl From<CrowdEvent> for FromStudents {
    fn from(event: CrowdEvent) -> Self {
        match event {
            CrowdEvent::Offer { student, sdp } => FromStudents::Offer { student, sdp },
            CrowdEvent::Connected { student } => FromStudents::Connected { student },
            CrowdEvent::Gone { student, why } => FromStudents::Gone { student, why },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn each_message_is_a_line_that_comes_back_as_it_was() {
        let join = ToStudents::Join { students: 3, threads: 1, clock: Clock { epoch: SystemTime::now() } };
        for message in [join, ToStudents::Answer { student: 1, sdp: "v=0\r\n".to_owned() }, ToStudents::Tally] {
            let line = serde_json::to_string(&message).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<ToStudents>(&line).unwrap(), message);
        }
        let tally = FromStudents::Tally(Tally { received: 7, first_pictures_ms: vec![1], ..Tally::default() });
        let line = serde_json::to_string(&tally).unwrap();
        assert_eq!(serde_json::from_str::<FromStudents>(&line).unwrap(), tally);
    }
}
