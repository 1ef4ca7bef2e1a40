//! A client of [Janus](https://janus.conf.meetecho.com), an SFU of somebody else: its WebSocket API and its VideoRoom
//! plugin. [`Subscriber`] finds the publisher of a room and gets its streams, [`serve_room`] does so for many students,
//! and [`JanusHost`] publishes in a room; the peer connections are those of [`crate::viewer`], [`crate::publisher`] and
//! of the students.
//!
//! A session is one WebSocket with some handles, each of them an attachment to the plugin with at most one peer
//! connection: one for the participant, one for its subscription. Janus offers to subscribers, and publishers offer to
//! Janus. Janus ends a session with its connection, and all peer connections with the session, so a lost connection
//! means a new session.
//!
//! Messages of Janus are parsed by `wire` and `video_room`; `transactions` knows what is waited for and how
//! long, `feeds` decides who is watched. These four are pure.

mod error;
mod feeds;
pub(crate) mod fuzz;
mod member;
mod publisher;
mod session;
mod subscribe;
mod subscriber;
mod subscriptions;
mod transactions;
mod url;
mod video_room;
mod wire;

#[cfg(test)]
mod tests;

pub use self::error::JanusError;
pub use self::member::JanusRoom;
pub use self::publisher::{JanusHost, JanusPublication, PublishedJanus};
pub use self::session::JanusServer;
pub use self::subscribe::JanusOffer;
pub use self::subscriber::{JanusEvent, JanusPublisher, Subscriber};
pub use self::subscriptions::{Subscription, SubscriptionEvent, check, serve_room};
pub use self::url::{JanusUrl, JanusUrlError};
pub use self::video_room::JanusId;
