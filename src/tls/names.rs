//! The names and addresses by which other computers reach this one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most addresses in a certificate: a machine with many containers has hundreds of bridges.
const MAX_ADDRESSES: usize = 64;

/// A name or an address of this server from a flag, as browsers use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedHost {
    /// The flag, for messages: `--host`, `--public-url`.
    pub flag: &'static str,
    /// The name, or the address without brackets.
    pub host: String,
    /// Whether a reverse proxy may answer there, with a certificate of its own.
    pub may_be_proxy: bool,
}

impl TypedHost {
    /// The reason for which no CA of this computer signs for the host, whatever its name constraints.
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        if self.host.parse::<IpAddr>().is_ok() {
            None
        } else if !is_hostname(&self.host) {
            Some("a host name has only letters, digits, hyphens and dots")
        } else {
            (!is_own(&self.host)).then_some("a name of letters alone may be a top-level domain, so take one with a dot")
        }
    }
}

/// The names and addresses that a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names {
    pub(super) dns: BTreeSet<String>,
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// The names and addresses of this computer now, and the typed ones.
    pub(super) fn of_this_machine(typed: &[TypedHost]) -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self::new(hostname.trim(), interfaces.iter().map(if_addrs::Interface::ip), typed)
    }

    pub(super) fn new(hostname: &str, addresses: impl IntoIterator<Item = IpAddr>, typed: &[TypedHost]) -> Self {
        let typed =
            typed.iter().filter(|typed| typed.obstacle().is_none()).map(|typed| typed.host.to_ascii_lowercase());
        let (typed_addresses, names): (Vec<_>, Vec<_>) = typed.partition(|host| host.parse::<IpAddr>().is_ok());
        let mut dns: BTreeSet<String> = names.into_iter().collect();
        dns.insert("localhost".into());
        let hostname = hostname.to_ascii_lowercase();
        if is_hostname(&hostname) {
            let short = hostname.split('.').next().unwrap_or_default();
            dns.insert(format!("{short}.local"));
            if is_own(short) {
                dns.insert(short.into());
            }
            if hostname.contains('.') {
                dns.insert(hostname);
            }
        }
        // An address with a zone (fe80::1%eth0) can't stand in a certificate.
        let is_usable = |ip: &IpAddr| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let typed_addresses = typed_addresses.iter().filter_map(|host| host.parse().ok());
        let all = loopback.into_iter().chain(typed_addresses).chain(addresses.into_iter().filter(is_usable));
        Self { dns, addresses: all.take(MAX_ADDRESSES).collect() }
    }

    /// Whether there is neither a name nor an address.
    pub(super) fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.addresses.is_empty()
    }

    /// All names and addresses, for people.
    pub(super) fn list(&self) -> String {
        self.hosts().collect::<Vec<_>>().join(", ")
    }

    /// All names, then all addresses.
    pub(super) fn hosts(&self) -> impl Iterator<Item = String> {
        self.dns.iter().cloned().chain(self.addresses.iter().map(ToString::to_string))
    }
}

fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.len() <= 63 && label.chars().all(is_letter)
    };
    name.len() <= 240 && name.split('.').all(is_label)
}

/// Whether a name is not a top-level domain, now or later: those have one label of letters only, or one that begins
/// with `xn--`. A CA that may sign for a computer named `dev` may sign for all of `.dev`.
fn is_own(name: &str) -> bool {
    let is_possibly_top_level = name.starts_with("xn--") || name.chars().all(|c| c.is_ascii_alphabetic());
    name.contains('.') || !is_possibly_top_level
}
