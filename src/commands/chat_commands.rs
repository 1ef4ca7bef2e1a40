//! What people type during a lecture: a chat message, or a command that begins with a slash.

use crate::id::UserId;
use crate::protocol::channel::Reaction;

/// A line typed by a teacher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TeacherInput {
    /// A chat message.
    Say(String),
    /// List the raised hands.
    Hands,
    /// Lower the hand of one student, or the hand that was raised first.
    Lower(Option<UserId>),
    /// Lower all hands.
    LowerAll,
    /// Allow or forbid chat over the picture; `None` asks for the current state.
    Comments(Option<bool>),
    /// Allow or forbid reactions; `None` asks for the current state.
    Reactions(Option<bool>),
    /// Not a valid command, with a sentence that helps.
    Advice(String),
}

/// A line typed by a student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StudentInput {
    /// A chat message.
    Say(String),
    /// Raise or lower the student's own hand.
    Hand,
    /// Send a reaction.
    React(Reaction),
    /// Not a valid command, with a sentence that helps.
    Advice(String),
}

/// A command as it is typed, and what it does.
type Described = (&'static str, &'static str);

const TEACHER_COMMANDS: [Described; 8] = [
    ("/hands", "list the raised hands, the first one first"),
    ("/lower", "lower the hand that was raised first"),
    ("/lower 1001", "lower the hand of student 1001"),
    ("/lower all", "lower all hands"),
    ("/comments off", "hide chat over the picture for the whole class"),
    ("/comments on", "let students show chat over the picture"),
    ("/reactions off", "forbid reactions"),
    ("/reactions on", "allow reactions"),
];

const STUDENT_COMMANDS: [Described; 2] =
    [("/hand", "raise or lower your hand"), ("/react clap", "react with like, clap, heart, laugh, wow or confused")];

/// The lines that both teachers and students can type.
const ALL_COMMANDS: [Described; 3] = [
    ("any words", "send a chat message to everybody in the room"),
    ("//word", "send a chat message that begins with a slash"),
    ("/help", "show this list"),
];

impl TeacherInput {
    pub(super) fn parse(line: &str) -> Self {
        let Some((command, argument)) = command(line) else { return Self::Say(said(line)) };
        match (command, argument) {
            ("hands", "") => Self::Hands,
            ("lower", "") => Self::Lower(None),
            ("lower", "all") => Self::LowerAll,
            ("lower", user) => match user.parse() {
                Ok(user) => Self::Lower(Some(user)),
                Err(error) => Self::Advice(format!("/lower needs a user id: {error}")),
            },
            ("comments", switch) => on_or_off(command, switch).map_or_else(Self::Advice, Self::Comments),
            ("reactions", switch) => on_or_off(command, switch).map_or_else(Self::Advice, Self::Reactions),
            ("help", _) => Self::Advice(table(&TEACHER_COMMANDS)),
            (other, _) => Self::Advice(unknown(other, &TEACHER_COMMANDS)),
        }
    }

    /// All commands for completion, each with its slash.
    pub(super) fn commands() -> Vec<String> {
        words(&TEACHER_COMMANDS)
    }
}

impl StudentInput {
    pub(super) fn parse(line: &str) -> Self {
        let Some((command, argument)) = command(line) else { return Self::Say(said(line)) };
        match (command, argument) {
            ("hand", "") => Self::Hand,
            ("react", name) => match Reaction::from_name(name) {
                Some(reaction) => Self::React(reaction),
                None => Self::Advice(format!("/react needs one of {}", reactions())),
            },
            ("help", _) => Self::Advice(table(&STUDENT_COMMANDS)),
            (other, _) => Self::Advice(unknown(other, &STUDENT_COMMANDS)),
        }
    }

    /// All commands for completion, each with its slash.
    pub(super) fn commands() -> Vec<String> {
        words(&STUDENT_COMMANDS)
    }
}

/// One row per command, with the descriptions aligned.
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

/// Parses `on`, `off`, or nothing. The error is a sentence that helps.
fn on_or_off(command: &str, text: &str) -> Result<Option<bool>, String> {
    match text {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        _ => Err(format!("/{command} needs on or off")),
    }
}

fn reactions() -> String {
    Reaction::ALL.map(Reaction::name).join(", ")
}

/// Splits `/command argument`. `None` for a chat message, which may begin with two slashes.
fn command(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix('/').filter(|rest| !rest.starts_with('/'))?;
    let (command, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Some((command, argument.trim()))
}

/// The chat message of a line: `//etc` says `/etc`.
fn said(line: &str) -> String {
    if line.starts_with("//") { line[1..].to_owned() } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_types_messages_and_commands() {
        assert_eq!(TeacherInput::parse("hello / all"), TeacherInput::Say("hello / all".into()));
        assert_eq!(TeacherInput::parse("//etc is a folder"), TeacherInput::Say("/etc is a folder".into()));
        assert_eq!(TeacherInput::parse("/hands"), TeacherInput::Hands);
        assert_eq!(TeacherInput::parse("/lower"), TeacherInput::Lower(None));
        assert_eq!(TeacherInput::parse("/lower  1001 "), TeacherInput::Lower(Some("1001".parse().unwrap())));
        assert_eq!(TeacherInput::parse("/lower all"), TeacherInput::LowerAll);
        assert_eq!(TeacherInput::parse("/comments off"), TeacherInput::Comments(Some(false)));
        assert_eq!(TeacherInput::parse("/reactions  on"), TeacherInput::Reactions(Some(true)));
        assert_eq!(TeacherInput::parse("/reactions"), TeacherInput::Reactions(None));
        for line in ["/lower a b", "/", "/hans", "/help", "/comments no"] {
            assert!(matches!(TeacherInput::parse(line), TeacherInput::Advice(_)), "{line}");
        }
    }

    #[test]
    fn a_student_types_messages_and_commands() {
        assert_eq!(StudentInput::parse("hello"), StudentInput::Say("hello".into()));
        assert_eq!(StudentInput::parse("/hand"), StudentInput::Hand);
        assert_eq!(StudentInput::parse("/react clap"), StudentInput::React(Reaction::Clap));
        for line in ["/react bomb", "/lower", "/help", "/hand up"] {
            assert!(matches!(StudentInput::parse(line), StudentInput::Advice(_)), "{line}");
        }
    }

    #[test]
    fn help_lists_only_commands_that_exist() {
        for (typed, _) in TEACHER_COMMANDS {
            assert!(!matches!(TeacherInput::parse(typed), TeacherInput::Advice(_) | TeacherInput::Say(_)), "{typed}");
        }
        for (typed, _) in STUDENT_COMMANDS {
            assert!(!matches!(StudentInput::parse(typed), StudentInput::Advice(_) | StudentInput::Say(_)), "{typed}");
        }
        let TeacherInput::Advice(table) = TeacherInput::parse("/help") else { panic!("no table") };
        assert_eq!(table.lines().count(), 1 + TEACHER_COMMANDS.len() + ALL_COMMANDS.len(), "{table}");
        for reaction in Reaction::ALL.map(Reaction::name) {
            assert!(STUDENT_COMMANDS[1].1.contains(reaction), "{reaction}");
        }
    }

    #[test]
    fn tab_completes_the_commands() {
        assert_eq!(TeacherInput::commands(), ["/hands", "/lower", "/comments", "/reactions", "/help"]);
        assert_eq!(StudentInput::commands(), ["/hand", "/react", "/help"]);
    }
}
