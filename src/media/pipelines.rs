//! Pipelines as text: the files of `pipelines/` and their placeholders.
//!
//! Lines that start with `#` are comments. `{word.word}` is a placeholder; other braces, such as lists of formats,
//! stay. [`super::contract`] says what a teaching pipeline must contain.

use std::path::Path;

use super::error::{MediaError, package_of};
use gstreamer as gst;
use gstreamer::prelude::*;

/// Declares the files of `pipelines/` as constants, and lists them for a test.
macro_rules! files {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) const $name: File = File { name: $file, text: include_str!(concat!("../../pipelines/", $file)) };)*
        #[cfg(test)]
        const ALL: &[File] = &[$($name),*];
    };
}

/// A pipeline file, complete or a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// The file name in `pipelines/`.
    pub name: &'static str,
    text: &'static str,
}

files! {
    TEACH_SCREEN_X11 = "teach-screen-x11.gst";
    TEACH_SCREEN_PORTAL = "teach-screen-portal.gst";
    TEACH_CAMERA = "teach-camera.gst";
    TEACH_CAMERA_TEST = "teach-camera-test.gst";
    TEACH_MICROPHONE = "teach-microphone.gst";
    TEACH_FILE_VIDEO = "teach-file-video.gst";
    TEACH_FILE_AUDIO = "teach-file-audio.gst";
    PLAY_FILE = "play-file.gst";
    PLAY_FILE_VIDEO = "play-file-video.gst";
    PLAY_FILE_AUDIO = "play-file-audio.gst";
    PLAY_SCENE_VIDEO = "play-scene-video.gst";
    PLAY_TEST = "play-test.gst";
    TEACH_TEST_VIDEO = "teach-test-video.gst";
    TEACH_TEST_AUDIO = "teach-test-audio.gst";
    TEACH_DEMO_VIDEO = "teach-demo-video.gst";
    TEACH_DEMO_AUDIO = "teach-demo-audio.gst";
    TEACH_TIER_FULL = "teach-tier-full.gst";
    TEACH_TIER_LOW = "teach-tier-low.gst";
    WATCH_TRACK = "watch-track.gst";
    WATCH_NULL = "watch-null.gst";
    WATCH_FILE = "watch-file.gst";
    WATCH_WINDOW_LAYOUT = "watch-window-layout.gst";
    WATCH_WINDOW_INPUT = "watch-window-input.gst";
    WATCH_WINDOW_OVER = "watch-window-over.gst";
    WATCH_WINDOW_AUDIO = "watch-window-audio.gst";
    WATCH_STAGE_PICTURE = "watch-stage-picture.gst";
}

/// The values of placeholders.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(Vec<(&'static str, String)>);

impl Values {
    /// Sets a placeholder to pipeline text: a number, an element.
    pub(super) fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.to_string()));
        self
    }

    /// Sets a placeholder to text from outside. It is quoted, so that it stays one value whatever it contains.
    pub(super) fn quoted(self, name: &'static str, value: &str) -> Self {
        let value = format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        self.set(name, value)
    }
}

/// Joins files to one pipeline text, with placeholders filled.
pub(super) fn text(files: &[File], values: &Values) -> Result<String, MediaError> {
    let mut all = String::new();
    for file in files {
        all.push_str(&fill(file.name, file.text, values)?);
        all.push('\n');
    }
    Ok(all)
}

/// Removes comments and fills placeholders, including placeholders within values.
pub(super) fn fill(name: &str, text: &str, values: &Values) -> Result<String, MediaError> {
    let mut filled: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| [line.trim_end(), "\n"])
        .collect();
    // Values nest at most two levels, such as the bitrate in an encoder. More passes would loop.
    for _ in 0..3 {
        let Some((start, end)) = placeholder(&filled, 0) else { break };
        filled = replace(name, &filled, start, end, values)?;
    }
    Ok(filled)
}

/// Replaces all placeholders once. The first one is at `start..end`.
fn replace(file: &str, text: &str, start: usize, end: usize, values: &Values) -> Result<String, MediaError> {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut done, mut next) = (0, Some((start, end)));
    while let Some((start, end)) = next {
        let name = &text[start + 1..end - 1];
        let value = values.0.iter().find(|(known, _)| *known == name).ok_or_else(|| MediaError::Contract {
            pipeline: file.into(),
            problem: format!("unknown placeholder {{{name}}}; known placeholders are {}", known(values)),
        })?;
        out.push_str(&text[done..start]);
        out.push_str(&value.1);
        done = end;
        next = placeholder(text, end);
    }
    out.push_str(&text[done..]);
    Ok(out)
}

