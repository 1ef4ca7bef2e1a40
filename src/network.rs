//! The address of a client, and rate limits by network.
//!
//! A stranger cannot choose freely an IPv4 address, or the upper 64 bits of an IPv6 address. Limits therefore apply to
//! a [`Network`], and to all networks together. A school behind one NAT is one network, so bursts are large.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::token_bucket::TokenBucket;

/// An IPv4 address, or the upper 64 bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "IpAddr", into = "IpAddr")]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Self {
        Self::of(ip)
    }
}

impl From<Network> for IpAddr {
    fn from(network: Network) -> Self {
        network.0
    }
}

impl Network {
    /// The network of an address. An IPv4 address in IPv6 form (`::ffff:a.b.c.d`) counts as the IPv4 address.
    pub fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
            v4 => v4,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

/// A number that stands for a network, made with a secret of the server. It keeps the address from the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkTag(pub u32);

/// Where a connection comes from. The HTTP server adds it to each request as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The client's network.
    pub network: Network,
    /// Whether the client runs on this computer, as far as the server can know: behind a proxy, nobody does.
    pub is_loopback: bool,
}

impl ClientAddress {
    /// The address of a socket's peer.
    pub fn of(ip: IpAddr) -> Self {
        Self { network: Network::of(ip), is_loopback: ip.to_canonical().is_loopback() }
    }

    /// An unknown client, which is not trusted.
    pub fn unknown() -> Self {
        Self { network: Network(Ipv4Addr::UNSPECIFIED.into()), is_loopback: false }
    }

    /// This process itself.
    pub fn this_process() -> Self {
        Self::of(Ipv4Addr::LOCALHOST.into())
    }
}

/// The host by which a client has called this server: the name or address of its `Host` header, IPv6 in brackets. The
/// HTTP server adds it to each request as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledHost(pub Arc<str>);

/// The progress of a client towards media. The server closes the connections of clients with the least progress first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientState {
    /// Not a member of a room.
    #[default]
    Outside,
    /// A member of a room, without media.
    Joined,
    /// A publisher, or a member with media.
    Connected,
}

/// The state of the client of one connection. Signalling sets it, and the HTTP server, which accepted the connection,
/// reads it.
#[derive(Debug, Clone, Default)]
pub struct SharedClientState(Arc<AtomicU8>);

impl SharedClientState {
    /// Sets the state.
    pub fn set(&self, state: ClientState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    /// The state that was set last.
    pub fn get(&self) -> ClientState {
        match self.0.load(Ordering::Relaxed) {
            0 => ClientState::Outside,
            1 => ClientState::Joined,
            _ => ClientState::Connected,
        }
    }
}

/// The rate of one kind of request: what one network may ask for, and what all together may.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Requests per second of one network after its burst.
    pub per_second: u32,
    /// The burst of one network.
    pub burst: u32,
    /// Requests per second of all networks together after their burst.
    pub all_per_second: u32,
    /// The burst of all networks together.
    pub all_burst: u32,
}

/// The most networks with a bucket of their own. Beyond that, full buckets are dropped, and then the oldest ones.
const MAX_NETWORKS: usize = 8_192;

/// Limits one kind of request by network. `N` is [`Network`] or [`NetworkTag`].
#[derive(Debug)]
pub struct RateLimit<N = Network> {
    rate: Rate,
    all: TokenBucket,
    each: HashMap<N, (TokenBucket, Instant)>,
}

impl<N: Copy + Eq + Hash> RateLimit<N> {
    /// A limit that nobody has used yet.
    pub fn new(rate: Rate) -> Self {
        Self { rate, all: TokenBucket::new(rate.all_per_second, rate.all_burst), each: HashMap::new() }
    }

    /// Allows one request of the network, or returns the time until the next one. A request beyond the network's own
    /// share takes nothing from the others.
    pub fn take(&mut self, now: Instant, network: N) -> Result<(), Duration> {
        if self.each.len() >= MAX_NETWORKS && !self.each.contains_key(&network) {
            self.forget_idle(now);
        }
        let fresh = || (TokenBucket::new(self.rate.per_second, self.rate.burst), now);
        let (bucket, used) = self.each.entry(network).or_insert_with(fresh);
        *used = now;
        bucket.take(now)?;
        self.all.take(now)
    }

    /// Drops the buckets that are full again; if all are in use, the half that was not used for longest.
    fn forget_idle(&mut self, now: Instant) {
        let full_after = Duration::from_secs_f64(f64::from(self.rate.burst) / f64::from(self.rate.per_second.max(1)));
        self.each.retain(|_, (_, used)| now.saturating_duration_since(*used) < full_after);
        if self.each.len() >= MAX_NETWORKS {
            let mut times: Vec<Instant> = self.each.values().map(|(_, used)| *used).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            self.each.retain(|_, (_, used)| *used > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str) -> Network {
        Network::of(ip.parse().unwrap())
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("2001:db8::1").to_string(), "2001:db8::/64");
        assert!(ClientAddress::of("::ffff:127.0.0.1".parse().unwrap()).is_loopback);
        assert!(!ClientAddress::unknown().is_loopback);
    }

    #[test]
    fn a_network_uses_up_its_own_share_only() {
        let rate = Rate { per_second: 1, burst: 3, all_per_second: 10, all_burst: 5 };
        let (mut limit, now) = (RateLimit::new(rate), Instant::now());
        let flood = (0..100).filter(|_| limit.take(now, network("10.0.0.1")).is_ok()).count();
        assert_eq!(flood, 3);
        assert!(limit.take(now, network("10.0.0.2")).is_ok(), "another network still has its share");
        assert_eq!(limit.take(now, network("10.0.0.1")), Err(Duration::from_secs(1)));
        assert!(limit.take(now, network("10.0.0.3")).is_ok());
        assert!(limit.take(now, network("10.0.0.4")).is_err(), "all together have a limit too");
    }

    #[test]
    fn the_table_of_networks_is_bounded() {
        let rate = Rate { per_second: 1, burst: 10, all_per_second: 1, all_burst: 1 };
        let (mut limit, start) = (RateLimit::new(rate), Instant::now());
        for n in 0..3 * MAX_NETWORKS as u32 {
            let now = start + Duration::from_micros(n.into());
            _ = limit.take(now, Network::of(Ipv4Addr::from_bits(n).into()));
            assert!(limit.each.len() <= MAX_NETWORKS);
        }
        assert!(limit.each.contains_key(&Network::of(Ipv4Addr::from_bits(3 * MAX_NETWORKS as u32 - 1).into())));
    }
}
