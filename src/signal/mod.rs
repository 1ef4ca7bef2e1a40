//! Signalling: the WebSocket server that rooms are reached through, the client that finds its way back to it, and how
//! one learns of the other.
//!
//! The words are those of [`crate::protocol`], the decisions those of [`crate::room`]; here are sockets, queues and
//! time-outs.

mod attempt;
mod backoff;
mod client;
mod connection;
mod dial;
mod discovery;
mod local;
mod outbox;
mod server;
mod session;
mod url;

pub use backoff::Backoff;
pub use client::{Client, ClientConfig, Goodbye, QueueFull, SignalError, SignalEvent};
pub use discovery::{Announcement, DiscoveryError, Found, announce, discover};
pub use local::LocalMember;
pub use server::{Limits, Server};
pub use session::SessionToken;
pub use url::{ServerUrl, ServerUrlError};