fn known(values: &Values) -> String {
    values.0.iter().map(|(name, _)| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
}

/// The next `{name}` outside quotes, from an offset on. A name consists of lower-case words, joined by dots or dashes.
fn placeholder(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let (mut at, mut in_quotes) = (from, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_quotes => at += 1,
            b'"' => in_quotes = !in_quotes,
            b'{' if !in_quotes => {
                let name =
                    bytes[at + 1..].iter().take_while(|b| b.is_ascii_lowercase() || matches!(b, b'.' | b'-')).count();
                if name > 0 && bytes.get(at + 1 + name) == Some(&b'}') {
                    return Some((at, at + name + 2));
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Parses a pipeline. No device is opened yet.
pub(super) fn parse(name: &str, text: &str) -> Result<gst::Pipeline, MediaError> {
    let element = parsed(name, |context, flags| gst::parse::launch_full(text, Some(context), flags))?;
    match element.downcast::<gst::Pipeline>() {
        Ok(pipeline) => Ok(pipeline),
        // The text of a single element parses to that element.
        Err(element) => {
            let pipeline = gst::Pipeline::new();
            let failed = |cause: String| MediaError::Pipeline { pipeline: name.into(), cause };
            pipeline.add(&element).map_err(|error| failed(error.to_string()))?;
            Ok(pipeline)
        }
    }
}

/// Parses a bin of this name, to be added to a running pipeline. The bin has no ghost pads.
pub(super) fn parse_bin(name: &str, text: &str) -> Result<gst::Bin, MediaError> {
    let element = parsed(name, |context, flags| {
        gst::parse::bin_from_description_with_name_full(text, false, name, Some(context), flags)
    })?;
    let no_bin = |_| MediaError::Pipeline { pipeline: name.into(), cause: "the text is not a bin".into() };
    element.downcast::<gst::Bin>().map_err(no_bin)
}

fn parsed(
    name: &str,
    parse: impl FnOnce(&mut gst::ParseContext, gst::ParseFlags) -> Result<gst::Element, gst::glib::Error>,
) -> Result<gst::Element, MediaError> {
    let mut context = gst::ParseContext::new();
    parse(&mut context, gst::ParseFlags::FATAL_ERRORS).map_err(|error| match context.missing_elements().first() {
        Some(element) => {
            MediaError::MissingElement { element: element.to_string(), package: package_of(element).into() }
        }
        None => MediaError::Pipeline { pipeline: name.into(), cause: error.message().to_string() },
    })
}

/// Reads a pipeline file.
pub(super) fn read(path: &Path) -> Result<String, MediaError> {
    std::fs::read_to_string(path).map_err(|error| MediaError::File { path: path.into(), cause: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_removed_and_placeholders_filled_outside_quotes() {
        let values = Values::default().set("b.c", "1").quoted("d", "x\"{b.c} \\ y").set("e", "{b.c}2");
        assert_eq!(
            fill("f", "# no {x}\na {b.c} {I420, NV12}\n  # no\n{d} {e}", &values).unwrap(),
            concat!("a 1 {I420, NV12}\n", r#""x\"{b.c} \\ y" 12"#, "\n")
        );
        let error = fill("f", "{nope}", &values).unwrap_err().to_string();
        assert!(error.contains("{nope}") && error.contains("{b.c}"), "{error}");
    }

    #[test]
    fn a_quoted_value_can_not_add_an_element() {
        crate::media::init().unwrap();
        let evil = "/tmp/a\" ! fakesink name=evil \\";
        let text =
            fill("f", "filesrc name=f location={path} ! fakesink", &Values::default().quoted("path", evil)).unwrap();
        let pipeline = parse("f", &text).unwrap();
        assert!(pipeline.by_name("evil").is_none());
        assert_eq!(pipeline.by_name("f").unwrap().property::<String>("location"), evil);
    }

    #[test]
    fn every_file_of_the_folder_is_compiled_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines");
        let mut there: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut known: Vec<&str> = ALL.iter().map(|file| file.name).collect();
        there.sort();
        known.sort();
        assert_eq!(there, known);
    }
}
