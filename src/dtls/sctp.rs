//! Limits a peer's SCTP packets: checks them after DTLS has decrypted them and before the core reads them.
//!
//! `rtc-sctp` 0.21.1 trusts its input. A single FORWARD-TSN makes it count to 2^31; an error cause with a wrong length
//! makes it panic; gaps and fragments make it search lists that grow; each INIT creates another association, and each
//! stream number another stream. There is no newer release. The core therefore gets only packets that data channels
//! need (RFC 8831) and that cost little: [`packet`] checks their form, [`order`] their sequence. A rejected packet is
//! treated as lost.

mod order;
mod packet;

use std::time::Instant;

use self::order::Order;
use self::packet::{Chunk, CoreChunk, Packet, core_chunks};
use crate::token_bucket::TokenBucket;

#[cfg(test)]
mod tests;

/// The most streams of one peer; each is a data channel. One is used.
const MAX_STREAMS: usize = 8;

/// The rates and bursts of all packets that are read, and of heartbeats among them. A page sends two packets for a chat
/// message.
const PACKETS_PER_SECOND: u32 = 500;
const PACKET_BURST: u32 = 1_000;
const HEARTBEATS_PER_SECOND: u32 = 5;
const HEARTBEAT_BURST: u32 = 20;

/// The most INITs of one peer: one and eight retransmissions (RFC 9260, 16). Each creates an association in the core.
const MAX_INITS: usize = 9;

/// The number of violations after which a peer is disconnected.
const MAX_VIOLATIONS: u32 = 3;

/// Why a packet is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The packet is not needed, or arrives too early or too often.
    Unwanted,
    /// No honest peer sends the packet.
    Violation(Violation),
}

impl From<Violation> for Rejected {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// A violation of the protocol or of a limit that no honest peer commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// A length field is wrong.
    #[error("a chunk whose length is wrong")]
    Length,
    /// A second INIT differs from the first, or an INIT shares its packet with other chunks.
    #[error("a second handshake")]
    Handshake,
    /// Data is farther ahead than any receive window.
    #[error("data far ahead of the receive window")]
    Window,
    /// A FORWARD-TSN skips data that the sender must deliver.
    #[error("a FORWARD-TSN for data that was never sent")]
    ForwardTsn,
    /// The peer opens more streams than a page needs.
    #[error("more than {MAX_STREAMS} streams")]
    Streams,
    /// A channel is opened with a malformed message, or twice.
    #[error("a malformed DATA_CHANNEL_OPEN")]
    Channel,
    /// A TSN is used for two different chunks.
    #[error("a TSN that was used twice")]
    Changed,
    /// Fragments or messages are out of order.
    #[error("fragments out of order")]
    Order,
    /// A message is too long or has too many fragments.
    #[error("a message that is too long")]
    Message,
}

/// The state of one peer's association, derived from its packets.
#[derive(Debug)]
pub(crate) struct Association {
    phase: Phase,
    /// The tags and cookies of the core's INIT ACKs.
    ours: Vec<(u32, [u8; 32])>,
    inits: usize,
    packets: TokenBucket,
    heartbeats: TokenBucket,
    violations: u32,
    last: Option<Violation>,
    refused: u64,
}

#[derive(Debug)]
enum Phase {
    Closed,
    /// An INIT has arrived: its value, its initial TSN, and whether the peer supports FORWARD-TSN.
    Init {
        value: Vec<u8>,
        initial_tsn: u32,
        forwards: bool,
    },
    /// A COOKIE ECHO has arrived: the core's verification tag, and the sequence of the peer's data.
    Established {
        tag: u32,
        order: Order,
    },
    /// An ABORT has arrived.
    Over,
}

impl Default for Association {
    fn default() -> Self {
        Self {
            phase: Phase::Closed,
            ours: Vec::new(),
            inits: 0,
            packets: TokenBucket::new(PACKETS_PER_SECOND, PACKET_BURST),
            heartbeats: TokenBucket::new(HEARTBEATS_PER_SECOND, HEARTBEAT_BURST),
            violations: 0,
            last: None,
            refused: 0,
        }
    }
}

