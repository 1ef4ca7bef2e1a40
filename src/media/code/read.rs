//! Codes in what a render has decoded.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::super::render::Render;
use super::{clock_ms, read};
use crate::rtp::Track;

/// A decoded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The number that its code says, and when it was captured, by [`now_ms`](super::now_ms); none where no code can be
    /// read.
    pub code: Option<(u16, u64)>,
    /// When it was decoded, by the same clock.
    pub at_ms: u64,
    /// When a sink that keeps time would show it, by the same clock; none where the render does not know.
    pub shown_ms: Option<u64>,
    /// Pixels from left to right.
    pub width: u32,
}

impl Render {
    /// Reads the codes of a track from now on. `on_picture` is called on the decoder's thread and must not block.
    pub fn read_codes(&self, track: Track, on_picture: impl Fn(Seen) + Send + Sync + 'static) {
        let decoder = self.pipeline().by_name(&format!("{track}-decoder"));
        let Some(pad) = decoder.and_then(|decoder| decoder.static_pad("src")) else { return };
        let weak = self.pipeline().downgrade();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let seen = info.buffer().zip(pad.current_caps()).and_then(|(buffer, caps)| see(buffer, &caps));
            let shown_ms = weak.upgrade().zip(info.buffer()).and_then(|(graph, buffer)| shown_ms(&graph, pad, buffer));
            seen.into_iter().for_each(|seen| on_picture(Seen { shown_ms, ..seen }));
            gst::PadProbeReturn::Ok
        });
    }
}

/// None for what is no picture.
fn see(buffer: &gst::BufferRef, caps: &gst::CapsRef) -> Option<Seen> {
    let at_ms = clock_ms();
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let width = info.width();
    // The first plane is the luma in all that decoders here give.
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).ok();
    let code = frame.and_then(|frame| {
        let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
        read(frame.plane_data(0).ok()?, stride, width as usize)
    });
    Some(Seen { code: code.map(|code| (code.number, code.captured(at_ms))), at_ms, shown_ms: None, width })
}

/// When a picture is due at a sink: its time, and the latency of the whole graph; at once where that has passed.
fn shown_ms(graph: &gst::Pipeline, pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<u64> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let running = segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?)?;
    let due = graph.base_time()? + running + graph.latency()?;
    let left = due.saturating_sub(graph.clock()?.time());
    Some(clock_ms() + left.mseconds())
}
