//! A line in the making: what a terminal does for a program, where the terminal is told not to.

use crate::id::is_printable;

/// The longest line, in bytes; a message of chat may have 1,000 characters.
pub(super) const MAX_BYTES: usize = 4_000;

/// What a key did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Nothing that can be seen.
    Nothing,
    /// The line looks different now.
    Edited,
    /// Enter: this was the line.
    Entered(String),
    /// Ctrl-D on an empty line.
    End,
}

/// Where in an escape sequence (ECMA-48) the keys are; what they mean is ignored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    No,
    /// After ESC: the key itself, or the first of a sequence.
    Begun,
    /// After ESC [, up to a letter.
    Control,
    /// After ESC O: one more.
    Shifted,
}

/// The line and what is not yet a part of it.
#[derive(Debug, Default)]
pub(super) struct Editor {
    line: String,
    /// The first bytes of a character.
    unfinished: Vec<u8>,
    escape: Escape,
}

impl Editor {
    /// What is typed so far.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Takes the next byte from the terminal.
    pub(super) fn key(&mut self, byte: u8) -> Key {
        match (self.escape, byte) {
            (_, 0x1b) => self.escape = Escape::Begun,
            (Escape::Begun, b'[') => self.escape = Escape::Control,
            (Escape::Begun, b'O') => self.escape = Escape::Shifted,
            (Escape::Begun | Escape::Shifted, _) | (Escape::Control, 0x40..=0x7e) => self.escape = Escape::No,
            (Escape::Control, _) => {}
            (Escape::No, byte) => return self.plain_key(byte),
        }
        Key::Nothing
    }

    /// Nothing was typed for a while: an ESC was the key, not the beginning of a sequence.
    pub(super) fn pause(&mut self) {
        self.escape = Escape::No;
    }

    fn plain_key(&mut self, byte: u8) -> Key {
        let before = self.line.len();
        match byte {
            b'\r' | b'\n' => {
                self.unfinished.clear();
                return Key::Entered(std::mem::take(&mut self.line));
            }
            0x04 if self.line.is_empty() => return Key::End,
            // Backspace is the one or the other.
            0x08 | 0x7f => drop(self.line.pop()),
            // Ctrl-U
            0x15 => self.line.clear(),
            // Ctrl-W
            0x17 => {
                let words = self.line.trim_end();
                self.line.truncate(words.rfind(char::is_whitespace).map_or(0, |at| at + space_at(words, at)));
            }
            b'\t' => self.add(' '),
            0x00..=0x1f => {}
            byte => self.text(byte),
        }
        if self.line.len() == before { Key::Nothing } else { Key::Edited }
    }

    fn text(&mut self, byte: u8) {
        self.unfinished.push(byte);
        match std::str::from_utf8(&self.unfinished) {
            Ok(text) => {
                let text = text.to_owned();
                self.unfinished.clear();
                text.chars().filter(|c| is_printable(*c)).for_each(|c| self.add(c));
            }
            Err(error) if error.error_len().is_none() => {}
            // No character begins so; perhaps one begins with this byte.
            Err(_) => {
                let retry = self.unfinished.len() > 1;
                self.unfinished.clear();
                if retry {
                    self.text(byte);
                }
            }
        }
    }

    fn add(&mut self, c: char) {
        if self.line.len() + c.len_utf8() <= MAX_BYTES {
            self.line.push(c);
        }
    }
}

/// How long the space is that stands at `at`.
fn space_at(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> (Editor, Vec<Key>) {
        let mut editor = Editor::default();
        let keys = bytes.iter().map(|byte| editor.key(*byte)).filter(|key| *key != Key::Nothing).collect();
        (editor, keys)
    }

    fn line(bytes: &[u8]) -> String {
        typed(bytes).0.line().to_owned()
    }

    #[test]
    fn letters_of_any_script_make_a_line() {
        assert_eq!(line("你好, Ünal 🎓".as_bytes()), "你好, Ünal 🎓");
        let (editor, keys) = typed("好\n".as_bytes());
        assert_eq!(keys, [Key::Edited, Key::Entered("好".into())]);
        assert_eq!(editor.line(), "");
    }

    #[test]
    fn what_was_typed_can_be_taken_back() {
        assert_eq!(line("你好\x7f\x08a".as_bytes()), "a");
        assert_eq!(line(b"\x7f"), "");
        assert_eq!(line(b"one two \x17"), "one ");
        assert_eq!(line("one\u{3000}two\x17".as_bytes()), "one\u{3000}");
        assert_eq!(line(b"one\x17"), "");
        assert_eq!(line(b"one two\x15three"), "three");
    }

    #[test]
    fn keys_that_are_no_text_leave_no_trace() {
        assert_eq!(line(b"a\x1b[Ab\x1b[1;5Cc\x1bOPd\x1bxe\x01\x00"), "abcde");
        assert_eq!(line(b"a\tb"), "a b");
        assert_eq!(line(b"\xff\xe4a\xe4\xbd\xa0\x80"), "a你");
        assert_eq!(line("\u{202e}\u{9b}x".as_bytes()), "x");
    }

    #[test]
    fn escape_alone_is_a_key_of_its_own() {
        let mut editor = Editor::default();
        editor.key(0x1b);
        editor.pause();
        assert_eq!(editor.key(b'a'), Key::Edited);
    }

    #[test]
    fn control_d_ends_an_empty_line_only() {
        assert_eq!(typed(b"\x04").1, [Key::End]);
        assert_eq!(typed(b"a\x04").1, [Key::Edited]);
    }

    #[test]
    fn a_line_has_an_end() {
        let editor = typed("你".repeat(MAX_BYTES).as_bytes()).0;
        assert_eq!(editor.line().len(), MAX_BYTES / 3 * 3);
    }
}
