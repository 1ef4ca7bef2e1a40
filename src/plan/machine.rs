//! What one machine carries.

use std::time::Duration;

use super::{Impossible, Stream};

/// The share of a network that media may fill. The rest is for retransmissions and for key frames of those who join.
const NETWORK_SHARE: f64 = 0.75;

/// The share of the cores that media may use. The rest is for joins and for everything else on the machine.
const CPU_SHARE: f64 = 0.7;

/// The share of the memory that peers may use.
const MEMORY_SHARE: f64 = 0.5;

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Bits per second that its network sends.
    pub uplink: f64,
    /// Its cores, each with a sending thread.
    pub cores: f64,
    /// Its memory in bytes.
    pub memory: f64,
}

/// What things cost on a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// CPU time to send one packet to one student.
    pub packet: Duration,
    /// CPU time of a join.
    pub join: Duration,
    /// Memory of a student in bytes.
    pub memory: f64,
    /// Cores that the encoder of the origin uses.
    pub encoder: f64,
}

impl Default for Costs {
    /// As measured on a virtual machine with two cores, see `docs/performance.md`.
    fn default() -> Self {
        Self { packet: Duration::from_micros(4), join: Duration::from_micros(1_700), memory: 250_000.0, encoder: 0.25 }
    }
}

/// What is full first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bottleneck {
    /// What its network sends.
    Uplink,
    /// Its cores.
    Cpu,
    /// Its memory.
    Memory,
}

/// How many streams a machine sends, and why not more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Streams by its uplink, its cores and its memory.
    pub by: [(Bottleneck, u64); 3],
}

impl Capacity {
    /// The streams that it carries.
    pub fn streams(&self) -> u64 {
        self.first().1
    }

    /// What is full first.
    pub fn bottleneck(&self) -> Bottleneck {
        self.first().0
    }

    fn first(&self) -> (Bottleneck, u64) {
        self.by.into_iter().min_by_key(|(_, streams)| *streams).expect("three limits")
    }

    pub(super) fn at_least_one(self) -> Result<u64, Impossible> {
        match self.streams() {
            0 => Err(Impossible::Machine(self.bottleneck())),
            streams => Ok(streams),
        }
    }
}

impl Machine {
    /// What this machine carries beside an encoder that uses this many cores.
    pub(super) fn capacity(&self, stream: &Stream, costs: &Costs, encoder: f64) -> Capacity {
        let cores = (self.cores * CPU_SHARE - encoder).max(0.0);
        // A cast of a float saturates.
        let whole = |streams: f64| streams.floor() as u64;
        let by = [
            (Bottleneck::Uplink, whole(self.uplink * NETWORK_SHARE / stream.bits)),
            (Bottleneck::Cpu, whole(cores / (stream.packets * costs.packet.as_secs_f64()))),
            (Bottleneck::Memory, whole(self.memory * MEMORY_SHARE / costs.memory)),
        ];
        Capacity { by }
    }
}
