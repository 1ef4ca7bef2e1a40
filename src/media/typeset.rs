//! Pages of text, set by Pango: slates of a lecture, and pages for whoever measures how legible they stay.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::error::MediaError;
use super::options::Size;
use super::pipelines;

/// A block of text on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextBlock {
    /// The text, with line breaks; Pango markup is not read.
    pub text: String,
    /// A Pango font description, for example `DejaVu Sans Mono 17px`.
    pub font: String,
    /// The distance of the upper left corner from the left and from the top, in pixels; `None`: centred lines in the
    /// middle of the page.
    pub at: Option<(u32, u32)>,
    /// 0xAARRGGBB.
    pub colour: u32,
}

/// Sets a page: its three planes in I420, one after another, without padding.
///
/// # Errors
///
/// An element is missing, or Pango fails.
pub fn typeset(size: Size, background: u32, blocks: &[TextBlock]) -> Result<Vec<u8>, MediaError> {
    super::init()?;
    let Size { width, height } = size;
    let mut text = format!(
        "videotestsrc num-buffers=1 pattern=solid-color foreground-color={background} \
         ! video/x-raw,format=I420,width={width},height={height},framerate=1/1,colorimetry=bt709"
    );
    for (n, block) in blocks.iter().enumerate() {
        let place = match block.at {
            Some((x, y)) => format!("halignment=left valignment=top line-alignment=left xpad={x} ypad={y}"),
            None => "halignment=center valignment=center line-alignment=center".to_owned(),
        };
        text.push_str(&format!(
            " ! textoverlay name=block-{n} {place} auto-resize=false wrap-mode=none draw-shadow=false \
             draw-outline=false color={}",
            block.colour
        ));
    }
    text.push_str(" ! appsink name=page sync=false");
    let failed = |cause: &str| MediaError::Pipeline { pipeline: "a page of text".into(), cause: cause.into() };
    let pipeline = pipelines::parse("a page of text", &text)?;
    for (n, block) in blocks.iter().enumerate() {
        let overlay = pipeline.by_name(&format!("block-{n}")).ok_or_else(|| failed("a block is missing"))?;
        overlay.set_property("text", gst::glib::markup_escape_text(&block.text).as_str());
        overlay.set_property("font-desc", &block.font);
    }
    let sink = pipeline.by_name("page").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
    let sink = sink.ok_or_else(|| failed("the sink is missing"))?;
    let started = pipeline.set_state(gst::State::Playing).is_ok();
    let page = if started { sink.pull_sample().ok() } else { None };
    let page = page.and_then(|sample| packed(sample.buffer()?, sample.caps()?));
    // A change to Null always succeeds.
    let _ = pipeline.set_state(gst::State::Null);
    page.ok_or_else(|| failed("Pango gave no page"))
}

/// The planes without padding at the end of their lines.
fn packed(buffer: &gst::BufferRef, caps: &gst::CapsRef) -> Option<Vec<u8>> {
    let info = gst_video::VideoInfo::from_caps(caps).ok()?;
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).ok()?;
    let mut packed = Vec::with_capacity(info.size());
    for plane in 0..3 {
        let (width, height) = match plane {
            0 => (info.width(), info.height()),
            _ => (info.width().div_ceil(2), info.height().div_ceil(2)),
        };
        let stride = usize::try_from(*info.stride().get(plane as usize)?).ok()?;
        let lines = frame.plane_data(plane).ok()?.chunks(stride).take(height as usize);
        lines.for_each(|line| packed.extend_from_slice(line.get(..width as usize).unwrap_or(line)));
    }
    Some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_dark_letters_on_a_light_ground() {
        let block = TextBlock {
            text: "a <b> & c".into(),
            font: "DejaVu Sans Mono 40px".into(),
            at: Some((20, 10)),
            colour: 0xff10_1010,
        };
        let page = typeset(Size { width: 320, height: 64 }, 0xffff_ffff, &[block]).unwrap();
        assert_eq!(page.len(), 320 * 64 * 3 / 2);
        let luma = &page[..320 * 64];
        let dark = luma.iter().filter(|value| **value < 60).count();
        assert!((500..5_000).contains(&dark), "{dark} dark pixels");
        assert!(luma.chunks(320).all(|line| line[..16].iter().all(|value| *value > 220)), "the margin is empty");
    }
}
