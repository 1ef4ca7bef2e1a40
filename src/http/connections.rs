//! How many connections each network may hold, and which one is closed when another needs its place.
//!
//! A network may hold at most three times as many places as are free (dynamic thresholds, Choudhury and Hahne 1998):
//! one network alone gets three quarters of all, and places stay free for those that come next. A network without a
//! connection always gets the last place.
//!
//! Beyond its share, a network still gets a place if another connection can be closed for it: the oldest one of the
//! network with the most connections, and among those first the ones that have not joined a room. An honest client is
//! answered, or joins a room, within milliseconds, so the oldest connection outside of a room is one that does nothing.
//! A member without media is closed only for a smaller network, a member with media never.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::network::{ClientState, Network, SharedClientState};

/// Places that a network may hold for each place that is free.
const SHARE: usize = 3;

/// The places of a server, shared by its connections.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    most: usize,
    all: usize,
    next: u64,
    networks: HashMap<Network, Held>,
    /// The networks with a connection that may be closed, by the number of their connections.
    by_size: BTreeSet<(usize, Network)>,
}

/// The connections of one network.
#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Those that have not joined a room when last looked at, the oldest first.
    outside: BTreeMap<u64, Arc<Place>>,
    /// Those that had joined a room and had no media when last looked at.
    joined: BTreeMap<u64, Arc<Place>>,
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    network: Network,
    number: u64,
    client_state: SharedClientState,
    closed: AtomicBool,
    reader: AtomicWaker,
}

impl Places {
    /// `most` free places.
    pub(super) fn new(most: usize) -> Self {
        let (networks, by_size) = (HashMap::new(), BTreeSet::new());
        Self(Arc::new(Mutex::new(Ledger { most, all: 0, next: 0, networks, by_size })))
    }

    /// Gives a new connection a place, or drops the connection.
    pub(super) fn admit(&self, io: TcpStream, network: Network) -> Option<CountedStream> {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(network)?;
        Some(CountedStream { io, place, places: self.clone() })
    }
}

impl Ledger {
    fn take(&mut self, network: Network) -> Option<Arc<Place>> {
        let held = self.networks.get(&network).map_or(0, |held| held.all);
        let free = self.most - self.all;
        let fits = free > 0 && (held == 0 || held < SHARE * (free - 1));
        if !fits && !self.close_of_a_larger_one(held) && !self.close_oldest(network, ClientState::Outside) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let (closed, reader) = (AtomicBool::new(false), AtomicWaker::new());
        let place = Arc::new(Place { network, number, client_state: SharedClientState::default(), closed, reader });
        self.all += 1;
        self.change(network, |held| {
            held.all += 1;
            held.outside.insert(number, place.clone());
        });
        Some(place)
    }

    /// Closes a connection of the largest network that would still not be the smaller one afterwards.
    fn close_of_a_larger_one(&mut self, held: usize) -> bool {
        while let Some((_, largest)) = self.by_size.last().copied().filter(|(size, _)| *size > held + 1) {
            // Fails if all of that network have media; then the network is no longer in `by_size`.
            if self.close_oldest(largest, ClientState::Joined) {
                return true;
            }
        }
        false
    }

    /// Closes the network's oldest connection among those whose client has at most the state `most`.
    fn close_oldest(&mut self, network: Network, most: ClientState) -> bool {
        let mut closed = None;
        self.change(network, |held| {
            while closed.is_none()
                && let Some((number, place)) = held.outside.pop_first()
            {
                match place.client_state.get() {
                    ClientState::Outside => closed = Some(place),
                    ClientState::Joined => _ = held.joined.insert(number, place),
                    ClientState::Connected => {}
                }
            }
            while closed.is_none()
                && most >= ClientState::Joined
                && let Some((_, place)) = held.joined.pop_first()
            {
                closed = Some(place).filter(|place| place.client_state.get() < ClientState::Connected);
            }
            held.all -= usize::from(closed.is_some());
        });
        let Some(place) = closed else { return false };
        self.all -= 1;
        place.closed.store(true, Ordering::Release);
        place.reader.wake();
        true
    }

    /// Frees a place, unless its connection was closed for another one.
    fn free(&mut self, place: &Place) {
        if place.closed.load(Ordering::Acquire) {
            return;
        }
        self.all -= 1;
        self.change(place.network, |held| {
            held.all -= 1;
            held.outside.remove(&place.number);
            held.joined.remove(&place.number);
        });
    }

    fn change(&mut self, network: Network, change: impl FnOnce(&mut Held)) {
        let held = self.networks.entry(network).or_default();
        self.by_size.remove(&(held.all, network));
        change(held);
        if !(held.outside.is_empty() && held.joined.is_empty()) {
            self.by_size.insert((held.all, network));
        }
        if held.all == 0 {
            self.networks.remove(&network);
        }
    }
}

