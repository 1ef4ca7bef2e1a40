//! How often clients were refused because something was full.

use super::Output;
use crate::protocol::{ErrorCode, ServerMessage};

/// The refusals of a server since its start, by what was full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals {
    /// A meeting took no more participants.
    pub meeting: u64,
    /// A room took no more members.
    pub room: u64,
    /// The server took no more rooms, or no more media.
    pub server: u64,
}

impl Refusals {
    /// Counts what clients are told.
    pub(super) fn count(&mut self, out: &[Output]) {
        for output in out {
            let Output::Send { message, .. } = output else { continue };
            let ServerMessage::Error { code, user_id: None, .. } = message else { continue };
            match code {
                ErrorCode::MeetingFull => self.meeting += 1,
                ErrorCode::RoomFull => self.room += 1,
                ErrorCode::ServerFull => self.server += 1,
                _ => {}
            }
        }
    }
}
