//! A teacher's messages over its own data channel, in a room whose media the server carries.

use std::time::Instant;

use super::{Refusal, Talk, TalkOutput, not_allowed, too_fast};
use crate::id::UserId;
use crate::protocol::channel::{Allowed, PublisherMessage, Reaction, StudentMessage};

/// The teacher's messages: ten a second, thirty in a burst. A teacher that lowers hands clicks fast, and every message
/// goes to the whole class.
pub(super) const TEACHER_PER_SECOND: u32 = 10;
pub(super) const TEACHER_BURST: u32 = 30;

impl Talk {
    /// Whether the user is the teacher.
    pub(super) fn is_teacher(&self, user: &UserId) -> bool {
        self.teacher.as_ref().is_some_and(|(teacher, _)| teacher == user)
    }

    /// The teacher sent a message over its data channel.
    pub(super) fn teacher_heard(&mut self, now: Instant, at: u64, text: &str) -> Vec<TalkOutput> {
        let done = match self.teacher_pace.take(now) {
            Ok(()) => StudentMessage::parse(text).and_then(|message| self.obey_teacher(now, at, message)),
            Err(_) => Err(too_fast("too fast: wait a moment, then send it again")),
        };
        done.unwrap_or_else(|(code, message)| {
            self.to_teacher(PublisherMessage::Error { code, message, retry_after_ms: None }).into_iter().collect()
        })
    }

    fn obey_teacher(&mut self, now: Instant, at: u64, message: StudentMessage) -> Result<Vec<TalkOutput>, Refusal> {
        match message {
            StudentMessage::Msg { to: Some(_), .. } => Err(not_allowed("a lecture has no private messages")),
            StudentMessage::Msg { text, to: None } => Ok(self.teacher_says(at, text.as_str())),
            StudentMessage::Reaction { reaction } => Ok(self.teacher_reacts(reaction)),
            StudentMessage::Moderate(order) => {
                let before = self.rights.class;
                let Some((teacher, _)) = self.teacher.clone() else { return Ok(Vec::new()) };
                let outputs = self.moderate(now, at, &teacher, order)?;
                Ok(self.with_own_rights(before, outputs))
            }
            StudentMessage::Allow { comments, reactions } => {
                let before = self.rights.class;
                let outputs = self.allow(before.with(comments, reactions));
                Ok(self.with_own_rights(before, outputs))
            }
            StudentMessage::Hand { .. } => Err(not_allowed("the teacher has no hand to raise")),
            StudentMessage::StageAnswer { .. } | StudentMessage::StepDown => {
                Err(not_allowed("the teacher is on the stage anyway"))
            }
            // The teacher receives nothing over this connection.
            StudentMessage::Receive(_) | StudentMessage::Viewing(_) | StudentMessage::Unknown => Ok(Vec::new()),
        }
    }

    /// Adds the teacher's own permissions if those of the class have changed. `outputs` may have a message for each
    /// student alone, which the teacher does not get.
    fn with_own_rights(&self, before: Allowed, mut outputs: Vec<TalkOutput>) -> Vec<TalkOutput> {
        if self.rights.class != before {
            let own = self.teacher.as_ref().map(|(teacher, _)| PublisherMessage::Allows(self.allowed_to(teacher)));
            outputs.extend(own.and_then(|own| self.to_teacher(own)));
        }
        outputs
    }

    fn teacher_reacts(&self, reaction: Reaction) -> Vec<TalkOutput> {
        let Some((user, nickname)) = self.teacher.clone() else { return Vec::new() };
        let (user_id, name) = (user.clone(), nickname.clone());
        vec![
            TalkOutput::All(PublisherMessage::Reaction { user_id, nickname: name, reaction }),
            TalkOutput::Reacted { user, nickname, reaction },
        ]
    }

    fn to_teacher(&self, message: PublisherMessage) -> Option<TalkOutput> {
        Some(TalkOutput::To(self.teacher.as_ref()?.0.clone(), message))
    }
}
