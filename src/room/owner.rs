//! The owner of a room: the only client that may publish in it.

use super::Newcomer;
use crate::access::Identity;
use crate::id::UserId;
use crate::protocol::SessionSecret;

/// The owner of a room.
#[derive(Debug)]
pub(super) enum Owner {
    /// The client that a process reserved its room for. The ownership does not end.
    Reserved {
        /// The user id.
        user: UserId,
        /// The secret of the client.
        session: SessionSecret,
    },
    /// The client that published last.
    Publisher {
        /// The secret of the client.
        session: SessionSecret,
        /// The client's proved identity.
        identity: Option<Identity>,
    },
}

impl Owner {
    /// The owner of a room in which `publisher` publishes.
    pub(super) fn publisher(publisher: &Newcomer) -> Self {
        Self::Publisher { session: publisher.session.clone(), identity: publisher.identity.clone() }
    }

    /// Whether the newcomer is this owner.
    pub(super) fn is(&self, newcomer: &Newcomer) -> bool {
        match self {
            Self::Reserved { session, .. } => *session == newcomer.session,
            Self::Publisher { session, identity } => {
                *session == newcomer.session || identity.is_some() && *identity == newcomer.identity
            }
        }
    }

    /// Whether the user id is reserved for another client.
    pub(super) fn keeps_id_from(&self, newcomer: &Newcomer) -> bool {
        matches!(self, Self::Reserved { user, session } if *user == newcomer.user && *session != newcomer.session)
    }

    /// Whether the room is reserved for the client with this secret.
    pub(super) fn is_reserved_for(&self, secret: &SessionSecret) -> bool {
        matches!(self, Self::Reserved { session, .. } if session == secret)
    }

    /// Whether the ownership lasts as long as the server.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::Reserved { .. })
    }
}
