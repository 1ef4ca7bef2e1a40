//! Signalling: the WebSocket server of the rooms, the client that reconnects to it, and discovery in the local network.
//!
//! The messages are those of [`crate::protocol`], the decisions those of [`crate::room`]. This folder has the sockets,
//! queues and timeouts.

mod attempt;
mod client;
mod connection;
mod core;
mod dial;
mod discovery;
mod outbox;
mod server;
mod session;
mod url;

pub use self::core::{
    ClusterConfig, ClusterStatus, LocalEdge, LocalHost, LocalMember, OwnTurn, Ownership, ServerConfig, ServerLimits,
    Waiting,
};
pub(crate) use self::core::{FromOwner, ToOwner};
pub use attempt::{ClientConfig, SignalError, SignalEvent};
pub use client::{Client, Goodbye, QueueFull};
pub use dial::Backoff;
pub(crate) use dial::dial;
pub use discovery::{Announced, Announcement, DiscoveryError, Found, announce, discover};
pub use server::Server;
pub use session::SessionToken;
pub use url::{ServerUrl, ServerUrlError};
