//! Chat, hands, reactions and orders at the teacher's end: applies the rules of [`crate::room::talk`] and sends the
//! results over the SFU's data channels. Orders about the members of the room go to the server.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::membership::{Membership, Reply};
use crate::commands::chat_commands::TeacherInput;
use crate::id::{Nickname, UserId, named};
use crate::protocol::channel::{Allowed, Moderation, Stopped};
use crate::protocol::{RoomOrder, RoomSettings, User};
use crate::report::{Event, Order, Reporter};
use crate::room::talk::{Refusal, Talk, TalkOutput};
use crate::sfu::Sfu;

/// The teacher's end of the conversation.
pub(super) struct TeacherTalk {
    teacher: (UserId, Nickname),
    rules: Talk,
    membership: Membership,
    /// The users in the room, as signalling sees it. Others may still have a data channel.
    present: HashSet<UserId>,
    /// Actions since [`TeacherTalk::take_actions`]. The rules limit how much a room can say.
    actions: Vec<StudentAction>,
}

/// Something that a student did, for the attendance list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StudentAction {
    /// Wrote a chat message.
    Chatted(UserId),
    /// Raised a hand.
    RaisedHand(UserId),
}

impl TeacherTalk {
    pub(super) fn new(teacher: UserId, nickname: Nickname, allowed: Allowed, settings: RoomSettings) -> Self {
        let mut rules = Talk::new(teacher.clone(), nickname.clone());
        // There is no student yet who would need the outputs.
        rules.allow(allowed);
        Self {
            teacher: (teacher, nickname),
            rules,
            membership: Membership::new(settings),
            present: HashSet::new(),
            actions: Vec::new(),
        }
    }

    /// Tells the students which video sources have stopped.
    pub(super) fn sources_stopped(&mut self, stopped: Stopped, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.stopped(stopped);
        self.apply(outputs, sfu, reporter);
    }

    /// The reactions and hands of students since the last call.
    pub(super) fn take_actions(&mut self) -> Vec<StudentAction> {
        std::mem::take(&mut self.actions)
    }

    /// A user has joined the room.
    pub(super) fn joined(&mut self, user: &User) {
        self.present.insert(user.user_id.clone());
        self.rules.joined(user);
    }

    /// A user has left the room. A user who may return keeps its raised hand.
    pub(super) fn left(&mut self, user: &UserId, may_return: bool, sfu: &Sfu, reporter: &Reporter) {
        self.present.remove(user);
        if !may_return {
            self.forget(user, sfu, reporter);
        }
    }

    /// The connection of a student is gone. A student who is still in the room keeps its raised hand.
    pub(super) fn disconnected(&mut self, user: &UserId, sfu: &Sfu, reporter: &Reporter) {
        if !self.present.contains(user) {
            self.forget(user, sfu, reporter);
        }
    }

    /// A student's data channel is open.
    pub(super) fn channel_opened(&mut self, user: &UserId, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.opened(user);
        self.apply(outputs, sfu, reporter);
    }

    /// A message has come over a student's data channel.
    pub(super) fn received(&mut self, user: &UserId, text: &str, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.heard(Instant::now(), now_ms(), user, text);
        self.apply(outputs, sfu, reporter);
    }

    /// The teacher has typed a line. Returns an order for the server.
    pub(super) fn typed(&mut self, line: &str, sfu: &Sfu, reporter: &Reporter) -> Option<RoomOrder> {
        match self.obey(TeacherInput::parse(line), reporter) {
            Ok(outputs) => self.apply(outputs, sfu, reporter),
            Err(Reply::Say(sentence)) => reporter.notice(sentence),
            Err(Reply::Send(order)) => return Some(order),
        }
        None
    }

    /// The server tells who waits for admission.
    pub(super) fn lobby_changed(&mut self, users: Vec<User>, count: usize, reporter: &Reporter) {
        self.membership.lobby_changed(users, count, reporter);
    }

    /// The server carried out an order. `nickname` gives the names of members, also of those who are put out.
    pub(super) fn ordered(
        &mut self,
        by: UserId,
        order: &RoomOrder,
        nickname: impl Fn(&UserId) -> Nickname,
        reporter: &Reporter,
    ) {
        let by_nickname = if by == self.teacher.0 { self.teacher.1.clone() } else { nickname(&by) };
        self.membership.ordered((by, by_nickname), order, nickname, reporter);
    }

    /// The room as the server described it.
    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Does what the teacher typed. The outputs are for the students; a [`Reply`] is for the teacher or the server.
    fn obey(&mut self, input: TeacherInput, reporter: &Reporter) -> Result<Vec<TalkOutput>, Reply> {
        match input {
            TeacherInput::Say(words) => Ok(self.rules.teacher_says(now_ms(), &words)),
            TeacherInput::Hands => Err(Reply::Say(self.describe_hands())),
            TeacherInput::Lower(user) => {
                let first = || self.rules.hands().first().map(|hand| hand.user_id.clone());
                let user_id = user.or_else(first).ok_or_else(|| Reply::Say("no hand is raised".to_owned()))?;
                self.moderate(Moderation::Lower { user_id })
            }
            TeacherInput::LowerAll => self.moderate(Moderation::LowerAll),
            TeacherInput::Order(order) => self.moderate(order.moderation(|user| self.rules.find(user)).map_err(say)?),
            TeacherInput::Room(order) => Err(self.membership.typed(order, &self.rules, rand::random())),
            TeacherInput::Muted => Err(Reply::Say(self.describe_muted())),
            TeacherInput::Slow => Ok(self.allow(self.rules.allowed(), reporter)),
            TeacherInput::Comments(switch) => {
                let now = self.rules.allowed();
                Ok(self.allow(Allowed { comments: switch.unwrap_or(now.comments), ..now }, reporter))
            }
            TeacherInput::Reactions(switch) => {
                let now = self.rules.allowed();
                Ok(self.allow(Allowed { reactions: switch.unwrap_or(now.reactions), ..now }, reporter))
            }
            TeacherInput::Advice(sentence) => Err(Reply::Say(sentence)),
        }
    }

