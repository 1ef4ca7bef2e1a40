//! Checks the sequence of a peer's data: TSNs within a window, complete messages, streams that have been opened.
//!
//! `rtc-sctp` 0.21.1 keeps data that it can't reassemble, accepts the next TSN even when its buffer is full, and
//! creates a stream for every number that it sees. Each chunk is therefore checked twice: on arrival, because it may be
//! far ahead or belong to a stream that has not been opened; and after all chunks before it have arrived, because it
//! must continue them. The core's last SACK shows the core's progress.

use std::collections::VecDeque;

use super::packet::Data;
use super::{MAX_STREAMS, Rejected, Violation};
use crate::protocol::channel::MAX_PUBLISHER_MESSAGE_BYTES;

/// The farthest that a TSN may be ahead of the core's last SACK. Each TSN costs a step in a FORWARD-TSN, and half of
/// them cost a gap block in every SACK. A page sends 50 messages a second.
pub(super) const WINDOW: u32 = 512;

/// No honest peer is this far ahead or behind: each TSN has at least one byte, and the receive window has no more
/// bytes.
const FAR: u32 = 128 * 1024;

/// The most chunks of one message: a message of 48 KiB has 43 in packets of 1,200 bytes.
const MAX_FRAGMENTS: u32 = 128;

/// `a=max-message-size` of our answers.
const MAX_MESSAGE_BYTES: u32 = MAX_PUBLISHER_MESSAGE_BYTES as u32;

/// The most FORWARD-TSNs and stream resets of one peer: each leaves some state in the core.
const MAX_FORWARDS: u32 = 512;
const MAX_RESETS: u32 = 64;

/// The data channel establishment protocol (RFC 8832, 8.1 and 8.2.1).
const DCEP: u32 = 50;
const DATA_CHANNEL_ACK: u8 = 2;
const DATA_CHANNEL_OPEN: u8 = 3;
const OPEN_BYTES: usize = 12;

/// A chunk that has arrived. A retransmission must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    stream: u16,
    ssn: u16,
    bytes: u16,
    unordered: bool,
    begins: bool,
    ends: bool,
}

/// A message whose last fragment has not arrived yet.
#[derive(Debug, Clone, Copy)]
struct Message {
    first: Seen,
    chunks: u32,
    bytes: u32,
}

/// The position of a TSN relative to the last acknowledged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// The TSN is acknowledged.
    Behind,
    /// The TSN is this far after the acknowledged one.
    Ahead(u32),
    /// The TSN is farther away than any that an honest peer has in flight.
    Nowhere,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    id: u16,
    next_ssn: u16,
}

/// The data of one association so far, and the constraints on the data that may follow.
#[derive(Debug)]
pub(super) struct Order {
    /// The core has acknowledged all TSNs up to this one.
    acknowledged: u32,
    /// All chunks up to this TSN are in order.
    checked: u32,
    /// The chunks after the acknowledged one, by their distance.
    seen: VecDeque<Option<Seen>>,
    message: Option<Message>,
    streams: Vec<Stream>,
    /// Whether both sides support FORWARD-TSN, and whether a channel is partially reliable.
    forwards: bool,
    is_partial: bool,
    forwards_left: u32,
    resets_left: u32,
}

impl Order {
    /// The state before the first data. `forwards` means that the peer supports FORWARD-TSN.
    pub(super) fn new(initial_tsn: u32, forwards: bool) -> Self {
        let before = initial_tsn.wrapping_sub(1);
        Self {
            acknowledged: before,
            checked: before,
            seen: VecDeque::new(),
            message: None,
            streams: Vec::new(),
            forwards,
            is_partial: false,
            forwards_left: MAX_FORWARDS,
            resets_left: MAX_RESETS,
        }
    }

    /// Checks a DATA chunk.
    pub(super) fn data(&mut self, data: Data<'_>) -> Result<(), Rejected> {
        let ahead = match self.position(data.tsn) {
            Position::Behind => return Ok(()),
            Position::Ahead(ahead) => ahead,
            Position::Nowhere => return Err(Violation::Window.into()),
        };
        if ahead > WINDOW {
            return Err(Rejected::Unwanted);
        }
        let place = ahead as usize - 1;
        let seen = Seen {
            stream: data.stream,
            ssn: data.ssn,
            bytes: data.user.len() as u16,
            unordered: data.unordered,
            begins: data.begins,
            ends: data.ends,
        };
        match self.seen.get(place).copied().flatten() {
            Some(before) if before == seen => return Ok(()),
            Some(_) => return Err(Violation::Changed.into()),
            // The chunk was abandoned.
            None if ahead <= self.checked.wrapping_sub(self.acknowledged) => return Err(Rejected::Unwanted),
            None => {}
        }
        self.channel(&data)?;
        if self.seen.len() <= place {
            self.seen.resize(place + 1, None);
        }
        self.seen[place] = Some(seen);
        let checked = self.check();
        if checked.is_err() {
            // The core does not get the chunk.
            self.seen[place] = None;
        }
        checked
    }

