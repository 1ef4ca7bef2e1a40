//! A display that shows small text and a code in each frame, and the codes that a display or a recording shows.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use classroom::bench::codes::{draw_code, read_code};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::{Display, run_tool};

/// The size of a [`Display`], and its frames per second.
const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const FPS: i32 = 15;

/// Looks per second at what a program shows.
const LOOKS: i32 = 30;

const TEXT: &str = "Let A be a square matrix. A vector v other than 0 with Av = kv is an eigenvector of A, and k is\n\
    its eigenvalue. The eigenvalues are the roots of det(A - kI); a matrix of n rows has at most n.\n\
    if (page.isHidden \\|\\| !track.enabled) return; // 0O 1lI rn m, and other small differences\n\
    2026-11-28 08:30  10013  9999  1001  1002  3.141592653589793  2.718281828459045";

/// Milliseconds since 1970: the clock that browsers and scripts have in common.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A frame that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// When it was shown, by [`wall_ms`]; in a recording, milliseconds since its start.
    pub at: u64,
    /// The number of its code; `None` without a code.
    pub code: Option<u16>,
    /// The frame in one number, to see whether it differs from the one before.
    pub picture: u64,
}

/// Frames that one thread notes and another one reads.
type Log = Arc<Mutex<Vec<Read>>>;

/// A running pipeline, which ends when dropped.
struct Running(gst::Element);

impl Running {
    #[track_caller]
    fn start(pipeline: gst::Element) -> Self {
        pipeline.set_state(gst::State::Playing).unwrap();
        Self(pipeline)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

#[track_caller]
fn parsed(graph: &str) -> gst::Element {
    gst::init().unwrap();
    gst::parse::launch(graph).unwrap_or_else(|error| panic!("{graph}: {error}"))
}

fn element(pipeline: &gst::Element, name: &str) -> gst::Element {
    pipeline.downcast_ref::<gst::Bin>().unwrap().by_name(name).unwrap()
}

/// A window over a whole display, with text and codes.
pub struct CodedScreen {
    _pipeline: Running,
    drawn: Arc<Mutex<Vec<u64>>>,
}

impl CodedScreen {
    pub fn start(display: &Display) -> Self {
        let graph = format!(
            "videotestsrc is-live=true pattern=white ! \
               video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 ! \
             textoverlay name=text font-desc=\"DejaVu Sans 9\" line-alignment=left valignment=center \
               color=4278190080 draw-shadow=false draw-outline=false ! \
             identity name=code ! videoconvert ! ximagesink display={}",
            display.name()
        );
        let pipeline = parsed(&graph);
        element(&pipeline, "text").set_property("text", TEXT);
        let drawn: Arc<Mutex<Vec<u64>>> = Arc::default();
        let log = drawn.clone();
        let pad = element(&pipeline, "code").static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer_mut()
                && let Ok(mut luma) = buffer.make_mut().map_writable()
            {
                let (now, mut drawn) = (wall_ms(), log.lock().unwrap_or_else(PoisonError::into_inner));
                draw_code(&mut luma[..WIDTH * HEIGHT], WIDTH, WIDTH, drawn.len() as u16, now);
                drawn.push(now);
            }
            gst::PadProbeReturn::Ok
        });
        Self { _pipeline: Running::start(pipeline), drawn }
    }

    /// Puts the window above those that a program has opened or raised meanwhile.
    pub fn raise(&self, display: &Display) {
        run_tool(display.command("xdotool").args(["search", "--class", "GStreamer", "windowraise"]));
    }

    /// When each frame was drawn, by number.
    pub fn drawn(&self) -> Vec<u64> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The frames that a program shows on a display.
pub struct WatchedDisplay {
    _pipeline: Running,
    log: Log,
}

impl WatchedDisplay {
    pub fn start(display: &Display) -> Self {
        let source = format!("ximagesrc display-name={} use-damage=false show-pointer=false", display.name());
        let log = Log::default();
        let frames = log.clone();
        let pipeline = frames_of(&format!("{source} ! video/x-raw,framerate={LOOKS}/1"), move |frame| {
            frames.lock().unwrap_or_else(PoisonError::into_inner).push(Read { at: wall_ms(), ..frame });
        });
        Self { _pipeline: Running::start(pipeline), log }
    }

    pub fn frames(&self) -> Vec<Read> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A pipeline that passes on the frames of a source.
fn frames_of(source: &str, on_frame: impl Fn(Read) + Send + 'static) -> gst::Element {
    let pipeline = parsed(&format!(
        "{source} ! videoconvert ! video/x-raw,format=I420 ! appsink name=frames sync=false max-buffers=4"
    ));
    let sink = element(&pipeline, "frames").downcast::<gst_app::AppSink>().unwrap();
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps())
            && let Some(width) = caps.structure(0).and_then(|caps| caps.get::<i32>("width").ok())
            && let Ok(bytes) = buffer.map_readable()
        {
            let (width, stride) = (width as usize, (width as usize).next_multiple_of(4));
            let at = buffer.pts().map_or(0, gst::ClockTime::mseconds);
            let code = read_code(&bytes, stride, width, wall_ms()).map(|(number, _)| number);
            let picture = bytes.iter().step_by(97).fold(0, |sum: u64, byte| sum.rotate_left(7) ^ u64::from(*byte));
            on_frame(Read { at, code, picture });
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    pipeline
}

/// The frames of the first video of a recording.
pub fn codes_in_file(file: &Path, within: Duration) -> Vec<Read> {
    let log = Log::default();
    let frames = log.clone();
    let source =
        format!("filesrc location=\"{}\" ! matroskademux name=file file.video_0 ! queue ! decodebin", file.display());
    let pipeline = frames_of(&source, move |frame| {
        frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
    });
    let bus = pipeline.bus().unwrap();
    let running = Running::start(pipeline);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::try_from(within).unwrap(), &kinds);
    assert!(end.is_some_and(|end| end.type_() == gst::MessageType::Eos), "{} has an end", file.display());
    drop(running);
    let frames = log.lock().unwrap_or_else(PoisonError::into_inner);
    frames.clone()
}
