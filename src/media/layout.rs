//! Where screen and camera stand in the window they share.

use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::options::Size;
use crate::rtp::Track;

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

/// The pad of the compositor for a track.
pub(super) fn pad_name(track: Track) -> &'static str {
    // Camera above screen: the compositor stacks pads in the order of their numbers.
    if track == Track::Camera { "sink_1" } else { "sink_0" }
}

/// Arranges the window anew whenever a track has a new size.
pub(super) fn attach(pipeline: &gst::Pipeline) {
    let (Some(compositor), Some(canvas)) = (pipeline.by_name("layout"), pipeline.by_name("canvas")) else { return };
    let shown = Arc::new(Mutex::new(Shown::default()));
    for track in [Track::Screen, Track::Camera] {
        let Some(pad) = compositor.static_pad(pad_name(track)) else { continue };
        pad.set_property_from_str("sizing-policy", "keep-aspect-ratio");
        let (shown, canvas, compositor) = (shown.clone(), canvas.clone(), compositor.downgrade());
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
                && let (Some(size), Ok(mut shown)) = (size_of(caps.caps()), shown.lock())
                && let Some(compositor) = compositor.upgrade()
            {
                match track {
                    Track::Camera => shown.camera = Some(size),
                    _ => shown.screen = Some(size),
                }
                arrange(*shown, &compositor, &canvas);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

fn size_of(caps: &gst::CapsRef) -> Option<Size> {
    let shape = caps.structure(0)?;
    let edge = |name: &str| shape.get::<i32>(name).ok().and_then(|n| u32::try_from(n).ok());
    Some(Size { width: edge("width")?, height: edge("height")? })
}

fn arrange(shown: Shown, compositor: &gst::Element, canvas: &gst::Element) {
    let size = shown.canvas();
    let place = |track: Track, place: Place| {
        if let Some(pad) = compositor.static_pad(pad_name(track)) {
            pad.set_property("xpos", place.x);
            pad.set_property("ypos", place.y);
            pad.set_property("width", place.size.width as i32);
            pad.set_property("height", place.size.height as i32);
        }
    };
    place(Track::Screen, Place { x: 0, y: 0, size });
    if let Some(camera) = shown.camera_place() {
        place(Track::Camera, camera);
    }
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", size.width as i32)
        .field("height", size.height as i32)
        .field("framerate", gst::Fraction::new(30, 1))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    canvas.set_property("caps", caps);
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