    /// When [`TeacherTalk::tick`] is due.
    pub(super) fn next_tick(&self) -> Option<tokio::time::Instant> {
        self.rules.next_tick().map(Into::into)
    }

    /// Sends what is due.
    pub(super) fn tick(&mut self, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.tick(Instant::now());
        self.apply(outputs, sfu, reporter);
    }

    /// Changes what the class may do. Reports the state even if nothing changes, because the teacher asked.
    fn allow(&mut self, allowed: Allowed, reporter: &Reporter) -> Vec<TalkOutput> {
        report_allowed(allowed, reporter);
        self.rules.allow(allowed)
    }

    fn moderate(&mut self, order: Moderation) -> Result<Vec<TalkOutput>, Reply> {
        self.rules.moderate(Instant::now(), now_ms(), &self.teacher.0, order).map_err(say)
    }

    fn forget(&mut self, user: &UserId, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.left(Instant::now(), user);
        self.apply(outputs, sfu, reporter);
    }

    fn apply(&mut self, outputs: Vec<TalkOutput>, sfu: &Sfu, reporter: &Reporter) {
        for output in outputs {
            match output {
                TalkOutput::To(user, message) => sfu.tell(user, &message.to_json()),
                TalkOutput::All(message) => sfu.tell_all(&message.to_json()),
                TalkOutput::Said(message) => {
                    if !message.publishes {
                        self.actions.push(StudentAction::Chatted(message.user_id.clone()));
                    }
                    reporter.event(&Event::Chat {
                        id: message.id,
                        user: message.user_id,
                        nickname: message.nickname.into(),
                        teacher: message.publishes,
                        text: message.text.into(),
                    });
                }
                TalkOutput::Hand { user, nickname, raised } => {
                    if raised {
                        self.actions.push(StudentAction::RaisedHand(user.clone()));
                    }
                    let hands = self.rules.hands().iter().map(|hand| hand.user_id.clone()).collect();
                    reporter.event(&Event::Hand { user, nickname: nickname.into(), raised, hands });
                }
                TalkOutput::Ordered { by, by_nickname, order, nickname } => {
                    reporter.event(&Event::Order {
                        by,
                        by_nickname: by_nickname.into(),
                        order: reported(&order),
                        user: order.user().cloned(),
                        nickname: nickname.map(Into::into),
                        code: None,
                    });
                    if let Moderation::Slow { .. } | Moderation::MuteAll | Moderation::UnmuteAll = order {
                        report_allowed(self.rules.allowed(), reporter);
                    }
                }
                TalkOutput::Reacted { user, nickname, reaction } => {
                    reporter.event(&Event::Reaction { user, nickname: nickname.into(), reaction: reaction.name() });
                }
            }
        }
    }

    fn describe_muted(&self) -> String {
        let names: Vec<String> = self.rules.exceptions().iter().map(ToString::to_string).collect();
        match (self.rules.allowed().chat, names.join(", ")) {
            (true, names) if names.is_empty() => "nobody is muted".to_owned(),
            (true, names) => format!("muted: {names}"),
            (false, names) if names.is_empty() => "everybody is muted".to_owned(),
            (false, names) => format!("everybody is muted but {names}"),
        }
    }

    fn describe_hands(&self) -> String {
        let hands: Vec<String> = self
            .rules
            .hands()
            .iter()
            .enumerate()
            .map(|(n, hand)| format!("{}. {}", n + 1, named(&hand.user_id, hand.nickname.as_str())))
            .collect();
        if hands.is_empty() { "no hand is raised".to_owned() } else { format!("raised hands: {}", hands.join(", ")) }
    }
}

/// A refusal, for the teacher who gave the order.
fn say((_, sentence): Refusal) -> Reply {
    Reply::Say(sentence)
}

fn report_allowed(Allowed { comments, reactions, chat, slow_ms, .. }: Allowed, reporter: &Reporter) {
    reporter.event(&Event::Allowed { comments, reactions, chat, slow_ms });
}

/// The order's name in an event.
fn reported(order: &Moderation) -> Order {
    match order {
        Moderation::Mute { .. } => Order::Mute,
        Moderation::MuteAll => Order::MuteAll,
        Moderation::Unmute { .. } => Order::Unmute,
        Moderation::UnmuteAll => Order::UnmuteAll,
        Moderation::Clear => Order::Clear,
        Moderation::Slow { .. } => Order::Slow,
        Moderation::Lower { .. } => Order::Lower,
        Moderation::LowerAll => Order::LowerAll,
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}
