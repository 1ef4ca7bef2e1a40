//! Breakout rooms at a terminal: a member of a meeting follows by itself and reads where it is, and a student of a
//! lecture reads that others meet.

use std::time::Duration;

use crate::id::{Nickname, UserId, named};
use crate::protocol::Breakouts;
use crate::protocol::channel::ChatText;

/// Where this member is.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    rooms: u32,
    at: u32,
    is_recalled: bool,
}

impl Whereabouts {
    /// The server tells of the breakout rooms. Returns the sentences about what has changed.
    pub(super) fn told(&mut self, breakouts: &Breakouts) -> Vec<String> {
        let before = std::mem::replace(self, Self::of(breakouts));
        let left = breakouts.ends_in_ms.map(|ms| format!(" ({} s)", Duration::from_millis(ms).as_secs_f64().ceil()));
        let left = left.unwrap_or_default();
        let moved = (before.at != breakouts.at).then(|| match breakouts.at {
            0 => "you are back in the meeting".to_owned(),
            at => {
                let name = breakouts.name(at).map(|name| format!(", {name}")).unwrap_or_default();
                format!("you are in breakout room {at} of {}{name}{left}", breakouts.rooms)
            }
        });
        let recalled = (breakouts.is_recalled && !before.is_recalled)
            .then(|| format!("everybody is called back to the meeting{left}"));
        moved.into_iter().chain(recalled).collect()
    }

    /// The server tells a student who watches a lecture, and stays in it. Returns the sentence about what has changed.
    pub(super) fn watched(&mut self, breakouts: &Breakouts) -> Option<String> {
        let before = std::mem::replace(self, Self::of(breakouts));
        match (before.rooms, breakouts.rooms) {
            (0, rooms @ 1..) => Some(format!(
                "the class meets in {rooms} breakout rooms; you stay in the lecture: to meet the others, open the \
                 page of the room in a browser"
            )),
            (1.., 0) => Some("the breakout rooms are over".to_owned()),
            _ => None,
        }
    }

    fn of(breakouts: &Breakouts) -> Self {
        Self { rooms: breakouts.rooms, at: breakouts.at, is_recalled: breakouts.is_recalled }
    }
}

/// A sentence to everybody, in breakout rooms and outside of them.
pub(super) fn announced(user: &UserId, nickname: &Nickname, text: &ChatText) -> String {
    format!("{} to all rooms: {text}", named(user, nickname.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_reads_what_has_changed() {
        let mut here = Whereabouts::default();
        let mut told = |rooms, at, ends_in_ms, is_recalled| {
            here.told(&Breakouts { rooms, at, ends_in_ms, is_recalled, ..Breakouts::default() })
        };
        assert_eq!(told(3, 2, Some(59_500), false), ["you are in breakout room 2 of 3 (60 s)"]);
        assert!(told(3, 2, Some(50_000), false).is_empty());
        assert_eq!(told(3, 2, Some(30_000), true), ["everybody is called back to the meeting (30 s)"]);
        assert_eq!(told(0, 0, None, false), ["you are back in the meeting"]);
    }

    #[test]
    fn a_student_who_watches_reads_that_the_others_meet() {
        let mut here = Whereabouts::default();
        let mut told = |rooms| here.watched(&Breakouts { rooms, ..Breakouts::default() });
        assert_eq!(told(0), None);
        assert!(told(3).unwrap().contains("3 breakout rooms; you stay in the lecture"));
        assert_eq!(told(3), None);
        assert_eq!(told(0).unwrap(), "the breakout rooms are over");
    }
}
