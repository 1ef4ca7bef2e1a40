//! Handmade packets that are accepted or rejected.

mod fuzz;

use std::time::Duration;

use super::order::WINDOW;
use super::*;

const TAG: u32 = 0x0a0b_0c0d;
const COOKIE: [u8; 32] = [7; 32];
const FIRST: u32 = 0xffff_ff00;

/// Makes a packet of chunks, with the right checksum.
pub(super) fn packet(tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = [&[0x13, 0x88, 0x13, 0x88][..], &tag.to_be_bytes(), &[0; 4], &chunks.concat()].concat();
    sign(&mut packet);
    packet
}

/// Puts the right checksum into a packet.
pub(super) fn sign(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let sum = crc32c::crc32c(packet).to_le_bytes();
    packet[8..12].copy_from_slice(&sum);
}

/// A chunk with its padding.
pub(super) fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut chunk = [&[kind, flags][..], &(value.len() as u16 + 4).to_be_bytes(), value].concat();
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

fn init(tsn: u32) -> Vec<u8> {
    let fixed = [&[0, 0, 0, 9][..], &[0, 2, 0, 0], &[4, 0, 4, 0], &tsn.to_be_bytes()].concat();
    chunk(1, 0, &[fixed, vec![0xc0, 0, 0, 4], vec![0x80, 8, 0, 6, 130, 192, 0, 0]].concat())
}

fn init_ack() -> Vec<u8> {
    let fixed = [&TAG.to_be_bytes()[..], &[0, 2, 0, 0], &[4, 0, 4, 0], &[0, 0, 0, 5]].concat();
    let cookie = [&[0, 7, 0, 36][..], &COOKIE].concat();
    packet(9, &[chunk(2, 0, &[fixed, cookie].concat())])
}

fn data(tsn: u32, stream: u16, ssn: u16, ppid: u32, flags: u8, user: &[u8]) -> Vec<u8> {
    let header = [&tsn.to_be_bytes()[..], &stream.to_be_bytes(), &ssn.to_be_bytes(), &ppid.to_be_bytes()].concat();
    chunk(0, flags, &[&header[..], user].concat())
}

fn dcep_open(kind: u8, label: &[u8]) -> Vec<u8> {
    [&[3, kind, 0, 0, 0, 0, 0, 0, 0, label.len() as u8, 0, 0][..], label].concat()
}

fn opens(tsn: u32, stream: u16, kind: u8) -> Vec<u8> {
    data(tsn, stream, 0, 50, 3, &dcep_open(kind, b"classroom"))
}

fn sack(tsn: u32) -> Vec<u8> {
    packet(9, &[chunk(3, 0, &[&tsn.to_be_bytes()[..], &[0, 2, 0, 0, 0, 0, 0, 0]].concat())])
}

fn forward(tsn: u32, streams: &[u8]) -> Vec<u8> {
    chunk(192, 0, &[&tsn.to_be_bytes()[..], streams].concat())
}

/// A peer whose association is established, with channel 0 open; its next TSN is `FIRST + 1`.
struct Peer(Association, Instant);

impl Peer {
    fn connected(kind: u8) -> Self {
        let mut peer = Self(Association::default(), Instant::now());
        let inits = packet(0, &[init(FIRST)]);
        assert_eq!(peer.0.open(peer.1, &inits), Ok(()));
        peer.0.seal(&init_ack());
        assert_eq!(peer.sends(&[chunk(10, 0, &COOKIE), opens(FIRST, 0, kind)]), Ok(()));
        peer.0.seal(&sack(FIRST));
        peer
    }

    fn sends(&mut self, chunks: &[Vec<u8>]) -> Result<(), Rejected> {
        self.1 += Duration::from_millis(10);
        self.0.open(self.1, &packet(TAG, chunks))
    }

    fn text(&mut self, n: u32, ssn: u16) -> Result<(), Rejected> {
        self.sends(&[data(FIRST.wrapping_add(n), 0, ssn, 51, 3, b"hello")])
    }
}

