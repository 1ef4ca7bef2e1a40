//! The names in a certificate of `--tls-cert`, and which of them lead to this server.

use std::net::IpAddr;
use std::path::Path;

use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::names::TypedHost;

/// The names and addresses in a certificate of `--tls-cert`, in its order.
#[derive(Debug, Default)]
pub(super) struct LeafNames {
    /// Also wildcards: `*.school.example`.
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl LeafNames {
    pub(super) fn of(key: &CertifiedKey) -> Self {
        let mut names = Self::default();
        let leaf = key.end_entity_cert().ok().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let Some((_, leaf)) = leaf else { return names };
        let Ok(Some(alternative)) = leaf.subject_alternative_name() else { return names };
        for name in &alternative.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.dns.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(octets) => names.addresses.extend(address(octets)),
                _ => {}
            }
        }
        names
    }

    /// Whether the certificate covers this host.
    fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        host.parse().is_ok_and(|ip| self.addresses.contains(&ip)) || self.dns.iter().any(|name| is_for(name, &host))
    }

    /// The names that lead to the server: the typed ones, then those of the certificate, without wildcards.
    pub(super) fn usable(&self, typed: &[TypedHost]) -> Vec<String> {
        let is_covered_name = |host: &&String| host.parse::<IpAddr>().is_err() && self.covers(host);
        let mut names: Vec<_> = typed.iter().map(|typed| &typed.host).filter(is_covered_name).cloned().collect();
        for name in self.dns.iter().filter(|name| !name.contains('*')) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Warnings for the operator: hosts of flags that the certificate does not cover, and a wildcard without a name.
    pub(super) fn warnings(&self, file: &Path, typed: &[TypedHost]) -> Vec<String> {
        let file = file.display();
        let addresses = self.addresses.iter().map(ToString::to_string);
        let list = self.dns.iter().cloned().chain(addresses).collect::<Vec<_>>().join(", ");
        let others = typed.iter().filter(|typed| !typed.may_be_proxy && !self.covers(&typed.host));
        let mut warnings: Vec<String> = others
            .map(|TypedHost { flag, host, .. }| {
                format!("the certificate of {file} is for {list} and not for {host} ({flag}), so browsers warn there")
            })
            .collect();
        let has_name = !self.usable(typed).is_empty() || typed.iter().any(|typed| typed.may_be_proxy);
        if let Some(wildcard) = self.dns.iter().find_map(|name| name.strip_prefix("*.")).filter(|_| !has_name) {
            warnings.push(format!(
                "the certificate of {file} is for *.{wildcard}, which does not say the name of this server, so the \
                 links below have an address, where browsers warn: add --host NAME.{wildcard}"
            ));
        }
        warnings
    }
}

/// Whether a name of a certificate, perhaps with a wildcard for the first label (RFC 6125, 6.4.3), covers this host.
fn is_for(name: &str, host: &str) -> bool {
    let of_wildcard =
        || Some(name.strip_prefix("*.")? == host.split_once('.').filter(|(first, _)| !first.is_empty())?.1);
    name == host || of_wildcard().unwrap_or_default()
}

/// The address in a certificate: 4 or 16 octets.
fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}
