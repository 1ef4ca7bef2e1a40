//! The microphone of this member, which its user, or who moderates the meeting, switches off.

use super::Conference;
use crate::protocol::{ClientMessage, RoomOrder, ServerMessage};

impl Conference<'_> {
    /// The user has typed `/mic`.
    pub(super) fn toggle_microphone(&mut self) {
        let Some(is_on) = self.context.media.toggle_microphone() else {
            return self.reporter.notice("you send no sound: --mic sends the microphone");
        };
        self.reporter.notice(if is_on { "your microphone is on" } else { "your microphone is off" });
        self.tell_sends();
    }

    /// Whether this is the order of somebody else to switch the microphone off.
    pub(super) fn mutes_me(&self, message: &ServerMessage) -> bool {
        matches!(message, ServerMessage::Order { order: RoomOrder::MuteMicrophone { target_uid: Some(target) }, .. }
            if *target == self.member.user)
    }

    /// Somebody who moderates has switched the microphone off.
    pub(super) fn muted(&mut self) {
        if self.context.media.is_heard() {
            self.context.media.toggle_microphone();
            self.reporter.notice("your microphone is off: /mic switches it on again");
            self.tell_sends();
        }
    }

    fn tell_sends(&self) {
        if self.list.takes_part() {
            let sends = self.sends();
            self.send(ClientMessage::Participate { sends });
        }
    }
}
