//! Peers that have not connected: at most so many for all and per network.
//!
//! Anybody in the room may send an offer and never connect. Such a peer costs memory and timers until it gives up, so
//! their number is bounded. A newcomer is never refused for it: when the bound is reached, the oldest peer of the
//! network that has most of them is dropped. A student that connects does so within a second or two; the peers of a
//! flood only wait.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use super::PeerId;
use crate::id::UserId;
use crate::network::NetworkTag;

/// The most peers that have not connected: each costs some 170 kB of memory and 20 timers a second.
const MOST: usize = 768;

/// The most of one network: a school of 500 students behind one address starts its lecture at the same time.
const MOST_OF_A_NETWORK: usize = 600;

/// Where an offer comes from. A user whose network is unknown counts as a network of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// The network, as the server tells it.
    Network(NetworkTag),
    /// The user.
    User(UserId),
}

impl Origin {
    /// The origin of a user's offer.
    pub(super) fn of(user: &UserId, network: Option<NetworkTag>) -> Self {
        network.map_or_else(|| Self::User(user.clone()), Self::Network)
    }
}

/// The peers that have not connected, by origin, each the oldest first.
#[derive(Debug, Default)]
pub(super) struct UnconnectedPeers {
    by_origin: HashMap<Origin, VecDeque<PeerId>>,
    count: usize,
}

impl UnconnectedPeers {
    /// Adds a new peer. Returns the peer that must be dropped for it, if there are too many.
    pub(super) fn add(&mut self, origin: Origin, id: PeerId) -> Option<PeerId> {
        let of_origin = self.by_origin.get(&origin).map_or(0, VecDeque::len);
        let dropped = if of_origin >= MOST_OF_A_NETWORK {
            Some(origin.clone())
        } else if self.count >= MOST {
            let most = |(_, peers): &(&Origin, &VecDeque<PeerId>)| (peers.len(), Reverse(peers.front().copied()));
            self.by_origin.iter().max_by_key(most).map(|(origin, _)| origin.clone())
        } else {
            None
        };
        let oldest = dropped.and_then(|from| {
            let oldest = self.by_origin.get(&from)?.front().copied()?;
            self.remove(&from, oldest);
            Some(oldest)
        });
        self.by_origin.entry(origin).or_default().push_back(id);
        self.count += 1;
        oldest
    }

    /// Removes a peer that has connected or is gone. Does nothing if it is not here.
    pub(super) fn remove(&mut self, origin: &Origin, id: PeerId) {
        let Some(peers) = self.by_origin.get_mut(origin) else { return };
        if let Some(at) = peers.iter().position(|other| *other == id) {
            peers.remove(at);
            self.count -= 1;
        }
        if peers.is_empty() {
            self.by_origin.remove(origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u32) -> Origin {
        Origin::Network(NetworkTag(n))
    }

    #[test]
    fn a_class_behind_one_address_fits_and_a_flood_of_it_drops_its_own_oldest() {
        let mut peers = UnconnectedPeers::default();
        assert!((0..500).all(|id| peers.add(network(1), id).is_none()));
        assert!((500..600).all(|id| peers.add(network(1), id).is_none()));
        assert_eq!((600..603).map(|id| peers.add(network(1), id)).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        assert_eq!(peers.add(network(2), 1_000), None, "another network has room");
        assert_eq!(peers.count, MOST_OF_A_NETWORK + 1);
    }

    #[test]
    fn the_network_that_has_most_makes_room_for_a_newcomer() {
        let mut peers = UnconnectedPeers::default();
        for id in 0..MOST as PeerId {
            assert_eq!(peers.add(network(u32::from(id % 4 == 0)), id), None);
        }
        let user: UserId = "1001".parse().unwrap();
        assert_eq!(peers.add(Origin::of(&user, None), 5_000), Some(1), "the oldest of the larger network");
        assert_eq!(peers.add(Origin::of(&user, Some(NetworkTag(1))), 5_001), Some(2));
        assert_eq!(peers.count, MOST);
    }

    #[test]
    fn among_unknown_networks_the_oldest_peer_is_dropped() {
        let mut peers = UnconnectedPeers::default();
        let origin = |n: PeerId| Origin::of(&n.to_string().parse().unwrap(), None);
        let dropped: Vec<_> = (0..MOST as PeerId + 5).filter_map(|id| peers.add(origin(id), id)).collect();
        assert_eq!(dropped, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_peer_that_connects_no_longer_counts() {
        let mut peers = UnconnectedPeers::default();
        for id in 0..10_000 {
            assert_eq!(peers.add(network(7), id), None);
            peers.remove(&network(7), id);
            peers.remove(&network(7), id);
        }
        assert_eq!((peers.count, peers.by_origin.len()), (0, 0));
    }
}
