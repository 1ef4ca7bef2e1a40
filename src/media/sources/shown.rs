//! How large a picture is, and how large it is sent.

use crate::media::coding::{Coding, bits_for};
use crate::media::options::{CaptureOptions, Content, MainSource, Size};

/// The size of what is drawn here.
pub(super) const DRAWN: Size = Size { width: 1280, height: 720 };

/// What is sent as it is on every machine.
pub(super) const FULL_HD: Size = Size { width: 1920, height: 1080 };

/// What a screen is sent as where the encoder is fast enough. 4K needs more than software encodes and students'
/// machines decode; a teacher with the hardware for 4K asks for it.
pub(super) const LARGE: Size = Size { width: 2560, height: 1440 };

/// What is on the `screen` track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Shown {
    /// A picture that is drawn in any size, or the graph of a user's own.
    #[default]
    Drawn,
    /// The picture of a file, of this size where it tells.
    File(Option<Size>),
    /// A screen or window, of this size where it is known.
    Screen(Option<Size>),
}

/// How it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// The box that it must fit, whatever its size becomes.
    pub most: Size,
    /// Its size at first.
    pub size: Size,
}

impl Shown {
    fn native(self) -> Option<Size> {
        match self {
            Self::Drawn => None,
            Self::File(size) | Self::Screen(size) => size,
        }
    }

    /// The box of what every machine sends as it is. The picture may be upright or wide.
    pub(super) fn full_hd(self) -> Size {
        self.native().map_or(FULL_HD, |native| FULL_HD.turned_for(native))
    }

    /// In a box of this size.
    pub(super) fn within(self, most: Size) -> Fit {
        let unknown = if self == Self::Drawn { DRAWN } else { FULL_HD };
        match self.native() {
            Some(native) => Fit { most, size: native.fitted(most) },
            None if most == Size::NATIVE => Fit { most, size: unknown },
            None => Fit { most, size: most },
        }
    }

    /// As asked for, or else the largest size that may be sent.
    pub(super) fn at_most(self, asked: Option<Size>) -> Fit {
        let usual = match self {
            Self::Drawn => DRAWN,
            Self::File(_) => self.full_hd(),
            Self::Screen(Some(native)) if !native.fits(self.full_hd()) => LARGE.turned_for(native),
            Self::Screen(_) => self.full_hd(),
        };
        self.within(asked.unwrap_or(usual))
    }

    /// Whether that size is sent only where the encoder is fast enough.
    pub(super) fn is_in_doubt(self, asked: Option<Size>, fit: Fit) -> bool {
        asked.is_none() && matches!(self, Self::Screen(_)) && !fit.size.fits(self.full_hd())
    }

    /// What is sent, for people; nothing where no picture is.
    pub(super) fn sentence(self, coding: &Coding, because: Option<String>) -> String {
        let rate = f64::from(coding.bitrate) / 1e6;
        let of = self.native().filter(|native| *native != coding.size && native.fitted(Size::NATIVE) != coding.size);
        let of = of.map(|native| match because {
            Some(because) => format!(" ({native} here: {because})"),
            None => format!(" ({native} here, --size native sends it whole)"),
        });
        format!("the picture is sent as {}{}, at up to {rate:.1} Mbit/s", coding.size, of.unwrap_or_default())
    }
}

/// The coding of the screen in the full tier. A teacher who asks for more bits in the low tier than the size needs gets
/// as many in the full tier.
pub(super) fn coding(options: &CaptureOptions, fit: Fit) -> Coding {
    let bitrate = options.screen.bitrate;
    let bitrate = bitrate.unwrap_or_else(|| bits_for(fit.size).max(options.tiers.low_rate().unwrap_or(0)));
    Coding::full(fit.size, options.screen.fps, bitrate)
}

