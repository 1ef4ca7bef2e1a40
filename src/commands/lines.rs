//! What typed lines mean: words to say, or a command with a slash before it.

use crate::id::UserId;
use crate::protocol::channel::Reaction;

/// A line that a teacher typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TeacherLine {
    /// Words for everybody.
    Say(String),
    /// Who has a hand up?
    Hands,
    /// Takes down the hand of one, or that which went up first.
    Lower(Option<UserId>),
    /// Takes down all hands.
    LowerAll,
    /// Allows or forbids chat over the picture; none asks which of them holds.
    Comments(Option<bool>),
    /// Allows or forbids reactions; none asks which of them holds.
    Reactions(Option<bool>),
    /// Something else, with what to do about it.
    Advice(String),
}

/// A line that a student typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StudentLine {
    /// Words for everybody.
    Say(String),
    /// Raises the own hand, or takes it down.
    Hand,
    /// A sign for everybody.
    React(Reaction),
    /// Something else, with what to do about it.
    Advice(String),
}

/// A command that can be typed: how, and what it does.
type Described = (&'static str, &'static str);

const TEACHER_COMMANDS: [Described; 8] = [
    ("/hands", "list the raised hands in their order"),
    ("/lower", "take down the hand that went up first"),
    ("/lower 1001", "take down the hand of one student"),
    ("/lower all", "take down all hands"),
    ("/comments off", "keep chat off the picture for the whole class"),
    ("/comments on", "let students show chat over the picture"),
    ("/reactions off", "forbid reactions"),
    ("/reactions on", "allow reactions"),
];

const STUDENT_COMMANDS: [Described; 2] = [
    ("/hand", "raise your hand, or take it down"),
    ("/react clap", "react: like, clap, heart, laugh, wow or confused"),
];

/// Lines that teachers and students may type alike.
const ALL_COMMANDS: [Described; 3] = [
    ("any words", "send them to everybody in the room"),
    ("//word", "send a line that begins with a slash"),
    ("/help", "show this table"),
];

impl TeacherLine {
    pub(super) fn parse(line: &str) -> Self {
        let Some((command, argument)) = command(line) else { return Self::Say(said(line)) };
        match (command, argument) {
            ("hands", "") => Self::Hands,
            ("lower", "") => Self::Lower(None),
            ("lower", "all") => Self::LowerAll,
            ("lower", user) => match user.parse() {
                Ok(user) => Self::Lower(Some(user)),
                Err(error) => Self::Advice(format!("/lower takes a user id: {error}")),
            },
            ("comments" | "reactions", switch) => match (command, on_or_off(switch)) {
                ("comments", Ok(switch)) => Self::Comments(switch),
                (_, Ok(switch)) => Self::Reactions(switch),
                (_, Err(())) => Self::Advice(format!("/{command} takes on or off")),
            },
            ("help", _) => Self::Advice(table(&TEACHER_COMMANDS)),
            (other, _) => Self::Advice(unknown(other, &TEACHER_COMMANDS)),
        }
    }

    /// The commands, each with its slash.
    pub(super) fn commands() -> Vec<String> {
        words(&TEACHER_COMMANDS)
    }
}

impl StudentLine {
    pub(super) fn parse(line: &str) -> Self {
        let Some((command, argument)) = command(line) else { return Self::Say(said(line)) };
        match (command, argument) {
            ("hand", "") => Self::Hand,
            ("react", name) => match Reaction::from_name(name) {
                Some(reaction) => Self::React(reaction),
                None => Self::Advice(format!("/react takes one of {}", reactions())),
            },
            ("help", _) => Self::Advice(table(&STUDENT_COMMANDS)),
            (other, _) => Self::Advice(unknown(other, &STUDENT_COMMANDS)),
        }
    }

    /// The commands, each with its slash.
    pub(super) fn commands() -> Vec<String> {
        words(&STUDENT_COMMANDS)
    }
}

/// One row a command, its description in a column of its own.
fn table(commands: &[Described]) -> String {
    let rows = ALL_COMMANDS[..1].iter().chain(commands).chain(&ALL_COMMANDS[1..]);
    let rows: Vec<String> = rows.map(|(typed, does)| format!("  {typed:<14} {does}")).collect();
    format!("you can type:\n{}", rows.join("\n"))
}

