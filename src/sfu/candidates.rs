//! The SFU's ICE candidates: host addresses and server reflexive addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rtc::peer_connection::transport::RTCIceCandidateInit;

use crate::sdp::answer;

/// The most TCP candidates for each port.
const MOST_TCP: usize = 3;

/// The addresses that answers contain as candidates.
pub(super) struct Advertised {
    local: Vec<SocketAddr>,
    /// Public addresses, each with its base (RFC 8445, 4).
    reflexive: Vec<(SocketAddr, SocketAddr)>,
    /// The public addresses that the user configured.
    configured: Vec<IpAddr>,
    /// TCP candidates, which the core does not get.
    tcp: Vec<String>,
}

impl Advertised {
    /// The addresses of a socket bound to `bound`, and the public addresses that the user configured.
    pub(super) fn new(bound: SocketAddr, configured: &[IpAddr]) -> Self {
        let configured = configured.to_vec();
        let mut this = Self { local: local_addresses(bound), reflexive: Vec::new(), configured, tcp: Vec::new() };
        for ip in this.configured.clone() {
            this.add(SocketAddr::new(ip, bound.port()));
        }
        this
    }

    /// Adds the addresses at which peers also reach the port by TCP, and the configured public ones with their ports.
    /// The addresses that are left out are those that matter least: a browser connects to all of them at once.
    pub(super) fn with_tcp(mut self, bound: &[SocketAddr]) -> Self {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for bound in bound {
            let public = self.configured.iter().map(|ip| SocketAddr::new(*ip, bound.port()));
            let local = local_addresses(*bound);
            // A peer on this computer reaches an address of the network as well, and there UDP works.
            let is_alone = local.iter().all(|at| at.ip().is_loopback());
            let local = local.into_iter().filter(|at| is_alone || !at.ip().is_loopback());
            addresses.extend(public.chain(local).take(MOST_TCP));
        }
        self.tcp = addresses.into_iter().enumerate().map(|(n, at)| answer::tcp_candidate(n, at)).collect();
        self
    }

    /// The TCP candidates, as attributes of SDP without `a=`.
    pub(super) fn tcp(&self) -> &[String] {
        &self.tcp
    }

    /// Replaces the public address of the same family by the one that a STUN server has reported.
    pub(super) fn set_public(&mut self, public: SocketAddr) {
        let configured = &self.configured;
        let stays = |known: &SocketAddr| known.is_ipv4() != public.is_ipv4() || configured.contains(&known.ip());
        self.reflexive.retain(|(known, _)| stays(known));
        self.add(public);
    }

    /// Adds a public address, with a local address of the same family as its base.
    fn add(&mut self, public: SocketAddr) {
        let is_same = |local: &&SocketAddr| local.is_ipv4() == public.is_ipv4();
        if let Some(base) = self.local.iter().find(is_same).or(self.local.first()) {
            self.reflexive.push((public, *base));
        }
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = RTCIceCandidateInit> + '_ {
        let hosts = self.local.iter().map(|at| answer::host_candidate(*at));
        let reflexive = self.reflexive.iter().map(|(public, local)| answer::reflexive_candidate(*public, *local));
        hosts.chain(reflexive).filter_map(Result::ok)
    }
}

/// The addresses of this machine by which a peer might reach `bound`, loopback last. At most eight: ICE checks every
/// pair, and on a machine with many container bridges students would have to wait.
pub(super) fn local_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let ips: Vec<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).collect();
    reachable(&ips, bound.is_ipv6()).into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

/// The addresses among `ips` that candidates may contain. IPv4 and IPv6 alternate (RFC 8421, 4), so that many addresses
/// of one family do not displace the other. Link-local addresses are excluded, because a candidate has no scope.
fn reachable(ips: &[IpAddr], has_ipv6: bool) -> Vec<IpAddr> {
    const MOST: usize = 8;
    let is_real = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => has_ipv6 && !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    };
    let mut v6_loopback = ips.iter().copied().filter(|ip| has_ipv6 && *ip == IpAddr::from(Ipv6Addr::LOCALHOST));
    let loopback: Vec<IpAddr> = [Ipv4Addr::LOCALHOST.into()].into_iter().chain(v6_loopback.next()).collect();
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = ips.iter().copied().filter(is_real).partition(IpAddr::is_ipv4);
    let mut reachable: Vec<IpAddr> = Vec::new();
    for n in 0..v4.len().max(v6.len()) {
        for ip in [v4.get(n), v6.get(n)].into_iter().flatten() {
            if !reachable.contains(ip) {
                reachable.push(*ip);
            }
        }
    }
    reachable.truncate(MOST - loopback.len());
    reachable.extend(loopback);
    reachable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_candidates_and_neither_displaces_the_other() {
        let ips = |texts: &[&str]| texts.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let laptop = ips(&[
            "127.0.0.1",
            "::1",
            "192.168.1.7",
            "fe80::1",
            "2001:db8::7",
            "fd00::7",
            "169.254.3.4",
            "2001:db8::7",
        ]);
        let all = ips(&["192.168.1.7", "2001:db8::7", "fd00::7", "127.0.0.1", "::1"]);
        assert_eq!(reachable(&laptop, true), all, "no link-local address, and none twice");
        assert_eq!(reachable(&laptop, false), ips(&["192.168.1.7", "127.0.0.1"]), "a socket without IPv6");
        let bridges: Vec<IpAddr> = (1..30).map(|n| Ipv4Addr::new(172, 17, n, 1).into()).collect();
        let many = reachable(&[bridges.clone(), ips(&["2001:db8::7", "::1"])].concat(), true);
        assert_eq!(many.len(), 8);
        assert!(ips(&["2001:db8::7", "127.0.0.1", "::1"]).iter().all(|ip| many.contains(ip)), "{many:?}");
        assert_eq!(reachable(&bridges, true).len(), 8);
    }

    #[test]
    fn a_socket_bound_to_one_address_has_no_other_local_address() {
        let bound: SocketAddr = "192.0.2.7:5".parse().unwrap();
        assert_eq!(local_addresses(bound), [bound]);
        assert!(local_addresses("0.0.0.0:5".parse().unwrap()).contains(&"127.0.0.1:5".parse().unwrap()));
    }

    #[test]
    fn a_new_public_address_replaces_the_old_one_of_its_family() {
        let mut advertised = Advertised::new("192.0.2.7:5".parse().unwrap(), &["198.51.100.9".parse().unwrap()]);
        for public in ["203.0.113.7:1", "[2001:db8::7]:1", "203.0.113.7:2"] {
            advertised.set_public(public.parse().unwrap());
        }
        let public: Vec<String> = advertised.reflexive.iter().map(|(public, _)| public.to_string()).collect();
        assert_eq!(public, ["198.51.100.9:5", "[2001:db8::7]:1", "203.0.113.7:2"]);
    }
}
