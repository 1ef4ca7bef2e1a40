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
    /// Lets lines of chat fly over the picture, or not; none asks how it is.
    Comments(Option<bool>),
    /// Lets students react, or not; none asks how it is.
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

const TEACHER_HELP: &str = "type to say something to everybody; /hands lists raised hands, /lower 1001 takes one down, \
                            /lower the first, /lower all; /comments off keeps chat off the picture for the whole class, \
                            /reactions off ends reactions, on brings them back; //word says /word";

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
            ("help", _) => Self::Advice(TEACHER_HELP.to_owned()),
            (other, _) => Self::Advice(format!("there is no /{other}; {TEACHER_HELP}")),
        }
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
            ("help", _) => Self::Advice(Self::help()),
            (other, _) => Self::Advice(format!("there is no /{other}; {}", Self::help())),
        }
    }

    fn help() -> String {
        format!(
            "type to say something to everybody; /hand raises or lowers your hand, /react takes one of {}; //word says /word",
            reactions()
        )
    }
}

/// What a switch shall be; none where nothing is said.
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
}
