//! The members of a room at the end of those who give orders, the teacher or the owner of a meeting: turns typed
//! commands into orders for the server, and reports which orders the server carried out.

use crate::access::JoinCode;
use crate::commands::people::listed;
use crate::commands::room_orders::{TypedCode, TypedOrder, Whom};
use crate::id::{Nickname, UserId, count_of_students};
use crate::protocol::{MAX_BANNED, RoomOrder, RoomSettings, User};
use crate::report::{Event, Order, Reporter, Waiting};
use crate::room::talk::Talk;

/// The room as the server last described it.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The settings with which the publisher came.
    initial: RoomSettings,
    settings: RoomSettings,
    /// The clients that wait for admission; of many, those who have waited longest.
    waiting: Vec<User>,
    /// The number of all that wait.
    waiting_count: usize,
}

/// The consequence of a typed command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Send this to the server.
    Send(RoomOrder),
    /// Tell the teacher this.
    Say(String),
}

/// The members of a room, as typed commands name them.
pub(super) trait People {
    /// The member with this id, or the only one with this nickname. The error is a sentence.
    fn find(&self, text: &str) -> Result<UserId, String>;

    /// The members with their nicknames.
    fn members(&self) -> Vec<(&UserId, &str)>;
}

impl People for Talk {
    fn find(&self, text: &str) -> Result<UserId, String> {
        Self::find(self, text).map_err(|(_, sentence)| sentence)
    }

    fn members(&self) -> Vec<(&UserId, &str)> {
        Self::members(self).collect()
    }
}

/// Somebody with a name, for the report of an order.
pub(super) type Person = (UserId, Nickname);

impl Membership {
    /// A room with the settings that its publisher gives it.
    pub(super) fn new(settings: RoomSettings) -> Self {
        Self { initial: settings.clone(), settings, ..Self::default() }
    }

    /// The settings for a server that has restarted: the first settings of the lecture, so that the class can come
    /// back, and the students who were put out since.
    pub(super) fn after_restart(&self) -> RoomSettings {
        RoomSettings { banned: self.settings.banned.clone(), ..self.initial.clone() }
    }

    /// The orders that such a server lacks, once the class is back.
    pub(super) fn orders_after_restart(&self) -> Vec<RoomOrder> {
        let RoomSettings { code, lobby, locked, .. } = self.settings.clone();
        let orders = [
            (code != self.initial.code).then_some(RoomOrder::Code { code }),
            (lobby != self.initial.lobby).then_some(RoomOrder::Lobby { lobby }),
            (locked != self.initial.locked).then_some(RoomOrder::Lock { locked }),
        ];
        orders.into_iter().flatten().collect()
    }

    /// Remembers a student who was put out. Of many, the first one is forgotten.
    fn put_out(&mut self, user: &UserId) {
        let banned = &mut self.settings.banned;
        banned.retain(|other| other != user);
        banned.push(user.clone());
        if banned.len() > MAX_BANNED {
            banned.remove(0);
        }
    }

    /// Interprets a command; `random` makes a new join code.
    pub(super) fn typed(&self, order: TypedOrder, people: &impl People, random: u64) -> Reply {
        let member = |text: &str| people.find(text);
        // Somebody who has left can be named by id.
        let anybody = |text: &str| member(text).or_else(|sentence| text.parse().map_err(|_| sentence));
        let order = match order {
            TypedOrder::Kick(text) => member(&text).map(|target_uid| RoomOrder::Kick { target_uid }),
            TypedOrder::Ban(text) => anybody(&text).map(|target_uid| RoomOrder::Ban { target_uid }),
            TypedOrder::Unban(text) => {
                let not_an_id = |error| format!("/unban needs the id of the user: {error}");
                text.parse().map(|target_uid| RoomOrder::Unban { target_uid }).map_err(not_an_id)
            }
            TypedOrder::Lock(locked) => Ok(RoomOrder::Lock { locked }),
            TypedOrder::Lobby(Some(lobby)) => Ok(RoomOrder::Lobby { lobby }),
            TypedOrder::Lobby(None) => return Reply::Say(self.describe_lobby()),
            TypedOrder::Admit(Whom::All) => Ok(RoomOrder::Admit { target_uid: None }),
            TypedOrder::Admit(Whom::One(text)) => {
                self.find_waiting(&text).map(|user| RoomOrder::Admit { target_uid: Some(user) })
            }
            TypedOrder::Deny(text) => self.find_waiting(&text).map(|target_uid| RoomOrder::Deny { target_uid }),
            TypedOrder::Code(TypedCode::Show) => return Reply::Say(self.describe_code()),
            TypedOrder::Code(TypedCode::New) => Ok(code(Some(&JoinCode::digits(random)))),
            TypedOrder::Code(TypedCode::Set(set)) => Ok(code(Some(&set))),
            TypedOrder::Code(TypedCode::Off) => Ok(code(None)),
            TypedOrder::Who => return Reply::Say(self.describe_members(people)),
        };
        order.map_or_else(Reply::Say, Reply::Send)
    }

