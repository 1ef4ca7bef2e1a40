//! What a student's SCTP packets may do: they are looked at after DTLS has opened them, and before the core reads them.
//!
//! `rtc-sctp` 0.21.1 trusts what it reads. One FORWARD-TSN makes it count to 2^31, an error cause with a wrong length
//! makes it panic, gaps and fragments make it search lists that grow, each INIT makes another association, and each
//! stream number another stream. Nothing newer is published. So only packets go on to it that data channels need (RFC
//! 8831), and that cost it little: [`packet`] knows their form, [`order`] what may come when. What is refused is lost
//! like any datagram.

mod order;
mod packet;

use std::time::Instant;

use self::order::Order;
use self::packet::{Chunk, Packet, Told, told};
use crate::token_bucket::TokenBucket;

#[cfg(test)]
mod tests;

/// Streams, which are channels. One is used.
const MAX_STREAMS: usize = 8;

/// Packets that are read, and heartbeats among them. A page that chats sends two packets a message.
const PACKETS_PER_SECOND: u32 = 500;
const PACKET_BURST: u32 = 1_000;
const HEARTBEATS_PER_SECOND: u32 = 5;
const HEARTBEAT_BURST: u32 = 20;

/// Times that an INIT may be sent: one, and as often again (RFC 9260, 16). Each makes an association in the core.
const MAX_INITS: usize = 9;

/// A student that broke the rules this often is disconnected.
const MAX_VIOLATIONS: u32 = 3;

/// Why a packet is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is of no use here, comes too early, or too often.
    Unwanted,
    /// Nobody honest sends it.
    Violation(Violation),
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// What nobody honest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// A length field says more or less than there is.
    #[error("a chunk whose length is wrong")]
    Length,
    /// A second INIT that differs from the first, or one that shares its packet with other chunks.
    #[error("a second handshake")]
    Handshake,
    /// Data farther ahead than any receive window.
    #[error("data far ahead of the receive window")]
    Window,
    /// Data is given up that can't be.
    #[error("a FORWARD-TSN for data that was never sent")]
    ForwardTsn,
    /// More streams than a student has.
    #[error("more than {MAX_STREAMS} streams")]
    Streams,
    /// A channel that is opened wrongly, or twice.
    #[error("a malformed DATA_CHANNEL_OPEN")]
    Channel,
    /// A TSN that comes again with something else.
    #[error("a TSN that was used twice")]
    Changed,
    /// Fragments and messages that do not follow each other.
    #[error("fragments out of order")]
    Order,
    /// A message that is too long, or in too many pieces.
    #[error("a message without an end")]
    Message,
}

/// One student's association, as it is seen from outside of the core.
#[derive(Debug)]
pub(crate) struct Association {
    phase: Phase,
    /// Tags and cookies that the core has given out, one for each INIT.
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
    /// There was an INIT: its value, where the data begins, and whether FORWARD-TSN is known.
    Init {
        value: Vec<u8>,
        initial_tsn: u32,
        forwards: bool,
    },
    /// The core has this tag.
    Established {
        tag: u32,
        order: Order,
    },
    /// An ABORT.
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
    /// A packet comes.
    ///
    /// # Errors
    /// When the core must not read it.
    pub(crate) fn open(&mut self, now: Instant, packet: &[u8]) -> Result<(), Refusal> {
        let opened = self.packets.take(now).map_err(|_| Refusal::Unwanted).and_then(|()| self.read(now, packet));
        if let Err(refusal) = opened {
            self.refused += 1;
            if let Refusal::Violation(violation) = refusal {
                self.violations += 1;
                self.last = Some(violation);
            }
        }
        opened
    }

    /// A packet of the core goes out.
    pub(crate) fn seal(&mut self, packet: &[u8]) {
        for told in told(packet) {
            match told {
                Told::InitAck { tag, cookie } if self.ours.len() < MAX_INITS => self.ours.push((tag, cookie)),
                Told::InitAck { .. } => {}
                Told::Sack(tsn) => {
                    if let Phase::Established { order, .. } = &mut self.phase {
                        order.acknowledge(tsn);
                    }
                }
            }
        }
    }

    /// What the student did last, if it did so too often.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.last.filter(|_| self.violations >= MAX_VIOLATIONS)
    }

    /// Packets that were not read.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    fn read(&mut self, now: Instant, packet: &[u8]) -> Result<(), Refusal> {
        let packet = Packet::parse(packet)?;
        for chunk in packet.chunks() {
            self.chunk(now, packet.tag, chunk)?;
        }
        Ok(())
    }

    fn chunk(&mut self, now: Instant, tag: u32, chunk: Chunk<'_>) -> Result<(), Refusal> {
        match chunk {
            Chunk::Init { initial_tsn, forwards, value } => return self.init(initial_tsn, forwards, value),
            Chunk::CookieEcho(cookie) => return self.cookie(tag, cookie),
            Chunk::Data(_) | Chunk::Sack | Chunk::Heartbeat | Chunk::Abort | Chunk::Error | Chunk::Shutdown => {}
            Chunk::Reset { .. } | Chunk::ResetDone | Chunk::ForwardTsn { .. } => {}
        }
        let Phase::Established { tag: ours, order } = &mut self.phase else { return Err(Refusal::Unwanted) };
        if tag != *ours {
            return Err(Refusal::Unwanted);
        }
        match chunk {
            Chunk::Data(data) => order.data(data),
            Chunk::ForwardTsn { new_tsn, streams } => order.forward(new_tsn, streams),
            Chunk::Reset { last_tsn, streams } => order.reset(last_tsn, streams),
            Chunk::Heartbeat => self.heartbeats.take(now).map_err(|_| Refusal::Unwanted),
            Chunk::Abort => {
                self.phase = Phase::Over;
                Ok(())
            }
            Chunk::Sack | Chunk::Error | Chunk::Shutdown | Chunk::ResetDone => Ok(()),
            Chunk::Init { .. } | Chunk::CookieEcho(_) => Err(Refusal::Unwanted),
        }
    }

    fn init(&mut self, initial_tsn: u32, forwards: bool, value: &[u8]) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Closed => self.phase = Phase::Init { value: value.to_vec(), initial_tsn, forwards },
            Phase::Init { value: first, .. } if first != value => return Err(Violation::Handshake.into()),
            Phase::Init { .. } if self.inits < MAX_INITS => {}
            // One that was late: nobody needs another answer to it.
            Phase::Init { .. } | Phase::Established { .. } | Phase::Over => return Err(Refusal::Unwanted),
        }
        self.inits += 1;
        Ok(())
    }

    /// From now on this is the only association.
    fn cookie(&mut self, tag: u32, cookie: &[u8]) -> Result<(), Refusal> {
        if !self.ours.iter().any(|(known, with)| *known == tag && with == cookie) {
            return Err(Refusal::Unwanted);
        }
        match &self.phase {
            Phase::Init { initial_tsn, forwards, .. } => {
                let order = Order::new(*initial_tsn, *forwards);
                self.phase = Phase::Established { tag, order };
                Ok(())
            }
            Phase::Established { tag: known, .. } if *known == tag => Ok(()),
            Phase::Closed | Phase::Established { .. } | Phase::Over => Err(Refusal::Unwanted),
        }
    }
}
