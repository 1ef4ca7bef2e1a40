//! What people type during a lecture: a chat message, or a command that begins with a slash.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::cli;
use crate::commands::lecture_orders::{self, LECTURE_COMMANDS, LectureOrder};
use crate::commands::meeting_orders::{self, BREAKOUT_COMMANDS, MeetingOrder, OWNER_COMMANDS, PLACE_COMMANDS};
use crate::commands::room_orders::{self, ROOM_COMMANDS, TypedOrder, Whom};
use crate::commands::stage_orders::{self, STAGE_COMMANDS, StageCommand};
use crate::id::UserId;
use crate::protocol::channel::{Moderation, Reaction};

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
    /// Keep order in the chat.
    Order(ChatOrder),
    /// Change the stage, or tell who is on the stage.
    Stage(StageCommand),
    /// Keep order among the members of the room.
    Room(TypedOrder),
    /// Give an order about breakout rooms.
    Breakouts(MeetingOrder),
    /// Give an order about the lecture itself.
    Lecture(LectureOrder),
    /// Tell who is muted.
    Muted,
    /// Tell whether slow mode is on.
    Slow,
    /// Allow or forbid chat over the picture; `None` asks for the current state.
    Comments(Option<bool>),
    /// Allow or forbid reactions; `None` asks for the current state.
    Reactions(Option<bool>),
    /// Not a valid command, with a sentence that helps.
    Advice(String),
}

/// The place where a student or a participant types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Lecture,
    Meeting,
    Call,
}

/// A line typed by a student, or by a participant of a meeting or a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StudentInput {
    /// A chat message.
    Say(String),
    /// A chat message for one member of a meeting, by id.
    Private {
        /// The member.
        to: String,
        /// The text.
        words: String,
    },
    /// Raise or lower the student's own hand.
    Hand,
    /// Send a reaction.
    React(Reaction),
    /// Come to the stage while the floor is open.
    Speak,
    /// Leave the stage.
    StepDown,
    /// Show a speaker large, by id or name, or follow the teacher's choice again.
    Pin(Option<String>),
    /// Switch the own microphone off, or on again.
    Microphone,
    /// Leave the meeting, or hang up.
    Leave,
    /// Send a file: its path, and perhaps the id or the name of the only receiver.
    Send(String),
    /// Cancel files on their way, by their name; without a name, all.
    Cancel(String),
    /// Keep order among the members of a meeting; only for its owner and those who moderate.
    Room(TypedOrder),
    /// Another order of a meeting.
    Meeting(MeetingOrder),
    /// Keep order in the chat; only for students who moderate.
    Order(ChatOrder),
    /// Change the stage, or tell who is on the stage; the change is only for students who moderate.
    Stage(StageCommand),
    /// Not a valid command, with a sentence that helps.
    Advice(String),
}

/// An order about the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChatOrder {
    /// Forbid to write and to react.
    Mute(Whom),
    /// Allow to write and to react again.
    Unmute(Whom),
    /// Remove all messages.
    Clear,
    /// The shortest time between two messages of a student; zero ends slow mode.
    Slow(Duration),
}

/// A command as it is typed, and what it does.
type Described = (&'static str, &'static str);

/// Commands of one subject.
type Group = (&'static str, &'static [Described]);

const TEACHER_COMMANDS: [Group; 6] = [
    (
        "hands",
        &[
            ("/hands", "list the raised hands, the first one first"),
            ("/lower", "lower the hand that was raised first"),
            ("/lower 1001", "lower the hand of student 1001; /lower all: all hands"),
        ],
    ),
    (
        "chat",
        &[
            ("/mute 1001", "let student 1001 (or a name) neither write nor react; /mute all: nobody"),
            ("/unmute 1001", "let student 1001 write again; /unmute all: everybody"),
            ("/slow 10s", "let each student write once in 10 s; /slow off: at any time"),
            ("/clear", "remove all messages"),
            ("/comments off", "hide chat over the picture for the whole class; /comments on: allow it"),
            ("/reactions off", "forbid reactions; /reactions on: allow them"),
        ],
    ),
    ("stage", &STAGE_COMMANDS),
    ("breakout rooms", &BREAKOUT_COMMANDS),
    ("room", &ROOM_COMMANDS),
    ("lecture", &LECTURE_COMMANDS),
];

const STUDENT_COMMANDS: [Group; 1] = [(
    "",
    &[
        ("/hand", "raise or lower your hand"),
        ("/react clap", "react with like, clap, heart, laugh, wow or confused"),
        ("/speak", "come to the stage while the teacher has opened the floor"),
        ("/stepdown", "leave the stage"),
        ("/pin 1001", "show student 1001 (or a name) on the stage large for yourself; /pin off: follow the teacher"),
    ],
)];

