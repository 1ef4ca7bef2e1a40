//! RTP as plain bytes and numbers: what the pipelines hand over, what the SFU keeps, rewrites and repairs.
//!
//! A [`FrameAssembler`] makes [`Frame`]s of a payloader's packets. The SFU keeps them once per track in a
//! [`FrameRing`]; each student has a [`Subscription`] to it, and a [`Controller`](control::Controller) that says which
//! tiers it gets. A student's [`JitterBuffer`] puts what arrives back into order and time. Nothing here knows a clock, a
//! socket, webrtc or gstreamer.

mod delays;
mod encoding;
mod frame;
mod frame_ring;
mod jitter;
mod key_frame_requests;
mod keyframe;
mod opus;
mod packet;
mod rtx;
mod subscription;

pub use delays::Delays;
pub use encoding::{Encoding, PerCodec, PerEncoding, PerTrack, Tier};
pub use frame::{Codec, Frame, FrameAssembler, HEADER_BYTES, Track, payload_offset};
pub use frame_ring::FrameRing;
pub use jitter::{JitterBuffer, Latency, LossStats, MAX_DELAY, MIN_DELAY, PlayoutEvent};
pub use key_frame_requests::KeyFrameRequests;
pub use keyframe::starts_key_frame;
pub use packet::{MAX_HEADER_BYTES, OutgoingPacket, TwccSequenceNumber};
pub(crate) use rtx::{RtxStream, SentTwccNumbers};
pub use subscription::{
    MAX_FIRST_SEQUENCE_NUMBER, MAX_LATENESS, REPLAY_AGE, REPLAY_BYTES, Start, Subscription, timestamp_at,
};
