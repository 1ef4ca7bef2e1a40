//! The most that a receiver wants of each video.

use crate::protocol::channel::{SentTier, SentTiers};
use crate::rtp::{Encoding, Tier, Track};

/// The most that a receiver wants of a video.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VideoLimit {
    /// All that its path carries.
    #[default]
    Full,
    /// The low tier, because it shows the video small. If there is no low tier, the full one.
    Low,
    /// Nothing, because it does not show the video.
    Nothing,
}

/// The limits of one receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VideoLimits {
    /// That of the screen.
    pub screen: VideoLimit,
    /// That of the camera.
    pub camera: VideoLimit,
}

impl From<SentTiers> for VideoLimits {
    fn from(wanted: SentTiers) -> Self {
        let limit = |tier| match tier {
            Some(SentTier::Low) => VideoLimit::Low,
            Some(SentTier::None) => VideoLimit::Nothing,
            Some(SentTier::Full | SentTier::Unknown) | None => VideoLimit::Full,
        };
        Self { screen: limit(wanted.screen), camera: limit(wanted.camera) }
    }
}

impl VideoLimits {
    /// The encodings among `available` that the receiver may get.
    pub(super) fn of(self, available: &[Encoding]) -> Vec<Encoding> {
        let has_low = |of: &Encoding| available.contains(&Encoding { tier: Tier::Low, ..*of });
        let allows = |encoding: &Encoding| match self.limit(encoding.track) {
            VideoLimit::Full => true,
            VideoLimit::Low => encoding.tier == Tier::Low || !has_low(encoding),
            VideoLimit::Nothing => false,
        };
        available.iter().filter(|encoding| allows(encoding)).copied().collect()
    }

    fn limit(self, track: Track) -> VideoLimit {
        match track {
            Track::Audio => VideoLimit::Full,
            Track::Screen => self.screen,
            Track::Camera => self.camera,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Codec;

    #[test]
    fn a_small_picture_gets_the_low_tier_and_a_hidden_one_nothing() {
        let audio = Encoding::full(Track::Audio, Codec::Opus);
        let screen = Encoding::full(Track::Screen, Codec::Vp8);
        let camera = Encoding::full(Track::Camera, Codec::Vp8);
        let low = Encoding { tier: Tier::Low, ..camera };
        let all = [audio, screen, camera, low];
        assert_eq!(VideoLimits::default().of(&all), all);
        let small = VideoLimits { screen: VideoLimit::Low, camera: VideoLimit::Low };
        assert_eq!(small.of(&all), [audio, screen, low], "the screen has one tier");
        let hidden = VideoLimits { screen: VideoLimit::Nothing, camera: VideoLimit::Nothing };
        assert_eq!(hidden.of(&all), [audio]);
    }
}
