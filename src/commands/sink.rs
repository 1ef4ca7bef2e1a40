//! The sink of `watch`, `call` and `meet`.

use std::path::Path;

use crate::cli::Sink;
use crate::exit::Failure;
use crate::media;
use crate::report::Reporter;

/// Chooses the sink by what was asked for and what this computer has.
pub(super) fn choose_sink(sink: &Sink, reporter: &Reporter) -> Result<media::Sink, Failure> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_display = is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    Ok(match sink {
        Sink::Window { fullscreen } => media::Sink::Window { fullscreen: *fullscreen },
        Sink::Auto { fullscreen } if has_display => media::Sink::Window { fullscreen: *fullscreen },
        Sink::Auto { .. } => {
            reporter
                .notice("there is no display ($DISPLAY, $WAYLAND_DISPLAY), so pictures are decoded without a window");
            media::Sink::Null
        }
        Sink::Null => media::Sink::Null,
        Sink::File(path) => {
            check_writable(path)?;
            media::Sink::File(path.clone())
        }
    })
}

fn check_writable(path: &Path) -> Result<(), Failure> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened
        .map(drop)
        .map_err(|e| Failure::usage(anyhow::anyhow!("can't write {}: {e}; choose another --sink", path.display())))
}
