//! The servers that this user trusted at first sight, kept in the state folder.
//!
//! A line is what the server was found by, a room or an address, and its identity: `room:10013 sha256:..`. Whoever
//! announces the same room later must have the same identity.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::fingerprint::Identity;
use crate::state_dir;

const FILE: &str = "known-servers";

/// The most lines; the oldest goes first.
const MAX_LINES: usize = 1_000;

/// The known servers of this user.
#[derive(Debug, Clone)]
pub struct KnownServers {
    /// Without a state folder nothing is known, and nothing is kept.
    path: Option<PathBuf>,
}

impl KnownServers {
    /// Those of the state folder.
    pub fn of_this_user() -> Self {
        Self { path: state_dir::state_dir().ok().map(|dir| dir.join(FILE)) }
    }

    /// Those of this file.
    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path: Some(path) }
    }

    /// The identity that is kept under this key, which has no spaces.
    pub fn get(&self, key: &str) -> Option<Identity> {
        let text = fs::read_to_string(self.path.as_ref()?).ok()?;
        text.lines().filter_map(parse).find(|(known, _)| *known == key).map(|(_, identity)| identity)
    }

    /// Keeps an identity under this key, instead of an earlier one.
    ///
    /// # Errors
    /// If the file can't be written; then the next server is trusted at first sight again.
    pub fn remember(&self, key: &str, identity: &Identity) -> io::Result<()> {
        let Some(path) = &self.path else { return Err(io::ErrorKind::NotFound.into()) };
        if self.get(key).as_ref() == Some(identity) {
            return Ok(());
        }
        let text = fs::read_to_string(path).unwrap_or_default();
        let others = text.lines().filter(|line| parse(line).is_some_and(|(known, _)| known != key));
        let mut lines: Vec<String> = others.map(str::to_owned).collect();
        lines.push(format!("{key} {identity}"));
        let first = lines.len().saturating_sub(MAX_LINES);
        state_dir::replace(path, &(lines[first..].join("\n") + "\n"))
    }
}

fn parse(line: &str) -> Option<(&str, Identity)> {
    let (key, identity) = line.split_once(' ')?;
    Some((key, identity.parse().ok()?))
}
