//! What a capture is asked for, and the events that it reports.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::error::MediaError;
use crate::lecture::Source;
use crate::rtp::{Codec, Tier};

/// The sources to capture and their settings.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptureOptions {
    /// The sources of video and audio.
    pub sources: Sources,
    /// The video codec. Default: H.264 if an encoder for it works, else VP8.
    pub codec: Option<Codec>,
    /// Settings of the screen, or of the file in its place.
    pub screen: VideoOptions,
    /// Settings of the camera.
    pub camera: VideoOptions,
    /// The content of the screen track. Default: text for a screen and the demo, film for a file and the test picture.
    pub content: Option<Content>,
    /// The tiers to offer.
    pub tiers: Tiers,
    /// Bit/s of the audio.
    pub audio_bitrate: u32,
    /// A pipeline file that replaces the built-in one and all sources.
    pub pipeline: Option<PathBuf>,
    /// The program that inspects files first, by its verb `inspect-files`, so that a crash in a decoder ends another
    /// process. Default: files are inspected in this process.
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
            // Opus at 48 kbit/s is transparent for speech, and good enough for film clips.
            audio_bitrate: 48_000,
            pipeline: None,
            inspector: None,
        }
    }
}

/// The sources of video and audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The source of the `screen` track.
    pub main: MainSource,
    /// The source of the `camera` track. The device `test` is a synthetic one.
    pub camera: Wanted,
    /// The source of the `audio` track. The device `test` is a tone. Files, the test picture and the demo have audio of
    /// their own; only [`Wanted::Yes`] replaces it.
    pub microphone: Wanted,
    /// Whether to capture audio at all.
    pub audio: bool,
}

impl Default for Sources {
    /// The screen, camera and microphone of this machine, as far as they exist.
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
    /// Only `main` with its own audio, and no device.
    pub fn only(main: MainSource) -> Self {
        Self { main, camera: Wanted::No, microphone: Wanted::No, audio: true }
    }
}

/// The source of the `screen` track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MainSource {
    /// A display, named as in `$DISPLAY`.
    Screen(Wanted),
    /// Media files, played in real time, one after another.
    Files(FileList),
    /// The pages of a PDF document, or of a presentation that LibreOffice opens.
    Slides(PathBuf),
    /// The scenes of a lecture; a black picture until the first one is ordered.
    Scenes(Vec<Source>),
    /// A moving pattern with a running clock, and a tone.
    Test,
    /// A short lecture that this program draws and plays.
    Demo,
}

/// Whether to use a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Not at all.
    No,
    /// If one exists.
    IfPresent,
    /// Required: the first one, or the one of this name.
    Yes(Option<String>),
}

/// Requested settings of a video track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOptions {
    /// The bounds of the video in pixels. Video is scaled down to fit, and never enlarged. Default: files up to
    /// 1920x1080, screens up to 2560x1440 if the encoder is fast enough, synthetic video 1280x720.
    pub size: Option<Size>,
    /// Frames per second, at most.
    pub fps: u32,
    /// Bit/s. Default: derived from the size.
    pub bitrate: Option<u32>,
}

/// The content of a video track. It decides what the low tier drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Slides, code, a desktop: keep the size, and drop frames.
    Text,
    /// Film, faces: keep the movement, and halve the size.
    Film,
}

/// The tiers of a lecture, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiers {
    /// Only the full tier.
    Full,
    /// Only the low tier.
    Low(LowRate),
    /// The full tier, and the low tier for students with a narrow path or a slow machine.
    Both(LowRate),
}

/// The requested bit/s of the screen's (or file's) low tier. Default: a quarter of the full tier, from 50,000 to
/// 450,000. The camera always has the default.
pub type LowRate = Option<u32>;

impl Default for Tiers {
    fn default() -> Self {
        Self::Both(None)
    }
}

impl Tiers {
    /// The tiers, best first.
    pub(super) fn offered(self) -> &'static [Tier] {
        match self {
            Self::Full => &[Tier::Full],
            Self::Low(_) => &[Tier::Low],
            Self::Both(_) => &Tier::ALL,
        }
    }

    /// The requested bit/s of the low tier.
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
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// Bounds that fit every video: nothing is scaled.
    pub const NATIVE: Size = Size { width: 8192, height: 8192 };

    /// The number of pixels.
    pub(super) fn pixels(self) -> u32 {
        self.width * self.height
    }

    /// The size of this video within bounds: aspect ratio kept, not enlarged beyond [`MIN_EDGE`](Self::MIN_EDGE), edges
    /// even.
    #[must_use]
    pub(super) fn fitted(self, most: Size) -> Size {
        let scale = (f64::from(most.width) / f64::from(self.width.max(1)))
            .min(f64::from(most.height) / f64::from(self.height.max(1)))
            .min(1.0);
        let edge = |edge: u32| ((f64::from(edge) * scale).round() as u32 & !1).max(Self::MIN_EDGE);
        Size { width: edge(self.width), height: edge(self.height) }
    }

    /// These bounds, rotated if the video is in portrait format and they are not, or the reverse.
    #[must_use]
    pub(super) fn turned_for(self, video: Size) -> Size {
        let is_turned = (video.height > video.width) != (self.height > self.width);
        if is_turned { Size { width: self.height, height: self.width } } else { self }
    }

    /// Whether a video of this size fits without scaling.
    pub(super) fn fits(self, most: Size) -> bool {
        self.width <= most.width && self.height <= most.height
    }

    /// Half the edges, even, for the low tier. At least 16 pixels.
    #[must_use]
    pub(super) fn half(self) -> Self {
        let half = |edge: u32| ((edge / 2) & !1).max(16);
        Self { width: half(self.width), height: half(self.height) }
    }

    /// The shortest edge that all encoders accept.
    pub(super) const MIN_EDGE: u32 = 64;

    /// The valid edges: the encoders' minimum, and the maximum of H.264 level 5.2.
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
            parse().ok_or_else(|| format!("{text:?} is not a size: write WIDTHxHEIGHT such as 1280x720, or native"))?;
        if !Self::EDGE.contains(&size.width) || !Self::EDGE.contains(&size.height) {
            return Err(format!(
                "{text} is out of range: width and height have {} to {} pixels",
                Self::EDGE.start(),
                Self::EDGE.end()
            ));
        }
        // 4:2:0 video has half the colour samples in each direction, so both edges must be even.
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

