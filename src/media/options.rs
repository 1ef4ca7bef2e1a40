//! What a teacher wants to be captured, before anybody has looked whether it exists.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::file::FileList;
use crate::rtp::{Codec, Tier};

/// What to capture, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureOptions {
    /// Where picture and sound come from.
    pub sources: Sources,
    /// The video codec; without one H.264 where an encoder for it works, else VP8.
    pub codec: Option<Codec>,
    /// Size, rate and bitrate of the screen, or of the file in its place.
    pub screen: VideoOptions,
    /// Size, rate and bitrate of the camera.
    pub camera: VideoOptions,
    /// In which tiers the pictures can be had.
    pub tiers: Tiers,
    /// Bit/s of the sound.
    pub audio_bitrate: u32,
    /// A graph that replaces the built-in one; sources then come from that file alone.
    pub pipeline: Option<PathBuf>,
    /// The program that opens files first, by its verb `inspect-files`: what breaks down on a file is then another
    /// process. Without one they are opened in this process.
    pub inspector: Option<PathBuf>,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            sources: Sources::default(),
            codec: None,
            screen: VideoOptions { size: None, fps: 30, bitrate: 2_500_000 },
            camera: VideoOptions { size: Some(Size { width: 640, height: 360 }), fps: 30, bitrate: 400_000 },
            tiers: Tiers::default(),
            // Speech is transparent at 48 kbit/s, and a lecture's film clips are good enough.
            audio_bitrate: 48_000,
            pipeline: None,
            inspector: None,
        }
    }
}

/// Where picture and sound come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// What is shown on the `screen` track.
    pub main: MainSource,
    /// The camera, on the `camera` track. The device `test` is a drawn one.
    pub camera: Wanted,
    /// The microphone, on the `audio` track. A file, the test picture and the demo bring their own sound, and only a
    /// microphone that is asked for by [`Wanted::Yes`] takes its place.
    pub microphone: Wanted,
    /// Whether there is any sound at all.
    pub audio: bool,
}

impl Default for Sources {
    /// The screen, the camera and the microphone that exist.
    fn default() -> Self {
        Self {
            main: MainSource::Screen(Wanted::IfPresent),
            camera: Wanted::IfPresent,
            microphone: Wanted::IfPresent,
            audio: true,
        }
    }
}

impl Sources {
    /// Only `main`, with its own sound and no device.
    pub fn only(main: MainSource) -> Self {
        Self { main, camera: Wanted::No, microphone: Wanted::No, audio: true }
    }
}

/// What is shown on the `screen` track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainSource {
    /// A display, named as in `$DISPLAY`.
    Screen(Wanted),
    /// Media files, played in real time, one after another.
    Files(FileList),
    /// A moving pattern with a running clock, and a tone.
    Test,
    /// A short lecture that is drawn and played by this program.
    Demo,
}

/// Whether a device is to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Not at all.
    No,
    /// If there is one.
    IfPresent,
    /// It must be there: the first one, or that of the given name.
    Yes(Option<String>),
}

/// How a video track is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOptions {
    /// The box that the picture must fit, in pixels. It keeps its shape and is never enlarged. Without one, drawn
    /// pictures and files have 1280x720, and screens up to 1920x1080.
    pub size: Option<Size>,
    /// Pictures per second, at most.
    pub fps: u32,
    /// Bit/s.
    pub bitrate: u32,
}

impl VideoOptions {
    /// The most bits of a picture in the low tier, unless others are asked for: with sound and what packets cost it
    /// goes through a line of 600 kbit/s.
    const MOST_LOW: u32 = 450_000;

    /// The least, unless the full tier has fewer: no encoder makes a readable slide of less.
    const LEAST_LOW: u32 = 50_000;

    /// What is left of it in a tier. The size is that of the box; the picture itself is halved whatever its size.
    #[must_use]
    pub(super) fn in_tier(self, tier: Tier, low_bitrate: Option<u32>) -> Self {
        match tier {
            Tier::Full => self,
            Tier::Low => Self {
                size: self.size.map(Size::half),
                fps: self.fps.div_ceil(2),
                bitrate: low_bitrate
                    .unwrap_or((self.bitrate / 4).clamp(Self::LEAST_LOW, Self::MOST_LOW).min(self.bitrate)),
            },
        }
    }
}

