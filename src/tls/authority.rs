//! The CA of this computer, kept in the state folder.
//!
//! A school installs the CA's certificate once, and every later certificate of this computer is trusted. So a thief of
//! the CA's key could act as another server to those who installed the certificate. Three limits bound the damage:
//!
//! - Name constraints (RFC 5280, 4.2.1.10): the CA can sign for private, shared and link-local addresses, for `.local`,
//!   `localhost`, and the names and addresses that this computer had when the CA was made; not for a site on the
//!   internet. A thief can still pretend to be a router, printer or server that is reached by a private address or a
//!   `.local` name. A computer's name that may be a top-level domain is left out ([`names`](super::names)).
//! - Extended key usage: servers only, so no program or message that the key signs is trusted.
//! - The path length is 0: the CA signs no other CA.
//!
//! Chromium, Firefox and rustls apply the name constraints of an installed root. After a theft, remove the certificate
//! from all computers and the file `ca.pem` from the state folder; the next start makes a new CA.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::fingerprint::{Fingerprint, whole};
use super::names::Names;
use crate::state_dir;

/// The file with the CA's key and certificate.
pub(super) const FILE: &str = "ca.pem";

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long the CA is valid: a school installs it once.
const CA_DAYS: u32 = 3_650;

/// How long a certificate is valid. Browsers accept at most 398 days (CA/Browser Forum, Baseline Requirements, 6.3.2).
pub(super) const LEAF_DAYS: u32 = 90;

/// The clocks of students' computers may be slow.
const SLOW_CLOCK: Duration = DAY;

/// The networks whose addresses nobody owns: private (RFC 1918, 4193), shared (6598), link-local (3927) and loopback.
const LOCAL_NETWORKS: [(&str, u8); 8] = [
    ("10.0.0.0", 8),
    ("172.16.0.0", 12),
    ("192.168.0.0", 16),
    ("100.64.0.0", 10),
    ("169.254.0.0", 16),
    ("127.0.0.0", 8),
    ("fc00::", 7),
    ("::1", 128),
];

/// The names that exist only in a local network or on one computer (RFC 6761, 6762, 8375).
const LOCAL_NAMES: [&str; 3] = ["local", "localhost", "home.arpa"];

/// The CA of this computer can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file, or the state folder, can't be read or written.
    #[error(
        "can't keep the CA of this computer in {0}: {1}; set XDG_STATE_HOME to a folder that only you can write to"
    )]
    File(PathBuf, io::Error),
    /// The file has no key and certificate.
    #[error(
        "{0} is not a CA with its key: {1}; remove the file to make a new CA, which clients must then install again"
    )]
    Content(PathBuf, String),
    /// The certificate can't be made.
    #[error("can't make a certificate: {0}")]
    Make(String),
}

/// A CA that signs the certificates of this computer.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// The certificate in PEM.
    pem: String,
    /// The file of the key and the certificate.
    path: PathBuf,
}

/// A certificate that a CA has signed.
pub(super) struct Issued {
    pub(super) key: CertifiedKey,
    pub(super) expires: SystemTime,
    /// The names that the CA may not sign for, and that the certificate lacks.
    pub(super) left_out: Names,
}

impl Authority {
    /// The CA of the state folder.
    pub(super) fn of_this_user(names: &Names) -> Result<Self, CaError> {
        let dir = state_dir::state_dir().map_err(|error| CaError::File("the state folder".into(), error))?;
        Self::load_or_make(&dir, names)
    }

