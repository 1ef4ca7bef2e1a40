//! Chat, hands, reactions and orders at the teacher's terminal. Orders about the members of the room go to the server.

use std::collections::BTreeMap;
use std::time::Instant;

use super::breakouts::LectureBreakouts;
use super::stage_report;
use crate::cli::Teach;
use crate::commands::chat_commands::TeacherInput;
use crate::commands::edges::Edges;
use crate::commands::lecture_talk::{LectureTalk, now_ms};
use crate::commands::membership::{Membership, Reply};
use crate::commands::stage::SpeakerFact;
use crate::commands::stage_orders::{self, StageCommand};
use crate::id::{Nickname, UserId, named};
use crate::protocol::channel::{Allowed, Moderation, PublisherMessage, Stage, Stopped, Viewing};
use crate::protocol::{Breakouts, ClientMessage, RoomOrder, RoomSettings, User};
use crate::report::{Event, Order, Reporter};
use crate::room::talk::{Refusal, StageChange, Talk, TalkOutput};
use crate::sfu::Sfu;

/// The teacher's end of the conversation.
pub(super) struct TeacherTalk {
    teacher: (UserId, Nickname),
    talk: LectureTalk,
    membership: Membership,
    breakouts: LectureBreakouts,
    /// Actions since [`TeacherTalk::take_actions`]. The rules limit how much a room can say.
    actions: Vec<StudentAction>,
    /// Changes of the stage since [`TeacherTalk::take_stage_changes`].
    stage_changes: Vec<StageChange>,
}

/// Something that a student did, for the attendance list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StudentAction {
    /// Wrote a chat message.
    Chatted(UserId),
    /// Raised a hand.
    RaisedHand(UserId),
    /// Reported how much it has seen.
    Viewed(UserId, Viewing),
}

impl TeacherTalk {
    /// A conversation without students, with the teacher's permissions for the class.
    pub(super) fn new(teach: &Teach, settings: RoomSettings, sfu: &Sfu) -> Self {
        let teacher = (teach.user.clone(), teach.nickname.clone());
        let mut talk = LectureTalk::new(teacher.0.clone(), teacher.1.clone());
        talk.change(sfu, |rules| rules.allow(teach.allowed));
        talk.set_stage(teach.stage.most);
        let membership = Membership::new(settings);
        let breakouts = LectureBreakouts::default();
        Self { teacher, talk, membership, breakouts, actions: Vec::new(), stage_changes: Vec::new() }
    }

    /// Tells the students which video sources have stopped.
    pub(super) fn sources_stopped(&mut self, stopped: Stopped, sfu: &Sfu) {
        self.talk.sources_stopped(stopped, sfu);
    }

    /// Asks students how much they have seen.
    pub(super) fn ask_viewing(&mut self, users: Vec<UserId>, sfu: &Sfu) {
        let questions = users.into_iter().map(|user| TalkOutput::To(user, PublisherMessage::ReportViewing));
        self.talk.change(sfu, |_| questions.collect());
    }

    /// The reactions and hands of students since the last call.
    pub(super) fn take_actions(&mut self) -> Vec<StudentAction> {
        std::mem::take(&mut self.actions)
    }

    /// The changes of the stage since the last call, for the media of the speakers.
    pub(super) fn take_stage_changes(&mut self) -> Vec<StageChange> {
        std::mem::take(&mut self.stage_changes)
    }

    /// A fact about the media of a speaker.
    pub(super) fn speaker(&mut self, fact: SpeakerFact, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.talk.speaker(fact, sfu);
        self.report(outputs, reporter);
    }

    /// A user has joined the room.
    pub(super) fn joined(&mut self, user: &User) {
        self.talk.joined(user);
    }

    /// A user has left the room. A user who may return keeps its raised hand.
    pub(super) fn left(&mut self, user: &UserId, may_return: bool, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.talk.left(user, may_return, sfu);
        self.report(outputs, reporter);
    }

    /// The connection of a student is gone. A student who is still in the room keeps its raised hand.
    pub(super) fn disconnected(&mut self, user: &UserId, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.talk.disconnected(user, sfu);
        self.report(outputs, reporter);
    }

