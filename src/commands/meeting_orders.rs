//! The commands of a meeting: what its owner does with the room, breakout rooms, and the big screen.

use std::time::Duration;

use crate::cli;
use crate::commands::room_orders::Whom;
use crate::id::RoomName;
use crate::protocol::{MAX_BREAKOUT_S, MAX_BREAKOUTS, MIN_BREAKOUTS};

/// A command of a meeting, as it is typed. A text is an id or a nickname.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MeetingOrder {
    /// Name the meeting.
    Rename(RoomName),
    /// Make somebody else the owner.
    HandOver(String),
    /// Switch the microphone of somebody else, or of all others, off.
    MuteMicrophone(Whom),
    /// Call all members that take no part.
    CallAll,
    /// End the meeting for all.
    End,
    /// Split the meeting into breakout rooms, for a time if one is given.
    Split {
        /// The number of breakout rooms.
        rooms: u32,
        /// The time, in seconds.
        limit_s: Option<u32>,
    },
    /// Move somebody to a breakout room; 0 is the meeting.
    Assign(String, u32),
    /// Name a breakout room, or take its name away.
    NameBreakout(u32, Option<RoomName>),
    /// Go to a breakout room, or back to the meeting.
    Visit(u32),
    /// Say something in the meeting and all breakout rooms.
    Announce(String),
    /// Call everybody back within this time, in seconds.
    Recall(u32),
    /// Change the big screen.
    Spotlight(Spot),
}

/// A change of the big screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spot {
    /// Show me, or ask the owner for that.
    Me,
    /// Show somebody else.
    One(String),
    /// Show nobody.
    Off,
    /// Whether others need the owner's permission.
    Restrict(bool),
}

/// The commands of everybody about breakout rooms and the big screen.
pub(super) const PLACE_COMMANDS: [(&str, &str); 3] = [
    ("/visit 2", "go to breakout room 2; /back: to the meeting"),
    ("/spotlight", "show yourself large for everybody; /spotlight off: end that"),
    ("/who", "list who is where"),
];

/// The commands of the owner, and of members that moderate.
pub(super) const OWNER_COMMANDS: [(&str, &str); 15] = [
    ("/rename Staff", "name the meeting"),
    ("/lock", "let nobody else in; /unlock: let people in again"),
    ("/lobby on", "let newcomers wait until you admit them; /lobby off: let them in"),
    ("/admit 1001", "admit 1001; /admit all: all who wait; /deny 1001: refuse"),
    ("/code", "show the join code; /code new: draw one; /code blue-fox: use it; /code off: none"),
    ("/kick 1001", "put 1001 (or a name) out; /ban 1001: the network, too; /unban 1001: let come back"),
    ("/micoff 1001", "switch off the microphone of 1001, who switches it on again; /micoff all: of all others"),
    ("/callall", "call everybody who is in the room and not in the meeting"),
    ("/spotlight 1001", "show 1001 large; /spotlight ask: others ask you before; /spotlight free"),
    ("/split 3 10m", "split the meeting into 3 breakout rooms, for 10 minutes or without an end"),
    ("/assign 1001 2", "move 1001 to breakout room 2, 0 is the meeting; /name 2 Algebra: name it"),
    ("/announce words", "say something in the meeting and all breakout rooms"),
    ("/recall 30s", "call everybody back in 30 s; /recall: at once"),
    ("/handover 1001", "make 1001 the owner"),
    ("/end", "end the meeting for all"),
];

/// The commands of a teacher about breakout rooms.
pub(super) const BREAKOUT_COMMANDS: [(&str, &str); 4] = [
    ("/split 3 10m", "split the class into 3 breakout rooms, for 10 minutes or without an end"),
    ("/assign 1001 2", "move student 1001 to breakout room 2; /name 2 Algebra: name the room"),
    ("/visit 2", "read and write in breakout room 2; /back: in the lecture again"),
    ("/announce words", "write to all rooms; /recall 30s: call everybody back in 30 s; /recall: at once"),
];

/// Parses a command about breakout rooms, as a teacher has them; as [`parse`].
pub(super) fn parse_breakouts(command: &str, argument: &str) -> Option<Result<MeetingOrder, String>> {
    let is_known = matches!(command, "split" | "assign" | "name" | "visit" | "back" | "announce" | "recall");
    is_known.then(|| parse(command, argument)).flatten()
}

/// Parses a command of a meeting. `None` for another command; an error is a sentence that helps.
pub(super) fn parse(command: &str, argument: &str) -> Option<Result<MeetingOrder, String>> {
    let alone = |order: MeetingOrder| match argument {
        "" => Ok(order),
        _ => Err(format!("/{command} takes no words")),
    };
    let words = |what: &str| match argument {
        "" => Err(format!("/{command} needs {what}")),
        words => Ok(words.to_owned()),
    };
    Some(match command {
        "rename" => words("a name").and_then(|name| {
            name.parse().map(MeetingOrder::Rename).map_err(|_| "/rename needs a name with letters".to_owned())
        }),
        "handover" => words("the id or the name of somebody").map(MeetingOrder::HandOver),
        "micoff" if argument == "all" => Ok(MeetingOrder::MuteMicrophone(Whom::All)),
        "micoff" => {
            let one = |one| MeetingOrder::MuteMicrophone(Whom::One(one));
            words("the id or the name of somebody, or all").map(one)
        }
        "callall" => alone(MeetingOrder::CallAll),
        "end" => alone(MeetingOrder::End),
        "split" => split(argument),
        "assign" => assign(argument),
        "name" => name(argument),
        "visit" => argument.parse().map(MeetingOrder::Visit).map_err(|_| "/visit needs a number".to_owned()),
        "back" => alone(MeetingOrder::Visit(0)),
        "announce" => words("some words").map(MeetingOrder::Announce),
        "recall" if argument.is_empty() => Ok(MeetingOrder::Recall(0)),
        "recall" => seconds("recall", argument).map(MeetingOrder::Recall),
        "spotlight" => Ok(MeetingOrder::Spotlight(match argument {
            "" | "me" => Spot::Me,
            "off" => Spot::Off,
            "ask" => Spot::Restrict(true),
            "free" => Spot::Restrict(false),
            one => Spot::One(one.to_owned()),
        })),
        _ => return None,
    })
}

