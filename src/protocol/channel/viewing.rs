//! How much of the lecture a student has seen.

use serde::{Deserialize, Serialize};

/// Totals of a student since its page or program began to count, across connections. The receiver takes the differences
/// of two reports, and believes no more time than has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Viewing {
    /// The time in which pictures were decoded, in milliseconds.
    pub seen_ms: u64,
    /// The time in which the tab with the page was hidden, in milliseconds.
    pub away_ms: u64,
    /// How often the picture stood still (`freezeCount` of W3C webrtc-stats).
    pub freezes: u32,
}
