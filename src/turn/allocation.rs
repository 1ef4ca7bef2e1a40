//! One allocation (RFC 8656, 6): its owner, its permissions and its channels. Pure: the time is an argument.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc::stun::message::TransactionId;

use super::quota::Place;
use crate::token_bucket::TokenBucket;

/// The life of an allocation without a Refresh. It is both the default and the longest one, so that a client that
/// vanishes keeps its socket for ten minutes at most.
pub(super) const LIFE: Duration = Duration::from_secs(600);

/// The life of a permission, and of a channel.
const PERMISSION_LIFE: Duration = Duration::from_secs(300);
const CHANNEL_LIFE: Duration = Duration::from_secs(600);

/// The most permissions, and the most channels, of an allocation. The media of this server has eight addresses, and a
/// meeting of six has five other participants, each with some relayed addresses.
const MOST_PEERS: usize = 64;

/// The requests of an allocation: each costs an HMAC or two. A browser permits some twenty candidates at once.
const REQUESTS_PER_SECOND: u32 = 20;
const REQUEST_BURST: u32 = 200;

/// The packets of a client to its peers. A participant who shares a screen sends some 600 a second.
const PACKETS_PER_SECOND: u32 = 3_000;

/// The relay of one client.
#[derive(Debug)]
pub(super) struct Allocation {
    /// The user name of the client, by which all later requests must be signed.
    pub(super) username: String,
    /// The request that made the allocation, which the client may repeat.
    pub(super) transaction: TransactionId,
    pub(super) relayed: SocketAddr,
    pub(super) requests: TokenBucket,
    pub(super) packets: TokenBucket,
    expires: Instant,
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, (SocketAddr, Instant)>,
    _place: Place,
}

/// Who makes an allocation.
pub(super) struct Owner {
    pub(super) username: String,
    pub(super) transaction: TransactionId,
}

/// Why a channel is not bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotBound {
    /// The number is bound to another peer, or the peer to another number.
    Taken,
    /// There are too many.
    TooMany,
}

impl Allocation {
    /// An allocation with the socket at `relayed`.
    pub(super) fn new(now: Instant, owner: Owner, relayed: SocketAddr, mut place: Place) -> Self {
        place.set_relayed(relayed);
        let Owner { username, transaction } = owner;
        Self {
            username,
            transaction,
            relayed,
            requests: TokenBucket::new(REQUESTS_PER_SECOND, REQUEST_BURST),
            packets: TokenBucket::new(PACKETS_PER_SECOND, PACKETS_PER_SECOND),
            expires: now + LIFE,
            permissions: HashMap::new(),
            channels: HashMap::new(),
            _place: place,
        }
    }

    /// When the allocation ends unless it is refreshed.
    pub(super) fn expires(&self) -> Instant {
        self.expires
    }

    pub(super) fn refresh(&mut self, now: Instant) {
        self.expires = now + LIFE;
    }

    pub(super) fn end(&mut self, now: Instant) {
        self.expires = now;
    }

    /// Permits traffic with these hosts; false if there are too many.
    pub(super) fn permit(&mut self, now: Instant, hosts: &[IpAddr]) -> bool {
        self.permissions.retain(|_, until| *until > now);
        let new = hosts.iter().filter(|ip| !self.permissions.contains_key(ip)).count();
        if self.permissions.len() + new > MOST_PEERS {
            return false;
        }
        self.permissions.extend(hosts.iter().map(|ip| (*ip, now + PERMISSION_LIFE)));
        true
    }

    /// Binds a channel to a peer, and permits its host.
    pub(super) fn bind(&mut self, now: Instant, number: u16, peer: SocketAddr) -> Result<(), NotBound> {
        self.channels.retain(|_, (_, until)| *until > now);
        let is_taken = self.channels.iter().any(|(known, (of, _))| (*known == number) != (*of == peer));
        if is_taken {
            return Err(NotBound::Taken);
        }
        let is_new = !self.channels.contains_key(&number);
        if is_new && self.channels.len() >= MOST_PEERS || !self.permit(now, &[peer.ip()]) {
            return Err(NotBound::TooMany);
        }
        self.channels.insert(number, (peer, now + CHANNEL_LIFE));
        Ok(())
    }

    /// Whether traffic with this host is permitted. A channel does not make it so (RFC 8656, 12).
    pub(super) fn permits(&self, now: Instant, host: IpAddr) -> bool {
        self.permissions.get(&host).is_some_and(|until| *until > now)
    }

    /// The peer of a channel.
    pub(super) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        let (peer, until) = self.channels.get(&number)?;
        (*until > now && self.permits(now, peer.ip())).then_some(*peer)
    }

    /// The channel of a peer.
    pub(super) fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let bound = self.channels.iter().find(|(_, (of, until))| *of == peer && *until > now);
        bound.map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::super::quota::Quota;
    use super::*;
    use crate::network::Network;

    fn allocation(now: Instant) -> Allocation {
        let place = Quota::new(1).take("me", Network::of(IpAddr::from([10, 0, 0, 1]))).unwrap();
        let owner = Owner { username: "me".into(), transaction: TransactionId::new() };
        Allocation::new(now, owner, "192.0.2.1:5".parse().unwrap(), place)
    }

    #[test]
    fn permissions_and_channels_end_unless_they_are_renewed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut allocation = allocation(start);
        let peer: SocketAddr = "192.0.2.1:18080".parse().unwrap();
        assert!(!allocation.permits(start, peer.ip()));
        assert_eq!(allocation.bind(start, 0x4000, peer), Ok(()));
        assert_eq!(
            (allocation.peer_of(at(299), 0x4000), allocation.channel_of(at(299), peer)),
            (Some(peer), Some(0x4000))
        );
        assert_eq!(allocation.peer_of(at(300), 0x4000), None, "the channel lives on, the permission does not");
        assert!(allocation.permit(at(300), &[peer.ip()]));
        assert_eq!(allocation.peer_of(at(599), 0x4000), Some(peer));
        assert_eq!(allocation.peer_of(at(600), 0x4000), None);
        assert_eq!(allocation.channel_of(at(600), peer), None);
        allocation.refresh(at(100));
        assert_eq!(allocation.expires(), at(700));
    }

    #[test]
    fn a_channel_keeps_its_peer_and_a_peer_its_channel() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let [one, other]: [SocketAddr; 2] = ["192.0.2.1:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap()];
        assert_eq!(allocation.bind(now, 0x4000, one), Ok(()));
        assert_eq!(allocation.bind(now, 0x4000, one), Ok(()), "again");
        assert_eq!(allocation.bind(now, 0x4000, other), Err(NotBound::Taken));
        assert_eq!(allocation.bind(now, 0x4001, one), Err(NotBound::Taken));
        assert_eq!(allocation.bind(now, 0x4001, other), Ok(()));
    }

    #[test]
    fn permissions_and_channels_are_bounded() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let host = |n: usize| IpAddr::from([10, 0, 1, n as u8]);
        let all: Vec<IpAddr> = (0..MOST_PEERS).map(host).collect();
        assert!(allocation.permit(now, &all) && allocation.permit(now, &all));
        assert!(!allocation.permit(now, &[host(200)]));
        let bind = |allocation: &mut Allocation, n: u16| allocation.bind(now, 0x4000 + n, (host(0), n).into());
        assert!((0..MOST_PEERS as u16).all(|n| bind(&mut allocation, n).is_ok()));
        assert_eq!(bind(&mut allocation, 500), Err(NotBound::TooMany));
        assert!(allocation.permit(now + PERMISSION_LIFE, &[host(200)]), "the old ones are over");
    }
}
