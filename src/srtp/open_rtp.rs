//! Decrypts a publisher's RTP: SRTP (RFC 3711) with AES-128-GCM (RFC 7714, 8).
//!
//! The core decrypts the first packet, which reveals the key ([`super::provider`]). Later packets bypass the core,
//! because it spends several times the CPU time of the decryption on each.
//!
//! # The invariant
//!
//! **A packet counts once**, whichever side decrypts it, and only if its tag is right: the window starts with the
//! packet that the core has decrypted, and an index is recorded only after the tag has been checked.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::session::{RtpKey, SessionKey, TAG_BYTES, nonce};
use crate::rtp::payload_offset;

/// The most SSRCs of one publisher: audio, and two encodings of two videos with their retransmissions, three times.
/// Further SSRCs are refused, because forgetting an SSRC would let its packets count again.
const MAX_SSRCS: usize = 32;

/// The size of the replay window in packets: a retransmission may be as old as the packets that arrive in a second of a
/// fast path (RFC 3711, 3.3.2: at least 64).
const WINDOW: u64 = 2_048;
const WINDOW_WORDS: usize = WINDOW as usize / 64;

/// Decrypts the RTP of one publisher.
pub(crate) struct RtpOpener {
    key: LessSafeKey,
    salt: [u8; 12],
    streams: Vec<Stream>,
}

impl RtpOpener {
    /// None if `ring` refuses the key, in cases that its documentation does not name.
    pub(crate) fn new(RtpKey { session, ssrc, sequence_number }: &RtpKey) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &session.key).ok()?);
        Some(Self { key, salt: session.salt, streams: vec![Stream::new(*ssrc, (*sequence_number).into())] })
    }

    /// An opener with this session key and salt that has opened nothing yet, for measurements and [`crate::fuzz`].
    pub(crate) fn with_key(key: [u8; 16], salt: [u8; 12]) -> Option<Self> {
        Self::new(&RtpKey { session: SessionKey { key, salt }, ssrc: 1, sequence_number: 1 })
    }

    /// Decrypts a datagram in place, and returns the RTP packet in it, header first. None if the datagram is not RTP,
    /// a replay, too old, of one SSRC too many, or not encrypted with the publisher's key; then only its bytes may have
    /// changed.
    pub(crate) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let header_bytes = payload_offset(datagram)?;
        let (header, text) = datagram.split_at_mut_checked(header_bytes)?;
        if text.len() < TAG_BYTES {
            return None;
        }
        let sequence_number = u16::from_be_bytes([header[2], header[3]]);
        let ssrc = u32::from_be_bytes(*header.get(8..12)?.first_chunk()?);
        let known = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        let index = match known {
            Some(at) => self.streams[at].index(sequence_number).filter(|index| self.streams[at].is_new(*index))?,
            // The roll-over counter starts with zero (RFC 3711, 3.3.1).
            None if self.streams.len() < MAX_SSRCS => sequence_number.into(),
            None => return None,
        };
        let nonce = Nonce::assume_unique_for_key(nonce(self.salt, ssrc, index));
        let length = self.key.open_in_place(nonce, Aad::from(&*header), text).ok()?.len();
        match known {
            Some(at) => self.streams[at].note(index),
            None => self.streams.push(Stream::new(ssrc, index)),
        }
        datagram.get(..header_bytes + length)
    }
}

/// The packet index and the replay window of one SSRC (RFC 3711, 3.3).
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    /// The highest index: roll-over counter and sequence number.
    highest: u64,
    /// Bit `index % WINDOW`: the packet with this index has arrived.
    came: [u64; WINDOW_WORDS],
}

impl Stream {
    /// A stream of which only this packet has arrived.
    fn new(ssrc: u32, index: u64) -> Self {
        let mut stream = Self { ssrc, highest: index, came: [0; WINDOW_WORDS] };
        stream.set(index);
        stream
    }

    /// The index of a packet: the one nearest to the highest index (RFC 3711, appendix A). None for a packet before the
    /// first roll-over counter, or after the last one, whose key must not be used any more (RFC 7714, 8.1).
    fn index(&self, sequence_number: u16) -> Option<u64> {
        const HALF: u16 = 1 << 15;
        const LAST: u64 = (1 << 48) - 1;
        let ahead = sequence_number.wrapping_sub(self.highest as u16);
        if ahead < HALF {
            self.highest.checked_add(ahead.into()).filter(|index| *index <= LAST)
        } else {
            self.highest.checked_sub((self.highest as u16).wrapping_sub(sequence_number).into())
        }
    }

