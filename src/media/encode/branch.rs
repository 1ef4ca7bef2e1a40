//! A branch of the pipeline: queue, encoder, payloader and appsink of one encoding, behind the tee of raw video.
//!
//! Branches are added and removed while the pipeline runs, without effect on other branches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::branch_spec::BranchSpec;
use super::config::Reduction;
use super::encoder::buffer_sizes;
use super::frame_dropper::FrameDropper;
use super::output::{EncodedOutput, request_key_frame, request_key_frame_from};
use super::rate_control::{Limits, RateControl};
use super::screen_monitor::ScreenMonitor;
use crate::media::error::MediaError;
use crate::media::options::Size;
use crate::media::pipelines;

/// Timeout for the tee to finish pushing a buffer into the branch. The branch's queue drops, so this takes
/// microseconds.
const UNLINK_TIMEOUT: Duration = Duration::from_secs(1);

/// The elements of one encoding, in a bin.
#[derive(Debug)]
pub(in crate::media) struct Branch {
    pub output: EncodedOutput,
    bin: gst::Bin,
    entry: gst::GhostPad,
    dropper: Arc<FrameDropper>,
    /// The request pad of the tee, while it is linked.
    source: Option<gst::Pad>,
}

impl Branch {
    /// Builds the bin, outside of any pipeline. With a monitor of the raw video, a new page gets a key frame at once,
    /// and a still picture that has been refined is encoded seldom.
    pub(in crate::media) fn build(spec: &BranchSpec, monitor: Option<Arc<ScreenMonitor>>) -> Result<Self, MediaError> {
        let failed = |cause: String| MediaError::Pipeline { pipeline: spec.name.clone(), cause };
        let missing = |what: &str| failed(format!("{}{what} is missing", spec.name));
        let bin = pipelines::parse_bin(&spec.bin_name(), &spec.text)?;
        let sink = bin.by_name(&spec.name).and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
        let encoder = bin.by_name(&format!("{}-encoder", spec.name));
        let output = EncodedOutput::new(spec.encoding, sink.ok_or_else(|| missing(""))?, encoder.as_ref());
        let queue = bin.by_name(&format!("{}-entry", spec.name)).ok_or_else(|| missing("-entry"))?;
        let (first, last) = queue.static_pad("sink").zip(queue.static_pad("src")).ok_or_else(|| missing("-entry"))?;
        if let Some(filter) = bin.by_name(&format!("{}-size", spec.name)) {
            reduce_size(&last, filter, spec.config.reduction);
        }
        let dropper = Arc::new(FrameDropper::new(spec.config.reduction, spec.config.fps));
        let pages = monitor.zip(encoder).map(|(monitor, encoder)| Pages::new(spec, monitor, encoder, output.sink()));
        let entry = entry(&first, dropper.clone(), pages).map_err(|error| failed(error.to_string()))?;
        bin.add_pad(&entry).map_err(|error| failed(error.to_string()))?;
        Ok(Self { output, bin, entry, dropper, source: None })
    }

    /// A function that requests a key frame for the next captured frame. Call it without holding a lock: the request
    /// event travels through the encoder.
    pub(in crate::media) fn key_frame_request(&self) -> impl Fn() + use<> {
        let (sink, dropper) = (self.output.sink(), self.dropper.clone());
        move || {
            dropper.keep_next();
            request_key_frame(&sink);
        }
    }

    /// Adds the bin to the pipeline, brings it into the pipeline's state and links it to the tee.
    pub(in crate::media) fn add_to(&mut self, pipeline: &gst::Pipeline, tee: &gst::Element) -> Result<(), MediaError> {
        let name = self.bin.name();
        let failed = |cause: &str| MediaError::Pipeline { pipeline: name.to_string(), cause: cause.into() };
        pipeline.add(&self.bin).map_err(|error| failed(&error.message))?;
        // Start the bin before linking it: the first buffer must not meet a pad that is not active.
        self.bin.sync_state_with_parent().map_err(|_| failed("it can't start"))?;
        let source = tee.request_pad_simple("src_%u").ok_or_else(|| failed("the tee has no pad for the branch"))?;
        // Upstream events of one branch must not reach the source: a reconfigure event would make the source negotiate
        // again for all branches. Return `Handled`, because `Drop` frees an event twice in GStreamer 1.22.
        source.add_probe(gst::PadProbeType::EVENT_UPSTREAM, |_, _| gst::PadProbeReturn::Handled);
        let linked = source.link(&self.entry);
        self.source = Some(source);
        linked.map(|_| ()).map_err(|error| failed(&error.to_string()))
    }

