//! Files of this participant: what is typed, and what passes between the files, the pairs and the server.

use std::path::{Path, PathBuf};

use super::Conference;
use super::files::FileStep;
use crate::http::file_client::FileClient;
use crate::id::UserId;
use crate::protocol::{ErrorCode, MediaHost, PairFileMessage, Participant, ServerMessage};
use crate::report::ParticipantState;

impl Conference<'_> {
    /// The user has typed `/send`.
    pub(super) fn send_file(&mut self, argument: &str) {
        let others: Vec<Participant> = self.list.others().cloned().collect();
        let is_over_server = self.list.media() == MediaHost::Server;
        let sent = target(argument, |who| self.list.find(who))
            .and_then(|(path, to)| self.files.send(&path, (&others, to.as_ref()), is_over_server, self.reporter));
        match sent {
            Ok(steps) => self.do_files(steps),
            Err(sentence) => self.reporter.notice(sentence),
        }
    }

    /// The user has typed `/cancel`.
    pub(super) fn cancel_files(&mut self, name: &str) {
        match self.files.cancel(name, self.reporter) {
            Ok(steps) => self.do_files(steps),
            Err(sentence) => self.reporter.notice(sentence),
        }
    }

    /// A message of another participant about a file.
    pub(super) fn on_file(&mut self, other: &UserId, message: PairFileMessage) {
        let from = self.list.others().find(|participant| participant.user_id == *other).cloned();
        let step = from.and_then(|from| self.files.heard(&from, message, self.reporter));
        self.do_files(step.into_iter().collect());
    }

    /// Whether a message of the server is about files, and about nothing else.
    pub(super) fn is_about_files(&mut self, message: &ServerMessage) -> bool {
        let is_file = match message {
            ServerMessage::FilePlace { .. } | ServerMessage::File(_) | ServerMessage::FileGone { .. } => true,
            ServerMessage::Error { code, .. } => *code == ErrorCode::FileRefused,
            _ => false,
        };
        if is_file {
            let server = self.file_client();
            let steps = self.files.told(message, (&self.member.user, server), self.reporter);
            self.do_files(steps);
        }
        is_file
    }

    pub(super) fn do_files(&mut self, steps: Vec<FileStep>) {
        for step in steps {
            match step {
                FileStep::Pair(other, input) => {
                    // Without the pair, its files are lost.
                    if !self.pairs.pass(&other, input) {
                        self.files.lost(&other, self.reporter);
                    }
                }
                FileStep::Server(message) => self.send(message),
            }
        }
    }

    /// Closes the pairs that nobody needs any more.
    pub(super) fn close_moved(&mut self) {
        let files = &self.files;
        for other in self.pairs.close_moved(|other| files.need(other)) {
            self.tell_of(&other, ParticipantState::Moved);
        }
    }

    fn file_client(&self) -> Option<FileClient> {
        let (address, session) = self.signalling.http()?;
        Some(FileClient { address, room: self.member.room.clone(), user: self.member.user.clone(), session })
    }
}

/// The path, and perhaps the only receiver, of `PATH` or `PATH USER`. A path may have spaces.
fn target(
    argument: &str,
    find: impl FnOnce(&str) -> Result<Participant, String>,
) -> Result<(PathBuf, Option<Participant>), String> {
    let is_there = |path: &str| Path::new(path).exists();
    match argument.rsplit_once(char::is_whitespace) {
        _ if is_there(argument) => Ok((argument.into(), None)),
        Some((path, who)) if is_there(path.trim_end()) => Ok((path.trim_end().into(), Some(find(who)?))),
        _ if argument.is_empty() => Err("/send needs a file, for example /send notes.pdf".to_owned()),
        _ => Err(format!("there is no file {argument}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_is_told_from_a_path_and_a_receiver() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("my notes.pdf"), "x").unwrap();
        let ben = || Participant::new("1002".parse().unwrap(), "Ben".into(), 2, Vec::new());
        let find = |who: &str| if who == "Ben" { Ok(ben()) } else { Err(format!("nobody is called {who}")) };
        let notes = path("my notes.pdf");
        assert_eq!(target(&notes, find), Ok((notes.clone().into(), None)));
        assert_eq!(target(&format!("{notes}  Ben"), find), Ok((notes.clone().into(), Some(ben()))));
        assert_eq!(target(&format!("{notes} Cleo"), find), Err("nobody is called Cleo".to_owned()));
        assert!(target(&path("none"), find).unwrap_err().contains("there is no file"));
        assert!(target("", find).unwrap_err().contains("/send needs a file"));
    }
}
