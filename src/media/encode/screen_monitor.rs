//! Watches the raw video of the screen in front of its encoders.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::changes::{Difference, Luma, PictureState, SceneDetector, difference};

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
        let compared = before.and_then(|(before, of)| if of == info { compare(&before, buffer, &info) } else { None });
        // The first picture is a key frame anyway.
        let Some(difference) = compared else { return };
        self.state = self.detector.on_picture(time.into(), difference);
    }
}

/// None if a picture can't be read.
fn compare(before: &gst::Buffer, now: &gst::Buffer, info: &gst_video::VideoInfo) -> Option<Difference> {
    let before = gst_video::VideoFrameRef::from_buffer_ref_readable(before, info).ok()?;
    let now = gst_video::VideoFrameRef::from_buffer_ref_readable(now, info).ok()?;
    let plane = |frame: &gst_video::VideoFrameRef<&gst::BufferRef>, n: u32| -> Option<(usize, usize, usize)> {
        let stride = usize::try_from(*frame.plane_stride().get(n as usize)?).ok()?;
        let shift = u32::from(n > 0);
        Some((stride, (info.width() >> shift) as usize, (info.height() >> shift) as usize))
    };
    let (stride, width, height) = plane(&before, 0)?;
    let (now_stride, ..) = plane(&now, 0)?;
    let luma = |bytes, stride| Luma { bytes, stride, width, height };
    let found = difference(luma(before.plane_data(0).ok()?, stride), luma(now.plane_data(0).ok()?, now_stride));
    if found != Difference::None {
        return Some(found);
    }
    for n in 1..info.n_planes() {
        let ((stride, width, height), (now_stride, ..)) = (plane(&before, n)?, plane(&now, n)?);
        let luma = |bytes, stride| Luma { bytes, stride, width, height };
        if difference(luma(before.plane_data(n).ok()?, stride), luma(now.plane_data(n).ok()?, now_stride))
            != Difference::None
        {
            return Some(Difference::Share(0.0));
        }
    }
    Some(Difference::None)
}