    /// Unlinks and removes the bin, complete or not. Don't call this from a streaming thread: it waits for the threads
    /// of the bin.
    pub(in crate::media) fn remove_from(self, pipeline: &gst::Pipeline) {
        if let Some(source) = &self.source {
            unlink(source, &self.entry);
        }
        // A change to Null always succeeds, and waits for the encoder.
        let _ = self.bin.set_state(gst::State::Null);
        // This fails only if the bin was never added.
        let _ = pipeline.remove(&self.bin);
        if let Some(source) = &self.source
            && let Some(tee) = source.parent_element()
        {
            tee.release_request_pad(source);
        }
    }
}

/// Unlinks the tee's pad while no buffer passes.
fn unlink(source: &gst::Pad, entry: &gst::GhostPad) {
    let (done, is_done) = sync_channel(1);
    let peer = entry.clone();
    source.add_probe(gst::PadProbeType::IDLE, move |pad, _| {
        // Unlinking fails only if linking failed. The channel has room for this one message.
        let _ = pad.unlink(&peer);
        let _ = done.try_send(());
        gst::PadProbeReturn::Remove
    });
    if is_done.recv_timeout(UNLINK_TIMEOUT).is_err() {
        // The encoder hangs, so unlink without waiting.
        let _ = source.unlink(entry);
    }
}

/// The properties of an encoder with its bit rate in kbit/s and the size of its rate control buffer in milliseconds. An
/// encoder that has the second one (x264enc) takes both while it runs.
const RATE_PROPERTY: &str = "bitrate";
const BUFFER_PROPERTY: &str = "vbv-buf-capacity";

/// What an encoder does with a new page and with a still picture.
struct Pages {
    monitor: Arc<ScreenMonitor>,
    control: Arc<Mutex<RateControl>>,
    encoder: gst::Element,
    sink: gst_app::AppSink,
    /// The scene changes for which there are key frames.
    scenes: AtomicU64,
}

impl Pages {
    fn new(spec: &BranchSpec, monitor: Arc<ScreenMonitor>, encoder: gst::Element, sink: gst_app::AppSink) -> Self {
        let control = RateControl::new(buffer_sizes(&spec.config), spec.config.bitrate, spec.config.fps);
        let control = Arc::new(Mutex::new(control));
        if let Some(pad) = encoder.static_pad("src") {
            let control = Arc::clone(&control);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                let bytes = info.buffer().map_or(0, |buffer| buffer.size());
                control.lock().unwrap_or_else(PoisonError::into_inner).on_encoded(bytes);
                gst::PadProbeReturn::Ok
            });
        }
        let scenes = AtomicU64::new(monitor.state().scenes);
        Self { monitor, control, encoder, sink, scenes }
    }

    /// Whether to encode the picture that the branch gets now.
    fn keeps(&self, pad: &gst::GhostPad, time: gst::ClockTime, dropper: &FrameDropper) -> bool {
        let state = self.monitor.state();
        let may_rest = self.control().on_picture(time.into(), state);
        // Where a key frame was requested already, as at the start of a file, a second request would make another one.
        let is_new = self.scenes.swap(state.scenes, Ordering::Relaxed) != state.scenes;
        if is_new && !dropper.is_awaited() {
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let running_time =
                segment.and_then(|event| event.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(time));
            dropper.keep_next();
            // The entry's queue may hold an older picture, which must not become the key frame.
            request_key_frame_from(&self.sink, running_time);
        }
        let keeps = dropper.keeps(Some(time), may_rest);
        if keeps {
            let limits = self.control().on_kept(time.into());
            limits.into_iter().for_each(|limits| self.limit(limits));
        }
        keeps
    }

    /// Tells the encoder what it may spend. Its thread may take the new values one by one, so the smaller bit rate or
    /// buffer comes first: both large ones together would allow a frame of any size.
    fn limit(&self, limits: Limits) {
        if !self.encoder.has_property(BUFFER_PROPERTY) {
            return;
        }
        let kbps = (limits.bitrate / 1000).max(1);
        let set_buffer = || self.encoder.set_property(BUFFER_PROPERTY, limits.buffer_ms);
        let grows = kbps > self.encoder.property::<u32>(RATE_PROPERTY);
        if grows {
            set_buffer();
        }
        self.encoder.set_property(RATE_PROPERTY, kbps);
        if !grows {
            set_buffer();
        }
    }

    fn control(&self) -> MutexGuard<'_, RateControl> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sink pad of a branch.
