//! The teacher's end of the conversation: passes it on by the SFU, and tells the teacher.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::commands::lines::TeacherLine;
use crate::id::{Nickname, UserId, named};
use crate::protocol::User;
use crate::protocol::channel::{Allowed, Stopped};
use crate::report::{Event, Reporter};
use crate::room::talk::{Talk, TalkOutput};
use crate::sfu::Sfu;

/// Who talks, and who is there to.
pub(super) struct Conversation {
    rules: Talk,
    /// Who is in the room, by signalling; media may stand without it.
    present: HashSet<UserId>,
    /// What students did since [`Conversation::take_deeds`]; the rules bound how much a room says.
    deeds: Vec<Deed>,
}

/// Something that a student did, for the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Wrote a chat message.
    Said(UserId),
    /// Raised a hand.
    RaisedHand(UserId),
}

impl Conversation {
    pub(super) fn new(teacher: UserId, nickname: Nickname, allowed: Allowed) -> Self {
        let mut rules = Talk::new(teacher, nickname);
        // Nobody is there yet to be told.
        rules.allow(allowed);
        Self { rules, present: HashSet::new(), deeds: Vec::new() }
    }

    /// Other sources of pictures have stopped than before.
    pub(super) fn stopped(&mut self, stopped: Stopped, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.stopped(stopped);
        self.apply(outputs, sfu, reporter);
    }

    /// What students did since the last time.
    pub(super) fn take_deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    /// Signalling says who is there.
    pub(super) fn joined(&mut self, user: &User) {
        self.present.insert(user.user_id.clone());
        self.rules.joined(user);
    }

    /// Somebody is not in the room any more; `watches` says whether media still stands, so that it may be back.
    pub(super) fn left(&mut self, user: &UserId, watches: bool, sfu: &Sfu, reporter: &Reporter) {
        self.present.remove(user);
        if !watches {
            self.forget(user, sfu, reporter);
        }
    }

    /// A student's media is gone. Who still is in the room keeps its place in the row of hands.
    pub(super) fn gone(&mut self, user: &UserId, sfu: &Sfu, reporter: &Reporter) {
        if !self.present.contains(user) {
            self.forget(user, sfu, reporter);
        }
    }

    pub(super) fn opened(&mut self, user: &UserId, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.opened(user);
        self.apply(outputs, sfu, reporter);
    }

    pub(super) fn heard(&mut self, user: &UserId, text: &str, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.heard(Instant::now(), now_ms(), user, text);
        self.apply(outputs, sfu, reporter);
    }

    /// The teacher typed a line.
    pub(super) fn typed(&mut self, line: &str, sfu: &Sfu, reporter: &Reporter) {
        let now = Instant::now();
        let outputs = match TeacherLine::parse(line) {
            TeacherLine::Say(words) => self.rules.teacher_says(now_ms(), &words),
            TeacherLine::Hands => {
                reporter.notice(self.describe_hands());
                return;
            }
            TeacherLine::Lower(user) => {
                let Some(user) = user.or_else(|| self.rules.hands().first().map(|hand| hand.user_id.clone())) else {
                    return reporter.notice("no hand is up");
                };
                let outputs = self.rules.lower(now, &user);
                if outputs.is_empty() {
                    reporter.notice(format!("the hand of {} is not up", self.rules.named(&user)));
                }
                outputs
            }
            TeacherLine::LowerAll => {
                let users: Vec<UserId> = self.rules.hands().iter().map(|hand| hand.user_id.clone()).collect();
                users.iter().flat_map(|user| self.rules.lower(now, user)).collect()
            }
            TeacherLine::Comments(switch) => {
                let now = self.rules.allowed();
                self.allow(Allowed { comments: switch.unwrap_or(now.comments), ..now }, reporter)
            }
            TeacherLine::Reactions(switch) => {
                let now = self.rules.allowed();
                self.allow(Allowed { reactions: switch.unwrap_or(now.reactions), ..now }, reporter)
            }
            TeacherLine::Advice(sentence) => return reporter.notice(sentence),
        };
        self.apply(outputs, sfu, reporter);
    }

    /// When [`Conversation::tick`] is due.
    pub(super) fn next_tick(&self) -> Option<tokio::time::Instant> {
        self.rules.next_tick().map(Into::into)
    }

    pub(super) fn tick(&mut self, sfu: &Sfu, reporter: &Reporter) {
        let outputs = self.rules.tick(Instant::now());
        self.apply(outputs, sfu, reporter);
    }

    /// Changes what the class may do, and says in any case how it is.
    fn allow(&mut self, allowed: Allowed, reporter: &Reporter) -> Vec<TalkOutput> {
        let Allowed { comments, reactions } = allowed;
        reporter.event(&Event::Allowed { comments, reactions });
        self.rules.allow(allowed)
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
                        self.deeds.push(Deed::Said(message.user_id.clone()));
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
                        self.deeds.push(Deed::RaisedHand(user.clone()));
                    }
                    let hands = self.rules.hands().iter().map(|hand| hand.user_id.clone()).collect();
                    reporter.event(&Event::Hand { user, nickname: nickname.into(), raised, hands });
                }
                TalkOutput::Reacted { user, nickname, reaction } => {
                    reporter.event(&Event::Reaction { user, nickname: nickname.into(), reaction: reaction.name() });
                }
            }
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
        if hands.is_empty() { "no hand is up".to_owned() } else { format!("hands: {}", hands.join(", ")) }
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}
