//! The lecture at servers of somebody else, WHIP servers and Janus, as people and scripts hear of it.

use serde::Serialize;

/// The kind of a server that gets the lecture as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// A WHIP server, of `--whip`.
    Whip,
    /// A VideoRoom of a Janus server, of `--janus`.
    Janus,
}

/// The state of a lecture at a server of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum HostState {
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

/// How many servers get the lecture: `{"live":1,"servers":2}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct HostCount {
    /// Those that get it.
    pub live: usize,
    /// All of them.
    pub servers: usize,
}

impl HostState {
    /// The sentence for people. `server` is the name of the server, with its number where there are several.
    pub(super) fn sentence(&self, kind: HostKind, server: &str) -> String {
        let kind = match kind {
            HostKind::Whip => "WHIP",
            HostKind::Janus => "Janus",
        };
        match self {
            Self::Live => format!("{kind}: {server} gets the lecture"),
            Self::Disturbed => format!("{kind}: the connection to {server} is disturbed"),
            Self::Waiting { reason, retry_s } => {
                format!("{kind}: {server} does not get the lecture: {reason}; next try in {retry_s} s")
            }
            Self::Refused { reason } => {
                format!("{kind}: {server} does not get the lecture, and is not asked again: {reason}")
            }
        }
    }
}
