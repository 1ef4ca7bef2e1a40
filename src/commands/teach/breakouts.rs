//! Breakout rooms at the teacher's terminal: what typed orders mean for the server, who is where, and visits, which are
//! for the chat alone: a terminal sends its picture and sound to the class, and to nobody else.

use std::collections::BTreeMap;

use crate::commands::meeting_orders::MeetingOrder;
use crate::commands::people::listed;
use crate::id::UserId;
use crate::protocol::channel::{PublisherMessage, StudentMessage};
use crate::protocol::{Breakouts, ClientMessage, RoomOrder};
use crate::report::Event;

/// The breakout rooms of the lecture as the teacher sees them.
#[derive(Debug, Default)]
pub(super) struct LectureBreakouts(Breakouts);

impl LectureBreakouts {
    /// The message of a typed order. `find` gives the id for an id or a nickname.
    ///
    /// # Errors
    /// A sentence for the teacher.
    pub(super) fn order(
        &self,
        order: MeetingOrder,
        find: impl Fn(&str) -> Result<UserId, String>,
    ) -> Result<ClientMessage, String> {
        Ok(ClientMessage::Order(match order {
            MeetingOrder::Split { rooms, limit_s } => RoomOrder::Split { rooms, assign: BTreeMap::new(), limit_s },
            MeetingOrder::Assign(text, breakout) => RoomOrder::Assign { target_uid: find(&text)?, breakout },
            MeetingOrder::NameBreakout(breakout, name) => RoomOrder::NameBreakout { breakout, name },
            MeetingOrder::Visit(breakout) => return Ok(ClientMessage::Visit { breakout }),
            MeetingOrder::Announce(text) => RoomOrder::Announce { text: text.into() },
            MeetingOrder::Recall(within_s) => RoomOrder::Recall { within_s },
            _ => return Err("this order is for meetings".to_owned()),
        }))
    }

    /// The server tells of the breakout rooms. Returns the sentences about what has changed.
    pub(super) fn told<'a>(&mut self, breakouts: Breakouts, nickname: impl Fn(&UserId) -> &'a str) -> Vec<String> {
        let before = std::mem::replace(&mut self.0, breakouts);
        let now = &self.0;
        let mut sentences = Vec::new();
        let moved = inside(&before) != inside(now);
        if now.rooms > 0 && (moved || before.rooms != now.rooms || before.names != now.names) {
            sentences.push(self.describe(nickname));
        }
        if now.is_recalled && !before.is_recalled {
            sentences.push("everybody is called back to the lecture".to_owned());
        }
        if now.at != before.at && now.at > 0 {
            sentences.push(format!(
                "you read and write in breakout room {} now, and /back ends that; to see and hear the students there, \
                 teach from a browser",
                now.at
            ));
        } else if now.at != before.at {
            sentences.push("you read and write in the lecture again".to_owned());
        }
        if now.rooms == 0 && before.rooms > 0 {
            sentences.push("everybody is back in the lecture".to_owned());
        }
        sentences
    }

    /// The message of words that the teacher has typed, if they are for a breakout room.
    pub(super) fn says(&self, words: &str) -> Option<ClientMessage> {
        let message = StudentMessage::Msg { text: words.into(), to: None };
        (self.0.at > 0).then_some(ClientMessage::Channel { message })
    }

    /// A message in the breakout room.
    pub(super) fn heard(&self, message: PublisherMessage) -> Vec<Event> {
        let messages = match message {
            PublisherMessage::Welcome { history, .. } if self.0.at > 0 => history,
            PublisherMessage::Msg(message) if self.0.at > 0 => vec![message],
            _ => Vec::new(),
        };
        let event = |message: crate::protocol::channel::ChatMessage| Event::Chat {
            id: message.id,
            user: message.user_id,
            nickname: message.nickname.into(),
            teacher: message.publishes,
            text: message.text.into(),
            to: None,
        };
        messages.into_iter().map(event).collect()
    }

    /// The place of each student, for people.
    fn describe<'a>(&self, nickname: impl Fn(&UserId) -> &'a str) -> String {
        let Breakouts { rooms, places, .. } = &self.0;
        let room = |breakout: u32| {
            let users: Vec<&UserId> = places.iter().filter(|(_, at)| **at == breakout).map(|(user, _)| user).collect();
            let name =
                self.0.name(breakout).map_or_else(|| breakout.to_string(), |name| format!("{breakout} ({name})"));
            let people = users.iter().map(|user| (*user, nickname(user)));
            let people = if users.is_empty() { "nobody".to_owned() } else { listed(people, users.len()) };
            format!("{name}: {people}")
        };
        format!("breakout rooms {}", (1..=*rooms).map(room).collect::<Vec<_>>().join("; "))
    }
}

/// The places of those who are in breakout rooms.
fn inside(breakouts: &Breakouts) -> Vec<(&UserId, u32)> {
    breakouts.places.iter().map(|(user, at)| (user, *at)).filter(|(_, at)| *at > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UserId {
        text.parse().unwrap()
    }

    #[test]
    fn a_teacher_reads_who_is_where_and_visits_by_chat() {
        let mut groups = LectureBreakouts::default();
        let find = |text: &str| text.parse().map_err(|_| format!("nobody is called {text}"));
        let assign = RoomOrder::Assign { target_uid: id("1001"), breakout: 2 };
        assert_eq!(groups.order(MeetingOrder::Assign("1001".into(), 2), find), Ok(ClientMessage::Order(assign)));
        assert!(groups.order(MeetingOrder::End, find).is_err());
        assert!(groups.order(MeetingOrder::Assign("no body".into(), 2), find).is_err());
        let nickname = |user: &UserId| if user.as_str() == "1001" { "Ada" } else { "" };
        let breakouts = |at, places: &[(&str, u32)]| Breakouts {
            rooms: 2,
            at,
            names: vec![None, Some("Algebra".parse().unwrap())],
            places: places.iter().map(|(user, at)| (id(user), *at)).collect(),
            ..Breakouts::default()
        };
        let split = [("1001", 1), ("1002", 1), ("9999", 0)];
        let told = groups.told(breakouts(0, &split), nickname);
        assert_eq!(told, ["breakout rooms 1: Ada (1001), 1002; 2 (Algebra): nobody"]);
        assert!(groups.told(breakouts(0, &split), nickname).is_empty());
        assert_eq!(groups.says("hello"), None);
        assert!(groups.told(breakouts(2, &split), nickname)[0].starts_with("you read and write in breakout room 2"));
        let message = StudentMessage::Msg { text: "hello".into(), to: None };
        assert_eq!(groups.says("hello"), Some(ClientMessage::Channel { message }));
        let told = groups.told(Breakouts::default(), nickname);
        assert_eq!(told, ["you read and write in the lecture again", "everybody is back in the lecture"]);
    }
}
