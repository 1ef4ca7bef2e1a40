//! Clients of all kinds against the server's decisions, in virtual time and without sockets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rtc::stun::attributes::{ATTR_CHANNEL_NUMBER, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, AttrType};
use rtc::stun::error_code::ErrorCodeAttribute;
use rtc::stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND,
    METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message, Method, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::turn::proto::data::Data;
use rtc::turn::proto::lifetime::Lifetime;
use rtc::turn::proto::peeraddr::PeerAddress;

use super::allocation::{Allocation, LIFE};
use super::message::{self, Outcome, allocation_outcome, build, channel_data};
use super::server::*;
use super::stats::{Refusal, TurnStats};
use crate::access::{TurnSecret, turn_credentials};

const MEDIA: &str = "192.0.2.1:18080";
const SECRET: &str = "north-south-east-west";

struct Media;

impl MediaAddresses for Media {
    fn contains(&self, address: SocketAddr) -> bool {
        address == at(MEDIA)
    }
    fn has_host(&self, ip: IpAddr) -> bool {
        ip == at(MEDIA).ip()
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Any attribute.
struct Raw(AttrType, Vec<u8>);

impl Setter for Raw {
    fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
        message.add(self.0, &self.1);
        Ok(())
    }
}

/// A server and its clock.
struct Bench {
    shared: Shared,
    now: Now,
    ports: u16,
}

/// A client of the server, with credentials of a member.
struct Caller {
    client: Client,
    username: String,
    password: String,
    allocation: Option<Allocation>,
    nonce: String,
}

impl Bench {
    fn new(max_allocations: usize) -> Self {
        let config = TurnConfig { secret: SECRET.parse().unwrap(), media: Arc::new(Media), max_allocations };
        let start = Instant::now();
        let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Self { shared: Shared::new(config, [7; 32], start), now: Now { instant: start, wall }, ports: 40_000 }
    }

    fn passes(&mut self, time: Duration) {
        self.now = Now { instant: self.now.instant + time, wall: self.now.wall + time };
    }

    fn caller(&self, user: &str, from: &str, ttl: u64) -> Caller {
        let secret: TurnSecret = SECRET.parse().unwrap();
        let member = (&"10013".parse().unwrap(), &user.parse().unwrap());
        let made = turn_credentials(&secret, member, Duration::from_secs(ttl), self.now.wall);
        let client = Client { from: at(from), at: at("192.0.2.1:3478") };
        let (username, password) = (made.username, made.credential);
        Caller { client, username, password, allocation: None, nonce: String::new() }
    }

    fn sends(&mut self, caller: &mut Caller, bytes: &[u8]) -> Reaction {
        self.ports += 1;
        let port = self.ports;
        let bind = |ip: IpAddr| Ok(SocketAddr::new(ip, port));
        self.shared.on_client(self.now, caller.client, bytes, &mut caller.allocation, bind)
    }

    /// Sends a signed request, after a nonce if there is none; returns the error code of the answer, or 0.
    fn asks(&mut self, caller: &mut Caller, method: Method, attributes: Vec<Box<dyn Setter>>) -> u16 {
        if caller.nonce.is_empty() {
            let question = build(METHOD_ALLOCATE, CLASS_REQUEST, TransactionId::new(), vec![udp()], None);
            let Reaction::Answer(answer) = self.sends(caller, &question) else { panic!("no challenge") };
            caller.nonce = text(&answer, rtc::stun::attributes::ATTR_NONCE);
        }
        let request = caller.signed(method, attributes);
        code(self.sends(caller, &request))
    }

    fn allocates(&mut self, caller: &mut Caller) -> u16 {
        self.asks(caller, METHOD_ALLOCATE, vec![udp()])
    }

    fn stats(&self) -> TurnStats {
        self.shared.counts.stats(self.shared.quota.count())
    }

