//! DTLS with one peer: the records that the library may read, the flights of the handshake, and the SCTP packets in
//! application data.

pub(crate) mod flights;
pub(crate) mod records;
pub(crate) mod sctp;
