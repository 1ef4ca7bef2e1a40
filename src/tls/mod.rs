//! TLS for signalling and the pages: the server's certificate, and what a client trusts.
//!
//! A server ([`ServerTls`]) has either the files of `--tls-cert` and `--tls-key`, or a certificate of its own: a CA in
//! the state folder of this user signs it for all names and addresses of this computer. Both are renewed while
//! connections stay open.
//!
//! A client ([`Trust`]) trusts the system's root certificates, the CA of this computer and the file of `--ca`, or
//! exactly one [`Fingerprint`]. What a client trusted at first sight is kept in [`KnownServers`].
//!
//! Media does not use this folder: DTLS has certificates of its own, whose fingerprints travel through signalling.

mod authority;
mod fingerprint;
mod known;
mod leaf;
mod names;
mod server;
mod system;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use authority::CaError;
pub use fingerprint::{Fingerprint, Identity, IdentityError};
pub use known::KnownServers;
pub use names::TypedHost;
pub use server::{CertificateError, CertificateSource, HANDSHAKE_RECORD, ServerTls, ServerTlsStream};
pub(crate) use system::connect_by_system_roots;
pub use trust::{Stream, TlsError, Trust, TrustError};

/// The cryptography of every connection. The process has no default provider, because the media library may bring its
/// own.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
