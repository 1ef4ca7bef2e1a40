//! What the server does with each message (RFC 8656). Pure: times are arguments, and whoever calls binds the sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use rtc::stun::error_code::{
    CODE_ADDR_FAMILY_NOT_SUPPORTED, CODE_ALLOC_MISMATCH, CODE_ALLOC_QUOTA_REACHED, CODE_BAD_REQUEST, CODE_FORBIDDEN,
    CODE_INSUFFICIENT_CAPACITY, CODE_PEER_ADDR_FAMILY_MISMATCH, CODE_STALE_NONCE, CODE_UNAUTHORIZED,
    CODE_UNKNOWN_ATTRIBUTE, CODE_UNSUPPORTED_TRANS_PROTO, CODE_WRONG_CREDENTIALS, ErrorCode,
};
use rtc::stun::message::Setter;
use rtc::turn::proto::lifetime::Lifetime;
use rtc::turn::proto::relayaddr::RelayedAddress;

use super::allocation::{Allocation, LIFE, NotBound, Owner};
use super::message::{self, Asked, Family, Incoming, Proof, Request};
use super::nonce::Nonces;
use super::quota::{Full, Quota};
use super::stats::{Counts, Refusal};
use crate::access::{TurnDenied, TurnSecret, turn_password};
use crate::network::{Network, Rate, RateLimit};

/// The realm of the server. Short, as each challenge carries it to a client that has proved nothing.
pub(super) const REALM: &str = "classroom";

/// The requests of clients without an allocation: a school behind one NAT is one network, and comes at once.
const STRANGERS: Rate = Rate { per_second: 200, burst: 6_000, all_per_second: 1_000, all_burst: 12_000 };

/// An answer to a client that has not proved its address is at most this many times as long as the request.
const MOST_AMPLIFICATION: usize = 3;

/// The addresses to which the server relays: those of this server's media, and nothing else.
pub trait MediaAddresses: Send + Sync {
    /// Whether media is received at this address.
    fn contains(&self, address: SocketAddr) -> bool;
    /// Whether media is received at some port of this host.
    fn has_host(&self, ip: IpAddr) -> bool;
}

/// The settings of a server.
#[derive(Clone)]
pub struct TurnConfig {
    /// The secret by which credentials are made and checked.
    pub secret: TurnSecret,
    /// The addresses to which the server relays.
    pub media: Arc<dyn MediaAddresses>,
    /// The most allocations.
    pub max_allocations: usize,
}

/// What all clients share.
pub(super) struct Shared {
    config: TurnConfig,
    nonces: Nonces,
    strangers: Mutex<RateLimit>,
    pub(super) quota: Quota,
    pub(super) counts: Counts,
}

/// One end of a connection to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// The address of the client.
    pub(super) from: SocketAddr,
    /// The address at which the client reaches the server.
    pub(super) at: SocketAddr,
}

/// The time by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    /// Credentials end at a time of this clock.
    pub(super) wall: SystemTime,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// What to do with a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Nothing,
    /// Send this to the client.
    Answer(Vec<u8>),
    /// Send this to the peer, from the socket of the allocation.
    Relay(SocketAddr, Vec<u8>),
}

/// A client that is known by its key.
struct Known {
    member: String,
    key: Vec<u8>,
    username: String,
}

