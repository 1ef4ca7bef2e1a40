//! Who is meant: rooms, users and peers, parsed once at the border.
//!
//! Every identifier that arrives from a command line, a URL or the wire becomes one of these types or is refused
//! with a sentence; past that point nobody checks again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most characters a room or user id may have: fits a log line, a file name and a Redis key.
pub const MAX_ID_CHARS: usize = 64;

/// The most characters of a nickname: what a list of students can show on one line.
pub const MAX_NICKNAME_CHARS: usize = 40;

/// The most characters of a room's name: a title that fits one line of a list.
pub const MAX_ROOM_NAME_CHARS: usize = 80;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} is empty, give 1 to {MAX_ID_CHARS} characters")]
    Empty {
        /// What the text should have been: `room id`, `user id`.
        what: &'static str,
    },
    /// Too long.
    #[error("{what} has {chars} characters, at most {most} are allowed")]
    TooLong {
        /// What the text should have been.
        what: &'static str,
        /// How long it was.
        chars: usize,
        /// The limit.
        most: usize,
    },
    /// A character outside of letters, digits, `.`, `_` and `-`.
    #[error("{what} contains {found:?}, only letters, digits, '.', '_' and '-' are allowed")]
    Character {
        /// What the text should have been.
        what: &'static str,
        /// The first character that is not allowed.
        found: char,
    },
}

fn parse_id(what: &'static str, text: &str) -> Result<Box<str>, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    let chars = text.chars().count();
    if chars > MAX_ID_CHARS {
        return Err(IdError::TooLong { what, chars, most: MAX_ID_CHARS });
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(found) => Err(IdError::Character { what, found }),
        None => Ok(text.into()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as it was typed.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_id($what, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id! {
    /// A room: 1 to 64 of `A-Z a-z 0-9 . _ -`, for example `10013`.
    RoomId, "room id"
}

id! {
    /// A user, unique within a room: 1 to 64 of `A-Z a-z 0-9 . _ -`, for example `1001`.
    UserId, "user id"
}

/// A person's name as shown to others: printable, at most [`MAX_NICKNAME_CHARS`] characters.
///
/// Unlike ids, nicknames are cleaned and not refused: control characters and bidirectional overrides, which could
/// rewrite the line they are printed in, are dropped; longer names are cut.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Nickname(Box<str>);

impl Nickname {
    /// The cleaned name, possibly empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Nickname {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&str> for Nickname {
    fn from(text: &str) -> Self {
        Self(cleaned(text, MAX_NICKNAME_CHARS))
    }
}

impl From<Nickname> for String {
    fn from(name: Nickname) -> String {
        name.0.into()
    }
}

impl fmt::Display for Nickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A room's name as people gave it, `Linear algebra`: not empty, at most [`MAX_ROOM_NAME_CHARS`] characters, cleaned as
/// a [`Nickname`] is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(Box<str>);

/// A name with nothing in it that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the room's name is empty, give one of 1 to {MAX_ROOM_NAME_CHARS} characters")]
pub struct NoName;

impl RoomName {
    /// The cleaned name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = NoName;
    fn from_str(text: &str) -> Result<Self, NoName> {
        let name = cleaned(text, MAX_ROOM_NAME_CHARS);
        if name.is_empty() { Err(NoName) } else { Ok(Self(name)) }
    }
}

impl TryFrom<String> for RoomName {
    type Error = NoName;
    fn try_from(text: String) -> Result<Self, NoName> {
        text.parse()
    }
}

impl From<RoomName> for String {
    fn from(name: RoomName) -> String {
        name.0.into()
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What can be shown of a text, so many characters of it and no space around.
fn cleaned(text: &str, most: usize) -> Box<str> {
    let shown: String = text.trim().chars().filter(|c| is_printable(*c)).take(most).collect();
    shown.trim().into()
}

/// Somebody as every sentence names people: `Ms Li (9999)`. Only the id where the nickname is empty or the id again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    user: &'a UserId,
    nickname: &'a str,
}

/// The name of `user` for a sentence.
pub fn named<'a>(user: &'a UserId, nickname: &'a str) -> Named<'a> {
    Named { user, nickname }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nickname {
            nickname if nickname.is_empty() || nickname == self.user.as_str() => f.write_str(self.user.as_str()),
            nickname => write!(f, "{nickname} ({})", self.user),
        }
    }
}

/// How many students, in a sentence: `1 student`, `2 students`.
pub fn count_of_students(number: usize) -> String {
    if number == 1 { "1 student".into() } else { format!("{number} students") }
}

/// Whether a character may be shown as part of somebody else's text: no control characters, no bidirectional
/// overrides or isolates (Unicode TR 9), no byte order mark.
pub fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{2028}' | '\u{2029}'))
}

/// One connection between two users, seen from one end; printed as `9999-1001`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerKey {
    /// The user at this end.
    pub local: UserId,
    /// The user at the other end.
    pub remote: UserId,
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.local, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parsed_or_refused_with_the_cause() {
        assert_eq!("10013".parse::<RoomId>().unwrap().as_str(), "10013");
        assert_eq!("".parse::<RoomId>().unwrap_err(), IdError::Empty { what: "room id" });
        assert_eq!("a b".parse::<UserId>().unwrap_err(), IdError::Character { what: "user id", found: ' ' });
        assert!(matches!("x".repeat(65).parse::<UserId>(), Err(IdError::TooLong { chars: 65, .. })));
        assert!(serde_json::from_str::<RoomId>("\"../etc\"").is_err());
    }

    #[test]
    fn nicknames_are_cleaned() {
        assert_eq!(Nickname::from("  S-01\u{202e}\n").as_str(), "S-01");
        assert_eq!(Nickname::from("学生".repeat(40).as_str()).as_str().chars().count(), MAX_NICKNAME_CHARS);
    }

    #[test]
    fn a_room_has_a_name_that_can_be_shown_or_none() {
        let name = |text: &str| text.parse::<RoomName>().map(String::from);
        assert_eq!(name(" Linear\u{202e} algebra\r\n").unwrap(), "Linear algebra");
        assert_eq!(name(&"数".repeat(100)).unwrap().chars().count(), MAX_ROOM_NAME_CHARS);
        for empty in ["", "  ", "\n\u{feff}", "\u{202e} "] {
            assert_eq!(name(empty), Err(NoName), "{empty:?}");
        }
        assert!(serde_json::from_str::<RoomName>("\"\"").is_err());
    }

    #[test]
    fn somebody_is_named_once() {
        let teacher: UserId = "9999".parse().unwrap();
        let names = ["", "9999", "Ms Li"].map(|nickname| named(&teacher, nickname).to_string());
        assert_eq!(names, ["9999", "9999", "Ms Li (9999)"]);
    }

    #[test]
    fn a_peer_key_reads_local_then_remote() {
        let key = PeerKey { local: "9999".parse().unwrap(), remote: "1001".parse().unwrap() };
        assert_eq!(key.to_string(), "9999-1001");
    }
}
