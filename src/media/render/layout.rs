//! The window that screen and camera share: a compositor with picture in picture.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::options::Size;
use crate::rtp::Track;

/// How long the camera waits for the screen, which usually arrives within a tenth of this.
const SCREEN_TIMEOUT: Duration = Duration::from_millis(700);

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rect {
    x: i32,
    y: i32,
    size: Size,
}

/// The videos that have arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Scene {
    screen: Option<Size>,
    camera: Option<Size>,
    /// Stopped by the teacher, so hidden.
    screen_is_off: bool,
    camera_is_off: bool,
}

impl Scene {
    /// The size of the composed video: that of the screen, so that its letters are not scaled. A window keeps its first
    /// size, so a camera that arrives first must not make it small.
    fn canvas(self) -> Size {
        self.screen.unwrap_or(Size { width: 1280, height: 720 })
    }

    /// The camera's place: a quarter of the width in the bottom right corner, where a lecture has least, or the whole
    /// window if there is no screen.
    fn camera_rect(self) -> Option<Rect> {
        let (canvas, camera) = (self.canvas(), self.camera?);
        if self.screen.is_none() || self.screen_is_off {
            return Some(Rect { x: 0, y: 0, size: canvas });
        }
        let width = (canvas.width / 4).max(2) & !1;
        let height = ((width * camera.height / camera.width.max(1)).min(canvas.height / 2)).max(2) & !1;
        let margin = canvas.width / 50;
        let right = |outer: u32, inner: u32| outer.saturating_sub(inner + margin) as i32 & !1;
        Some(Rect { x: right(canvas.width, width), y: right(canvas.height, height), size: Size { width, height } })
    }
}

/// The elements behind the compositor, from the sink upstream: the order of their start.
const CHAIN: [&str; 10] = [
    "window",
    "window-title",
    "window-note",
    "window-chat",
    "window-message",
    "window-dim",
    "layout-scale",
    "layout-queue",
    "canvas",
    "layout",
];

/// A window that several tracks share.
///
/// The window is completed while media flows, because a compositor waits for all its pads, and a window keeps its first
/// size. So the window starts when the size of the first video is known, and each track joins with its first frame.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    chain: Vec<gst::Element>,
    expects_screen: bool,
    tracks: Arc<Mutex<Compositor>>,
    screen_came: Arc<Condvar>,
}

/// The state of the compositor.
#[derive(Debug, Default)]
struct Compositor {
    shown: Scene,
    pads: Vec<(Track, gst::Pad)>,
}

impl Compositor {
    /// Sets the place and visibility of each track.
    fn arrange(&self) {
        for (track, pad) in &self.pads {
            let (place, is_off) = match track {
                Track::Camera => (self.shown.camera_rect(), self.shown.camera_is_off),
                _ => (Some(Rect { x: 0, y: 0, size: self.shown.canvas() }), self.shown.screen_is_off),
            };
            let Some(Rect { x, y, size }) = place else { continue };
            pad.set_property("xpos", x);
            pad.set_property("ypos", y);
            pad.set_property("width", size.width as i32);
            pad.set_property("height", size.height as i32);
            pad.set_property("alpha", if is_off { 0.0 } else { 1.0 });
        }
    }
}

