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
