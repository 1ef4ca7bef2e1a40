//! The WHIP servers that get a lecture as well.

use std::path::PathBuf;

use crate::http::whip_client::{Bearer, WhipUrl};

/// The WHIP servers that get a lecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhipOut {
    /// The servers.
    pub targets: Vec<WhipTarget>,
    /// The video that they get.
    pub video: WhipVideo,
    /// Whether all tiers are sent at the same time.
    pub simulcast: bool,
}

/// A WHIP server that gets a lecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhipTarget {
    /// The endpoint.
    pub url: WhipUrl,
    /// Its token.
    pub token: Option<WhipToken>,
}

/// Where the token of a WHIP server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhipToken {
    /// In an argument or in the environment.
    Given(Bearer),
    /// In the first line of a file.
    File(PathBuf),
}

/// The video that WHIP servers get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhipVideo {
    /// The screen, or else the camera.
    #[default]
    First,
    /// The screen.
    Screen,
    /// The camera.
    Camera,
    /// Both, each in a section of its own, which RFC 9725 does not allow.
    Both,
}
