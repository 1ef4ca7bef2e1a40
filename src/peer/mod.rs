//! Peer connections: the only place that names webrtc.
//!
//! - [`hub`]: the publisher. The sans-I/O core of many connections on one thread and one UDP socket.
//! - [`link`]: a student. One connection of the async `webrtc` API.
//! - [`engine`]: what both ends negotiate.
//! - [`offer`]: what a student's offer asks for, checked before anything is built of it.

pub mod engine;
pub mod hub;
pub mod link;
pub mod offer;
