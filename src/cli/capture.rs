//! The flags of `teach` about its sources and their encoding.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::lecture::TypedLecture;
use super::values::{self, Bitrate};
use crate::media::{Content, Size, Tiers};
use crate::rtp::Codec;

#[derive(Debug, Args)]
#[command(next_help_heading = "Sources")]
pub(super) struct TypedSources {
    /// Send the screen, for example --screen or --screen=:1
    #[arg(long, value_name = "DISPLAY", num_args = 0..=1, require_equals = true)]
    pub(super) screen: Option<Option<String>>,

    /// Send the camera, for example --camera or --camera=/dev/video2
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true)]
    pub(super) camera: Option<Option<String>>,

    /// Send the microphone, for example --mic or --mic=hw:1
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, require_equals = true)]
    pub(super) mic: Option<Option<String>>,

    /// Teach without sound
    #[arg(long, hide_short_help = true)]
    pub(super) no_audio: bool,

    /// Play a video, picture or sound file; repeat the flag to play a list
    #[arg(long, value_name = "PATH")]
    pub(super) file: Vec<PathBuf>,

    /// Show the pages of a PDF file, or of a presentation (ODP, PPTX) where LibreOffice is installed; turn them with
    /// /next, /prev, /page 7 and /black, or the keys Page Down and Page Up
    #[arg(long, value_name = "DECK.pdf", hide_short_help = true)]
    pub(super) slides: Option<PathBuf>,

    /// Start again with the first file after the last one
    #[arg(long = "loop", hide_short_help = true)]
    pub(super) looped: bool,

    /// Show each picture file for this long [default: 10s in a list of files, otherwise until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    pub(super) still: Option<Duration>,

    /// Send a test picture with a running clock, and a tone
    #[arg(long, hide_short_help = true)]
    pub(super) test: bool,

    /// Send what OBS or another WHIP encoder sends to this computer
    #[arg(long, hide_short_help = true)]
    pub(super) whip_in: bool,

    /// Teach with your own GStreamer pipeline, read from this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) pipeline: Option<PathBuf>,

    #[command(flatten)]
    pub(super) lecture: TypedLecture,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Encoding")]
pub(super) struct TypedEncoding {
    /// h264 or vp8 [default: h264, or vp8 if no H.264 encoder works]
    #[arg(long, value_name = "CODEC", value_parser = values::video_codec, hide_short_help = true)]
    pub(super) codec: Option<Codec>,

    /// Scale the picture down to fit this size; native never scales [default: at most 1920x1080, or 2560x1440 for a
    /// screen if the encoder is fast enough]
    #[arg(long, value_name = "WxH", hide_short_help = true)]
    pub(super) size: Option<Size>,

    /// Pictures per second, 1 to 120 [default: 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=120), hide_short_help = true)]
    pub(super) fps: Option<u32>,

    /// The bit rate of the screen or file picture, for example 2500k or 2.5M [default: by size: 2500k for 1280x720,
    /// 4600k for 1920x1080, 7100k for 2560x1440]
    #[arg(long, value_name = "RATE", hide_short_help = true)]
    pub(super) bitrate: Option<Bitrate>,

    /// The tiers (qualities) of the pictures: full, and low for students with a slow connection. low takes a quarter of
    /// the bit rate, at most 450k, and is encoded only while a student needs it; low=300k sets its bit rate [default:
    /// full,low]
    #[arg(long, value_name = "LIST", value_parser = values::tiers, hide_short_help = true)]
    pub(super) tiers: Option<Tiers>,

    /// The kind of content for the low tier: text keeps letters sharp, at 5 pictures a second or fewer; film keeps half
    /// of the pictures, at half the size [default: text for a screen or picture files, otherwise film]
    #[arg(long, value_name = "KIND", value_parser = values::content, hide_short_help = true)]
    pub(super) content: Option<Content>,
}

#[derive(Debug, Args)]
pub(super) struct TypedDeck {
    /// The PDF file to draw
    #[arg(value_name = "PATH")]
    pub(super) path: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct TypedFiles {
    /// The files to inspect
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
}
