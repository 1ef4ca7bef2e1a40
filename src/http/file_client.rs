//! A client of [`files`](super::files): the parts of one file of a meeting, each by a request of its own, so that a
//! connection that breaks costs one part.

use std::time::Duration;

use bytes::Bytes;
use hyper::http::request;
use hyper::{Request, StatusCode, header};

use super::client::{Address, ClientError, exchange};
use super::files::UPLOAD_OFFSET;
use crate::id::{RoomId, UserId};
use crate::protocol::{FILE_PART_BYTES, FileId, SessionSecret};

/// How long the exchange of one part may take: a little longer than the server waits for one.
const PART_WITHIN: Duration = Duration::from_secs(30);

/// The member that asks, and its server.
#[derive(Debug, Clone)]
pub struct FileClient {
    /// The server.
    pub address: Address,
    /// The room of the meeting.
    pub room: RoomId,
    /// The member.
    pub user: UserId,
    /// The secret of the member's connection.
    pub session: SessionSecret,
}

/// Why a part did not pass.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The server has no such file for this member any more.
    #[error("the server does not have the file any more")]
    Gone,
    /// The server does not take the part, or does not give it.
    #[error("the server answered {0}")]
    Refused(StatusCode),
    /// There is no answer.
    #[error(transparent)]
    NoAnswer(#[from] ClientError),
}

impl FileClient {
    /// Sends a part: at most [`FILE_PART_BYTES`] from `offset` on. Returns how many bytes the server has then, also
    /// where the answer to an earlier part was lost.
    ///
    /// # Errors
    /// The part did not pass.
    pub async fn append(&self, file: FileId, offset: u64, part: Bytes) -> Result<u64, PartError> {
        let request = Request::patch(self.path(file)).header(UPLOAD_OFFSET, offset);
        let response = exchange(&self.address, self.signed(request), part, (MAX_ANSWER_BYTES, PART_WITHIN)).await?;
        let received = response.headers().get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
        received.ok_or_else(|| PartError::of(response.status()))
    }

    /// Reads the bytes `from..to` of a file, at most [`FILE_PART_BYTES`].
    ///
    /// # Errors
    /// The part did not pass.
    pub async fn read(&self, file: FileId, from: u64, to: u64) -> Result<Bytes, PartError> {
        let last = to.saturating_sub(1);
        let request = Request::get(self.path(file)).header(header::RANGE, format!("bytes={from}-{last}"));
        let most = (FILE_PART_BYTES as usize, PART_WITHIN);
        let response = exchange(&self.address, self.signed(request), Bytes::new(), most).await?;
        match response.status() {
            // The file never becomes longer than it was offered.
            StatusCode::PARTIAL_CONTENT if response.body().len() as u64 == to - from => Ok(response.into_body()),
            status => Err(PartError::of(status)),
        }
    }

    fn path(&self, file: FileId) -> String {
        // Ids need no escapes.
        format!("/api/files/{}/{file}?userId={}", self.room, self.user)
    }

    fn signed(&self, request: request::Builder) -> request::Builder {
        request.header(header::AUTHORIZATION, format!("Bearer {}", self.session.as_str()))
    }
}

/// The longest answer to a part: a sentence.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

impl PartError {
    fn of(status: StatusCode) -> Self {
        if status == StatusCode::NOT_FOUND { Self::Gone } else { Self::Refused(status) }
    }

    /// Whether another attempt is pointless.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Gone | Self::Refused(StatusCode::FORBIDDEN))
    }
}
