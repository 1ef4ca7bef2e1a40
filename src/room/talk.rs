//! Chat, raised hands, reactions and the stage of a lecture. Pure, like the other rules.
//!
//! - Names and rights come from signalling, never from the sender.
//! - A student who writes too fast gets an error, once a second at most, and the message is dropped. The room as a
//!   whole has limits too, because every message goes to everybody; students share them fairly (`shares`).
//! - The teacher, and members who moderate, keep order: they mute students, clear the chat, slow it down, and lower
//!   hands (`moderation`).
//! - The teacher may forbid reactions and chat over the video. A newcomer learns all permissions at once.
//! - Hands are listed in the order in which they went up. A hand stays up while its student reconnects, and goes down
//!   when the student leaves or speaks on the stage (`hands`).
//! - The teacher and those who moderate invite students to the stage (`stage`), or open the floor (`floor`).

mod floor;
mod hands;
mod moderation;
mod participants;
mod shares;
mod slots;
mod stage;
mod teacher;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::hands::{Hands, NotRaised};
use self::moderation::{MAX_SLOW, Rights};
use self::participants::Participants;
use self::shares::SharedBudget;
use self::slots::Slots;
use self::teacher::{TEACHER_BURST, TEACHER_PER_SECOND};
use crate::id::{Named, Nickname, UserId};
use crate::protocol::channel::{
    Allowed, ChatMessage, ChatText, MAX_HISTORY, MAX_PUBLISHER_MESSAGE_BYTES, Moderation, OffStage, PublisherMessage,
    RaisedHand, Reaction, SentTiers, Stopped, StudentMessage, Viewing,
};
use crate::protocol::{ErrorCode, User};
use crate::token_bucket::TokenBucket;

pub use self::stage::{ANSWER_WITHIN, PUBLISH_WITHIN, RETURN_WITHIN, StageChange};

/// A student's messages: three per second, ten in a burst. A fast typist writes one per second.
const STUDENT_PER_SECOND: u32 = 3;
const STUDENT_BURST: u32 = 10;

/// The most that a student sends within [`shares::MEMORY`].
const MOST_OF_ONE: u32 = STUDENT_BURST + STUDENT_PER_SECOND * shares::MEMORY.as_secs() as u32;

/// Chat of the whole room: in a class of 1,000, the teacher sends 20,000 messages a second for it.
const CHAT_PER_SECOND: u32 = 20;
const CHAT_BURST: u32 = 100;

/// Reactions of the whole room; more per second would not be noticed.
const REACTIONS_PER_SECOND: u32 = 20;
const REACTION_BURST: u32 = 40;

/// How often a student is told at most that it writes too fast.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// Why something is refused: a code for programs, and a sentence for people.
pub type Refusal = (ErrorCode, String);

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TalkOutput {
    /// Send to one student.
    To(UserId, PublisherMessage),
    /// Send to every student.
    All(PublisherMessage),
    /// Show a chat message to the teacher; an `All` goes with it.
    Said(ChatMessage),
    /// A hand went up or down.
    Hand {
        /// The student.
        user: UserId,
        /// The name that others see.
        nickname: Nickname,
        /// Whether the hand is up.
        raised: bool,
    },
    /// Show a reaction to the teacher; an `All` goes with it.
    Reacted {
        /// The sender.
        user: UserId,
        /// The name that others see.
        nickname: Nickname,
        /// The reaction.
        reaction: Reaction,
    },
    /// An order was obeyed.
    Ordered {
        /// The teacher, or a member who moderates.
        by: UserId,
        /// The name that others see.
        by_nickname: Nickname,
        /// The order.
        order: Moderation,
        /// The name of the student whom the order concerns, if it concerns one.
        nickname: Option<Nickname>,
    },
    /// A student wants at most this of each video: for the SFU.
    Receive(UserId, SentTiers),
    /// How much a student has seen: for the attendance list.
    Viewed(UserId, Viewing),
    /// Somebody came to the stage or left it: for the holder of the room's media.
    Stage(StageChange),
}

