//! The room of a meeting as this member sees it: its members, its owner, where everybody is; and what typed orders mean
//! for the server.

use std::collections::BTreeMap;

use crate::commands::meeting_orders::{MeetingOrder, Spot};
use crate::commands::membership::{Membership, People, Reply};
use crate::commands::people;
use crate::commands::room_orders::{TypedOrder, Whom};
use crate::id::{Nickname, UserId, named};
use crate::protocol::{Breakouts, ClientMessage, RoomInfo, RoomKind, RoomOrder, ServerMessage, User};
use crate::report::Reporter;

/// The room.
#[derive(Debug)]
pub(super) struct MeetingRoom {
    me: UserId,
    members: BTreeMap<UserId, Nickname>,
    moderators: Vec<UserId>,
    info: Option<RoomInfo>,
    breakouts: Breakouts,
    membership: Membership,
}

impl MeetingRoom {
    pub(super) fn new(me: UserId) -> Self {
        let (members, moderators, info) = (BTreeMap::new(), Vec::new(), None);
        Self { me, members, moderators, info, breakouts: Breakouts::default(), membership: Membership::default() }
    }

    /// This member is in the room, for the first time or again.
    pub(super) fn joined(&mut self, users: &[User]) {
        self.members.clear();
        self.moderators.clear();
        self.breakouts = Breakouts::default();
        self.came(users);
    }

    /// Whether orders of this member count.
    pub(super) fn moderates(&self) -> bool {
        self.owner() == Some(&self.me) || self.moderators.contains(&self.me)
    }

    /// A message of the server. Returns whether it is about the room, and about nothing else.
    pub(super) fn told(&mut self, message: &ServerMessage, reporter: &Reporter) -> bool {
        match message {
            ServerMessage::Join { users } => self.came(users),
            ServerMessage::Leave { users, .. } => self.members.retain(|user, _| !users.contains(user)),
            ServerMessage::Room(info) => {
                let sentences = self.changed(info);
                sentences.into_iter().for_each(|sentence| reporter.notice(sentence));
            }
            ServerMessage::Lobby { users, count } => self.membership.lobby_changed(users.clone(), *count, reporter),
            ServerMessage::Order { user_id, order } => {
                let members = &self.members;
                let nickname = |user: &UserId| members.get(user).cloned().unwrap_or_else(|| "".into());
                self.membership.ordered((user_id.clone(), nickname(user_id)), order, nickname, reporter);
            }
            ServerMessage::Breakouts(breakouts) => {
                self.breakouts = breakouts.clone();
                return false;
            }
            _ => return false,
        }
        true
    }

