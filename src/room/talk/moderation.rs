//! Order in the conversation: who is muted, slow mode, clearing the chat, lowering hands, and the stage.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::participants::Participant;
use super::{Refusal, Talk, TalkOutput};
use crate::id::UserId;
use crate::protocol::ErrorCode;
use crate::protocol::channel::{Allowed, Moderation, PublisherMessage};

/// The shortest and the longest time between two messages of a student in slow mode.
const MIN_SLOW: Duration = Duration::from_secs(1);
pub(super) const MAX_SLOW: Duration = Duration::from_secs(600);

/// The most students who are muted alone, or who may write although all others are muted.
const MAX_EXCEPTIONS: usize = 4_096;

/// The permissions of the class, and of the students who differ from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights {
    /// The permissions of the class, as the teacher set them; `chat` is the opposite of `mute_all`.
    pub(super) class: Allowed,
    /// The students whose `chat` differs from that of the class. They keep this when they leave and come back.
    exceptions: HashSet<UserId>,
}

impl Rights {
    /// The permissions of one member. Those who moderate are never muted.
    pub(super) fn of(&self, user: &UserId, moderates: bool) -> Allowed {
        self.with_chat(moderates || self.class.chat != self.exceptions.contains(user))
    }

    /// The permissions of a student who is no exception.
    pub(super) fn of_class(&self) -> Allowed {
        self.with_chat(self.class.chat)
    }

    fn with_chat(&self, chat: bool) -> Allowed {
        Allowed { chat, reactions: self.class.reactions && chat, ..self.class }
    }

    /// The students who are muted alone, or who may write although the others are muted.
    pub(super) fn exceptions(&self) -> impl Iterator<Item = &UserId> {
        self.exceptions.iter()
    }

    /// Whether the student may not write although the class may.
    pub(super) fn is_muted_alone(&self, user: &UserId) -> bool {
        self.class.chat && self.exceptions.contains(user)
    }

    fn set_chat_of_all(&mut self, chat: bool) {
        self.exceptions.clear();
        (self.class.chat, self.class.mute_all) = (chat, !chat);
    }

    fn set_chat(&mut self, user: &UserId, chat: bool) -> Result<(), Refusal> {
        if chat == self.class.chat {
            self.exceptions.remove(user);
        } else if self.exceptions.len() < MAX_EXCEPTIONS {
            self.exceptions.insert(user.clone());
        } else {
            let sentence = format!("{MAX_EXCEPTIONS} students are muted already: mute all, or unmute some");
            return Err((ErrorCode::FloodedMessages, sentence));
        }
        Ok(())
    }
}

impl Talk {
    /// Obeys an order of the teacher, or of a member who moderates; `at` is the time in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// An order that has no effect: the student is not in the room, may moderate, or has no hand up; the time of slow
    /// mode is out of range; the stage is full, or the lecture has none.
    pub fn moderate(
        &mut self,
        now: Instant,
        at: u64,
        by: &UserId,
        order: Moderation,
    ) -> Result<Vec<TalkOutput>, Refusal> {
        let outputs = match &order {
            Moderation::Mute { user_id } => self.set_chat(user_id, false)?,
            Moderation::Unmute { user_id } => self.set_chat(user_id, true)?,
            Moderation::MuteAll => self.set_chat_of_all(false),
            Moderation::UnmuteAll => self.set_chat_of_all(true),
            Moderation::Clear => self.clear(at),
            Moderation::Slow { ms } => self.set_slow(*ms)?,
            Moderation::Lower { user_id } => {
                let lowered = self.lower(now, user_id);
                if lowered.is_empty() {
                    return Err((ErrorCode::UnknownTarget, format!("{} has not raised a hand", self.named(user_id))));
                }
                lowered
            }
            Moderation::LowerAll => {
                let users: Vec<UserId> = self.hands().iter().map(|hand| hand.user_id.clone()).collect();
                users.iter().flat_map(|user| self.lower(now, user)).collect()
            }
            Moderation::Stage { user_id } => self.invite(now, user_id)?,
            Moderation::OffStage { user_id } => self.take_off_stage(now, user_id)?,
            Moderation::ClearStage => self.clear_stage(now)?,
            Moderation::Spotlight { user_id } => self.set_spotlight(now, Some(user_id))?,
            Moderation::SpotlightOff => self.set_spotlight(now, None)?,
            Moderation::OpenFloor => self.set_floor(now, true)?,
            Moderation::CloseFloor => self.set_floor(now, false)?,
        };
        let nickname = order.user().map(|user| self.participants.nickname(user));
        let teacher = self.teacher.as_ref().filter(|(teacher, _)| teacher == by);
        let by_nickname = teacher.map_or_else(|| self.participants.nickname(by), |(_, nickname)| nickname.clone());
        let ordered = TalkOutput::Ordered { by: by.clone(), by_nickname, order, nickname };
        let invited = self.fill_stage(now);
        Ok(std::iter::once(ordered).chain(outputs).chain(invited).collect())
    }