/// The chat, raised hands, reactions and stage of one lecture, kept by its publisher.
#[derive(Debug)]
pub struct Talk {
    /// None in a meeting, where those who moderate have the teacher's rights.
    teacher: Option<(UserId, Nickname)>,
    /// Limits the messages that come over the teacher's own data channel.
    teacher_pace: TokenBucket,
    participants: Participants,
    history: VecDeque<ChatMessage>,
    hands: Hands,
    last_id: u64,
    /// Messages up to this id are cleared.
    cleared_up_to: u64,
    chat: SharedBudget,
    reactions: SharedBudget,
    rights: Rights,
    stopped: Stopped,
    slots: Slots,
}

impl Talk {
    /// A conversation without students.
    pub fn new(teacher: UserId, nickname: Nickname) -> Self {
        Self::with(Some((teacher, nickname)))
    }

    /// The conversation of a meeting, which has no teacher.
    pub fn of_meeting() -> Self {
        Self::with(None)
    }

    /// The conversation of a breakout room of this meeting: empty, under the same rules.
    pub(super) fn of_breakout(&self) -> Self {
        Self { rights: self.rights.clone(), ..Self::with(None) }
    }

    fn with(teacher: Option<(UserId, Nickname)>) -> Self {
        Self {
            teacher,
            teacher_pace: TokenBucket::new(TEACHER_PER_SECOND, TEACHER_BURST),
            participants: Participants::default(),
            history: VecDeque::new(),
            hands: Hands::new(),
            last_id: 0,
            cleared_up_to: 0,
            chat: SharedBudget::new(CHAT_PER_SECOND, CHAT_BURST, MOST_OF_ONE),
            reactions: SharedBudget::new(REACTIONS_PER_SECOND, REACTION_BURST, MOST_OF_ONE),
            rights: Rights::default(),
            stopped: Stopped::default(),
            slots: Slots::default(),
        }
    }

    /// The teacher has another nickname.
    pub fn rename_teacher(&mut self, nickname: Nickname) {
        self.teacher.iter_mut().for_each(|teacher| teacher.1 = nickname.clone());
    }

    /// Signalling announces a member, with its name and its rights.
    pub fn joined(&mut self, user: &User) {
        self.participants.joined(user);
        self.hands.rename(&user.user_id, &user.nickname);
        self.slots.rename(&user.user_id, &user.nickname);
    }

    /// A member left the room for good. A student who is muted stays so.
    pub fn left(&mut self, now: Instant, user: &UserId) -> Vec<TalkOutput> {
        let mut outputs = self.lower(now, user);
        self.participants.left(now, user);
        outputs.extend(self.free_slots(now, [(user.clone(), OffStage::SteppedDown)]));
        outputs
    }

    /// A student's channel opened.
    pub fn opened(&self, now: Instant, user: &UserId) -> Vec<TalkOutput> {
        let (hands, cleared_up_to) = (self.hands.listed(), self.cleared_up_to);
        let mut history: Vec<ChatMessage> = self.history.iter().cloned().collect();
        let size = |history: &[ChatMessage]| {
            let (history, hands) = (history.to_vec(), hands.clone());
            PublisherMessage::Welcome { history, hands, cleared_up_to }.to_json().len()
        };
        // Fifty of the longest texts do not fit into a message, so the oldest are left out.
        while !history.is_empty() && size(&history) > MAX_PUBLISHER_MESSAGE_BYTES {
            history.drain(..history.len().div_ceil(4));
        }
        let mut unlisted = self.hands.unlisted(hands.len());
        let place =
            unlisted.find(|(_, hand)| hand.user_id == *user).map(|(place, _)| PublisherMessage::HandPlace { place });
        let welcome = PublisherMessage::Welcome { history, hands, cleared_up_to };
        let rest = [welcome, PublisherMessage::Allows(self.allowed_to(user)), PublisherMessage::Stopped(self.stopped)];
        let messages = place.into_iter().chain(rest).map(|message| to(user, message));
        messages.chain(self.stage_of_newcomer(now, user)).collect()
    }

    /// The permissions of the class, as the teacher set them.
    pub fn allowed(&self) -> Allowed {
        self.rights.class
    }

    /// The teacher allows or forbids something. Returns nothing if nothing changes.
    pub fn allow(&mut self, allowed: Allowed) -> Vec<TalkOutput> {
        if std::mem::replace(&mut self.rights.class, allowed) == allowed {
            return Vec::new();
        }
        self.announce_rights()
    }

