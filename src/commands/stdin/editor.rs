//! The line being typed: keys in, text, cursor and history out. No I/O.
//!
//! `terminput` decodes the bytes of the terminal, and `tui-input` edits the line. Neither needs a terminal of its own.

use terminput::{Event, KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

use crate::id::{is_printable, joins_emoji};

/// The maximum length of a line in bytes. A chat message may have 1,000 characters.
pub(super) const MAX_BYTES: usize = 4_000;

/// The maximum length of an escape sequence in bytes. Keyboards send far shorter ones.
const MAX_SEQUENCE: usize = 32;

/// The first byte of an escape sequence, and the Escape key.
const ESC: u8 = 0x1b;

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// No visible change.
    Nothing,
    /// The line or the cursor has changed.
    Edited,
    /// Enter, with the line.
    Entered(String),
    /// Ctrl-D on an empty line.
    End,
}

/// The line, its history, and the bytes of an incomplete key.
#[derive(Debug, Default)]
pub(super) struct Editor {
    input: Input,
    history: History,
    pending: Vec<u8>,
    /// The commands that Tab completes, each with its slash.
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

    /// The position of the cursor: the number of bytes before it.
    pub(super) fn cursor(&self) -> usize {
        let line = self.line();
        line.char_indices().nth(self.input.cursor()).map_or(line.len(), |(at, _)| at)
    }

    /// Processes the next byte from the terminal.
    pub(super) fn key(&mut self, byte: u8) -> Key {
        // Enter drops an incomplete key. ESC inside a sequence begins a new sequence.
        if matches!(byte, b'\r' | b'\n') {
            self.pending.clear();
            return self.enter();
        }
        if byte == ESC {
            self.pending.clear();
        }
        self.pending.push(byte);
        // ESC alone may be the Escape key or the start of a sequence; `pause` decides.
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
                // The byte after an invalid character counts.
                let retry = self.pending.len() > 1 && self.pending[0] != ESC;
                self.pending.clear();
                if retry { self.key(byte) } else { Key::Nothing }
            }
        }
    }

    /// No byte has come for a while, so a pending ESC was the Escape key.
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
            (KeyCode::PageDown, _) => return self.turn("/next"),
            (KeyCode::PageUp, _) => return self.turn("/prev"),
            (KeyCode::F(8), _) => return self.turn("/black"),
            (KeyCode::F(9), _) => return self.turn("/pause"),
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
        // A joiner stands between emoji; elsewhere it is removed when the message is sent.
        if (is_printable(c) || joins_emoji(c)) && self.line().len() + c.len_utf8() <= MAX_BYTES {
            self.input.handle(InputRequest::InsertChar(c));
        }
    }

    fn enter(&mut self) -> Key {
        let line = self.input.value_and_reset();
        self.history.add(&line);
        Key::Entered(line)
    }

    /// Gives an order without a change of the line. Remote controls for presentations send these keys.
    fn turn(&self, command: &str) -> Key {
        let exists = self.commands.iter().any(|known| known == command);
        if exists { Key::Entered(command.to_owned()) } else { Key::Nothing }
    }

    fn recall(&mut self, step: fn(&mut History, &str) -> Option<String>) {
        if let Some(line) = step(&mut self.history, self.input.value()) {
            self.input = Input::new(line);
        }
    }

    /// Completes a command up to the first ambiguous character. Elsewhere Tab inserts a space.
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

/// The editing request of a key, as in readline.
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

/// The number of lines that the history keeps in memory. Nothing is written to a disk.
const MAX_HISTORY: usize = 100;

/// The lines that were entered, and the position of the arrow keys in them.
#[derive(Debug, Default)]
struct History {
    lines: Vec<String>,
    /// The index of the shown line; `None` while a new line is being typed.
    at: Option<usize>,
    /// The new line, while an older one is shown.
    draft: String,
}

impl History {
    /// Adds a line, unless it is empty or equal to the last one.
    fn add(&mut self, line: &str) {
        self.at = None;
        self.draft.clear();
        let line = line.trim();
        if line.is_empty() || self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MAX_HISTORY {
            self.lines.remove(0);
        }
        self.lines.push(line.to_owned());
    }

    /// The line before the shown one; `None` at the oldest.
    fn older(&mut self, shown: &str) -> Option<String> {
        let at = self.at.unwrap_or(self.lines.len()).checked_sub(1)?;
        if self.at.is_none() {
            shown.clone_into(&mut self.draft);
        }
        self.at = Some(at);
        self.lines.get(at).cloned()
    }

    /// The line after the shown one, and at the end the new line; `None` at the new line.
    fn newer(&mut self, _shown: &str) -> Option<String> {
        let at = self.at? + 1;
        self.at = (at < self.lines.len()).then_some(at);
        Some(self.lines.get(at).cloned().unwrap_or_else(|| std::mem::take(&mut self.draft)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_forgets_the_oldest_lines() {
        let mut history = History::default();
        for n in 0..MAX_HISTORY + 5 {
            history.add(&n.to_string());
        }
        let oldest = std::iter::from_fn(|| history.older("")).last();
        assert_eq!(oldest.as_deref(), Some("5"));
    }

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
    fn typed_text_can_be_deleted() {
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
    fn page_keys_turn_slides_where_there_are_some() {
        let mut editor = Editor::completing(["/next", "/prev", "/black", "/pause"].map(String::from).into());
        let mut keys = |bytes: &[u8]| {
            let keys: Vec<Key> =
                bytes.iter().map(|byte| editor.key(*byte)).filter(|key| *key != Key::Nothing).collect();
            (keys, editor.line().to_owned())
        };
        assert_eq!(keys(b"a\x1b[6~").0, [Key::Edited, Key::Entered("/next".into())]);
        assert_eq!(keys(b"\x1b[5~"), (vec![Key::Entered("/prev".into())], "a".to_owned()), "the line stays");
        assert_eq!(keys(b"\x1b[19~").0, [Key::Entered("/black".into())], "F8");
        assert_eq!(keys(b"\x1b[20~").0, [Key::Entered("/pause".into())], "F9");
        assert_eq!(typed(b"\x1b[6~").1, [], "a student has no slides");
    }

    #[test]
    fn arrow_keys_recall_earlier_lines() {
        assert_eq!(line(b"one\ntwo\n\x1b[A"), "two");
        assert_eq!(line(b"one\ntwo\n\x1b[A\x1b[A\x1b[A"), "one");
        assert_eq!(line(b"one\ntwo\nthr\x1bOA\x1bOA\x1bOB\x1bOB"), "thr", "the unfinished line is kept");
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
    fn keys_without_text_are_ignored() {
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
    fn a_line_has_a_maximum_length() {
        let editor = typed("你".repeat(MAX_BYTES).as_bytes()).0;
        assert_eq!(editor.line().len(), MAX_BYTES / 3 * 3);
    }
}
