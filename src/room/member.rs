//! A member of a room, a client that asks to become one, and the media host of a room: the state of each.

use std::time::Instant;

use super::pending::Mailbox;
use super::{ConnId, Newcomer};
use crate::id::UserId;
use crate::network::{Network, NetworkTag};
use crate::protocol::channel::MAX_SPEAKERS;
use crate::protocol::{MAX_CANDIDATES_PER_OFFER, RETURN_BURST, RETURN_RATE, User};
use crate::token_bucket::TokenBucket;

/// A client that asks to join, with its connection.
#[derive(Debug)]
pub(super) struct Applicant {
    pub(super) conn: ConnId,
    pub(super) newcomer: Newcomer,
    pub(super) tag: NetworkTag,
}

/// A member of a room.
#[derive(Debug)]
pub(super) struct Member {
    /// The member as others see it.
    pub(super) user: User,
    /// The member as it came, with what nobody else learns of it.
    pub(super) newcomer: Newcomer,
    pub(super) tag: NetworkTag,
    pub(super) since: Instant,
    pub(super) connection: Connection,
    pub(super) media: Media,
    /// Whether the member has passed the gate in this lecture. Students who came before the publisher have not.
    pub(super) is_admitted: bool,
    pub(super) candidates: CandidateBudget,
    /// Limits how often the client joins again.
    pub(super) returns: TokenBucket,
}

/// How messages reach a member.
#[derive(Debug)]
pub(super) enum Connection {
    Open(ConnId),
    Lost { until: Instant, mailbox: Mailbox },
}

/// Whether the publisher has connected a member's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Connected,
    Missing { since: Instant },
}

/// The candidates that are still relayed, for each of the latest targets that a member offered to, the latest one last.
#[derive(Debug, Default)]
pub(super) struct CandidateBudget(Vec<(UserId, u32)>);

impl CandidateBudget {
    /// The publisher, each speaker, and the member itself.
    const MAX_TARGETS: usize = 2 + MAX_SPEAKERS;

    /// The member offers to `target`.
    pub(super) fn offered(&mut self, target: &UserId) {
        self.0.retain(|(known, _)| known != target);
        if self.0.len() == Self::MAX_TARGETS {
            self.0.remove(0);
        }
        self.0.push((target.clone(), MAX_CANDIDATES_PER_OFFER));
    }

    /// Counts a candidate; false if it is not relayed.
    pub(super) fn take(&mut self, target: &UserId) -> bool {
        let left = self.0.iter_mut().find(|(known, _)| known == target).map(|(_, left)| left);
        left.is_some_and(|left| left.checked_sub(1).map(|rest| *left = rest).is_some())
    }
}

/// The media host of a room.
#[derive(Debug)]
pub(super) struct Host {
    /// The publisher for whom the host speaks.
    pub(super) publisher: UserId,
    /// The epoch that others see of the publisher: it stays while the host does, so students keep their media when the
    /// publisher returns with another process. It is another one at a server that was restarted.
    pub(super) epoch: u32,
    /// The connection; none until the server has started the host.
    pub(super) conn: Option<ConnId>,
    /// The end of the host, while its publisher is not in the room.
    pub(super) until: Option<Instant>,
    /// The publisher's network.
    pub(super) network: Network,
    /// From this time on, another room may take the place of this one, because the publisher's media has not arrived,
    /// or is lost for long. None while the media runs.
    pub(super) without_media_from: Option<Instant>,
}

impl Member {
    /// A member that joins now.
    pub(super) fn new(now: Instant, applicant: Applicant, is_admitted: bool) -> Self {
        let Applicant { conn, newcomer, tag } = applicant;
        Self {
            user: newcomer.user_entry(),
            newcomer,
            tag,
            since: now,
            connection: Connection::Open(conn),
            media: Media::Missing { since: now },
            is_admitted,
            candidates: CandidateBudget::default(),
            returns: TokenBucket::new(RETURN_RATE, RETURN_BURST),
        }
    }

    /// The open connection.
    pub(super) fn conn(&self) -> Option<ConnId> {
        match self.connection {
            Connection::Open(conn) => Some(conn),
            Connection::Lost { .. } => None,
        }
    }

    /// When the user id is free, if the connection is lost.
    pub(super) fn lost_until(&self) -> Option<Instant> {
        match self.connection {
            Connection::Lost { until, .. } => Some(until),
            Connection::Open(_) => None,
        }
    }

    /// Whether the gate, kicks and bans concern this member.
    pub(super) fn is_student(&self) -> bool {
        !self.user.publishes && !self.user.moderates
    }

    /// Whether the member takes a place of the room: a lost connection keeps only its user id, unless media runs.
    pub(super) fn has_place(&self) -> bool {
        self.is_student() && (self.conn().is_some() || self.media == Media::Connected)
    }
}

impl Newcomer {
    /// Whether both are the same client, by session or by token.
    pub(super) fn is_same_client(&self, other: &Self) -> bool {
        self.session == other.session || self.reserved && other.reserved && self.identity == other.identity
    }

    /// Whether both are the same process of the same client. Epoch 0 means that the epoch is unknown.
    pub(super) fn is_same_process(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.publishes == other.publishes && self.media == other.media
    }

    /// The client as others see it.
    pub(super) fn user_entry(&self) -> User {
        User {
            user_id: self.user.clone(),
            nickname: self.nickname.clone(),
            publishes: self.publishes,
            epoch: self.epoch,
            client: self.client,
            moderates: self.moderates,
        }
    }

    /// Whether a guest with the same user id has to give it up.
    pub(super) fn takes_id_from_guests(&self) -> bool {
        self.reserved || self.publishes && self.identity.is_some()
    }

    /// Whether the room's gate does not concern this client.
    pub(super) fn passes_gate(&self) -> bool {
        self.publishes || self.moderates
    }
}