    /// The students who are muted alone, or, if the class is muted, those who may write.
    pub fn exceptions(&self) -> Vec<Named<'_>> {
        let mut users: Vec<&UserId> = self.rights.exceptions().collect();
        users.sort_unstable();
        users.into_iter().map(|user| self.named(user)).collect()
    }

    /// Updates which sources have stopped. Returns nothing if nothing changes.
    pub fn stopped(&mut self, stopped: Stopped) -> Vec<TalkOutput> {
        if std::mem::replace(&mut self.stopped, stopped) == stopped {
            return Vec::new();
        }
        vec![TalkOutput::All(PublisherMessage::Stopped(stopped))]
    }

    /// A student sent a message over its data channel, or the teacher over its own; `at` is the time in milliseconds
    /// since 1970.
    pub fn heard(&mut self, now: Instant, at: u64, user: &UserId, text: &str) -> Vec<TalkOutput> {
        if self.is_teacher(user) {
            return self.teacher_heard(now, at, text);
        }
        if self.participants.sender(user).pace.take(now).is_err() {
            return self.complain(now, user, too_fast("too fast: wait a moment, then send it again"));
        }
        match StudentMessage::parse(text) {
            Ok(message) => self.obey(now, at, user, message),
            Err(refusal) => self.complain(now, user, refusal),
        }
    }

    /// A member of a meeting sent a message; `at` is the time in milliseconds since 1970.
    pub fn heard_message(&mut self, now: Instant, at: u64, user: &UserId, message: StudentMessage) -> Vec<TalkOutput> {
        if self.participants.sender(user).pace.take(now).is_err() {
            return self.complain(now, user, too_fast("too fast: wait a moment, then send it again"));
        }
        self.obey(now, at, user, message)
    }

    fn obey(&mut self, now: Instant, at: u64, user: &UserId, message: StudentMessage) -> Vec<TalkOutput> {
        let moderates = self.participants.get(user).is_some_and(|participant| participant.moderates);
        let done = match message {
            StudentMessage::Msg { text, .. } if text.is_empty() => Ok(Vec::new()),
            StudentMessage::Msg { text, to } => return self.student_says(now, at, user, (text, to)),
            StudentMessage::Hand { raised: true } => self.raise(now, at, user),
            StudentMessage::Hand { raised: false } => Ok(self.lower(now, user)),
            StudentMessage::Reaction { reaction } => self.react(now, user, reaction),
            StudentMessage::Moderate(order) if moderates => self.moderate(now, at, user, order),
            StudentMessage::Allow { comments, reactions } if moderates && self.teacher.is_none() => {
                Ok(self.allow(self.rights.class.with(comments, reactions)))
            }
            StudentMessage::Moderate(_) if self.teacher.is_none() => {
                Err(not_allowed("only those who moderate may do this"))
            }
            StudentMessage::Moderate(_) => Err(not_allowed("only the teacher and members who moderate may do this")),
            StudentMessage::Allow { .. } => Err(not_allowed("only the teacher may do this")),
            StudentMessage::StageAnswer { accepted: true, .. } => self.accept_invitation(now, at, user),
            StudentMessage::StageAnswer { accepted: false, why } => self.decline_invitation(now, user, why.into()),
            StudentMessage::StepDown => Ok(self.free_slots(now, [(user.clone(), OffStage::SteppedDown)])),
            StudentMessage::Receive(tiers) => Ok(vec![TalkOutput::Receive(user.clone(), tiers)]),
            StudentMessage::Viewing(viewing) => Ok(vec![TalkOutput::Viewed(user.clone(), viewing)]),
            StudentMessage::Unknown => Ok(Vec::new()),
        };
        done.unwrap_or_else(|refusal| self.complain(now, user, refusal))
    }

    /// The teacher sends a chat message; `at` is the time in milliseconds since 1970.
    pub fn teacher_says(&mut self, at: u64, text: &str) -> Vec<TalkOutput> {
        let text = ChatText::from(text);
        let Some((user_id, nickname)) = self.teacher.clone().filter(|_| !text.is_empty()) else { return Vec::new() };
        self.say(ChatMessage { id: 0, user_id, nickname, publishes: true, text, at, to: None })
    }

    /// The owner of a meeting says something in the meeting and all its breakout rooms, and perhaps is not here.
    pub(super) fn announce(&mut self, at: u64, by: (&UserId, &Nickname), text: &ChatText) -> Vec<TalkOutput> {
        let (user_id, nickname, text) = (by.0.clone(), by.1.clone(), text.clone());
        self.say(ChatMessage { id: 0, user_id, nickname, publishes: false, text, at, to: None })
    }

    /// Lowers a student's hand. Returns nothing if it is down.
    pub fn lower(&mut self, now: Instant, user: &UserId) -> Vec<TalkOutput> {
        let Some(RaisedHand { user_id: user, nickname, .. }) = self.hands.lower(now, user) else { return Vec::new() };
        vec![TalkOutput::Hand { user, nickname, raised: false }]
    }

    /// A student's name for a sentence.
    pub fn named<'a>(&'a self, user: &'a UserId) -> Named<'a> {
        self.participants.named(user)
    }

    /// The member with this id, or the only one with this nickname; or the muted student with this id who has left.
    ///
    /// # Errors
    ///
    /// Nobody in the room has it, or several members have this nickname.
    pub fn find(&self, id_or_nickname: &str) -> Result<UserId, Refusal> {
        self.participants.find(id_or_nickname).or_else(|refusal| {
            let known = |user: &UserId| self.rights.exceptions().any(|exception| exception == user);
            id_or_nickname.parse().ok().filter(known).ok_or(refusal)
        })
    }

    /// The members who are in the room, with their nicknames.
    pub fn members(&self) -> impl Iterator<Item = (&UserId, &str)> {
        self.participants.present().map(|(user, participant)| (user, participant.nickname.as_str()))
    }

    /// The raised hands, in the order in which they went up.
    pub fn hands(&self) -> &[RaisedHand] {
        self.hands.raised()
    }

    /// When [`Talk::tick`] is due.
    pub fn next_tick(&self) -> Option<Instant> {
        [self.hands.due(), self.slots.due()].into_iter().flatten().min()
    }

    /// Sends what has changed and is due, and ends what takes too long on the stage.
    pub fn tick(&mut self, now: Instant) -> Vec<TalkOutput> {
        let mut outputs = self.tick_stage(now);
        outputs.extend(self.tick_hands(now));
        outputs
    }

    /// The list of raised hands, if due. A student whose hand is behind the end of the list is first told its place.
    fn tick_hands(&mut self, now: Instant) -> Vec<TalkOutput> {
        let Some(hands) = self.hands.tick(now) else { return Vec::new() };
        let place = |(place, hand): (usize, &RaisedHand)| to(&hand.user_id, PublisherMessage::HandPlace { place });
        let mut outputs: Vec<_> = self.hands.unlisted(hands.len()).map(place).collect();
        outputs.push(TalkOutput::All(PublisherMessage::Hands { hands }));
        outputs
    }

    fn student_says(
        &mut self,
        now: Instant,
        at: u64,
        user: &UserId,
        (text, to): (ChatText, Option<UserId>),
    ) -> Vec<TalkOutput> {
        if let Some(refusal) = to.as_ref().and_then(|to| self.refuses_private(user, to)) {
            return self.complain(now, user, refusal);
        }
        if !self.allowed_to(user).chat {
            return self.complain(now, user, muted());
        }
        if let Some(wait) = self.slow_wait(now, user) {
            let seconds = wait.as_secs_f64().ceil();
            let sentence = format!("slow mode is on: your next message may come in {seconds} s");
            return self.complain_with(now, user, (ErrorCode::SlowMode, sentence), Some(wait));
        }
        let participant = self.participants.sender(user);
        if self.chat.take(now, &mut participant.chat).is_err() {
            let refusal = too_fast("too many people write at once: send it again in a moment");
            return self.complain(now, user, refusal);
        }
        participant.said = Some(now);
        let (user_id, nickname) = (user.clone(), participant.nickname.clone());
        self.say(ChatMessage { id: 0, user_id, nickname, publishes: false, text, at, to })
    }

    /// Why a member may not write to this one alone.
    fn refuses_private(&self, from: &UserId, to: &UserId) -> Option<Refusal> {
        if self.teacher.is_some() {
            return Some(not_allowed("a lecture has no private messages"));
        }
        if from == to {
            return Some(not_allowed("nobody writes to themselves"));
        }
        let is_here = self.participants.get(to).is_some();
        (!is_here).then(|| (ErrorCode::UnknownTarget, format!("{} is not in the room", self.named(to))))
    }

    fn raise(&mut self, now: Instant, at: u64, user: &UserId) -> Result<Vec<TalkOutput>, Refusal> {
        let participant = self.participants.sender(user);
        let nickname = participant.nickname.clone();
        let hand = RaisedHand { user_id: user.clone(), nickname: nickname.clone(), at };
        match self.hands.raise(now, hand, &mut participant.hands) {
            Ok(()) => {
                let mut outputs = vec![TalkOutput::Hand { user: user.clone(), nickname, raised: true }];
                outputs.extend(self.fill_stage(now));
                Ok(outputs)
            }
            Err(NotRaised::IsUp) => Ok(Vec::new()),
            Err(NotRaised::TooFast) => Err(too_fast("hands go up too often: wait a moment, then raise it again")),
            Err(NotRaised::Full) => Err(too_fast("too many hands are up: raise yours when some are down")),
        }
    }

    fn react(&mut self, now: Instant, user: &UserId, reaction: Reaction) -> Result<Vec<TalkOutput>, Refusal> {
        let allowed = self.allowed_to(user);
        if !allowed.chat {
            return Err(muted());
        }
        if !allowed.reactions {
            let keeper = if self.teacher.is_some() { "the teacher" } else { "the owner" };
            return Err((ErrorCode::ReactionsOff, format!("{keeper} has switched reactions off")));
        }
        let participant = self.participants.sender(user);
        if self.reactions.take(now, &mut participant.reactions).is_err() {
            // Nobody waits for a reaction, so it is dropped without a word.
            return Ok(Vec::new());
        }
        let (user, nickname) = (user.clone(), participant.nickname.clone());
        let (user_id, name) = (user.clone(), nickname.clone());
        Ok(vec![
            TalkOutput::All(PublisherMessage::Reaction { user_id, nickname: name, reaction }),
            TalkOutput::Reacted { user, nickname, reaction },
        ])
    }

    /// The permissions of one member.
    fn allowed_to(&self, user: &UserId) -> Allowed {
        let moderates = self.participants.get(user).is_some_and(|participant| participant.moderates);
        self.rights.of(user, moderates || self.is_teacher(user))
    }

    fn say(&mut self, mut message: ChatMessage) -> Vec<TalkOutput> {
        // Ids follow the clock, so they also increase across a restart of the teacher.
        self.last_id = message.at.max(self.last_id + 1);
        message.id = self.last_id;
        if let Some(receiver) = message.to.clone() {
            // Nobody else learns of it, and it is not kept.
            let sender = message.user_id.clone();
            return [sender, receiver].iter().map(|user| to(user, PublisherMessage::Msg(message.clone()))).collect();
        }
        if self.history.len() == MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(message.clone());
        vec![TalkOutput::All(PublisherMessage::Msg(message.clone())), TalkOutput::Said(message)]
    }

    fn complain(&mut self, now: Instant, user: &UserId, refusal: Refusal) -> Vec<TalkOutput> {
        self.complain_with(now, user, refusal, None)
    }

    /// Tells a student why a message was dropped, and when the next one may come.
    fn complain_with(
        &mut self,
        now: Instant,
        user: &UserId,
        (code, message): Refusal,
        retry_after: Option<Duration>,
    ) -> Vec<TalkOutput> {
        let participant = self.participants.sender(user);
        if participant.complained.is_some_and(|at| now.saturating_duration_since(at) < COMPLAINT_INTERVAL) {
            return Vec::new();
        }
        participant.complained = Some(now);
        let retry_after_ms = retry_after.map(|wait| wait.as_millis().try_into().unwrap_or(u64::MAX));
        vec![TalkOutput::To(user.clone(), PublisherMessage::Error { code, message, retry_after_ms })]
    }
}

fn muted() -> Refusal {
    (ErrorCode::Muted, "you are muted: you can read, and raise your hand".to_owned())
}

fn not_allowed(sentence: &str) -> Refusal {
    (ErrorCode::NotAllowed, sentence.to_owned())
}

fn too_fast(sentence: &str) -> Refusal {
    (ErrorCode::FloodedMessages, sentence.to_owned())
}

fn to(user: &UserId, message: PublisherMessage) -> TalkOutput {
    TalkOutput::To(user.clone(), message)
}

#[cfg(test)]
mod tests;
