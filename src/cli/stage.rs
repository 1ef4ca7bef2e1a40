//! The flags of `teach` about the stage.

use clap::Args;

use super::values;

#[derive(Debug, Args)]
pub(super) struct TypedStage {
    /// Students that you can bring on the stage at the same time, from 0 to 4 [default: 2]
    #[arg(long, value_name = "N", value_parser = values::speakers, help_heading = "Lecture", hide_short_help = true)]
    stage: Option<usize>,

    /// How you see and hear students on the stage: window (with sound), audio or none [default: what this computer can]
    #[arg(
        long, value_name = "SINK", value_parser = stage_sink, help_heading = "Output", hide_short_help = true
    )]
    stage_sink: Option<StageSink>,
}

/// The stage of a lecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageOptions {
    /// The most speakers beside the teacher; 0 without a stage.
    pub most: usize,
    /// How the teacher sees and hears the speakers.
    pub sink: StageSink,
}

/// How a teacher sees and hears the speakers on the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageSink {
    /// A window with sound, or what this computer can.
    Auto,
    /// A window for each speaker, with sound.
    Window,
    /// Sound alone.
    Audio,
    /// Not at all.
    None,
}

impl From<TypedStage> for StageOptions {
    fn from(typed: TypedStage) -> Self {
        Self {
            most: typed.stage.unwrap_or(values::DEFAULT_SPEAKERS),
            sink: typed.stage_sink.unwrap_or(StageSink::Auto),
        }
    }
}

/// Parses `window`, `audio` or `none`.
fn stage_sink(text: &str) -> Result<StageSink, String> {
    match text.to_ascii_lowercase().as_str() {
        "window" => Ok(StageSink::Window),
        "audio" => Ok(StageSink::Audio),
        "none" => Ok(StageSink::None),
        _ => Err("is not a sink for the stage, give window, audio or none".into()),
    }
}
