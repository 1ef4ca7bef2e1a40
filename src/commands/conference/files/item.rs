//! One file on its way, from or to one other participant, or all of them.

use std::fs::File;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::inbox::Incoming;
use super::transfer::{Broken, Whole};
use crate::id::UserId;
use crate::pair::FileChannel;
use crate::protocol::{FileId, FileName, PairFileId};
use crate::report::{Event, FileDirection, FileReport, FileState};

/// A file of one other participant, or of all over the server.
pub(super) struct Item {
    pub(super) number: u64,
    pub(super) direction: FileDirection,
    /// None: all.
    pub(super) user: Option<UserId>,
    pub(super) nickname: String,
    pub(super) name: FileName,
    pub(super) size: u64,
    pub(super) way: Way,
    pub(super) state: State,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    Pair(PairFileId),
    /// The number comes with the place.
    Server(Option<FileId>),
}

pub(super) enum State {
    /// The own file waits for an answer, or for a place at the server.
    Waiting {
        file: Arc<File>,
        asked: Option<Instant>,
    },
    /// The file of another one is accepted, and its channel is to come.
    Accepted {
        file: Incoming,
        since: Instant,
    },
    Running(Task),
    Over(Instant),
}

/// The work of a file on its way, which ends when this is dropped.
pub(super) struct Task {
    pub(super) work: JoinHandle<()>,
    /// The channel of a file between participants.
    pub(super) channel: Option<FileChannel>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Item {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    pub(super) fn is_of(&self, other: &UserId) -> bool {
        matches!(self.way, Way::Pair(_)) && self.user.as_ref() == Some(other)
    }

    pub(super) fn report(&self, state: FileState) -> Event {
        Event::File(FileReport {
            direction: self.direction,
            user: self.user.clone(),
            nickname: self.nickname.clone(),
            name: self.name.as_str().to_owned(),
            size: self.size,
            state,
        })
    }
}

/// The end of a task, for people.
pub(super) fn state_of(ended: Result<Whole, Broken>) -> FileState {
    match ended {
        Ok(Whole::Here(path)) => FileState::Done { path: Some(path.display().to_string()) },
        Ok(Whole::There) => FileState::Done { path: None },
        Ok(Whole::AtServer) => FileState::Shared,
        Err(Broken::Lost) => FileState::Lost,
        Err(Broken::Failed(cause)) => FileState::Failed { cause },
    }
}