///
/// The pad reports success for every buffer. A flow error would make the tee stop all branches; the failing element has
/// posted its error on the bus already.
fn entry(
    queue: &gst::Pad,
    dropper: Arc<FrameDropper>,
    pages: Option<Pages>,
) -> Result<gst::GhostPad, gst::glib::BoolError> {
    let caps_dropper = dropper.clone();
    let entry = gst::GhostPad::builder_with_target(queue)?
        .name("entry")
        .chain_function(move |pad, parent, buffer| {
            let keeps = match (&pages, buffer.pts()) {
                (Some(pages), Some(time)) => pages.keeps(pad, time, &dropper),
                (_, time) => dropper.keeps(time, false),
            };
            if keeps {
                // The failing element posts the error on the bus.
                let _ = gst::ProxyPad::chain_default(pad, parent, buffer);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |pad, parent, event| {
            let caps = match event.view() {
                gst::EventView::Caps(caps) => caps_dropper.output_caps(caps.caps()),
                _ => None,
            };
            let event = caps.map_or(event, |caps| gst::event::Caps::new(&caps));
            // Ignore refused caps: the next buffer fails with the same error.
            gst::Pad::event_default(pad, parent, event);
            true
        });
    Ok(entry.build())
}

/// Sets the caps of the filter behind a scaler whenever the input caps change.
fn reduce_size(pad: &gst::Pad, filter: gst::Element, reduction: Reduction) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && let Some(reduced) = reduced(caps.caps(), reduction)
        {
            filter.set_property("caps", reduced);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The caps behind the scaler. Format and colorimetry stay: without them GStreamer assumes BT.601 for small video, and
/// the conversion costs five times as much as the scaling.
fn reduced(caps: &gst::CapsRef, reduction: Reduction) -> Option<gst::Caps> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let Size { width, height } = reduction.size(Size { width: info.width(), height: info.height() });
    let shape = caps.structure(0)?;
    // Caps without colorimetry mean the default of their size.
    let colours = shape.get::<String>("colorimetry").unwrap_or_else(|_| info.colorimetry().to_string());
    let reduced = gst::Caps::builder("video/x-raw")
        .field("format", info.format().to_str())
        .field("width", i32::try_from(width).ok()?)
        .field("height", i32::try_from(height).ok()?)
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("colorimetry", colours)
        .field_if_some("chroma-site", shape.get::<String>("chroma-site").ok());
    Some(reduced.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reduced_caps_keep_the_colorimetry() {
        crate::media::init().unwrap();
        let caps = |text: &str| text.parse::<gst::Caps>().unwrap();
        let full = caps("video/x-raw,format=I420,width=1366,height=768,framerate=25/1");
        let size = "format=I420,width=682,height=384,pixel-aspect-ratio=1/1";
        // The default of the smaller size would be bt601.
        assert_eq!(reduced(&full, Reduction::HalfSize), Some(caps(&format!("video/x-raw,{size},colorimetry=bt709"))));
        let whole = "video/x-raw,format=I420,width=1366,height=768,pixel-aspect-ratio=1/1,colorimetry=bt709";
        assert_eq!(reduced(&full, Reduction::LowFrameRate), Some(caps(whole)));
        let other = "colorimetry=1:3:7:1,chroma-site=mpeg2";
        let full = caps(&format!("video/x-raw,format=I420,width=1366,height=768,framerate=0/1,{other}"));
        assert_eq!(reduced(&full, Reduction::HalfSize), Some(caps(&format!("video/x-raw,{size},{other}"))));
        assert_eq!(reduced(&caps("audio/x-raw"), Reduction::HalfSize), None);
    }
}
