//! A media file as a source: what is in it, and how its repeats become one timeline.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::MediaError;
use super::layout::size_of;
use super::options::Size;

/// How long opening a file may take: a slow network share, a large index.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a file has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents {
    pub picture: bool,
    pub sound: bool,
    /// Of its picture.
    pub size: Option<Size>,
}

/// The URI of a file that exists.
pub(super) fn uri(path: &Path) -> Result<String, MediaError> {
    let failed = |cause: String| MediaError::File { path: path.into(), cause };
    let absolute = std::fs::canonicalize(path).map_err(|error| failed(error.to_string()))?;
    if absolute.is_dir() {
        return Err(failed("it is a folder, give a media file".into()));
    }
    let uri = gst::glib::filename_to_uri(&absolute, None).map_err(|error| failed(error.message().into()))?;
    Ok(uri.to_string())
}

/// Opens a file and looks what is in it.
pub(super) fn inspect(path: &Path) -> Result<Contents, MediaError> {
    let failed = |cause: String| MediaError::File { path: path.into(), cause };
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("uridecodebin")
        .property("uri", uri(path)?)
        .build()
        .map_err(|_| super::error::require("uridecodebin").err().unwrap_or_else(|| failed("no decoder".into())))?;
    pipeline.add(&source).map_err(|error| failed(error.to_string()))?;
    let found = Arc::new(Mutex::new(Contents::default()));
    let (weak, contents) = (pipeline.downgrade(), found.clone());
    source.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let kind = caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default();
        if let Ok(mut contents) = contents.lock() {
            contents.picture |= kind.starts_with("video/");
            contents.size = contents.size.or_else(|| size_of(&caps));
            contents.sound |= kind.starts_with("audio/");
        }
        // Every stream needs a sink, or the file counts as unreadable.
        let Some(pipeline) = weak.upgrade() else { return };
        if let Ok(sink) = gst::ElementFactory::make("fakesink").build()
            && pipeline.add(&sink).is_ok()
            && let Some(input) = sink.static_pad("sink")
        {
            // A failure shows as an error of the whole graph.
            let _ = pad.link(&input);
            let _ = sink.sync_state_with_parent();
        }
    });
    let outcome = preroll(&pipeline, OPEN_TIMEOUT).map_err(failed);
    // Null always succeeds here.
    let _ = pipeline.set_state(gst::State::Null);
    outcome?;
    let contents = found.lock().map(|contents| *contents).unwrap_or(Contents::default());
    if !contents.picture && !contents.sound {
        return Err(failed("it has neither picture nor sound".into()));
    }
    Ok(contents)
}

/// Opens all streams of a graph that ends in sinks. The error is for people.
fn preroll(pipeline: &gst::Pipeline, timeout: Duration) -> Result<(), String> {
    let changing = pipeline.set_state(gst::State::Paused);
    await_message(pipeline, changing, timeout, &|message| matches!(message.view(), gst::MessageView::AsyncDone(_)))
}

/// Brings a teaching graph to where the first buffers of its file wait for the clock, which must not run while the
/// file is being opened: its begin would be played in a rush. The error is for people.
pub(super) fn open(pipeline: &gst::Pipeline) -> Result<(), String> {
    const OPENED: &str = "classroom-file-opened";
    let bus = pipeline.bus().ok_or("no bus")?;
    for pad in timelines(pipeline) {
        let bus = bus.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            // Whoever waits is the only reader of the bus at this time.
            let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty(OPENED)));
            gst::PadProbeReturn::Remove
        });
    }
    let changing = pipeline.set_state(gst::State::Paused);
    await_message(pipeline, changing, OPEN_TIMEOUT, &|message| match message.view() {
        gst::MessageView::Application(own) => own.structure().is_some_and(|own| own.name() == OPENED),
        _ => false,
    })
}

/// Waits after a change of state for a message, for an error, or until it takes too long.
fn await_message(
    pipeline: &gst::Pipeline,
    changing: Result<gst::StateChangeSuccess, gst::StateChangeError>,
    timeout: Duration,
    is_done: &dyn Fn(&gst::MessageRef) -> bool,
) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("no bus")?;
    // A failed change of state has left its cause on the bus already.
    let timeout = if changing.is_ok() { timeout } else { Duration::ZERO };
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(message) = bus.timed_pop(gst::ClockTime::try_from(left).unwrap_or(gst::ClockTime::ZERO)) else {
            return Err(format!("it could not be opened within {} s", timeout.as_secs()));
        };
        if let gst::MessageView::Error(error) = message.view() {
            return Err(error.error().message().to_string());
        }
        if is_done(&message) {
            return Ok(());
        }
    }
}