/// Prepares the shared window of a pipeline. None if its tracks do not share one.
pub(super) fn attach(pipeline: &gst::Pipeline) -> Option<Layout> {
    let chain: Vec<gst::Element> = CHAIN.iter().filter_map(|name| pipeline.by_name(name)).collect();
    if chain.len() < CHAIN.len() {
        return None;
    }
    for element in &chain {
        element.set_locked_state(true);
    }
    let output = |track: Track| pipeline.by_name(&format!("{track}-shown"))?.static_pad("src");
    let outputs: Vec<_> =
        [Track::Screen, Track::Camera].into_iter().filter_map(|track| Some((track, output(track)?))).collect();
    let layout = Layout {
        pipeline: pipeline.downgrade(),
        chain,
        expects_screen: outputs.iter().any(|(track, _)| *track == Track::Screen),
        tracks: Arc::default(),
        screen_came: Arc::default(),
    };
    for (track, output) in outputs {
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
    /// Shows or hides a track.
    pub(super) fn show(&self, track: Track, shown: bool) {
        let Ok(mut tracks) = self.tracks.lock() else { return };
        match track {
            Track::Camera => tracks.shown.camera_is_off = !shown,
            _ => tracks.shown.screen_is_off = !shown,
        }
        tracks.arrange();
    }

    /// Handles the caps of a track: its first frame is about to come, or its size changes.
    fn came(&self, track: Track, output: &gst::Pad, size: Size) {
        let Some(mut tracks) = self.wait_for_turn(track) else { return };
        match track {
            Track::Camera => tracks.shown.camera = Some(size),
            _ => tracks.shown.screen = Some(size),
        }
        self.screen_came.notify_all();
        self.set_canvas(tracks.shown.canvas());
        if tracks.pads.is_empty() {
            self.open();
        }
        if tracks.pads.iter().all(|(joined, _)| *joined != track)
            && let Some(pad) = self.join(track, output)
        {
            tracks.pads.push((track, pad));
        }
        tracks.arrange();
    }

    /// Makes the camera wait for the screen, up to [`SCREEN_TIMEOUT`].
    fn wait_for_turn(&self, track: Track) -> Option<MutexGuard<'_, Compositor>> {
        let tracks = self.tracks.lock().ok()?;
        if track == Track::Screen || !self.expects_screen {
            return Some(tracks);
        }
        let is_missing = |tracks: &mut Compositor| tracks.shown.screen.is_none() && tracks.pads.is_empty();
        let (tracks, _) = self.screen_came.wait_timeout_while(tracks, SCREEN_TIMEOUT, is_missing).ok()?;
        Some(tracks)
    }

    /// Starts the window.
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

    /// Requests a compositor pad for a track.
    fn join(&self, track: Track, output: &gst::Pad) -> Option<gst::Pad> {
        let pad = self.chain.last()?.request_pad_simple("sink_%u")?;
        pad.set_property_from_str("sizing-policy", "keep-aspect-ratio");
        pad.set_property("zorder", if track == Track::Camera { 1u32 } else { 0 });
        // Both sides have raw video. If this fails, the pipeline reports an error.
        let _ = output.link(&pad);
        Some(pad)
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
}

/// The frame size in caps.
pub(super) fn size_of(caps: &gst::CapsRef) -> Option<Size> {
    let shape = caps.structure(0)?;
    let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok());
    Some(Size { width: edge("width")?, height: edge("height")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: Option<Size> = Some(Size { width: 1280, height: 720 });
    const CAMERA: Option<Size> = Some(Size { width: 640, height: 360 });

    #[test]
    fn the_camera_is_in_the_corner_or_fills_the_window_alone() {
        let alone = Scene { camera: CAMERA, ..Scene::default() };
        assert_eq!(alone.camera_rect(), Some(Rect { x: 0, y: 0, size: Size { width: 1280, height: 720 } }));
        let both = Scene { screen: HD, camera: CAMERA, ..Scene::default() };
        let place = both.camera_rect().unwrap();
        assert_eq!(place, Rect { x: 934, y: 514, size: Size { width: 320, height: 180 } });
        let screen_off = Scene { screen_is_off: true, ..both };
        assert_eq!(screen_off.camera_rect(), alone.camera_rect(), "a screen that has stopped leaves all to the camera");
        // Portrait video of a phone stays out of the upper half.
        let tall = Scene { camera: Some(Size { width: 360, height: 640 }), ..both };
        assert_eq!(tall.camera_rect().unwrap().size, Size { width: 320, height: 360 });
    }
}
