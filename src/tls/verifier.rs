//! How a client checks a server's certificate.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::fingerprint::Fingerprint;

/// Accepts a server that has the pinned certificate, or one that a root certificate vouches for.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Checks the chain, the time and the name.
    pub(super) roots: Option<Arc<WebPkiServerVerifier>>,
    /// The certificate of the server, or of a CA in the chain that the server sends. The name does not count then: the
    /// fingerprint says which server it is, also behind a router that forwards the port.
    pub(super) pin: Option<Fingerprint>,
    pub(super) provider: Arc<CryptoProvider>,
}

/// The server has another identity than the pinned one.
#[derive(Debug)]
pub(super) struct OtherIdentity {
    /// The last certificate in the chain of the server.
    pub(super) found: Fingerprint,
}

impl fmt::Display for OtherIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server has the identity {}", self.found)
    }
}

impl std::error::Error for OtherIdentity {}

impl Verifier {
    /// Whether the pinned certificate is that of the server, or of the CA that signed it.
    fn is_pinned(
        &self,
        pin: Fingerprint,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<bool, Error> {
        if Fingerprint::of(leaf) == pin {
            return Ok(true);
        }
        let Some(ca) = chain.iter().find(|certificate| Fingerprint::of(certificate) == pin) else {
            return Ok(false);
        };
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let leaf = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, chain, now, algorithms)?;
        Ok(true)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(pin) = self.pin {
            if self.is_pinned(pin, end_entity, intermediates, now)? {
                return Ok(ServerCertVerified::assertion());
            }
        }
        let by_roots = self
            .roots
            .as_ref()
            .map(|roots| roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now));
        match by_roots {
            Some(Ok(verified)) => Ok(verified),
            Some(Err(error)) if self.pin.is_none() && !is_unknown_issuer(&error) => Err(error),
            _ => {
                let found = Fingerprint::of(intermediates.last().unwrap_or(end_entity));
                Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(OtherIdentity { found })))))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_unknown_issuer(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}