/// Where the tracks of a file leave their decoders.
fn timelines(pipeline: &gst::Pipeline) -> Vec<gst::Pad> {
    let pad = |name: &&str| pipeline.by_name(name)?.static_pad("src");
    ["screen-timeline", "audio-timeline"].iter().filter_map(pad).collect()
}

/// Makes one endless timeline of a file that is played again and again.
///
/// Each track's decoded buffers pass a `*-timeline` element, where their time is counted on from where the last
/// repeat ended, and where the end of the file and the flush of the jump back stop, so that everything behind it,
/// the clock and the encoders, sees one stream without an end.
#[derive(Debug)]
pub(super) struct Repeat {
    source: gst::Element,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tracks: usize,
    ended: AtomicUsize,
    /// Where the current repeat began and where the furthest track of it has come, in running time.
    span: Mutex<(gst::ClockTime, gst::ClockTime)>,
}

impl Repeat {
    /// Prepares a parsed graph; `on_end` is called each time all tracks have come to the end of the file.
    pub(super) fn attach(pipeline: &gst::Pipeline, on_end: impl Fn() + Send + Sync + 'static) -> Option<Self> {
        let source = pipeline.by_name("file")?;
        let pads = timelines(pipeline);
        let zero = (gst::ClockTime::ZERO, gst::ClockTime::ZERO);
        let shared = Arc::new(Shared { tracks: pads.len(), ended: AtomicUsize::new(0), span: Mutex::new(zero) });
        let on_end = Arc::new(on_end);
        for pad in pads {
            let (shared, on_end) = (shared.clone(), on_end.clone());
            let timeline = Mutex::new(Timeline { segment: None, announced: false });
            let kinds =
                gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
            pad.add_probe(kinds, move |_, info| {
                let Ok(mut timeline) = timeline.lock() else { return gst::PadProbeReturn::Ok };
                timeline.pass(info, &shared, &*on_end)
            });
        }
        Some(Self { source, shared })
    }

    /// Jumps back to the begin of the file. Not from a streaming thread: it waits for them.
    pub(super) fn rewind(&self) -> Result<(), gst::glib::BoolError> {
        if let Ok(mut span) = self.shared.span.lock() {
            span.0 = span.1;
        }
        self.shared.ended.store(0, Ordering::SeqCst);
        self.source.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT, gst::ClockTime::ZERO)
    }
}

/// One track of a file that repeats. What it takes out is `Handled`: `Drop` frees an event twice in GStreamer 1.22.
#[derive(Debug)]
struct Timeline {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    announced: bool,
}

impl Timeline {
    fn pass(&mut self, info: &mut gst::PadProbeInfo<'_>, shared: &Shared, on_end: &dyn Fn()) -> gst::PadProbeReturn {
        if let Some(event) = info.event() {
            return match event.view() {
                gst::EventView::Segment(segment) => {
                    self.segment = segment.segment().downcast_ref::<gst::ClockTime>().cloned();
                    if std::mem::replace(&mut self.announced, true) {
                        return gst::PadProbeReturn::Handled;
                    }
                    let plain = gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new());
                    info.data = Some(gst::PadProbeData::Event(plain));
                    gst::PadProbeReturn::Ok
                }
                gst::EventView::Eos(_) => {
                    if shared.ended.fetch_add(1, Ordering::SeqCst) + 1 == shared.tracks {
                        on_end();
                    }
                    gst::PadProbeReturn::Handled
                }
                gst::EventView::FlushStart(_) | gst::EventView::FlushStop(_) => gst::PadProbeReturn::Handled,
                _ => gst::PadProbeReturn::Ok,
            };
        }
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let running = buffer.pts().zip(self.segment.as_ref()).and_then(|(pts, segment)| segment.to_running_time(pts));
        // What is before the begin of the segment would not be shown either.
        let Some(running) = running else { return gst::PadProbeReturn::Handled };
        let Ok(mut span) = shared.span.lock() else { return gst::PadProbeReturn::Ok };
        let time = span.0 + running;
        let duration = buffer.duration();
        span.1 = span.1.max(time + duration.unwrap_or(gst::ClockTime::ZERO));
        let buffer = buffer.make_mut();
        buffer.set_pts(time);
        buffer.set_dts(gst::ClockTime::NONE);
        gst::PadProbeReturn::Ok
    }
}