/// The default duration of a still image in a list.
const STILL: Duration = Duration::from_secs(10);

/// Media files to play in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    /// Files that GStreamer can decode; at least one.
    pub paths: Vec<PathBuf>,
    /// Whether the list repeats.
    pub repeat: bool,
    /// The duration of still images. Default: 10 s in a list, for ever if the image is alone.
    pub still: Option<Duration>,
}

impl FileList {
    /// One file, played once.
    pub fn once(path: impl Into<PathBuf>) -> Self {
        Self { paths: vec![path.into()], repeat: false, still: None }
    }

    /// One file, played again and again.
    pub fn looped(path: impl Into<PathBuf>) -> Self {
        Self { repeat: true, ..Self::once(path) }
    }

    /// The duration of a still image. None means for ever.
    pub(super) fn still_length(&self) -> Option<Duration> {
        self.still.or((self.paths.len() > 1).then_some(STILL))
    }

    /// An error about one of the files. With several files, it names the position in the list.
    pub(super) fn error(&self, index: usize, cause: impl Into<String>) -> MediaError {
        let cause = cause.into();
        let (path, of) = (self.paths[index].clone(), self.paths.len());
        let cause = if of > 1 { format!("{cause} (it is --file number {} of {of})", index + 1) } else { cause };
        MediaError::File { path, cause }
    }
}

/// The picture that the class sees, and what only the teacher sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlidePosition {
    /// The number of the page, from 1.
    pub page: usize,
    /// The number of pages.
    pub pages: usize,
    /// Whether the picture is black instead.
    pub is_black: bool,
    /// The speaker notes of the page; may be empty.
    pub notes: String,
}

/// Events of the scenes of a lecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SceneEvent {
    /// The class sees another scene.
    Shown {
        /// The index of the scene.
        scene: usize,
        /// Where a video starts.
        from: Duration,
    },
    /// The video of a scene has ended.
    Ended {
        /// The number of the scene among all that were shown.
        number: u64,
    },
    /// A scene can't be shown, or not any more.
    Failed {
        /// The index of the scene.
        scene: usize,
        /// The number of the scene among all that were shown.
        number: u64,
        /// Why.
        cause: String,
    },
}

/// Events of a running capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureEvent {
    /// A file of the list starts.
    Playing {
        /// The path.
        path: PathBuf,
        /// The position in the list, from 1.
        index: usize,
        /// The length of the list.
        of: usize,
    },
    /// Another page of the slides is shown.
    Slide(SlidePosition),
    /// Something about the scenes of a lecture.
    Scene(SceneEvent),
    /// The last file has ended.
    Eos,
    /// The capture is over.
    Error(MediaError),
    /// The capture goes on, but the user should know.
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
    fn fitting_keeps_the_aspect_ratio_and_never_enlarges() {
        let size = |width, height| Size { width, height };
        for (video, most, fitted) in [
            (size(1920, 1080), size(1920, 1080), size(1920, 1080)),
            (size(2560, 1440), size(1920, 1080), size(1920, 1080)),
            (size(3840, 2160), size(2560, 1440), size(2560, 1440)),
            (size(1080, 1920), size(1920, 1080), size(608, 1080)),
            (size(1365, 767), size(1920, 1080), size(1364, 766)),
            (size(5120, 1440), Size::NATIVE, size(5120, 1440)),
            (size(1, 1), size(1920, 1080), size(64, 64)),
        ] {
            assert_eq!(video.fitted(most), fitted, "{video} in {most}");
        }
        assert_eq!(size(1920, 1080).turned_for(size(1080, 1920)), size(1080, 1920));
        assert_eq!(size(1920, 1080).turned_for(size(64, 48)), size(1920, 1080));
        assert!(size(1920, 1080).fits(size(1920, 1080)) && !size(1080, 1920).fits(size(1920, 1080)));
    }

    #[test]
    fn a_still_image_stays_for_ever_alone_and_for_ten_seconds_in_a_list() {
        let mut list = FileList::once("a.png");
        assert_eq!(list.still_length(), None);
        list.paths.push("b.png".into());
        assert_eq!(list.still_length(), Some(STILL));
        assert_eq!(list.error(1, "it is empty").to_string(), "file b.png: it is empty (it is --file number 2 of 2)");
        list.still = Some(Duration::from_secs(3));
        assert_eq!(list.still_length(), list.still);
    }
}
