//! A line that is being typed: keys in, text, cursor and history out. No I/O.
//!
//! `terminput` decodes the bytes of the terminal, `tui-input` edits the line, both without a terminal of their own.

use terminput::{Event, KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::history::History;
use crate::id::is_printable;

/// The longest line, in bytes; a message of chat may have 1,000 characters.
pub(super) const MAX_BYTES: usize = 4_000;

/// The longest escape sequence that a keyboard sends is far shorter; more is not a key.
const MAX_SEQUENCE: usize = 32;

/// The first byte of an escape sequence, and the Escape key.
const ESC: u8 = 0x1b;

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

/// The line, what was entered before, and the bytes of a key that has not come whole.
#[derive(Debug, Default)]
pub(super) struct Editor {
    input: Input,
    history: History,
    pending: Vec<u8>,
    /// The words that Tab completes, each with its slash.
    commands: Vec<String>,
}

impl Editor {
    /// An editor whose Tab key completes these commands.
    pub(super) fn completing(commands: Vec<String>) -> Self {
        Self { commands, ..Self::default() }
    }

    /// The line so far.
    pub(super) fn line(&self) -> &str {
        self.input.value()
    }

    /// Where the cursor is: this many bytes of the line stand before it.
    pub(super) fn cursor(&self) -> usize {
        let line = self.line();
        line.char_indices().nth(self.input.cursor()).map_or(line.len(), |(at, _)| at)
    }

    /// Takes the next byte from the terminal.
    pub(super) fn key(&mut self, byte: u8) -> Key {
        // Enter, whatever else is unfinished; and inside a sequence a new ESC begins a new one.
        if matches!(byte, b'\r' | b'\n') {
            self.pending.clear();
            return self.enter();
        }
        if byte == ESC {
            self.pending.clear();
        }
        self.pending.push(byte);
        // ESC alone may be a key or the begin of one: `pause` tells.
        if self.pending == [ESC] {
            return Key::Nothing;
        }
        match Event::parse_from(&self.pending) {
            Ok(None) if self.pending.len() < MAX_SEQUENCE => Key::Nothing,
            Ok(Some(Event::Key(key))) => {
                self.pending.clear();
                self.press(key)
            }
            Ok(_) => {
                self.pending.clear();
                Key::Nothing
            }
            Err(_) => {
                // A broken character must not swallow the byte that follows.
                let retry = self.pending.len() > 1 && self.pending[0] != ESC;
                self.pending.clear();
                if retry { self.key(byte) } else { Key::Nothing }
            }
        }
    }

    /// Nothing was typed for a while: an ESC was the key and not the begin of a sequence.
    pub(super) fn pause(&mut self) {
        if self.pending.first() == Some(&ESC) {
            self.pending.clear();
        }
    }

    fn press(&mut self, key: KeyEvent) -> Key {
        let (before, cursor) = (self.line().to_owned(), self.input.cursor());
        let (ctrl, alt) = (KeyModifiers::CTRL, KeyModifiers::ALT);
        match (key.code, key.modifiers) {
            (KeyCode::Char('d'), modifiers) if modifiers == ctrl && before.is_empty() => return Key::End,
            (KeyCode::Up, _) => self.recall(History::older),
            (KeyCode::Down, _) => self.recall(History::newer),
            (KeyCode::Char('p'), modifiers) if modifiers == ctrl => self.recall(History::older),
            (KeyCode::Char('n'), modifiers) if modifiers == ctrl => self.recall(History::newer),
            (KeyCode::Tab, _) => self.complete(),
            (KeyCode::Char(c), modifiers) if !modifiers.intersects(ctrl | alt) => self.insert(c),
            (code, modifiers) => {
                if let Some(request) = request(code, modifiers) {
                    self.input.handle(request);
                }
            }
        }
        if self.line() == before && self.input.cursor() == cursor { Key::Nothing } else { Key::Edited }
    }

    fn insert(&mut self, c: char) {
        if is_printable(c) && self.line().len() + c.len_utf8() <= MAX_BYTES {
            self.input.handle(InputRequest::InsertChar(c));
        }
    }

    fn enter(&mut self) -> Key {
        let line = self.input.value_and_reset();
        self.history.add(&line);
        Key::Entered(line)
    }

    fn recall(&mut self, step: fn(&mut History, &str) -> Option<String>) {
        if let Some(line) = step(&mut self.history, self.input.value()) {
            self.input = Input::new(line);
        }
    }

    /// Completes a command as far as it is certain; elsewhere Tab is a space.
    fn complete(&mut self) {
        let line = self.line().to_owned();
        let is_command = line.starts_with('/') && !line.contains(char::is_whitespace) && self.cursor() == line.len();
        if !is_command {
            return self.insert(' ');
        }
        let matching: Vec<&String> = self.commands.iter().filter(|command| command.starts_with(&line)).collect();
        let Some(first) = matching.first() else { return };
        let is_shared =
            |end: &usize| first.is_char_boundary(*end) && matching.iter().all(|c| c.starts_with(&first[..*end]));
        let shared = (line.len()..=first.len()).rev().find(is_shared).unwrap_or(line.len());
        let end = if matching.len() == 1 { " " } else { "" };
        self.input = Input::new(format!("{}{end}", &first[..shared]));
    }
}

/// What a key asks of the line: those of readline, and the arrow keys.
fn request(code: KeyCode, modifiers: KeyModifiers) -> Option<InputRequest> {
    use InputRequest::{
        DeleteFromStart, DeleteNextChar, DeleteNextWord, DeletePrevChar, DeletePrevWord, DeleteTillEnd, GoToEnd,
        GoToNextChar, GoToNextWord, GoToPrevChar, GoToPrevWord, GoToStart, Yank,
    };
    let (ctrl, alt) = (modifiers.contains(KeyModifiers::CTRL), modifiers.contains(KeyModifiers::ALT));
    Some(match code {
        KeyCode::Backspace if alt => DeletePrevWord,
        KeyCode::Backspace => DeletePrevChar,
        KeyCode::Delete => DeleteNextChar,
        KeyCode::Left if ctrl || alt => GoToPrevWord,
        KeyCode::Left => GoToPrevChar,
        KeyCode::Right if ctrl || alt => GoToNextWord,
        KeyCode::Right => GoToNextChar,
        KeyCode::Home => GoToStart,
        KeyCode::End => GoToEnd,
        KeyCode::Char('a') if ctrl => GoToStart,
        KeyCode::Char('e') if ctrl => GoToEnd,
        KeyCode::Char('b') if ctrl => GoToPrevChar,
        KeyCode::Char('f') if ctrl => GoToNextChar,
        KeyCode::Char('b') if alt => GoToPrevWord,
        KeyCode::Char('f') if alt => GoToNextWord,
        KeyCode::Char('d') if ctrl => DeleteNextChar,
        KeyCode::Char('d') if alt => DeleteNextWord,
        KeyCode::Char('h') if ctrl => DeletePrevChar,
        KeyCode::Char('w') if ctrl => DeletePrevWord,
        KeyCode::Char('u') if ctrl => DeleteFromStart,
        KeyCode::Char('k') if ctrl => DeleteTillEnd,
        KeyCode::Char('y') if ctrl => Yank,
        _ => return None,
    })
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
        assert_eq!(line(b"one\x17"), "");
        assert_eq!(line(b"one two\x15three"), "three");
        assert_eq!(line("a👩‍🏫\x7f".as_bytes()), "a", "a picture of several code points is one character");
    }

    #[test]
    fn the_cursor_moves_within_the_line() {
        assert_eq!(line(b"ac\x1b[Db"), "abc");
        assert_eq!(line(b"bc\x01a"), "abc");
        assert_eq!(line(b"bc\x1b[Ha\x1b[Fd"), "abcd");
        assert_eq!(line(b"one two\x1b[1;5D\x1b[1;5Dzero "), "zero one two");
        assert_eq!(line(b"abc\x1b[D\x1b[D\x1b[3~"), "ac");
        assert_eq!(line(b"abc\x01\x0b"), "");
        assert_eq!(line(b"one two\x17\x01\x19"), "twoone ");
        let (editor, _) = typed("你好\x1b[D".as_bytes());
        assert_eq!(editor.cursor(), "你".len());
    }

    #[test]
    fn lines_from_before_come_back() {
        assert_eq!(line(b"one\ntwo\n\x1b[A"), "two");
        assert_eq!(line(b"one\ntwo\n\x1b[A\x1b[A\x1b[A"), "one");
        assert_eq!(line(b"one\ntwo\nthr\x1bOA\x1bOA\x1bOB\x1bOB"), "thr", "what was begun is kept");
        assert_eq!(line(b"one\none\n \n\x10\x10"), "one", "neither repetitions nor empty lines");
    }

    #[test]
    fn tab_completes_a_command() {
        let complete = |bytes: &[u8]| {
            let mut editor = Editor::completing(["/hands", "/help", "/lower"].map(str::to_owned).to_vec());
            for byte in bytes {
                editor.key(*byte);
            }
            editor.line().to_owned()
        };
        assert_eq!(complete(b"/lo\t"), "/lower ");
        assert_eq!(complete(b"/h\t"), "/h");
        assert_eq!(complete(b"/he\t"), "/help ");
        assert_eq!(complete(b"/x\t"), "/x");
        assert_eq!(complete(b"a\tb"), "a b");
    }

    #[test]
    fn keys_that_are_no_text_leave_no_trace() {
        assert_eq!(line(b"a\x1b[5~b\x1b[1;5Pc\x1bOPd\x1bxe\x00\x1b[?1;2c"), "abcde");
        assert_eq!(line(b"a\tb"), "a b");
        assert_eq!(line(b"\xff\xe4a\xe4\xbd\xa0\x80"), "a你");
        assert_eq!(line("\u{202e}\u{9b}x".as_bytes()), "x");
    }

    #[test]
    fn an_endless_escape_sequence_ends() {
        let (mut editor, _) = typed(b"\x1b[");
        for _ in 0..1_000 {
            editor.key(b'1');
        }
        assert!(editor.pending.len() <= MAX_SEQUENCE, "{}", editor.pending.len());
        editor.key(b'\r');
        assert_eq!(editor.key(b'a'), Key::Edited);
    }

    #[test]
    fn escape_alone_is_a_key_of_its_own() {
        let mut editor = Editor::default();
        editor.key(ESC);
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