const MEETING_COMMANDS: [Group; 3] = [
    (
        "",
        &[
            ("/to 1001 words", "send a chat message to 1001 alone"),
            ("/hand", "raise or lower your hand"),
            ("/mic", "switch your microphone off, and on again"),
            ("/react clap", "react with like, clap, heart, laugh, wow or confused"),
            ("/send notes.pdf", "offer a file to everybody; /send notes.pdf 1001: to 1001 (or a name) alone"),
            ("/cancel notes.pdf", "cancel a file on its way; /cancel: all of them"),
            ("/leave", "leave the meeting"),
        ],
    ),
    ("places", &PLACE_COMMANDS),
    (OWNER, &OWNER_COMMANDS),
];

/// The title of the commands that only the owner of a meeting has, and who moderates.
const OWNER: &str = "as the owner";

const CALL_COMMANDS: [Group; 1] = [(
    "",
    &[
        ("/react clap", "react with like, clap, heart, laugh, wow or confused"),
        ("/mic", "switch your microphone off, and on again"),
        ("/send notes.pdf", "offer a file to the other one"),
        ("/cancel notes.pdf", "cancel a file on its way; /cancel: all of them"),
        ("/leave", "hang up"),
    ],
)];

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
            ("mute", "") => Self::Muted,
            ("slow", "") => Self::Slow,
            ("comments", switch) => on_or_off(command, switch).map_or_else(Self::Advice, Self::Comments),
            ("reactions", switch) => on_or_off(command, switch).map_or_else(Self::Advice, Self::Reactions),
            ("help", _) => Self::Advice(table(&TEACHER_COMMANDS)),
            (command, argument) => {
                let of_chat = || Some(chat_order(command, argument)?.map_or_else(Self::Advice, Self::Order));
                let of_stage = || Some(stage_orders::parse(command, argument)?.map_or_else(Self::Advice, Self::Stage));
                let of_room = || Some(room_orders::parse(command, argument)?.map_or_else(Self::Advice, Self::Room));
                let breakouts = || meeting_orders::parse_breakouts(command, argument);
                let of_breakouts = || Some(breakouts()?.map_or_else(Self::Advice, Self::Breakouts));
                let of_lecture =
                    || Some(lecture_orders::parse(command, argument)?.map_or_else(Self::Advice, Self::Lecture));
                let order = of_chat().or_else(of_stage).or_else(of_room).or_else(of_breakouts).or_else(of_lecture);
                order.unwrap_or_else(|| Self::Advice(unknown(command, &TEACHER_COMMANDS)))
            }
        }
    }

    /// All commands for completion, each with its slash.
    pub(super) fn commands() -> Vec<String> {
        words(&TEACHER_COMMANDS)
    }
}

impl Place {
    /// The commands beside those about order.
    fn commands(self) -> &'static [Group] {
        match self {
            Self::Lecture => &STUDENT_COMMANDS,
            Self::Meeting => &MEETING_COMMANDS,
            Self::Call => &CALL_COMMANDS,
        }
    }
}

impl StudentInput {
    pub(super) fn parse(line: &str, place: Place) -> Self {
        let Some((command, argument)) = command(line) else { return Self::Say(said(line)) };
        match (place, command, argument) {
            (Place::Lecture | Place::Meeting, "hand", "") => Self::Hand,
            (Place::Lecture, "speak", "") => Self::Speak,
            (Place::Lecture, "stepdown", "") => Self::StepDown,
            (Place::Lecture, "pin", "") => {
                Self::Advice("/pin needs the id or the name of a student on the stage, or off".to_owned())
            }
            (Place::Lecture, "pin", whom) => Self::Pin((whom != "off").then(|| whom.to_owned())),
            (Place::Meeting, "to", argument) => match argument.split_once(char::is_whitespace) {
                Some((to, words)) => Self::Private { to: to.to_owned(), words: words.trim().to_owned() },
                None => Self::Advice("/to needs the id of a member and a text, for example /to 1001 hello".to_owned()),
            },
            (Place::Meeting | Place::Call, "mic", "") => Self::Microphone,
            (Place::Meeting | Place::Call, "leave", "") => Self::Leave,
            (Place::Meeting | Place::Call, "send", argument) => Self::Send(argument.to_owned()),
            (Place::Meeting | Place::Call, "cancel", name) => Self::Cancel(name.to_owned()),
            (_, "react", name) => match Reaction::from_name(name) {
                Some(reaction) => Self::React(reaction),
                None => Self::Advice(format!("/react needs one of {}", reactions())),
            },
            (_, "help", _) => Self::Advice(table(place.commands())),
            (place, command, argument) => {
                let of_chat = || Some(chat_order(command, argument)?.map_or_else(Self::Advice, Self::Order));
                let of_stage = || Some(stage_orders::parse(command, argument)?.map_or_else(Self::Advice, Self::Stage));
                let order = match place {
                    Place::Lecture => of_chat().or_else(of_stage),
                    Place::Meeting => {
                        let of_room =
                            || Some(room_orders::parse(command, argument)?.map_or_else(Self::Advice, Self::Room));
                        let other = meeting_orders::parse(command, argument);
                        let of_meeting = other.map(|order| order.map_or_else(Self::Advice, Self::Meeting));
                        of_chat().or_else(of_room).or(of_meeting)
                    }
                    Place::Call => None,
                };
                order.unwrap_or_else(|| Self::Advice(unknown(command, place.commands())))
            }
        }
    }

