//! The flags about where a lecture, a call or a meeting is shown.

use clap::Args;

use super::conflict::Conflict;
use super::meaning::Sink;
use super::values::TypedSink;

#[derive(Debug, Args)]
pub(super) struct TypedSinkArgs {
    /// window, null (only decode and count) or FILE.mkv [default: window, or null without a display]
    #[arg(long, value_name = "SINK", help_heading = "Output")]
    pub(super) sink: Option<TypedSink>,

    /// Show the window in full screen
    #[arg(long, help_heading = "Output", hide_short_help = true)]
    pub(super) fullscreen: bool,
}

impl TryFrom<TypedSinkArgs> for Sink {
    type Error = Conflict;
    fn try_from(typed: TypedSinkArgs) -> Result<Self, Conflict> {
        let fullscreen = typed.fullscreen;
        match typed.sink {
            None => Ok(Sink::Auto { fullscreen }),
            Some(TypedSink::Window) => Ok(Sink::Window { fullscreen }),
            Some(TypedSink::Null) if fullscreen => Err(Conflict::FullscreenWithoutWindow("null".into())),
            Some(TypedSink::File(path)) if fullscreen => {
                Err(Conflict::FullscreenWithoutWindow(path.display().to_string()))
            }
            Some(TypedSink::Null) => Ok(Sink::Null),
            Some(TypedSink::File(path)) => Ok(Sink::File(path)),
        }
    }
}
