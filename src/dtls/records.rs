//! Limits a peer's DTLS records before the core reads them (RFC 6347, 4.1 and 4.2).
//!
//! `rtc-dtls` 0.21.1 keeps every fragment of a handshake message and joins fragments recursively, so that a message in
//! fragments of one byte overflows the stack and ends the process. It keeps all records of the next epoch until the
//! handshake is over, and accepts a ChangeCipherSpec of any epoch. Records that no peer needs to send are dropped here,
//! as if they had been lost.

use std::time::Instant;

use crate::token_bucket::SharedTokenBucket;

/// The most records in a datagram: a flight has five.
const MAX_RECORDS: usize = 16;

/// The longest record of application data: an SCTP packet, nonce and tag.
const MAX_RECORD: usize = 2_048 + 64;

/// The longest handshake message: a ClientHello with post-quantum keys has 2,000 bytes, a chain of certificates 4,000.
const MAX_MESSAGE: u32 = 16 * 1024;

/// The limit of message sequence numbers: a client sends six messages.
const MAX_SEQUENCE: u32 = 16;

/// The shortest fragment, apart from the last one of a message.
const MIN_FRAGMENT: u32 = 64;

/// The most fragments and encrypted handshake messages of one peer. A flight has five fragments and one encrypted
/// message, and is sent seven times; behind a NAT a peer may have to restart the handshake.
const MAX_FRAGMENTS: usize = 256;
const MAX_SEALED: usize = 64;

/// The most records of application data that may arrive before the end of the handshake.
const MAX_EARLY: usize = 16;

/// The rate and the burst of datagrams that the core reads, at 20 us each. The limits of SCTP are lower.
const PER_SECOND: u32 = 1_000;
const BURST: u32 = 2_000;

/// The lengths of the header of a record and of the header of a handshake message in it.
const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;

/// Content types (RFC 5246, 6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// The only handshake message that is encrypted.
const FINISHED: u8 = 20;

/// Counts and limits one peer's records.
#[derive(Debug)]
pub(crate) struct Records {
    fragments: usize,
    sealed: usize,
    early: usize,
    pace: SharedTokenBucket,
}

impl Default for Records {
    fn default() -> Self {
        Self { fragments: 0, sealed: 0, early: 0, pace: pace() }
    }
}

/// The datagrams that the core reads of one user.
pub(crate) fn pace() -> SharedTokenBucket {
    SharedTokenBucket::new(PER_SECOND, BURST)
}

impl Records {
    /// From now on the datagrams count for this bucket of [`pace`].
    pub(crate) fn share(&mut self, pace: &SharedTokenBucket) {
        self.pace = pace.clone();
    }

    /// Whether the core may read a DTLS datagram. `is_connected` means that the handshake is over.
    pub(crate) fn admit(&mut self, now: Instant, is_connected: bool, datagram: &[u8]) -> bool {
        self.pace.take(now).is_ok() && self.walk(is_connected, datagram).is_some()
    }

    fn walk(&mut self, is_connected: bool, datagram: &[u8]) -> Option<()> {
        let mut rest = datagram;
        for _ in 0..MAX_RECORDS {
            let (kind, epoch) = (*rest.first()?, be(rest.get(3..5)?));
            let end = RECORD_HEADER + be(rest.get(11..RECORD_HEADER)?) as usize;
            let body = rest.get(RECORD_HEADER..end)?;
            self.record(is_connected, kind, epoch, body)?;
            rest = &rest[end..];
            if rest.is_empty() {
                return Some(());
            }
        }
        None
    }

    fn record(&mut self, is_connected: bool, kind: u8, epoch: u32, body: &[u8]) -> Option<()> {
        match (kind, epoch) {
            (CHANGE_CIPHER_SPEC, 0) if body == [1] => Some(()),
            (ALERT, 0) if body.len() == 2 => Some(()),
            (ALERT, 1) => Some(()),
            (HANDSHAKE, 0) => self.messages(body),
            (HANDSHAKE, 1) => counts(&mut self.sealed, MAX_SEALED),
            (APPLICATION_DATA, 1) if body.len() > MAX_RECORD => None,
            (APPLICATION_DATA, 1) if is_connected => Some(()),
            (APPLICATION_DATA, 1) => counts(&mut self.early, MAX_EARLY),
            _ => None,
        }
    }

    /// Checks the handshake messages or fragments in a record.
    fn messages(&mut self, mut rest: &[u8]) -> Option<()> {
        while !rest.is_empty() {
            let (length, sequence) = (be(rest.get(1..4)?), be(rest.get(4..6)?));
            let (offset, size) = (be(rest.get(6..9)?), be(rest.get(9..MESSAGE_HEADER)?));
            let end = offset + size;
            let is_long = size >= MIN_FRAGMENT || end == length;
            if length > MAX_MESSAGE || sequence >= MAX_SEQUENCE || end > length || !is_long {
                return None;
            }
            rest = rest.get(MESSAGE_HEADER + size as usize..)?;
            counts(&mut self.fragments, MAX_FRAGMENTS)?;
        }
        Some(())
    }
}

/// The kind of an encrypted record, from its additional authenticated data (RFC 5246, 6.2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// An SCTP packet.
    Data,
    /// A handshake message.
    Handshake,
}

impl Sealed {
    /// The kind of a DTLS 1.2 record. None for alerts and for data that is not a record: RTP and RTCP start with the
    /// bits 10.
    pub(crate) fn of(authenticated: &[u8]) -> Option<Self> {
        let record: &[u8; RECORD_HEADER] = authenticated.try_into().ok()?;
        match record[8..11] {
            [APPLICATION_DATA, 254, 253] if record[0] < 128 => Some(Self::Data),
            [HANDSHAKE, 254, 253] if record[0] < 128 => Some(Self::Handshake),
            _ => None,
        }
    }
}

