//! A film in the lecture: the lower right quarter of the picture is noise, another in each picture, so that an encoder
//! uses all the bits that it was given. Slides alone take a fraction of them.

/// Grains of noise that would fit beside each other into the picture: as large in each encoding of it.
const GRAINS_ACROSS: usize = 160;

/// The luma of the noise: enough contrast for many bits, and little enough to be left out where there are few.
const DARKEST: u8 = 90;
const CONTRAST: u64 = 76;

/// Draws the film's picture of a number into a luma plane.
pub(super) fn draw(luma: &mut [u8], stride: usize, (width, height): (usize, usize), number: u16) {
    let grain = (width / GRAINS_ACROSS).max(1);
    for (y, line) in luma.chunks_mut(stride.max(1)).enumerate().take(height).skip(height / 2) {
        let Some(line) = line.get_mut(width / 2..width) else { continue };
        for (x, pixels) in line.chunks_mut(grain).enumerate() {
            pixels.fill(shade(number, x, y / grain));
        }
    }
}

/// A number that looks like chance, by the mixing of SplitMix64.
fn shade(number: u16, x: usize, y: usize) -> u8 {
    let place = (u64::from(number) << 32) | ((x as u64) << 16) | y as u64;
    let mixed = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    DARKEST + ((mixed >> 40) % CONTRAST) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_its_quarter_and_each_picture_is_another() {
        let picture = |number| {
            let mut luma = vec![0; 330 * 180];
            draw(&mut luma, 330, (320, 180), number);
            luma
        };
        let (one, two) = (picture(1), picture(2));
        let at = |x: usize, y: usize| y * 330 + x;
        assert_eq!([one[at(159, 170)], one[at(200, 89)], one[at(320, 170)]], [0; 3]);
        assert!((0..90).all(|y| (160..320).all(|x| one[at(x, 90 + y)] >= DARKEST)));
        let same = one.iter().zip(&two).filter(|(a, b)| **a >= DARKEST && a == b).count();
        assert!(same < 160 * 90 / 20, "{same}");
        assert_eq!(one, picture(1));
        draw(&mut [0; 10], 10, (1280, 720), 1);
    }
}
