//! SRTP for one peer: captures the session keys, encrypts outgoing RTP, and decrypts incoming RTP and RTCP.

mod open;
mod open_rtp;
mod provider;
#[cfg(test)]
pub(crate) mod random;
mod seal;
mod session;

pub(crate) use open::Opener;
pub(crate) use open_rtp::RtpOpener;
pub(crate) use provider::{SessionKeys, capturing};
pub(crate) use seal::{Sealer, Sealing};
pub(crate) use session::{TAG_BYTES, is_rtcp};