fn unknown(command: &str, commands: &[Described]) -> String {
    format!("there is no command /{command}; {}", table(commands))
}

fn words(commands: &[Described]) -> Vec<String> {
    let all = commands.iter().chain(&ALL_COMMANDS).filter_map(|(typed, _)| typed.split_whitespace().next());
    let mut words: Vec<String> =
        all.filter(|w| w.starts_with('/') && !w.starts_with("//")).map(str::to_owned).collect();
    words.dedup();
    words
}

/// The position of a switch that was typed; none where only the command was typed.
fn on_or_off(text: &str) -> Result<Option<bool>, ()> {
    match text {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        _ => Err(()),
    }
}

fn reactions() -> String {
    Reaction::ALL.map(Reaction::name).join(", ")
}

/// `/word rest`; none for words to say, also where they begin with two slashes.
fn command(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix('/').filter(|rest| !rest.starts_with('/'))?;
    let (command, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Some((command, argument.trim()))
}

fn said(line: &str) -> String {
    if line.starts_with("//") { line[1..].to_owned() } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_says_words_and_commands() {
        assert_eq!(TeacherLine::parse("hello / all"), TeacherLine::Say("hello / all".into()));
        assert_eq!(TeacherLine::parse("//etc is a folder"), TeacherLine::Say("/etc is a folder".into()));
        assert_eq!(TeacherLine::parse("/hands"), TeacherLine::Hands);
        assert_eq!(TeacherLine::parse("/lower"), TeacherLine::Lower(None));
        assert_eq!(TeacherLine::parse("/lower  1001 "), TeacherLine::Lower(Some("1001".parse().unwrap())));
        assert_eq!(TeacherLine::parse("/lower all"), TeacherLine::LowerAll);
        assert_eq!(TeacherLine::parse("/comments off"), TeacherLine::Comments(Some(false)));
        assert_eq!(TeacherLine::parse("/reactions  on"), TeacherLine::Reactions(Some(true)));
        assert_eq!(TeacherLine::parse("/reactions"), TeacherLine::Reactions(None));
        for line in ["/lower a b", "/", "/hans", "/help", "/comments no"] {
            assert!(matches!(TeacherLine::parse(line), TeacherLine::Advice(_)), "{line}");
        }
    }

    #[test]
    fn a_student_says_words_and_commands() {
        assert_eq!(StudentLine::parse("hello"), StudentLine::Say("hello".into()));
        assert_eq!(StudentLine::parse("/hand"), StudentLine::Hand);
        assert_eq!(StudentLine::parse("/react clap"), StudentLine::React(Reaction::Clap));
        for line in ["/react bomb", "/lower", "/help", "/hand up"] {
            assert!(matches!(StudentLine::parse(line), StudentLine::Advice(_)), "{line}");
        }
    }

    #[test]
    fn help_is_a_table_of_commands_that_exist() {
        for (typed, _) in TEACHER_COMMANDS {
            assert!(!matches!(TeacherLine::parse(typed), TeacherLine::Advice(_) | TeacherLine::Say(_)), "{typed}");
        }
        for (typed, _) in STUDENT_COMMANDS {
            assert!(!matches!(StudentLine::parse(typed), StudentLine::Advice(_) | StudentLine::Say(_)), "{typed}");
        }
        let TeacherLine::Advice(table) = TeacherLine::parse("/help") else { panic!("no table") };
        assert_eq!(table.lines().count(), 1 + TEACHER_COMMANDS.len() + ALL_COMMANDS.len(), "{table}");
        for reaction in Reaction::ALL.map(Reaction::name) {
            assert!(STUDENT_COMMANDS[1].1.contains(reaction), "{reaction}");
        }
    }

    #[test]
    fn commands_for_completion_are_words_with_a_slash() {
        assert_eq!(TeacherLine::commands(), ["/hands", "/lower", "/comments", "/reactions", "/help"]);
        assert_eq!(StudentLine::commands(), ["/hand", "/react", "/help"]);
    }
}