fn broken(violation: Violation) -> Result<(), Rejected> {
    Err(Rejected::Violation(violation))
}

const UNWANTED: Result<(), Rejected> = Err(Rejected::Unwanted);

#[test]
fn packets_of_honest_peers_are_accepted() {
    let mut peer = Peer::connected(0);
    assert_eq!(peer.text(1, 1), Ok(()));
    assert_eq!(peer.text(1, 1), Ok(()), "sent again");
    assert_eq!(peer.text(3, 3), Ok(()), "before the one that is late");
    assert_eq!(peer.text(2, 2), Ok(()));
    peer.0.seal(&sack(FIRST.wrapping_add(3)));
    let parts = [(4, 2), (5, 0), (6, 1)].map(|(n, flags)| data(FIRST.wrapping_add(n), 0, 4, 51, flags, &[b'x'; 500]));
    assert_eq!(peer.sends(&parts), Ok(()), "a message in three chunks");
    assert_eq!(peer.sends(&[opens(FIRST.wrapping_add(7), 2, 0x80)]), Ok(()), "a second channel");
    assert_eq!(peer.sends(&[data(FIRST.wrapping_add(8), 2, 0, 53, 7, b"not in order")]), Ok(()));
    assert_eq!(peer.sends(&[chunk(4, 0, &[0, 1, 0, 8, 1, 2, 3, 4])]), Ok(()), "a heartbeat");
    assert_eq!(peer.sends(&[chunk(3, 0, &[0, 0, 0, 4, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 3, 0, 5, 0, 5])]), Ok(()));
    peer.0.seal(&sack(FIRST.wrapping_add(8)));
    let reset = [&[0, 13, 0, 18][..], &[0; 8], &FIRST.wrapping_add(8).to_be_bytes(), &[0, 2]].concat();
    assert_eq!(peer.sends(&[chunk(130, 0, &reset)]), Ok(()), "the second channel closes");
    assert_eq!(peer.sends(&[chunk(130, 0, &[0, 16, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1])]), Ok(()));
    assert_eq!(peer.sends(&[data(FIRST.wrapping_add(9), 2, 0, 51, 3, b"closed")]), UNWANTED);
    assert_eq!(peer.sends(&[opens(FIRST.wrapping_add(9), 2, 0)]), Ok(()), "and opens again");
    assert_eq!(peer.sends(&[chunk(6, 0, b"\0\x0c\0\x10Close called")]), Ok(()), "an ABORT with its reason");
    assert_eq!(peer.text(10, 5), UNWANTED, "after which nothing comes");
    assert_eq!(peer.0.violation(), None);
}

/// A packet of 36 bytes kept the SFU busy for five seconds.
#[test]
fn a_forward_tsn_far_ahead_is_refused() {
    for kind in [0, 1] {
        let mut peer = Peer::connected(kind);
        let attack = forward(FIRST.wrapping_add(1 << 31).wrapping_sub(2), &[0; 16]);
        assert_eq!(packet(TAG, std::slice::from_ref(&attack)).len(), 36);
        for n in 0..3 {
            assert_eq!(peer.0.violation(), None, "{n}");
            assert_eq!(peer.sends(std::slice::from_ref(&attack)), broken(Violation::ForwardTsn));
        }
        assert_eq!(peer.0.violation(), Some(Violation::ForwardTsn));
    }
    // A TSN that is almost half of all TSNs behind the last SACK is ahead of the core, which has progressed since.
    for far in [1 << 17, (1 << 31) - 1, 1 << 31, (1 << 31) + WINDOW, u32::MAX - (1 << 17) - 1] {
        let mut peer = Peer::connected(1);
        assert_eq!(peer.sends(&[forward(FIRST.wrapping_add(far + 1), &[])]), broken(Violation::ForwardTsn), "{far}");
    }
    assert_eq!(Peer::connected(0).sends(&[forward(FIRST.wrapping_add(1), &[])]), broken(Violation::ForwardTsn));
}

