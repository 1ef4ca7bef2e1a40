//! The flags about TLS: the certificate of a server, and what a client trusts.

use std::path::PathBuf;

use clap::Args;

use super::meaning::Conflict;
use crate::signal::ServerUrl;
use crate::tls::{CertificateSource, Fingerprint};

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct TypedCertificate {
    /// Serve https:// and wss:// with a certificate of this computer
    ///
    /// A CA of this computer signs it, so that students install one certificate once: http://THIS-COMPUTER:18080/ca/help
    #[arg(long)]
    pub(super) tls: bool,

    /// Serve https:// and wss:// with this certificate (PEM, followed by those of its CAs), read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "tls", hide_short_help = true)]
    pub(super) tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", hide_short_help = true)]
    pub(super) tls_key: Option<PathBuf>,
}

impl TypedCertificate {
    /// Whether a flag was typed.
    pub(super) fn is_typed(&self) -> bool {
        self.tls || self.tls_cert.is_some()
    }

    pub(super) fn convert(self) -> Option<CertificateSource> {
        match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some(CertificateSource::Files { certificate, key }),
            _ => self.tls.then_some(CertificateSource::OwnCa),
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct TypedTrust {
    /// Trust a server whose certificate this CA has signed (PEM); http://SERVER:PORT/ca has the CA of teach --tls
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) ca: Option<PathBuf>,

    /// Trust only the server with this fingerprint, which teach and serve print
    #[arg(long, value_name = "sha256:HEX", conflicts_with = "ca", hide_short_help = true)]
    pub(super) fingerprint: Option<Fingerprint>,
}

/// What a client trusts beside the root certificates of the system and the CA of this computer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerTrust {
    /// A file of CA certificates.
    pub ca: Option<PathBuf>,
    /// The only certificate to trust, of the server or of its CA.
    pub fingerprint: Option<Fingerprint>,
}

impl TypedTrust {
    pub(super) fn convert(self, server: Option<&ServerUrl>) -> Result<ServerTrust, Conflict> {
        match (server.filter(|server| !server.uses_tls()), self.first_flag()) {
            (Some(server), Some(flag)) => Err(Conflict::TrustWithoutTls(flag, server.clone().with_tls(true))),
            _ => Ok(ServerTrust { ca: self.ca, fingerprint: self.fingerprint }),
        }
    }

    /// The first flag that was typed.
    pub(super) fn first_flag(&self) -> Option<&'static str> {
        self.ca.as_ref().map(|_| "--ca").or(self.fingerprint.map(|_| "--fingerprint"))
    }
}
