//! The names and addresses by which other computers reach this one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most addresses in a certificate: a machine with many containers has hundreds of bridges.
const MAX_ADDRESSES: usize = 64;

/// The names and addresses that a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Names {
    pub(super) dns: BTreeSet<String>,
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// The names and addresses of this computer now, and the `more` names.
    pub(super) fn of_this_machine(more: &[String]) -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self::new(hostname.trim(), interfaces.iter().map(if_addrs::Interface::ip), more)
    }

    pub(super) fn new(hostname: &str, addresses: impl IntoIterator<Item = IpAddr>, more: &[String]) -> Self {
        let mut dns: BTreeSet<String> = more.iter().map(|name| name.to_ascii_lowercase()).collect();
        dns.insert("localhost".into());
        let hostname = hostname.to_ascii_lowercase();
        if is_hostname(&hostname) {
            let short = hostname.split('.').next().unwrap_or_default();
            dns.insert(format!("{short}.local"));
            if !is_possibly_top_level(short) {
                dns.insert(short.into());
            }
            if hostname.contains('.') {
                dns.insert(hostname);
            }
        }
        // An address with a zone (fe80::1%eth0) can't stand in a certificate.
        let is_usable = |ip: &IpAddr| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let all = loopback.into_iter().chain(addresses.into_iter().filter(is_usable));
        Self { dns, addresses: all.take(MAX_ADDRESSES).collect() }
    }

    /// Whether there is neither a name nor an address.
    pub(super) fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.addresses.is_empty()
    }

    /// All names and addresses, for people.
    pub(super) fn list(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        self.dns.iter().cloned().chain(addresses).collect::<Vec<_>>().join(", ")
    }
}

fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.len() <= 63 && label.chars().all(is_letter)
    };
    name.len() <= 240 && name.split('.').all(is_label)
}

/// Whether a name of one label may be a top-level domain, now or later: these have letters only, or begin with `xn--`.
/// A CA that may sign for a computer named `dev` may sign for all of `.dev`.
fn is_possibly_top_level(label: &str) -> bool {
    label.starts_with("xn--") || label.chars().all(|c| c.is_ascii_alphabetic())
}