    fn refused(&self, why: Refusal) -> u64 {
        self.stats().refused.iter().find(|(reason, _)| *reason == why).unwrap().1
    }
}

impl Caller {
    fn signed(&self, method: Method, attributes: Vec<Box<dyn Setter>>) -> Vec<u8> {
        let name: Box<dyn Setter> = Box::new(TextAttribute::new(ATTR_USERNAME, self.username.clone()));
        let attributes = attributes.into_iter().chain([name]).chain(message::challenge(REALM, self.nonce.clone()));
        let key = message::key(&self.username, REALM, &self.password).unwrap();
        build(method, CLASS_REQUEST, TransactionId::new(), attributes.collect(), Some(&key))
    }
}

fn udp() -> Box<dyn Setter> {
    Box::new(Raw(ATTR_REQUESTED_TRANSPORT, vec![17, 0, 0, 0]))
}

fn peer(address: &str) -> Box<dyn Setter> {
    let address = at(address);
    Box::new(PeerAddress { ip: address.ip(), port: address.port() })
}

fn channel(number: u16) -> Box<dyn Setter> {
    Box::new(Raw(ATTR_CHANNEL_NUMBER, [number.to_be_bytes(), [0, 0]].concat()))
}

fn send(address: &str) -> Vec<u8> {
    let data: Box<dyn Setter> = Box::new(Data(b"media".to_vec()));
    build(METHOD_SEND, CLASS_INDICATION, TransactionId::new(), vec![peer(address), data], None)
}

fn decoded(bytes: &[u8]) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).unwrap();
    message
}

fn text(bytes: &[u8], attribute: AttrType) -> String {
    String::from_utf8(decoded(bytes).get(attribute).unwrap()).unwrap()
}

#[track_caller]
fn code(reaction: Reaction) -> u16 {
    let Reaction::Answer(answer) = reaction else { panic!("no answer: {reaction:?}") };
    let mut error = ErrorCodeAttribute::default();
    error.get_from(&decoded(&answer)).map_or(0, |()| error.code.0)
}

#[test]
fn a_client_gets_a_relay_to_our_media_and_to_nothing_else() {
    let mut bench = Bench::new(10);
    let mut caller = bench.caller("1001", "198.51.100.7:5000", 60);
    assert_eq!(bench.asks(&mut caller, METHOD_REFRESH, vec![]), 437, "there is no allocation yet");
    assert_eq!(bench.allocates(&mut caller), 0);
    assert_eq!(bench.allocates(&mut caller), 437, "one allocation a client");
    for other in ["192.0.2.7:18080", "127.0.0.1:18080", "10.0.0.1:22", "0.0.0.0:18080"] {
        assert_eq!(bench.asks(&mut caller, METHOD_CREATE_PERMISSION, vec![peer(other)]), 403, "{other}");
        assert_eq!(bench.asks(&mut caller, METHOD_CHANNEL_BIND, vec![channel(0x4000), peer(other)]), 403, "{other}");
    }
    for other in ["[::ffff:192.0.2.1]:18080", "[::1]:18080"] {
        assert_eq!(bench.asks(&mut caller, METHOD_CREATE_PERMISSION, vec![peer(other)]), 443, "{other}");
        assert_eq!(bench.asks(&mut caller, METHOD_CHANNEL_BIND, vec![channel(0x4000), peer(other)]), 443, "{other}");
    }
    assert_eq!(bench.refused(Refusal::Peer), 8);
    assert_eq!(bench.sends(&mut caller, &send(MEDIA)), Reaction::Nothing, "not permitted yet");
    assert_eq!(bench.asks(&mut caller, METHOD_CREATE_PERMISSION, vec![peer("192.0.2.1:0")]), 0);
    assert_eq!(bench.sends(&mut caller, &send(MEDIA)), Reaction::Relay(at(MEDIA), b"media".to_vec()));
    for port in [22, 53, 18_081] {
        let other = format!("192.0.2.1:{port}");
        assert_eq!(bench.sends(&mut caller, &send(&other)), Reaction::Nothing, "another port of the permitted host");
        assert_eq!(bench.asks(&mut caller, METHOD_CHANNEL_BIND, vec![channel(0x4000), peer(&other)]), 403);
        let allocation = caller.allocation.as_ref().unwrap();
        assert_eq!(bench.shared.on_peer(bench.now, allocation, at(&other), b"x"), None);
    }
    assert_eq!(bench.asks(&mut caller, METHOD_CHANNEL_BIND, vec![channel(0x4000), peer(MEDIA)]), 0);
    let data = channel_data(0x4000, b"media");
    assert_eq!(bench.sends(&mut caller, &data), Reaction::Relay(at(MEDIA), b"media".to_vec()));
    assert_eq!(bench.sends(&mut caller, &channel_data(0x4001, b"media")), Reaction::Nothing);
    let allocation = caller.allocation.as_ref().unwrap();
    assert_eq!(bench.shared.on_peer(bench.now, allocation, at(MEDIA), b"media"), Some(data));
    let stats = bench.stats();
    assert_eq!((stats.allocations, stats.bytes_to_media, stats.bytes_to_clients), (1, 10, 5));
}