    /// A student's data channel is open.
    pub(super) fn channel_opened(&mut self, user: &UserId, sfu: &Sfu) {
        self.talk.channel_opened(user, sfu);
    }

    /// A message has come over a student's data channel.
    pub(super) fn received(&mut self, user: &UserId, text: &str, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.talk.received(user, text, sfu);
        self.report(outputs, reporter);
    }

    /// The teacher has typed a line. Returns a message for the server.
    pub(super) fn typed(&mut self, input: TeacherInput, sfu: &Sfu, reporter: &Reporter) -> Option<ClientMessage> {
        let input = match input {
            TeacherInput::Say(words) => match self.breakouts.says(&words) {
                Some(message) => return Some(message),
                None => TeacherInput::Say(words),
            },
            TeacherInput::Breakouts(order) => {
                let find = |text: &str| self.talk.rules().find(text).map_err(|(_, sentence)| sentence);
                match self.breakouts.order(order, find) {
                    Ok(message) => return Some(message),
                    Err(sentence) => TeacherInput::Advice(sentence),
                }
            }
            input => input,
        };
        match self.obey(input, sfu, reporter) {
            Ok(outputs) => self.report(outputs, reporter),
            Err(Reply::Say(sentence)) => reporter.notice(sentence),
            Err(Reply::Send(order)) => return Some(ClientMessage::Order(order)),
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

    /// The edges of the lecture.
    pub(super) fn edges(&mut self) -> &mut Edges {
        self.talk.edges()
    }

    /// The server tells of the breakout rooms.
    pub(super) fn breakouts_told(&mut self, breakouts: Breakouts, reporter: &Reporter) {
        let names: BTreeMap<&UserId, &str> = self.talk.rules().members().collect();
        let nickname = |user: &UserId| names.get(user).copied().unwrap_or_default();
        let sentences = self.breakouts.told(breakouts, nickname);
        sentences.into_iter().for_each(|sentence| reporter.notice(sentence));
    }

    /// Something has been said in the breakout room that the teacher visits.
    pub(super) fn breakout_said(&self, message: PublisherMessage, reporter: &Reporter) {
        self.breakouts.heard(message).iter().for_each(|event| reporter.event(event));
    }

    /// The rules, to read them.
    pub(super) fn rules(&self) -> &Talk {
        self.talk.rules()
    }

    /// The room as the server described it.
    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Carries out the teacher's typed command. The outputs are for the terminal; a [`Reply`] is for the teacher or the
    /// server.
    fn obey(&mut self, input: TeacherInput, sfu: &Sfu, reporter: &Reporter) -> Result<Vec<TalkOutput>, Reply> {
        let rules = self.talk.rules();
        match input {
            TeacherInput::Say(words) => Ok(self.talk.change(sfu, |rules| rules.teacher_says(now_ms(), &words))),
            TeacherInput::Hands => Err(Reply::Say(self.describe_hands())),
            TeacherInput::Lower(user) => {
                let first = || rules.hands().first().map(|hand| hand.user_id.clone());
                let user_id = user.or_else(first).ok_or_else(|| Reply::Say("no hand is raised".to_owned()))?;
                self.moderate(Moderation::Lower { user_id }, sfu)
            }
            TeacherInput::LowerAll => self.moderate(Moderation::LowerAll, sfu),
            TeacherInput::Order(order) => {
                let order = order.moderation(|user| rules.find(user)).map_err(say)?;
                self.moderate(order, sfu)
            }
            TeacherInput::Stage(StageCommand::List) => {
                let name = |user: &UserId| rules.named(user).to_string();
                Err(Reply::Say(match rules.stage() {
                    Stage { most: 0, .. } => "this lecture has no stage: start it with --stage 2".to_owned(),
                    stage => stage_orders::describe(&stage, name),
                }))
            }
            TeacherInput::Stage(StageCommand::Order(order)) => {
                let first = || stage_orders::first_hand(rules.hands(), &rules.stage()).map_err(Reply::Say);
                let order = order.moderation(first, |user| rules.find(user).map_err(say))?;
                self.moderate(order, sfu)
            }
            TeacherInput::Room(order) => Err(self.membership.typed(order, rules, rand::random())),
            TeacherInput::Muted => Err(Reply::Say(self.describe_muted())),
            TeacherInput::Slow => Ok(self.allow(rules.allowed(), sfu, reporter)),
            TeacherInput::Comments(switch) => {
                let now = rules.allowed();
                Ok(self.allow(Allowed { comments: switch.unwrap_or(now.comments), ..now }, sfu, reporter))
            }
            TeacherInput::Reactions(switch) => {
                let now = rules.allowed();
                Ok(self.allow(Allowed { reactions: switch.unwrap_or(now.reactions), ..now }, sfu, reporter))
            }
            // An order about breakout rooms has gone to the server, and the lecture keeps one about itself.
            TeacherInput::Breakouts(_) | TeacherInput::Lecture(_) => Ok(Vec::new()),
            TeacherInput::Advice(sentence) => Err(Reply::Say(sentence)),
        }
    }

    /// When [`TeacherTalk::tick`] is due.
    pub(super) fn next_tick(&self) -> Option<tokio::time::Instant> {
        self.talk.next_tick()
    }

    /// Sends what is due.
    pub(super) fn tick(&mut self, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.talk.tick(sfu);
        self.report(outputs, reporter);
    }

    /// Changes what the class may do. Reports the state even if nothing changes, because the teacher asked.
    fn allow(&mut self, allowed: Allowed, sfu: &Sfu, reporter: &Reporter) -> Vec<TalkOutput> {
        report_allowed(allowed, reporter);
        self.talk.change(sfu, |rules| rules.allow(allowed))
    }

    fn moderate(&mut self, order: Moderation, sfu: &Sfu) -> Result<Vec<TalkOutput>, Reply> {
        let (teacher, mut refused) = (&self.teacher.0, None);
        let outputs = self.talk.change(sfu, |rules| {
            let obeyed = rules.moderate(Instant::now(), now_ms(), teacher, order);
            obeyed.unwrap_or_else(|refusal| {
                refused = Some(refusal);
                Vec::new()
            })
        });
        refused.map_or(Ok(outputs), |refusal| Err(say(refusal)))
    }

    fn report(&mut self, outputs: Vec<TalkOutput>, reporter: &Reporter) {
        for output in outputs {
            match output {
                // These have been sent.
                TalkOutput::To(..) | TalkOutput::All(_) | TalkOutput::Receive(..) => {}
                TalkOutput::Viewed(user, viewing) => self.actions.push(StudentAction::Viewed(user, viewing)),
                TalkOutput::Stage(change) => {
                    reporter.event(&stage_report::event(&change));
                    self.stage_changes.push(change);
                }
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
                        to: None,
                    });
                }
                TalkOutput::Hand { user, nickname, raised } => {
                    if raised {
                        self.actions.push(StudentAction::RaisedHand(user.clone()));
                    }
                    let hands = self.talk.rules().hands().iter().map(|hand| hand.user_id.clone()).collect();
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
                        report_allowed(self.talk.rules().allowed(), reporter);
                    }
                }
                TalkOutput::Reacted { user, nickname, reaction } => {
                    reporter.event(&Event::Reaction { user, nickname: nickname.into(), reaction: reaction.name() });
                }
            }
        }
    }

    fn describe_muted(&self) -> String {
        let rules = self.talk.rules();
        let names: Vec<String> = rules.exceptions().iter().map(ToString::to_string).collect();
        match (rules.allowed().chat, names.join(", ")) {
            (true, names) if names.is_empty() => "nobody is muted".to_owned(),
            (true, names) => format!("muted: {names}"),
            (false, names) if names.is_empty() => "everybody is muted".to_owned(),
            (false, names) => format!("everybody is muted but {names}"),
        }
    }

    fn describe_hands(&self) -> String {
        let hands: Vec<String> = self
            .talk
            .rules()
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
        Moderation::Stage { .. } => Order::Stage,
        Moderation::OffStage { .. } => Order::OffStage,
        Moderation::ClearStage => Order::ClearStage,
        Moderation::Spotlight { .. } => Order::Spotlight,
        Moderation::SpotlightOff => Order::SpotlightOff,
        Moderation::OpenFloor => Order::OpenFloor,
        Moderation::CloseFloor => Order::CloseFloor,
    }
}