    /// The message of a typed order. `spotlight` is large for everybody at present.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(super) fn order(&self, order: MeetingOrder, spotlight: Option<&UserId>) -> Result<ClientMessage, String> {
        let target = |text: &str| People::find(self, text);
        Ok(ClientMessage::Order(match order {
            MeetingOrder::Rename(name) => RoomOrder::Rename { name },
            MeetingOrder::HandOver(text) => RoomOrder::HandOver { target_uid: target(&text)? },
            MeetingOrder::MuteMicrophone(Whom::All) => RoomOrder::MuteMicrophone { target_uid: None },
            MeetingOrder::MuteMicrophone(Whom::One(text)) => {
                RoomOrder::MuteMicrophone { target_uid: Some(target(&text)?) }
            }
            MeetingOrder::CallAll => return Ok(ClientMessage::CallAll),
            MeetingOrder::End => RoomOrder::End,
            MeetingOrder::Split { rooms, limit_s } => RoomOrder::Split { rooms, assign: BTreeMap::new(), limit_s },
            MeetingOrder::Assign(text, breakout) => RoomOrder::Assign { target_uid: target(&text)?, breakout },
            MeetingOrder::NameBreakout(breakout, name) => RoomOrder::NameBreakout { breakout, name },
            MeetingOrder::Visit(breakout) => return Ok(ClientMessage::Visit { breakout }),
            MeetingOrder::Announce(text) => RoomOrder::Announce { text: text.into() },
            MeetingOrder::Recall(within_s) => RoomOrder::Recall { within_s },
            MeetingOrder::Spotlight(Spot::Me) => return Ok(ClientMessage::Spotlight { on: true }),
            MeetingOrder::Spotlight(Spot::One(text)) => match target(&text)? {
                me if me == self.me => return Ok(ClientMessage::Spotlight { on: true }),
                target_uid => RoomOrder::Spotlight { target_uid },
            },
            MeetingOrder::Spotlight(Spot::Off) => match spotlight.filter(|user| **user != self.me) {
                Some(user) if self.moderates() => RoomOrder::SpotlightOff { target_uid: user.clone() },
                _ => return Ok(ClientMessage::Spotlight { on: false }),
            },
            MeetingOrder::Spotlight(Spot::Restrict(restricted)) => RoomOrder::RestrictSpotlight { restricted },
        }))
    }

    /// The message of a typed order about members, or a sentence for the user. `is_in` tells who takes part.
    pub(super) fn room_order(
        &self,
        order: TypedOrder,
        is_in: impl Fn(&UserId) -> bool,
    ) -> Result<ClientMessage, String> {
        if order == TypedOrder::Who {
            return Err(self.describe(is_in));
        }
        match self.membership.typed(order, self, rand::random()) {
            Reply::Send(order) => Ok(ClientMessage::Order(order)),
            Reply::Say(sentence) => Err(sentence),
        }
    }

    fn owner(&self) -> Option<&UserId> {
        self.info.as_ref()?.owner.as_ref()
    }

    fn came(&mut self, users: &[User]) {
        for user in users {
            self.members.insert(user.user_id.clone(), user.nickname.clone());
            self.moderators.retain(|known| *known != user.user_id);
            self.moderators.extend(user.moderates.then(|| user.user_id.clone()));
        }
    }

    /// The sentences about what has changed. Those who moderate hear of orders anyway.
    fn changed(&mut self, info: &RoomInfo) -> Vec<String> {
        let before = self.info.replace(info.clone());
        if info.kind != RoomKind::Meeting {
            return Vec::new();
        }
        let mut sentences = Vec::new();
        let before_owner = before.as_ref().and_then(|before| before.owner.as_ref());
        match &info.owner {
            Some(owner) if *owner == self.me && before_owner != Some(owner) => {
                sentences.push("you own the meeting: /help lists what you can do".to_owned());
            }
            Some(owner) if before.is_some() && before_owner != Some(owner) => {
                sentences.push(format!("{} owns the meeting now", self.name(owner)));
            }
            _ => {}
        }
        let Some(before) = before.filter(|_| !self.moderates()) else { return sentences };
        if let Some(name) = info.name.as_ref().filter(|name| before.name.as_ref() != Some(*name)) {
            sentences.push(format!("the meeting is called {name}"));
        }
        let changes = [
            (
                before.is_locked,
                info.is_locked,
                "the meeting is locked: nobody else comes in",
                "the meeting is open again",
            ),
            (before.is_calling, info.is_calling, "the owner calls everybody who is not in the meeting", ""),
            (
                before.is_spotlight_restricted,
                info.is_spotlight_restricted,
                "/spotlight asks the owner now",
                "/spotlight needs no permission now",
            ),
        ];
        let changed = changes.into_iter().filter(|(before, now, ..)| before != now);
        let words = changed.map(|(_, now, on, off)| if now { on } else { off });
        sentences.extend(words.filter(|words| !words.is_empty()).map(str::to_owned));
        sentences
    }

    /// The place of each member, for people.
    fn describe(&self, is_in: impl Fn(&UserId) -> bool) -> String {
        let mut places: BTreeMap<(u32, bool), Vec<(&UserId, &str)>> = BTreeMap::new();
        for (user, nickname) in &self.members {
            let at = self.breakouts.places.get(user).copied().unwrap_or(self.breakouts.at);
            // Of other breakout rooms, the server tells nobody's part.
            let takes_part = *user == self.me || at != self.breakouts.at || is_in(user);
            places.entry((at, !takes_part)).or_default().push((user, nickname.as_str()));
        }
        let place = |((at, is_out), people): ((u32, bool), Vec<(&UserId, &str)>)| {
            let where_ = match (at, is_out) {
                (_, true) => "in the room alone".to_owned(),
                (0, false) => "in the meeting".to_owned(),
                (at, false) => format!("in breakout room {at}"),
            };
            let count = people.len();
            format!("{where_}: {}", people::listed(people, count))
        };
        let mut parts: Vec<String> = places.into_iter().map(place).collect();
        parts.extend(self.owner().map(|owner| format!("owner: {}", self.name(owner))));
        parts.extend(self.info.as_ref().is_some_and(|info| info.is_locked).then(|| "locked".to_owned()));
        parts.join("; ")
    }

    fn name(&self, user: &UserId) -> String {
        named(user, self.members.get(user).map_or("", |nickname| nickname.as_str())).to_string()
    }
}

