//! A film in the lecture: noise in the lower right quarter, different in each frame, so that an encoder uses its whole
//! bitrate. Slides alone need a fraction of it.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// The number of noise grains across the width of a frame, in each of its encodings.
const GRAINS_ACROSS: usize = 160;

/// The luma of the noise: enough contrast to cost many bits, and little enough to be dropped at low bitrates.
const DARKEST: u8 = 90;
const BRIGHTEST: u8 = 165;

/// Draws the film into a luma plane. A frame number has the same grains at every size.
pub(super) fn draw(luma: &mut [u8], stride: usize, (width, height): (usize, usize), number: u16) {
    let mut random = SmallRng::seed_from_u64(number.into());
    let grain = (width / GRAINS_ACROSS).max(1);
    let mut shades = Vec::new();
    for (y, line) in luma.chunks_mut(stride.max(1)).enumerate().take(height).skip(height / 2) {
        if shades.is_empty() || (y - height / 2).is_multiple_of(grain) {
            shades = (0..=GRAINS_ACROSS).map(|_| random.random_range(DARKEST..=BRIGHTEST)).collect();
        }
        let Some(line) = line.get_mut(width / 2..width) else { continue };
        for (pixels, shade) in line.chunks_mut(grain).zip(&shades) {
            pixels.fill(*shade);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_film_fills_its_quarter_and_differs_in_each_frame() {
        let frame = |number, width: usize, height: usize| {
            let mut luma = vec![0; (width + 10) * height];
            draw(&mut luma, width + 10, (width, height), number);
            luma
        };
        let (one, two) = (frame(1, 320, 180), frame(2, 320, 180));
        let at = |x: usize, y: usize| y * 330 + x;
        assert_eq!([one[at(159, 170)], one[at(200, 89)], one[at(320, 170)]], [0; 3]);
        assert!((0..90).all(|y| (160..320).all(|x| (DARKEST..=BRIGHTEST).contains(&one[at(x, 90 + y)]))));
        let same = one.iter().zip(&two).filter(|(a, b)| **a >= DARKEST && a == b).count();
        assert!(same < 160 * 90 / 20, "{same}");
        assert_eq!(one, frame(1, 320, 180));
        let large = frame(1, 640, 360);
        assert!((90..180).all(|y| (160..320).all(|x| one[at(x, y)] == large[2 * y * 650 + 2 * x])), "in any size");
        draw(&mut [0; 10], 10, (1280, 720), 1);
    }
}