/// Whether a handshake message is one complete Finished: no other handshake message is encrypted, because there is no
/// renegotiation.
pub(crate) fn is_finished(message: &[u8]) -> bool {
    let [kind, length @ ..] = message else { return false };
    let body = message.len().checked_sub(MESSAGE_HEADER);
    let whole = |at: usize| length.get(at..at + 3).map(|three| be(three) as usize) == body;
    let sequence = message.get(4..6).map(be);
    *kind == FINISHED
        && body.is_some_and(|body| body <= 64)
        && whole(0)
        && whole(8)
        && sequence.is_some_and(|sequence| sequence < MAX_SEQUENCE)
}

fn counts(count: &mut usize, most: usize) -> Option<()> {
    *count += 1;
    (*count <= most).then_some(())
}

fn be(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&[kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 7][..], &length, body].concat()
    }

    fn fragment(sequence: u8, length: u32, offset: u32, size: u32) -> Vec<u8> {
        let three = |number: u32| number.to_be_bytes()[1..].to_vec();
        let header = [vec![1], three(length), vec![0, sequence], three(offset), three(size)].concat();
        [header, vec![9; size as usize]].concat()
    }

    fn admits(records: &mut Records, datagram: &[u8]) -> bool {
        records.admit(Instant::now(), false, datagram)
    }

    #[test]
    fn flights_of_honest_peers_are_accepted() {
        let mut records = Records::default();
        let hello = record(HANDSHAKE, 0, &fragment(0, 180, 0, 180));
        let halves = [fragment(1, 2_000, 0, 1_100), fragment(1, 2_000, 1_100, 900)].map(|f| record(HANDSHAKE, 0, &f));
        let last = [
            record(HANDSHAKE, 0, &[fragment(2, 400, 0, 400), fragment(3, 66, 0, 66)].concat()),
            record(CHANGE_CIPHER_SPEC, 0, &[1]),
            record(HANDSHAKE, 1, &[0; 48]),
        ];
        for datagram in [&hello, &halves[0], &halves[1], &last.concat()] {
            assert!(admits(&mut records, datagram));
        }
        assert!(records.admit(Instant::now(), true, &record(APPLICATION_DATA, 1, &[0; 1_200])));
    }

    /// The core needs a stack frame for each fragment.
    #[test]
    fn messages_with_tiny_or_too_many_fragments_are_not_read() {
        let mut records = Records::default();
        assert!(!admits(&mut records, &record(HANDSHAKE, 0, &fragment(0, 16_000, 0, 1))));
        assert!(!admits(&mut records, &record(HANDSHAKE, 0, &fragment(0, 16_000, 64, 0))));
        assert!(!admits(&mut records, &record(HANDSHAKE, 0, &fragment(0, 1 << 20, 0, 1_000))), "too long");
        assert!(!admits(&mut records, &record(HANDSHAKE, 0, &fragment(16, 100, 0, 100))), "too many messages");
        let mut beyond = fragment(0, 100, 0, 100);
        beyond[8] = 1;
        assert!(!admits(&mut records, &record(HANDSHAKE, 0, &beyond)), "longer than its message");
        let read =
            (0..1_000).filter(|_| admits(&mut records, &record(HANDSHAKE, 0, &fragment(0, 9_000, 64, 64)))).count();
        assert_eq!(read, MAX_FRAGMENTS);
    }

    #[test]
    fn records_that_wait_for_the_end_of_the_handshake_are_bounded() {
        let mut records = Records::default();
        let data = record(APPLICATION_DATA, 1, &[0; 100]);
        assert_eq!((0..100).filter(|_| admits(&mut records, &data)).count(), MAX_EARLY);
        let finished = record(HANDSHAKE, 1, &[0; 48]);
        assert_eq!((0..100).filter(|_| admits(&mut records, &finished)).count(), MAX_SEALED);
        assert!(records.admit(Instant::now(), true, &data), "but not when it is over");
    }

    #[test]
    fn records_of_other_epochs_or_types_and_truncated_records_are_not_read() {
        let mut records = Records::default();
        for bad in [
            record(CHANGE_CIPHER_SPEC, 1, &[1]),
            record(CHANGE_CIPHER_SPEC, 0, &[1, 1]),
            record(APPLICATION_DATA, 0, &[0; 40]),
            record(APPLICATION_DATA, 2, &[0; 40]),
            record(APPLICATION_DATA, 1, &[0; 3_000]),
            record(24, 1, &[0; 40]),
            [record(ALERT, 0, &[1, 0]), vec![21]].concat(),
            record(ALERT, 0, &[1, 0]).repeat(MAX_RECORDS + 1),
        ] {
            assert!(!admits(&mut records, &bad), "{bad:?}");
        }
        let good = record(HANDSHAKE, 0, &fragment(0, 180, 0, 180));
        assert!((0..good.len()).all(|cut| !admits(&mut Records::default(), &good[..cut])));
    }

    #[test]
    fn only_a_complete_finished_is_accepted_as_an_encrypted_message() {
        let mut finished = fragment(5, 12, 0, 12);
        assert!(!is_finished(&finished), "a ClientHello");
        finished[0] = FINISHED;
        assert!(is_finished(&finished));
        assert!((0..finished.len()).all(|cut| !is_finished(&finished[..cut])));
        assert!(!is_finished(&finished.repeat(2)));
    }

    #[test]
    fn a_flood_is_limited() {
        let (mut records, now) = (Records::default(), Instant::now());
        let data = record(APPLICATION_DATA, 1, &[0; 100]);
        let read = (0..10_000).filter(|_| records.admit(now, true, &data)).count();
        assert_eq!(read, BURST as usize);
    }
}
