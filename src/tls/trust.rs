//! A client's trust, its TLS connection, and the sentences about failures.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, InvalidMessage, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::authority;
use super::fingerprint::Fingerprint;
use super::verifier::{OtherIdentity, Verifier};
use crate::state_dir;

/// Bytes of a client's connection, plain or sealed by TLS.
pub trait Bytes: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Bytes for T {}

/// A client's connection, plain or sealed by TLS.
pub type Stream = Box<dyn Bytes>;

/// The file of `--ca` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file can't be read.
    #[error("can't read --ca {0}: {1}")]
    File(PathBuf, String),
    /// The file has no certificate.
    #[error("--ca {0} has no certificate; give the file that http://SERVER:PORT/ca sends, or that of your school's CA")]
    NoCertificate(PathBuf),
}

/// Why there is no secure connection to a server. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The server answers, but not in TLS.
    #[error("it does not speak TLS on this port: use ws:// instead of wss://, or start the server with --tls")]
    NotTls,
    /// The server wants TLS, and the client spoke HTTP.
    #[error("it wants TLS: use wss:// instead of ws://, with --fingerprint or --ca as `teach` and `serve` print it")]
    WantsTls,
    /// Nobody that the client trusts vouches for the server.
    #[error(
        "this computer does not know the CA of its certificate: add --ca FILE, or, if the teacher's screen shows the \
         same fingerprint, --fingerprint {0}"
    )]
    UnknownCa(Fingerprint),
    /// The certificate has expired, or the clock of this computer is wrong.
    #[error("its certificate has expired: renew it at the server (--tls-cert), or set the clock of this computer")]
    Expired,
    /// The certificate is not valid yet, or the clock of this computer is wrong.
    #[error("its certificate is not valid yet: set the clock of this computer or of the server")]
    NotYetValid,
    /// The certificate is for other names.
    #[error("its certificate is for {names} and not for {host}: use one of these names, or add --fingerprint")]
    WrongName {
        /// The name or address that the client typed.
        host: String,
        /// The names of the certificate.
        names: String,
    },
    /// The server is another one than the pinned one.
    #[error(
        "its identity is {found} and not {expected}: this is another server, or it has a new CA. If the teacher's \
         screen shows the new fingerprint, add --fingerprint {found} once"
    )]
    OtherIdentity {
        /// The pinned identity.
        expected: Fingerprint,
        /// The identity of the server that answered.
        found: Fingerprint,
    },
    /// Anything else that is wrong about the certificate or the protocol.
    #[error("the TLS handshake failed: {0}; check the certificate of the server")]
    Handshake(String),
    /// The connection broke off during the handshake.
    #[error("the connection broke off during the TLS handshake: {0}")]
    Broken(String),
}

impl TlsError {
    /// Whether the same attempt may soon succeed.
    pub fn may_change(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

/// A client's trust. A clone shares the root certificates.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The root certificates; `None`: only the pinned certificate counts.
    roots: Option<Arc<Roots>>,
    pin: Option<Fingerprint>,
}

/// Root certificates, read when the first connection needs them.
#[derive(Debug)]
struct Roots {
    /// Of `--ca`.
    typed: Vec<CertificateDer<'static>>,
    verifier: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl Default for Trust {
    /// Trusts the root certificates of the system and the CA of this computer.
    fn default() -> Self {
        Self { roots: Some(Arc::new(Roots { typed: Vec::new(), verifier: OnceLock::new() })), pin: None }
    }
}

impl Trust {
    /// Trusts the root certificates of the system, the CA of this computer, and those of the file.
    ///
    /// # Errors
    /// If the file has no certificate.
    pub fn roots(ca: Option<&Path>) -> Result<Self, TrustError> {
        let typed = ca.map(read_certificates).transpose()?.unwrap_or_default();
        Ok(Self { roots: Some(Arc::new(Roots { typed, verifier: OnceLock::new() })), pin: None })
    }

    /// Trusts only this certificate, of a server or of its CA.
    pub fn pinned(fingerprint: Fingerprint) -> Self {
        Self { roots: None, pin: Some(fingerprint) }
    }

    /// Trusts this certificate as well.
    #[must_use]
    pub fn or(self, fingerprint: Option<Fingerprint>) -> Self {
        Self { pin: fingerprint, ..self }
    }

    /// Does the handshake over a TCP connection to `host`. The caller limits its time.
    ///
    /// # Errors
    /// If the server is not the one that the client trusts, or does not speak TLS.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> Result<Stream, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| TlsError::Handshake(error.to_string()))?;
        let provider = super::provider();
        let roots = self.roots.as_ref().and_then(|roots| roots.verifier());
        let verifier = Verifier { roots, pin: self.pin, provider: provider.clone() };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| TlsError::Handshake(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(self.explain(&error, host)),
        }
    }

    fn explain(&self, error: &io::Error, host: &str) -> TlsError {
        let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) else {
            return TlsError::Broken(error.to_string());
        };
        let certificate = match cause {
            rustls::Error::InvalidCertificate(certificate) => certificate,
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => return TlsError::NotTls,
            other => return TlsError::Handshake(other.to_string()),
        };
        match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsError::NotYetValid,
            CertificateError::NotValidForName => TlsError::WrongName { host: host.into(), names: "other names".into() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                TlsError::WrongName { host: host.into(), names: shown_names(presented) }
            }
            CertificateError::Other(other) => match (other.0.downcast_ref::<OtherIdentity>(), self.pin) {
                (Some(OtherIdentity { found }), Some(expected)) => TlsError::OtherIdentity { expected, found: *found },
                (Some(OtherIdentity { found }), None) => TlsError::UnknownCa(*found),
                (None, _) => TlsError::Handshake(certificate.to_string()),
            },
            other => TlsError::Handshake(other.to_string()),
        }
    }
}

impl Roots {
    /// The verifier; `None` if there is no root certificate at all.
    fn verifier(&self) -> Option<Arc<WebPkiServerVerifier>> {
        let make = || {
            let mut store = RootCertStore::empty();
            // A broken certificate of the system is skipped.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            store.add_parsable_certificates(own_ca());
            store.add_parsable_certificates(self.typed.iter().cloned());
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), super::provider()).build().ok()
        };
        self.verifier.get_or_init(make).clone()
    }
}

/// The certificate of this computer's CA, if there is one.
fn own_ca() -> Option<CertificateDer<'static>> {
    let pem = std::fs::read(state_dir::state_dir().ok()?.join(authority::FILE)).ok()?;
    CertificateDer::from_pem_slice(&pem).ok()
}

/// The certificates of a file, in PEM or as one in DER.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let content = std::fs::read(path).map_err(|error| TrustError::File(path.into(), error.to_string()))?;
    let mut found: Vec<_> = CertificateDer::pem_slice_iter(&content).filter_map(Result::ok).collect();
    if found.is_empty() {
        found.push(CertificateDer::from(content));
    }
    let (added, _) = RootCertStore::empty().add_parsable_certificates(found.iter().cloned());
    if added == 0 { Err(TrustError::NoCertificate(path.into())) } else { Ok(found) }
}

/// At most four names. The library shows them as `DnsName("a")`.
fn shown_names(presented: &[String]) -> String {
    const MOST: usize = 4;
    let name = |text: &String| text.split('"').nth(1).unwrap_or(text).to_owned();
    let names: Vec<String> = presented.iter().take(MOST).map(name).collect();
    let more = if presented.len() > MOST { " and others" } else { "" };
    if names.is_empty() { "no name".into() } else { names.join(", ") + more }
}
