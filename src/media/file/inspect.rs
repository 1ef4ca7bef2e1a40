//! Finds out what a file contains, by opening it in another process.
//!
//! Decoders come from many libraries. Some fail on an unknown file with an assertion, which ends the process; that must
//! not be the process of the lecture. GStreamer loads unknown plug-ins in the same way.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::player::preroll;
use super::{Contents, OPEN_TIMEOUT, VideoStream, advice, check, package_for, uri};
use crate::media::error::MediaError;
use crate::media::options::FileList;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use serde::{Deserialize, Serialize};

/// The hidden verb of this program that inspects files.
const VERB: &str = "inspect-files";

/// The largest video frame: twice the pixels of 8K, as large as the largest photographs. Decoding more would take
/// gigabytes.
const MAX_PIXELS: u64 = 120_000_000;

/// Time that the process may take in addition to [`OPEN_TIMEOUT`] on a busy machine.
const MARGIN: Duration = Duration::from_secs(10);

/// The maximum of stderr output to keep.
const MAX_STDERR_BYTES: u64 = 64 * 1024;

/// The result of opening a file: one line of JSON from the inspecting process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Inspection {
    Plays(Contents),
    /// The cause, for the user.
    Unplayable(String),
    /// No decoder is installed for this media type (in GStreamer's terms). `package` has one.
    NeedsDecoder {
        what: String,
        package: String,
    },
}

/// Why a file can't be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::media) enum Unusable {
    /// The cause, for the user.
    Cause(String),
    /// No decoder is installed for this media type. `package` has one.
    NoDecoder { what: String, package: String },
}

impl Unusable {
    /// The error about this file, with a cause in other words.
    pub(in crate::media) fn error(self, path: &Path, words: impl FnOnce(String) -> MediaError) -> MediaError {
        match self {
            Self::Cause(cause) => words(cause),
            Self::NoDecoder { what, package } => MediaError::NoDecoder { path: path.to_owned(), what, package },
        }
    }
}

/// Inspects all files of a list, by the program `inspector` if there is one.
///
/// # Errors
///
/// A file can't be opened, or needs a missing decoder.
pub(in crate::media) fn contents(list: &FileList, inspector: Option<&Path>) -> Result<Vec<Contents>, MediaError> {
    for (index, path) in list.paths.iter().enumerate() {
        check(path).map_err(|cause| list.error(index, cause))?;
    }
    let all = inspections(&list.paths, inspector).enumerate().map(|(index, contents)| {
        contents.map_err(|unusable| unusable.error(&list.paths[index], |cause| list.error(index, cause)))
    });
    all.collect()
}

/// Inspects files one after another, by the program `inspector` if there is one. [`check`] has accepted them.
pub(in crate::media) fn inspections<'a>(
    paths: &'a [PathBuf],
    inspector: Option<&'a Path>,
) -> impl Iterator<Item = Result<Contents, Unusable>> + 'a {
    let mut process = inspector.and_then(|program| Inspector::start(program, paths));
    paths.iter().enumerate().map(move |(index, path)| {
        let inspection = match &process {
            Some(running) => match running.next() {
                Ok(inspection) => inspection,
                Err(cause) => {
                    // The file has ended the process, or keeps it busy.
                    let rest = &paths[index + 1..];
                    process =
                        inspector.filter(|_| !rest.is_empty()).and_then(|program| Inspector::start(program, rest));
                    Inspection::Unplayable(cause)
                }
            },
            None => inspect(path),
        };
        match inspection {
            Inspection::Plays(contents) => Ok(contents),
            Inspection::Unplayable(cause) => Err(Unusable::Cause(cause)),
            Inspection::NeedsDecoder { what, package } => Err(Unusable::NoDecoder { what, package }),
        }
    })
}

