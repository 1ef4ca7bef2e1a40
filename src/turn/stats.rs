//! What the TURN server counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnStats {
    /// Allocations that exist.
    pub allocations: usize,
    /// Allocations that were made.
    pub allocated: u64,
    /// Bytes from clients to the media of this server, without TURN.
    pub bytes_to_media: u64,
    /// Bytes from the media of this server to clients, without TURN.
    pub bytes_to_clients: u64,
    /// Packets of clients that sent too many.
    pub dropped: u64,
    /// Refused requests by their reasons.
    pub refused: [(Refusal, u64); 5],
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The network, or all together, asked too often.
    Rate,
    /// The credentials have expired.
    Expired,
    /// The credentials are wrong.
    Credentials,
    /// There are too many allocations.
    Full,
    /// The peer is not the media of this server.
    Peer,
}

impl Refusal {
    const ALL: [Self; 5] = [Self::Rate, Self::Expired, Self::Credentials, Self::Full, Self::Peer];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Expired => "expired",
            Self::Credentials => "credentials",
            Self::Full => "full",
            Self::Peer => "peer",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    allocated: AtomicU64,
    to_media: AtomicU64,
    to_clients: AtomicU64,
    dropped: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counts {
    pub(super) fn allocated(&self) {
        self.allocated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn relayed_to_peer(&self, bytes: usize) {
        self.to_media.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn relayed_to_client(&self, bytes: usize) {
        self.to_clients.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self, allocations: usize) -> TurnStats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TurnStats {
            allocations,
            allocated: of(&self.allocated),
            bytes_to_media: of(&self.to_media),
            bytes_to_clients: of(&self.to_clients),
            dropped: of(&self.dropped),
            refused: Refusal::ALL.map(|why| (why, of(&self.refused[why as usize]))),
        }
    }
}
