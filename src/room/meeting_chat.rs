//! The chat of a meeting, and of each of its breakout rooms: the rules of a lecture's, whose messages travel by
//! signalling.

use std::time::Instant;

use super::member::Member;
use super::members::{Room, refuse};
use super::talk::{Talk, TalkOutput};
use super::{ConnId, Output};
use crate::id::UserId;
use crate::protocol::channel::StudentMessage;
use crate::protocol::{ErrorCode, ServerMessage};

impl Room {
    /// A member writes, raises its hand, reacts or moderates.
    pub(super) fn chat(
        &mut self,
        now: Instant,
        (id, conn): (&UserId, ConnId),
        message: StudentMessage,
        out: &mut Vec<Output>,
    ) {
        let time = self.conferences.as_ref().map_or(0, |conferences| conferences.time);
        let at = self.place_of(id);
        let Some(talk) = self.conferences.as_mut().and_then(|conferences| conferences.chat_of(id)) else {
            let message = "this chat goes over the data channel";
            return refuse(conn, ErrorCode::NotAllowed, message, out);
        };
        let outputs = talk.heard_message(now, time, id, message);
        self.send_chat(at, outputs, out);
    }

    /// A member has joined, perhaps again, or has come to this conference: it gets the history.
    pub(super) fn open_chat(&mut self, now: Instant, id: &UserId, out: &mut Vec<Output>) {
        let at = self.place_of(id);
        let talk = self.conferences.as_mut().and_then(|conferences| conferences.chat_of(id));
        let outputs = talk.map(|talk| talk.opened(now, id)).unwrap_or_default();
        self.send_chat(at, outputs, out);
    }

    /// A member has left the room for good, or goes to another conference.
    pub(super) fn leave_chat(&mut self, now: Instant, id: &UserId, out: &mut Vec<Output>) {
        let at = self.place_of(id);
        let talk = self.conferences.as_mut().and_then(|conferences| conferences.chat_of(id));
        let outputs = talk.map(|talk| talk.left(now, id)).unwrap_or_default();
        self.send_chat(at, outputs, out);
    }

    /// Sends what is due.
    pub(super) fn tick_chat(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(conferences) = &self.conferences else { return };
        let is_due = |talk: &Talk| talk.next_tick().is_some_and(|due| due <= now);
        let due: Vec<u32> = conferences.chats().filter(|(_, talk)| is_due(talk)).map(|(id, _)| id).collect();
        for id in due {
            let talk = self.conferences.as_mut().and_then(|known| known.conference_mut(id)?.talk.as_mut());
            let outputs = talk.map(|talk| talk.tick(now)).unwrap_or_default();
            self.send_chat(id, outputs, out);
        }
    }

    /// Sends to the members that are in a conference.
    pub(super) fn send_chat(&self, at: u32, outputs: Vec<TalkOutput>, out: &mut Vec<Output>) {
        for output in outputs {
            match output {
                TalkOutput::To(user, message) => {
                    if let Some(to) = self.members.get(&user).and_then(Member::conn) {
                        out.push(Output::Send { to, message: ServerMessage::Channel { message } });
                    }
                }
                TalkOutput::All(message) => {
                    let to: Vec<ConnId> = self.members_at(at).filter_map(|(_, member)| member.conn()).collect();
                    if !to.is_empty() {
                        out.push(Output::Broadcast { to, message: ServerMessage::Channel { message } });
                    }
                }
                // What a terminal teacher is shown has gone to the members, too.
                TalkOutput::Said(_)
                | TalkOutput::Hand { .. }
                | TalkOutput::Reacted { .. }
                | TalkOutput::Ordered { .. }
                // In a meeting, this travels over the data channels of the media.
                | TalkOutput::Receive(..)
                | TalkOutput::Viewed(..)
                | TalkOutput::Stage(_) => {}
            }
        }
    }
}
