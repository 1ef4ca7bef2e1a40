//! The order of a student's data: TSNs within a window, messages whole, streams that were opened.
//!
//! `rtc-sctp` 0.21.1 keeps what it can't put together, takes the next TSN also where its buffer is full, and makes a
//! stream of every number that it sees. So each chunk is looked at twice: when it comes, as it may be far away or on a
//! stream that nobody opened; and when all before it have come, as it must go on where they ended. The core's last SACK
//! tells how far the core is.

use std::collections::VecDeque;

use super::packet::Data;
use super::{MAX_STREAMS, Refusal, Violation};

/// TSNs that are read after the last one that the core acknowledged. Each costs a step in a FORWARD-TSN, and half of
/// them a gap block in every SACK. A page sends 50 messages a second.
pub(super) const WINDOW: u32 = 512;

/// Nobody is so far ahead or behind: each TSN has a byte at least, and the receive window has no more of them.
const FAR: u32 = 128 * 1024;

/// Chunks of one message: one of 64 KiB in packets of 1,200 bytes has 57.
const MAX_FRAGMENTS: u32 = 128;

/// `a=max-message-size` of our answers.
const MAX_MESSAGE_BYTES: u32 = 64 * 1024;

/// What a FORWARD-TSN or a stream reset leaves in the core is little, and counted.
const MAX_FORWARDS: u32 = 512;
const MAX_RESETS: u32 = 64;

/// Messages of the protocol that opens channels (RFC 8832, 8.1 and 8.2.1).
const DCEP: u32 = 50;
const DATA_CHANNEL_ACK: u8 = 2;
const DATA_CHANNEL_OPEN: u8 = 3;
const OPEN_BYTES: usize = 12;

/// What is known of a chunk that came: sent again it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    stream: u16,
    ssn: u16,
    bytes: u16,
    unordered: bool,
    begins: bool,
    ends: bool,
}

/// A message whose end has not come yet.
#[derive(Debug, Clone, Copy)]
struct Message {
    first: Seen,
    chunks: u32,
    bytes: u32,
}

/// Where a TSN is, as seen from the last one that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It was acknowledged.
    Behind,
    /// So far after it.
    Ahead(u32),
    /// Farther away than anything that a student has under way.
    Nowhere,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    id: u16,
    next_ssn: u16,
}

/// What came of one association, and what may come next.
#[derive(Debug)]
pub(super) struct Order {
    /// The core acknowledged all up to here.
    acknowledged: u32,
    /// In order up to here.
    checked: u32,
    /// What came after the acknowledged.
    seen: VecDeque<Option<Seen>>,
    message: Option<Message>,
    streams: Vec<Stream>,
    /// Whether both sides know FORWARD-TSN, and a channel is open whose messages may be given up.
    forwards: bool,
    is_partial: bool,
    forwards_left: u32,
    resets_left: u32,
}

impl Order {
    /// Nothing has come; `forwards` says that the student knows FORWARD-TSN.
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

    /// A chunk comes.
    pub(super) fn data(&mut self, data: Data<'_>) -> Result<(), Refusal> {
        let ahead = match self.place(data.tsn) {
            Place::Behind => return Ok(()),
            Place::Ahead(ahead) => ahead,
            Place::Nowhere => return Err(Violation::Window.into()),
        };
        if ahead > WINDOW {
            return Err(Refusal::Unwanted);
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
            // It was given up.
            None if ahead <= self.checked.wrapping_sub(self.acknowledged) => return Err(Refusal::Unwanted),
            None => {}
        }
        self.channel(&data)?;
        if self.seen.len() <= place {
            self.seen.resize(place + 1, None);
        }
        self.seen[place] = Some(seen);
        let checked = self.check();
        if checked.is_err() {
            // The core does not get it.
            self.seen[place] = None;
        }
        checked
    }

