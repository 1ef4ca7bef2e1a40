//! The state of a video source.

use serde::Serialize;

/// The state of a video source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// The source has delivered no picture for some seconds.
    Stopped,
    /// The source delivers pictures again.
    Live,
}

impl From<bool> for SourceState {
    /// `true` means stopped.
    fn from(stopped: bool) -> Self {
        if stopped { Self::Stopped } else { Self::Live }
    }
}
