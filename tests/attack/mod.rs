//! Attacks on a class, with sockets of their own: what a hostile student, a neighbour on the network or a page of
//! another site can send. `tests/bench/hostile` measures what healthy students notice; `tests/it/hostile` runs the same
//! attacks in small. All traffic stays on loopback: addresses of 127.0.0.0/8 stand for other networks.

pub mod admission;
pub mod bystander;
pub mod ice;
pub mod insider;
pub mod media;
pub mod member;
pub mod offer;
pub mod signalling;
pub mod talk;
pub mod tally;
pub mod udp;
pub mod web;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::bystander::Bystander;
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
    /// An uninvolved host.
    pub bystander: Arc<Bystander>,
}

impl Target {
    /// The query of a student who joins.
    pub fn query(&self, user: &str) -> String {
        format!("roomId={}&userId={user}&nickname={user}&pub=no", self.room)
    }
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

    /// Waits until action `n` is due.
    pub async fn wait(&self, n: usize) {
        let due = self.begun + Duration::from_secs_f64(n as f64 / self.per_second);
        tokio::time::sleep_until(due.into()).await;
    }
}
