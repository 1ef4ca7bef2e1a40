//! What students send while they watch: SRTCP (RFC 3711), opened by ourselves with AES-128-GCM (RFC 7714, 9).
//!
//! A thousand students send ten to twenty feedbacks a second each, and the way of one through the core costs several
//! times its opening. The core opens the first, which tells the key ([`crate::sfu::keys`]), and sees none from then on.
//!
//! # The invariant
//!
//! **A packet counts once**, whoever opened it, and only after its tag was right: what was opened by the core is noted
//! before we begin, and numbers are noted when the tag was checked.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::keys::OpeningKey;
use super::seal::{TAG_BYTES, nonce};

/// What is authenticated and not encrypted: the first header of the compound, and the SSRC of who sends it.
const HEADER: usize = 8;

/// The E flag and the packet's index, behind the tag (RFC 7714, 9.2).
const TRAILER: usize = 4;

/// The first bit of the trailer: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// SSRCs in whose name a student may send feedback: browsers have one for each track. Others are not heard, as to
/// forget one would let its packets count again.
const MOST_SENDERS: usize = 16;

/// Packets that may overtake one another (RFC 3711, 3.3.2: 64 at least).
const WINDOW: u32 = u64::BITS;

/// Whether a datagram is SRTCP, of all that is neither STUN nor DTLS (RFC 5761, 4).
pub(crate) fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, kind, ..] if first >> 6 == 2 && (192..=223).contains(kind))
}

/// Opens what one student sends.
pub(crate) struct Opener {
    key: LessSafeKey,
    salt: [u8; 12],
    senders: Vec<Window>,
}

impl Opener {
    /// None if the system's cryptography does not want the key, which it says nothing about.
    pub(crate) fn new(OpeningKey { session, ssrc, index }: &OpeningKey) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &session.key).ok()?);
        Some(Self { key, salt: session.salt, senders: vec![Window::new(*ssrc, *index)] })
    }

    /// Opens a datagram in its place, and gives the compound that was in it (RFC 3550, 6.1). None where it is too short,
    /// was opened before or is too old, or was not sealed with the student's key; nothing has changed then but its bytes.
    pub(crate) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let (packet, trailer) = datagram.split_last_chunk_mut::<TRAILER>()?;
        let word = u32::from_be_bytes(*trailer);
        if word & ENCRYPTED == 0 || packet.len() < HEADER + TAG_BYTES {
            return None;
        }
        let (header, text) = packet.split_first_chunk_mut::<HEADER>()?;
        let ssrc = u32::from_be_bytes(*header.last_chunk()?);
        let index = word & !ENCRYPTED;
        let known = self.senders.iter().position(|window| window.ssrc == ssrc);
        let is_new = match known {
            Some(place) => self.senders[place].is_new(index),
            None => self.senders.len() < MOST_SENDERS,
        };
        if !is_new {
            return None;
        }
        let nonce = Nonce::assume_unique_for_key(nonce(self.salt, ssrc, index.into()));
        let mut authenticated = [0; HEADER + TRAILER];
        authenticated[..HEADER].copy_from_slice(header);
        authenticated[HEADER..].copy_from_slice(trailer);
        let length = self.key.open_in_place(nonce, Aad::from(authenticated), text).ok()?.len();
        match known {
            Some(place) => self.senders[place].note(index),
            None => self.senders.push(Window::new(ssrc, index)),
        }
        datagram.get(..HEADER + length)
    }
}

/// What is authenticated of an SRTCP packet names its SSRC and its index; none if that is no such thing. RTP headers
/// have other types, and what DTLS authenticates is longer.
pub(crate) fn authenticated(aad: &[u8]) -> Option<(u32, u32)> {
    let aad = <[u8; HEADER + TRAILER]>::try_from(aad).ok()?;
    let word = u32::from_be_bytes(*aad.last_chunk()?);
    let ssrc = u32::from_be_bytes(*aad[..HEADER].last_chunk()?);
    (is_rtcp(&aad) && word & ENCRYPTED != 0).then_some((ssrc, word & !ENCRYPTED))
}

/// The newest packets of one SSRC. Their index has 31 bits and must not begin anew under one key (RFC 3711, 9.2), so
/// after the last one there is nothing new any more.
#[derive(Debug)]
struct Window {
    ssrc: u32,
    highest: u32,
    /// Bit n: the packet n before the highest came.
    came: u64,
}

impl Window {
    /// In which this packet came and no other.
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

    use super::super::keys::{Found, SessionKey, listening};
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// The packet of RFC 7714, 17, and the same sealed.
    const PLAIN: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 \
        deadbeef deadbeef deadbeef deadbeef deadbeef";
    const SEALED: &str = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda \
        4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4";

