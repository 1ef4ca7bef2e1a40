//! Graphs as text: the files of `pipelines/`, what is filled in, and the contract by element name.
//!
//! A line that starts with `#` is a comment. `{word.word}` is a placeholder; braces around anything else, such as a
//! list of formats, are left alone. Teaching graphs end in appsinks `screen`, `camera` and `audio`, at least one of
//! them, which are given RTP packets of H.264, VP8 or Opus. Key-frame requests travel up from these appsinks; an
//! encoder that is called `screen-encoder` or `camera-encoder` is also timed. H.264 needs its parameter sets in each key
//! frame, by `h264parse config-interval=-1` before `rtph264pay config-interval=0`.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::error::{MediaError, package_of};
use crate::rtp::{Codec, Track};

/// Declares the files of `pipelines/` as constants, and lists them for the test that parses them all.
macro_rules! files {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) const $name: File = File { name: $file, text: include_str!(concat!("../../pipelines/", $file)) };)*
        /// All files, for the tests.
        #[cfg(test)]
        const ALL: &[File] = &[$($name),*];
    };
}

/// A graph, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Its name in `pipelines/`.
    pub name: &'static str,
    text: &'static str,
}

files! {
    TEACH_SCREEN_X11 = "teach-screen-x11.gst";
    TEACH_SCREEN_PORTAL = "teach-screen-portal.gst";
    TEACH_CAMERA = "teach-camera.gst";
    TEACH_CAMERA_TEST = "teach-camera-test.gst";
    TEACH_MICROPHONE = "teach-microphone.gst";
    TEACH_FILE = "teach-file.gst";
    TEACH_FILE_PICTURE = "teach-file-picture.gst";
    TEACH_FILE_SOUND = "teach-file-sound.gst";
    TEACH_TEST_PICTURE = "teach-test-picture.gst";
    TEACH_TEST_SOUND = "teach-test-sound.gst";
    TEACH_DEMO_PICTURE = "teach-demo-picture.gst";
    TEACH_DEMO_SOUND = "teach-demo-sound.gst";
    WATCH_TRACK = "watch-track.gst";
    WATCH_NULL = "watch-null.gst";
    WATCH_FILE = "watch-file.gst";
    WATCH_WINDOW = "watch-window.gst";
    WATCH_WINDOW_LAYOUT = "watch-window-layout.gst";
    WATCH_WINDOW_INPUT = "watch-window-input.gst";
    WATCH_WINDOW_SOUND = "watch-window-sound.gst";
}

/// What stands for the placeholders of a graph.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(Vec<(&'static str, String)>);

impl Values {
    /// Sets a placeholder to text that is part of the graph: a number, an element.
    pub(super) fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.to_string()));
        self
    }

    /// Sets a placeholder to text from outside, quoted so that it is one value whatever it contains.
    pub(super) fn quoted(self, name: &'static str, value: &str) -> Self {
        let value = format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        self.set(name, value)
    }
}

/// The graph that the files make together, one behind the other.
pub(super) fn text(files: &[File], values: &Values) -> Result<String, MediaError> {
    let mut all = String::new();
    for file in files {
        all.push_str(&fill(file.name, file.text, values)?);
        all.push('\n');
    }
    Ok(all)
}

/// Takes the comments out of a graph and fills its placeholders, also those in what was filled in.
pub(super) fn fill(name: &str, text: &str, values: &Values) -> Result<String, MediaError> {
    let mut filled: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| [line.trim_end(), "\n"])
        .collect();
    // A value may hold placeholders itself, such as the bitrate in an encoder; two levels exist, and a loop is a bug.
    for _ in 0..3 {
        let Some((start, end)) = placeholder(&filled, 0) else { break };
        filled = replace(name, &filled, start, end, values)?;
    }
    Ok(filled)
}