    /// The server tells who waits for admission.
    pub(super) fn lobby_changed(&mut self, users: Vec<User>, count: usize, reporter: &Reporter) {
        let waiting = users
            .iter()
            .map(|user| Waiting { user: user.user_id.clone(), nickname: user.nickname.as_str().to_owned() });
        reporter.event(&Event::Lobby { waiting: waiting.collect(), count });
        (self.waiting, self.waiting_count) = (users, count);
    }

    /// The server carried out an order. `nickname` gives the names of members.
    pub(super) fn ordered(
        &mut self,
        (by, by_nickname): Person,
        order: &RoomOrder,
        nickname: impl Fn(&UserId) -> Nickname,
        reporter: &Reporter,
    ) {
        match order {
            RoomOrder::Kick { target_uid } | RoomOrder::Ban { target_uid } | RoomOrder::Deny { target_uid } => {
                self.put_out(target_uid);
            }
            RoomOrder::Unban { target_uid } => self.settings.banned.retain(|user| user != target_uid),
            _ => {}
        }
        let (order, user) = match order {
            RoomOrder::Kick { target_uid } => (Order::Kick, Some(target_uid)),
            RoomOrder::Ban { target_uid } => (Order::Ban, Some(target_uid)),
            RoomOrder::Unban { target_uid } => (Order::Unban, Some(target_uid)),
            RoomOrder::Deny { target_uid } => (Order::Deny, Some(target_uid)),
            RoomOrder::Admit { target_uid: Some(user) } => (Order::Admit, Some(user)),
            RoomOrder::Admit { target_uid: None } => (Order::AdmitAll, None),
            RoomOrder::Lock { locked } => {
                self.settings.locked = *locked;
                (if *locked { Order::Lock } else { Order::Unlock }, None)
            }
            RoomOrder::Lobby { lobby } => {
                self.settings.lobby = *lobby;
                (if *lobby { Order::LobbyOn } else { Order::LobbyOff }, None)
            }
            RoomOrder::Code { code } => {
                self.settings.code.clone_from(code);
                (if code.is_some() { Order::Code } else { Order::CodeOff }, None)
            }
            // The orders of meetings.
            RoomOrder::MuteMicrophone { target_uid: None } => (Order::MuteMicrophones, None),
            RoomOrder::MuteMicrophone { target_uid } => (Order::MuteMicrophone, target_uid.as_ref()),
            RoomOrder::Rename { .. } => (Order::Rename, None),
            RoomOrder::HandOver { target_uid } => (Order::HandOver, Some(target_uid)),
            RoomOrder::RestrictSpotlight { restricted } => {
                (if *restricted { Order::RestrictSpotlight } else { Order::FreeSpotlight }, None)
            }
            RoomOrder::End => (Order::End, None),
            RoomOrder::Split { .. } => (Order::Split, None),
            RoomOrder::Assign { target_uid, .. } => (Order::Assign, Some(target_uid)),
            RoomOrder::Recall { .. } => (Order::Recall, None),
            // The list of participants says who is large; every member gets the sentence of an announcement, and the
            // names of breakout rooms.
            RoomOrder::Spotlight { .. }
            | RoomOrder::SpotlightOff { .. }
            | RoomOrder::Announce { .. }
            | RoomOrder::NameBreakout { .. } => return,
        };
        let waits = |user: &UserId| self.waiting.iter().find(|other| other.user_id == *user);
        let name = |user: &UserId| waits(user).map_or_else(|| nickname(user), |user| user.nickname.clone());
        reporter.event(&Event::Order {
            by,
            by_nickname: by_nickname.into(),
            order,
            user: user.cloned(),
            nickname: user.map(|user| name(user).into()),
            code: if order == Order::Code { self.settings.code.clone() } else { None },
        });
    }