    /// The key of RFC 7714, 17. The packet that told it was one of another SSRC.
    fn of_the_standard() -> Opener {
        let key = bytes("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let salt = bytes("517569642070726f2071756f").try_into().unwrap();
        Opener::new(&OpeningKey { session: SessionKey { key, salt }, ssrc: 1, index: 1 }).unwrap()
    }

    #[test]
    fn the_vectors_of_the_standard() {
        let salt = bytes("517569642070726f2071756f").try_into().unwrap();
        assert_eq!(nonce(salt, 0x4d61_7273, 0x5d4).to_vec(), bytes("517524055203726f207170bb"));
        assert_eq!(authenticated(&bytes("81c8000d 4d617273 800005d4")), Some((0x4d61_7273, 0x5d4)));
        let (mut opener, mut datagram) = (of_the_standard(), bytes(SEALED));
        assert_eq!(opener.open(&mut datagram).unwrap(), bytes(PLAIN));
        assert_eq!(opener.open(&mut bytes(SEALED)), None, "a replay");
    }

    #[test]
    fn what_is_cut_or_changed_is_refused_and_counts_for_nothing() {
        let (mut opener, good) = (of_the_standard(), bytes(SEALED));
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

    /// A student of the library, the SFU's side of the library, and what is heard there.
    fn library() -> (Context, Context, Found) {
        let (provider, found) = listening(default_provider().unwrap());
        let profile = ProtectionProfile::AeadAes128Gcm;
        let context = |crypto| Context::new(&[7; 16], &[9; 12], profile, None, None, crypto).unwrap();
        (context(default_provider().unwrap().crypto()), context(provider.crypto()), found)
    }

    fn report(ssrc: u32, blocks: u8) -> Vec<u8> {
        let mut report = vec![0x80 | blocks, 201, 0, 1 + 6 * blocks];
        report.extend_from_slice(&ssrc.to_be_bytes());
        report.resize(8 + 24 * usize::from(blocks), blocks);
        report
    }

    #[test]
    fn the_key_is_heard_at_the_first_packet_that_is_genuine_and_we_go_on_from_there() {
        let (mut student, mut core, found) = library();
        let packet = student.encrypt_rtp(&[&[0x80, 96, 0, 1][..], &[0; 8], b"media"].concat()).unwrap();
        core.decrypt_rtp(&packet).unwrap();
        let mut forged = student.encrypt_rtcp(&report(7, 1)).unwrap();
        forged[20] ^= 1;
        assert!(core.decrypt_rtcp(&forged).is_err());
        assert!(found.opening().is_none(), "RTP has another key, and a forged packet tells nothing");
        let first = student.encrypt_rtcp(&report(7, 1)).unwrap();
        core.decrypt_rtcp(&first).unwrap();
        assert!(found.sealing().is_none(), "nothing was sealed");
        let mut opener = Opener::new(found.opening().unwrap()).unwrap();
        assert_eq!(opener.open(&mut first.to_vec()), None, "the core has opened it");
        for n in 0..1_000 {
            let plain = report(7 + n % 3, (n % 20) as u8);
            let mut sealed = student.encrypt_rtcp(&plain).unwrap().to_vec();
            assert_eq!(opener.open(&mut sealed).unwrap(), plain, "{n}");
        }
    }

    #[test]
    fn what_overtook_another_counts_once_and_what_is_too_old_never() {
        let (mut student, mut core, found) = library();
        let mut next = || student.encrypt_rtcp(&report(7, 1)).unwrap().to_vec();
        core.decrypt_rtcp(&next()).unwrap();
        let sealed: Vec<_> = (0..200).map(|_| next()).collect();
        let mut opener = Opener::new(found.opening().unwrap()).unwrap();
        let mut opens = |n: usize| opener.open(&mut sealed[n].clone()).is_some();
        assert!(opens(100) && !opens(100));
        assert!(opens(99) && !opens(99) && opens(37) && !opens(37));
        assert!(!opens(36) && !opens(0), "out of the window");
        assert!(opens(101) && !opens(99) && opens(98) && !opens(37), "all of it moves on");
        assert!(opens(199) && !opens(101) && opens(136) && !opens(135), "a jump forgets what was");
    }

    #[test]
    fn an_index_does_not_begin_anew() {
        let mut window = Window::new(7, 0);
        let last = !ENCRYPTED;
        assert!(!window.is_new(0) && window.is_new(last));
        window.note(last);
        assert!(!window.is_new(last) && window.is_new(last - 1) && window.is_new(last - 63));
        assert!(!window.is_new(last - 64) && !window.is_new(0) && !window.is_new(1));
    }

    #[test]
    fn a_student_has_not_more_names_than_we_remember() {
        let (mut student, mut core, found) = library();
        core.decrypt_rtcp(&student.encrypt_rtcp(&report(0, 1)).unwrap()).unwrap();
        let mut opener = Opener::new(found.opening().unwrap()).unwrap();
        for ssrc in 1..100 {
            let mut sealed = student.encrypt_rtcp(&report(ssrc, 1)).unwrap().to_vec();
            assert_eq!(opener.open(&mut sealed).is_some(), (ssrc as usize) < MOST_SENDERS);
        }
        assert_eq!(opener.senders.len(), MOST_SENDERS);
    }

    #[test]
    fn whatever_comes_is_survived() {
        let mut opener = of_the_standard();
        let mut dice = StdRng::seed_from_u64(5);
        for _ in 0..2_000 {
            let mut datagram = vec![0; dice.random_range(0..200)];
            dice.fill(&mut datagram[..]);
            let length = datagram.len();
            // Half of them look right from outside.
            if length > 8 && dice.random() {
                datagram[..2].copy_from_slice(&[0x81, 201]);
                datagram[length - 4] |= 0x80;
            }
            assert_eq!(opener.open(&mut datagram), None);
        }
    }
}
