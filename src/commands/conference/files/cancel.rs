//! Files that this member cancels: its own, and those of others on their way to it.

use super::item::{Item, Way};
use super::{FileStep, Files};
use crate::commands::conference::pair::PairInput;
use crate::protocol::{ClientMessage, PairFileMessage};
use crate::report::{FileDirection, FileState, Reporter};

impl Files {
    /// Cancels the files with this name, or without a name all that are on their way.
    ///
    /// # Errors
    /// There is no such file, as a sentence.
    pub(in crate::commands::conference) fn cancel(
        &mut self,
        name: &str,
        reporter: &Reporter,
    ) -> Result<Vec<FileStep>, String> {
        let is_meant = |item: &&Item| !item.is_over() && (name.is_empty() || item.name.as_str() == name);
        let meant: Vec<u64> = self.items.iter().filter(is_meant).map(|item| item.number).collect();
        if meant.is_empty() {
            let what = if name.is_empty() { "no file".to_owned() } else { format!("no file {name}") };
            return Err(format!("{what} is on its way"));
        }
        let mut steps: Vec<FileStep> =
            self.items.iter().filter(|item| meant.contains(&item.number)).filter_map(word).collect();
        meant.into_iter().for_each(|number| self.end(number, FileState::Cancelled, reporter));
        steps.extend(self.ask_next());
        Ok(steps)
    }
}

/// The message to the other side of a file that is cancelled.
fn word(item: &Item) -> Option<FileStep> {
    match (&item.way, &item.user, item.direction) {
        (Way::Pair(id), Some(user), _) => {
            let cancel = PairFileMessage::FileCancel { id: id.clone() };
            Some(FileStep::Pair(user.clone(), PairInput::File(cancel)))
        }
        (Way::Server(Some(file)), _, FileDirection::Out) => {
            Some(FileStep::Server(ClientMessage::WithdrawFile { file: *file }))
        }
        // The server keeps the file for the others.
        _ => None,
    }
}
