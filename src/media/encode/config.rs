//! How a picture is encoded in a tier: what is left of it, and how many bits it gets.
//!
//! The low tier is for a line of 600 kbit/s. At so few bits either the picture is small or pictures are few, and what
//! it shows decides: letters of 10 pt in half the size are ambiguous however long one looks (26 dB, and 20 dB on a page
//! that is full of them), while the whole size at five pictures a second is as good after half a second and sharp after
//! two (38 dB). A film is worth less at five pictures a second (28 dB) than in half the size (35 dB).
//! `cargo test --lib legible -- --ignored --nocapture` makes a table of these.

use crate::media::options::{Content, Size};
use crate::rtp::{Codec, Tier};

/// What 1280x720 gets: 2.5 Mbit/s, at which a desktop and a film are good.
const BITRATE_OF_720P: f64 = 2_500_000.0;
const PIXELS_OF_720P: f64 = 1280.0 * 720.0;

/// The more pixels a picture has, the more alike its neighbouring pixels are, so bits grow more slowly than pixels:
/// with this power 1920x1080 at 4.6 Mbit/s is as good as 1280x720 at 2.5.
const GROWTH: f64 = 0.75;

/// The size never gives a picture fewer: the same movement costs bits in a small picture too.
const MIN_BITRATE: u32 = 300_000;

/// The most bits of a picture in the low tier, unless others are asked for: with sound and what packets cost it
/// goes through a line of 600 kbit/s.
const MAX_LOW_BITRATE: u32 = 450_000;

/// The least, unless the full tier has fewer: no encoder makes a readable slide of less.
const MIN_LOW_BITRATE: u32 = 50_000;

/// What a picture of text needs in the low tier, in bits: with fewer, a new page is not sharper for being sent more
/// often.
const BITS_PER_SLIDE: u32 = 75_000;

/// With fewer bit/s VP8 has no whole pictures of text: it can't make a key frame of a full page smaller than 67 kB.
const MIN_VP8_TEXT_BITRATE: u32 = 300_000;

/// Pictures of text per second in the low tier, at most: one sees where the pointer goes.
const MAX_TEXT_FPS: u32 = 5;

/// The largest picture of text whose size the low tier keeps. A picture with more pixels has larger letters too: a 4K
/// screen is usually scaled to twice the size.
const MAX_TEXT_SIZE: Size = Size { width: 2560, height: 1440 };

/// The bit/s that a picture of this size gets unless others are asked for, in steps of 100,000.
pub(in crate::media) fn default_bitrate(size: Size) -> u32 {
    let bits = BITRATE_OF_720P * (f64::from(size.pixels()) / PIXELS_OF_720P).powf(GROWTH);
    ((bits / 100_000.0).round() as u32 * 100_000).max(MIN_BITRATE)
}

/// What the low tier leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) enum Reduction {
    /// Nothing: this is the full tier.
    None,
    /// Half of each edge, and every other picture.
    HalfSize,
    /// Most pictures: there are at most as many a second as the config says. Their size is kept.
    LowFrameRate,
}

impl Reduction {
    /// The size of what was this large.
    pub(in crate::media) fn size(self, whole: Size) -> Size {
        match self {
            Self::None => whole,
            Self::LowFrameRate if whole.pixels() <= MAX_TEXT_SIZE.pixels() => whole,
            Self::HalfSize | Self::LowFrameRate => whole.half(),
        }
    }
}

/// How a picture is encoded in a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct EncoderConfig {
    /// The box that it fits.
    pub size: Size,
    /// Pictures per second, at most.
    pub fps: u32,
    /// Bit/s.
    pub bitrate: u32,
    pub reduction: Reduction,
}

impl EncoderConfig {
    /// In the full tier.
    pub(in crate::media) fn full(size: Size, fps: u32, bitrate: u32) -> Self {
        Self { size, fps, bitrate, reduction: Reduction::None }
    }

