//! The commands about the stage: invitations, the end of a speaker's time, and who is shown large.

use crate::commands::room_orders::Whom;
use crate::id::{UserId, named};
use crate::protocol::channel::{Moderation, RaisedHand, Stage};

/// A command about the stage, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StageCommand {
    /// Tell who is on the stage.
    List,
    /// Change the stage.
    Order(StageOrder),
}

/// An order about the stage. A text is an id or a nickname.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StageOrder {
    /// Invite the student who was the first to raise a hand.
    InviteFirst,
    /// Invite a student.
    Invite(String),
    /// Take a speaker, or all speakers, off the stage.
    Off(Whom),
    /// Show a speaker large; `None` shows the teacher large.
    Spotlight(Option<String>),
    /// Let students come to the stage by themselves, or no longer.
    Floor(bool),
}

/// The commands with what they do, for the list of commands.
pub(super) const STAGE_COMMANDS: [(&str, &str); 4] = [
    ("/stage", "invite the student whose hand was raised first; /stage list: who is on the stage"),
    ("/stage 1001", "invite student 1001 (or a name); /stage off 1001: end that; /stage off: all"),
    ("/spotlight 1001", "show student 1001 large; /spotlight off: show yourself large"),
    ("/floor", "let students come to the stage by themselves; /floor off: no longer"),
];

/// Parses a command about the stage. `None` for another command; an error is a sentence that helps.
pub(super) fn parse(command: &str, argument: &str) -> Option<Result<StageCommand, String>> {
    let order = match (command, argument.split_once(char::is_whitespace)) {
        ("stage", Some(("off", one))) => StageOrder::Off(Whom::One(one.trim_start().to_owned())),
        ("stage", _) => match argument {
            "" => StageOrder::InviteFirst,
            "list" => return Some(Ok(StageCommand::List)),
            "off" => StageOrder::Off(Whom::All),
            one => StageOrder::Invite(one.to_owned()),
        },
        ("spotlight", _) => match argument {
            "" => return Some(Err("/spotlight needs the id or the name of a student on the stage, or off".to_owned())),
            "off" => StageOrder::Spotlight(None),
            one => StageOrder::Spotlight(Some(one.to_owned())),
        },
        ("floor", _) => match argument {
            "" | "on" => StageOrder::Floor(true),
            "off" => StageOrder::Floor(false),
            _ => return Some(Err("/floor opens the floor, /floor off closes it".to_owned())),
        },
        _ => return None,
    };
    Some(Ok(StageCommand::Order(order)))
}

impl StageOrder {
    /// The order as the publisher's rules know it. `first` gives the student whose hand was raised first, and `find`
    /// the id for an id or a nickname.
    pub(super) fn moderation<E>(
        self,
        first: impl FnOnce() -> Result<UserId, E>,
        find: impl FnOnce(&str) -> Result<UserId, E>,
    ) -> Result<Moderation, E> {
        Ok(match self {
            Self::InviteFirst => Moderation::Stage { user_id: first()? },
            Self::Invite(user) => Moderation::Stage { user_id: find(&user)? },
            Self::Off(Whom::All) => Moderation::ClearStage,
            Self::Off(Whom::One(user)) => Moderation::OffStage { user_id: find(&user)? },
            Self::Spotlight(Some(user)) => Moderation::Spotlight { user_id: find(&user)? },
            Self::Spotlight(None) => Moderation::SpotlightOff,
            Self::Floor(true) => Moderation::OpenFloor,
            Self::Floor(false) => Moderation::CloseFloor,
        })
    }
}

/// The student whose hand was raised first, of those who are neither invited nor on the stage. The error is a sentence.
pub(super) fn first_hand(hands: &[RaisedHand], stage: &Stage) -> Result<UserId, String> {
    if hands.is_empty() {
        return Err("no hand is raised: /stage 1001 invites student 1001".to_owned());
    }
    let has_slot =
        |user: &UserId| stage.invited.contains(user) || stage.speakers.iter().any(|speaker| speaker.user_id == *user);
    let first = hands.iter().map(|hand| &hand.user_id).find(|user| !has_slot(user));
    first.cloned().ok_or_else(|| "everybody with a raised hand is invited already".to_owned())
}

