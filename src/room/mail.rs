//! Messages that wait for someone whose connection was lost.

use crate::protocol::ServerMessage;

/// The most messages that wait for a student: one negotiation.
const STUDENT_MESSAGES: usize = 64;

/// The most messages that wait for a publisher: a class of 2,000 that came meanwhile, candidates and all.
const PUBLISHER_MESSAGES: usize = 16_384;

/// The most text that waits for one user, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Bounded; what is too much is refused to its sender.
#[derive(Debug, Default)]
pub(super) struct Mail {
    messages: Vec<ServerMessage>,
    bytes: usize,
}

impl Mail {
    /// Keeps a message, or says no.
    pub(super) fn push(&mut self, message: ServerMessage, to_publisher: bool) -> bool {
        let most = if to_publisher { PUBLISHER_MESSAGES } else { STUDENT_MESSAGES };
        let bytes = self.bytes + text_bytes(&message);
        if self.messages.len() >= most || bytes > MAX_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.messages.push(message);
        true
    }

    pub(super) fn into_messages(self) -> Vec<ServerMessage> {
        self.messages
    }
}

/// The long part of a message; the rest is small and bounded.
fn text_bytes(message: &ServerMessage) -> usize {
    match message {
        ServerMessage::Offer { sdp, .. } | ServerMessage::Answer { sdp, .. } => sdp.len(),
        ServerMessage::Candidate { candidate, .. } => candidate.candidate.len(),
        ServerMessage::Error { message, .. } => message.len(),
        _ => 0,
    }
}
