//! Videos without a source.

use serde::{Deserialize, Serialize};

/// The videos whose source delivers no frames any more, such as an unplugged camera. A source may come back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The screen has stopped.
    #[serde(default)]
    pub screen: bool,
    /// The camera has stopped.
    #[serde(default)]
    pub camera: bool,
    /// The stopped videos that have not begun: nobody misses them, and people are not told.
    #[serde(default, skip_serializing_if = "Unsent::is_none")]
    pub unsent: Unsent,
}

/// The videos that the publisher offered and has not begun to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsent {
    /// The screen has not begun.
    #[serde(default)]
    pub screen: bool,
    /// The camera has not begun.
    #[serde(default)]
    pub camera: bool,
}

impl Unsent {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
