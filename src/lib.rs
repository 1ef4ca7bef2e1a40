pub mod id;
pub mod rtp;
