//! A code in each video frame, drawn before encoding and read after decoding: the frame's number and its capture time.
//!
//! A code is 48 cells in 3 rows of 16 in the upper left corner. The side of a cell is 1/80 of the frame's width, 16
//! pixels at 1280, in every encoding of the frame. Black is 0, white is 1, most significant bit first: 16 bits of the
//! frame's number, 24 bits of milliseconds, 8 bits of a CRC.

mod film;
mod frames;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

pub use self::frames::{CodeWriter, EncodedFrames, ReadFrame, read_codes};
use crate::rtp::Tier;

/// Cells in a row, and rows.
const COLUMNS: usize = 16;
const ROWS: usize = 3;

/// The number of cells that fit across the width of a frame.
const CELLS_ACROSS: usize = 80;

/// Luma of black and white (ITU-R BT.601), and the threshold between them.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
const THRESHOLD: u32 = 126;

/// The milliseconds of a code wrap at this number: after 4.6 hours.
const MS_WRAP: u64 = 1 << 24;

/// This bit is set in the number of a frame of the low tier, which may be as large as the full tier.
const LOW_TIER: u16 = 1 << 15;

/// The tier of a frame with this number in its code.
pub fn tier_of_code(number: u16) -> Tier {
    if number & LOW_TIER == 0 { Tier::Full } else { Tier::Low }
}

/// Milliseconds of the monotonic clock, which all processes of this machine share.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0));
    now.as_millis() as u64
}

/// Draws a frame's code into its luma plane: the number, of which 15 bits count, and a time in milliseconds.
pub fn draw_code(luma: &mut [u8], stride: usize, width: usize, number: u16, captured_ms: u64) {
    draw(luma, stride, width, Code::new(number & !LOW_TIER, captured_ms));
}

/// The number and the time in the code of a luma plane, whose time was less than 4.6 hours before `now_ms`; `None` if
/// no code can be read.
pub fn read_code(luma: &[u8], stride: usize, width: usize, now_ms: u64) -> Option<(u16, u64)> {
    read(luma, stride, width).map(|code| (code.number, code.captured(now_ms)))
}

/// The content of a frame's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Code {
    /// The frame's number, counted by the sender modulo 2^15; the highest bit is [`LOW_TIER`].
    number: u16,
    /// The capture time of the frame by [`now_ms`]; 24 bits.
    captured_ms: u32,
}

impl Code {
    fn new(number: u16, captured_ms: u64) -> Self {
        Self { number, captured_ms: (captured_ms % MS_WRAP) as u32 }
    }

    fn bits(self) -> u64 {
        let content = (u64::from(self.number) << 24) | u64::from(self.captured_ms);
        (content << 8) | u64::from(crc8(content))
    }

    /// `None` if the CRC does not match: there is no code, or it is unreadable.
    fn from_bits(bits: u64) -> Option<Self> {
        let content = bits >> 8;
        let code = Self { number: (content >> 24) as u16, captured_ms: content as u32 & 0x00ff_ffff };
        (bits & 0xff == u64::from(crc8(content))).then_some(code)
    }

    /// The full capture time, if the frame was captured less than 4.6 hours before `now_ms`.
    fn captured(self, now_ms: u64) -> u64 {
        let age = now_ms.wrapping_sub(self.captured_ms.into()) % MS_WRAP;
        // Rounding may put the capture one millisecond into the future.
        if age == MS_WRAP - 1 { now_ms } else { now_ms - age.min(now_ms) }
    }
}

/// CRC-8 of five bytes with the polynomial 0x07. With the initial value 0xff a black corner is not a valid code.
fn crc8(content: u64) -> u8 {
    content.to_be_bytes()[3..].iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 })
    })
}

/// The edge between cells `n - 1` and `n` in a frame of this width, in pixels.
fn edge(n: usize, width: usize) -> usize {
    n * width / CELLS_ACROSS
}

/// Draws a code into a luma plane. A frame that is too small gets only the cells that fit.
fn draw(luma: &mut [u8], stride: usize, width: usize, code: Code) {
    let bits = code.bits();
    for (y, line) in luma.chunks_mut(stride.max(1)).take(edge(ROWS, width)).enumerate() {
        // Edges are rounded, so the row of cells is searched instead of computed.
        let row = (0..ROWS).rfind(|row| edge(*row, width) <= y).unwrap_or(0);
        for column in 0..COLUMNS {
            let is_white = (bits >> (COLUMNS * ROWS - 1 - row * COLUMNS - column)) & 1 == 1;
            if let Some(cell) = line.get_mut(edge(column, width)..edge(column + 1, width)) {
                cell.fill(if is_white { WHITE } else { BLACK });
            }
        }
    }
}

/// Reads the code in a luma plane.
fn read(luma: &[u8], stride: usize, width: usize) -> Option<Code> {
    let mut bits = 0;
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            bits = (bits << 1) | u64::from(is_white(luma, stride, width, (row, column))?);
        }
    }
    Code::from_bits(bits)
}

/// Whether the inner half of a cell is white on average; the encoder blurs the edges.
fn is_white(luma: &[u8], stride: usize, width: usize, (row, column): (usize, usize)) -> Option<bool> {
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
    (count > 0).then(|| sum > THRESHOLD * count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_a_round_trip_and_a_wrong_bit_is_detected() {
        let code = Code::new(0xabcd, 0x0112_3456);
        assert_eq!((code.number, code.captured_ms), (0xabcd, 0x12_3456));
        assert_eq!(Code::from_bits(code.bits()), Some(code));
        for bit in 0..48 {
            assert_eq!(Code::from_bits(code.bits() ^ (1 << bit)), None, "bit {bit}");
        }
        assert_eq!((Code::from_bits(0), Code::from_bits(0xffff_ffff_ffff)), (None, None), "all black and all white");
    }

    #[test]
    fn the_capture_time_is_reconstructed() {
        let captured = 5 * MS_WRAP - 3;
        for age in [0, 1, 80, 3_600_000] {
            assert_eq!(Code::new(1, captured).captured(captured + age), captured);
        }
        assert_eq!(Code::new(1, captured + 1).captured(captured), captured);
    }

    #[test]
    fn the_clock_is_monotonic_and_counts_milliseconds() {
        let (before, began) = (now_ms(), std::time::Instant::now());
        while began.elapsed() < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        assert!(now_ms() >= before + 3);
    }

    #[test]
    fn a_code_is_readable_at_every_size_and_after_scaling() {
        let code = Code::new(54_321, 9_876_543);
        for width in [160, 320, 426, 640, 854, 1280, 1366, 1920] {
            let (stride, height) = (width + 13, width * 9 / 16);
            let mut luma = vec![90; stride * height];
            draw(&mut luma, stride, width, code);
            assert_eq!(read(&luma, stride, width), Some(code), "{width}");
            assert_eq!(luma[edge(COLUMNS, width)], 90, "nothing is drawn beside the code");
            let half: Vec<u8> = (0..stride / 2 * (height / 2))
                .map(|n| luma[n / (stride / 2) * 2 * stride + n % (stride / 2) * 2])
                .collect();
            // Cells of two or three pixels are blurred.
            if width >= 640 {
                assert_eq!(read(&half, stride / 2, width / 2), Some(code), "half of {width}");
            }
        }
        assert_eq!(read(&[90; 100], 10, 10), None);
        assert_eq!(read(&[], 0, 1280), None);
        draw(&mut [0; 10], 10, 1280, code);
    }
}
