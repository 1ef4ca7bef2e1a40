//! Where a lecture goes: what was asked for, and what this machine has.

use std::path::{Path, PathBuf};

use crate::cli::Sink;
use crate::exit::Failure;
use crate::media;
use crate::report::Reporter;

/// Where the lecture goes, after a look at what is there.
pub(super) fn choose(sink: &Sink, reporter: &Reporter) -> Result<media::Sink, Failure> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_display = is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    Ok(match sink {
        Sink::Window { fullscreen } => media::Sink::Window { fullscreen: *fullscreen },
        Sink::Auto { fullscreen } if has_display => media::Sink::Window { fullscreen: *fullscreen },
        Sink::Auto { .. } => {
            reporter.notice("there is no display here ($DISPLAY, $WAYLAND_DISPLAY): decoding without a window");
            media::Sink::Null
        }
        Sink::Null => media::Sink::Null,
        Sink::File(path) => {
            is_writable(path)?;
            media::Sink::File(path.clone())
        }
    })
}

fn is_writable(path: &Path) -> Result<(), Failure> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened
        .map(drop)
        .map_err(|e| Failure::usage(anyhow::anyhow!("can't write {}: {e}; choose another --sink", path.display())))
}

/// A recording that was begun again, because the lecture came back in another form: `out.mkv`, `out-2.mkv`.
pub(super) fn numbered(path: &Path, before: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{}{extension}", before + 1))
}
