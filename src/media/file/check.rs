//! Whether a path is a file that can be read, and what to do about one that can't be played.

use std::fs::{File, metadata};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Looks at a path before GStreamer does: it would wait for ever for somebody to write into a pipe. The error is for
/// people.
pub(super) fn check(path: &Path) -> Result<(), String> {
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
pub(super) fn advice(media_type: Option<&str>) -> String {
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
pub(super) fn package_for(media_type: &str) -> &'static str {
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
