//! Chat, hands and reactions: in a meeting by signalling, and in a call over the data channel of the two.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Conference, ConferenceEvent, PairInput};
use crate::commands::chat_commands::{Place, StudentInput};
use crate::commands::student_talk::Effect;
use crate::id::{Nickname, UserId};
use crate::protocol::ClientMessage;
use crate::protocol::channel::{ChatMessage, PublisherMessage, StudentMessage};

/// The sentence about what did not reach the server.
pub(super) const NOT_SENT: &str = "not sent: there is no connection to the server at the moment; try again later";

impl Conference<'_> {
    /// The user has typed a line.
    pub(super) fn on_typed(&mut self, line: &str) -> Option<ConferenceEvent> {
        if line == "/help" {
            self.help();
            return None;
        }
        let input = match StudentInput::parse(line, self.place) {
            StudentInput::Leave => return Some(ConferenceEvent::Leave),
            StudentInput::Private { to, words } => StudentInput::Private { to: self.id_of(to), words },
            input => input,
        };
        match input {
            StudentInput::Send(argument) => self.send_file(&argument),
            StudentInput::Cancel(name) => self.cancel_files(&name),
            StudentInput::Microphone => self.toggle_microphone(),
            StudentInput::Room(order) => self.room_order(order),
            StudentInput::Meeting(order) => self.meeting_order(order),
            input => return self.say(input),
        }
        None
    }

    fn say(&mut self, input: StudentInput) -> Option<ConferenceEvent> {
        let message = self.talk.typed(input, self.reporter)?;
        match self.place {
            Place::Call => {
                let other = self.list.others().next().map(|other| other.user_id.clone());
                if !other.is_some_and(|other| self.pairs.pass(&other, PairInput::Say(message))) {
                    self.reporter.warn("not sent: you are in no call at the moment");
                }
            }
            Place::Lecture | Place::Meeting => self.send_chat(message),
        }
        None
    }

    /// A message of the chat of a meeting.
    pub(super) fn on_chat(&mut self, message: PublisherMessage) {
        // A hand that is up at this member, and not at the server, goes up again.
        if let Effect::Welcomed(Some(reply)) = self.talk.received(message, self.reporter, &self.screen) {
            self.send_chat(reply);
        }
    }

    /// A text of the other one in a call.
    pub(super) fn on_heard(&mut self, other: &UserId, text: &str) {
        let known = self.list.others().find(|participant| participant.user_id == *other);
        if self.place == Place::Call
            && let Some(nickname) = known.map(|participant| participant.nickname.clone())
            && let Ok(message) = StudentMessage::parse(text)
        {
            self.show_message(other.clone(), nickname, message);
        }
    }

    /// An own message has gone to the other one in a call.
    pub(super) fn on_said(&mut self, message: StudentMessage) {
        self.show_message(self.member.user.clone(), self.member.nickname.clone(), message);
    }

    /// Shows a message of a call. Each of the two writes the name, so that nobody speaks for somebody else.
    fn show_message(&mut self, user_id: UserId, nickname: Nickname, message: StudentMessage) {
        let message = match message {
            StudentMessage::Msg { text, .. } if !text.is_empty() => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let at: u64 = since.as_millis().try_into().unwrap_or(u64::MAX);
                // The chat knows messages by numbers that increase.
                self.message_id = at.max(self.message_id + 1);
                let (id, publishes, to) = (self.message_id, false, None);
                PublisherMessage::Msg(ChatMessage { id, user_id, nickname, publishes, text, at, to })
            }
            StudentMessage::Reaction { reaction } => PublisherMessage::Reaction { user_id, nickname, reaction },
            _ => return,
        };
        self.talk.received(message, self.reporter, &self.screen);
    }

    fn send_chat(&self, message: StudentMessage) {
        let is_hand = matches!(message, StudentMessage::Hand { .. });
        // A raised hand is sent again by itself when the server is back.
        if !self.signalling.send(ClientMessage::Channel { message }) && !is_hand {
            self.reporter.warn(NOT_SENT);
        }
    }

    /// The id of the participant with this nickname, or else the text as an id.
    fn id_of(&self, text: String) -> String {
        let named = self.list.others().find(|other| other.nickname.as_str() == text);
        named.map_or(text, |other| other.user_id.to_string())
    }
}