    /// What is left of the full tier's in a tier, with the bit/s that were asked for of the low one.
    #[must_use]
    pub(in crate::media) fn for_tier(self, tier: Tier, codec: Codec, content: Content, low: Option<u32>) -> Self {
        if tier == Tier::Full {
            return self;
        }
        let bitrate = low.unwrap_or((self.bitrate / 4).clamp(MIN_LOW_BITRATE, MAX_LOW_BITRATE)).min(self.bitrate);
        let is_too_few = codec == Codec::Vp8 && bitrate < MIN_VP8_TEXT_BITRATE;
        let (reduction, fps) = match content {
            Content::Text if is_too_few => (Reduction::HalfSize, self.fps.div_ceil(2)),
            Content::Film => (Reduction::HalfSize, self.fps.div_ceil(2)),
            Content::Text => (Reduction::LowFrameRate, (bitrate / BITS_PER_SLIDE).clamp(1, MAX_TEXT_FPS).min(self.fps)),
        };
        Self { size: reduction.size(self.size), fps, bitrate, reduction }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: Size = Size { width: 1920, height: 1080 };

    #[test]
    fn bits_follow_the_size() {
        let size = |width, height| Size { width, height };
        for (size, bits) in [
            (size(1280, 720), 2_500_000),
            (HD, 4_600_000),
            (size(2560, 1440), 7_100_000),
            (size(3840, 2160), 13_000_000),
            (size(640, 360), 900_000),
            (size(64, 48), 300_000),
        ] {
            assert_eq!(default_bitrate(size), bits, "{size}");
        }
    }

    #[test]
    fn the_low_tier_of_a_film_has_half_the_size_half_the_rate_and_a_quarter_of_the_bits() {
        let film = |full: EncoderConfig, low| full.for_tier(Tier::Low, Codec::H264, Content::Film, low);
        let full = EncoderConfig::full(Size { width: 1366, height: 768 }, 25, 1_200_000);
        let size = Size { width: 682, height: 384 };
        assert_eq!(film(full, None), EncoderConfig { size, fps: 13, bitrate: 300_000, reduction: Reduction::HalfSize });
        assert_eq!(full.for_tier(Tier::Full, Codec::H264, Content::Film, Some(7)), full);
        let sharp = EncoderConfig { bitrate: 8_000_000, ..full };
        assert_eq!(film(sharp, None).bitrate, 450_000);
        assert_eq!(film(sharp, Some(900_000)).bitrate, 900_000);
        let rates = [150_000, 40_000].map(|bitrate| film(EncoderConfig { bitrate, ..full }, None).bitrate);
        assert_eq!(rates, [50_000, 40_000]);
    }

    #[test]
    fn the_low_tier_of_text_has_its_size_and_as_many_pictures_as_the_bits_carry() {
        let low = |size, fps, low| {
            let config = EncoderConfig::full(size, fps, 4_600_000).for_tier(Tier::Low, Codec::H264, Content::Text, low);
            assert_eq!(config.reduction, Reduction::LowFrameRate);
            (config.size, config.fps, config.bitrate)
        };
        assert_eq!(low(HD, 30, None), (HD, 5, 450_000));
        assert_eq!(low(HD, 30, Some(1_000_000)), (HD, 5, 1_000_000));
        assert_eq!(low(HD, 30, Some(300_000)).1, 4);
        assert_eq!(low(HD, 30, Some(150_000)).1, 2);
        assert_eq!(low(HD, 2, None).1, 2, "never more than there are");
        let vp8 =
            |low| EncoderConfig::full(HD, 30, 4_600_000).for_tier(Tier::Low, Codec::Vp8, Content::Text, low).reduction;
        assert_eq!([None, Some(299_000)].map(vp8), [Reduction::LowFrameRate, Reduction::HalfSize]);
        let four_k = Size { width: 3840, height: 2160 };
        assert_eq!(low(four_k, 30, None).0, HD);
        assert_eq!(low(MAX_TEXT_SIZE, 30, None).0, MAX_TEXT_SIZE);
    }
}
