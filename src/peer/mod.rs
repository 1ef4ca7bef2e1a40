//! Peer connections: the only place that names webrtc.
//!
//! - [`hub`]: the publisher. The sans-I/O core of many connections on one thread and one UDP socket.
//! - [`link`]: a student. One connection of the async `webrtc` API.
//! - [`crowd`]: many students in one process, for benchmarks.
//! - [`emulator`]: a bad network for one student, for benchmarks and tests.
//! - [`floor`]: what this machine takes at least for a packet.
//! - [`engine`]: what both ends negotiate.
//! - [`offer`]: what a student's offer asks for, checked before anything is built of it.
//! - [`pulse`]: whether this process stood still.

pub mod crowd;
pub mod emulator;
pub mod engine;
pub mod floor;
pub mod hub;
pub mod link;
pub mod offer;
pub mod pulse;
mod retransmissions;
