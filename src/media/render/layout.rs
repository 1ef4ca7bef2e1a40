//! The window that several pictures share: a compositor.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::pipeline::{COMPOSITOR_LATENCY, DECODE_LATENCY};
use super::playout::set_delay;
use super::scene::{Arrangement, Picture, Scene, SpeakerNumber};
use super::track_monitor::RenderClock;
use crate::media::options::Size;
use crate::rtp::Track;

/// How long the camera waits for the screen, which usually arrives within a tenth of this.
const SCREEN_TIMEOUT: Duration = Duration::from_millis(700);

/// The elements from the window upstream: the order of their start.
const CHAIN: [&str; 10] = [
    "window",
    "window-title",
    "window-note",
    "window-chat",
    "window-message",
    "window-dim",
    "window-scale",
    "layout-queue",
    "canvas",
    "layout",
];

/// The part of [`CHAIN`] that a single track with a window for itself does without.
const SHARED: usize = 3;

/// A window that several pictures share.
///
/// The window is completed while media flows, because a compositor waits for all its pads, and a window keeps its first
/// size. So the window starts when the size of the first picture is known, and each picture joins with its first frame.
/// A single track has the window for itself, without the latency of the compositor, until a speaker joins.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    clock: RenderClock,
    chain: Vec<gst::Element>,
    /// The video tracks of the lecture.
    lecture: Vec<Track>,
    state: Arc<Mutex<Compositor>>,
    screen_came: Arc<Condvar>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// Opens with the first picture.
    Waiting,
    /// The only track of the lecture has the window for itself.
    Single,
    /// The compositor is about to take the place of the single track.
    Changing,
    /// The compositor runs.
    Shared,
}

/// The state of the compositor.
#[derive(Debug)]
struct Compositor {
    window: Window,
    scene: Scene,
    joined: Vec<Joined>,
}

#[derive(Debug)]
struct Joined {
    picture: Picture,
    pad: gst::Pad,
    /// The source of a speaker's frames.
    frames: Option<gst_app::AppSrc>,
}

impl Compositor {
    /// Sets the place and visibility of each picture.
    fn arrange(&self) {
        let places = self.scene.places();
        for Joined { picture, pad, .. } in &self.joined {
            let Some(at) = places.iter().position(|(placed, _)| placed == picture) else {
                pad.set_property("alpha", 0.0);
                continue;
            };
            let rect = places[at].1;
            pad.set_property("zorder", at as u32);
            pad.set_property("xpos", rect.x);
            pad.set_property("ypos", rect.y);
            pad.set_property("width", rect.size.width as i32);
            pad.set_property("height", rect.size.height as i32);
            pad.set_property("alpha", 1.0);
        }
    }

    fn has_joined(&self, picture: Picture) -> bool {
        self.joined.iter().any(|joined| joined.picture == picture)
    }
}

/// Prepares the window of a pipeline, for these tracks. None if the pipeline has no window.
pub(super) fn attach(pipeline: &gst::Pipeline, clock: &RenderClock, tracks: &[Track]) -> Option<Layout> {
    let chain: Vec<gst::Element> = CHAIN.iter().filter_map(|name| pipeline.by_name(name)).collect();
    if chain.len() < CHAIN.len() {
        return None;
    }
    let lecture: Vec<Track> = tracks.iter().copied().filter(|track| track.is_video()).collect();
    let window = if lecture.len() == 1 { Window::Single } else { Window::Waiting };
    let chain = if window == Window::Single { chain[CHAIN.len() - SHARED..].to_vec() } else { chain };
    for element in &chain {
        element.set_locked_state(true);
    }
    let layout = Layout {
        pipeline: pipeline.downgrade(),
        clock: clock.clone(),
        chain,
        lecture,
        state: Arc::new(Mutex::new(Compositor { window, scene: Scene::default(), joined: Vec::new() })),
        screen_came: Arc::default(),
    };
    for track in layout.lecture.clone() {
        let Some(output) = layout.output(track) else { continue };
        let layout = layout.clone();
        output.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |output, info| {
            if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
                && let Some(size) = size_of(caps.caps())
            {
                layout.came(track, output, size);
            }
            gst::PadProbeReturn::Ok
        });
    }
    Some(layout)
}