    /// All up to a TSN is given up; four bytes a stream, its number and the last sequence number.
    pub(super) fn forward(&mut self, new_tsn: u32, streams: &[u8]) -> Result<(), Refusal> {
        let ahead = match self.place(new_tsn) {
            Place::Behind => return Ok(()),
            Place::Ahead(ahead) if self.forwards && self.is_partial => ahead,
            Place::Ahead(_) | Place::Nowhere => return Err(Violation::ForwardTsn.into()),
        };
        if ahead > WINDOW || self.forwards_left == 0 {
            return Err(Refusal::Unwanted);
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

    /// Streams begin anew, after all data up to a TSN. The core keeps what it can't do yet, and tries again with each
    /// chunk; the student says it again after a while, too.
    pub(super) fn reset(&mut self, last_tsn: u32, streams: &[u8]) -> Result<(), Refusal> {
        if self.place(last_tsn) != Place::Behind || self.resets_left == 0 {
            return Err(Refusal::Unwanted);
        }
        self.resets_left -= 1;
        let is_named = |id: u16| streams.chunks_exact(2).any(|named| named == id.to_be_bytes());
        self.streams.retain(|stream| !is_named(stream.id));
        Ok(())
    }

    /// The core says that it has all up to here.
    pub(super) fn acknowledge(&mut self, tsn: u32) {
        let Place::Ahead(ahead) = self.place(tsn) else { return };
        if ahead > self.checked.wrapping_sub(self.acknowledged) {
            self.checked = tsn;
            self.message = None;
        }
        self.acknowledged = tsn;
        self.seen.drain(..self.seen.len().min(ahead as usize));
    }

    /// The core may be up to a window ahead of its last SACK, and half of all TSNs are ahead of it (RFC 9260, 1.6): so
    /// what is far behind here may be far ahead there.
    fn place(&self, tsn: u32) -> Place {
        let (ahead, behind) = (tsn.wrapping_sub(self.acknowledged), self.acknowledged.wrapping_sub(tsn));
        if behind <= FAR {
            Place::Behind
        } else if ahead <= FAR {
            Place::Ahead(ahead)
        } else {
            Place::Nowhere
        }
    }

    /// A stream begins with the message that opens its channel.
    fn channel(&mut self, data: &Data<'_>) -> Result<(), Refusal> {
        let is_known = self.streams.iter().any(|stream| stream.id == data.stream);
        if data.ppid != DCEP {
            return if is_known { Ok(()) } else { Err(Refusal::Unwanted) };
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
                // RFC 8832, 8.2.2: all but 0x00 and 0x80 are of those whose messages may be given up.
                self.is_partial |= kind & 0x7f != 0;
                Ok(())
            }
            _ => Err(Violation::Channel.into()),
        }
    }

    /// Goes on with what is there in order.
    fn check(&mut self) -> Result<(), Refusal> {
        loop {
            let place = self.checked.wrapping_sub(self.acknowledged) as usize;
            let Some(seen) = self.seen.get(place).copied().flatten() else { return Ok(()) };
            self.follow(seen)?;
            self.checked = self.checked.wrapping_add(1);
        }
    }

    /// RFC 9260, 6.9: fragments follow each other, with the same stream and number; and 6.5: messages count up.
    fn follow(&mut self, seen: Seen) -> Result<(), Refusal> {
        let stream = self.streams.iter_mut().find(|stream| stream.id == seen.stream && !seen.unordered);
        let goes_on = match &self.message {
            None => seen.begins && stream.as_ref().is_none_or(|stream| stream.next_ssn == seen.ssn),
            Some(Message { first, .. }) => {
                let same = (first.stream, first.ssn, first.unordered) == (seen.stream, seen.ssn, seen.unordered);
                same && !seen.begins
            }
        };
        if !goes_on {
            // Where messages are given up, a FORWARD-TSN may be missing.
            return Err(if self.is_partial { Refusal::Unwanted } else { Violation::Order.into() });
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
