//! Chat, hands and reactions at the teacher's end: applies the rules of [`crate::room::talk`] and sends the results
//! over the SFU's data channels.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::commands::chat_commands::TeacherInput;
use crate::id::{Nickname, UserId, named};
use crate::protocol::User;
use crate::protocol::channel::{Allowed, Moderation, Stopped};
use crate::report::{Event, Order, Reporter};
use crate::room::talk::{Talk, TalkOutput};
use crate::sfu::Sfu;

/// The teacher's end of the conversation.
pub(super) struct TeacherTalk {
    teacher: UserId,
    rules: Talk,
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
    pub(super) fn new(teacher: UserId, nickname: Nickname, allowed: Allowed) -> Self {
        let mut rules = Talk::new(teacher.clone(), nickname);
        // There is no student yet who would need the outputs.
        rules.allow(allowed);
        Self { teacher, rules, present: HashSet::new(), actions: Vec::new() }
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

    /// The teacher has typed a line.
    pub(super) fn typed(&mut self, line: &str, sfu: &Sfu, reporter: &Reporter) {
        let outputs = match TeacherInput::parse(line) {
            TeacherInput::Say(words) => self.rules.teacher_says(now_ms(), &words),
            TeacherInput::Hands => {
                reporter.notice(self.describe_hands());
                return;
            }
            TeacherInput::Lower(user) => {
                let first = || self.rules.hands().first().map(|hand| hand.user_id.clone());
                let Some(user_id) = user.or_else(first) else { return reporter.notice("no hand is raised") };
                self.order(Moderation::Lower { user_id }, reporter)
            }
            TeacherInput::LowerAll => self.order(Moderation::LowerAll, reporter),
            TeacherInput::Order(order) => match order.moderation(|user| self.rules.find(user)) {
                Ok(order) => self.order(order, reporter),
                Err((_, sentence)) => return reporter.notice(sentence),
            },
            TeacherInput::Muted => return reporter.notice(self.describe_muted()),
            TeacherInput::Slow => self.allow(self.rules.allowed(), reporter),
            TeacherInput::Comments(switch) => {
                let now = self.rules.allowed();
                self.allow(Allowed { comments: switch.unwrap_or(now.comments), ..now }, reporter)
            }
            TeacherInput::Reactions(switch) => {
                let now = self.rules.allowed();
                self.allow(Allowed { reactions: switch.unwrap_or(now.reactions), ..now }, reporter)
            }
            TeacherInput::Advice(sentence) => return reporter.notice(sentence),
        };
        self.apply(outputs, sfu, reporter);
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

    /// Obeys an order that the teacher typed, or says why not.
    fn order(&mut self, order: Moderation, reporter: &Reporter) -> Vec<TalkOutput> {
        self.rules.moderate(Instant::now(), now_ms(), &self.teacher, order).unwrap_or_else(|(_, sentence)| {
            reporter.notice(sentence);
            Vec::new()
        })
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
