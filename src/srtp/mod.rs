//! SRTP for one peer: where the session keys come from, sealing what is sent, opening what comes back.

mod keys;
mod open;
#[cfg(test)]
pub(crate) mod random;
mod seal;

pub(crate) use keys::{Found, listening};
pub(crate) use open::{Opener, is_rtcp};
pub(crate) use seal::{CoreWriter, Sealer, TAG_BYTES};
