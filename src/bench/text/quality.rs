//! How close a decoded picture is to its source: PSNR, and SSIM by blocks of 8x8. Pure.

/// The dB of two pictures without any difference.
pub(super) const IDENTICAL_DB: f64 = 99.0;

/// Constants of SSIM for eight bits (Wang et al., 2004).
const C1: f64 = 6.5025;
const C2: f64 = 58.5225;

/// The edge of a block of SSIM, in pixels.
const BLOCK: usize = 8;

/// Peak signal-to-noise ratio of two luma planes of the same size, in dB.
pub(super) fn psnr(one: &[u8], other: &[u8]) -> f64 {
    let of_line = |(one, other): (&[u8], &[u8])| -> u64 {
        let square = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b)).pow(2);
        u64::from(one.iter().zip(other).map(square).sum::<u32>())
    };
    let sum: u64 = one.chunks(4_096).zip(other.chunks(4_096)).map(of_line).sum();
    if sum == 0 {
        return IDENTICAL_DB;
    }
    10.0 * (255.0 * 255.0 * one.len() as f64 / sum as f64).log10()
}

/// Structural similarity of two luma planes of this width: the mean over blocks, 1 if they are alike.
pub(super) fn ssim(one: &[u8], other: &[u8], width: usize) -> f64 {
    let (mut sum, mut blocks) = (0.0, 0u32);
    let band = width * BLOCK;
    for (one, other) in one.chunks_exact(band).zip(other.chunks_exact(band)) {
        for left in (0..width.saturating_sub(BLOCK - 1)).step_by(BLOCK) {
            sum += block(one, other, width, left);
            blocks += 1;
        }
    }
    sum / f64::from(blocks.max(1))
}

fn block(one: &[u8], other: &[u8], width: usize, left: usize) -> f64 {
    let [mut a, mut b, mut aa, mut bb, mut ab] = [0u32; 5];
    for line in 0..BLOCK {
        let from = line * width + left;
        for (x, y) in one[from..from + BLOCK].iter().zip(&other[from..from + BLOCK]) {
            let (x, y) = (u32::from(*x), u32::from(*y));
            a += x;
            b += y;
            aa += x * x;
            bb += y * y;
            ab += x * y;
        }
    }
    const COUNT: f64 = (BLOCK * BLOCK) as f64;
    let [mean_a, mean_b] = [a, b].map(|sum| f64::from(sum) / COUNT);
    let variance = |squares: u32, mean: f64| f64::from(squares) / COUNT - mean * mean;
    let covariance = f64::from(ab) / COUNT - mean_a * mean_b;
    (2.0 * mean_a * mean_b + C1) * (2.0 * covariance + C2)
        / ((mean_a * mean_a + mean_b * mean_b + C1) * (variance(aa, mean_a) + variance(bb, mean_b) + C2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_ten_everywhere_is_28_decibels() {
        let (dark, light) = (vec![100; 64 * 64], vec![110; 64 * 64]);
        assert!((psnr(&dark, &light) - 28.13).abs() < 0.01, "{}", psnr(&dark, &light));
        assert!((psnr(&dark, &dark) - IDENTICAL_DB).abs() < f64::EPSILON);
        assert!((ssim(&dark, &dark, 64) - 1.0).abs() < 1e-9);
        assert!(ssim(&dark, &light, 64) > 0.98, "the same structure");
    }

    #[test]
    fn lost_structure_is_dissimilar() {
        let stripes: Vec<u8> = (0..64 * 64).map(|n| if n % 4 < 2 { 20 } else { 220 }).collect();
        assert!(ssim(&stripes, &vec![120; 64 * 64], 64) < 0.1);
    }
}
