//! What a teacher wants to be captured, before anybody has looked whether it exists.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::error::MediaError;
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
    /// What the screen shows; none: text on a screen and in the demo, a film in a file and the test picture.
    pub content: Option<Content>,
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
            screen: VideoOptions { size: None, fps: 30, bitrate: None },
            camera: VideoOptions { size: Some(Size { width: 640, height: 360 }), fps: 30, bitrate: Some(400_000) },
            content: None,
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

/// How a video track is encoded, as far as that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOptions {
    /// The box that the picture must fit, in pixels. It keeps its shape and is never enlarged. Without one, a file is
    /// sent as it is up to 1920x1080, a screen up to 2560x1440 where the encoder is fast enough, and drawn pictures
    /// have 1280x720.
    pub size: Option<Size>,
    /// Pictures per second, at most.
    pub fps: u32,
    /// Bit/s; none: as many as the size needs.
    pub bitrate: Option<u32>,
}

/// What a picture shows, which decides what is left out of it in the low tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Slides, code, a desktop: letters stay sharp, and there are few pictures.
    Text,
    /// A film, a face: movement stays smooth, and the picture is half as large.
    Film,
}

/// In which tiers the pictures of a lecture can be had; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiers {
    /// As asked for, and nothing less.
    Full,
    /// The low tier, for everybody.
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
    /// A box that holds every picture: it stays as large as it is.
    pub const NATIVE: Size = Size { width: 8192, height: 8192 };

    /// How many pixels it has.
    pub(super) fn pixels(self) -> u32 {
        self.width * self.height
    }

    /// What becomes of a picture of this size in a box: it keeps its shape, is never enlarged but
    /// to what encoders take, and its edges are even.
    #[must_use]
    pub(super) fn fitted(self, most: Size) -> Size {
        let scale = (f64::from(most.width) / f64::from(self.width.max(1)))
            .min(f64::from(most.height) / f64::from(self.height.max(1)))
            .min(1.0);
        let edge = |edge: u32| ((f64::from(edge) * scale).round() as u32 & !1).max(Self::MIN_EDGE);
        Size { width: edge(self.width), height: edge(self.height) }
    }

    /// The same box, turned for a picture that is higher than wide.
    #[must_use]
    pub(super) fn turned_for(self, picture: Size) -> Size {
        let is_turned = (picture.height > picture.width) != (self.height > self.width);
        if is_turned { Size { width: self.height, height: self.width } } else { self }
    }

    /// Whether a picture of this size is in the box as it is.
    pub(super) fn fits(self, most: Size) -> bool {
        self.width <= most.width && self.height <= most.height
    }

    /// What the low tier has of it: half the edges, even, and not less than encoders take.
    #[must_use]
    pub(super) fn half(self) -> Self {
        let half = |edge: u32| ((edge / 2) & !1).max(16);
        Self { width: half(self.width), height: half(self.height) }
    }

    /// The least pixels of an edge that all encoders take.
    pub(super) const MIN_EDGE: u32 = 64;

    /// The least and the most pixels of an edge: what the encoders take, and what H.264 level 5.2 allows.
    const EDGE: std::ops::RangeInclusive<u32> = Self::MIN_EDGE..=4096;
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("native") {
            return Ok(Self::NATIVE);
        }
        let parse = || {
            let (width, height) = text.split_once(['x', 'X'])?;
            Some(Size { width: width.parse().ok()?, height: height.parse().ok()? })
        };
        let size =
            parse().ok_or_else(|| format!("{text:?} is not a size, write WIDTHxHEIGHT such as 1280x720, or native"))?;
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
        if *self == Self::NATIVE {
            return f.write_str("native");
        }
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// How long a still is shown in a list, unless another time is asked for.
const STILL: Duration = Duration::from_secs(10);

/// Media files that are played in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    /// Any files that GStreamer can decode; at least one.
    pub paths: Vec<PathBuf>,
    /// Whether the first one follows the last.
    pub repeat: bool,
    /// How long a still is shown; without it 10 s in a list, and for ever when it is alone.
    pub still: Option<Duration>,
}

impl FileList {
    /// One file, played once.
    pub fn once(path: impl Into<PathBuf>) -> Self {
        Self { paths: vec![path.into()], repeat: false, still: None }
    }

    /// One file, again and again.
    pub fn looped(path: impl Into<PathBuf>) -> Self {
        Self { repeat: true, ..Self::once(path) }
    }

    /// How long a still is shown; none: for ever.
    pub(super) fn still_length(&self) -> Option<Duration> {
        self.still.or((self.paths.len() > 1).then_some(STILL))
    }

    /// An error about one of the files, which names its place where there are more.
    pub(super) fn error(&self, index: usize, cause: impl Into<String>) -> MediaError {
        let cause = cause.into();
        let (path, of) = (self.paths[index].clone(), self.paths.len());
        let cause = if of > 1 { format!("{cause} (it is --file number {} of {of})", index + 1) } else { cause };
        MediaError::File { path, cause }
    }
}

/// What a running capture has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureEvent {
    /// A file of a list begins.
    Playing {
        /// Which one.
        path: PathBuf,
        /// Its place in the list, from 1.
        index: usize,
        /// How long the list is.
        of: usize,
    },
    /// The last file is at its end.
    Eos,
    /// The capture is over.
    Error(MediaError),
    /// The capture goes on, but somebody should know.
    Warning(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_even_and_bounded() {
        assert_eq!("1281x721".parse(), Ok(Size { width: 1280, height: 720 }));
        assert_eq!(Size { width: 640, height: 360 }.to_string(), "640x360");
        assert_eq!("native".parse(), Ok(Size::NATIVE));
        assert_eq!(Size::NATIVE.to_string(), "native");
        assert_eq!(Size { width: 20, height: 64 }.half(), Size { width: 16, height: 32 });
        for bad in ["", "1280", "x", "1280x", "-1x5", "63x720", "5000x720", "axb"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_picture_keeps_its_shape_and_its_size_where_it_fits() {
        let size = |width, height| Size { width, height };
        for (picture, most, fitted) in [
            (size(1920, 1080), size(1920, 1080), size(1920, 1080)),
            (size(2560, 1440), size(1920, 1080), size(1920, 1080)),
            (size(3840, 2160), size(2560, 1440), size(2560, 1440)),
            (size(1080, 1920), size(1920, 1080), size(608, 1080)),
            (size(1365, 767), size(1920, 1080), size(1364, 766)),
            (size(5120, 1440), Size::NATIVE, size(5120, 1440)),
            (size(1, 1), size(1920, 1080), size(64, 64)),
        ] {
            assert_eq!(picture.fitted(most), fitted, "{picture} in {most}");
        }
        assert_eq!(size(1920, 1080).turned_for(size(1080, 1920)), size(1080, 1920));
        assert_eq!(size(1920, 1080).turned_for(size(64, 48)), size(1920, 1080));
        assert!(size(1920, 1080).fits(size(1920, 1080)) && !size(1080, 1920).fits(size(1920, 1080)));
    }

    #[test]
    fn a_still_is_shown_for_ever_alone_and_for_ten_seconds_in_a_list() {
        let mut list = FileList::once("a.png");
        assert_eq!(list.still_length(), None);
        list.paths.push("b.png".into());
        assert_eq!(list.still_length(), Some(STILL));
        assert_eq!(list.error(1, "it is empty").to_string(), "file b.png: it is empty (it is --file number 2 of 2)");
        list.still = Some(Duration::from_secs(3));
        assert_eq!(list.still_length(), list.still);
    }
}
