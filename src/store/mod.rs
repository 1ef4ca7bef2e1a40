//! A server on several machines: its nodes, and the owner of each room, in Redis or in memory. An edge without Redis
//! has an [`OriginStore`].
//!
//! A node is a process. One node owns a room: it holds the room's [`Lease`], which ends by itself unless it is renewed.
//! The generation of a lease is larger than that of every earlier lease, so a node that was the owner can't pass for
//! the owner. [`crate::signal`] runs the rooms of a node and passes the messages on; nothing but the state of nodes and
//! rooms is in the store, and nobody waits there for a message.
//!
//! # In Redis
//!
//! | key | value | ends |
//! | --- | --- | --- |
//! | `classroom:nodes` | sorted set: the id of each node, by the time of its end (ms since 1970) | by the next look |
//! | `classroom:node:<node>` | JSON of [`Node`] | [`Times::lease`] after the last renewal |
//! | `classroom:rooms:<node>` | JSON list of the node's rooms, each a [`RoomSummary`] | the same |
//! | `classroom:lease:<room>` | `<node> <generation>` | the same |
//! | `classroom:generation` | the last generation, at least the time in microseconds since 1970 | never |
//! | `meeting-room::<room>` | hash: user id to the JSON of [`User`], for other programs | the same |
//!
//! What is read from Redis, others may have written: values are cut at a fixed length, parsed into types, and left out
//! if they can't be. A lease that is malformed, or that would never end, is no lease.
//!
//! Scripts name keys that they derive, so a Redis Cluster does not fit; Redis with replicas does.

mod memory;
mod origin;
mod redis;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::id::{NodeId, RoomId, UserId};
use crate::protocol::{SessionSecret, User};
use crate::room::RoomSummary;

pub use self::memory::MemoryStore;
pub use self::origin::OriginStore;
pub use self::redis::{RedisStore, RedisUrl, RedisUrlError};

/// The most nodes that a node knows of.
pub const MAX_NODES: usize = 128;

/// The longest JSON of a node, in bytes.
const MAX_NODE_BYTES: usize = 2_048;

/// The longest JSON list of the rooms of a node, in bytes: rooms that do not fit are left out, empty ones first.
const MAX_LIST_BYTES: usize = 256 * 1024;

/// The bytes of the lists of all nodes that a node reads: some 16,000 rooms. Lists that do not fit count as empty.
const MAX_LISTS_BYTES: usize = 4 * 1024 * 1024;

/// The longest URL of a node, in bytes.
const MAX_URL_BYTES: usize = 512;

/// How often nodes renew, and after which silence they count as dead.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The interval between two renewals.
    pub renew: Duration,
    /// The life of a lease, and of the entry of a node, after a renewal.
    pub lease: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { renew: Duration::from_secs(2), lease: Duration::from_secs(6) }
    }
}

/// A node, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The id, another one for each process.
    pub id: NodeId,
    /// The URL of its port for the other nodes: `ws://HOST:PORT` or `wss://HOST:PORT`.
    pub url: String,
    /// The fingerprint of its certificate, or of the CA, if no CA that everybody trusts vouches for it.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Another node shows this secret to pass members on to this node.
    pub secret: SessionSecret,
    /// A digest of the settings that all nodes must have in common.
    pub settings: u16,
}

impl Node {
    /// Parses the JSON of the node with this id.
    pub(crate) fn parse(id: &NodeId, json: &[u8]) -> Option<Self> {
        let node: Self = serde_json::from_slice(json).ok()?;
        (node.id == *id && node.url.len() <= MAX_URL_BYTES).then_some(node)
    }
}

/// A node and its rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// The node.
    pub node: Node,
    /// The rooms that it owns.
    pub rooms: Vec<RoomSummary>,
}

/// The right to run a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The owner.
    pub node: NodeId,
    /// Larger than the generation of each earlier lease.
    pub generation: u64,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.node, self.generation)
    }
}

impl Lease {
    /// Parses `<node> <generation>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (node, generation) = text.split_once(' ')?;
        Some(Self { node: node.parse().ok()?, generation: generation.parse().ok()? })
    }
}

/// The result of renewing a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// The lease goes on.
    Kept,
    /// The lease has ended, and nobody owns the room.
    Free,
    /// Another lease has replaced it.
    Taken(Lease),
}

/// A change of the members of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberChange {
    /// Whether `joined` are all members, so that others are removed.
    pub is_whole: bool,
    /// Members that joined or changed.
    pub joined: Vec<User>,
    /// Members that left.
    pub left: Vec<UserId>,
}

impl MemberChange {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        !self.is_whole && self.joined.is_empty() && self.left.is_empty()
    }
}

/// Why the store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No answer, or no connection.
    #[error("can't reach Redis at {server}: {cause}")]
    Unreachable {
        /// The server, without user and password.
        server: String,
        /// The cause.
        cause: String,
    },
    /// An answer that makes no sense.
    #[error("Redis at {server} refused a command: {cause}")]
    Refused {
        /// The server, without user and password.
        server: String,
        /// The cause.
        cause: String,
    },
}

/// Where nodes meet. Each call is one exchange with the store, whatever the number of rooms.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Takes the room for a node if nobody owns it. Returns the lease of the owner, whoever that is.
    async fn acquire(&self, room: &RoomId, node: &NodeId) -> Result<Lease, StoreError>;

    /// Extends these leases, and the lists of members of their rooms. One result for each lease, in their order.
    async fn renew(&self, leases: &[(RoomId, Lease)]) -> Result<Vec<Renewal>, StoreError>;

    /// Ends a lease, and removes the list of members of the room. Does nothing if another lease has replaced this one.
    async fn release(&self, room: &RoomId, lease: &Lease) -> Result<(), StoreError>;

    /// The owners of these rooms, in their order.
    async fn owners(&self, rooms: &[RoomId]) -> Result<Vec<Option<Lease>>, StoreError>;

    /// Says that the node is alive, and which rooms it owns.
    async fn announce(&self, node: &Node, rooms: &[RoomSummary]) -> Result<(), StoreError>;

    /// Says that the node ends.
    async fn withdraw(&self, node: &NodeId) -> Result<(), StoreError>;

    /// The node with this id, if it is alive.
    async fn node(&self, id: &NodeId) -> Result<Option<Node>, StoreError>;

    /// All nodes that are alive, at most [`MAX_NODES`].
    async fn nodes(&self) -> Result<Vec<NodeView>, StoreError>;

    /// Changes the list of the members of a room. False if another lease has replaced this one; nothing has changed
    /// then.
    async fn write_members(&self, room: &RoomId, lease: &Lease, change: &MemberChange) -> Result<bool, StoreError>;
}

/// The JSON list of as many rooms as fit, those with somebody inside first.
fn list_json(rooms: &[RoomSummary]) -> String {
    let mut order: Vec<&RoomSummary> = rooms.iter().collect();
    order.sort_by_key(|room| room.publisher.is_none() && room.watching == 0);
    let mut json = String::from("[");
    for room in order {
        // Names and numbers always have a JSON form.
        let Ok(entry) = serde_json::to_string(room) else { continue };
        if json.len() + entry.len() + 2 > MAX_LIST_BYTES {
            break;
        }
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&entry);
    }
    json.push(']');
    json
}