/// Inspects files and writes one line of JSON per file, for `contents` in another process.
///
/// # Errors
///
/// The reader has gone, or GStreamer can't start.
pub fn inspect_files(paths: &[PathBuf], mut out: impl Write) -> anyhow::Result<()> {
    crate::media::init()?;
    for path in paths {
        let line = serde_json::to_string(&inspect(path))?;
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}

/// The inspecting process. Dropping it kills the process.
struct Inspector {
    child: Mutex<Child>,
    inspections: Receiver<String>,
    stderr_text: Arc<Mutex<String>>,
}

impl Inspector {
    /// Starts the process. None if that fails; then this process inspects the files.
    fn start(program: &Path, paths: &[PathBuf]) -> Option<Self> {
        let mut child = Command::new(program)
            .arg(VERB)
            .arg("--")
            .args(paths)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the lecture, not for this process.
            .process_group(0)
            .spawn()
            .ok()?;
        let (stdout, stderr) = child.stdout.take().zip(child.stderr.take())?;
        let (sender, inspections) = channel();
        let stderr_text = Arc::new(Mutex::new(String::new()));
        let written = stderr_text.clone();
        let listen = move || {
            // Read stderr to its end before closing the channel, so that the last error message is complete.
            let said = std::thread::spawn(move || {
                let mut text = Vec::new();
                let mut stderr = stderr;
                let _ = stderr.by_ref().take(MAX_STDERR_BYTES).read_to_end(&mut text);
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
                *written.lock().unwrap_or_else(PoisonError::into_inner) = String::from_utf8_lossy(&text).into_owned();
            });
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
            let _ = said.join();
        };
        std::thread::Builder::new().name("inspect-files".into()).spawn(listen).ok()?;
        Some(Self { child: Mutex::new(child), inspections, stderr_text })
    }

    /// The result of the next file. The error is for the user.
    fn next(&self) -> Result<Inspection, String> {
        match self.inspections.recv_timeout(OPEN_TIMEOUT + MARGIN) {
            Ok(line) => serde_json::from_str(&line).map_err(|error| format!("it could not be opened: {error}")),
            Err(RecvTimeoutError::Timeout) => Err(too_slow()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
                let signal = status.ok().and_then(|status| status.signal());
                let stderr_text = self.stderr_text.lock().unwrap_or_else(PoisonError::into_inner);
                let cause = failure_message(&stderr_text).or(signal.map(|signal| format!("ended by signal {signal}")));
                Err(format!(
                    "a decoder crashes on it ({}): convert the file, for example with ffmpeg -i FILE new.mp4",
                    cause.unwrap_or_else(|| "without a message".into())
                ))
            }
        }
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The error message of a process that crashed.
fn failure_message(stderr_text: &str) -> Option<String> {
    let lines = stderr_text.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines.rev().find(|line| line.to_lowercase().contains("error"))?;
    Some(telling.strip_prefix("error: ").unwrap_or(telling).to_owned())
}

fn too_slow() -> String {
    format!("it could not be opened within {} s", OPEN_TIMEOUT.as_secs())
}

/// Opens a file and looks at its streams.
fn inspect(path: &Path) -> Inspection {
    match open(path) {
        Ok(inspection) => inspection,
        Err(cause) => {
            let media_type = media_type(path);
            let cause = cause.trim_end_matches('.');
            Inspection::Unplayable(format!("GStreamer can't play it ({cause}); {}", advice(media_type.as_deref())))
        }
    }
}

/// The streams found so far.
#[derive(Default)]
struct StreamsFound {
    /// The sink pad of the video stream.
    video: Option<gst::Pad>,
    audio: bool,
    /// Width and height of a frame that is too large to decode.
    too_large: Option<(i32, i32)>,
}

fn open(path: &Path) -> Result<Inspection, String> {
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("uridecodebin").property("uri", uri(path)?).build();
    let source = source.map_err(|error| error.message.to_string())?;
    pipeline.add(&source).map_err(|error| error.message.to_string())?;
    let streams = Arc::new(Mutex::new(StreamsFound::default()));
    let noticed = streams.clone();
    source.connect("autoplug-continue", false, move |arguments| {
        let caps = arguments.get(2)?.get::<gst::Caps>().ok()?;
        let too_large = edges(&caps).filter(|(width, height)| pixels(*width, *height) > MAX_PIXELS);
        if too_large.is_some() {
            noticed.lock().unwrap_or_else(PoisonError::into_inner).too_large = too_large;
        }
        Some(too_large.is_none().to_value())
    });
    let (weak, noticed) = (pipeline.downgrade(), streams.clone());
    source.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = weak.upgrade() {
            take(&pipeline, pad, &mut noticed.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
    let mut missing = None;
    let outcome = preroll(&pipeline, OPEN_TIMEOUT, &mut |message| {
        let structure = message.structure().filter(|structure| structure.name() == "missing-plugin");
        if let Some(detail) = structure.and_then(|structure| structure.get::<gst::Caps>("detail").ok()) {
            missing = Some(detail);
        }
    });
    let mut streams = std::mem::take(&mut *streams.lock().unwrap_or_else(PoisonError::into_inner));
    let video = streams.video.take().and_then(|pad| pad.current_caps());
    let length = pipeline.query_duration::<gst::ClockTime>().filter(|length| !length.is_zero());
    // A change to Null always succeeds.
    let _ = pipeline.set_state(gst::State::Null);
    if let Some((width, height)) = streams.too_large {
        return Ok(Inspection::Unplayable(format!(
            "it has {width}x{height} pixels, and the limit is {} million: \
             make it smaller, for example with convert FILE -resize 3840x2160 small.png",
            MAX_PIXELS / 1_000_000
        )));
    }
    // A film whose video can't be decoded is an error, even if its audio can.
    if let Some(inspection) = missing.as_ref().and_then(|caps| needs_decoder(caps, outcome.is_err())) {
        return Ok(inspection);
    }
    outcome?;
    let video = video.as_ref().and_then(|caps| video_stream_of(caps));
    if video.is_none() && !streams.audio {
        return Ok(Inspection::Unplayable("it has neither picture nor sound".into()));
    }
    let length_ms = length.map(gst::ClockTime::mseconds);
    Ok(Inspection::Plays(Contents { video, audio: streams.audio, length_ms }))
}

/// Returns a new stream a sink. Without one, opening the file would fail.
fn take(pipeline: &gst::Pipeline, pad: &gst::Pad, streams: &mut StreamsFound) {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let kind = caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default();
    let is_video = kind == "video/x-raw" && streams.video.is_none();
    streams.audio |= kind == "audio/x-raw";
    let text = if is_video {
        "videoconvert ! videoflip video-direction=auto ! fakesink name=end"
    } else {
        "identity ! fakesink name=end"
    };
    // A failure becomes an error of the whole pipeline.
    let Ok(bin) = gst::parse::bin_from_description(text, true) else { return };
    if is_video {
        streams.video = bin.by_name("end").and_then(|sink| sink.static_pad("sink"));
    }
    if pipeline.add(&bin).is_ok()
        && let Some(input) = bin.static_pad("sink")
    {
        let _ = pad.link(&input);
        let _ = bin.sync_state_with_parent();
    }
}

fn edges(caps: &gst::CapsRef) -> Option<(i32, i32)> {
    let shape = caps.structure(0)?;
    shape.get("width").ok().zip(shape.get("height").ok())
}

fn pixels(width: i32, height: i32) -> u64 {
    u64::from(width.unsigned_abs()) * u64::from(height.unsigned_abs())
}

/// The video described by raw caps, its width converted to square pixels.
fn video_stream_of(caps: &gst::CapsRef) -> Option<VideoStream> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let par = info.par();
    let (numerator, denominator) = (i64::from(par.numer()).max(1), i64::from(par.denom()).max(1));
    let width = i64::from(info.width()) * numerator / denominator;
    Some(VideoStream { width: u32::try_from(width).ok()?, height: info.height(), is_still: info.fps().numer() == 0 })
}

/// What a missing plug-in means. A missing plug-in for other streams than audio and video matters only if the file has
/// nothing else.
fn needs_decoder(caps: &gst::CapsRef, is_all: bool) -> Option<Inspection> {
    let media_type = caps.structure(0)?.name().to_string();
    let is_media = ["video/", "audio/", "image/"].iter().any(|kind| media_type.starts_with(kind));
    if !is_media {
        let cause = || format!("GStreamer can't play it; {}", advice(Some(&media_type)));
        return is_all.then(|| Inspection::Unplayable(cause()));
    }
    let package = package_for(&media_type).into();
    Some(Inspection::NeedsDecoder { what: media_type, package })
}

/// The media type, as GStreamer detects it.
fn media_type(path: &Path) -> Option<String> {
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("filesrc").property("location", path).build().ok()?;
    let finder = gst::ElementFactory::make("typefind").build().ok()?;
    let sink = gst::ElementFactory::make("fakesink").build().ok()?;
    pipeline.add_many([&source, &finder, &sink]).ok()?;
    gst::Element::link_many([&source, &finder, &sink]).ok()?;
    // If the type is unknown, preroll fails and there are no caps.
    let _ = preroll(&pipeline, OPEN_TIMEOUT, &mut |_| {});
    let caps = finder.property::<Option<gst::Caps>>("caps");
    let _ = pipeline.set_state(gst::State::Null);
    Some(caps?.structure(0)?.name().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_message_of_a_crashed_process_is_found() {
        let stderr_text = "warning: x\n**\nERROR:gstvideorate.c:740:push: assertion failed: (x)\nAborted\n";
        assert_eq!(failure_message(stderr_text).unwrap(), "ERROR:gstvideorate.c:740:push: assertion failed: (x)");
        assert_eq!(failure_message("error: GStreamer broke down\n").unwrap(), "GStreamer broke down");
        assert_eq!(failure_message("Segmentation fault\n"), None);
    }

    #[test]
    fn frame_sizes_are_in_square_pixels() {
        crate::media::init().unwrap();
        let caps = "video/x-raw,format=I420,width=720,height=576,framerate=25/1,pixel-aspect-ratio=16/15";
        let video = video_stream_of(&caps.parse::<gst::Caps>().unwrap());
        assert_eq!(video, Some(VideoStream { width: 768, height: 576, is_still: false }));
        let caps = "image/png,width=20000,height=20000".parse::<gst::Caps>().unwrap();
        assert!(edges(&caps).is_some_and(|(width, height)| pixels(width, height) > MAX_PIXELS));
    }

    #[test]
    fn inspections_survive_json() {
        let video = Some(VideoStream { width: 2, height: 1, is_still: true });
        for inspection in [
            Inspection::Plays(Contents { video, audio: true, length_ms: Some(1_500) }),
            Inspection::Unplayable("why \"so\"".into()),
            Inspection::NeedsDecoder { what: "video/x-h265".into(), package: "p".into() },
        ] {
            let line = serde_json::to_string(&inspection).unwrap();
            assert_eq!(serde_json::from_str::<Inspection>(&line).unwrap(), inspection, "{line}");
        }
    }
}
