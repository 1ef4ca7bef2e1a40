//! Where screen and camera stand in the window they share.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::options::Size;
use crate::rtp::Track;

/// How long the camera waits for the screen, which usually comes within a tenth of that.
const SCREEN_FIRST: Duration = Duration::from_millis(700);

/// A rectangle in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    x: i32,
    y: i32,
    size: Size,
}

/// The pictures that have come so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shown {
    screen: Option<Size>,
    camera: Option<Size>,
}

impl Shown {
    /// The size of the window's content: that of the screen, so that its letters are not scaled. A window keeps the
    /// size it opened with, so a camera that is there first must not make it small.
    fn canvas(self) -> Size {
        self.screen.unwrap_or(Size { width: 1280, height: 720 })
    }

    /// The camera has a quarter of the width, in the corner at the bottom right, where a lecture has least; alone it
    /// has the whole window.
    fn camera_place(self) -> Option<Place> {
        let (canvas, camera) = (self.canvas(), self.camera?);
        if self.screen.is_none() {
            return Some(Place { x: 0, y: 0, size: canvas });
        }
        let width = (canvas.width / 4).max(2) & !1;
        let height = ((width * camera.height / camera.width.max(1)).min(canvas.height / 2)).max(2) & !1;
        let margin = canvas.width / 50;
        let right = |outer: u32, inner: u32| outer.saturating_sub(inner + margin) as i32 & !1;
        Some(Place { x: right(canvas.width, width), y: right(canvas.height, height), size: Size { width, height } })
    }
}

/// The window that tracks share.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    compositor: gst::Element,
    canvas: gst::Element,
    tracks: Arc<Mutex<Tracks>>,
    screen_came: Arc<Condvar>,
}

/// What the compositor has.
#[derive(Debug, Default)]
struct Tracks {
    shown: Shown,
    pads: Vec<(Track, gst::Pad)>,
}

impl Layout {
    /// The layout of a graph, if it has one.
    pub(super) fn of(pipeline: &gst::Pipeline) -> Option<Self> {
        let (compositor, canvas) = (pipeline.by_name("layout")?, pipeline.by_name("canvas")?);
        Some(Self { compositor, canvas, tracks: Arc::default(), screen_came: Arc::default() })
    }

    /// Gives a track its place. Called when its first packet comes, and then again without effect.
    pub(super) fn join(&self, track: Track, queue: &gst::Element) {
        let Ok(mut tracks) = self.tracks.lock() else { return };
        if tracks.pads.iter().any(|(joined, _)| *joined == track) {
            return;
        }
        let (Some(output), Some(pad)) = (queue.static_pad("src"), self.compositor.request_pad_simple("sink_%u")) else {
            return;
        };
        pad.set_property_from_str("sizing-policy", "keep-aspect-ratio");
        pad.set_property("zorder", if track == Track::Camera { 1u32 } else { 0 });
        let this = self.clone();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
                && let Some(size) = size_of(caps.caps())
            {
                if track == Track::Camera {
                    this.await_screen();
                }
                this.resized(track, size);
            }
            gst::PadProbeReturn::Ok
        });
        // Both carry raw pictures; if it fails the graph reports an error.
        let _ = output.link(&pad);
        tracks.pads.push((track, pad));
    }

    /// Lets the screen be first, but not for long: a window keeps the size that it opened with.
    fn await_screen(&self) {
        let Ok(tracks) = self.tracks.lock() else { return };
        let is_missing = |tracks: &mut Tracks| tracks.shown.screen.is_none();
        // Whether it came or not, the camera is shown now.
        let _ = self.screen_came.wait_timeout_while(tracks, SCREEN_FIRST, is_missing);
    }

    /// Arranges the window anew: a track has another size.
    fn resized(&self, track: Track, size: Size) {
        let Ok(mut tracks) = self.tracks.lock() else { return };
        match track {
            Track::Camera => tracks.shown.camera = Some(size),
            _ => tracks.shown.screen = Some(size),
        }
        self.screen_came.notify_all();
        let canvas = tracks.shown.canvas();
        for (track, pad) in &tracks.pads {
            let place = match track {
                Track::Camera => tracks.shown.camera_place(),
                _ => Some(Place { x: 0, y: 0, size: canvas }),
            };
            let Some(Place { x, y, size }) = place else { continue };
            pad.set_property("xpos", x);
            pad.set_property("ypos", y);
            pad.set_property("width", size.width as i32);
            pad.set_property("height", size.height as i32);
        }
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", canvas.width as i32)
            .field("height", canvas.height as i32)
            .field("framerate", gst::Fraction::new(30, 1))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build();
        self.canvas.set_property("caps", caps);
    }
}

fn size_of(caps: &gst::CapsRef) -> Option<Size> {
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
    fn the_camera_is_in_the_corner_and_alone_it_fills_the_window() {
        let alone = Shown { screen: None, camera: CAMERA };
        assert_eq!(alone.camera_place(), Some(Place { x: 0, y: 0, size: Size { width: 1280, height: 720 } }));
        let both = Shown { screen: HD, camera: CAMERA };
        let place = both.camera_place().unwrap();
        assert_eq!(place, Place { x: 934, y: 514, size: Size { width: 320, height: 180 } });
        // A tall picture of a telephone keeps off the upper half.
        let tall = Shown { screen: HD, camera: Some(Size { width: 360, height: 640 }) };
        assert_eq!(tall.camera_place().unwrap().size, Size { width: 320, height: 360 });
    }
}
