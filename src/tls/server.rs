//! The server's certificate: made or read, renewed while connections stay open, and the TLS handshake with it.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::authority::{Authority, CaError, Issued};
use super::fingerprint::{Fingerprint, Identity};
use super::leaf::LeafNames;
use super::names::{Names, TypedHost};

/// The first byte of a TLS connection: the content type of a handshake record (RFC 8446, 5.1). No method of HTTP begins
/// with it.
pub const HANDSHAKE_RECORD: u8 = 0x16;

/// How often to look for changed files and addresses.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A certificate of our own is renewed this long before it expires.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Warn this long before a certificate of `--tls-cert` expires.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

/// The largest file of certificates or of a key.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A connection of a client, after the handshake.
pub type ServerTlsStream<S> = tokio_rustls::server::TlsStream<S>;

/// Where the certificate of a server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// The CA of this computer makes it (`--tls`).
    OwnCa,
    /// PEM files (`--tls-cert`, `--tls-key`).
    Files {
        /// The certificate of the server first, then those of its CAs.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// A certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The CA of this computer.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A file can't be read.
    #[error("can't read {0}: {1}; check --tls-cert and --tls-key")]
    File(PathBuf, io::Error),
    /// A file without a certificate.
    #[error("{0} has no certificate in PEM; give --tls-cert the file of the certificate and of its CAs")]
    NoCertificate(PathBuf),
    /// A file without a key.
    #[error("{0} has no private key in PEM; give --tls-key the file of the key")]
    NoKey(PathBuf),
    /// A certificate and a key that don't belong together, or that are not supported.
    #[error("the certificate of {0} and the key of {1} can't be used: {2}; give --tls-cert and --tls-key one pair")]
    Pair(PathBuf, PathBuf, String),
    /// The TLS library refuses its settings.
    #[error("can't set up TLS: {0}")]
    Setup(String),
}

/// The TLS side of a server. A clone is the same server; the certificate is renewed until the last one is dropped.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    root: Option<Arc<Root>>,
    identity: watch::Receiver<Identity>,
    names: Vec<String>,
    _renewal: Arc<Renewal>,
}

/// The root certificate that users install.
#[derive(Debug)]
struct Root {
    pem: String,
    fingerprint: String,
}

/// Ends the task with the server.
struct Renewal(JoinHandle<()>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerTls({})", *self.identity.borrow())
    }
}

impl ServerTls {
    /// Makes or reads the certificate, and starts the task that renews it. A certificate of our own is also for the
    /// typed hosts, as far as the CA may sign for them. `warn` gets sentences for the operator about
    /// faults and the expiry of the certificate. Call this inside a tokio runtime.
    ///
    /// # Errors
    /// If there is no usable certificate at the start. Later the last usable one stays.
    pub fn start(
        source: CertificateSource,
        typed: Vec<TypedHost>,
        warn: impl Fn(String) + Send + 'static,
    ) -> Result<Self, CertificateError> {
        let mut certificates = Certificates::new(source, typed, SystemTime::now())?;
        certificates.take_warnings().into_iter().for_each(&warn);
        let resolver = certificates.current.clone();
        let config = ServerConfig::builder_with_provider(super::provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| CertificateError::Setup(error.to_string()))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let root = certificates.authority().map(|authority| {
            Arc::new(Root { pem: authority.pem().to_owned(), fingerprint: authority.whole_fingerprint() })
        });
        let (told, identity) = watch::channel(certificates.identity());
        let names = certificates.names();
        let renewal = tokio::spawn(async move {
            let mut check = interval(CHECK_INTERVAL);
            check.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                check.tick().await;
                let names = Names::of_this_machine(certificates.typed());
                certificates.check(&names, SystemTime::now());
                certificates.take_warnings().into_iter().for_each(&warn);
                let now = certificates.identity();
                told.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
            }
        });
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            root,
            identity,
            names,
            _renewal: Arc::new(Renewal(renewal)),
        })
    }

    /// Does the handshake with a client. The caller limits its time.
    ///
    /// # Errors
    /// If the client fails, or does not speak TLS 1.2 or 1.3.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<ServerTlsStream<S>> {
        self.acceptor.accept(stream).await
    }

    /// The certificate of the CA in PEM and its SHA-256 fingerprint, for users to install; only with a CA of our own.
    pub fn root(&self) -> Option<(&str, &str)> {
        self.root.as_ref().map(|root| (root.pem.as_str(), root.fingerprint.as_str()))
    }

    /// How clients recognize this server now.
    pub fn identity(&self) -> Identity {
        self.identity.borrow().clone()
    }

    /// How clients recognize this server, and each change of that.
    pub fn identities(&self) -> watch::Receiver<Identity> {
        self.identity.clone()
    }

    /// The names of this server in the certificate of `--tls-cert`, typed ones first. URLs of this server must use one
    /// of them.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// The certificate that new connections get.
