//! Room ids, user ids, key ids, peer ids and the names of people and rooms.
//!
//! Identifiers from the command line, URLs and the wire are parsed into these types once, or refused. The rest of the
//! program relies on their rules.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The maximum length of a room id or user id, short enough for a log line, a file name and a Redis key.
pub const MAX_ID_CHARS: usize = 64;

/// The maximum length of a nickname, short enough for one line of a list.
pub const MAX_NICKNAME_CHARS: usize = 40;

/// The maximum length of a room name, short enough for one line of a list.
pub const MAX_ROOM_NAME_CHARS: usize = 80;

/// Why a text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{what} is empty, give 1 to {MAX_ID_CHARS} characters")]
    Empty {
        /// The kind of identifier: `room id`, `user id`.
        what: &'static str,
    },
    /// The text is too long.
    #[error("{what} has {chars} characters, at most {most} are allowed")]
    TooLong {
        /// The kind of identifier.
        what: &'static str,
        /// The length of the text in characters.
        chars: usize,
        /// The limit.
        most: usize,
    },
    /// The text has a character other than letters, digits, `.`, `_` and `-`.
    #[error("{what} contains {found:?}, only letters, digits, '.', '_' and '-' are allowed")]
    Character {
        /// The kind of identifier.
        what: &'static str,
        /// The first invalid character.
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
            /// The id as text.
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
    /// A room id: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, for example `10013`.
    RoomId, "room id"
}

id! {
    /// A user id, unique within a room: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, for example `1001`.
    UserId, "user id"
}

id! {
    /// The id of a key that signs tokens: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, for example `school`.
    KeyId, "key id"
}

/// A person's name as others see it: printable, at most [`MAX_NICKNAME_CHARS`] characters.
///
/// An invalid nickname is cleaned, not refused. Control characters and bidirectional overrides are removed, because
/// they could change the line that shows the name. Longer names are cut.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Nickname(Box<str>);

impl Nickname {
    /// The cleaned name; may be empty.
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

/// A room's name such as `Linear algebra`: not empty, at most [`MAX_ROOM_NAME_CHARS`] characters, and cleaned like a
/// [`Nickname`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(Box<str>);

/// The error for a room name without printable characters.
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

/// The first `most` printable characters of a text, without surrounding white space.
fn cleaned(text: &str, most: usize) -> Box<str> {
    let shown: String = text.trim().chars().filter(|c| is_printable(*c)).take(most).collect();
    shown.trim().into()
}

/// A user in a sentence: `Ms Li (9999)`, or only the id if the nickname is empty or equal to the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    user: &'a UserId,
    nickname: &'a str,
}

/// Names `user` in a sentence.
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

/// A number of students in a sentence: `1 student`, `2 students`.
pub fn count_of_students(number: usize) -> String {
    if number == 1 { "1 student".into() } else { format!("{number} students") }
}

/// Whether it is safe to show a character of somebody else's text. Control characters, bidirectional overrides and
/// isolates (Unicode TR 9), and the byte order mark are not.
pub fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}'))
}

/// A connection between two users as seen from one end; printed as `9999-1001`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerKey {
    /// The local user.
    pub local: UserId,
    /// The remote user.
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
    fn invalid_ids_are_refused_with_the_cause() {
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
    fn a_room_name_is_cleaned_and_must_not_be_empty() {
        let name = |text: &str| text.parse::<RoomName>().map(String::from);
        assert_eq!(name(" Linear\u{202e} algebra\r\n").unwrap(), "Linear algebra");
        assert_eq!(name(&"数".repeat(100)).unwrap().chars().count(), MAX_ROOM_NAME_CHARS);
        for empty in ["", "  ", "\n\u{feff}", "\u{202e} "] {
            assert_eq!(name(empty), Err(NoName), "{empty:?}");
        }
        assert!(serde_json::from_str::<RoomName>("\"\"").is_err());
    }

    #[test]
    fn a_user_without_a_nickname_is_named_by_the_id_alone() {
        let teacher: UserId = "9999".parse().unwrap();
        let names = ["", "9999", "Ms Li"].map(|nickname| named(&teacher, nickname).to_string());
        assert_eq!(names, ["9999", "9999", "Ms Li (9999)"]);
    }

    #[test]
    fn a_peer_key_prints_the_local_user_first() {
        let key = PeerKey { local: "9999".parse().unwrap(), remote: "1001".parse().unwrap() };
        assert_eq!(key.to_string(), "9999-1001");
    }
}
