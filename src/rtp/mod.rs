//! RTP as plain bytes and numbers: assembling and keeping frames, rewriting headers, retransmitting, and receiving.
//!
//! A [`FrameAssembler`] builds [`Frame`]s from a payloader's packets. The SFU keeps them once per encoding in a
//! [`FrameRing`], and each peer has one [`Subscription`] per track that reads from it. A viewer's [`JitterBuffer`]
//! restores the order and timing of received packets. This module uses no clock, no socket, no webrtc and no gstreamer.

mod delays;
mod encoding;
mod frame;
mod frame_ring;
mod jitter;
mod key_frame_requests;
mod packet;
mod payload;
mod rtx;
mod subscription;

pub use delays::Delays;
pub use encoding::{Encoding, PerCodec, PerEncoding, PerTrack, Tier};
pub(crate) use frame::MAX_FRAME_PACKETS;
pub use frame::{Codec, Frame, FrameAssembler, HEADER_BYTES, Track, payload_offset};
pub use frame_ring::FrameRing;
pub use jitter::{JitterBuffer, Latency, LossStats, MAX_DELAY, MIN_DELAY, PlayoutEvent};
pub use key_frame_requests::KeyFrameRequests;
pub use packet::{MAX_HEADER_BYTES, OutgoingPacket, PlayoutDelay, PlayoutLimits, TwccSequenceNumber};
pub(crate) use payload::has_parameter_sets;
pub use payload::starts_key_frame;
pub(crate) use rtx::{RtxStream, SentTwccNumbers};
pub use subscription::{
    MAX_FIRST_SEQUENCE_NUMBER, MAX_LATENESS, REPLAY_AGE, REPLAY_BYTES, Start, Subscription, timestamp_at,
};