    /// Checks a FORWARD-TSN, which abandons all data up to a TSN. In `streams` each four bytes are a stream and its
    /// last sequence number.
    pub(super) fn forward(&mut self, new_tsn: u32, streams: &[u8]) -> Result<(), Rejected> {
        let ahead = match self.position(new_tsn) {
            Position::Behind => return Ok(()),
            Position::Ahead(ahead) if self.forwards && self.is_partial => ahead,
            Position::Ahead(_) | Position::Nowhere => return Err(Violation::ForwardTsn.into()),
        };
        if ahead > WINDOW || self.forwards_left == 0 {
            return Err(Rejected::Unwanted);
        }
        self.forwards_left -= 1;
        if ahead > self.checked.wrapping_sub(self.acknowledged) {
            self.checked = new_tsn;
            self.message = None;
        }
        for named in streams.chunks_exact(4) {
            let (id, last) = (u16::from_be_bytes([named[0], named[1]]), u16::from_be_bytes([named[2], named[3]]));
            let next = last.wrapping_add(1);
            if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id)
                && next.wrapping_sub(stream.next_ssn) < 1 << 15
            {
                stream.next_ssn = next;
            }
        }
        self.check()
    }

    /// Checks a stream reset, which takes effect after all data up to a TSN. An early reset is rejected, because the
    /// core would keep it and retry it with each chunk; the peer retransmits it.
    pub(super) fn reset(&mut self, last_tsn: u32, streams: &[u8]) -> Result<(), Rejected> {
        if self.position(last_tsn) != Position::Behind || self.resets_left == 0 {
            return Err(Rejected::Unwanted);
        }
        self.resets_left -= 1;
        let is_named = |id: u16| streams.chunks_exact(2).any(|named| named == id.to_be_bytes());
        self.streams.retain(|stream| !is_named(stream.id));
        Ok(())
    }

    /// Handles a SACK of the core.
    pub(super) fn acknowledge(&mut self, tsn: u32) {
        let Position::Ahead(ahead) = self.position(tsn) else { return };
        if ahead > self.checked.wrapping_sub(self.acknowledged) {
            self.checked = tsn;
            self.message = None;
        }
        self.acknowledged = tsn;
        self.seen.drain(..self.seen.len().min(ahead as usize));
    }

    /// The position of a TSN. The core may be a window ahead of its last SACK, and half of all TSNs count as ahead (RFC
    /// 9260, 1.6): a TSN that is far behind here may be far ahead for the core.
    fn position(&self, tsn: u32) -> Position {
        let (ahead, behind) = (tsn.wrapping_sub(self.acknowledged), self.acknowledged.wrapping_sub(tsn));
        if behind <= FAR {
            Position::Behind
        } else if ahead <= FAR {
            Position::Ahead(ahead)
        } else {
            Position::Nowhere
        }
    }

    /// Checks that the first message of a stream opens its channel.
    fn channel(&mut self, data: &Data<'_>) -> Result<(), Rejected> {
        let is_known = self.streams.iter().any(|stream| stream.id == data.stream);
        if data.ppid != DCEP {
            return if is_known { Ok(()) } else { Err(Rejected::Unwanted) };
        }
        let is_whole = data.begins && data.ends && !data.unordered;
        match data.user {
            [DATA_CHANNEL_ACK, ..] if is_known && is_whole => Ok(()),
            [DATA_CHANNEL_OPEN, kind, rest @ ..] if !is_known && is_whole => {
                let length =
                    |at: usize| rest.get(at..at + 2).map(|two| usize::from(u16::from_be_bytes([two[0], two[1]])));
                let (label, protocol) = (length(6).ok_or(Violation::Channel)?, length(8).ok_or(Violation::Channel)?);
                if data.user.len() != OPEN_BYTES + label + protocol || data.ssn != 0 {
                    return Err(Violation::Channel.into());
                }
                if self.streams.len() == MAX_STREAMS {
                    return Err(Violation::Streams.into());
                }
                self.streams.push(Stream { id: data.stream, next_ssn: 0 });
                // RFC 8832, 8.2.2: all channel types but 0x00 and 0x80 are partially reliable.
                self.is_partial |= kind & 0x7f != 0;
                Ok(())
            }
            _ => Err(Violation::Channel.into()),
        }
    }

    /// Checks the chunks that have become consecutive.
    fn check(&mut self) -> Result<(), Rejected> {
        loop {
            let place = self.checked.wrapping_sub(self.acknowledged) as usize;
            let Some(seen) = self.seen.get(place).copied().flatten() else { return Ok(()) };
            self.follow(seen)?;
            self.checked = self.checked.wrapping_add(1);
        }
    }

    /// Checks the next chunk in order: fragments are consecutive, with the same stream and number (RFC 9260, 6.9), and
    /// sequence numbers of messages increase by one (6.5).
    fn follow(&mut self, seen: Seen) -> Result<(), Rejected> {
        let stream = self.streams.iter_mut().find(|stream| stream.id == seen.stream && !seen.unordered);
        let goes_on = match &self.message {
            None => seen.begins && stream.as_ref().is_none_or(|stream| stream.next_ssn == seen.ssn),
            Some(Message { first, .. }) => {
                let same = (first.stream, first.ssn, first.unordered) == (seen.stream, seen.ssn, seen.unordered);
                same && !seen.begins
            }
        };
        if !goes_on {
            // On a partially reliable channel the reason may be a lost FORWARD-TSN.
            return Err(if self.is_partial { Rejected::Unwanted } else { Violation::Order.into() });
        }
        let mut message = self.message.unwrap_or(Message { first: seen, chunks: 0, bytes: 0 });
        message.chunks += 1;
        message.bytes += u32::from(seen.bytes);
        if message.chunks > MAX_FRAGMENTS || message.bytes > MAX_MESSAGE_BYTES {
            return Err(Violation::Message.into());
        }
        if seen.ends
            && let Some(stream) = stream
        {
            stream.next_ssn = seen.ssn.wrapping_add(1);
        }
        self.message = (!seen.ends).then_some(message);
        Ok(())
    }
}