impl People for MeetingRoom {
    fn find(&self, text: &str) -> Result<UserId, String> {
        people::find(self.members(), text)
    }

    fn members(&self) -> Vec<(&UserId, &str)> {
        self.members.iter().map(|(user, nickname)| (user, nickname.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UserId {
        text.parse().unwrap()
    }

    fn user(id: &str, nickname: &str) -> User {
        let (user_id, nickname) = (id.parse().unwrap(), nickname.into());
        User { user_id, nickname, publishes: false, epoch: 0, client: None, moderates: false }
    }

    fn info(owner: &str) -> RoomInfo {
        RoomInfo {
            kind: RoomKind::Meeting,
            name: None,
            owner: Some(id(owner)),
            is_locked: false,
            is_calling: false,
            is_spotlight_restricted: false,
            most: 25,
        }
    }

    /// Ada, 1001, in a room that she owns.
    fn room() -> MeetingRoom {
        let mut room = MeetingRoom::new(id("1001"));
        room.joined(&[user("1001", "Ada"), user("1002", "Ben"), user("1003", "Cleo")]);
        assert_eq!(room.changed(&info("1001")), ["you own the meeting: /help lists what you can do"]);
        room
    }

    #[test]
    fn orders_name_whom_they_concern() {
        let room = room();
        let order = |order| room.order(order, Some(&id("1002")));
        let ben = || "ben".to_owned();
        let hand_over = RoomOrder::HandOver { target_uid: id("1002") };
        assert_eq!(order(MeetingOrder::HandOver(ben())), Ok(ClientMessage::Order(hand_over)));
        let assign = RoomOrder::Assign { target_uid: id("1002"), breakout: 2 };
        assert_eq!(order(MeetingOrder::Assign(ben(), 2)), Ok(ClientMessage::Order(assign)));
        assert_eq!(order(MeetingOrder::CallAll), Ok(ClientMessage::CallAll));
        assert!(order(MeetingOrder::HandOver("Dan".into())).unwrap_err().contains("Dan"));
        let kick = room.room_order(TypedOrder::Kick("Cleo".into()), |_| true);
        assert_eq!(kick, Ok(ClientMessage::Order(RoomOrder::Kick { target_uid: id("1003") })));
        let who = room.room_order(TypedOrder::Who, |user| *user == id("1002")).unwrap_err();
        let expected = "in the meeting: Ada (1001), Ben (1002); in the room alone: Cleo (1003); owner: Ada (1001)";
        assert_eq!(who, expected);
    }

    #[test]
    fn the_big_screen_is_ones_own_or_that_of_others_for_the_owner() {
        let spot = |room: &MeetingRoom, spot, large: &str| room.order(MeetingOrder::Spotlight(spot), Some(&id(large)));
        let mut room = room();
        let own = |on| Ok(ClientMessage::Spotlight { on });
        assert_eq!(spot(&room, Spot::Me, "1002"), own(true));
        assert_eq!(spot(&room, Spot::One("Ada".into()), "1002"), own(true));
        assert_eq!(spot(&room, Spot::Off, "1001"), own(false));
        let (show, hide) =
            (RoomOrder::Spotlight { target_uid: id("1003") }, RoomOrder::SpotlightOff { target_uid: id("1002") });
        assert_eq!(spot(&room, Spot::One("Cleo".into()), "1002"), Ok(ClientMessage::Order(show)));
        assert_eq!(spot(&room, Spot::Off, "1002"), Ok(ClientMessage::Order(hide)));
        assert_eq!(room.changed(&info("1002")), ["Ben (1002) owns the meeting now"]);
        assert_eq!(spot(&room, Spot::Off, "1002"), own(false), "no owner any more");
        let locked = RoomInfo { is_locked: true, name: Some("Staff".parse().unwrap()), ..info("1002") };
        let told = ["the meeting is called Staff", "the meeting is locked: nobody else comes in"];
        assert_eq!(room.changed(&locked), told);
        assert!(room.changed(&locked).is_empty());
    }
}