    /// The client that waits with this id, or the only one with this nickname.
    fn find_waiting(&self, text: &str) -> Result<UserId, String> {
        if let Ok(user) = text.parse::<UserId>()
            && (self.waiting.iter().any(|other| other.user_id == user) || self.waiting_count > self.waiting.len())
        {
            return Ok(user);
        }
        let wanted = text.to_lowercase();
        let is_wanted = |user: &&User| user.nickname.as_str().to_lowercase() == wanted;
        let users: Vec<&User> = self.waiting.iter().filter(is_wanted).collect();
        match users.as_slice() {
            [] => Err(format!("nobody waits with the id or the name {text}")),
            [user] => Ok(user.user_id.clone()),
            several => {
                let ids: Vec<&str> = several.iter().map(|user| user.user_id.as_str()).collect();
                Err(format!("{} are called {text}, give an id: {}", count_of_students(ids.len()), ids.join(", ")))
            }
        }
    }

    fn describe_code(&self) -> String {
        match &self.settings.code {
            None => "the room has no join code".to_owned(),
            Some(code) => {
                let shown = code.parse::<JoinCode>().map_or_else(|_| code.clone(), |code| code.shown());
                format!("the join code is {shown}")
            }
        }
    }

    fn describe_lobby(&self) -> String {
        let state = if self.settings.lobby { "newcomers wait for you" } else { "newcomers come in without waiting" };
        let names = self.waiting.iter().map(|user| (&user.user_id, user.nickname.as_str()));
        match self.waiting_count {
            0 => format!("{state}; nobody waits"),
            count => format!("{state}; {} waiting: {}", count_of_students(count), listed(names, count)),
        }
    }

    fn describe_members(&self, people: &impl People) -> String {
        let mut members = people.members();
        members.sort_unstable();
        let count = members.len();
        let is_locked = if self.settings.locked { ", the room is locked" } else { "" };
        let names = match count {
            0 => String::new(),
            _ => format!(": {}", listed(members.into_iter(), count)),
        };
        let lobby = match self.waiting_count {
            0 => String::new(),
            count => format!("; {} waiting", count_of_students(count)),
        };
        format!("{} in the room{is_locked}{names}{lobby}", count_of_students(count))
    }
}