/// In which tiers the pictures of a lecture can be had; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiers {
    /// As asked for, and nothing less.
    Full,
    /// Half the size, half the rate, for everybody.
    Low(LowRate),
    /// Full, and low for those whose line or machine needs it.
    Both(LowRate),
}

/// Bit/s of the low tier of the screen, or of the file in its place; without them a quarter of those of the full tier,
/// from 50,000 to 450,000. The camera always has the quarter.
pub type LowRate = Option<u32>;

impl Default for Tiers {
    fn default() -> Self {
        Self::Both(None)
    }
}

impl Tiers {
    /// The best first.
    pub(super) fn offered(self) -> &'static [Tier] {
        match self {
            Self::Full => &[Tier::Full],
            Self::Low(_) => &[Tier::Low],
            Self::Both(_) => &Tier::ALL,
        }
    }

    /// The rate that was asked for of the low tier.
    pub fn low_rate(self) -> LowRate {
        match self {
            Self::Full => None,
            Self::Low(rate) | Self::Both(rate) => rate,
        }
    }
}

/// Width and height in pixels, both even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// What the low tier has of it: half the edges, even, and not less than encoders take.
    #[must_use]
    pub(super) fn half(self) -> Self {
        let half = |edge: u32| ((edge / 2) & !1).max(16);
        Self { width: half(self.width), height: half(self.height) }
    }

    /// The least pixels of an edge that all encoders take.
    pub(super) const LEAST_EDGE: u32 = 64;

    /// The least and the most pixels of an edge: what the encoders take, and what H.264 level 5.2 allows.
    const EDGE: std::ops::RangeInclusive<u32> = Self::LEAST_EDGE..=4096;
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (width, height) = text.split_once(['x', 'X'])?;
            Some(Size { width: width.parse().ok()?, height: height.parse().ok()? })
        };
        let size = parse().ok_or_else(|| format!("{text:?} is no size, write WIDTHxHEIGHT such as 1280x720"))?;
        if !Self::EDGE.contains(&size.width) || !Self::EDGE.contains(&size.height) {
            return Err(format!(
                "{text} is out of range, an edge has {} to {} pixels",
                Self::EDGE.start(),
                Self::EDGE.end()
            ));
        }
        // 4:2:0 pictures have half the colour samples in each direction.
        Ok(Size { width: size.width & !1, height: size.height & !1 })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_tier_has_half_the_size_half_the_rate_and_a_quarter_of_the_bits() {
        let size = |width, height| Some(Size { width, height });
        let full = VideoOptions { size: size(1366, 768), fps: 25, bitrate: 1_200_000 };
        let low = VideoOptions { size: size(682, 384), fps: 13, bitrate: 300_000 };
        assert_eq!(full.in_tier(Tier::Low, None), low);
        assert_eq!(full.in_tier(Tier::Full, Some(7)), full);
        let sharp = VideoOptions { bitrate: 8_000_000, ..full };
        assert_eq!(sharp.in_tier(Tier::Low, None).bitrate, 450_000);
        assert_eq!(sharp.in_tier(Tier::Low, Some(900_000)).bitrate, 900_000);
        let rates = [150_000, 40_000].map(|bitrate| VideoOptions { bitrate, ..full }.in_tier(Tier::Low, None).bitrate);
        assert_eq!(rates, [50_000, 40_000]);
        assert_eq!(Size { width: 20, height: 64 }.half(), Size { width: 16, height: 32 });
    }

    #[test]
    fn sizes_are_even_and_bounded() {
        assert_eq!("1281x721".parse(), Ok(Size { width: 1280, height: 720 }));
        assert_eq!(Size { width: 640, height: 360 }.to_string(), "640x360");
        for bad in ["", "1280", "x", "1280x", "-1x5", "63x720", "5000x720", "axb"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
