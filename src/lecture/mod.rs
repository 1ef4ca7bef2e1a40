//! A lecture as a file: scenes one after another, each with a source, a start and an end.
//!
//! [`file`] reads the file and says where a mistake stands in it. [`timeline`] decides which scene is on at which time,
//! and what an order of the teacher changes. [`outline`] tells the same before the lecture. [`saved`] is the position
//! that survives a crash. All of it is pure: files of the scenes are opened by `media`, clocks are read by `commands`.

mod file;
mod outline;
mod saved;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::file::{MAX_FILE_BYTES, parse};
pub(crate) use self::outline::{Row, outline};
pub(crate) use self::saved::Saved;
pub(crate) use self::timeline::{Change, Order, Shown, Start, Timeline};

/// A lecture, with at least one scene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lecture {
    /// The scenes, in order.
    pub(crate) scenes: Vec<Scene>,
}

/// A part of a lecture with one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scene {
    /// The name, unique in the lecture; by default the number of the scene, from 1.
    pub(crate) name: String,
    /// Where the source stands in the file.
    pub(crate) place: Place,
    /// The source of picture and sound.
    pub(crate) source: Source,
    /// The time of day at which the scene begins, since midnight. `None`: when the scene before has ended.
    pub(crate) at: Option<Duration>,
    /// When the scene ends.
    pub(crate) end: End,
    /// The chapter that begins here.
    pub(crate) chapter: Option<String>,
    /// A chat message of the teacher at the start.
    pub(crate) chat: Option<String>,
}

/// A place in the file; both numbers from 1. Columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The line.
    pub(crate) line: usize,
    /// The column.
    pub(crate) column: usize,
}

/// The source of a scene. Paths are as in the file, so relative ones start at its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Pages of a PDF document, or of a presentation that LibreOffice opens.
    Slides {
        /// The document.
        path: PathBuf,
        /// The first and the last page, from 1; `None`: all.
        pages: Option<(usize, usize)>,
        /// How long each page stays; `None`: until the teacher turns it.
        every: Option<Duration>,
    },
    /// A video, with its sound.
    Video(PathBuf),
    /// A picture.
    Image(PathBuf),
    /// Lines of text.
    Slate {
        /// The text, with line breaks.
        text: String,
        /// Whether the time until the end of the scene stands below the text.
        countdown: bool,
    },
    /// A test picture and a tone.
    Test,
}

/// When a scene ends. A scene with `at` also ends the scene before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// When the teacher orders the next scene.
    Key,
    /// After this time.
    After(Duration),
    /// At the end of the video, or after the last page.
    Source,
    /// At the start of the next scene, which has `at`.
    NextStart,
}

/// The facts about the file of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceFacts {
    /// The length of a video; `None` if it is not known.
    pub length: Option<Duration>,
    /// The number of pages of slides.
    pub pages: Option<usize>,
}

/// An order to show another page of slides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The following page.
    Next,
    /// The page before.
    Previous,
    /// The first page.
    First,
    /// The last page.
    Last,
    /// The page of this number, from 1.
    Page(usize),
    /// A black picture, or the page again.
    Black,
}

impl Source {
    /// The file of the source.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Slides { path, .. } | Self::Video(path) | Self::Image(path) => Some(path),
            Self::Slate { .. } | Self::Test => None,
        }
    }

    /// The same source with a relative path below `folder`.
    #[must_use]
    pub(crate) fn below(mut self, folder: &std::path::Path) -> Self {
        if let Self::Slides { path, .. } | Self::Video(path) | Self::Image(path) = &mut self {
            *path = folder.join(&path);
        }
        self
    }

    /// The first and the last page that a scene with slides shows, from 1; `None` for other scenes.
    ///
    /// # Errors
    /// A sentence: the document has fewer pages.
    pub(crate) fn page_range(&self, facts: SourceFacts) -> Result<Option<(usize, usize)>, String> {
        let Self::Slides { path, pages, .. } = self else { return Ok(None) };
        let count = facts.pages.unwrap_or(1);
        let (first, last) = pages.unwrap_or((1, count));
        if last > count {
            return Err(format!("{} has no page {last}: it has pages 1 to {count}", path.display()));
        }
        Ok(Some((first, last)))
    }

    /// A few words for the teacher.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Slides { path, pages, every } => {
                let pages = pages.map(|(first, last)| match first == last {
                    true => format!(", page {first}"),
                    false => format!(", pages {first} to {last}"),
                });
                let every = every.map(|every| format!(", a page every {every:?}")).unwrap_or_default();
                format!("slides {}{}{every}", path.display(), pages.unwrap_or_default())
            }
            Self::Video(path) => format!("video {}", path.display()),
            Self::Image(path) => format!("image {}", path.display()),
            Self::Slate { text, countdown } => {
                let countdown = if *countdown { " with a countdown" } else { "" };
                format!("slate \"{}\"{countdown}", text.replace('\n', " / "))
            }
            Self::Test => "test picture".to_owned(),
        }
    }
}

impl Lecture {
    /// The index of a scene by its name or its number, from 1.
    ///
    /// # Errors
    /// A sentence that names the scenes.
    pub(crate) fn find(&self, text: &str) -> Result<usize, String> {
        let by_name = self.scenes.iter().position(|scene| scene.name == text);
        let by_number = || text.parse::<usize>().ok()?.checked_sub(1).filter(|index| *index < self.scenes.len());
        by_name.or_else(by_number).ok_or_else(|| {
            let names: Vec<&str> = self.scenes.iter().map(|scene| scene.name.as_str()).collect();
            format!("there is no scene {text:?}; the scenes are {}", names.join(", "))
        })
    }
}

/// `9:05:00` since midnight as `09:05:00`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