type Refused = (ErrorCode, &'static str);

const OTHER_FAMILY: Refused = (CODE_PEER_ADDR_FAMILY_MISMATCH, "the relayed address is of the other family");

impl Shared {
    pub(super) fn new(config: TurnConfig, nonce_key: [u8; 32], start: Instant) -> Self {
        Self {
            nonces: Nonces::new(nonce_key, start),
            strangers: Mutex::new(RateLimit::new(STRANGERS)),
            quota: Quota::new(config.max_allocations),
            counts: Counts::default(),
            config,
        }
    }

    /// Handles a message of a client. `bind` binds a UDP socket of this host, keeps it for the allocation, and returns
    /// its address.
    pub(super) fn on_client(
        &self,
        now: Now,
        client: Client,
        bytes: &[u8],
        allocation: &mut Option<Allocation>,
        bind: impl FnOnce(IpAddr) -> io::Result<SocketAddr>,
    ) -> Reaction {
        if allocation.as_ref().is_some_and(|allocation| allocation.expires() <= now.instant) {
            *allocation = None;
        }
        match message::parse(bytes) {
            None => Reaction::Nothing,
            Some(Incoming::Channel { number, data }) => {
                let Some(allocation) = allocation else { return Reaction::Nothing };
                // A relayed address that was a peer may belong to another program by now.
                match allocation.peer_of(now.instant, number).filter(|peer| self.is_peer(*peer)) {
                    Some(peer) => self.relay(now, allocation, peer, data.to_vec()),
                    None => Reaction::Nothing,
                }
            }
            Some(Incoming::Send { peer, data }) => {
                let Some(allocation) = allocation else { return Reaction::Nothing };
                if !allocation.permits(now.instant, peer.ip()) || !self.is_peer(peer) {
                    return Reaction::Nothing;
                }
                self.relay(now, allocation, peer, data)
            }
            Some(Incoming::Request(request)) => self.on_request(now, client, request, allocation, bind),
        }
    }

    /// The data of a peer as the client gets it; `None` if the peer is not permitted.
    pub(super) fn on_peer(&self, now: Now, allocation: &Allocation, peer: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
        if !allocation.permits(now.instant, peer.ip()) || allocation.expires() <= now.instant {
            return None;
        }
        let message = match allocation.channel_of(now.instant, peer) {
            Some(channel) => message::channel_data(channel, data),
            None if self.is_peer(peer) => message::data_indication(peer, data),
            None => return None,
        };
        self.counts.relayed_to_client(data.len());
        Some(message)
    }

    fn relay(&self, now: Now, allocation: &mut Allocation, peer: SocketAddr, data: Vec<u8>) -> Reaction {
        if allocation.packets.take(now.instant).is_err() {
            self.counts.dropped();
            return Reaction::Nothing;
        }
        self.counts.relayed_to_peer(data.len());
        Reaction::Relay(peer, data)
    }

    /// Whether the server relays to this address: to its own media, and to other allocations, as in a meeting of two
    /// participants whose networks block UDP. Both ends of those have credentials.
    fn is_peer(&self, peer: SocketAddr) -> bool {
        self.config.media.contains(peer) || self.quota.is_relayed(peer)
    }

    fn is_host_of_peers(&self, ip: IpAddr) -> bool {
        self.config.media.has_host(ip) || self.quota.relays_at(ip)
    }

    fn on_request(
        &self,
        now: Now,
        client: Client,
        mut request: Request,
        allocation: &mut Option<Allocation>,
        bind: impl FnOnce(IpAddr) -> io::Result<SocketAddr>,
    ) -> Reaction {
        let may_ask = match allocation {
            Some(allocation) => allocation.requests.take(now.instant),
            None => {
                let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
                strangers.take(now.instant, Network::of(client.from.ip()))
            }
        };
        if may_ask.is_err() {
            self.counts.refused(Refusal::Rate);
            return Reaction::Nothing;
        }
        if request.asked == Asked::Binding {
            return short(&request, request.success(vec![message::mapped(client.from)], None));
        }
        let known = match self.authenticate(now, client, &mut request) {
            Ok(known) => known,
            Err(answer) => return short(&request, answer),
        };
        let key = Some(known.key.as_slice());
        let unknown = request.not_understood();
        if !unknown.is_empty() {
            let error = (CODE_UNKNOWN_ATTRIBUTE, "unknown attribute");
            return Reaction::Answer(request.error(error, vec![message::unknown(unknown)], key));
        }
        let answer = match request.asked {
            Asked::Allocate => self.allocate(now, client, &request, &known, allocation, bind),
            _ => match allocation {
                None => Err((CODE_ALLOC_MISMATCH, "no allocation")),
                Some(own) if own.username != known.username => {
                    Err((CODE_WRONG_CREDENTIALS, "the allocation is of another user"))
                }
                Some(own) => self.change(now, &request, own),
            },
        };
        Reaction::Answer(match answer {
            Ok(attributes) => request.success(attributes, key),
            Err(refused) => request.error(refused, Vec::new(), key),
        })
    }

    /// Finds out who asks. The error is the answer to the client.
    fn authenticate(&self, now: Now, client: Client, request: &mut Request) -> Result<Known, Vec<u8>> {
        let ip = client.from.ip();
        let challenge = |request: &Request, refused| {
            request.error(refused, message::challenge(REALM, self.nonces.make(now.instant, ip)), None)
        };
        let Proof { username, nonce } = match request.proof() {
            Ok(Some(proof)) => proof,
            // The first request of each client.
            Ok(None) => return Err(challenge(request, (CODE_UNAUTHORIZED, ""))),
            Err(()) => return Err(request.error((CODE_BAD_REQUEST, ""), Vec::new(), None)),
        };
        if !self.nonces.is_fresh(now.instant, ip, &nonce) {
            return Err(challenge(request, (CODE_STALE_NONCE, "")));
        }
        let refuse = |request: &Request, why: &'static str, refusal| {
            self.counts.refused(refusal);
            Err(challenge(request, (CODE_UNAUTHORIZED, why)))
        };
        let (member, password) = match turn_password(&self.config.secret, &username, now.wall) {
            Ok((member, password)) => (member.to_owned(), password),
            Err(TurnDenied::Expired) => return refuse(request, "expired", Refusal::Expired),
            Err(TurnDenied::Malformed) => return refuse(request, "", Refusal::Credentials),
        };
        let key = message::key(&username, REALM, &password).unwrap_or_default();
        if !request.verify(&key) {
            return refuse(request, "", Refusal::Credentials);
        }
        Ok(Known { member, key, username })
    }

    fn allocate(
        &self,
        now: Now,
        client: Client,
        request: &Request,
        known: &Known,
        allocation: &mut Option<Allocation>,
        bind: impl FnOnce(IpAddr) -> io::Result<SocketAddr>,
    ) -> Result<Vec<Box<dyn Setter>>, Refused> {
        if let Some(existing) = allocation {
            let repeats = existing.transaction == request.transaction() && existing.username == known.username;
            let mismatch = (CODE_ALLOC_MISMATCH, "there is an allocation already");
            return if repeats { Ok(allocated(existing.relayed, client)) } else { Err(mismatch) };
        }
        match request.wants_udp() {
            None => return Err((CODE_BAD_REQUEST, "no transport")),
            Some(false) => return Err((CODE_UNSUPPORTED_TRANS_PROTO, "only UDP is relayed")),
            Some(true) => {}
        }
        let at = client.at.ip().to_canonical();
        let host = match (request.family(), at) {
            (Some(Family::V4), IpAddr::V4(_)) | (Some(Family::V6), IpAddr::V6(_)) => at,
            // IPv4 is the default, also for a client that comes by IPv6. The media of this computer is near.
            (Some(Family::V4), IpAddr::V6(_)) => Ipv4Addr::LOCALHOST.into(),
            _ => return Err((CODE_ADDR_FAMILY_NOT_SUPPORTED, "this family is not relayed")),
        };
        let place = self.quota.take(&known.member, Network::of(client.from.ip())).map_err(|full| {
            self.counts.refused(Refusal::Full);
            match full {
                Full::User => (CODE_ALLOC_QUOTA_REACHED, "too many allocations of this user"),
                Full::Network => (CODE_ALLOC_QUOTA_REACHED, "too many allocations of this network"),
                Full::Server => (CODE_INSUFFICIENT_CAPACITY, "too many allocations"),
            }
        })?;
        let relayed = bind(host).map_err(|_| {
            self.counts.refused(Refusal::Full);
            (CODE_INSUFFICIENT_CAPACITY, "no free port")
        })?;
        let owner = Owner { username: known.username.clone(), transaction: request.transaction() };
        *allocation = Some(Allocation::new(now.instant, owner, relayed, place));
        self.counts.allocated();
        Ok(allocated(relayed, client))
    }

    fn change(&self, now: Now, request: &Request, own: &mut Allocation) -> Result<Vec<Box<dyn Setter>>, Refused> {
        let malformed = (CODE_BAD_REQUEST, "malformed");
        match request.asked {
            Asked::Refresh if request.ends() => {
                own.end(now.instant);
                Ok(vec![Box::new(Lifetime(std::time::Duration::ZERO))])
            }
            Asked::Refresh => {
                own.refresh(now.instant);
                Ok(vec![Box::new(Lifetime(LIFE))])
            }
            Asked::CreatePermission => {
                let peers = request.peers().filter(|peers| !peers.is_empty()).ok_or(malformed)?;
                // The port has no meaning here (RFC 8656, 10.2); each packet is checked with its port.
                let hosts: Vec<IpAddr> = peers.iter().map(SocketAddr::ip).collect();
                if hosts.iter().any(|ip| ip.is_ipv4() != own.relayed.is_ipv4()) {
                    return Err(OTHER_FAMILY);
                }
                if !hosts.iter().all(|ip| self.is_host_of_peers(*ip)) {
                    return Err(self.forbidden());
                }
                let fits = own.permit(now.instant, &hosts);
                fits.then(Vec::new).ok_or((CODE_INSUFFICIENT_CAPACITY, "too many permissions"))
            }
            Asked::ChannelBind => {
                let peers = request.peers().filter(|peers| peers.len() == 1).ok_or(malformed)?;
                let (number, peer) = (request.channel().ok_or(malformed)?, *peers.first().ok_or(malformed)?);
                if peer.is_ipv4() != own.relayed.is_ipv4() {
                    return Err(OTHER_FAMILY);
                }
                if !self.is_peer(peer) {
                    return Err(self.forbidden());
                }
                own.bind(now.instant, number, peer).map(|()| Vec::new()).map_err(|why| match why {
                    NotBound::Taken => (CODE_BAD_REQUEST, "this channel or this peer is bound already"),
                    NotBound::TooMany => (CODE_INSUFFICIENT_CAPACITY, "too many channels"),
                })
            }
            Asked::Allocate | Asked::Binding => Err(malformed),
        }
    }

    fn forbidden(&self) -> Refused {
        self.counts.refused(Refusal::Peer);
        (CODE_FORBIDDEN, "only the media of this server is a peer")
    }
}

fn allocated(relayed: SocketAddr, client: Client) -> Vec<Box<dyn Setter>> {
    let relayed = RelayedAddress { ip: relayed.ip(), port: relayed.port() };
    vec![Box::new(relayed), Box::new(Lifetime(LIFE)), message::mapped(client.from)]
}

/// An answer to somebody who has proved nothing, unless the answer is much longer than the request.
fn short(request: &Request, answer: Vec<u8>) -> Reaction {
    if answer.len() > MOST_AMPLIFICATION * request.length() { Reaction::Nothing } else { Reaction::Answer(answer) }
}
