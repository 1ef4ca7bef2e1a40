//! The position in a lecture that survives a crash, as JSON.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Lecture, Start};

/// Where a lecture was a second ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Saved {
    /// The absolute path of the lecture.
    pub(crate) file: PathBuf,
    /// The day, `2026-11-30`.
    pub(crate) day: String,
    /// Milliseconds since midnight.
    pub(crate) left_ms: u64,
    /// The name of the scene.
    pub(crate) scene: String,
    /// Milliseconds since the beginning of the scene.
    pub(crate) elapsed_ms: u64,
    /// The page of slides, from 1.
    pub(crate) page: usize,
}

/// Why a lecture begins as usual although it was left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SavedError {
    #[error("the saved position is not readable ({0})")]
    Unreadable(String),
    #[error("the saved position is of another lecture, {0}")]
    OtherLecture(String),
    #[error("the saved position is of {0}")]
    OtherDay(String),
    #[error("the lecture has no scene {0:?} any more")]
    NoScene(String),
}

impl Saved {
    /// One line of JSON.
    pub(crate) fn to_json(&self) -> String {
        // A struct of strings and numbers always becomes JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Where to start this lecture, if the saved position is of the same file and of this day.
    ///
    /// # Errors
    /// Why the lecture begins as usual.
    pub(crate) fn start(text: &str, file: &std::path::Path, day: &str, lecture: &Lecture) -> Result<Start, SavedError> {
        let saved: Self = serde_json::from_str(text).map_err(|error| SavedError::Unreadable(error.to_string()))?;
        if saved.file != file {
            return Err(SavedError::OtherLecture(saved.file.display().to_string()));
        }
        if saved.day != day {
            return Err(SavedError::OtherDay(saved.day));
        }
        let scene = lecture.scenes.iter().position(|scene| scene.name == saved.scene);
        Ok(Start::Resume {
            scene: scene.ok_or(SavedError::NoScene(saved.scene))?,
            elapsed: Duration::from_millis(saved.elapsed_ms),
            page: saved.page,
            left: Duration::from_millis(saved.left_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lecture::parse;

    #[test]
    fn a_position_is_of_one_lecture_on_one_day() {
        let lecture = parse("[[scene]]\nname = \"b\"\nvideo = \"b.mp4\"\n").unwrap();
        let saved = Saved {
            file: "/a.toml".into(),
            day: "2026-11-30".into(),
            left_ms: 32_400_500,
            scene: "b".into(),
            elapsed_ms: 1_500,
            page: 2,
        };
        let start = |saved: &Saved| Saved::start(&saved.to_json(), Path::new("/a.toml"), "2026-11-30", &lecture);
        let (elapsed, left) = (Duration::from_millis(1_500), Duration::from_millis(32_400_500));
        assert_eq!(start(&saved), Ok(Start::Resume { scene: 0, elapsed, page: 2, left }));
        let other = Saved { file: "/b.toml".into(), ..saved.clone() };
        assert_eq!(start(&other), Err(SavedError::OtherLecture("/b.toml".into())));
        let old = Saved { day: "2026-11-29".into(), ..saved.clone() };
        assert_eq!(start(&old), Err(SavedError::OtherDay("2026-11-29".into())));
        let gone = Saved { scene: "c".into(), ..saved };
        assert_eq!(start(&gone), Err(SavedError::NoScene("c".into())));
        let broken = Saved::start("{", Path::new("/a.toml"), "", &lecture);
        assert!(matches!(broken, Err(SavedError::Unreadable(_))));
    }
}
