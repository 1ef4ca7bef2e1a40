//! SRTP for one peer: where the session keys come from, sealing what is sent, opening what comes back.

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
