//! classroom
pub mod id;
pub mod peer;
pub mod rtp;