/// One pass over all placeholders, the first of which is at `start..end`.
fn replace(file: &str, text: &str, start: usize, end: usize, values: &Values) -> Result<String, MediaError> {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut done, mut next) = (0, Some((start, end)));
    while let Some((start, end)) = next {
        let name = &text[start + 1..end - 1];
        let value = values.0.iter().find(|(known, _)| *known == name).ok_or_else(|| MediaError::Contract {
            pipeline: file.into(),
            problem: format!("unknown placeholder {{{name}}}, known are {}", known(values)),
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

/// The next `{name}` outside of quotes from an offset on: a name is lower-case words joined by dots or dashes.
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

/// Parses a graph. Nothing is opened yet.
pub(super) fn parse(name: &str, text: &str) -> Result<gst::Pipeline, MediaError> {
    let mut context = gst::ParseContext::new();
    let flags = gst::ParseFlags::FATAL_ERRORS;
    let failed = |cause: String| MediaError::Pipeline { pipeline: name.into(), cause };
    let element = gst::parse::launch_full(text, Some(&mut context), flags).map_err(|error| {
        if let Some(element) = context.missing_elements().first() {
            return MediaError::MissingElement { element: element.to_string(), package: package_of(element).into() };
        }
        failed(error.message().to_string())
    })?;
    match element.downcast::<gst::Pipeline>() {
        Ok(pipeline) => Ok(pipeline),
        // A text with one element only gives that element.
        Err(element) => {
            let pipeline = gst::Pipeline::new();
            pipeline.add(&element).map_err(|error| failed(error.to_string()))?;
            Ok(pipeline)
        }
    }
}

/// Reads the text of a graph from a file.
pub(super) fn read(path: &Path) -> Result<String, MediaError> {
    std::fs::read_to_string(path).map_err(|error| MediaError::File { path: path.into(), cause: error.to_string() })
}

/// Where a track leaves a teaching graph.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub track: Track,
    pub codec: Codec,
    pub sink: gst_app::AppSink,
}

/// Checks a teaching graph against the contract, and finds its outputs.
pub(super) fn outputs(name: &str, pipeline: &gst::Pipeline) -> Result<Vec<Output>, MediaError> {
    let broken = |problem: String| MediaError::Contract { pipeline: name.into(), problem };
    let mut outputs = Vec::new();
    for track in Track::ALL {
        let Some(element) = pipeline.by_name(track.name()) else { continue };
        let sink = element.downcast::<gst_app::AppSink>().map_err(|element| {
            let kind = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
            broken(format!("the element named {track} must be an appsink and is {kind}"))
        })?;
        let codec = codec_of(&sink).map_err(|found| {
            let wanted = if track.is_video() { "rtph264pay or rtpvp8pay" } else { "rtpopuspay" };
            broken(format!("the appsink {track} must be given RTP packets by {wanted} and gets {found}"))
        })?;
        if track.is_video() == (codec == Codec::Opus) {
            return Err(broken(format!("the appsink {track} must not carry {codec}")));
        }
        outputs.push(Output { track, codec, sink });
    }
    if outputs.is_empty() {
        return Err(broken("an appsink named screen, camera or audio is missing, at least one is needed".into()));
    }
    Ok(outputs)
}

/// The codec that an appsink will be given, or a description of what it gets instead.
fn codec_of(sink: &gst_app::AppSink) -> Result<Codec, String> {
    let pad = sink.static_pad("sink").ok_or("nothing")?;
    if pad.peer().is_none() {
        return Err("nothing, it is not linked".into());
    }
    let caps = pad.peer_query_caps(None);
    let codecs: Option<Vec<Codec>> = caps
        .iter()
        .map(|structure| {
            let is_rtp = structure.name() == "application/x-rtp";
            is_rtp.then(|| encoding_name(structure)).flatten().and_then(|name| Codec::from_encoding_name(&name))
        })
        .collect();
    match codecs.as_deref() {
        Some([first, rest @ ..]) if rest.iter().all(|codec| codec == first) => Ok(*first),
        _ if caps.is_any() => Err("anything".into()),
        _ => Err(caps.to_string().chars().take(120).collect()),
    }
}

/// The encoding name of RTP caps; a payloader for Opus names two, of which the first is the usual.
fn encoding_name(caps: &gst::StructureRef) -> Option<String> {
    caps.get::<String>("encoding-name").ok().or_else(|| {
        let names = caps.get::<gst::List>("encoding-name").ok()?;
        names.as_slice().iter().find_map(|name| {
            let name = name.get::<String>().ok()?;
            Codec::from_encoding_name(&name).map(|_| name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(text: &str) -> Result<Vec<(Track, Codec)>, MediaError> {
        super::super::init().unwrap();
        let pipeline = parse("test", &fill("test", text, &Values::default())?)?;
        Ok(outputs("test", &pipeline)?.iter().map(|output| (output.track, output.codec)).collect())
    }

    #[test]
    fn comments_go_and_placeholders_are_filled_outside_of_quotes() {
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
        super::super::init().unwrap();
        let evil = "/tmp/a\" ! fakesink name=evil \\";
        let text =
            fill("f", "filesrc name=f location={path} ! fakesink", &Values::default().quoted("path", evil)).unwrap();
        let pipeline = parse("f", &text).unwrap();
        assert!(pipeline.by_name("evil").is_none());
        assert_eq!(pipeline.by_name("f").unwrap().property::<String>("location"), evil);
    }

    #[test]
    fn the_contract_finds_tracks_and_codecs() {
        let text = "videotestsrc ! x264enc ! rtph264pay ! appsink name=screen \
                    videotestsrc ! vp8enc ! rtpvp8pay ! queue ! appsink name=camera \
                    audiotestsrc ! opusenc ! rtpopuspay ! appsink name=audio";
        let found = [(Track::Audio, Codec::Opus), (Track::Screen, Codec::H264), (Track::Camera, Codec::Vp8)];
        assert_eq!(contract(text).unwrap(), found);
    }

    #[test]
    fn a_broken_contract_names_the_element() {
        for (text, named) in [
            ("videotestsrc ! fakesink name=other", "appsink named screen, camera or audio is missing"),
            ("videotestsrc ! fakesink name=screen", "screen must be an appsink and is fakesink"),
            ("videotestsrc ! x264enc ! appsink name=screen", "rtph264pay or rtpvp8pay"),
            ("appsink name=camera videotestsrc ! fakesink", "camera must be given RTP packets"),
            ("audiotestsrc ! opusenc ! rtpopuspay ! appsink name=screen", "must not carry Opus"),
        ] {
            let error = contract(text).unwrap_err();
            assert!(matches!(error, MediaError::Contract { .. }), "{error}");
            assert!(error.to_string().contains(named), "{error}");
        }
        assert!(matches!(contract("nosuchelement ! fakesink"), Err(MediaError::MissingElement { .. })));
        assert!(matches!(contract("videotestsrc ! ! !"), Err(MediaError::Pipeline { .. })));
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
