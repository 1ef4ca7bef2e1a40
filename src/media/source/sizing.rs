//! The size of the screen track: that of its source, and that which is sent.

use crate::media::encode::config::{EncoderConfig, default_bitrate};
use crate::media::options::{CaptureOptions, Content, MainSource, Size};

/// The size of synthetic video.
pub(super) const SYNTHETIC_SIZE: Size = Size { width: 1280, height: 720 };

/// Sent without scaling on every machine.
pub(super) const FULL_HD: Size = Size { width: 1920, height: 1080 };

/// The largest screen sent by default, if the encoder is fast enough. 4K is too much for software encoders and
/// students' decoders; a teacher with the hardware can request it.
pub(super) const LARGE: Size = Size { width: 2560, height: 1440 };

/// The source of the screen track, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ScreenSource {
    /// Video drawn in any size, or a user's pipeline.
    #[default]
    Synthetic,
    /// A file's video, with its size if known.
    File(Option<Size>),
    /// A screen or window, with its size if known.
    Screen(Option<Size>),
}

/// The size that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// The bounds, whatever size the source gets later.
    pub bounds: Size,
    /// The size at the start.
    pub size: Size,
}

impl ScreenSource {
    fn native(self) -> Option<Size> {
        match self {
            Self::Synthetic => None,
            Self::File(size) | Self::Screen(size) => size,
        }
    }

    /// Full HD, in portrait format if the source is.
    pub(super) fn full_hd(self) -> Size {
        self.native().map_or(FULL_HD, |native| FULL_HD.turned_for(native))
    }

    /// Fits the source into bounds.
    pub(super) fn within(self, bounds: Size) -> Fit {
        let unknown = if self == Self::Synthetic { SYNTHETIC_SIZE } else { FULL_HD };
        match self.native() {
            Some(native) => Fit { bounds, size: native.fitted(bounds) },
            None if bounds == Size::NATIVE => Fit { bounds, size: unknown },
            None => Fit { bounds, size: bounds },
        }
    }

    /// Fits the source into the requested bounds, or into the default ones of its kind.
    pub(super) fn fit(self, asked: Option<Size>) -> Fit {
        let usual = match self {
            Self::Synthetic => SYNTHETIC_SIZE,
            Self::File(_) => self.full_hd(),
            Self::Screen(Some(native)) if !native.fits(self.full_hd()) => LARGE.turned_for(native),
            Self::Screen(_) => self.full_hd(),
        };
        self.within(asked.unwrap_or(usual))
    }

    /// Whether this size depends on the speed of the encoder.
    pub(super) fn needs_speed_test(self, asked: Option<Size>, fit: Fit) -> bool {
        asked.is_none() && matches!(self, Self::Screen(_)) && !fit.size.fits(self.full_hd())
    }

    /// The notice about the size and rate that is sent.
    pub(super) fn sentence(self, config: &EncoderConfig, because: Option<String>) -> String {
        let rate = f64::from(config.bitrate) / 1e6;
        let of = self.native().filter(|native| *native != config.size && native.fitted(Size::NATIVE) != config.size);
        let of = of.map(|native| match because {
            Some(because) => format!(" (the source has {native}: {because})"),
            None => format!(" (the source has {native}; --size native sends that)"),
        });
        format!("the picture is sent as {}{}, at up to {rate:.1} Mbit/s", config.size, of.unwrap_or_default())
    }
}

/// Settings of the screen's full tier. If the low tier is to have more bits than the size needs, the full tier gets as
/// many.
pub(super) fn screen_config(options: &CaptureOptions, fit: Fit) -> EncoderConfig {
    let bitrate = options.screen.bitrate;
    let bitrate = bitrate.unwrap_or_else(|| default_bitrate(fit.size).max(options.tiers.low_rate().unwrap_or(0)));
    EncoderConfig::full(fit.size, options.screen.fps, bitrate)
}

