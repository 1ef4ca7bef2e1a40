//! Lines that were entered before, for the arrow keys.

/// How many lines are remembered, for as long as the process runs: nothing that was said is written to a disk.
const MOST: usize = 100;

/// The lines, and which of them is looked at.
#[derive(Debug, Default)]
pub(super) struct History {
    lines: Vec<String>,
    /// The position in `lines`; none while a new line is being typed.
    at: Option<usize>,
    /// The new line, while an older one is looked at.
    draft: String,
}

impl History {
    /// Remembers a line that was entered, unless it is empty or the same as the last one.
    pub(super) fn add(&mut self, line: &str) {
        self.at = None;
        self.draft.clear();
        let line = line.trim();
        if line.is_empty() || self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MOST {
            self.lines.remove(0);
        }
        self.lines.push(line.to_owned());
    }

    /// The line before the one that is shown; none at the oldest.
    pub(super) fn older(&mut self, shown: &str) -> Option<String> {
        let at = self.at.unwrap_or(self.lines.len()).checked_sub(1)?;
        if self.at.is_none() {
            shown.clone_into(&mut self.draft);
        }
        self.at = Some(at);
        self.lines.get(at).cloned()
    }

    /// The line after the one that is shown, in the end the one that was being typed; none at that one.
    pub(super) fn newer(&mut self, _shown: &str) -> Option<String> {
        let at = self.at? + 1;
        self.at = (at < self.lines.len()).then_some(at);
        Some(self.lines.get(at).cloned().unwrap_or_else(|| std::mem::take(&mut self.draft)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_are_forgotten() {
        let mut history = History::default();
        for n in 0..MOST + 5 {
            history.add(&n.to_string());
        }
        let oldest = std::iter::from_fn(|| history.older("")).last();
        assert_eq!(oldest.as_deref(), Some("5"));
    }
}