fn code(code: Option<&JoinCode>) -> RoomOrder {
    RoomOrder::Code { code: code.map(|code| code.as_str().to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str, nickname: &str) -> User {
        User {
            user_id: id.parse().unwrap(),
            nickname: nickname.into(),
            publishes: false,
            epoch: 0,
            client: None,
            moderates: false,
        }
    }

    fn room() -> (Membership, Talk) {
        let mut rules = Talk::new("9999".parse().unwrap(), "Ms Li".into());
        for (id, nickname) in [("1001", "Anna"), ("1002", "Ben"), ("1003", "Ben")] {
            rules.joined(&user(id, nickname));
        }
        let waiting = vec![user("1004", "Cleo"), user("1005", "Dan"), user("1006", "Dan")];
        (Membership { waiting_count: waiting.len(), waiting, ..Membership::default() }, rules)
    }

    #[test]
    fn a_command_becomes_an_order_about_one_member() {
        let (room, rules) = room();
        let typed = |order| room.typed(order, &rules, 0);
        let id = |text: &str| text.parse::<UserId>().unwrap();
        for text in ["1001", "anna"] {
            assert_eq!(typed(TypedOrder::Kick(text.into())), Reply::Send(RoomOrder::Kick { target_uid: id("1001") }));
            assert_eq!(typed(TypedOrder::Ban(text.into())), Reply::Send(RoomOrder::Ban { target_uid: id("1001") }));
        }
        assert!(matches!(typed(TypedOrder::Kick("1009".into())), Reply::Say(_)), "nobody to put out");
        assert_eq!(typed(TypedOrder::Ban("1009".into())), Reply::Send(RoomOrder::Ban { target_uid: id("1009") }));
        assert_eq!(typed(TypedOrder::Unban("1009".into())), Reply::Send(RoomOrder::Unban { target_uid: id("1009") }));
        assert!(
            matches!(typed(TypedOrder::Kick("Ben".into())), Reply::Say(sentence) if sentence.contains("1002, 1003"))
        );
        assert!(matches!(typed(TypedOrder::Unban("An na".into())), Reply::Say(_)));
        for text in ["1004", "cleo"] {
            let admit = RoomOrder::Admit { target_uid: Some(id("1004")) };
            assert_eq!(typed(TypedOrder::Admit(Whom::One(text.into()))), Reply::Send(admit));
            assert_eq!(typed(TypedOrder::Deny(text.into())), Reply::Send(RoomOrder::Deny { target_uid: id("1004") }));
        }
        let all = RoomOrder::Admit { target_uid: None };
        assert_eq!(typed(TypedOrder::Admit(Whom::All)), Reply::Send(all));
        assert!(
            matches!(typed(TypedOrder::Deny("Dan".into())), Reply::Say(sentence) if sentence.contains("1005, 1006"))
        );
        assert!(matches!(typed(TypedOrder::Deny("1001".into())), Reply::Say(_)), "a member does not wait");
    }

    #[test]
    fn a_server_that_has_restarted_gets_the_bans_at_once_and_the_other_orders_later() {
        let initial = RoomSettings { code: Some("472913".into()), ..RoomSettings::default() };
        let mut room = Membership::new(initial.clone());
        let reporter = Reporter::new(crate::report::Output::Human, crate::report::Verbosity::Quiet, None);
        let id = |n: usize| format!("{n}").parse::<UserId>().unwrap();
        let mut order = |order| room.ordered((id(9999), "Ms Li".into()), &order, |_| "".into(), &reporter);
        for n in 0..MAX_BANNED + 2 {
            order(RoomOrder::Ban { target_uid: id(n) });
        }
        order(RoomOrder::Kick { target_uid: id(2) });
        order(RoomOrder::Unban { target_uid: id(3) });
        order(RoomOrder::Lock { locked: true });
        order(RoomOrder::Code { code: None });
        let RoomSettings { banned, .. } = room.after_restart();
        assert_eq!(room.after_restart(), RoomSettings { banned: banned.clone(), ..initial });
        assert_eq!((banned.len(), banned.first(), banned.last()), (MAX_BANNED - 1, Some(&id(4)), Some(&id(2))));
        assert_eq!(room.orders_after_restart(), [RoomOrder::Code { code: None }, RoomOrder::Lock { locked: true }]);
        let unchanged = Membership::new(RoomSettings { lobby: true, ..RoomSettings::default() });
        assert_eq!(unchanged.orders_after_restart(), []);
    }

    #[test]
    fn of_a_long_lobby_everybody_can_be_admitted_by_id() {
        let (mut room, rules) = room();
        room.waiting_count = 500;
        let admit = room.typed(TypedOrder::Admit(Whom::One("1400".into())), &rules, 0);
        assert_eq!(admit, Reply::Send(RoomOrder::Admit { target_uid: Some("1400".parse().unwrap()) }));
        let Reply::Say(sentence) = room.typed(TypedOrder::Lobby(None), &rules, 0) else { panic!() };
        assert!(sentence.ends_with("Dan (1006), and 497 more"), "{sentence}");
    }

    #[test]
    fn the_state_of_the_room_is_told() {
        let (mut room, rules) = room();
        let reporter = Reporter::new(crate::report::Output::Human, crate::report::Verbosity::Quiet, None);
        let say = |room: &Membership, order| match room.typed(order, &rules, 7) {
            Reply::Say(sentence) => sentence,
            other => panic!("{other:?}"),
        };
        assert_eq!(say(&room, TypedOrder::Code(TypedCode::Show)), "the room has no join code");
        let new = room.typed(TypedOrder::Code(TypedCode::New), &rules, 7);
        let Reply::Send(order) = new else { panic!("{new:?}") };
        let teacher = || ("9999".parse().unwrap(), "Ms Li".into());
        for order in [order, RoomOrder::Lock { locked: true }, RoomOrder::Lobby { lobby: true }] {
            room.ordered(teacher(), &order, |_| "".into(), &reporter);
        }
        assert_eq!(say(&room, TypedOrder::Code(TypedCode::Show)), "the join code is 000 007");
        let who = say(&room, TypedOrder::Who);
        assert_eq!(
            who,
            "3 students in the room, the room is locked: Anna (1001), Ben (1002), Ben (1003); 3 students waiting"
        );
        let lobby = say(&room, TypedOrder::Lobby(None));
        assert_eq!(lobby, "newcomers wait for you; 3 students waiting: Cleo (1004), Dan (1005), Dan (1006)");
        room.lobby_changed(Vec::new(), 0, &reporter);
        room.ordered(teacher(), &RoomOrder::Lobby { lobby: false }, |_| "".into(), &reporter);
        assert_eq!(say(&room, TypedOrder::Lobby(None)), "newcomers come in without waiting; nobody waits");
    }
}
