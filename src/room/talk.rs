//! Chat, raised hands and reactions of a lecture. Pure, like the other rules.
//!
//! - Names are stamped here, from what signalling knows of the sender.
//! - A student who writes too fast gets an error, once a second at most, and the message is dropped. The room as a
//!   whole has limits too, because every message goes to everybody.
//! - The teacher may forbid reactions and chat over the video. A newcomer learns this at once.
//! - Hands are listed in the order in which they went up. A hand stays up while its student reconnects, and goes down
//!   when the student leaves.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::id::{Named, Nickname, UserId, named};
use crate::protocol::channel::{
    Allowed, ChatMessage, ChatText, MAX_HISTORY, MAX_LISTED_HANDS, MAX_PUBLISHER_MESSAGE_BYTES, PublisherMessage,
    RaisedHand, Reaction, Stopped, StudentMessage,
};
use crate::protocol::{ErrorCode, User};
use crate::token_bucket::TokenBucket;

/// A student's messages: three per second, ten in a burst. A fast typist writes one per second.
const STUDENT_PER_SECOND: u32 = 3;
const STUDENT_BURST: u32 = 10;

/// Chat of the whole room: in a class of 1,000, the teacher sends 20,000 messages a second for it.
const CHAT_PER_SECOND: u32 = 20;
const CHAT_BURST: u32 = 100;

/// Reactions of the whole room; more per second would not be noticed.
const REACTIONS_PER_SECOND: u32 = 20;
const REACTION_BURST: u32 = 40;

/// How often a student is told at most that it writes too fast.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// How long changes of the raised hands are collected: a class answers a question within seconds.
const HANDS_INTERVAL: Duration = Duration::from_millis(150);

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
}

/// The chat, raised hands and reactions of one lecture, kept by its publisher.
#[derive(Debug)]
pub struct Talk {
    teacher: (UserId, Nickname),
    speakers: HashMap<UserId, Speaker>,
    history: VecDeque<ChatMessage>,
    hands: Vec<RaisedHand>,
    hands_due: Option<Instant>,
    last_id: u64,
    chat: TokenBucket,
    reactions: TokenBucket,
    allowed: Allowed,
    stopped: Stopped,
}

#[derive(Debug)]
struct Speaker {
    nickname: Nickname,
    pace: TokenBucket,
    complained: Option<Instant>,
}

impl Talk {
    /// A conversation without students.
    pub fn new(teacher: UserId, nickname: Nickname) -> Self {
        Self {
            teacher: (teacher, nickname),
            speakers: HashMap::new(),
            history: VecDeque::new(),
            hands: Vec::new(),
            hands_due: None,
            last_id: 0,
            chat: TokenBucket::new(CHAT_PER_SECOND, CHAT_BURST),
            reactions: TokenBucket::new(REACTIONS_PER_SECOND, REACTION_BURST),
            allowed: Allowed::default(),
            stopped: Stopped::default(),
        }
    }

    /// Signalling announces a member.
    pub fn joined(&mut self, user: &User) {
        self.speaker(&user.user_id).nickname = user.nickname.clone();
        for hand in self.hands.iter_mut().filter(|hand| hand.user_id == user.user_id) {
            hand.nickname = user.nickname.clone();
        }
    }

    /// A member left the room.
    pub fn left(&mut self, now: Instant, user: &UserId) -> Vec<TalkOutput> {
        let lowered = self.lower(now, user);
        self.speakers.remove(user);
        lowered
    }

    /// A student's channel opened.
    pub fn opened(&self, user: &UserId) -> Vec<TalkOutput> {
        let hands: Vec<RaisedHand> = self.listed_hands();
        let mut history: Vec<ChatMessage> = self.history.iter().cloned().collect();
        let size = |history: &[ChatMessage]| {
            PublisherMessage::Welcome { history: history.to_vec(), hands: hands.clone() }.to_json().len()
        };
        // Fifty of the longest texts do not fit into a message, so the oldest are left out.
        while !history.is_empty() && size(&history) > MAX_PUBLISHER_MESSAGE_BYTES {
            history.drain(..history.len().div_ceil(4));
        }
        let welcome = PublisherMessage::Welcome { history, hands };
        [welcome, PublisherMessage::Allows(self.allowed), PublisherMessage::Stopped(self.stopped)]
            .map(|message| TalkOutput::To(user.clone(), message))
            .into()
    }

    /// The permissions of the class.
    pub fn allowed(&self) -> Allowed {
        self.allowed
    }