#[test]
fn a_forward_tsn_is_accepted_on_a_partially_reliable_channel() {
    let mut peer = Peer::connected(1);
    assert_eq!(peer.text(1, 1), Ok(()));
    assert_eq!(peer.sends(&[forward(FIRST.wrapping_add(3), &[0, 0, 0, 3])]), Ok(()), "2 and 3 are abandoned");
    assert_eq!(peer.text(3, 3), UNWANTED, "it is late");
    assert_eq!(peer.text(4, 4), Ok(()));
    assert_eq!(peer.sends(&[forward(FIRST.wrapping_add(5 + WINDOW), &[])]), UNWANTED);
    assert_eq!(peer.sends(&[forward(FIRST, &[])]), Ok(()), "the core takes an old one for a question");
}

/// The core slices a cause by its own length.
#[test]
fn an_error_cause_with_a_wrong_length_is_refused() {
    for kind in [6, 9] {
        for cause in [&[0, 12, 0, 255][..], &[0, 12, 0, 3], &[0, 12, 0, 9, 1, 2, 3, 4], &[0, 1, 0, 4, 0, 1, 255, 255]] {
            let mut peer = Peer::connected(0);
            assert_eq!(peer.sends(&[chunk(kind, 0, cause)]), broken(Violation::Length), "{kind} {cause:?}");
        }
    }
}

/// The core expects the next chunk where it stops understanding this one.
#[test]
fn no_chunk_hides_in_another() {
    let hidden = forward(FIRST.wrapping_add(1 << 30), &[]);
    let sack = [vec![0, 0, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0], hidden.clone()].concat();
    let abort = [vec![0, 12, 0, 16], vec![b'x'; 12], vec![0xc0, 0, 0]].concat();
    let shutdown = [vec![0, 0, 0, 1], hidden.clone()].concat();
    let cookie = [COOKIE.to_vec(), hidden.clone()].concat();
    let answer = [vec![0, 16, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1], hidden.clone()].concat();
    for (kind, value) in [(3, sack), (6, abort), (7, shutdown), (10, cookie), (130, answer), (14, hidden.clone())] {
        let mut peer = Peer::connected(1);
        assert!(peer.sends(&[chunk(kind, 0, &value)]).is_err(), "{kind}");
    }
    let inits = [init(FIRST)[4..].to_vec(), vec![0xc0, 0, 0, 12], hidden].concat();
    let mut association = Association::default();
    assert_eq!(association.open(Instant::now(), &packet(0, &[chunk(1, 0, &inits)])), broken(Violation::Length));
}

#[test]
fn a_handshake_may_be_retransmitted_but_no_other_may_follow() {
    let (mut association, now) = (Association::default(), Instant::now());
    let first = packet(0, &[init(FIRST)]);
    let passed = (0..100).filter(|_| association.open(now, &first) == Ok(())).count();
    assert_eq!(passed, MAX_INITS, "each makes an association");
    assert_eq!(association.open(now, &packet(0, &[init(FIRST + 1)])), broken(Violation::Handshake));
    assert_eq!(association.open(now, &packet(TAG, &[init(FIRST)])), broken(Violation::Handshake));
    assert_eq!(association.open(now, &packet(0, &[init(FIRST), init(FIRST)])), UNWANTED);
    association.seal(&init_ack());
    assert_eq!(association.open(now, &packet(TAG, &[chunk(10, 0, &[8; 32])])), UNWANTED, "another cookie");
    assert_eq!(association.open(now, &packet(TAG + 1, &[chunk(10, 0, &COOKIE)])), UNWANTED, "another tag");
    assert_eq!(association.open(now, &packet(TAG, &[opens(FIRST, 0, 0)])), UNWANTED, "too early");
    assert_eq!(association.open(now, &packet(TAG, &[chunk(10, 0, &COOKIE)])), Ok(()));
    assert_eq!(association.open(now, &packet(TAG, &[chunk(10, 0, &COOKIE)])), Ok(()), "its answer was lost");
    assert_eq!(association.open(now, &first), UNWANTED, "it is over");
}