/// What the screen shows, unless it is told: a file may be anything, and a film that stutters is worse than small text.
pub(super) fn content(options: &CaptureOptions) -> Content {
    options.content.unwrap_or(match options.sources.main {
        _ if options.pipeline.is_some() => Content::Film,
        MainSource::Screen(_) | MainSource::Demo => Content::Text,
        MainSource::Files(_) | MainSource::Test => Content::Film,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{FileList, Sources, VideoOptions};

    const SMALL: Size = Size { width: 640, height: 480 };
    const FOUR_K: Size = Size { width: 3840, height: 2160 };

    #[test]
    fn what_fits_is_sent_as_it_is() {
        let sent = |shown: Shown, asked| shown.at_most(asked).size;
        assert_eq!(sent(Shown::Drawn, None), DRAWN);
        assert_eq!(sent(Shown::Drawn, Some(Size::NATIVE)), DRAWN);
        assert_eq!(sent(Shown::Drawn, Some(FULL_HD)), FULL_HD);
        assert_eq!(sent(Shown::File(Some(FULL_HD)), None), FULL_HD);
        assert_eq!(sent(Shown::File(Some(LARGE)), None), FULL_HD);
        assert_eq!(sent(Shown::File(Some(SMALL)), None), SMALL);
        assert_eq!(sent(Shown::File(Some(FOUR_K)), Some(Size::NATIVE)), FOUR_K);
        assert_eq!(sent(Shown::File(None), Some(DRAWN)), DRAWN);
        let portrait = Size { width: 1080, height: 1920 };
        assert_eq!(sent(Shown::File(Some(portrait)), None), portrait);
        assert_eq!(sent(Shown::File(Some(portrait)), Some(FULL_HD)), Size { width: 608, height: 1080 });
    }

    #[test]
    fn only_a_large_screen_is_tried_out() {
        let doubt = |shown: Shown, asked| {
            let fit = shown.at_most(asked);
            (fit.size, shown.is_in_doubt(asked, fit))
        };
        let screen = |size| Shown::Screen(Some(size));
        assert_eq!(doubt(screen(FULL_HD), None), (FULL_HD, false));
        assert_eq!(doubt(screen(LARGE), None), (LARGE, true));
        assert_eq!(doubt(screen(FOUR_K), None), (LARGE, true));
        assert_eq!(doubt(screen(LARGE), Some(Size::NATIVE)), (LARGE, false));
        assert_eq!(doubt(screen(LARGE), Some(DRAWN)), (DRAWN, false));
        assert_eq!(doubt(Shown::Screen(None), None), (FULL_HD, false));
        assert_eq!(Shown::Screen(None).at_most(None).most, FULL_HD);
        assert_eq!(screen(LARGE).within(FULL_HD), Fit { most: FULL_HD, size: FULL_HD });
    }

    #[test]
    fn bits_follow_what_is_sent_unless_they_are_asked_for() {
        let options = |bitrate, tiers| CaptureOptions {
            screen: VideoOptions { size: None, fps: 30, bitrate },
            tiers,
            ..CaptureOptions::default()
        };
        let bits = |options: &CaptureOptions| coding(options, Shown::File(Some(FULL_HD)).at_most(None)).bitrate;
        let tiers = crate::media::Tiers::default();
        assert_eq!(bits(&options(None, tiers)), 4_600_000);
        assert_eq!(bits(&options(Some(800_000), tiers)), 800_000);
        assert_eq!(bits(&options(None, crate::media::Tiers::Both(Some(6_000_000)))), 6_000_000);
    }

    #[test]
    fn a_screen_is_text_and_a_file_is_a_film_unless_told() {
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
    fn what_is_sent_is_said() {
        let sentence = |shown: Shown, asked, because: Option<&str>| {
            let coding = coding(&CaptureOptions::default(), shown.at_most(asked));
            shown.sentence(&coding, because.map(str::to_owned))
        };
        assert_eq!(sentence(Shown::Drawn, None, None), "the picture is sent as 1280x720, at up to 2.5 Mbit/s");
        assert_eq!(
            sentence(Shown::File(Some(FOUR_K)), None, None),
            "the picture is sent as 1920x1080 (3840x2160 here, --size native sends it whole), at up to 4.6 Mbit/s"
        );
        assert_eq!(
            sentence(Shown::Screen(Some(LARGE)), Some(FULL_HD), Some("x264 takes 20 ms")),
            "the picture is sent as 1920x1080 (2560x1440 here: x264 takes 20 ms), at up to 4.6 Mbit/s"
        );
        let odd = Shown::File(Some(Size { width: 1365, height: 767 }));
        assert_eq!(sentence(odd, None, None), "the picture is sent as 1364x766, at up to 2.7 Mbit/s");
    }
}
