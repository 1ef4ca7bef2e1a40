//! Reads the file of a lecture: TOML, checked, with the place of each mistake.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{End, Lecture, Place, Scene, Source};
use crate::duration;
use crate::id::{is_printable, joins_emoji};
use crate::protocol::channel::MAX_TEXT_CHARS;

/// The largest file. A lecture of a day has some kilobytes.
pub(crate) const MAX_FILE_BYTES: usize = 1_000_000;

/// The most scenes.
const MAX_SCENES: usize = 500;

/// The most characters of a name or a chapter.
const MAX_NAME_CHARS: usize = 100;

/// The most characters of a slate. More would not be legible.
const MAX_SLATE_CHARS: usize = 1_000;

/// The shortest time of a page or of a scene: key frames must not pile up.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest time of a scene: a lecture does not run over midnight.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A mistake in the file, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {sentence}", place.line, place.column)]
pub(crate) struct LectureError {
    /// Where the mistake stands.
    pub(crate) place: Place,
    /// The cause and the next step.
    pub(crate) sentence: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLecture {
    #[serde(default)]
    scene: Vec<Spanned<WrittenScene>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenScene {
    name: Option<Spanned<String>>,
    slides: Option<Spanned<String>>,
    video: Option<Spanned<String>>,
    image: Option<Spanned<String>>,
    slate: Option<Spanned<String>>,
    test: Option<Spanned<bool>>,
    pages: Option<Spanned<String>>,
    every: Option<Spanned<String>>,
    countdown: Option<Spanned<bool>>,
    at: Option<Spanned<String>>,
    #[serde(rename = "for")]
    length: Option<Spanned<String>>,
    until: Option<Spanned<String>>,
    chapter: Option<Spanned<String>>,
    chat: Option<Spanned<String>>,
}

/// A mistake before its place is known in lines.
type Mistake = (Range<usize>, String);

/// Parses the text of a lecture.
///
/// # Errors
/// The first mistake.
pub(crate) fn parse(text: &str) -> Result<Lecture, LectureError> {
    let at = |(span, sentence): Mistake| {
        // A sentence may quote the file, and a terminal obeys control characters.
        let sentence = sentence.chars().filter(|c| is_printable(*c)).collect();
        LectureError { place: place(text, span.start), sentence }
    };
    if text.len() > MAX_FILE_BYTES {
        return Err(at((0..0, format!("the file has more than {MAX_FILE_BYTES} bytes, so it is no lecture"))));
    }
    let written: WrittenLecture = toml::from_str(text).map_err(|error| {
        let sentence = error.message().trim().replace('\n', ", ");
        at((error.span().unwrap_or(0..0), sentence))
    })?;
    scenes(written, text).map_err(at)
}

/// Line and column of a byte.
fn place(text: &str, at: usize) -> Place {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.rsplit('\n').next().unwrap_or_default();
    Place { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
}

fn scenes(written: WrittenLecture, text: &str) -> Result<Lecture, Mistake> {
    if written.scene.is_empty() {
        return Err((0..0, "there is no scene: write [[scene]], and below it for example video = \"a.mp4\"".into()));
    }
    if let Some(scene) = written.scene.get(MAX_SCENES) {
        return Err((scene.span(), format!("there are more than {MAX_SCENES} scenes")));
    }
    let (mut scenes, mut names): (Vec<Scene>, HashSet<String>) = (Vec::new(), HashSet::new());
    let mut latest: Option<Duration> = None;
    // The end of a scene that ends when the next one starts.
    let mut open: Option<(Range<usize>, String)> = None;
    for (index, scene) in written.scene.into_iter().enumerate() {
        let (span, scene) = (scene.span(), scene.into_inner());
        let name = match &scene.name {
            Some(name) => checked_name(name)?,
            None => (index + 1).to_string(),
        };
        let name_span = scene.name.as_ref().map_or_else(|| span.clone(), Spanned::span);
        if !names.insert(name.clone()) {
            return Err((name_span, format!("two scenes have the name {name:?}: change one of them")));
        }
        let at = scene.at.as_ref().map(|at| time_of_day(at.get_ref()).map_err(|cause| (at.span(), cause)));
        let at = at.transpose()?;
        if let (Some(written), Some(at), Some(latest)) = (&scene.at, at, latest)
            && at <= latest
        {
            let earlier = super::clock(latest);
            let sentence = format!("this is not later than {earlier} of a scene before: put the scenes in order");
            return Err((written.span(), sentence));
        }
        latest = at.or(latest);
        if let (Some(mistake), None) = (open.take(), at) {
            return Err(mistake);
        }
        let (source, source_span) = source(&scene, &span)?;
        let end = end(&scene, &source)?;
        if end == End::NextStart {
            let sentence = format!(
                "scene {name:?} has no end: write for = \"10m\" or until = \"key\", or give the next scene a start \
                 with at = \"09:30\""
            );
            open = Some((source_span.clone(), sentence));
        }
        let line = |text: &Option<Spanned<String>>, most| text.as_ref().map(|text| one_line(text, most)).transpose();
        scenes.push(Scene {
            chapter: line(&scene.chapter, MAX_NAME_CHARS)?,
            chat: line(&scene.chat, MAX_TEXT_CHARS)?,
            place: place(text, source_span.start),
            name,
            source,
            at,
            end,
        });
    }
    open.map_or(Ok(Lecture { scenes }), Err)
}

fn checked_name(name: &Spanned<String>) -> Result<String, Mistake> {
    let text = one_line(name, MAX_NAME_CHARS)?;
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err((name.span(), "a name needs a letter, because a number means a scene by its position".into()));
    }
    Ok(text)
}

/// A text of one line, which a terminal can show.
fn one_line(text: &Spanned<String>, most: usize) -> Result<String, Mistake> {
    let (span, text) = (text.span(), text.get_ref());
    if text.trim().is_empty() {
        return Err((span, "this is empty: write a text, or remove the line".into()));
    }
    if text.chars().count() > most {
        return Err((span, format!("this is longer than {most} characters")));
    }
    if !text.chars().all(|c| is_printable(c) || joins_emoji(c)) {
        return Err((span, "this has a line break or a control character: write one line".into()));
    }
    Ok(text.clone())
}

/// The source of a scene, and its place.
fn source(scene: &WrittenScene, span: &Range<usize>) -> Result<(Source, Range<usize>), Mistake> {
    let text = |name, key: &Option<Spanned<String>>| key.as_ref().map(|key| (name, key.span()));
    let keys = [
        text("slides", &scene.slides),
        text("video", &scene.video),
        text("image", &scene.image),
        text("slate", &scene.slate),
        scene.test.as_ref().map(|key| ("test", key.span())),
    ];
    let mut keys = keys.into_iter().flatten();
    let Some((kind, at)) = keys.next() else {
        let sentence = "this scene has no source: write one of slides, video, image, slate, test";
        return Err((span.clone(), sentence.into()));
    };
    if let Some((other, at)) = keys.next() {
        return Err((at, format!("this scene has two sources, {kind} and {other}: make two scenes")));
    }
    let only_for = |name: &str, of: &str, key: Option<Range<usize>>| match key {
        Some(at) if kind != of => Err((at, format!("{name} is for a scene with {of}, and this one has {kind}"))),
        _ => Ok(()),
    };
    only_for("pages", "slides", scene.pages.as_ref().map(Spanned::span))?;
    only_for("every", "slides", scene.every.as_ref().map(Spanned::span))?;
    only_for("countdown", "slate", scene.countdown.as_ref().map(Spanned::span))?;
    let path = |key: &Option<Spanned<String>>| match key.as_ref().map(Spanned::get_ref) {
        Some(path) if !path.is_empty() && !path.contains('\0') => Ok(PathBuf::from(path)),
        _ => Err((at.clone(), format!("{kind} needs the name of a file"))),
    };
    let source = match kind {
        "slides" => {
            let every = scene.every.as_ref().map(length).transpose()?;
            let pages = scene.pages.as_ref().map(|pages| {
                page_range(pages.get_ref()).ok_or_else(|| {
                    let sentence = "these are no pages: write for example \"3-7\", or \"4\" for one page";
                    (pages.span(), sentence.to_owned())
                })
            });
            Source::Slides { path: path(&scene.slides)?, pages: pages.transpose()?, every }
        }
        "video" => Source::Video(path(&scene.video)?),
        "image" => Source::Image(path(&scene.image)?),
        "slate" => {
            let text = scene.slate.as_ref().map(Spanned::get_ref).cloned().unwrap_or_default();
            if text.trim().is_empty() || text.chars().count() > MAX_SLATE_CHARS {
                return Err((at, format!("a slate needs a text of at most {MAX_SLATE_CHARS} characters")));
            }
            if !text.chars().all(|c| c == '\n' || is_printable(c)) {
                return Err((at, "this has a control character: only line breaks are allowed".into()));
            }
            Source::Slate { text, countdown: scene.countdown.as_ref().is_some_and(|switch| *switch.get_ref()) }
        }
        _ if scene.test.as_ref().is_some_and(|switch| *switch.get_ref()) => Source::Test,
        _ => return Err((at, "test = false is no source: write test = true".into())),
    };
    Ok((source, at))
}

/// The end of a scene, as far as the scene itself tells.
fn end(scene: &WrittenScene, source: &Source) -> Result<End, Mistake> {
    let ends_itself = matches!(source, Source::Video(_) | Source::Slides { every: Some(_), .. });
    if let (Some(_), Some(until)) = (&scene.length, &scene.until) {
        return Err((until.span(), "this scene has two ends, for and until: remove one of the two".into()));
    }
    if let Some(written) = &scene.length {
        return length(written).map(End::After);
    }
    let countdown = scene.countdown.as_ref().filter(|switch| *switch.get_ref());
    match (&scene.until, countdown) {
        (Some(until), Some(_)) if until.get_ref() == "key" => {
            Err((until.span(), "a countdown needs a known end: write for = \"10m\", or remove until".into()))
        }
        (Some(until), _) => match until.get_ref().as_str() {
            "key" => Ok(End::Key),
            "end" if ends_itself => Ok(End::Source),
            "end" => {
                let sentence = "only a video, and slides with every, end by themselves: write for or until = \"key\"";
                Err((until.span(), sentence.into()))
            }
            other => Err((until.span(), format!("{other:?} is no end: write until = \"key\" or until = \"end\""))),
        },
        (None, _) if ends_itself => Ok(End::Source),
        (None, _) => Ok(End::NextStart),
    }
}

fn length(written: &Spanned<String>) -> Result<Duration, Mistake> {
    let text = written.get_ref();
    match duration::parse(text) {
        Ok(length) if (SHORTEST..=LONGEST).contains(&length) => Ok(length),
        Ok(_) => Err((written.span(), format!("{text} is not between 1s and 24h"))),
        Err(cause) => Err((written.span(), format!("{text:?} {cause}"))),
    }
}

/// Parses `09:30` or `09:30:15`.
fn time_of_day(text: &str) -> Result<Duration, String> {
    let parse = || {
        let mut parts = text.split(':').map(|part| match part.len() {
            2 if part.bytes().all(|b| b.is_ascii_digit()) => part.parse::<u64>().ok(),
            _ => None,
        });
        let (hours, minutes) = (parts.next()??, parts.next()??);
        let seconds = parts.next().unwrap_or(Some(0))?;
        let is_time = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
        is_time.then(|| Duration::from_secs(hours * 3600 + minutes * 60 + seconds))
    };
    parse().ok_or_else(|| format!("{text:?} is no time of day: write for example \"09:30\" or \"09:30:15\""))
}

/// Parses `3-7` or `4`.
fn page_range(text: &str) -> Option<(usize, usize)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (1 <= first && first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests;
