//! SRTP for one peer: captures the session keys, encrypts outgoing RTP, and decrypts incoming RTCP.

mod open;
mod provider;
#[cfg(test)]
pub(crate) mod random;
mod seal;
mod session;

pub(crate) use open::Opener;
pub(crate) use provider::{SessionKeys, capturing};
pub(crate) use seal::Sealing;
pub(crate) use session::{TAG_BYTES, is_rtcp};
