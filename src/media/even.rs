//! Pictures with an odd edge: encoders of 4:2:0 take even ones only. A line of pixels is cut off: scaling a window of
//! 1365 pixels to 1364 would blur all its letters.

use gstreamer as gst;
use gstreamer::prelude::*;

/// Makes the element `NAME-even` of each of these names, where a graph has it, cut an odd line or column off whatever
/// comes to it, now and when its size changes.
pub(super) fn attach(pipeline: &gst::Pipeline, names: &[&str]) {
    for name in names {
        let Some(crop) = pipeline.by_name(&format!("{name}-even")) else { continue };
        let Some(pad) = crop.static_pad("sink") else { continue };
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
            if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
                && let Some(shape) = caps.caps().structure(0)
                && let Some(crop) = pad.parent_element()
            {
                // Of a line that is one pixel wide nothing would be left.
                let odd = |edge: &str| shape.get::<i32>(edge).map_or(0, |pixels| i32::from(pixels > 1) & pixels & 1);
                crop.set_property("right", odd("width"));
                crop.set_property("bottom", odd("height"));
            }
            gst::PadProbeReturn::Ok
        });
    }
}
