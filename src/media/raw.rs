//! Raw video frames as plain bytes, for whoever measures: of a source and in front of the encoders, to be drawn into,
//! and behind a decoder, to be read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::capture::Prepared;
use super::contract::raw_video_of;
use super::encode::output::instant_of;
use super::render::Render;
use crate::rtp::Track;

/// A frame that an encoder is about to get, in I420 or NV12.
#[derive(Debug)]
pub struct EncoderInput<'a> {
    /// The name of the encoder's element, for example `screen-low-vp8-encoder`.
    pub encoder: &'a str,
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// When the frame was captured, since the graph began: the same for all encodings of a frame.
    pub running_time: Duration,
    /// When the frame was captured; now, where the graph has no clock.
    pub captured: Instant,
    /// The luma plane, then two chroma planes (I420) or one of pairs (NV12).
    pub planes: Vec<PlaneMut<'a>>,
}

/// A frame of a source, in I420, before it is passed to the encoders.
#[derive(Debug)]
pub struct RawFrame<'a> {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// The luma plane and two chroma planes.
    pub planes: Vec<PlaneMut<'a>>,
}

/// One plane of a frame.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    /// All lines, one after another.
    pub bytes: &'a mut [u8],
    /// Bytes from one line to the next.
    pub stride: usize,
}

/// A frame that a decoder gave.
#[derive(Debug, Clone, Copy)]
pub struct DecoderOutput<'a> {
    /// Pixels from left to right.
    pub width: usize,
    /// The luma plane, and the bytes from one line to the next; none where the format has none.
    pub luma: Option<(&'a [u8], usize)>,
    /// How long until a sink that keeps time shows the frame; none where the graph does not know.
    pub shown_in: Option<Duration>,
}

impl Prepared {
    /// Calls `hook` with every I420 or NV12 frame in front of each video encoder of this capture, also of encoders that
    /// the capture makes later. `hook` runs on the encoder's thread and must not block.
    pub fn on_encoder_input(&self, hook: impl Fn(EncoderInput<'_>) + Send + Sync + 'static) {
        watch_encoders(self.pipeline(), Arc::new(hook));
    }
}

impl Prepared {
    /// Calls `hook` with every frame of a video track before the encoders get it. `hook` runs on the source's thread.
    pub fn on_raw_video(&self, track: Track, hook: impl Fn(RawFrame<'_>) + Send + Sync + 'static) {
        let tee = self.pipeline().by_name(&raw_video_of(track));
        let Some(pad) = tee.and_then(|tee| tee.static_pad("sink")) else { return };
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(buffer), Some(caps)) = (info.buffer_mut(), pad.current_caps())
                && let Ok(info) = gst_video::VideoInfo::from_caps(&caps)
                && let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), &info)
            {
                let (width, height) = (info.width() as usize, info.height() as usize);
                hook(RawFrame { width, height, planes: planes(&mut frame) });
            }
            gst::PadProbeReturn::Ok
        });
    }
}

impl Render {
    /// Calls `hook` with every frame that the decoder of `track` gives from now on. `hook` runs on the decoder's thread
    /// and must not block.
    pub fn on_decoder_output(&self, track: Track, hook: impl Fn(DecoderOutput<'_>) + Send + Sync + 'static) {
        let decoder = self.pipeline().by_name(&format!("{track}-decoder"));
        let Some(pad) = decoder.and_then(|decoder| decoder.static_pad("src")) else { return };
        let graph = self.pipeline().downgrade();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps()) {
                let shown_in = graph.upgrade().and_then(|graph| shown_in(&graph, pad, buffer));
                // A buffer that is no video frame is not for the hook.
                let _ = give_output(buffer, &caps, shown_in, &hook);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

type InputHook = Arc<dyn Fn(EncoderInput<'_>) + Send + Sync>;

fn watch_encoders(pipeline: &gst::Pipeline, hook: InputHook) {
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        watch_encoder(&element, &hook);
    }
    pipeline.connect_deep_element_added(move |_, _, element| watch_encoder(element, &hook));
}

fn watch_encoder(element: &gst::Element, hook: &InputHook) {
    let class = element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned));
    if !class.is_some_and(|class| class.contains("Encoder/Video")) {
        return;
    }
    let Some(pad) = element.static_pad("sink") else { return };
    let hook = Arc::clone(hook);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(buffer) = info.buffer_mut() {
            // Other formats pass untouched.
            let _ = give_input(pad, buffer, &*hook);
        }
        gst::PadProbeReturn::Ok
    });
}

fn give_input(pad: &gst::Pad, buffer: &mut gst::Buffer, hook: &dyn Fn(EncoderInput<'_>)) -> Option<()> {
    let encoder = pad.parent_element()?;
    let info = gst_video::VideoInfo::from_caps(&*pad.current_caps()?).ok()?;
    if !matches!(info.format(), gst_video::VideoFormat::I420 | gst_video::VideoFormat::Nv12) {
        return None;
    }
    let running = running_time(pad, buffer)?;
    let captured = instant_of(&encoder, running).unwrap_or_else(Instant::now);
    // A buffer that is shared with another encoding is copied here.
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), &info).ok()?;
    hook(EncoderInput {
        encoder: &encoder.name(),
        width: info.width() as usize,
        height: info.height() as usize,
        running_time: running.into(),
        captured,
        planes: planes(&mut frame),
    });
    Some(())
}

fn planes<'a>(frame: &'a mut gst_video::VideoFrameRef<&mut gst::BufferRef>) -> Vec<PlaneMut<'a>> {
    let strides: Vec<usize> = frame.plane_stride().iter().map(|stride| (*stride).max(0) as usize).collect();
    let planes = frame.planes_data_mut().into_iter().zip(strides);
    planes.map(|(bytes, stride)| PlaneMut { bytes, stride }).collect()
}

fn give_output(
    buffer: &gst::BufferRef,
    caps: &gst::CapsRef,
    shown_in: Option<Duration>,
    hook: &dyn Fn(DecoderOutput<'_>),
) -> Option<()> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).ok();
    // The first plane is the luma in all formats that our decoders give.
    let luma = frame.as_ref().and_then(|frame| {
        let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
        Some((frame.plane_data(0).ok()?, stride))
    });
    hook(DecoderOutput { width: info.width() as usize, luma, shown_in });
    Some(())
}

/// How long until a frame is due at a sink: its time plus the latency of the whole graph. Zero where that has passed.
fn shown_in(graph: &gst::Pipeline, pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<Duration> {
    let due = graph.base_time()? + running_time(pad, buffer)? + graph.latency()?;
    Some(due.saturating_sub(graph.clock()?.time()).into())
}

fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_encoders_that_are_added_later_are_watched_too() {
        super::super::init().unwrap();
        let watched = |text: &str| {
            let pipeline = gst::Pipeline::new();
            let hook: InputHook = Arc::new(|_| {});
            watch_encoders(&pipeline, Arc::clone(&hook));
            let bin = gst::parse::bin_from_description(text, false).unwrap();
            pipeline.add(&bin).unwrap();
            // The pipeline's signal handler and this function hold two; each probe holds one more.
            Arc::strong_count(&hook) - 2
        };
        let source = "videotestsrc ! queue !";
        assert_eq!(watched(&format!("{source} vp8enc ! fakesink {source} x264enc ! fakesink")), 2);
        assert_eq!(watched(&format!("{source} jpegenc ! fakesink audiotestsrc ! opusenc ! fakesink")), 0);
    }
}