    /// The CA in this folder; a new one if there is none. The name constraints of a new CA allow `names`.
    pub(super) fn load_or_make(dir: &Path, names: &Names) -> Result<Self, CaError> {
        let path = dir.join(FILE);
        let failed = |error| CaError::File(path.clone(), error);
        match fs::read_to_string(&path) {
            Ok(pem) => return Self::parse(&path, &pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let pem = make(names, SystemTime::now()).map_err(|error| CaError::Make(error.to_string()))?;
        match state_dir::create(&path, &pem) {
            Ok(()) => Self::parse(&path, &pem),
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::parse(&path, &fs::read_to_string(&path).map_err(failed)?)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn parse(path: &Path, pem: &str) -> Result<Self, CaError> {
        let content = |error: String| CaError::Content(path.into(), error);
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| content(e.to_string()))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| content(e.to_string()))?;
        let key = KeyPair::try_from(&key).map_err(|e| content(e.to_string()))?;
        let parsed = X509Certificate::from_der(&certificate).map_err(|e| content(e.to_string()))?.1;
        if parsed.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(content("the key belongs to another certificate".into()));
        }
        if !parsed.is_ca() {
            return Err(content("the certificate may not sign others".into()));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|e| content(e.to_string()))?;
        let pem = pem[pem.find("-----BEGIN CERTIFICATE").unwrap_or_default()..].to_owned();
        Ok(Self { issuer, certificate, pem, path: path.into() })
    }

    /// The CA's certificate in PEM.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// The file of the CA.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The fingerprint of the CA's certificate.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The fingerprint of the CA's certificate as browsers show it.
    pub(super) fn whole_fingerprint(&self) -> String {
        whole(&self.certificate)
    }

    /// A new certificate for those of the names that the CA may sign for. The chain includes the CA, so that a client
    /// can recognize the CA by its fingerprint.
    pub(super) fn issue(&self, names: &Names, now: SystemTime) -> Result<Issued, CaError> {
        let (allowed, left_out) = self.split(names);
        if allowed.is_empty() {
            return Err(CaError::Make(format!("the CA may sign for none of {}", names.list())));
        }
        let make = |error: rcgen::Error| CaError::Make(error.to_string());
        let mut params = CertificateParams::default();
        for name in &allowed.dns {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(make)?));
        }
        params.subject_alt_names.extend(allowed.addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        params.distinguished_name.push(DnType::CommonName, "classroom");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let expires = now + DAY * LEAF_DAYS;
        params.not_before = (now - SLOW_CLOCK).into();
        params.not_after = expires.into();
        let key = KeyPair::generate().map_err(make)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(make)?;
        let chain = vec![certificate.into(), self.certificate.clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(chain, key, &super::provider());
        let key = key.map_err(|error| CaError::Make(error.to_string()))?;
        Ok(Issued { key, expires, left_out })
    }

    /// The names that the constraints of the CA allow, and the others.
    fn split(&self, names: &Names) -> (Names, Names) {
        let (mut allowed, mut left_out) = (Names::default(), Names::default());
        let subtrees = permitted(&self.certificate);
        for name in &names.dns {
            let is_below = |base: &Permitted| matches!(base, Permitted::Dns(base) if is_below(name, base));
            let is_allowed = subtrees.as_ref().is_none_or(|all| all.iter().any(is_below));
            if is_allowed { &mut allowed } else { &mut left_out }.dns.insert(name.clone());
        }
        for ip in &names.addresses {
            let contains = |base: &Permitted| matches!(base, Permitted::Network(bytes) if contains(bytes, *ip));
            let is_allowed = subtrees.as_ref().is_none_or(|all| all.iter().any(contains));
            if is_allowed { &mut allowed } else { &mut left_out }.addresses.insert(*ip);
        }
        (allowed, left_out)
    }
}

enum Permitted {
    Dns(String),
    /// An address and a mask (RFC 5280, 4.2.1.10).
    Network(Vec<u8>),
}

/// The permitted subtrees of a CA; `None` without name constraints, as in a CA that a school made by itself.
fn permitted(certificate: &CertificateDer<'_>) -> Option<Vec<Permitted>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let constraints = parsed.name_constraints().ok().flatten()?.value;
    let subtrees = constraints.permitted_subtrees.as_deref().unwrap_or_default().iter();
    let known = subtrees.filter_map(|subtree| match &subtree.base {
        GeneralName::DNSName(name) => Some(Permitted::Dns((*name).to_owned())),
        GeneralName::IPAddress(bytes) => Some(Permitted::Network(bytes.to_vec())),
        _ => None,
    });
    Some(known.collect())
}

fn is_below(name: &str, base: &str) -> bool {
    name == base || name.strip_suffix(base).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether the network, an address and a mask of the same length, contains this address.
fn contains(network: &[u8], ip: IpAddr) -> bool {
    let octets = match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let (base, mask) = network.split_at(network.len() / 2);
    base.len() == octets.len() && octets.iter().zip(base).zip(mask).all(|((ip, base), mask)| ip & mask == base & mask)
}

/// Whether two addresses of one family have the same first bits.
fn share_bits(one: IpAddr, other: IpAddr, count: u8) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(count),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(count),
        _ => false,
    }
}

/// A new CA: its key and its certificate in PEM.
fn make(names: &Names, now: SystemTime) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    // A school may install the CAs of several computers and must be able to tell them apart.
    let short = names.dns.iter().find_map(|name| name.strip_suffix(".local")).unwrap_or("this computer");
    let common_name = format!("classroom on {short} ({:08x})", rand::random::<u32>());
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = (now - SLOW_CLOCK).into();
    params.not_after = (now + DAY * CA_DAYS).into();
    let own_names =
        names.dns.iter().map(String::as_str).filter(|name| !LOCAL_NAMES.iter().any(|base| is_below(name, base)));
    let dns = LOCAL_NAMES.into_iter().chain(own_names).map(|name| GeneralSubtree::DnsName(name.to_owned()));
    let local: Vec<(IpAddr, u8)> =
        LOCAL_NETWORKS.iter().filter_map(|(ip, prefix)| Some((ip.parse().ok()?, *prefix))).collect();
    let is_local = |ip: IpAddr| local.iter().any(|(base, prefix)| share_bits(ip, *base, *prefix));
    let own = names.addresses.iter().filter(|ip| !is_local(**ip)).map(|ip| (*ip, if ip.is_ipv4() { 32 } else { 128 }));
    let networks = local.iter().copied().chain(own).map(|(ip, prefix)| CidrSubnet::from_addr_prefix(ip, prefix));
    let networks = networks.map(GeneralSubtree::IpAddress);
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: dns.chain(networks).collect(), excluded_subtrees: Vec::new() });
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}
