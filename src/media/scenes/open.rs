//! Looks at the files of all scenes before a lecture.

use std::path::{Path, PathBuf};

use crate::lecture::{Source, SourceFacts};
use crate::media::error::MediaError;
use crate::media::file::{self, Contents, Unusable};
use crate::media::options::Size;
use crate::media::slides::Deck;

/// The scenes of a lecture, or why they can't be shown, and the documents that they share.
#[derive(Debug)]
pub(in crate::media) struct OpenedScenes {
    pub scenes: Vec<Result<OpenedScene, MediaError>>,
    /// Each document once, however many scenes show pages of it.
    pub decks: Vec<Deck>,
}

/// A scene that can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::media) struct OpenedScene {
    pub source: SceneSource,
    pub facts: SourceFacts,
    /// The size of the video or the picture in square pixels.
    pub size: Option<Size>,
    pub has_audio: bool,
}

/// The source of an opened scene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::media) enum SceneSource {
    /// Pages of the deck with this index.
    Slides(usize),
    /// A video file.
    Video(PathBuf),
    /// A picture file.
    Image(PathBuf),
    /// Lines of text, perhaps with a countdown.
    Slate { text: String, countdown: bool },
    /// A test picture and a tone.
    Test,
}

/// Opens the sources. `program` opens files, by its hidden verbs. Blocks.
pub(in crate::media) fn open(sources: &[Source], program: &Path) -> OpenedScenes {
    let media = Media::inspect(sources, program);
    let mut decks = Decks::default();
    let scenes = sources.iter().map(|source| {
        let (source, facts, contents) = match source {
            Source::Slides { path, .. } => {
                let (index, pages) = decks.open(path, program)?;
                let facts = SourceFacts { length: None, pages: Some(pages) };
                (SceneSource::Slides(index), facts, None)
            }
            Source::Video(path) => {
                let contents = media.contents(path)?;
                if contents.video.is_none_or(|video| video.is_still) {
                    let cause = match contents.video {
                        Some(_) => "it is a picture: write image instead of video",
                        None => "it has no picture: a scene needs one",
                    };
                    return Err(MediaError::File { path: path.clone(), cause: cause.into() });
                }
                let length = contents.length_ms.map(std::time::Duration::from_millis);
                (SceneSource::Video(path.clone()), SourceFacts { length, pages: None }, Some(contents))
            }
            Source::Image(path) => {
                let contents = media.contents(path)?;
                if contents.video.is_none() {
                    let cause = "it is no picture: write video for a film".into();
                    return Err(MediaError::File { path: path.clone(), cause });
                }
                let contents = Contents { audio: false, ..contents };
                (SceneSource::Image(path.clone()), SourceFacts::default(), Some(contents))
            }
            Source::Slate { text, countdown } => {
                let source = SceneSource::Slate { text: text.clone(), countdown: *countdown };
                (source, SourceFacts::default(), None)
            }
            Source::Test => (SceneSource::Test, SourceFacts::default(), None),
        };
        let size = contents.and_then(|contents| contents.video);
        let size = size.map(|video| Size { width: video.width, height: video.height });
        let has_audio = source == SceneSource::Test || contents.is_some_and(|contents| contents.audio);
        Ok(OpenedScene { source, facts, size, has_audio })
    });
    let scenes = scenes.collect();
    OpenedScenes { scenes, decks: decks.opened }
}

/// The contents of videos and pictures.
struct Media(Vec<(PathBuf, Result<Contents, MediaError>)>);

impl Media {
    /// Inspects each file once, all in one process.
    fn inspect(sources: &[Source], program: &Path) -> Self {
        let mut all: Vec<(PathBuf, Result<Contents, MediaError>)> = Vec::new();
        let mut paths: Vec<PathBuf> = Vec::new();
        for source in sources {
            let (Source::Video(path) | Source::Image(path)) = source else { continue };
            if paths.contains(path) || all.iter().any(|(known, _)| known == path) {
                continue;
            }
            match file::check(path) {
                Ok(()) => paths.push(path.clone()),
                Err(cause) => all.push((path.clone(), Err(MediaError::File { path: path.clone(), cause }))),
            }
        }
        if paths.is_empty() {
            return Self(all);
        }
        for (path, contents) in paths.iter().zip(file::inspections(&paths, Some(program))) {
            let error =
                |unusable: Unusable| unusable.error(path, |cause| MediaError::File { path: path.clone(), cause });
            all.push((path.clone(), contents.map_err(error)));
        }
        Self(all)
    }

    fn contents(&self, path: &Path) -> Result<Contents, MediaError> {
        let missing = || MediaError::File { path: path.to_owned(), cause: "it was not inspected".into() };
        self.0.iter().find(|(known, _)| known == path).map_or_else(|| Err(missing()), |(_, contents)| contents.clone())
    }
}

/// The documents of all scenes.
#[derive(Default)]
struct Decks {
    opened: Vec<Deck>,
    failed: Vec<(PathBuf, MediaError)>,
}

impl Decks {
    /// The index of a document, and the number of its pages.
    fn open(&mut self, path: &Path, program: &Path) -> Result<(usize, usize), MediaError> {
        if let Some((_, error)) = self.failed.iter().find(|(known, _)| known == path) {
            return Err(error.clone());
        }
        let index = match self.opened.iter().position(|deck| deck.path() == path) {
            Some(index) => index,
            None => {
                let deck = Deck::open(path, program).inspect_err(|error| {
                    self.failed.push((path.to_owned(), error.clone()));
                })?;
                self.opened.push(deck);
                self.opened.len() - 1
            }
        };
        Ok((index, self.opened[index].pages()))
    }
}
