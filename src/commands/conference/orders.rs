//! Orders that are typed in a meeting.

use super::Conference;
use super::chat::NOT_SENT;
use crate::commands::chat_commands::{Place, help};
use crate::commands::meeting_orders::MeetingOrder;
use crate::commands::room_orders::TypedOrder;
use crate::protocol::ClientMessage;

impl Conference<'_> {
    pub(super) fn meeting_order(&self, order: MeetingOrder) {
        self.give(self.room.order(order, self.spotlight.wanted()));
    }

    pub(super) fn room_order(&self, order: TypedOrder) {
        self.give(self.room.room_order(order, |user| self.list.entry_of(user).is_some()));
    }

    /// The commands that apply.
    pub(super) fn help(&self) {
        self.reporter.notice(help(self.place, self.place == Place::Meeting && self.room.moderates()));
    }

    fn give(&self, order: Result<ClientMessage, String>) {
        match order {
            Ok(message) => {
                if !self.signalling.send(message) {
                    self.reporter.warn(NOT_SENT);
                }
            }
            Err(sentence) => self.reporter.notice(sentence),
        }
    }
}
