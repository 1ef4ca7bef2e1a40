//! Encoder settings per tier: size, frame rate and bitrate.
//!
//! The low tier is for a path of 600 kbit/s, which carries either small frames or few frames. The content decides. Text
//! of 10 pt stays ambiguous at half the size (26 dB PSNR, 20 dB on a full page), but at full size and five frames per
//! second a page reaches the same quality after half a second and is sharp after two (38 dB). A film is worse at five
//! frames per second (28 dB) than at half the size (35 dB). `cargo test --lib legible -- --ignored --nocapture` prints
//! the table.

use crate::media::options::{Content, Size};
use crate::rtp::{Codec, Tier};

/// The bitrate of 1280x720: good for a desktop and for film.
const BITRATE_OF_720P: f64 = 2_500_000.0;
const PIXELS_OF_720P: f64 = 1280.0 * 720.0;

/// Bitrate grows with pixels to this power, because neighbouring pixels get more alike: 1920x1080 at 4.6 Mbit/s looks
/// as good as 1280x720 at 2.5.
const GROWTH: f64 = 0.75;

/// The lower limit of the default: small frames need bits for movement too.
const MIN_BITRATE: u32 = 300_000;

/// The highest default of the low tier. With audio and packet overhead this fits 600 kbit/s.
const MAX_LOW_BITRATE: u32 = 450_000;

/// The lowest default of the low tier, unless the full tier has less. With less, no encoder produces a readable slide.
const MIN_LOW_BITRATE: u32 = 50_000;

/// Bits per frame that text needs in the low tier. With fewer bits per frame, more frames do not make a new page
/// sharper.
const BITS_PER_SLIDE: u32 = 75_000;

/// Below this bitrate VP8 can't send text at full size: its key frame of a full page has at least 67 kB.
const MIN_VP8_TEXT_BITRATE: u32 = 300_000;

/// The highest frame rate of text in the low tier: enough to follow the pointer.
const MAX_TEXT_FPS: u32 = 5;

/// The largest text video that keeps its size in the low tier. Larger screens usually have larger letters: a 4K desktop
/// is scaled to 200 %.
const MAX_TEXT_SIZE: Size = Size { width: 2560, height: 1440 };

/// The default bit/s of a size, in steps of 100,000.
pub(in crate::media) fn default_bitrate(size: Size) -> u32 {
    let bits = BITRATE_OF_720P * (f64::from(size.pixels()) / PIXELS_OF_720P).powf(GROWTH);
    ((bits / 100_000.0).round() as u32 * 100_000).max(MIN_BITRATE)
}

/// The quality that the low tier gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) enum Reduction {
    /// Nothing (full tier).
    None,
    /// Half of each edge and every other frame.
    HalfSize,
    /// Most frames, down to the configured frame rate. The size stays.
    LowFrameRate,
}

impl Reduction {
    /// The size after the reduction.
    pub(in crate::media) fn size(self, whole: Size) -> Size {
        match self {
            Self::None => whole,
            Self::LowFrameRate if whole.pixels() <= MAX_TEXT_SIZE.pixels() => whole,
            Self::HalfSize | Self::LowFrameRate => whole.half(),
        }
    }
}

/// Settings of one encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct EncoderConfig {
    /// The bounds of the video in pixels.
    pub size: Size,
    /// Frames per second, at most.
    pub fps: u32,
    /// Bit/s.
    pub bitrate: u32,
    pub reduction: Reduction,
}

impl EncoderConfig {
    /// Settings of the full tier.
    pub(in crate::media) fn full(size: Size, fps: u32, bitrate: u32) -> Self {
        Self { size, fps, bitrate, reduction: Reduction::None }
    }

    /// Derives the settings of a tier from those of the full tier. `low` is the requested bit/s of the low tier.
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
    fn the_default_bitrate_follows_the_size() {
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
    fn the_low_tier_of_film_has_half_the_size_half_the_frame_rate_and_a_quarter_of_the_bitrate() {
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
    fn the_low_tier_of_text_keeps_the_size_and_has_as_many_frames_as_the_bitrate_carries() {
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
