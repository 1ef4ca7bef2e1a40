//! The flags of `demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::sink::TypedSinkArgs;
use super::values;
use crate::media::Tiers;

#[derive(Debug, Args)]
pub(super) struct TypedDemo {
    /// Play this file instead of the sample lecture; repeat the flag to play several files
    #[arg(long, value_name = "PATH", help_heading = "Sources")]
    pub(super) file: Vec<PathBuf>,

    /// Start again with the first file after the last one
    #[arg(long = "loop", help_heading = "Sources")]
    pub(super) looped: bool,

    /// The tiers (qualities) of the picture, as in teach: full,low or full or full,low=300k
    #[arg(
        long, value_name = "LIST", default_value = "full,low", value_parser = values::tiers,
        help_heading = "Encoding", hide_short_help = true
    )]
    pub(super) tiers: Tiers,

    #[command(flatten)]
    pub(super) sink: TypedSinkArgs,

    /// End after this time [default: run until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub(super) length: Option<Duration>,
}
