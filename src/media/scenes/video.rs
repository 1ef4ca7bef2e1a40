//! One stream of pictures for the encoders: frames of videos, and stills again and again.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::media::file;
use crate::media::options::Size;

/// How far ahead of time frames are pushed: a thread that wakes late leaves no gap, and a cut comes soon.
pub(super) const LEAD: gst::ClockTime = gst::ClockTime::from_mseconds(60);

/// The time between two pictures of a still: with the time of a tick, nobody waits longer than 0.1 s for a picture.
const STILL: gst::ClockTime = gst::ClockTime::from_mseconds(80);

/// The most frames in the queue of the pipeline. An encoder that is too slow gets fewer frames instead of late ones.
const MAX_QUEUED: u64 = 6;

/// The source of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visible {
    /// Nothing, or a black picture in place of a scene.
    Black,
    /// A picture of the scene with this number.
    Scene {
        /// Counts the scenes shown.
        number: u64,
        /// The index of the picture.
        picture: usize,
        /// Whether pictures of other indexes look different, as pages do, and the numbers of a countdown do not.
        is_page: bool,
    },
}

impl Visible {
    /// Whether the first picture must be a key frame, because nothing of the picture before can predict it.
    fn differs_from(self, before: Self) -> bool {
        match (self, before) {
            (Self::Scene { number, is_page, .. }, Self::Scene { number: other, .. }) => is_page || number != other,
            _ => true,
        }
    }
}

/// The appsrc for pictures.
pub(super) struct VideoOutput {
    source: gst_app::AppSrc,
    caps: gst::Caps,
    black: gst::Buffer,
    last: Option<(gst::Buffer, Visible, gst::ClockTime)>,
}

impl VideoOutput {
    /// Pictures of this size. `None` if there is no such picture.
    pub(super) fn new(source: gst_app::AppSrc, size: Size, fps: u32) -> Option<Self> {
        let (black, caps) = file::black(size, fps)?;
        Some(Self { source, caps, black, last: None })
    }

    /// The caps of all pictures.
    pub(super) fn caps(&self) -> &gst::Caps {
        &self.caps
    }

    /// A black picture.
    pub(super) fn black(&self) -> gst::Buffer {
        self.black.clone()
    }

    /// What was pushed last.
    pub(super) fn visible(&self) -> Option<Visible> {
        self.last.as_ref().map(|(_, visible, _)| *visible)
    }

    /// The first time that is free.
    pub(super) fn free_at(&self) -> gst::ClockTime {
        self.last.as_ref().map_or(gst::ClockTime::ZERO, |(_, _, time)| *time + gst::ClockTime::MSECOND)
    }

    /// Pushes the frame of a video for a time, or drops the frame if the encoder is too slow.
    pub(super) fn frame(&mut self, picture: &gst::Buffer, visible: Visible, time: gst::ClockTime) {
        if self.source.property::<u64>("current-level-buffers") >= MAX_QUEUED {
            return;
        }
        let time = time.max(self.free_at());
        if let Some((before, of, last)) = self.last.clone()
            && time > last + STILL
            && of != visible
        {
            // A video begins a moment later than it is cut to.
            self.push(&before, of, last + STILL);
        }
        let before = self.visible();
        // Not for the very first frame, which is a key frame anyway and must not be requested.
        if before.is_some_and(|before| before != visible && visible.differs_from(before)) {
            let event = gst_video::DownstreamForceKeyUnitEvent::builder().running_time(time).all_headers(true).build();
            // The event travels in order with the buffers. If it fails, the encoder decides by itself.
            let _ = self.source.send_event(event);
        }
        self.push(picture, visible, time);
    }

    fn push(&mut self, picture: &gst::Buffer, visible: Visible, time: gst::ClockTime) {
        let mut buffer = picture.copy();
        let about = buffer.make_mut();
        about.set_pts(time);
        about.set_dts(gst::ClockTime::NONE);
        about.set_duration(gst::ClockTime::NONE);
        let sample = gst::Sample::builder().buffer(&buffer).caps(&self.caps).build();
        // This fails only while the pipeline stops.
        let _ = self.source.push_sample(&sample);
        self.last = Some((picture.clone(), visible, time));
    }

    /// Pushes a still if it is new, or is due again. Returns whether it is new.
    pub(super) fn still(&mut self, picture: &gst::Buffer, visible: Visible, now: gst::ClockTime) -> bool {
        let is_new = self.visible() != Some(visible);
        if is_new {
            self.frame(picture, visible, now);
            return self.visible() == Some(visible);
        }
        self.repeat(now)
    }

    /// Pushes the last picture again if that is due. Returns false, as nothing is new.
    pub(super) fn repeat(&mut self, now: gst::ClockTime) -> bool {
        if let Some((picture, visible, time)) = &self.last
            && now >= *time + STILL
        {
            let (picture, visible) = (picture.clone(), *visible);
            self.frame(&picture, visible, now);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_scenes_begin_with_a_key_frame_and_numbers_of_a_countdown_do_not() {
        let scene = |number, picture, is_page| Visible::Scene { number, picture, is_page };
        assert!(scene(2, 0, false).differs_from(scene(1, 0, false)));
        assert!(scene(1, 1, true).differs_from(scene(1, 0, true)));
        assert!(!scene(1, 8, false).differs_from(scene(1, 9, false)));
        assert!(scene(1, 8, false).differs_from(Visible::Black) && Visible::Black.differs_from(scene(1, 8, false)));
    }
}