impl Layout {
    /// Chooses how the pictures are arranged.
    pub(super) fn arrange_as(&self, arrangement: Arrangement) {
        let mut state = self.state();
        state.scene.arrange_as(arrangement);
        state.arrange();
    }

    /// Shows or hides a picture.
    pub(super) fn show(&self, picture: Picture, shown: bool) {
        let mut state = self.state();
        state.scene.show(picture, shown);
        state.arrange();
    }

    /// Shows a speaker large, or the lecture again.
    pub(super) fn enlarge(&self, speaker: Option<SpeakerNumber>) {
        let mut state = self.state();
        state.scene.enlarge(speaker);
        state.arrange();
    }

    /// The clock of the lecture's pipeline.
    pub(super) fn clock(&self) -> &RenderClock {
        &self.clock
    }

    /// Whether the first frame of the lecture's video is still to come. The size of the window is not known then.
    pub(super) fn awaits_lecture(&self) -> bool {
        let state = self.state();
        !self.lecture.is_empty() && self.lecture.iter().all(|t| state.scene.size(Picture::Lecture(*t)).is_none())
    }

    /// Notes the size of a speaker's picture.
    pub(super) fn resize(&self, picture: Picture, size: Size) {
        let mut state = self.state();
        state.scene.arrived(picture, size);
        state.arrange();
    }

    /// Adds the picture of a speaker. The lecture goes on without a gap. The result takes the frames; None while the
    /// window is not ready for them: try again with the next frame.
    pub(super) fn join_speaker(&self, picture: Picture, size: Size, caps: &gst::Caps) -> Option<gst_app::AppSrc> {
        let mut state = self.state();
        state.scene.arrived(picture, size);
        match state.window {
            Window::Waiting => {
                state.window = Window::Shared;
                self.set_canvas(state.scene.canvas());
                self.open();
            }
            Window::Single => {
                state.window = Window::Changing;
                drop(state);
                self.share();
                return None;
            }
            Window::Changing => return None,
            Window::Shared => {}
        }
        let pipeline = self.pipeline.upgrade()?;
        // At most two frames wait: late ones are worth nothing.
        let frames = gst_app::AppSrc::builder().caps(caps).format(gst::Format::Time).is_live(true).build();
        frames.set_property("max-buffers", 2u64);
        frames.set_property("max-bytes", 0u64);
        frames.set_property_from_str("leaky-type", "downstream");
        pipeline.add(&frames).ok()?;
        let output = frames.static_pad("src")?;
        let Some(pad) = self.request(&output) else {
            // The pipeline stops.
            let _ = pipeline.remove(&frames);
            return None;
        };
        state.joined.push(Joined { picture, pad, frames: Some(frames.clone()) });
        state.arrange();
        drop(state);
        frames.sync_state_with_parent().ok()?;
        Some(frames)
    }

    /// Removes the pictures of a speaker.
    pub(super) fn remove_speaker(&self, speaker: SpeakerNumber) {
        let mut state = self.state();
        state.scene.remove(speaker);
        let is_of = |joined: &mut Joined| matches!(joined.picture, Picture::Speaker(of, _) if of == speaker);
        let gone: Vec<Joined> = state.joined.extract_if(.., is_of).collect();
        state.arrange();
        drop(state);
        for Joined { pad, frames, .. } in gone {
            let Some(frames) = frames else { continue };
            if let Some(output) = frames.static_pad("src") {
                // A frame that is pushed to a pad without a peer is an error of the pipeline.
                output.add_probe(gst::PadProbeType::DATA_DOWNSTREAM, |_, _| gst::PadProbeReturn::Drop);
            }
            if let Some(compositor) = self.chain.last() {
                // This wakes a frame that waits in the pad.
                compositor.release_request_pad(&pad);
            }
            // A change to Null always succeeds, and waits for the streaming thread.
            let _ = frames.set_state(gst::State::Null);
            if let Some(pipeline) = self.pipeline.upgrade() {
                // The element is in this pipeline.
                let _ = pipeline.remove(&frames);
            }
        }
    }

