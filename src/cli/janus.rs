//! A VideoRoom of a Janus server, as `watch` and `teach` mean it.

use std::path::PathBuf;

use super::secrets::Secret;
use crate::janus::{JanusId, JanusUrl};

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In an argument or in the environment.
    Given(Secret),
    /// In the first line of a file.
    File(PathBuf),
}

/// The access to a Janus server and its rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JanusAccess {
    /// The server.
    pub url: JanusUrl,
    /// The pin of the room.
    pub pin: Option<SecretSource>,
    /// The token of the server and of the room.
    pub token: Option<SecretSource>,
}

/// A VideoRoom that `watch` watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedJanus {
    /// The access.
    pub access: JanusAccess,
    /// The only publisher to watch; `None` for the newest one.
    pub feed: Option<JanusId>,
}

/// A VideoRoom in which `teach` publishes the lecture as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaughtJanus {
    /// The access.
    pub access: JanusAccess,
    /// Whether to create the room if it does not exist.
    pub creates: bool,
}