#[test]
fn two_relays_reach_each_other_and_not_the_port_of_one_that_is_gone() {
    let mut bench = Bench::new(10);
    let mut one = bench.caller("1001", "198.51.100.7:5000", 60);
    let mut other = bench.caller("1002", "198.51.100.8:5000", 60);
    assert_eq!((bench.allocates(&mut one), bench.allocates(&mut other)), (0, 0));
    let relayed = other.allocation.as_ref().unwrap().relayed.to_string();
    assert_eq!(bench.asks(&mut one, METHOD_CHANNEL_BIND, vec![channel(0x4000), peer(&relayed)]), 0);
    let data = channel_data(0x4000, b"x");
    assert!(matches!(bench.sends(&mut one, &data), Reaction::Relay(..)));
    assert_eq!(bench.asks(&mut other, METHOD_REFRESH, vec![Box::new(Lifetime(Duration::ZERO))]), 0);
    other.allocation = None;
    assert_eq!(bench.sends(&mut one, &data), Reaction::Nothing, "the port may belong to another program now");
}

#[test]
fn credentials_end_and_belong_to_one_member() {
    let mut bench = Bench::new(10);
    let mut caller = bench.caller("1001", "198.51.100.7:5000", 60);
    assert_eq!(bench.allocates(&mut caller), 0);
    let mut thief = bench.caller("1002", "198.51.100.7:5000", 60);
    std::mem::swap(&mut thief.allocation, &mut caller.allocation);
    assert_eq!(bench.asks(&mut thief, METHOD_REFRESH, vec![]), 441, "the allocation is of another user");
    std::mem::swap(&mut thief.allocation, &mut caller.allocation);
    let mut wrong = bench.caller("1001", "198.51.100.9:5000", 60);
    wrong.password.push('x');
    assert_eq!(bench.allocates(&mut wrong), 401);
    let mut forged = bench.caller("1001", "198.51.100.9:5000", 60);
    forged.username = forged.username.replace(":10013/1001", ":10013/9999");
    assert_eq!(bench.allocates(&mut forged), 401);
    let mut other = bench.caller("1001", "198.51.100.10:5000", 60);
    other.nonce = caller.nonce.clone();
    assert_eq!(bench.allocates(&mut other), 438, "a nonce is for one address");
    bench.passes(Duration::from_secs(60));
    assert_eq!(bench.asks(&mut caller, METHOD_REFRESH, vec![]), 401, "expired");
    let mut late = bench.caller("1001", "198.51.100.11:5000", 0);
    late.nonce.clear();
    assert_eq!(bench.allocates(&mut late), 401);
    assert_eq!((bench.refused(Refusal::Credentials), bench.refused(Refusal::Expired)), (2, 2));
    bench.passes(LIFE);
    assert_eq!(bench.sends(&mut caller, &send(MEDIA)), Reaction::Nothing);
    assert!(caller.allocation.is_none() && bench.stats().allocations == 0, "nothing is left of it");
}

#[test]
fn what_stands_behind_the_signature_does_not_count() {
    let mut bench = Bench::new(10);
    let mut caller = bench.caller("1001", "198.51.100.7:5000", 60);
    assert_eq!(bench.allocates(&mut caller), 0);
    let mut request = decoded(&caller.signed(METHOD_CREATE_PERMISSION, vec![]));
    peer(MEDIA).add_to(&mut request).unwrap();
    assert_eq!(code(bench.sends(&mut caller, &request.raw)), 400, "no peer is signed");
}

#[test]
fn strangers_get_short_answers_and_no_memory() {
    let mut bench = Bench::new(10);
    let mut caller = bench.caller("1001", "198.51.100.7:5000", 60);
    for method in [METHOD_BINDING, METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND] {
        let many: Vec<Box<dyn Setter>> =
            (0..20).map(|n| Box::new(Raw(AttrType(n), vec![])) as Box<dyn Setter>).collect();
        for attributes in [vec![], vec![udp()], many] {
            let request = build(method, CLASS_REQUEST, TransactionId::new(), attributes, None);
            if let Reaction::Answer(answer) = bench.sends(&mut caller, &request) {
                assert!(answer.len() <= 3 * request.len(), "{} to {}", answer.len(), request.len());
            }
        }
    }
    // The first request of Chromium and of webrtc gets its challenge.
    let first = build(METHOD_ALLOCATE, CLASS_REQUEST, TransactionId::new(), vec![udp()], None);
    assert_eq!(code(bench.sends(&mut caller, &first)), 401);
    for other in [&send(MEDIA)[..], &channel_data(0x4000, b"x"), b"GET / HTTP/1.1\r\n\r\n", &[0; 20], &[22; 60], &[]] {
        assert_eq!(bench.sends(&mut caller, other), Reaction::Nothing);
    }
    assert!(caller.allocation.is_none() && bench.stats().allocations == 0);
    let flood = (0..10_000).filter(|_| bench.sends(&mut caller, &first) != Reaction::Nothing).count();
    assert!(flood <= 6_000, "{flood} answers to one network");
    let mut of_another = bench.caller("1002", "203.0.113.7:5000", 60);
    assert_eq!(bench.allocates(&mut of_another), 0, "another network has its share");
}