/// The content of the screen track. Default: a file may be anything, and in a film dropped frames are worse than small
/// text.
pub(super) fn content(options: &CaptureOptions) -> Content {
    options.content.unwrap_or(match options.sources.main {
        _ if options.pipeline.is_some() => Content::Film,
        MainSource::Screen(_) | MainSource::Slides(_) | MainSource::Demo => Content::Text,
        MainSource::Files(_) | MainSource::Scenes(_) | MainSource::Test => Content::Film,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{FileList, Sources, VideoOptions};

    const SMALL: Size = Size { width: 640, height: 480 };
    const FOUR_K: Size = Size { width: 3840, height: 2160 };

    #[test]
    fn video_within_the_bounds_is_not_scaled() {
        let sent = |screen_source: ScreenSource, asked| screen_source.fit(asked).size;
        assert_eq!(sent(ScreenSource::Synthetic, None), SYNTHETIC_SIZE);
        assert_eq!(sent(ScreenSource::Synthetic, Some(Size::NATIVE)), SYNTHETIC_SIZE);
        assert_eq!(sent(ScreenSource::Synthetic, Some(FULL_HD)), FULL_HD);
        assert_eq!(sent(ScreenSource::File(Some(FULL_HD)), None), FULL_HD);
        assert_eq!(sent(ScreenSource::File(Some(LARGE)), None), FULL_HD);
        assert_eq!(sent(ScreenSource::File(Some(SMALL)), None), SMALL);
        assert_eq!(sent(ScreenSource::File(Some(FOUR_K)), Some(Size::NATIVE)), FOUR_K);
        assert_eq!(sent(ScreenSource::File(None), Some(SYNTHETIC_SIZE)), SYNTHETIC_SIZE);
        let portrait = Size { width: 1080, height: 1920 };
        assert_eq!(sent(ScreenSource::File(Some(portrait)), None), portrait);
        assert_eq!(sent(ScreenSource::File(Some(portrait)), Some(FULL_HD)), Size { width: 608, height: 1080 });
    }

    #[test]
    fn only_a_large_screen_needs_a_speed_test() {
        let doubt = |screen_source: ScreenSource, asked| {
            let fit = screen_source.fit(asked);
            (fit.size, screen_source.needs_speed_test(asked, fit))
        };
        let screen = |size| ScreenSource::Screen(Some(size));
        assert_eq!(doubt(screen(FULL_HD), None), (FULL_HD, false));
        assert_eq!(doubt(screen(LARGE), None), (LARGE, true));
        assert_eq!(doubt(screen(FOUR_K), None), (LARGE, true));
        assert_eq!(doubt(screen(LARGE), Some(Size::NATIVE)), (LARGE, false));
        assert_eq!(doubt(screen(LARGE), Some(SYNTHETIC_SIZE)), (SYNTHETIC_SIZE, false));
        assert_eq!(doubt(ScreenSource::Screen(None), None), (FULL_HD, false));
        assert_eq!(ScreenSource::Screen(None).fit(None).bounds, FULL_HD);
        assert_eq!(screen(LARGE).within(FULL_HD), Fit { bounds: FULL_HD, size: FULL_HD });
    }

    #[test]
    fn the_bitrate_follows_the_size_unless_requested() {
        let options = |bitrate, tiers| CaptureOptions {
            screen: VideoOptions { size: None, fps: 30, bitrate },
            tiers,
            ..CaptureOptions::default()
        };
        let bits =
            |options: &CaptureOptions| screen_config(options, ScreenSource::File(Some(FULL_HD)).fit(None)).bitrate;
        let tiers = crate::media::Tiers::default();
        assert_eq!(bits(&options(None, tiers)), 4_600_000);
        assert_eq!(bits(&options(Some(800_000), tiers)), 800_000);
        assert_eq!(bits(&options(None, crate::media::Tiers::Both(Some(6_000_000)))), 6_000_000);
    }

    #[test]
    fn by_default_a_screen_is_text_and_a_file_is_film() {
        let of = |main: MainSource, content, pipeline: Option<&str>| {
            let (sources, pipeline) = (Sources::only(main), pipeline.map(Into::into));
            super::content(&CaptureOptions { sources, content, pipeline, ..CaptureOptions::default() })
        };
        let screen = || MainSource::Screen(crate::media::Wanted::IfPresent);
        let file = || MainSource::Files(FileList::once("a.mp4"));
        assert_eq!(of(screen(), None, None), Content::Text);
        assert_eq!(of(screen(), Some(Content::Film), None), Content::Film);
        assert_eq!(of(file(), None, None), Content::Film);
        assert_eq!(of(file(), Some(Content::Text), None), Content::Text);
        assert_eq!(of(screen(), None, Some("own.gst")), Content::Film);
    }

    #[test]
    fn the_notice_tells_the_size_and_the_rate() {
        let sentence = |screen_source: ScreenSource, asked, because: Option<&str>| {
            let config = screen_config(&CaptureOptions::default(), screen_source.fit(asked));
            screen_source.sentence(&config, because.map(str::to_owned))
        };
        assert_eq!(
            sentence(ScreenSource::Synthetic, None, None),
            "the picture is sent as 1280x720, at up to 2.5 Mbit/s"
        );
        assert_eq!(
            sentence(ScreenSource::File(Some(FOUR_K)), None, None),
            "the picture is sent as 1920x1080 (the source has 3840x2160; --size native sends that), at up to 4.6 Mbit/s"
        );
        assert_eq!(
            sentence(ScreenSource::Screen(Some(LARGE)), Some(FULL_HD), Some("x264 takes 20 ms")),
            "the picture is sent as 1920x1080 (the source has 2560x1440: x264 takes 20 ms), at up to 4.6 Mbit/s"
        );
        let odd = ScreenSource::File(Some(Size { width: 1365, height: 767 }));
        assert_eq!(sentence(odd, None, None), "the picture is sent as 1364x766, at up to 2.7 Mbit/s");
    }
}
