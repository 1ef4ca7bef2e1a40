//! A code drawn into each picture before it is encoded, and read out of what was decoded: which picture it is, and when
//! it was captured. For measurements only.
//!
//! It is 48 cells, 16 a row, in the upper left corner; a cell is an 80th of the picture's width, so a macroblock of 1280
//! pixels, and is as large in a smaller encoding of the same picture. Black is 0 and white is 1: 16 bits of the picture's
//! number, 24 of milliseconds, 8 of a check sum, the highest bit first.

mod draw;
mod film;
mod read;

use gstreamer as gst;
use gstreamer::prelude::*;

pub use self::draw::{Codes, Drawn};
pub use self::read::Seen;
use crate::rtp::Tier;

/// Cells in a row, and rows.
const COLUMNS: usize = 16;
const ROWS: usize = 3;

/// Cells that would fit beside each other into the picture.
const ACROSS: usize = 80;

/// Luma of black and white (ITU-R BT.601), and what lies between.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
const MIDDLE: u32 = 126;

/// Milliseconds of a code begin again after this many: 4.6 hours.
const MS_WRAP: u64 = 1 << 24;

/// Set in the number of a picture of the low tier, whose size may be that of the full one.
const OF_LOW: u16 = 1 << 15;

/// The tier of the picture that has this number in its code.
pub fn tier_of_code(number: u16) -> Tier {
    if number & OF_LOW == 0 { Tier::Full } else { Tier::Low }
}

/// What a picture says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Code {
    /// Which picture, counted by the teacher; begins again after 32,767. The highest bit is [`OF_LOW`].
    number: u16,
    /// When it was captured, by [`now_ms`]; 24 bits.
    captured_ms: u32,
}

impl Code {
    fn new(number: u16, captured_ms: u64) -> Self {
        Self { number, captured_ms: (captured_ms % MS_WRAP) as u32 }
    }

    fn bits(self) -> u64 {
        let said = (u64::from(self.number) << 24) | u64::from(self.captured_ms);
        (said << 8) | u64::from(check(said))
    }

    /// None where the check sum is another: that is no code, or one that can't be read.
    fn of(bits: u64) -> Option<Self> {
        let said = bits >> 8;
        let code = Self { number: (said >> 24) as u16, captured_ms: said as u32 & 0x00ff_ffff };
        (bits & 0xff == u64::from(check(said))).then_some(code)
    }

    /// When it was captured, if that is less than 4.6 hours before `now_ms`.
    fn captured(self, now_ms: u64) -> u64 {
        let age = now_ms.wrapping_sub(self.captured_ms.into()) % MS_WRAP;
        // A clock that is read twice may differ by the rounding.
        if age == MS_WRAP - 1 { now_ms } else { now_ms - age.min(now_ms) }
    }
}

/// CRC-8 with the polynomial 0x07 and all ones to begin with, so that a black corner is no code.
fn check(said: u64) -> u8 {
    said.to_be_bytes()[3..].iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 })
    })
}

/// The edge between cells `n - 1` and `n` in a picture of this width.
fn edge(n: usize, width: usize) -> usize {
    n * width / ACROSS
}

/// Draws a code into the luma of a picture; one that is too small for it gets what fits.
fn draw(luma: &mut [u8], stride: usize, width: usize, code: Code) {
    let bits = code.bits();
    for (y, line) in luma.chunks_mut(stride.max(1)).take(edge(ROWS, width)).enumerate() {
        // Which row of cells this line of pixels is in; the edges are rounded, so that it is looked for.
        let row = (0..ROWS).rfind(|row| edge(*row, width) <= y).unwrap_or(0);
        for column in 0..COLUMNS {
            let is_white = (bits >> (COLUMNS * ROWS - 1 - row * COLUMNS - column)) & 1 == 1;
            if let Some(cell) = line.get_mut(edge(column, width)..edge(column + 1, width)) {
                cell.fill(if is_white { WHITE } else { BLACK });
            }
        }
    }
}

/// Reads the code in the luma of a picture, where there is one.
fn read(luma: &[u8], stride: usize, width: usize) -> Option<Code> {
    let mut bits = 0;
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            bits = (bits << 1) | u64::from(is_white(luma, stride, width, row, column)?);
        }
    }
    Code::of(bits)
}

/// Whether a cell is white in the mean of its inner half: at its edges the encoder smears.
fn is_white(luma: &[u8], stride: usize, width: usize, row: usize, column: usize) -> Option<bool> {
    let inner = |n| {
        let (from, to) = (edge(n, width), edge(n + 1, width));
        let margin = (to - from) / 4;
        from + margin..to - margin
    };
    let (mut sum, mut count) = (0, 0);
    for y in inner(row) {
        let line = luma.get(y * stride..)?.get(inner(column))?;
        sum += line.iter().map(|pixel| u32::from(*pixel)).sum::<u32>();
        count += line.len() as u32;
    }
    (count > 0).then(|| sum > MIDDLE * count)
}

/// Milliseconds of the machine's monotonic clock, which all its processes see the same.
///
/// # Errors
/// When GStreamer can't begin.
pub fn now_ms() -> Result<u64, super::MediaError> {
    super::init()?;
    Ok(clock_ms())
}

/// The same, where GStreamer runs already.
fn clock_ms() -> u64 {
    gst::SystemClock::obtain().time().mseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_bits_and_a_slip_is_noticed() {
        let code = Code::new(0xabcd, 0x0112_3456);
        assert_eq!((code.number, code.captured_ms), (0xabcd, 0x12_3456));
        assert_eq!(Code::of(code.bits()), Some(code));
        for bit in 0..48 {
            assert_eq!(Code::of(code.bits() ^ (1 << bit)), None, "bit {bit}");
        }
        assert_eq!((Code::of(0), Code::of(0xffff_ffff_ffff)), (None, None), "black and white are no codes");
    }

    #[test]
    fn the_time_is_found_again() {
        let captured = 5 * MS_WRAP - 3;
        for age in [0, 1, 80, 3_600_000] {
            assert_eq!(Code::new(1, captured).captured(captured + age), captured);
        }
        assert_eq!(Code::new(1, captured + 1).captured(captured), captured);
    }

    #[test]
    fn it_is_drawn_and_read_in_any_size_and_scaled() {
        let code = Code::new(54_321, 9_876_543);
        for width in [160, 320, 426, 640, 854, 1280, 1366, 1920] {
            let (stride, height) = (width + 13, width * 9 / 16);
            let mut luma = vec![90; stride * height];
            draw(&mut luma, stride, width, code);
            assert_eq!(read(&luma, stride, width), Some(code), "{width}");
            assert_eq!(luma[edge(COLUMNS, width)], 90, "beside it nothing is drawn");
            let half: Vec<u8> = (0..stride / 2 * (height / 2))
                .map(|n| luma[n / (stride / 2) * 2 * stride + n % (stride / 2) * 2])
                .collect();
            // Cells of two or three pixels are smeared.
            if width >= 640 {
                assert_eq!(read(&half, stride / 2, width / 2), Some(code), "half of {width}");
            }
        }
        assert_eq!(read(&[90; 100], 10, 10), None);
        assert_eq!(read(&[], 0, 1280), None);
        draw(&mut [0; 10], 10, 1280, code);
    }
}
