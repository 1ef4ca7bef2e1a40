//! Media files as a source: inspect them, then play one after another as one stream.
//!
//! Each file has a pipeline of its own ([`player`]) that ends in appsinks. [`playlist`] moves the samples from there to
//! the appsrcs of the teaching pipeline and adjusts their timestamps, so that encoders and students see one endless
//! stream, and a broken file ends nothing but itself. Before the start, [`check`] makes sure that each path is a file,
//! and [`inspect`] opens it in another process.

mod feed;
mod inspect;
mod player;
mod playlist;
mod timeline;

use std::fs::{File, metadata};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use super::options::Size;
use gstreamer as gst;
use gstreamer::prelude::*;
use serde::{Deserialize, Serialize};

pub(super) use self::feed::{black, sound_caps};
pub use self::inspect::inspect_files;
pub(super) use self::inspect::{Unusable, contents, inspections};
pub(super) use self::player::Player;
pub(super) use self::playlist::{Playlist, PlaylistConfig};
pub(super) use self::timeline::RateLimit;

/// The timeout for opening a file: it may have a large index, or be on a slow network share.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The streams of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// The video stream, if there is one.
    pub video: Option<VideoStream>,
    /// Whether there is an audio stream.
    pub audio: bool,
    /// The announced length in milliseconds.
    pub length_ms: Option<u64>,
}

/// A video stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VideoStream {
    /// The displayed size in square pixels, after the rotation that the file asks for.
    pub width: u32,
    pub height: u32,
    /// Whether the stream has no frame rate, as a still image.
    pub is_still: bool,
}

impl Contents {
    /// A description for the user.
    pub(super) fn words(&self) -> &'static str {
        match (self.video, self.audio) {
            (Some(_), true) => "picture and sound",
            (Some(video), false) if video.is_still => "a picture",
            (Some(_), false) => "picture, no sound",
            _ => "sound, no picture",
        }
    }
}

/// The size of the largest video of a list.
pub(super) fn largest(contents: &[Contents]) -> Option<Size> {
    sizes(contents).max_by_key(|size| u64::from(size.width) * u64::from(size.height))
}

/// The size of all frames of a list: the smallest in which each video, fitted into `most`, keeps all its pixels. Videos
/// of another shape get borders. The size never changes during a lecture, so encoders go on and recordings stay valid.
pub(super) fn canvas(contents: &[Contents], most: Size) -> Option<Size> {
    let fitted = sizes(contents).map(|size| size.fitted(most));
    fitted.reduce(|one, other| Size { width: one.width.max(other.width), height: one.height.max(other.height) })
}

fn sizes(contents: &[Contents]) -> impl Iterator<Item = Size> {
    contents.iter().filter_map(|contents| contents.video).map(|video| Size { width: video.width, height: video.height })
}

/// Changes the rank of decoders in this process. libav's decoders for BMP and TIFF need a frame as one buffer, which no
/// element delivers. gdkpixbufdec accepts pieces, but has rank None by default.
pub(super) fn prefer_decoders() {
    let ranks =
        [("avdec_bmp", gst::Rank::NONE), ("avdec_tiff", gst::Rank::NONE), ("gdkpixbufdec", gst::Rank::MARGINAL)];
    for (decoder, rank) in ranks {
        if let Some(factory) = gst::ElementFactory::find(decoder) {
            factory.set_rank(rank);
        }
    }
}

/// The URI of a file.
fn uri(path: &Path) -> Result<String, String> {
    let absolute = std::fs::canonicalize(path).map_err(|error| error.to_string())?;
    let uri = gst::glib::filename_to_uri(&absolute, None).map_err(|error| error.message().to_owned())?;
    Ok(uri.to_string())
}

