//! Turns drawn pages into the video of a pipeline.

use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::media::options::Size;

/// Turns RGBA into the video of the pipeline.
pub(super) struct Painter {
    converter: gst_video::VideoConverter,
    rgba: gst_video::VideoInfo,
    video: gst_video::VideoInfo,
}

impl Painter {
    pub(super) fn new(size: Size, caps: &gst::Caps) -> Option<Self> {
        let video = gst_video::VideoInfo::from_caps(caps).ok()?;
        let format = gst_video::VideoFormat::Rgba;
        let rgba = gst_video::VideoInfo::builder(format, size.width, size.height).fps(video.fps()).build().ok()?;
        let converter = gst_video::VideoConverter::new(&rgba, &video, None).ok()?;
        Some(Self { converter, rgba, video })
    }

    /// Converts a picture of four bytes per pixel.
    pub(super) fn convert(&self, picture: Vec<u8>) -> Option<gst::Buffer> {
        let from = gst::Buffer::from_mut_slice(picture);
        let mut to = gst::Buffer::with_size(self.video.size()).ok()?;
        {
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(&from, &self.rgba).ok()?;
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(to.get_mut()?, &self.video).ok()?;
            self.converter.frame_ref(&from, &mut to);
        }
        Some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::file;

    #[test]
    fn a_picture_is_converted_to_video() {
        crate::media::init().unwrap();
        let size = Size { width: 64, height: 64 };
        let (_, caps) = file::black(size, 1).unwrap();
        let painter = Painter::new(size, &caps).unwrap();
        let white = painter.convert([255, 255, 255, 255].repeat(64 * 64)).unwrap();
        let map = white.map_readable().unwrap();
        assert!(map[0] > 230 && map[64 * 64 - 1] > 230 && map[64 * 64].abs_diff(128) < 3, "{:?}", &map[..4]);
    }
}
