//! `classroom completions` and `classroom man`: files that packages install with the program.

use anyhow::Context;

use crate::cli::{self, Completions, Man};
use crate::exit::Failure;
use crate::report::Reporter;

/// Prints the completion script of a shell.
pub(super) fn completions(completions: Completions, reporter: &Reporter) {
    reporter.result(&cli::completions(completions.shell));
}

/// Writes the manual pages into a folder.
pub(super) fn man(man: &Man, reporter: &Reporter) -> Result<(), Failure> {
    let write = || {
        std::fs::create_dir_all(&man.folder)?;
        cli::man_pages().iter().try_for_each(|(name, page)| std::fs::write(man.folder.join(name), page))
    };
    write()
        .with_context(|| format!("can't write the manual pages to {}; choose another folder", man.folder.display()))
        .map_err(Failure::usage)?;
    reporter.notice(format!("wrote the manual pages to {}", man.folder.display()));
    Ok(())
}