/// The answer to `/stage list`. `name` names a user who is not on the stage yet.
pub(super) fn describe(stage: &Stage, name: impl Fn(&UserId) -> String) -> String {
    let speakers = stage.speakers.iter().map(|speaker| {
        let is_large = stage.spotlight.as_ref() == Some(&speaker.user_id);
        let name = named(&speaker.user_id, speaker.nickname.as_str());
        format!("{name}{}", if is_large { " (large)" } else { "" })
    });
    let (speakers, invited): (Vec<String>, Vec<String>) =
        (speakers.collect(), stage.invited.iter().map(name).collect());
    let mut parts = vec![match speakers.is_empty() {
        true => "nobody is on the stage".to_owned(),
        false => format!("on the stage: {}", speakers.join(", ")),
    }];
    parts.extend((!invited.is_empty()).then(|| format!("invited: {}", invited.join(", "))));
    parts.extend((stage.most > 0).then(|| format!("{} can be there at the same time", stage.most)));
    parts.extend(stage.is_open.then(|| "the floor is open".to_owned()));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TrackName;
    use crate::protocol::channel::Speaker;

    /// Anna, 1001, is on the stage, and 1002 is invited.
    fn stage() -> Stage {
        let (user_id, nickname) = ("1001".parse().unwrap(), "Anna".into());
        let speaker = Speaker { user_id, nickname, id: 1, tracks: vec![TrackName::Audio], silent: vec![], lost: false };
        Stage {
            speakers: vec![speaker],
            spotlight: None,
            most: 2,
            is_open: false,
            invited: vec!["1002".parse().unwrap()],
        }
    }

    #[test]
    fn the_first_hand_of_somebody_who_is_not_invited_is_next() {
        let hands = |users: &[&str]| -> Vec<RaisedHand> {
            let hand = |user: &&str| RaisedHand { user_id: user.parse().unwrap(), nickname: "".into(), at: 0 };
            users.iter().map(hand).collect()
        };
        assert_eq!(first_hand(&hands(&["1002", "1001", "1003"]), &stage()), Ok("1003".parse().unwrap()));
        assert!(first_hand(&hands(&["1002"]), &stage()).unwrap_err().contains("invited already"));
        assert!(first_hand(&[], &stage()).unwrap_err().contains("no hand is raised"));
    }

    #[test]
    fn people_read_who_is_on_the_stage() {
        let name = |user: &UserId| user.to_string();
        assert_eq!(
            describe(&stage(), name),
            "on the stage: Anna (1001); invited: 1002; 2 can be there at the same time"
        );
        let large = Stage { spotlight: Some("1001".parse().unwrap()), invited: vec![], most: 0, ..stage() };
        assert_eq!(describe(&large, name), "on the stage: Anna (1001) (large)");
        assert_eq!(
            describe(&Stage { most: 2, ..Stage::default() }, name),
            "nobody is on the stage; 2 can be there at the same time"
        );
    }

    #[test]
    fn orders_about_the_stage_are_typed() {
        let anna = || "Anna Li".to_owned();
        for (command, argument, order) in [
            ("stage", "", StageOrder::InviteFirst),
            ("stage", "Anna Li", StageOrder::Invite(anna())),
            ("stage", "off", StageOrder::Off(Whom::All)),
            ("stage", "off  Anna Li", StageOrder::Off(Whom::One(anna()))),
            ("spotlight", "Anna Li", StageOrder::Spotlight(Some(anna()))),
            ("spotlight", "off", StageOrder::Spotlight(None)),
            ("floor", "", StageOrder::Floor(true)),
            ("floor", "off", StageOrder::Floor(false)),
        ] {
            assert_eq!(parse(command, argument), Some(Ok(StageCommand::Order(order))), "/{command} {argument}");
        }
        assert_eq!(parse("stage", "list"), Some(Ok(StageCommand::List)));
        for (command, argument) in [("spotlight", ""), ("floor", "x")] {
            assert!(matches!(parse(command, argument), Some(Err(_))), "/{command} {argument}");
        }
        assert_eq!(parse("kick", "1001"), None);
    }

    #[test]
    fn an_order_names_the_student_whom_it_concerns() {
        let (first, one) = (|| "1003".parse::<UserId>(), "1001".parse().unwrap());
        let order = |order: StageOrder| order.moderation(first, str::parse);
        assert_eq!(order(StageOrder::InviteFirst), Ok(Moderation::Stage { user_id: "1003".parse().unwrap() }));
        let off = StageOrder::Off(Whom::One("1001".into()));
        assert_eq!(order(off), Ok(Moderation::OffStage { user_id: one }));
        assert_eq!(order(StageOrder::Off(Whom::All)), Ok(Moderation::ClearStage));
        assert_eq!(order(StageOrder::Spotlight(None)), Ok(Moderation::SpotlightOff));
        assert!(order(StageOrder::Invite("Anna Li".into())).is_err(), "no id");
    }
}
