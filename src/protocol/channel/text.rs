//! The text of a chat message.

use serde::{Deserialize, Serialize};

use crate::id::printable;

/// The most characters of a chat message: a paragraph.
pub const MAX_TEXT_CHARS: usize = 1_000;

/// The text of a chat message: one line, printable, at most [`MAX_TEXT_CHARS`] characters.
///
/// A text is cleaned and never refused, like a nickname: line breaks and tabs become spaces; other control characters
/// and bidirectional overrides, which could rewrite the line in which they are printed, are dropped, and so are
/// invisible characters that join no emoji; a long text is cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ChatText(Box<str>);

impl ChatText {
    /// The cleaned text, possibly empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the cleaned text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for ChatText {
    fn from(text: &str) -> Self {
        let spaced =
            text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { c });
        // A cut text must not end with a joiner.
        let cleaned: String = printable(printable(spaced).take(MAX_TEXT_CHARS)).collect();
        Self(cleaned.trim().into())
    }
}

impl From<String> for ChatText {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<ChatText> for String {
    fn from(text: ChatText) -> String {
        text.0.into()
    }
}

impl std::fmt::Display for ChatText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}
