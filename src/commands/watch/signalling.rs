//! The way to the publisher: a classroom server, or a Janus server.

use super::janus_connection::JanusConnection;
use crate::commands::server_connection::ServerConnection;
use crate::exit::Failure;
use crate::id::UserId;
use crate::janus::JanusEvent;
use crate::protocol::{ClientMessage, IceCandidate};
use crate::signal::{ServerUrl, SignalEvent};

/// The connection to the server that has the room.
pub(super) enum Signalling<'a> {
    Classroom(Box<ServerConnection<'a>>),
    Janus(Box<JanusConnection<'a>>),
}

/// An event of the server.
pub(super) enum ServerEvent {
    Classroom(SignalEvent),
    Janus(JanusEvent),
}

impl Signalling<'_> {
    /// Waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// If no server is found in time, or if it refuses this student.
    pub(super) async fn next(&mut self) -> Result<ServerEvent, Failure> {
        match self {
            Self::Classroom(server) => server.next().await.map(ServerEvent::Classroom),
            Self::Janus(janus) => janus.next().await.map(ServerEvent::Janus),
        }
    }

    /// The server that the last event came from; `None` during a search.
    pub(super) fn server(&self) -> Option<&ServerUrl> {
        match self {
            Self::Classroom(server) => server.server(),
            Self::Janus(janus) => Some(janus.server()),
        }
    }

    /// The name of the server in sentences.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Classroom(_) => "the signalling server",
            Self::Janus(_) => "the Janus server",
        }
    }

    /// Sends a message of the classroom protocol. Returns false if it reaches no server.
    pub(super) fn send(&self, message: ClientMessage) -> bool {
        match self {
            Self::Classroom(server) => server.send(message),
            Self::Janus(_) => false,
        }
    }

    /// Sends a candidate of the connection to the publisher. Without a server it is lost; when the server is back, a
    /// new offer follows.
    pub(super) fn candidate(&self, publisher: &UserId, candidate: IceCandidate) {
        match self {
            Self::Classroom(server) => {
                let target_uid = publisher.clone();
                server.send(ClientMessage::Candidate { entry: None, target_uid, candidate, source: None });
            }
            Self::Janus(janus) => janus.candidate(candidate),
        }
    }

    /// Sends the answer to an offer of Janus, which came from there or in the publisher's name.
    pub(super) fn answer(&self, publisher: &UserId, sdp: String) {
        match self {
            Self::Classroom(server) => {
                let (entry, target_uid, source) = (None, publisher.clone(), None);
                server.send(ClientMessage::Answer { entry, target_uid, sdp, source });
            }
            Self::Janus(janus) => janus.answer(sdp),
        }
    }

    /// Checks whether the server still answers.
    pub(super) fn probe(&self) {
        match self {
            Self::Classroom(server) => server.probe(),
            Self::Janus(janus) => janus.probe(),
        }
    }

    /// Leaves the room.
    pub(super) async fn leave(self) {
        match self {
            Self::Classroom(server) => server.leave().await,
            Self::Janus(janus) => janus.leave().await,
        }
    }
}
