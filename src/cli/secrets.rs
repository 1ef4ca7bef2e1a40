//! Secrets of the command line, and what they are for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::access::{JoinCode, TeachingKey, TurnSecret};

/// A secret as typed. `Debug` hides it, and clap's errors never name it, as it is checked later.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The secret as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The secret, or `None` for an empty one: an empty variable of the environment means none.
    pub(super) fn given(self) -> Option<Self> {
        (!self.0.trim().is_empty()).then_some(self)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.trim().into())
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where the teaching key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeachingKeySource {
    /// In an argument or in the environment.
    Given(TeachingKey),
    /// In the first line of a file.
    File(PathBuf),
}

/// The access policy of the server that runs here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    /// The teaching key. `teach` also shows it to another server.
    pub teaching_key: Option<TeachingKeySource>,
    /// The file with the keys of tokens.
    pub auth: Option<PathBuf>,
    /// The secret that the server shares with its TURN servers.
    pub turn_secret: Option<TurnSecret>,
}

/// The access settings of the room of a lecture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomAccess {
    /// The join code; `None`: everybody with the link.
    pub code: Option<CodeChoice>,
    /// Whether students wait until the teacher admits them.
    pub lobby: bool,
}

/// The join code of a lecture, as the teacher chooses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeChoice {
    /// Six random digits.
    Digits,
    /// Two random words and two random digits.
    Words,
    /// The teacher's own code.
    Own(JoinCode),
}