/// Checks a path before GStreamer opens it: a named pipe would block for ever. The error is for the user.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let about = metadata(path).map_err(|error| in_words(&error))?;
    let kind = about.file_type();
    if kind.is_dir() {
        return Err("it is a folder: name the files in it one by one".into());
    }
    let special = match kind {
        kind if kind.is_fifo() => Some("a named pipe"),
        kind if kind.is_socket() => Some("a socket"),
        kind if !kind.is_file() => Some("a device"),
        _ => None,
    };
    if let Some(special) = special {
        return Err(format!("it is {special}, and only files can be played: copy its data into a file"));
    }
    if about.len() == 0 {
        return Err("it is empty".into());
    }
    File::open(path).map(|_| ()).map_err(|error| in_words(&error))
}

fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "this user may not read it: change its permissions".into(),
        _ => error.to_string(),
    }
}

/// Says what a file is that GStreamer can't play, by its media type, and what to do.
fn advice(media_type: Option<&str>) -> String {
    let Some(media_type) = media_type else {
        return "GStreamer does not recognise this file: is it damaged or incomplete?".into();
    };
    let (what, helps) = match media_type {
        "application/pdf" => ("a PDF document", "show it with --slides FILE".into()),
        "application/msword" => ("an office document", "show it with --slides FILE, or save it as PDF".into()),
        "text/plain" | "text/html" | "text/uri-list" => {
            ("a text file", "give a video, a picture or an audio file".into())
        }
        "application/zip" => ("a ZIP archive or an office document", "show a presentation with --slides FILE".into()),
        other if ["video/", "audio/", "image/"].iter().any(|kind| other.starts_with(kind)) => {
            return format!(
                "it is {other}, and may be damaged, incomplete or protected: \
                 convert the file, for example with ffmpeg -i FILE new.mp4"
            );
        }
        other => (other, String::from("give a video, a picture or an audio file")),
    };
    format!("it is {what}: {helps}")
}

/// The Debian package with a decoder for a media type.
fn package_for(media_type: &str) -> &'static str {
    match media_type {
        "image/heif" | "image/heic" | "image/avif" | "image/svg+xml" | "image/svg" | "image/webp" | "image/x-jpc" => {
            "gstreamer1.0-plugins-bad"
        }
        "image/png" | "image/jpeg" | "audio/x-flac" | "video/x-vp8" | "video/x-vp9" | "application/x-3gp" => {
            "gstreamer1.0-plugins-good"
        }
        "video/x-theora" | "audio/x-vorbis" | "audio/x-opus" | "application/ogg" => "gstreamer1.0-plugins-base",
        _ => "gstreamer1.0-libav",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(width: u32, height: u32) -> Contents {
        Contents { video: Some(VideoStream { width, height, is_still: false }), audio: false, length_ms: None }
    }

    #[test]
    fn the_canvas_of_a_list_fits_each_video() {
        const HD: Size = Size { width: 1280, height: 720 };
        let audio = Contents { video: None, audio: true, length_ms: None };
        let list = [audio, video(320, 240), video(1920, 1080), video(1080, 1920)];
        assert_eq!(largest(&list[..3]), Some(Size { width: 1920, height: 1080 }));
        assert_eq!(canvas(&list, HD), Some(HD));
        assert_eq!(canvas(&[video(400, 300), video(300, 400)], HD), Some(Size { width: 400, height: 400 }));
        assert_eq!((largest(&[audio]), canvas(&[audio], HD)), (None, None));
    }

    #[test]
    fn a_path_that_is_not_a_file_is_refused() {
        let folder = std::env::temp_dir();
        let refused = |path: &Path| check(path).unwrap_err();
        assert!(refused(&folder).contains("folder") && refused(Path::new("/dev/null")).contains("a device"));
        assert_eq!(refused(&folder.join("no such file")), "there is no such file");
        assert_eq!(check(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))), Ok(()));
    }

    #[test]
    fn advice_names_the_kind_of_file() {
        assert!(advice(Some("application/pdf")).contains("--slides"));
        assert!(advice(Some("text/plain")).starts_with("it is a text file: "));
        assert!(advice(Some("video/quicktime")).contains("video/quicktime, and may be damaged"));
        assert!(advice(Some("application/x-tar")).starts_with("it is application/x-tar: "));
        assert!(advice(None).contains("damaged"));
    }
}
