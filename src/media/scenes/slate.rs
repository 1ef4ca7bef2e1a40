//! Draws slates: lines of text, and the time that is left.

use gstreamer as gst;

use crate::media::options::Size;
use crate::media::slides::Draw;
use crate::media::typeset::{TextBlock, typeset};

/// The colours of the ground and of the text, 0xAARRGGBB: dark grey and white, so that limited and full range agree.
const GROUND: u32 = 0xff20_2020;
const TEXT: u32 = 0xffff_ffff;

/// The smallest text in pixels.
const MIN_PX: u32 = 12;

/// Draws the slate with so many seconds left. The width of the picture must be a multiple of 8, so that the lines of
/// a plane have no padding.
pub(super) fn draw(text: String, countdown: bool, size: Size) -> Draw {
    Box::new(move |seconds, _| {
        let text = if countdown { format!("{text}\n\n{}", left(seconds)) } else { text.clone() };
        let font = format!("DejaVu Sans {}px", text_px(&text, size));
        let block = TextBlock { text, font, at: None, colour: TEXT };
        typeset(size, GROUND, &[block]).map(gst::Buffer::from_mut_slice).map_err(|error| error.to_string())
    })
}

/// `4:05`, or `1:04:05`.
fn left(seconds: usize) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// The height of the letters, such that all lines fit.
fn text_px(text: &str, size: Size) -> u32 {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let lines = count(text.lines().count());
    // Letters of a CJK script are as wide as high, others about 0.65 of that.
    let width = |line: &str| unicode_width::UnicodeWidthStr::width(line);
    let longest = count(text.lines().map(width).max().unwrap_or_default());
    let by_height = size.height * 8 / 14 / lines;
    let by_width = size.width * 9 / 10 * 100 / longest.saturating_mul(65);
    by_height.min(by_width).min(size.height / 8).max(MIN_PX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_written_as_on_a_clock() {
        assert_eq!([0, 65, 3_600, 3_725].map(left), ["0:00", "1:05", "1:00:00", "1:02:05"]);
    }

    #[test]
    fn letters_are_as_large_as_the_slate_allows() {
        let size = Size { width: 1280, height: 720 };
        assert_eq!(text_px("Hello", size), 90);
        let long = "a".repeat(100);
        assert!((12..=18).contains(&text_px(&long, size)), "{}", text_px(&long, size));
        assert!(text_px(&"a\n".repeat(20), size) * 20 < 720);
        assert_eq!(text_px(&"a\n".repeat(500), size), MIN_PX);
    }

    #[test]
    fn a_slate_has_letters_and_counts_down() {
        crate::media::init().unwrap();
        let size = Size { width: 320, height: 184 };
        let mut draw = draw("Hello".into(), true, size);
        let mut bytes = |seconds| draw(seconds, &|| false).unwrap().map_readable().unwrap().to_vec();
        let (one, other) = (bytes(65), bytes(64));
        assert_eq!(one.len(), 320 * 184 * 3 / 2);
        let bright = one[..320 * 184].iter().filter(|value| **value > 200).count();
        assert!((200..20_000).contains(&bright), "{bright} bright pixels");
        assert_ne!(one, other);
    }
}
