//! How many allocations there may be: for each user, for each network, and in all. An allocation takes a socket.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::network::Network;

/// The most allocations of a user. A browser makes one for each of our URLs and each of its interfaces, and makes them
/// anew, beside the old ones, when it connects again.
const OF_USER: usize = 16;

/// Why there is no allocation for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The user has too many.
    User,
    /// The network has three quarters of those that it could have, as `http::connections` counts.
    Network,
    /// The server has no more.
    Server,
}

/// Counts allocations. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Quota(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    most: usize,
    total: usize,
    users: HashMap<Box<str>, usize>,
    networks: HashMap<Network, usize>,
    relayed: HashSet<SocketAddr>,
}

/// The place of one allocation. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    quota: Quota,
    user: Box<str>,
    network: Network,
    relayed: Option<SocketAddr>,
}

impl Quota {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Ledger { most, ..Ledger::default() })))
    }

    /// A place for one more allocation of a user.
    pub(super) fn take(&self, user: &str, network: Network) -> Result<Place, Full> {
        let mut ledger = self.lock();
        let free = ledger.most.saturating_sub(ledger.total);
        if ledger.users.get(user).is_some_and(|used| *used >= OF_USER) {
            return Err(Full::User);
        }
        if free == 0 {
            return Err(Full::Server);
        }
        if ledger.networks.get(&network).is_some_and(|used| *used >= 3 * free) {
            return Err(Full::Network);
        }
        ledger.total += 1;
        *ledger.users.entry(user.into()).or_default() += 1;
        *ledger.networks.entry(network).or_default() += 1;
        Ok(Place { quota: self.clone(), user: user.into(), network, relayed: None })
    }

    /// The number of allocations.
    pub(super) fn count(&self) -> usize {
        self.lock().total
    }

    /// Whether this is the relayed address of an allocation.
    pub(super) fn is_relayed(&self, address: SocketAddr) -> bool {
        self.lock().relayed.contains(&address)
    }

    /// Whether an allocation has a relayed address of this host.
    pub(super) fn relays_at(&self, ip: IpAddr) -> bool {
        self.lock().relayed.iter().any(|relayed| relayed.ip() == ip)
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The allocation has this relayed address.
    pub(super) fn set_relayed(&mut self, address: SocketAddr) {
        self.quota.lock().relayed.insert(address);
        self.relayed = Some(address);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut ledger = self.quota.lock();
        ledger.total -= 1;
        if let Some(relayed) = self.relayed {
            ledger.relayed.remove(&relayed);
        }
        let Ledger { users, networks, .. } = &mut *ledger;
        free(users, &self.user);
        free(networks, &self.network);
    }
}

fn free<K, Q>(counts: &mut HashMap<K, usize>, of: &Q)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    match counts.get_mut(of) {
        Some(used) if *used > 1 => *used -= 1,
        _ => drop(counts.remove(of)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u8) -> Network {
        Network::of(IpAddr::from([10, 0, 0, n]))
    }

    #[test]
    fn a_user_a_network_and_all_together_have_their_limits() {
        let quota = Quota::new(100);
        let take = |user: String, of: u8| quota.take(&user, network(of));
        let of_one: Vec<_> = (0..OF_USER).map(|_| take("one".into(), 1).unwrap()).collect();
        assert_eq!(take("one".into(), 2).unwrap_err(), Full::User);
        let of_network: Vec<_> = (0..100).map_while(|n| take(n.to_string(), 1).ok()).collect();
        assert_eq!(of_one.len() + of_network.len(), 75, "a network alone gets three quarters");
        assert_eq!(take("late".into(), 1).unwrap_err(), Full::Network);
        let of_others: Vec<_> = (0..100).map_while(|n| take(n.to_string(), 2 + n).ok()).collect();
        assert_eq!((of_others.len(), quota.count()), (25, 100));
        assert_eq!(take("late".into(), 200).unwrap_err(), Full::Server);
        drop((of_one, of_network, of_others));
        assert_eq!(quota.count(), 0);
        assert!(quota.lock().users.is_empty() && quota.lock().networks.is_empty(), "nothing is kept of those gone");
    }

    #[test]
    fn a_relayed_address_is_known_while_its_allocation_lives() {
        let quota = Quota::new(2);
        let mut place = quota.take("one", network(1)).unwrap();
        let relayed: SocketAddr = "192.0.2.1:5".parse().unwrap();
        place.set_relayed(relayed);
        assert!(quota.is_relayed(relayed) && quota.relays_at(relayed.ip()));
        assert!(!quota.is_relayed("192.0.2.1:6".parse().unwrap()));
        drop(place);
        assert!(!quota.is_relayed(relayed) && !quota.relays_at(relayed.ip()));
    }
}
