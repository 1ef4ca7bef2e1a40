//! Media files as a source: what is in them, and how one is played after another as one stream.
//!
//! Each file has a graph of its own ([`player`]), which end_of_stream in appsinks. [`playlist`] carries what arrives there to
//! the appsrcs of the teaching graph and counts its time on, so that the encoders, and whoever watches, see one stream
//! that never end_of_stream: a file that breaks end_of_stream nothing but itself. Before anything starts, [`check`] has made sure that
//! each path is a file, and [`inspect`] has opened it in another process.

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

pub(super) use self::inspect::contents;
pub use self::inspect::inspect_files;
pub(super) use self::playlist::{Playlist, PlaylistConfig};

/// How long opening a file may take: a slow network share, a large index.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// Its picture, if it has one.
    pub picture: Option<Picture>,
    /// Whether it has sound.
    pub sound: bool,
}

/// The picture of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Picture {
    /// In square pixels, as it is shown: turned, if the file says that it is to be turned.
    pub width: u32,
    pub height: u32,
    /// Whether it names no rate: a still does not.
    pub is_still: bool,
}

impl Contents {
    /// In words.
    pub(super) fn words(&self) -> &'static str {
        match (self.picture, self.sound) {
            (Some(_), true) => "picture and sound",
            (Some(picture), false) if picture.is_still => "a picture",
            (Some(_), false) => "picture, it has no sound",
            _ => "sound, it has no picture",
        }
    }
}

/// The size of the largest picture of a list.
pub(super) fn largest(contents: &[Contents]) -> Option<Size> {
    sizes(contents).max_by_key(|size| u64::from(size.width) * u64::from(size.height))
}

/// The size in which all pictures of a list are taught: the least in which each has all the pixels that it has in the
/// box `most`. They are scaled into it, with borders where their shape is another one, so that nothing behind sees a
/// change of size: encoders go on, and recordings stay whole.
pub(super) fn canvas(contents: &[Contents], most: Size) -> Option<Size> {
    let fitted = sizes(contents).map(|size| size.fitted(most));
    fitted.reduce(|one, other| Size { width: one.width.max(other.width), height: one.height.max(other.height) })
}

fn sizes(contents: &[Contents]) -> impl Iterator<Item = Size> {
    contents
        .iter()
        .filter_map(|contents| contents.picture)
        .map(|picture| Size { width: picture.width, height: picture.height })
}

/// Puts decoders into another order, for this process. Those of libav for BMP and TIFF want a picture as one buffer,
/// which nothing gives them; that of GDK takes pieces, and is not used unless it is asked for.
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

/// Looks at a path before GStreamer does: it would wait for ever for somebody to write into a pipe. The error is for
/// people.
fn check(path: &Path) -> Result<(), String> {
    let about = metadata(path).map_err(|error| in_words(&error))?;
    let kind = about.file_type();
    if kind.is_dir() {
        return Err("it is a folder: give its files one by one, each with --file".into());
    }
    let special = match kind {
        kind if kind.is_fifo() => Some("a named pipe"),
        kind if kind.is_socket() => Some("a socket"),
        kind if !kind.is_file() => Some("a device"),
        _ => None,
    };
    if let Some(special) = special {
        return Err(format!("it is {special}, and only a file can be played: copy what comes from it into a file"));
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

/// What a file is and what helps, for one that GStreamer can't play: by its media type, as GStreamer found it.
fn advice(media_type: Option<&str>) -> String {
    let Some(media_type) = media_type else {
        return "GStreamer does not know this kind of file: is it damaged, or copied only in part?".into();
    };
    let (what, helps) = match media_type {
        "application/pdf" => {
            ("a PDF document", "save its pages as pictures, for example with pdftoppm -png FILE page".into())
        }
        "application/msword" => ("an office document", "export its pages as pictures".into()),
        "text/plain" | "text/html" | "text/uri-list" => {
            ("a text file", "give a video, a picture or a sound file".into())
        }
        "application/zip" => ("a ZIP archive or an office document", "export its pages as pictures".into()),
        other if ["video/", "audio/", "image/"].iter().any(|kind| other.starts_with(kind)) => {
            return format!(
                "it is {other}, damaged, incomplete or protected: \
                 convert it again, for example with ffmpeg -i FILE new.mp4"
            );
        }
        other => (other, String::from("give a video, a picture or a sound file")),
    };
    format!("it is {what}: {helps}")
}

/// The Debian package that has a decoder for a media type.
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

    fn picture(width: u32, height: u32) -> Contents {
        Contents { picture: Some(Picture { width, height, is_still: false }), sound: false }
    }

    #[test]
    fn a_list_has_a_size_in_which_no_picture_loses_pixels() {
        const HD: Size = Size { width: 1280, height: 720 };
        let sound = Contents { picture: None, sound: true };
        let list = [sound, picture(320, 240), picture(1920, 1080), picture(1080, 1920)];
        assert_eq!(largest(&list[..3]), Some(Size { width: 1920, height: 1080 }));
        assert_eq!(canvas(&list, HD), Some(HD));
        assert_eq!(canvas(&[picture(400, 300), picture(300, 400)], HD), Some(Size { width: 400, height: 400 }));
        assert_eq!((largest(&[sound]), canvas(&[sound], HD)), (None, None));
    }

    #[test]
    fn what_is_no_file_is_named_with_the_way_out() {
        let folder = std::env::temp_dir();
        let refused = |path: &Path| check(path).unwrap_err();
        assert!(refused(&folder).contains("folder") && refused(Path::new("/dev/null")).contains("a device"));
        assert_eq!(refused(&folder.join("no such file")), "there is no such file");
        assert_eq!(check(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))), Ok(()));
    }

    #[test]
    fn advice_names_what_a_file_is() {
        assert!(advice(Some("application/pdf")).contains("pdftoppm"));
        assert!(advice(Some("text/plain")).starts_with("it is a text file: "));
        assert!(advice(Some("video/quicktime")).contains("video/quicktime, damaged"));
        assert!(advice(Some("application/x-tar")).starts_with("it is application/x-tar: "));
        assert!(advice(None).contains("damaged"));
    }
}
