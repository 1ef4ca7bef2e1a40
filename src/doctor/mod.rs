//! Checks of this computer and of the way to a server, each with the next step where something is missing. Pure:
//! `commands/doctor` finds the facts, and this folder judges them.

mod link;
mod media;
mod system;
mod watching;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

pub use self::link::{Capacity, Link, LinkKind, addresses, speeds};
pub use self::media::{EncoderSpeed, camera, encoder, microphone, sources};
pub use self::system::{Firewalls, buffers, clock, difference_of_clocks, firewall, port};
pub use self::watching::{Attempt, watching};
use crate::exit::Exit;

/// The width of a text for people, as that of `--help`.
const COLUMNS: usize = 100;

/// The column in which sentences begin.
const INDENT: usize = 24;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// A lecture works, and would be better otherwise.
    Advice,
    /// A lecture does not work.
    Problem,
    /// This can't be found out here.
    Unknown,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The subject, in one or two words.
    pub name: &'static str,
    /// The result.
    pub verdict: Verdict,
    /// A sentence without a full stop.
    pub found: String,
    /// The next step, if there is one.
    pub next: Option<String>,
    /// The code with which `teach` or `watch` would exit because of a problem.
    #[serde(skip)]
    exit: Exit,
}

impl Check {
    /// Nothing to do.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), next: None, exit: Exit::Ended }
    }

    /// A lecture works, and would be better otherwise.
    pub fn advice(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { verdict: Verdict::Advice, next: Some(next.into()), ..Self::ok(name, found) }
    }

    /// A lecture does not work: `teach` or `watch` would exit with this code.
    pub fn problem(name: &'static str, exit: Exit, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { verdict: Verdict::Problem, next: Some(next.into()), exit, ..Self::ok(name, found) }
    }

    /// This can't be found out here.
    pub fn unknown(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::advice(name, found, next) }
    }

    /// The lines for people.
    fn text(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Advice => "advice",
            Verdict::Problem => "PROBLEM",
            Verdict::Unknown => "unknown",
        };
        let next = self.next.as_ref().map(|next| format!("\n{:INDENT$}-> {}", "", wrapped(next, INDENT + 3)));
        format!("  {verdict:<8} {:<12} {}{}", self.name, wrapped(&self.found, INDENT), next.unwrap_or_default())
    }
}

/// Breaks a sentence into lines of at most [`COLUMNS`], the further ones with an indent.
fn wrapped(sentence: &str, indent: usize) -> String {
    let (mut text, mut column) = (String::new(), indent);
    for word in sentence.split(' ') {
        let width = word.width();
        if column > indent && column + 1 + width > COLUMNS {
            text += &format!("\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += width;
    }
    text
}

/// Checks about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The subject.
    pub title: &'static str,
    /// The checks, in the order in which they were made.
    pub checks: Vec<Check>,
}

/// All sections for people.
pub fn text(sections: &[Section]) -> String {
    let section = |section: &Section| {
        let checks: Vec<String> = section.checks.iter().map(Check::text).collect();
        format!("{}\n{}", section.title, checks.join("\n"))
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

/// The code with which `teach` or `watch` would exit because of the first problem, and how many problems there are.
pub fn problems(sections: &[Section]) -> Option<(Exit, usize)> {
    let mut problems =
        sections.iter().flat_map(|section| &section.checks).filter(|check| check.verdict == Verdict::Problem);
    let first = problems.next()?;
    Some((first.exit, 1 + problems.count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_problem_gives_the_exit_code() {
        let section = |checks| Section { title: "network", checks };
        let fine = section(vec![Check::ok("clock", "right"), Check::advice("link", "Wi-Fi", "use a cable")]);
        assert_eq!(problems(std::slice::from_ref(&fine)), None);
        let refused = Check::problem("room", Exit::Refused, "it is locked", "ask the teacher");
        let late = Check::problem("picture", Exit::MediaLost, "none", "open the port");
        let all = [fine, section(vec![refused, late])];
        assert_eq!(problems(&all), Some((Exit::Refused, 2)));
        let text = text(&all);
        assert!(text.starts_with("network\n  ok       clock        right\n"), "{text}");
        let long = Check::advice("link", "word ".repeat(40), "next ".repeat(30)).text();
        assert!(long.lines().all(|line| line.trim_end().width() <= COLUMNS), "{long}");
        assert!(long.lines().skip(1).all(|line| line.starts_with(&" ".repeat(INDENT))), "{long}");
        assert!(
            text.contains("  PROBLEM  room         it is locked\n                        -> ask the teacher"),
            "{text}"
        );
    }
}
