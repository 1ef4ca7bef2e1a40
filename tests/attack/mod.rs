//! Attacks on a class, with sockets of their own: what a hostile student, a neighbour on the network or a page of
//! another site can send. `tests/bench/hostile` measures what healthy students notice; `tests/it/hostile` runs the same
//! attacks in small. All traffic stays on loopback: addresses of 127.0.0.0/8 stand for other networks.

pub mod admission;
pub mod bad_student;
pub mod bystander;
pub mod dns_sd;
pub mod forger;
pub mod ice;
pub mod insider;
pub mod media;
pub mod member;
pub mod offer;
pub mod proxy;
pub mod publishing;
pub mod signalling;
pub mod talk;
pub mod tally;
pub mod udp;
pub mod web;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::task::JoinSet;

pub use self::bystander::Bystander;
use self::member::Refusal;
pub use self::tally::Tally;

/// How long one answer may take. An attacker counts a later one as missing.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The address of most attackers: another network than that of the healthy students at 127.0.0.1.
pub const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The class that is attacked.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server's port for HTTP and WebSocket.
    pub http: SocketAddr,
    /// The teacher's media port.
    pub media: SocketAddr,
    /// The room.
    pub room: String,
    /// The teacher's user id.
    pub teacher: String,
    /// The join code of the room; empty for a room without one.
    pub code: String,
    /// The number of this attempt. Attackers have other user ids in each, because the server keeps those of lost
    /// members.
    pub attempt: usize,
    /// How to speak TLS with the server; none for plain HTTP.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// An uninvolved host.
    pub bystander: Arc<Bystander>,
}

impl Target {
    /// The class of teacher 9999 in room 10013, on plain HTTP and without a code.
    ///
    /// # Errors
    /// If no port is free for the bystander.
    pub fn new(http: SocketAddr, media: SocketAddr) -> std::io::Result<Self> {
        let bystander = Bystander::start()?;
        let (room, teacher) = ("10013".to_owned(), "9999".to_owned());
        Ok(Self { http, media, room, teacher, code: String::new(), attempt: 0, tls: None, bystander })
    }

    /// The query of a student who joins.
    pub fn query(&self, user: &str) -> String {
        format!("roomId={}&userId={user}-{}&nickname={user}&pub=no", self.room, self.attempt)
    }
}

/// Runs `count` attackers, each with its number, which start at this pace, and adds up their results. One that is
/// refused counts the refusal.
pub async fn attackers<F>(target: &Target, count: usize, pace: Pace, attacker: impl Fn(Target, usize) -> F) -> Tally
where
    F: Future<Output = Result<Tally, Refusal>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for n in 0..count {
        pace.wait(n).await;
        let attack = attacker(target.clone(), n);
        running.spawn(async move { attack.await.unwrap_or_else(Tally::refused) });
    }
    let mut tally = Tally::default();
    tally.join(running).await;
    tally
}

/// A TLS client that trusts the CA in this PEM file.
///
/// # Errors
/// If the file has no certificate.
pub fn trust(ca: &Path) -> Result<Arc<rustls::ClientConfig>, Box<dyn std::error::Error>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// The address of an attacker in another network: 127.0.0.2, 127.0.0.3, and so on.
pub fn network(n: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(ATTACKER.to_bits() + n as u32)
}

/// Distributes `count` actions over a time: action n is due at n / `per_second`.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    begun: Instant,
    per_second: f64,
}

impl Pace {
    /// A pace that begins now.
    pub fn new(per_second: u32) -> Self {
        Self { begun: Instant::now(), per_second: per_second.into() }
    }

    /// All actions are due now.
    pub fn at_once() -> Self {
        Self { begun: Instant::now(), per_second: f64::INFINITY }
    }

    /// Waits until action `n` is due.
    pub async fn wait(&self, n: usize) {
        let due = self.begun + Duration::from_secs_f64(n as f64 / self.per_second);
        tokio::time::sleep_until(due.into()).await;
    }
}
