//! The flags of the verbs that write manual pages and completions.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
pub(super) struct TypedCompletions {
    /// The shell to print the script for
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct TypedMan {
    /// The folder to write to; it is created if it does not exist
    #[arg(value_name = "FOLDER")]
    pub(super) folder: PathBuf,
}

pub(super) const CONFIG_HELP: &str = "Examples:
  classroom config                              the settings of all verbs
  classroom config teach                        those of teach

A flag that you leave out has the value of its variable, CLASSROOM_BITRATE for --bitrate, or else of a
configuration file: classroom/classroom.toml in $XDG_CONFIG_HOME (~/.config), then in /etc/xdg.";

#[derive(Debug, Args)]
pub(super) struct TypedConfig {
    /// The verb whose settings to print [default: all]
    #[arg(value_name = "VERB", value_parser = super::settings::VERBS)]
    pub(super) verb: Option<String>,
}
