//! Files of calls and meetings in events.

use serde::{Serialize, Serializer};

use super::format;
use crate::id::{UserId, named};
use crate::protocol::FileDecline;

/// A file on its way from or to another participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Whether this member sends or receives it.
    pub direction: FileDirection,
    /// The other one; `None` for a file that goes to all over the server.
    pub user: Option<UserId>,
    /// The user's nickname; may be empty.
    pub nickname: String,
    /// The name of the file.
    pub name: String,
    /// The length in bytes.
    pub size: u64,
    /// The new state, with its data.
    #[serde(flatten)]
    pub state: FileState,
}

/// The direction of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileDirection {
    /// This member sends the file.
    Out,
    /// This member receives the file.
    In,
}

/// The state of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum FileState {
    /// The file is offered, and not accepted yet.
    Offered,
    /// The file is on its way. Told every two seconds.
    Running {
        /// The bytes that have passed.
        bytes: u64,
    },
    /// The file is whole at its receiver.
    Done {
        /// Where this member has it; `None` at the sender.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// The file is whole at the server, for ten minutes.
    Shared,
    /// The receiver does not take the file.
    Declined {
        /// `declined`, `no-files`, `busy` or `too-large`.
        #[serde(serialize_with = "word")]
        reason: FileDecline,
    },
    /// The other side does not go on.
    Cancelled,
    /// The connection broke.
    Lost,
    /// The file can't be read, written or sent.
    Failed {
        /// The cause.
        cause: String,
    },
}

impl FileReport {
    /// The sentence for people.
    pub(super) fn sentence(&self) -> String {
        let Self { direction, user, nickname, name, size, state } = self;
        let who = user.as_ref().map_or("everybody".to_owned(), |user| named(user, nickname).to_string());
        let size = length(*size);
        let is_out = *direction == FileDirection::Out;
        match state {
            FileState::Offered if is_out => format!("{name} ({size}) is offered to {who}"),
            FileState::Offered => format!("{who} sends {name} ({size})"),
            FileState::Running { bytes } => {
                let word = if is_out { "to" } else { "from" };
                format!("{name} {word} {who}: {} of {size}", length(*bytes))
            }
            FileState::Done { path: Some(path) } => format!("received {name} ({size}) from {who}: {path}"),
            FileState::Done { path: None } => format!("{who} has received {name} ({size})"),
            FileState::Shared => format!("{name} ({size}) is at the server for ten minutes, for {who}"),
            FileState::Declined { reason } if is_out => format!("{who} declines {name}: {}", cause(*reason)),
            FileState::Declined { reason: FileDecline::NoFiles } => {
                format!("{name} ({size}) of {who} is declined: --files DIRECTORY takes files")
            }
            FileState::Declined { reason } => format!("{name} ({size}) of {who} is declined: {}", cause(*reason)),
            FileState::Cancelled => format!("{who} has cancelled {name}"),
            FileState::Lost if is_out => format!("the connection broke, send {name} again"),
            FileState::Lost => format!("the connection broke, ask {who} to send {name} again"),
            FileState::Failed { cause } => format!("{name} does not pass: {cause}"),
        }
    }
}

fn length(bytes: u64) -> String {
    if bytes < 1_000 { format!("{bytes} B") } else { format::bytes(bytes) }
}

fn word<S: Serializer>(reason: &FileDecline, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match reason {
        FileDecline::Declined | FileDecline::Unknown => "declined",
        FileDecline::NoFiles => "no-files",
        FileDecline::Busy => "busy",
        FileDecline::TooLarge => "too-large",
    })
}

fn cause(reason: FileDecline) -> &'static str {
    match reason {
        FileDecline::Declined | FileDecline::Unknown => "not wanted",
        FileDecline::NoFiles => "the program there takes no files",
        FileDecline::Busy => "too many files",
        FileDecline::TooLarge => "too large",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::Event;

    #[test]
    fn a_file_is_an_event_with_a_state_and_a_sentence() {
        let report = |direction, user: Option<&str>, state| FileReport {
            direction,
            user: user.map(|user| user.parse().unwrap()),
            nickname: "Ben".into(),
            name: "notes.pdf".into(),
            size: 48_213,
            state,
        };
        let running = Event::File(report(FileDirection::In, Some("1002"), FileState::Running { bytes: 16_384 }));
        let expected = json!({"event": "file", "direction": "in", "user": "1002", "nickname": "Ben",
            "name": "notes.pdf", "size": 48_213, "state": "running", "bytes": 16_384});
        assert_eq!(serde_json::to_value(&running).unwrap(), expected);
        let sentence = |direction, user, state| report(direction, user, state).sentence();
        let declined = FileState::Declined { reason: FileDecline::NoFiles };
        let of_ben = sentence(FileDirection::Out, Some("1002"), declined.clone());
        assert_eq!(of_ben, "Ben (1002) declines notes.pdf: the program there takes no files");
        assert!(sentence(FileDirection::In, Some("1002"), declined).ends_with("--files DIRECTORY takes files"));
        let shared = sentence(FileDirection::Out, None, FileState::Shared);
        assert!(shared.starts_with("notes.pdf (") && shared.ends_with("for everybody"), "{shared}");
    }
}
