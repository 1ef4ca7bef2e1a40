//! The flags of `teach` about a lecture as a file.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::conflict::Conflict;
use super::values;

#[derive(Debug, Args)]
#[command(next_help_heading = "Lecture")]
pub(super) struct TypedLecture {
    /// Teach a lecture from a file: scenes of slides, videos, pictures and text, each with its time
    #[arg(long, value_name = "FILE.toml", hide_short_help = true)]
    pub(super) lecture: Option<PathBuf>,

    /// Begin with this scene, by its name or number
    #[arg(long, value_name = "SCENE", hide_short_help = true)]
    from: Option<String>,

    /// Go on where this lecture was left today, to the second; otherwise begin as usual
    #[arg(long, hide_short_help = true)]
    resume: bool,

    /// Only print when each scene of the lecture begins, and what would fail
    #[arg(long, hide_short_help = true)]
    dry_run: bool,

    /// End when no student has been there for this long
    #[arg(long, value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    pub(super) exit_when_empty: Option<Duration>,
}

/// A lecture from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LectureFile {
    /// The path as it was typed.
    pub path: PathBuf,
    /// Where the lecture begins.
    pub start: LectureStart,
    /// Whether only to print the timeline.
    pub dry_run: bool,
}

/// Where a lecture from a file begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LectureStart {
    /// At the first scene, or at the last one whose time of day has passed.
    ByClock,
    /// At the scene of this name or number.
    From(String),
    /// Where the lecture was left today, else by the clock.
    Resume,
}

impl TypedLecture {
    pub(super) fn convert(self) -> Result<Option<LectureFile>, Conflict> {
        let Self { lecture, from, resume, dry_run, .. } = self;
        let flags = [("--from", from.is_some()), ("--resume", resume), ("--dry-run", dry_run)];
        let typed = flags.into_iter().find(|(_, is_typed)| *is_typed);
        let Some(path) = lecture else {
            return typed.map_or(Ok(None), |(flag, _)| Err(Conflict::WithoutLecture(flag)));
        };
        let start = match from {
            Some(_) if resume => return Err(Conflict::TwoSources("--from", "--resume")),
            Some(scene) => LectureStart::From(scene),
            None if resume => LectureStart::Resume,
            None => LectureStart::ByClock,
        };
        Ok(Some(LectureFile { path, start, dry_run }))
    }
}
