//! The files of meetings, which HTTP carries and the rooms keep.

use bytes::Bytes;

use crate::http::Files;
use crate::room::{FileClaim, FileDenied, FileState};
use crate::signal::Server;

/// The files of the meetings of a server.
#[derive(Clone)]
pub(super) struct MeetingFiles(pub(super) Server);

impl Files for MeetingFiles {
    fn state(&self, claim: &FileClaim) -> Result<FileState, FileDenied> {
        self.0.file(claim)
    }

    fn read(&self, claim: &FileClaim, from: u64, to: u64) -> Result<Vec<Bytes>, FileDenied> {
        self.0.read_file(claim, from, to)
    }

    fn append(&self, claim: &FileClaim, offset: u64, part: Bytes) -> Result<u64, FileDenied> {
        self.0.append_file(claim, offset, part)
    }
}