    /// The teacher allows or forbids something. Returns nothing if nothing changes.
    pub fn allow(&mut self, allowed: Allowed) -> Vec<TalkOutput> {
        if std::mem::replace(&mut self.allowed, allowed) == allowed {
            return Vec::new();
        }
        vec![TalkOutput::All(PublisherMessage::Allows(allowed))]
    }

    /// Updates which sources have stopped. Returns nothing if nothing changes.
    pub fn stopped(&mut self, stopped: Stopped) -> Vec<TalkOutput> {
        if std::mem::replace(&mut self.stopped, stopped) == stopped {
            return Vec::new();
        }
        vec![TalkOutput::All(PublisherMessage::Stopped(stopped))]
    }

    /// A student sent a message over its data channel; `at` is the time in milliseconds since 1970.
    pub fn heard(&mut self, now: Instant, at: u64, user: &UserId, text: &str) -> Vec<TalkOutput> {
        let speaker = self.speaker(user);
        if speaker.pace.take(now).is_err() {
            return self.complain(now, user, ErrorCode::FloodedMessages, "too fast: wait a moment, then send it again");
        }
        let message = match StudentMessage::parse(text) {
            Ok(message) => message,
            Err((code, sentence)) => return self.complain(now, user, code, &sentence),
        };
        let nickname = self.nickname(user);
        match message {
            StudentMessage::Msg { text } if text.is_empty() => Vec::new(),
            StudentMessage::Msg { text } if self.chat.take(now).is_ok() => {
                let (user_id, publishes) = (user.clone(), false);
                self.say(ChatMessage { id: 0, user_id, nickname, publishes, text, at })
            }
            StudentMessage::Msg { .. } => self.complain(
                now,
                user,
                ErrorCode::FloodedMessages,
                "too many people write at once: send it again in a moment",
            ),
            StudentMessage::Hand { raised: true } if self.hands.iter().any(|hand| hand.user_id == *user) => Vec::new(),
            StudentMessage::Hand { raised: true } => {
                self.hands.push(RaisedHand { user_id: user.clone(), nickname: nickname.clone(), at });
                self.hands_due.get_or_insert(now + HANDS_INTERVAL);
                vec![TalkOutput::Hand { user: user.clone(), nickname, raised: true }]
            }
            StudentMessage::Hand { raised: false } => self.lower(now, user),
            StudentMessage::Reaction { .. } if !self.allowed.reactions => {
                self.complain(now, user, ErrorCode::ReactionsOff, "the teacher has switched reactions off")
            }
            StudentMessage::Reaction { reaction } if self.reactions.take(now).is_ok() => {
                let user_id = user.clone();
                vec![
                    TalkOutput::All(PublisherMessage::Reaction { user_id, nickname: nickname.clone(), reaction }),
                    TalkOutput::Reacted { user: user.clone(), nickname, reaction },
                ]
            }
            StudentMessage::Reaction { .. } | StudentMessage::Unknown => Vec::new(),
        }
    }

    /// The teacher sends a chat message; `at` is the time in milliseconds since 1970.
    pub fn teacher_says(&mut self, at: u64, text: &str) -> Vec<TalkOutput> {
        let text = ChatText::from(text);
        if text.is_empty() {
            return Vec::new();
        }
        let (user_id, nickname) = self.teacher.clone();
        self.say(ChatMessage { id: 0, user_id, nickname, publishes: true, text, at })
    }

    /// Lowers a student's hand. Returns nothing if it is down.
    pub fn lower(&mut self, now: Instant, user: &UserId) -> Vec<TalkOutput> {
        let Some(at) = self.hands.iter().position(|hand| hand.user_id == *user) else { return Vec::new() };
        let RaisedHand { user_id: user, nickname, .. } = self.hands.remove(at);
        self.hands_due.get_or_insert(now + HANDS_INTERVAL);
        vec![TalkOutput::Hand { user, nickname, raised: false }]
    }

    /// A student's name for a sentence.
    pub fn named<'a>(&'a self, user: &'a UserId) -> Named<'a> {
        named(user, self.speakers.get(user).map_or("", |speaker| speaker.nickname.as_str()))
    }

    /// The raised hands, in the order in which they went up.
    pub fn hands(&self) -> &[RaisedHand] {
        &self.hands
    }

    /// When [`Talk::tick`] is due.
    pub fn next_tick(&self) -> Option<Instant> {
        self.hands_due
    }

    /// Sends the list of raised hands, if it changed and is due.
    pub fn tick(&mut self, now: Instant) -> Vec<TalkOutput> {
        if self.hands_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.hands_due = None;
        vec![TalkOutput::All(PublisherMessage::Hands { hands: self.listed_hands() })]
    }

