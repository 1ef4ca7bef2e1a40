//! Who owns a room: the only client that may publish in it.

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
    /// The teacher who created the room and has not come yet.
    Creator(Identity),
    /// The client that published last.
    Publisher {
        /// The secret of the client.
        session: SessionSecret,
        /// Who the client has proved to be.
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
            Self::Creator(identity) => is_identity(Some(identity), newcomer),
            Self::Publisher { session, identity } => {
                *session == newcomer.session || is_identity(identity.as_ref(), newcomer)
            }
        }
    }

    /// Whether the user id is reserved for another client.
    pub(super) fn keeps_id_from(&self, newcomer: &Newcomer) -> bool {
        matches!(self, Self::Reserved { user, session } if *user == newcomer.user && *session != newcomer.session)
    }

    /// Whether the ownership lasts as long as the server.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::Reserved { .. })
    }
}

fn is_identity(identity: Option<&Identity>, newcomer: &Newcomer) -> bool {
    identity.is_some() && newcomer.identity.as_ref() == identity
}