#[test]
fn allocations_and_packets_are_bounded() {
    let mut bench = Bench::new(100);
    let mut of_one: Vec<Caller> = Vec::new();
    for n in 0..40 {
        let mut caller = bench.caller("1001", &format!("198.51.100.7:{}", 5_000 + n), 60);
        if bench.allocates(&mut caller) == 0 {
            of_one.push(caller);
        }
    }
    assert_eq!(of_one.len(), 16, "of one user");
    let mut of_network = Vec::new();
    for n in 0..2_000_u32 {
        let mut caller = bench.caller(&format!("{}", 2_000 + n), &format!("198.51.100.7:{}", 6_000 + n), 60);
        if bench.allocates(&mut caller) == 0 {
            of_network.push(caller);
        }
    }
    assert_eq!(of_one.len() + of_network.len(), 75, "of one network");
    let caller = of_one.first_mut().unwrap();
    assert_eq!(bench.asks(caller, METHOD_CHANNEL_BIND, vec![channel(0x4000), peer(MEDIA)]), 0);
    let data = channel_data(0x4000, &[7; 1_200]);
    let passed = (0..10_000).filter(|_| bench.sends(caller, &data) != Reaction::Nothing).count();
    assert_eq!((passed, bench.stats().dropped), (3_000, 7_000));
    let asked = caller.signed(METHOD_REFRESH, vec![]);
    let answered = (0..1_000).filter(|_| bench.sends(caller, &asked) != Reaction::Nothing).count();
    assert!(answered < 250, "{answered} answers");
    drop((of_one, of_network));
    assert_eq!(bench.stats().allocations, 0);
}

#[test]
fn a_repeated_allocate_gets_the_same_answer() {
    let mut bench = Bench::new(10);
    let mut caller = bench.caller("1001", "198.51.100.7:5000", 60);
    assert_eq!(bench.asks(&mut caller, METHOD_REFRESH, vec![]), 437);
    let request = caller.signed(METHOD_ALLOCATE, vec![udp()]);
    let first = bench.sends(&mut caller, &request);
    assert_eq!(first, bench.sends(&mut caller, &request));
    let Reaction::Answer(answer) = first else { panic!("no answer") };
    assert_eq!(allocation_outcome(&answer), Some(Outcome::Relayed(caller.allocation.as_ref().unwrap().relayed)));
    assert_eq!(bench.stats().allocated, 1);
}

#[test]
fn what_a_client_must_have_understood_is_refused_by_name() {
    let mut bench = Bench::new(10);
    let mut caller = bench.caller("1001", "198.51.100.7:5000", 60);
    let even_port = || Box::new(Raw(AttrType(0x18), vec![0x80])) as Box<dyn Setter>;
    assert_eq!(bench.asks(&mut caller, METHOD_ALLOCATE, vec![udp(), even_port()]), 420);
    let optional = Box::new(Raw(AttrType(0xff05), vec![1; 4]));
    assert_eq!(bench.asks(&mut caller, METHOD_ALLOCATE, vec![]), 400);
    let tcp = Box::new(Raw(ATTR_REQUESTED_TRANSPORT, vec![6, 0, 0, 0]));
    assert_eq!(bench.asks(&mut caller, METHOD_ALLOCATE, vec![tcp]), 442);
    let v6 = Box::new(Raw(rtc::stun::attributes::ATTR_REQUESTED_ADDRESS_FAMILY, vec![2, 0, 0, 0]));
    assert_eq!(bench.asks(&mut caller, METHOD_ALLOCATE, vec![udp(), v6]), 440);
    assert_eq!(bench.asks(&mut caller, METHOD_ALLOCATE, vec![udp(), optional]), 0);
}
