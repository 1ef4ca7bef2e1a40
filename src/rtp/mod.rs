//! RTP as plain bytes and numbers: what the pipelines hand over, what the hub keeps, rewrites and repairs.
//!
//! A [`FrameAssembler`] makes [`Frame`]s of a payloader's packets. The hub keeps them once per track in a
//! [`FrameRing`]; each student has a [`Subscription`] to it, and a [`Controller`](control::Controller) that says which
//! tiers it gets. A student's [`Playout`] puts what arrives back into order and time. Nothing here knows a clock, a
//! socket, webrtc or gstreamer.

pub mod control;
mod delays;
mod encoding;
mod frame;
mod key_requests;
mod keyframe;
mod opus;
mod out;
mod playout;
mod ring;
mod subscription;

pub use delays::Delays;
pub use encoding::{Encoding, PerEncoding, Tier};
pub use frame::{Codec, Frame, FrameAssembler, HEADER_BYTES, Track, payload_offset};
pub use key_requests::KeyRequests;
pub use keyframe::starts_key_frame;
pub use out::{MAX_HEADER_BYTES, OutPacket, TransportNumber};
pub use playout::{LEAST_DELAY, Latency, MOST_DELAY, Missing, Played, Playout};
pub use ring::FrameRing;
pub use subscription::{
    MAX_FIRST_SEQUENCE_NUMBER, MAX_LATENESS, REPLAY_AGE, REPLAY_BYTES, Start, Subscription, timestamp_at,
};