    fn say(&mut self, mut message: ChatMessage) -> Vec<TalkOutput> {
        // Ids follow the clock, so they also increase across a restart of the teacher.
        self.last_id = message.at.max(self.last_id + 1);
        message.id = self.last_id;
        if self.history.len() == MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(message.clone());
        vec![TalkOutput::All(PublisherMessage::Msg(message.clone())), TalkOutput::Said(message)]
    }

    fn complain(&mut self, now: Instant, user: &UserId, code: ErrorCode, sentence: &str) -> Vec<TalkOutput> {
        let speaker = self.speaker(user);
        if speaker.complained.is_some_and(|at| now.saturating_duration_since(at) < COMPLAINT_INTERVAL) {
            return Vec::new();
        }
        speaker.complained = Some(now);
        vec![TalkOutput::To(user.clone(), PublisherMessage::Error { code, message: sentence.to_owned() })]
    }

    fn listed_hands(&self) -> Vec<RaisedHand> {
        self.hands.iter().take(MAX_LISTED_HANDS).cloned().collect()
    }

    fn nickname(&self, user: &UserId) -> Nickname {
        self.speakers.get(user).map_or_else(|| "".into(), |speaker| speaker.nickname.clone())
    }

    /// A sender has a connection, so there are at most as many speakers as students.
    fn speaker(&mut self, user: &UserId) -> &mut Speaker {
        self.speakers.entry(user.clone()).or_insert_with(|| Speaker {
            nickname: "".into(),
            pace: TokenBucket::new(STUDENT_PER_SECOND, STUDENT_BURST),
            complained: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UserId {
        text.parse().unwrap()
    }

    fn talk() -> Talk {
        let mut talk = Talk::new(id("9999"), "Ms Li".into());
        for (user, nickname) in [("1001", "S-01"), ("1002", "S-02")] {
            talk.joined(&User {
                user_id: id(user),
                nickname: nickname.into(),
                publishes: false,
                epoch: 0,
                client: None,
                moderates: false,
            });
        }
        talk
    }

    fn msg(text: &str) -> String {
        StudentMessage::Msg { text: text.into() }.to_json()
    }

    fn hand(raised: bool) -> String {
        StudentMessage::Hand { raised }.to_json()
    }

    fn listed(talk: &Talk) -> Vec<&str> {
        talk.hands().iter().map(|hand| hand.user_id.as_str()).collect()
    }

    #[test]
    fn a_chat_message_is_stamped_and_sent_to_all() {
        let (mut talk, now) = (talk(), Instant::now());
        let out = talk.heard(now, 7, &id("1001"), r#"{"type":"msg","text":"hi","userId":"9999","nickname":"Ms Li"}"#);
        let [TalkOutput::All(PublisherMessage::Msg(to_all)), TalkOutput::Said(said)] = out.as_slice() else {
            panic!("{out:?}")
        };
        assert_eq!(to_all, said);
        assert_eq!((said.user_id.as_str(), said.nickname.as_str(), said.publishes), ("1001", "S-01", false));
        let answer = talk.teacher_says(7, "yes");
        let TalkOutput::Said(answer) = &answer[1] else { panic!() };
        assert!(answer.publishes && answer.id > said.id, "ids grow within a millisecond too");
        assert_eq!(talk.heard(now, 8, &id("1001"), &msg(" \n")), [], "no words, no message");
    }

    #[test]
    fn hands_are_listed_in_the_order_in_which_they_went_up() {
        let (mut talk, now) = (talk(), Instant::now());
        assert_eq!(talk.heard(now, 1, &id("1002"), &hand(true)).len(), 1);
        assert_eq!(talk.heard(now, 2, &id("1001"), &hand(true)).len(), 1);
        assert_eq!(talk.heard(now, 3, &id("1002"), &hand(true)), [], "it is up already, and keeps its place");
        assert_eq!(listed(&talk), ["1002", "1001"]);
        let due = talk.next_tick().unwrap();
        assert_eq!(talk.tick(now), []);
        assert!(
            matches!(&talk.tick(due)[..], [TalkOutput::All(PublisherMessage::Hands { hands })] if hands.len() == 2)
        );
        assert_eq!(talk.next_tick(), None);
        assert_eq!(talk.lower(due, &id("1002")).len(), 1);
        assert_eq!(talk.lower(due, &id("1002")), []);
        assert_eq!(talk.left(due, &id("1001")).len(), 1, "a hand goes down with its owner");
        let out = talk.tick(due + HANDS_INTERVAL);
        assert_eq!(out, [TalkOutput::All(PublisherMessage::Hands { hands: Vec::new() })]);
    }

    #[test]
    fn a_fast_writer_gets_one_error_a_second_and_affects_nobody_else() {
        let (mut talk, start) = (talk(), Instant::now());
        let (mut to_all, mut complaints) = (0, 0);
        for n in 0..600 {
            let now = start + Duration::from_millis(5 * n);
            for output in talk.heard(now, n, &id("1001"), &msg("spam")) {
                match output {
                    TalkOutput::All(_) => to_all += 1,
                    TalkOutput::To(user, PublisherMessage::Error { code, .. }) => {
                        assert_eq!((user.as_str(), code), ("1001", ErrorCode::FloodedMessages));
                        complaints += 1;
                    }
                    _ => {}
                }
            }
        }
        assert!((10..=20).contains(&to_all), "{to_all}");
        assert!((2..=4).contains(&complaints), "{complaints}");
        assert_eq!(talk.heard(start, 0, &id("1002"), &msg("hello")).len(), 2);
    }

    #[test]
    fn a_room_that_writes_at_once_is_limited() {
        let mut talk = Talk::new(id("9999"), "".into());
        let now = Instant::now();
        let heard = |n: usize, talk: &mut Talk| talk.heard(now, 0, &id(&format!("s{n}")), &msg("me!"));
        let to_all = (0..500).filter(|n| matches!(heard(*n, &mut talk)[0], TalkOutput::All(_))).count();
        assert_eq!(to_all, 100);
    }

    #[test]
    fn a_newcomer_gets_as_much_history_as_fits() {
        let mut talk = talk();
        for n in 0..60 {
            talk.teacher_says(n, &format!("line {n}"));
        }
        let welcome = |talk: &Talk| match talk.opened(&id("1001")).remove(0) {
            TalkOutput::To(_, PublisherMessage::Welcome { history, .. }) => history,
            other => panic!("{other:?}"),
        };
        let history = welcome(&talk);
        assert_eq!((history.len(), history[0].text.as_str()), (MAX_HISTORY, "line 10"));
        for n in 0..60 {
            talk.teacher_says(n, &"字".repeat(1_000));
        }
        let history = welcome(&talk);
        assert!(
            !history.is_empty()
                && PublisherMessage::Welcome { history, hands: vec![] }.to_json().len() <= MAX_PUBLISHER_MESSAGE_BYTES
        );
    }

    #[test]
    fn what_the_teacher_forbids_is_refused_and_announced_to_newcomers() {
        let (mut talk, now) = (talk(), Instant::now());
        let clap = StudentMessage::Reaction { reaction: Reaction::Clap }.to_json();
        assert_eq!(talk.heard(now, 0, &id("1001"), &clap).len(), 2);
        let off = Allowed { comments: false, reactions: false };
        assert_eq!(talk.allow(off), [TalkOutput::All(PublisherMessage::Allows(off))]);
        assert_eq!(talk.allow(off), [], "it is so already");
        let refused = talk.heard(now, 0, &id("1001"), &clap);
        let [TalkOutput::To(user, PublisherMessage::Error { code, .. })] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!((user.as_str(), *code), ("1001", ErrorCode::ReactionsOff));
        assert_eq!(talk.heard(now, 0, &id("1001"), &msg("still chat")).len(), 2);
        let stopped = Stopped { camera: true, ..Stopped::default() };
        assert_eq!(talk.stopped(stopped), [TalkOutput::All(PublisherMessage::Stopped(stopped))]);
        assert_eq!(talk.stopped(stopped), []);
        let told = talk.opened(&id("1002"));
        assert_eq!(
            told[1..],
            [PublisherMessage::Allows(off), PublisherMessage::Stopped(stopped)]
                .map(|it| TalkOutput::To(id("1002"), it))
        );
        talk.allow(Allowed::default());
        assert_eq!(talk.heard(now, 0, &id("1002"), &clap).len(), 2);
    }

    #[test]
    fn nonsense_is_refused_to_its_sender() {
        let (mut talk, now) = (talk(), Instant::now());
        let long = "x".repeat(1 << 20);
        for (n, text) in ["{", "", "\u{0}", &long, r#"{"type":"reaction","reaction":"bomb"}"#].into_iter().enumerate() {
            let out = talk.heard(now + Duration::from_secs(n as u64), 0, &id("1001"), text);
            assert!(matches!(&out[..], [TalkOutput::To(_, PublisherMessage::Error { .. })]), "{out:?}");
        }
    }
}
