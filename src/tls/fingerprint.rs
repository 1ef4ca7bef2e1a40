//! The fingerprint of a certificate, and how a server is recognized.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use rustls::pki_types::DnsName;

/// The length of a fingerprint. To find a second certificate with the same 128 bits takes 2^128 trials.
const BYTES: usize = 16;

/// The first 128 bits of the SHA-256 fingerprint of a certificate, as `openssl x509 -fingerprint -sha256` and the
/// certificate viewers of browsers show it.
///
/// A server with a CA of its own is recognized by the certificate of that CA, which it sends along: the CA stays while
/// the server's certificate is renewed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; BYTES]);

/// How a server is recognized.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// By this certificate, its own or that of its CA.
    Certificate(Fingerprint),
    /// By a certificate for this name, from a CA that the client trusts.
    Name(String),
}

/// Why a text is not a fingerprint or a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a fingerprint.
    #[error("{0:?} is not a fingerprint; give sha256: and at least 32 hexadecimal digits, as teach and serve print it")]
    Fingerprint(String),
    /// Neither a fingerprint nor a name.
    #[error("{0:?} is neither a fingerprint nor a name")]
    Neither(String),
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&digest(&SHA256, certificate).as_ref()[..BYTES]);
        Self(bytes)
    }
}

/// The whole SHA-256 fingerprint of a certificate as browsers show it: `AB:CD:..`, 32 bytes.
pub(super) fn whole(certificate: &[u8]) -> String {
    let bytes: Vec<String> = digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = IdentityError;

    /// Parses `sha256:` and 32 to 64 hexadecimal digits; colons and spaces between digits don't count, nor does the
    /// prefix.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let error = || IdentityError::Fingerprint(text.into());
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.strip_prefix("sha256:").unwrap_or(&lower);
        let values = digits.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_digit(16));
        let values: Vec<u32> = values.collect::<Option<_>>().ok_or_else(error)?;
        if !(2 * BYTES..=64).contains(&values.len()) {
            return Err(error());
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(values.chunks_exact(2)) {
            // Two digits of four bits are a byte.
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(fingerprint) => fingerprint.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.starts_with("sha256:") {
            return text.parse().map(Self::Certificate);
        }
        // A name of digits and dots would be taken for an address.
        let is_name = DnsName::try_from(text).is_ok() && text.contains(|c: char| c.is_ascii_alphabetic());
        if is_name { Ok(Self::Name(text.to_ascii_lowercase())) } else { Err(IdentityError::Neither(text.into())) }
    }
}
