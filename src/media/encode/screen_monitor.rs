//! Watches the raw video of the screen in front of its encoders.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::changes::{Difference, PictureState, Plane, SceneDetector, difference, has_moved};

/// The state of the raw video at a tee. The tee passes each picture to all branches on one thread, so a branch that
/// gets a picture finds the state of that picture.
#[derive(Debug, Default)]
pub(in crate::media) struct ScreenMonitor(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    detector: SceneDetector,
    state: PictureState,
    /// The picture before, of which no copy is made.
    before: Option<(gst::Buffer, gst_video::VideoInfo)>,
}

impl ScreenMonitor {
    /// Watches the pictures that a tee gets.
    pub(in crate::media) fn watch(tee: &gst::Element) -> Arc<Self> {
        let this = Arc::<Self>::default();
        let Some(pad) = tee.static_pad("sink") else { return this };
        let monitor = Arc::downgrade(&this);
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(monitor), Some(buffer), Some(caps)) = (monitor.upgrade(), info.buffer(), pad.current_caps())
                && let Ok(info) = gst_video::VideoInfo::from_caps(&caps)
            {
                monitor.lock().on_picture(buffer, info);
            }
            gst::PadProbeReturn::Ok
        });
        this
    }

    /// The state of the newest picture.
    pub(super) fn state(&self) -> PictureState {
        self.lock().state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn on_picture(&mut self, buffer: &gst::Buffer, info: gst_video::VideoInfo) {
        let before = self.before.replace((buffer.clone(), info.clone()));
        let Some(time) = buffer.pts() else { return };
        // The first picture is a key frame anyway.
        let Some((before, _)) = before.filter(|(_, of)| *of == info) else { return };
        let map = |buffer| Frame::from_buffer_ref_readable(buffer, &info).ok();
        // A picture that can't be read is passed on unchanged.
        let (Some(before), Some(now)) = (map(&before), map(buffer)) else { return };
        let planes = (0..info.n_planes()).map(|n| plane(&before, n).zip(plane(&now, n)));
        let Some(planes) = planes.collect::<Option<Vec<_>>>() else { return };
        let [(old, new), chroma @ ..] = &planes[..] else { return };
        let differs = |(old, new): &(Plane<'_>, Plane<'_>)| difference(*old, *new) != Difference::None;
        let difference = match difference(*old, *new) {
            Difference::None if chroma.iter().any(differs) => Difference::Share(0.0),
            found => found,
        };
        self.state = self.detector.on_picture(time.into(), difference, || has_moved(*old, *new));
    }
}

type Frame<'a> = gst_video::VideoFrameRef<&'a gst::BufferRef>;

/// A plane of a picture in a planar format.
fn plane<'a>(frame: &'a Frame<'_>, n: u32) -> Option<Plane<'a>> {
    let stride = usize::try_from(*frame.plane_stride().get(n as usize)?).ok()?;
    let shift = u32::from(n > 0);
    let (width, height) = ((frame.width() >> shift) as usize, (frame.height() >> shift) as usize);
    Some(Plane { bytes: frame.plane_data(n).ok()?, stride, width, height })
}
