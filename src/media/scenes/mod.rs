//! The scenes of a lecture as a source: slides, videos, images, slates and a test picture, one after another.
//!
//! [`open`](open()) looks at all files before the lecture. [`director`] then carries out the changes that the timeline
//! of the lecture orders: it opens the next scene ahead of time ([`source`]), cuts when the first picture is there, and
//! keeps one stream of pictures ([`video`]) and of sound ([`audio`]) for the encoders, whatever the scenes do.

mod audio;
mod director;
mod open;
mod slate;
mod source;
mod video;

pub(super) use self::director::{Director, DirectorConfig};
pub(super) use self::open::{OpenedScene, OpenedScenes, SceneSource, open};

use std::path::Path;

use super::error::MediaError;
use crate::lecture::{Source, SourceFacts};

/// Looks at the sources of scenes: what they contain, or why they can't be shown. `program` opens files, by its hidden
/// verbs. Blocks.
///
/// # Errors
///
/// GStreamer can't start.
pub fn check_scenes(sources: &[Source], program: &Path) -> Result<Vec<Result<SourceFacts, MediaError>>, MediaError> {
    super::init()?;
    let opened = open(sources, program).scenes.into_iter();
    Ok(opened.map(|scene| scene.map(|scene| scene.facts)).collect())
}
