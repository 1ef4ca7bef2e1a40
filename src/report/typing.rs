//! The visible part of the line being typed: the text around the cursor that fits the terminal.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The assumed width if the terminal does not report one.
const USUAL_COLUMNS: usize = 80;

/// The columns of the prompt `> `, of a cursor at the end, and a free one, because some terminals wrap when the last
/// column is written.
const AROUND: usize = 4;

/// The cursor is a character in reverse video, which works without colours.
const CURSOR: (&str, &str) = ("\x1b[7m", "\x1b[27m");

/// The width of the terminal of stderr in columns.
pub(super) fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map(|size| usize::from(size.ws_col)).ok().filter(|columns| *columns > 0).unwrap_or(USUAL_COLUMNS)
}

/// The line with the cursor before byte `cursor`. A line too long for `columns` is cut to the text around the cursor.
pub(super) fn shown(line: &str, cursor: usize, columns: usize) -> String {
    let space = columns.saturating_sub(AROUND);
    let (before, after) = line.split_at(line.floor_char_boundary(cursor.min(line.len())));
    let after_space = after.width().min(space / 3);
    let before = end(before, space - after_space);
    let after = start(after, space.saturating_sub(before.width()));
    let under = after.graphemes(true).next().unwrap_or_default();
    let rest = &after[under.len()..];
    let under = if under.is_empty() { " " } else { under };
    format!("{before}{}{under}{}{rest}", CURSOR.0, CURSOR.1)
}

/// The end of a text, after `…` if it is cut.
fn end(text: &str, space: usize) -> String {
    if text.width() <= space {
        return text.to_owned();
    }
    let mut left = space.saturating_sub(1);
    let kept: Vec<&str> = text.graphemes(true).rev().take_while(|part| fits(part, &mut left)).collect();
    std::iter::once("…").chain(kept.into_iter().rev()).collect()
}

/// The start of a text, before `…` if it is cut.
fn start(text: &str, space: usize) -> String {
    if text.width() <= space {
        return text.to_owned();
    }
    let mut left = space.saturating_sub(1);
    text.graphemes(true).take_while(|part| fits(part, &mut left)).chain(["…"]).collect()
}

fn fits(part: &str, left: &mut usize) -> bool {
    let fits = part.width() <= *left;
    *left = left.saturating_sub(part.width());
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The visible line with `|` before the cursor.
    fn view(line: &str, cursor: usize, columns: usize) -> String {
        let shown = shown(line, cursor, columns);
        shown.replace(CURSOR.0, "|").replace(CURSOR.1, "")
    }

    #[test]
    fn a_long_line_shows_its_end_with_the_cursor() {
        assert_eq!(view("hello", 5, 9), "hello| ");
        assert_eq!(view("hello!", 6, 9), "…llo!| ");
        assert_eq!(view("你好世界", 12, 12), "你好世界| ");
        assert_eq!(view("你好世界", 12, 11), "…好世界| ");
        assert_eq!(view("你好世界", 12, 10), "…世界| ");
        assert_eq!(view("hello", 5, 0), "…| ");
    }

    #[test]
    fn a_cursor_within_the_line_has_text_on_both_sides() {
        assert_eq!(view("hello", 0, 20), "|hello");
        assert_eq!(view("hello", 2, 20), "he|llo");
        assert_eq!(view("0123456789", 5, 10), "…234|5…");
        assert_eq!(view("0123456789", 0, 10), "|01234…");
        assert_eq!(view("a你b", 2, 20), "a|你b", "a position inside a character moves to its start");
    }
}