#[test]
fn data_is_accepted_only_on_opened_streams() {
    let mut peer = Peer::connected(0);
    assert_eq!(peer.sends(&[data(FIRST.wrapping_add(1), 2, 0, 51, 3, b"x")]), UNWANTED);
    for n in 1..MAX_STREAMS as u16 {
        assert_eq!(peer.sends(&[opens(FIRST.wrapping_add(n.into()), 2 * n, 0)]), Ok(()));
    }
    let next = FIRST.wrapping_add(MAX_STREAMS as u32);
    assert_eq!(peer.sends(&[opens(next, 98, 0)]), broken(Violation::Streams));
    assert_eq!(peer.sends(&[opens(next, 0, 0)]), broken(Violation::Channel), "opened twice");
    let mut cut = dcep_open(0, b"label");
    cut.pop();
    let mut peer = Peer::connected(0);
    assert_eq!(peer.sends(&[data(FIRST.wrapping_add(1), 2, 0, 50, 3, &cut)]), broken(Violation::Channel));
}

/// The core keeps fragments that it can't reassemble.
#[test]
fn fragments_that_never_complete_a_message_are_refused() {
    let next = FIRST.wrapping_add(1);
    for (chunk, violation) in [
        (data(next, 0, 1, 51, 0, b"a middle"), Violation::Order),
        (data(next, 0, 1, 51, 1, b"an end"), Violation::Order),
        (data(next, 0, 2, 51, 3, b"not the next"), Violation::Order),
        (data(next, 0, 1, 51, 3, b""), Violation::Length),
    ] {
        let mut peer = Peer::connected(0);
        for _ in 0..2 {
            assert_eq!(peer.sends(std::slice::from_ref(&chunk)), broken(violation), "also when it comes again");
        }
        assert_eq!(peer.text(1, 1), Ok(()));
    }
    let mut peer = Peer::connected(0);
    let endless = |n: u32| data(next.wrapping_add(n), 0, 1, 51, if n == 0 { 2 } else { 0 }, b"x");
    let refused = (0..1_000).position(|n| {
        let refused = peer.sends(&[endless(n)]) == broken(Violation::Message);
        peer.0.seal(&sack(next.wrapping_add(n)));
        refused
    });
    assert_eq!(refused, Some(128));
}

#[test]
fn out_of_order_data_is_checked_when_the_gap_fills() {
    let mut peer = Peer::connected(0);
    assert_eq!(peer.text(2, 7), Ok(()), "nobody knows yet");
    assert_eq!(peer.text(1, 1), broken(Violation::Order));
    assert_eq!(peer.sends(&[data(FIRST.wrapping_add(2), 0, 2, 51, 3, b"hello")]), broken(Violation::Changed));
}

#[test]
fn data_far_ahead_is_dropped_and_data_beyond_any_window_is_a_violation() {
    let mut peer = Peer::connected(0);
    assert_eq!(peer.text(WINDOW, 9), Ok(()));
    assert_eq!(peer.text(WINDOW + 1, 9), UNWANTED);
    assert_eq!(peer.text(1 << 20, 9), broken(Violation::Window));
    assert_eq!(peer.text(1 << 31, 9), broken(Violation::Window));
    assert_eq!(peer.text(0_u32.wrapping_sub(9), 9), Ok(()), "that is behind");
    peer.0.seal(&sack(FIRST.wrapping_add(5)));
    assert_eq!(peer.text(WINDOW + 5, 9), Ok(()));
}