    fn is_new(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(age) => age < WINDOW && !self.has(index),
        }
    }

    fn note(&mut self, index: u64) {
        if index > self.highest {
            // The bits of the indices between are those of old packets.
            let from = (self.highest + 1).max(index.saturating_sub(WINDOW - 1));
            (from..index).for_each(|skipped| self.clear(skipped));
            self.highest = index;
        }
        self.set(index);
    }

    fn has(&self, index: u64) -> bool {
        self.came[word(index)] & bit(index) != 0
    }

    fn set(&mut self, index: u64) {
        self.came[word(index)] |= bit(index);
    }

    fn clear(&mut self, index: u64) {
        self.came[word(index)] &= !bit(index);
    }
}

fn word(index: u64) -> usize {
    (index / 64) as usize % WINDOW_WORDS
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use rtc::crypto::default_provider;
    use rtc::srtp::context::Context;
    use rtc::srtp::protection_profile::ProtectionProfile;

    use super::super::provider::{SessionKeys, capturing};
    use super::super::seal::Sealer;
    use super::*;
    use crate::rtp::{OutgoingPacket, TwccSequenceNumber};

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// The packet of RFC 7714, 16.1.1, and the same packet encrypted.
    const PLAIN: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 \
        61727465 73207472 6573";
    const SEALED: &str = "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a \
        51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce";

    fn session(key: [u8; 16], salt: [u8; 12]) -> SessionKey {
        SessionKey { key, salt }
    }

    /// The key of RFC 7714, 16. The packet that revealed it had another SSRC.
    fn of_the_rfc() -> RtpOpener {
        let key = bytes("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let salt = bytes("517569642070726f2071756f").try_into().unwrap();
        RtpOpener::with_key(key, salt).unwrap()
    }

    #[test]
    fn the_test_vector_of_the_rfc_is_decrypted_once() {
        let mut opener = of_the_rfc();
        assert_eq!(opener.open(&mut bytes(SEALED)).unwrap(), bytes(PLAIN));
        assert_eq!(opener.open(&mut bytes(SEALED)), None, "a replay");
    }

    #[test]
    fn a_truncated_or_modified_packet_is_refused_and_uses_up_no_index() {
        let (mut opener, good) = (of_the_rfc(), bytes(SEALED));
        for length in 0..good.len() {
            assert_eq!(opener.open(&mut good[..length].to_vec()), None, "{length}");
        }
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(opener.open(&mut bad), None, "byte {at}, bit {bit}");
            }
        }
        assert_eq!(opener.streams.len(), 1);
        assert!(opener.open(&mut good.clone()).is_some(), "the forged ones did not use up its number");
    }

    /// A publisher's SRTP context, the SFU's context, and the keys captured from the latter.
    fn library() -> (Context, Context, SessionKeys) {
        let (provider, keys) = capturing(default_provider().unwrap());
        let profile = ProtectionProfile::AeadAes128Gcm;
        let context = |crypto| Context::new(&[7; 16], &[9; 12], profile, None, None, crypto).unwrap();
        (context(default_provider().unwrap().crypto()), context(provider.crypto()), keys)
    }

    fn packet(ssrc: u32, sequence_number: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x90, 96];
        packet.extend_from_slice(&sequence_number.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 5]);
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x31, 1, 2, 0]);
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn the_first_authentic_packet_reveals_the_key_for_all_later_ones() {
        let (mut publisher, mut core, keys) = library();
        let mut forged = publisher.encrypt_rtp(&packet(7, 40_000, b"forged")).unwrap();
        forged[25] ^= 1;
        assert!(core.decrypt_rtp(&forged).is_err());
        assert!(keys.incoming_rtp().is_none(), "a forged packet reveals nothing");
        let first = publisher.encrypt_rtp(&packet(7, 40_001, b"first")).unwrap();
        core.decrypt_rtp(&first).unwrap();
        assert!(keys.rtp().is_none() && keys.rtcp().is_none(), "other directions and protocols have other keys");
        let mut opener = RtpOpener::new(keys.incoming_rtp().unwrap()).unwrap();
        assert_eq!(opener.open(&mut first.to_vec()), None, "the core has opened it");
        // Two roll-overs of one SSRC, other SSRCs meanwhile.
        for n in 1..140_000u32 {
            let number = 40_001u16.wrapping_add(n as u16);
            let plain = packet(7 + n % 2 * (n % 3), number, &[n as u8; 30]);
            let mut sealed = publisher.encrypt_rtp(&plain).unwrap().to_vec();
            assert_eq!(opener.open(&mut sealed).unwrap(), plain, "{n}");
        }
    }

    /// Encrypts packets with any index.
    fn sealer() -> (Sealer, RtpOpener) {
        let key = || session([3; 16], [4; 12]);
        let opener = RtpOpener::with_key([3; 16], [4; 12]).unwrap();
        (Sealer::new(&key()).unwrap(), opener)
    }

    fn sealed(sealer: &Sealer, ssrc: u32, index: u64) -> Vec<u8> {
        let packet = OutgoingPacket {
            marker: true,
            payload_type: 96,
            index,
            timestamp: index as u32,
            ssrc,
            twcc: Some(TwccSequenceNumber { id: 3, number: index as u16 }),
            playout: None,
            original: None,
            padding: 0,
            payload: &index.to_be_bytes(),
        };
        let mut out = Vec::new();
        sealer.seal(&packet, &mut out);
        out
    }

    #[test]
    fn an_out_of_order_packet_counts_once_and_an_old_one_never() {
        let (sealer, mut opener) = sealer();
        let mut opens = |index: u64| opener.open(&mut sealed(&sealer, 7, index)).is_some();
        assert!(opens(60_000) && opens(65_536 + 100) && !opens(65_536 + 100));
        assert!(opens(65_530) && !opens(65_530), "before the roll-over, after a packet behind it");
        let newest = 65_536 + 100;
        assert!(opens(newest + 1 - WINDOW) && !opens(newest + 1 - WINDOW) && !opens(newest - WINDOW));
        assert!(opens(newest + 3_000) && !opens(newest) && !opens(newest + 3_000 - WINDOW), "a jump forgets what was");
        assert!(opens(newest + 2_999) && opens(newest + 3_001 - WINDOW));
    }

    #[test]
    fn each_packet_counts_once_in_any_order() {
        let (sealer, mut opener) = sealer();
        let mut dice = StdRng::seed_from_u64(3);
        let (mut next, mut opened) = (30_000u64, HashSet::new());
        for _ in 0..60_000 {
            let index = match dice.random_range(0..10) {
                0..=5 => {
                    next += dice.random_range(1..4);
                    next
                }
                _ => next.saturating_sub(dice.random_range(0..2 * WINDOW)),
            };
            let highest = opened.iter().copied().max().unwrap_or(0);
            let expected = !opened.contains(&index) && (index > highest || highest - index < WINDOW);
            let opens = opener.open(&mut sealed(&sealer, 9, index)).is_some();
            assert_eq!(opens, expected, "{index}, the highest is {highest}");
            if opens {
                opened.insert(index);
            }
            opened.retain(|index| *index + 4 * WINDOW > next);
        }
        assert!(next > 65_536);
    }

    #[test]
    fn an_index_never_goes_below_zero_or_beyond_the_last_one() {
        let stream = Stream::new(7, 10);
        assert_eq!((stream.index(9), stream.index(20), stream.index(65_000)), (Some(9), Some(20), None));
        let last = (1 << 48) - 1;
        let stream = Stream::new(7, last - 1);
        assert_eq!((stream.index(65_535), stream.index(0), stream.index(65_000)), (Some(last), None, Some(last - 535)));
    }

    #[test]
    fn the_number_of_ssrcs_of_a_publisher_is_bounded() {
        let (sealer, mut opener) = sealer();
        for ssrc in 2..100 {
            assert_eq!(opener.open(&mut sealed(&sealer, ssrc, 5)).is_some(), (ssrc as usize) <= MAX_SSRCS);
        }
        assert!(opener.open(&mut sealed(&sealer, 2, 6)).is_some(), "those that are known go on");
        assert_eq!(opener.streams.len(), MAX_SSRCS);
    }

    #[test]
    fn random_datagrams_are_refused() {
        let mut opener = of_the_rfc();
        let mut dice = StdRng::seed_from_u64(5);
        for _ in 0..2_000 {
            let mut datagram = vec![0; dice.random_range(0..200)];
            dice.fill(&mut datagram[..]);
            if let Some(first) = datagram.first_mut() {
                *first = *first & 0x3f | 0x80;
            }
            assert_eq!(opener.open(&mut datagram), None);
        }
    }
}
