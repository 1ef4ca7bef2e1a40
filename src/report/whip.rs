//! The lecture at WHIP servers, as people and scripts hear of it.

use serde::Serialize;

/// The state of a lecture at a WHIP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum WhipState {
    /// The server gets the lecture.
    Live,
    /// The connection is disturbed, and ICE restarts.
    Disturbed,
    /// The server does not get the lecture. Reported again when the reason changes.
    Waiting {
        /// Why, in words of this program and of the server.
        reason: String,
        /// Seconds until the next try.
        retry_s: u64,
    },
    /// The server does not get the lecture, and is not asked again.
    Refused {
        /// Why, in words of this program and of the server.
        reason: String,
    },
}

/// How many WHIP servers get the lecture: `{"live":1,"servers":2}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WhipCount {
    /// Those that get it.
    pub live: usize,
    /// All of `--whip`.
    pub servers: usize,
}

impl WhipState {
    /// The sentence for people. `server` is the origin of the server, with its number where there are several.
    pub(super) fn sentence(&self, server: &str) -> String {
        match self {
            Self::Live => format!("WHIP: {server} gets the lecture"),
            Self::Disturbed => format!("WHIP: the connection to {server} is disturbed"),
            Self::Waiting { reason, retry_s } => {
                format!("WHIP: {server} does not get the lecture: {reason}; next try in {retry_s} s")
            }
            Self::Refused { reason } => {
                format!("WHIP: {server} does not get the lecture, and is not asked again: {reason}")
            }
        }
    }
}
