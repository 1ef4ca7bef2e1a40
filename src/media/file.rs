//! Media files as a source: what is in them, and how one is played after another as one stream.
//!
//! Each file has a graph of its own ([`player`]), which ends in appsinks. [`playlist`] carries what arrives there to
//! the appsrcs of the teaching graph and counts its time on, so that the encoders, and whoever watches, see one stream
//! that never ends: a file that breaks ends nothing but itself. Before anything starts, [`check`] has made sure that
//! each path is a file, and [`inspect`] has opened it in another process.

mod check;
mod feed;
mod inspect;
mod picture;
mod player;
mod playlist;
mod timeline;

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::MediaError;
use super::options::Size;

pub(super) use self::inspect::contents;
pub use self::inspect::inspect_files;
pub(super) use self::playlist::{Entry, Playlist, Program};

/// How long opening a file may take: a slow network share, a large index.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

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
    fn error(&self, index: usize, cause: impl Into<String>) -> MediaError {
        let cause = cause.into();
        let (path, of) = (self.paths[index].clone(), self.paths.len());
        let cause = if of > 1 { format!("{cause} (it is --file number {} of {of})", index + 1) } else { cause };
        MediaError::File { path, cause }
    }
}

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