/// A socket that has a place until dropped. An upgrade takes it along, so a WebSocket counts too.
#[derive(Debug)]
pub(super) struct CountedStream {
    io: TcpStream,
    place: Arc<Place>,
    places: Places,
}

impl CountedStream {
    /// The socket.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.io
    }

    /// How far the connection is; signalling sets it.
    pub(super) fn client_state(&self) -> SharedClientState {
        self.place.client_state.clone()
    }

    fn check(&self) -> io::Result<()> {
        if self.place.closed.load(Ordering::Acquire) {
            let message = "closed in favour of another connection";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, message));
        }
        Ok(())
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.places.0.lock().unwrap_or_else(PoisonError::into_inner).free(&self.place);
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The server reads at all times, also while it makes a response, so the end of the place is always noticed.
        self.place.reader.register(cx.waker());
        self.check()?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections of a test: each takes its place in the ledger and frees it when told.
    struct Server(Ledger);

    impl Server {
        fn new(most: usize) -> Self {
            Self(Ledger { most, all: 0, next: 0, networks: HashMap::new(), by_size: BTreeSet::new() })
        }

        fn connect(&mut self, network: Network) -> Option<Arc<Place>> {
            let place = self.0.take(network);
            let sum: usize = self.0.networks.values().map(|held| held.all).sum();
            assert!(sum == self.0.all && sum <= self.0.most);
            place
        }

        /// The number of connections that get a place and then this state, until one is refused.
        fn admit(&mut self, network: Network, most: usize, client_state: ClientState) -> usize {
            let admitted =
                (0..most).map_while(|_| self.connect(network).inspect(|place| place.client_state.set(client_state)));
            admitted.count()
        }
    }

    fn network(n: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(n).into())
    }

    fn is_open(place: &Arc<Place>) -> bool {
        !place.closed.load(Ordering::Relaxed)
    }

    #[test]
    fn a_class_of_2000_behind_one_address_gets_in_at_once() {
        let mut server = Server::new(10_000);
        assert_eq!(server.admit(network(1), 2_000, ClientState::Joined), 2_000);
    }

    #[test]
    fn networks_that_take_all_they_can_leave_places_for_others() {
        let mut server = Server::new(10_000);
        assert_eq!(server.admit(network(1), 10_000, ClientState::Connected), 7_500);
        assert_eq!(server.admit(network(2), 500, ClientState::Joined), 500, "a class");
        for attacker in 10..60 {
            server.admit(network(attacker), 10_000, ClientState::Joined);
        }
        assert!(server.0.all >= 9_999);
        assert_eq!(server.admit(network(9), 30, ClientState::Connected), 30, "members without media make place");
        let class = server.0.networks[&network(2)].all;
        assert!(class >= 40, "{class}: a class loses no more than what makes it as small as others");
    }

    #[test]
    fn a_member_with_media_is_never_closed_and_one_without_not_for_its_own_network() {
        let mut server = Server::new(8);
        let class: Vec<_> = (0..4).map(|_| server.connect(network(1)).unwrap()).collect();
        class.iter().for_each(|place| place.client_state.set(ClientState::Connected));
        let idle: Vec<_> = (0..20).filter_map(|_| server.connect(network(2))).collect();
        assert_eq!(idle.len(), 20, "each idle connection of a network closes an older one");
        assert!(class.iter().all(is_open));
        assert_eq!(idle.iter().filter(|place| is_open(place)).count(), server.0.all - 4);
        let last = idle.last().unwrap();
        last.client_state.set(ClientState::Joined);
        assert_eq!((0..20).filter_map(|_| server.connect(network(2))).count(), 20);
        assert!(is_open(last) && class.iter().all(is_open));
    }

    #[test]
    fn idle_connections_of_the_largest_network_make_place_for_others() {
        let mut server = Server::new(100);
        let idle: Vec<_> = (0..1_000).filter_map(|_| server.connect(network(1))).collect();
        assert_eq!((idle.len(), server.0.all), (1_000, 75), "a flood closes its own connections");
        let honest = server.connect(network(1)).unwrap();
        let flood = (0..70).filter_map(|_| server.connect(network(1))).count();
        assert!(flood == 70 && is_open(&honest), "a newcomer has the time of 75 connects");
        let others: usize = (2..6).map(|n| server.admit(network(n), 10, ClientState::Joined)).sum();
        assert_eq!(others, 40, "what is free, and then idle places of the largest");
        assert_eq!(idle.iter().filter(|place| is_open(place)).count(), 0, "the oldest went first");
    }

    #[test]
    fn a_closed_connection_frees_its_place_once() {
        let mut server = Server::new(4);
        let places: Vec<_> = (0..9).filter_map(|_| server.connect(network(1))).collect();
        assert_eq!((places.len(), server.0.all), (9, 3));
        places.iter().for_each(|place| server.0.free(place));
        assert!(server.0.all == 0 && server.0.networks.is_empty() && server.0.by_size.is_empty());
    }
}