#[test]
fn gap_blocks_that_name_a_tsn_twice_are_not_read() {
    for blocks in [&[[1, 9], [1, 9]][..], &[[1, 5], [5, 9]], &[[9, 1]], &[[0, 1]]] {
        let value: Vec<u8> = blocks.iter().flatten().flat_map(|n: &u16| n.to_be_bytes()).collect();
        let header = [&[0, 0, 0, 4, 0, 2, 0, 0, 0, blocks.len() as u8, 0, 0][..], &value].concat();
        assert_eq!(Peer::connected(0).sends(&[chunk(3, 0, &header)]), UNWANTED, "{blocks:?}");
    }
    let lies = [0, 0, 0, 4, 0, 2, 0, 0, 255, 255, 0, 0];
    assert_eq!(Peer::connected(0).sends(&[chunk(3, 0, &lies)]), broken(Violation::Length));
}

/// The core keeps an early reset, and responds to it with each chunk.
#[test]
fn a_reset_before_its_data_is_refused() {
    let reset = |tsn: u32, streams: &[u8]| {
        let length = 16 + streams.len() as u8;
        chunk(130, 0, &[&[0, 13, 0, length][..], &[0; 8], &tsn.to_be_bytes(), streams].concat())
    };
    let mut peer = Peer::connected(0);
    assert_eq!(peer.sends(&[reset(FIRST.wrapping_add(1), &[0, 0])]), UNWANTED);
    assert_eq!(peer.sends(&[reset(FIRST.wrapping_add(1 << 31), &[0, 0])]), UNWANTED);
    assert_eq!(peer.sends(&[reset(FIRST, &[0; 18])]), broken(Violation::Streams));
    assert_eq!(peer.sends(&[reset(FIRST, &[0; 3])]), broken(Violation::Length));
    let passed = (0..1_000).filter(|_| peer.sends(&[reset(FIRST, &[0, 9])]) == Ok(())).count();
    assert_eq!(passed, 64);
}

#[test]
fn a_flood_is_limited() {
    let (mut peer, mut heartbeats) = (Peer::connected(0), Peer::connected(0));
    let now = peer.1;
    let same = packet(TAG, &[data(FIRST, 0, 0, 51, 3, b"again")]);
    assert!((0..10_000).filter(|_| peer.0.open(now, &same) == Ok(())).count() <= PACKET_BURST as usize);
    let beat = packet(TAG, &[chunk(4, 0, &[0, 1, 0, 8, 1, 2, 3, 4])]);
    let now = heartbeats.1;
    assert_eq!((0..100).filter(|_| heartbeats.0.open(now, &beat) == Ok(())).count(), HEARTBEAT_BURST as usize);
    assert!(peer.0.refused() >= 9_000);
}

#[test]
fn a_packet_with_a_wrong_checksum_has_no_effect() {
    let mut peer = Peer::connected(0);
    let mut bad = packet(TAG, &[data(FIRST.wrapping_add(1), 0, 1, 51, 3, b"hello")]);
    bad[20] ^= 1;
    assert_eq!(peer.0.open(peer.1, &bad), UNWANTED);
    assert_eq!(peer.text(1, 1), Ok(()));
}

#[test]
fn unknown_chunks_and_long_packets_are_not_read() {
    for kind in [2, 5, 11, 12, 15, 64, 128, 132, 193, 194, 255] {
        assert_eq!(Peer::connected(0).sends(&[chunk(kind, 0, &[0; 8])]), UNWANTED, "{kind}");
    }
    let mut peer = Peer::connected(0);
    assert_eq!(peer.sends(&[data(FIRST.wrapping_add(1), 0, 1, 51, 3, &[0; 2_100])]), UNWANTED);
    let two = [sack(1)[12..].to_vec(), sack(2)[12..].to_vec()];
    assert_eq!(peer.sends(&two), UNWANTED, "one of a kind is enough");
    assert_eq!(peer.sends(&[]), broken(Violation::Length));
}

#[test]
fn no_truncated_packet_panics() {
    let whole = packet(TAG, &[sack(1)[12..].to_vec(), opens(FIRST.wrapping_add(1), 2, 0), forward(FIRST, &[0; 8])]);
    for cut in 0..whole.len() {
        let mut part = whole[..cut].to_vec();
        if cut >= 12 {
            sign(&mut part);
        }
        let _ = Peer::connected(1).0.open(Instant::now(), &part);
    }
}