    /// Handles the caps of a track: its first frame is about to come, or its size changes.
    fn came(&self, track: Track, output: &gst::Pad, size: Size) {
        let mut state = self.wait_for_turn(track);
        let picture = Picture::Lecture(track);
        state.scene.arrived(picture, size);
        self.screen_came.notify_all();
        match state.window {
            Window::Single => return state.scene.keep_window(Some(size)),
            Window::Changing => return,
            Window::Waiting | Window::Shared => {}
        }
        self.set_canvas(state.scene.canvas());
        if state.window == Window::Waiting {
            state.window = Window::Shared;
            self.open();
        }
        if !state.has_joined(picture)
            && let Some(pad) = self.request(output)
        {
            state.joined.push(Joined { picture, pad, frames: None });
        }
        state.arrange();
    }

    /// Makes the camera wait for the screen, up to [`SCREEN_TIMEOUT`].
    fn wait_for_turn(&self, track: Track) -> MutexGuard<'_, Compositor> {
        let state = self.state();
        if track == Track::Screen || !self.lecture.contains(&Track::Screen) {
            return state;
        }
        let is_missing = |state: &mut Compositor| {
            state.window == Window::Waiting && state.scene.size(Picture::Lecture(Track::Screen)).is_none()
        };
        let waited = self.screen_came.wait_timeout_while(state, SCREEN_TIMEOUT, is_missing);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Puts the compositor between the single track and the window, between two frames.
    fn share(&self) {
        let Some(output) = self.lecture.first().and_then(|track| self.output(*track)) else { return };
        let layout = self.clone();
        output.add_probe(gst::PadProbeType::IDLE, move |output, _| {
            layout.take_over(output);
            gst::PadProbeReturn::Remove
        });
    }

    fn take_over(&self, output: &gst::Pad) {
        let (Some(pipeline), Some(window)) = (self.pipeline.upgrade(), output.peer()) else { return };
        let mut state = self.state();
        self.set_canvas(state.scene.canvas());
        // All links are between raw video. If one fails, the pipeline reports an error.
        let _ = output.unlink(&window);
        if let Some(composed) = self.chain.first().and_then(|queue| queue.static_pad("src")) {
            let _ = composed.link(&window);
        }
        if let (Some(pad), Some(track)) = (self.request(output), self.lecture.first()) {
            state.joined.push(Joined { picture: Picture::Lecture(*track), pad, frames: None });
        }
        state.arrange();
        drop(state);
        let latency = self.clock.pipeline_latency().max(DECODE_LATENCY + COMPOSITOR_LATENCY);
        self.clock.set_latency(latency, DECODE_LATENCY);
        set_delay(&pipeline, &self.clock);
        self.open();
        // Frames of speakers may come only now: an element that does not run yet refuses them for ever.
        self.state().window = Window::Shared;
    }

    /// Starts the elements of the chain.
    fn open(&self) {
        let Some(pipeline) = self.pipeline.upgrade() else { return };
        for element in &self.chain {
            element.set_locked_state(false);
            // These elements were locked when the pipeline distributed its base time.
            if let Some(time) = pipeline.base_time() {
                element.set_base_time(time);
            }
            // If this fails, the pipeline reports an error.
            let _ = element.sync_state_with_parent();
        }
        // Distribute the latency to the new sink. Posting fails only while the pipeline stops.
        let _ = pipeline.post_message(gst::message::Latency::new());
    }

    /// Requests a compositor pad for a source of frames.
    fn request(&self, output: &gst::Pad) -> Option<gst::Pad> {
        let pad = self.chain.last()?.request_pad_simple("sink_%u")?;
        pad.set_property_from_str("sizing-policy", "keep-aspect-ratio");
        // Both sides have raw video. If this fails, the pipeline reports an error.
        let _ = output.link(&pad);
        Some(pad)
    }

    fn output(&self, track: Track) -> Option<gst::Pad> {
        self.pipeline.upgrade()?.by_name(&format!("{track}-shown"))?.static_pad("src")
    }

    fn set_canvas(&self, size: Size) {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", size.width as i32)
            .field("height", size.height as i32)
            .field("framerate", gst::Fraction::new(30, 1))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build();
        if let Some(canvas) = self.chain.iter().find(|element| element.name() == "canvas") {
            canvas.set_property("caps", caps);
        }
    }

    /// Ignore poisoning: a panic elsewhere is no reason to stop showing pictures.
    fn state(&self) -> MutexGuard<'_, Compositor> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frame size in caps.
pub(super) fn size_of(caps: &gst::CapsRef) -> Option<Size> {
    let shape = caps.structure(0)?;
    let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok());
    Some(Size { width: edge("width")?, height: edge("height")? })
}