impl Association {
    /// Checks a packet of the peer.
    ///
    /// # Errors
    /// [`Rejected`] if the core must not read the packet.
    pub(crate) fn open(&mut self, now: Instant, packet: &[u8]) -> Result<(), Rejected> {
        let opened = self.packets.take(now).map_err(|_| Rejected::Unwanted).and_then(|()| self.read(now, packet));
        if let Err(rejected) = opened {
            self.refused += 1;
            if let Rejected::Violation(violation) = rejected {
                self.violations += 1;
                self.last = Some(violation);
            }
        }
        opened
    }

    /// Inspects a packet that the core sends.
    pub(crate) fn seal(&mut self, packet: &[u8]) {
        for chunk in core_chunks(packet) {
            match chunk {
                CoreChunk::InitAck { tag, cookie } if self.ours.len() < MAX_INITS => self.ours.push((tag, cookie)),
                CoreChunk::InitAck { .. } => {}
                CoreChunk::Sack(tsn) => {
                    if let Phase::Established { order, .. } = &mut self.phase {
                        order.acknowledge(tsn);
                    }
                }
            }
        }
    }

    /// The last violation, if there were too many.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.last.filter(|_| self.violations >= MAX_VIOLATIONS)
    }

    /// The number of rejected packets.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    fn read(&mut self, now: Instant, packet: &[u8]) -> Result<(), Rejected> {
        let packet = Packet::parse(packet)?;
        for chunk in packet.chunks() {
            self.chunk(now, packet.tag, chunk)?;
        }
        Ok(())
    }

    fn chunk(&mut self, now: Instant, tag: u32, chunk: Chunk<'_>) -> Result<(), Rejected> {
        match chunk {
            Chunk::Init { initial_tsn, forwards, value } => return self.init(initial_tsn, forwards, value),
            Chunk::CookieEcho(cookie) => return self.cookie(tag, cookie),
            Chunk::Data(_) | Chunk::Sack | Chunk::Heartbeat | Chunk::Abort | Chunk::Error | Chunk::Shutdown => {}
            Chunk::Reset { .. } | Chunk::ResetDone | Chunk::ForwardTsn { .. } => {}
        }
        let Phase::Established { tag: ours, order } = &mut self.phase else { return Err(Rejected::Unwanted) };
        if tag != *ours {
            return Err(Rejected::Unwanted);
        }
        match chunk {
            Chunk::Data(data) => order.data(data),
            Chunk::ForwardTsn { new_tsn, streams } => order.forward(new_tsn, streams),
            Chunk::Reset { last_tsn, streams } => order.reset(last_tsn, streams),
            Chunk::Heartbeat => self.heartbeats.take(now).map_err(|_| Rejected::Unwanted),
            Chunk::Abort => {
                self.phase = Phase::Over;
                Ok(())
            }
            Chunk::Sack | Chunk::Error | Chunk::Shutdown | Chunk::ResetDone => Ok(()),
            Chunk::Init { .. } | Chunk::CookieEcho(_) => Err(Rejected::Unwanted),
        }
    }

    fn init(&mut self, initial_tsn: u32, forwards: bool, value: &[u8]) -> Result<(), Rejected> {
        match &self.phase {
            Phase::Closed => self.phase = Phase::Init { value: value.to_vec(), initial_tsn, forwards },
            Phase::Init { value: first, .. } if first != value => return Err(Violation::Handshake.into()),
            Phase::Init { .. } if self.inits < MAX_INITS => {}
            // A late retransmission needs no answer.
            Phase::Init { .. } | Phase::Established { .. } | Phase::Over => return Err(Rejected::Unwanted),
        }
        self.inits += 1;
        Ok(())
    }

    /// Handles a COOKIE ECHO, which establishes the only association.
    fn cookie(&mut self, tag: u32, cookie: &[u8]) -> Result<(), Rejected> {
        if !self.ours.iter().any(|(known, with)| *known == tag && with == cookie) {
            return Err(Rejected::Unwanted);
        }
        match &self.phase {
            Phase::Init { initial_tsn, forwards, .. } => {
                let order = Order::new(*initial_tsn, *forwards);
                self.phase = Phase::Established { tag, order };
                Ok(())
            }
            Phase::Established { tag: known, .. } if *known == tag => Ok(()),
            Phase::Closed | Phase::Established { .. } | Phase::Over => Err(Rejected::Unwanted),
        }
    }
}
