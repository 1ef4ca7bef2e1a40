//! Pictures that no file has: what is shown while a file has only sound, and the caps of those that are pushed.

use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::media::options::Size;

/// A black picture and its caps.
pub(super) fn black(size: Size, fps: u32) -> Option<(gst::Buffer, gst::Caps)> {
    let rate = gst::Fraction::new(i32::try_from(fps).ok()?, 1);
    let format = gst_video::VideoFormat::I420;
    let info = gst_video::VideoInfo::builder(format, size.width, size.height).fps(rate).build().ok()?;
    let mut bytes = vec![128; info.size()];
    let luma = info.offset()[1];
    bytes[..luma].fill(16);
    Some((gst::Buffer::from_mut_slice(bytes), info.to_caps().ok()?))
}

/// Caps with the rate in which pictures are really pushed: encoders divide their bits by it. Those that name no rate,
/// or a higher one, get the most that is wanted.
pub(super) fn with_rate(caps: &gst::CapsRef, most: u32) -> gst::Caps {
    let mut caps = caps.to_owned();
    let named = caps.structure(0).and_then(|shape| shape.get::<gst::Fraction>("framerate").ok());
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    let is_slower =
        |rate: &gst::Fraction| rate.numer() > 0 && i64::from(rate.numer()) <= i64::from(most) * i64::from(rate.denom());
    if named.filter(is_slower).is_none() {
        caps.make_mut().set("framerate", gst::Fraction::new(most, 1));
    }
    caps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_is_black() {
        crate::media::init().unwrap();
        let (buffer, caps) = black(Size { width: 64, height: 36 }, 5).unwrap();
        let map = buffer.map_readable().unwrap();
        assert_eq!((map[0], map[64 * 36 - 1], map[64 * 36]), (16, 16, 128));
        assert!(caps.to_string().contains("I420") && caps.to_string().contains("5/1"), "{caps}");
    }

    #[test]
    fn the_rate_is_that_of_the_file_if_it_has_one() {
        crate::media::init().unwrap();
        let rate = |text: &str| {
            let caps = with_rate(&format!("video/x-raw,framerate={text}").parse::<gst::Caps>().unwrap(), 30);
            let rate = caps.structure(0).unwrap().get::<gst::Fraction>("framerate").unwrap();
            (rate.numer(), rate.denom())
        };
        let given = ["25/1", "30000/1001", "60/1", "0/1"];
        assert_eq!(given.map(rate), [(25, 1), (30_000, 1_001), (30, 1), (30, 1)]);
    }
}
