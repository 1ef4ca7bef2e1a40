//! A member of a room, a client that asks to become one, and the media host of a room: the state of each.

use std::time::Instant;

use super::pending::Mailbox;
use super::{ConnId, Newcomer};
use crate::id::UserId;
use crate::network::{Network, NetworkTag};
use crate::protocol::{
    CALL_BURST, CALL_RATE, MAX_CANDIDATES_PER_OFFER, MAX_PARTICIPANTS, PARTICIPANT_OFFER_BURST, PARTICIPANT_OFFER_RATE,
    RETURN_BURST, RETURN_RATE, RoomKind, User,
};
use crate::token_bucket::TokenBucket;

/// Changes of what a participant sends, per second and in a burst: as fast as a person clicks.
const CHANGE_RATE: u32 = 2;
const CHANGE_BURST: u32 = 10;

/// Files that a participant brings to the server, per second and in a burst: all others are told of each.
const FILE_RATE: u32 = 1;
const FILE_BURST: u32 = 10;

/// A client that asks to join, with its connection.
#[derive(Debug)]
pub(super) struct Applicant {
    pub(super) conn: ConnId,
    pub(super) newcomer: Newcomer,
    pub(super) tag: NetworkTag,
    /// The kind of the room that the client opens by joining.
    pub(super) opens: Option<Opening>,
}

/// A meeting or call room that opens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) kind: RoomKind,
    /// The entries get numbers after this one, which no earlier server has used.
    pub(super) last_entry: u32,
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
    pub(super) pace: Pace,
}

/// Limits what a member of a meeting or call room makes others do.
#[derive(Debug)]
pub(super) struct Pace {
    /// Calls, and entries into a conference.
    pub(super) calls: TokenBucket,
    /// Changes of what a participant sends. More of them are told later, several at once.
    pub(super) changes: TokenBucket,
    /// Offers to other participants, and to the server for their media.
    pub(super) offers: TokenBucket,
    /// Files for the server.
    pub(super) files: TokenBucket,
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
/// A target is a user, or the entry of a participant.
#[derive(Debug, Default)]
pub(super) struct CandidateBudget(Vec<((UserId, Option<u32>), u32)>);

impl CandidateBudget {
    /// The participants of a meeting, each directly and over the server. A lecture has fewer targets: the publisher,
    /// the speakers, and the member itself.
    const MAX_TARGETS: usize = 2 * MAX_PARTICIPANTS;

    /// The member offers to `target`, or answers.
    pub(super) fn offered(&mut self, target: &UserId, entry: Option<u32>) {
        self.0.retain(|((user, known), _)| user != target || *known != entry);
        if self.0.len() == Self::MAX_TARGETS {
            self.0.remove(0);
        }
        self.0.push(((target.clone(), entry), MAX_CANDIDATES_PER_OFFER));
    }

    /// Counts a candidate; false if it is not relayed.
    pub(super) fn take(&mut self, target: &UserId, entry: Option<u32>) -> bool {
        let known = self.0.iter_mut().find(|((user, known), _)| user == target && *known == entry);
        let left = known.map(|(_, left)| left);
        left.is_some_and(|left| left.checked_sub(1).map(|rest| *left = rest).is_some())
    }
}

/// The media host of a lecture.
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

/// The media host of a meeting and its breakout rooms, or of the breakout rooms of a lecture.
#[derive(Debug)]
pub(super) struct ConferenceHost {
    /// The connection; none until the server has started the host.
    pub(super) conn: Option<ConnId>,
    /// The network of the client that opened the room.
    pub(super) network: Network,
    /// As in [`Host`]: none once the media of a participant has arrived.
    pub(super) without_media_from: Option<Instant>,
}

impl Member {
    /// A member that joins now.
    pub(super) fn new(now: Instant, applicant: Applicant, is_admitted: bool) -> Self {
        let Applicant { conn, newcomer, tag, .. } = applicant;
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
            pace: Pace {
                calls: TokenBucket::new(CALL_RATE, CALL_BURST),
                changes: TokenBucket::new(CHANGE_RATE, CHANGE_BURST),
                offers: TokenBucket::new(PARTICIPANT_OFFER_RATE, PARTICIPANT_OFFER_BURST),
                files: TokenBucket::new(FILE_RATE, FILE_BURST),
            },
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
    /// Whether many messages are for this client, or from it: a publisher, or an edge, which speaks with many students.
    pub(crate) fn is_busy(&self) -> bool {
        self.publishes || self.route.edge.is_some()
    }

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
