//! Decrypts a peer's feedback: SRTCP (RFC 3711) with AES-128-GCM (RFC 7714, 9).
//!
//! A thousand students send ten to twenty feedback packets a second each. The core spends much more CPU time on a
//! packet than decrypting it takes. The core decrypts the first packet, which reveals the key ([`super::provider`]),
//! and gets none afterwards.
//!
//! # The invariant
//!
//! **A packet counts once**, whichever side decrypts it, and only if its tag is right: the window starts with the
//! packet that the core has decrypted, and an index is recorded only after the tag has been checked.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::session::{ENCRYPTED, RTCP_HEADER, RTCP_TRAILER, RtcpKey, SessionKey, TAG_BYTES, nonce};

/// The most SSRCs that one peer may use for feedback: browsers use one for each track. Further SSRCs are refused,
/// because forgetting an SSRC would let its packets count again.
const MAX_SENDERS: usize = 16;

/// The size of the replay window (RFC 3711, 3.3.2: at least 64).
const WINDOW: u32 = u64::BITS;

/// Decrypts the SRTCP of one peer.
pub(crate) struct Opener {
    key: LessSafeKey,
    salt: [u8; 12],
    senders: Vec<Window>,
}

impl Opener {
    /// None if `ring` refuses the key; its documentation does not say when.
    pub(crate) fn new(RtcpKey { session, ssrc, index }: &RtcpKey) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &session.key).ok()?);
        Some(Self { key, salt: session.salt, senders: vec![Window::new(*ssrc, *index)] })
    }

    /// An opener with this session key and salt that has opened nothing yet, for [`crate::fuzz`].
    pub(crate) fn with_key(key: [u8; 16], salt: [u8; 12]) -> Option<Self> {
        let revealing = RtcpKey { session: SessionKey { key, salt }, ssrc: 1, index: 1 };
        Self::new(&revealing)
    }

    /// Decrypts a datagram in place, and returns the compound packet in it (RFC 3550, 6.1). None if the datagram is too
    /// short, a replay, too old, of one SSRC too many, or not encrypted with the peer's key; then only its bytes may
    /// have changed.
    pub(crate) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let (packet, trailer) = datagram.split_last_chunk_mut::<RTCP_TRAILER>()?;
        let word = u32::from_be_bytes(*trailer);
        if word & ENCRYPTED == 0 || packet.len() < RTCP_HEADER + TAG_BYTES {
            return None;
        }
        let (header, text) = packet.split_first_chunk_mut::<RTCP_HEADER>()?;
        let ssrc = u32::from_be_bytes(*header.last_chunk()?);
        let index = word & !ENCRYPTED;
        let known = self.senders.iter().position(|window| window.ssrc == ssrc);
        let is_new = match known {
            Some(place) => self.senders[place].is_new(index),
            None => self.senders.len() < MAX_SENDERS,
        };
        if !is_new {
            return None;
        }
        let nonce = Nonce::assume_unique_for_key(nonce(self.salt, ssrc, index.into()));
        let mut authenticated = [0; RTCP_HEADER + RTCP_TRAILER];
        authenticated[..RTCP_HEADER].copy_from_slice(header);
        authenticated[RTCP_HEADER..].copy_from_slice(trailer);
        let length = self.key.open_in_place(nonce, Aad::from(authenticated), text).ok()?.len();
        match known {
            Some(place) => self.senders[place].note(index),
            None => self.senders.push(Window::new(ssrc, index)),
        }
        datagram.get(..RTCP_HEADER + length)
    }
}

/// The replay window of one SSRC (RFC 3711, 3.3.2). An index has 31 bits and must not wrap under one key (RFC 7714,
/// 9.2), so no index is new after the last one.
#[derive(Debug)]
struct Window {
    ssrc: u32,
    highest: u32,
    /// Bit n: the packet with the index `highest - n` has arrived.
    came: u64,
}

impl Window {
    /// A window in which only this packet has arrived.
    fn new(ssrc: u32, index: u32) -> Self {
        Self { ssrc, highest: index, came: 1 }
    }

