//! Lines of the terminal that strangers can cause.

use std::time::Instant;

use crate::token_bucket::TokenBucket;

/// Limits lines of one kind to one a second, because strangers can cause many.
#[derive(Debug)]
pub(super) struct ThrottledLines {
    budget: TokenBucket,
    left_out: u64,
}

impl Default for ThrottledLines {
    fn default() -> Self {
        Self { budget: TokenBucket::new(1, 3), left_out: 0 }
    }
}

impl ThrottledLines {
    /// The line to report now, with the number of lines that were left out before it.
    pub(super) fn line(&mut self, line: String) -> Option<String> {
        if self.budget.take(Instant::now()).is_err() {
            self.left_out += 1;
            return None;
        }
        match std::mem::take(&mut self.left_out) {
            0 => Some(line),
            left_out => Some(format!("{line} (and {left_out} such lines before)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_becomes_a_few_lines_and_a_count() {
        let mut lines = ThrottledLines::default();
        let said: Vec<String> = (0..1_000).filter_map(|n| lines.line(n.to_string())).collect();
        assert!(said.len() <= 5 && said[..3] == ["0", "1", "2"], "{said:?}");
        assert!(lines.left_out >= 995);
        lines.budget = TokenBucket::new(1, 1);
        let line = lines.line("next".to_owned()).unwrap();
        assert!(line.starts_with("next (and 99") && lines.left_out == 0, "{line}");
    }
}