    /// All commands for completion, each with its slash.
    pub(super) fn commands(place: Place) -> Vec<String> {
        words(place.commands())
    }
}

impl ChatOrder {
    /// The order as the publisher's rules know it. `find` gives the id for an id or a nickname.
    pub(super) fn moderation<E>(self, find: impl FnOnce(&str) -> Result<UserId, E>) -> Result<Moderation, E> {
        Ok(match self {
            Self::Mute(Whom::All) => Moderation::MuteAll,
            Self::Mute(Whom::One(user)) => Moderation::Mute { user_id: find(&user)? },
            Self::Unmute(Whom::All) => Moderation::UnmuteAll,
            Self::Unmute(Whom::One(user)) => Moderation::Unmute { user_id: find(&user)? },
            Self::Clear => Moderation::Clear,
            // The rules refuse a time that is too long.
            Self::Slow(time) => Moderation::Slow { ms: time.as_millis().try_into().unwrap_or(u32::MAX) },
        })
    }
}

/// Parses an order about the chat. `None` for another command; an error is a sentence that helps.
fn chat_order(command: &str, argument: &str) -> Option<Result<ChatOrder, String>> {
    Some(match (command, argument) {
        ("mute", whom) => one_or_all(command, whom).map(ChatOrder::Mute),
        ("unmute", whom) => one_or_all(command, whom).map(ChatOrder::Unmute),
        ("clear", "") => Ok(ChatOrder::Clear),
        ("clear", _) => Err("/clear removes all messages and takes no words".to_owned()),
        ("slow", "off") => Ok(ChatOrder::Slow(Duration::ZERO)),
        ("slow", "") => Err("/slow needs a time such as 10s, or off".to_owned()),
        ("slow", time) => {
            let error = |error| format!("/slow needs a time such as 10s, or off: {time} {error}");
            cli::duration(time).map(ChatOrder::Slow).map_err(error)
        }
        _ => return None,
    })
}

/// Parses `all`, an id or a nickname. The error is a sentence that helps.
fn one_or_all(command: &str, text: &str) -> Result<Whom, String> {
    match text {
        "" => Err(format!("/{command} needs the id or the name of a student, or all")),
        "all" => Ok(Whom::All),
        one => Ok(Whom::One(one.to_owned())),
    }
}

/// The commands of a place, as a list. Those of the owner of a meeting are for who `moderates`.
pub(super) fn help(place: Place, moderates: bool) -> String {
    let applies = |group: &&Group| moderates || group.0 != OWNER;
    table(&place.commands().iter().filter(applies).copied().collect::<Vec<Group>>())
}

/// One row per command, with the descriptions aligned, and a title for each group.
fn table(groups: &[Group]) -> String {
    let row = |(typed, does): &Described| format!("  {typed:<15} {does}");
    let mut rows = vec![row(&ALL_COMMANDS[0])];
    for (title, commands) in groups {
        rows.extend((!title.is_empty()).then(|| format!("{title}:")));
        rows.extend(commands.iter().map(row));
    }
    if groups.len() > 1 {
        rows.push("also:".to_owned());
    }
    rows.extend(ALL_COMMANDS[1..].iter().map(row));
    format!("you can type:\n{}", rows.join("\n"))
}

fn unknown(command: &str, groups: &[Group]) -> String {
    format!("there is no command /{command}; {}", table(groups))
}

/// All commands of the groups, in the order of the list of commands. Some stand in the description of another one.
fn words(groups: &[Group]) -> Vec<String> {
    let mut words = Vec::new();
    for (typed, does) in groups.iter().flat_map(|(_, commands)| *commands).chain(&ALL_COMMANDS) {
        let named = typed.split_whitespace().take(1).chain(does.split_whitespace());
        for word in named.filter(|word| word.starts_with('/') && !word.starts_with("//")) {
            let word = word.trim_end_matches(':');
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
    }
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
