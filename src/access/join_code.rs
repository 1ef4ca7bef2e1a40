//! The join code of a room: six digits, a pair of words with a number, or the teacher's own word.

use std::fmt;
use std::str::FromStr;

use super::secret::same;
use super::words::{ADJECTIVES, NOUNS};

/// The least and the most letters and digits of a code.
const MIN_CHARS: usize = 4;
const MAX_CHARS: usize = 32;

/// Why a text is not a join code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinCodeError {
    /// Too few or too many letters and digits.
    #[error("a join code has {MIN_CHARS} to {MAX_CHARS} letters and digits, for example 472913 or blue-fox")]
    Length,
    /// A character other than letters, digits, hyphens and spaces.
    #[error("a join code has letters (a to z), digits and hyphens only, for example 472913 or blue-fox")]
    Character,
}

/// The join code of a room: 4 to 32 of `a-z 0-9`. Case, spaces and hyphens have no meaning, because people read codes
/// aloud and type them on phones. `Debug` hides the code.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinCode {
    /// In lower case, with hyphens between words.
    text: Box<str>,
}

impl JoinCode {
    /// Six digits, made from a random number. One guess in a million is right.
    pub fn digits(random: u64) -> Self {
        Self { text: format!("{:06}", random % 1_000_000).into() }
    }

    /// Two words and two digits, made from a random number; as hard to guess as six digits, and easier to say.
    pub fn words(random: u64) -> Self {
        let (number, words) = (random % 100, (random % 1_000_000) / 100);
        // Both lists have 100 words.
        let [adjective, noun] = [(ADJECTIVES, words % 100), (NOUNS, words / 100)].map(|(list, at)| list[at as usize]);
        Self { text: format!("{adjective}-{noun}-{number:02}").into() }
    }

    /// The code as a link and the wire carry it, for example `472913` or `blue-fox-42`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The code as people read it: six digits in two groups.
    pub fn shown(&self) -> String {
        match self.text.split_at_checked(3) {
            Some((first, second)) if second.len() == 3 && self.text.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("{first} {second}")
            }
            _ => self.text.to_string(),
        }
    }

    /// Whether a person typed this code. The time does not tell how much of a wrong code is right.
    pub fn matches(&self, typed: &str) -> bool {
        same(letters(&self.text).as_bytes(), letters(typed).as_bytes())
    }
}

/// The letters and digits of a code, in lower case. Of other characters, hyphens and white space are left out.
fn letters(text: &str) -> String {
    let is_separator = |c: &char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}');
    text.chars().filter(|c| !is_separator(c)).map(|c| c.to_ascii_lowercase()).collect()
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;
    fn from_str(text: &str) -> Result<Self, JoinCodeError> {
        let letters = letters(text);
        if !letters.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(JoinCodeError::Character);
        }
        if !(MIN_CHARS..=MAX_CHARS).contains(&letters.len()) {
            return Err(JoinCodeError::Length);
        }
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let digits_only = letters.bytes().all(|byte| byte.is_ascii_digit());
        let text = if digits_only { letters } else { words.collect::<Vec<_>>().join("-").to_ascii_lowercase() };
        Ok(Self { text: text.into() })
    }
}

impl fmt::Debug for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spaces_and_hyphens_have_no_meaning() {
        let code: JoinCode = "Blue-Fox".parse().unwrap();
        for typed in ["blue-fox", "BLUE FOX", "bluefox", " blue\u{2013}fox\n", "b-l-u-e f o x"] {
            assert!(code.matches(typed), "{typed}");
        }
        for typed in ["", "blue-fo", "blue-foxx", "blue_fox", "blue-f0x", "fox-blue"] {
            assert!(!code.matches(typed), "{typed}");
        }
        assert_eq!((code.as_str(), code.shown().as_str()), ("blue-fox", "blue-fox"));
        let digits: JoinCode = "472 913".parse().unwrap();
        assert_eq!((digits.as_str(), digits.shown().as_str()), ("472913", "472 913"));
        assert!(digits.matches("472-913") && !digits.matches("472912"));
    }

    #[test]
    fn invalid_codes_are_refused() {
        for text in ["", "abc", "a-b-c", "---------", &"x".repeat(33)] {
            assert_eq!(text.parse::<JoinCode>(), Err(JoinCodeError::Length), "{text}");
        }
        for text in ["naïve", "blue/fox", "日本語コード", "blue\u{202e}fox"] {
            assert_eq!(text.parse::<JoinCode>(), Err(JoinCodeError::Character), "{text}");
        }
        assert_eq!(format!("{:?}", "open-sesame".parse::<JoinCode>().unwrap()), "JoinCode(..)");
    }

    #[test]
    fn generated_codes_are_valid_and_a_million_of_each_kind_differ() {
        let mut seen = std::collections::HashSet::new();
        for random in 0..1_000_000 {
            let words = JoinCode::words(random);
            assert!(seen.insert(words.text.clone()), "{} comes twice", words.text);
            if random % 997 == 0 {
                assert_eq!(words.as_str().parse(), Ok(words.clone()));
                let digits = JoinCode::digits(random);
                assert_eq!(digits.as_str().parse(), Ok(digits.clone()));
                assert_eq!(digits.as_str().len(), 6);
            }
        }
        assert_eq!(JoinCode::digits(u64::MAX).as_str(), "551615");
        assert_eq!(JoinCode::digits(7).shown(), "000 007");
    }

    #[test]
    fn words_are_short_distinct_and_plain() {
        for list in [ADJECTIVES, NOUNS] {
            let distinct: std::collections::HashSet<_> = list.iter().collect();
            assert_eq!(distinct.len(), 100);
            assert!(list.iter().all(|word| (3..=7).contains(&word.len())));
            assert!(list.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
        }
    }
}
