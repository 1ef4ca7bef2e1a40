//! The addresses of this computer at which a media port receives.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::candidates::local_addresses;

/// How long the addresses of the interfaces are taken as known.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// The local addresses of a media port: those of its host candidates.
#[derive(Debug)]
pub struct LocalMedia {
    bound: SocketAddr,
    known: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl LocalMedia {
    /// Those of a socket that is bound to this address.
    pub fn new(bound: SocketAddr) -> Self {
        Self { bound, known: Mutex::default() }
    }

    /// Whether the port receives at this address.
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.any(|known| known == address)
    }

    /// Whether the port receives at this host.
    pub fn has_host(&self, ip: IpAddr) -> bool {
        self.any(|known| known.ip() == ip)
    }

    /// The addresses.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        local_addresses(self.bound)
    }

    fn any(&self, is_it: impl Fn(SocketAddr) -> bool) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, addresses) = known.get_or_insert_with(|| (Instant::now(), local_addresses(self.bound)));
        if read.elapsed() >= KNOWN_FOR {
            (*read, *addresses) = (Instant::now(), local_addresses(self.bound));
        }
        addresses.iter().any(|address| is_it(*address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_itself_is_media() {
        let media = LocalMedia::new("0.0.0.0:18080".parse().unwrap());
        let is_media = |address: &str| media.contains(address.parse().unwrap());
        assert!(is_media("127.0.0.1:18080"));
        for other in ["127.0.0.1:18081", "127.0.0.2:18080", "[::ffff:127.0.0.1]:18080", "192.0.2.7:18080"] {
            assert!(!is_media(other), "{other}");
        }
        assert!(media.has_host("127.0.0.1".parse().unwrap()) && !media.has_host("192.0.2.7".parse().unwrap()));
        let of_one = LocalMedia::new("192.0.2.7:5".parse().unwrap());
        assert!(of_one.contains("192.0.2.7:5".parse().unwrap()) && !of_one.has_host("127.0.0.1".parse().unwrap()));
    }
}