#[derive(Debug)]
pub(super) struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    pub(super) fn get(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

/// The state of a file that shows whether it was replaced or rewritten.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Decides when the certificate is renewed; the caller tells it the time and the names of this computer.
pub(super) struct Certificates {
    pub(super) current: Arc<Current>,
    /// The hosts that flags name.
    typed: Vec<TypedHost>,
    kind: Kind,
    expires: SystemTime,
    warnings: Vec<String>,
}

enum Kind {
    Own {
        authority: Box<Authority>,
        /// The names of this computer when the certificate was made.
        made_for: Names,
    },
    Files {
        certificate: PathBuf,
        key: PathBuf,
        /// The files that were read last, whether or not they were usable.
        read: [Stamp; 2],
        /// The files at the last look. Files that are still being written change between two looks.
        seen: [Stamp; 2],
        warned_of_expiry: bool,
    },
}

impl Certificates {
    fn new(source: CertificateSource, typed: Vec<TypedHost>, now: SystemTime) -> Result<Self, CertificateError> {
        match source {
            CertificateSource::OwnCa => {
                let names = Names::of_this_machine(&typed);
                Self::own(Authority::of_this_user(&names)?, &names, typed, now)
            }
            CertificateSource::Files { certificate, key } => Self::files(certificate, key, typed, now),
        }
    }

    pub(super) fn own(
        authority: Authority,
        names: &Names,
        typed: Vec<TypedHost>,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let Issued { key, expires, left_out } = authority.issue(names, now)?;
        let mut warnings: Vec<_> = typed.iter().filter_map(unusable_warning).collect();
        warnings.extend(left_out_warning(&left_out, &typed, authority.path()));
        let kind = Kind::Own { authority: Box::new(authority), made_for: names.clone() };
        Ok(Self { current: Arc::new(Current(RwLock::new(Arc::new(key)))), typed, kind, expires, warnings })
    }

    pub(super) fn files(
        certificate: PathBuf,
        key: PathBuf,
        typed: Vec<TypedHost>,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let read = [stamp(&certificate), stamp(&key)];
        let loaded = load(&certificate, &key)?;
        let expires = expiry(&loaded);
        let warnings = LeafNames::of(&loaded).warnings(&certificate, &typed);
        let kind = Kind::Files { certificate, key, read, seen: read, warned_of_expiry: false };
        let current = Arc::new(Current(RwLock::new(Arc::new(loaded))));
        let mut certificates = Self { current, typed, kind, expires, warnings };
        certificates.warn_of_expiry(now);
        Ok(certificates)
    }

    /// Renews the certificate if that is due. If that fails, the current one stays.
    pub(super) fn check(&mut self, names: &Names, now: SystemTime) {
        match &mut self.kind {
            Kind::Own { authority, made_for } => {
                if made_for == names && now + RENEW_BEFORE < self.expires {
                    return;
                }
                let has_new_names = made_for != names;
                // Also after a failure: the next attempt waits for the next change.
                made_for.clone_from(names);
                match authority.issue(names, now) {
                    Ok(Issued { key, expires, left_out }) => {
                        self.current.set(key);
                        self.expires = expires;
                        let warning = left_out_warning(&left_out, &self.typed, authority.path());
                        self.warnings.extend(warning.filter(|_| has_new_names));
                    }
                    Err(error) => self.warnings.push(format!("{error}; the certificate before stays in use")),
                }
            }
            Kind::Files { certificate, key, read, seen, warned_of_expiry } => {
                let found = [stamp(certificate), stamp(key)];
                let is_still = std::mem::replace(seen, found) == found;
                if is_still && found != *read {
                    *read = found;
                    match load(certificate, key) {
                        Ok(loaded) => {
                            self.expires = expiry(&loaded);
                            *warned_of_expiry = false;
                            self.warnings.extend(LeafNames::of(&loaded).warnings(certificate, &self.typed));
                            self.current.set(loaded);
                        }
                        Err(error) => self.warnings.push(format!("{error}; the certificate before stays in use")),
                    }
                }
                self.warn_of_expiry(now);
            }
        }
    }

    fn warn_of_expiry(&mut self, now: SystemTime) {
        let Kind::Files { certificate, warned_of_expiry, .. } = &mut self.kind else { return };
        if *warned_of_expiry || now + WARN_BEFORE < self.expires {
            return;
        }
        *warned_of_expiry = true;
        let days = self.expires.duration_since(now).map(|left| left.as_secs() / (24 * 3600));
        let when = days.map_or("has expired".to_owned(), |days| format!("expires in {days} days"));
        let file = certificate.display();
        self.warnings.push(format!("the certificate of {file} {when}; put a new one there, it is read at once"));
    }

    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// When the current certificate expires.
    #[cfg(test)]
    pub(super) fn expires(&self) -> SystemTime {
        self.expires
    }

    fn authority(&self) -> Option<&Authority> {
        match &self.kind {
            Kind::Own { authority, .. } => Some(authority),
            Kind::Files { .. } => None,
        }
    }

    /// The hosts that flags name.
    fn typed(&self) -> &[TypedHost] {
        &self.typed
    }

    /// The names of this server in the certificate of `--tls-cert`: the typed ones that it is for, then its own.
    pub(super) fn names(&self) -> Vec<String> {
        match &self.kind {
            Kind::Own { .. } => Vec::new(),
            Kind::Files { .. } => LeafNames::of(&self.current.get()).usable(&self.typed),
        }
    }

    /// How clients recognize the server: by the CA of this computer, by the name in a certificate of another CA, or by
    /// that certificate itself if it has no name.
    pub(super) fn identity(&self) -> Identity {
        if let Some(authority) = self.authority() {
            return Identity::Certificate(authority.fingerprint());
        }
        let current = self.current.get();
        let leaf: &[u8] = current.end_entity_cert().map_or(&[], |leaf| leaf);
        match self.names().into_iter().next() {
            Some(name) => Identity::Name(name),
            None => Identity::Certificate(Fingerprint::of(leaf)),
        }
    }
}

/// A typed host for which no CA of ours signs.
fn unusable_warning(typed: &TypedHost) -> Option<String> {
    let TypedHost { flag, host, .. } = typed;
    let why = typed.obstacle().filter(|_| !typed.may_be_proxy)?;
    Some(format!(
        "the certificate is not for {host} ({flag}), so browsers warn there: {why}, or give --tls-cert and --tls-key a \
         certificate for {host}"
    ))
}

/// The name constraints of a CA are in its certificate, so a CA can't learn a name later.
fn left_out_warning(left_out: &Names, typed: &[TypedHost], ca: &Path) -> Option<String> {
    let source = |host: &String| typed.iter().find(|typed| typed.host.eq_ignore_ascii_case(host));
    let named = |host: String| match source(&host) {
        Some(typed) => format!("{host} ({})", typed.flag),
        None => host,
    };
    let proxied = left_out.hosts().any(|host| source(&host).is_some_and(|typed| typed.may_be_proxy));
    let proxy = if proxied { ". A reverse proxy with a certificate of its own needs neither" } else { "" };
    (!left_out.is_empty()).then(|| {
        format!(
            "the certificate is not for {}, so browsers warn there, and `watch` needs --fingerprint: the CA was made \
             without this and may not sign for it. Remove {} and start again for a new CA, whose certificate every \
             computer must install anew; or give --tls-cert and --tls-key a certificate of another CA{proxy}",
            left_out.hosts().map(named).collect::<Vec<_>>().join(", "),
            ca.display()
        )
    })
}

fn stamp(path: &Path) -> Stamp {
    let metadata: Metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |error| CertificateError::File(path.into(), error);
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "the file is larger than 1 MiB")));
    }
    fs::read(path).map_err(failed)
}

/// Reads a certificate and its key, which must belong together.
fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| CertificateError::NoCertificate(certificate.into()))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| CertificateError::NoKey(key.into()))?;
    CertifiedKey::from_der(chain, private, &super::provider())
        .map_err(|error| CertificateError::Pair(certificate.into(), key.into(), error.to_string()))
}

/// When a certificate expires. One that can't be parsed does not expire here; clients judge it.
fn expiry(key: &CertifiedKey) -> SystemTime {
    let far = SystemTime::now() + Duration::from_secs(10 * 365 * 24 * 3600);
    let leaf = key.end_entity_cert().ok().and_then(|leaf| X509Certificate::from_der(leaf).ok());
    let seconds = leaf.map(|(_, leaf)| u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default());
    seconds.map_or(far, |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
