//! What fits of a line that is being typed.

use unicode_width::UnicodeWidthChar;

/// What a terminal that does not tell has, since 1978.
const USUAL_COLUMNS: usize = 80;

/// What stands around the line, `> ` and `_`, and a column that stays free: some terminals wrap when it is written.
const AROUND: usize = 4;

/// How wide the terminal of stderr is.
pub(super) fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map(|size| usize::from(size.ws_col)).ok().filter(|columns| *columns > 0).unwrap_or(USUAL_COLUMNS)
}

/// The end of the line, where the typing is; the rest left out where it is too long for `columns`.
pub(super) fn tail(line: &str, columns: usize) -> String {
    let space = columns.saturating_sub(AROUND);
    let width = |c: char| c.width().unwrap_or(0);
    if line.chars().map(width).sum::<usize>() <= space {
        return line.to_owned();
    }
    let mut left = space.saturating_sub(1);
    let fits = |c: &char| {
        let fits = width(*c) <= left;
        left = left.saturating_sub(width(*c));
        fits
    };
    let end: Vec<char> = line.chars().rev().take_while(fits).collect();
    std::iter::once('…').chain(end.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_line_is_seen() {
        assert_eq!(tail("hello", 9), "hello");
        assert_eq!(tail("hello!", 9), "…llo!");
        assert_eq!(tail("你好世界", 12), "你好世界");
        assert_eq!(tail("你好世界", 11), "…好世界");
        assert_eq!(tail("你好世界", 10), "…世界");
        assert_eq!(tail("hello", 0), "…");
    }
}
