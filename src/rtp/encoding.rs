//! The encodings of a track. Each is encoded once for the class, and only while a viewer needs it.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use super::{Codec, Track};
use crate::protocol::channel::SentTier;

/// The quality of video. The protocol and the flags use these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The size, frame rate and bitrate that the teacher requested.
    Full,
    /// A quarter of the bitrate: text has a few sharp frames per second, film has half the size and half the frame
    /// rate.
    Low,
}

impl Tier {
    /// All tiers, best first.
    pub const ALL: [Tier; 2] = [Tier::Full, Tier::Low];

    /// The name in flags and in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Full => "full",
            Tier::Low => "low",
        }
    }
}

impl From<Tier> for SentTier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Full => SentTier::Full,
            Tier::Low => SentTier::Low,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The output of one encoder. Audio has one tier, the full one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Encoding {
    /// The track.
    pub track: Track,
    /// The tier.
    pub tier: Tier,
    /// The codec.
    pub codec: Codec,
}

impl Encoding {
    /// The number of possible encodings: audio, and two video tracks in two tiers and two codecs.
    pub const COUNT: usize = 9;

    /// All possible encodings.
    pub fn all() -> impl Iterator<Item = Encoding> {
        let pictures = [Track::Screen, Track::Camera].into_iter().flat_map(|track| {
            Tier::ALL
                .into_iter()
                .flat_map(move |tier| [Codec::H264, Codec::Vp8].map(|codec| Encoding { track, tier, codec }))
        });
        std::iter::once(Encoding::full(Track::Audio, Codec::Opus)).chain(pictures)
    }

    /// The full tier of a track.
    pub fn full(track: Track, codec: Codec) -> Self {
        Self { track, tier: Tier::Full, codec }
    }

    /// The same in another tier.
    #[must_use]
    pub fn with(self, tier: Tier) -> Self {
        Self { tier, ..self }
    }

    /// A number below [`COUNT`](Self::COUNT), for tables.
    pub fn index(self) -> usize {
        match self.track {
            Track::Audio => 0,
            picture => {
                1 + (picture as usize - 1) * 4 + (self.tier as usize) * 2 + usize::from(self.codec == Codec::Vp8)
            }
        }
    }
}

/// For people: `screen`, `screen low`.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tier {
            Tier::Full => write!(f, "{}", self.track),
            Tier::Low => write!(f, "{} low", self.track),
        }
    }
}

/// A value for each encoding.
#[derive(Debug, Default, Clone)]
pub struct PerEncoding<T>([T; Encoding::COUNT]);

impl<T> PerEncoding<T> {
    /// The values of all encodings of a track.
    pub fn of(&mut self, track: Track) -> impl Iterator<Item = &mut T> {
        let (first, count) = if track.is_video() { (1 + (track as usize - 1) * 4, 4) } else { (0, 1) };
        self.0.iter_mut().skip(first).take(count)
    }
}

impl<T> Index<Encoding> for PerEncoding<T> {
    type Output = T;
    fn index(&self, encoding: Encoding) -> &T {
        &self.0[encoding.index()]
    }
}

impl<T> IndexMut<Encoding> for PerEncoding<T> {
    fn index_mut(&mut self, encoding: Encoding) -> &mut T {
        &mut self.0[encoding.index()]
    }
}

/// A value for each track.
#[derive(Debug, Default)]
pub struct PerTrack<T>([T; 3]);

impl<T> Index<Track> for PerTrack<T> {
    type Output = T;
    fn index(&self, track: Track) -> &T {
        &self.0[track as usize]
    }
}

impl<T> IndexMut<Track> for PerTrack<T> {
    fn index_mut(&mut self, track: Track) -> &mut T {
        &mut self.0[track as usize]
    }
}

/// A value for each video codec.
#[derive(Debug, Default)]
pub struct PerCodec<T>([T; 2]);

impl<T> Index<Codec> for PerCodec<T> {
    type Output = T;
    fn index(&self, codec: Codec) -> &T {
        &self.0[usize::from(codec == Codec::Vp8)]
    }
}

impl<T> IndexMut<Codec> for PerCodec<T> {
    fn index_mut(&mut self, codec: Codec) -> &mut T {
        &mut self.0[usize::from(codec == Codec::Vp8)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_its_own_index() {
        let mut places: Vec<usize> = Encoding::all().map(Encoding::index).collect();
        places.sort_unstable();
        assert_eq!(places, (0..Encoding::COUNT).collect::<Vec<_>>());
        assert_eq!(Encoding::full(Track::Camera, Codec::Vp8).with(Tier::Low).to_string(), "camera low");
    }
}
