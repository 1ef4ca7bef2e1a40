//! For [`crate::fuzz`]: reads a message of LiveKit without a socket.

use super::server::PUBLISHER;
use super::wire::Response;
use super::{joined, wire};

/// What a message leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The texts that people may see.
    pub(crate) texts: Vec<String>,
    /// The ids that are remembered.
    pub(crate) ids: Vec<String>,
}

/// Reads a message in both forms. None if it is a message in neither.
pub(crate) fn read(bytes: &[u8]) -> Option<Read> {
    if let Some(joined) = joined::read(bytes, PUBLISHER) {
        let ids = joined.tracks.into_iter().map(|track| track.sid).collect();
        return Some(Read { ids, ..Read::default() });
    }
    Some(match wire::parse(&String::from_utf8_lossy(bytes)).ok()? {
        Response::Leave(reason) => Read { texts: vec![reason], ..Read::default() },
        _ => Read::default(),
    })
}