fn split(argument: &str) -> Result<MeetingOrder, String> {
    let (rooms, time) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
    let rooms = rooms.parse().ok().filter(|rooms| (MIN_BREAKOUTS..=MAX_BREAKOUTS).contains(rooms));
    let Some(rooms) = rooms else {
        return Err(format!("/split needs a number from {MIN_BREAKOUTS} to {MAX_BREAKOUTS}, for example /split 3 10m"));
    };
    let time = time.trim();
    let limit_s = if time.is_empty() { None } else { Some(seconds("split", time)?.max(1)) };
    Ok(MeetingOrder::Split { rooms, limit_s })
}

fn name(argument: &str) -> Result<MeetingOrder, String> {
    let (breakout, name) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
    let help = || "/name needs a number and a name, for example /name 2 Algebra; without a name, the number stays";
    let breakout = breakout.parse().map_err(|_| help())?;
    let name = name.trim();
    let name = if name.is_empty() { None } else { Some(name.parse().map_err(|_| help())?) };
    Ok(MeetingOrder::NameBreakout(breakout, name))
}

fn assign(argument: &str) -> Result<MeetingOrder, String> {
    let parts = argument.rsplit_once(char::is_whitespace);
    let parts = parts.and_then(|(who, breakout)| Some((who.trim_end().to_owned(), breakout.parse().ok()?)));
    let (who, breakout) = parts.ok_or("/assign needs somebody and a number, for example /assign 1001 2")?;
    Ok(MeetingOrder::Assign(who, breakout))
}

/// A time in whole seconds.
fn seconds(command: &str, text: &str) -> Result<u32, String> {
    let error = |error| format!("/{command} needs a time such as 30s or 10m: {text} {error}");
    let time: Duration = cli::duration(text).map_err(error)?;
    Ok(time.as_secs().try_into().map_or(MAX_BREAKOUT_S, |seconds: u32| seconds.min(MAX_BREAKOUT_S)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_a_meeting_are_typed() {
        let typed = |line: &str| {
            let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
            parse(command, argument)
        };
        let anna = || "Anna Li".to_owned();
        for (line, order) in [
            ("rename Staff room", MeetingOrder::Rename("Staff room".parse().unwrap())),
            ("handover Anna Li", MeetingOrder::HandOver(anna())),
            ("micoff Anna Li", MeetingOrder::MuteMicrophone(Whom::One(anna()))),
            ("micoff all", MeetingOrder::MuteMicrophone(Whom::All)),
            ("callall", MeetingOrder::CallAll),
            ("end", MeetingOrder::End),
            ("split 3", MeetingOrder::Split { rooms: 3, limit_s: None }),
            ("split 20 10m", MeetingOrder::Split { rooms: 20, limit_s: Some(600) }),
            ("assign Anna Li 2", MeetingOrder::Assign(anna(), 2)),
            ("name 2 Linear algebra", MeetingOrder::NameBreakout(2, Some("Linear algebra".parse().unwrap()))),
            ("name 2", MeetingOrder::NameBreakout(2, None)),
            ("visit 2", MeetingOrder::Visit(2)),
            ("back", MeetingOrder::Visit(0)),
            ("announce five more minutes", MeetingOrder::Announce("five more minutes".into())),
            ("recall", MeetingOrder::Recall(0)),
            ("recall 30s", MeetingOrder::Recall(30)),
            ("recall 1000000s", MeetingOrder::Recall(MAX_BREAKOUT_S)),
            ("spotlight", MeetingOrder::Spotlight(Spot::Me)),
            ("spotlight off", MeetingOrder::Spotlight(Spot::Off)),
            ("spotlight ask", MeetingOrder::Spotlight(Spot::Restrict(true))),
            ("spotlight Anna Li", MeetingOrder::Spotlight(Spot::One(anna()))),
        ] {
            assert_eq!(typed(line), Some(Ok(order)), "{line}");
        }
        for line in [
            "rename",
            "handover",
            "micoff",
            "callall 1001",
            "assign Anna Li",
            "end now",
            "split",
            "split 1",
            "split 21",
            "split 3 soon",
            "assign 2",
            "name",
            "name two",
            "visit",
            "visit two",
            "announce",
            "recall soon",
            "back 2",
        ] {
            assert!(matches!(typed(line), Some(Err(_))), "{line}");
        }
        assert_eq!(typed("mute 1001"), None);
    }
}
