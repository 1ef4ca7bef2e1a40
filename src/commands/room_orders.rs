//! The commands about the members of a room: listing, removal and admission.

use crate::access::JoinCode;

/// A command about the members of the room, as it is typed. A text is an id or a nickname.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypedOrder {
    /// Put a member out for the rest of the lecture.
    Kick(String),
    /// Put somebody out who shall not come back from the same network either.
    Ban(String),
    /// Lift a kick or a ban.
    Unban(String),
    /// Refuse newcomers, or admit them again.
    Lock(bool),
    /// Let newcomers wait for admission, or no longer; `None` asks who waits.
    Lobby(Option<bool>),
    /// Admit one who waits, or all.
    Admit(Whom),
    /// Refuse one who waits.
    Deny(String),
    /// Show or change the join code.
    Code(TypedCode),
    /// List the members.
    Who,
}

/// Whom an order concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whom {
    /// All students.
    All,
    /// The student with this id, or with this nickname.
    One(String),
}

/// The change of the join code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypedCode {
    /// Show it.
    Show,
    /// Draw a new one.
    New,
    /// Set this one.
    Set(JoinCode),
    /// Admit clients without one.
    Off,
}

/// The commands with what they do, for the list of commands.
pub(super) const ROOM_COMMANDS: [(&str, &str); 8] = [
    ("/who", "list who is in the room, and who waits"),
    ("/kick 1001", "put student 1001 (or a name) out for this lecture"),
    ("/ban 1001", "put out, and keep out the student's network too"),
    ("/unban 1001", "let student 1001 come back"),
    ("/lock", "let nobody else in; /unlock: let students in again"),
    ("/lobby on", "let newcomers wait until you admit them; /lobby off: let them in"),
    ("/admit 1001", "admit student 1001; /admit all: all who wait; /deny 1001: refuse"),
    ("/code", "show the join code; /code new: draw one; /code blue-fox: use it; /code off: none"),
];

/// Parses a command about the members. `None` for another command; an error is a sentence that helps.
pub(super) fn parse(command: &str, argument: &str) -> Option<Result<TypedOrder, String>> {
    let one = |order: fn(String) -> TypedOrder| match argument {
        "" => Err(format!("/{command} needs the id or the name of somebody")),
        one => Ok(order(one.to_owned())),
    };
    let alone = |order: TypedOrder| match argument {
        "" => Ok(order),
        _ => Err(format!("/{command} takes no words")),
    };
    Some(match command {
        "who" => alone(TypedOrder::Who),
        "kick" => one(TypedOrder::Kick),
        "ban" => one(TypedOrder::Ban),
        "unban" => one(TypedOrder::Unban),
        "lock" => alone(TypedOrder::Lock(true)),
        "unlock" => alone(TypedOrder::Lock(false)),
        "lobby" => match argument {
            "" => Ok(TypedOrder::Lobby(None)),
            "on" => Ok(TypedOrder::Lobby(Some(true))),
            "off" => Ok(TypedOrder::Lobby(Some(false))),
            _ => Err("/lobby needs on or off".to_owned()),
        },
        "admit" if argument == "all" => Ok(TypedOrder::Admit(Whom::All)),
        "admit" => one(|one| TypedOrder::Admit(Whom::One(one))),
        "deny" => one(TypedOrder::Deny),
        "code" => match argument {
            "" => Ok(TypedOrder::Code(TypedCode::Show)),
            "new" => Ok(TypedOrder::Code(TypedCode::New)),
            "off" => Ok(TypedOrder::Code(TypedCode::Off)),
            code => {
                let set = |code| TypedOrder::Code(TypedCode::Set(code));
                code.parse().map(set).map_err(|error| format!("/code needs new, off, or a code: {error}"))
            }
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_about_the_members_are_typed() {
        let typed = |line: &str| {
            let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
            parse(command, argument)
        };
        let anna = || "Anna Li".to_owned();
        for (line, order) in [
            ("who", TypedOrder::Who),
            ("kick Anna Li", TypedOrder::Kick(anna())),
            ("ban Anna Li", TypedOrder::Ban(anna())),
            ("unban 1001", TypedOrder::Unban("1001".into())),
            ("lock", TypedOrder::Lock(true)),
            ("unlock", TypedOrder::Lock(false)),
            ("lobby", TypedOrder::Lobby(None)),
            ("lobby on", TypedOrder::Lobby(Some(true))),
            ("lobby off", TypedOrder::Lobby(Some(false))),
            ("admit all", TypedOrder::Admit(Whom::All)),
            ("admit Anna Li", TypedOrder::Admit(Whom::One(anna()))),
            ("deny Anna Li", TypedOrder::Deny(anna())),
            ("code", TypedOrder::Code(TypedCode::Show)),
            ("code new", TypedOrder::Code(TypedCode::New)),
            ("code off", TypedOrder::Code(TypedCode::Off)),
            ("code blue-fox", TypedOrder::Code(TypedCode::Set("blue-fox".parse().unwrap()))),
        ] {
            assert_eq!(typed(line), Some(Ok(order)), "{line}");
        }
        for line in ["kick", "ban", "unban", "admit", "deny", "lock 1001", "who is there", "lobby maybe", "code x"] {
            assert!(matches!(typed(line), Some(Err(_))), "{line}");
        }
        assert_eq!(typed("mute 1001"), None);
    }
}
