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

id! {
    /// The id of a node, one process of a server on several machines: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    NodeId, "node id"
}

/// A person's name as others see it: printable, at most [`MAX_NICKNAME_CHARS`] characters.
///
/// An invalid nickname is cleaned, not refused. Control characters and bidirectional overrides are removed, because
/// they could change the line that shows the name. Invisible characters are removed and spaces made alike, because two
/// students could look the same by them; only a zero width joiner between two emoji stays. Longer names are cut.
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

/// The first `most` printable characters of a name, with single spaces and none around it.
///
/// Variation selectors are left out: an emoji looks like one without them.
fn cleaned(text: &str, most: usize) -> Box<str> {
    let mut after_space = true;
    let mut single = |c: char| {
        let is_space = c.is_whitespace();
        let is_second = is_space && after_space;
        after_space = is_space;
        (!is_second).then_some(if is_space { ' ' } else { c })
    };
    let shown = printable(text.chars()).filter(|c| *c != EMOJI_STYLE).filter_map(&mut single).take(most);
    // A cut name must not end with a joiner.
    let shown: String = printable(shown).collect();
    shown.trim_end().into()
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

/// ZERO WIDTH JOINER: makes one emoji of two.
const JOINER: char = '\u{200d}';

/// VARIATION SELECTOR-16: shows a symbol as an emoji.
const EMOJI_STYLE: char = '\u{fe0f}';

/// COMBINING ENCLOSING KEYCAP: makes an emoji of a digit.
const KEYCAP: char = '\u{20e3}';

/// Whether it is safe to show a character of somebody else's text. These are not: control characters, bidirectional
/// overrides and isolates (Unicode TR 9), characters that show nothing (`Default_Ignorable_Code_Point` of Unicode, the
/// braille blank), and what marks a line, a byte order or an annotation. [`printable`] keeps those that join emoji.
pub fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || matches!(c, '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}')
        || matches!(c, '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'))
}

/// Whether a character shows nothing, but belongs to an emoji where [`printable`] keeps it.
pub fn joins_emoji(c: char) -> bool {
    matches!(c, JOINER | EMOJI_STYLE)
}

/// The characters of a text that are safe to show: printable ones, joiners between two emoji, and emoji style after an
/// emoji or in a keycap.
pub fn printable(text: impl IntoIterator<Item = char>) -> impl Iterator<Item = char> {
    let mut text = text.into_iter().peekable();
    let mut before = None;
    std::iter::from_fn(move || {
        while let Some(c) = text.next() {
            let after = text.peek().copied();
            let is_kept = match c {
                JOINER => before.is_some_and(|c| is_emoji(c) || c == EMOJI_STYLE) && after.is_some_and(is_emoji),
                EMOJI_STYLE => before.is_some_and(is_emoji) || after == Some(KEYCAP) && before.is_some_and(is_key),
                c => is_printable(c),
            };
            if is_kept {
                before = Some(c);
                return before;
            }
        }
        None
    })
}

/// Whether a character may be an emoji: the blocks of symbols that have some.
fn is_emoji(c: char) -> bool {
    matches!(c, '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}')
        || matches!(c, 'Ⓜ' | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}')
        || matches!(c, '〰' | '〽' | '㊗' | '㊙' | '\u{1f000}'..='\u{1faff}')
}

/// Whether a character is on a keypad.
fn is_key(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '#' | '*')
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
    fn nothing_invisible_makes_two_names_look_the_same() {
        let name = |text: &str| Nickname::from(text).as_str().to_owned();
        let mut invisible: Vec<char> =
            "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{2800}\u{3164}\u{feff}\u{ffa0}".chars().collect();
        for range in
            ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{fe00}'..='\u{fe0f}']
        {
            invisible.extend(range);
        }
        invisible.extend('\u{e0000}'..='\u{e01ef}');
        for c in invisible {
            for text in [format!("{c}Anna"), format!("An{c}na"), format!("Anna{c}"), format!("Anna {c} ")] {
                assert_eq!(name(&text), "Anna", "{:x}", u32::from(c));
            }
            assert!("1001".parse::<UserId>().is_ok() && format!("1001{c}").parse::<UserId>().is_err());
        }
        for space in ["\u{a0}", "  ", "\u{2003}", "\u{3000} ", "\u{200b} \u{200b} "] {
            assert_eq!(name(&format!("Ms{space}Li")), "Ms Li", "{space:?}");
        }
    }

    #[test]
    fn emoji_that_are_joined_stay_so() {
        let name = |text: &str| Nickname::from(text).as_str().to_owned();
        let (woman, skin, rocket, heart, fire) = ('\u{1f469}', '\u{1f3fd}', '\u{1f680}', '\u{2764}', '\u{1f525}');
        let astronaut = format!("{woman}{skin}{JOINER}{rocket}");
        assert_eq!(name(&format!("Anna {astronaut}")), format!("Anna {astronaut}"));
        assert_eq!(name(&format!("{heart}{EMOJI_STYLE}{JOINER}{fire}")), format!("{heart}{JOINER}{fire}"));
        for text in [format!("{woman}{JOINER}"), format!("{JOINER}{woman}"), format!("{woman}{JOINER}\u{200b}")] {
            assert_eq!(name(&text), woman.to_string());
        }
        assert_eq!(name(&format!("a{JOINER}b {woman}{JOINER}b")), format!("ab {woman}b"));
        let cut = name(&format!("{}{astronaut}", "x".repeat(MAX_NICKNAME_CHARS - 3)));
        assert!(cut.ends_with(skin), "a cut name ends with no joiner: {cut:?}");
        let styled: String =
            printable("\u{2764}\u{fe0f}\u{fe0f} 1\u{fe0f}\u{20e3} a\u{fe0f} 1\u{fe0f}".chars()).collect();
        assert_eq!(styled, "\u{2764}\u{fe0f} 1\u{fe0f}\u{20e3} a 1");
    }

    #[test]
    fn a_clean_name_stays_as_it_is() {
        let parts =
            ["a", " ", "\u{200b}", "\u{200d}", "\u{fe0f}", "\u{1f469}", "\u{2764}", "1", "\u{20e3}", "\u{3000}", "\n"];
        // Every text of five of these parts.
        for n in 0..parts.len().pow(5) {
            let text: String = (0..5).map(|at| parts[n / parts.len().pow(at) % parts.len()]).collect();
            let once = cleaned(&text, 4);
            assert_eq!(cleaned(&once, 4), once, "{text:?}");
            let printed: String = printable(printable(text.chars()).take(4)).collect();
            assert_eq!(printable(printed.chars()).collect::<String>(), printed, "{text:?}");
        }
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