    fn is_new(&self, index: u32) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(age) => age < WINDOW && self.came & (1 << age) == 0,
        }
    }

    fn note(&mut self, index: u32) {
        match self.highest.checked_sub(index) {
            None => {
                self.came = self.came.checked_shl(index - self.highest).unwrap_or(0) | 1;
                self.highest = index;
            }
            Some(age) => self.came |= 1u64.checked_shl(age).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use rtc::crypto::default_provider;
    use rtc::srtp::context::Context;
    use rtc::srtp::protection_profile::ProtectionProfile;

    use super::super::provider::{SessionKeys, capturing};
    use super::super::session::rtcp_index;
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// The packet of RFC 7714, 17, and the same packet encrypted.
    const PLAIN: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 \
        deadbeef deadbeef deadbeef deadbeef deadbeef";
    const SEALED: &str = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda \
        4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4";

    /// The key of RFC 7714, 17. The packet that revealed it had another SSRC.
    fn of_the_rfc() -> Opener {
        let key = bytes("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let salt = bytes("517569642070726f2071756f").try_into().unwrap();
        Opener::with_key(key, salt).unwrap()
    }

    #[test]
    fn the_test_vectors_of_the_rfc_are_decrypted() {
        let salt = bytes("517569642070726f2071756f").try_into().unwrap();
        assert_eq!(nonce(salt, 0x4d61_7273, 0x5d4).to_vec(), bytes("517524055203726f207170bb"));
        assert_eq!(rtcp_index(&bytes("81c8000d 4d617273 800005d4")), Some((0x4d61_7273, 0x5d4)));
        let (mut opener, mut datagram) = (of_the_rfc(), bytes(SEALED));
        assert_eq!(opener.open(&mut datagram).unwrap(), bytes(PLAIN));
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
        assert_eq!(opener.senders.len(), 1);
        assert!(opener.open(&mut good.clone()).is_some(), "the forged ones did not use up its number");
    }

    /// The peer's SRTP context, the SFU's context, and the keys captured from the latter.
    fn library() -> (Context, Context, SessionKeys) {
        let (provider, keys) = capturing(default_provider().unwrap());
        let profile = ProtectionProfile::AeadAes128Gcm;
        let context = |crypto| Context::new(&[7; 16], &[9; 12], profile, None, None, crypto).unwrap();
        (context(default_provider().unwrap().crypto()), context(provider.crypto()), keys)
    }

    fn report(ssrc: u32, blocks: u8) -> Vec<u8> {
        let mut report = vec![0x80 | blocks, 201, 0, 1 + 6 * blocks];
        report.extend_from_slice(&ssrc.to_be_bytes());
        report.resize(8 + 24 * usize::from(blocks), blocks);
        report
    }

    #[test]
    fn the_first_authentic_packet_reveals_the_key_for_all_later_ones() {
        let (mut student, mut core, keys) = library();
        let packet = student.encrypt_rtp(&[&[0x80, 96, 0, 1][..], &[0; 8], b"media"].concat()).unwrap();
        core.decrypt_rtp(&packet).unwrap();
        let mut forged = student.encrypt_rtcp(&report(7, 1)).unwrap();
        forged[20] ^= 1;
        assert!(core.decrypt_rtcp(&forged).is_err());
        assert!(keys.rtcp().is_none(), "RTP has another key, and a forged packet reveals nothing");
        let first = student.encrypt_rtcp(&report(7, 1)).unwrap();
        core.decrypt_rtcp(&first).unwrap();
        assert!(keys.rtp().is_none(), "nothing was sealed");
        let mut opener = Opener::new(keys.rtcp().unwrap()).unwrap();
        assert_eq!(opener.open(&mut first.to_vec()), None, "the core has opened it");
        for n in 0..1_000 {
            let plain = report(7 + n % 3, (n % 20) as u8);
            let mut sealed = student.encrypt_rtcp(&plain).unwrap().to_vec();
            assert_eq!(opener.open(&mut sealed).unwrap(), plain, "{n}");
        }
    }

    #[test]
    fn an_out_of_order_packet_counts_once_and_an_old_one_never() {
        let (mut student, mut core, keys) = library();
        let mut next = || student.encrypt_rtcp(&report(7, 1)).unwrap().to_vec();
        core.decrypt_rtcp(&next()).unwrap();
        let sealed: Vec<_> = (0..200).map(|_| next()).collect();
        let mut opener = Opener::new(keys.rtcp().unwrap()).unwrap();
        let mut opens = |n: usize| opener.open(&mut sealed[n].clone()).is_some();
        assert!(opens(100) && !opens(100));
        assert!(opens(99) && !opens(99) && opens(37) && !opens(37));
        assert!(!opens(36) && !opens(0), "out of the window");
        assert!(opens(101) && !opens(99) && opens(98) && !opens(37), "all of it moves on");
        assert!(opens(199) && !opens(101) && opens(136) && !opens(135), "a jump forgets what was");
    }

    #[test]
    fn an_index_does_not_wrap() {
        let mut window = Window::new(7, 0);
        let last = !ENCRYPTED;
        assert!(!window.is_new(0) && window.is_new(last));
        window.note(last);
        assert!(!window.is_new(last) && window.is_new(last - 1) && window.is_new(last - 63));
        assert!(!window.is_new(last - 64) && !window.is_new(0) && !window.is_new(1));
    }

    #[test]
    fn the_number_of_ssrcs_of_a_peer_is_bounded() {
        let (mut student, mut core, keys) = library();
        core.decrypt_rtcp(&student.encrypt_rtcp(&report(0, 1)).unwrap()).unwrap();
        let mut opener = Opener::new(keys.rtcp().unwrap()).unwrap();
        for ssrc in 1..100 {
            let mut sealed = student.encrypt_rtcp(&report(ssrc, 1)).unwrap().to_vec();
            assert_eq!(opener.open(&mut sealed).is_some(), (ssrc as usize) < MAX_SENDERS);
        }
        assert_eq!(opener.senders.len(), MAX_SENDERS);
    }

    #[test]
    fn random_datagrams_are_refused() {
        let mut opener = of_the_rfc();
        let mut dice = StdRng::seed_from_u64(5);
        for _ in 0..2_000 {
            let mut datagram = vec![0; dice.random_range(0..200)];
            dice.fill(&mut datagram[..]);
            let length = datagram.len();
            // Half of them have the form of SRTCP.
            if length > 8 && dice.random() {
                datagram[..2].copy_from_slice(&[0x81, 201]);
                datagram[length - 4] |= 0x80;
            }
            assert_eq!(opener.open(&mut datagram), None);
        }
    }
}