    /// Sends everybody their permissions: one message to all, or one to each where they differ.
    pub(super) fn announce_rights(&self) -> Vec<TalkOutput> {
        let class = self.rights.of_class();
        let own =
            |(user, participant): (&UserId, &Participant)| (user.clone(), self.rights.of(user, participant.moderates));
        if self.participants.present().map(own).all(|(_, own)| own == class) {
            return vec![TalkOutput::All(PublisherMessage::Allows(class))];
        }
        self.participants
            .present()
            .map(own)
            .map(|(user, own)| TalkOutput::To(user, PublisherMessage::Allows(own)))
            .collect()
    }

    /// How long slow mode lets a student wait until the next message. `None` if it may come now.
    pub(super) fn slow_wait(&self, now: Instant, user: &UserId) -> Option<Duration> {
        let participant = self.participants.get(user).filter(|participant| !participant.moderates)?;
        let slow = Duration::from_millis(self.rights.class.slow_ms.into());
        let since = now.saturating_duration_since(participant.said?);
        slow.checked_sub(since).filter(|wait| !wait.is_zero())
    }

    fn set_chat(&mut self, user: &UserId, chat: bool) -> Result<Vec<TalkOutput>, Refusal> {
        let is_exception = self.rights.exceptions.contains(user);
        match self.participants.get(user) {
            Some(participant) if participant.moderates && !chat => {
                let sentence = format!("{} may moderate, and can't be muted", self.named(user));
                return Err((ErrorCode::NotAllowed, sentence));
            }
            None if !is_exception => {
                return Err((ErrorCode::UnknownTarget, format!("{} is not in the room", self.named(user))));
            }
            _ => {}
        }
        let before = self.rights.of(user, false);
        self.rights.set_chat(user, chat)?;
        let after = self.rights.of(user, false);
        let told = TalkOutput::To(user.clone(), PublisherMessage::Allows(after));
        Ok((before != after).then_some(told).into_iter().collect())
    }

    fn set_chat_of_all(&mut self, chat: bool) -> Vec<TalkOutput> {
        self.rights.set_chat_of_all(chat);
        self.announce_rights()
    }

    fn set_slow(&mut self, ms: u32) -> Result<Vec<TalkOutput>, Refusal> {
        let slow = Duration::from_millis(ms.into());
        if !slow.is_zero() && !(MIN_SLOW..=MAX_SLOW).contains(&slow) {
            let (min, max) = (MIN_SLOW.as_secs(), MAX_SLOW.as_secs() / 60);
            let sentence = format!("slow mode takes {min} s to {max} min between two messages of a student");
            return Err((ErrorCode::NotAllowed, sentence));
        }
        self.rights.class.slow_ms = ms;
        Ok(self.announce_rights())
    }

    /// Ids follow the clock, so everything up to this moment is cleared, messages of an earlier lecture too.
    fn clear(&mut self, at: u64) -> Vec<TalkOutput> {
        self.last_id = self.last_id.max(at);
        self.cleared_up_to = self.last_id;
        self.history.clear();
        vec![TalkOutput::All(PublisherMessage::Cleared { up_to: self.cleared_up_to })]
    }
}
